//! How customers spread over the labels of a metric, and how they moved since an instant: sums over histories, made by the database.
//!
//! Customers are those of today, each with the history under its own id: of somebody who was part of another customer at the earlier instant,
//! what held last is their own, and nothing where there is none.

use crate::base::Instant;
use crate::base::money::Currency;
use crate::store::StoreError;
use sea_orm::{ConnectionTrait, QueryResult, Statement};
use std::collections::BTreeMap;

/// Customers under one label today.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    pub customers: i64,
    /// Their net revenue in minor units of the currency that was asked for.
    pub net_minor: i128,
}

/// Customers who went from one label to another, or kept theirs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moved {
    /// What held then; `None`: nothing did, or the customer was not there.
    pub from: Option<String>,
    /// What holds at the later instant; `None`: nothing does.
    pub to: Option<String>,
    pub customers: i64,
}

/// Sums of 64-bit amounts may pass 64 bits: halves of them do not, for two thousand million customers.
const HALF: i64 = 1 << 32;

/// The customers of each label that holds now, with their net revenue as of the last look at each. Amounts that are not in the currency are
/// left out. One statement; leans on `metric_change_open`.
pub async fn cells(
    db: &impl ConnectionTrait,
    metric: &str,
    currency: Option<&Currency>,
) -> Result<BTreeMap<String, Cell>, StoreError> {
    let sql = format!(
        "SELECT m.value, COUNT(*), CAST(COALESCE(SUM(v.net_minor / {HALF}), 0) AS BIGINT),
                CAST(COALESCE(SUM(v.net_minor % {HALF}), 0) AS BIGINT)
         FROM metric_change m LEFT JOIN customer_value v ON v.customer_id = m.customer_id AND v.currency = $2
         WHERE m.metric = $1 AND m.until_at IS NULL GROUP BY m.value"
    );
    let values = [metric.into(), currency.map(|currency| currency.code().to_owned()).into()];
    let rows = db.query_all_raw(Statement::from_sql_and_values(db.get_database_backend(), sql, values));
    let cell = |row: &QueryResult| {
        let (high, low): (i64, i64) = (row.try_get_by_index(2)?, row.try_get_by_index(3)?);
        let cell = Cell {
            customers: row.try_get_by_index(1)?,
            net_minor: i128::from(high) * i128::from(HALF) + i128::from(low),
        };
        Ok((row.try_get_by_index(0)?, cell))
    };
    rows.await?.iter().map(cell).collect()
}

/// How many customers were where at `from`, and are where at `to`; those of whom nothing holds at either are in it only with `otherwise`,
/// the name of that. One statement, which reads the histories that touch the span and every customer's id.
pub async fn moved(
    db: &impl ConnectionTrait,
    metric: &str,
    otherwise: Option<&str>,
    from: Instant,
    to: Instant,
) -> Result<Vec<Moved>, StoreError> {
    // What held at an instant; without it, what it is called when nothing does, of customers who were there.
    let held = |at: &str| {
        format!(
            "COALESCE(MAX(CASE WHEN m.from_at <= {at} AND (m.until_at IS NULL OR m.until_at > {at}) THEN m.value END),
                      CASE WHEN c.created_at <= {at} THEN CAST($4 AS TEXT) END)"
        )
    };
    let sql = format!(
        "SELECT was, became, COUNT(*) FROM (
             SELECT c.id, {} AS was, {} AS became
             FROM customer c LEFT JOIN metric_change m ON m.customer_id = c.id AND m.metric = $1
                  AND m.from_at <= $3 AND (m.until_at IS NULL OR m.until_at > $2)
             GROUP BY c.id, c.created_at) AS each_one
         WHERE was IS NOT NULL OR became IS NOT NULL GROUP BY was, became",
        held("$2"),
        held("$3")
    );
    let otherwise = otherwise.map(str::to_owned);
    let values = [metric.into(), from.micros().into(), to.micros().into(), otherwise.into()];
    let rows = db.query_all_raw(Statement::from_sql_and_values(db.get_database_backend(), sql, values));
    let moved = |row: &QueryResult| {
        Ok(Moved {
            from: row.try_get_by_index(0)?,
            to: row.try_get_by_index(1)?,
            customers: row.try_get_by_index(2)?,
        })
    };
    let mut all: Vec<Moved> = rows.await?.iter().map(moved).collect::<Result<_, StoreError>>()?;
    all.sort();
    Ok(all)
}
