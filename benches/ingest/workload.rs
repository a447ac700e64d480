//! What is sent: the events of a web shop, about 600 bytes of JSON each, of people the server knows.

use crate::Scale;
use crate::load::Requests;
use crate::server::WRITE_KEY;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::ops::Range;
use std::sync::Arc;

/// A prime, so that neighbours in time are strangers to each other.
const STRIDE: usize = 7919;

const EVENTS: [&str; 4] = ["Product Viewed", "Product Added", "Product Clicked", "Cart Viewed"];

/// One identify call for each record: afterwards it is known and has shown its identifiers.
pub fn introductions(records: usize) -> Requests {
    newcomers(0..records, 500)
}

/// The same of some people, in batches.
pub fn newcomers(people: Range<usize>, size: usize) -> Requests {
    let messages = people.map(|person| {
        json!({
            "type": "identify", "messageId": format!("introduction-{person}"),
            "userId": user(person), "anonymousId": device(person),
            "traits": {"firstName": "Ada", "lastName": "Hughes", "email": format!("customer{person}@example.test"), "plan": "basic"}
        })
    });
    batched(&messages.collect::<Vec<_>>(), size)
}

/// Track events in batches.
pub fn batches(run: &str, scale: Scale, size: usize) -> Requests {
    let messages = (0..scale.batched_events).map(|n| track(run, n, scale.records));
    batched(&messages.collect::<Vec<_>>(), size)
}

/// Track events, one for each request.
pub fn singles(run: &str, scale: Scale) -> Requests {
    let messages = (0..scale.single_events).map(|n| track(run, n, scale.records));
    Arc::new(messages.map(|message| request("/v1/t", &message)).collect())
}

fn track(run: &str, n: usize, records: usize) -> Value {
    let person = n * STRIDE % records;
    json!({
        "type": "track",
        "event": EVENTS[n % EVENTS.len()],
        "messageId": format!("node-next-1780000000000-{run}-{n:012}"),
        "userId": user(person), "anonymousId": device(person),
        "timestamp": format!("2026-05-{:02}T{:02}:{:02}:{:02}.551Z", 1 + n % 28, n % 24, n % 60, n % 59),
        "properties": {
            "product_id": format!("tea-{:04}", n % 1000), "sku": format!("T-{:04}", n % 1000), "category": "Tea",
            "name": "Jasmine pearls, 100 g", "brand": "Leaf & Co", "price": 14.5, "quantity": 1 + n % 3, "currency": "EUR",
            "position": n % 40
        },
        "context": {
            "library": {"name": "@segment/analytics-node", "version": "3.1.0"}, "locale": "en-GB", "timezone": "Europe/London",
            "page": {"path": format!("/tea/{}", n % 1000), "title": "Jasmine pearls"},
            "userAgent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0)"
        }
    })
}

fn user(person: usize) -> String {
    format!("customer-{person:06}")
}

fn device(person: usize) -> String {
    format!("5b1e6f0a-0000-4000-8000-{person:012}")
}

fn batched(messages: &[Value], size: usize) -> Requests {
    let bodies = messages.chunks(size).map(|batch| json!({"batch": batch}));
    Arc::new(bodies.map(|body| request("/v1/batch", &body)).collect())
}

fn request(path: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let key = STANDARD.encode(format!("{WRITE_KEY}:"));
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Basic {key}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
