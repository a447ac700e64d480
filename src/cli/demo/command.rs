//! `tributary demo`: the company into the configured database, or into files.

use super::company::{Company, FEWEST, Plan};
use super::life::Detail;
use super::load::{self, Counts, Loaded, Wish};
use super::{files, tour};
use crate::base::{Clock, Ids, Instant, Stopwatch};
use crate::cli::commands::Signals;
use crate::cli::server::open_store;
use crate::cli::settings::Settings;
use crate::identity::RulesDirectory;
use crate::pipeline::{Services, queue, refresh};
use clap::Args;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

pub(in crate::cli) const EXAMPLES: &str = "Examples:
  tributary demo                                            300 people into ./tributary.db
  tributary demo --people 5000 --seed 7 --database-url postgres://tributary@db/demo
  tributary demo --people 200000 --lean --out company       files for `tributary import`, and for load tests
  tributary demo --people 200 --until 2026-06-01 --out x    the same files on every machine, on every day";

#[derive(Debug, Args)]
pub struct Demo {
    /// How many people; at least 50, of whom 22 are there to be questioned.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(FEWEST..=9_000_000))]
    people: u64,
    /// Another seed is another company.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Who people are and what they buy, without visits and opened mail: about ten messages for each instead of forty.
    #[arg(long)]
    lean: bool,
    /// The last instant of which anything is told: 2026-06-01 or 2026-06-01T12:00:00Z. By default now.
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    until: Option<Instant>,
    /// Load into a database that has other data: invented people will stand among real ones.
    #[arg(long)]
    force: bool,
    /// Write files into this folder instead, and open no database.
    #[arg(long, value_name = "FOLDER", conflicts_with = "force")]
    out: Option<PathBuf>,
}

fn instant(text: &str) -> Result<Instant, String> {
    Instant::parse(text).ok_or_else(|| "use a day such as 2026-06-01 or a time such as 2026-06-01T12:00:00Z".to_owned())
}

impl Demo {
    /// Whether it writes files, and needs no database.
    pub fn writes_files(&self) -> bool {
        self.out.is_some()
    }

    fn plan(&self, now: Instant) -> Plan {
        Plan {
            people: self.people,
            seed: self.seed,
            until: self.until.unwrap_or(now),
            detail: if self.lean { Detail::Lean } else { Detail::Full },
        }
    }
}

pub(in crate::cli) async fn run(settings: &Settings, demo: &Demo) -> anyhow::Result<()> {
    let plan = demo.plan(Clock::System.now());
    if let Some(folder) = &demo.out {
        let written = files::write(Company::new(plan), folder)?;
        for file in written {
            say!("{:>10} lines  {}", file.lines, file.path.display());
        }
        return Ok(());
    }
    let wish = Wish {
        plan,
        beside_other_data: demo.force,
        any: false,
    };
    let mut signals = Signals::install()?;
    let store = open_store(settings, Ids::system()).await?;
    let parallel = if store.is_postgres() { settings.ingest.committers } else { 1 };
    let rules = RulesDirectory::new(settings.identity_rules()?)?;
    let services = Services::open(store, Clock::System, rules, None)
        .await?
        .valuing(settings.value_rules()?);
    services.rules.refresh(&services.store).await?;
    refresh::follow_rules(&services).await?;
    let (intake, committers) = queue::start(services.clone(), parallel, 1_000_000);
    let watch = Stopwatch::start();
    let loaded = tokio::select! {
        // One step more than commits, so that the next is ready when one ends.
        loaded = load::load(&services, &intake, wish, parallel + 1, progress(watch)) => Some(loaded),
        () = signals.first() => None,
    };
    intake.close();
    committers.finished().await;
    if std::io::stderr().is_terminal() {
        complain!("");
    }
    // Counts of the catalogue, which a server saves from time to time.
    services.catalogue.flush(&services.store).await?;
    let told = match loaded {
        Some(Ok(loaded)) => told(&services, loaded, watch).await,
        Some(Err(error)) => Err(error),
        None => Err(anyhow::anyhow!("interrupted: the same command goes on where it was")),
    };
    services.store.close().await;
    told
}

async fn told(services: &Services, loaded: Loaded, watch: Stopwatch) -> anyhow::Result<()> {
    say!("{}", summary(services, &loaded, watch).await?);
    say!("{}", tour::queries());
    say!("{}", tour::questions(&loaded.company, services.store.hash_key()));
    Ok(())
}

/// What is there now, in one paragraph.
pub(in crate::cli) async fn summary(services: &Services, loaded: &Loaded, watch: Stopwatch) -> anyhow::Result<String> {
    let people = loaded.company.plan().people;
    let customers = load::customers(services, u64::MAX >> 1).await?;
    let Some(Counts {
        messages,
        stored,
        repeated,
        held,
    }) = loaded.counts
    else {
        return Ok(format!(
            "The demo company is there already: {people} people, {customers} customers."
        ));
    };
    Ok(format!(
        "{messages} messages of {people} people in {:.1} s: {stored} stored, {repeated} repetitions, {held} on hold. They are {customers} customers.",
        watch.seconds()
    ))
}

/// A line that is written over on a terminal, and nothing elsewhere.
pub(in crate::cli) fn progress(watch: Stopwatch) -> impl FnMut(Counts) {
    let shows = std::io::stderr().is_terminal();
    move |counts| {
        if shows {
            let mut terminal = std::io::stderr();
            // A terminal that is gone is no reason to stop.
            let _ = write!(terminal, "\r{} messages in {:.0} s", counts.messages, watch.seconds());
            let _ = terminal.flush();
        }
    }
}
