//! Who spent the processor's time: the server, the database's processes, or this process, which makes the load.

use crate::measure::Measure;
use crate::server::Server;
use std::time::{Duration, Instant};

/// Ticks of `/proc/PID/stat` in a second; fixed on Linux for whoever reads it.
const TICKS: f64 = 100.0;

pub struct Cpu {
    server: u32,
    /// PostgreSQL's first process; none for SQLite, which works inside the others.
    database: Option<u32>,
}

/// What one timed piece of work reports: how long each request of it took, in the order of their ends.
pub type Latencies = Vec<Duration>;

impl Cpu {
    pub fn of(server: &Server, database: Option<u32>) -> Self {
        Self {
            server: server.id(),
            database,
        }
    }

    pub async fn during(&self, work: impl Future<Output = Latencies>, events: usize) -> Measure {
        let before = self.seconds();
        let watch = Instant::now();
        let mut latencies = work.await;
        let seconds = watch.elapsed().as_secs_f64();
        let after = self.seconds();
        latencies.sort_unstable();
        let at = |part: f64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a place in a short list"
            )]
            let place = (part * (latencies.len() - 1) as f64) as usize;
            latencies[place].as_secs_f64() * 1000.0
        };
        let micros = |i: usize| (after[i] - before[i]) * 1e6 / events as f64;
        Measure {
            per_second: events as f64 / seconds,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            server_us: micros(0),
            database_us: micros(1),
            load_us: micros(2),
        }
    }

    /// Processor seconds so far of the server, the database and this process.
    fn seconds(&self) -> [f64; 3] {
        let own = seconds_of(self.server).map_or(0.0, |times| times.own);
        let database = self.database.map_or(0.0, seconds_of_family);
        let load = seconds_of(std::process::id()).map_or(0.0, |times| times.own);
        [own, database, load]
    }
}

struct Times {
    parent: u32,
    own: f64,
    /// Of children that ended.
    children: f64,
}

/// None when the process is gone.
fn seconds_of(pid: u32) -> Option<Times> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name, in parentheses, may hold anything; what follows is numbers.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |i: usize| fields[i].parse::<f64>().ok();
    Some(Times {
        parent: fields[1].parse().ok()?,
        own: (ticks(11)? + ticks(12)?) / TICKS,
        children: (ticks(13)? + ticks(14)?) / TICKS,
    })
}

pub fn parent_of(pid: u32) -> u32 {
    seconds_of(pid).expect("the process runs").parent
}

/// A process, its children, and those of them that ended.
fn seconds_of_family(head: u32) -> f64 {
    let Some(times) = seconds_of(head) else { return 0.0 };
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let children = pids.filter_map(seconds_of).filter(|times| times.parent == head);
    times.own + times.children + children.map(|times| times.own).sum::<f64>()
}
