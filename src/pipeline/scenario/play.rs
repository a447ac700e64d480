//! Plays a story through the verbs that the doors of a server call, and judges it on the way.

use super::checks::Check;
use super::feed_steps::{BEGINNING, Subscriptions};
use super::fields::Fault;
use super::stages;
use super::steps::{Step, StoryDeed, counted};
use super::story::Story;
use crate::access::Actor;
use crate::base::{CustomerId, Instant, RecordId, SourceId};
use crate::due;
use crate::feed::TransactionId;
use crate::identity::store::neighbours::customers_of;
use crate::ingest::Item;
use crate::ingest::item::EventItem;
use crate::ingest::message::Assertion;
use crate::ingest::source::{self, NewSource};
use crate::pipeline::mend::{self, Decision, Doer};
use crate::pipeline::records::{self, RecordsDoor};
use crate::pipeline::refresh::Refresher;
use crate::pipeline::{Services, changes, jobs};
use entity::{Channel, EventKind, IdentifierKind};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, try_join_all};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The source that says everything in stories.
const SOURCE: &str = "story";
/// Between two things that are said: nobody says two at one instant, and of those that are the order of ids would decide. It is the smallest
/// step of the clock, so that nothing becomes due by it.
const BREATH: Duration = Duration::from_micros(1);

/// Between what is given and the first step.
const AFTER_SET_UP: Duration = Duration::from_millis(1);

/// Plays a story on services that stand on an empty store, with a clock moved by hand that stands where the story begins, while the loops
/// of the change log run. Answers what differs from what must hold, in words.
///
/// # Errors
/// Names the step that was refused, and why.
pub async fn play(services: &Services, door: &RecordsDoor, story: &Story) -> Result<Vec<String>, Fault> {
    let stage = Stage {
        services,
        door,
        source: services.store.hash_key().source(SOURCE),
        refresher: Refresher::new(services),
        subscriptions: Subscriptions::new(services.feed.clone()),
        records: Mutex::default(),
        last: Mutex::default(),
        at: Mutex::new(story.clock),
        messages: AtomicU64::new(0),
    };
    stage.set_up(story).await?;
    let mut differences = Vec::new();
    for step in &story.steps {
        stage.take(step, 0).await?;
        if step.settles {
            stage.settle().await.map_err(|problem| Fault::new(&step.path, problem))?;
        }
        for check in story
            .checks
            .iter()
            .filter(|check| check.after.is_some() && check.after == step.n)
        {
            differences.extend(stage.judge(check).await?);
        }
    }
    for check in story.checks.iter().filter(|check| check.after.is_none()) {
        differences.extend(stage.judge(check).await?);
    }
    Ok(differences)
}

struct Stage<'a> {
    services: &'a Services,
    door: &'a RecordsDoor,
    source: SourceId,
    refresher: Refresher,
    subscriptions: Subscriptions,
    /// Of each customer, by key.
    records: Mutex<BTreeMap<String, RecordId>>,
    /// The last transaction that a step made.
    last: Mutex<Option<TransactionId>>,
    /// Where the story's clock stands: that of the services goes ahead by a breath for each thing said.
    at: Mutex<Instant>,
    messages: AtomicU64,
}

