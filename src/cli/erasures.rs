//! `tributary erasures`: the ledger of who was erased, written out and carried out again; and files without what was deleted.

use super::server::{open_as_it_is, open_store};
use super::settings::Settings;
use crate::access::Actor;
use crate::base::{Clock, Ids};
use crate::identity::RulesDirectory;
use crate::identity::store::ledger;
use crate::job::{Runner, with};
use crate::pipeline::Services;
use crate::pipeline::erase::tables::TABLES;
use crate::pipeline::erase::{self, Entry, Head, Line, Replayed, line};
use crate::store;
use anyhow::{Context as _, bail};
use clap::Subcommand;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// Where PostgreSQL keeps the most common values of columns.
const STATISTICS: &str = "pg_catalog.pg_statistic";
/// Between two lines about how far it is.
const TOLD_EVERY: usize = 100;

#[derive(Debug, Subcommand)]
pub(super) enum ErasuresCommand {
    /// Write the ledger to standard output: who was erased, as keyed hashes, when and why.
    #[command(after_help = "Example:
  tributary erasures export > erasures-2026-11-22.ndjson

It holds nothing personal. Keep the newest beside your backups: a backup that is older brings people back who were erased since.")]
    Export,
    /// Erase everybody in a ledger again, after an older backup was restored. Before the server starts.
    #[command(after_help = "Example:
  tributary erasures replay erasures-2026-11-22.ndjson --database-url postgres://tributary@db/tributary

The whole file is read before anything is done; one of another installation is refused. Running it again changes nothing. See
docs/backup.md.")]
    Replay {
        /// What `erasures export` wrote.
        file: PathBuf,
    },
    /// Write every table anew, so that the files hold nothing that was deleted. At a quiet hour: each table is closed meanwhile.
    #[command(after_help = "Example:
  tributary erasures vacuum --database-url postgres://tributary@db/tributary

An erasure on SQLite does this by itself. On PostgreSQL this runs VACUUM FULL, which needs room for a copy of the largest table.")]
    Vacuum,
}

pub(super) async fn run(settings: &Settings, command: &ErasuresCommand) -> anyhow::Result<()> {
    match command {
        ErasuresCommand::Export => export(settings).await,
        ErasuresCommand::Replay { file } => replay(settings, file).await,
        ErasuresCommand::Vacuum => vacuum(settings).await,
    }
}

async fn export(settings: &Settings) -> anyhow::Result<()> {
    let store = open_as_it_is(settings, Ids::system()).await?;
    let view = store.snapshot().await?;
    let mut out = BufWriter::new(std::io::stdout());
    writeln!(out, "{}", line(&Line::Head(Head::new(store.hash_key(), Clock::System.now()))))?;
    let (mut count, mut after) = (0, None);
    loop {
        let page = ledger::erasures_after(&view, after).await?;
        after = page.last().map(|listed| listed.id);
        if after.is_none() {
            break;
        }
        let mut suppressed = ledger::suppressed_by(&view, page.iter().map(|listed| listed.id)).await?;
        for listed in &page {
            let entry = Entry::of(listed, suppressed.remove(&listed.id).unwrap_or_default());
            writeln!(out, "{}", line(&Line::Entry(Box::new(entry))))?;
            count += 1;
        }
    }
    writeln!(out, "{}", line(&Line::Tail(count)))?;
    out.flush()?;
    view.rollback().await?;
    store.close().await;
    complain!("{count} erasures");
    Ok(())
}

async fn replay(settings: &Settings, file: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let options = settings.database_options();
    if store::is_missing_file(&options.url) {
        bail!(
            "there is no database at {}: restore the backup first",
            store::place_of(&options.url)
        );
    }
    let store = open_store(settings, Ids::system()).await?;
    let entries = erase::read(store.hash_key(), &text).with_context(|| file.display().to_string())?;
    let rules = RulesDirectory::new(settings.identity_rules()?)?;
    let services = Services::open(store, Clock::System, rules, None)
        .await?
        .valuing(settings.value_rules()?);
    // Published rules stand before those of the settings.
    services.rules.refresh(&services.store).await?;
    let known = ledger::known(services.store.reader(), entries.iter().map(|entry| entry.erasure)).await?;
    let last = entries.iter().rposition(|entry| !known.contains(&entry.erasure));
    let (mut again, mut before) = (0, 0);
    let (mut customers, mut records, mut lifted) = (0, 0, 0);
    for (n, entry) in entries.iter().enumerate() {
        let replayed = erase::replay(&services, &Actor::cli(), entry, Some(n) == last)
            .await
            .with_context(|| format!("the erasure {}; those before it were carried out, and stay so", entry.erasure))?;
        match replayed {
            Replayed::Before { lifted: of_entry } => {
                before += 1;
                lifted += of_entry;
            }
            Replayed::Again {
                customers: of_entry,
                records: their_records,
            } => {
                again += 1;
                customers += of_entry;
                records += their_records;
            }
        }
        if (n + 1).is_multiple_of(TOLD_EVERY) {
            complain!("{} of {} erasures are written down", n + 1, entries.len());
        }
    }
    complain!(
        "{} erasures in the ledger; taking what is left out of every table",
        entries.len()
    );
    let runner = Runner::new(services.store.clone(), services.clock.clone(), services.jobs.clone())
        .on(erase::JOB_KIND, with(&services, erase::carry_through));
    let mut done = 0;
    while runner.run_once(services.now()).await {
        done += 1;
        if done % TOLD_EVERY == 0 {
            complain!("{done} of {again} erasures are through");
        }
    }
    let left = ledger::unfinished(services.store.reader()).await?;
    services.store.close().await;
    say!(
        "{} erasures in the ledger: {before} were known here, {again} carried out again ({customers} customers, {records} records); \
         {lifted} suppressions lifted as they were since",
        entries.len()
    );
    if left > 0 {
        bail!(
            "{left} erasures are not through: nobody reads these people any more, and a server finishes them in the background (job(id:) \
             says what is in the way)"
        );
    }
    Ok(())
}

async fn vacuum(settings: &Settings) -> anyhow::Result<()> {
    let store = open_as_it_is(settings, Ids::system()).await?;
    let is_whole = if store.is_postgres() {
        for table in TABLES.iter().map(|table| table.name).chain([STATISTICS]) {
            store.write_anew(table).await.with_context(|| table.to_owned())?;
            complain!("{table}");
        }
        true
    } else {
        store.compact(&[]).await?
    };
    store.close().await;
    if !is_whole {
        bail!("somebody reads the database, and what was deleted is still in its files: try again");
    }
    say!("the files hold nothing that was deleted (PostgreSQL's write-ahead log is its own to recycle)");
    Ok(())
}
