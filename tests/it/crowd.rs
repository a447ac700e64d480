//! Eight clients at once: identify, track, order, alias, merge and split at random over a thousand people. What comes of it is what
//! comes of the same steps one after another, in the order of their recorded arrival.

use crate::support::{Backend, TestApp, on_both};
use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tributary::access::Actor;
use tributary::base::{CustomerId, RecordId};
use tributary::identity::store as identity_store;
use tributary::pipeline::Services;
use tributary::pipeline::mend::{self, Decision, Doer};

const CLIENTS: u64 = 8;
const PEOPLE: u64 = 1_000;

/// A step that was acknowledged, with the records it named by their external keys.
#[derive(Clone, Debug)]
enum Done {
    Message(Value),
    Merge(String, String),
    Split(String, Vec<String>),
}

struct Client {
    services: Services,
    http: reqwest::Client,
    base: String,
    key: String,
    dice: u64,
    number: u64,
    /// By message id or decision id.
    done: BTreeMap<String, Done>,
}

impl Client {
    fn roll(&mut self, sides: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice % sides
    }

    /// A few people are much more active than the rest, or nobody would ever meet.
    fn person(&mut self) -> u64 {
        match self.roll(3) {
            0 => self.roll(20),
            _ => self.roll(PEOPLE),
        }
    }

    async fn run(mut self, steps: u64) -> Self {
        for n in 0..steps {
            match self.roll(100) {
                0..=3 => self.merge().await,
                4..=6 => self.split().await,
                _ => self.message(n).await,
            }
        }
        self
    }

    async fn message(&mut self, n: u64) {
        let person = self.person();
        // Some write their partner's address.
        let other = person ^ 1;
        let id = format!("{}-{n}", self.number);
        // Half of the devices are shared with a neighbour.
        let device = format!("d{}", if self.roll(2) == 0 { person } else { person / 2 });
        let mut message = match self.roll(10) {
            0..=2 => json!({"type": "track", "event": "Seen", "anonymousId": device}),
            3..=4 => json!({"type": "track", "event": "Order Completed", "userId": format!("u{person}"),
                "properties": {"order_id": id, "total": 12.5, "currency": "EUR"}}),
            5 => json!({"type": "alias", "userId": format!("u{person}"), "previousId": device}),
            6 => json!({"type": "identify", "userId": format!("u{person}"), "traits": {"email": format!("e{other}@x.example")}}),
            _ => {
                json!({"type": "identify", "userId": format!("u{person}"), "anonymousId": device, "traits": {"email": format!("e{person}@x.example"), "n": n}})
            }
        };
        message["messageId"] = id.clone().into();
        message["timestamp"] = format!("2026-05-01T{:02}:{:02}:{:02}Z", n / 3600 % 24, n / 60 % 60, n % 60).into();
        loop {
            let sent = self
                .http
                .post(format!("{}/v1/batch", self.base))
                .basic_auth(&self.key, Some(""));
            let answer = sent.json(&json!({"batch": [message]})).send().await.expect("an answer");
            if answer.status().is_success() {
                break;
            }
            assert_eq!(answer.status(), 503, "{}", answer.text().await.unwrap());
        }
        self.done.insert(id, Done::Message(message));
    }

    async fn decide(&mut self, decision: &Decision) -> Option<String> {
        let doer = Doer {
            actor: Actor::new(format!("client-{}", self.number)),
            reason: "at random".to_owned(),
        };
        match mend::decide(&self.services, &doer, decision).await {
            Ok(decided) => Some(decided.decision.to_string()),
            Err(mend::MendError::Store(error)) => panic!("{decision:?}: {error}"),
            Err(_) => None,
        }
    }

    async fn merge(&mut self) {
        let (into, from) = (format!("u:u{}", self.person()), format!("u:u{}", self.person()));
        let decision = Decision::Merge {
            into: CustomerId(record(&self.services, &into).0),
            from: CustomerId(record(&self.services, &from).0),
        };
        if let Some(id) = self.decide(&decision).await {
            self.done.insert(id, Done::Merge(into, from));
        }
    }

