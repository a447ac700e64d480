//! What the doors need to do their work, put together once at start.

use super::intake::Arrivals;
use super::refresh::Wake;
use crate::access::Keyring;
use crate::base::{Clock, Instant};
use crate::feed::Feed;
use crate::identity::RulesDirectory;
use crate::ingest::{Catalogue, SourceDirectory};
use crate::job::Nudge;
use crate::store::{Store, StoreError};
use crate::value::models::Versions;
use crate::value::reporting::{Reporting, Settled};
use crate::value::rules::ValueRules;
use std::sync::Arc;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Services {
    pub store: Store,
    pub clock: Clock,
    pub keyring: Keyring,
    pub sources: SourceDirectory,
    pub catalogue: Catalogue,
    /// Which values recognise people, and how.
    pub rules: RulesDirectory,
    pub arrivals: Arrivals,
    /// The change log as readers see it.
    pub feed: Feed,
    /// Wakes the background jobs of this process.
    pub jobs: Nudge,
    /// Wakes the refresh of this process.
    pub refresh: Wake,
    /// How value is computed here.
    pub value: Arc<ValueRules>,
    /// The models in force.
    pub models: Versions,
    /// The reporting currency, once it is settled.
    pub settled: Settled,
}

impl Services {
    /// Puts them together on an open store. `preset_key`: an admin key of the configuration.
    pub async fn open(store: Store, clock: Clock, rules: RulesDirectory, preset_key: Option<&str>) -> Result<Self, StoreError> {
        Ok(Self {
            catalogue: Catalogue::load(&store).await?,
            keyring: Keyring::new(store.clone(), preset_key),
            sources: SourceDirectory::new(store.clone()),
            rules,
            arrivals: Arrivals::default(),
            feed: Feed::new(store.clone()),
            jobs: Nudge::default(),
            refresh: Wake::default(),
            value: Arc::default(),
            models: Versions::default(),
            settled: Settled::default(),
            clock,
            store,
        })
    }

    /// With another way of computing value than by default.
    #[must_use]
    pub fn valuing(mut self, rules: ValueRules) -> Self {
        self.value = Arc::new(rules);
        self
    }

    /// How value is computed, the reporting currency settled where anybody bought something. Never within a transaction: it may write.
    pub async fn reporting(&self) -> Result<Reporting, StoreError> {
        self.settled.reporting(&self.store, &self.value).await
    }

    pub fn now(&self) -> Instant {
        self.clock.now()
    }
}
