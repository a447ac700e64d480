//! Ids: typed in code, sixteen bytes in the database, opaque text on the outside.
//!
//! Where a natural key exists the id is a keyed hash of it (`HashKey`): intake then knows it without reading, and the primary key
//! carries the promise of uniqueness. The rest are time-ordered random ids from `Ids`, which is handed in like the clock.

use super::Instant;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::fmt;
use std::sync::{Arc, Mutex};
use uuid::Uuid;

macro_rules! typed_id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }
    )+};
}

typed_id! {
    SourceId,
    RecordId,
    /// The current or a former id of a customer: always the id of one of its records.
    CustomerId,
    IdentifierId,
    /// Unique within its record.
    EventId,
    /// Unique within its record.
    PurchaseId,
    ProductId,
    /// Of an identity decision: a merge, a split, a block, a hold …
    DecisionId,
    JobId,
    /// Of an answer to being spoken to; unique within its record.
    ConsentId,
}

/// The installation's secret for turning natural keys into ids, written at the first migration.
#[derive(Clone)]
pub struct HashKey([u8; 32]);

impl HashKey {
    pub const fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// First 128 bits of BLAKE3 keyed with the secret over the parts, each preceded by its length so that ("ab", "c") and
    /// ("a", "bc") differ; `domain` keeps the kinds of id apart.
    pub fn id(&self, domain: &str, parts: &[&[u8]]) -> Uuid {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in std::iter::once(domain.as_bytes()).chain(parts.iter().copied()) {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        Uuid::from_bytes(id)
    }

    pub fn source(&self, key: &str) -> SourceId {
        SourceId(self.id("source", &[key.as_bytes()]))
    }

    pub fn record(&self, source: SourceId, external_key: &str) -> RecordId {
        RecordId(self.id("record", &[source.0.as_bytes(), external_key.as_bytes()]))
    }

    /// The n-th record beside an anonymous one, which a sender cannot name.
    pub fn sibling(&self, source: SourceId, external_key: &str, n: i64) -> RecordId {
        let parts = [source.0.as_bytes().as_slice(), external_key.as_bytes(), &n.to_le_bytes()];
        RecordId(self.id("record", &parts))
    }

    pub fn identifier(&self, kind: i16, namespace: &str, value: &str) -> IdentifierId {
        IdentifierId(self.id("identifier", &[&kind.to_le_bytes(), namespace.as_bytes(), value.as_bytes()]))
    }

    pub fn event(&self, message_id: &str) -> EventId {
        EventId(self.id("event", &[message_id.as_bytes()]))
    }

    pub fn purchase(&self, namespace: &str, order_id: &str) -> PurchaseId {
        PurchaseId(self.id("purchase", &[namespace.as_bytes(), order_id.as_bytes()]))
    }

    /// The n-th answer that a message gives.
    pub fn consent(&self, record: RecordId, event: EventId, n: u64) -> ConsentId {
        let parts = [record.0.as_bytes().as_slice(), event.0.as_bytes(), &n.to_le_bytes()];
        ConsentId(self.id("consent", &parts))
    }

    pub fn product(&self, sku: &str) -> ProductId {
        ProductId(self.id("product", &[sku.as_bytes()]))
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(…)")
    }
}

/// Where random ids and secrets come from: the system in production, a seed in tests.
#[derive(Clone, Debug)]
pub struct Ids(Arc<Mutex<StdRng>>);

impl Ids {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system for randomness")]
    pub fn system() -> Self {
        Self(Arc::new(Mutex::new(StdRng::from_rng(&mut rand::rng()))))
    }

    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// A version 7 UUID: ordered by time, so that rows written together lie together.
    pub fn time_ordered(&self, now: Instant) -> Uuid {
        let millis = u64::try_from(now.micros() / 1000).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &self.bytes()).into_uuid()
    }

    /// Random bytes fit for secrets: the generator is cryptographic and was seeded by the system.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0
            .lock()
            .expect("no panic happens while the generator is held")
            .fill(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_natural_keys_depend_on_the_secret_the_kind_and_every_part() {
        let key = HashKey::new([7; 32]);
        let id = key.id("record", &[b"ab", b"c"]);
        assert_eq!(id, HashKey::new([7; 32]).id("record", &[b"ab", b"c"]));
        assert_ne!(id, key.id("record", &[b"a", b"bc"]));
        assert_ne!(id, key.id("event", &[b"ab", b"c"]));
        assert_ne!(id, HashKey::new([8; 32]).id("record", &[b"ab", b"c"]));
    }

    #[test]
    fn seeded_ids_repeat_and_follow_time() {
        let now = Instant::from_micros(1_000_000_000);
        let (a, b) = (Ids::seeded(1), Ids::seeded(1));
        assert_eq!(a.time_ordered(now), b.time_ordered(now));
        assert!(a.time_ordered(now) < a.time_ordered(now.plus(std::time::Duration::from_millis(1))));
    }
}
