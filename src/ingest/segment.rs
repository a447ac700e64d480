//! The Segment tracking API's messages (RudderStack's are the same) turned into Tributary's. Pure: no clock, no database.

use super::message::{Assertion, KeyedBy, Message, Refusal};
use super::reserved;
use super::time::{Times, times};
use super::traits;
use super::{commerce, consent};
use crate::base::{Instant, SourceId};
use entity::{EventKind, IdentifierKind};
use serde_json::{Map, Value};

/// Longest id a message may carry; libraries stay under 100.
const MAX_ID_CHARS: usize = 255;
const MAX_NAME_CHARS: usize = 255;
/// More than anybody says about a person in one message.
const MAX_TRAITS: usize = 1000;

/// What surrounds a message.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    pub source: SourceId,
    pub received_at: Instant,
    /// Of the batch; a message's own wins.
    pub sent_at: Option<&'a Value>,
    /// The kind the path names, for messages without a `type`.
    pub kind: Option<EventKind>,
    /// Of the batch, put under each message's own.
    pub context: Option<&'a Map<String, Value>>,
    pub integrations: Option<&'a Map<String, Value>>,
    /// Traits that no channel may set.
    pub protected_traits: &'a [String],
    /// Whether a text is an id that only this server hands out: no source may speak of a person by it.
    pub is_internal_id: fn(&str) -> bool,
    /// The sender's address, kept in `context.ip` for browsers (`context.direct`).
    pub address: Option<&'a str>,
}

/// Turns one message of the wire into ours. `new_id` makes a message id when there is none.
pub fn message(item: Value, around: &Surroundings<'_>, new_id: impl FnOnce() -> String) -> Result<Message, Refusal> {
    let Value::Object(mut fields) = item else {
        return Err(Refusal {
            code: "invalid_event",
            message: "an event must be a JSON object".to_owned(),
            field: None,
        });
    };
    let kind = kind(&fields, around.kind)?;
    let user_id = id(&mut fields, "userId", "user_id")?;
    let anonymous_id = id(&mut fields, "anonymousId", "anonymous_id")?;
    let by_user = user_id.as_ref().map(|id| (format!("u:{id}"), KeyedBy::UserId));
    let by_device = || anonymous_id.as_ref().map(|id| (format!("a:{id}"), KeyedBy::AnonymousId));
    let Some((external_key, keyed_by)) = by_user.or_else(by_device) else {
        return Err(Refusal::new(
            "no_user_anon_id",
            "userId",
            "needs a userId or an anonymousId: without one it is about nobody",
        ));
    };
    refuse_internal_ids(
        around,
        &fields,
        [("userId", user_id.as_deref()), ("anonymousId", anonymous_id.as_deref())],
    )?;
    let message_id = match id(&mut fields, "messageId", "message_id")? {
        Some(id) => id,
        None => new_id(),
    };
    let name = name(kind, &mut fields)?;
    require_for(kind, &fields, user_id.as_deref())?;

    let mut context = object(&mut fields, "context")?.unwrap_or_default();
    lay_under(&mut context, around.context);
    if let Some(address) = around.address
        && context.get("direct") == Some(&Value::Bool(true))
    {
        context.entry("ip").or_insert_with(|| address.into());
    }
    let mut integrations = object(&mut fields, "integrations")?.unwrap_or_default();
    lay_under(&mut integrations, around.integrations);

    let stated = present(&fields, "timestamp").or_else(|| present(&fields, "originalTimestamp"));
    let times = times(stated, present(&fields, "sentAt").or(around.sent_at), around.received_at);

    let body = match kind {
        EventKind::Identify | EventKind::Group => object(&mut fields, "traits")?.unwrap_or_default(),
        _ => object(&mut fields, "properties")?.unwrap_or_default(),
    };
    let said_of_person = (kind == EventKind::Identify).then_some(&body);
    let traits = traits::canonical(said_of_person, object_in(&context, "traits")?);
    refuse_protected(&traits, around.protected_traits)?;
    check_trait_names(&traits)?;
    if let (Some(_), Some(anonymous_id)) = (&user_id, &anonymous_id) {
        // The record's key says one of the two; this says which device it was.
        fields.insert("anonymousId".to_owned(), anonymous_id.clone().into());
    }
    forget_read_times(&mut fields, &times);
    let identifiers = identifiers(user_id, anonymous_id, &traits, &context);
    if let Some(assertion) = identifiers.iter().find(|assertion| (around.is_internal_id)(&assertion.value)) {
        let message = format!(
            "{} is an id of this server, which no source may claim as its own",
            assertion.value
        );
        return Err(Refusal::new("internal_id", "context", message));
    }
    let order = match kind {
        EventKind::Track => {
            reserved::check(&name, &body)?;
            commerce::order_report(&name, &body, &message_id)?
        }
        _ => None,
    };
    let mut consents = consent::preferences(&context, &name, &message_id, times.occurred_at)?;
    consents.extend(consent::of_event(kind, &name, &body, &message_id, times.occurred_at));
    Ok(Message {
        source: around.source,
        place: 0,
        kind,
        message_id,
        name,
        external_key,
        keyed_by,
        occurred_at: times.occurred_at,
        received_at: around.received_at,
        original_at: times.original_at,
        sent_at: times.sent_at,
        flags: times.flags,
        traits,
        identifiers,
        order,
        consents,
        properties: body,
        context: rest(fields, context, integrations),
    })
}

