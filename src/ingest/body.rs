//! A request body of the tracking API, cut into items without looking inside them: what is wrong inside one item cannot sink the others.
//!
//! What breaks the text as a whole (no UTF-8, no JSON, no object, `batch` no list) refuses the request; everything else is per item.

use super::json;
use super::message::{Message, Refusal};
use super::segment::{self, Surroundings};
use super::source::own_limit;
use crate::base::{Ids, Instant, SourceId};
use entity::{EventKind, source};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Why a whole request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyFault {
    pub code: &'static str,
    pub message: String,
}

impl BodyFault {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// What a request may carry.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub event_bytes: usize,
    pub events: usize,
}

impl Limits {
    /// Those of a source, which may have its own.
    pub fn of_source(self, source: &source::Model) -> Self {
        Self {
            event_bytes: own_limit(source.max_event_bytes, self.event_bytes),
            ..self
        }
    }

    /// Whether an event of this many bytes of JSON may pass; `field` is where it stands.
    pub(super) fn check_size(self, bytes: usize, field: Option<String>) -> Result<(), Refusal> {
        if bytes <= self.event_bytes {
            return Ok(());
        }
        Err(Refusal {
            code: "event_too_large",
            message: format!("the event has {bytes} bytes, the limit is {}", self.event_bytes),
            field,
        })
    }
}

/// A body whose outer form was read.
#[derive(Debug)]
pub struct Body<'a> {
    envelope: Envelope<'a>,
    /// For a single message: its whole text.
    single: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(borrow, default)]
    batch: Option<Vec<&'a RawValue>>,
    #[serde(default)]
    write_key: Option<Value>,
    #[serde(default)]
    sent_at: Option<Value>,
    #[serde(borrow, default)]
    context: Option<&'a RawValue>,
    #[serde(borrow, default)]
    integrations: Option<&'a RawValue>,
}

/// Only the key of a single message is read here: its other fields may hold anything.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SingleEnvelope {
    #[serde(default)]
    write_key: Option<Value>,
}

/// One refused item of a batch.
#[derive(Clone, Debug)]
pub struct RefusedItem {
    pub index: usize,
    pub refusal: Refusal,
    /// Its text as it came.
    pub payload: String,
}

/// Where, when and from whom a body came.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    pub source: SourceId,
    pub received_at: Instant,
    pub protected_traits: &'a [String],
    pub is_internal_id: fn(&str) -> bool,
    pub address: Option<&'a str>,
}

impl<'a> Body<'a> {
    /// A batch: `{"batch": [...]}`.
    pub fn batch(bytes: &'a [u8]) -> Result<Self, BodyFault> {
        let text = object_text(bytes)?;
        let envelope: Envelope<'a> = serde_json::from_str(text).map_err(|error| not_json(&error))?;
        if envelope.batch.is_none() {
            return Err(BodyFault::new("invalid_batch", "the body needs \"batch\": a list of events"));
        }
        Ok(Self { envelope, single: None })
    }

    /// One message, the whole body.
    pub fn single(bytes: &'a [u8]) -> Result<Self, BodyFault> {
        let raw: &RawValue = serde_json::from_str(object_text(bytes)?).map_err(|error| not_json(&error))?;
        // A message whose other fields are beyond repair is refused later, with the field; then only the header can name the key.
        let write_key = serde_json::from_str::<SingleEnvelope>(raw.get())
            .ok()
            .and_then(|envelope| envelope.write_key);
        let envelope = Envelope {
            batch: None,
            write_key,
            sent_at: None,
            context: None,
            integrations: None,
        };
        Ok(Self {
            envelope,
            single: Some(raw),
        })
    }

    /// The write key of the body: a batch's own, or that of its message.
    pub fn write_key(&self) -> Option<&str> {
        self.envelope.write_key.as_ref().and_then(Value::as_str)
    }

    /// Reads the single message of a body made by `single`.
    pub fn into_message(
        self,
        kind: Option<EventKind>,
        limits: Limits,
        arrival: &Arrival<'_>,
        ids: &Ids,
    ) -> Result<Message, Refusal> {
        let raw = self.single.map(RawValue::get).unwrap_or_default();
        let around = arrival.surroundings(kind, None, None, None);
        read(0, raw, limits, &around, arrival, ids)
    }

