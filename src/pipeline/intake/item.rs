//! A message on its way into the store: under which record it belongs and which values it shows.

use crate::base::ids::HashKey;
use crate::base::{EventId, IdentifierId, Instant, RecordId};
use crate::customer::EventKey;
use crate::customer::purchases::Reported;
use crate::identity::store::neighbours::Known;
use crate::identity::{Rules, Shown};
use crate::ingest::Message;
use crate::ingest::message::KeyedBy;
use crate::value::activity::EVENT_KINDS;
use crate::value::rules::ValueRules;
use entity::{EventKind, IdentifierKind, IdentifierState};

/// A message with what intake derived from it.
#[derive(Debug)]
pub struct Item<'m> {
    pub message: &'m Message,
    pub record: RecordId,
    /// Of the first record, where the id is anonymous and others were opened since.
    pub external_key: String,
    /// How the record at hand is called.
    pub record_key: String,
    pub event: EventId,
    pub shown: Vec<Shown>,
    /// Kept under an anonymous id, which may pass to somebody else: then its next message opens another record.
    pub chain: Option<Chain>,
    pub alias: Option<Alias>,
    pub arrival: i64,
    pub is_new: bool,
    /// Whether its identifiers have to be placed.
    pub is_open: bool,
    /// It is about somebody who was erased: dropped, and listed as refused.
    pub is_suppressed: bool,
    /// Suppressed values that it lets be heard of again, and when that was granted.
    pub lifts: Vec<(IdentifierId, Instant)>,
}

/// The records of one anonymous id at one source: the first, and those opened since.
#[derive(Clone, Debug)]
pub struct Chain {
    pub first: RecordId,
    /// The value by which the anonymous id recognises people.
    pub value: usize,
}

/// Whom an alias says the user to be.
#[derive(Clone, Debug)]
pub struct Alias {
    pub previous: String,
    /// The records it may mean: of that user id, of that anonymous id.
    pub user: RecordId,
    pub anonymous: RecordId,
    /// What records of that user id and of that anonymous id show.
    pub shown: [Shown; 2],
}

impl<'m> Item<'m> {
    pub fn of(keys: &HashKey, rules: &Rules, message: &'m Message) -> Self {
        let shown: Vec<Shown> = message
            .identifiers
            .iter()
            .map(|assertion| Shown::judge(keys, rules, assertion.kind, &assertion.namespace, &assertion.value))
            .collect();
        let external_key = external_key(message, &shown);
        let first = keys.record(message.source, &external_key);
        let anonymous = || usable(&shown, message, IdentifierKind::AnonymousId, &external_key, "a:");
        let chain = (message.keyed_by != KeyedBy::Sender).then(anonymous).flatten();
        Self {
            message,
            record: first,
            event: keys.event(&message.message_id),
            chain: chain.map(|value| Chain { first, value }),
            alias: alias(keys, rules, message),
            record_key: external_key.clone(),
            external_key,
            shown,
            arrival: 0,
            is_new: false,
            is_open: false,
            is_suppressed: false,
            lifts: Vec::new(),
        }
    }

    /// Under which it is stored once: a message that has this key again is the same one. Of an anonymous id it is that of the first
    /// record, since a message is looked for under all of them.
    pub fn first_key(keys: &HashKey, rules: &Rules, message: &'m Message) -> EventKey {
        Self::of(keys, rules, message).key()
    }

    /// The values by which it can be known as a message of somebody who was erased, strongest first: a device, or an anonymous id, may be
    /// somebody else's by now.
    pub fn suppressible(&self, rules: &Rules) -> Vec<IdentifierId> {
        let mut telling: Vec<&Shown> = self
            .shown
            .iter()
            .filter(|shown| shown.is_usable && is_telling(shown.kind))
            .collect();
        telling.sort_by_key(|shown| rules.of(shown.kind, &shown.namespace).priority);
        telling.into_iter().map(|shown| shown.id).collect()
    }

    pub fn key(&self) -> EventKey {
        EventKey {
            record: self.record,
            id: self.event,
        }
    }

    /// An anonymous record that goes on where its newest sibling is.
    pub fn go_on(&mut self, keys: &HashKey, siblings: i64) {
        if let Some(chain) = &self.chain {
            (self.record, self.record_key) = match siblings {
                0 => (chain.first, self.external_key.clone()),
                n => {
                    let sibling = keys.sibling(self.message.source, &self.external_key, n);
                    (sibling, format!("{}#{n}", self.external_key))
                }
            };
        }
    }

