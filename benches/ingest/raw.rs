//! The fastest that the database itself does: rows that stand ready, put into a table with the definition of `event` by nothing but
//! the driver.

use crate::cpu::{Latencies, parent_of};
use sea_orm::sqlx::postgres::PgPoolOptions;
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sea_orm::sqlx::{self, PgPool, Row as _, SqlitePool};
use std::fmt::Write as _;
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use uuid::Uuid;

/// As many as one statement of the product's own specification of the raw rate.
const ROWS: usize = 1000;
const COLUMNS: &str =
    "record_id, id, message_id, kind, name, occurred_at, received_at, arrival, original_at, sent_at, flags, properties, context";

/// A row of `event`.
#[derive(Clone, Debug)]
pub struct Event {
    record_id: Uuid,
    id: Uuid,
    message_id: String,
    kind: i16,
    name: String,
    occurred_at: i64,
    received_at: i64,
    arrival: i64,
    original_at: Option<i64>,
    sent_at: Option<i64>,
    flags: i16,
    properties: String,
    context: String,
}

/// The same rows, column by column.
#[derive(Default)]
struct Columns {
    record_id: Vec<Uuid>,
    id: Vec<Uuid>,
    message_id: Vec<String>,
    kind: Vec<i16>,
    name: Vec<String>,
    occurred_at: Vec<i64>,
    received_at: Vec<i64>,
    arrival: Vec<i64>,
    original_at: Vec<Option<i64>>,
    sent_at: Vec<Option<i64>>,
    flags: Vec<i16>,
    properties: Vec<String>,
    context: Vec<String>,
}

pub struct Raw {
    database: Database,
    /// Arrivals up to here were taken.
    taken: AtomicUsize,
}

enum Database {
    Postgres(PgPool),
    /// The server's file for reading, and one of its own beside it for writing.
    Sqlite {
        server: SqlitePool,
        own: SqlitePool,
    },
}

/// Runs one statement and hangs up.
pub async fn run_sql(url: &str, sql: &'static str) {
    let connection = sea_orm::Database::connect(url).await.unwrap();
    sea_orm::ConnectionTrait::execute_unprepared(&connection, sql).await.unwrap();
    connection.close().await.unwrap();
}

