//! A reader that was away: how fast it catches up.

use crate::client::{Subscriber, changes_in};
use crate::cpu::Cpu;
use crate::measure::hundredths;
use crate::server::Server;
use crate::{Scale, load, workload};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const TARGET: f64 = 20_000.0;

pub async fn measure(url: &str, scale: Scale) -> Vec<Value> {
    let server = Server::of(&crate::binary(), url).await;
    load::send(&server, 4, &workload::introductions(scale.records)).await;
    let much = Scale {
        batched_events: scale.behind,
        ..scale
    };
    load::send(&server, 8, &workload::batches("behind", much, 100)).await;
    // Rows that are still in the server's memory are not what somebody reads who was away.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let cpu = Cpu::of(&server, None);
    let mut results = Vec::new();
    for size in [1_000, 100] {
        let (mut read, mut batches) = (0, 0);
        let work = async {
            let begin = Instant::now();
            let mut subscriber = Subscriber::open(&server, 0, &format!("start: {{ fromBeginning: true }}, batch: {size}")).await;
            loop {
                let batch = subscriber.batch().await;
                read += changes_in(&batch);
                batches += 1;
                if batch.as_str().contains(r#""caughtUp":true"#) {
                    return vec![begin.elapsed()];
                }
            }
        };
        let whole = cpu.during(work, 1).await;
        // Those who were introduced came with an event each.
        assert!(read >= scale.behind, "{read} of {}", scale.behind);
        let rate = read as f64 / whole.p50_ms * 1000.0;
        results.push(
            json!({"case": format!("catching up, {size} at once"), "changes": read, "batches": batches,
            "changesPerSecond": rate.round(), "serverCpuSeconds": hundredths(whole.server_us / 1e6),
            "loadCpuSeconds": hundredths(whole.load_us / 1e6), "target": TARGET, "met": rate > TARGET}),
        );
    }
    results
}