    /// Whether nothing it shows is news: a known record, every value shown before, and every value that recognises people its own
    /// customer's. What it says of an attribute that rules compare is news to whoever compares it.
    pub fn says_nothing_new(&self, known: &Known, compared: &[&str]) -> bool {
        let Some(record) = known.records.get(&self.record) else {
            return false;
        };
        let is_old = |shown: &Shown| {
            let Some(value) = known.values.get(&shown.id) else {
                return false;
            };
            let recognises = shown.is_usable && matches!(value.state, IdentifierState::Active | IdentifierState::Cleared);
            let is_own = value.owner == Some(record.customer) && !value.is_contended;
            known.shown.contains(&(self.record, shown.id)) && (!recognises || is_own)
        };
        let states_compared = self.message.traits.iter().any(|(name, _)| compared.contains(&name.as_str()));
        self.alias.is_none() && !states_compared && self.shown.iter().all(is_old)
    }

    pub fn reported(&self) -> Option<Reported<'m>> {
        let report = self.message.order.as_ref()?;
        Some(Reported {
            record: self.record,
            event: self.event,
            at: self.message.occurred_at,
            report,
        })
    }

    /// Whether somebody asks how often it happens.
    pub fn is_counted(&self, value: &ValueRules) -> bool {
        EVENT_KINDS.contains(&self.message.kind) && value.rolls_up(&self.message.name)
    }

    /// How many arrivals it takes: an alias is an assertion, perhaps an empty record, and a decision.
    pub const fn arrivals(&self) -> i64 {
        if self.alias.is_some() { 3 } else { 1 }
    }
}

/// Whether a value of this kind stands for a person and not for a device.
pub const fn is_telling(kind: IdentifierKind) -> bool {
    !matches!(kind, IdentifierKind::AnonymousId | IdentifierKind::DeviceId)
}

/// A placeholder names nobody: what came under one goes by the device, and without one stands alone.
fn external_key(message: &Message, shown: &[Shown]) -> String {
    let names_somebody = match message.keyed_by {
        KeyedBy::Sender => true,
        KeyedBy::UserId => usable(shown, message, IdentifierKind::UserId, &message.external_key, "u:").is_some(),
        KeyedBy::AnonymousId => usable(shown, message, IdentifierKind::AnonymousId, &message.external_key, "a:").is_some(),
    };
    if names_somebody {
        return message.external_key.clone();
    }
    let mut devices = message.identifiers.iter().zip(shown);
    let device = devices.find(|(assertion, shown)| assertion.kind == IdentifierKind::AnonymousId && shown.is_usable);
    match device {
        Some((assertion, _)) => format!("a:{}", assertion.value),
        None => format!("m:{}", message.message_id),
    }
}

/// Which of the values shown the record is kept under, if that value recognises people.
fn usable(shown: &[Shown], message: &Message, kind: IdentifierKind, external_key: &str, prefix: &str) -> Option<usize> {
    let named = external_key.strip_prefix(prefix)?;
    let values = message.identifiers.iter().zip(shown);
    values
        .enumerate()
        .find(|(_, (assertion, _))| assertion.kind == kind && assertion.value == named)
        .filter(|(_, (_, shown))| shown.is_usable)
        .map(|(place, _)| place)
}

fn alias(keys: &HashKey, rules: &Rules, message: &Message) -> Option<Alias> {
    if message.kind != EventKind::Alias {
        return None;
    }
    let previous = match message.context.get("previousId")? {
        serde_json::Value::String(text) => text.trim().to_owned(),
        serde_json::Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let user = keys.record(message.source, &format!("u:{previous}"));
    let kinds = [IdentifierKind::UserId, IdentifierKind::AnonymousId];
    let shown = kinds.map(|kind| Shown::judge(keys, rules, kind, "", &previous));
    // Nobody is an alias of a placeholder, or of themselves.
    let is_other = shown[0].is_usable && message.external_key != format!("u:{previous}");
    is_other.then(|| Alias {
        user,
        anonymous: keys.record(message.source, &format!("a:{previous}")),
        shown,
        previous,
    })
}
