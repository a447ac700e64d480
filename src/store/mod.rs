//! One database, SQLite or PostgreSQL, as the features see it: a reader, transactions that retry what is worth retrying, and rows in
//! bulk. Knows nothing about features.
//!
//! Promises: writes on SQLite pass one connection, so nobody waits for a lock in vain; a transaction that lost a race is tried again,
//! a commit never; both databases take the same statement text, with `rows::` for what they spell differently.

mod check;
mod compact;
mod compare;
mod json;
pub mod lease;
mod memory;
mod open;
mod retry;
mod rows;
mod sweep;
pub mod walk;

pub use check::{Finding, check};
pub use compare::{Columns, Difference, compare, compare_columns};
pub use json::{JsonFlag, json_id, json_rows, json_value, read_json_rows};
pub use memory::remembering;
pub use open::{DatabaseOptions, backend_of, is_missing_file, missing_folder, open, place_of};
pub use retry::Transient;
pub use rows::{Rows, any_of, ids_value};
pub(crate) use sweep::sweep;
pub use sweep::{SWEEP_ROWS, rows_after};

use crate::base::ids::HashKey;
use crate::base::{Ids, Kind};
use sea_orm::{DatabaseConnection, DbBackend, DbErr, SqlErr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// An open database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    reader: DatabaseConnection,
    writer: DatabaseConnection,
    backend: DbBackend,
    secrets: Option<Secrets>,
    ids: Ids,
    statements: Arc<AtomicU64>,
    background: Arc<AtomicU64>,
    commits: watch::Sender<u64>,
}

/// What the first migration wrote for this installation alone.
#[derive(Clone, Debug)]
struct Secrets {
    id_key: HashKey,
}

impl Store {
    pub fn backend(&self) -> DbBackend {
        self.backend
    }

    pub fn is_postgres(&self) -> bool {
        self.backend == DbBackend::Postgres
    }

    /// For queries: never blocked by writers.
    pub fn reader(&self) -> &DatabaseConnection {
        &self.reader
    }

    /// Outside transactions only for single statements and migrations.
    pub fn writer(&self) -> &DatabaseConnection {
        &self.writer
    }

    /// Turns natural keys into ids.
    ///
    /// # Panics
    /// Before the first migration: there is no secret yet, and `serve` and the commands check for it when they open the store.
    pub fn hash_key(&self) -> &HashKey {
        &self
            .secrets
            .as_ref()
            .expect("the store was opened after its first migration")
            .id_key
    }

    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// Statements sent since it was opened, transactions' BEGIN and COMMIT and those `in_background` not counted. Tests hold verbs to
    /// their number.
    pub fn statement_count(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// Changes after every transaction that this process commits through `transact`: who waits for news looks again. Other processes commit
    /// too, so whoever waits looks without a word from time to time.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.commits.subscribe()
    }

    /// The statements sent `in_background`.
    pub fn background_statement_count(&self) -> u64 {
        self.background.load(Ordering::Relaxed)
    }
}

tokio::task_local! {
    /// Set where nobody waits for what is done.
    static BACKGROUND: ();
}

/// Does work that no request waits for: its statements are counted apart. What the work spawns says so itself.
pub async fn in_background<W: Future>(work: W) -> W::Output {
    BACKGROUND.scope((), work).await
}

/// Work to be spawned, whose statements are counted as those of whoever spawns it.
pub fn counted_as_here<W: Future>(work: W) -> impl Future<Output = W::Output> {
    let is_background = BACKGROUND.try_with(|()| ()).is_ok();
    async move {
        if is_background {
            in_background(work).await
        } else {
            work.await
        }
    }
}

/// What can go wrong below the features. The texts hold their causes, so none is passed on as a source to be printed again.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database refused a statement: {0}")]
    Statement(DbErr),
    #[error("the database does not answer: {0}")]
    Unavailable(DbErr),
    /// The answer to COMMIT was lost: the work may be stored or not. Whoever sent it reads again or sends it again.
    #[error("it is unknown whether the transaction was committed: {0}")]
    CommitUnknown(DbErr),
    /// Another transaction wrote the same key first: try the whole again.
    #[error("another transaction wrote the same rows first")]
    LostRace,
    #[error("{0}")]
    Schema(String),
    #[error("a stored value cannot be read: {0}")]
    Corrupt(String),
}

impl StoreError {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Unavailable(_) | Self::CommitUnknown(_) | Self::LostRace => Kind::Unavailable,
            Self::Statement(_) | Self::Schema(_) | Self::Corrupt(_) => Kind::Internal,
        }
    }
}

impl StoreError {
    /// Whether the database refused what it was given, and not the moment it was given.
    pub fn is_about_data(&self) -> bool {
        matches!(self, Self::Statement(error) if retry::is_about_data(error))
    }

    /// Whether a key was there already.
    pub fn is_unique_violation(&self) -> bool {
        matches!(self, Self::Statement(error) if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))))
    }
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        if retry::is_unreachable(&error) {
            Self::Unavailable(error)
        } else {
            Self::Statement(error)
        }
    }
}
