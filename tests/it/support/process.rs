//! The binary as a child process with real files, to be killed and started again.

use super::app::ADMIN_KEY;
use super::servers::free_port;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub struct Process {
    child: Child,
    /// Reads standard error along: a full pipe would make the server wait.
    stderr: JoinHandle<String>,
    pub base: String,
    environment: Vec<(String, String)>,
}

impl Process {
    /// Starts `tributary serve` on this database and waits until it is ready.
    pub async fn start(database_url: &str, more: &[(&str, &str)]) -> Self {
        let mut environment = vec![
            ("TRIBUTARY_DATABASE__URL".to_owned(), database_url.to_owned()),
            ("TRIBUTARY_DATABASE__MIGRATE".to_owned(), "always".to_owned()),
            ("TRIBUTARY_AUTH__ADMIN_KEY".to_owned(), ADMIN_KEY.to_owned()),
        ];
        environment.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let (child, stderr, base) = spawn(&environment, free_port());
        let process = Self {
            child,
            stderr,
            base,
            environment,
        };
        process.ready().await;
        process
    }

    /// Starts it again after `kill` or `terminate`.
    pub async fn restart(&mut self) {
        (self.child, self.stderr, self.base) = spawn(&self.environment, free_port());
        self.ready().await;
    }

    /// The same on the port it had, with more settings: for clients that come back by themselves.
    pub async fn restart_in_place(&mut self, more: &[(&str, &str)]) {
        let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.environment.extend(more);
        let port = self.base.rsplit(':').next().and_then(|port| port.parse().ok());
        (self.child, self.stderr, self.base) = spawn(&self.environment, port.expect("a port"));
        self.ready().await;
    }

    async fn ready(&self) {
        let client = reqwest::Client::new();
        for _ in 0..400 {
            let answer = client.get(format!("{}/readyz", self.base)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the server never became ready");
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: nothing is flushed, nobody is told.
    pub fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(status.success());
    }

    /// Waits for the end after a signal.
    pub fn wait(&mut self) {
        self.child.wait().expect("ended");
    }

    /// Waits for the end; answers the exit code and what it wrote to standard error.
    pub fn finished(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().expect("ended").code();
        let stderr = std::mem::replace(&mut self.stderr, thread::spawn(String::new));
        (code, stderr.join().expect("reading does not panic"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(environment: &[(String, String)], port: u16) -> (Child, JoinHandle<String>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tributary"))
        .args(["serve", "--bind", &format!("127.0.0.1:{port}")])
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut pipe = child.stderr.take().expect("piped");
    let stderr = thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).expect("text");
        text
    });
    (child, stderr, format!("http://127.0.0.1:{port}"))
}

/// A command that does not end by itself, such as a `serve` that should have refused, is ended after this long.
const COMMAND_LIMIT: Duration = Duration::from_secs(180);

/// Runs a command of the binary to its end.
pub fn command(arguments: &[&str], environment: &[(&str, &str)]) -> std::process::Output {
    let child = Command::new(env!("CARGO_BIN_EXE_tributary"))
        .args(arguments)
        .envs(environment.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let id = child.id().to_string();
    let (ended, end) = mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        if end.recv_timeout(COMMAND_LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = Command::new("kill").args(["-KILL", &id]).status();
        }
    });
    let output = child.wait_with_output().expect("the binary ends");
    drop(ended);
    watch.join().expect("watching does not panic");
    output
}
