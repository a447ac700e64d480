//! What becomes of things on hold, once a person has looked: the item is done with, and what follows from accepting it is decided, in
//! one commit.

use super::{Decided, Decision, Doer, MendError, carry_out};
use crate::access::record_deed;
use crate::base::{IdentifierId, Instant, RecordId};
use crate::feed::TransactionId;
use crate::identity::store::{decisions, evidence};
use crate::pipeline::Services;
use crate::pipeline::intake::id_text;
use crate::store::StoreError;
use entity::{HoldReason, held_item};
use sea_orm::DatabaseTransaction;
use serde_json::json;
use uuid::Uuid;

/// What a person makes of an item on hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldAction {
    /// Two ids of an alias are one person; a value recognises people after all.
    Accept,
    /// It stays as it is.
    Dismiss,
}

/// An item that is done with.
#[derive(Clone, Debug)]
pub struct Resolved {
    pub item: held_item::Model,
    pub transaction: TransactionId,
    /// What was decided; none when it was dismissed.
    pub decided: Option<Decided>,
}

/// Resolves an item on hold, in a transaction of its own.
pub async fn resolve_held(services: &Services, doer: &Doer, item: Uuid, action: HeldAction) -> Result<Resolved, MendError> {
    doer.check()?;
    let now = services.now();
    let resolved = services
        .store
        .transact(|tx, _| Box::pin(resolve(tx, services, now, doer, (item, action))))
        .await;
    services.refresh.nudge();
    resolved
}

async fn resolve(
    tx: &DatabaseTransaction,
    services: &Services,
    now: Instant,
    doer: &Doer,
    (id, action): (Uuid, HeldAction),
) -> Result<Resolved, MendError> {
    // Taking it comes first: whoever comes second waits here, and sees that it is done.
    let is_taken = decisions::resolve_item(tx, id, now.micros(), doer.actor.as_str()).await?;
    let what = "item on hold";
    let found = decisions::held_item(tx, id).await?;
    let item = found.ok_or(MendError::NotFound { field: "id", what })?;
    if !is_taken {
        let message = "somebody has looked at it already".to_owned();
        return Err(MendError::Conflict { field: "id", message });
    }
    if action == HeldAction::Dismiss {
        let ids = services.store.ids();
        let detail = json!({"reason": doer.reason.trim()});
        let object = format!("held_item:{}", id_text(id));
        let transaction = record_deed(tx, ids, now, &doer.actor, "identity.dismiss", &object, detail).await?;
        return Ok(Resolved {
            item,
            transaction,
            decided: None,
        });
    }
    let decision = accepted(tx, &item).await?;
    let decided = carry_out(tx, services, now, doer, &decision).await?;
    Ok(Resolved {
        item,
        transaction: decided.transaction,
        decided: Some(decided),
    })
}

/// The decision by which an item is accepted.
async fn accepted(tx: &DatabaseTransaction, item: &held_item::Model) -> Result<Decision, MendError> {
    match item.reason {
        HoldReason::Alias => {
            let other = item.other_record_id.ok_or_else(|| corrupt(item))?;
            Ok(Decision::Link {
                a: RecordId(item.record_id),
                b: RecordId(other),
            })
        }
        HoldReason::Shared | HoldReason::TooManyJoins => {
            let id = IdentifierId(item.identifier_id.ok_or_else(|| corrupt(item))?);
            let value = evidence::values(tx, &[id]).await?.remove(&id).ok_or_else(|| corrupt(item))?;
            Ok(Decision::Release {
                kind: value.kind,
                namespace: value.namespace,
                value: value.value,
            })
        }
        HoldReason::TooManyRecords => {
            let message = "a customer with so many records takes nobody in by accepting: merge the two by hand (customerMerge) \
                           if they are one person, and dismiss this item";
            Err(MendError::Conflict {
                field: "action",
                message: message.to_owned(),
            })
        }
    }
}

fn corrupt(item: &held_item::Model) -> StoreError {
    StoreError::Corrupt(format!("held item {}: what it is about is missing", item.id))
}
