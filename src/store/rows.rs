//! Many rows in one statement, on both databases with one text each.
//!
//! PostgreSQL takes a column as an array and joins them with UNNEST; SQLite takes the rows as one JSON text and reads it with
//! `json_each`. Either way the text of a statement never depends on how many rows there are, so it is prepared once, and the rows can
//! be inserted from, joined with or updated from like a table.

use sea_orm::sea_query::ArrayType;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, Value};
use serde_json::Value as Json;
use uuid::Uuid;

/// Rows under construction, column by column. Every column must have the same number of values.
#[derive(Debug, Default)]
pub struct Rows {
    columns: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    name: &'static str,
    values: Values,
}

/// Null travels to PostgreSQL as a value that the column never holds, since sea-orm's arrays carry no nulls.
#[derive(Debug)]
enum Values {
    Id(Vec<Uuid>),
    OptionalId(Vec<Option<Uuid>>),
    Int(Vec<i64>),
    OptionalInt(Vec<Option<i64>>),
    Small(Vec<i16>),
    Flag(Vec<bool>),
    OptionalSmall(Vec<Option<i16>>),
    Text(Vec<String>),
    OptionalText(Vec<Option<String>>),
    Json(Vec<String>),
    OptionalJson(Vec<Option<String>>),
    OptionalBytes(Vec<Option<Vec<u8>>>),
}

macro_rules! column_builders {
    ($($(#[$doc:meta])* $builder:ident, $variant:ident, $ty:ty;)+) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $builder(mut self, name: &'static str, values: impl IntoIterator<Item = $ty>) -> Self {
            self.columns.push(Column { name, values: Values::$variant(values.into_iter().collect()) });
            self
        }
    )+};
}

impl Rows {
    pub fn new() -> Self {
        Self::default()
    }

    column_builders! {
        id, Id, Uuid;
        optional_id, OptionalId, Option<Uuid>;
        int, Int, i64;
        /// `i64::MIN` is read as null on PostgreSQL.
        optional_int, OptionalInt, Option<i64>;
        small, Small, i16;
        flag, Flag, bool;
        /// `i16::MIN` is read as null on PostgreSQL.
        optional_small, OptionalSmall, Option<i16>;
        text, Text, String;
        /// The empty text is read as null on PostgreSQL: never hand in one.
        optional_text, OptionalText, Option<String>;
        /// Serialised JSON.
        json, Json, String;
        optional_json, OptionalJson, Option<String>;
        /// No bytes are read as null on PostgreSQL: never hand in none.
        optional_bytes, OptionalBytes, Option<Vec<u8>>;
    }

    /// The rows as a table `v` for a FROM clause, and its parameters; the first is `$1`, so it comes before any other.
    pub fn relation(self, backend: DbBackend) -> (String, Vec<Value>) {
        if backend == DbBackend::Postgres {
            self.unnest()
        } else {
            self.json_each()
        }
    }

    /// `INSERT INTO table (columns) SELECT … FROM v`, followed by `tail` (ON CONFLICT, RETURNING). Answers the returned rows.
    pub async fn insert(self, db: &impl ConnectionTrait, table: &str, tail: &str) -> Result<Vec<QueryResult>, DbErr> {
        if self.is_empty() {
            return Ok(Vec::new());
        }
        let backend = db.get_database_backend();
        let columns = self.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
        let (relation, values) = self.relation(backend);
        // `WHERE true` keeps SQLite from reading ON CONFLICT as a join's ON.
        let sql = format!("INSERT INTO {table} ({columns}) SELECT {columns} FROM {relation} WHERE true {tail}");
        db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await
    }

    /// `UPDATE table SET set FROM v WHERE condition`; both may speak of `v`.
    pub async fn update(self, db: &impl ConnectionTrait, table: &str, set: &str, condition: &str) -> Result<(), DbErr> {
        if self.is_empty() {
            return Ok(());
        }
        let backend = db.get_database_backend();
        let (relation, values) = self.relation(backend);
        let sql = format!("UPDATE {table} SET {set} FROM {relation} WHERE {condition}");
        db.execute_raw(Statement::from_sql_and_values(backend, sql, values))
            .await
            .map(|_| ())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        self.columns.first().map_or(0, |column| column.values.len())
    }

    fn unnest(self) -> (String, Vec<Value>) {
        let names = self.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
        let mut selected = Vec::with_capacity(self.columns.len());
        let mut arrays = Vec::with_capacity(self.columns.len());
        let mut values = Vec::with_capacity(self.columns.len());
        for (i, column) in self.columns.into_iter().enumerate() {
            let (element, restore) = column.values.postgres();
            selected.push(format!("{} AS {}", restore.replace("{}", column.name), column.name));
            arrays.push(format!("${}::{element}[]", i + 1));
            values.push(column.values.into_array());
        }
        (
            format!(
                "(SELECT {} FROM UNNEST({}) AS u({names})) AS v",
                selected.join(", "),
                arrays.join(", ")
            ),
            values,
        )
    }

