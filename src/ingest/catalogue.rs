//! The catalogue: which traits and events were ever seen, of which type, when and how often.
//!
//! A new name, or a value that widens a trait's type, is written in the transaction that brought it. Counts and last sightings are
//! gathered in memory and saved every few seconds by `flush`, so that intake does not fight over one hot row per event name; they are
//! therefore approximate after a crash.

use super::message::Message;
use super::store;
use crate::base::Instant;
use crate::store::{Store, StoreError};
use entity::{EventKind, ValueType};
use sea_orm::ConnectionTrait;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Sightings of a trait not yet saved.
#[derive(Clone, Copy, Debug)]
pub struct TraitSeen {
    pub value_type: ValueType,
    pub last_seen_at: Instant,
    pub count: i64,
}

/// Sightings of an event name not yet saved.
#[derive(Clone, Copy, Debug)]
pub struct EventSeen {
    pub last_seen_at: Instant,
    pub count: i64,
}

/// What this instance knows of the catalogue, and what it has yet to save.
#[derive(Clone, Debug, Default)]
pub struct Catalogue(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    trait_types: HashMap<String, ValueType>,
    events: HashMap<(String, EventKind), ()>,
    traits_to_save: HashMap<String, TraitSeen>,
    events_to_save: HashMap<(String, EventKind), EventSeen>,
}

/// Sightings of one transaction, counted when it has committed.
#[derive(Debug, Default)]
pub struct Sightings {
    traits: HashMap<String, TraitSeen>,
    events: HashMap<(String, EventKind), EventSeen>,
}

impl Sightings {
    pub fn of<'m>(messages: impl IntoIterator<Item = &'m Message>) -> Self {
        let mut sightings = Self::default();
        for message in messages {
            sightings.add(message);
        }
        sightings
    }

    fn add(&mut self, message: &Message) {
        let at = message.received_at;
        if matches!(message.kind, EventKind::Track | EventKind::Page | EventKind::Screen) {
            let key = (message.name.clone(), message.kind);
            self.events
                .entry(key)
                .and_modify(|seen| seen.add(at, 1))
                .or_insert(EventSeen {
                    last_seen_at: at,
                    count: 1,
                });
        }
        for (name, value) in &message.traits {
            let Some(value_type) = type_of(value) else { continue };
            match self.traits.get_mut(name) {
                Some(seen) => {
                    seen.value_type = widened(seen.value_type, value_type);
                    seen.last_seen_at = seen.last_seen_at.max(at);
                    seen.count += 1;
                }
                None => {
                    self.traits.insert(
                        name.clone(),
                        TraitSeen {
                            value_type,
                            last_seen_at: at,
                            count: 1,
                        },
                    );
                }
            }
        }
    }
}

impl EventSeen {
    fn add(&mut self, at: Instant, count: i64) {
        self.last_seen_at = self.last_seen_at.max(at);
        self.count += count;
    }
}

impl Catalogue {
    /// Reads what is known; without it the first sighting of each name writes once more, nothing worse.
    pub async fn load(store: &Store) -> Result<Self, StoreError> {
        let mut state = State::default();
        for definition in store::all_traits(store.reader()).await? {
            state.trait_types.insert(definition.name, definition.value_type);
        }
        for definition in store::all_events(store.reader()).await? {
            state.events.insert((definition.name, definition.kind), ());
        }
        Ok(Self(Arc::new(Mutex::new(state))))
    }

    /// Writes names that are new and types that grew wider, in the transaction that brought them. Nothing for known names.
    pub async fn discover(&self, tx: &impl ConnectionTrait, sightings: &Sightings) -> Result<(), StoreError> {
        let (mut traits, mut events) = self.unknown(sightings);
        // One order everywhere, so that two transactions that discover the same names cannot wait for each other in a circle.
        traits.sort_by(|a, b| a.0.cmp(&b.0));
        events.sort_by(|a, b| a.0.cmp(&b.0));
        store::upsert_traits(tx, &traits).await?;
        store::upsert_events(tx, &events).await
    }

