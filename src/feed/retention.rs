//! How long changes are kept.
//!
//! Promises: what is older than the configured age, or more than the configured number of rows, goes in chunks from the beginning of the
//! log; the newest transaction always stays; a named reader that was heard of within 30 days is waited for. The floor is published (the value
//! of the lease `retention`): the last position whose rows are gone. Its transaction stays known, so that a cursor right there is still good.

use super::Feed;
use crate::base::Instant;
use crate::store::lease::{self, Lease};
use crate::store::{Store, StoreError};
use sea_orm::{ConnectionTrait, Statement};
use std::time::Duration;

pub const LEASE_NAME: &str = "retention";
const LEASE: Duration = Duration::from_secs(60);
/// Transactions looked at, and rows deleted, by one transaction: what one of them holds up.
const CHUNK_TRANSACTIONS: usize = 500;
const CHUNK_ROWS: i64 = 5_000;
/// A reader that was not heard of for so long no longer holds the log.
const HELD_AT_MOST: Duration = Duration::from_secs(30 * 86_400);

/// The configuration's section `feed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    pub age: Duration,
    /// Rows of the log that are kept at most.
    pub rows: u64,
}

/// Removes what is due. Answers how many transactions lost their rows; 0 also when another instance is at it.
pub async fn prune(feed: &Feed, holder: &str, now: Instant, keep: Retention) -> Result<u64, StoreError> {
    let store = feed.store();
    let bounds = feed.bounds().await?;
    metrics::gauge!("tributary_feed_floor_position").set(super::read::as_float(bounds.floor.position));
    let surplus = surplus(store, keep.rows).await?;
    let limit = Limit {
        before: now.minus(keep.age),
        last: held(store, now).await?.unwrap_or(i64::MAX).min(bounds.head.position - 1),
    };
    // Asked before the lease is, so that a log with nothing to remove costs no write.
    if chunk(store.reader(), bounds.floor.position, limit, surplus).await?.is_none()
        || !lease::is_free(store.reader(), LEASE_NAME, now).await?
    {
        return Ok(0);
    }
    let Some(lease) = lease::claim(store.writer(), LEASE_NAME, holder, now, LEASE).await? else {
        return Ok(0);
    };
    let pruned = prune_under(store, &lease, now, limit, surplus).await;
    lease.release(store.writer()).await?;
    pruned
}

#[derive(Clone, Copy, Debug)]
struct Limit {
    /// Younger transactions stay, but for the surplus.
    before: Instant,
    /// No position behind it goes.
    last: i64,
}

async fn prune_under(store: &Store, lease: &Lease, now: Instant, limit: Limit, mut surplus: i64) -> Result<u64, StoreError> {
    let mut pruned = 0;
    loop {
        let done = store
            .transact(|tx, _| {
                let lease = lease.clone();
                Box::pin(async move {
                    let Some(floor) = lease.hold(tx, now, LEASE).await? else {
                        return Ok(None);
                    };
                    let Some(chunk) = chunk(tx, floor, limit, surplus).await? else {
                        return Ok(None);
                    };
                    remove(tx, floor, chunk.last).await?;
                    lease.keep(tx, chunk.last).await?;
                    Ok::<_, StoreError>(Some((chunk.last - floor, chunk.rows)))
                })
            })
            .await?;
        let Some((transactions, rows)) = done else { return Ok(pruned) };
        pruned += u64::try_from(transactions).unwrap_or(0);
        surplus = (surplus - rows).max(0);
        metrics::counter!("tributary_feed_pruned_transactions_total").increment(u64::try_from(transactions).unwrap_or(0));
    }
}

struct Chunk {
    /// Up to this position.
    last: i64,
    rows: i64,
}

/// The next transactions behind the floor that may go; none when there is none.
async fn chunk(db: &impl ConnectionTrait, floor: i64, limit: Limit, surplus: i64) -> Result<Option<Chunk>, StoreError> {
    let sql = format!(
        "SELECT position, row_count, recorded_at FROM change_tx WHERE position > $1 AND position <= $2
         ORDER BY position LIMIT {CHUNK_TRANSACTIONS}"
    );
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, [floor.into(), limit.last.into()]);
    let mut found: Option<Chunk> = None;
    for row in db.query_all_raw(statement).await? {
        let (position, count, recorded): (i64, i64, i64) =
            (row.try_get_by_index(0)?, row.try_get_by_index(1)?, row.try_get_by_index(2)?);
        let rows = found.as_ref().map_or(0, |chunk| chunk.rows);
        let is_due = recorded < limit.before.micros() || rows < surplus;
        if !is_due || found.is_some() && rows + count > CHUNK_ROWS {
            break;
        }
        found = Some(Chunk {
            last: position,
            rows: rows + count,
        });
    }
    Ok(found)
}

async fn remove(tx: &impl ConnectionTrait, floor: i64, last: i64) -> Result<(), StoreError> {
    let run = |sql: &str| Statement::from_sql_and_values(tx.get_database_backend(), sql, [floor.into(), last.into()]);
    let rows = "DELETE FROM change WHERE tx_id IN (SELECT tx_id FROM change_tx WHERE position > $1 AND position <= $2)";
    tx.execute_raw(run(rows)).await?;
    // The one at the new floor stays.
    let transactions = "DELETE FROM change_tx WHERE position >= $1 AND position < $2";
    tx.execute_raw(run(transactions)).await?;
    Ok(())
}

/// How many rows there are beyond those that are kept.
async fn surplus(store: &Store, keep: u64) -> Result<i64, StoreError> {
    let sum = match store.is_postgres() {
        true => "SUM(t.row_count)::bigint",
        false => "SUM(t.row_count)",
    };
    let sql = format!(
        "SELECT {sum} FROM change_tx t WHERE t.position > COALESCE((SELECT value FROM lease WHERE name = '{LEASE_NAME}'), 0)"
    );
    let row = store
        .reader()
        .query_one_raw(Statement::from_string(store.backend(), sql))
        .await?;
    let count = row.map(|row| row.try_get_by_index::<Option<i64>>(0)).transpose()?.flatten();
    Ok((count.unwrap_or(0) - i64::try_from(keep).unwrap_or(i64::MAX)).max(0))
}

/// The position that the slowest named reader has read up to; none when nobody holds the log.
async fn held(store: &Store, now: Instant) -> Result<Option<i64>, StoreError> {
    // A reader in the middle of a transaction still needs it.
    let sql = "SELECT MIN(CASE WHEN n = $2 THEN position ELSE position - 1 END) FROM consumer WHERE updated_at > $1";
    let values = [now.minus(HELD_AT_MOST).micros().into(), i64::from(super::cursor::END).into()];
    let statement = Statement::from_sql_and_values(store.backend(), sql, values);
    let row = store.reader().query_one_raw(statement).await?;
    Ok(row.map(|row| row.try_get_by_index::<Option<i64>>(0)).transpose()?.flatten())
}
