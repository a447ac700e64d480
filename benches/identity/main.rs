//! What it costs to know who is who: placing one message among a million records, intake as a whole with identity and without, and
//! merges of customers with long histories, and messages for a customer of very many records.
//!
//! `cargo bench --bench identity` measures everything and writes `benches/results/identity.json`. After `--` come words that make it
//! less, and then nothing is written: `--quick` takes a tenth of the records, `postgres` and `sqlite` one database, `resolve`, `merge`,
//! `crowd` and `share` one subject. `share` compares with another version's binary, named by `TRIBUTARY_BENCH_BEFORE`, and is left out without one.
//!
//! Promises: messages go through the product's own queue and commit; the stored history is what intake writes, in bulk; what is
//! compared runs in turns, so that the noise of a shared machine meets both. `docs/performance.md` says what the figures mean.
#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

#[path = "../ingest/cpu.rs"]
mod cpu;
mod crowd;
#[path = "../ingest/load.rs"]
mod load;
#[path = "../ingest/measure.rs"]
mod measure;
mod merge;
#[path = "../../tests/it/support/packages.rs"]
mod packages;
mod people;
mod resolve;
#[expect(dead_code, reason = "this benchmark leaves memory to the other one")]
#[path = "../ingest/server.rs"]
mod server;
#[path = "../../tests/it/support/servers.rs"]
#[expect(dead_code, reason = "the tests have a Redis, too")]
mod servers;
mod share;
#[path = "../ingest/workload.rs"]
mod workload;
mod world;

use sea_orm::{ConnectionTrait as _, Database};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use world::World;

/// What one run consists of.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Stored before anything is resolved; each has two records.
    pub customers: usize,
    /// Messages of each kind that are timed.
    pub messages: usize,
    /// Events of a customer with a long history.
    pub history: usize,
    pub repetitions: usize,
    pub batched_events: usize,
    pub single_events: usize,
    /// Records that are known before intake is compared.
    pub records: usize,
}

const FULL: Scale = Scale {
    customers: 500_000,
    messages: 2_000,
    history: 100_000,
    repetitions: 5,
    batched_events: 40_000,
    single_events: 12_000,
    records: 10_000,
};
const QUICK: Scale = Scale {
    customers: 50_000,
    messages: 500,
    history: 10_000,
    repetitions: 1,
    ..FULL
};

const SUBJECTS: [&str; 4] = ["resolve", "merge", "crowd", "share"];
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
    let mut versions = Vec::new();
    let mut results = Vec::new();
    for database in databases {
        let place = Place::new(database).await;
        versions.push((database, version(&place.url("bench")).await));
        if subjects.iter().any(|subject| *subject != "share") {
            let world = World::build(&place.url("bench"), scale).await;
            if subjects.contains(&"resolve") {
                tell(&mut results, resolve::measure(database, &world, scale).await);
            }
            if subjects.contains(&"merge") {
                tell(&mut results, merge::measure(database, &world, scale).await);
            }
            if subjects.contains(&"crowd") {
                tell(&mut results, crowd::measure(database, &world, scale).await);
            }
            world.end().await;
        }
        if subjects.contains(&"share") {
            match std::env::var("TRIBUTARY_BENCH_BEFORE") {
                Ok(before) => tell(&mut results, share::measure(database, &place, &before, scale).await),
                Err(_) => eprintln!("TRIBUTARY_BENCH_BEFORE names no binary to compare with: intake is left out"),
            }
        }
        place.clear();
    }
    let is_whole = scale.customers == FULL.customers && !SUBJECTS.iter().chain(&DATABASES).any(|word| named(word));
    if is_whole {
        let results = json!({"machine": measure::machine(&versions), "scale": format!("{scale:?}"), "results": results});
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results/identity.json");
        std::fs::write(file, format!("{results:#}\n")).unwrap();
        println!("written to benches/results/identity.json");
    }
}

/// As soon as they are there: a whole run takes minutes.
fn tell(results: &mut Vec<Value>, new: Vec<Value>) {
    for result in &new {
        println!("{result}");
    }
    results.extend(new);
}

/// Where the databases of a run are.
pub struct Place {
    folder: Option<PathBuf>,
}

impl Place {
    async fn new(database: &str) -> Self {
        if database == "sqlite" {
            let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("identity-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            return Self { folder: Some(folder) };
        }
        let admin = Database::connect(servers::postgres().admin_url()).await.unwrap();
        for name in ["bench", "before", "now"] {
            admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
        }
        Self { folder: None }
    }

    pub fn url(&self, name: &str) -> String {
        match &self.folder {
            Some(folder) => format!("sqlite://{}?mode=rwc", folder.join(format!("{name}.db")).display()),
            None => servers::postgres().url(name),
        }
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
    let statement = sea_orm::Statement::from_string(db.get_database_backend(), sql);
    let row = db.query_one_raw(statement).await.unwrap().unwrap();
    row.try_get_by_index(0).unwrap()
}

/// Milliseconds at a part of all, from 0 to 1.
pub fn at(times: &[Duration], part: f64) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in a short list"
    )]
    let place = (part * (times.len() - 1) as f64).round() as usize;
    (times[place].as_secs_f64() * 1e5).round() / 100.0
}

/// Times of one kind of work as a result.
pub fn times(database: &str, case: &str, times: &[Duration]) -> Value {
    json!({"database": database, "case": case, "count": times.len(), "p50Ms": at(times, 0.5), "p99Ms": at(times, 0.99)})
}
