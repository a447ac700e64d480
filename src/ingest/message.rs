//! One accepted message in Tributary's own shape, whatever the channel's format was, and the refusal of one that cannot be accepted.

use crate::base::{Instant, SourceId};
use entity::{ConsentAnswer, ConsentOrigin, EventKind, IdentifierKind};
use rust_decimal::Decimal;
use serde_json::{Map, Value};

use crate::base::money::Currency;

/// What a channel said at one moment about one person.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub source: SourceId,
    /// Its place in its request, from 0.
    pub place: usize,
    pub kind: EventKind,
    /// The sender's, or made by us when it sent none; repeated by retries.
    pub message_id: String,
    /// The event's name; for calls without one, the name of the call.
    pub name: String,
    /// Under which key of its source the record is kept: of the tracking API `u:<userId>`, else `a:<anonymousId>`; of items their own.
    pub external_key: String,
    pub keyed_by: KeyedBy,
    /// Event time, corrected for the sender's clock.
    pub occurred_at: Instant,
    pub received_at: Instant,
    pub original_at: Option<Instant>,
    pub sent_at: Option<Instant>,
    pub flags: EventFlags,
    /// What this says about the person, under canonical names; null clears.
    pub traits: Vec<(String, Value)>,
    /// Values by which the person may be recognised, as sent.
    pub identifiers: Vec<Assertion>,
    pub order: Option<OrderReport>,
    /// What the person answered to being spoken to.
    pub consents: Vec<ConsentSaid>,
    /// Properties of a track, page or screen; traits of an identify or group.
    pub properties: Map<String, Value>,
    /// `context` and every other field of the message that has no column.
    pub context: Map<String, Value>,
}

impl Message {
    /// The message as it was read, for the list of refused items when the database refuses it.
    pub fn as_read(&self) -> Value {
        let mut fields = self.context.clone();
        fields.insert("messageId".to_owned(), self.message_id.clone().into());
        fields.insert("name".to_owned(), self.name.clone().into());
        fields.insert("key".to_owned(), self.external_key.clone().into());
        let body = if matches!(self.kind, EventKind::Identify | EventKind::Group) {
            "traits"
        } else {
            "properties"
        };
        fields.insert(body.to_owned(), Value::Object(self.properties.clone()));
        Value::Object(fields)
    }
}

/// Where the key of a record comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyedBy {
    UserId,
    AnonymousId,
    /// The sender names its records itself.
    Sender,
}

/// A value by which a person may be recognised, not yet normalised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assertion {
    pub kind: IdentifierKind,
    pub namespace: String,
    pub value: String,
}

/// What a person answered to being spoken to for a purpose through a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsentSaid {
    /// As it was said, without blanks around it.
    pub purpose: String,
    /// In capitals; `ANY`: all of them.
    pub channel: String,
    pub answer: ConsentAnswer,
    pub origin: ConsentOrigin,
    pub evidence: Value,
    pub at: Instant,
}

/// Oddities of a message that were mended, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventFlags(pub i16);

impl EventFlags {
    /// The stated time could not be read; the time of receipt stands in.
    pub const TIME_UNREADABLE: i16 = 1;
    /// The stated time lay more than a day ahead; the time of receipt stands in.
    pub const TIME_IN_FUTURE: i16 = 2;
    /// The sender's clock was off and its time was corrected.
    pub const CLOCK_CORRECTED: i16 = 4;

    pub fn set(&mut self, bit: i16) {
        self.0 |= bit;
    }
}

/// What one event says about an order.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderReport {
    pub kind: OrderReportKind,
    pub order_id: String,
    /// What the customer paid for the goods, without shipping and tax where the report tells them apart. None: not said.
    pub amount: Option<Decimal>,
    pub currency: Option<Currency>,
    /// Of a refund: what came back beside the amount, to be counted at the prices of the order.
    pub lines: Vec<OrderLine>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderReportKind {
    Completed,
    /// Replaces what was reported before.
    Updated,
    /// Gives back the amount, or all that is left when it names none.
    Refunded,
    Cancelled,
}

#[derive(Clone, Debug, PartialEq)]
pub struct OrderLine {
    pub sku: String,
    pub name: Option<String>,
    pub category: Option<String>,
    pub quantity: i64,
    /// Of one piece.
    pub price: Option<Decimal>,
}

/// Why one item was refused; its neighbours are not affected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Stable, lower snake case, for programs.
    pub code: &'static str,
    /// For people: what is wrong and what to do.
    pub message: String,
    /// Path inside the item.
    pub field: Option<String>,
}

impl Refusal {
    pub fn new(code: &'static str, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            field: Some(field.into()),
        }
    }
}
