//! How fast one customer, and a page of them, is answered over GraphQL, held against PostGraphile on the same data and against pgbench
//! with the statement that the server sends.
//!
//! `cargo bench --bench view` measures 200,000 customers with 2,000,000 events and writes `benches/results/view.json`. After `--` come
//! words that make it less, and then nothing is written: `--quick` takes a tenth of the customers and of the time, `sqlite` and
//! `postgres` one database only, `alone` leaves PostGraphile out. It needs psql and pgbench, and npm the first time.
//!
//! Promises: the product is the release binary with its default settings; those compared take turns, so that the noise of a shared
//! machine meets all of them, and ratios are taken turn by turn; load, server and database share the cores, so rates are no capacities.
#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "numbers of a benchmark are small"
)]

mod load;
#[path = "../../tests/it/support/packages.rs"]
mod packages;
mod rivals;
mod seed;
#[path = "../../tests/it/support/servers.rs"]
#[expect(dead_code, reason = "the tests have a Redis, too")]
mod servers;

use base64::Engine as _;
use load::{Bodies, Rate, Target};
use rivals::PostGraphile;
use sea_orm::{ConnectionTrait as _, Statement};
use seed::{Seeded, customer_id};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tributary::base::Ids;
use tributary::cli::server::open_store;
use tributary::cli::settings::{self, Origins};
use uuid::Uuid;

const KEY: &str = "an-admin-key-for-benchmarks-0123456789";
const CONNECTIONS: u64 = 16;

const VIEW: &str = "query($id: ID!) { customer(id: $id) { id displayName email phone city createdAt
    identifiers { kind value state } records { id externalKey source { key channel } }
    timeline(first: 20) { nodes { __typename id occurredAt ... on Event { name channel } ... on Purchase { orderId amount { amountMinor currency } } } }
    purchaseSummary { count netRevenue { amountMinor currency } firstPurchaseAt lastPurchaseAt } } }";
const PAGE: &str = "query($after: String) { customers(first: 50, after: $after) { nodes { id displayName
    identifiers { kind value } records { id externalKey }
    timeline(first: 5) { nodes { id occurredAt ... on Event { name } } } } } }";

/// The same in PostGraphile's names.
const THEIR_VIEW: &str = "query($id: UUID!) { customerByRowId(rowId: $id) { rowId displayName email phone golden createdAt
    shownList { kind value state } recordsList { rowId externalKey source { key channel } }
    timelineList(first: 20) { recordId rowId occurredAt name } bought { purchases revenue currency firstAt lastAt } } }";
const THEIR_PAGE: &str = "query { allCustomersList(first: 50, orderBy: [CREATED_AT_DESC, ROW_ID_DESC]) { rowId displayName
    shownList { kind value } recordsList { rowId externalKey } timelineList(first: 5) { recordId rowId occurredAt name } } }";

#[tokio::main(worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asked = |word: &str| arguments.iter().any(|argument| argument == word);
    let is_quick = asked("--quick");
    let scale = Scale {
        customers: if is_quick { 20_000 } else { 200_000 },
        turns: if is_quick { 2 } else { 5 },
        seconds: if is_quick { 3 } else { 8 },
    };
    let mut report =
        json!({ "customers": scale.customers, "turns": scale.turns, "seconds": scale.seconds, "connections": CONNECTIONS });
    if !asked("sqlite") {
        report["postgres"] = postgres(scale, !asked("alone")).await;
    }
    if !asked("postgres") {
        report["sqlite"] = sqlite(scale).await;
    }
    println!("{report:#}");
    if !["--quick", "sqlite", "postgres", "alone"].into_iter().any(asked) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results/view.json");
        std::fs::write(file, format!("{report:#}\n")).unwrap();
    }
}

#[derive(Clone, Copy)]
struct Scale {
    customers: usize,
    turns: usize,
    seconds: u64,
}

/// Rates by name, turn by turn.
#[derive(Default)]
struct Turns(BTreeMap<String, Vec<Rate>>);

impl Turns {
    async fn take(&mut self, name: &str, target: &Target, connections: u64, scale: Scale, bodies: &Bodies) {
        let rate = load::run(target, connections, Duration::from_secs(scale.seconds), bodies).await;
        eprintln!(
            "{name:<28} {:>7.0}/s  p50 {:>6.2} ms  p99 {:>6.2} ms  server {:>5.0} us  database {:>5.0} us  {:>6.0} bytes",
            rate.per_second, rate.p50_ms, rate.p99_ms, rate.server_us, rate.database_us, rate.bytes
        );
        self.0.entry(name.to_owned()).or_default().push(rate);
    }

