//! A row about a person: who it is, what they did, bought and allow. Pure.

use super::super::cell::{not_a, truth};
use super::super::joined::apart;
use super::super::mapping::order_kind;
use super::super::rows::Row;
use super::{Consent, Event, Identifier, Plan, Purchase, Said};
use crate::ingest::item::{ConsentItem, EventItem, Item, LineItem, PurchaseItem};
use crate::ingest::message::{Assertion, Refusal};
use entity::{ConsentAnswer, EventKind, IdentifierKind};
use serde_json::Value;

impl Plan {
    pub(super) fn person(&self, row: &Row) -> Result<Said, Refusal> {
        let identifiers: Vec<Assertion> = self
            .identifiers
            .iter()
            .flat_map(|identifier| self.shown(row, identifier))
            .collect();
        let key = self.owned(row, self.key.as_ref()).or_else(|| identifiers.first().map(key_of));
        let Some(key) = key else {
            let message = "the row names nobody: neither its key nor an identifier is there";
            return Err(Refusal {
                code: "names_nobody",
                message: message.to_owned(),
                field: self.key.as_ref().map(|column| column.name.clone()),
            });
        };
        let traits = self.object(row, &self.traits)?;
        let item = Item {
            key,
            message_id: self.owned(row, self.message_id.as_ref()),
            at: self.moment(row, self.at.as_ref())?,
            identifiers,
            traits: (!traits.is_empty()).then_some(Value::Object(traits)),
            events: self
                .event
                .as_ref()
                .map(|event| self.event(row, event))
                .transpose()?
                .into_iter()
                .collect(),
            purchases: self
                .purchase
                .as_ref()
                .map(|purchase| self.purchase(row, purchase))
                .transpose()?
                .into_iter()
                .collect(),
            consents: self
                .consents
                .iter()
                .filter_map(|consent| self.consent(row, consent).transpose())
                .collect::<Result<_, _>>()?,
        };
        Ok(Said::Person(item))
    }

    fn shown(&self, row: &Row, identifier: &Identifier) -> Vec<Assertion> {
        let Some(cell) = self.text(row, Some(&identifier.column)) else {
            return Vec::new();
        };
        let values = match identifier.several {
            true => apart(&cell),
            false => vec![cell.into_owned()],
        };
        let assertion = |value| Assertion {
            kind: identifier.kind,
            namespace: identifier.namespace.clone(),
            value,
        };
        values.into_iter().map(assertion).collect()
    }

    fn consent(&self, row: &Row, consent: &Consent) -> Result<Option<ConsentItem>, Refusal> {
        let Some(text) = self.text(row, Some(&consent.column)) else {
            return Ok(None);
        };
        let folded = text.to_lowercase();
        let answer = if consent.granted.is_empty() && consent.denied.is_empty() {
            truth(&text)
        } else if consent.granted.contains(&folded) {
            Some(true)
        } else {
            consent.denied.contains(&folded).then_some(false)
        };
        let answer = answer.ok_or_else(|| {
            not_a(
                &consent.column.name,
                "an answer: list it under granted or denied in the mapping file",
            )
        })?;
        Ok(Some(ConsentItem {
            purpose: consent.purpose.clone(),
            channel: consent.channel.clone(),
            answer: if answer {
                ConsentAnswer::Granted
            } else {
                ConsentAnswer::Denied
            },
            evidence: None,
            at: None,
        }))
    }

    fn event(&self, row: &Row, event: &Event) -> Result<EventItem, Refusal> {
        let name = match (&event.name, &event.name_column) {
            (_, Some(column)) => Some(self.needed(row, column)?.into_owned()),
            (name, None) => name.clone(),
        };
        let properties = self.object(row, &event.properties)?;
        Ok(EventItem {
            kind: EventKind::Track,
            name,
            at: self.moment(row, event.at.as_ref())?,
            message_id: None,
            properties: (!properties.is_empty()).then_some(Value::Object(properties)),
        })
    }

    fn purchase(&self, row: &Row, purchase: &Purchase) -> Result<PurchaseItem, Refusal> {
        let kind = match self.text(row, purchase.kind_column.as_ref()) {
            Some(word) => {
                let column = purchase.kind_column.as_ref().map_or("", |column| &column.name);
                order_kind(&word).ok_or_else(|| not_a(column, "completed, updated, refunded or cancelled"))?
            }
            None => purchase.kind,
        };
        let amount = self.text(row, purchase.amount.as_ref());
        let currency = self.owned(row, purchase.currency_column.as_ref());
        Ok(PurchaseItem {
            kind,
            order_id: self.needed(row, &purchase.order_id)?.into_owned(),
            at: self.moment(row, purchase.at.as_ref())?,
            message_id: None,
            amount: amount.map(|amount| self.conventions.amount(&amount)),
            currency: currency.or_else(|| purchase.currency.clone()),
            lines: self.line(row, purchase)?.into_iter().collect(),
        })
    }

    fn line(&self, row: &Row, purchase: &Purchase) -> Result<Option<LineItem>, Refusal> {
        let Some(sku) = self.owned(row, purchase.sku.as_ref()) else {
            return Ok(None);
        };
        let quantity = match (self.text(row, purchase.quantity.as_ref()), &purchase.quantity) {
            (Some(text), Some(column)) => {
                let quantity = self.conventions.decimal(&text, &column.name)?;
                let whole = quantity.is_integer().then(|| i64::try_from(quantity).ok()).flatten();
                whole.ok_or_else(|| not_a(&column.name, "a whole number"))?
            }
            _ => 1,
        };
        let price = self.text(row, purchase.price.as_ref());
        Ok(Some(LineItem {
            sku,
            name: self.owned(row, purchase.name.as_ref()),
            category: self.owned(row, purchase.category.as_ref()),
            quantity,
            price: price.map(|price| self.conventions.amount(&price)),
        }))
    }
}

/// The key of a person who is known by an identifier only; that of the tracking API for its two.
fn key_of(identifier: &Assertion) -> String {
    let Assertion { kind, namespace, value } = identifier;
    match kind {
        IdentifierKind::UserId => format!("u:{value}"),
        IdentifierKind::AnonymousId => format!("a:{value}"),
        IdentifierKind::Email => format!("email:{}", value.to_lowercase()),
        IdentifierKind::Phone => format!("phone:{}", value.replace([' ', '-', '/', '(', ')'], "")),
        IdentifierKind::DeviceId => format!("device:{value}"),
        IdentifierKind::LoyaltyId => format!("loyalty:{value}"),
        IdentifierKind::ExternalId => format!("{namespace}:{value}"),
    }
}
