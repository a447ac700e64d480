//! What customers are worth, out of a file, without a server or a database: `tributary value score`.
//!
//! Promises: every line that can be read is scored; the others are listed on standard error, and the exit status says so. What cannot be
//! known is an empty field, with the reason in the report.

mod read;
mod report;
#[cfg(test)]
mod tests;

use crate::value::{
    Customer, Family, FittedBuying, FittedSpending, History, Score, Scorer, Spend, Terms, Unfit, Unit, Window, fit_all,
    fit_buying, fit_spending, ledger, likeliest,
};
use anyhow::{Context as _, bail};
use chrono::NaiveDate;
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use read::BadLine;
use report::{Backtest, Report};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub enum ValueCommand {
    /// Fit models to a file of purchases and score its customers.
    #[command(after_help = "Examples:
  tributary value score --transactions orders.csv --out scores.csv --report report.json
  tributary value score --transactions orders.csv --calibration-end 2025-12-31 --horizon 12m --out scores.csv --report report.json
  tributary value score --summary customers.csv --model mbg-nbd --unit day --explain --out scores.csv --report report.json

Files are CSV with a first line that names the columns; other columns may stand between them.
  transactions  customer_id, date, value                     a negative value is a refund
  summary       customer_id, x, t_x_days, T_days, monetary   repeat purchase days, days from the first to the last
                                                             and to the end, mean value of the repeat days
  scores        customer_id, p_alive, expected_purchases, expected_spend, clv")]
    Score(ScoreArgs),
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("input").required(true).args(["transactions", "summary"])))]
pub struct ScoreArgs {
    /// Single purchases. Those of a customer on one day count once.
    #[arg(long, value_name = "FILE")]
    transactions: Option<PathBuf>,
    /// One line for each customer.
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
    /// Which model of buying to fit; of all, the likelier one scores.
    #[arg(long, value_enum, default_value_t = Model::All)]
    model: Model,
    /// The unit of time of parameters and of a horizon without a unit.
    #[arg(long, value_enum, default_value_t = UnitName::Week)]
    unit: UnitName,
    /// The first day that is looked at. Who bought before is scored, and left out of the fit.
    #[arg(long, value_name = "DATE", value_parser = day, conflicts_with = "summary")]
    from: Option<NaiveDate>,
    /// The last day that is fitted to, by default the last in the file. Later purchases test the predictions.
    #[arg(long, value_name = "DATE", value_parser = day, conflicts_with = "summary")]
    calibration_end: Option<NaiveDate>,
    /// How far ahead purchases are expected: 39 (in the unit), 39w, 273d or 9m; by default as far as the value.
    #[arg(long, value_name = "TIME", value_parser = Span::parse)]
    horizon: Option<Span>,
    /// The value is the sum over so many months of 4.345 weeks, each paid at its end.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=1200))]
    months: u32,
    /// What waiting for a month costs: 0.01 is one per cent.
    #[arg(long, default_value_t = 0.01, value_parser = not_negative)]
    discount: f64,
    /// The part of spend that is earned.
    #[arg(long, default_value_t = 1.0, value_parser = not_negative)]
    margin: f64,
    /// Add columns: the 90 % interval of the expected purchases, and why a field is empty.
    #[arg(long)]
    explain: bool,
    /// Where the scores go.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Where parameters, errors, warnings and the back-test go, as JSON.
    #[arg(long, value_name = "FILE")]
    report: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Model {
    BgNbd,
    MbgNbd,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum UnitName {
    Week,
    Day,
}

/// A length of time as it was written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Span {
    Units(f64),
    Days(f64),
}

/// Weeks in a month, as the reference values of the models have it.
const WEEKS_A_MONTH: f64 = 4.345;
const DAYS_A_WEEK: f64 = 7.0;

/// What a file holds.
#[derive(Debug, Default)]
struct Input {
    names: Vec<String>,
    customers: Vec<Customer>,
    bad: Vec<BadLine>,
    warnings: Vec<String>,
    calibration_end: Option<NaiveDate>,
    /// Days after the calibration for which purchases are known.
    held_out_days: Option<f64>,
}

/// The models fitted to a file.
struct Models {
    buying: Vec<(Family, Result<FittedBuying, Unfit>)>,
    spending: Result<FittedSpending, Unfit>,
}

impl UnitName {
    fn unit(self) -> Unit {
        match self {
            Self::Week => Unit::Week,
            Self::Day => Unit::Day,
        }
    }
}

impl Span {
    fn parse(text: &str) -> Result<Self, String> {
        let number = text.trim_end_matches(['d', 'w', 'm']);
        let length = number.parse().ok().filter(|length: &f64| length.is_finite() && *length > 0.0);
        let length = length.ok_or("use a time such as 39, 39w, 273d or 9m")?;
        match &text[number.len()..] {
            "" => Ok(Self::Units(length)),
            "d" => Ok(Self::Days(length)),
            "w" => Ok(Self::Days(length * DAYS_A_WEEK)),
            "m" => Ok(Self::Days(length * WEEKS_A_MONTH * DAYS_A_WEEK)),
            _ => Err("use one unit: d, w or m".to_owned()),
        }
    }

