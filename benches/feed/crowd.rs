//! Many subscribers to everything, while much happens.

use crate::client::{Sender, Subscriber, changes_in};
use crate::cpu::Cpu;
use crate::measure::hundredths;
use crate::server::Server;
use crate::{Scale, at, load, workload};
use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const SENDERS: usize = 4;
const BATCH: usize = 100;
/// Of each sender; all together bring 2,000 changes a second.
const EVERY: Duration = Duration::from_millis(200);
/// How long after the last commit the last change may come to the last subscriber.
const PATIENCE: Duration = Duration::from_secs(120);
const TARGET_MS: f64 = 200.0;

pub async fn measure(url: &str, scale: Scale) -> Vec<Value> {
    let server = Server::of(&crate::binary(), url).await;
    load::send(&server, 4, &workload::introductions(scale.records)).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let rounds = usize::try_from(scale.crowd_seconds * 1000).unwrap() / usize::try_from(EVERY.as_millis()).unwrap();
    let changes = rounds * SENDERS * BATCH;
    let opening = stream::iter(0..scale.subscribers).map(|n| {
        let server = &server;
        async move {
            let mut subscriber = Subscriber::open(server, n, "start: { fromNow: true }, batch: 1000").await;
            subscriber.batch().await;
            subscriber
        }
    });
    let subscribers: Vec<Subscriber> = opening.buffer_unordered(32).collect().await;
    let cpu = Cpu::of(&server, None);
    let mut seen = Vec::new();
    let mut seconds = 0.0;
    let work = async {
        let listening: Vec<_> = subscribers
            .into_iter()
            .map(|subscriber| tokio::spawn(listen(subscriber, changes)))
            .collect();
        let all = workload::batches(
            "crowd",
            Scale {
                batched_events: changes,
                ..scale
            },
            BATCH,
        );
        let begin = Instant::now();
        let sending: Vec<_> = (0..SENDERS)
            .map(|n| {
                let all = all.clone();
                let address = server.address.clone();
                tokio::spawn(async move {
                    let mut line = Sender::to(&address).await;
                    for (round, request) in all.iter().skip(n).step_by(SENDERS).enumerate() {
                        let due = EVERY * u32::try_from(round * SENDERS + n).unwrap() / u32::try_from(SENDERS).unwrap();
                        tokio::time::sleep_until((begin + due).into()).await;
                        line.send(request).await;
                    }
                })
            })
            .collect();
        for sender in sending {
            sender.await.unwrap();
        }
        seconds = begin.elapsed().as_secs_f64();
        for listener in listening {
            let times = tokio::time::timeout(PATIENCE, listener).await.expect("every change arrives");
            seen.extend(times.unwrap());
        }
        vec![begin.elapsed()]
    };
    let whole = cpu.during(work, 1).await;
    let p95 = at(&seen, 0.95);
    vec![
        json!({"case": format!("{} subscribers to everything", scale.subscribers), "changesPerSecond": (changes as f64 / seconds).round(),
        "changes": changes, "batchesDelivered": seen.len(), "p50Ms": at(&seen, 0.5), "p95Ms": p95, "p99Ms": at(&seen, 0.99),
        "serverCpuSeconds": hundredths(whole.server_us / 1e6), "loadCpuSeconds": hundredths(whole.load_us / 1e6),
        "seconds": hundredths(whole.p50_ms / 1000.0), "target": TARGET_MS, "met": p95 < TARGET_MS}),
    ]
}

/// How old the oldest change of each batch was, from before its commit on, until all have come.
async fn listen(mut subscriber: Subscriber, changes: usize) -> Vec<Duration> {
    let (mut missing, mut times) = (changes, Vec::new());
    while missing > 0 {
        let batch = subscriber.batch().await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let Some((_, recorded)) = batch.as_str().split_once(r#""recordedAt":""#) else {
            continue;
        };
        let recorded = chrono::DateTime::parse_from_rfc3339(recorded.split_once('"').unwrap().0).unwrap();
        let recorded = Duration::from_micros(recorded.timestamp_micros().try_into().unwrap());
        times.push(now.saturating_sub(recorded));
        missing = missing.checked_sub(changes_in(&batch)).expect("each comes once");
    }
    times
}
