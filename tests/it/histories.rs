//! Generated histories of messages and decisions: what may not change their outcome does not, and every id resolves for ever.
//!
//! Each history is told in a world of its own: its ids, addresses and numbers carry the world's number, so that many worlds live in
//! one database and none touches another.

use crate::support::{TestApp, on_both};
use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tributary::access::Actor;
use tributary::base::{CustomerId, DecisionId, RecordId};
use tributary::identity::store as identity_store;
use tributary::pipeline::mend::{self, Decision, Doer};

/// A small generator of its own, so that a history is its seed.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn happens(&mut self, percent: u64) -> bool {
        self.roll(100) < percent
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = usize::try_from(self.roll(i as u64 + 1)).unwrap();
            items.swap(i, j);
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// The source, and the message without the world's number.
    Send(usize, Value),
    Merge(String, String),
    /// Of the customer of this record, every record whose place among them has its bit set.
    Split(String, u64),
    /// The decision of this earlier step.
    Revoke(usize),
    Block(String),
}

/// One telling of a history.
struct World<'a> {
    app: &'a TestApp,
    keys: &'a [String; 2],
    number: u64,
    decisions: BTreeMap<usize, DecisionId>,
}

/// What a history came to: who shares a customer with whom, under whose id, with which values.
#[derive(Debug, PartialEq)]
struct Picture(BTreeMap<BTreeSet<String>, (String, Map<String, Value>)>);

const SOURCES: [(&str, &str); 2] = [("web", "WEB"), ("app", "APP")];

async fn keys(app: &TestApp) -> [String; 2] {
    [
        app.source(SOURCES[0].0, SOURCES[0].1).await,
        app.source(SOURCES[1].0, SOURCES[1].1).await,
    ]
}

/// Fills the world's number into a text with `#`.
fn of_world(text: &str, number: u64) -> String {
    text.replace('#', &format!("{number:05}"))
}