    fn units(self, unit: Unit) -> f64 {
        match self {
            Self::Units(length) => length,
            Self::Days(days) => days / unit.days(),
        }
    }
}

fn day(text: &str) -> Result<NaiveDate, String> {
    read::day(text).ok_or_else(|| "use a day such as 2024-02-29".to_owned())
}

fn not_negative(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "use a number of zero or more".to_owned())
}

/// Runs a command to its end.
pub fn run(command: &ValueCommand) -> anyhow::Result<()> {
    let ValueCommand::Score(args) = command;
    let unit = args.unit.unit();
    let input = args.read(unit)?;
    for bad in &input.bad {
        complain!("{}: {bad}", args.file().display());
    }
    let models = args.fit(&input.customers);
    let chosen = models.chosen();
    let terms = args.terms(unit);
    let mut scorer = Scorer::new(chosen, models.spending.as_ref().map_err(|unfit| *unfit), terms);
    let scores: Vec<Score> = input
        .customers
        .iter()
        .map(|one| scorer.score(&one.history, one.spend.as_ref()))
        .collect();
    write_scores(&args.out, &input, &scores, args.explain.then_some(&scorer))?;
    let report = Report {
        unit: args.unit,
        input: &input,
        models: &models,
        terms,
        scores: &scores,
        backtest: input
            .held_out_days
            .and_then(|days| Backtest::of(&models, &input.customers, days, unit)),
    };
    let text = format!("{:#}\n", report.to_json());
    std::fs::write(&args.report, text).with_context(|| format!("writing {}", args.report.display()))?;
    let by = chosen.map_or("no model, see the report".to_owned(), |fitted| {
        fitted.model.family.key().to_owned()
    });
    say!(
        "{} customers scored by {by}: {}; report: {}",
        scores.len(),
        args.out.display(),
        args.report.display()
    );
    if !input.bad.is_empty() {
        bail!(
            "{} lines of {} could not be read; the others are scored",
            input.bad.len(),
            args.file().display()
        );
    }
    Ok(())
}

impl ScoreArgs {
    fn file(&self) -> &Path {
        let file = self.transactions.as_deref().or(self.summary.as_deref());
        file.expect("clap asks for one of the two")
    }

    fn terms(&self, unit: Unit) -> Terms {
        let month = WEEKS_A_MONTH * DAYS_A_WEEK / unit.days();
        Terms {
            horizon: self.horizon.map_or(month * f64::from(self.months), |span| span.units(unit)),
            periods: self.months,
            period: month,
            discount: self.discount,
            margin: self.margin,
        }
    }

    fn read(&self, unit: Unit) -> anyhow::Result<Input> {
        match &self.transactions {
            Some(file) => self.read_transactions(file, unit),
            None => read_summaries(self.file(), unit),
        }
    }

