//! What the doors need to do their work, put together once at start.

use crate::access::Keyring;
use crate::base::{Clock, Instant};
use crate::ingest::{Catalogue, SourceDirectory};
use crate::store::Store;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Services {
    pub store: Store,
    pub clock: Clock,
    pub keyring: Keyring,
    pub sources: SourceDirectory,
    pub catalogue: Catalogue,
}

impl Services {
    pub fn now(&self) -> Instant {
        self.clock.now()
    }
}
