//! `tributary import`: files of people, events, orders, rates and spend.
//!
//! Promises: memory does not grow with the file; a bad row is listed in the file of errors and the rest goes on; the same file again
//! changes nothing; it may run beside a server on the same database. Reads on a thread of its own, so that the next rows are ready when
//! a commit ends.

mod columns;
mod feed;
mod report;

use self::feed::Feeder;
use self::report::{Counts, ErrorFile, Progress};
use super::server::open_store;
use super::settings::Settings;
use crate::base::{Clock, Ids, Stopwatch};
use crate::graphql::is_node_id;
use crate::identity::RulesDirectory;
use crate::ingest::file::{Encoding, FileKind, FileReader, Mapping, Opening};
use crate::ingest::store::source_by_key;
use crate::ingest::{Arrival, Limits};
use crate::pipeline::import::{Sender, TriedOut};
use crate::pipeline::{Services, queue, refresh};
use anyhow::{Context as _, bail};
use clap::Args;
use entity::source;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

pub(super) const EXAMPLES: &str = "Examples:
  tributary import people.csv --source crm --dry-run              what would be stored, what refused; writes nothing
  tributary import people.csv --source crm --print-mapping > crm.toml   what the columns are taken for: save it, edit it
  tributary import people.csv --source crm --map crm.toml
  tributary import orders-2024.csv.gz orders-2025.csv.gz --source shop --kind orders
  tributary import events.ndjson --source app                     messages of the tracking API, one on each line
  tributary import rates.csv --source bank --kind rates           exchange rates of days
  tributary import spend.csv --source ads --kind spend            what was spent, by day, channel and campaign

A mapping file names columns, for example:
  kind = \"people\"
  key = \"Customer no\"                  # the source's own key of the person
  timezone = \"Europe/Berlin\"           # of times without a zone
  dates = \"DMY\"                        # auto, YMD, DMY, MDY, epoch_seconds, epoch_millis or %d.%m.%Y
  null = [\"NULL\", \"-\"]
  [[identifier]]
  column = \"Mail\"
  kind = \"EMAIL\"
  [[trait]]
  column = \"Born\"
  name = \"birthday\"
  type = \"date\"                        # text, number, bool, date, datetime, json
  [[consent]]
  column = \"Newsletter\"
  purpose = \"MARKETING\"
and [event] with name or name_column, at, [[event.property]]; [purchase] with order_id, at, amount, currency or
currency_column, kind or kind_column, sku, product_name, category, quantity, price; [rate]; [spend].

Refused rows go to FILE.errors.ndjson with line, code, column and reason. The same file again changes nothing, also with
lines added anywhere. Exit status: 0 all rows were stored or known, 3 rows were refused, 1 the import could not go on.";

/// Rows that were refused, for an exit status of their own.
#[derive(Debug, thiserror::Error)]
#[error("{0} rows were refused: see the file of errors")]
pub struct RowsRefused(pub u64);

#[derive(Debug, Args)]
pub(super) struct Import {
    /// Files of CSV or NDJSON, packed with gzip or not; they are taken one after another. - is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The key of the source whose data it is: see `tributary source list`.
    #[arg(long, value_name = "KEY")]
    source: String,
    /// What the rows are: people, events, orders, messages (of the tracking API), rates, spend. By default found out.
    #[arg(long, value_parser = kind)]
    kind: Option<FileKind>,
    /// What the columns mean. By default known by their names.
    #[arg(long, value_name = "TOML")]
    map: Option<PathBuf>,
    /// Print what the columns of the first file are taken for, as a mapping file, and store nothing.
    #[arg(long)]
    print_mapping: bool,
    /// Say what would be stored and what refused, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// utf-8, gb18030, windows-1252 … By default found out.
    #[arg(long, value_parser = encoding)]
    encoding: Option<Encoding>,
    /// What separates cells: a character, or `tab`. By default found out.
    #[arg(long, value_parser = delimiter)]
    delimiter: Option<u8>,
    /// Where refused rows are listed. By default beside each file: FILE.errors.ndjson.
    #[arg(long, value_name = "FILE")]
    errors: Option<PathBuf>,
    /// Rows of one commit. By default 5000 on SQLite, where a larger commit writes fewer pages for each row, and 1000 on PostgreSQL.
    /// Other writers wait for a commit under way.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    batch: Option<u64>,
    /// Commits beside each other; on SQLite always one.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=8))]
    lanes: u64,
}

fn kind(text: &str) -> Result<FileKind, String> {
    FileKind::named(text).ok_or_else(|| "use people, events, orders, messages, rates or spend".to_owned())
}

fn encoding(text: &str) -> Result<Encoding, String> {
    Encoding::named(text).ok_or_else(|| "use a name such as utf-8, gb18030 or windows-1252".to_owned())
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() && *byte != b'"' => Ok(*byte),
        _ => Err("use one character such as ; or the word tab".to_owned()),
    }
}

/// What all files of a call share.
struct Shop<'a> {
    import: &'a Import,
    settings: &'a Settings,
    services: Services,
    source: source::Model,
    /// In a dry run, what files before would have stored.
    tried_out: Option<TriedOut>,
}