    async fn split(&mut self) {
        let of = format!("u:u{}", self.person());
        let customer = CustomerId(record(&self.services, &of).0);
        let reader = self.services.store.reader().clone();
        let Some(today) = identity_store::resolve(&reader, &[customer]).await.unwrap().remove(&customer) else {
            return;
        };
        let mut records = identity_store::records_of(&reader, &[today]).await.unwrap();
        let bits = self.roll(1 << 12);
        records.sort_by(|a, b| a.external_key.cmp(&b.external_key));
        let side: Vec<_> = records
            .into_iter()
            .enumerate()
            .filter(|(i, _)| bits >> (i % 12) & 1 == 1)
            .map(|(_, record)| record)
            .collect();
        let decision = Decision::Split {
            customer,
            records: side.iter().map(|record| record.id).collect(),
        };
        if let Some(id) = self.decide(&decision).await {
            self.done.insert(
                id,
                Done::Split(of, side.into_iter().map(|record| record.external_key).collect()),
            );
        }
    }
}

fn record(services: &Services, external_key: &str) -> RecordId {
    let keys = services.store.hash_key();
    keys.record(keys.source("web"), external_key)
}

/// Who shares a customer with whom, under whose id.
async fn partition(app: &TestApp) -> BTreeMap<BTreeSet<String>, String> {
    let rows = rows(app, "SELECT id, external_key, customer_id FROM record").await;
    let mut names = BTreeMap::new();
    let mut customers: BTreeMap<uuid::Uuid, BTreeSet<String>> = BTreeMap::new();
    for row in &rows {
        let (id, name, customer): (uuid::Uuid, String, uuid::Uuid) = (
            row.try_get_by_index(0).unwrap(),
            row.try_get_by_index(1).unwrap(),
            row.try_get_by_index(2).unwrap(),
        );
        names.insert(id, name.clone());
        customers.entry(customer).or_default().insert(name);
    }
    customers
        .into_iter()
        .map(|(id, records)| (records, names[&id].clone()))
        .collect()
}

async fn rows(app: &TestApp, sql: &str) -> Vec<sea_orm::QueryResult> {
    let store = &app.server.services.store;
    store
        .reader()
        .query_all_raw(Statement::from_string(store.backend(), sql))
        .await
        .unwrap()
}

/// Everything that was acknowledged, in the order of its recorded arrival.
async fn in_order(app: &TestApp, mut done: BTreeMap<String, Done>) -> Vec<Done> {
    let sql = "SELECT message_id, arrival FROM event UNION ALL SELECT CAST(id AS text), arrival FROM identity_decision WHERE kind IN (2, 3) AND event_id IS NULL";
    let sql = match app.server.services.store.is_postgres() {
        true => sql.to_owned(),
        // The text of a UUID as it is written.
        false => sql.replace(
            "CAST(id AS text)",
            "lower(substr(hex(id),1,8)||'-'||substr(hex(id),9,4)||'-'||substr(hex(id),13,4)||'-'||substr(hex(id),17,4)||'-'||substr(hex(id),21))",
        ),
    };
    let mut arrivals: Vec<(i64, String)> = rows(app, &sql)
        .await
        .iter()
        .map(|row| (row.try_get_by_index(1).unwrap(), row.try_get_by_index(0).unwrap()))
        .collect();
    arrivals.sort();
    let ordered = arrivals.into_iter().filter_map(|(_, id)| done.remove(&id)).collect();
    assert!(done.is_empty(), "acknowledged and not stored: {done:?}");
    ordered
}

/// Tells a second, empty server the same, one after another.
async fn tell(live: &TestApp, app: &TestApp, key: &str, steps: &[Done]) {
    let mut waiting = Vec::new();
    for step in steps {
        let decision = match step {
            Done::Message(message) => {
                waiting.push(message.clone());
                if waiting.len() == 200 {
                    app.batch(key, Value::Array(std::mem::take(&mut waiting))).await;
                }
                continue;
            }
            decision => decision,
        };
        if !waiting.is_empty() {
            app.batch(key, Value::Array(std::mem::take(&mut waiting))).await;
        }
        let services = &app.server.services;
        let customer = |name: &String| CustomerId(record(services, name).0);
        let decision = match decision {
            Done::Message(_) => continue,
            Done::Merge(into, from) => Decision::Merge {
                into: customer(into),
                from: customer(from),
            },
            Done::Split(of, records) => Decision::Split {
                customer: customer(of),
                records: named(app, records).await,
            },
        };
        let doer = Doer {
            actor: Actor::new("again"),
            reason: "again".to_owned(),
        };
        if let Err(error) = mend::decide(services, &doer, &decision).await {
            let Done::Split(of, records) = step else {
                panic!("{step:?}: {error}")
            };
            for name in records.iter().chain([of]) {
                println!("== {name}");
                println!("live  {:?}", story(live, name).await);
                println!("model {:?}", story(app, name).await);
            }
            panic!("{step:?}: {error}");
        }
    }
    if !waiting.is_empty() {
        app.batch(key, Value::Array(waiting)).await;
    }
}

