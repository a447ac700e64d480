//! One customer in one statement: whatever of records and identifiers is asked for comes along.
//!
//! Promises: the same answers as the questions one by one would get. Leaves to others: lists of customers, timelines and sums.

use crate::base::{CustomerId, Instant, RecordId};
use crate::customer::{Customer, Golden};
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
}

/// What was found of a customer.
#[derive(Clone, Debug)]
pub struct View {
    pub customer: Customer,
    pub records: Option<Vec<Record>>,
    pub identifiers: Option<HashMap<RecordId, Vec<Identifier>>>,
}

impl Wanted {
    fn has_records(&self) -> bool {
        self.records || self.identifiers
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
    let values: Vec<Value> = vec![id.0.into()];
    if wanted.has_records() {
        columns.push(identity_parts::records(backend));
    }
    if wanted.identifiers {
        columns.push(identity_parts::identifiers(backend));
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
    Ok(Some(View {
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
