//! Customers follow their records: rows go and come with merges and splits, golden values are computed again where records or what they
//! say have changed (`golden`), and every difference is news.
//!
//! Intake and decisions by hand share this: both hand in what placing changed and what records were told.

use super::golden::{Grounds, Outcome, Touched};
use crate::base::{CustomerId, EventId, Instant, RecordId};
use crate::customer::consent::Consent;
use crate::customer::{Customer, Golden, Survivorship, changes, store as customer_store};
use crate::feed::{Change, Log};
use crate::identity::decision::NewDecision;
use crate::identity::store::neighbours;
use crate::identity::{Difference, NewRecord, Record, store as identity_store};
use crate::pipeline::{Services, consents};
use crate::store::StoreError;
use entity::{ChangeOp, Topic};
use sea_orm::DatabaseTransaction;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A trait that a message states.
#[derive(Clone, Copy, Debug)]
pub struct Said<'m> {
    pub record: RecordId,
    pub name: &'m str,
    pub value: &'m Value,
    pub at: Instant,
    pub event: EventId,
    pub arrival: i64,
}

/// What happened to records, before customers follow.
#[derive(Debug, Default)]
pub struct Happened<'m> {
    pub difference: Difference,
    pub new: BTreeMap<RecordId, NewRecord>,
    pub said: Vec<Said<'m>>,
    /// What messages answered, all of it new.
    pub consents: Vec<Consent>,
    /// Customers of known records that said something, by record.
    pub customers: HashMap<RecordId, CustomerId>,
    pub arrival: i64,
    /// Customers whose golden values are to be computed again, though nothing was said of them.
    pub again: BTreeSet<CustomerId>,
}

/// The new events of one record.
#[derive(Clone, Debug)]
pub struct Received {
    pub events: Vec<EventId>,
    pub last_at: Instant,
    pub last_arrival: i64,
}

/// A record that passed from one customer to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    pub record: RecordId,
    pub from: CustomerId,
    pub to: CustomerId,
}

/// What became of customers.
#[derive(Debug, Default)]
pub struct Unified {
    created: BTreeMap<CustomerId, Customer>,
    updated: BTreeMap<CustomerId, (Customer, Map<String, Value>)>,
    /// Customers that are one with another now, that one, and the version they had.
    absorbed: BTreeMap<CustomerId, (CustomerId, i64)>,
    /// What customers answer otherwise than before.
    consents: Vec<Change>,
    /// Records that were there and changed hands.
    pub moved: Vec<Moved>,
}

/// Writes records and customers. Everything must be under lock.
pub async fn unify(tx: &DatabaseTransaction, services: &Services, mut happened: Happened<'_>) -> Result<Unified, StoreError> {
    let consents = consents::follow(tx, services.store.hash_key(), &happened).await?;
    let rules = services.rules.standing().rules;
    let survivorship = Survivorship::parse(&rules.golden).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let difference = &happened.difference;
    let speaking = || {
        happened
            .said
            .iter()
            .filter_map(|said| Some((said.record, *happened.customers.get(&said.record)?)))
    };
    // What was stored of everybody concerned, under the ids of before.
    let concerned: BTreeSet<CustomerId> = speaking()
        .map(|(_, customer)| customer)
        .chain(difference.vanished.keys().copied())
        .chain(difference.changed.iter().copied())
        .chain(happened.again.iter().copied())
        .collect();
    // Records that speak or move are read whole; of their companions no more is read than is asked.
    let whole: BTreeSet<RecordId> = speaking()
        .map(|(record, _)| record)
        .chain(difference.relinked.iter().map(|(record, _)| *record))
        .collect();
    let (concerned, whole): (Vec<_>, Vec<_>) = (concerned.into_iter().collect(), whole.into_iter().collect());
    let stored = match concerned.is_empty() {
        true => HashMap::new(),
        false => customer_store::customers(tx, &concerned).await?,
    };
    let records = match whole.is_empty() {
        true => Vec::new(),
        false => identity_store::records(tx, &whole).await?,
    };
    let mut known: BTreeMap<RecordId, Record> = records.into_iter().map(|record| (record.id, record)).collect();
    let restated = state(&happened.said, &mut happened.new, &mut known);
    let touched = Touched::by(&happened, &known);
    let others = touched.others(tx, &stored).await?;
    let speakers = known.values().map(|record| record.source);
    let speakers = speakers.chain(others.iter().map(|other| other.source).collect::<BTreeSet<_>>());
    let sources = services
        .sources
        .all(speakers.chain(happened.new.values().map(|record| record.source)))
        .await?;
    let grounds = Grounds {
        survivorship: &survivorship,
        sources: &sources,
        stored: &stored,
        known: &known,
        others: &others,
    };
    let mut unified = unified(&happened, &stored, touched.outcomes(&happened, &grounds));
    unified.consents = consents;
    let relinked = difference.relinked.iter();
    let moved = relinked.filter_map(|(record, to)| {
        let from = known.get(record)?.customer;
        Some(Moved {
            record: *record,
            from,
            to: *to,
        })
    });
    unified.moved = moved.collect();
    save(
        tx,
        &happened,
        &unified,
        restated.iter().filter_map(|record| known.get(record)),
    )
    .await?;
    Ok(unified)
}

