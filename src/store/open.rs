//! Opening a database: which connections there are and how each is set up.
//!
//! SQLite: one writing connection and a pool of readers, WAL, `synchronous=FULL` (an acknowledged commit survives a power cut).
//! PostgreSQL: one pool for intake and mutations, one for queries, so that a burst of either does not starve the other.

use super::retry::is_missing_table;
use super::{BACKGROUND, Secrets, Store, StoreError};
use crate::base::Ids;
use crate::base::ids::HashKey;
use entity::installation;
use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbBackend, DbErr, EntityTrait, RuntimeErr, SqlxError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How to reach the database; the configuration's section `database`.
#[derive(Clone, Debug)]
pub struct DatabaseOptions {
    /// `sqlite://path` or `postgres://user:password@host/database`.
    pub url: String,
    pub query_connections: u32,
    /// PostgreSQL only; SQLite has one writer.
    pub ingest_connections: u32,
    pub acquire_timeout: Duration,
    pub query_statement_timeout: Duration,
    pub ingest_statement_timeout: Duration,
    /// SQLite only: so much of the file is mapped into memory by each connection.
    pub mapped_bytes: u64,
    /// Whether a missing SQLite file is made.
    pub create: bool,
}

/// Connects, and reads the installation's secrets when the schema is there. Does not migrate.
pub async fn open(options: &DatabaseOptions, ids: Ids) -> Result<Store, StoreError> {
    let (statements, background) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (mut writer, mut reader) = connect(options).await.map_err(|error| unopened(options, error))?;
    for connection in [&mut writer, &mut reader] {
        let (statements, background) = (statements.clone(), background.clone());
        connection.set_metric_callback(move |_| {
            // It is called in the task that waited for the statement.
            let is_background = BACKGROUND.try_with(|()| ()).is_ok();
            let counter = if is_background { &background } else { &statements };
            counter.fetch_add(1, Ordering::Relaxed);
        });
    }
    let backend = writer.get_database_backend();
    let mut store = Store {
        reader,
        writer,
        backend,
        secrets: None,
        ids,
        statements,
        background,
        commits: tokio::sync::watch::Sender::new(0),
    };
    store.load_secrets().await?;
    Ok(store)
}

