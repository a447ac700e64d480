//! Golden values: of what the records say, what the customer's view shows. Pure.

use crate::identity::RecordTraits;
use serde_json::{Map, Value, json};

/// The attributes that survived, under canonical names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Golden(pub Map<String, Value>);

impl Golden {
    /// From the traits of a customer's records: per attribute the most recent by event time.
    pub fn of<'r>(records: impl IntoIterator<Item = &'r RecordTraits>) -> Self {
        let mut newest: std::collections::BTreeMap<&str, &crate::identity::Stated> = std::collections::BTreeMap::new();
        for traits in records {
            for (name, stated) in traits.iter() {
                let standing = newest.entry(name).or_insert(stated);
                if (standing.at, standing.event) < (stated.at, stated.event) {
                    *standing = stated;
                }
            }
        }
        let surviving = newest.into_iter().filter(|(_, stated)| !stated.value.is_null());
        Self(
            surviving
                .map(|(name, stated)| (name.to_owned(), stated.value.clone()))
                .collect(),
        )
    }

    /// A value as text; `None` when there is none or it is no scalar.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.0.get(name)? {
            Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// A text inside an object value, such as `address` → `city`.
    pub fn inner_text(&self, name: &str, key: &str) -> Option<String> {
        self.0
            .get(name)?
            .get(key)?
            .as_str()
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
    }

    /// How to call the customer: the whole name, else its parts, else the e-mail address.
    pub fn display_name(&self) -> Option<String> {
        let parts: Vec<String> = ["first_name", "last_name"]
            .into_iter()
            .filter_map(|part| self.text(part))
            .collect();
        self.text("name")
            .or_else(|| (!parts.is_empty()).then(|| parts.join(" ")))
            .or_else(|| self.text("email"))
    }
}

/// What differs: attribute → [before, after], null where there was or is none.
pub fn changes(before: &Golden, after: &Golden) -> Map<String, Value> {
    let mut changed = Map::new();
    for (name, value) in &after.0 {
        if before.0.get(name) != Some(value) {
            changed.insert(name.clone(), json!([before.0.get(name), value]));
        }
    }
    for (name, value) in &before.0 {
        if !after.0.contains_key(name) {
            changed.insert(name.clone(), json!([value, null]));
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{EventId, Instant};

    fn said(entries: &[(&str, Value, i64)]) -> RecordTraits {
        let mut traits = RecordTraits::default();
        for (name, value, at) in entries {
            traits.state(name, value, Instant::from_micros(*at), EventId(uuid::Uuid::from_u128(1)));
        }
        traits
    }

    #[test]
    fn the_most_recent_value_survives_and_a_null_clears() {
        let shop = said(&[
            ("first_name", json!("Ada"), 1),
            ("email", json!("old@example.test"), 1),
            ("city", json!("Leeds"), 1),
        ]);
        let crm = said(&[("email", json!("new@example.test"), 2), ("city", Value::Null, 2)]);
        let golden = Golden::of([&shop, &crm]);
        assert_eq!(
            Value::Object(golden.0.clone()),
            json!({"first_name":"Ada","email":"new@example.test"})
        );
        assert_eq!(golden.display_name().as_deref(), Some("Ada"));
    }

    #[test]
    fn changes_name_each_field_with_both_values() {
        let before = Golden(json!({"a":1,"b":2}).as_object().expect("an object").clone());
        let after = Golden(json!({"a":1,"c":3}).as_object().expect("an object").clone());
        assert_eq!(Value::Object(changes(&before, &after)), json!({"c":[null,3],"b":[2,null]}));
    }
}
