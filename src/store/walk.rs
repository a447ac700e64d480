//! Several tables walked as one list of instants, for many lists at once, in one statement.
//!
//! Each table is a lane with an index (record, instant, id). A page is found from the keys alone, a few of each record, and only the
//! rows that are on the page are fetched. Nothing is sorted but candidates: at most a page of each record, and of a lane whose entries
//! belong to one record each, only of the records that stand first. A page costs the same wherever it lies.

use crate::base::Instant;
use crate::base::paging::{Page, Slice};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, EntityTrait, IdenStatic as _, Iterable as _, QueryResult, Statement, Value};
use std::collections::HashMap;
use uuid::Uuid;

/// A place in a list: the instant, then the id, then the record (of a shared entry, the id again).
pub type Place = (i64, Uuid, Uuid);

/// Which part of a list is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    pub page: Page<Place>,
    pub oldest_first: bool,
    pub from: Option<Instant>,
    /// Exclusive.
    pub to: Option<Instant>,
}

impl Window {
    /// The newest, from the beginning.
    pub fn newest(page: Page<Place>) -> Self {
        Self {
            page,
            oldest_first: false,
            from: None,
            to: None,
        }
    }
}

/// A table of entries. All names are of its columns.
#[derive(Clone, Debug)]
pub struct Lane {
    /// Holds the keys, under an index of the next three columns.
    pub keys: &'static str,
    pub record: &'static str,
    pub at: &'static str,
    pub id: &'static str,
    /// What an entry must be, said of the alias `k`: ` AND …`, with `?` for each value.
    pub condition: String,
    pub values: Vec<Value>,
    /// An entry may be about several records of a list, and is in it once. On SQLite, a table of others has a rowid, and (record, id) is
    /// the key of this one.
    pub is_shared: bool,
    /// Holds the rows, joined as `{}` to the key `f`: its columns are read under this prefix.
    pub rows: &'static str,
    pub on: &'static str,
    pub columns: Vec<&'static str>,
}

/// The columns of a table, for `Lane::columns`.
pub fn columns_of<E: EntityTrait>() -> Vec<&'static str> {
    E::Column::iter().map(|column| column.as_str()).collect()
}

/// The records of the lists: `who` selects (list_id, record_id), its parameters come first.
#[derive(Clone, Debug)]
pub struct Who {
    pub sql: String,
    pub values: Vec<Value>,
}

/// A row of a page: of which lane, under which prefix its columns stand.
#[derive(Debug)]
pub struct Walked {
    pub lane: usize,
    pub prefix: String,
    pub row: QueryResult,
}

/// A page of each list. One statement. Lists without entries are missing.
pub async fn walk(
    db: &impl ConnectionTrait,
    who: Who,
    lanes: &[Lane],
    window: &Window,
) -> Result<HashMap<Uuid, Slice<Walked>>, DbErr> {
    if lanes.is_empty() {
        return Ok(HashMap::new());
    }
    let statement = statement(db.get_database_backend(), who, lanes, window);
    let mut lists: HashMap<Uuid, Vec<Walked>> = HashMap::new();
    for row in db.query_all_raw(statement).await? {
        let list: Uuid = row.try_get_by_index(0)?;
        let lane: i32 = row.try_get_by_index(1)?;
        let lane = usize::try_from(lane).unwrap_or_default();
        let prefix = prefix(lane);
        lists.entry(list).or_default().push(Walked { lane, prefix, row });
    }
    let slice = |(list, rows)| (list, Slice::from_one_more(rows, window.page.first));
    Ok(lists.into_iter().map(slice).collect())
}

fn prefix(lane: usize) -> String {
    format!("l{lane}_")
}

