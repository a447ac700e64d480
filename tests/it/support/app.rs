//! A whole server inside the test: its own database, a clock that only moves by hand, real HTTP.

use super::servers;
use migration::{Migrator, MigratorTrait as _};
use reqwest::{Response, StatusCode};
use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::OnceCell;
use tributary::base::{Clock, Ids, Instant};
use tributary::cli::server::{Server, open_store};
use tributary::cli::settings::{self, Origins, Settings};
use tributary::job::Runner;
use tributary::pipeline::jobs;
use tributary::pipeline::refresh::Refresher;
use tributary::store::Store;

pub const ADMIN_KEY: &str = "an-admin-key-for-tests-0123456789";
/// When every test begins.
pub const START: &str = "2026-06-01T12:00:00Z";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    Postgres,
}

pub struct TestApp {
    pub server: Server,
    pub clock: Clock,
    pub base: String,
    pub http: reqwest::Client,
    directory: PathBuf,
}

/// Gives every test the same ids on every run, so that a history that fails once fails again. `TRIBUTARY_TEST_KEY` is another key.
async fn fix_ids(store: &mut Store) {
    let n: u64 = std::env::var("TRIBUTARY_TEST_KEY").map_or(1, |text| text.parse().expect("a number"));
    let key: String = (0..32_u32)
        .map(|i| format!("{:02x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(i * 7) % 251))
        .collect();
    let sql = "UPDATE installation SET value = $1 WHERE name = 'id_key'";
    let statement = Statement::from_sql_and_values(store.backend(), sql, [key.into()]);
    store.writer().execute_raw(statement).await.expect("the key is replaced");
    store.load_secrets().await.expect("the key is read");
}

impl TestApp {
    pub async fn new(backend: Backend) -> Self {
        Self::with(backend, |_| {}).await
    }

    /// With settings changed before it starts.
    pub async fn with(backend: Backend, change: impl FnOnce(&mut Settings)) -> Self {
        let (url, directory) = database(backend).await;
        let mut settings = test_settings(&url);
        change(&mut settings);
        let clock = Clock::manual(Instant::parse(START).expect("a time"));
        let mut store = open_store(&settings, Ids::seeded(7)).await.expect("the store opens");
        fix_ids(&mut store).await;
        let server = Server::start(&settings, store, clock.clone())
            .await
            .expect("the server starts");
        let base = format!("http://{}", server.address);
        Self {
            server,
            clock,
            base,
            http: reqwest::Client::new(),
            directory,
        }
    }

    /// Makes a source; answers its write key.
    pub async fn source(&self, key: &str, channel: &str) -> String {
        let data = self
            .ask(&format!(
                r#"mutation {{ sourceCreate(input: {{ key: "{key}", name: "{key}", channel: {channel} }}) {{ writeKey userErrors {{ message }} }} }}"#
            ))
            .await;
        data["sourceCreate"]["writeKey"]
            .as_str()
            .unwrap_or_else(|| panic!("{data}"))
            .to_owned()
    }

    /// Asks as admin; there must be no errors. Answers `data`.
    pub async fn ask(&self, query: &str) -> Value {
        self.ask_with(query, json!({})).await
    }

    pub async fn ask_with(&self, query: &str, variables: Value) -> Value {
        let (status, body) = self.graphql(ADMIN_KEY, json!({"query": query, "variables": variables})).await;
        assert!(
            status == StatusCode::OK && body.get("errors").is_none(),
            "{query}\n{status} {body}"
        );
        body["data"].clone()
    }

    /// Sends a GraphQL request with a key, accepting `application/graphql-response+json`.
    pub async fn graphql(&self, key: &str, body: Value) -> (StatusCode, Value) {
        let request = self.http.post(format!("{}/graphql", self.base)).bearer_auth(key);
        let request = request.header("accept", "application/graphql-response+json").json(&body);
        read(request.send().await.expect("an answer")).await
    }

    /// Sends JSON to a path of the tracking API with a write key.
    pub async fn send(&self, write_key: &str, path: &str, body: &Value) -> (StatusCode, Value) {
        self.send_text(write_key, path, body.to_string()).await
    }

    pub async fn send_text(&self, write_key: &str, path: &str, body: impl Into<reqwest::Body>) -> (StatusCode, Value) {
        let request = self
            .http
            .post(format!("{}{path}", self.base))
            .basic_auth(write_key, Some(""))
            .body(body);
        read(request.send().await.expect("an answer")).await
    }

    /// Sends a batch that must be accepted.
    pub async fn batch(&self, write_key: &str, messages: Value) {
        let (status, body) = self.send(write_key, "/v1/batch", &json!({"batch": messages})).await;
        assert_eq!((status, body), (StatusCode::OK, json!({"success": true})));
    }

    /// Runs the background jobs that are due, as the worker would; complains when one is left behind.
    pub async fn run_due_jobs(&self) {
        self.run_due_jobs_of(&jobs::runner(&self.server.services)).await;
    }

    /// The same with handlers of the test.
    pub async fn run_due_jobs_of(&self, runner: &Runner) {
        while runner.run_once(self.clock.now()).await {}
        let left = format!(
            "SELECT COUNT(*) FROM job WHERE state IN (1, 2) AND available_at <= {}",
            self.clock.now().micros()
        );
        assert_eq!(self.scalar(&left).await, 0, "jobs are due and nobody runs them");
    }

    /// Looks again at every customer who is due, as the worker would; complains when one fails.
    pub async fn run_due_refresh(&self) {
        self.run_due_refresh_of(&Refresher::new(&self.server.services)).await;
        assert_eq!(
            self.scalar("SELECT COUNT(*) FROM due WHERE error IS NOT NULL").await,
            0,
            "a refresh failed"
        );
    }

    /// The same with views of the test.
    pub async fn run_due_refresh_of(&self, refresher: &Refresher) {
        while refresher.run_once(self.clock.now()).await.expect("a refresh") > 0 {}
    }

    /// How many rows a table has.
    pub async fn count(&self, table: &str) -> i64 {
        self.scalar(&format!("SELECT COUNT(*) FROM {table}")).await
    }

    /// Customers of whom something was told that nobody has looked at; those who wait for time alone are left out.
    pub async fn marked(&self) -> i64 {
        self.scalar("SELECT COUNT(*) FROM due WHERE marked_at IS NOT NULL").await
    }

    pub async fn scalar(&self, sql: &str) -> i64 {
        let store = &self.server.services.store;
        let row = store
            .reader()
            .query_one_raw(Statement::from_string(store.backend(), sql))
            .await
            .expect(sql)
            .expect("a row");
        row.try_get_by_index::<i64>(0).expect("a number")
    }

    /// Ends the server and removes its files.
    pub async fn stop(self) {
        self.server.stop().await.expect("a clean stop");
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

async fn read(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let text = response.text().await.expect("a body");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Settings of a server that listens on a free port.
pub fn test_settings(url: &str) -> Settings {
    let environment = [
        ("TRIBUTARY_SERVER__BIND", "127.0.0.1:0"),
        ("TRIBUTARY_DATABASE__URL", url),
        ("TRIBUTARY_DATABASE__MIGRATE", "always"),
        ("TRIBUTARY_DATABASE__QUERY_CONNECTIONS", "4"),
        ("TRIBUTARY_DATABASE__INGEST_CONNECTIONS", "4"),
        ("TRIBUTARY_AUTH__ADMIN_KEY", ADMIN_KEY),
        // Tests count statements: none may come from a memory that ended in between.
        ("TRIBUTARY_AUTH__REMEMBERED_SECONDS", "3600"),
        // Tests say when: `run_due_jobs`.
        ("TRIBUTARY_WORKER__JOBS", "false"),
        // And `run_due_refresh`.
        ("TRIBUTARY_WORKER__REFRESH", "false"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    settings::load(&Origins {
        environment,
        ..Origins::default()
    })
    .expect("sound settings")
}

/// A fresh database: a file of its own, or a copy of the migrated template. Answers its URL and the folder to remove.
pub async fn database(backend: Backend) -> (String, PathBuf) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::SeqCst);
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("app-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a folder");
    let url = match backend {
        Backend::Sqlite => copy_template(&directory).await,
        Backend::Postgres => clone_template(number).await,
    };
    (url, directory)
}

/// Migrating costs more than most tests do, so it is done once.
async fn copy_template(directory: &Path) -> String {
    static TEMPLATE: OnceCell<PathBuf> = OnceCell::const_new();
    let url = |file: &Path| format!("sqlite://{}?mode=rwc", file.display());
    let template = TEMPLATE.get_or_init(|| async {
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("migrated-{}.db", std::process::id()));
        migrate(&url(&file)).await;
        file
    });
    let file = directory.join("test.db");
    std::fs::copy(template.await, &file).expect("a copy of the template");
    format!("sqlite://{}", file.display())
}

async fn migrate(url: &str) {
    let template = sea_orm::Database::connect(url).await.expect("the template");
    Migrator::up(&template, None).await.expect("the migrations apply");
    template.close().await.expect("closed");
}

/// PostgreSQL copies one template at a time.
static CLONING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
static TEMPLATE: OnceCell<()> = OnceCell::const_new();

async fn clone_template(number: u64) -> String {
    let postgres = tokio::task::spawn_blocking(servers::postgres).await.expect("a server");
    let _one_at_a_time = CLONING.lock().await;
    TEMPLATE
        .get_or_init(|| async {
            run(&postgres.admin_url(), "CREATE DATABASE migrated").await;
            migrate(&postgres.url("migrated")).await;
        })
        .await;
    let name = format!("test_{number}");
    run(&postgres.admin_url(), &format!("CREATE DATABASE {name} TEMPLATE migrated")).await;
    postgres.url(&name)
}

async fn run(url: &str, sql: &str) {
    let connection = sea_orm::Database::connect(url).await.expect("a connection");
    connection.execute_unprepared(sql).await.expect(sql);
    connection.close().await.expect("closed");
}

/// Waits until something holds, for what happens beside the test; at most ten seconds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    for _ in 0..200 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never happened: {what}");
}