    #[expect(clippy::type_complexity, reason = "two lists of what one statement each will write")]
    fn unknown(&self, sightings: &Sightings) -> (Vec<(String, TraitSeen)>, Vec<((String, EventKind), EventSeen)>) {
        let state = self.state();
        let is_new = |name: &str, seen: &TraitSeen| {
            state
                .trait_types
                .get(name)
                .is_none_or(|known| widened(*known, seen.value_type) != *known)
        };
        // The sighting itself is counted by `committed`.
        let traits = sightings.traits.iter().filter(|(name, seen)| is_new(name, seen));
        let events = sightings.events.iter().filter(|(key, _)| !state.events.contains_key(*key));
        (
            traits
                .map(|(name, seen)| (name.clone(), TraitSeen { count: 0, ..*seen }))
                .collect(),
            events
                .map(|(key, seen)| (key.clone(), EventSeen { count: 0, ..*seen }))
                .collect(),
        )
    }

    /// The transaction is committed: remember its names and count its sightings.
    pub fn committed(&self, sightings: Sightings) {
        let mut state = self.state();
        for (name, seen) in sightings.traits {
            let known = state.trait_types.get(&name).copied();
            state.trait_types.insert(
                name.clone(),
                known.map_or(seen.value_type, |known| widened(known, seen.value_type)),
            );
            let waiting = state.traits_to_save.entry(name).or_insert(TraitSeen { count: 0, ..seen });
            waiting.value_type = widened(waiting.value_type, seen.value_type);
            waiting.last_seen_at = waiting.last_seen_at.max(seen.last_seen_at);
            waiting.count += seen.count;
        }
        for (key, seen) in sightings.events {
            state.events.insert(key.clone(), ());
            state
                .events_to_save
                .entry(key)
                .or_insert(EventSeen { count: 0, ..seen })
                .add(seen.last_seen_at, seen.count);
        }
    }

    /// Names were taken out of the catalogue: whoever sends one again discovers it anew, and what was counted of them is not saved.
    pub fn forget(&self, traits: &[String], events: &[(String, EventKind)]) {
        let mut state = self.state();
        for name in traits {
            state.trait_types.remove(name);
            state.traits_to_save.remove(name);
        }
        for key in events {
            state.events.remove(key);
            state.events_to_save.remove(key);
        }
    }

    /// Saves the counts gathered since the last time; puts them back when that fails.
    pub async fn flush(&self, store: &Store) -> Result<(), StoreError> {
        let (traits, events) = {
            let mut state = self.state();
            (
                std::mem::take(&mut state.traits_to_save),
                std::mem::take(&mut state.events_to_save),
            )
        };
        if traits.is_empty() && events.is_empty() {
            return Ok(());
        }
        let mut trait_rows: Vec<_> = traits.iter().map(|(name, seen)| (name.clone(), *seen)).collect();
        let mut event_rows: Vec<_> = events.iter().map(|(key, seen)| (key.clone(), *seen)).collect();
        trait_rows.sort_by(|a, b| a.0.cmp(&b.0));
        event_rows.sort_by(|a, b| a.0.cmp(&b.0));
        let saved = store
            .transact(|tx, _| {
                let (trait_rows, event_rows) = (trait_rows.clone(), event_rows.clone());
                Box::pin(async move {
                    store::upsert_traits(tx, &trait_rows).await?;
                    store::upsert_events(tx, &event_rows).await
                })
            })
            .await;
        if saved.is_err() {
            self.committed(Sightings { traits, events });
        }
        saved
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("no panic happens while the catalogue is held")
    }
}

/// The JSON type of a value; `None` for null, which says nothing about the type.
fn type_of(value: &Value) -> Option<ValueType> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(_) => ValueType::Boolean,
        Value::Number(number) if number.is_f64() => ValueType::Number,
        Value::Number(_) => ValueType::Integer,
        Value::String(_) => ValueType::String,
        Value::Array(_) => ValueType::Array,
        Value::Object(_) => ValueType::Object,
    })
}

/// The narrowest type that holds values of both.
fn widened(a: ValueType, b: ValueType) -> ValueType {
    match (a, b) {
        _ if a == b => a,
        (ValueType::Integer | ValueType::Number, ValueType::Integer | ValueType::Number) => ValueType::Number,
        _ => ValueType::Mixed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_widen_and_never_narrow() {
        use ValueType::{Integer, Mixed, Number, String};
        for (a, b, expected) in [
            (Integer, Integer, Integer),
            (Integer, Number, Number),
            (Number, Integer, Number),
            (Integer, String, Mixed),
            (Mixed, String, Mixed),
        ] {
            assert_eq!(widened(a, b), expected);
            assert_eq!(widened(widened(a, b), a), expected);
        }
    }
}