/// Folds what was said into the records. Answers the known ones that changed.
fn state(
    said: &[Said<'_>],
    new: &mut BTreeMap<RecordId, NewRecord>,
    known: &mut BTreeMap<RecordId, Record>,
) -> BTreeSet<RecordId> {
    let mut restated = BTreeSet::new();
    for said in said {
        let traits = match (new.get_mut(&said.record), known.get_mut(&said.record)) {
            (Some(new), _) => &mut new.traits,
            (None, Some(known)) => {
                restated.insert(said.record);
                &mut known.traits
            }
            (None, None) => continue,
        };
        traits.state(said.name, said.value, said.at, said.event, said.arrival);
    }
    restated
}

fn unified(happened: &Happened<'_>, stored: &HashMap<CustomerId, Customer>, outcomes: Vec<Outcome>) -> Unified {
    let difference = &happened.difference;
    let mut unified = Unified::default();
    for Outcome { id, golden, created_at } in outcomes {
        let is_moved = difference.changed.contains(&id);
        let Some(before) = stored.get(&id) else {
            // A customer that was absorbed and comes back goes on above every version it had.
            let is_first = happened.new.contains_key(&RecordId(id.0));
            let rev = if is_first { 1 } else { happened.arrival };
            let placed_at = happened.arrival;
            unified.created.insert(
                id,
                Customer {
                    id,
                    created_at,
                    golden,
                    rev,
                    placed_at,
                },
            );
            continue;
        };
        let changed = changes(&before.golden, &golden);
        if is_moved || !changed.is_empty() {
            let after = Customer {
                golden,
                created_at,
                rev: before.rev + 1,
                placed_at: if is_moved { happened.arrival } else { before.placed_at },
                ..before.clone()
            };
            unified.updated.insert(id, (after, changed));
        }
    }
    for (gone, stays) in &difference.vanished {
        let rev = stored.get(gone).map_or(happened.arrival, |customer| customer.rev + 1);
        unified.absorbed.insert(*gone, (*stays, rev));
    }
    unified
}

async fn save<'r>(
    tx: &DatabaseTransaction,
    happened: &Happened<'_>,
    unified: &Unified,
    restated: impl Iterator<Item = &'r Record>,
) -> Result<(), StoreError> {
    let difference = &happened.difference;
    let new: Vec<NewRecord> = happened.new.values().cloned().collect();
    identity_store::insert_records(tx, &new).await?;
    identity_store::update_traits(tx, restated).await?;
    neighbours::relink(tx, &difference.relinked).await?;
    neighbours::update_values(tx, &difference.values, happened.arrival).await?;
    let gone: Vec<CustomerId> = unified.absorbed.keys().copied().collect();
    customer_store::delete_customers(tx, &gone).await?;
    let created: Vec<Customer> = unified.created.values().cloned().collect();
    customer_store::insert_customers(tx, &created).await?;
    let updated: Vec<Customer> = unified.updated.values().map(|(customer, _)| customer.clone()).collect();
    customer_store::update_customers(tx, &updated).await
}

