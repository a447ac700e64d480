//! Customers whose refresh fails: tried again with growing pauses, then given up until somebody drives them again.

use super::model::next_attempt;
use super::{Claim, Mark, Quarantined};
use crate::base::paging::{Page, Slice};
use crate::base::{CustomerId, Instant};
use crate::store::{StoreError, any_of, ids_value};
use entity::due;
use sea_orm::{ActiveEnum as _, ConnectionTrait, DatabaseTransaction, FromQueryResult as _, Statement};
use uuid::Uuid;

/// Longer ones are cut, in characters: it is a message, not a log.
const MAX_ERROR: usize = 500;

/// One more failure of a customer that was looked at alone. Answers whether that was the last attempt.
pub async fn fail(db: &impl ConnectionTrait, claim: Claim, now: Instant, error: &str) -> Result<bool, StoreError> {
    let attempts = claim.attempts + 1;
    let next = next_attempt(attempts, now);
    // PostgreSQL holds no NUL.
    let error: String = error.chars().filter(|char| *char != '\0').take(MAX_ERROR).collect();
    let sql = "UPDATE due SET attempts = $3, error = $4, claimed_until = $5, quarantined_at = $6
               WHERE customer_id = $1 AND fence = $2";
    let values = [
        claim.customer.0.into(),
        claim.fence.into(),
        attempts.into(),
        error.into(),
        next.map(Instant::micros).into(),
        next.is_none().then_some(now.micros()).into(),
    ];
    db.execute_raw(Statement::from_sql_and_values(db.get_database_backend(), sql, values))
        .await?;
    Ok(next.is_none())
}

/// A page of those that were given up, the first given up first.
pub async fn quarantined(db: &impl ConnectionTrait, page: &Page<(i64, Uuid)>) -> Result<Slice<Quarantined>, StoreError> {
    let (behind, values) = match page.after {
        None => ("", Vec::new()),
        Some((since, id)) => ("AND (quarantined_at, customer_id) > ($1, $2)", vec![since.into(), id.into()]),
    };
    let sql = format!(
        "SELECT * FROM due WHERE quarantined_at IS NOT NULL {behind} ORDER BY quarantined_at, customer_id LIMIT {}",
        page.first + 1
    );
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    let rows = due::Model::find_by_statement(statement).all(db).await?;
    Ok(Slice::from_one_more(rows, page.first).map(|row| Quarantined {
        customer: CustomerId(row.customer_id),
        since: Instant::from_micros(row.quarantined_at.unwrap_or_default()),
        due_at: Instant::from_micros(row.due_at),
        attempts: row.attempts,
        error: row.error.unwrap_or_default(),
    }))
}

/// How many were given up, counted so far and no further.
pub async fn count_quarantined(db: &impl ConnectionTrait, limit: u64) -> Result<u64, StoreError> {
    let sql =
        format!("SELECT COUNT(*) FROM (SELECT 1 AS one FROM due WHERE quarantined_at IS NOT NULL LIMIT {limit}) AS counted");
    let row = db
        .query_one_raw(Statement::from_string(db.get_database_backend(), sql))
        .await?;
    let count: i64 = row.map_or(Ok(0), |row| row.try_get_by_index(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Takes customers out of quarantine, due at once and with all their attempts before them. Answers how many were in it.
pub async fn drive_again(tx: &DatabaseTransaction, customers: &[CustomerId], mark: Mark) -> Result<u64, StoreError> {
    let backend = tx.get_database_backend();
    let sql = format!(
        "UPDATE due SET quarantined_at = NULL, error = NULL, attempts = 0, claimed_until = NULL, mark = $2, class = {},
                marked_at = COALESCE(marked_at, $3)
         WHERE {} AND quarantined_at IS NOT NULL",
        mark.class.to_value(),
        any_of(backend, "customer_id", 1)
    );
    let values = [
        ids_value(backend, customers.iter().map(|customer| customer.0)),
        mark.by.into(),
        mark.at.micros().into(),
    ];
    let done = tx.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Ok(done.rows_affected())
}
