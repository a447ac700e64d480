//! `tributary rebuild --check`: everything derived, folded again and compared.

use super::server::open_as_it_is;
use super::settings::Settings;
use crate::base::{Clock, Ids};
use crate::identity::Rules;
use crate::pipeline::rebuild::{self, Listener};
use crate::store::Difference;
use anyhow::{Context as _, bail};
use std::sync::Arc;

/// Differences go to standard output, a line each; progress to standard error.
struct Lines;

impl Listener for Lines {
    fn difference(&mut self, difference: Difference) {
        say!("{difference}");
    }

    fn progress(&mut self, what: &'static str, done: usize) {
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "{what}: {done}");
    }
}

/// # Errors
/// When something differs, after every difference was printed.
pub async fn run(settings: &Settings, check: bool) -> anyhow::Result<()> {
    if !check {
        bail!("rebuild only compares for now, and writes nothing: run `tributary rebuild --check`");
    }
    let rules = Rules::parse(&settings.identity_rules()?).context("the configured rules")?;
    let value = Arc::new(settings.value_rules()?);
    let store = open_as_it_is(settings, Ids::system()).await?;
    let clock = Clock::System;
    let started = clock.now();
    let counts = rebuild::check(&store, Arc::new(rules), (value, started), &mut Lines).await?;
    let millis = (clock.now().micros() - started.micros()) / 1_000;
    store.close().await;
    let summary = format!(
        "{} records, {} customers and {} events in {}.{:03} s",
        counts.records,
        counts.customers,
        counts.events,
        millis / 1_000,
        millis % 1_000
    );
    if counts.differences > 0 {
        bail!("{} differences: {summary}", counts.differences);
    }
    say!("everything derived is as the history makes it: {summary}");
    Ok(())
}
