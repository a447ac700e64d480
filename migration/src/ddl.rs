//! One text of DDL for both databases.
//!
//! sea-query cannot say `STRICT`, `WITHOUT ROWID`, `COLLATE "C"` or a fill factor, and those carry promises of the design (keys
//! compare bytewise; SQLite refuses a text in an integer column). So tables are written as SQL with a few tokens in braces, and
//! this file is the only place that knows what each token means on which database.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

const TOKENS: [(&str, &str, &str); 13] = [
    // token, PostgreSQL, SQLite
    ("{id}", "uuid", "BLOB"),
    ("{text}", "text COLLATE \"C\"", "TEXT"),
    ("{json}", "jsonb", "TEXT"),
    ("{int}", "bigint", "INTEGER"),
    ("{small}", "smallint", "INTEGER"),
    ("{bool}", "boolean", "INTEGER"),
    ("{bytes}", "bytea", "BLOB"),
    ("{true}", "true", "1"),
    ("{false}", "false", "0"),
    // What follows the closing parenthesis of a table.
    ("{table}", "", " STRICT"),
    ("{keyed}", "", " STRICT, WITHOUT ROWID"),
    // Rows that are updated in place leave room on their page, so that an update stays on it.
    ("{updated}", " WITH (fillfactor = 80)", " STRICT"),
    ("{updated-keyed}", " WITH (fillfactor = 80)", " STRICT, WITHOUT ROWID"),
];

/// Runs each statement with its tokens replaced for the database at hand.
pub async fn run(manager: &SchemaManager<'_>, statements: &[&str]) -> Result<(), DbErr> {
    let postgres = manager.get_database_backend() == DbBackend::Postgres;
    for statement in statements {
        let mut sql = (*statement).to_owned();
        for (token, on_postgres, on_sqlite) in TOKENS {
            sql = sql.replace(token, if postgres { on_postgres } else { on_sqlite });
        }
        manager.get_connection().execute_unprepared(&sql).await?;
    }
    Ok(())
}

/// A column that joins rows which are there brings a constant for them; from then on every row says its own. SQLite cannot forget it.
pub async fn forget_defaults(manager: &SchemaManager<'_>, columns: &[(&str, &str)]) -> Result<(), DbErr> {
    if manager.get_database_backend() == DbBackend::Postgres {
        for (table, column) in columns {
            let sql = format!("ALTER TABLE {table} ALTER COLUMN {column} DROP DEFAULT");
            manager.get_connection().execute_unprepared(&sql).await?;
        }
    }
    Ok(())
}

/// Drops tables, the last made first.
pub async fn drop(manager: &SchemaManager<'_>, tables: &[&str]) -> Result<(), DbErr> {
    for table in tables.iter().rev() {
        manager
            .get_connection()
            .execute_unprepared(&format!("DROP TABLE {table}"))
            .await?;
    }
    Ok(())
}
