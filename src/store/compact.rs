//! Leaving nothing behind: a deleted row stays readable in the files of a database until its place is written again.

use super::{Store, StoreError};
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};
use std::time::Duration;

/// So often a reader that is in the way of SQLite's checkpoint is waited for.
const CHECKPOINTS: u32 = 50;
/// Longer, and it is no intake that is waited for but somebody who reads a lot.
const OLDER_WAITED: u32 = 200;
const PAUSE: Duration = Duration::from_millis(50);

impl Store {
    /// Writes the database anew without what was deleted (SQLite: the whole file, and its log is emptied; writers wait meanwhile), or
    /// clears what was deleted from these tables and their statistics (PostgreSQL: its own log, and backups, are the operator's).
    /// False: a reader was in the way to the end, try again later.
    pub async fn compact(&self, tables: &[&str]) -> Result<bool, StoreError> {
        if self.is_postgres() {
            let sql = format!("VACUUM (ANALYZE) {}", tables.join(", "));
            self.writer().execute_unprepared(&sql).await?;
            return Ok(true);
        }
        self.writer().execute_unprepared("VACUUM").await?;
        for _ in 0..CHECKPOINTS {
            let checkpoint = Statement::from_string(DbBackend::Sqlite, "PRAGMA wal_checkpoint(TRUNCATE)");
            let row = self.writer().query_one_raw(checkpoint).await?;
            let busy: i32 = row.map_or(Ok(0), |row| row.try_get_by_index(0))?;
            if busy == 0 {
                return Ok(true);
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(false)
    }

    /// Writes a table of PostgreSQL anew, its indexes with it: nothing that was deleted is left in its files. The table is closed
    /// meanwhile. Clearing alone leaves bytes of deleted rows in the free middle of pages until something is written there.
    pub async fn write_anew(&self, table: &str) -> Result<(), StoreError> {
        self.writer()
            .execute_unprepared(&format!("VACUUM (FULL, ANALYZE) {table}"))
            .await?;
        Ok(())
    }

    /// Waits until every transaction that is under way has ended, ten seconds at most: what it saw may be out of date, and it may write
    /// by it. SQLite has one writer.
    pub async fn outlive_transactions(&self) -> Result<(), StoreError> {
        if !self.is_postgres() {
            return Ok(());
        }
        let others = "SELECT l.virtualxid FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
            WHERE l.locktype = 'virtualxid' AND l.granted AND l.pid <> pg_backend_pid() AND a.datname = current_database()";
        let mut older = self.texts(others).await?;
        for _ in 0..OLDER_WAITED {
            if older.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
            let today = self.texts(others).await?;
            older.retain(|transaction| today.contains(transaction));
        }
        tracing::info!("somebody reads in a long transaction: it is not waited for");
        Ok(())
    }

    async fn texts(&self, sql: &str) -> Result<Vec<String>, StoreError> {
        let rows = self
            .writer()
            .query_all_raw(Statement::from_string(self.backend(), sql))
            .await?;
        rows.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
    }
}
