//! Reading one item's JSON strictly: what two readers could understand differently, or one database could not hold, is refused with
//! the field it stands in.
//!
//! Refused: nesting beyond `MAX_DEPTH`, duplicate keys, numbers beyond a double, lone surrogates, NUL. A batch is first cut into items
//! without looking inside them, so none of this can sink its neighbours.

use super::message::Refusal;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::{Cell, RefCell};
use std::fmt;

/// Deeper than any event in use and far below what would strain a database's own JSON functions.
pub const MAX_DEPTH: usize = 64;

/// Why an item's JSON was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonFault {
    pub code: &'static str,
    pub message: String,
    /// Path of keys, `properties.products.0.price`; empty for the item itself.
    pub field: String,
}

impl fmt::Display for JsonFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

impl From<JsonFault> for Refusal {
    fn from(fault: JsonFault) -> Self {
        Self {
            code: fault.code,
            message: fault.message,
            field: Some(fault.field).filter(|field| !field.is_empty()),
        }
    }
}

/// Parses `text`, or says what is wrong and where.
pub fn parse(text: &str) -> Result<Value, JsonFault> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    strictly(|strict| {
        let value = strict.deserialize(&mut deserializer)?;
        deserializer.end().map(|()| value)
    })
}

/// Holds a value that somebody else has parsed to the same rules; repeated keys are gone by then.
pub fn check(value: &Value) -> Result<(), JsonFault> {
    strictly(|strict| strict.deserialize(value)).map(|_| ())
}

fn strictly(read: impl FnOnce(Strict<'_>) -> Result<Value, serde_json::Error>) -> Result<Value, JsonFault> {
    let trail = Trail {
        code: Cell::new(None),
        path: RefCell::new(Vec::new()),
    };
    read(Strict { trail: &trail, depth: 0 }).map_err(|error| {
        let mut path = trail.path.take();
        path.reverse();
        let (code, message) = trail.code.get().unwrap_or_else(|| classify(&error));
        JsonFault {
            code,
            message: message.to_owned(),
            field: path.join("."),
        }
    })
}

fn classify(error: &serde_json::Error) -> (&'static str, &'static str) {
    let text = error.to_string();
    if text.starts_with("number out of range") {
        (
            "number_out_of_range",
            "a number is beyond what a double can hold: send it as a text",
        )
    } else if text.contains("surrogate") || text.contains("hex escape") || text.contains("unicode") {
        (
            "invalid_unicode",
            "an escape is half of a surrogate pair: send whole characters",
        )
    } else {
        ("invalid_json", "not valid JSON")
    }
}

/// What is known of the first fault: our own reason, and the keys from the inside out.
struct Trail {
    code: Cell<Option<(&'static str, &'static str)>>,
    path: RefCell<Vec<String>>,
}

#[derive(Clone, Copy)]
struct Strict<'t> {
    trail: &'t Trail,
    depth: usize,
}

impl Strict<'_> {
    fn refuse<E: serde::de::Error>(self, code: &'static str, message: &'static str) -> E {
        self.trail.code.set(Some((code, message)));
        E::custom(message)
    }

    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(self.refuse("nested_too_deep", "nested deeper than 64 levels"));
        }
        Ok(Self {
            trail: self.trail,
            depth: self.depth + 1,
        })
    }

    fn text<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        if text.contains('\0') {
            return Err(self.refuse(
                "nul_character",
                "a text contains the NUL character, which no database text can hold",
            ));
        }
        Ok(())
    }

    fn at<E>(self, key: impl FnOnce() -> String) -> impl FnOnce(E) -> E {
        move |error| {
            self.trail.path.borrow_mut().push(key());
            error
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value);
        number
            .map(Value::Number)
            .ok_or_else(|| self.refuse("number_out_of_range", "a number is beyond what a double can hold"))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.text(value)?;
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: serde::de::Error>(self, value: String) -> Result<Value, E> {
        self.text(&value)?;
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inner).map_err(self.at(|| items.len().to_string()))? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut fields = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            self.text::<A::Error>(&key)
                .map_err(self.at(|| key.replace('\0', "\\u0000")))?;
            if fields.contains_key(&key) {
                return Err(self.at(|| key)(A::Error::custom_in(self)));
            }
            let value = map.next_value_seed(inner).map_err(self.at(|| key.clone()))?;
            fields.insert(key, value);
        }
        Ok(Value::Object(fields))
    }
}

/// Names the fault of a repeated key; a trait only because the error type is the deserializer's.
trait DuplicateKey {
    fn custom_in(strict: Strict<'_>) -> Self;
}

impl<E: serde::de::Error> DuplicateKey for E {
    fn custom_in(strict: Strict<'_>) -> Self {
        strict.refuse("duplicate_key", "a key stands twice in one object")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fault(text: &str) -> (&'static str, String) {
        let fault = parse(text).expect_err(text);
        (fault.code, fault.field)
    }

    #[test]
    fn plain_json_is_read_as_it_is() {
        let text = r#"{"a":[1,-2,3.5,null,true,"é\u00e9😀\ud83d\ude00"],"b":{"c":18446744073709551615}}"#;
        assert_eq!(
            parse(text).expect(text),
            json!({"a":[1,-2,3.5,null,true,"éé😀😀"],"b":{"c":18_446_744_073_709_551_615_u64}})
        );
    }

    #[test]
    fn horrors_are_refused_with_the_field_they_stand_in() {
        assert_eq!(fault(r#"{"a":1,"a":2}"#), ("duplicate_key", "a".to_owned()));
        assert_eq!(
            fault(r#"{"p":{"list":[0,{"x":1,"x":1}]}}"#),
            ("duplicate_key", "p.list.1.x".to_owned())
        );
        assert_eq!(
            fault(r#"{"p":{"price":1e400}}"#),
            ("number_out_of_range", "p.price".to_owned())
        );
        assert_eq!(fault(r#"{"p":"\ud800"}"#), ("invalid_unicode", "p".to_owned()));
        assert_eq!(fault(r#"{"p":"\udc00x"}"#), ("invalid_unicode", "p".to_owned()));
        assert_eq!(fault(r#"{"p":["a\u0000b"]}"#), ("nul_character", "p.0".to_owned()));
        assert_eq!(fault(r#"{"\u0000":1}"#).0, "nul_character");
        let deep = format!("{}1{}", "[".repeat(1000), "]".repeat(1000));
        assert_eq!(fault(&format!(r#"{{"p":{deep}}}"#)).0, "nested_too_deep");
    }

    #[test]
    fn a_value_parsed_elsewhere_is_held_to_the_same_rules() {
        let fault = |value: Value| check(&value).map_err(|fault| (fault.code, fault.field));
        assert_eq!(fault(json!({"a":[1,"b",null,{"c":2.5}]})), Ok(()));
        assert_eq!(
            fault(json!({"a":[1,{"b":"x\0"}]})),
            Err(("nul_character", "a.1.b".to_owned()))
        );
        assert_eq!(fault(json!({"a":{"x\0":1}})), Err(("nul_character", "a.x\\u0000".to_owned())));
        let deep = (0..MAX_DEPTH).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(fault(deep.clone()), Ok(()));
        assert_eq!(fault(json!([deep])).expect_err("refused").0, "nested_too_deep");
    }

    #[test]
    fn the_deepest_allowed_nesting_passes() {
        let text = format!("{}1{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert!(parse(&text).is_ok());
        assert_eq!(fault(&format!("[{text}]")).0, "nested_too_deep");
    }
}
