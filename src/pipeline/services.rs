//! What the doors need to do their work, put together once at start.

use crate::access::Keyring;
use crate::base::{Clock, Instant};
use crate::identity::Rules;
use crate::ingest::{Catalogue, SourceDirectory};
use crate::store::Store;
use std::sync::Arc;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Services {
    pub store: Store,
    pub clock: Clock,
    pub keyring: Keyring,
    pub sources: SourceDirectory,
    pub catalogue: Catalogue,
    /// Which values recognise people.
    pub rules: Arc<Rules>,
}

impl Services {
    pub fn now(&self) -> Instant {
        self.clock.now()
    }
}
