//! One customer in one statement: whatever of records, identifiers and the first page of a timeline is asked for comes along.
//!
//! Promises: the same answers as the questions one by one would get. Costs one probe for each record and part, never a sort of all
//! events. Leaves to others: lists of customers, later pages and filtered timelines.

use super::timeline::{Asked, Entry};
use crate::base::paging::Slice;
use crate::base::{CustomerId, Instant, RecordId};
use crate::customer::store::parts as customer_parts;
use crate::customer::{Customer, Event, Golden, Purchase};
use crate::identity::store::parts as identity_parts;
use crate::identity::{Identifier, Record};
use crate::store::{Store, StoreError};
use sea_orm::{ConnectionTrait as _, DbBackend, QueryResult, Statement, Value};
use std::collections::HashMap;

/// What of a customer is wanted besides the golden values.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub records: bool,
    /// Takes the records along.
    pub identifiers: bool,
    /// Latest pages, all of the same events: without cursor, period, names or sources.
    pub timelines: Vec<Asked>,
}

/// What was found of a customer.
#[derive(Clone, Debug)]
pub struct View {
    pub customer: Customer,
    pub records: Option<Vec<Record>>,
    pub identifiers: Option<HashMap<RecordId, Vec<Identifier>>>,
    pub timelines: Vec<(Asked, Slice<Entry>)>,
}

impl Wanted {
    fn has_records(&self) -> bool {
        self.records || self.identifiers
    }

    /// The longest page of those that ask for something.
    fn most(&self, for_it: impl Fn(&Asked) -> bool) -> Option<u64> {
        let pages = self.timelines.iter().filter(|asked| for_it(asked));
        pages.map(|asked| asked.window.page.first).max()
    }
}

/// The statement that fetches it; the id is its first parameter.
pub fn statement(backend: DbBackend, id: CustomerId, wanted: &Wanted) -> Statement {
    let golden = if backend == DbBackend::Postgres {
        "c.golden::text"
    } else {
        "c.golden"
    };
    let mut columns = vec!["c.id, c.created_at, c.rev, c.placed_at".to_owned(), golden.to_owned()];
    let mut values: Vec<Value> = vec![id.0.into()];
    if wanted.has_records() {
        columns.push(identity_parts::records(backend));
    }
    if wanted.identifiers {
        columns.push(identity_parts::identifiers(backend));
    }
    let mut limit = |first: u64| {
        values.push(i64::try_from(first + 1).unwrap_or(i64::MAX).into());
        format!("${}", values.len())
    };
    if let Some(first) = wanted.most(|asked| asked.events.is_some()) {
        let kinds = wanted.timelines.iter().find_map(|asked| asked.events.as_ref());
        let kinds = kinds.map(|events| events.kinds.as_slice()).unwrap_or_default();
        let bodies = wanted.timelines.iter().any(|asked| asked.bodies);
        columns.push(customer_parts::latest_events(backend, kinds, bodies, &limit(first)));
    }
    if let Some(first) = wanted.most(|asked| asked.purchases) {
        columns.push(customer_parts::latest_purchases(backend, &limit(first)));
    }
    let sql = format!(
        "SELECT {} FROM record o JOIN customer c ON c.id = o.customer_id WHERE o.id = $1",
        columns.join(", ")
    );
    Statement::from_sql_and_values(backend, sql, values)
}

/// The customer whom any id they ever had stands for; `None` when nobody ever had it.
pub async fn customer(store: &Store, id: CustomerId, wanted: &Wanted) -> Result<Option<View>, StoreError> {
    let statement = statement(store.backend(), id, wanted);
    let Some(row) = store.reader().query_one_raw(statement).await? else {
        return Ok(None);
    };
    let mut parts = Parts { row, next: 5 };
    let customer = parts.customer()?;
    let records = wanted
        .has_records()
        .then(|| identity_parts::read_records(customer.id, parts.text()?.as_deref()))
        .transpose()?;
    let identifiers = match &records {
        Some(records) if wanted.identifiers => Some(identity_parts::read_identifiers(records, parts.text()?.as_deref())?),
        _ => None,
    };
    let events = match wanted.most(|asked| asked.events.is_some()) {
        Some(_) => customer_parts::read_events(parts.text()?.as_deref())?,
        None => Vec::new(),
    };
    let purchases = match wanted.most(|asked| asked.purchases) {
        Some(_) => customer_parts::read_purchases(parts.text()?.as_deref())?,
        None => Vec::new(),
    };
    let timelines = wanted.timelines.iter();
    Ok(Some(View {
        timelines: timelines
            .map(|asked| (asked.clone(), slice(asked, &events, &purchases)))
            .collect(),
        customer,
        records,
        identifiers,
    }))
}

/// The row of the statement, read from left to right.
struct Parts {
    row: QueryResult,
    next: usize,
}

impl Parts {
    fn customer(&self) -> Result<Customer, StoreError> {
        let golden: String = self.row.try_get_by_index(4)?;
        let id = CustomerId(self.row.try_get_by_index(0)?);
        let golden = serde_json::from_str(&golden);
        Ok(Customer {
            id,
            created_at: Instant::from_micros(self.row.try_get_by_index(1)?),
            golden: Golden(golden.map_err(|error| StoreError::Corrupt(format!("customer {id}: golden values: {error}")))?),
            rev: self.row.try_get_by_index(2)?,
            placed_at: self.row.try_get_by_index(3)?,
        })
    }

    fn text(&mut self) -> Result<Option<String>, StoreError> {
        let text = self.row.try_get_by_index(self.next)?;
        self.next += 1;
        Ok(text)
    }
}

fn slice(asked: &Asked, events: &[Event], purchases: &[Purchase]) -> Slice<Entry> {
    let events = events.iter().filter(|_| asked.events.is_some()).cloned().map(Entry::Event);
    let purchases = purchases.iter().filter(|_| asked.purchases).cloned().map(Entry::Purchase);
    let mut entries: Vec<Entry> = events.chain(purchases).collect();
    entries.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.key()));
    Slice::from_one_more(entries, asked.window.page.first)
}
