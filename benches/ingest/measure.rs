//! A timed run, medians of several, and the facts of the machine they hold for.

use serde_json::{Value, json};
use std::fmt;

/// One timed run.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    pub per_second: f64,
    /// From a request, or a raw commit, to its answer.
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Processor microseconds for each event, by who spent them.
    pub server_us: f64,
    pub database_us: f64,
    pub load_us: f64,
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} events/s, p50 {:.1} ms, p99 {:.1} ms; us of processor for each event: server {:.1}, database {:.1}, load {:.1}",
            self.per_second, self.p50_ms, self.p99_ms, self.server_us, self.database_us, self.load_us
        )
    }
}

/// What the figures hold for.
pub fn machine(versions: &[(&'static str, String)]) -> Value {
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    let value = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim().to_owned())
    };
    json!({
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "processor": value(&read("/proc/cpuinfo"), "model name"),
        "memory": value(&read("/proc/meminfo"), "MemTotal"),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "rust": crate::packages::run(std::process::Command::new("rustc").arg("--version")).unwrap_or_default().trim(),
        "tributary": env!("CARGO_PKG_VERSION"),
        "databases": versions.iter().map(|(name, version)| ((*name).to_owned(), json!(version))).collect::<serde_json::Map<_, _>>()
    })
}

/// # Panics
/// Of nothing.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

pub fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
