//! Who did what, written in the transaction of the deed.

use super::Actor;
use super::store;
use crate::base::{Ids, Instant};
use crate::feed::{Log, TransactionId};
use crate::store::{Rows, StoreError};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement};
use serde_json::Value;

/// Records a deed that changes definitions and no customer: its row in `audit`, and its transaction in the log. The last statement of
/// its transaction.
pub async fn record_deed(
    tx: &DatabaseTransaction,
    ids: &Ids,
    now: Instant,
    actor: &Actor,
    action: &str,
    object: &str,
    detail: Value,
) -> Result<TransactionId, StoreError> {
    note_deed(tx, ids, now, actor, (action, object), detail).await?;
    Log::new(ids, now, actor.as_str()).write(tx, now).await
}

/// Writes a deed's row in `audit`, for a transaction that writes a log of its own. `(action, object)`: what was done to what.
pub async fn note_deed(
    tx: &DatabaseTransaction,
    ids: &Ids,
    now: Instant,
    actor: &Actor,
    (action, object): (&str, &str),
    detail: Value,
) -> Result<(), StoreError> {
    let model = entity::audit::Model {
        id: ids.time_ordered(now),
        at: now.micros(),
        actor: actor.to_string(),
        action: action.to_owned(),
        object: object.to_owned(),
        detail,
    };
    store::insert_audit(tx, model).await
}

/// Writes the rows of deeds of one kind, each with its object and details.
pub async fn note_deeds(
    tx: &DatabaseTransaction,
    ids: &Ids,
    now: Instant,
    actor: &str,
    action: &str,
    deeds: &[(String, Value)],
) -> Result<(), StoreError> {
    Rows::new()
        .id("id", deeds.iter().map(|_| ids.time_ordered(now)))
        .int("at", deeds.iter().map(|_| now.micros()))
        .text("actor", deeds.iter().map(|_| actor.to_owned()))
        .text("action", deeds.iter().map(|_| action.to_owned()))
        .text("object", deeds.iter().map(|(object, _)| object.clone()))
        .json("detail", deeds.iter().map(|(_, detail)| detail.to_string()))
        .insert(tx, "audit", "")
        .await?;
    Ok(())
}

/// Takes the details out of deeds about these objects: who did what and when stays.
pub async fn redact_deeds(db: &impl ConnectionTrait, objects: &[String]) -> Result<u64, StoreError> {
    if objects.is_empty() {
        return Ok(0);
    }
    let backend = db.get_database_backend();
    let (relation, values) = Rows::new().text("object", objects.iter().cloned()).relation(backend);
    let text = match backend {
        DbBackend::Postgres => r#"'{"redacted": true}'::jsonb"#,
        _ => r#"'{"redacted": true}'"#,
    };
    let sql = format!("UPDATE audit SET detail = {text} WHERE object IN (SELECT object FROM {relation}) AND detail <> {text}");
    let done = db.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Ok(done.rows_affected())
}
