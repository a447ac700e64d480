//! What one record says about a person: for each trait the last value by event time. Pure.

use crate::base::{EventId, Instant};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Traits by canonical name. An explicit null is kept with its instant, so that an older value arriving late cannot return.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordTraits(BTreeMap<String, Stated>);

/// One stated value.
#[derive(Clone, Debug, PartialEq)]
pub struct Stated {
    pub value: Value,
    pub at: Instant,
    pub event: EventId,
}

impl RecordTraits {
    /// States a trait. The last by (event time, event id) stands, so the order of arrival does not matter.
    /// True when the value that stands is another than before.
    pub fn state(&mut self, name: &str, value: &Value, at: Instant, event: EventId) -> bool {
        match self.0.get_mut(name) {
            Some(standing) if (standing.at, standing.event) >= (at, event) => false,
            Some(standing) => {
                let differs = standing.value != *value;
                *standing = Stated {
                    value: value.clone(),
                    at,
                    event,
                };
                differs
            }
            None => {
                self.0.insert(
                    name.to_owned(),
                    Stated {
                        value: value.clone(),
                        at,
                        event,
                    },
                );
                !value.is_null()
            }
        }
    }

    /// What stands, nulls included.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Stated)> {
        self.0.iter().map(|(name, stated)| (name.as_str(), stated))
    }

    /// The value that stands; `None` when nothing was said or it was cleared.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name).map(|stated| &stated.value).filter(|value| !value.is_null())
    }

    /// Names and values, without what was cleared.
    pub fn values(&self) -> Map<String, Value> {
        let standing = self.0.iter().filter(|(_, stated)| !stated.value.is_null());
        standing.map(|(name, stated)| (name.clone(), stated.value.clone())).collect()
    }

    /// The stored form: `{"name": [value, at, event]}`.
    pub fn to_json(&self) -> Value {
        let entry = |stated: &Stated| json!([stated.value, stated.at.micros(), stated.event.0.simple().to_string()]);
        Value::Object(self.0.iter().map(|(name, stated)| (name.clone(), entry(stated))).collect())
    }

    /// Reads the stored form; `None` when it is not one.
    pub fn from_json(stored: Value) -> Option<Self> {
        let Value::Object(stored) = stored else { return None };
        let mut traits = BTreeMap::new();
        for (name, entry) in stored {
            let Value::Array(entry) = entry else { return None };
            let [value, at, event] = <[Value; 3]>::try_from(entry).ok()?;
            let event = EventId(uuid::Uuid::parse_str(event.as_str()?).ok()?);
            traits.insert(
                name,
                Stated {
                    value,
                    at: Instant::from_micros(at.as_i64()?),
                    event,
                },
            );
        }
        Some(Self(traits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> Instant {
        Instant::from_micros(micros)
    }

    fn event(n: u128) -> EventId {
        EventId(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn the_last_value_by_event_time_stands_in_whatever_order_they_arrive() {
        let said = [(json!("a"), 1, 1), (json!("b"), 3, 2), (json!("c"), 2, 3), (json!("d"), 3, 1)];
        let mut forward = RecordTraits::default();
        let mut backward = RecordTraits::default();
        for (value, time, id) in &said {
            forward.state("name", value, at(*time), event(*id));
        }
        for (value, time, id) in said.iter().rev() {
            backward.state("name", value, at(*time), event(*id));
        }
        assert_eq!(forward, backward);
        assert_eq!(forward.value("name"), Some(&json!("b")));
    }

    #[test]
    fn a_null_clears_and_an_older_value_does_not_return() {
        let mut traits = RecordTraits::default();
        assert!(traits.state("email", &json!("x"), at(1), event(1)));
        assert!(traits.state("email", &Value::Null, at(3), event(2)));
        assert!(!traits.state("email", &json!("y"), at(2), event(3)));
        assert_eq!(traits.value("email"), None);
        assert_eq!(traits.values(), Map::new());
        assert_eq!(RecordTraits::from_json(traits.to_json()), Some(traits));
    }

    #[test]
    fn saying_the_same_again_changes_no_value() {
        let mut traits = RecordTraits::default();
        assert!(traits.state("email", &json!("x"), at(1), event(1)));
        assert!(!traits.state("email", &json!("x"), at(2), event(2)));
        assert!(!traits.state("nothing", &Value::Null, at(2), event(2)));
    }
}
