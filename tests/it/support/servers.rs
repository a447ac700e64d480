//! The servers that the tests bring along: a PostgreSQL and a Redis of their own, so that no test needs or touches one that
//! the machine runs already.
//!
//! Promises: each test process has its own server on its own port in its own folder; whichever way the process ends (done,
//! panicked, killed) the server stops and its folder vanishes. A server that cannot be had fails the tests with the reason.
//! Leaves to others: databases and their contents.
//!
//! How the servers know that the tests are over: a small shell supervises each of them and its standard input is a pipe that
//! only the test process holds open. The system closes the pipe with the process, even a killed one; no `Drop` has to run.

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::packages::{find_or_install, is_root, major_version, on_path, run, tail};

/// The oldest PostgreSQL that the product supports.
const OLDEST_POSTGRES: u32 = 15;

/// PostgreSQL takes about a second, creation of its folder included. The rest is for a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);

pub struct Postgres(Running);

impl Postgres {
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.0.port)
    }

    /// The database that exists from the start; its user may create others.
    pub fn admin_url(&self) -> String {
        self.url("postgres")
    }
}

/// The PostgreSQL of this test process, started by the first call.
pub fn postgres() -> &'static Postgres {
    static POSTGRES: OnceLock<Result<Postgres, String>> = OnceLock::new();
    let started = POSTGRES.get_or_init(|| {
        let what = format!("PostgreSQL {OLDEST_POSTGRES} or newer");
        let folder = find_or_install(&what, &["postgresql"], postgres_folder)?;
        start(&POSTGRES_SERVER, &folder).map(Postgres)
    });
    started.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

/// Where `pg_dump` and `pg_restore` of that server lie.
pub fn postgres_programs() -> PathBuf {
    postgres();
    postgres_folder().expect("the server was started from it")
}

pub struct Redis(Running);

impl Redis {
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.0.port)
    }
}

/// The Redis of this test process, started by the first call.
pub fn redis() -> &'static Redis {
    static REDIS: OnceLock<Result<Redis, String>> = OnceLock::new();
    let started = REDIS.get_or_init(|| {
        let find = || on_path("redis-server");
        let program = find_or_install("Redis", &["redis-server"], find)?;
        start(&REDIS_SERVER, &program).map(Redis)
    });
    started.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

/// A port of 127.0.0.1 that nobody listens on. Another process can take it before the caller does, so whoever must have
/// one tries again.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the system has free ports");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// The folder with `postgres` and `initdb`: what `PATH` leads to first, then Debian's folders, newest version first. A link
/// on `PATH` is followed, because `initdb` lies beside the program and not beside the link.
fn postgres_folder() -> Option<PathBuf> {
    let on_path = on_path("postgres").and_then(|file| Some(file.canonicalize().ok()?.parent()?.to_owned()));
    let mut debian: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    debian.sort();
    let newest_first = debian.into_iter().rev().map(|(_, folder)| folder);
    on_path.into_iter().chain(newest_first).find(|folder| {
        folder.join("initdb").is_file()
            && major_version(&folder.join("postgres")).is_some_and(|version| version >= OLDEST_POSTGRES)
    })
}

/// One kind of server as the supervising shell runs it.
struct Server {
    name: &'static str,
    /// Shell commands, in the new folder, that know `$bin`, `$dir` and `$port`. What may run long stands behind `step`.
    script: &'static str,
    /// Ends the server at once and without leaving shared memory behind.
    stop_signal: &'static str,
}

/// Durable like in production, because the product checks these settings. It listens on no socket file: the path of one in
/// a deep temporary folder would exceed what the system allows. `--no-sync` skips only the flush after the folder's creation.
const POSTGRES_SERVER: Server = Server {
    name: "postgres",
    script: r#"
step "$bin/initdb" --pgdata=data --username=postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync &&
cat >>data/postgresql.conf <<END &&
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = ''
fsync = on
synchronous_commit = on
max_connections = 300
shared_buffers = 256MB
END
step "$bin/postgres" -D data
"#,
    stop_signal: "QUIT",
};

