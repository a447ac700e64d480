//! What readers of the change log need to know of the features: who a customer is today, and whether a transaction has settled.

use super::Services;
use crate::base::CustomerId;
use crate::feed::{Follow, TransactionId};
use crate::identity;
use crate::store::{Store, StoreError};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// How long a query waits for the transaction it wants to see.
const PATIENCE: Duration = Duration::from_secs(5);

/// The ids under which the log knows these customers, by any ids they ever had: the own ids of all their records of today.
pub fn follow(store: Store, asked: Vec<CustomerId>) -> Follow {
    Arc::new(move || {
        let (store, asked) = (store.clone(), asked.clone());
        Box::pin(async move {
            let today = identity::store::resolve(store.reader(), &asked).await?;
            let today: HashSet<CustomerId> = today.into_values().collect();
            let today: Vec<CustomerId> = today.into_iter().collect();
            let records = identity::store::records_of(store.reader(), &today).await?;
            // Somebody who was erased has no records; what was recorded under the id is still told, redacted.
            let ids: HashSet<Uuid> = asked
                .iter()
                .map(|id| id.0)
                .chain(records.iter().map(|record| record.id.0))
                .collect();
            Ok(ids)
        })
    })
}

/// Who has this id today; nobody when nobody ever had it, or they were erased.
pub async fn customer_of(store: &Store, id: CustomerId) -> Result<Option<CustomerId>, StoreError> {
    Ok(identity::store::resolve(store.reader(), &[id]).await?.remove(&id))
}

/// Waits until a transaction can be seen on this instance and what follows from it is there; false when it takes too long.
pub async fn settled(services: &Services, transaction: TransactionId) -> Result<bool, StoreError> {
    // What is derived later, by a refresh of the customers it touched, is to be waited for here as well, within the same patience.
    services.feed.wait_for(transaction, PATIENCE).await
}