fn kind(fields: &Map<String, Value>, of_path: Option<EventKind>) -> Result<EventKind, Refusal> {
    match fields.get("type").filter(|value| !value.is_null()) {
        None => of_path.ok_or_else(|| {
            Refusal::new(
                "missing_type",
                "type",
                "needs a type: identify, track, page, screen, group or alias",
            )
        }),
        Some(Value::String(text)) => kind_named(text).ok_or_else(|| {
            Refusal::new(
                "unknown_type",
                "type",
                "must be identify, track, page, screen, group or alias",
            )
        }),
        Some(_) => Err(Refusal::new(
            "unknown_type",
            "type",
            "must be a text: identify, track, page, screen, group or alias",
        )),
    }
}

/// The kind of a call by its name on the wire.
pub fn kind_named(name: &str) -> Option<EventKind> {
    Some(match name {
        "track" => EventKind::Track,
        "page" => EventKind::Page,
        "screen" => EventKind::Screen,
        "identify" => EventKind::Identify,
        "group" => EventKind::Group,
        "alias" => EventKind::Alias,
        _ => return None,
    })
}

/// An id as text; null and empty mean absent, and older callers send numbers.
fn id(fields: &mut Map<String, Value>, name: &str, snake_case: &str) -> Result<Option<String>, Refusal> {
    let value = fields
        .remove(name)
        .filter(|value| !value.is_null())
        .or_else(|| fields.remove(snake_case));
    let text = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.trim().to_owned(),
        // Beyond 64 bits a number has lost digits, and two people would share one id.
        Some(Value::Number(number)) if !number.is_f64() => number.to_string(),
        Some(Value::Number(_)) => {
            return Err(Refusal::new(
                "invalid_id",
                name,
                "is no whole number of 64 bits: send it as a text",
            ));
        }
        Some(_) => return Err(Refusal::new("invalid_id", name, "must be a text or a whole number")),
    };
    check_id_length(&text, name)?;
    Ok((!text.is_empty()).then_some(text))
}

pub(super) fn check_id_length(id: &str, field: impl Into<String>) -> Result<(), Refusal> {
    if id.chars().count() > MAX_ID_CHARS {
        let message = format!("must have at most {MAX_ID_CHARS} characters");
        return Err(Refusal::new("id_too_long", field, message));
    }
    Ok(())
}

fn name(kind: EventKind, fields: &mut Map<String, Value>) -> Result<String, Refusal> {
    let field = match kind {
        EventKind::Track => "event",
        EventKind::Page | EventKind::Screen => "name",
        EventKind::Identify | EventKind::Group | EventKind::Alias => return event_name(kind, None, "type"),
    };
    let named = match fields.get(field) {
        Some(Value::String(text)) => Some(text.as_str()),
        None | Some(Value::Null) => None,
        Some(_) => return Err(Refusal::new("invalid_event_name", field, "must be a text")),
    };
    let name = event_name(kind, named, field)?;
    fields.remove(field);
    Ok(name)
}

