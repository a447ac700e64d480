//! Reads files of customers. A line that cannot be read is told with its number and its column, and costs only itself: an open quote,
//! too, after which reading goes on in the next line.

use crate::base::Instant;
use crate::value::{History, Purchase, Spend, Unit};
use anyhow::{Context as _, bail};
use chrono::{DateTime, NaiveDate};
use csv::{ByteRecord, Position, ReaderBuilder};
use rust_decimal::Decimal;
use std::collections::HashMap;
use std::fmt;
use std::io::Cursor;
use std::path::Path;

/// A line that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// From 1, the header.
    pub line: u64,
    pub what: String,
}

/// The single purchases of a file.
#[derive(Debug, Default)]
pub struct Transactions {
    /// In the order in which they appear.
    pub customers: Vec<String>,
    pub purchases: Vec<Purchase>,
    pub bad: Vec<BadLine>,
}

/// One customer of a file of summaries.
#[derive(Debug)]
pub struct Summary {
    pub customer: String,
    pub history: History,
    pub spend: Option<Spend>,
}

/// What is wrong with a field, and in which of the wanted columns it stands.
struct Fault {
    column: usize,
    what: String,
}

/// Amounts beyond this are mistakes, and their sums would not be exact.
const LARGEST_AMOUNT: i64 = 1_000_000_000_000_000;
/// Quoted in messages up to this length.
const QUOTED: usize = 40;

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, {}", self.line, self.what)
    }
}

/// Columns `customer_id`, `date` and `value`.
pub fn transactions(file: &Path) -> anyhow::Result<Transactions> {
    let mut read = Transactions::default();
    let mut places = HashMap::new();
    let bad = lines(file, ["customer_id", "date", "value"], |[customer, date, value], _| {
        if customer.is_empty() {
            return Err(fault(0, "is empty"));
        }
        let day = day(date).ok_or_else(|| fault(1, format!("{} is no day such as 2024-02-29", quoted(date))))?;
        let value = amount(value).ok_or_else(|| fault(2, format!("{} is no amount such as 19.99", quoted(value))))?;
        let customer = *places.entry(customer.to_owned()).or_insert_with_key(|name| {
            read.customers.push(name.clone());
            read.customers.len() - 1
        });
        read.purchases.push(Purchase { customer, day, value });
        Ok(())
    })?;
    read.bad = bad;
    Ok(read)
}

/// Columns `customer_id`, `x`, `t_x_days`, `T_days` and `monetary`.
pub fn summaries(file: &Path, unit: Unit) -> anyhow::Result<(Vec<Summary>, Vec<BadLine>)> {
    let mut read = Vec::new();
    let mut seen = HashMap::new();
    let columns = ["customer_id", "x", "t_x_days", "T_days", "monetary"];
    let bad = lines(file, columns, |[customer, repeats, recency, age, monetary], line| {
        if customer.is_empty() {
            return Err(fault(0, "is empty"));
        }
        let days = |column, text: &str| {
            let days = text.parse().ok().filter(|days: &f64| days.is_finite() && *days >= 0.0);
            days.ok_or_else(|| fault(column, format!("{} is no number of days", quoted(text))))
        };
        let repeats = repeats
            .parse()
            .map_err(|_| fault(1, format!("{} is no number of repeat days", quoted(repeats))))?;
        let (recency, age) = (days(2, recency)?, days(3, age)?);
        let history =
            History::new(repeats, recency / unit.days(), age / unit.days()).map_err(|error| fault(2, error.to_string()))?;
        let mean = match monetary {
            "" if repeats == 0 => 0.0,
            text => text
                .parse()
                .ok()
                .filter(|mean: &f64| mean.is_finite())
                .ok_or_else(|| fault(4, format!("{} is no number", quoted(text))))?,
        };
        if let Some(first) = seen.get(customer) {
            return Err(fault(0, format!("{} was on line {first} already", quoted(customer))));
        }
        seen.insert(customer.to_owned(), line);
        read.push(Summary {
            customer: customer.to_owned(),
            history,
            // More given back than paid: the repeat days brought nothing.
            spend: Spend::new(repeats, mean.max(0.0)).ok(),
        });
        Ok(())
    })?;
    Ok((read, bad))
}

/// A day, or a time, whose day in UTC counts.
pub fn day(text: &str) -> Option<NaiveDate> {
    DateTime::from_timestamp_micros(Instant::parse(text)?.micros()).map(|time| time.date_naive())
}

fn amount(text: &str) -> Option<Decimal> {
    let amount: Decimal = text.parse().or_else(|_| Decimal::from_scientific(text)).ok()?;
    (amount.abs() <= Decimal::from(LARGEST_AMOUNT)).then_some(amount)
}