/// # Errors
/// `RowsRefused` when rows were refused and everything else went well.
pub(super) async fn run(settings: &Settings, import: Import) -> anyhow::Result<()> {
    let mapping = import.map.as_deref().map(read_mapping).transpose()?;
    if import.print_mapping {
        return print_mapping(&import, mapping);
    }
    // Before a database is opened or made: one file mistyped among many would otherwise be found hours later.
    for file in &import.files {
        if file.as_os_str() != "-" {
            // Not by opening it: whoever writes into a pipe would be left without a reader.
            std::fs::metadata(file)
                .context("cannot be opened")
                .with_context(|| file.display().to_string())?;
        }
    }
    let store = open_store(settings, Ids::system()).await?;
    let found = source_by_key(store.reader(), &import.source).await?;
    let Some(source) = found else {
        bail!(
            "there is no source {:?}: `tributary source list` shows them, `tributary source add` makes one",
            import.source
        );
    };
    if !source.enabled {
        bail!("the source {:?} is disabled", import.source);
    }
    let rules = RulesDirectory::new(settings.identity_rules()?)?;
    let services = Services::open(store, Clock::System, rules, None)
        .await?
        .valuing(settings.value_rules()?);
    // Published rules stand before those of the settings.
    services.rules.refresh(&services.store).await?;
    if !import.dry_run {
        refresh::follow_rules(&services).await?;
    }
    let shop = Shop {
        import: &import,
        settings,
        services: services.clone(),
        source,
        tried_out: import.dry_run.then(TriedOut::default),
    };
    let mut total = Counts::default();
    for file in &import.files {
        total.add(
            &shop
                .file(file, mapping.clone())
                .await
                .with_context(|| file.display().to_string())?,
        );
    }
    services.catalogue.flush(&services.store).await?;
    services.store.close().await;
    if import.files.len() > 1 {
        say!("all files: {total}");
    }
    match total.refused {
        0 => Ok(()),
        refused => Err(RowsRefused(refused).into()),
    }
}

fn read_mapping(path: &Path) -> anyhow::Result<Mapping> {
    let text = std::fs::read_to_string(path).with_context(|| format!("the mapping file {} cannot be read", path.display()))?;
    Mapping::parse(&text).with_context(|| path.display().to_string())
}

fn stream_of(path: &Path) -> anyhow::Result<(Box<dyn std::io::Read + Send>, Option<u64>)> {
    if path.as_os_str() == "-" {
        return Ok((Box::new(std::io::stdin()), None));
    }
    let file = File::open(path).context("cannot be opened")?;
    let size = file.metadata().ok().map(|metadata| metadata.len());
    Ok((Box::new(file), size))
}

fn opening(import: &Import, mapping: Option<Mapping>) -> Opening {
    Opening {
        kind: import.kind,
        mapping: mapping.map(|mapping| Mapping {
            kind: import.kind.unwrap_or(mapping.kind),
            ..mapping
        }),
        format: None,
        encoding: import.encoding,
        delimiter: import.delimiter,
    }
}

fn print_mapping(import: &Import, mapping: Option<Mapping>) -> anyhow::Result<()> {
    let Some(file) = import.files.first() else { return Ok(()) };
    let (stream, _) = stream_of(file).with_context(|| file.display().to_string())?;
    let reader = FileReader::open(stream, opening(import, mapping), &import.source)?;
    say!("{}", columns::as_file(&reader).trim_end());
    Ok(())
}

impl Shop<'_> {
    async fn file(&self, path: &Path, mapping: Option<Mapping>) -> anyhow::Result<Counts> {
        let (stream, size) = stream_of(path)?;
        let bytes = Arc::new(AtomicU64::new(0));
        let stream = feed::Counted::new(stream, bytes.clone());
        let is_guessed = mapping.is_none();
        let reader = FileReader::open(stream, opening(self.import, mapping), &self.source.key)?;
        let progress = Progress::start(path, size, bytes, self.import.dry_run);
        progress.told(&columns::summary(&reader, is_guessed));
        let errors = ErrorFile::new(self.errors_path(path));
        let watch = Stopwatch::start();
        let is_postgres = self.services.store.is_postgres();
        let feeder = Feeder {
            services: &self.services,
            sender: Sender {
                source: crate::base::SourceId(self.source.id),
                source_key: self.source.key.clone(),
                reviews_aliases: self.source.review_aliases,
            },
            limits: self.limits(),
            protected_traits: self.settings.ingest.protected_traits.clone().into(),
            tried_out: self.tried_out.clone(),
            batch: usize::try_from(self.import.batch.unwrap_or(if is_postgres { 1_000 } else { 5_000 }))?,
            lanes: if is_postgres { usize::try_from(self.import.lanes)? } else { 1 },
            progress: &progress,
        };
        let counts = if reader.mapping.is_about_people() {
            let (intake, committers) = queue::start(
                self.services.clone(),
                feeder.lanes,
                self.settings.ingest.queue_events.max(100_000),
            );
            let fed = feeder.people(reader, &intake, errors).await;
            intake.close();
            committers.finished().await;
            fed?
        } else {
            feeder.tables(reader, errors).await?
        };
        progress.finish(&counts, watch.seconds());
        Ok(counts)
    }

    fn limits(&self) -> Limits {
        Limits {
            event_bytes: self.settings.ingest.max_event_bytes,
            events: self.settings.ingest.max_batch_events,
        }
        .of_source(&self.source)
    }

    fn errors_path(&self, path: &Path) -> PathBuf {
        self.import.errors.clone().unwrap_or_else(|| {
            let name = if path.as_os_str() == "-" {
                "stdin".as_ref()
            } else {
                path.as_os_str()
            };
            let mut name = name.to_owned();
            name.push(".errors.ndjson");
            PathBuf::from(name)
        })
    }
}

/// What surrounds the rows that are read.
fn arrival<'a>(services: &Services, sender: &Sender, protected_traits: &'a [String]) -> Arrival<'a> {
    Arrival {
        source: sender.source,
        received_at: services.now(),
        protected_traits,
        is_internal_id: is_node_id,
        address: None,
    }
}
