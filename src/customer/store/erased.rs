//! Taking events and products of erased people away. Keys of events stay (`erased_event`), so that a repetition of an old message is
//! known as one.

use crate::base::{ProductId, RecordId};
use crate::store::{Rows, StoreError, any_of, ids_value};
use entity::{EventKind, event};
use sea_orm::{ConnectionTrait, FromQueryResult as _, Statement};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Some events of records.
pub async fn some_events(db: &impl ConnectionTrait, records: &[RecordId], limit: u32) -> Result<Vec<event::Model>, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!(
        "SELECT * FROM event WHERE {} ORDER BY record_id, id LIMIT {limit}",
        any_of(backend, "record_id", 1)
    );
    let statement = Statement::from_sql_and_values(backend, sql, [ids_value(backend, records.iter().map(|id| id.0))]);
    Ok(event::Model::find_by_statement(statement).all(db).await?)
}

/// How many events records have.
pub async fn count_events(db: &impl ConnectionTrait, records: &[RecordId]) -> Result<i64, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!("SELECT COUNT(*) FROM event WHERE {}", any_of(backend, "record_id", 1));
    let values = [ids_value(backend, records.iter().map(|id| id.0))];
    let row = db.query_one_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Ok(row.map_or(Ok(0), |row| row.try_get_by_index(0))?)
}

/// Leaves the keys of events and nothing else.
pub async fn bury_events(db: &impl ConnectionTrait, events: &[event::Model]) -> Result<(), StoreError> {
    Rows::new()
        .id("record_id", events.iter().map(|event| event.record_id))
        .id("id", events.iter().map(|event| event.id))
        .flag("is_alias", events.iter().map(|event| event.kind == EventKind::Alias))
        .insert(db, "erased_event", "ON CONFLICT (record_id, id) DO NOTHING")
        .await?;
    let backend = db.get_database_backend();
    let (relation, values) = super::pairs(backend, events.iter().map(|event| (event.record_id, event.id)));
    let sql = format!("DELETE FROM event WHERE (record_id, id) IN (SELECT record_id, id FROM {relation})");
    db.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Ok(())
}

/// Products that erased orders described are no longer compared with their descriptions; those that nobody else bought go. Reads
/// `purchase_line` once.
pub async fn release_products(db: &impl ConnectionTrait, products: &BTreeSet<ProductId>) -> Result<u64, StoreError> {
    if products.is_empty() {
        return Ok(0);
    }
    Rows::new()
        .id("id", products.iter().map(|id| id.0))
        .insert(db, "erased_product", "ON CONFLICT (id) DO NOTHING")
        .await?;
    let backend = db.get_database_backend();
    let sql = format!(
        "DELETE FROM product WHERE {} AND id NOT IN (SELECT product_id FROM purchase_line WHERE {})",
        any_of(backend, "id", 1),
        any_of(backend, "product_id", 1)
    );
    let values = [ids_value(backend, products.iter().map(|id| id.0))];
    let done = db.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Ok(done.rows_affected())
}

/// Products that these records bought are no longer compared with their descriptions: some of those are about to go.
pub async fn mark_products(db: &impl ConnectionTrait, records: &BTreeSet<RecordId>) -> Result<(), StoreError> {
    let backend = db.get_database_backend();
    let sql = format!(
        "INSERT INTO erased_product (id) SELECT DISTINCT product_id FROM purchase_line WHERE {} ON CONFLICT (id) DO NOTHING",
        any_of(backend, "record_id", 1)
    );
    let values = [ids_value(backend, records.iter().map(|id| id.0))];
    db.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Ok(())
}

/// Products that an erased order described.
pub async fn released_products(db: &impl ConnectionTrait) -> Result<BTreeSet<Uuid>, StoreError> {
    let statement = Statement::from_string(db.get_database_backend(), "SELECT id FROM erased_product");
    let rows = db.query_all_raw(statement).await?;
    rows.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}

/// Deletes the rows of a table that hang off records.
pub async fn delete_of_records(db: &impl ConnectionTrait, table: &str, records: &[RecordId]) -> Result<u64, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!("DELETE FROM {table} WHERE {}", any_of(backend, "record_id", 1));
    let values = [ids_value(backend, records.iter().map(|id| id.0))];
    let done = db.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Ok(done.rows_affected())
}
