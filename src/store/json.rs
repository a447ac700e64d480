//! Rows of a table inside one column of one row, as JSON: what a statement that answers several questions at once is made of. Each row
//! travels as an array of its columns, so that names are not repeated.

use super::StoreError;
use sea_orm::DbBackend;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// `(SELECT … FROM from)` as a JSON array of arrays, in no order. `columns` are expressions that JSON can hold, see `json_id` and
/// `json_value`.
pub fn json_rows(backend: DbBackend, columns: &[String], from: &str) -> String {
    let columns = columns.join(", ");
    if backend == DbBackend::Postgres {
        format!("(SELECT json_agg(json_build_array({columns}))::text FROM {from})")
    } else {
        format!("(SELECT json_group_array(json_array({columns})) FROM {from})")
    }
}

/// An id as JSON holds it.
pub fn json_id(backend: DbBackend, column: &str) -> String {
    if backend == DbBackend::Postgres {
        column.to_owned()
    } else {
        format!("hex({column})")
    }
}

/// A JSON column inside JSON.
pub fn json_value(backend: DbBackend, column: &str) -> String {
    if backend == DbBackend::Postgres {
        column.to_owned()
    } else {
        format!("json({column})")
    }
}

/// The rows of a column made by `json_rows`; none are null on PostgreSQL.
pub fn read_json_rows<R: DeserializeOwned>(text: Option<&str>) -> Result<Vec<R>, StoreError> {
    let Some(text) = text else { return Ok(Vec::new()) };
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("rows as JSON: {error}")))
}

/// Truth as the databases write it into JSON: true and 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum JsonFlag {
    Truth(bool),
    Number(i64),
}

impl From<JsonFlag> for bool {
    fn from(flag: JsonFlag) -> Self {
        match flag {
            JsonFlag::Truth(truth) => truth,
            JsonFlag::Number(number) => number != 0,
        }
    }
}
