//! `tributary export`: customers, records or events as NDJSON or CSV.
//!
//! Promises: one view of the database, whatever is written meanwhile; memory does not grow with it; cells that a spreadsheet would take
//! for a formula are prefixed with an apostrophe, which an import takes away again.

mod rows;

use self::rows::{Person, Rows};
use super::server::open_as_it_is;
use super::settings::Settings;
use crate::base::{CustomerId, EventId, Ids, Instant, RecordId, SourceId};
use crate::customer::EventKey;
use crate::customer::store::whole;
use crate::graphql::NodeId;
use crate::identity::Identifier;
use crate::identity::store::{self as identity_store, history};
use crate::ingest;
use crate::store::{SWEEP_ROWS, StoreError};
use anyhow::Context as _;
use clap::{Args, ValueEnum};
use entity::customer;
use sea_orm::{ActiveEnum as _, DatabaseTransaction};
use serde_json::Value;
use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "Examples:
  tributary export customers --format csv --out customers.csv
  tributary export records > records.ndjson
  tributary export events | gzip > events.ndjson.gz

CSV of customers and records has a column for each kind of identifier, identifier.EMAIL or with a namespace
identifier.EXTERNAL_ID:erp; several values stand in one cell with | between them, a | or \\ within a value behind a \\. NDJSON has
them as a list: {\"kind\", \"namespace\", \"value\"}.

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
    let store = open_as_it_is(settings, Ids::system()).await?;
    let view = store.snapshot().await?;
    let sink: Box<dyn Write + Send> = match &export.out {
        Some(path) => Box::new(private_file(path)?),
        None => Box::new(std::io::stdout()),
    };
    let (traits, identifiers) = match (export.format, export.what) {
        (Format::Csv, What::Customers | What::Records) => {
            (trait_names(&view).await?, identity_store::identifier_kinds(&view).await?)
        }
        _ => Default::default(),
    };
    let mut writer = Rows {
        sink: BufWriter::with_capacity(64 * 1024, sink),
        is_csv: export.format == Format::Csv,
        traits,
        identifiers,
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
    file.with_context(|| format!("cannot write {}", path.display()))
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
        let mut identifiers = identifiers_of(view, &page).await?;
        for customer in &page {
            let id = NodeId::Customer(CustomerId(customer.id)).to_id();
            let golden = customer.golden.as_object().cloned().unwrap_or_default();
            rows.row(
                &[
                    ("customer", id.to_string().into()),
                    ("created_at", instant(customer.created_at)),
                ],
                Some(Person {
                    identifiers: identifiers.remove(&CustomerId(customer.id)).unwrap_or_default(),
                    traits: golden,
                }),
            )?;
        }
        count += page.len() as u64;
        if page.len() < SWEEP_ROWS {
            return Ok(count);
        }
        last = page.into_iter().next_back();
    }
}

/// What the records of customers have shown, each value once, in order of kind and value.
async fn identifiers_of(
    view: &DatabaseTransaction,
    customers: &[customer::Model],
) -> Result<HashMap<CustomerId, Vec<Identifier>>, StoreError> {
    let ids: Vec<CustomerId> = customers.iter().map(|customer| CustomerId(customer.id)).collect();
    let records = identity_store::records_of(view, &ids).await?;
    let record_ids: Vec<RecordId> = records.iter().map(|record| record.id).collect();
    let mut shown = identity_store::identifiers_of(view, &record_ids).await?;
    let mut found: HashMap<CustomerId, Vec<Identifier>> = HashMap::new();
    for record in &records {
        found
            .entry(record.customer)
            .or_default()
            .extend(shown.remove(&record.id).unwrap_or_default());
    }
    for identifiers in found.values_mut() {
        identifiers.sort_by(|a, b| (a.kind.to_value(), &a.namespace, &a.value).cmp(&(b.kind.to_value(), &b.namespace, &b.value)));
        identifiers.dedup_by_key(|identifier| identifier.id);
    }
    Ok(found)
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
        let mut identifiers = identity_store::identifiers_of(view, &ids).await?;
        for record in &stored {
            rows.row(
                &[
                    ("source", sources.get(&record.source).cloned().into()),
                    ("key", record.external_key.clone().into()),
                    ("customer", NodeId::Customer(record.customer).to_id().to_string().into()),
                    ("first_seen", instant(record.arrival)),
                ],
                Some(Person {
                    identifiers: identifiers.remove(&record.id).unwrap_or_default(),
                    traits: record.traits.values(),
                }),
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
