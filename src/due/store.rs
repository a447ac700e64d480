//! Marks, claims and what ends them; a statement each, however many customers.
//!
//! Rows are locked in the order of customers' ids, and by whoever has to lock customers after those.

use super::{Backlog, Claim, Due, Mark, Span};
use crate::base::{CustomerId, Instant};
use crate::store::{Rows, StoreError, any_of, ids_value};
use entity::DueClass;
use sea_orm::{ActiveEnum as _, ConnectionTrait, DatabaseTransaction, DbBackend, FromQueryResult, Statement, Value};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;
use uuid::Uuid;

/// Nobody has taken it, it is not given up, and its time has come: `$n` is now.
fn free(n: usize) -> String {
    format!("quarantined_at IS NULL AND due_at <= ${n} AND (claimed_until IS NULL OR claimed_until <= ${n})")
}

/// Makes customers due, in the transaction that changes something about them. Whoever is due already and in nobody's hands costs no write:
/// on PostgreSQL the row is locked all the same, so that nobody takes it before the change is committed.
pub async fn mark(tx: &DatabaseTransaction, customers: &BTreeSet<CustomerId>, mark: Mark) -> Result<(), StoreError> {
    let customers = customers.iter().map(|customer| (*customer, None)).collect();
    mark_with_events(tx, &customers, mark).await
}

/// The same, saying of whom events were told, and when these happened: only what they touch is counted again.
pub async fn mark_with_events(
    tx: &DatabaseTransaction,
    customers: &BTreeMap<CustomerId, Option<Span>>,
    mark: Mark,
) -> Result<(), StoreError> {
    let count = customers.len();
    let ids = || customers.keys().copied();
    let bound = |of: fn(&Span) -> Instant| {
        customers
            .values()
            .map(move |span| span.as_ref().map(|span| of(span).micros()))
    };
    Rows::new()
        .id("customer_id", ids().map(|customer| customer.0))
        .int("due_at", ids().map(|customer| mark.due_at(customer).micros()))
        .int("marked_at", std::iter::repeat_n(mark.at.micros(), count))
        .id("mark", std::iter::repeat_n(mark.by, count))
        .small("class", std::iter::repeat_n(mark.class.to_value(), count))
        .int("fence", std::iter::repeat_n(0, count))
        .int("attempts", std::iter::repeat_n(0, count))
        .optional_int("events_from", bound(|span| span.from))
        .optional_int("events_until", bound(|span| span.until))
        .insert(
            tx,
            "due",
            "ON CONFLICT (customer_id) DO UPDATE SET
                 due_at = CASE WHEN due.due_at < excluded.due_at THEN due.due_at ELSE excluded.due_at END,
                 marked_at = CASE WHEN due.marked_at < excluded.marked_at THEN due.marked_at ELSE excluded.marked_at END,
                 mark = excluded.mark,
                 class = CASE WHEN due.class < excluded.class THEN due.class ELSE excluded.class END,
                 events_from = CASE WHEN excluded.events_from IS NULL OR due.events_from <= excluded.events_from
                     THEN due.events_from ELSE excluded.events_from END,
                 events_until = CASE WHEN excluded.events_until IS NULL OR due.events_until >= excluded.events_until
                     THEN due.events_until ELSE excluded.events_until END
             WHERE due.claimed_until IS NOT NULL OR due.marked_at IS NULL OR due.marked_at > excluded.marked_at
                OR due.due_at > excluded.due_at OR due.class > excluded.class
                OR (excluded.events_from IS NOT NULL AND (due.events_from IS NULL
                    OR due.events_from > excluded.events_from OR due.events_until < excluded.events_until))",
        )
        .await?;
    Ok(())
}

/// Of a customer of `v`: whether events were told of that nobody has counted yet.
pub const IS_TOLD_OF_EVENTS: &str =
    "EXISTS (SELECT 1 FROM due d WHERE d.customer_id = v.customer_id AND d.events_from IS NOT NULL)";

/// Whether anybody is due whom nobody has taken.
pub async fn is_any(db: &impl ConnectionTrait, now: Instant) -> Result<bool, StoreError> {
    let (live, bulk) = (DueClass::Live.to_value(), DueClass::Bulk.to_value());
    // Leans on `due_next`, which is asked for each class by itself.
    let sql = format!("SELECT 1 FROM due WHERE class IN ({live}, {bulk}) AND {} LIMIT 1", free(1));
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, [now.micros().into()]);
    Ok(db.query_one_raw(statement).await?.is_some())
}