impl World<'_> {
    fn record(&self, name: &str) -> RecordId {
        let (source, key) = name.split_once('/').unwrap();
        let keys = self.app.server.services.store.hash_key();
        keys.record(keys.source(source), &of_world(key, self.number))
    }

    async fn tell(&mut self, steps: &[Step], batch: impl FnMut() -> usize) {
        let numbered: Vec<(usize, &Step)> = steps.iter().enumerate().collect();
        self.tell_numbered(&numbered, batch).await;
    }

    /// Sends what follows each other at one source in batches of the sizes that `batch` answers.
    async fn tell_numbered(&mut self, steps: &[(usize, &Step)], mut batch: impl FnMut() -> usize) {
        let mut waiting: Vec<Value> = Vec::new();
        let mut at = 0;
        let mut size = batch();
        for (place, step) in steps {
            match step {
                Step::Send(source, message) => {
                    if *source != at || waiting.len() >= size {
                        self.send(at, &mut waiting).await;
                        size = batch();
                    }
                    at = *source;
                    waiting.push(serde_json::from_str(&of_world(&message.to_string(), self.number)).unwrap());
                }
                decision => {
                    self.send(at, &mut waiting).await;
                    self.decide(*place, decision).await;
                }
            }
        }
        self.send(at, &mut waiting).await;
    }

    async fn send(&self, source: usize, waiting: &mut Vec<Value>) {
        if !waiting.is_empty() {
            self.app
                .batch(&self.keys[source], Value::Array(std::mem::take(waiting)))
                .await;
        }
    }

    async fn decide(&mut self, place: usize, step: &Step) {
        let services = &self.app.server.services;
        let decision = match step {
            Step::Send(..) => return,
            Step::Merge(into, from) => Decision::Merge {
                into: CustomerId(self.record(into).0),
                from: CustomerId(self.record(from).0),
            },
            Step::Split(of, bits) => {
                let customer = CustomerId(self.record(of).0);
                let resolved = identity_store::resolve(services.store.reader(), &[customer]).await.unwrap();
                let Some(today) = resolved.get(&customer) else { return };
                let mut records = identity_store::records_of(services.store.reader(), &[*today]).await.unwrap();
                records.sort_by(|a, b| (a.source, &a.external_key).cmp(&(b.source, &b.external_key)));
                let side = records.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1);
                Decision::Split {
                    customer,
                    records: side.map(|(_, record)| record.id).collect(),
                }
            }
            Step::Revoke(earlier) => match self.decisions.get(earlier) {
                Some(decision) => Decision::Revoke { decision: *decision },
                None => return,
            },
            Step::Block(email) => Decision::Block {
                kind: entity::IdentifierKind::Email,
                namespace: String::new(),
                value: of_world(email, self.number),
            },
        };
        let doer = Doer {
            actor: Actor::new("test"),
            reason: "so it is".to_owned(),
        };
        // What stands in the way of a decision stands there in every telling.
        match mend::decide(services, &doer, &decision).await {
            Ok(decided) => drop(self.decisions.insert(place, decided.decision)),
            Err(mend::MendError::Store(error)) => panic!("{step:?}: {error}"),
            Err(_) => {}
        }
    }

    async fn picture(&self) -> Picture {
        let store = &self.app.server.services.store;
        let sql = format!(
            "SELECT s.key, r.external_key, r.id, r.customer_id, CAST(c.golden AS text) FROM record r
             JOIN source s ON s.id = r.source_id JOIN customer c ON c.id = r.customer_id WHERE r.external_key LIKE '%{:05}%'",
            self.number
        );
        let rows = store
            .reader()
            .query_all_raw(Statement::from_string(store.backend(), sql))
            .await
            .unwrap();
        let world = format!("{:05}", self.number);
        let mut names = BTreeMap::new();
        let mut customers: BTreeMap<uuid::Uuid, (BTreeSet<String>, Map<String, Value>)> = BTreeMap::new();
        for row in rows {
            let (source, key): (String, String) = (row.try_get_by_index(0).unwrap(), row.try_get_by_index(1).unwrap());
            let name = format!("{source}/{}", key.replace(&world, "#"));
            let (id, customer): (uuid::Uuid, uuid::Uuid) = (row.try_get_by_index(2).unwrap(), row.try_get_by_index(3).unwrap());
            let golden: String = row.try_get_by_index(4).unwrap();
            names.insert(id, name.clone());
            let entry = customers.entry(customer).or_default();
            entry.0.insert(name);
            entry.1 = serde_json::from_str(&golden.replace(&world, "#")).unwrap();
        }
        let named = customers
            .into_iter()
            .map(|(id, (records, golden))| (records, (names[&id].clone(), golden)));
        Picture(named.collect())
    }

    async fn count(&self, kinds: &str, because: &str) -> i64 {
        let sql = format!(
            "SELECT COUNT(*) FROM identity_decision d JOIN record r ON r.id = d.record_id
             WHERE r.external_key LIKE '%{:05}%' AND d.kind IN ({kinds}) AND CAST(d.evidence AS text) LIKE '%{because}%'",
            self.number
        );
        self.app.scalar(&sql).await
    }
}

