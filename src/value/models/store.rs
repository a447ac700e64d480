//! Every statement of `value_model`.

use crate::base::Instant;
use crate::store::{Rows, StoreError};
use entity::value_model;
use sea_orm::{ActiveEnum as _, ConnectionTrait, DatabaseTransaction, FromQueryResult as _, Statement};

/// The version in force; `None`: nothing was published.
pub async fn in_force(db: &impl ConnectionTrait) -> Result<Option<i64>, StoreError> {
    one(db, "SELECT MAX(version) FROM value_model WHERE published_at IS NOT NULL").await
}

/// The highest version; `None`: nothing was fitted.
pub async fn newest(db: &impl ConnectionTrait) -> Result<Option<i64>, StoreError> {
    one(db, "SELECT MAX(version) FROM value_model").await
}

async fn one(db: &impl ConnectionTrait, sql: &str) -> Result<Option<i64>, StoreError> {
    let row = db
        .query_one_raw(Statement::from_string(db.get_database_backend(), sql))
        .await?;
    Ok(row.map_or(Ok(None), |row| row.try_get_by_index(0))?)
}

/// The rows of a version, in the order of their kinds; none: there is no such version.
pub async fn rows(db: &impl ConnectionTrait, version: i64) -> Result<Vec<value_model::Model>, StoreError> {
    let sql = "SELECT * FROM value_model WHERE version = $1 ORDER BY kind";
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, [version.into()]);
    Ok(value_model::Model::find_by_statement(statement).all(db).await?)
}

pub async fn insert(tx: &DatabaseTransaction, rows: &[value_model::Model]) -> Result<(), StoreError> {
    Rows::new()
        .int("version", rows.iter().map(|row| row.version))
        .small("kind", rows.iter().map(|row| row.kind.to_value()))
        .int("fitted_at", rows.iter().map(|row| row.fitted_at))
        .int("as_of", rows.iter().map(|row| row.as_of))
        .optional_int("published_at", rows.iter().map(|row| row.published_at))
        .flag("chosen", rows.iter().map(|row| row.chosen))
        .int("customers", rows.iter().map(|row| row.customers))
        .json("model", rows.iter().map(|row| row.model.to_string()))
        .optional_id("job_id", rows.iter().map(|row| row.job_id))
        .insert(tx, "value_model", "")
        .await?;
    Ok(())
}

/// Puts a version in force: later ones are no longer published.
pub async fn publish(tx: &DatabaseTransaction, version: i64, now: Instant) -> Result<(), StoreError> {
    let backend = tx.get_database_backend();
    let later = "UPDATE value_model SET published_at = NULL WHERE version > $1 AND published_at IS NOT NULL";
    tx.execute_raw(Statement::from_sql_and_values(backend, later, [version.into()]))
        .await?;
    let own = "UPDATE value_model SET published_at = $2 WHERE version = $1 AND published_at IS NULL";
    let values = [version.into(), now.micros().into()];
    tx.execute_raw(Statement::from_sql_and_values(backend, own, values)).await?;
    Ok(())
}