    fn read_transactions(&self, file: &Path, unit: Unit) -> anyhow::Result<Input> {
        let read = read::transactions(file)?;
        let mut input = Input {
            bad: read.bad,
            ..Input::default()
        };
        let last = read.purchases.iter().map(|purchase| purchase.day).max();
        let Some(calibration_end) = self.calibration_end.or(last) else {
            return Ok(input);
        };
        let held_out = last.map_or(0, |last| (last - calibration_end).num_days());
        input.calibration_end = Some(calibration_end);
        input.held_out_days = (held_out > 0).then_some(held_out as f64);
        let window = Window {
            from: self.from,
            calibration_end,
        };
        let ledger = ledger(read.purchases, read.customers.len(), window, unit);
        let count = read.customers.len();
        for (name, customer) in read.customers.into_iter().zip(ledger.customers) {
            if let Some(customer) = customer {
                input.names.push(name);
                input.customers.push(customer);
            }
        }
        let began_before = input.customers.iter().filter(|customer| customer.began_before).count();
        let mut warn = |count: usize, what: &str| {
            if count > 0 {
                input.warnings.push(format!("{count} {what}"));
            }
        };
        warn(
            count - input.customers.len(),
            "customers have no purchase between the first day and the end of the calibration",
        );
        warn(
            began_before,
            "customers bought before the first day: they are scored as if they began in it, and not fitted to",
        );
        warn(
            ledger.refund_days,
            "days of customers hold refunds only: they are no purchases, and lower no other day's value",
        );
        Ok(input)
    }

    fn fit(&self, customers: &[Customer]) -> Models {
        let beginners = || customers.iter().filter(|customer| !customer.began_before);
        let histories: Vec<History> = beginners().map(|customer| customer.history).collect();
        let spends: Vec<Spend> = beginners().filter_map(|customer| customer.spend).collect();
        let buying = match self.model {
            Model::BgNbd => vec![(Family::BgNbd, fit_buying(Family::BgNbd, &histories))],
            Model::MbgNbd => vec![(Family::MbgNbd, fit_buying(Family::MbgNbd, &histories))],
            Model::All => match fit_all(&histories) {
                Ok(fits) => fits.into_iter().map(|fitted| (fitted.model.family, Ok(fitted))).collect(),
                Err(unfit) => Family::ALL.map(|family| (family, Err(unfit))).into(),
            },
        };
        Models {
            buying,
            spending: fit_spending(&spends),
        }
    }
}

fn read_summaries(file: &Path, unit: Unit) -> anyhow::Result<Input> {
    let (summaries, bad) = read::summaries(file, unit)?;
    let mut input = Input { bad, ..Input::default() };
    for summary in summaries {
        input.names.push(summary.customer);
        input.customers.push(Customer {
            history: summary.history,
            spend: summary.spend,
            later: 0,
            began_before: false,
        });
    }
    Ok(input)
}

impl Models {
    /// The likeliest that converged, else one that did not, else why there is none.
    fn chosen(&self) -> Result<&FittedBuying, Unfit> {
        let fits: Vec<&FittedBuying> = self.buying.iter().filter_map(|(_, fit)| fit.as_ref().ok()).collect();
        if let Some(best) = likeliest(fits.iter().copied()) {
            return Ok(best);
        }
        match self.buying.first() {
            Some((_, fit)) => fit.as_ref().map_err(|unfit| *unfit),
            None => Err(Unfit::NoCustomer),
        }
    }
}

fn write_scores(file: &Path, input: &Input, scores: &[Score], explained: Option<&Scorer>) -> anyhow::Result<()> {
    let context = || format!("writing {}", file.display());
    let created = std::fs::File::create(file).with_context(context)?;
    let mut writer = csv::Writer::from_writer(BufWriter::new(created));
    let mut header = vec!["customer_id", "p_alive", "expected_purchases", "expected_spend", "clv"];
    if explained.is_some() {
        header.extend(["expected_purchases_low", "expected_purchases_high", "reason"]);
    }
    writer.write_record(&header).with_context(context)?;
    let text = |number: f64| number.to_string();
    for ((name, customer), score) in input.names.iter().zip(&input.customers).zip(scores) {
        let numbers = score.columns();
        let mut row = vec![name.clone()];
        row.extend(numbers.iter().map(|(_, number)| number.map_or(String::new(), text)));
        if let Some(scorer) = explained {
            let interval = scorer.interval(&customer.history).ok();
            row.push(interval.map_or(String::new(), |(low, _)| text(low)));
            row.push(interval.map_or(String::new(), |(_, high)| text(high)));
            let mut reasons: Vec<String> = numbers
                .iter()
                .filter_map(|(_, number)| Some(number.err()?.to_string()))
                .collect();
            reasons.dedup();
            row.push(reasons.join("; "));
        }
        writer.write_record(&row).with_context(context)?;
    }
    writer.flush().with_context(context)
}