/// What was decided about a record, for who looks for the first difference.
async fn story(app: &TestApp, name: &str) -> Vec<String> {
    let sql = format!(
        "SELECT CAST(d.kind AS bigint), CAST(d.evidence AS text), d.actor, d.arrival FROM decision_record r JOIN identity_decision d ON d.id = r.decision_id JOIN record x ON x.id = r.record_id WHERE x.external_key = '{name}' ORDER BY d.arrival"
    );
    let mut found: Vec<String> = Vec::new();
    let names: BTreeMap<String, String> = rows(app, "SELECT id, external_key FROM record")
        .await
        .iter()
        .map(|row| {
            (
                row.try_get_by_index::<uuid::Uuid>(0).unwrap().to_string(),
                row.try_get_by_index(1).unwrap(),
            )
        })
        .collect();
    for row in rows(app, &sql).await {
        let mut text = format!(
            "{} {} {} {}",
            row.try_get_by_index::<i64>(0).unwrap(),
            row.try_get_by_index::<String>(1).unwrap(),
            row.try_get_by_index::<String>(2).unwrap(),
            row.try_get_by_index::<i64>(3).unwrap() % 1_000_000_000
        );
        for (id, name) in &names {
            text = text.replace(id, name);
        }
        found.push(text);
    }
    found
}

async fn named(app: &TestApp, names: &[String]) -> Vec<RecordId> {
    let list = names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    let found = rows(app, &format!("SELECT id FROM record WHERE external_key IN ({list})")).await;
    assert_eq!(found.len(), names.len(), "{names:?}");
    found.iter().map(|row| RecordId(row.try_get_by_index(0).unwrap())).collect()
}

async fn crowd(app: TestApp, operations: u64) {
    let key = app.source("web", "WEB").await;
    let clients = (0..CLIENTS).map(|number| {
        let client = Client {
            services: app.server.services.clone(),
            http: reqwest::Client::new(),
            base: app.base.clone(),
            key: key.clone(),
            dice: 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(number + 1) | 1,
            number,
            done: BTreeMap::new(),
        };
        tokio::spawn(client.run(operations / CLIENTS))
    });
    let mut done = BTreeMap::new();
    for client in clients.collect::<Vec<_>>() {
        done.append(&mut client.await.unwrap().done);
    }
    let messages: Vec<&Value> = done
        .values()
        .filter_map(|step| {
            if let Done::Message(message) = step {
                Some(message)
            } else {
                None
            }
        })
        .collect();
    let orders = messages
        .iter()
        .filter(|message| message["event"] == "Order Completed")
        .count();
    assert_eq!(app.count("event").await, i64::try_from(messages.len()).unwrap());
    assert_eq!(app.count("purchase").await, i64::try_from(orders).unwrap());
    let kinds = (
        app.count("identity_decision WHERE kind = 2").await,
        app.count("identity_decision WHERE kind = 3").await,
    );
    assert!(kinds.0 > 20 && kinds.1 > 20, "merges and splits: {kinds:?}");
    if app.server.services.store.is_postgres() {
        let sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
        assert_eq!(app.scalar(sql).await, 0, "deadlocks");
    }

    let steps = in_order(&app, done).await;
    let model = TestApp::new(Backend::Sqlite).await;
    let model_key = model.source("web", "WEB").await;
    tell(&app, &model, &model_key, &steps).await;
    let (live, model_says) = (partition(&app).await, partition(&model).await);
    let differing: Vec<_> = live
        .iter()
        .filter(|(records, id)| model_says.get(*records) != Some(*id))
        .take(5)
        .collect();
    assert!(
        differing.is_empty() && live.len() == model_says.len(),
        "live has {} customers, the model {}; only live: {differing:#?}",
        live.len(),
        model_says.len()
    );
    assert_eq!(app.count("record").await, model.count("record").await);
    app.stop().await;
    model.stop().await;
}

on_both! {
    async fn eight_clients_at_once_come_to_what_one_after_another_comes_to(app: TestApp) {
        let soak = std::env::var("TRIBUTARY_SOAK").is_ok();
        crowd(app, if soak { 100_000 } else { 10_000 }).await;
    }
}
