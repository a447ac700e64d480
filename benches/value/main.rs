//! How fast lifetime values are, held against the Python package lifetimes 0.11.3 over the same customers, in turn, on the same machine.
//!
//! `cargo bench --bench value` measures a million customers and writes `benches/results/value.json`. After `--`, `--quick` takes a tenth
//! of the customers once, and writes nothing. `TRIBUTARY_LIFETIMES_PYTHON` names a Python that has the package; without it the package is
//! installed from PyPI into a folder under `target`, once, which needs Python 3 with venv. Where neither is to be had, the run says so, and
//! measures and judges our side alone.
//!
//! Promises: fits start from the histories of single customers, so sorting and counting them is part of the time; what is read and
//! imported is not, for either side; both sides must find the same parameters.
#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

#[path = "../../tests/it/support/packages.rs"]
#[expect(dead_code, reason = "only `run` is needed")]
mod packages;
mod simulate;

use serde_json::{Value, json};
use simulate::Customer;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use tributary::value::{Family, History, Scorer, Spend, Terms, fit_buying, fit_spending};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LIFETIMES: &str = "lifetimes==0.11.3";
const PYTHON: &str = "TRIBUTARY_LIFETIMES_PYTHON";
/// The BG/NBD fit is to be so many times faster than in lifetimes.
const FASTER: f64 = 50.0;
const SPENDING_SECONDS: f64 = 0.5;
const SCORING_SECONDS: f64 = 1.0;
/// 39 weeks of purchases; a value over twelve months at one per cent a month.
const TERMS: Terms = Terms {
    horizon: 39.0,
    periods: 12,
    period: 4.345,
    discount: 0.01,
    margin: 1.0,
};

/// One repetition of ours, in seconds.
struct Ours {
    buying: f64,
    spending: f64,
    scoring: f64,
    /// The same, with every customer of another age, so that nothing can be shared between them.
    scoring_apart: f64,
    parameters: [f64; 4],
    expected_total: f64,
}

fn main() {
    let is_quick = std::env::args().any(|argument| argument == "--quick");
    let (count, repetitions) = if is_quick { (100_000, 1) } else { (1_000_000, 3) };
    let python = python();
    let customers = simulate::customers(count);
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("value-{}.csv", std::process::id()));
    write(&file, &customers);
    let mut runs = Vec::new();
    for _ in 0..repetitions {
        let ours = measure(&customers);
        let Some(python) = &python else {
            println!(
                "fit of BG/NBD {:.3} s; Gamma-Gamma {:.3} s (target {SPENDING_SECONDS}); scores {:.3} s (target {SCORING_SECONDS}), with every age \
                 another {:.3} s; nothing to hold it against",
                ours.buying, ours.spending, ours.scoring, ours.scoring_apart
            );
            continue;
        };
        let theirs = lifetimes(python, &file);
        println!(
            "fit of BG/NBD {:.3} s, lifetimes {:.1} s; Gamma-Gamma {:.3} s, {:.1} s; scores {:.3} s, with every age another {:.3} s",
            ours.buying, theirs["buying_seconds"], ours.spending, theirs["spending_seconds"], ours.scoring, ours.scoring_apart
        );
        compare(&ours, &theirs);
        runs.push((ours, theirs));
    }
    std::fs::remove_file(file).unwrap();
    if runs.is_empty() {
        return;
    }
    let results = results(count, &runs);
    println!("{:#}", results["targets"]);
    if !is_quick {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results/value.json");
        std::fs::write(file, format!("{results:#}\n")).unwrap();
        println!("written to benches/results/value.json");
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed().as_secs_f64())
}

fn measure(customers: &[Customer]) -> Ours {
    let (histories, spends) = (simulate::histories(customers), simulate::spends(customers));
    let own: Vec<Option<Spend>> = customers
        .iter()
        .map(|one| Spend::new(one.repeats, one.monetary).ok())
        .collect();
    let (buying, buying_seconds) = timed(|| fit_buying(Family::BgNbd, &histories).unwrap());
    let (spending, spending_seconds) = timed(|| fit_spending(&spends).unwrap());
    assert!(buying.fit.converged && spending.fit.converged);
    let score = |histories: &[History]| {
        let mut scorer = Scorer::new(Ok(&buying), Ok(&spending), TERMS);
        let mut total = 0.0;
        for (history, spend) in histories.iter().zip(&own) {
            let score = scorer.score(history, spend.as_ref());
            assert!(score.p_alive.is_ok() && score.clv.is_ok());
            total += score.expected_purchases.unwrap();
        }
        total
    };
    let (expected_total, scoring) = timed(|| score(&histories));
    let (_, scoring_apart) = timed(|| score(&apart(&histories)));
    Ours {
        buying: buying_seconds,
        spending: spending_seconds,
        scoring,
        scoring_apart,
        parameters: buying.model.parameters(),
        expected_total,
    }
}

