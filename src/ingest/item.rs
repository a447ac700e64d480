//! Items of `recordsIngest`: what a server knows of one record, with its events and purchases at once, turned into messages. Pure.
//!
//! Promises: the checks are those of the tracking API, and a purchase is stored as the order event it would have been there; the same
//! item makes the same messages again, with the same ids. Leaves to others: who is asked, the commit, and the receipts.

mod as_sent;

use self::as_sent::{canonical, identifier_as_sent, put_list};
use super::body::{Arrival, BodyFault, Limits, RefusedItem};
use super::message::{Assertion, ConsentSaid, KeyedBy, Message, OrderReportKind, Refusal};
use super::segment::{check_id_length, check_trait_names, event_name, in_traits, refuse_protected};
use super::time::read_times;
use super::{commerce, consent, json, reserved, traits};
use crate::base::ids::HashKey;
use crate::base::{Instant, SourceId};
use entity::{ConsentAnswer, ConsentOrigin, EventKind, IdentifierKind};
use serde_json::{Map, Value};
use std::collections::HashSet;

/// Items of one call: as many as a caller still looks through when some are refused.
pub const MAX_ITEMS: usize = 500;

/// What a server knows of one record.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The record's key in its source, kept as it is.
    pub key: String,
    /// Recognises a redelivery; none: the content does.
    pub message_id: Option<String>,
    /// None: when it was received.
    pub at: Option<Instant>,
    pub identifiers: Vec<Assertion>,
    /// An object, else the item is refused; null values clear.
    pub traits: Option<Value>,
    pub events: Vec<EventItem>,
    pub purchases: Vec<PurchaseItem>,
    pub consents: Vec<ConsentItem>,
}

/// What the person answered to being spoken to.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsentItem {
    pub purpose: String,
    /// None: all of them.
    pub channel: Option<String>,
    pub answer: ConsentAnswer,
    pub evidence: Option<Value>,
    /// None: that of the item.
    pub at: Option<Instant>,
}

/// Something the person did.
#[derive(Clone, Debug, PartialEq)]
pub struct EventItem {
    /// Track, page or screen.
    pub kind: EventKind,
    /// A track event needs one.
    pub name: Option<String>,
    /// None: that of the item.
    pub at: Option<Instant>,
    pub message_id: Option<String>,
    pub properties: Option<Value>,
}

/// What is said of one order.
#[derive(Clone, Debug, PartialEq)]
pub struct PurchaseItem {
    pub kind: OrderReportKind,
    pub order_id: String,
    /// None: that of the item.
    pub at: Option<Instant>,
    pub message_id: Option<String>,
    /// Decimal text; none: what the lines add up to, or for a refund all that is left.
    pub amount: Option<String>,
    pub currency: Option<String>,
    pub lines: Vec<LineItem>,
}

/// A product of an order.
#[derive(Clone, Debug, PartialEq)]
pub struct LineItem {
    pub sku: String,
    pub name: Option<String>,
    pub category: Option<String>,
    pub quantity: i64,
    /// Of one piece, decimal text.
    pub price: Option<String>,
}

/// Reads each item: messages, those of one item in a row with its place in them, and what was refused.
///
/// # Errors
/// When there are no items, or more than one call may bring.
pub fn into_messages(
    items: Vec<Item>,
    limits: Limits,
    arrival: &Arrival<'_>,
    keys: &HashKey,
) -> Result<(Vec<Message>, Vec<RefusedItem>), BodyFault> {
    let counted = items.iter().map(|item| 1 + item.events.len() + item.purchases.len());
    let (count, events) = (items.len(), counted.sum::<usize>());
    if !(1..=MAX_ITEMS).contains(&count) {
        let message = format!("a call may hold 1 to {MAX_ITEMS} items, this one has {count}");
        return Err(BodyFault::new("too_many_items", message));
    }
    if events > limits.events {
        let message = format!(
            "items, their events and their purchases may be {} together, these are {events}: split the call",
            limits.events
        );
        return Err(BodyFault::new("too_many_events", message));
    }
    let mut messages = Vec::with_capacity(events);
    let mut refused = Vec::new();
    for (place, item) in items.iter().enumerate() {
        let as_sent = item.as_sent();
        let reading = Reading {
            item,
            place,
            limits,
            arrival,
        };
        match reading.messages(&as_sent, keys) {
            Ok(of_item) => messages.extend(of_item),
            Err(refusal) => refused.push(RefusedItem {
                index: place,
                refusal,
                payload: as_sent.to_string(),
            }),
        }
    }
    Ok((messages, refused))
}

