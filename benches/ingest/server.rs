//! The release binary as a child process with its default settings.

use crate::servers::free_port;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub const WRITE_KEY: &str = "write-key-of-the-benchmark-0001";
/// For whoever reads.
pub const ADMIN_KEY: &str = "an-admin-key-for-benchmarks-0123456789";

pub struct Server {
    child: Child,
    pub address: String,
}

impl Server {
    /// Starts this version's binary.
    pub async fn start(database_url: &str) -> Self {
        Self::of(env!("CARGO_BIN_EXE_tributary"), database_url).await
    }

    /// Starts a binary on this database, with one source, and waits until it is ready.
    pub async fn of(binary: &str, database_url: &str) -> Self {
        let environment = [
            ("TRIBUTARY_DATABASE__URL", database_url),
            ("TRIBUTARY_DATABASE__MIGRATE", "always"),
            ("TRIBUTARY_AUTH__ADMIN_KEY", ADMIN_KEY),
        ];
        let added = Command::new(binary)
            .args(["source", "add", "--key", "shop", "--channel", "web", "--write-key", WRITE_KEY])
            .envs(environment)
            .output()
            .unwrap();
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        let address = format!("127.0.0.1:{}", free_port());
        let child = Command::new(binary)
            .args(["serve", "--bind", &address])
            .envs(environment)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let server = Self { child, address };
        for _ in 0..200 {
            if server.is_ready() {
                // Whatever start-up leaves behind is over when memory is read.
                tokio::time::sleep(Duration::from_secs(1)).await;
                return server;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the server never became ready");
    }

    fn is_ready(&self) -> bool {
        let ask = || {
            let mut stream = TcpStream::connect(&self.address)?;
            stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok::<_, std::io::Error>(answer)
        };
        ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory.
    pub fn memory_mb(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        let kilobytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kilobytes / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