/// The same histories, each ending a little later than the one before.
fn apart(histories: &[History]) -> Vec<History> {
    let later = |(i, history): (usize, &History)| {
        History::new(history.repeats(), history.recency(), history.age() + i as f64 * 1e-7).unwrap()
    };
    histories.iter().enumerate().map(later).collect()
}

fn write(file: &Path, customers: &[Customer]) {
    let mut text = String::new();
    for (history, customer) in simulate::histories(customers).iter().zip(customers) {
        writeln!(
            text,
            "{},{},{},{}",
            history.repeats(),
            history.recency(),
            history.age(),
            customer.monetary
        )
        .unwrap();
    }
    std::fs::write(file, text).unwrap();
}

/// A Python that has the package; none where it cannot be had.
fn python() -> Option<PathBuf> {
    let has_package = |python: &Path| packages::run(Command::new(python).args(["-c", "import lifetimes"]));
    if let Some(named) = std::env::var_os(PYTHON) {
        let named = PathBuf::from(named);
        return match has_package(&named) {
            Ok(_) => Some(named),
            Err(problem) => {
                println!("{PYTHON}: {} has no {LIFETIMES}: {problem}", named.display());
                None
            }
        };
    }
    let installed = installed();
    if let Err(problem) = &installed {
        println!("{LIFETIMES} is not to be had: {problem}; name a Python that has it in {PYTHON}");
    }
    installed.ok()
}

fn installed() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lifetimes");
    let python = folder.join("bin/python");
    if packages::run(Command::new(&python).args(["-c", "import lifetimes"])).is_err() {
        packages::run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        packages::run(Command::new(&python).args(["-m", "pip", "install", "--quiet", LIFETIMES]))?;
    }
    Ok(python)
}

fn lifetimes(python: &Path, file: &Path) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/value/compare.py");
    let printed = packages::run(Command::new(python).arg(script).arg(file)).unwrap();
    serde_json::from_str(&printed).unwrap()
}

/// Speed counts for nothing unless both find the same.
fn compare(ours: &Ours, theirs: &Value) {
    for (i, own) in ours.parameters.iter().enumerate() {
        let other = theirs["buying"][i].as_f64().unwrap();
        assert!(
            (own / other - 1.0).abs() < 5e-3,
            "parameter {i}: {own} here, {other} in lifetimes"
        );
    }
    let total = theirs["expected_total"].as_f64().unwrap();
    assert!(
        (ours.expected_total / total - 1.0).abs() < 5e-3,
        "{} here, {total} in lifetimes",
        ours.expected_total
    );
}

fn results(count: usize, runs: &[(Ours, Value)]) -> Value {
    let ours = |of: fn(&Ours) -> f64| runs.iter().map(|(ours, _)| of(ours)).collect::<Vec<_>>();
    let theirs = |of: &str| {
        runs.iter()
            .map(|(_, theirs)| theirs[of].as_f64().unwrap())
            .collect::<Vec<_>>()
    };
    let (fit, lifetimes_fit) = (ours(|run| run.buying), theirs("buying_seconds"));
    let faster: Vec<f64> = fit.iter().zip(&lifetimes_fit).map(|(own, other)| other / own).collect();
    let (spending, scoring) = (ours(|run| run.spending), ours(|run| run.scoring));
    let target = |measured: f64, target: f64, met: bool| json!({"measured": thousandths(measured), "target": target, "met": met});
    json!({
        "customers": count,
        "machine": {
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "rust": packages::run(Command::new("rustc").arg("--version")).unwrap_or_default().trim(),
            "tributary": env!("CARGO_PKG_VERSION"),
            "python": runs[0].1["versions"],
        },
        "targets": {
            "bgNbdFitTimesFaster": target(median(&faster), FASTER, median(&faster) >= FASTER),
            "gammaGammaFitSeconds": target(median(&spending), SPENDING_SECONDS, median(&spending) < SPENDING_SECONDS),
            "scoringSeconds": target(median(&scoring), SCORING_SECONDS, median(&scoring) < SCORING_SECONDS),
        },
        "seconds": {
            "bgNbdFit": rounded(&fit), "gammaGammaFit": rounded(&spending), "scoring": rounded(&scoring),
            "scoringEveryAgeAnother": rounded(&ours(|run| run.scoring_apart)),
        },
        "lifetimesSeconds": {
            "bgNbdFit": rounded(&lifetimes_fit), "gammaGammaFit": rounded(&theirs("spending_seconds")),
            "aliveAndExpected": rounded(&theirs("alive_and_expected_seconds")),
        },
    })
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn rounded(values: &[f64]) -> Vec<f64> {
    values.iter().copied().map(thousandths).collect()
}

fn thousandths(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
