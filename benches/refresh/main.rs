//! How fast customers who are due are looked at again.
//!
//! `cargo bench --bench refresh` makes 100,000 customers of three orders and four events each due on PostgreSQL, has them refreshed by one loop and by
//! two, and writes `benches/results/refresh.json`. After `--` come words that make it less, and then nothing is written: `--quick` takes a
//! tenth, `sqlite` and `postgres` one database only.
//!
//! Promises: the product's own verb with its usual batch, in this process; a first look, which counts every event and writes facts and news
//! of everybody, and one at which nothing differs are measured apart. Loop and database share the cores, so rates are no capacities.
#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![expect(clippy::cast_possible_wrap, reason = "numbers of a benchmark are small")]

#[path = "../../tests/it/support/packages.rs"]
mod packages;
mod seed;
#[expect(dead_code, reason = "the tests have a Redis, too")]
#[path = "../../tests/it/support/servers.rs"]
mod servers;

use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant as Watch;
use tributary::access::Actor;
use tributary::base::{Clock, Ids};
use tributary::cli::server::open_store;
use tributary::cli::settings::{self, Origins};
use tributary::identity::RulesDirectory;
use tributary::ingest::source::{self, NewSource};
use tributary::pipeline::Services;
use tributary::pipeline::refresh::Refresher;

#[tokio::main(worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asked = |word: &str| arguments.iter().any(|argument| argument == word);
    let customers = if asked("--quick") { 10_000 } else { 100_000 };
    let mut report = json!({ "customers": customers });
    if !asked("sqlite") {
        let admin = sea_orm::Database::connect(servers::postgres().admin_url()).await.unwrap();
        admin.execute_unprepared("CREATE DATABASE refresh").await.unwrap();
        report["postgres"] = measure(&servers::postgres().url("refresh"), customers).await;
    }
    if !asked("postgres") {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("refresh-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        report["sqlite"] = measure(&format!("sqlite://{}", folder.join("bench.db").display()), customers).await;
        std::fs::remove_dir_all(folder).unwrap();
    }
    println!("{report:#}");
    if !["--quick", "sqlite", "postgres"].into_iter().any(asked) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results/refresh.json");
        std::fs::write(file, format!("{report:#}\n")).unwrap();
    }
}

async fn measure(url: &str, customers: usize) -> Value {
    let environment = [
        ("TRIBUTARY_DATABASE__URL", url),
        ("TRIBUTARY_DATABASE__MIGRATE", "always"),
        ("TRIBUTARY_DATABASE__REQUIRE_DURABLE", "false"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let settings = settings::load(&Origins {
        environment,
        ..Origins::default()
    })
    .unwrap();
    let store = open_store(&settings, Ids::system()).await.unwrap();
    let rules = RulesDirectory::new(settings.identity_rules().unwrap()).unwrap();
    let services = Services::open(store, Clock::System, rules, None)
        .await
        .unwrap()
        .valuing(settings.value_rules().unwrap());
    let mut sources = Vec::new();
    for key in ["web", "books"] {
        let new = NewSource {
            key: key.to_owned(),
            name: key.to_owned(),
            channel: entity::Channel::Web,
            trust: 0,
            write_key: None,
            max_event_bytes: None,
            max_batch_bytes: None,
            review_aliases: false,
        };
        let made = source::create(&services.store, services.now(), &Actor::new("bench"), new)
            .await
            .unwrap();
        sources.push(made.source.id);
    }
    seed::seed(&services.store, &sources, customers).await;
    let refresher = Refresher::new(&services).taking(settings.worker.refresh_batch);
    let mut rates = serde_json::Map::new();
    for (name, loops) in [
        ("first look, one loop", 1),
        ("nothing differs, one loop", 1),
        ("nothing differs, two loops", 2),
    ] {
        seed::make_due(&services.store, services.now(), name.starts_with("first")).await;
        let watch = Watch::now();
        let running = (0..loops).map(|_| tokio::spawn(run(services.clone(), refresher.clone())));
        let mut refreshed = 0;
        for running in running.collect::<Vec<_>>() {
            refreshed += running.await.unwrap();
        }
        let per_second = customers as f64 / watch.elapsed().as_secs_f64();
        // Whoever waits for time alone stays.
        let left = count(&services, "due WHERE marked_at IS NOT NULL").await;
        assert_eq!(
            (refreshed, left, count(&services, "customer_value").await),
            (customers, 0, customers as i64)
        );
        eprintln!("{name:<28} {per_second:>8.0} customers/s");
        rates.insert(name.to_owned(), json!(per_second.round()));
    }
    services.store.close().await;
    Value::Object(rates)
}

/// Refreshes until nobody is due; answers how many it looked at.
async fn run(services: Services, refresher: Refresher) -> usize {
    let mut refreshed = 0;
    loop {
        match refresher.run_once(services.now()).await.unwrap() {
            0 => return refreshed,
            claimed => refreshed += claimed,
        }
    }
}

async fn count(services: &Services, table: &str) -> i64 {
    let store = &services.store;
    let sql = format!("SELECT COUNT(*) FROM {table}");
    let row = store
        .reader()
        .query_one_raw(Statement::from_string(store.backend(), sql))
        .await;
    row.unwrap().unwrap().try_get_by_index(0).unwrap()
}