    /// Reads each item of a batch: messages, and what was refused.
    pub fn into_messages(
        self,
        limits: Limits,
        arrival: &Arrival<'_>,
        ids: &Ids,
    ) -> Result<(Vec<Message>, Vec<RefusedItem>), BodyFault> {
        let items = self.envelope.batch.unwrap_or_default();
        if items.len() > limits.events {
            let message = format!(
                "a batch may hold {} events, this one has {}: split it",
                limits.events,
                items.len()
            );
            return Err(BodyFault::new("too_many_events", message));
        }
        let context = shared_object(self.envelope.context, "context")?;
        let integrations = shared_object(self.envelope.integrations, "integrations")?;
        let around = arrival.surroundings(None, self.envelope.sent_at.as_ref(), context.as_ref(), integrations.as_ref());
        let mut messages = Vec::with_capacity(items.len());
        let mut refused = Vec::new();
        for (index, raw) in items.into_iter().enumerate() {
            match read(index, raw.get(), limits, &around, arrival, ids) {
                Ok(message) => messages.push(message),
                Err(refusal) => refused.push(RefusedItem {
                    index,
                    refusal,
                    payload: raw.get().to_owned(),
                }),
            }
        }
        Ok((messages, refused))
    }
}

impl Arrival<'_> {
    /// Reads one message that stands by itself; `new_id` makes the id of one that has none.
    pub(super) fn message(&self, item: Value, limits: Limits, new_id: impl FnOnce() -> String) -> Result<Message, Refusal> {
        limits.check_size(item.to_string().len(), None)?;
        segment::message(item, &self.surroundings(None, None, None, None), new_id)
    }

    fn surroundings<'s>(
        &'s self,
        kind: Option<EventKind>,
        sent_at: Option<&'s Value>,
        context: Option<&'s Map<String, Value>>,
        integrations: Option<&'s Map<String, Value>>,
    ) -> Surroundings<'s> {
        Surroundings {
            source: self.source,
            received_at: self.received_at,
            sent_at,
            kind,
            context,
            integrations,
            protected_traits: self.protected_traits,
            is_internal_id: self.is_internal_id,
            address: self.address,
        }
    }
}

fn read(
    place: usize,
    raw: &str,
    limits: Limits,
    around: &Surroundings<'_>,
    arrival: &Arrival<'_>,
    ids: &Ids,
) -> Result<Message, Refusal> {
    limits.check_size(raw.len(), None)?;
    let item = json::parse(raw)?;
    let mut message = segment::message(item, around, || format!("server-{}", ids.time_ordered(arrival.received_at)))?;
    message.place = place;
    Ok(message)
}

/// `context` and `integrations` of the batch belong to every item, so a fault in them is a fault of the request.
fn shared_object(raw: Option<&RawValue>, name: &str) -> Result<Option<Map<String, Value>>, BodyFault> {
    let Some(raw) = raw else { return Ok(None) };
    match json::parse(raw.get()) {
        Ok(Value::Null) => Ok(None),
        Ok(Value::Object(object)) => Ok(Some(object)),
        Ok(_) => Err(BodyFault::new(
            "invalid_batch",
            format!("{name} of the batch must be a JSON object"),
        )),
        Err(fault) => Err(BodyFault::new(fault.code, format!("{name} of the batch: {}", fault.message))),
    }
}

fn text(bytes: &[u8]) -> Result<&str, BodyFault> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        BodyFault::new(
            "invalid_utf8",
            format!("the body is not UTF-8 text (first bad byte at {})", error.valid_up_to()),
        )
    })?;
    Ok(text.trim_start_matches('\u{feff}'))
}

/// The reader would take a list for an object whose fields come in order, so the first character is looked at.
fn object_text(bytes: &[u8]) -> Result<&str, BodyFault> {
    let text = text(bytes)?.trim_start();
    match text.chars().next() {
        Some('[' | '"' | '0'..='9' | '-' | 't' | 'f' | 'n') => {
            let code = "invalid_batch";
            Err(BodyFault::new(
                code,
                "the body must be a JSON object: {\"batch\": [...]} or one event",
            ))
        }
        _ => Ok(text),
    }
}

fn not_json(error: &serde_json::Error) -> BodyFault {
    use serde_json::error::Category;
    match error.classify() {
        Category::Data => BodyFault::new(
            "invalid_batch",
            "the body must be a JSON object with \"batch\": a list of events",
        ),
        _ => BodyFault::new(
            "invalid_json",
            format!(
                "the body is not valid JSON (line {}, column {})",
                error.line(),
                error.column()
            ),
        ),
    }
}
