//! How fast events become durable, held against the fastest that the same database does with the same rows on the same machine.
//!
//! `cargo bench --bench ingest` measures everything and writes `benches/results/ingest.json`. After `--` come words that make it less,
//! and then nothing is written: `--quick` takes a tenth of the time, `postgres`, `sqlite`, `batches` and `singles` leave the rest out.
//!
//! Promises: the product is the release binary, talked to over HTTP; each of its runs is followed at once by the raw runs it is
//! compared with, over the very rows that it stored, so that the noise of a shared machine meets both; ratios are medians over the
//! repetitions; processor time is told apart into server, database and the load itself, since all share the cores.
//! `docs/performance.md` says what the figures mean.
#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

mod cpu;
mod load;
mod measure;
#[path = "../../tests/it/support/packages.rs"]
mod packages;
mod raw;
mod report;
mod server;
#[path = "../../tests/it/support/servers.rs"]
#[expect(dead_code, reason = "the tests have a Redis, too")]
mod servers;
mod workload;

use cpu::Cpu;
use measure::Measure;
use raw::Raw;
use report::{Case, Ratio, Report};
use server::Server;
use std::path::{Path, PathBuf};

/// What one run consists of.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub repetitions: usize,
    /// Sent in batches in one run.
    pub batched_events: usize,
    /// Sent one by one in one run.
    pub single_events: usize,
    /// Records that are known before anything is measured.
    pub records: usize,
}

const FULL: Scale = Scale {
    repetitions: 5,
    batched_events: 40_000,
    single_events: 12_000,
    records: 10_000,
};
const QUICK: Scale = Scale {
    repetitions: 1,
    batched_events: 40_000,
    single_events: 12_000,
    ..FULL
};

const BATCH: usize = 100;
const BATCH_CONNECTIONS: [usize; 3] = [4, 8, 16];
const SINGLE_CONNECTIONS: usize = 64;

#[tokio::main(worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asked = |word: &str| arguments.iter().any(|argument| argument == word);
    let mut scale = if asked("--quick") { QUICK } else { FULL };
    if asked("singles") {
        scale.batched_events = 0;
    }
    if asked("batches") {
        scale.single_events = 0;
    }
    let mut report = Report::new(scale);
    if !asked("sqlite") {
        postgres(&mut report, scale).await;
    }
    if !asked("postgres") {
        sqlite(&mut report, scale).await;
    }
    report.print();
    if !["--quick", "sqlite", "postgres", "batches", "singles"].into_iter().any(asked) {
        report.write(&Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results/ingest.json"));
    }
}

async fn postgres(report: &mut Report, scale: Scale) {
    let postgres = servers::postgres();
    raw::run_sql(&postgres.admin_url(), "CREATE DATABASE bench").await;
    let url = postgres.url("bench");
    measure(report, scale, "postgres", &url).await;
}

async fn sqlite(report: &mut Report, scale: Scale) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("ingest-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let url = format!("sqlite://{}", folder.join("bench.db").display());
    measure(report, scale, "sqlite", &url).await;
    std::fs::remove_dir_all(folder).unwrap();
}

async fn measure(report: &mut Report, scale: Scale, database: &'static str, url: &str) {
    let server = Server::start(url).await;
    let idle = server.memory_mb();
    load::send(&server, 4, &workload::introductions(scale.records)).await;
    let raw = Raw::connect(url).await;
    report.describe_database(database, raw.version().await);
    let cpu = Cpu::of(&server, raw.server_pid().await);

    let mut cases = Cases::default();
    for repetition in 0..scale.repetitions {
        if scale.batched_events > 0 {
            for connections in BATCH_CONNECTIONS {
                let requests = workload::batches(&format!("b{repetition}-{connections}"), scale, BATCH);
                let measured = cpu
                    .during(load::send(&server, connections, &requests), scale.batched_events)
                    .await;
                cases.add(&batch_case(connections), measured);
                let rows = raw.take_new_events().await;
                assert_eq!(rows.len(), scale.batched_events, "what is compared was stored");
                for raw_connections in raw.useful_connections() {
                    let measured = cpu
                        .during(raw.insert_in_thousands(&rows, *raw_connections), scale.batched_events)
                        .await;
                    cases.add(&raw_batch_case(connections, *raw_connections), measured);
                }
            }
        }
        if scale.single_events > 0 {
            let requests = workload::singles(&format!("s{repetition}"), scale);
            let measured = cpu
                .during(load::send(&server, SINGLE_CONNECTIONS, &requests), scale.single_events)
                .await;
            cases.add(&single_case(), measured);
            let rows = raw.take_new_events().await;
            assert_eq!(rows.len(), scale.single_events, "what is compared was stored");
            let measured = cpu
                .during(raw.insert_one_by_one(&rows, SINGLE_CONNECTIONS), scale.single_events)
                .await;
            cases.add(&raw_single_case(), measured);
        }
    }
    report.memory(database, idle, server.memory_mb());
    if scale.batched_events > 0 {
        for connections in BATCH_CONNECTIONS {
            let raws = raw
                .useful_connections()
                .iter()
                .map(|n| cases.get(&raw_batch_case(connections, *n)));
            let raws: Vec<&Case> = raws.collect();
            report.ratio(Ratio::against_best(
                database,
                cases.get(&batch_case(connections)),
                &raws,
                0.25,
                0.40,
            ));
        }
    }
    if scale.single_events > 0 {
        let raws = [cases.get(&raw_single_case())];
        report.ratio(Ratio::against_best(database, cases.get(&single_case()), &raws, 2.0, 3.0));
    }
    report.cases(database, cases.0);
}

fn batch_case(connections: usize) -> String {
    format!("batches of {BATCH}, {connections} connections")
}

fn raw_batch_case(beside: usize, connections: usize) -> String {
    format!("raw, 1000 rows for each commit, {connections} connections (beside {beside})")
}

fn single_case() -> String {
    format!("single events, {SINGLE_CONNECTIONS} connections")
}

fn raw_single_case() -> String {
    format!("raw, 1 row for each commit, {SINGLE_CONNECTIONS} connections or the one writer")
}

/// Cases in the order of their first run.
#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    fn add(&mut self, name: &str, measure: Measure) {
        eprintln!("{name}: {measure}");
        match self.0.iter_mut().find(|case| case.name == name) {
            Some(case) => case.runs.push(measure),
            None => self.0.push(Case {
                name: name.to_owned(),
                runs: vec![measure],
            }),
        }
    }

    fn get(&self, name: &str) -> &Case {
        self.0.iter().find(|case| case.name == name).unwrap()
    }
}