impl Stage<'_> {
    async fn set_up(&self, story: &Story) -> Result<(), Fault> {
        let new = NewSource {
            key: SOURCE.to_owned(),
            name: SOURCE.to_owned(),
            channel: Channel::Other,
            trust: 0,
            write_key: None,
            max_event_bytes: None,
            max_batch_bytes: None,
            review_aliases: false,
        };
        let at = |place: &str, problem: &dyn Display| Fault::new(place, problem.to_string());
        source::create(&self.services.store, self.services.now(), &Actor::new("test"), new)
            .await
            .map_err(|error| at("given", &error))?;
        for (place, given) in story.customers.iter().enumerate() {
            let said = self.say(&given.key, Some(given.attributes.clone()), Vec::new()).await;
            said.map_err(|problem| at(&format!("given.customers[{place}]"), &problem))?;
        }
        self.settle().await.map_err(|problem| at("given", &problem))?;
        // Arrivals run ahead of a clock that stands: what is given came before the first step.
        self.services.clock.advance(AFTER_SET_UP);
        let remembered = self.subscriptions.remember_head(BEGINNING).await;
        remembered.map_err(|problem| at("given", &problem))
    }

    /// `turn`: of the repetition around it.
    fn take<'s>(&'s self, step: &'s Step, turn: u64) -> BoxFuture<'s, Result<(), Fault>> {
        let fault = |problem: String| Fault::new(&step.path, problem);
        async move {
            match &step.deed {
                StoryDeed::Repeat { times, step } => {
                    for turn in 1..=*times {
                        self.take(step, turn).await?;
                    }
                    Ok(())
                }
                StoryDeed::InParallel(steps) => try_join_all(steps.iter().map(|step| self.take(step, turn))).await.map(drop),
                StoryDeed::CustomerSet { customer, attributes } => {
                    let attributes = counted(attributes, turn);
                    self.say(customer, Some(attributes), Vec::new()).await.map_err(fault)
                }
                StoryDeed::EventIngest {
                    customer,
                    name,
                    id,
                    properties,
                } => {
                    let event = happened(name, id, properties.clone(), self.at());
                    self.say(customer, None, vec![event]).await.map_err(fault)
                }
                StoryDeed::CustomerMerge { survivor, absorbed } => self.merge(survivor, absorbed).await.map_err(fault),
                StoryDeed::ClockAdvanceTo(to) => self.advance_to(*to).await.map_err(fault),
                StoryDeed::Feed(step) => self.subscriptions.take_step(step).await.map_err(fault),
            }
        }
        .boxed()
    }

    /// Says something of a person, as a server sends it.
    async fn say(&self, key: &str, attributes: Option<Map<String, Value>>, events: Vec<EventItem>) -> Result<(), String> {
        self.services.clock.advance(BREATH);
        let number = self.messages.fetch_add(1, Ordering::SeqCst);
        let item = Item {
            key: key.to_owned(),
            message_id: Some(format!("{key}-{number}")),
            at: None,
            identifiers: vec![Assertion {
                kind: IdentifierKind::UserId,
                namespace: String::new(),
                value: key.to_owned(),
            }],
            traits: attributes.map(Value::Object),
            events,
            purchases: Vec::new(),
            consents: Vec::new(),
        };
        let ingested = records::ingest(self.services, self.door, self.source, vec![item]).await;
        let ingested = ingested.map_err(|error| error.to_string())?;
        for (record, receipt) in ingested.receipts {
            receipt.map_err(|refusal| format!("{} {}", refusal.field.unwrap_or_default(), refusal.message))?;
            let mut records = self.records.lock().expect("no panic happens while it is held");
            records.insert(key.to_owned(), record);
        }
        if let Some(transaction) = ingested.transaction {
            *self.last.lock().expect("no panic happens while it is held") = Some(transaction);
        }
        Ok(())
    }

    fn at(&self) -> Instant {
        *self.at.lock().expect("no panic happens while it is held")
    }

    /// As a person decides it.
    async fn merge(&self, survivor: &str, absorbed: &str) -> Result<(), String> {
        let (into, from) = (self.customer(survivor).await?, self.customer(absorbed).await?);
        let decision = match (into, from) {
            (Some(into), Some(from)) => Decision::Merge { into, from },
            _ => return Err("there is no such customer".to_owned()),
        };
        self.services.clock.advance(BREATH);
        let doer = Doer {
            actor: Actor::new("test"),
            reason: "a step of a story".to_owned(),
        };
        let decided = mend::decide(self.services, &doer, &decision).await;
        decided.map(drop).map_err(|error| error.to_string())
    }

    /// Stops at every instant on the way at which somebody is due.
    async fn advance_to(&self, to: Instant) -> Result<(), String> {
        if to < self.at() {
            return Err(format!("{to} is over: the clock stands at {}", self.at()));
        }
        while let Some(next) = due::earliest(self.services.store.reader())
            .await
            .map_err(|error| error.to_string())?
        {
            if next > to || next <= self.services.now() {
                break;
            }
            self.move_to(next);
            self.settle().await?;
        }
        self.move_to(to);
        *self.at.lock().expect("no panic happens while it is held") = to;
        Ok(())
    }

    fn move_to(&self, to: Instant) {
        let ahead = to.micros() - self.services.now().micros();
        let ahead = Duration::from_micros(u64::try_from(ahead).unwrap_or(0));
        self.services.clock.advance(ahead);
    }

    /// Runs until nothing is due, and what was done can be read.
    async fn settle(&self) -> Result<(), String> {
        let now = self.services.now();
        while self.refresher.run_once(now).await.map_err(|error| error.to_string())? > 0 {}
        let runner = jobs::runner(self.services);
        while runner.run_once(now).await {}
        let last = *self.last.lock().expect("no panic happens while it is held");
        let Some(transaction) = last else { return Ok(()) };
        match changes::settled(self.services, transaction).await {
            Ok(true) => Ok(()),
            Ok(false) => Err("what was done could not be read in time".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn judge(&self, check: &Check) -> Result<Vec<String>, Fault> {
        let fault = |problem: String| Fault::new(&check.path, problem);
        let customer = match check.customer() {
            Some(key) => self.customer(key).await.map_err(fault)?,
            None => None,
        };
        let judged = check.judge(&self.services.store, &self.subscriptions, customer).await;
        judged.map_err(fault)
    }

    async fn customer(&self, key: &str) -> Result<Option<CustomerId>, String> {
        let record = self
            .records
            .lock()
            .expect("no panic happens while it is held")
            .get(key)
            .copied();
        let Some(record) = record else { return Ok(None) };
        let customers = customers_of(self.services.store.reader(), &[record].into()).await;
        Ok(customers.map_err(|error| error.to_string())?.get(&record).copied())
    }
}

/// An order is told as sources tell it, and everything else by its name. Of what the order was worth nothing is known unless properties say.
fn happened(name: &str, id: &str, mut properties: Map<String, Value>, at: Instant) -> EventItem {
    let mut name = name;
    if name == stages::ORDER {
        name = stages::ORDER_AS_TOLD;
        properties.entry("order_id").or_insert_with(|| id.into());
    }
    EventItem {
        kind: EventKind::Track,
        name: Some(name.to_owned()),
        at: Some(at),
        message_id: Some(id.to_owned()),
        properties: Some(Value::Object(properties)),
    }
}
