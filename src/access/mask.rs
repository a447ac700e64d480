//! What is left of personal data for those who may not see it: enough to tell two values apart at a glance, too little to find the
//! person. Pure.

use entity::IdentifierKind;
use serde_json::{Map, Value};

/// Stands for a text of which nothing is shown.
pub const HIDDEN: &str = "***";

/// `zoe@example.com` → `z***@e***.com`; a text that is no address is hidden.
pub fn email(address: &str) -> String {
    let Some((local, domain)) = address.trim().rsplit_once('@') else {
        return HIDDEN.to_owned();
    };
    let first = |text: &str| text.chars().next().map(String::from).unwrap_or_default();
    match domain.rsplit_once('.') {
        Some((name, top)) => format!("{}{HIDDEN}@{}{HIDDEN}.{top}", first(local), first(name)),
        None => format!("{}{HIDDEN}@{}{HIDDEN}", first(local), first(domain)),
    }
}

/// The last two digits: `+1 415 555 0142` → `***42`. Of so few digits that two would be half of them, nothing.
pub fn phone(number: &str) -> String {
    let digits: Vec<char> = number.chars().filter(char::is_ascii_digit).collect();
    match digits.as_slice() {
        [.., a, b] if digits.len() > 4 => format!("{HIDDEN}{a}{b}"),
        _ => HIDDEN.to_owned(),
    }
}

/// An identifier's value.
pub fn identifier(kind: IdentifierKind, value: &str) -> String {
    match kind {
        IdentifierKind::Email => email(value),
        IdentifierKind::Phone => phone(value),
        _ => HIDDEN.to_owned(),
    }
}

/// A trait's value, by its name. What was not said stays null.
pub fn of_trait(name: &str, value: &Value) -> Value {
    match (name, value) {
        (_, Value::Null) => Value::Null,
        ("email", Value::String(address)) => email(address).into(),
        ("phone", Value::String(number)) => phone(number).into(),
        _ => HIDDEN.into(),
    }
}

/// An object of which nobody knows how personal it is: names stay, values go. Anything but an object goes whole.
pub fn json(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| (name.clone(), of_trait(name, value));
            Value::Object(members.iter().map(member).collect::<Map<_, _>>())
        }
        _ => HIDDEN.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json as value;

    #[test]
    fn addresses_and_numbers_keep_what_tells_them_apart_at_a_glance() {
        for (address, masked) in [
            ("zoe@example.com", "z***@e***.com"),
            (" 王@例子.中国 ", "王***@例***.中国"),
            ("a@b", "a***@b***"),
            ("a@mail.example.co.uk", "a***@m***.uk"),
            ("odd@name@example.com", "o***@e***.com"),
            ("@example.com", "***@e***.com"),
            ("zoe", "***"),
            ("", "***"),
        ] {
            assert_eq!(email(address), masked, "{address}");
        }
        for (number, masked) in [
            ("+14155550142", "***42"),
            ("(415) 555-0143", "***43"),
            ("1234", "***"),
            ("", "***"),
        ] {
            assert_eq!(phone(number), masked, "{number}");
        }
        assert_eq!(identifier(IdentifierKind::UserId, "zoe@example.com"), "***");
        assert_eq!(identifier(IdentifierKind::Phone, "+14155550142"), "***42");
    }

    #[test]
    fn of_an_object_the_names_stay() {
        let masked = json(&value!({"email": "zoe@example.com", "phone": 5, "address": {"city": "X"}, "gone": null}));
        assert_eq!(
            masked,
            value!({"email": "z***@e***.com", "phone": "***", "address": "***", "gone": null})
        );
        assert_eq!(json(&value!(["zoe"])), value!("***"));
    }
}
