//! A group of messages becomes stored in one transaction: deduplicate, store events, place, unify, append to the log.
//!
//! Promises: all of the group or nothing; a message stored before changes nothing again; a constant number of statements however many
//! messages there are; an event of a known record that says nothing new writes its event row and a share of one change row.

use crate::base::ids::HashKey;
use crate::base::{CustomerId, EventId, IdentifierId, Instant, RecordId};
use crate::customer::purchases::{self, Reported, Touched};
use crate::customer::store::NewEvent;
use crate::customer::{Customer, EventKey, Golden, changes, store as customer_store};
use crate::feed::{Change, Log};
use crate::identity::store::Known;
use crate::identity::{NewLink, NewRecord, Record, RecordTraits, Rules, Verdict, store as identity_store};
use crate::ingest::message::Assertion;
use crate::ingest::{Message, RefusedItem, Rejection, Sightings, insert_rejected};
use crate::pipeline::Services;
use crate::store::StoreError;
use entity::{ChangeOp, Topic};
use sea_orm::DatabaseTransaction;
use serde_json::{Map, json};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Accepted,
    /// The same message was stored before.
    Duplicate,
}

/// What one request brought: messages to store and items to list as refused.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub source_id: crate::base::SourceId,
    pub source_key: String,
    pub received_at: Instant,
    pub messages: Vec<Message>,
    pub refused: Vec<RefusedItem>,
}

impl Delivery {
    fn rejections(&self) -> impl Iterator<Item = Rejection<'_>> {
        let (source, received_at) = (self.source_id, self.received_at);
        self.refused.iter().map(move |item| Rejection {
            source,
            received_at,
            item,
        })
    }

    /// How many items it brings, refused ones included.
    pub fn size(&self) -> usize {
        self.messages.len() + self.refused.len()
    }
}

/// A message with what intake derived from it before asking the database.
struct Item<'m> {
    message: &'m Message,
    key: EventKey,
    identifiers: Vec<Shown<'m>>,
    arrival: i64,
    is_new: bool,
}

/// An identifier that a message shows, normalised.
struct Shown<'m> {
    id: IdentifierId,
    assertion: &'m Assertion,
    value: String,
    /// The record is kept under it, so the record has shown it if it exists at all: nobody needs to ask.
    names_record: bool,
}

/// Stores deliveries in the caller's transaction. `first_arrival` begins a run of free arrival instants.
/// Answers an outcome for each message of each delivery, in order.
pub async fn store(
    tx: &DatabaseTransaction,
    services: &Services,
    now: Instant,
    first_arrival: i64,
    deliveries: &[Delivery],
) -> Result<Vec<Vec<Outcome>>, StoreError> {
    let (store, rules) = (&services.store, &services.rules);
    let keys = store.hash_key();
    let messages = deliveries.iter().flat_map(|delivery| &delivery.messages);
    let mut items: Vec<Item<'_>> = messages
        .zip(first_arrival..)
        .map(|(message, arrival)| Item::of(keys, rules, message, arrival))
        .collect();

    let known = identity_store::known(tx, &asked_pairs(&items)).await?;
    store_events(tx, &mut items).await?;
    let mut people = People::load(tx, &known, &items).await?;
    people.state_traits(&items);
    let links = new_links(&items, &known, &people);
    let mut log = Log::new(store.ids(), now, actor(deliveries));
    people.save(tx, &items, &mut log).await?;
    identity_store::insert_links(tx, &links).await?;
    let reports: Vec<Reported<'_>> = items.iter().filter(|item| item.is_new).filter_map(Item::reported).collect();
    for purchase in purchases::apply(tx, keys, &reports).await? {
        log.note(purchase_change(&purchase, people.customer_of(purchase.key.record)));
    }
    insert_rejected(tx, store, deliveries.iter().flat_map(Delivery::rejections)).await?;
    let new_messages = items.iter().filter(|item| item.is_new).map(|item| item.message);
    services.catalogue.discover(tx, &Sightings::of(new_messages)).await?;
    // Repetitions and refusals are no news.
    if !log.is_empty() {
        log.write(tx, now).await?;
    }

    let mut outcomes = items
        .iter()
        .map(|item| if item.is_new { Outcome::Accepted } else { Outcome::Duplicate });
    Ok(deliveries
        .iter()
        .map(|delivery| outcomes.by_ref().take(delivery.messages.len()).collect())
        .collect())
}