/// The name of an event: as it was named, else that of its call.
pub(super) fn event_name(kind: EventKind, named: Option<&str>, field: &str) -> Result<String, Refusal> {
    let of_call = match kind {
        EventKind::Track => None,
        EventKind::Page => Some("page"),
        EventKind::Screen => Some("screen"),
        EventKind::Identify => Some("identify"),
        EventKind::Group => Some("group"),
        EventKind::Alias => Some("alias"),
    };
    let Some(name) = named.map(str::trim).filter(|name| !name.is_empty()).or(of_call) else {
        return Err(Refusal::new(
            "missing_event_name",
            field,
            "a track call needs the name of its event",
        ));
    };
    if name.chars().count() > MAX_NAME_CHARS {
        return Err(Refusal::new(
            "event_name_too_long",
            field,
            format!("must have at most {MAX_NAME_CHARS} characters"),
        ));
    }
    Ok(name.to_owned())
}

fn require_for(kind: EventKind, fields: &Map<String, Value>, user_id: Option<&str>) -> Result<(), Refusal> {
    match kind {
        EventKind::Alias if user_id.is_none() => Err(Refusal::new(
            "missing_user_id",
            "userId",
            "an alias call needs the new userId",
        )),
        EventKind::Alias if is_absent(fields, "previousId") => Err(Refusal::new(
            "missing_previous_id",
            "previousId",
            "an alias call needs the previousId",
        )),
        EventKind::Group if is_absent(fields, "groupId") => {
            Err(Refusal::new("missing_group_id", "groupId", "a group call needs the groupId"))
        }
        _ => Ok(()),
    }
}

fn refuse_internal_ids(
    around: &Surroundings<'_>,
    fields: &Map<String, Value>,
    ids: [(&str, Option<&str>); 2],
) -> Result<(), Refusal> {
    let previous = ("previousId", fields.get("previousId").and_then(Value::as_str));
    for (field, id) in ids.into_iter().chain([previous]) {
        if id.is_some_and(around.is_internal_id) {
            return Err(Refusal::new(
                "internal_id",
                field,
                "is an id of this server, which no source may claim as its own",
            ));
        }
    }
    Ok(())
}

fn is_absent(fields: &Map<String, Value>, name: &str) -> bool {
    match fields.get(name) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.trim().is_empty(),
        Some(_) => false,
    }
}

fn present<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.get(name).filter(|value| !value.is_null())
}

fn object(fields: &mut Map<String, Value>, name: &'static str) -> Result<Option<Map<String, Value>>, Refusal> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(Refusal::new("invalid_object", name, "must be a JSON object")),
    }
}

fn object_in<'a>(context: &'a Map<String, Value>, name: &'static str) -> Result<Option<&'a Map<String, Value>>, Refusal> {
    match context.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(Refusal::new(
            "invalid_object",
            format!("context.{name}"),
            "must be a JSON object",
        )),
    }
}

fn lay_under(fields: &mut Map<String, Value>, under: Option<&Map<String, Value>>) {
    for (key, value) in under.into_iter().flatten() {
        fields.entry(key.clone()).or_insert_with(|| value.clone());
    }
}

pub(super) fn refuse_protected(traits: &[(String, Value)], protected: &[String]) -> Result<(), Refusal> {
    for (name, value) in traits {
        // What lies inside a trait is read as `consent.x`, too.
        if name.starts_with("consent.") || (name == "consent" && value.is_object()) {
            let remedy = "consent is not a trait: send context.consent.categoryPreferences";
            return Err(Refusal::new("protected_trait", format!("traits.{name}"), remedy));
        }
        if protected.iter().any(|protected| traits::canonical_name(protected) == name) {
            return Err(Refusal::new(
                "protected_trait",
                format!("traits.{name}"),
                "no channel may set this trait",
            ));
        }
    }
    Ok(())
}

/// A name is a key of the catalogue, and keys are short.
pub(super) fn check_trait_names(traits: &[(String, Value)]) -> Result<(), Refusal> {
    if traits.len() > MAX_TRAITS {
        return Err(Refusal::new(
            "too_many_traits",
            "traits",
            format!("may name {MAX_TRAITS} traits: put lists and tables into one"),
        ));
    }
    match traits
        .iter()
        .find(|(name, _)| name.is_empty() || name.chars().count() > MAX_NAME_CHARS)
    {
        Some(_) => Err(Refusal::new(
            "invalid_trait_name",
            "traits",
            format!("a trait's name must have 1 to {MAX_NAME_CHARS} characters"),
        )),
        None => Ok(()),
    }
}