    fn rates(&self, name: &str) -> Vec<f64> {
        self.0[name].iter().map(|rate| rate.per_second).collect()
    }

    fn p50(&self, name: &str) -> f64 {
        median(self.0[name].iter().map(|rate| rate.p50_ms))
    }

    fn to_json(&self) -> Value {
        let medians = self.0.iter().map(|(name, rates)| {
            let of = |field: fn(&Rate) -> f64| (100.0 * median(rates.iter().map(field))).round() / 100.0;
            let rate = json!({
                "per_second": of(|rate| rate.per_second), "p50_ms": of(|rate| rate.p50_ms), "p99_ms": of(|rate| rate.p99_ms),
                "server_us": of(|rate| rate.server_us), "database_us": of(|rate| rate.database_us), "bytes": of(|rate| rate.bytes),
            });
            (name.clone(), rate)
        });
        Value::Object(medians.collect())
    }
}

async fn postgres(scale: Scale, with_rivals: bool) -> Value {
    let postgres = servers::postgres();
    let admin = sea_orm::Database::connect(postgres.admin_url()).await.unwrap();
    admin.execute_unprepared("CREATE DATABASE bench").await.unwrap();
    let url = postgres.url("bench");
    let (ours, seeded) = Ours::start(&url, scale.customers).await;
    let backend = "SELECT pg_backend_pid()";
    let row = admin
        .query_one_raw(Statement::from_string(admin.get_database_backend(), backend))
        .await
        .unwrap()
        .unwrap();
    let pid: i32 = row.try_get_by_index(0).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let database: u32 = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap();
    let target = Target {
        database: Some(database),
        ..ours.target.clone()
    };
    let rival = match with_rivals {
        true => Some(PostGraphile::start(&url, database).await),
        false => None,
    };
    let mut turns = Turns::default();
    let mut tps = Vec::new();
    let (view, page) = (views(&seeded), pages(&seeded));
    for turn in 0..scale.turns {
        if turn == 0 {
            warm(&target, scale, &view).await;
        }
        turns.take("view", &target, CONNECTIONS, scale, &view).await;
        if let Some(rival) = &rival {
            if turn == 0 {
                show(&rival.ask(&their_views(&seeded)(1)).await);
                warm(&rival.target, scale, &their_views(&seeded)).await;
            }
            turns
                .take(
                    "view of PostGraphile",
                    &rival.target,
                    CONNECTIONS,
                    scale,
                    &their_views(&seeded),
                )
                .await;
        }
        tps.push(rivals::pgbench(&url, scale.customers, CONNECTIONS, scale.seconds));
        eprintln!("{:<28} {:>7.0}/s", "pgbench", tps[turn]);
        turns.take("page of 50", &target, CONNECTIONS, scale, &page).await;
        if let Some(rival) = &rival {
            turns
                .take(
                    "page of 50 of PostGraphile",
                    &rival.target,
                    CONNECTIONS,
                    scale,
                    &their_pages(),
                )
                .await;
        }
        take_heavy(&mut turns, &target, scale, &seeded).await;
    }
    let ratio = |over: &[f64], under: &[f64]| median(over.iter().zip(under).map(|(over, under)| over / under));
    let mut ratios = heavy_ratios(&turns);
    ratios["view to pgbench"] = json!(ratio(&turns.rates("view"), &tps));
    if rival.is_some() {
        ratios["view to PostGraphile"] = json!(ratio(&turns.rates("view"), &turns.rates("view of PostGraphile")));
        ratios["page to PostGraphile"] = json!(ratio(&turns.rates("page of 50"), &turns.rates("page of 50 of PostGraphile")));
    }
    json!({"runs": turns.to_json(), "pgbench_per_second": median(tps.iter().copied()), "ratios": ratios})
}

