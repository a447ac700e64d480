//! The stamper: gives committed transactions their positions. PostgreSQL only; on SQLite the one writer does it itself.
//!
//! Promises: only what is committed gets a position; positions have no gaps and are never given twice; within a batch they follow the
//! ordinals, which each transaction drew by its last statement, so what another transaction waited for comes first; a transaction that
//! commits later comes later. One instance stamps at a time, under a lease: the counter is the lease's own value, its row is locked
//! before the unstamped transactions are looked at, and an instance whose lease was taken over finds another fence there and stamps
//! nothing.

use crate::base::Instant;
use crate::store::lease::{self, Lease};
use crate::store::{Store, StoreError};
use sea_orm::{ConnectionTrait as _, Statement};
use std::time::Duration;

pub const LEASE_NAME: &str = "stamper";
/// A dead stamper is followed after at most so long.
const LEASE: Duration = Duration::from_secs(5);
/// An idle stamper renews its lease so long before its end.
const RENEWED_BEFORE: Duration = Duration::from_secs(3);
/// Transactions of one batch: what one lock holds up.
const BATCH: usize = 2_000;

/// One instance's part in stamping.
#[derive(Debug)]
pub struct Stamper {
    store: Store,
    holder: String,
    lease: Option<Lease>,
    until: Instant,
}

impl Stamper {
    /// `holder` names this instance, and no other ever.
    pub fn new(store: Store, holder: String) -> Self {
        Self {
            store,
            holder,
            lease: None,
            until: Instant::from_micros(0),
        }
    }

    pub fn is_holder(&self) -> bool {
        self.lease.is_some()
    }

    /// Stamps everything that is committed, if this instance holds the lease or can have it. Answers how many transactions.
    pub async fn run_once(&mut self, now: Instant) -> Result<u64, StoreError> {
        if self.lease.is_none() {
            if !lease::is_free(self.store.writer(), LEASE_NAME, now).await? {
                return Ok(0);
            }
            self.lease = lease::claim(self.store.writer(), LEASE_NAME, &self.holder, now, LEASE).await?;
            self.until = now.plus(LEASE);
            match &self.lease {
                Some(lease) => tracing::info!(fence = lease.fence, position = lease.value, "this instance stamps the log"),
                None => return Ok(0),
            }
        }
        let mut stamped = 0;
        loop {
            let due = now.plus(RENEWED_BEFORE) >= self.until;
            if !self.has_unstamped().await? && !due {
                return Ok(stamped);
            }
            let Some(count) = self.stamp(now).await? else {
                tracing::warn!("another instance stamps the log now");
                self.lease = None;
                return Ok(stamped);
            };
            stamped += count;
            if count < BATCH as u64 {
                return Ok(stamped);
            }
        }
    }

    async fn has_unstamped(&self) -> Result<bool, StoreError> {
        let sql = "SELECT tx_id FROM change_tx WHERE position IS NULL LIMIT 1";
        let statement = Statement::from_string(self.store.backend(), sql);
        Ok(self.store.writer().query_one_raw(statement).await?.is_some())
    }

    /// One batch; none when the lease is somebody else's.
    async fn stamp(&mut self, now: Instant) -> Result<Option<u64>, StoreError> {
        let Some(lease) = self.lease.clone() else { return Ok(None) };
        let backend = self.store.backend();
        let stamped = self
            .store
            .transact(|tx, _| {
                let lease = lease.clone();
                Box::pin(async move {
                    let Some(last) = lease.hold(tx, now, LEASE).await? else { return Ok(None) };
                    // A statement of its own: it sees what whoever held the row before has stamped.
                    let sql = format!(
                        "UPDATE change_tx SET position = $1 + v.place FROM
                           (SELECT tx_id, ROW_NUMBER() OVER (ORDER BY ordinal) AS place FROM
                              (SELECT tx_id, ordinal FROM change_tx WHERE position IS NULL ORDER BY ordinal LIMIT {BATCH}) AS u) AS v
                         WHERE change_tx.tx_id = v.tx_id"
                    );
                    let done = tx
                        .execute_raw(Statement::from_sql_and_values(backend, sql, [last.into()]))
                        .await?;
                    let count = done.rows_affected();
                    if count > 0 {
                        lease.keep(tx, last + i64::try_from(count).unwrap_or(i64::MAX)).await?;
                    }
                    Ok::<_, StoreError>(Some(count))
                })
            })
            .await?;
        if stamped.is_some() {
            self.until = now.plus(LEASE);
        }
        Ok(stamped)
    }

    /// Lets another instance take over at once.
    pub async fn stop(mut self) {
        if let Some(lease) = self.lease.take()
            && let Err(error) = lease.release(self.store.writer()).await
        {
            tracing::warn!(%error, "giving the stamper's lease back");
        }
    }
}
