//! Decisions as they are recorded: what was decided, about which records, because of what.

use super::place::{Decree, Effect};
use crate::base::{CustomerId, DecisionId, EventId, IdentifierId, RecordId};
use entity::{HoldReason, IdentityDecisionKind};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use uuid::Uuid;

/// A decision to be written.
#[derive(Clone, Debug)]
pub struct NewDecision {
    pub id: DecisionId,
    pub arrival: i64,
    pub kind: IdentityDecisionKind,
    pub actor: String,
    /// What the actor said; none for what happened by itself.
    pub reason: Option<String>,
    pub rules_version: i64,
    /// The record, the value and the message that caused it.
    pub record: Option<RecordId>,
    pub identifier: Option<IdentifierId>,
    pub event: Option<EventId>,
    pub evidence: Json,
    pub revokes: Option<DecisionId>,
    /// What it binds.
    pub decree: Option<Decree>,
    /// Customers it is about, by their ids of then.
    pub concerned: Vec<CustomerId>,
    pub held: Option<HeldItem>,
}

/// Something that waits for somebody to look.
#[derive(Clone, Debug)]
pub struct HeldItem {
    pub id: Uuid,
    pub reason: HoldReason,
    pub record: RecordId,
    pub other: Option<RecordId>,
}

/// How a decision is about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    pub record: RecordId,
    pub effect: i16,
    pub side: i16,
    pub names_survivor: bool,
}

impl About {
    pub const CONCERNED: i16 = 0;
    pub const TOGETHER: i16 = 1;
    pub const APART: i16 = 2;
}

impl NewDecision {
    /// A decision about nothing yet.
    pub fn by(id: DecisionId, arrival: i64, kind: IdentityDecisionKind, actor: String, rules_version: i64) -> Self {
        Self {
            id,
            arrival,
            kind,
            actor,
            reason: None,
            rules_version,
            record: None,
            identifier: None,
            event: None,
            evidence: Json::Object(serde_json::Map::new()),
            revokes: None,
            decree: None,
            concerned: Vec::new(),
            held: None,
        }
    }

    /// Every record it is about, each once; what binds comes before what is only concerned.
    pub fn records(&self) -> Vec<About> {
        let mut about: BTreeMap<RecordId, About> = BTreeMap::new();
        if let Some(decree) = &self.decree {
            for (side, records) in (0..).zip(&decree.sides) {
                for record in records {
                    let (effect, names_survivor) = match decree.effect {
                        Effect::Apart => (About::APART, false),
                        Effect::Together { survivor } => (About::TOGETHER, survivor == Some(*record)),
                    };
                    about.insert(
                        *record,
                        About {
                            record: *record,
                            effect,
                            side,
                            names_survivor,
                        },
                    );
                }
            }
        }
        let concerned = self.concerned.iter().map(|customer| RecordId(customer.0)).chain(self.record);
        for record in concerned {
            about.entry(record).or_insert(About {
                record,
                effect: About::CONCERNED,
                side: 0,
                names_survivor: false,
            });
        }
        about.into_values().collect()
    }

    pub fn is_pair(&self) -> bool {
        self.decree.as_ref().is_some_and(|decree| decree.is_pair)
    }
}
