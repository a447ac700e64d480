//! `tributary export`: customers, records or events as NDJSON or CSV.
//!
//! Promises: one view of the database, whatever is written meanwhile; memory does not grow with it; cells that a spreadsheet would take
//! for a formula are prefixed with an apostrophe, which an import takes away again.

use super::server::{cannot_open, pending_migrations};
use super::settings::Settings;
use crate::base::{CustomerId, EventId, Ids, Instant, RecordId, SourceId};
use crate::customer::EventKey;
use crate::customer::store::whole;
use crate::graphql::NodeId;
use crate::identity::RecordTraits;
use crate::identity::store::{self as identity_store, history};
use crate::ingest;
use crate::ingest::file::guarded;
use crate::store::{self, DatabaseOptions, SWEEP_ROWS, StoreError};
use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use sea_orm::DatabaseTransaction;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "Examples:
  tributary export customers --format csv --out customers.csv
  tributary export records > records.ndjson
  tributary export events | gzip > events.ndjson.gz

CSV is safe to open in a spreadsheet: cells that it would take for a formula begin with an apostrophe, which `tributary import`
takes away again. Everything is personal data, unmasked: keep it accordingly.";

#[derive(Debug, Args)]
pub(super) struct Export {
    /// What is written.
    what: What,
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    format: Format,
    /// By default standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Golden values.
    Customers,
    /// What each source says of a person.
    Records,
    /// Everything people did.
    Events,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Ndjson,
    Csv,
}

pub(super) async fn run(settings: &Settings, export: Export) -> anyhow::Result<()> {
    let options = DatabaseOptions {
        create: false,
        ..settings.database_options()
    };
    if store::is_missing_file(&options.url) {
        bail!("there is no database at {}", store::place_of(&options.url));
    }
    let store = store::open(&options, Ids::system())
        .await
        .with_context(|| cannot_open(&options))?;
    let pending = pending_migrations(&store).await?;
    if !pending.is_empty() {
        bail!(
            "the schema is {} migrations behind: run `tributary migrate` first",
            pending.len()
        );
    }
    let view = store.snapshot().await?;
    let sink: Box<dyn Write + Send> = match &export.out {
        Some(path) => Box::new(private_file(path)?),
        None => Box::new(std::io::stdout()),
    };
    let names = match (export.format, export.what) {
        (Format::Csv, What::Customers | What::Records) => trait_names(&view).await?,
        _ => Vec::new(),
    };
    let mut writer = Rows {
        sink: BufWriter::with_capacity(64 * 1024, sink),
        is_csv: export.format == Format::Csv,
        names,
    };
    let count = match export.what {
        What::Customers => customers(&view, &mut writer).await?,
        What::Records => records(&view, &mut writer).await?,
        What::Events => events(&view, &mut writer).await?,
    };
    writer.sink.flush()?;
    view.rollback().await?;
    store.close().await;
    complain!("{count} {}", format!("{:?}", export.what).to_lowercase());
    Ok(())
}

/// Readable by its owner only.
fn private_file(path: &PathBuf) -> anyhow::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file.with_context(|| path.display().to_string())
}

/// Rows on their way out.
struct Rows {
    sink: BufWriter<Box<dyn Write + Send>>,
    is_csv: bool,
    /// Traits that have columns.
    names: Vec<String>,
}

impl Rows {
    fn head(&mut self, columns: &[&str]) -> std::io::Result<()> {
        if !self.is_csv {
            return Ok(());
        }
        let fixed = columns.iter().map(|column| (*column).to_owned());
        let traits = self.names.iter().map(|name| format!("trait.{name}"));
        let head: Vec<Value> = fixed.chain(traits).map(Value::String).collect();
        self.cells(&head)
    }

    /// `fixed`: the columns of the head, under the names they have in JSON.
    fn row(&mut self, fixed: &[(&str, Value)], traits: Option<Map<String, Value>>) -> std::io::Result<()> {
        if self.is_csv {
            let mut cells: Vec<Value> = fixed.iter().map(|(_, value)| value.clone()).collect();
            let traits = traits.unwrap_or_default();
            cells.extend(self.names.iter().map(|name| traits.get(name).cloned().unwrap_or_default()));
            return self.cells(&cells);
        }
        let mut object: Map<String, Value> = fixed
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        if let Some(traits) = traits {
            object.insert("traits".to_owned(), Value::Object(traits));
        }
        serde_json::to_writer(&mut self.sink, &object)?;
        self.sink.write_all(b"\n")
    }

