//! Customers, events and purchases as plain data.

use super::Golden;
use crate::base::{CustomerId, EventId, Instant, Money, ProductId, PurchaseId, RecordId};
use crate::store::walk::Place;
use entity::EventKind;
use serde_json::Value;

/// A customer as stored: the current id and the golden values.
#[derive(Clone, Debug)]
pub struct Customer {
    pub id: CustomerId,
    pub created_at: Instant,
    pub golden: Golden,
    pub rev: i64,
    /// Arrival of what last changed whose records it has.
    pub placed_at: i64,
}

/// An event's id is unique within its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventKey {
    pub record: RecordId,
    pub id: EventId,
}

/// A purchase's id is unique within its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PurchaseKey {
    pub record: RecordId,
    pub id: PurchaseId,
}

/// What happened, as one message told it.
#[derive(Clone, Debug)]
pub struct Event {
    pub key: EventKey,
    pub message_id: String,
    pub kind: EventKind,
    pub name: String,
    pub occurred_at: Instant,
    pub received_at: Instant,
    pub properties: Value,
    pub context: Value,
}

/// One order as one record reported it.
#[derive(Clone, Debug)]
pub struct Purchase {
    pub key: PurchaseKey,
    pub order_id: String,
    pub occurred_at: Instant,
    /// None while no report named an amount.
    pub amount: Option<Money>,
    /// As far as its own record was told.
    pub refunded: Money,
}

impl Purchase {
    /// Its place in lists of the customer: event time, id, record.
    pub const fn place(&self) -> Place {
        (self.occurred_at.micros(), self.key.id.0, self.key.record.0)
    }
}

#[derive(Clone, Debug)]
pub struct PurchaseLine {
    pub product: ProductId,
    pub quantity: i64,
    /// Of one piece; none when the report named none.
    pub price: Option<Money>,
}

#[derive(Clone, Debug)]
pub struct Product {
    pub id: ProductId,
    pub sku: String,
    pub name: Option<String>,
    pub category: Option<String>,
}