/// A history of some twenty steps among few people who share devices, phones and addresses.
fn history(seed: u64) -> Vec<Step> {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for _ in 0..8 {
        dice.roll(2);
    }
    let mut steps: Vec<Step> = Vec::new();
    let count = 16 + dice.roll(12);
    for n in 0..count {
        let (user, device) = (dice.roll(3), dice.roll(3));
        let source = usize::try_from(dice.roll(2)).unwrap();
        let time = format!("2026-05-01T00:{:02}:{:02}Z", dice.roll(60), n);
        let id = format!("m{n}-#");
        let step = match dice.roll(100) {
            0..=19 => Step::Send(
                source,
                json!({"type": "track", "event": "Seen", "anonymousId": format!("d{device}-#"), "messageId": id, "timestamp": time}),
            ),
            20..=34 => Step::Send(
                source,
                json!({"type": "track", "event": "Seen", "userId": format!("u{user}-#"), "anonymousId": format!("d{device}-#"), "messageId": id, "timestamp": time}),
            ),
            35..=74 => {
                let mut traits = Map::new();
                if dice.happens(60) {
                    traits.insert("email".to_owned(), format!("e{}-#@x.example", dice.roll(3)).into());
                }
                if dice.happens(60) {
                    traits.insert("phone".to_owned(), format!("+1202#{:02}", 10 + dice.roll(2)).into());
                }
                if dice.happens(80) {
                    traits.insert(
                        "firstName".to_owned(),
                        ["Ada", "Ben", "Cleo"][usize::try_from(dice.roll(3)).unwrap()].into(),
                    );
                }
                let mut message = json!({"type": "identify", "traits": traits, "messageId": id, "timestamp": time});
                match dice.roll(10) {
                    // A form on a device that nobody has seen.
                    0..=3 => message["anonymousId"] = format!("f{n}-#").into(),
                    4..=5 => message["anonymousId"] = format!("d{device}-#").into(),
                    6..=7 => message["userId"] = format!("u{user}-#").into(),
                    _ => {
                        message["userId"] = format!("u{user}-#").into();
                        message["anonymousId"] = format!("d{device}-#").into();
                    }
                }
                Step::Send(source, message)
            }
            75..=79 => Step::Send(
                source,
                json!({"type": "alias", "userId": format!("u{user}-#"), "previousId": format!("d{device}-#"), "messageId": id, "timestamp": time}),
            ),
            80..=85 => Step::Merge(a_record(&mut dice), a_record(&mut dice)),
            86..=92 => Step::Split(a_record(&mut dice), 1 + dice.roll(30)),
            93..=97 => Step::Revoke(usize::try_from(dice.roll(n + 1)).unwrap()),
            _ => Step::Block(format!("e{}-#@x.example", dice.roll(3))),
        };
        steps.push(step);
    }
    // A decision somewhere in the middle, and its end.
    let at = steps.len() / 2;
    let decision = match dice.happens(50) {
        true => Step::Merge(a_record(&mut dice), a_record(&mut dice)),
        false => Step::Split(a_record(&mut dice), 1 + dice.roll(30)),
    };
    steps[at] = decision;
    steps.push(Step::Revoke(at));
    steps
}

/// Devices and addresses, far below every limit.
fn unguarded(dice: &mut Dice) -> Vec<Step> {
    let count = 6 + dice.roll(12);
    let message = |n: u64| {
        let mut message = json!({
            "type": "identify", "anonymousId": format!("d{}-#", dice.roll(9)), "messageId": format!("m{n}-#"),
            "timestamp": format!("2026-05-01T00:00:{n:02}Z"), "traits": {"n": n},
        });
        if dice.happens(60) {
            message["traits"]["email"] = format!("e{}-#@x.example", dice.roll(4)).into();
        }
        Step::Send(usize::try_from(dice.roll(2)).unwrap(), message)
    };
    (0..count).map(message).collect()
}

fn a_record(dice: &mut Dice) -> String {
    let source = SOURCES[usize::try_from(dice.roll(2)).unwrap()].0;
    match dice.happens(70) {
        true => format!("{source}/u:u{}-#", dice.roll(3)),
        false => format!("{source}/a:d{}-#", dice.roll(3)),
    }
}

/// How often each guard was hit, in histories of a hundred.
#[derive(Debug, Default)]
struct Hits {
    histories: usize,
    limit: usize,
    moved: usize,
    disagreement: usize,
    split: usize,
    revoked: usize,
}

impl Hits {
    async fn count(&mut self, world: &World<'_>) {
        self.histories += 1;
        self.limit += usize::from(world.count("11, 12", "\"limit\"").await > 0);
        self.moved += usize::from(world.count("12", "").await > 0);
        self.disagreement += usize::from(world.count("11, 12", "disagreement").await > 0);
    }

    fn count_decisions(&mut self, steps: &[Step], world: &World<'_>) {
        let done = |wanted: fn(&Step) -> bool| world.decisions.keys().any(|place| wanted(&steps[*place]));
        self.split += usize::from(done(|step| matches!(step, Step::Split(..))));
        self.revoked += usize::from(done(|step| matches!(step, Step::Revoke(_))));
    }

    fn check(&self) {
        for (what, hits) in [
            ("limit", self.limit),
            ("latest", self.moved),
            ("disagreement", self.disagreement),
            ("split", self.split),
            ("revoke", self.revoked),
        ] {
            assert!(
                hits * 5 >= self.histories,
                "only {hits} of {} histories hit: {what}",
                self.histories
            );
        }
    }
}

