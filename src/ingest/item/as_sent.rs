//! Items in the words of their sender: what is listed when one is refused, and what ids are made of when none is sent.

use super::{ConsentItem, EventItem, Item, LineItem, PurchaseItem};
use crate::ingest::message::{Assertion, OrderReportKind};
use entity::{ConsentAnswer, EventKind};
use serde_json::{Map, Value, json};

impl Item {
    /// The item in the words of its sender. Ids are hashed from it, so a field that is not used must leave no trace in it, also one
    /// that is added later.
    pub(super) fn as_sent(&self) -> Value {
        let mut sent = Map::new();
        sent.insert("key".to_owned(), self.key.clone().into());
        put(&mut sent, "messageId", self.message_id.clone());
        put(&mut sent, "at", self.at.map(|at| at.to_string()));
        put_list(&mut sent, "identifiers", self.identifiers.iter().map(identifier_as_sent));
        put(&mut sent, "traits", self.traits.clone());
        put_list(&mut sent, "events", self.events.iter().map(EventItem::as_sent));
        put_list(&mut sent, "purchases", self.purchases.iter().map(PurchaseItem::as_sent));
        put_list(&mut sent, "consents", self.consents.iter().map(ConsentItem::as_sent));
        Value::Object(sent)
    }
}

impl EventItem {
    pub(super) fn as_sent(&self) -> Value {
        let mut sent = Map::new();
        let kind = match self.kind {
            EventKind::Page => Some("PAGE"),
            EventKind::Screen => Some("SCREEN"),
            _ => None,
        };
        put(&mut sent, "kind", kind);
        put(&mut sent, "name", self.name.clone());
        put(&mut sent, "at", self.at.map(|at| at.to_string()));
        put(&mut sent, "messageId", self.message_id.clone());
        put(&mut sent, "properties", self.properties.clone());
        Value::Object(sent)
    }
}

impl PurchaseItem {
    pub(super) fn as_sent(&self) -> Value {
        let mut sent = Map::new();
        let kind = match self.kind {
            OrderReportKind::Completed => None,
            OrderReportKind::Updated => Some("UPDATED"),
            OrderReportKind::Refunded => Some("REFUNDED"),
            OrderReportKind::Cancelled => Some("CANCELLED"),
        };
        put(&mut sent, "kind", kind);
        put(&mut sent, "orderId", Some(self.order_id.clone()));
        put(&mut sent, "at", self.at.map(|at| at.to_string()));
        put(&mut sent, "messageId", self.message_id.clone());
        put(&mut sent, "amount", self.amount.clone());
        put(&mut sent, "currency", self.currency.clone());
        put_list(&mut sent, "lines", self.lines.iter().map(LineItem::as_sent));
        Value::Object(sent)
    }

    /// The order event of the tracking API that says the same.
    pub(super) fn event(&self) -> (&'static str, Map<String, Value>) {
        let name = match self.kind {
            OrderReportKind::Completed => "Order Completed",
            OrderReportKind::Updated => "Order Updated",
            OrderReportKind::Refunded => "Order Refunded",
            OrderReportKind::Cancelled => "Order Cancelled",
        };
        let mut properties = Map::new();
        put(&mut properties, "order_id", Some(self.order_id.trim()));
        put(&mut properties, "revenue", self.amount.clone());
        put(&mut properties, "currency", self.currency.clone());
        put_list(&mut properties, "products", self.lines.iter().map(LineItem::as_sent));
        (name, properties)
    }
}

impl ConsentItem {
    pub(super) fn as_sent(&self) -> Value {
        let answer = match self.answer {
            ConsentAnswer::Granted => "GRANTED",
            ConsentAnswer::Denied => "DENIED",
            ConsentAnswer::Withdrawn => "WITHDRAWN",
        };
        let mut sent = Map::new();
        put(&mut sent, "purpose", Some(self.purpose.clone()));
        put(&mut sent, "channel", self.channel.clone());
        put(&mut sent, "state", Some(answer));
        put(&mut sent, "evidence", self.evidence.clone());
        put(&mut sent, "at", self.at.map(|at| at.to_string()));
        Value::Object(sent)
    }
}

impl LineItem {
    pub(super) fn as_sent(&self) -> Value {
        let mut sent = Map::new();
        put(&mut sent, "sku", Some(self.sku.clone()));
        put(&mut sent, "name", self.name.clone());
        put(&mut sent, "category", self.category.clone());
        put(&mut sent, "quantity", Some(self.quantity));
        put(&mut sent, "price", self.price.clone());
        Value::Object(sent)
    }
}

pub(super) fn identifier_as_sent(identifier: &Assertion) -> Value {
    let mut sent = Map::new();
    put(&mut sent, "kind", Some(identifier.kind.name()));
    put(&mut sent, "value", Some(identifier.value.clone()));
    let namespace = Some(identifier.namespace.clone()).filter(|namespace| !namespace.is_empty());
    put(&mut sent, "namespace", namespace);
    Value::Object(sent)
}

fn put(object: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        object.insert(name.to_owned(), value.into());
    }
}

pub(super) fn put_list(object: &mut Map<String, Value>, name: &str, values: impl Iterator<Item = Value>) {
    let values: Vec<Value> = values.collect();
    put(object, name, Some(values).filter(|values| !values.is_empty()));
}

/// JSON text in which objects with the same members are the same text, in whatever order they came.
pub(super) fn canonical(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let mut members: Vec<(&String, &Value)> = object.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            let members: Vec<String> = members
                .into_iter()
                .map(|(name, value)| format!("{}:{}", json!(name), canonical(value)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(values) => format!("[{}]", values.iter().map(canonical).collect::<Vec<_>>().join(",")),
        scalar => scalar.to_string(),
    }
}