fn identifiers(
    user_id: Option<String>,
    anonymous_id: Option<String>,
    traits: &[(String, Value)],
    context: &Map<String, Value>,
) -> Vec<Assertion> {
    let mut found = Vec::with_capacity(2);
    let mut assert = |kind, namespace: &str, value: String| {
        let assertion = Assertion {
            kind,
            namespace: namespace.to_owned(),
            value,
        };
        if !found.contains(&assertion) {
            found.push(assertion);
        }
    };
    for (kind, id) in [(IdentifierKind::UserId, user_id), (IdentifierKind::AnonymousId, anonymous_id)] {
        if let Some(id) = id {
            assert(kind, "", id);
        }
    }
    for Assertion { kind, value, .. } in in_traits(traits) {
        assert(kind, "", value);
    }
    if let Some(Value::Object(device)) = context.get("device") {
        let tracking_allowed = device.get("adTrackingEnabled") == Some(&Value::Bool(true));
        for (name, usable) in [("id", true), ("advertisingId", tracking_allowed)] {
            if let Some(value) = device.get(name).and_then(scalar).filter(|_| usable) {
                assert(IdentifierKind::DeviceId, "", value);
            }
        }
    }
    for external in context.get("externalIds").and_then(Value::as_array).into_iter().flatten() {
        let of_people = external.get("collection").is_none_or(|collection| collection == "users");
        if let (Some(value), Some(Value::String(type_name)), true) =
            (external.get("id").and_then(scalar), external.get("type"), of_people)
        {
            let (kind, namespace) = external_kind(type_name);
            assert(kind, namespace, value);
        }
    }
    found
}

/// The traits that recognise people.
pub(super) fn in_traits(traits: &[(String, Value)]) -> impl Iterator<Item = Assertion> {
    let named = [(IdentifierKind::Email, "email"), (IdentifierKind::Phone, "phone")];
    named.into_iter().filter_map(|(kind, name)| {
        let (_, value) = traits.iter().find(|(trait_name, _)| trait_name == name)?;
        let (namespace, value) = (String::new(), scalar(value)?);
        Some(Assertion { kind, namespace, value })
    })
}

/// The kind behind a type of `context.externalIds`; an unknown one is an external id in the namespace of its name.
fn external_kind(type_name: &str) -> (IdentifierKind, &str) {
    match type_name {
        "user_id" | "userId" => (IdentifierKind::UserId, ""),
        "anonymous_id" | "anonymousId" => (IdentifierKind::AnonymousId, ""),
        "email" => (IdentifierKind::Email, ""),
        "phone" => (IdentifierKind::Phone, ""),
        "device_id" | "deviceId" | "ios.id" | "android.id" | "ios.idfa" | "android.idfa" => (IdentifierKind::DeviceId, ""),
        "loyalty_id" | "loyaltyId" => (IdentifierKind::LoyaltyId, ""),
        other => (IdentifierKind::ExternalId, other),
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

/// Times that have columns need not be kept twice; those that could not be read, or were not used, stay as they came.
fn forget_read_times(fields: &mut Map<String, Value>, times: &Times) {
    if times.original_at.is_some() && fields.remove("timestamp").is_none_or(|stated| stated.is_null()) {
        fields.remove("originalTimestamp");
    }
    if times.sent_at.is_some() {
        fields.remove("sentAt");
    }
}

/// What is kept beside the columns: everything the sender said, but its write key and its library's own notes.
fn rest(fields: Map<String, Value>, context: Map<String, Value>, integrations: Map<String, Value>) -> Map<String, Value> {
    const NOT_KEPT: [&str; 5] = ["type", "writeKey", "receivedAt", "version", "_metadata"];
    let mut rest: Map<String, Value> = fields
        .into_iter()
        .filter(|(name, _)| !NOT_KEPT.contains(&name.as_str()))
        .collect();
    if !context.is_empty() {
        rest.insert("context".to_owned(), Value::Object(context));
    }
    if !integrations.is_empty() {
        rest.insert("integrations".to_owned(), Value::Object(integrations));
    }
    rest
}

#[cfg(test)]
#[path = "segment_tests.rs"]
mod tests;
