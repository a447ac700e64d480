//! What one record says about a person: for each trait the last value by event time. Pure.

use super::normalise;
use crate::base::{EventId, Instant};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What forms and exports put where nothing is known, NFKC, trimmed, in lower case.
const FILLERS: [&str; 7] = ["", "n/a", "na", "null", "none", "unknown", "-"];

/// Whether a value tells nothing about the person: null, empty, a filler such as `N/A`, or a list or object of nothing else.
pub fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => FILLERS.contains(&normalise::folded(text).as_str()),
        Value::Array(values) => values.iter().all(says_nothing),
        Value::Object(values) => values.values().all(says_nothing),
    }
}

/// Traits by canonical name. An explicit null is kept with its instant, so that an older value arriving late cannot return.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordTraits(BTreeMap<String, Stated>);

/// One stated value.
#[derive(Clone, Debug, PartialEq)]
pub struct Stated {
    pub value: Value,
    pub at: Instant,
    pub event: EventId,
    /// When the message that stated it arrived: between records it decides where the event times are equal.
    pub arrival: i64,
}

impl Stated {
    /// Of two statements of one record the higher stands. A filler never displaces a value or an explicit null, however late it is:
    /// a form sent with an empty field is no news about the person.
    fn rank(&self) -> (bool, Instant, EventId) {
        (self.value.is_null() || !says_nothing(&self.value), self.at, self.event)
    }
}

impl RecordTraits {
    /// States a trait. The last by (event time, event id) stands, fillers behind all others, so the order of arrival does not matter.
    /// True when the value that stands is another than before.
    pub fn state(&mut self, name: &str, value: &Value, at: Instant, event: EventId, arrival: i64) -> bool {
        let stated = Stated {
            value: value.clone(),
            at,
            event,
            arrival,
        };
        match self.0.get_mut(name) {
            Some(standing) if standing.rank() >= stated.rank() => false,
            Some(standing) => {
                let differs = standing.value != stated.value;
                *standing = stated;
                differs
            }
            None => {
                self.0.insert(name.to_owned(), stated);
                !value.is_null()
            }
        }
    }

    /// What stands, nulls included.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Stated)> {
        self.0.iter().map(|(name, stated)| (name.as_str(), stated))
    }

    /// What stands, a null included; `None` when nothing was said.
    pub fn stated(&self, name: &str) -> Option<&Stated> {
        self.0.get(name)
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

    /// The stored form: `{"name": [value, at, event, arrival]}`.
    pub fn to_json(&self) -> Value {
        let entry = |stated: &Stated| {
            let event = stated.event.0.simple().to_string();
            json!([stated.value, stated.at.micros(), event, stated.arrival])
        };
        Value::Object(self.0.iter().map(|(name, stated)| (name.clone(), entry(stated))).collect())
    }

    /// Reads the stored form; `None` when it is not one.
    pub fn from_json(stored: Value) -> Option<Self> {
        let Value::Object(stored) = stored else { return None };
        let mut traits = BTreeMap::new();
        for (name, entry) in stored {
            let Value::Array(entry) = entry else { return None };
            let mut entry = entry.into_iter();
            let (value, at, event) = (entry.next()?, entry.next()?, entry.next()?);
            let event = EventId(uuid::Uuid::parse_str(event.as_str()?).ok()?);
            traits.insert(
                name,
                Stated {
                    value,
                    at: Instant::from_micros(at.as_i64()?),
                    event,
                    // Not written before arrivals were told apart.
                    arrival: entry.next().map_or(Some(0), |arrival| arrival.as_i64())?,
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
            forward.state("name", value, at(*time), event(*id), 0);
        }
        for (value, time, id) in said.iter().rev() {
            backward.state("name", value, at(*time), event(*id), 0);
        }
        assert_eq!(forward, backward);
        assert_eq!(forward.value("name"), Some(&json!("b")));
    }

    #[test]
    fn a_null_clears_and_an_older_value_does_not_return() {
        let mut traits = RecordTraits::default();
        assert!(traits.state("email", &json!("x"), at(1), event(1), 0));
        assert!(traits.state("email", &Value::Null, at(3), event(2), 7));
        assert!(!traits.state("email", &json!("y"), at(2), event(3), 0));
        assert_eq!(traits.value("email"), None);
        assert_eq!(traits.values(), Map::new());
        assert_eq!(RecordTraits::from_json(traits.to_json()), Some(traits));
    }

    #[test]
    fn a_filler_stands_only_where_nothing_else_was_said() {
        for (said, expected) in [
            (vec![(json!("Bonn"), 1), (json!(" N/A "), 2)], json!("Bonn")),
            (vec![(json!("Bonn"), 1), (json!(""), 2)], json!("Bonn")),
            (
                vec![(json!({"city": "Bonn"}), 1), (json!({"city": "-"}), 2)],
                json!({"city": "Bonn"}),
            ),
            (
                vec![(json!("none"), 3), (json!("Bonn"), 1), (json!("Köln"), 2)],
                json!("Köln"),
            ),
            (vec![(json!("Bonn"), 1), (Value::Null, 2), (json!("unknown"), 3)], Value::Null),
            (vec![(json!("none"), 1), (json!("unknown"), 2)], json!("unknown")),
        ] {
            let mut backward = said.clone();
            backward.reverse();
            for order in [said, backward] {
                let mut traits = RecordTraits::default();
                for (value, time) in &order {
                    traits.state("city", value, at(*time), event(1), 0);
                }
                assert_eq!(
                    traits.stated("city").map(|stated| &stated.value),
                    Some(&expected),
                    "{order:?}"
                );
            }
        }
    }

    #[test]
    fn fillers_are_known_in_every_spelling_and_values_are_let_be() {
        let fillers = [
            "",
            " ",
            "\u{a0}\t",
            "N/A",
            "ｎ／ａ",
            " Na ",
            "NULL",
            "None",
            "nOnE",
            "UNKNOWN",
            "-",
            " － ",
            "\u{3000}null\u{3000}",
        ];
        for filler in fillers {
            assert!(says_nothing(&json!(filler)), "{filler:?}");
            assert!(says_nothing(&json!({"city": filler, "lines": [filler, null]})), "{filler:?}");
        }
        for nothing in [Value::Null, json!([]), json!({})] {
            assert!(says_nothing(&nothing), "{nothing}");
        }
        for value in ["Nana", "Nonet", "0", "--", "n.a.", "Unknown Street 5", "nan", "no"] {
            assert!(!says_nothing(&json!(value)), "{value:?}");
        }
        for value in [
            json!(0),
            json!(false),
            json!(["", "x"]),
            json!({"city": "n/a", "street": "Ring 5"}),
        ] {
            assert!(!says_nothing(&value), "{value}");
        }
    }

    #[test]
    fn saying_the_same_again_changes_no_value() {
        let mut traits = RecordTraits::default();
        assert!(traits.state("email", &json!("x"), at(1), event(1), 0));
        assert!(!traits.state("email", &json!("x"), at(2), event(2), 0));
        assert!(!traits.state("nothing", &Value::Null, at(2), event(2), 0));
    }
}
