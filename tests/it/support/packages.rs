//! The programs that the tests need from the machine: found when they are there, installed as system packages when not.
//!
//! Promises: what is installed already is used as it is; a service that comes with a package is not started; several test
//! processes at once install one after the other. Where a program can be neither found nor installed the answer is an
//! error that says what to install, and the tests fail with it: they never skip.
//! Leaves to others: what the programs do (`servers`, `clients`).

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs as root. The policy keeps the services of a fresh package from starting: the tests start servers of their own.
/// Package lists that fail to update are not the end, since the lists at hand may do; the install has the last word.
const INSTALL: &str = r#"
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install --yes --no-install-recommends --option DPkg::Lock::Timeout=600 "$@"
"#;

/// What `find` finds, if need be after installing `packages`. `what` names the thing in the error.
pub fn find_or_install<T>(what: &str, packages: &[&str], find: impl Fn() -> Option<T>) -> Result<T, String> {
    if let Some(found) = find() {
        return Ok(found);
    }
    let _one_at_a_time = lock(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages.lock"))?;
    if let Some(found) = find() {
        return Ok(found);
    }
    let advice = format!("the tests need {what}: install it (Debian: {})", packages.join(", "));
    install(packages).map_err(|error| format!("{advice}; installing it failed: {error}"))?;
    find().ok_or(format!("{advice}; the installed packages do not provide it"))
}

fn install(packages: &[&str]) -> Result<(), String> {
    let mut command = if is_root() {
        Command::new("sh")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "sh"]);
        sudo
    };
    run(command.args(["-c", INSTALL, "install"]).args(packages))?;
    Ok(())
}

pub fn is_root() -> bool {
    run(Command::new("id").arg("-u")).is_ok_and(|uid| uid.trim() == "0")
}

/// The first program of this name on `PATH`, as it stands there: some programs go by the name they are called under.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).find_map(|folder| {
        let file = folder.join(program);
        file.is_file().then_some(file)
    })
}

/// The major version in what `program --version` says, such as 15 of `postgres (PostgreSQL) 15.18 (Debian ...)`: the first
/// word that begins with a number, whether or not a `v` stands before it.
pub fn major_version(program: &Path) -> Option<u32> {
    let answer = run(Command::new(program).arg("--version")).ok()?;
    answer.split_whitespace().find_map(|word| {
        let digits = word.trim_start_matches('v').split('.').next()?;
        digits.parse().ok()
    })
}

/// Standard output of a command that succeeds; otherwise an error with the end of all it printed.
pub fn run(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{name} could not be started: {error}"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "{name} ended with {}:\n{}{}",
        output.status,
        tail(&stdout),
        tail(&stderr)
    ))
}

/// The last lines of a long text, where programs say what went wrong. A hundred, because npm explains its usage after it.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(100)..];
    last.iter().map(|line| format!("    {line}\n")).collect()
}

/// Holds the lock file until the answer is dropped, against other test processes as well as other threads.
pub fn lock(file: &Path) -> Result<File, String> {
    let locked = || {
        fs::create_dir_all(file.parent().expect("a lock file lies in a folder"))?;
        let opened = File::create(file)?;
        opened.lock()?;
        Ok(opened)
    };
    locked().map_err(|error: std::io::Error| format!("locking {}: {error}", file.display()))
}
