//! A customer whose refresh was given up is driven again, by a person's word.

use crate::access::{Actor, record_deed};
use crate::base::{CustomerId, RecordId};
use crate::due::{self, Mark};
use crate::feed::TransactionId;
use crate::identity::store::neighbours;
use crate::pipeline::Services;
use crate::store::{StoreError, Transient};
use entity::DueClass;
use serde_json::json;
use std::collections::BTreeSet;

/// Why nobody was driven again.
#[derive(Debug, thiserror::Error)]
pub enum NotQuarantined {
    #[error("the refresh of this customer was not given up")]
    Nothing,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Transient for NotQuarantined {
    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::Nothing => None,
        }
    }
}

/// Drives a customer again, by the id under which it was given up or any other it ever had; all its attempts are before it.
pub async fn drive_again(services: &Services, actor: &Actor, customer: CustomerId) -> Result<TransactionId, NotQuarantined> {
    let now = services.now();
    let transaction = services
        .store
        .transact::<_, NotQuarantined, _>(|tx, _| {
            Box::pin(async move {
                let ids = services.store.ids();
                let own: BTreeSet<RecordId> = [RecordId(customer.0)].into();
                let today = neighbours::customers_of(tx, &own).await?;
                let all: Vec<CustomerId> = today.into_values().chain([customer]).collect();
                let mark = Mark {
                    by: ids.time_ordered(now),
                    at: now,
                    class: DueClass::Live,
                };
                if due::drive_again(tx, &all, mark).await? == 0 {
                    return Err(NotQuarantined::Nothing);
                }
                let object = format!("customer:{customer}");
                Ok(record_deed(tx, ids, now, actor, "refresh.retry", &object, json!({})).await?)
            })
        })
        .await?;
    services.refresh.nudge();
    Ok(transaction)
}
