//! One subscriber: how long after a commit its change is there.

use crate::client::{Sender, Subscriber, changes_in};
use crate::server::Server;
use crate::{Scale, at, load, workload};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Longer than the reader's own pause between two looks, so that it waits for each.
const PAUSE: Duration = Duration::from_millis(5);

pub async fn measure(url: &str, scale: Scale) -> Vec<Value> {
    let server = Server::of(&crate::binary(), url).await;
    load::send(&server, 4, &workload::introductions(scale.records)).await;
    // What the introductions left to do is done.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut subscriber = Subscriber::open(&server, 0, "start: { fromNow: true }").await;
    let first = subscriber.batch().await;
    assert_eq!(changes_in(&first), 0);
    let (sender, mut arrivals) = mpsc::unbounded_channel();
    let listening = tokio::spawn(async move {
        loop {
            let batch = subscriber.batch().await;
            let now = Instant::now();
            for _ in 0..changes_in(&batch) {
                if sender.send(now).is_err() {
                    return;
                }
            }
        }
    });
    let mut line = Sender::to(&server.address).await;
    let (mut from_commit, mut from_send) = (Vec::new(), Vec::new());
    for request in workload::singles("delivery", scale).iter() {
        let sent = Instant::now();
        line.send(request).await;
        let committed = Instant::now();
        let arrived = tokio::time::timeout(Duration::from_secs(30), arrivals.recv());
        let arrived = arrived.await.expect("every change arrives").unwrap();
        // It may be there before the answer is.
        from_commit.push(arrived.saturating_duration_since(committed));
        from_send.push(arrived - sent);
        tokio::time::sleep(PAUSE).await;
    }
    listening.abort();
    let target = if url.starts_with("sqlite") { 10.0 } else { 50.0 };
    let p99 = at(&from_commit, 0.99);
    vec![
        json!({"case": "1 subscriber, from the answer of a commit to its change", "events": from_commit.len(),
        "p50Ms": at(&from_commit, 0.5), "p99Ms": p99, "fromSending": {"p50Ms": at(&from_send, 0.5), "p99Ms": at(&from_send, 0.99)},
        "target": target, "met": p99 < target}),
    ]
}
