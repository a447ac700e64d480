//! What messages say of consent: the preferences in their context, and the event by which somebody unsubscribes. Pure.
//!
//! A refusal must never get lost, so what cannot be read refuses its message instead of being left out.

use super::message::{ConsentSaid, Message, Refusal};
use crate::base::Instant;
use entity::{ConsentAnswer, ConsentOrigin, EventKind};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The channel that stands for all of them.
pub const ANY: &str = "ANY";
/// Answers of one message: more purposes than any consent banner has.
pub const MAX_ANSWERS: usize = 200;
const MAX_CHARS: usize = 255;

const PREFERENCES: &str = "context.consent.categoryPreferences";

/// `context.consent.categoryPreferences`: a category is a purpose, through any channel; true is GRANTED, false is DENIED, null no answer.
/// Where two spellings of a category differ in case alone, the refusal counts.
///
/// # Errors
/// When it is no object of truth values.
pub fn preferences(
    context: &Map<String, Value>,
    event: &str,
    message_id: &str,
    at: Instant,
) -> Result<Vec<ConsentSaid>, Refusal> {
    let consent = match context.get("consent") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(consent)) => consent,
        Some(_) => return Err(Refusal::new("invalid_consent", "context.consent", "must be a JSON object")),
    };
    let categories = match consent.get("categoryPreferences") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(categories)) => categories,
        Some(_) => {
            let message = "must be a JSON object of categories, each true or false";
            return Err(Refusal::new("invalid_consent", PREFERENCES, message));
        }
    };
    if categories.len() > MAX_ANSWERS {
        let message = format!("may name {MAX_ANSWERS} categories");
        return Err(Refusal::new("invalid_consent", PREFERENCES, message));
    }
    let mut said: BTreeMap<String, (String, bool)> = BTreeMap::new();
    for (category, value) in categories {
        let wrong = |problem: String| Refusal::new("invalid_consent", format!("{PREFERENCES}.{category}"), problem);
        let category = purpose(category).map_err(wrong)?;
        let granted = match value {
            Value::Null => continue,
            Value::Bool(granted) => *granted,
            _ => return Err(wrong("must be true (granted) or false (denied)".to_owned())),
        };
        let kept = said.entry(folded(&category)).or_insert((category, granted));
        kept.1 &= granted;
    }
    let consents = said.into_values().map(|(purpose, granted)| ConsentSaid {
        purpose,
        channel: ANY.to_owned(),
        answer: if granted {
            ConsentAnswer::Granted
        } else {
            ConsentAnswer::Denied
        },
        origin: ConsentOrigin::Preferences,
        evidence: json!({"event": event, "messageId": message_id}),
        at,
    });
    Ok(consents.collect())
}

/// `Unsubscribed` takes consent to marketing by e-mail back.
pub fn of_event(
    kind: EventKind,
    name: &str,
    properties: &Map<String, Value>,
    message_id: &str,
    at: Instant,
) -> Option<ConsentSaid> {
    (kind == EventKind::Track && name == "Unsubscribed").then(|| ConsentSaid {
        purpose: "MARKETING".to_owned(),
        channel: "EMAIL".to_owned(),
        answer: ConsentAnswer::Withdrawn,
        origin: ConsentOrigin::Event,
        evidence: json!({"event": name, "messageId": message_id, "properties": properties}),
        at,
    })
}

/// The event by which a banner reports what somebody has just answered. What other messages carry of preferences is a stamp, which a
/// browser repeats for as long as it keeps the answer.
const ANSWERED: &str = "Segment Consent Preference Updated";

/// When a message grants something of its own accord and refuses nothing: somebody agrees, now, to being known. None: it does not.
pub fn granted_expressly(message: &Message) -> Option<Instant> {
    let reports = message.kind == EventKind::Track && message.name == ANSWERED;
    let is_grant = |said: &ConsentSaid| said.answer == ConsentAnswer::Granted;
    let is_express = |said: &&ConsentSaid| is_grant(said) && (reports || said.origin != ConsentOrigin::Preferences);
    match message.consents.iter().all(is_grant) {
        true => message.consents.iter().filter(is_express).map(|said| said.at).max(),
        false => None,
    }
}