impl<'m> Item<'m> {
    fn of(keys: &HashKey, rules: &Rules, message: &'m Message, arrival: i64) -> Self {
        let record = keys.record(message.source, &message.external_key);
        let usable = message.identifiers.iter().filter_map(|assertion| {
            let Verdict::Usable(value) = rules.judge(assertion.kind, &assertion.namespace, &assertion.value) else {
                return None;
            };
            Some(Shown {
                id: keys.identifier(sea_orm::ActiveEnum::to_value(&assertion.kind), &assertion.namespace, &value),
                assertion,
                value,
                names_record: message.is_kept_under(assertion),
            })
        });
        let key = EventKey {
            record,
            id: keys.event(&message.message_id),
        };
        Self {
            message,
            key,
            identifiers: usable.collect(),
            arrival,
            is_new: false,
        }
    }

    fn reported(&self) -> Option<Reported<'m>> {
        let report = self.message.order.as_ref()?;
        Some(Reported {
            record: self.key.record,
            event: self.key.id,
            at: self.message.occurred_at,
            report,
        })
    }

    /// Whether storing it changes more than the list of events, so that its record must be locked.
    fn changes_record(&self) -> bool {
        self.is_new && (!self.message.traits.is_empty() || self.message.order.is_some())
    }
}

/// Whoever sent all of it, for the log.
fn actor(deliveries: &[Delivery]) -> String {
    let mut sources = deliveries.iter().map(|delivery| delivery.source_key.as_str());
    let first = sources.next().unwrap_or_default();
    if sources.all(|source| source == first) {
        format!("source:{first}")
    } else {
        "intake".to_owned()
    }
}

