//! The published client libraries, run against a server: what their users send is what the tests send.
//!
//! Promises: the exact versions that `tests/clients` pins are installed once per lock file, under the build folder; a
//! library that cannot be installed, or that reports an undelivered call, fails the test with everything that was printed.
//! Leaves to others: starting the server, and what must have arrived there. Which ids a script uses: `tests/clients/*/story.*`.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use super::packages::{find_or_install, lock, major_version, on_path, run, tail};

/// Debian 12's. Segment's server library asks for 20 and works with 18 all the same.
const OLDEST_NODE: u32 = 18;

/// A script takes one to three seconds; before a server that does not answer, the libraries give up within this limit.
const RUN_LIMIT: Duration = Duration::from_secs(120);

/// Runs one script of `tests/clients`, such as `segment-node.mjs`, and gives the line it prints:
/// `{"client": .., "sent": .., "failures": []}`.
///
/// Blocks the thread for as long as the script runs: call it where the server under test can go on answering.
pub fn run_client(script: &str, host: &str, write_key: &str) -> serde_json::Value {
    run_client_with(script, &[("TRIBUTARY_HOST", host), ("TRIBUTARY_WRITE_KEY", write_key)])
}

/// The same for a script that wants other variables, and prints another line.
pub fn run_client_with(script: &str, variables: &[(&str, &str)]) -> serde_json::Value {
    let mut command = match Path::new(script).extension().and_then(|kind| kind.to_str()) {
        Some("mjs") => in_folder("node", node_clients()),
        Some("py") => in_folder("venv/bin/python", python_clients()),
        _ => panic!("{script} is neither a script for Node nor for Python"),
    };
    command
        .arg(script)
        .envs(variables.iter().copied())
        // The server is on this machine; a proxy set for the rest of the world is not for it.
        .env("NO_PROXY", "*");
    let ended = run_for(RUN_LIMIT, &mut command).unwrap_or_else(|error| panic!("{script}: {error}"));
    let line = ended.stdout.lines().last().and_then(|line| serde_json::from_str(line).ok());
    match line {
        Some(line) if ended.success => line,
        _ => panic!(
            "{script} failed\nstdout:\n{}stderr:\n{}",
            tail(&ended.stdout),
            tail(&ended.stderr)
        ),
    }
}

fn in_folder(program: &str, folder: PathBuf) -> Command {
    let in_the_folder = folder.join(program);
    let mut command = Command::new(if in_the_folder.exists() {
        in_the_folder
    } else {
        program.into()
    });
    command.current_dir(folder);
    command
}

/// The folder where the scripts for Node can run, prepared by the first call.
pub fn node_clients() -> PathBuf {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| prepare("node", install_node_clients));
    folder.clone().unwrap_or_else(|error| panic!("{error}"))
}

/// The folder where the scripts for Python can run, with `venv/bin/python`; prepared by the first call.
pub fn python_clients() -> PathBuf {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| prepare("python", install_python_clients));
    folder.clone().unwrap_or_else(|error| panic!("{error}"))
}

/// The folder with the example page, built by the first call.
pub fn example_web() -> PathBuf {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| example("web"));
    folder.clone().unwrap_or_else(|error| panic!("{error}"))
}

/// The folder with the example of a subscriber, built by the first call.
pub fn example_subscriber() -> PathBuf {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| example("subscriber"));
    folder.clone().unwrap_or_else(|error| panic!("{error}"))
}

/// Builds an example; its types are made from the schema that is checked in.
fn example(name: &str) -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = root.join("examples").join(name);
    let clients = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
    let folder = clients.join(name);
    let _one_at_a_time = lock(&clients.join(format!("{name}.lock")))?;
    for part in ["", "src"] {
        copy_changed(&sources.join(part), &folder.join(part)).map_err(|error| format!("copying the example: {error}"))?;
    }
    install_node_clients(&folder)?;
    run(Command::new("npm")
        .args(["run", "build"])
        .env("TRIBUTARY_SCHEMA", root.join("schema.graphql"))
        .current_dir(&folder))?;
    Ok(folder)
}

