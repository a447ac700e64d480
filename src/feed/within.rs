//! What is inside one transaction of the log.

use super::TransactionId;
use crate::base::CustomerId;
use crate::store::StoreError;
use sea_orm::{ConnectionTrait, Statement};
use std::collections::BTreeSet;

/// The customers whom a transaction told of, under the ids they had then.
pub async fn customers_of_transaction(
    db: &impl ConnectionTrait,
    transaction: TransactionId,
) -> Result<BTreeSet<CustomerId>, StoreError> {
    let sql = "SELECT DISTINCT customer_id FROM change WHERE tx_id = $1 AND customer_id IS NOT NULL";
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, [transaction.into()]);
    let rows = db.query_all_raw(statement).await?;
    rows.iter().map(|row| Ok(CustomerId(row.try_get_by_index(0)?))).collect()
}
