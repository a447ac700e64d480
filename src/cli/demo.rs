//! A small company to look at: seven channels, a dozen people, three months of visits and orders. The same every time, so starting it
//! again stores nothing twice.

use super::server::Server;
use super::settings::Settings;
use crate::access::{Actor, key};
use crate::base::{Ids, Instant, SourceId};
use crate::ingest::source::{self, NewSource, SourceError};
use crate::ingest::{Arrival, Body, Limits};
use crate::pipeline::intake::Delivery;
use anyhow::{Context as _, bail};
use entity::Channel;
use serde_json::{Value, json};
use std::time::Duration;

/// The demo's own database, so that it never mixes with real data.
const DATABASE: &str = "sqlite://tributary-demo.db";
/// The day the company opened.
const OPENED: &str = "2026-05-04T08:00:00Z";
const LIMITS: Limits = Limits {
    event_bytes: 32 * 1024,
    events: 2500,
};

const SOURCES: [(&str, &str, Channel); 7] = [
    ("demo-web", "Web shop", Channel::Web),
    ("demo-app", "Mobile app", Channel::App),
    ("demo-pos", "Shop in Leeds", Channel::Pos),
    ("demo-crm", "Customer records", Channel::Crm),
    ("demo-email", "Newsletter", Channel::Email),
    ("demo-call-centre", "Telephone service", Channel::CallCentre),
    ("demo-social", "Social media", Channel::Social),
];

const PRODUCTS: [(&str, &str, &str, i64); 6] = [
    ("tea-001", "Assam, 250 g", "Tea", 890),
    ("tea-002", "Jasmine pearls, 100 g", "Tea", 1450),
    ("pot-001", "Cast-iron pot", "Pots", 4900),
    ("cup-001", "Two cups", "Cups", 1800),
    ("cup-002", "Travel cup", "Cups", 2400),
    ("gift-01", "Gift box", "Gifts", 3500),
];

const PEOPLE: [(&str, &str, &str); 12] = [
    ("Ada", "Hughes", "Leeds"),
    ("Ben", "Okafor", "London"),
    ("Chloe", "Martin", "Lyon"),
    ("Deniz", "Yilmaz", "Berlin"),
    ("小明", "王", "上海"),
    ("丽", "陈", "北京"),
    ("Grace", "O'Neill", "Dublin"),
    ("Hugo", "Silva", "Porto"),
    ("Ines", "García", "Madrid"),
    ("Jonas", "Berg", "Oslo"),
    ("Kiran", "Patel", "Leicester"),
    ("Lena", "Nowak", "Kraków"),
];

/// Settings of the demo: a database of its own unless one was chosen, a fresh admin key unless one was preset, a log for people.
pub fn prepare(settings: &mut Settings, ids: &Ids) {
    if settings.database.url == "sqlite://tributary.db" {
        DATABASE.clone_into(&mut settings.database.url);
    }
    "text".clone_into(&mut settings.log.format);
    if settings.auth.admin_key.is_empty() {
        settings.auth.admin_key = key::new_key(key::KeyKind::Api, ids).text;
    }
}

/// Makes the sources and sends everything through the same intake as any channel.
pub async fn feed(server: &Server) -> anyhow::Result<()> {
    let actor = Actor::new("demo");
    let now = server.services.now();
    for (source_key, name, channel) in SOURCES {
        let new = NewSource {
            key: source_key.to_owned(),
            name: name.to_owned(),
            channel,
            trust: if channel == Channel::Crm { 10 } else { 0 },
            write_key: None,
            max_event_bytes: None,
            max_batch_bytes: None,
            review_aliases: false,
        };
        match source::create(&server.services.store, now, &actor, new).await {
            Ok(_) | Err(SourceError::KeyTaken(_)) => {}
            Err(error) => return Err(error).context("making the demo's sources"),
        }
        let batch = json!({"batch": story(source_key)}).to_string();
        let arrival = Arrival {
            source: server.services.store.hash_key().source(source_key),
            received_at: now,
            protected_traits: &[],
            is_internal_id: |_| false,
            address: None,
        };
        deliver(server, source_key, &batch, &arrival).await?;
    }
    Ok(())
}