    fn json_each(self) -> (String, Vec<Value>) {
        let mut selected = Vec::with_capacity(self.columns.len());
        for (i, column) in self.columns.iter().enumerate() {
            let read = if column.values.is_binary() {
                format!("unhex(j->>{i})")
            } else {
                format!("j->>{i}")
            };
            selected.push(format!("{read} AS {}", column.name));
        }
        let mut rows = String::from("[");
        for row in 0..self.len() {
            rows.push_str(if row == 0 { "[" } else { ",[" });
            for (i, column) in self.columns.iter().enumerate() {
                if i > 0 {
                    rows.push(',');
                }
                column.values.write_json(row, &mut rows);
            }
            rows.push(']');
        }
        rows.push(']');
        // LIMIT keeps each row's JSON from being made anew for every column that is read from it.
        (
            format!(
                "(SELECT {} FROM (SELECT value AS j FROM jsonb_each($1) LIMIT -1)) AS v",
                selected.join(", ")
            ),
            vec![rows.into()],
        )
    }
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::Id(values) => values.len(),
            Self::OptionalId(values) => values.len(),
            Self::Int(values) => values.len(),
            Self::OptionalInt(values) => values.len(),
            Self::Small(values) => values.len(),
            Self::Flag(values) => values.len(),
            Self::OptionalSmall(values) => values.len(),
            Self::Text(values) | Self::Json(values) => values.len(),
            Self::OptionalText(values) | Self::OptionalJson(values) => values.len(),
            Self::OptionalBytes(values) => values.len(),
        }
    }

    fn is_binary(&self) -> bool {
        matches!(self, Self::Id(_) | Self::OptionalId(_) | Self::OptionalBytes(_))
    }

    /// The element type of the array, and how the element becomes the column's value.
    fn postgres(&self) -> (&'static str, &'static str) {
        match self {
            Self::Id(_) => ("uuid", "{}"),
            Self::OptionalId(_) => ("uuid", "NULLIF({}, '00000000-0000-0000-0000-000000000000')"),
            Self::Int(_) => ("bigint", "{}"),
            Self::OptionalInt(_) => ("bigint", "NULLIF({}, -9223372036854775808)"),
            Self::Small(_) => ("smallint", "{}"),
            Self::Flag(_) => ("smallint", "({} <> 0)"),
            Self::OptionalSmall(_) => ("smallint", "NULLIF({}, (-32768)::smallint)"),
            Self::Text(_) => ("text", "{}"),
            Self::OptionalText(_) => ("text", "NULLIF({}, '')"),
            Self::Json(_) => ("text", "{}::jsonb"),
            Self::OptionalJson(_) => ("text", "NULLIF({}, '')::jsonb"),
            Self::OptionalBytes(_) => ("bytea", "NULLIF({}, ''::bytea)"),
        }
    }

    fn into_array(self) -> Value {
        fn array<T: Into<Value>>(ty: ArrayType, values: impl IntoIterator<Item = T>) -> Value {
            Value::Array(ty, Some(Box::new(values.into_iter().map(Into::into).collect())))
        }
        match self {
            Self::Id(values) => array(ArrayType::Uuid, values),
            Self::OptionalId(values) => array(ArrayType::Uuid, values.into_iter().map(Option::unwrap_or_default)),
            Self::Int(values) => array(ArrayType::BigInt, values),
            Self::OptionalInt(values) => array(ArrayType::BigInt, values.into_iter().map(|value| value.unwrap_or(i64::MIN))),
            Self::Small(values) => array(ArrayType::SmallInt, values),
            Self::Flag(values) => array(ArrayType::SmallInt, values.into_iter().map(i16::from)),
            Self::OptionalSmall(values) => array(ArrayType::SmallInt, values.into_iter().map(|value| value.unwrap_or(i16::MIN))),
            Self::Text(values) | Self::Json(values) => array(ArrayType::String, values),
            Self::OptionalText(values) | Self::OptionalJson(values) => {
                array(ArrayType::String, values.into_iter().map(Option::unwrap_or_default))
            }
            Self::OptionalBytes(values) => array(ArrayType::Bytes, values.into_iter().map(Option::unwrap_or_default)),
        }
    }

    /// Appends the value of one row as JSON.
    fn write_json(&self, row: usize, text: &mut String) {
        match self {
            Self::Id(values) => write_hex(Some(values[row].as_bytes()), text),
            Self::OptionalId(values) => write_hex(values[row].as_ref().map(|id| id.as_bytes().as_slice()), text),
            Self::Int(values) => write_int(Some(values[row]), text),
            Self::OptionalInt(values) => write_int(values[row], text),
            Self::Small(values) => write_int(Some(values[row].into()), text),
            Self::Flag(values) => write_int(Some(values[row].into()), text),
            Self::OptionalSmall(values) => write_int(values[row].map(i64::from), text),
            Self::Text(values) | Self::Json(values) => write_text(Some(&values[row]), text),
            Self::OptionalText(values) | Self::OptionalJson(values) => write_text(values[row].as_deref(), text),
            Self::OptionalBytes(values) => write_hex(values[row].as_deref(), text),
        }
    }
}

fn write_hex(bytes: Option<&[u8]>, text: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let Some(bytes) = bytes else { return text.push_str("null") };
    text.push('"');
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text.push('"');
}

fn write_int(value: Option<i64>, text: &mut String) {
    match value {
        Some(value) => text.push_str(&value.to_string()),
        None => text.push_str("null"),
    }
}

fn write_text(value: Option<&str>, text: &mut String) {
    text.push_str(&serde_json::to_string(&value).expect("a text is JSON"));
}

/// `column` is one of the ids in parameter `$n`, made by `ids_value`.
pub fn any_of(backend: DbBackend, column: &str, n: usize) -> String {
    if backend == DbBackend::Postgres {
        format!("{column} = ANY(${n})")
    } else {
        format!("{column} IN (SELECT unhex(value) FROM json_each(${n}))")
    }
}

/// Ids as one parameter, for `any_of`.
pub fn ids_value(backend: DbBackend, ids: impl IntoIterator<Item = Uuid>) -> Value {
    if backend == DbBackend::Postgres {
        Value::Array(ArrayType::Uuid, Some(Box::new(ids.into_iter().map(Value::from).collect())))
    } else {
        Json::Array(ids.into_iter().map(|id| Json::String(hex(id))).collect())
            .to_string()
            .into()
    }
}

fn hex(id: Uuid) -> String {
    id.simple().to_string()
}
