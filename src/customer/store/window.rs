//! Which part of a timeline is read, and how to read it from each record without sorting all of them.

use crate::base::paging::Page;
use crate::base::{Instant, RecordId};
use crate::store::Rows;
use sea_orm::{DbBackend, Statement, Value};

/// A place in a timeline: event time, then id, then record.
pub type TimelineKey = (i64, uuid::Uuid, uuid::Uuid);

/// Which entries of a timeline are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TimelineWindow {
    pub page: Page<TimelineKey>,
    pub oldest_first: bool,
    pub from: Option<Instant>,
    /// Exclusive.
    pub to: Option<Instant>,
}

impl TimelineWindow {
    /// Conditions on `alias`, the direction, and the values from parameter `$next` on. The last is the limit of each record.
    fn sql(&self, alias: &str, next: usize) -> (String, &'static str, Vec<Value>) {
        let (direction, beyond) = if self.oldest_first { ("ASC", ">") } else { ("DESC", "<") };
        let mut conditions = String::new();
        let mut values: Vec<Value> = Vec::new();
        let bind = |values: &mut Vec<Value>, value: Value| {
            values.push(value);
            format!("${}", next + values.len() - 1)
        };
        if let Some((at, id, record)) = self.page.after {
            let (at, id, record) = (
                bind(&mut values, at.into()),
                bind(&mut values, id.into()),
                bind(&mut values, record.into()),
            );
            conditions += &format!(" AND ({alias}.occurred_at, {alias}.id, {alias}.record_id) {beyond} ({at}, {id}, {record})");
        }
        if let Some(from) = self.from {
            conditions += &format!(" AND {alias}.occurred_at >= {}", bind(&mut values, from.micros().into()));
        }
        if let Some(to) = self.to {
            conditions += &format!(" AND {alias}.occurred_at < {}", bind(&mut values, to.micros().into()));
        }
        values.push(i64::try_from(self.page.first + 1).unwrap_or(i64::MAX).into());
        (conditions, direction, values)
    }
}

/// The first rows of each record in the direction of the window. `extra` uses `k` and the values from `$2` on.
/// PostgreSQL takes them by LATERAL; SQLite finds the rowids in the timeline index and then the rows.
pub(super) fn first_per_record(
    backend: DbBackend,
    table: &str,
    records: &[RecordId],
    window: &TimelineWindow,
    extra: &str,
    mut extra_values: Vec<Value>,
) -> Statement {
    let (relation, mut values) = Rows::new()
        .id("record_id", records.iter().map(|record| record.0))
        .relation(backend);
    values.append(&mut extra_values);
    let (conditions, direction, window_values) = window.sql("k", values.len() + 1);
    values.extend(window_values);
    let limit = values.len();
    let one_record = format!(
        "FROM {table} k WHERE k.record_id = v.record_id{extra}{conditions} ORDER BY k.occurred_at {direction}, k.id {direction} LIMIT ${limit}"
    );
    let sql = if backend == DbBackend::Postgres {
        format!("SELECT e.* FROM {relation} CROSS JOIN LATERAL (SELECT k.* {one_record}) AS e")
    } else {
        format!("SELECT e.* FROM {relation} JOIN {table} e ON e.rowid IN (SELECT k.rowid {one_record})")
    };
    Statement::from_sql_and_values(backend, sql, values)
}