impl Unified {
    /// How many customers were there and have other values or records now.
    pub fn changed(&self) -> usize {
        self.updated.len()
    }

    /// Notes what became of customers, and the events that records received: events ride on the news of their customer where there is
    /// some, so that a new person is one row.
    pub fn tell(
        &self,
        log: &mut Log,
        received: BTreeMap<RecordId, Received>,
        customer_of: impl Fn(RecordId) -> CustomerId,
        now: Instant,
    ) {
        let mut untold: BTreeSet<CustomerId> = self.created.keys().chain(self.updated.keys()).copied().collect();
        for (record, received) in received {
            let customer = customer_of(record);
            let event_news = Change {
                topic: Topic::Event,
                op: ChangeOp::Created,
                entity: record.0,
                record: Some(record),
                customer: Some(customer),
                rev: received.last_arrival,
                occurred_at: received.last_at,
                changed: Map::new(),
                events: received.events,
            };
            let customer_news = untold.remove(&customer).then(|| self.news_of(customer, now)).flatten();
            log.note(match customer_news {
                Some(news) => Change {
                    record: Some(record),
                    occurred_at: event_news.occurred_at,
                    events: event_news.events,
                    ..news
                },
                None => event_news,
            });
        }
        for customer in untold {
            if let Some(news) = self.news_of(customer, now) {
                log.note(news);
            }
        }
        for (gone, (stays, rev)) in &self.absorbed {
            log.note(Change {
                topic: Topic::Customer,
                op: ChangeOp::Deleted,
                entity: gone.0,
                record: None,
                customer: Some(*stays),
                rev: *rev,
                occurred_at: now,
                changed: Map::from_iter([("mergedInto".to_owned(), json!([null, stays.to_string()]))]),
                events: Vec::new(),
            });
        }
        for change in &self.consents {
            log.note(change.clone());
        }
    }

    fn news_of(&self, id: CustomerId, now: Instant) -> Option<Change> {
        let (op, customer, changed) = match (self.created.get(&id), self.updated.get(&id)) {
            (Some(created), _) => (ChangeOp::Created, created, changes(&Golden::default(), &created.golden)),
            (None, Some((updated, changed))) => (ChangeOp::Updated, updated, changed.clone()),
            (None, None) => return None,
        };
        Some(Change {
            topic: Topic::Customer,
            op,
            entity: id.0,
            record: None,
            customer: Some(id),
            rev: customer.rev,
            occurred_at: now,
            changed,
            events: Vec::new(),
        })
    }
}

/// Notes decisions, each as news of the customer it leaves its record, or the first one concerned, with.
pub fn tell_decisions(log: &mut Log, decisions: &[NewDecision], customer_of: impl Fn(RecordId) -> Option<CustomerId>) {
    for decision in decisions {
        let first = decision
            .record
            .or_else(|| decision.concerned.first().map(|customer| RecordId(customer.0)));
        let mut changed = Map::new();
        changed.insert("kind".to_owned(), json!([null, format!("{:?}", decision.kind)]));
        changed.insert("evidence".to_owned(), json!([null, decision.evidence]));
        if let Some(revoked) = decision.revokes {
            changed.insert("revokes".to_owned(), json!([null, revoked.to_string()]));
        }
        log.note(Change {
            topic: Topic::Identity,
            op: ChangeOp::Created,
            entity: decision.id.0,
            record: decision.record,
            customer: first.and_then(&customer_of),
            rev: decision.arrival,
            occurred_at: Instant::from_micros(decision.arrival),
            changed,
            events: Vec::new(),
        });
    }
}