    fn cells(&mut self, cells: &[Value]) -> std::io::Result<()> {
        for (n, cell) in cells.iter().enumerate() {
            if n > 0 {
                self.sink.write_all(b",")?;
            }
            let text = match cell {
                Value::Null => continue,
                Value::String(text) => guarded(text).into_owned(),
                number @ (Value::Number(_) | Value::Bool(_)) => number.to_string(),
                other => guarded(&other.to_string()).into_owned(),
            };
            if text.contains(['"', ',', '\n', '\r']) || text.starts_with(' ') || text.ends_with(' ') {
                write!(self.sink, "\"{}\"", text.replace('"', "\"\""))?;
            } else {
                self.sink.write_all(text.as_bytes())?;
            }
        }
        self.sink.write_all(b"\r\n")
    }
}

async fn trait_names(view: &DatabaseTransaction) -> Result<Vec<String>, StoreError> {
    let mut names: Vec<String> = ingest::store::all_traits(view)
        .await?
        .into_iter()
        .map(|known| known.name)
        .collect();
    names.sort();
    Ok(names)
}

fn instant(micros: i64) -> Value {
    Instant::from_micros(micros).to_string().into()
}

async fn customers(view: &DatabaseTransaction, rows: &mut Rows) -> anyhow::Result<u64> {
    rows.head(&["customer", "created_at"])?;
    let (mut last, mut count) = (None, 0);
    loop {
        let page = whole::customers_after(view, last.as_ref()).await?;
        for customer in &page {
            let id = NodeId::Customer(CustomerId(customer.id)).to_id();
            let golden = customer.golden.as_object().cloned().unwrap_or_default();
            rows.row(
                &[
                    ("customer", id.to_string().into()),
                    ("created_at", instant(customer.created_at)),
                ],
                Some(golden),
            )?;
        }
        count += page.len() as u64;
        if page.len() < SWEEP_ROWS {
            return Ok(count);
        }
        last = page.into_iter().next_back();
    }
}

async fn source_keys(view: &DatabaseTransaction) -> Result<HashMap<SourceId, String>, StoreError> {
    let sources = ingest::store::all_sources(view).await?;
    Ok(sources.into_iter().map(|source| (SourceId(source.id), source.key)).collect())
}

async fn records(view: &DatabaseTransaction, rows: &mut Rows) -> anyhow::Result<u64> {
    rows.head(&["source", "key", "customer", "first_seen"])?;
    let sources = source_keys(view).await?;
    let (mut last, mut count) = (None, 0);
    loop {
        let page = history::record_keys_after(view, last).await?;
        let ids: Vec<RecordId> = page.iter().map(|key| RecordId(key.id)).collect();
        let mut stored = identity_store::records(view, &ids).await?;
        stored.sort_by_key(|record| record.id);
        for record in &stored {
            let traits: &RecordTraits = &record.traits;
            rows.row(
                &[
                    ("source", sources.get(&record.source).cloned().into()),
                    ("key", record.external_key.clone().into()),
                    ("customer", NodeId::Customer(record.customer).to_id().to_string().into()),
                    ("first_seen", instant(record.arrival)),
                ],
                Some(traits.values()),
            )?;
        }
        count += stored.len() as u64;
        if page.len() < SWEEP_ROWS {
            return Ok(count);
        }
        last = ids.last().copied();
    }
}

async fn events(view: &DatabaseTransaction, rows: &mut Rows) -> anyhow::Result<u64> {
    rows.head(&[
        "id",
        "source",
        "key",
        "message_id",
        "kind",
        "event",
        "timestamp",
        "received_at",
        "properties",
        "context",
    ])?;
    let sources = source_keys(view).await?;
    let (mut last, mut count) = (None, 0);
    loop {
        let page = whole::events_after(view, last.as_ref()).await?;
        let mut ids: Vec<RecordId> = page.iter().map(|event| RecordId(event.record_id)).collect();
        ids.dedup();
        let records = identity_store::records(view, &ids).await?;
        let records: HashMap<RecordId, _> = records.into_iter().map(|record| (record.id, record)).collect();
        for event in &page {
            let record = records.get(&RecordId(event.record_id));
            let key = EventKey {
                record: RecordId(event.record_id),
                id: EventId(event.id),
            };
            rows.row(
                &[
                    ("id", NodeId::Event(key).to_id().to_string().into()),
                    (
                        "source",
                        record.and_then(|record| sources.get(&record.source)).cloned().into(),
                    ),
                    ("key", record.map(|record| record.external_key.clone()).into()),
                    ("message_id", event.message_id.clone().into()),
                    ("kind", format!("{:?}", event.kind).to_lowercase().into()),
                    ("event", event.name.clone().into()),
                    ("timestamp", instant(event.occurred_at)),
                    ("received_at", instant(event.received_at)),
                    ("properties", event.properties.clone()),
                    ("context", event.context.clone()),
                ],
                None,
            )?;
        }
        count += page.len() as u64;
        if page.len() < SWEEP_ROWS {
            return Ok(count);
        }
        last = page.into_iter().next_back();
    }
}
