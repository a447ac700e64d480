//! Whole tables, page by page in the order of their keys, inside one view of the database.

use super::{Store, StoreError};
use sea_orm::{
    AccessMode, ConnectionTrait, DatabaseTransaction, FromQueryResult, IsolationLevel, SqliteTransactionMode, Statement,
    TransactionOptions, TransactionTrait as _, Value,
};

/// Rows of one page of a sweep: few enough to hold, enough to make the statement's own cost small.
pub const SWEEP_ROWS: usize = 2_000;

impl Store {
    /// One view of the whole database, whatever is written meanwhile. Only for reading.
    pub async fn snapshot(&self) -> Result<DatabaseTransaction, StoreError> {
        let of_postgres = self.is_postgres();
        let options = TransactionOptions {
            isolation_level: of_postgres.then_some(IsolationLevel::RepeatableRead),
            access_mode: of_postgres.then_some(AccessMode::ReadOnly),
            sqlite_transaction_mode: Some(SqliteTransactionMode::Deferred),
        };
        Ok(self.reader.begin_with_options(options).await?)
    }
}

/// The next rows of a table behind a key, at most `SWEEP_ROWS`, in the order of the key. `after`: the key of the last row seen, nothing
/// at the beginning. `among`: a further condition that speaks of the parameters behind those of the key.
pub async fn rows_after<M: FromQueryResult>(
    db: &impl ConnectionTrait,
    table: &str,
    key: &[&str],
    after: &[Value],
    among: Option<(&(dyn Fn(usize) -> String + Sync), Value)>,
) -> Result<Vec<M>, StoreError> {
    let columns = key.join(", ");
    let mut values = after.to_vec();
    let mut conditions = Vec::new();
    if !after.is_empty() {
        let places: Vec<String> = (1..=after.len()).map(|n| format!("${n}")).collect();
        conditions.push(format!("({columns}) > ({})", places.join(", ")));
    }
    if let Some((condition, value)) = among {
        values.push(value);
        conditions.push(condition(values.len()));
    }
    let filter = match conditions.is_empty() {
        true => String::new(),
        false => format!("WHERE {}", conditions.join(" AND ")),
    };
    let sql = format!("SELECT * FROM {table} {filter} ORDER BY {columns} LIMIT {SWEEP_ROWS}");
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    Ok(M::find_by_statement(statement).all(db).await?)
}

/// Writes a verb that answers the next rows of a table: `sweep!(links, link, [record_id, identifier_id, event_id]);`.
macro_rules! sweep {
    ($(#[$doc:meta])* $verb:ident, $table:ident, [$($key:ident),+]) => {
        $(#[$doc])*
        pub async fn $verb(
            db: &impl sea_orm::ConnectionTrait,
            after: Option<&entity::$table::Model>,
        ) -> Result<Vec<entity::$table::Model>, $crate::store::StoreError> {
            let after: Vec<sea_orm::Value> = after.map(|row| vec![$(row.$key.into()),+]).unwrap_or_default();
            $crate::store::rows_after(db, stringify!($table), &[$(stringify!($key)),+], &after, None).await
        }
    };
    ($(#[$doc:meta])* $verb:ident, $table:ident of records, [$($key:ident),+]) => {
        $(#[$doc])*
        pub async fn $verb(
            db: &impl sea_orm::ConnectionTrait,
            records: &[$crate::base::RecordId],
            after: Option<&entity::$table::Model>,
        ) -> Result<Vec<entity::$table::Model>, $crate::store::StoreError> {
            let after: Vec<sea_orm::Value> = after.map(|row| vec![$(row.$key.into()),+]).unwrap_or_default();
            let backend = db.get_database_backend();
            let of_records = |n: usize| $crate::store::any_of(backend, "record_id", n);
            let among = $crate::store::ids_value(backend, records.iter().map(|record| record.0));
            $crate::store::rows_after(db, stringify!($table), &[$(stringify!($key)),+], &after, Some((&of_records, among))).await
        }
    };
}
pub(crate) use sweep;