/// The messages of a row of a file. What it says of the person is one, an event or a purchase another; a row that says nothing of the
/// person but who it is has no message for that alone. `nth` answers how often a
/// content came in this file, this time included: with it a row without an id of its own has the same id whenever the file is read.
pub fn messages_of_row(
    mut item: Item,
    limits: Limits,
    arrival: &Arrival<'_>,
    keys: &HashKey,
    nth: impl FnOnce(&[u8; 32]) -> u64,
) -> Result<Vec<Message>, Refusal> {
    let as_sent = item.as_sent();
    if item.message_id.is_none() {
        let content = *blake3::hash(canonical(&as_sent).as_bytes()).as_bytes();
        item.message_id = Some(row_id(keys, arrival.source, &content, nth(&content)));
    }
    let reading = Reading {
        item: &item,
        place: 0,
        limits,
        arrival,
    };
    let mut messages = reading.messages(&as_sent, keys)?;
    let says_who_only = messages[0].traits.is_empty() && messages[0].consents.is_empty();
    if says_who_only && messages.len() > 1 {
        let who = messages.remove(0);
        messages[0].identifiers = who.identifiers;
        messages[0].context = who.context;
    }
    Ok(messages)
}

/// The id of a row that has none: the n-th with this content in a file of this source.
pub(super) fn row_id(keys: &HashKey, source: SourceId, content: &[u8; 32], nth: u64) -> String {
    let parts = [source.0.as_bytes().as_slice(), content, &nth.to_le_bytes()];
    format!("row-{}", keys.id("row", &parts))
}

/// An item on its way to messages.
struct Reading<'a> {
    item: &'a Item,
    place: usize,
    limits: Limits,
    arrival: &'a Arrival<'a>,
}

