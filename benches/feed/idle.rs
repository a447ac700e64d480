//! Very many subscribers to whom nothing happens: what they cost in memory and processor time.

use crate::client::Subscriber;
use crate::cpu::Cpu;
use crate::measure::hundredths;
use crate::server::Server;
use crate::{Scale, workload};
use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};
use std::time::Duration;

const TARGET_MB: f64 = 400.0;
/// Processor seconds a minute.
const TARGET_CPU: f64 = 0.3;
/// Files that this process has open besides its sockets.
const OTHER_FILES: usize = 200;

pub async fn measure(urls: [&str; 2], scale: Scale) -> Vec<Value> {
    assert!(
        open_files() > scale.idle + OTHER_FILES,
        "raise the limit of open files first: ulimit -n {}",
        scale.idle + 2 * OTHER_FILES
    );
    let mut results = Vec::new();
    let cases = [
        ("the default heartbeat", "start: { fromNow: true }"),
        ("a heartbeat a minute", "start: { fromNow: true }, heartbeatSeconds: 60"),
    ];
    for (url, (name, arguments)) in urls.into_iter().zip(cases) {
        results.push(one(url, scale, name, arguments).await);
    }
    results
}

async fn one(url: &str, scale: Scale, name: &str, arguments: &str) -> Value {
    let server = Server::of(&crate::binary(), url).await;
    crate::load::send(&server, 4, &workload::introductions(100)).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let cpu = Cpu::of(&server, None);
    let per_minute = async |seconds: u64| {
        let pause = async {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            vec![Duration::from_secs(seconds)]
        };
        cpu.during(pause, 1).await.server_us / 1e6 * 60.0 / seconds as f64
    };
    let alone = per_minute(scale.idle_seconds / 2).await;
    let before = server.memory_mb();
    let opening = stream::iter(0..scale.idle).map(|n| {
        let server = &server;
        async move {
            let mut subscriber = Subscriber::open(server, n, arguments).await;
            subscriber.batch().await;
            tokio::spawn(async move {
                loop {
                    subscriber.batch().await;
                }
            })
            .abort_handle()
        }
    });
    let subscribers: Vec<_> = opening.buffer_unordered(64).collect().await;
    // Whatever opening them left behind is over.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let cpu_seconds = per_minute(scale.idle_seconds).await;
    let grown = server.memory_mb() - before;
    for subscriber in &subscribers {
        assert!(!subscriber.is_finished(), "nobody was cut off");
        subscriber.abort();
    }
    json!({"case": format!("{} idle subscribers, {name}", scale.idle), "memoryMb": hundredths(grown),
        "kilobytesEach": hundredths(grown * 1024.0 / scale.idle as f64), "cpuSecondsPerMinute": hundredths(cpu_seconds),
        "cpuSecondsPerMinuteWithoutThem": hundredths(alone), "targetMb": TARGET_MB, "targetCpu": TARGET_CPU,
        "met": grown < TARGET_MB && cpu_seconds < TARGET_CPU})
}

/// How many files this process may have open.
fn open_files() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(3).unwrap().parse().unwrap_or(usize::MAX)
}
