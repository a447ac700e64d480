//! Events: written once each, read by key and along the timeline.

use super::pairs;
use crate::base::{EventId, Instant, RecordId};
use crate::customer::{Event, EventKey};
use crate::store::walk::{Lane, columns_of};
use crate::store::{Rows, StoreError};
use entity::{EventKind, event};
use sea_orm::{ActiveEnum as _, ConnectionTrait, FromQueryResult as _, QueryResult, Statement, Value};
use serde_json::Value as Json;
use std::collections::{HashMap, HashSet};

/// An event to be written; JSON already serialised.
#[derive(Clone, Debug)]
pub struct NewEvent<'m> {
    pub key: EventKey,
    pub arrival: i64,
    pub message: &'m crate::ingest::Message,
}

/// Writes events; answers the keys of those that were not there before. The key is the deduplication.
pub async fn insert_events(db: &impl ConnectionTrait, events: &[NewEvent<'_>]) -> Result<HashSet<EventKey>, StoreError> {
    let json = |value: &serde_json::Map<String, Json>| serde_json::to_string(value).expect("a map is JSON");
    let message = || events.iter().map(|event| event.message);
    let inserted = Rows::new()
        .id("record_id", events.iter().map(|event| event.key.record.0))
        .id("id", events.iter().map(|event| event.key.id.0))
        .text("message_id", message().map(|message| message.message_id.clone()))
        .small("kind", message().map(|message| message.kind.to_value()))
        .text("name", message().map(|message| message.name.clone()))
        .int("occurred_at", message().map(|message| message.occurred_at.micros()))
        .int("received_at", message().map(|message| message.received_at.micros()))
        .int("arrival", events.iter().map(|event| event.arrival))
        .optional_int(
            "original_at",
            message().map(|message| message.original_at.map(Instant::micros)),
        )
        .optional_int("sent_at", message().map(|message| message.sent_at.map(Instant::micros)))
        .small("flags", message().map(|message| message.flags.0))
        .json("properties", message().map(|message| json(&message.properties)))
        .json("context", message().map(|message| json(&message.context)))
        .insert(db, "event", "ON CONFLICT (record_id, id) DO NOTHING RETURNING record_id, id")
        .await?;
    let mut keys = HashSet::with_capacity(inserted.len());
    for row in inserted {
        keys.insert(EventKey {
            record: RecordId(row.try_get_by_index(0)?),
            id: EventId(row.try_get_by_index(1)?),
        });
    }
    Ok(keys)
}

/// The first and the last event time of records. Two probes of the timeline index each.
pub async fn seen(db: &impl ConnectionTrait, records: &[RecordId]) -> Result<HashMap<RecordId, (Instant, Instant)>, StoreError> {
    let backend = db.get_database_backend();
    let (relation, values) = Rows::new()
        .id("record_id", records.iter().map(|record| record.0))
        .relation(backend);
    let sql = format!(
        "SELECT v.record_id, (SELECT MIN(e.occurred_at) FROM event e WHERE e.record_id = v.record_id),
                (SELECT MAX(e.occurred_at) FROM event e WHERE e.record_id = v.record_id) FROM {relation}"
    );
    let mut seen = HashMap::with_capacity(records.len());
    for row in db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await? {
        let (first, last): (Option<i64>, Option<i64>) = (row.try_get_by_index(1)?, row.try_get_by_index(2)?);
        if let (Some(first), Some(last)) = (first, last) {
            seen.insert(
                RecordId(row.try_get_by_index(0)?),
                (Instant::from_micros(first), Instant::from_micros(last)),
            );
        }
    }
    Ok(seen)
}

/// Which of these events are stored, or were and are erased. By primary key.
pub async fn stored_events(
    db: &impl ConnectionTrait,
    keys: impl IntoIterator<Item = EventKey>,
) -> Result<HashSet<EventKey>, StoreError> {
    let keys: Vec<EventKey> = keys.into_iter().collect();
    if keys.is_empty() {
        return Ok(HashSet::new());
    }
    let backend = db.get_database_backend();
    let (relation, values) = Rows::new()
        .id("record_id", keys.iter().map(|key| key.record.0))
        .id("id", keys.iter().map(|key| key.id.0))
        .relation(backend);
    let sql = format!(
        "SELECT v.record_id, v.id FROM {relation} WHERE EXISTS (SELECT 1 FROM event e WHERE e.record_id = v.record_id AND e.id = v.id)
            OR EXISTS (SELECT 1 FROM erased_event e WHERE e.record_id = v.record_id AND e.id = v.id)"
    );
    let rows = db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    rows.iter()
        .map(|row| {
            Ok(EventKey {
                record: RecordId(row.try_get_by_index(0)?),
                id: EventId(row.try_get_by_index(1)?),
            })
        })
        .collect()
}

/// Which events a timeline lists.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventFilter {
    pub kinds: Vec<EventKind>,
    pub names: Option<Vec<String>>,
}

/// Events as entries of a timeline. The kind is in the index of the timeline, a name is read from the rows it leads to.
pub fn event_lane(filter: &EventFilter) -> Lane {
    let kinds = filter.kinds.iter().map(|kind| kind.to_value().to_string());
    let mut condition = format!(" AND k.kind IN ({})", kinds.collect::<Vec<_>>().join(", "));
    let names: Vec<Value> = filter.names.iter().flatten().map(|name| name.as_str().into()).collect();
    if !names.is_empty() {
        condition += &format!(" AND k.name IN ({})", vec!["?"; names.len()].join(", "));
    }
    Lane {
        keys: "event",
        record: "record_id",
        at: "occurred_at",
        id: "id",
        condition,
        values: names,
        is_shared: false,
        rows: "event",
        on: "{}.record_id = f.record_id AND {}.id = f.id",
        columns: columns_of::<event::Entity>(),
    }
}

/// The event of a timeline's row.
pub fn read_event(row: &QueryResult, prefix: &str) -> Result<Event, StoreError> {
    Ok(event::Model::from_query_result(row, prefix)?.into())
}

/// Events by key.
pub async fn events(db: &impl ConnectionTrait, keys: &[EventKey]) -> Result<HashMap<EventKey, Event>, StoreError> {
    let backend = db.get_database_backend();
    let (relation, values) = pairs(backend, keys.iter().map(|key| (key.record.0, key.id.0)));
    let sql = format!("SELECT e.* FROM {relation} JOIN event e ON e.record_id = v.record_id AND e.id = v.id");
    let rows = event::Model::find_by_statement(Statement::from_sql_and_values(backend, sql, values))
        .all(db)
        .await?;
    Ok(rows.into_iter().map(Event::from).map(|event| (event.key, event)).collect())
}

impl From<event::Model> for Event {
    fn from(row: event::Model) -> Self {
        Self {
            key: EventKey {
                record: RecordId(row.record_id),
                id: EventId(row.id),
            },
            message_id: row.message_id,
            kind: row.kind,
            name: row.name,
            occurred_at: Instant::from_micros(row.occurred_at),
            received_at: Instant::from_micros(row.received_at),
            properties: row.properties,
            context: row.context,
        }
    }
}
