//! Whether what was told has been looked at, for who waits until an answer shows it.

use crate::base::{CustomerId, RecordId};
use crate::due;
use crate::feed::{TransactionId, customers_of_transaction};
use crate::identity::store::neighbours;
use crate::store::{Store, StoreError};
use std::collections::BTreeSet;

/// Whether everybody whom a transaction changed has been refreshed since. Whoever is in quarantine is not waited for. A transaction that
/// nobody knows changed nobody. At most three statements.
pub async fn is_settled(store: &Store, transaction: TransactionId) -> Result<bool, StoreError> {
    let customers = customers_of_transaction(store.reader(), transaction).await?;
    are_settled(store, &customers).await
}

/// The same of customers, by any id they ever had.
pub async fn are_settled(store: &Store, customers: &BTreeSet<CustomerId>) -> Result<bool, StoreError> {
    if customers.is_empty() {
        return Ok(true);
    }
    let records: BTreeSet<RecordId> = customers.iter().map(|customer| RecordId(customer.0)).collect();
    let today = neighbours::customers_of(store.reader(), &records).await?;
    let all: BTreeSet<CustomerId> = customers.iter().copied().chain(today.into_values()).collect();
    Ok(due::marked_among(store.reader(), all.into_iter(), false).await?.is_empty())
}
