//! A lease: one instance's right to do something alone for a while.
//!
//! Promises: a lease is taken only when the one before has run out or was given back; each holder has a fence of its own, and what is
//! written under a lease asks for it in the same transaction (`hold`), so a holder who was away too long writes nothing. The row is locked
//! by `hold` until the transaction ends, so two holders never work at one moment, whatever their clocks say.
//! A lease keeps one number of its holder, `value`; what it means is the holder's affair.

use super::StoreError;
use crate::base::Instant;
use sea_orm::{ConnectionTrait, DatabaseTransaction, Statement};
use std::time::Duration;

/// The right of one holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub name: &'static str,
    pub holder: String,
    pub fence: i64,
    pub value: i64,
}

/// Takes a lease for so long; `None` when somebody else holds it.
pub async fn claim(
    db: &impl ConnectionTrait,
    name: &'static str,
    holder: &str,
    now: Instant,
    length: Duration,
) -> Result<Option<Lease>, StoreError> {
    let backend = db.get_database_backend();
    let sql = "INSERT INTO lease (name, holder, fence, until, value) VALUES ($1, $2, 1, $3, 0)
               ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, fence = lease.fence + 1, until = excluded.until
               WHERE lease.until <= $4 RETURNING fence, value";
    let values = [
        name.into(),
        holder.into(),
        now.plus(length).micros().into(),
        now.micros().into(),
    ];
    let row = db.query_one_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Lease {
        name,
        holder: holder.to_owned(),
        fence: row.try_get_by_index(0)?,
        value: row.try_get_by_index(1)?,
    }))
}

/// Whether somebody could take it now: asked before `claim`, which would wait for whoever is at work under it.
pub async fn is_free(db: &impl ConnectionTrait, name: &str, now: Instant) -> Result<bool, StoreError> {
    let sql = "SELECT until FROM lease WHERE name = $1";
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, [name.into()]);
    Ok(match db.query_one_raw(statement).await? {
        Some(row) => row.try_get_by_index::<i64>(0)? <= now.micros(),
        None => true,
    })
}

impl Lease {
    /// Renews it and locks it until the transaction ends; answers its value, `None` when somebody else has taken it over.
    pub async fn hold(&self, tx: &DatabaseTransaction, now: Instant, length: Duration) -> Result<Option<i64>, StoreError> {
        let sql = "UPDATE lease SET until = $4 WHERE name = $1 AND holder = $2 AND fence = $3 RETURNING value";
        let values = [
            self.name.into(),
            self.holder.as_str().into(),
            self.fence.into(),
            now.plus(length).micros().into(),
        ];
        let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
        let row = tx.query_one_raw(statement).await?;
        Ok(row.map(|row| row.try_get_by_index(0)).transpose()?)
    }

    /// Keeps another value; `hold` comes before it in the same transaction.
    pub async fn keep(&self, tx: &DatabaseTransaction, value: i64) -> Result<(), StoreError> {
        let sql = "UPDATE lease SET value = $4 WHERE name = $1 AND holder = $2 AND fence = $3";
        let values = [self.name.into(), self.holder.as_str().into(), self.fence.into(), value.into()];
        tx.execute_raw(Statement::from_sql_and_values(tx.get_database_backend(), sql, values))
            .await?;
        Ok(())
    }

    /// Gives it back, so that nobody need wait for its end.
    pub async fn release(&self, db: &impl ConnectionTrait) -> Result<(), StoreError> {
        let sql = "UPDATE lease SET until = 0 WHERE name = $1 AND holder = $2 AND fence = $3";
        let values = [self.name.into(), self.holder.as_str().into(), self.fence.into()];
        db.execute_raw(Statement::from_sql_and_values(db.get_database_backend(), sql, values))
            .await?;
        Ok(())
    }
}
