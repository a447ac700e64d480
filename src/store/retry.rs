//! Transactions that try again when they lost a race.
//!
//! Serialization failures, deadlocks and a busy SQLite are tried again with growing, jittered pauses inside a budget. The COMMIT itself
//! is never repeated: when its answer is lost the work may already be stored, and only the caller knows how to find out.

use super::{Store, StoreError};
use futures_util::future::BoxFuture;
use sea_orm::{
    ConnAcquireErr, DatabaseTransaction, DbErr, RuntimeErr, SqliteTransactionMode, SqlxError, TransactionOptions,
    TransactionTrait,
};
use std::time::Duration;

/// How often a transaction is tried before its conflict is handed to the caller.
const ATTEMPTS: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(2);

/// Carries the bound `'a: 't` into a closure's type, which has no other place for it.
pub type Borrows<'t, 'a> = [&'t &'a (); 0];

/// An error that may hold a `StoreError`, so that `transact` can tell a lost race from a refusal.
pub trait Transient {
    fn store_error(&self) -> Option<&StoreError>;
}

impl Transient for StoreError {
    fn store_error(&self) -> Option<&StoreError> {
        Some(self)
    }
}

/// How a rehearsal ends: never with a commit.
enum Undone<T> {
    Seen(T),
    Failed(StoreError),
}

impl<T> From<StoreError> for Undone<T> {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl<T> Transient for Undone<T> {
    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Seen(_) => None,
            Self::Failed(error) => Some(error),
        }
    }
}

impl Store {
    /// Runs `work` in a transaction and commits it; an error rolls back. `work` may run several times and must have no other effect.
    /// Its second argument is empty and only tells the compiler that what `work` borrows outlives the transaction.
    pub async fn transact<'a, T, E, F>(&self, mut work: F) -> Result<T, E>
    where
        F: for<'t> FnMut(&'t DatabaseTransaction, Borrows<'t, 'a>) -> BoxFuture<'t, Result<T, E>> + Send,
        T: Send,
        E: From<StoreError> + Transient + Send,
    {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let mut attempt = 1;
        loop {
            let result: Result<T, E> = match self.writer.begin_with_options(options).await {
                Err(error) => Err(StoreError::from(error).into()),
                Ok(tx) => match work(&tx, []).await {
                    Ok(value) => match tx.commit().await {
                        Ok(()) => {
                            self.commits.send_modify(|count| *count = count.wrapping_add(1));
                            return Ok(value);
                        }
                        Err(error) if lost_race(&error) => Err(StoreError::from(error).into()),
                        Err(error) => return Err(E::from(StoreError::CommitUnknown(error))),
                    },
                    Err(error) => {
                        if let Err(rollback) = tx.rollback().await {
                            tracing::debug!(error = %rollback, "rolling back");
                        }
                        Err(error)
                    }
                },
            };
            let Err(error) = result else {
                unreachable!("success returned above")
            };
            let again = match error.store_error() {
                Some(StoreError::LostRace) => true,
                Some(StoreError::Statement(cause)) => lost_race(cause),
                _ => false,
            };
            if !again {
                return Err(error);
            }
            if attempt == ATTEMPTS {
                // Nothing is wrong with the work: whoever sent it may send it again.
                return Err(StoreError::LostRace.into());
            }
            metrics::counter!("tributary_transaction_retries_total").increment(1);
            tokio::time::sleep(self.pause(attempt)).await;
            attempt += 1;
        }
    }

    /// Runs `work` like `transact`, and rolls it back whatever it answers: for asking what would happen.
    pub async fn rehearse<'a, T, F>(&self, mut work: F) -> Result<T, StoreError>
    where
        F: for<'t> FnMut(&'t DatabaseTransaction, Borrows<'t, 'a>) -> BoxFuture<'t, Result<T, StoreError>> + Send,
        T: Send + 'static,
    {
        let undone = self
            .transact(|tx, borrows| {
                let seen = work(tx, borrows);
                Box::pin(async move { Err::<(), _>(seen.await.map_or_else(Undone::Failed, Undone::Seen)) })
            })
            .await;
        match undone {
            Err(Undone::Seen(seen)) => Ok(seen),
            Err(Undone::Failed(error)) => Err(error),
            Ok(()) => unreachable!("what is rehearsed never commits"),
        }
    }

    /// Doubles with each attempt; the jitter of up to the whole pause keeps rivals from meeting again.
    fn pause(&self, attempt: u32) -> Duration {
        let base = FIRST_PAUSE * 2_u32.pow(attempt - 1);
        base + base.mul_f64(f64::from(self.ids.bytes::<1>()[0]) / 255.0)
    }
}

/// The database says that repeating the whole transaction may succeed. PostgreSQL says so of a COMMIT only when it rolled back.
fn lost_race(error: &DbErr) -> bool {
    let Some(code) = code(error) else { return false };
    match code.parse::<i32>() {
        // SQLITE_BUSY and SQLITE_LOCKED with their extended codes.
        Ok(sqlite) if code.len() < 5 => matches!(sqlite & 0xff, 5 | 6),
        _ => matches!(code.as_str(), "40001" | "40P01"),
    }
}

/// No connection could be had or it broke.
pub(super) fn is_unreachable(error: &DbErr) -> bool {
    match error {
        DbErr::ConnectionAcquire(ConnAcquireErr::Timeout | ConnAcquireErr::ConnectionClosed) | DbErr::Conn(_) => true,
        DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause)) => match cause.as_ref() {
            SqlxError::Io(_) | SqlxError::PoolTimedOut | SqlxError::PoolClosed | SqlxError::WorkerCrashed | SqlxError::Tls(_) => {
                true
            }
            // 57P0x: the server is shutting down or starting; 08xxx: connection exceptions; 53300: too many connections.
            SqlxError::Database(cause) => cause
                .code()
                .is_some_and(|code| code.starts_with("57P0") || code.starts_with("08") || code == "53300"),
            _ => false,
        },
        _ => false,
    }
}

/// The database refused what it was given, so that a smaller group without the culprit may pass: data exceptions (22), constraints
/// (23), program limits (54); on SQLite a plain error, too big, a constraint, a type mismatch. Anything else (a full disk, a time-out) is
/// nobody's fault in the group.
pub(super) fn is_about_data(error: &DbErr) -> bool {
    let Some(code) = code(error) else { return false };
    match code.parse::<i32>() {
        Ok(sqlite) if code.len() < 5 => matches!(sqlite & 0xff, 1 | 18 | 19 | 20),
        _ => ["22", "23", "54"].iter().any(|class| code.starts_with(class)),
    }
}

/// The statement speaks of a table that is not there.
pub(super) fn is_missing_table(error: &DbErr) -> bool {
    code(error).is_some_and(|code| code == "42P01") || error.to_string().contains("no such table")
}

fn code(error: &DbErr) -> Option<String> {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause)) => match cause.as_ref() {
            SqlxError::Database(cause) => cause.code().map(std::borrow::Cow::into_owned),
            _ => None,
        },
        _ => None,
    }
}