fn fault(column: usize, what: impl Into<String>) -> Fault {
    Fault {
        column,
        what: what.into(),
    }
}

fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// Hands the wanted columns of every line to `row`, with the number of the line, and answers the lines that could not be read.
fn lines<const N: usize>(
    file: &Path,
    columns: [&str; N],
    mut row: impl FnMut([&str; N], u64) -> Result<(), Fault>,
) -> anyhow::Result<Vec<BadLine>> {
    let bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(Cursor::new(bytes.as_slice()));
    let mut record = ByteRecord::new();
    if !reader.read_byte_record(&mut record)? {
        bail!(
            "{} is empty; its first line names the columns: {}",
            file.display(),
            columns.join(",")
        );
    }
    let header: Vec<String> = record
        .iter()
        .map(|name| String::from_utf8_lossy(name).trim().to_owned())
        .collect();
    let places = places(&header, columns).with_context(|| format!("{}, line 1", file.display()))?;
    let mut bad = Vec::new();
    while reader.read_byte_record(&mut record)? {
        let span = Span::of(&record, reader.position(), &bytes, header.len());
        let whole = if span.swallows {
            Err("it runs on into the lines after it".to_owned())
        } else {
            Ok(())
        };
        let read = whole.and_then(|()| fields(&record, &header, places)).and_then(|fields| {
            row(fields, span.line).map_err(|fault| {
                let place = places[fault.column];
                format!("column {} ({}): {}", place + 1, header[place], fault.what)
            })
        });
        let Err(what) = read else { continue };
        let Some(second_line) = span.second_line else {
            bad.push(BadLine { line: span.line, what });
            continue;
        };
        // Most likely a quote was never closed and has swallowed lines that are sound: go on behind the first.
        let what = format!("a quote is opened and not closed, or what it holds is wrong: {what}");
        bad.push(BadLine { line: span.line, what });
        let mut position = Position::new();
        position.set_byte(second_line as u64).set_line(span.line + 1);
        reader.seek(position)?;
    }
    Ok(bad)
}

/// Where a record stands in the file.
struct Span {
    line: u64,
    /// Where its second line begins, if it has one.
    second_line: Option<usize>,
    /// A quote that was never closed seems to have swallowed lines: a quote is left over, or a later line has all columns by itself.
    swallows: bool,
}

impl Span {
    fn of(record: &ByteRecord, end: &Position, bytes: &[u8], columns: usize) -> Self {
        let offset = |position: &Position| usize::try_from(position.byte()).unwrap_or(usize::MAX).min(bytes.len());
        let begin = record.position().map_or(0, offset);
        let text = &bytes[begin..offset(end).max(begin)];
        // Empty lines before it are skipped, but not counted in its position; nor is the end of the line before.
        let skipped = text.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let line =
            record.position().map_or(0, Position::line) + text[..skipped].iter().filter(|byte| **byte == b'\n').count() as u64;
        let rest = text[skipped..].trim_ascii_end();
        let second_line = rest.iter().position(|byte| *byte == b'\n').map(|at| begin + skipped + at + 1);
        let count = |text: &[u8], byte: u8| text.iter().filter(|other| **other == byte).count();
        let is_complete = |line: &[u8]| columns > 1 && count(line, b',') + 1 == columns;
        let swallows =
            second_line.is_some() && (count(rest, b'"') % 2 == 1 || rest.split(|byte| *byte == b'\n').skip(1).any(is_complete));
        Self {
            line,
            second_line,
            swallows,
        }
    }
}

/// Where each wanted column stands. Names are compared without regard to case.
fn places<const N: usize>(header: &[String], columns: [&str; N]) -> anyhow::Result<[usize; N]> {
    let mut places = [0; N];
    for (place, column) in places.iter_mut().zip(columns) {
        let mut found = header
            .iter()
            .enumerate()
            .filter(|(_, name)| name.eq_ignore_ascii_case(column));
        *place = match (found.next(), found.next()) {
            (Some((at, _)), None) => at,
            (Some(_), Some(_)) => bail!("the column {column} appears twice"),
            (None, _) => bail!(
                "there is no column {column}; needed are {}, found are {}",
                columns.join(","),
                header.join(",")
            ),
        };
    }
    Ok(places)
}

fn fields<'a, const N: usize>(record: &'a ByteRecord, header: &[String], places: [usize; N]) -> Result<[&'a str; N], String> {
    if record.len() != header.len() {
        return Err(format!("it has {} columns, the first line {}", record.len(), header.len()));
    }
    let mut fields = [""; N];
    for (field, place) in fields.iter_mut().zip(places) {
        let text = std::str::from_utf8(&record[place]);
        *field = text
            .map_err(|_| format!("column {} ({}): is not UTF-8", place + 1, header[place]))?
            .trim();
    }
    Ok(fields)
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