impl Store {
    /// Reads the installation's secrets; leaves them unset while the schema is missing.
    pub async fn load_secrets(&mut self) -> Result<(), StoreError> {
        let rows = match installation::Entity::find().all(&self.writer).await {
            Ok(rows) => rows,
            Err(error) if is_missing_table(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let secret = |name: &str| {
            let row = rows.iter().find(|row| row.name == name)?;
            let bytes: Option<Vec<u8>> = (0..32)
                .map(|i| u8::from_str_radix(row.value.get(2 * i..2 * i + 2)?, 16).ok())
                .collect();
            <[u8; 32]>::try_from(bytes?).ok()
        };
        let id_key =
            secret("id_key").ok_or_else(|| StoreError::Corrupt("installation.id_key is missing or damaged".to_owned()))?;
        self.secrets = Some(Secrets {
            id_key: HashKey::new(id_key),
        });
        Ok(())
    }

    /// Whether the first migration has run.
    pub fn is_installed(&self) -> bool {
        self.secrets.is_some()
    }

    /// Closes every connection; SQLite checkpoints its log.
    pub async fn close(self) {
        for connection in [self.reader, self.writer] {
            if let Err(error) = connection.close().await {
                tracing::warn!(%error, "closing the database");
            }
        }
    }
}

async fn connect(options: &DatabaseOptions) -> Result<(DatabaseConnection, DatabaseConnection), DbErr> {
    if options.url.starts_with("sqlite:") {
        let writer = Database::connect(sqlite(options, 1)).await?;
        let reader = Database::connect(sqlite(options, options.query_connections)).await?;
        return Ok((writer, reader));
    }
    let url = options.url.replacen("postgresql://", "postgres://", 1);
    let writer = postgres(&url, options, options.ingest_connections, options.ingest_statement_timeout);
    let mut reader = postgres(&url, options, options.query_connections, options.query_statement_timeout);
    // Queries here take a few rows along an index. With the default price of a random page, which is that of a turning disk, the planner
    // rather collects and sorts all events of a record; and compiling a statement costs more than running it. So does planning it: left
    // to itself the server plans the view of a customer anew each time, which takes three quarters of its work, and finds the same plan.
    let settings = [
        ("random_page_cost", "1.1"),
        ("jit", "off"),
        ("plan_cache_mode", "force_generic_plan"),
    ];
    reader.map_sqlx_postgres_opts(move |postgres| postgres.options(settings));
    Ok((Database::connect(writer).await?, Database::connect(reader).await?))
}

fn sqlite(options: &DatabaseOptions, connections: u32) -> ConnectOptions {
    let mut connect = common(&options.url, options, connections);
    let (create, mapped_bytes) = (options.create, options.mapped_bytes);
    connect.map_sqlx_sqlite_opts(move |sqlite| {
        sqlite
            .create_if_missing(create)
            .busy_timeout(Duration::from_secs(5))
            .pragma("journal_mode", "WAL")
            .pragma("synchronous", "FULL")
            .pragma("foreign_keys", "ON")
            // Erased values must not linger in free pages of the file.
            .pragma("secure_delete", "ON")
            .pragma("cache_size", "-16000")
            // What a statement would undo, kept in memory: in a file it is one write for each page a statement touches.
            .pragma("temp_store", "MEMORY")
            // Pages of the log, 32 MiB. Events land on pages all over the indexes; the longer the log grows before it is copied into
            // the file, the more changes of one page are copied at once.
            .pragma("wal_autocheckpoint", "8192")
            .pragma("mmap_size", mapped_bytes.to_string())
    });
    connect
}

fn postgres(url: &str, options: &DatabaseOptions, connections: u32, statement_timeout: Duration) -> ConnectOptions {
    let mut connect = common(url, options, connections);
    connect.statement_timeout(statement_timeout).set_application_name("tributary");
    connect
}

fn common(url: &str, options: &DatabaseOptions, connections: u32) -> ConnectOptions {
    let mut connect = ConnectOptions::new(url);
    connect
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(options.acquire_timeout)
        // A ping before each use costs a quarter of the throughput; a dead connection shows itself in the first statement.
        .test_before_acquire(false)
        .test_before_acquire_if_idle_for(Duration::from_secs(30))
        .sqlx_logging(false);
    connect
}

/// The pool tries a port that nobody listens on again and again, and then speaks of itself instead of the port.
fn unopened(options: &DatabaseOptions, error: DbErr) -> StoreError {
    let timed_out = match &error {
        DbErr::Conn(RuntimeErr::SqlxError(cause)) => matches!(cause.as_ref(), SqlxError::PoolTimedOut),
        DbErr::ConnectionAcquire(_) => true,
        _ => false,
    };
    if !timed_out {
        return StoreError::Unavailable(error);
    }
    let reason = format!(
        "no connection within {} ms: is it running there, and has it connections to spare?",
        options.acquire_timeout.as_millis()
    );
    StoreError::Unavailable(DbErr::Conn(RuntimeErr::Internal(reason)))
}

/// A URL for people: without user, password and parameters.
pub fn place_of(url: &str) -> String {
    let url = url.split('?').next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    // A password may hold an '@'.
    let place = if scheme == "sqlite" {
        rest
    } else {
        rest.rsplit_once('@').map_or(rest, |(_, place)| place)
    };
    format!("{scheme}://{place}")
}

/// Whether a URL names an SQLite file that is not there, in a folder where it could be made.
pub fn is_missing_file(url: &str) -> bool {
    file_of(url).is_some_and(|path| missing_folder(url).is_none() && !path.exists())
}

/// The folder of a file of SQLite, when it is not there.
pub fn missing_folder(url: &str) -> Option<&std::path::Path> {
    let folder = file_of(url)?.parent()?;
    (!folder.as_os_str().is_empty() && !folder.exists()).then_some(folder)
}

/// The file a URL of SQLite speaks of.
fn file_of(url: &str) -> Option<&std::path::Path> {
    let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:"))?;
    Some(std::path::Path::new(path.split('?').next().unwrap_or(path)))
}

/// The database a URL speaks of, or what is wrong with it.
pub fn backend_of(url: &str) -> Result<DbBackend, String> {
    if url.starts_with("sqlite:") {
        Ok(DbBackend::Sqlite)
    } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        Ok(DbBackend::Postgres)
    } else {
        Err("must begin with sqlite: or postgres://".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_database_is_told_without_its_password() {
        for (url, expected) in [
            (
                "postgres://ada:p@ss/w0rd@db.example:5432/shop?sslmode=require",
                "postgres://db.example:5432/shop",
            ),
            ("postgresql://db/shop", "postgresql://db/shop"),
            ("sqlite:///var/lib/tri@butary.db?mode=rwc", "sqlite:///var/lib/tri@butary.db"),
            ("sqlite::memory:", "sqlite::memory:"),
        ] {
            assert_eq!(place_of(url), expected);
        }
    }
}