impl Reading<'_> {
    fn messages(&self, as_sent: &Value, keys: &HashKey) -> Result<Vec<Message>, Refusal> {
        json::check(as_sent)?;
        self.check_key()?;
        let item_id = match message_id(self.item.message_id.as_deref(), "messageId")? {
            Some(id) => id,
            None => {
                let content = canonical(as_sent);
                format!(
                    "item-{}",
                    keys.id("item", &[self.arrival.source.0.as_bytes(), content.as_bytes()])
                )
            }
        };
        let mut messages = Vec::with_capacity(1 + self.item.events.len() + self.item.purchases.len());
        messages.push(self.identify(item_id.clone())?);
        for (n, event) in self.item.events.iter().enumerate() {
            let field = format!("events.{n}");
            messages.push(self.event(event, n, &item_id).map_err(|refusal| inside(&field, refusal))?);
        }
        for (n, purchase) in self.item.purchases.iter().enumerate() {
            let field = format!("purchases.{n}");
            messages.push(
                self.purchase(purchase, n, &item_id)
                    .map_err(|refusal| inside(&field, refusal))?,
            );
        }
        self.check_distinct(&messages)?;
        Ok(messages)
    }

    fn check_key(&self) -> Result<(), Refusal> {
        let key = &self.item.key;
        if key.trim().is_empty() {
            let message = "must not be empty: it is how the source calls the record";
            return Err(Refusal::new("invalid_id", "key", message));
        }
        check_id_length(key, "key")?;
        self.check_internal(key, "key")?;
        Ok(())
    }

    fn check_internal(&self, value: &str, field: &str) -> Result<(), Refusal> {
        if (self.arrival.is_internal_id)(value) {
            let message = "is an id of this server, which no source may claim as its own";
            return Err(Refusal::new("internal_id", field, message));
        }
        Ok(())
    }

    /// What is said of the person.
    fn identify(&self, message_id: String) -> Result<Message, Refusal> {
        let item = self.item;
        let said = object(item.traits.as_ref(), "traits")?;
        let mut context = Map::new();
        // Values that recognise nobody are in no link, and what the sender said is not lost.
        put_list(&mut context, "identifiers", item.identifiers.iter().map(identifier_as_sent));
        put_list(&mut context, "consents", item.consents.iter().map(ConsentItem::as_sent));
        // First of all: below, each trait and identifier is compared with each other.
        self.limits.check_size(bytes(&said) + bytes(&context), None)?;
        let traits = traits::canonical(Some(&said), None);
        refuse_protected(&traits, self.arrival.protected_traits)?;
        check_trait_names(&traits)?;
        let mut identifiers: Vec<Assertion> = Vec::with_capacity(item.identifiers.len());
        for (n, identifier) in item.identifiers.iter().map(trimmed).enumerate() {
            self.check_identifier(&identifier, &format!("identifiers.{n}"))?;
            if !identifiers.contains(&identifier) {
                identifiers.push(identifier);
            }
        }
        for identifier in in_traits(&traits) {
            let name = if identifier.kind == IdentifierKind::Email {
                "email"
            } else {
                "phone"
            };
            self.check_internal(&identifier.value, &format!("traits.{name}"))?;
            if !identifiers.contains(&trimmed(&identifier)) {
                identifiers.push(identifier);
            }
        }
        let consents = self.consents()?;
        Ok(Message {
            traits,
            identifiers,
            consents,
            context,
            ..self.message(EventKind::Identify, "identify".to_owned(), message_id, None, said)
        })
    }

    fn consents(&self) -> Result<Vec<ConsentSaid>, Refusal> {
        let mut consents = Vec::with_capacity(self.item.consents.len());
        if self.item.consents.len() > consent::MAX_ANSWERS {
            let message = format!("may hold {} answers", consent::MAX_ANSWERS);
            return Err(Refusal::new("invalid_consent", "consents", message));
        }
        for (n, said) in self.item.consents.iter().enumerate() {
            let wrong =
                |(part, problem): (&str, String)| Refusal::new("invalid_consent", format!("consents.{n}.{part}"), problem);
            let times = read_times(said.at.or(self.item.at), None, self.arrival.received_at);
            consents.push(ConsentSaid {
                purpose: consent::purpose(&said.purpose).map_err(|problem| wrong(("purpose", problem)))?,
                channel: consent::channel(said.channel.as_deref()).map_err(|problem| wrong(("channel", problem)))?,
                answer: said.answer,
                origin: ConsentOrigin::Record,
                evidence: said.evidence.clone().unwrap_or_default(),
                at: times.occurred_at,
            });
        }
        Ok(consents)
    }

    fn check_identifier(&self, identifier: &Assertion, field: &str) -> Result<(), Refusal> {
        let value_field = format!("{field}.value");
        if identifier.value.is_empty() {
            let message = "must not be empty: leave out an identifier that is not known";
            return Err(Refusal::new("invalid_id", value_field, message));
        }
        if identifier.kind == IdentifierKind::ExternalId && identifier.namespace.is_empty() {
            let message = "an EXTERNAL_ID needs the namespace it is unique in, such as the name of its system";
            return Err(Refusal::new("missing_namespace", format!("{field}.namespace"), message));
        }
        check_id_length(&identifier.value, value_field.as_str())?;
        check_id_length(&identifier.namespace, format!("{field}.namespace"))?;
        self.check_internal(&identifier.value, &value_field)
    }

    fn event(&self, event: &EventItem, n: usize, item_id: &str) -> Result<Message, Refusal> {
        let name = event_name(event.kind, event.name.as_deref(), "name")?;
        let own_id = message_id(event.message_id.as_deref(), "messageId")?;
        let message_id = own_id.unwrap_or_else(|| format!("{item_id}/event/{n}"));
        let properties = object(event.properties.as_ref(), "properties")?;
        self.limits.check_size(bytes(&properties), Some(String::new()))?;
        let order = match event.kind {
            EventKind::Track => {
                reserved::check(&name, &properties)?;
                commerce::order_report(&name, &properties, &message_id)?
            }
            _ => None,
        };
        let message = self.message(event.kind, name, message_id, event.at, properties);
        let (properties, at) = (&message.properties, message.occurred_at);
        let consents = consent::of_event(message.kind, &message.name, properties, &message.message_id, at);
        Ok(Message {
            order,
            consents: consents.into_iter().collect(),
            ..message
        })
    }

    fn purchase(&self, purchase: &PurchaseItem, n: usize, item_id: &str) -> Result<Message, Refusal> {
        let own_id = message_id(purchase.message_id.as_deref(), "messageId")?;
        let message_id = own_id.unwrap_or_else(|| format!("{item_id}/purchase/{n}"));
        if purchase.order_id.trim().is_empty() {
            let message = "must not be empty: by it an order is counted once, and found again by its refund";
            return Err(Refusal::new("missing_order_id", "orderId", message));
        }
        check_id_length(purchase.order_id.trim(), "orderId")?;
        if let Some(n) = purchase.lines.iter().position(|line| line.sku.trim().is_empty()) {
            let message = "must not be empty: a line without a product says nothing";
            return Err(Refusal::new("invalid_products", format!("lines.{n}.sku"), message));
        }
        let (name, properties) = purchase.event();
        self.limits.check_size(bytes(&properties), Some(String::new()))?;
        let order = commerce::order_report(name, &properties, &message_id).map_err(in_words_of_purchase)?;
        Ok(Message {
            order,
            ..self.message(EventKind::Track, name.to_owned(), message_id, purchase.at, properties)
        })
    }

    fn message(
        &self,
        kind: EventKind,
        name: String,
        message_id: String,
        at: Option<Instant>,
        properties: Map<String, Value>,
    ) -> Message {
        let received_at = self.arrival.received_at;
        let times = read_times(at.or(self.item.at), None, received_at);
        Message {
            source: self.arrival.source,
            place: self.place,
            kind,
            message_id,
            name,
            external_key: self.item.key.clone(),
            keyed_by: KeyedBy::Sender,
            occurred_at: times.occurred_at,
            received_at,
            original_at: times.original_at,
            sent_at: None,
            flags: times.flags,
            traits: Vec::new(),
            identifiers: Vec::new(),
            order: None,
            consents: Vec::new(),
            properties,
            context: Map::new(),
        }
    }

    /// Of two messages with one id only the first would be stored, and the other lost in silence.
    fn check_distinct(&self, messages: &[Message]) -> Result<(), Refusal> {
        let mut seen = HashSet::with_capacity(messages.len());
        let Some(twice) = messages.iter().position(|message| !seen.insert(message.message_id.as_str())) else {
            return Ok(());
        };
        let events = self.item.events.len();
        let field = match twice.checked_sub(1 + events) {
            Some(purchase) => format!("purchases.{purchase}.messageId"),
            None => format!("events.{}.messageId", twice.saturating_sub(1)),
        };
        let message = "is used twice in this item: the item, each event and each purchase need ids of their own";
        Err(Refusal::new("duplicate_message_id", field, message))
    }
}

