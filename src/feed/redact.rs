//! Rows of the log about people who were erased keep their place and lose what they said.

use crate::base::{CustomerId, RecordId};
use crate::store::{StoreError, any_of, ids_value};
use entity::Topic;
use sea_orm::{ActiveEnum as _, ConnectionTrait, DbBackend, Statement, Value};
use std::collections::BTreeSet;
use uuid::Uuid;

/// What readers see in place of the fields that changed.
const REDACTED: &str = r#"{"redacted": true}"#;

fn redacted(backend: DbBackend) -> String {
    match backend {
        DbBackend::Postgres => format!("'{REDACTED}'::jsonb"),
        _ => format!("'{REDACTED}'"),
    }
}

async fn redact(db: &impl ConnectionTrait, condition: &str, values: Vec<Value>) -> Result<u64, StoreError> {
    let backend = db.get_database_backend();
    let text = redacted(backend);
    let sql = format!(
        "UPDATE change SET changed = {text}, cause = NULL
         WHERE {condition} AND (changed IS NOT NULL AND changed <> {text} OR cause IS NOT NULL)"
    );
    let done = db.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Ok(done.rows_affected())
}

/// Redacts every row about these records and about customers of their ids, but for the transaction `except`, which erased them.
pub async fn redact_all(db: &impl ConnectionTrait, records: &[RecordId], except: Uuid) -> Result<u64, StoreError> {
    let backend = db.get_database_backend();
    let ids = || ids_value(backend, records.iter().map(|record| record.0));
    let mut count = 0;
    for column in ["record_id", "customer_id"] {
        let condition = format!("{} AND tx_id <> $2", any_of(backend, column, 1));
        count += redact(db, &condition, vec![ids(), except.into()]).await?;
    }
    Ok(count)
}

/// Redacts the rows about these customers' own values that are older than a transaction: somebody else's may stand in them.
pub async fn redact_customers(
    db: &impl ConnectionTrait,
    customers: &BTreeSet<CustomerId>,
    before: Uuid,
) -> Result<u64, StoreError> {
    let backend = db.get_database_backend();
    let condition = format!(
        "{} AND topic IN ({}, {}) AND tx_id < $2",
        any_of(backend, "customer_id", 1),
        Topic::Customer.to_value(),
        Topic::Metric.to_value()
    );
    let ids = ids_value(backend, customers.iter().map(|customer| customer.0));
    redact(db, &condition, vec![ids, before.into()]).await
}
