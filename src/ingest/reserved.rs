//! Events whose meaning is fixed, since value and relations are computed from them: what they must carry is asked for when they come,
//! while the sender can still mend it. They are kept as any other event. Pure.
//!
//! | event | must carry | may carry |
//! |---|---|---|
//! | `Referral Converted` | nothing: the person it is about brought somebody | `referred`: whom, `order_id`, `program`, `verified` |
//! | `Review Submitted` | `rating`, 1 to 5 | `product_id`, `order_id`, `title`, `text`, `verified` |
//! | `Survey Answered` | `kind`: NPS, CSAT or CES, and `score` on its scale: 0 to 10, 1 to 5, 1 to 7 | `touchpoint`, `invitation_id`, `survey_id`, `comment` |
//! | `Subscription Started`, `Renewed`, `Cancelled` | nothing | `subscription_id`, `plan`, `amount` with `currency`, `period_start`, `period_end`, `reason`, `auto_renew` |
//!
//! What is not named here passes as it is.

use super::message::Refusal;
use crate::base::Instant;
use crate::base::money::{self, Currency};
use rust_decimal::Decimal;
use serde_json::{Map, Value};

type Properties = Map<String, Value>;

pub const REFERRAL_CONVERTED: &str = "Referral Converted";
pub const REVIEW_SUBMITTED: &str = "Review Submitted";
pub const SURVEY_ANSWERED: &str = "Survey Answered";
pub const SUBSCRIPTION_STARTED: &str = "Subscription Started";
pub const SUBSCRIPTION_RENEWED: &str = "Subscription Renewed";
pub const SUBSCRIPTION_CANCELLED: &str = "Subscription Cancelled";

/// All of them.
pub const RESERVED: [&str; 6] = [
    REFERRAL_CONVERTED,
    REVIEW_SUBMITTED,
    SURVEY_ANSWERED,
    SUBSCRIPTION_STARTED,
    SUBSCRIPTION_RENEWED,
    SUBSCRIPTION_CANCELLED,
];

/// Whether a track event of this name carries what it must; any other name may carry anything.
pub(super) fn check(name: &str, properties: &Properties) -> Result<(), Refusal> {
    match name {
        REFERRAL_CONVERTED => {
            texts(properties, &["referred", "order_id", "program"])?;
            flags(properties, &["verified"])
        }
        REVIEW_SUBMITTED => {
            whole_between(name, properties, "rating", 1, 5)?;
            texts(properties, &["product_id", "order_id", "title", "text"])?;
            flags(properties, &["verified"])
        }
        SURVEY_ANSWERED => {
            let kind = needs_text(name, properties, "kind")?;
            let (least, most) = match kind.to_ascii_uppercase().as_str() {
                "NPS" => (0, 10),
                "CSAT" => (1, 5),
                "CES" => (1, 7),
                _ => return Err(refuse("kind", "must be NPS, CSAT or CES")),
            };
            whole_between(name, properties, "score", least, most)?;
            texts(properties, &["touchpoint", "invitation_id", "survey_id", "comment"])
        }
        SUBSCRIPTION_STARTED | SUBSCRIPTION_RENEWED | SUBSCRIPTION_CANCELLED => {
            texts(properties, &["subscription_id", "plan", "reason"])?;
            flags(properties, &["auto_renew"])?;
            instants(properties, &["period_start", "period_end"])?;
            price(properties)
        }
        _ => Ok(()),
    }
}

fn refuse(field: &str, message: impl Into<String>) -> Refusal {
    Refusal::new("invalid_property", format!("properties.{field}"), message)
}

fn present<'p>(properties: &'p Properties, field: &str) -> Option<&'p Value> {
    properties.get(field).filter(|value| !value.is_null())
}

/// A text, or a whole number that stands for one.
fn is_text(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.trim().is_empty(),
        Value::Number(number) => !number.is_f64(),
        _ => false,
    }
}

fn needs_text(name: &str, properties: &Properties, field: &str) -> Result<String, Refusal> {
    let value = present(properties, field).ok_or_else(|| refuse(field, format!("{name} needs it")))?;
    match value {
        Value::String(text) if is_text(value) => Ok(text.trim().to_owned()),
        other if is_text(other) => Ok(other.to_string()),
        _ => Err(refuse(field, "must be a text that is not empty")),
    }
}

fn texts(properties: &Properties, fields: &[&str]) -> Result<(), Refusal> {
    let is_wrong =
        |field: &&&str| present(properties, field).is_some_and(|value| !matches!(value, Value::String(_)) && !is_text(value));
    match fields.iter().find(is_wrong) {
        Some(field) => Err(refuse(field, "must be a text")),
        None => Ok(()),
    }
}

fn flags(properties: &Properties, fields: &[&str]) -> Result<(), Refusal> {
    let is_wrong = |field: &&&str| present(properties, field).is_some_and(|value| !value.is_boolean());
    match fields.iter().find(is_wrong) {
        Some(field) => Err(refuse(field, "must be true or false")),
        None => Ok(()),
    }
}

