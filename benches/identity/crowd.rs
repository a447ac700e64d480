//! Messages for a customer of very many records.

use crate::people::shows;
use crate::world::World;
use crate::{Scale, times};
use entity::IdentifierKind;
use serde_json::Value;
use tributary::ingest::message::KeyedBy;
use tributary::pipeline::intake::Outcome;

const RECORDS: usize = 5_000;
/// Of each kind; the first of a kind fills caches and is not counted.
const MESSAGES: usize = 60;
/// One message for such a customer must take no longer.
const TARGET_MS: f64 = 20.0;

pub async fn measure(database: &str, world: &World, scale: Scale) -> Vec<Value> {
    // Far beyond whoever else is known, and no half of a couple.
    let key = world.write_crowd(20 * scale.customers - 2, RECORDS).await;
    world.settle().await;
    let mut results = Vec::new();
    for what in ["that says nothing new", "with a trait", "with a new device"] {
        let mut taken = Vec::new();
        for n in 0..=MESSAGES {
            let device = || shows(IdentifierKind::DeviceId, format!("crowd-device-{n}"));
            let (shown, traits) = match what {
                "with a trait" => (Vec::new(), vec![("city".to_owned(), format!("town {n}").into())]),
                "with a new device" => (vec![device()], Vec::new()),
                _ => (Vec::new(), Vec::new()),
            };
            let id = format!("crowd {what} {n}");
            let message = world.saying.message(&id, &key, KeyedBy::Sender, shown, traits);
            let (time, delivered) = world.deliver(message).await;
            assert_eq!(delivered.receipts, [Ok(Outcome::Accepted)]);
            if n > 0 {
                taken.push(time);
            }
        }
        let mut result = times(
            database,
            &format!("a message {what}, of a customer of {RECORDS} records"),
            &taken,
        );
        result["targetP50Ms"] = TARGET_MS.into();
        result["met"] = (result["p50Ms"].as_f64() < Some(TARGET_MS)).into();
        results.push(result);
    }
    results
}
