//! Who did what, written in the transaction of the deed.

use super::Actor;
use super::store;
use crate::base::{Ids, Instant};
use crate::feed::{Log, TransactionId};
use crate::store::StoreError;
use sea_orm::DatabaseTransaction;
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
