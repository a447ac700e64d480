//! Who bought anything at all.

use crate::base::{CustomerId, Instant, RecordId, SourceId};
use crate::store::{StoreError, any_of, ids_value};
use sea_orm::{ConnectionTrait, Statement, Value};
use std::collections::{BTreeSet, HashSet};

/// Of these records, those with a purchase. Leans on the key of `purchase`.
pub async fn records_that_bought(db: &impl ConnectionTrait, records: &[RecordId]) -> Result<HashSet<RecordId>, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!(
        "SELECT DISTINCT record_id FROM purchase WHERE {}",
        any_of(backend, "record_id", 1)
    );
    let values = [ids_value(backend, records.iter().map(|record| record.0))];
    let rows = db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    rows.iter().map(|row| Ok(RecordId(row.try_get_by_index(0)?))).collect()
}

/// When the first order of all was placed; `None`: none was. Reads every order.
pub async fn first_order_at(db: &impl ConnectionTrait) -> Result<Option<Instant>, StoreError> {
    let first: Option<i64> = one(db, "SELECT MIN(placed_at) FROM purchase").await?;
    Ok(first.map(Instant::from_micros))
}

/// How many customers there are. Reads every one.
pub async fn count_all(db: &impl ConnectionTrait) -> Result<i64, StoreError> {
    Ok(one(db, "SELECT COUNT(*) FROM customer").await?.unwrap_or(0))
}

async fn one(db: &impl ConnectionTrait, sql: &str) -> Result<Option<i64>, StoreError> {
    let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
    Ok(row.map_or(Ok(None), |row| row.try_get_by_index(0))?)
}

/// Of these customers, those with a purchase; `source`: with one that this source told of.
pub async fn buyers_among(
    db: &impl ConnectionTrait,
    customers: &[CustomerId],
    source: Option<SourceId>,
) -> Result<BTreeSet<CustomerId>, StoreError> {
    let backend = db.get_database_backend();
    let mut values: Vec<Value> = vec![ids_value(backend, customers.iter().map(|customer| customer.0))];
    let of_source = match source {
        None => "",
        Some(source) => {
            values.push(source.0.into());
            "AND r.source_id = $2"
        }
    };
    let sql = format!(
        "SELECT DISTINCT r.customer_id FROM record r
         WHERE {} {of_source} AND EXISTS (SELECT 1 FROM purchase p WHERE p.record_id = r.id)",
        any_of(backend, "r.customer_id", 1)
    );
    let rows = db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    rows.iter().map(|row| Ok(CustomerId(row.try_get_by_index(0)?))).collect()
}