/// Brings the scripts into the work folder and installs what they import. The work folder stays from run to run, and other
/// test processes wait or find it ready.
fn prepare(kind: &str, install: fn(&Path) -> Result<(), String>) -> Result<PathBuf, String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(kind);
    let clients = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
    let folder = clients.join(kind);
    let _one_at_a_time = lock(&clients.join(format!("{kind}.lock")))?;
    copy_changed(&sources, &folder).map_err(|error| format!("copying {}: {error}", sources.display()))?;
    install(&folder)?;
    Ok(folder)
}

/// Files that did not change stay untouched: another test process may be reading them.
fn copy_changed(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let source = entry?.path();
        if !source.is_file() {
            continue;
        }
        let wanted = fs::read(&source)?;
        let target = to.join(source.file_name().expect("an entry of a folder has a name"));
        if fs::read(&target).ok().as_ref() != Some(&wanted) {
            fs::write(target, wanted)?;
        }
    }
    Ok(())
}

fn install_node_clients(folder: &Path) -> Result<(), String> {
    let what = format!("Node.js {OLDEST_NODE} or newer with npm");
    find_or_install(&what, &["nodejs", "npm"], || {
        let node = on_path("node")?;
        on_path("npm")?;
        (major_version(&node)? >= OLDEST_NODE).then_some(())
    })?;
    let lock_file = read(&folder.join("package-lock.json"))?;
    once_per(&lock_file, &folder.join("node_modules"), || {
        // No package here needs its install script.
        run(Command::new("npm").args(["ci", "--ignore-scripts"]).current_dir(folder))?;
        Ok(())
    })
}

fn install_python_clients(folder: &Path) -> Result<(), String> {
    let venv = folder.join("venv");
    // The virtual environment points at the Python it was made with and does not survive another one.
    let python = run(Command::new("python3").arg("--version")).unwrap_or_default();
    let requirements = read(&folder.join("requirements.txt"))?;
    once_per(&format!("{python}{requirements}"), &venv, || {
        let what = "Python 3 with the modules venv and ensurepip";
        find_or_install(what, &["python3", "python3-venv"], || {
            run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv)).ok()
        })?;
        let pip = ["-m", "pip", "install", "--no-input", "--requirement", "requirements.txt"];
        run(Command::new(venv.join("bin/python")).args(pip).current_dir(folder))?;
        Ok(())
    })
}

/// Installs into `target` unless that was done for the same `wanted`. The stamp lies inside and goes with the target.
fn once_per(wanted: &str, target: &Path, install: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let stamp = target.join("installed-for");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let _ = fs::remove_file(&stamp);
    install()?;
    fs::write(&stamp, wanted).map_err(|error| format!("writing {}: {error}", stamp.display()))
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("reading {}: {error}", file.display()))
}

pub struct Ended {
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command to its end, or ends it after `limit`. Both outputs are drained all the while: a full pipe would hold it.
pub fn run_for(limit: Duration, command: &mut Command) -> Result<Ended, String> {
    let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().map_err(|error| format!("could not be started: {error}"))?;
    let stdout = drain(child.stdout.take().expect("stdout is piped"));
    let stderr = drain(child.stderr.take().expect("stderr is piped"));
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            break Some(status);
        }
        if begin.elapsed() > limit {
            child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string())?;
            break None;
        }
        thread::sleep(Duration::from_millis(20));
    };
    let stdout = stdout.join().expect("draining does not panic");
    let mut stderr = stderr.join().expect("draining does not panic");
    if status.is_none() {
        stderr.push_str(&format!("\nended after {limit:?}\n"));
    }
    Ok(Ended {
        success: status.is_some_and(|status| status.success()),
        stdout,
        stderr,
    })
}

fn drain(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