impl Raw {
    /// Makes the tables `raw_1`, `raw_4` and `raw_64` with the definition of `event`.
    pub async fn connect(url: &str) -> Self {
        let database = if url.starts_with("postgres") {
            let pool = PgPoolOptions::new()
                .max_connections(80)
                .min_connections(64)
                .connect(url)
                .await
                .unwrap();
            for table in ["raw_1", "raw_4", "raw_64"] {
                let sql = format!("CREATE TABLE {table} (LIKE event INCLUDING ALL)");
                sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&pool).await.unwrap();
            }
            Database::Postgres(pool)
        } else {
            let server = SqlitePool::connect(url).await.unwrap();
            let options = SqliteConnectOptions::from_str(&url.replace("bench.db", "raw.db"))
                .unwrap()
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                // As the product sets them.
                .pragma("cache_size", "-16000")
                .pragma("wal_autocheckpoint", "8192")
                .pragma("mmap_size", "268435456");
            let own = SqlitePoolOptions::new()
                .max_connections(1)
                .connect_with(options)
                .await
                .unwrap();
            let sql = "SELECT sql FROM sqlite_master WHERE tbl_name = 'event' AND sql IS NOT NULL ORDER BY type DESC";
            for definition in sqlx::query_scalar::<_, String>(sql).fetch_all(&server).await.unwrap() {
                let definition = definition.replacen("TABLE event", "TABLE raw_1", 1);
                let definition = definition.replacen("event_timeline ON event", "raw_1_timeline ON raw_1", 1);
                sqlx::query(sqlx::AssertSqlSafe(definition)).execute(&own).await.unwrap();
            }
            Database::Sqlite { server, own }
        };
        Self {
            database,
            taken: AtomicUsize::new(0),
        }
        .after_what_is_there()
        .await
    }

    async fn after_what_is_there(self) -> Self {
        self.take_new_events().await;
        self
    }

    /// With how many connections to write at once: SQLite has one writer.
    pub fn useful_connections(&self) -> &'static [usize] {
        match self.database {
            Database::Postgres(_) => &[1, 4],
            Database::Sqlite { .. } => &[1],
        }
    }

    pub async fn version(&self) -> String {
        match &self.database {
            Database::Postgres(pool) => sqlx::query_scalar("SHOW server_version").fetch_one(pool).await.unwrap(),
            Database::Sqlite { server, .. } => sqlx::query_scalar("SELECT sqlite_version()").fetch_one(server).await.unwrap(),
        }
    }

    /// PostgreSQL's first process.
    pub async fn server_pid(&self) -> Option<u32> {
        let Database::Postgres(pool) = &self.database else {
            return None;
        };
        let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(pool).await.unwrap();
        Some(parent_of(u32::try_from(backend).unwrap()))
    }

    /// The events that the server stored since the last time, in the order of their arrival.
    pub async fn take_new_events(&self) -> Vec<Event> {
        let after = i64::try_from(self.taken.load(Ordering::SeqCst)).unwrap();
        let columns = match self.database {
            Database::Postgres(_) => COLUMNS.replace("properties, context", "properties::text, context::text"),
            Database::Sqlite { .. } => COLUMNS.to_owned(),
        };
        let sql = sqlx::AssertSqlSafe(format!("SELECT {columns} FROM event WHERE arrival > $1 ORDER BY arrival"));
        macro_rules! event {
            ($row:expr) => {
                Event {
                    record_id: $row.get(0),
                    id: $row.get(1),
                    message_id: $row.get(2),
                    kind: $row.get(3),
                    name: $row.get(4),
                    occurred_at: $row.get(5),
                    received_at: $row.get(6),
                    arrival: $row.get(7),
                    original_at: $row.get(8),
                    sent_at: $row.get(9),
                    flags: $row.get(10),
                    properties: $row.get(11),
                    context: $row.get(12),
                }
            };
        }
        let events: Vec<Event> = match &self.database {
            Database::Postgres(pool) => {
                let rows = sqlx::query(sql).bind(after).fetch_all(pool).await.unwrap();
                rows.into_iter().map(|row| event!(row)).collect()
            }
            Database::Sqlite { server, .. } => {
                let rows = sqlx::query(sql).bind(after).fetch_all(server).await.unwrap();
                rows.into_iter().map(|row| event!(row)).collect()
            }
        };
        if let Some(last) = events.last() {
            self.taken.store(usize::try_from(last.arrival).unwrap(), Ordering::SeqCst);
        }
        events
    }

    /// A thousand rows for each statement and commit, in the order of their keys, which is kindest to the index.
    pub async fn insert_in_thousands(&self, events: &[Event], connections: usize) -> Latencies {
        let chunks = events.chunks(ROWS).map(|chunk| {
            let mut chunk = chunk.to_vec();
            chunk.sort_unstable_by_key(|event| (event.record_id, event.id));
            chunk
        });
        match &self.database {
            Database::Postgres(pool) => {
                let chunks: Arc<Vec<Columns>> = Arc::new(chunks.map(Columns::of).collect());
                let sql = format!(
                    "INSERT INTO raw_{connections} ({COLUMNS}) SELECT record_id, id, message_id, kind, name, occurred_at, received_at,
                            arrival, original_at, sent_at, flags, properties::jsonb, context::jsonb
                     FROM UNNEST($1::uuid[], $2::uuid[], $3::text[], $4::smallint[], $5::text[], $6::bigint[], $7::bigint[],
                            $8::bigint[], $9::bigint[], $10::bigint[], $11::smallint[], $12::text[], $13::text[]) AS u({COLUMNS})
                     ON CONFLICT DO NOTHING"
                );
                at_once(connections, chunks.len(), |i| {
                    let (pool, chunks, sql) = (pool.clone(), chunks.clone(), sql.clone());
                    async move { chunks[i].insert(&pool, sql).await }
                })
                .await
            }
            Database::Sqlite { own, .. } => {
                let chunks: Arc<Vec<Vec<Event>>> = Arc::new(chunks.collect());
                at_once(1, chunks.len(), |i| {
                    let (own, chunks) = (own.clone(), chunks.clone());
                    async move { insert_values(&own, &chunks[i]).await }
                })
                .await
            }
        }
    }

    /// One row for each statement and commit; SQLite has one writer, which takes them one after the other.
    pub async fn insert_one_by_one(&self, events: &[Event], connections: usize) -> Latencies {
        let events = Arc::new(events.to_vec());
        let connections = if matches!(self.database, Database::Postgres(_)) {
            connections
        } else {
            1
        };
        at_once(connections, events.len(), |i| {
            let events = events.clone();
            let (postgres, sqlite) = match &self.database {
                Database::Postgres(pool) => (Some(pool.clone()), None),
                Database::Sqlite { own, .. } => (None, Some(own.clone())),
            };
            async move {
                if let Some(pool) = postgres {
                    events[i].insert(&pool).await;
                } else if let Some(own) = sqlite {
                    insert_values(&own, &events[i..=i]).await;
                }
            }
        })
        .await
    }
}

