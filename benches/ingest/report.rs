//! The figures of a run: medians and ratios against the raw rate.

use crate::Scale;
use crate::measure::{Measure, hundredths, machine, median};
use serde_json::{Value, json};
use std::path::Path;

/// Repeated runs of one kind.
pub struct Case {
    pub name: String,
    pub runs: Vec<Measure>,
}

/// How a case compares, repetition by repetition, with the better of the raw cases beside it.
pub struct Ratio {
    database: &'static str,
    name: String,
    runs: Vec<f64>,
    target: f64,
    aim: f64,
}

pub struct Report {
    scale: Scale,
    versions: Vec<(&'static str, String)>,
    cases: Vec<(&'static str, Case)>,
    ratios: Vec<Ratio>,
    memory: Vec<(&'static str, f64, f64)>,
}

const IDLE_MEMORY_MB: f64 = 64.0;

impl Case {
    fn median(&self) -> Measure {
        let of = |field: fn(&Measure) -> f64| median(self.runs.iter().map(field));
        Measure {
            per_second: of(|run| run.per_second),
            p50_ms: of(|run| run.p50_ms),
            p99_ms: of(|run| run.p99_ms),
            server_us: of(|run| run.server_us),
            database_us: of(|run| run.database_us),
            load_us: of(|run| run.load_us),
        }
    }
}

impl Ratio {
    pub fn against_best(database: &'static str, case: &Case, raws: &[&Case], target: f64, aim: f64) -> Self {
        let best = |i: usize| raws.iter().map(|raw| raw.runs[i].per_second).fold(0.0, f64::max);
        let runs = case
            .runs
            .iter()
            .enumerate()
            .map(|(i, run)| run.per_second / best(i))
            .collect();
        Self {
            database,
            name: case.name.clone(),
            runs,
            target,
            aim,
        }
    }

    fn median(&self) -> f64 {
        median(self.runs.iter().copied())
    }
}

impl Report {
    pub fn new(scale: Scale) -> Self {
        Self {
            scale,
            versions: Vec::new(),
            cases: Vec::new(),
            ratios: Vec::new(),
            memory: Vec::new(),
        }
    }

    pub fn describe_database(&mut self, database: &'static str, version: String) {
        self.versions.push((database, version));
    }

    pub fn cases(&mut self, database: &'static str, cases: Vec<Case>) {
        self.cases.extend(cases.into_iter().map(|case| (database, case)));
    }

    pub fn ratio(&mut self, ratio: Ratio) {
        self.ratios.push(ratio);
    }

    pub fn memory(&mut self, database: &'static str, idle_mb: f64, loaded_mb: f64) {
        self.memory.push((database, idle_mb, loaded_mb));
    }

    pub fn print(&self) {
        println!();
        for (database, case) in &self.cases {
            println!("{database:<9} {:<66} {}", case.name, case.median());
        }
        for ratio in &self.ratios {
            println!(
                "{:<9} {:<34} {:.2} of the raw rate (target {}, aim {})",
                ratio.database,
                ratio.name,
                ratio.median(),
                ratio.target,
                ratio.aim
            );
        }
        for (database, idle, loaded) in &self.memory {
            println!("{database:<9} memory: idle {idle:.0} MB, after the load {loaded:.0} MB (target {IDLE_MEMORY_MB} MB idle)");
        }
    }

    pub fn write(&self, file: &Path) {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, format!("{:#}\n", self.to_json())).unwrap();
        println!("written to benches/results/ingest.json");
    }

    fn to_json(&self) -> Value {
        let figures = |run: &Measure| {
            json!({
                "eventsPerSecond": run.per_second.round(), "p50Ms": tenths(run.p50_ms), "p99Ms": tenths(run.p99_ms),
                "cpuMicrosPerEvent": {
                    "server": tenths(run.server_us), "database": tenths(run.database_us), "load": tenths(run.load_us)
                }
            })
        };
        let cases = self.cases.iter().map(|(database, case)| {
            json!({
                "database": database, "case": case.name, "median": figures(&case.median()),
                "eventsPerSecond": case.runs.iter().map(|run| run.per_second.round()).collect::<Vec<_>>()
            })
        });
        let ratios = self.ratios.iter().map(|ratio| {
            json!({
                "database": ratio.database, "case": ratio.name, "ofRawRate": hundredths(ratio.median()),
                "runs": ratio.runs.iter().copied().map(hundredths).collect::<Vec<_>>(),
                "target": ratio.target, "aim": ratio.aim, "met": ratio.median() >= ratio.target
            })
        });
        let memory = self.memory.iter().map(|(database, idle, loaded)| {
            json!({
                "database": database, "idleMb": tenths(*idle), "afterLoadMb": tenths(*loaded), "target": IDLE_MEMORY_MB,
                "met": *idle < IDLE_MEMORY_MB
            })
        });
        json!({
            "machine": machine(&self.versions),
            "scale": {
                "repetitions": self.scale.repetitions, "batchedEvents": self.scale.batched_events,
                "singleEvents": self.scale.single_events, "records": self.scale.records
            },
            "ratios": ratios.collect::<Vec<_>>(),
            "memory": memory.collect::<Vec<_>>(),
            "cases": cases.collect::<Vec<_>>()
        })
    }
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
