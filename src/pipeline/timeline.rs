//! What a customer did and what the system decided, in one list: each feature answers the entries of each record, here they are merged.

use crate::base::paging::Slice;
use crate::base::{CustomerId, RecordId, SourceId};
use crate::customer::store::{EventFilter, TimelineKey, TimelineWindow, timeline_events, timeline_purchases};
use crate::customer::{Event, Purchase};
use crate::identity::Record;
use crate::store::{Store, StoreError};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// One entry.
#[derive(Clone, Debug)]
pub enum Entry {
    Event(Event),
    Purchase(Purchase),
}

/// Which part of a timeline is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Asked {
    pub window: TimelineWindow,
    /// None: no events.
    pub events: Option<EventFilter>,
    pub purchases: bool,
    /// Sources whose records count; none: all.
    pub sources: Option<Vec<SourceId>>,
    /// Whether somebody will look at properties and contexts of events; what is asked for without them may come without.
    pub bodies: bool,
}

impl Entry {
    pub fn key(&self) -> TimelineKey {
        match self {
            Self::Event(event) => (event.occurred_at.micros(), event.key.id.0, event.key.record.0),
            Self::Purchase(purchase) => (purchase.occurred_at.micros(), purchase.key.id.0, purchase.key.record.0),
        }
    }

    fn record(&self) -> RecordId {
        match self {
            Self::Event(event) => event.key.record,
            Self::Purchase(purchase) => purchase.key.record,
        }
    }
}

/// A page of the timeline of each customer, from its records. A constant number of statements however many customers.
pub async fn timelines(
    store: &Store,
    records: &HashMap<CustomerId, Arc<Vec<Record>>>,
    asked: &Asked,
) -> Result<HashMap<CustomerId, Slice<Entry>>, StoreError> {
    let sources: Option<HashSet<SourceId>> = asked.sources.as_ref().map(|sources| sources.iter().copied().collect());
    let mut owners: HashMap<RecordId, CustomerId> = HashMap::new();
    for (customer, records) in records {
        let counted = records
            .iter()
            .filter(|record| sources.as_ref().is_none_or(|sources| sources.contains(&record.source)));
        owners.extend(counted.map(|record| (record.id, *customer)));
    }
    let mut ids: Vec<RecordId> = owners.keys().copied().collect();
    ids.sort_unstable();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let mut by_customer: HashMap<CustomerId, Vec<Entry>> = HashMap::new();
    for entry in entries(store, &ids, asked).await? {
        by_customer.entry(owners[&entry.record()]).or_default().push(entry);
    }
    let pages = by_customer.into_iter().map(|(customer, mut entries)| {
        entries.sort_unstable_by_key(Entry::key);
        if !asked.window.oldest_first {
            entries.reverse();
        }
        (customer, Slice::from_one_more(entries, asked.window.page.first))
    });
    Ok(pages.collect())
}

async fn entries(store: &Store, records: &[RecordId], asked: &Asked) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::new();
    if let Some(filter) = &asked.events {
        entries.extend(
            timeline_events(store.reader(), records, &asked.window, filter)
                .await?
                .into_iter()
                .map(Entry::Event),
        );
    }
    if asked.purchases {
        entries.extend(
            timeline_purchases(store.reader(), records, &asked.window)
                .await?
                .into_iter()
                .map(Entry::Purchase),
        );
    }
    Ok(entries)
}