/// Every record with each identifier of which it is not certain that a known record has shown it; one without any by itself.
fn asked_pairs(items: &[Item<'_>]) -> HashSet<(RecordId, Option<IdentifierId>)> {
    let mut pairs = HashSet::new();
    for item in items {
        let mut unsure = item.identifiers.iter().filter(|shown| !shown.names_record).peekable();
        if unsure.peek().is_none() {
            pairs.insert((item.key.record, None));
        }
        pairs.extend(unsure.map(|shown| (item.key.record, Some(shown.id))));
    }
    pairs
}

/// Stores what was not stored before; of two alike in one group the first counts.
async fn store_events(tx: &DatabaseTransaction, items: &mut [Item<'_>]) -> Result<(), StoreError> {
    let mut first_places = HashMap::with_capacity(items.len());
    for (place, item) in items.iter().enumerate() {
        first_places.entry(item.key).or_insert(place);
    }
    let mut events: Vec<NewEvent<'_>> = first_places
        .values()
        .map(|place| NewEvent {
            key: items[*place].key,
            arrival: items[*place].arrival,
            message: items[*place].message,
        })
        .collect();
    // In key order neighbours land on one index page, and two transactions with the same messages wait in one order.
    events.sort_unstable_by_key(|event| event.key);
    let stored = customer_store::insert_events(tx, &events).await?;
    for (place, item) in items.iter_mut().enumerate() {
        item.is_new = first_places[&item.key] == place && stored.contains(&item.key);
    }
    Ok(())
}

/// The records and customers a group touches: who is known, who is new, and what changed about them.
struct People<'k> {
    known: &'k Known,
    /// Known records under lock, with what they say now.
    locked: BTreeMap<RecordId, Record>,
    customers: HashMap<CustomerId, Customer>,
    new: BTreeMap<RecordId, NewRecord>,
    /// Known records whose standing traits were stated anew.
    restated: HashSet<RecordId>,
}

impl<'k> People<'k> {
    async fn load(tx: &DatabaseTransaction, known: &'k Known, items: &[Item<'_>]) -> Result<Self, StoreError> {
        let mut new: BTreeMap<RecordId, NewRecord> = BTreeMap::new();
        for item in items.iter().filter(|item| !known.customers.contains_key(&item.key.record)) {
            new.entry(item.key.record).or_insert_with(|| NewRecord {
                id: item.key.record,
                source: item.message.source,
                external_key: item.message.external_key.clone(),
                // One record, one customer: a customer's id is the id of one of its records.
                customer: CustomerId(item.key.record.0),
                arrival: item.arrival,
                traits: RecordTraits::default(),
            });
        }
        let to_lock: HashSet<RecordId> = items
            .iter()
            .filter(|item| item.changes_record() && known.customers.contains_key(&item.key.record))
            .map(|item| item.key.record)
            .collect();
        let locked = identity_store::lock_records(tx, to_lock).await?;
        let locked: BTreeMap<RecordId, Record> = locked.into_iter().map(|record| (record.id, record)).collect();
        let with_traits: HashSet<RecordId> = items
            .iter()
            .filter(|item| item.is_new && !item.message.traits.is_empty())
            .map(|item| item.key.record)
            .collect();
        let owners: HashSet<CustomerId> = locked
            .values()
            .filter(|record| with_traits.contains(&record.id))
            .map(|record| record.customer)
            .collect();
        let customers = if owners.is_empty() {
            HashMap::new()
        } else {
            customer_store::customers(tx, &owners.into_iter().collect::<Vec<_>>()).await?
        };
        Ok(Self {
            known,
            locked,
            customers,
            new,
            restated: HashSet::new(),
        })
    }

    fn state_traits(&mut self, items: &[Item<'_>]) {
        for item in items.iter().filter(|item| item.is_new) {
            let (record, message) = (item.key.record, item.message);
            let traits = match (self.new.get_mut(&record), self.locked.get_mut(&record)) {
                (Some(new), _) => &mut new.traits,
                (None, Some(locked)) => &mut locked.traits,
                (None, None) => continue,
            };
            for (name, value) in &message.traits {
                traits.state(name, value, message.occurred_at, item.key.id);
            }
            if !message.traits.is_empty() {
                self.restated.insert(record);
            }
        }
    }

    fn customer_of(&self, record: RecordId) -> CustomerId {
        self.known.customers.get(&record).copied().unwrap_or(CustomerId(record.0))
    }

    async fn save(&self, tx: &DatabaseTransaction, items: &[Item<'_>], log: &mut Log) -> Result<(), StoreError> {
        let mut events: BTreeMap<RecordId, Received> = BTreeMap::new();
        for item in items.iter().filter(|item| item.is_new) {
            let received = events.entry(item.key.record).or_insert_with(|| Received::nothing_yet(item));
            received.ids.push(item.key.id);
            received.last_at = received.last_at.max(item.message.occurred_at);
            received.last_arrival = item.arrival;
        }
        let new: Vec<NewRecord> = self.new.values().cloned().collect();
        let created: Vec<Customer> = new.iter().map(created_customer).collect();
        let updated = self.updated_customers();
        identity_store::insert_records(tx, &new).await?;
        identity_store::update_traits(tx, self.locked.values().filter(|record| self.restated.contains(&record.id))).await?;
        customer_store::insert_customers(tx, &created).await?;
        customer_store::update_customers(
            tx,
            &updated.iter().map(|(_, customer, _)| customer.clone()).collect::<Vec<_>>(),
        )
        .await?;

        let created: HashMap<RecordId, &Customer> = new.iter().map(|record| record.id).zip(&created).collect();
        let updated: HashMap<RecordId, (&Customer, &Map<_, _>)> = updated
            .iter()
            .map(|(record, customer, changed)| (*record, (customer, changed)))
            .collect();
        for (record, received) in events {
            let customer = self.customer_of(record);
            let change = Change {
                topic: Topic::Event,
                op: ChangeOp::Created,
                entity: record.0,
                record: Some(record),
                customer: Some(customer),
                rev: received.last_arrival,
                occurred_at: received.last_at,
                changed: Map::new(),
                events: received.ids,
            };
            log.note(if let Some(created) = created.get(&record) {
                let changed = changes(&Golden::default(), &created.golden);
                Change {
                    topic: Topic::Customer,
                    entity: customer.0,
                    rev: created.rev,
                    changed,
                    ..change
                }
            } else if let Some((updated, changed)) = updated.get(&record) {
                let changed = (*changed).clone();
                Change {
                    topic: Topic::Customer,
                    op: ChangeOp::Updated,
                    entity: customer.0,
                    rev: updated.rev,
                    changed,
                    ..change
                }
            } else {
                change
            });
        }
        Ok(())
    }

    /// Customers whose golden values differ from what is stored, each with the record that changed them and what differs.
    fn updated_customers(&self) -> Vec<(RecordId, Customer, Map<String, serde_json::Value>)> {
        let mut updated = Vec::new();
        for record in self.locked.values().filter(|record| self.restated.contains(&record.id)) {
            let Some(stored) = self.customers.get(&record.customer) else {
                continue;
            };
            let golden = Golden::of([&record.traits]);
            let changed = changes(&stored.golden, &golden);
            if !changed.is_empty() {
                updated.push((
                    record.id,
                    Customer {
                        golden,
                        rev: stored.rev + 1,
                        ..stored.clone()
                    },
                    changed,
                ));
            }
        }
        updated
    }
}

/// The new events of one record.
struct Received {
    ids: Vec<EventId>,
    last_at: Instant,
    last_arrival: i64,
}

impl Received {
    fn nothing_yet(item: &Item<'_>) -> Self {
        Self {
            ids: Vec::new(),
            last_at: item.message.occurred_at,
            last_arrival: item.arrival,
        }
    }
}

fn created_customer(record: &NewRecord) -> Customer {
    Customer {
        id: record.customer,
        created_at: Instant::from_micros(record.arrival),
        golden: Golden::of([&record.traits]),
        rev: 1,
    }
}

/// Identifiers that records show for the first time.
fn new_links(items: &[Item<'_>], known: &Known, people: &People<'_>) -> Vec<NewLink> {
    let mut shown = HashSet::new();
    let mut links = Vec::new();
    for item in items.iter().filter(|item| item.is_new) {
        let is_known = known.customers.contains_key(&item.key.record);
        for Shown {
            id: identifier,
            assertion,
            value,
            names_record,
        } in &item.identifiers
        {
            let pair = (item.key.record, *identifier);
            let was_shown = known.shown.contains(&pair) || (*names_record && is_known);
            if was_shown || !shown.insert(pair) {
                continue;
            }
            links.push(NewLink {
                record: item.key.record,
                customer: people.customer_of(item.key.record),
                identifier: *identifier,
                kind: assertion.kind,
                namespace: assertion.namespace.clone(),
                value: value.clone(),
                event: item.key.id,
                arrival: item.arrival,
                occurred_at: item.message.occurred_at,
            });
        }
    }
    links
}

fn purchase_change(purchase: &Touched, customer: CustomerId) -> Change {
    let (amount_before, refunded_before) = purchase.before.unwrap_or((None, 0));
    let (amount, refunded) = purchase.after;
    let mut changed = Map::new();
    if purchase.created || amount != amount_before {
        changed.insert("amountMinor".to_owned(), json!([amount_before, amount]));
        changed.insert("currency".to_owned(), json!([null, purchase.currency.code()]));
    }
    if refunded != refunded_before {
        changed.insert("refundedMinor".to_owned(), json!([refunded_before, refunded]));
    }
    Change {
        topic: Topic::Purchase,
        op: if purchase.created {
            ChangeOp::Created
        } else {
            ChangeOp::Updated
        },
        entity: purchase.key.id.0,
        record: Some(purchase.key.record),
        customer: Some(customer),
        rev: purchase.rev,
        occurred_at: purchase.occurred_at,
        changed,
        events: Vec::new(),
    }
}
