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
    let model = entity::audit::Model {
        id: ids.time_ordered(now),
        at: now.micros(),
        actor: actor.to_string(),
        action: action.to_owned(),
        object: object.to_owned(),
        detail,
    };
    store::insert_audit(tx, model).await?;
    Log::new(ids, now, actor.as_str()).write(tx, now).await
}