/// The statement of `walk`; the rows of each list come in its order.
pub fn statement(backend: DbBackend, who: Who, lanes: &[Lane], window: &Window) -> Statement {
    let mut values = who.values;
    let limit = bind(&mut values, i64::try_from(window.page.first + 1).unwrap_or(i64::MAX));
    let direction = if window.oldest_first { "ASC" } else { "DESC" };
    let found: Vec<String> = lanes
        .iter()
        .enumerate()
        .map(|(n, lane)| lane.found(backend, n, window, &limit, &mut values))
        .collect();
    let mut columns = String::new();
    let mut joins = String::new();
    for (n, lane) in lanes.iter().enumerate() {
        let table = format!("l{n}");
        for column in &lane.columns {
            columns += &format!(", {table}.{column} AS {}{column}", prefix(n));
        }
        let on = lane.on.replace("{}", &table);
        joins += &if backend == DbBackend::Postgres {
            // LIMIT keeps PostgreSQL, which takes the keys for many, from reading the whole table for a join.
            let row = format!(
                "SELECT {table}.* FROM {} {table} WHERE f.lane = {n} AND {on} LIMIT 1",
                lane.rows
            );
            format!(" LEFT JOIN LATERAL ({row}) AS {table} ON true")
        } else {
            format!(" LEFT JOIN {} {table} ON f.lane = {n} AND {on}", lane.rows)
        };
    }
    let sql = format!(
        "WITH who AS MATERIALIZED ({}),
              found AS ({}),
              placed AS (SELECT found.*, ROW_NUMBER() OVER (PARTITION BY list_id
                                ORDER BY happened {direction}, id {direction}, record_id {direction}) AS place FROM found)
         SELECT f.list_id, f.lane{columns} FROM placed f{joins} WHERE f.place <= {limit} ORDER BY f.list_id, f.place",
        who.sql,
        found.join(" UNION ALL ")
    );
    Statement::from_sql_and_values(backend, sql, values)
}

impl Lane {
    /// Selects (list_id, lane, happened, id, record_id) of every key that can be on the page.
    fn found(&self, backend: DbBackend, n: usize, window: &Window, limit: &str, values: &mut Vec<Value>) -> String {
        let Self {
            keys, record, at, id, ..
        } = self;
        // A shared entry has no record of its own; the id stands in, so that it is one entry whichever record it is found by.
        let tie = if self.is_shared { id } else { record };
        let direction = if window.oldest_first { "ASC" } else { "DESC" };
        let condition = self.conditions(tie, window, values);
        let first = |alias: &str, limit: &str| {
            let of_record = format!(
                "FROM {keys} k WHERE k.{record} = {alias}.record_id{condition} ORDER BY k.{at} {direction}, k.{id} {direction} LIMIT {limit}"
            );
            if backend == DbBackend::Postgres {
                format!("CROSS JOIN LATERAL (SELECT k.{at}, k.{id}, k.{record} {of_record}) AS x")
            } else if self.is_shared {
                // CROSS JOIN keeps SQLite from walking the table and looking for the record.
                format!("CROSS JOIN {keys} x ON x.{record} = {alias}.record_id AND x.{id} IN (SELECT k.{id} {of_record})")
            } else {
                // By rowid: given the record as well, SQLite would walk all of its keys and look for each in the list, made anew each time.
                let among = if limit == "1" { "=" } else { "IN" };
                format!("CROSS JOIN {keys} x ON x.rowid {among} (SELECT k.rowid {of_record})")
            }
        };
        let key = format!("{n} AS lane, x.{at} AS happened, x.{id} AS id, x.{tie} AS record_id");
        if self.is_shared {
            return format!("SELECT DISTINCT w.list_id, {key} FROM who w {}", first("w", limit));
        }
        // Only records whose own first entry is among the first can have another on the page: of a thousand, one page of records is read.
        format!(
            "SELECT h.list_id, {key} FROM (
                SELECT w.list_id, w.record_id, ROW_NUMBER() OVER (PARTITION BY w.list_id
                       ORDER BY x.{at} {direction}, x.{id} {direction}, w.record_id {direction}) AS place
                FROM who w {}) AS h {} WHERE h.place <= {limit}",
            first("w", "1"),
            first("h", limit)
        )
    }

    fn conditions(&self, tie: &str, window: &Window, values: &mut Vec<Value>) -> String {
        let mut conditions = String::new();
        let mut parts = self.condition.split('?');
        conditions += parts.next().unwrap_or_default();
        for (part, value) in parts.zip(&self.values) {
            conditions += &bind(values, value.clone());
            conditions += part;
        }
        let Self { at, id, .. } = self;
        if let Some((instant, after, record)) = window.page.after {
            let beyond = if window.oldest_first { ">" } else { "<" };
            let (instant, after, record) = (bind(values, instant), bind(values, after), bind(values, record));
            conditions += &format!(" AND (k.{at}, k.{id}, k.{tie}) {beyond} ({instant}, {after}, {record})");
        }
        if let Some(from) = window.from {
            conditions += &format!(" AND k.{at} >= {}", bind(values, from.micros()));
        }
        if let Some(to) = window.to {
            conditions += &format!(" AND k.{at} < {}", bind(values, to.micros()));
        }
        conditions
    }
}

fn bind(values: &mut Vec<Value>, value: impl Into<Value>) -> String {
    values.push(value.into());
    format!("${}", values.len())
}