/// Takes those of a class who have been due the longest, also from who let a lease run out. What another worker takes in this instant, or
/// somebody marks, is passed over.
pub async fn claim(
    db: &impl ConnectionTrait,
    class: DueClass,
    now: Instant,
    lease: Duration,
    limit: usize,
) -> Result<Vec<Claim>, StoreError> {
    let backend = db.get_database_backend();
    let skipping = if backend == DbBackend::Postgres {
        "FOR UPDATE SKIP LOCKED"
    } else {
        ""
    };
    let sql = format!(
        "WITH next AS MATERIALIZED (
             SELECT customer_id AS id FROM due WHERE class = {} AND {} ORDER BY due_at LIMIT {limit} {skipping})
         UPDATE due SET claimed_until = $2, fence = fence + 1 FROM next WHERE customer_id = next.id
         RETURNING customer_id, fence, attempts",
        class.to_value(),
        free(1)
    );
    let values = [now.micros().into(), now.plus(lease).micros().into()];
    let rows = db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    let claim = |row: &sea_orm::QueryResult| {
        Ok(Claim {
            customer: CustomerId(row.try_get_by_index(0)?),
            fence: row.try_get_by_index(1)?,
            attempts: row.try_get_by_index(2)?,
        })
    };
    rows.iter().map(claim).collect()
}

#[derive(FromQueryResult)]
struct Held {
    customer_id: Uuid,
    fence: i64,
    mark: Uuid,
    due_at: i64,
    marked_at: Option<i64>,
    events_from: Option<i64>,
    events_until: Option<i64>,
}

/// Of some claims, those that still stand, as the rows are now. Read under the customers' locks, and before anything about them.
pub async fn held(db: &impl ConnectionTrait, claims: &[Claim]) -> Result<Vec<Due>, StoreError> {
    let backend = db.get_database_backend();
    let (relation, values) = claimed(backend, claims.iter().map(|claim| (claim.customer, claim.fence)));
    let sql = format!(
        "SELECT d.customer_id, d.fence, d.mark, d.due_at, d.marked_at, d.events_from, d.events_until FROM {relation}
         JOIN due d ON d.customer_id = v.customer_id AND d.fence = v.fence
         WHERE d.claimed_until IS NOT NULL ORDER BY d.customer_id"
    );
    let rows = Held::find_by_statement(Statement::from_sql_and_values(backend, sql, values));
    let due = |row: Held| Due {
        customer: CustomerId(row.customer_id),
        fence: row.fence,
        mark: row.mark,
        due_at: Instant::from_micros(row.due_at),
        marked_at: row.marked_at.map(Instant::from_micros),
        events: row.events_from.zip(row.events_until).map(|(from, until)| Span {
            from: Instant::from_micros(from),
            until: Instant::from_micros(until),
        }),
    };
    Ok(rows.all(db).await?.into_iter().map(due).collect())
}

fn claimed(backend: DbBackend, claims: impl Iterator<Item = (CustomerId, i64)>) -> (String, Vec<Value>) {
    let (customers, fences): (Vec<Uuid>, Vec<i64>) = claims.map(|(customer, fence)| (customer.0, fence)).unzip();
    Rows::new()
        .id("customer_id", customers)
        .int("fence", fences)
        .relation(backend)
}

/// They were looked at as of `now`; each with the instant at which something may next change by itself, if any. Who was marked since their
/// mark was read stays due. Answers how many claims still stood.
pub async fn finish(tx: &DatabaseTransaction, done: &[(Due, Option<Instant>)], now: Instant) -> Result<u64, StoreError> {
    let backend = tx.get_database_backend();
    let mut finished = 0;
    let over: Vec<&Due> = done.iter().filter(|(_, next)| next.is_none()).map(|(due, _)| due).collect();
    if !over.is_empty() {
        let (relation, mut values) = Rows::new()
            .id("id", over.iter().map(|due| due.customer.0))
            .id("read", over.iter().map(|due| due.mark))
            .int("held", over.iter().map(|due| due.fence))
            .relation(backend);
        values.push(ids_value(backend, over.iter().map(|due| due.customer.0)));
        let sql = format!(
            "DELETE FROM due WHERE {} AND EXISTS
                 (SELECT 1 FROM {relation} WHERE v.id = due.customer_id AND v.read = due.mark AND v.held = due.fence)",
            any_of(backend, "customer_id", values.len())
        );
        let statement = Statement::from_sql_and_values(backend, sql, values);
        finished += tx.execute_raw(statement).await?.rows_affected();
    }
    if finished == done.len() as u64 {
        return Ok(finished);
    }
    // Whoever was marked meanwhile was looked at up to now, and is due from now on.
    let (relation, mut values) = Rows::new()
        .id("id", done.iter().map(|(due, _)| due.customer.0))
        .id("read", done.iter().map(|(due, _)| due.mark))
        .int("held", done.iter().map(|(due, _)| due.fence))
        .int("next_at", done.iter().map(|(_, next)| next.unwrap_or(now).micros()))
        .relation(backend);
    values.push(now.micros().into());
    let n = values.len();
    let sql = format!(
        "UPDATE due SET due_at = CASE WHEN mark = v.read THEN v.next_at ELSE ${n} END,
                marked_at = CASE WHEN mark = v.read THEN NULL ELSE ${n} END,
                class = CASE WHEN mark = v.read THEN {} ELSE class END,
                events_from = CASE WHEN mark = v.read THEN NULL ELSE events_from END,
                events_until = CASE WHEN mark = v.read THEN NULL ELSE events_until END,
                claimed_until = NULL, attempts = 0, error = NULL
         FROM {relation} WHERE customer_id = v.id AND fence = v.held",
        DueClass::Bulk.to_value()
    );
    let statement = Statement::from_sql_and_values(backend, sql, values);
    Ok(finished + tx.execute_raw(statement).await?.rows_affected())
}