/// Does piece 0 to `count` on as many tasks.
async fn at_once<F: Future<Output = ()> + Send + 'static>(tasks: usize, count: usize, work: impl Fn(usize) -> F) -> Latencies {
    let pieces: Vec<_> = (0..count).map(|i| Some(Box::pin(work(i)))).collect();
    let pieces = Arc::new(std::sync::Mutex::new(pieces));
    let next = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..tasks)
        .map(|_| {
            let (pieces, next) = (pieces.clone(), next.clone());
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(piece) = pieces.lock().unwrap().get_mut(i).and_then(Option::take) else {
                        return latencies;
                    };
                    let watch = Instant::now();
                    piece.await;
                    latencies.push(watch.elapsed());
                }
            })
        })
        .collect();
    let mut latencies = Vec::with_capacity(count);
    for worker in workers {
        latencies.extend(worker.await.unwrap());
    }
    latencies
}

impl Columns {
    fn of(events: Vec<Event>) -> Self {
        let mut columns = Self::default();
        for event in events {
            columns.record_id.push(event.record_id);
            columns.id.push(event.id);
            columns.message_id.push(event.message_id);
            columns.kind.push(event.kind);
            columns.name.push(event.name);
            columns.occurred_at.push(event.occurred_at);
            columns.received_at.push(event.received_at);
            columns.arrival.push(event.arrival);
            columns.original_at.push(event.original_at);
            columns.sent_at.push(event.sent_at);
            columns.flags.push(event.flags);
            columns.properties.push(event.properties);
            columns.context.push(event.context);
        }
        columns
    }

    async fn insert(&self, pool: &PgPool, sql: String) {
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(&self.record_id)
            .bind(&self.id)
            .bind(&self.message_id)
            .bind(&self.kind)
            .bind(&self.name)
            .bind(&self.occurred_at)
            .bind(&self.received_at)
            .bind(&self.arrival)
            .bind(&self.original_at)
            .bind(&self.sent_at)
            .bind(&self.flags)
            .bind(&self.properties)
            .bind(&self.context)
            .execute(pool)
            .await
            .unwrap();
    }
}

impl Event {
    async fn insert(&self, pool: &PgPool) {
        let sql = "INSERT INTO raw_64 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::text::jsonb, $13::text::jsonb)
                   ON CONFLICT DO NOTHING";
        sqlx::query(sql)
            .bind(self.record_id)
            .bind(self.id)
            .bind(&self.message_id)
            .bind(self.kind)
            .bind(&self.name)
            .bind(self.occurred_at)
            .bind(self.received_at)
            .bind(self.arrival)
            .bind(self.original_at)
            .bind(self.sent_at)
            .bind(self.flags)
            .bind(&self.properties)
            .bind(&self.context)
            .execute(pool)
            .await
            .unwrap();
    }
}

/// Rows as one `VALUES` list.
async fn insert_values(pool: &SqlitePool, events: &[Event]) {
    let mut sql = format!("INSERT INTO raw_1 ({COLUMNS}) VALUES ");
    for i in 0..events.len() {
        let comma = if i == 0 { "" } else { ", " };
        write!(sql, "{comma}(?,?,?,?,?,?,?,?,?,?,?,?,?)").unwrap();
    }
    sql.push_str(" ON CONFLICT DO NOTHING");
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    for event in events {
        query = query
            .bind(event.record_id)
            .bind(event.id)
            .bind(&event.message_id)
            .bind(event.kind)
            .bind(&event.name)
            .bind(event.occurred_at)
            .bind(event.received_at)
            .bind(event.arrival)
            .bind(event.original_at)
            .bind(event.sent_at)
            .bind(event.flags)
            .bind(&event.properties)
            .bind(&event.context);
    }
    query.execute(pool).await.unwrap();
}
