//! The latest events and purchases of the customer `c` of a larger statement, as columns of its one row.

use crate::base::money::Currency;
use crate::base::{EventId, Instant, Money, PurchaseId, RecordId};
use crate::customer::{Event, EventKey, Purchase, PurchaseKey};
use crate::store::{StoreError, json_id, json_rows, json_value, read_json_rows};
use entity::EventKind;
use sea_orm::{ActiveEnum as _, DbBackend};
use serde_json::Value;
use uuid::Uuid;

/// The latest rows of a table over all records of `c`, at most `limit`, a parameter. No more records than that can have one of them, so
/// first those are found whose own latest are the latest; of each, as many rows are found in its timeline index, then those are merged.
fn latest(backend: DbBackend, table: &str, condition: &str, limit: &str) -> String {
    let of_record = |count: &str| {
        format!("FROM {table} k WHERE k.record_id = r.id{condition} ORDER BY k.occurred_at DESC, k.id DESC LIMIT {count}")
    };
    let (head, page) = (of_record("1"), of_record(limit));
    let joined = if backend == DbBackend::Postgres {
        format!(
            "(SELECT r.id FROM record r CROSS JOIN LATERAL (SELECT k.occurred_at, k.id {head}) AS h
              WHERE r.customer_id = c.id ORDER BY h.occurred_at DESC, h.id DESC, r.id DESC LIMIT {limit}) AS r
             CROSS JOIN LATERAL (SELECT k.* {page}) AS e"
        )
    } else {
        format!(
            "(SELECT r.id FROM record r WHERE r.customer_id = c.id
              ORDER BY (SELECT k.occurred_at {head}) DESC, (SELECT k.id {head}) DESC, r.id DESC LIMIT {limit}) AS r
             JOIN {table} e ON e.rowid IN (SELECT k.rowid {page})"
        )
    };
    format!("(SELECT e.* FROM {joined} ORDER BY e.occurred_at DESC, e.id DESC, e.record_id DESC LIMIT {limit}) AS e")
}

/// The latest events of these kinds, with or without properties and context.
pub fn latest_events(backend: DbBackend, kinds: &[EventKind], bodies: bool, limit: &str) -> String {
    let kinds: Vec<String> = kinds.iter().map(|kind| kind.to_value().to_string()).collect();
    let condition = format!(" AND k.kind IN ({})", kinds.join(", "));
    let mut columns = vec![
        json_id(backend, "e.record_id"),
        json_id(backend, "e.id"),
        "e.message_id".to_owned(),
        "e.kind".to_owned(),
        "e.name".to_owned(),
        "e.occurred_at".to_owned(),
        "e.received_at".to_owned(),
    ];
    match bodies {
        true => columns.extend(["e.properties", "e.context"].map(|column| json_value(backend, column))),
        false => columns.extend(["NULL", "NULL"].map(str::to_owned)),
    }
    json_rows(backend, &columns, &latest(backend, "event", &condition, limit))
}

type EventRow = (Uuid, Uuid, String, i16, String, i64, i64, Value, Value);

/// Events out of a column of `latest_events`, in no order.
pub fn read_events(text: Option<&str>) -> Result<Vec<Event>, StoreError> {
    let rows: Vec<EventRow> = read_json_rows(text)?;
    let events = rows.into_iter().map(
        |(record, id, message_id, kind, name, occurred_at, received_at, properties, context)| {
            Ok(Event {
                key: EventKey {
                    record: RecordId(record),
                    id: EventId(id),
                },
                message_id,
                kind: EventKind::try_from_value(&kind)?,
                name,
                occurred_at: Instant::from_micros(occurred_at),
                received_at: Instant::from_micros(received_at),
                properties,
                context,
            })
        },
    );
    events.collect()
}

/// The latest purchases.
pub fn latest_purchases(backend: DbBackend, limit: &str) -> String {
    let columns = [
        json_id(backend, "e.record_id"),
        json_id(backend, "e.id"),
        "e.order_id".to_owned(),
        "e.occurred_at".to_owned(),
        "e.currency".to_owned(),
        "e.amount_minor".to_owned(),
        "e.refunded_minor".to_owned(),
    ];
    json_rows(backend, &columns, &latest(backend, "purchase", "", limit))
}

type PurchaseRow = (Uuid, Uuid, String, i64, String, Option<i64>, i64);

/// Purchases out of a column of `latest_purchases`, in no order.
pub fn read_purchases(text: Option<&str>) -> Result<Vec<Purchase>, StoreError> {
    let rows: Vec<PurchaseRow> = read_json_rows(text)?;
    let purchases = rows.into_iter().map(
        |(record, id, order_id, occurred_at, currency, amount_minor, refunded_minor)| {
            let currency = Currency::stored(currency);
            Purchase {
                key: PurchaseKey {
                    record: RecordId(record),
                    id: PurchaseId(id),
                },
                order_id,
                occurred_at: Instant::from_micros(occurred_at),
                amount: amount_minor.map(|amount_minor| Money {
                    amount_minor,
                    currency: currency.clone(),
                }),
                refunded: Money {
                    amount_minor: refunded_minor,
                    currency,
                },
            }
        },
    );
    Ok(purchases.collect())
}
