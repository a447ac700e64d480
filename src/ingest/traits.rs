//! Names of traits. The reserved traits of the tracking API are accepted in camelCase and snake_case with one meaning; inside they have
//! one name, the snake_case one. A name that the API does not reserve is the sender's own and stays as it is.

use serde_json::{Map, Value};

const RESERVED: [(&str, &str); 9] = [
    ("firstName", "first_name"),
    ("lastName", "last_name"),
    ("createdAt", "created_at"),
    ("birthDate", "birthday"),
    ("birth_date", "birthday"),
    ("dateOfBirth", "birthday"),
    ("date_of_birth", "birthday"),
    ("timeZone", "timezone"),
    ("time_zone", "timezone"),
];

/// The one name under which a trait is kept: `firstName` → `first_name`.
pub fn canonical_name(name: &str) -> &str {
    RESERVED
        .iter()
        .find(|(spelling, _)| *spelling == name)
        .map_or(name, |(_, canonical)| canonical)
}

/// Traits under canonical names, each once; `over` wins over `under`, and within one object the canonical spelling wins.
pub fn canonical(over: Option<&Map<String, Value>>, under: Option<&Map<String, Value>>) -> Vec<(String, Value)> {
    let mut traits: Vec<(String, Value)> = Vec::new();
    for object in [over, under].into_iter().flatten() {
        let (exact, aliased): (Vec<_>, Vec<_>) = object.iter().partition(|(name, _)| canonical_name(name) == name.as_str());
        for (name, value) in exact.into_iter().chain(aliased) {
            let name = canonical_name(name);
            if !traits.iter().any(|(known, _)| known == name) {
                traits.push((name.to_owned(), canonical_value(name, value)));
            }
        }
    }
    traits
}

fn canonical_value(name: &str, value: &Value) -> Value {
    match (name, value) {
        ("address", Value::Object(address)) if address.contains_key("postalCode") && !address.contains_key("postal_code") => {
            let rename = |key: &String| {
                if key == "postalCode" {
                    "postal_code".to_owned()
                } else {
                    key.clone()
                }
            };
            Value::Object(address.iter().map(|(key, value)| (rename(key), value.clone())).collect())
        }
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reserved_traits_have_one_name_and_the_rest_keep_theirs() {
        let over = json!({"firstName":"Ada","favoriteColor":"red","address":{"postalCode":"N1"}});
        let under = json!({"first_name":"Augusta","last_name":"King"});
        let traits = canonical(over.as_object(), under.as_object());
        let traits: Map<String, Value> = traits.into_iter().collect();
        assert_eq!(
            Value::Object(traits),
            json!({"first_name":"Ada","last_name":"King","favoriteColor":"red","address":{"postal_code":"N1"}})
        );
    }
}
