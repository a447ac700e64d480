//! GraphQL requests over connections that stay open, as cheaply as can be, for a given time; and whose processor time that took.

use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Where requests go.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: String,
    pub key: String,
    /// Its first process; what its children use is counted too.
    pub server: u32,
    pub database: Option<u32>,
}

/// What a run came to.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    pub per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Processor time of a request, microseconds.
    pub server_us: f64,
    pub database_us: f64,
    /// Of one answer, head included.
    pub bytes: f64,
}

/// The body of the n-th request.
pub type Bodies = Arc<dyn Fn(u64) -> String + Send + Sync>;

/// Sends for so long; each connection waits for its answer before it sends the next.
pub async fn run(target: &Target, connections: u64, time: Duration, bodies: &Bodies) -> Rate {
    let usage = || {
        (
            seconds_of_family(target.server),
            target.database.map_or(0.0, seconds_of_family),
        )
    };
    let (before, watch) = (usage(), Instant::now());
    let senders: Vec<_> = (0..connections)
        .map(|n| tokio::spawn(one_connection(target.clone(), watch + time, n, connections, bodies.clone())))
        .collect();
    let (mut latencies, mut bytes) = (Vec::new(), 0);
    for sender in senders {
        let (more, read) = sender.await.unwrap();
        latencies.extend(more);
        bytes += read;
    }
    let seconds = watch.elapsed().as_secs_f64();
    let after = usage();
    latencies.sort_unstable();
    let count = latencies.len() as f64;
    let at = |percent: usize| latencies[latencies.len() * percent / 100].as_secs_f64() * 1000.0;
    Rate {
        per_second: count / seconds,
        p50_ms: at(50),
        p99_ms: at(99),
        server_us: (after.0 - before.0) * 1e6 / count,
        database_us: (after.1 - before.1) * 1e6 / count,
        bytes: bytes as f64 / count,
    }
}

/// Asks once; the whole answer.
pub async fn ask(target: &Target, body: &str) -> String {
    let mut stream = TcpStream::connect(&target.address).await.unwrap();
    stream.write_all(&request(target, body)).await.unwrap();
    let mut answer = Vec::new();
    let length = read_answer(&mut stream, &mut answer).await;
    let text = String::from_utf8_lossy(&answer[..length]).into_owned();
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

fn request(target: &Target, body: &str) -> Vec<u8> {
    format!(
        "POST /graphql HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\naccept: application/json\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n{body}",
        target.key,
        body.len()
    )
    .into_bytes()
}

async fn one_connection(target: Target, end: Instant, first: u64, step: u64, bodies: Bodies) -> (Vec<Duration>, usize) {
    let mut stream = TcpStream::connect(&target.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut latencies, mut answer, mut bytes) = (Vec::new(), Vec::new(), 0);
    let mut n = first;
    while Instant::now() < end {
        let request = request(&target, &bodies(n));
        n += step;
        let watch = Instant::now();
        stream.write_all(&request).await.unwrap();
        let length = read_answer(&mut stream, &mut answer).await;
        latencies.push(watch.elapsed());
        let is_sound = answer.starts_with(b"HTTP/1.1 200") && !contains(&answer[..length.min(600)], b"\"errors\"");
        assert!(is_sound, "{}", String::from_utf8_lossy(&answer[..length.min(2_000)]));
        bytes += length;
    }
    (latencies, bytes)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Reads one whole answer; gives its length.
async fn read_answer(stream: &mut TcpStream, answer: &mut Vec<u8>) -> usize {
    answer.resize(answer.len().max(64 * 1024), 0);
    let (mut length, mut whole) = (0, None);
    loop {
        if length == answer.len() {
            answer.resize(2 * length, 0);
        }
        let read = stream.read(&mut answer[length..]).await.unwrap();
        assert!(read > 0, "the server hung up");
        length += read;
        whole = whole.or_else(|| whole_length(&answer[..length]));
        if whole.is_some_and(|whole| length >= whole) {
            return length;
        }
    }
}

/// The length of head and body, once the head is there.
fn whole_length(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&answer[..head]).unwrap().to_ascii_lowercase();
    let body = text.split_once("content-length: ")?.1.split_once('\r')?.0;
    Some(head + body.parse::<usize>().unwrap())
}

/// Processor seconds of a process, its children, and those of them that ended. Ticks are hundredths of seconds.
fn seconds_of_family(head: u32) -> f64 {
    let times = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<f64> = stat
            .rsplit_once(") ")?
            .1
            .split(' ')
            .skip(1)
            .map_while(|field| field.parse().ok())
            .collect();
        Some((fields[0], fields[10] + fields[11], fields[12] + fields[13]))
    };
    let Some((_, own, ended)) = times(head) else { return 0.0 };
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let children = pids.filter_map(times).filter(|(parent, ..)| *parent == f64::from(head));
    (own + ended + children.map(|(_, own, _)| own).sum::<f64>()) / 100.0
}