async fn sqlite(scale: Scale) -> Value {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("view-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (ours, seeded) = Ours::start(&format!("sqlite://{}", folder.join("bench.db").display()), scale.customers).await;
    let mut turns = Turns::default();
    warm(&ours.target, scale, &views(&seeded)).await;
    for _ in 0..scale.turns {
        turns.take("view", &ours.target, CONNECTIONS, scale, &views(&seeded)).await;
        turns
            .take("page of 50", &ours.target, CONNECTIONS, scale, &pages(&seeded))
            .await;
        take_heavy(&mut turns, &ours.target, scale, &seeded).await;
    }
    drop(ours);
    std::fs::remove_dir_all(folder).unwrap();
    json!({"runs": turns.to_json(), "ratios": heavy_ratios(&turns)})
}

async fn warm(target: &Target, scale: Scale, bodies: &Bodies) {
    load::run(target, CONNECTIONS, Duration::from_secs(scale.seconds), bodies).await;
}

/// One request at a time: somebody usual, somebody busy, somebody of many records.
async fn take_heavy(turns: &mut Turns, target: &Target, scale: Scale, seeded: &Seeded) {
    let one = |id: Uuid| -> Bodies { Arc::new(move |_| view_of(id)) };
    turns.take("view, one at a time", target, 1, scale, &views(seeded)).await;
    turns
        .take("view of 100,000 events", target, 1, scale, &one(seeded.busy))
        .await;
    turns
        .take("view of 1,000 records", target, 1, scale, &one(seeded.crowded))
        .await;
}

fn heavy_ratios(turns: &Turns) -> Value {
    let usual = turns.p50("view, one at a time");
    json!({"100,000 events to usual": turns.p50("view of 100,000 events") / usual, "1,000 records to usual": turns.p50("view of 1,000 records") / usual})
}

fn show(answer: &str) {
    eprintln!("PostGraphile answers {}", &answer[..answer.len().min(1_200)]);
}

/// The n-th customer asked for: everybody in turn, in an order that is none.
fn picked(n: u64, customers: usize) -> usize {
    1 + ((n * 2_654_435_761 + 12_345) % customers as u64) as usize
}

fn views(seeded: &Seeded) -> Bodies {
    let customers = seeded.customers;
    Arc::new(move |n| view_of(customer_id(picked(n, customers))))
}

fn view_of(id: Uuid) -> String {
    let id = format!("cus_{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(id));
    json!({"query": VIEW, "variables": {"id": id}}).to_string()
}

fn their_views(seeded: &Seeded) -> Bodies {
    let customers = seeded.customers;
    Arc::new(move |n| json!({"query": THEIR_VIEW, "variables": {"id": customer_id(picked(n, customers))}}).to_string())
}

fn pages(_: &Seeded) -> Bodies {
    Arc::new(move |_| json!({"query": PAGE, "variables": {"after": null}}).to_string())
}

fn their_pages() -> Bodies {
    Arc::new(move |_| json!({"query": THEIR_PAGE}).to_string())
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// The release binary as a child process.
struct Ours {
    child: Child,
    target: Target,
}

impl Ours {
    /// Migrates, makes three sources, writes the customers, then serves.
    async fn start(url: &str, customers: usize) -> (Self, Seeded) {
        let binary = env!("CARGO_BIN_EXE_tributary");
        let environment = [
            ("TRIBUTARY_DATABASE__URL", url),
            ("TRIBUTARY_DATABASE__MIGRATE", "always"),
            ("TRIBUTARY_AUTH__ADMIN_KEY", KEY),
        ];
        for (key, channel) in [("shop", "web"), ("app", "app"), ("till", "pos")] {
            let added = Command::new(binary)
                .args(["source", "add", "--key", key, "--channel", channel])
                .envs(environment)
                .output()
                .unwrap();
            assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        }
        let owned = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let origins = Origins {
            environment: owned,
            ..Origins::default()
        };
        let settings = settings::load(&origins).unwrap();
        let store = open_store(&settings, Ids::system()).await.unwrap();
        let sources = ["shop", "app", "till"].map(|key| store.hash_key().source(key).0);
        let watch = std::time::Instant::now();
        let seeded = seed::seed(&store, &sources, customers).await;
        eprintln!("{customers} customers written in {:.0} s", watch.elapsed().as_secs_f64());
        store.close().await;
        let address = format!("127.0.0.1:{}", servers::free_port());
        let child = Command::new(binary)
            .args(["serve", "--bind", &address])
            .envs(environment)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let target = Target {
            address,
            key: KEY.to_owned(),
            server: child.id(),
            database: None,
        };
        let ours = Self { child, target };
        for _ in 0..200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if std::net::TcpStream::connect(&ours.target.address).is_ok() {
                break;
            }
        }
        // What start-up sweeps is not to be measured.
        tokio::time::sleep(Duration::from_secs(if customers > 50_000 { 60 } else { 8 })).await;
        (ours, seeded)
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
