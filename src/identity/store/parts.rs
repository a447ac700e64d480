//! Records and identifiers of the customer `c` of a larger statement, as columns of its one row.

use crate::base::{CustomerId, IdentifierId, Instant, RecordId, SourceId};
use crate::identity::{Identifier, Record, RecordTraits};
use crate::store::{JsonFlag, StoreError, json_id, json_rows, json_value, read_json_rows};
use entity::{IdentifierKind, IdentifierState};
use sea_orm::{ActiveEnum as _, DbBackend};
use serde_json::Value;
use std::collections::HashMap;
use uuid::Uuid;

/// The records of `c`. Leans on the index (customer_id, arrival, id).
pub fn records(backend: DbBackend) -> String {
    let columns = [
        json_id(backend, "r.id"),
        json_id(backend, "r.source_id"),
        "r.external_key".to_owned(),
        "r.arrival".to_owned(),
        json_value(backend, "r.traits"),
        "r.rev".to_owned(),
        "r.was_customer".to_owned(),
    ];
    json_rows(backend, &columns, "record r WHERE r.customer_id = c.id")
}

type RecordRow = (Uuid, Uuid, String, i64, Value, i64, JsonFlag);

/// The records of a customer, in order of arrival.
pub fn read_records(customer: CustomerId, text: Option<&str>) -> Result<Vec<Record>, StoreError> {
    let rows: Vec<RecordRow> = read_json_rows(text)?;
    let mut records = Vec::with_capacity(rows.len());
    for (id, source, external_key, arrival, traits, rev, was_customer) in rows {
        let corrupt = || StoreError::Corrupt(format!("record {id}: traits"));
        records.push(Record {
            id: RecordId(id),
            source: SourceId(source),
            external_key,
            customer,
            arrival,
            traits: RecordTraits::from_json(traits).ok_or_else(corrupt)?,
            rev,
            was_customer: was_customer.into(),
        });
    }
    records.sort_unstable_by_key(|record| (record.arrival, record.id));
    Ok(records)
}

/// What each record of `c` has shown.
pub fn identifiers(backend: DbBackend) -> String {
    let columns = [
        json_id(backend, "s.record_id"),
        json_id(backend, "s.source_id"),
        json_id(backend, "s.id"),
        "s.kind".to_owned(),
        "s.namespace".to_owned(),
        "s.value".to_owned(),
        "s.state".to_owned(),
        "s.first_at".to_owned(),
        "s.last_at".to_owned(),
    ];
    let shown =
        "(SELECT r.id AS record_id, r.source_id, i.id, i.kind, i.namespace, i.value, i.state, MIN(l.occurred_at) AS first_at,
            MAX(l.occurred_at) AS last_at
        FROM record r JOIN link l ON l.record_id = r.id JOIN identifier i ON i.id = l.identifier_id
        WHERE r.customer_id = c.id GROUP BY r.id, i.id) AS s";
    json_rows(backend, &columns, shown)
}

type ShownRow = (Uuid, Uuid, Uuid, i16, String, String, i16, i64, i64);

/// What records have shown, each in order of kind and value. Those of `records` that showed nothing have an empty list.
pub fn read_identifiers(records: &[Record], text: Option<&str>) -> Result<HashMap<RecordId, Vec<Identifier>>, StoreError> {
    let rows: Vec<ShownRow> = read_json_rows(text)?;
    let mut shown: HashMap<RecordId, Vec<Identifier>> = records.iter().map(|record| (record.id, Vec::new())).collect();
    for (record, source, id, kind, namespace, value, state, first_at, last_at) in rows {
        shown.entry(RecordId(record)).or_default().push(Identifier {
            id: IdentifierId(id),
            kind: IdentifierKind::try_from_value(&kind)?,
            namespace,
            value,
            state: IdentifierState::try_from_value(&state)?,
            first_seen_at: Instant::from_micros(first_at),
            last_seen_at: Instant::from_micros(last_at),
            sources: vec![SourceId(source)],
        });
    }
    for identifiers in shown.values_mut() {
        identifiers.sort_unstable_by(|a, b| (a.kind, &a.namespace, &a.value).cmp(&(b.kind, &b.namespace, &b.value)));
    }
    Ok(shown)
}