/// Lets claims go as if they had never been: anybody may take them at once.
pub async fn release(db: &impl ConnectionTrait, claims: impl Iterator<Item = (CustomerId, i64)>) -> Result<(), StoreError> {
    let (customers, fences): (Vec<Uuid>, Vec<i64>) = claims.map(|(customer, fence)| (customer.0, fence)).unzip();
    Rows::new()
        .id("id", customers)
        .int("held", fences)
        .update(db, "due", "claimed_until = NULL", "customer_id = v.id AND fence = v.held")
        .await?;
    Ok(())
}

/// Nobody looks at them any more.
pub async fn forget(tx: &DatabaseTransaction, customers: impl Iterator<Item = CustomerId>) -> Result<u64, StoreError> {
    let backend = tx.get_database_backend();
    let sql = format!("DELETE FROM due WHERE {}", any_of(backend, "customer_id", 1));
    let values = [ids_value(backend, customers.map(|customer| customer.0))];
    let done = tx.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Ok(done.rows_affected())
}

/// Of these customers, those of whom something was told that nobody has looked at yet. `given_up`: also those that are in quarantine.
pub async fn marked_among(
    db: &impl ConnectionTrait,
    customers: impl Iterator<Item = CustomerId>,
    given_up: bool,
) -> Result<HashSet<CustomerId>, StoreError> {
    let backend = db.get_database_backend();
    let and = if given_up { "" } else { "AND quarantined_at IS NULL" };
    let sql = format!(
        "SELECT customer_id FROM due WHERE {} AND marked_at IS NOT NULL {and}",
        any_of(backend, "customer_id", 1)
    );
    let values = [ids_value(backend, customers.map(|customer| customer.0))];
    let rows = db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    rows.iter().map(|row| Ok(CustomerId(row.try_get_by_index(0)?))).collect()
}

/// Of these customers, those of whom something was told, or whose time has come, and nobody has looked: what is stored of them is old.
pub async fn outdated_among(
    db: &impl ConnectionTrait,
    customers: impl Iterator<Item = CustomerId>,
    now: Instant,
) -> Result<HashSet<CustomerId>, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!(
        "SELECT customer_id FROM due WHERE {} AND (marked_at IS NOT NULL OR due_at <= $2)",
        any_of(backend, "customer_id", 1)
    );
    let values = [ids_value(backend, customers.map(|customer| customer.0)), now.micros().into()];
    let rows = db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    rows.iter().map(|row| Ok(CustomerId(row.try_get_by_index(0)?))).collect()
}

#[derive(FromQueryResult)]
struct Counted {
    due: i64,
    claimed: i64,
    quarantined: i64,
    oldest: Option<i64>,
}

/// How much there is to do; counts the rows that are due.
pub async fn backlog(db: &impl ConnectionTrait, now: Instant) -> Result<Backlog, StoreError> {
    let (live, bulk) = (DueClass::Live.to_value(), DueClass::Bulk.to_value());
    // Leans on `due_next` and `due_quarantined`: whoever is due some day is not read.
    let sql = format!(
        "SELECT COUNT(*) FILTER (WHERE claimed_until IS NULL OR claimed_until <= $1) AS due,
                COUNT(*) FILTER (WHERE claimed_until > $1) AS claimed,
                (SELECT COUNT(*) FROM due WHERE quarantined_at IS NOT NULL) AS quarantined,
                MIN(due_at) FILTER (WHERE class = {live}) AS oldest
         FROM due WHERE quarantined_at IS NULL AND class IN ({live}, {bulk}) AND due_at <= $1"
    );
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, [now.micros().into()]);
    let counted = Counted::find_by_statement(statement).one(db).await?;
    Ok(counted.map_or_else(Backlog::default, |counted| Backlog {
        due: counted.due,
        claimed: counted.claimed,
        quarantined: counted.quarantined,
        oldest_live: counted.oldest.map(Instant::from_micros),
    }))
}

/// The earliest instant at which anybody is due, be it over or to come; `None`: nobody is.
pub async fn earliest(db: &impl ConnectionTrait) -> Result<Option<Instant>, StoreError> {
    let sql = "SELECT MIN(due_at) FROM due WHERE quarantined_at IS NULL";
    let row = db
        .query_one_raw(Statement::from_string(db.get_database_backend(), sql))
        .await?;
    let earliest: Option<i64> = row.map_or(Ok(None), |row| row.try_get_by_index(0))?;
    Ok(earliest.map(Instant::from_micros))
}
