//! Decisions and steps of evidence in one English sentence. Pure.

use entity::{IdentifierKind, IdentityDecisionKind, identifier, identity_decision};
use serde_json::Value as Json;

/// A decision in one sentence. `value`: what it is about, if it is about a value.
pub fn of_decision(decision: &identity_decision::Model, value: Option<&identifier::Model>) -> String {
    let value = value.map_or_else(|| "a value".to_owned(), in_words);
    let evidence = &decision.evidence;
    let obstacle = obstacle(evidence);
    let is_link = evidence.get("records").is_some();
    let what = match decision.kind {
        IdentityDecisionKind::Link => format!("Two customers became one, since both showed {value}"),
        IdentityDecisionKind::Merge if evidence.get("alias").is_some() => {
            format!("{} said that two of its ids are one person", speaker(&decision.actor))
        }
        IdentityDecisionKind::Merge if is_link => format!("{} said that two records are one person", decision.actor),
        IdentityDecisionKind::Merge => format!("{} merged two customers", decision.actor),
        IdentityDecisionKind::Split if evidence.get("customer").is_some() => {
            let count = evidence["records"].as_array().map_or(0, Vec::len);
            let who = match count {
                1 => "one record of a customer is".to_owned(),
                count => format!("{count} records of a customer are"),
            };
            format!("{} said that {who} another person than the rest", decision.actor)
        }
        IdentityDecisionKind::Split => format!("{} said that two records are different people", decision.actor),
        IdentityDecisionKind::Block => format!("{} said that {value} recognises nobody", decision.actor),
        IdentityDecisionKind::Release => format!("{} said that {value} recognises people after all", decision.actor),
        IdentityDecisionKind::Revoke => {
            let kind = evidence["kind"].as_str().unwrap_or("decision").to_lowercase();
            format!("{} took a {kind} back", decision.actor)
        }
        IdentityDecisionKind::Hold => match (evidence.get("alias"), evidence["because"].as_str()) {
            (Some(_), _) => format!(
                "{} says that two of its ids are one person, and its aliases wait for a person",
                speaker(&decision.actor)
            ),
            (None, Some("shared")) => {
                let count = &evidence["customers"];
                format!("{value} recognises nobody for now, since {count} customers have shown it")
            }
            _ => format!("{value} was shown and joined nobody, since {obstacle}; it waits for a person"),
        },
        IdentityDecisionKind::SetAside if evidence.get("alias").is_some() => {
            let source = speaker(&decision.actor);
            format!("{source} said that two of its ids are one person, and they stay apart, since {obstacle}")
        }
        IdentityDecisionKind::SetAside => format!("{value} was shown and joined nobody, since {obstacle}"),
        IdentityDecisionKind::Move => {
            format!("{value} passed to the customer who showed it last, without joining the two, since {obstacle}")
        }
        IdentityDecisionKind::Rules => "Other rules were published".to_owned(),
        IdentityDecisionKind::Probable => "Records were joined by a probability".to_owned(),
        IdentityDecisionKind::Erase => "A person was erased".to_owned(),
    };
    let what = capitalised(&what);
    match decision.reason.as_deref() {
        Some(reason) => format!("{what}: {}.", reason.trim().trim_end_matches('.')),
        None => format!("{what}."),
    }
}

/// Two records have shown one value, in one sentence.
pub fn of_value(value: &identifier::Model) -> String {
    format!("Both records showed {}.", in_words(value))
}

fn in_words(value: &identifier::Model) -> String {
    let kind = match value.kind {
        IdentifierKind::UserId => "the user id",
        IdentifierKind::AnonymousId => "the anonymous id",
        IdentifierKind::Email => "the e-mail address",
        IdentifierKind::Phone => "the telephone number",
        IdentifierKind::DeviceId => "the device",
        IdentifierKind::LoyaltyId => "the loyalty card",
        IdentifierKind::ExternalId => "the external id",
    };
    let namespace = if value.namespace.is_empty() {
        String::new()
    } else {
        format!(" of {}", value.namespace)
    };
    format!("{kind} {}{namespace}", value.value)
}

/// Why something was not accepted, as evidence keeps it.
fn obstacle(evidence: &Json) -> String {
    match evidence["because"].as_str().unwrap_or_default() {
        "limit" => {
            let kind = evidence["type"].as_str().unwrap_or("kind").replace('_', " ");
            format!("a customer may hold {} of type {kind}", evidence["limit"])
        }
        "cannot_link" => "a decision keeps the two apart".to_owned(),
        "disagreement" => {
            let attribute = evidence["attribute"].as_str().unwrap_or("attribute").replace('_', " ");
            format!("the two sides differ in their {attribute}")
        }
        "too_many_records" => format!(
            "a customer with more than {} records joins nobody by itself",
            evidence["limit"]
        ),
        "too_many_joins" => format!("it has joined {} customers in a short time", evidence["limit"]),
        _ => "a rule stood against it".to_owned(),
    }
}

fn speaker(actor: &str) -> String {
    match actor.strip_prefix("source:") {
        Some(source) => format!("the source {source}"),
        None => actor.to_owned(),
    }
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next();
    first.into_iter().flat_map(char::to_uppercase).chain(characters).collect()
}