/// A purpose as it is kept: as it was said, without blanks around it.
///
/// # Errors
/// Says what is wrong with it.
pub fn purpose(text: &str) -> Result<String, String> {
    let text = text.trim();
    check(text)?;
    Ok(text.to_owned())
}

/// A channel as it is kept, in capitals; none: any.
///
/// # Errors
/// Says what is wrong with it.
pub fn channel(text: Option<&str>) -> Result<String, String> {
    let text = text.unwrap_or(ANY).trim().to_uppercase();
    check(&text)?;
    Ok(text)
}

/// What two spellings of one purpose have in common.
pub fn folded(purpose: &str) -> String {
    purpose.to_lowercase()
}

fn check(text: &str) -> Result<(), String> {
    if text.is_empty() || text.chars().count() > MAX_CHARS || text.contains('\0') {
        return Err(format!("must have 1 to {MAX_CHARS} characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(context: &Value) -> Result<Vec<(String, String, ConsentAnswer)>, Refusal> {
        let said = preferences(context.as_object().unwrap(), "page", "m1", Instant::from_micros(7))?;
        Ok(said
            .into_iter()
            .map(|said| (said.purpose, said.channel, said.answer))
            .collect())
    }

    #[test]
    fn categories_are_purposes_on_any_channel() {
        let said = read(&json!({"consent": {"categoryPreferences": {"Advertising": true, "Analytics": false, "Other": null}}}));
        let any = || ANY.to_owned();
        let expected = vec![
            ("Advertising".to_owned(), any(), ConsentAnswer::Granted),
            ("Analytics".to_owned(), any(), ConsentAnswer::Denied),
        ];
        assert_eq!(said, Ok(expected));
        for nothing in [
            json!({}),
            json!({"consent": null}),
            json!({"consent": {"categoryPreferences": null}}),
        ] {
            assert_eq!(read(&nothing), Ok(Vec::new()), "{nothing}");
        }
    }

    #[test]
    fn of_two_spellings_of_one_category_the_refusal_counts() {
        for (one, other) in [(true, false), (false, true)] {
            let said = read(&json!({"consent": {"categoryPreferences": {"Ads": one, "ads": other}}})).unwrap();
            assert_eq!(said.len(), 1);
            assert_eq!(said[0].2, ConsentAnswer::Denied);
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_its_path() {
        let long = "x".repeat(256);
        for (context, field) in [
            (json!({"consent": true}), "context.consent"),
            (
                json!({"consent": {"categoryPreferences": ["Ads"]}}),
                "context.consent.categoryPreferences",
            ),
            (
                json!({"consent": {"categoryPreferences": {"Ads": "yes"}}}),
                "context.consent.categoryPreferences.Ads",
            ),
            (
                json!({"consent": {"categoryPreferences": {"Ads": 1}}}),
                "context.consent.categoryPreferences.Ads",
            ),
            (
                json!({"consent": {"categoryPreferences": {" ": true}}}),
                "context.consent.categoryPreferences. ",
            ),
        ] {
            let refusal = read(&context).unwrap_err();
            assert_eq!((refusal.code, refusal.field.as_deref()), ("invalid_consent", Some(field)));
        }
        assert!(read(&json!({"consent": {"categoryPreferences": {long: true}}})).is_err());
    }

    #[test]
    fn only_the_track_event_unsubscribed_withdraws() {
        let properties = Map::new();
        let said = |kind, name| of_event(kind, name, &properties, "m", Instant::from_micros(1));
        let withdrawn = said(EventKind::Track, "Unsubscribed").unwrap();
        assert_eq!(
            (withdrawn.purpose.as_str(), withdrawn.channel.as_str()),
            ("MARKETING", "EMAIL")
        );
        assert_eq!(withdrawn.answer, ConsentAnswer::Withdrawn);
        assert_eq!(said(EventKind::Page, "Unsubscribed"), None);
        assert_eq!(said(EventKind::Track, "Unsubscribed Again"), None);
    }
}
