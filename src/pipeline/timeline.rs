//! What a customer did and what the system decided, in one list. Each feature says where its entries lie (a lane) and reads them; here
//! they become one page, in one statement for all customers that are asked for.

use crate::base::CustomerId;
use crate::base::paging::Slice;
use crate::customer::consent::Consent;
use crate::customer::store::{EventFilter, consent_lane, event_lane, purchase_lane, read_consent, read_event, read_purchase};
use crate::customer::{Event, Purchase};
use crate::identity::store::JOIN_RECORDS;
use crate::identity::store::decisions::{decision_lane, read_decision};
use crate::ingest::store::JOIN_SOURCES;
use crate::store::walk::{self, Lane, Place, Who, Window};
use crate::store::{Rows, Store, StoreError};
use entity::{Channel, identity_decision};
use sea_orm::{ActiveEnum as _, DbBackend, QueryResult, Statement};
use std::collections::HashMap;

/// One entry.
#[derive(Clone, Debug)]
pub enum Entry {
    Event(Event),
    Purchase(Purchase),
    Consent(Consent),
    Decision(Box<identity_decision::Model>),
}

/// Which part of a timeline is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Asked {
    pub window: Window,
    /// None: no events.
    pub events: Option<EventFilter>,
    pub purchases: bool,
    pub consents: bool,
    pub decisions: bool,
    /// Channels of the sources whose records count; none: all.
    pub channels: Option<Vec<Channel>>,
}

impl Entry {
    /// Its place in the list; the order of places is the order of time.
    pub fn place(&self) -> Place {
        match self {
            Self::Event(event) => (event.occurred_at.micros(), event.key.id.0, event.key.record.0),
            Self::Purchase(purchase) => purchase.place(),
            Self::Consent(consent) => consent.place(),
            Self::Decision(decision) => (decision.arrival, decision.id, decision.id),
        }
    }
}

/// What one feature adds to the timeline.
struct Part {
    lane: Lane,
    read: fn(&QueryResult, &str) -> Result<Entry, StoreError>,
}

/// Every feature that has something to tell. The next one joins here, with an `Entry` of its own.
fn parts(asked: &Asked) -> Vec<Part> {
    let events = asked.events.as_ref().map(|filter| Part {
        lane: event_lane(filter),
        read: |row, prefix| Ok(Entry::Event(read_event(row, prefix)?)),
    });
    let purchases = asked.purchases.then(|| Part {
        lane: purchase_lane(),
        read: |row, prefix| Ok(Entry::Purchase(read_purchase(row, prefix)?)),
    });
    let consents = asked.consents.then(|| Part {
        lane: consent_lane(),
        read: |row, prefix| Ok(Entry::Consent(read_consent(row, prefix)?)),
    });
    let decisions = asked.decisions.then(|| Part {
        lane: decision_lane(),
        read: |row, prefix| Ok(Entry::Decision(Box::new(read_decision(row, prefix)?))),
    });
    [events, purchases, consents, decisions].into_iter().flatten().collect()
}

/// A page of the timeline of each customer; those without entries are missing. One statement however many customers.
pub async fn timelines(
    store: &Store,
    customers: &[CustomerId],
    asked: &Asked,
) -> Result<HashMap<CustomerId, Slice<Entry>>, StoreError> {
    let parts = parts(asked);
    if asked.channels.as_ref().is_some_and(Vec::is_empty) {
        return Ok(HashMap::new());
    }
    let lanes: Vec<Lane> = parts.iter().map(|part| part.lane.clone()).collect();
    let who = who(store.backend(), customers, asked.channels.as_deref());
    let mut timelines = HashMap::new();
    for (customer, walked) in walk::walk(store.reader(), who, &lanes, &asked.window).await? {
        let mut rows = Vec::with_capacity(walked.rows.len());
        for entry in walked.rows {
            rows.push((parts[entry.lane].read)(&entry.row, &entry.prefix)?);
        }
        timelines.insert(CustomerId(customer), Slice { rows, more: walked.more });
    }
    Ok(timelines)
}

/// The statement by which `timelines` reads, for whoever looks at its plan.
pub fn statement(backend: DbBackend, customers: &[CustomerId], asked: &Asked) -> Statement {
    let lanes: Vec<Lane> = parts(asked).into_iter().map(|part| part.lane).collect();
    walk::statement(
        backend,
        who(backend, customers, asked.channels.as_deref()),
        &lanes,
        &asked.window,
    )
}

fn who(backend: DbBackend, customers: &[CustomerId], channels: Option<&[Channel]>) -> Who {
    let (relation, values) = Rows::new()
        .id("customer_id", customers.iter().map(|customer| customer.0))
        .relation(backend);
    let mut sql = format!("SELECT v.customer_id AS list_id, r.id AS record_id FROM {relation} {JOIN_RECORDS}");
    if let Some(channels) = channels {
        let channels: Vec<String> = channels.iter().map(|channel| channel.to_value().to_string()).collect();
        sql += &format!(" {JOIN_SOURCES} AND s.channel IN ({})", channels.join(", "));
    }
    Who { sql, values }
}