/// An id of a message; blank ones are none.
fn message_id(id: Option<&str>, field: &str) -> Result<Option<String>, Refusal> {
    let Some(id) = id.map(str::trim).filter(|id| !id.is_empty()) else {
        return Ok(None);
    };
    check_id_length(id, field)?;
    Ok(Some(id.to_owned()))
}

fn trimmed(identifier: &Assertion) -> Assertion {
    Assertion {
        kind: identifier.kind,
        namespace: identifier.namespace.trim().to_owned(),
        value: identifier.value.trim().to_owned(),
    }
}

fn object(value: Option<&Value>, field: &str) -> Result<Map<String, Value>, Refusal> {
    match value {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(object)) => Ok(object.clone()),
        Some(_) => Err(Refusal::new("invalid_object", field, "must be a JSON object")),
    }
}

fn bytes(object: &Map<String, Value>) -> usize {
    serde_json::to_string(object).map_or(0, |text| text.len())
}

/// A refusal of a part, seen from the item.
fn inside(part: &str, refusal: Refusal) -> Refusal {
    let field = match refusal.field.as_deref() {
        None | Some("") => part.to_owned(),
        Some(field) => format!("{part}.{field}"),
    };
    Refusal {
        field: Some(field),
        ..refusal
    }
}

/// A refusal of an order event, in the words in which the purchase was sent.
fn in_words_of_purchase(refusal: Refusal) -> Refusal {
    let field = refusal.field.as_deref().map(|field| {
        let field = field.strip_prefix("properties.").unwrap_or(field);
        match (field, field.strip_prefix("products")) {
            ("revenue", _) => "amount".to_owned(),
            ("order_id", _) => "orderId".to_owned(),
            (_, Some(line)) => format!("lines{line}"),
            (other, None) => other.to_owned(),
        }
    });
    Refusal { field, ..refusal }
}

#[cfg(test)]
mod tests;