const REDIS_SERVER: Server = Server {
    name: "redis",
    script: r#"
step "$bin" --bind 127.0.0.1 --port "$port" --dir "$dir" --save "" --appendonly no
"#,
    stop_signal: "TERM",
};

/// What stands before a server's script. Descriptor 3 is the pipe, 4 the way to tell the tests why a server never got
/// ready; the server inherits neither. The watcher keeps stopping whatever step runs until the folder is gone, so no moment
/// between two steps lets a server slip through.
const SUPERVISOR_BEFORE: &str = r#"
dir=$1 bin=$2 port=$3 stop=$4
exec 3<&0 4>&2 </dev/null
mkdir -m 700 "$dir" && cd "$dir" || exit
exec >log 2>&1
step() {
    "$@" 3<&- 4>&- &
    echo $! >step
    wait $!
}
(
    exec 4>&-
    read -r _ <&3
    while [ -e "$dir" ]; do
        kill -s "$stop" "$(cat step)"
        sleep 0.1
    done
) &
watcher=$!
exec 3<&-
"#;

/// What stands after it, once the server has ended. The second removal is for a file that a dying process wrote meanwhile.
const SUPERVISOR_AFTER: &str = r#"
tail -c 8000 log >&4
cd /
rm -rf "$dir" || { sleep 1; rm -rf "$dir"; }
kill "$watcher"
"#;

struct Running {
    port: u16,
    /// Holds the pipe's end.
    _supervisor: Child,
}

fn start(server: &Server, binary: &Path) -> Result<Running, String> {
    // Somebody else may take the port between its choice and the server's start. Five times in a row is no accident.
    let mut attempts = 1;
    loop {
        match start_on(server, binary, free_port()) {
            Err(error) if error.contains("Address already in use") && attempts < 5 => attempts += 1,
            answer => return answer,
        }
    }
}

fn start_on(server: &Server, binary: &Path, port: u16) -> Result<Running, String> {
    let name = server.name;
    let user = unprivileged_user()?;
    // The folder of root's own temporary files may be closed to that user.
    let parent = if user.is_some() {
        PathBuf::from("/tmp")
    } else {
        std::env::temp_dir()
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    let folder = parent.join(format!("tributary-{name}-{}-{:x}", std::process::id(), now.as_nanos()));

    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg([SUPERVISOR_BEFORE, server.script, SUPERVISOR_AFTER].concat())
        .arg(format!("tributary-{name}"))
        .args([&folder, binary])
        .args([&port.to_string(), server.stop_signal])
        .current_dir("/")
        // Its own group, so that an interrupt from the keyboard or a runner's time-out does not reach it before the work is done.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    let mut supervisor = command.spawn().map_err(|error| format!("starting {name}: {error}"))?;

    let begin = Instant::now();
    loop {
        // The server's own word rather than a connection: on a port that was taken, somebody else's server would answer.
        // Redis begins the phrase with a capital letter.
        let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
        if log.contains("eady to accept connections") {
            return Ok(Running {
                port,
                _supervisor: supervisor,
            });
        }
        if supervisor.try_wait().is_ok_and(|status| status.is_some()) {
            let mut log = String::new();
            let mut stderr = supervisor.stderr.take().expect("stderr is piped");
            let _ = stderr.read_to_string(&mut log);
            return Err(format!("{name} ended instead of starting:\n{}", tail(&log)));
        }
        if begin.elapsed() > START_LIMIT {
            return Err(format!("{name} was not ready after {START_LIMIT:?}:\n{}", tail(&log)));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Whom the servers run as when the tests run as root, which PostgreSQL refuses to be. `None`: as whoever runs the tests.
fn unprivileged_user() -> Result<Option<(u32, u32)>, String> {
    if !is_root() {
        return Ok(None);
    }
    let id = |option: &str, user: &str| -> Option<u32> { run(Command::new("id").args([option, user])).ok()?.trim().parse().ok() };
    let user = ["postgres", "nobody"]
        .into_iter()
        .find_map(|user| Some((id("-u", user)?, id("-g", user)?)));
    user.map(Some)
        .ok_or("root cannot run PostgreSQL, and there is neither a user postgres nor a user nobody".into())
}
