//! The company as files, for imports and load tests: written line by line, in constant memory.

use super::books::{channel_name, midnight};
use super::catalogue::decimal;
use super::company::Company;
use super::tell::{SYSTEMS, Told, system_of};
use crate::base::Instant;
use anyhow::Context as _;
use entity::Channel;
use serde_json::Value;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub path: PathBuf,
    /// Without the first one of a CSV, which names the columns.
    pub lines: u64,
}

/// One table on its way into a file.
struct Table {
    path: PathBuf,
    rows: csv::Writer<File>,
    lines: u64,
}

impl Table {
    fn create(folder: &Path, name: &str, columns: &[&str]) -> anyhow::Result<Self> {
        let path = folder.join(name);
        let mut rows = csv::Writer::from_path(&path).with_context(|| format!("writing {}", path.display()))?;
        rows.write_record(columns)?;
        Ok(Self { path, rows, lines: 0 })
    }

    fn row(&mut self, cells: &[&str]) -> anyhow::Result<()> {
        self.lines += 1;
        Ok(self.rows.write_record(cells)?)
    }

    fn end(mut self) -> anyhow::Result<Written> {
        self.rows.flush()?;
        Ok(Written {
            path: self.path,
            lines: self.lines,
        })
    }
}

/// The messages of one system, as its library would send them, one a line.
struct Messages {
    path: PathBuf,
    file: BufWriter<File>,
    lines: u64,
}

/// Writes `messages-SOURCE.ndjson` for each system (messages of the tracking API), `customers.csv` (what the books know), `orders.csv`,
/// `spend.csv` (marketing by month and channel), `rates.csv` (what a euro was worth) and `truth.csv` (who each message is really about: for measuring, never for import).
pub fn write(company: Company, folder: &Path) -> anyhow::Result<Vec<Written>> {
    std::fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
    let mut messages = Vec::with_capacity(SYSTEMS.len());
    for system in SYSTEMS {
        let path = folder.join(format!("messages-{}.ndjson", system.key.trim_start_matches("demo-")));
        let file = File::create(&path).with_context(|| format!("writing {}", path.display()))?;
        messages.push(Messages {
            path,
            file: BufWriter::new(file),
            lines: 0,
        });
    }
    let mut orders = Table::create(
        folder,
        "orders.csv",
        &[
            "order_id",
            "customer_id",
            "loyalty_id",
            "date",
            "value",
            "currency",
            "channel",
        ],
    )?;
    let mut truth = Table::create(folder, "truth.csv", &["source", "message_id", "person"])?;
    for told in company.households().flatten() {
        if let Some(own) = SYSTEMS.iter().position(|system| system.channel == told.channel) {
            writeln!(messages[own].file, "{}", told.message)?;
            messages[own].lines += 1;
        }
        let source = system_of(told.channel).key;
        truth.row(&[source, text(&told.message["messageId"]), &told.person.to_string()])?;
        if told.message["event"] == "Order Completed" && told.channel != Channel::Crm {
            order(&mut orders, &told)?;
        }
    }
    let mut written = Vec::new();
    for mut system in messages {
        system.file.flush()?;
        written.push(Written {
            path: system.path,
            lines: system.lines,
        });
    }
    written.extend([
        customers(company, folder)?,
        orders.end()?,
        spend(company, folder)?,
        rates(company, folder)?,
        truth.end()?,
    ]);
    Ok(written)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn order(orders: &mut Table, told: &Told) -> anyhow::Result<()> {
    let properties = &told.message["properties"];
    let card = &told.message["context"]["externalIds"][0]["id"];
    orders.row(&[
        text(&properties["order_id"]),
        text(&told.message["userId"]),
        text(card),
        &Instant::from_micros(told.at * 1_000_000).to_string(),
        text(&properties["revenue"]),
        text(&properties["currency"]),
        channel_name(told.channel),
    ])
}

fn customers(company: Company, folder: &Path) -> anyhow::Result<Written> {
    let columns = [
        "customer_id",
        "loyalty_id",
        "first_name",
        "last_name",
        "email",
        "phone",
        "birthday",
        "country",
    ];
    let mut customers = Table::create(folder, "customers.csv", &columns)?;
    for person in company.people().filter(|person| person.knows.account()) {
        let card = if person.knows.card { person.card() } else { String::new() };
        customers.row(&[
            &person.customer_number(),
            &card,
            person.first,
            person.last,
            &person.email,
            &person.phone,
            &person.birthday,
            person.country.code(),
        ])?;
    }
    customers.end()
}

fn spend(company: Company, folder: &Path) -> anyhow::Result<Written> {
    let mut spend = Table::create(folder, "spend.csv", &["date", "until", "channel", "amount", "currency"])?;
    for row in company.spend() {
        spend.row(&[
            &day(row.first),
            &day(row.last),
            channel_name(row.channel),
            &decimal(row.amount_minor),
            "EUR",
        ])?;
    }
    spend.end()
}

fn rates(company: Company, folder: &Path) -> anyhow::Result<Written> {
    let mut rates = Table::create(folder, "rates.csv", &["date", "from", "to", "rate"])?;
    for row in company.rates() {
        rates.row(&[&day(row.day), "EUR", row.to, &row.rate.to_string()])?;
    }
    rates.end()
}

/// `2026-06-01`.
fn day(day: i64) -> String {
    midnight(day).to_string().chars().take(10).collect()
}