/// Long runs take more: `TRIBUTARY_HISTORIES=500`.
fn histories() -> u64 {
    std::env::var("TRIBUTARY_HISTORIES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(40)
}

on_both! {
    async fn replay_repetition_and_other_batches_change_nothing(app: TestApp) {
        let keys = keys(&app).await;
        let mut hits = Hits::default();
        for seed in 0..histories() {
            let steps = history(seed);
            let world = |n| World { app: &app, keys: &keys, number: seed * 10 + n, decisions: BTreeMap::new() };
            let mut one_by_one = world(0);
            one_by_one.tell(&steps, || 1).await;
            let picture = one_by_one.picture().await;
            hits.count(&one_by_one).await;
            hits.count_decisions(&steps, &one_by_one);

            // The same in batches of any size.
            let mut dice = Dice(seed + 77);
            let mut in_batches = world(1);
            in_batches.tell(&steps, || usize::try_from(1 + dice.roll(9)).unwrap()).await;
            assert_eq!(in_batches.picture().await, picture, "batches, history {seed}: {steps:#?}");

            // Every message again at some later place, and all of them at the end.
            let mut repeated: Vec<(usize, &Step)> = Vec::new();
            for (place, step) in steps.iter().enumerate() {
                repeated.push((place, step));
                let earlier = usize::try_from(dice.roll(place as u64 + 1)).unwrap();
                if matches!(steps[earlier], Step::Send(..)) {
                    repeated.push((earlier, &steps[earlier]));
                }
            }
            repeated.extend(steps.iter().enumerate().filter(|(_, step)| matches!(step, Step::Send(..))));
            let mut again = world(2);
            again.tell_numbered(&repeated, || 3).await;
            assert_eq!(again.picture().await, picture, "repetition, history {seed}: {steps:#?}");
        }
        hits.check();
        app.stop().await;
    }

    async fn a_decision_taken_back_was_never_made(app: TestApp) {
        let keys = keys(&app).await;
        let (mut compared, mut made) = (0, 0);
        for seed in 1000..1000 + histories() {
            // Somewhere a decision, at the end its revocation.
            let mut dice = Dice(seed);
            let mut steps = unguarded(&mut dice);
            let at = steps.len() * 2 / 3;
            let heard_of = |dice: &mut Dice| {
                let Step::Send(source, message) = &steps[usize::try_from(dice.roll(at as u64)).unwrap()] else { unreachable!() };
                format!("{}/a:{}", SOURCES[*source].0, message["anonymousId"].as_str().unwrap())
            };
            let decision = match dice.happens(40) {
                true => Step::Merge(heard_of(&mut dice), heard_of(&mut dice)),
                false => Step::Split(heard_of(&mut dice), 1 + dice.roll(6)),
            };
            let without = steps.clone();
            steps.insert(at, decision);
            steps.push(Step::Revoke(at));
            let world = |n| World { app: &app, keys: &keys, number: seed * 10 + n, decisions: BTreeMap::new() };
            let mut with_decision = world(0);
            with_decision.tell(&steps, || 1).await;
            if with_decision.decisions.len() < 2 {
                continue;
            }
            made += 1;
            let mut never_made = world(1);
            never_made.tell(&without, || 1).await;
            // Where a device passed on because of it, later messages came under other records; else there is no difference.
            let picture = with_decision.picture().await;
            if picture.0.keys().flatten().any(|name| name.contains("##")) {
                continue;
            }
            compared += 1;
            assert_eq!(picture, never_made.picture().await, "history {seed}: {steps:#?}");
        }
        assert!(made * 3 >= histories() && compared * 4 >= made, "{compared} of {made} compared");
        app.stop().await;
    }

    async fn without_a_guard_any_order_gives_the_same_customers(app: TestApp) {
        let keys = keys(&app).await;
        for seed in 2000..2000 + histories() {
            let mut dice = Dice(seed);
            let mut steps = unguarded(&mut dice);
            let world = |n| World { app: &app, keys: &keys, number: seed * 10 + n, decisions: BTreeMap::new() };
            let (mut first, mut second) = (world(0), world(1));
            first.tell(&steps, || 4).await;
            dice.shuffle(&mut steps);
            second.tell(&steps, || 3).await;
            assert_eq!(first.count("11, 12", "").await, 0, "a guard was hit");
            let without_ids = |picture: Picture| picture.0.into_iter().map(|(records, (_, golden))| (records, golden)).collect::<Vec<_>>();
            assert_eq!(without_ids(first.picture().await), without_ids(second.picture().await), "history {seed}: {steps:#?}");
        }
        app.stop().await;
    }
}
