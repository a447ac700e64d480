//! Golden values: of what the records say, what the customer's view shows. Pure.

use super::names;
use serde_json::{Map, Value, json};

/// The attributes that survived, under canonical names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Golden(pub Map<String, Value>);

impl Golden {
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

    /// The attributes out of which `display_name` is made.
    pub fn called_by(&self) -> &'static [&'static str] {
        if self.text("name").is_some() {
            &["name"]
        } else if self.text("first_name").or_else(|| self.text("last_name")).is_some() {
            &["first_name", "last_name"]
        } else {
            &["email"]
        }
    }

    /// How to call the customer: the whole name, else its parts, else the e-mail address.
    pub fn display_name(&self) -> Option<String> {
        let parts = || names::whole(self.text("first_name").as_deref(), self.text("last_name").as_deref());
        self.text("name").or_else(parts).or_else(|| self.text("email"))
    }

    /// The same, except that what these names stand for is now what survived, and nothing where nothing did.
    pub fn with<'n>(&self, names: impl IntoIterator<Item = &'n str>, survived: Map<String, Value>) -> Self {
        let mut golden = self.clone();
        for name in names {
            golden.0.remove(name);
        }
        golden.0.extend(survived);
        golden
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

    #[test]
    fn people_are_called_by_their_name_else_by_its_parts_else_by_their_address() {
        let called = |golden: Value| Golden(golden.as_object().expect("an object").clone()).display_name();
        assert_eq!(
            called(json!({"name": "王小明", "first_name": "x"})).as_deref(),
            Some("王小明")
        );
        assert_eq!(
            called(json!({"first_name": "Ada", "last_name": "Lovelace"})).as_deref(),
            Some("Ada Lovelace")
        );
        assert_eq!(
            called(json!({"first_name": "小明", "last_name": "王"})).as_deref(),
            Some("王小明")
        );
        assert_eq!(called(json!({"last_name": "王"})).as_deref(), Some("王"));
        assert_eq!(
            called(json!({"email": "ada@example.test"})).as_deref(),
            Some("ada@example.test")
        );
        assert_eq!(called(json!({})), None);
    }

    #[test]
    fn only_the_names_that_were_touched_change() {
        let before = Golden(json!({"a":1,"b":2,"c":3}).as_object().expect("an object").clone());
        let survived = json!({"a":9,"d":4}).as_object().expect("an object").clone();
        assert_eq!(
            Value::Object(before.with(["a", "b", "d"], survived).0),
            json!({"a":9,"c":3,"d":4})
        );
    }

    #[test]
    fn changes_name_each_field_with_both_values() {
        let before = Golden(json!({"a":1,"b":2}).as_object().expect("an object").clone());
        let after = Golden(json!({"a":1,"c":3}).as_object().expect("an object").clone());
        assert_eq!(Value::Object(changes(&before, &after)), json!({"c":[null,3],"b":[2,null]}));
    }
}