async fn deliver(server: &Server, source_key: &str, batch: &str, arrival: &Arrival<'_>) -> anyhow::Result<()> {
    let body = Body::batch(batch.as_bytes()).map_err(|fault| anyhow::anyhow!(fault.message))?;
    let (messages, refused) = body
        .into_messages(LIMITS, arrival, server.services.store.ids())
        .map_err(|fault| anyhow::anyhow!(fault.message))?;
    if let Some(item) = refused.first() {
        bail!("the demo's own event {} was refused: {}", item.index, item.refusal.message);
    }
    let source_id: SourceId = arrival.source;
    let delivery = Delivery {
        source_id,
        source_key: source_key.to_owned(),
        reviews_aliases: false,
        received_at: arrival.received_at,
        messages,
        refused: Vec::new(),
    };
    server.intake.deliver(delivery).await.context("storing the demo")?;
    Ok(())
}

/// What one source tells in three months.
fn story(source_key: &str) -> Vec<Value> {
    let people = PEOPLE.iter().enumerate().filter(|(i, _)| knows(source_key, *i));
    let mut messages: Vec<Value> = people
        .flat_map(|(i, (first, last, city))| told_of(source_key, i, first, last, city))
        .collect();
    for (n, message) in messages.iter_mut().enumerate() {
        message["messageId"] = format!("{source_key}-{n}").into();
        message["context"]["library"] = json!({"name": "demo", "version": "1"});
    }
    messages
}

/// Not every channel knows everybody.
fn knows(source_key: &str, person: usize) -> bool {
    match source_key {
        "demo-web" => true,
        "demo-app" => person.is_multiple_of(2),
        "demo-pos" => person.is_multiple_of(3),
        "demo-crm" => person % 2 == 1,
        "demo-email" => person % 4 != 3,
        "demo-call-centre" => person % 5 == 1,
        _ => person % 6 == 2,
    }
}

fn told_of(source_key: &str, i: usize, first: &str, last: &str, city: &str) -> Vec<Value> {
    let user = format!("c-{:03}", i + 1);
    let email = format!("customer{}@example.test", i + 1);
    match source_key {
        "demo-web" => {
            let device = format!("browser-{i}");
            let mut told = vec![
                json!({"type": "page", "name": "Home", "anonymousId": device, "timestamp": day(i, 0)}),
                json!({"type": "track", "event": "Product Viewed", "anonymousId": device, "properties": product(i), "timestamp": day(i, 0)}),
                json!({"type": "identify", "userId": user, "anonymousId": device, "timestamp": day(i, 1),
                    "traits": {"firstName": first, "lastName": last, "email": email, "address": {"city": city}}}),
            ];
            told.extend((0..=i % 3).map(|n| order(&user, i, n)));
            if i % 4 == 1 {
                let properties = json!({"order_id": format!("w-{i}-0"), "total": money(PRODUCTS[i % 6].3), "currency": "EUR"});
                told.push(json!({"type": "track", "event": "Order Refunded", "userId": user, "properties": properties, "timestamp": day(i, 20)}));
            }
            told
        }
        "demo-app" => vec![
            json!({"type": "identify", "userId": user, "anonymousId": format!("phone-{i}"), "timestamp": day(i, 30),
                "traits": {"email": email, "firstName": first}, "context": {"device": {"id": format!("device-{i}")}}}),
            json!({"type": "screen", "name": "Offers", "userId": user, "timestamp": day(i, 31)}),
            json!({"type": "track", "event": "Product Added", "userId": user, "properties": product(i + 1), "timestamp": day(i, 31)}),
        ],
        "demo-pos" => vec![
            json!({"type": "identify", "userId": format!("card-{i}"), "timestamp": day(i, 45), "traits": {"name": format!("{first} {last}"), "email": email}}),
            json!({"type": "track", "event": "Order Completed", "userId": format!("card-{i}"), "timestamp": day(i, 45),
                "properties": {"order_id": format!("till-{i}"), "revenue": "18.00", "currency": "EUR", "products": [product(3)]}}),
        ],
        "demo-crm" => vec![
            json!({"type": "identify", "userId": format!("crm-{i}"), "timestamp": day(i, 60),
            "traits": {"first_name": first, "last_name": last, "email": email, "phone": format!("+44 20 7946 0{:03}", 100 + i)}}),
        ],
        "demo-email" => vec![
            json!({"type": "track", "event": "Email Opened", "userId": format!("news-{i}"), "timestamp": day(i, 70),
                "properties": {"campaign_name": "Spring"}, "context": {"traits": {"email": email}}}),
            json!({"type": "track", "event": "Email Link Clicked", "userId": format!("news-{i}"), "timestamp": day(i, 70),
                "properties": {"campaign_name": "Spring", "link_url": "https://shop.example.test/spring"}}),
        ],
        "demo-call-centre" => vec![
            json!({"type": "track", "event": "Live Chat Conversation Started", "userId": format!("caller-{i}"),
            "timestamp": day(i, 80), "properties": {"agent_name": "Sam"}, "context": {"traits": {"email": email}}}),
        ],
        _ => vec![
            json!({"type": "track", "event": "Product Shared", "anonymousId": format!("social-{i}"), "timestamp": day(i, 90),
            "properties": product(i)}),
        ],
    }
}

