//! Is this database fit to promise durability? Asked at start and by `tributary doctor`.

use super::{Store, StoreError};
use sea_orm::{ConnectionTrait, QueryResult, Statement};

/// Versions below lack what the statements use.
const OLDEST_POSTGRES: i64 = 150_000;

/// One thing looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub what: &'static str,
    pub value: String,
    /// What to do about it; `None` when it is as it should be.
    pub remedy: Option<&'static str>,
}

/// Looks at the settings on which "acknowledged means durable" rests.
pub async fn check(store: &Store) -> Result<Vec<Finding>, StoreError> {
    if store.is_postgres() {
        postgres(store).await
    } else {
        sqlite(store).await
    }
}

async fn postgres(store: &Store) -> Result<Vec<Finding>, StoreError> {
    let sql =
        "SELECT current_setting('server_version_num')::bigint, current_setting('synchronous_commit'), current_setting('fsync'),
                      current_setting('full_page_writes')";
    let row = one(store, sql).await?;
    let version: i64 = row.try_get_by_index(0)?;
    let text = |i| row.try_get_by_index::<String>(i).map_err(StoreError::from);
    let (synchronous_commit, fsync, full_page_writes) = (text(1)?, text(2)?, text(3)?);
    Ok(vec![
        finding(
            "server_version_num",
            version.to_string(),
            version >= OLDEST_POSTGRES,
            "use PostgreSQL 15 or newer",
        ),
        finding(
            "synchronous_commit",
            synchronous_commit.clone(),
            synchronous_commit != "off",
            "set synchronous_commit = on: an acknowledged event could be lost in a crash",
        ),
        finding(
            "fsync",
            fsync.clone(),
            fsync == "on",
            "set fsync = on: a power cut could destroy the database",
        ),
        finding(
            "full_page_writes",
            full_page_writes.clone(),
            full_page_writes == "on",
            "set full_page_writes = on",
        ),
    ])
}

async fn sqlite(store: &Store) -> Result<Vec<Finding>, StoreError> {
    let journal: String = one(store, "PRAGMA journal_mode").await?.try_get_by_index(0)?;
    let synchronous: i64 = one(store, "PRAGMA synchronous").await?.try_get_by_index(0)?;
    Ok(vec![
        finding(
            "journal_mode",
            journal.clone(),
            journal == "wal",
            "use a file on a disk that supports write-ahead logging",
        ),
        finding(
            "synchronous",
            synchronous.to_string(),
            synchronous >= 2,
            "synchronous must be FULL: an acknowledged event could be lost",
        ),
    ])
}

fn finding(what: &'static str, value: String, good: bool, remedy: &'static str) -> Finding {
    Finding {
        what,
        value,
        remedy: (!good).then_some(remedy),
    }
}

async fn one(store: &Store, sql: &str) -> Result<QueryResult, StoreError> {
    let row = store
        .writer()
        .query_one_raw(Statement::from_string(store.backend(), sql))
        .await?;
    row.ok_or_else(|| StoreError::Corrupt(format!("no answer to {sql}")))
}
