//! Named readers: each has its place in the log stored, so that it goes on there whichever instance runs it.
//!
//! Promises: a stored place moves forward only; a reader that says where it is holds what it has not read, for at most 30 days without a
//! word (`retention`). Whoever acts on changes stores the place in the transaction of what it did, so that nothing is done twice.
//! Owns `consumer`.

use super::cursor::Place;
use crate::base::Instant;
use crate::store::StoreError;
use sea_orm::{ConnectionTrait, Statement};

/// Where a named reader is; none when it never said.
pub async fn place_of(db: &impl ConnectionTrait, name: &str) -> Result<Option<Place>, StoreError> {
    let sql = "SELECT position, n, k, tag FROM consumer WHERE name = $1";
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, [name.into()]);
    let Some(row) = db.query_one_raw(statement).await? else {
        return Ok(None);
    };
    let narrow = |index: usize| -> Result<u32, StoreError> {
        let number: i64 = row.try_get_by_index(index)?;
        u32::try_from(number).map_err(|_| StoreError::Corrupt("the place of a consumer".to_owned()))
    };
    Ok(Some(Place {
        position: row.try_get_by_index(0)?,
        n: narrow(1)?,
        k: narrow(2)?,
        tag: narrow(3)?.to_be_bytes(),
    }))
}

/// Stores where a named reader is, and that it is alive. False: it is at this place or further already, and only its life is noted.
pub async fn ack(db: &impl ConnectionTrait, name: &str, place: Place, now: Instant) -> Result<bool, StoreError> {
    let backend = db.get_database_backend();
    let values = || {
        [
            name.into(),
            place.position.into(),
            i64::from(place.n).into(),
            i64::from(place.k).into(),
            i64::from(u32::from_be_bytes(place.tag)).into(),
            now.micros().into(),
        ]
    };
    let sql = "INSERT INTO consumer (name, position, n, k, tag, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $6)
               ON CONFLICT (name) DO UPDATE SET position = excluded.position, n = excluded.n, k = excluded.k, tag = excluded.tag,
                 updated_at = excluded.updated_at
               WHERE (consumer.position, consumer.n, consumer.k) < (excluded.position, excluded.n, excluded.k) RETURNING name";
    let moved = db
        .query_one_raw(Statement::from_sql_and_values(backend, sql, values()))
        .await?;
    if moved.is_none() {
        let sql = "UPDATE consumer SET updated_at = $2 WHERE name = $1";
        let statement = Statement::from_sql_and_values(backend, sql, [name.into(), now.micros().into()]);
        db.execute_raw(statement).await?;
    }
    Ok(moved.is_some())
}

/// Puts a named reader at a place, forwards or back: after `CURSOR_EXPIRED` or `CURSOR_EPOCH`, when it has begun anew.
pub async fn reset(db: &impl ConnectionTrait, name: &str, place: Place, now: Instant) -> Result<(), StoreError> {
    forget(db, name).await?;
    ack(db, name, place, now).await?;
    Ok(())
}

/// Lets go of a named reader: it holds nothing any more.
pub async fn forget(db: &impl ConnectionTrait, name: &str) -> Result<(), StoreError> {
    let sql = "DELETE FROM consumer WHERE name = $1";
    db.execute_raw(Statement::from_sql_and_values(db.get_database_backend(), sql, [name.into()]))
        .await?;
    Ok(())
}