/// The instant `days` after the opening, each person at an hour of their own.
fn day(person: usize, days: u64) -> String {
    let opened = Instant::parse(OPENED).unwrap_or_default();
    let offset = days * 24 * 3600 + u64::try_from(person).unwrap_or(0) * 1_877;
    opened.plus(Duration::from_secs(offset)).to_string()
}

fn product(i: usize) -> Value {
    let (sku, name, category, price) = PRODUCTS[i % PRODUCTS.len()];
    json!({"product_id": sku, "name": name, "category": category, "price": money(price), "quantity": 1})
}

fn order(user: &str, person: usize, n: usize) -> Value {
    let products = [product(person + n), product(person + 2 * n + 1)];
    let revenue = PRODUCTS[(person + n) % 6].3 + PRODUCTS[(person + 2 * n + 1) % 6].3;
    let properties =
        json!({"order_id": format!("w-{person}-{n}"), "revenue": money(revenue), "currency": "EUR", "products": products});
    json!({"type": "track", "event": "Order Completed", "userId": user, "properties": properties,
        "timestamp": day(person, 2 + 25 * u64::try_from(n).unwrap_or(0))})
}

fn money(minor: i64) -> String {
    format!("{}.{:02}", minor / 100, minor % 100)
}

/// Where to look, on standard output.
pub fn print_tour(server: &Server, admin_key: &str) {
    let base = format!("http://{}", server.address);
    say!(
        r#"
Tributary is running with a small demo company.

  Console    {base}/console#key={admin_key}
  GraphQL    {base}/graphql
  Admin key  {admin_key}
  Health     {base}/readyz      Metrics  {base}/metrics

Paste into the console, or send with curl:

  query {{ customers(first: 5) {{ totalCount nodes {{ id displayName email records {{ source {{ key }} externalKey }} }} }} }}

  query {{ customerBy(identifier: {{ kind: USER_ID, value: "c-002" }}) {{
    displayName city
    timeline(first: 10) {{ nodes {{ __typename occurredAt ... on Event {{ name channel }} ... on Purchase {{ orderId amount {{ decimal currency }} refunded {{ decimal }} }} }} }}
  }} }}

  curl -s {base}/graphql -H 'authorization: Bearer {admin_key}' -H 'content-type: application/json' \
    -d '{{"query":"{{ customers(first: 3) {{ nodes {{ displayName }} }} }}"}}'

Send events of your own: make a source with the mutation sourceCreate and point a Segment or RudderStack library at {base}.
Stop with Ctrl-C.
"#
    );
}
