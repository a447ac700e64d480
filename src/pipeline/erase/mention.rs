//! Whether a text speaks of a person: one of the values that recognise them stands in it. Pure.

use serde_json::Value;
use std::collections::BTreeSet;

/// Shorter values are looked for only where ids stand: "1" is an order's quantity far more often than a user.
const TELLING_CHARS: usize = 5;
/// Fields under which a short value is an id.
const ID_FIELDS: [&str; 9] = [
    "userid",
    "anonymousid",
    "previousid",
    "externalkey",
    "key",
    "id",
    "value",
    "email",
    "phone",
];

/// What is looked for.
#[derive(Clone, Debug, Default)]
pub struct Mentions {
    long: Vec<String>,
    short: BTreeSet<String>,
}

impl Mentions {
    pub fn of(texts: impl IntoIterator<Item = String>) -> Self {
        let mut mentions = Self::default();
        for text in texts {
            // Keys of the tracking API say of which kind an id is.
            let text = text.strip_prefix("u:").or_else(|| text.strip_prefix("a:")).unwrap_or(&text);
            let folded = text.trim().to_lowercase();
            if folded.is_empty() {
                continue;
            }
            match folded.chars().count() < TELLING_CHARS {
                true => drop(mentions.short.insert(folded)),
                false => mentions.long.push(folded),
            }
        }
        mentions
    }

    /// Whether a text names one of the longer values, standing by itself.
    pub fn in_words(&self, text: &str) -> bool {
        let folded = text.to_lowercase();
        // A telephone number is spelt with all kinds of things between its digits.
        let digits: String = folded.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect();
        self.long.iter().any(|value| {
            let is_number = value
                .strip_prefix('+')
                .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
            stands_in(&folded, value) || (is_number && digits.contains(value.as_str()))
        })
    }

    /// Whether a refused item names one of the values: as text, or inside its JSON.
    pub fn in_item(&self, text: &str) -> bool {
        self.in_words(text) || serde_json::from_str::<Value>(text).is_ok_and(|value| self.in_json("", &value))
    }

    fn in_json(&self, field: &str, value: &Value) -> bool {
        match value {
            Value::Object(members) => members.iter().any(|(name, value)| self.in_json(name, value)),
            Value::Array(items) => items.iter().any(|item| self.in_json(field, item)),
            Value::String(text) => self.in_words(text) || self.is_short(field, text),
            Value::Number(number) => self.is_short(field, &number.to_string()),
            Value::Bool(_) | Value::Null => false,
        }
    }

    fn is_short(&self, field: &str, text: &str) -> bool {
        ID_FIELDS.contains(&field.to_lowercase().as_str()) && self.short.contains(&text.trim().to_lowercase())
    }
}

fn stands_in(text: &str, value: &str) -> bool {
    text.match_indices(value).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + value.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_where_it_stands_by_itself() {
        let texts = ["ada@example.test", "u:customer-77", "+14155550101", "7"].map(str::to_owned);
        let mentions = Mentions::of(texts);
        for (text, expected) in [
            (r#"{"traits": {"email": "ADA@example.test"}}"#, true),
            (r#"{"note": "write to ada@example.test, please"}"#, true),
            (r#"{"traits": {"email": "xada@example.test"}}"#, false),
            (r#"{"userId": "customer-77"}"#, true),
            (r#"{"userId": "customer-778"}"#, false),
            (r#"{"traits": {"phone": "+1 (415) 555-0101"}}"#, true),
            ("broken { ada\u{40}example.test", true),
            (r#"{"email": "\u0061da@example.test"}"#, true),
            (r#"{"userId": 7}"#, true),
            (r#"{"quantity": 7}"#, false),
        ] {
            assert_eq!(mentions.in_item(text), expected, "{text}");
        }
    }
}
