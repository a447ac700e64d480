//! How fast and how cheaply news of a change reaches those who subscribed to it, and what the change log costs intake.
//!
//! `cargo bench --bench feed` measures everything and writes `benches/results/feed.json`. After `--` come words that make it less, and
//! then nothing is written: `--quick` takes small numbers, `sqlite` and `postgres` one database, `delivery`, `crowd`, `idle`, `behind` and
//! `price` one subject. `TRIBUTARY_BENCH_BINARY` names another binary than this version's release build. `price` needs one built with
//! `cargo build --release --features bench-no-log --target-dir target/no-log`, named by `TRIBUTARY_BENCH_NO_LOG`, and is left out without.
//!
//! Promises: the product is a process of its own with its default settings, talked to over HTTP and graphql-transport-ws; subscribers and
//! load share its cores, and the load's processor time is told apart; every subscriber is held to every change, once.
//! `docs/performance.md` says what the figures mean.
#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

mod behind;
mod client;
#[expect(dead_code, reason = "databases are left out of the accounts")]
#[path = "../ingest/cpu.rs"]
mod cpu;
mod crowd;
mod delivery;
mod idle;
#[path = "../ingest/load.rs"]
mod load;
#[path = "../ingest/measure.rs"]
mod measure;
#[path = "../../tests/it/support/packages.rs"]
mod packages;
mod price;
#[path = "../ingest/server.rs"]
#[expect(dead_code, reason = "which binary is measured is this benchmark's choice")]
mod server;
#[path = "../../tests/it/support/servers.rs"]
#[expect(dead_code, reason = "the tests have a Redis, too")]
mod servers;
#[path = "../ingest/workload.rs"]
mod workload;

use sea_orm::{ConnectionTrait as _, Database, Statement};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What one run consists of.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Sent one by one to one subscriber.
    pub single_events: usize,
    pub subscribers: usize,
    /// How long they listen to 2,000 changes a second.
    pub crowd_seconds: u64,
    pub idle: usize,
    pub idle_seconds: u64,
    /// Changes that a reader has before it.
    pub behind: usize,
    /// Of the runs that are compared.
    pub repetitions: usize,
    /// Sent in batches in one of them.
    pub batched_events: usize,
    /// Records that are known before anything is measured.
    pub records: usize,
}

const FULL: Scale = Scale {
    single_events: 3_000,
    subscribers: 500,
    crowd_seconds: 20,
    idle: 10_000,
    idle_seconds: 120,
    behind: 100_000,
    repetitions: 5,
    batched_events: 40_000,
    records: 10_000,
};
const QUICK: Scale = Scale {
    single_events: 300,
    subscribers: 50,
    crowd_seconds: 5,
    idle: 500,
    idle_seconds: 30,
    behind: 10_000,
    repetitions: 1,
    batched_events: 10_000,
    records: 2_000,
};

const SUBJECTS: [&str; 5] = ["delivery", "crowd", "idle", "behind", "price"];
const DATABASES: [&str; 2] = ["sqlite", "postgres"];

#[tokio::main(worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let named = |word: &str| arguments.iter().any(|argument| argument == word);
    let of = |words: &[&'static str]| -> Vec<&'static str> {
        let some: Vec<_> = words.iter().copied().filter(|word| named(word)).collect();
        if some.is_empty() { words.to_vec() } else { some }
    };
    let (databases, subjects) = (of(&DATABASES), of(&SUBJECTS));
    let scale = if named("--quick") { QUICK } else { FULL };
    let (mut versions, mut results) = (Vec::new(), Vec::new());
    for database in databases {
        let place = Place::new(database).await;
        for subject in &subjects {
            let url = place.url(subject).await;
            let new = match *subject {
                "delivery" => delivery::measure(&url, scale).await,
                "crowd" => crowd::measure(&url, scale).await,
                // An idle socket does not touch the database.
                "idle" if database == "postgres" => Vec::new(),
                "idle" => idle::measure([&url, &place.url("idle_minute").await], scale).await,
                "behind" => behind::measure(&url, scale).await,
                _ => price::measure(&url, &place.url("no_log").await, scale).await,
            };
            for mut result in new {
                result["database"] = json!(database);
                println!("{result}");
                results.push(result);
            }
            if !versions.iter().any(|(name, _)| *name == database) {
                versions.push((database, version(&url).await));
            }
        }
        place.clear();
    }
    if !named("--quick") && !SUBJECTS.iter().chain(&DATABASES).any(|word| named(word)) {
        let results = json!({"machine": measure::machine(&versions), "scale": format!("{scale:?}"), "results": results});
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results/feed.json");
        std::fs::write(file, format!("{results:#}\n")).unwrap();
        println!("written to benches/results/feed.json");
    }
}

/// The product.
pub fn binary() -> String {
    std::env::var("TRIBUTARY_BENCH_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_tributary").to_owned())
}

/// Where the databases of a run are.
struct Place {
    folder: Option<PathBuf>,
}

impl Place {
    async fn new(database: &str) -> Self {
        if database == "postgres" {
            return Self { folder: None };
        }
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("feed-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self { folder: Some(folder) }
    }

    /// A new database.
    async fn url(&self, name: &str) -> String {
        if let Some(folder) = &self.folder {
            return format!("sqlite://{}?mode=rwc", folder.join(format!("{name}.db")).display());
        }
        let admin = Database::connect(servers::postgres().admin_url()).await.unwrap();
        admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
        servers::postgres().url(name)
    }

    fn clear(self) {
        if let Some(folder) = self.folder {
            std::fs::remove_dir_all(folder).unwrap();
        }
    }
}

async fn version(url: &str) -> String {
    let db = Database::connect(url).await.unwrap();
    let sql = match url.starts_with("sqlite") {
        true => "SELECT sqlite_version()",
        false => "SELECT current_setting('server_version')",
    };
    let statement = Statement::from_string(db.get_database_backend(), sql);
    db.query_one_raw(statement)
        .await
        .unwrap()
        .unwrap()
        .try_get_by_index(0)
        .unwrap()
}

/// Milliseconds at a part of all, from 0 to 1.
pub fn at(times: &[Duration], part: f64) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list")]
    let place = (part * (times.len() - 1) as f64).round() as usize;
    measure::hundredths(times[place].as_secs_f64() * 1000.0)
}
