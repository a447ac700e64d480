//! What the records of customers say of a few attributes, read as few rows.
//!
//! A row costs a driver more than the record in it: a customer of 5 000 records, row by row, takes tens of milliseconds. So the database
//! packs the records of each customer into one text, and only what was asked for leaves their traits.

use crate::base::{CustomerId, RecordId, SourceId};
use crate::identity::RecordTraits;
use crate::store::{StoreError, any_of, ids_value};
use sea_orm::{ConnectionTrait, DbBackend, Statement, Value};
use serde::Deserialize;
use serde_json::{Map, Value as Json};
use std::collections::BTreeSet;
use uuid::Uuid;

/// More names than this are read as all traits: each is a column of its own to look for.
const MAX_NAMES: usize = 16;

/// What one record says of the attributes asked for.
#[derive(Clone, Debug)]
pub struct Saying {
    pub record: RecordId,
    pub customer: CustomerId,
    pub source: SourceId,
    pub arrival: i64,
    /// Of the attributes asked for, and perhaps of others.
    pub traits: RecordTraits,
}

/// A record as it is packed: its id, its source, its arrival, then its traits: each that was asked for, or all of them as one.
#[derive(Deserialize)]
struct Packed(Uuid, Uuid, i64, Vec<Json>);

/// What all records of these customers say of the attributes of these names; of all attributes when none are given. In no order. One
/// statement and one row for each customer. Leans on the index (customer_id, arrival, id).
pub async fn sayings_of(
    db: &impl ConnectionTrait,
    customers: &[CustomerId],
    names: Option<&BTreeSet<String>>,
) -> Result<Vec<Saying>, StoreError> {
    if customers.is_empty() {
        return Ok(Vec::new());
    }
    let backend = db.get_database_backend();
    let names: Option<Vec<&str>> = names
        .filter(|names| names.len() <= MAX_NAMES && names.iter().all(|name| is_plain(name)))
        .map(|names| names.iter().map(String::as_str).collect());
    let mut values = vec![ids_value(backend, customers.iter().map(|id| id.0))];
    let said: Vec<String> = match &names {
        None => vec!["CAST(traits AS text)".to_owned()],
        Some(names) => names
            .iter()
            .map(|name| {
                values.push(path(backend, name));
                said(backend, values.len())
            })
            .collect(),
    };
    let packed = packed(backend, &["id", "source_id"], &said);
    let sql = format!(
        "SELECT customer_id, {packed} FROM record WHERE {} GROUP BY customer_id",
        any_of(backend, "customer_id", 1)
    );
    let mut sayings = Vec::new();
    for row in db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await? {
        let customer = CustomerId(row.try_get_by_index(0)?);
        let packed: Vec<Packed> = unpack(&row.try_get_by_index::<String>(1)?, customer)?;
        sayings.reserve(packed.len());
        for Packed(record, source, arrival, mut said) in packed {
            let stored = match &names {
                None => said.pop().unwrap_or_default(),
                Some(names) => {
                    let stated = names.iter().zip(said).filter(|(_, stated)| !stated.is_null());
                    Json::Object(
                        stated
                            .map(|(name, stated)| ((*name).to_owned(), stated))
                            .collect::<Map<_, _>>(),
                    )
                }
            };
            sayings.push(Saying {
                record: RecordId(record),
                customer,
                source: SourceId(source),
                arrival,
                traits: RecordTraits::from_json(stored).ok_or_else(|| corrupt(customer))?,
            });
        }
    }
    Ok(sayings)
}

/// A path of SQLite cannot quote every name; one that it cannot is read with all the others.
fn is_plain(name: &str) -> bool {
    !name.contains(['"', '\\']) && !name.chars().any(char::is_control)
}

/// What the traits hold under parameter `$n`, made by `path`, as JSON.
pub(super) fn said(backend: DbBackend, n: usize) -> String {
    match backend {
        DbBackend::Postgres => format!("COALESCE((traits -> ${n})::text, 'null')"),
        _ => format!("COALESCE(traits -> ${n}, 'null')"),
    }
}

pub(super) fn path(backend: DbBackend, name: &str) -> Value {
    match backend {
        DbBackend::Postgres => name.into(),
        _ => format!("$.\"{name}\"").into(),
    }
}

/// All records of a group as one text, each as a JSON list of ids, arrival and a list of what was said.
pub(super) fn packed(backend: DbBackend, ids: &[&str], said: &[String]) -> String {
    let mut record = "'['".to_owned();
    for id in ids {
        record.push_str(&match backend {
            DbBackend::Postgres => format!(" || '\"' || {id}::text || '\",'"),
            _ => format!(" || '\"' || lower(hex({id})) || '\",'"),
        });
    }
    record.push_str(" || CAST(arrival AS text) || ',['");
    for (i, said) in said.iter().enumerate() {
        record.push_str(if i == 0 { " || " } else { " || ',' || " });
        record.push_str(said);
    }
    record.push_str(" || ']]'");
    match backend {
        DbBackend::Postgres => format!("string_agg({record}, ',')"),
        _ => format!("group_concat({record}, ',')"),
    }
}

/// Reads what `packed` put together.
pub(super) fn unpack<R: serde::de::DeserializeOwned>(text: &str, customer: CustomerId) -> Result<Vec<R>, StoreError> {
    serde_json::from_str(&format!("[{text}]")).map_err(|_| corrupt(customer))
}

fn corrupt(customer: CustomerId) -> StoreError {
    StoreError::Corrupt(format!("records of customer {customer}: traits"))
}
