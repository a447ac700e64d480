//! `tributary doctor`: is this installation sound? Looks, and changes nothing.

use super::server::{cannot_open, pending_migrations};
use super::settings::Settings;
use crate::access;
use crate::base::Ids;
use crate::base::paging::Page;
use crate::identity::store::decisions;
use crate::ingest;
use crate::store::{self, DatabaseOptions};
use anyhow::{Context as _, bail};

/// # Errors
/// When there are problems, after each was printed.
pub(super) async fn run(settings: &Settings) -> anyhow::Result<()> {
    // Unsound ones were refused with the other settings.
    let rules = format!("identity rules: {}", settings.identity.origin());
    let options = DatabaseOptions {
        create: false,
        ..settings.database_options()
    };
    if store::is_missing_file(&options.url) {
        // Looking must not make one: a mistyped path would go unnoticed.
        say!(
            "ok      there is no database at {} yet: `serve` makes it",
            store::place_of(&options.url)
        );
        say!("ok      {rules}");
        return Ok(());
    }
    let store = store::open(&options, Ids::system())
        .await
        .with_context(|| cannot_open(&options))?;
    let mut problems = 0;
    let mut report = |good: bool, line: String| {
        problems += usize::from(!good);
        say!("{} {line}", if good { "ok     " } else { "PROBLEM" });
    };
    report(true, format!("database answers ({:?})", store.backend()));
    report(true, rules);
    for finding in store::check(&store).await? {
        let remedy = finding.remedy.map(|remedy| format!(": {remedy}")).unwrap_or_default();
        report(
            finding.remedy.is_none(),
            format!("{} = {}{remedy}", finding.what, finding.value),
        );
    }
    match pending_migrations(&store).await {
        Ok(pending) if pending.is_empty() => report(true, "schema is up to date".to_owned()),
        Ok(pending) if settings.migrates_itself() => {
            report(true, format!("schema: `serve` will apply {} migrations", pending.len()));
        }
        Ok(pending) => report(
            false,
            format!("schema is {} migrations behind: run `tributary migrate`", pending.len()),
        ),
        Err(error) => report(false, error.to_string()),
    }
    if store.is_installed() {
        if let Some(published) = decisions::standing_rules(store.reader()).await? {
            let line = format!(
                "identity rules: version {} is published and stands instead",
                published.version
            );
            report(true, line);
        }
        let sources = ingest::store::sources(store.reader(), &Page { first: 1, after: None }).await?;
        let hint = if sources.rows.is_empty() {
            "no source yet: `tributary source add` makes one"
        } else {
            "sources are set up"
        };
        report(true, hint.to_owned());
        let keys = access::keys(store.reader(), &Page { first: 1, after: None }).await?;
        let has_key = !keys.rows.is_empty() || !settings.auth.admin_key.is_empty();
        let hint = if has_key {
            "a key is set up"
        } else {
            "no key yet: `tributary key create --scope admin` makes one"
        };
        report(true, hint.to_owned());
    }
    store.close().await;
    if problems > 0 {
        bail!("{problems} problems found");
    }
    Ok(())
}
