//! Records and identifiers as plain data.

use super::{RecordTraits, Rules};
use crate::base::ids::HashKey;
use crate::base::{CustomerId, EventId, IdentifierId, Instant, RecordId, SourceId};
use entity::{IdentifierKind, IdentifierState};
use sea_orm::ActiveEnum as _;

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
    /// Its own id was once the id of a customer.
    pub was_customer: bool,
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
    pub was_customer: bool,
    /// Opened beside it already: an anonymous record that was erased may come again.
    pub siblings: i64,
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

/// A value that a message shows, in the spelling under which it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub id: IdentifierId,
    pub kind: IdentifierKind,
    pub namespace: String,
    pub value: String,
    /// As it was sent, where that differs.
    pub raw: Option<String>,
    /// Whether the rules let it recognise people.
    pub is_usable: bool,
}

impl Shown {
    /// Judges a value as it was sent.
    pub fn judge(keys: &HashKey, rules: &Rules, kind: IdentifierKind, namespace: &str, raw: &str) -> Self {
        let (value, is_usable) = rules.judge(kind, namespace, raw).into_spelling();
        Self {
            id: keys.identifier(kind.to_value(), namespace, &value),
            kind,
            namespace: namespace.to_owned(),
            raw: (raw != value).then(|| raw.to_owned()),
            value,
            is_usable,
        }
    }
}

/// A record showed a value, and that said something new.
#[derive(Clone, Debug)]
pub struct NewLink {
    pub record: RecordId,
    pub identifier: IdentifierId,
    pub event: EventId,
    pub arrival: i64,
    pub occurred_at: Instant,
    /// Its place among the values of the message, from 0.
    pub place: i16,
    pub raw: Option<String>,
}
