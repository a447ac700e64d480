//! Records and identifiers as plain data.

use super::RecordTraits;
use crate::base::{CustomerId, EventId, IdentifierId, Instant, RecordId, SourceId};
use entity::{IdentifierKind, IdentifierState};

/// What one source knows about one person.
#[derive(Clone, Debug)]
pub struct Record {
    pub id: RecordId,
    pub source: SourceId,
    pub external_key: String,
    pub customer: CustomerId,
    pub arrival: i64,
    pub traits: RecordTraits,
    pub rev: i64,
}

/// A record to be written for the first time.
#[derive(Clone, Debug)]
pub struct NewRecord {
    pub id: RecordId,
    pub source: SourceId,
    pub external_key: String,
    pub customer: CustomerId,
    pub arrival: i64,
    pub traits: RecordTraits,
}

/// A value by which a customer is recognised, with when it was shown.
#[derive(Clone, Debug)]
pub struct Identifier {
    pub id: IdentifierId,
    pub kind: IdentifierKind,
    pub namespace: String,
    pub value: String,
    pub state: IdentifierState,
    pub first_seen_at: Instant,
    pub last_seen_at: Instant,
    pub sources: Vec<SourceId>,
}

impl Identifier {
    /// Another record has shown it too.
    pub fn seen_also(&mut self, other: &Self) {
        self.first_seen_at = self.first_seen_at.min(other.first_seen_at);
        self.last_seen_at = self.last_seen_at.max(other.last_seen_at);
        for source in &other.sources {
            if !self.sources.contains(source) {
                self.sources.push(*source);
            }
        }
    }
}

/// A record shows an identifier that it did not show before.
#[derive(Clone, Debug)]
pub struct NewLink {
    pub record: RecordId,
    pub customer: CustomerId,
    pub identifier: IdentifierId,
    pub kind: IdentifierKind,
    pub namespace: String,
    pub value: String,
    pub event: EventId,
    pub arrival: i64,
    pub occurred_at: Instant,
}
