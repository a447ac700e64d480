//! Which customers a list holds and in which order, as plain data.

use super::folding;
use crate::base::{IdentifierId, Instant, SourceId};
use entity::{Channel, IdentifierKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// The order of a list. Ties go by id; whoever has no name, or was not seen yet as far as is known, is last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    Newest,
    Oldest,
    Name,
    LastSeen,
}

/// A customer's place in a list.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Place {
    #[serde(rename = "c")]
    Created(i64, Uuid),
    #[serde(rename = "n")]
    Named(Option<String>, Uuid),
    #[serde(rename = "s")]
    Seen(Option<i64>, Uuid),
}

impl Order {
    /// Whether a place is one of this order's lists.
    pub fn has(self, place: &Place) -> bool {
        match self {
            Self::Newest | Self::Oldest => matches!(place, Place::Created(..)),
            Self::Name => matches!(place, Place::Named(..)),
            Self::LastSeen => matches!(place, Place::Seen(..)),
        }
    }
}

/// Begins a folded value so?
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Beginning {
    With(String),
    /// What was typed can begin no value.
    Nothing,
}

impl Beginning {
    /// A name somebody began to type; none when nothing was typed.
    pub fn of_name(typed: &str) -> Option<Self> {
        Self::of(typed, folding::name_prefix)
    }

    pub fn of_email(typed: &str) -> Option<Self> {
        Self::of(typed, folding::email)
    }

    pub fn of_phone(typed: &str) -> Option<Self> {
        Self::of(typed, folding::phone)
    }

    fn of(typed: &str, fold: impl Fn(&str) -> Option<String>) -> Option<Self> {
        if typed.trim().is_empty() {
            return None;
        }
        Some(fold(typed).map_or(Self::Nothing, Self::With))
    }
}

/// Conditions that all hold; an empty filter lists everybody.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    pub name: Option<Beginning>,
    pub email: Option<Beginning>,
    pub phone: Option<Beginning>,
    /// Whom it recognises today.
    pub identifier: Option<IdentifierId>,
    /// The value looked for is none of its kind: nobody has it.
    pub impossible: bool,
    pub source: Option<SourceId>,
    pub channels: Option<Vec<Channel>>,
    /// Recognised by a value of this kind.
    pub has_identifier: Option<IdentifierKind>,
    pub seen_since: Option<Instant>,
    pub purchased_since: Option<Instant>,
    /// Golden values by canonical name; null: there is none.
    pub traits: Vec<(String, Value)>,
}
