//! The second law, checked: everything derived is folded again out of the recorded history, and compared row by row with what is stored.
//!
//! Promises: reads only, in one view of the database, so it is right while others write; the scratch store is memory, as large as who is
//! who (keys of records, links, decisions), and one page of events at a time.
//! Inputs, taken as they are: sources, keys and arrivals of records, links, events, decisions of people and aliases, published rules,
//! and the skeletons of erased people, who take part up to their erasure.
//! Compared: `record` (customer, traits, siblings, whether its own id was a customer's), `identifier` (state, the customer it belongs
//! to), `customer`, decisions that happened by themselves, `decision_record.stands`, `held_item`, purchases with lines and refunds,
//! products, the names in the catalogue; `customer_value`, `activity` and what still holds of
//! `metric_change` of whoever is not due. Not compared: versions (`rev`), `placed_at`, `last_seen_at`, counts and instants of the
//! catalogue, who resolved what was on hold.

mod facts;
mod fold;
mod history;
mod metrics;
mod views;
mod who;

pub use self::fold::Folded;
use self::fold::History;
use self::views::Views;
use crate::base::Instant;
use crate::base::ids::HashKey;
use crate::customer::Survivorship;
use crate::identity::Rules;
use crate::identity::place::Neighbourhood;
use crate::identity::rules::RulesError;
use crate::store::{Difference, Store, StoreError};
use crate::value::rules::ValueRules;
use sea_orm::DatabaseTransaction;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// Why nothing could be compared.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error("rules version {0}: {1}")]
    Rules(i64, RulesError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub records: usize,
    pub customers: usize,
    pub events: usize,
    pub differences: usize,
}

/// Who listens to a check.
pub trait Listener: Send {
    fn difference(&mut self, difference: Difference);
    /// `done` of something, whose name comes along.
    fn progress(&mut self, _what: &'static str, _done: usize) {}
}

impl Listener for Vec<Difference> {
    fn difference(&mut self, difference: Difference) {
        self.push(difference);
    }
}

/// A check under way.
struct Checking<'c> {
    db: DatabaseTransaction,
    keys: &'c HashKey,
    /// How value is computed, and as of when.
    value: Arc<ValueRules>,
    now: Instant,
    listener: &'c mut dyn Listener,
    counts: Counts,
}

impl fmt::Debug for Checking<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checking")
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

impl Checking<'_> {
    fn report(&mut self, found: impl IntoIterator<Item = Difference>) {
        for difference in found {
            self.counts.differences += 1;
            self.listener.difference(difference);
        }
    }

    fn report_progress(&mut self, what: &'static str, done: usize) {
        self.listener.progress(what, done);
    }
}

/// Folds who is who and nothing else, for those who ask what other rules would change. `further`: rules that will be published on top.
pub async fn fold(
    store: &Store,
    configured: Arc<Rules>,
    further: Option<&Rules>,
    listener: &mut dyn Listener,
) -> Result<Folded, RebuildError> {
    let mut checking = Checking {
        db: store.snapshot().await?,
        keys: store.hash_key(),
        value: Arc::default(),
        now: Instant::from_micros(0),
        listener,
        counts: Counts::default(),
    };
    let mut history = History::default();
    checking.read_records(&mut history).await?;
    checking.read_values(&mut history).await?;
    let published = checking.read_rulings(&mut history).await?;
    let all = std::iter::once(configured.as_ref())
        .chain(published.iter().map(Arc::as_ref))
        .chain(further);
    let attributes: BTreeSet<String> = all.flat_map(Rules::agreement_attributes).map(str::to_owned).collect();
    let mut neighbourhood = Neighbourhood::new(configured.clone());
    checking.read_events(&attributes, &mut neighbourhood).await?;
    Ok(history.fold(neighbourhood, configured, |placed| {
        if placed % 10_000 == 0 {
            checking.listener.progress("placing records", placed);
        }
    }))
}

/// Folds the history and compares. `configured`: the rules that stood before any were published. What follows from orders and events is
/// compared by the rules of `value` as of `now`. Costs three readings of `event` and memory for who is who.
pub async fn check(
    store: &Store,
    configured: Arc<Rules>,
    (value, now): (Arc<ValueRules>, Instant),
    listener: &mut dyn Listener,
) -> Result<Counts, RebuildError> {
    let mut checking = Checking {
        db: store.snapshot().await?,
        keys: store.hash_key(),
        value,
        now,
        listener,
        counts: Counts::default(),
    };
    let mut history = History::default();
    let records = checking.read_records(&mut history).await?;
    checking.read_values(&mut history).await?;
    let published = checking.read_rulings(&mut history).await?;
    let all_rules = || std::iter::once(&configured).chain(&published);
    let attributes: BTreeSet<String> = all_rules()
        .flat_map(|rules| rules.agreement_attributes())
        .map(str::to_owned)
        .collect();
    let mut neighbourhood = Neighbourhood::new(configured.clone());
    let seen = checking.read_events(&attributes, &mut neighbourhood).await?;
    let folded = history.fold(neighbourhood, configured.clone(), |placed| {
        if placed % 10_000 == 0 {
            checking.listener.progress("placing records", placed);
        }
    });
    checking.compare_identifiers(&folded).await?;
    checking.compare_decisions(&folded, &seen, &records.erased).await?;
    checking.compare_held(&folded, &seen).await?;
    let standing = all_rules().next_back().unwrap_or(&configured);
    let survivorship = Survivorship::parse(&standing.golden).map_err(|error| RebuildError::Rules(0, error))?;
    let views = Views {
        folded: &folded,
        records: &records,
        survivorship: &survivorship,
    };
    checking.compare_views(&views).await?;
    checking.compare_catalogue(&seen).await?;
    Ok(checking.counts)
}