fn instants(properties: &Properties, fields: &[&str]) -> Result<(), Refusal> {
    let is_wrong = |field: &&&str| {
        present(properties, field).is_some_and(|value| value.as_str().is_none_or(|text| Instant::parse(text).is_none()))
    };
    match fields.iter().find(is_wrong) {
        Some(field) => Err(refuse(field, "must be a time such as 2026-01-02T03:04:05Z, or a day")),
        None => Ok(()),
    }
}

/// A whole number of a scale, as a number or as the text of one.
fn whole_between(name: &str, properties: &Properties, field: &str, least: i64, most: i64) -> Result<(), Refusal> {
    let wanted = || refuse(field, format!("must be a whole number from {least} to {most}"));
    let value = present(properties, field).ok_or_else(|| refuse(field, format!("{name} needs it")))?;
    let number: Decimal = match value {
        Value::Number(number) => number.to_string().parse().map_err(|_| wanted())?,
        Value::String(text) => text.trim().parse().map_err(|_| wanted())?,
        _ => return Err(wanted()),
    };
    match number.is_integer() && (Decimal::from(least)..=Decimal::from(most)).contains(&number) {
        true => Ok(()),
        false => Err(wanted()),
    }
}

/// An amount is worth nothing without its currency.
fn price(properties: &Properties) -> Result<(), Refusal> {
    let Some(amount) = present(properties, "amount") else {
        return Ok(());
    };
    let amount = money::parse_amount(amount).map_err(|error| refuse("amount", error.to_string()))?;
    let currency = match present(properties, "currency") {
        Some(Value::String(code)) => Currency::parse(code).map_err(|error| refuse("currency", error.to_string()))?,
        Some(_) => return Err(refuse("currency", "must be a text such as EUR")),
        None => return Err(refuse("currency", "is needed beside an amount")),
    };
    money::Money::from_decimal(amount, currency)
        .map(|_| ())
        .map_err(|error| refuse("amount", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(name: &str, properties: Value) -> Option<String> {
        let refusal = check(name, properties.as_object().expect("an object")).err()?;
        Some(format!("{} {}", refusal.field.expect("a field"), refusal.message))
    }

    #[test]
    fn what_is_whole_passes() {
        for (name, properties) in [
            (
                "Referral Converted",
                json!({"referred": "u-2", "verified": true, "extra": [1]}),
            ),
            ("Referral Converted", json!({})),
            ("Review Submitted", json!({"rating": 5, "product_id": 17, "text": ""})),
            (
                "Survey Answered",
                json!({"kind": "nps", "score": 0, "touchpoint": "checkout"}),
            ),
            ("Survey Answered", json!({"kind": "CES", "score": "7"})),
            (
                "Subscription Started",
                json!({"subscription_id": "s-1", "amount": "9.99", "currency": "EUR", "period_end": "2027-01-01"}),
            ),
            ("Subscription Cancelled", json!({"subscription_id": 4711, "reason": null})),
            ("Survey Sent", json!({"score": "anything"})),
        ] {
            assert_eq!(refused(name, properties.clone()), None, "{name} {properties}");
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (name, properties, expected) in [
            (
                "Referral Converted",
                json!({"referred": ["u"]}),
                "properties.referred must be a text",
            ),
            (
                "Referral Converted",
                json!({"referred": "u", "verified": "yes"}),
                "properties.verified must be true or false",
            ),
            (
                "Review Submitted",
                json!({"rating": 6}),
                "properties.rating must be a whole number from 1 to 5",
            ),
            (
                "Review Submitted",
                json!({"rating": 4.5}),
                "properties.rating must be a whole number from 1 to 5",
            ),
            (
                "Review Submitted",
                json!({"rating": 4, "title": {}}),
                "properties.title must be a text",
            ),
            (
                "Survey Answered",
                json!({"kind": "mood", "score": 1}),
                "properties.kind must be NPS, CSAT or CES",
            ),
            (
                "Survey Answered",
                json!({"kind": "CSAT", "score": 0}),
                "properties.score must be a whole number from 1 to 5",
            ),
            (
                "Survey Answered",
                json!({"kind": "NPS"}),
                "properties.score Survey Answered needs it",
            ),
            (
                "Survey Answered",
                json!({"kind": "NPS", "score": 11}),
                "properties.score must be a whole number from 0 to 10",
            ),
            (
                "Subscription Renewed",
                json!({"subscription_id": "s", "amount": 5}),
                "properties.currency is needed beside an amount",
            ),
            (
                "Subscription Started",
                json!({"subscription_id": "s", "period_end": "soon"}),
                "properties.period_end must be a time such as 2026-01-02T03:04:05Z, or a day",
            ),
        ] {
            assert_eq!(
                refused(name, properties.clone()).as_deref(),
                Some(expected),
                "{name} {properties}"
            );
        }
    }
}
