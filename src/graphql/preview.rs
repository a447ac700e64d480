//! What would become of an item: the answer to `dryRun`.

use super::node_id::NodeId;
use crate::pipeline::preview::Preview;
use async_graphql::{Enum, ID, Json, SimpleObject};
use serde_json::Value;

/// Who a record would be taken for.
#[derive(Clone, Debug, SimpleObject)]
pub struct IdentityPreview {
    /// What would happen to the record and its customer.
    outcome: IdentityOutcome,
    /// The customer that the record would belong to; null when it would be a new one.
    customer: Option<ID>,
    /// Customers that would become one with it, and so end.
    merged: Vec<ID>,
}

/// What would happen to a record and its customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum IdentityOutcome {
    /// The record would be a new customer, with whoever else in the call is the same.
    NewCustomer,
    /// The record would be new, and a known customer's.
    KnownCustomer,
    /// The record is known and would stay with its customer.
    Unchanged,
    /// The record is known and would pass to another customer.
    Moved,
    /// Customers would become one.
    Merged,
}

/// A value of a customer that would differ.
#[derive(Clone, Debug, SimpleObject)]
pub struct TraitChange {
    /// The trait, by its canonical name.
    name: String,
    /// What stands now; null when nothing does.
    before: Option<Json<Value>>,
    /// What would stand; null when nothing would.
    after: Option<Json<Value>>,
}

impl IdentityPreview {
    pub(super) fn of(preview: &Preview) -> Self {
        let id = |customer| NodeId::Customer(customer).to_id();
        let outcome = match preview.before {
            _ if !preview.joined.is_empty() => IdentityOutcome::Merged,
            None if preview.is_known => IdentityOutcome::KnownCustomer,
            None => IdentityOutcome::NewCustomer,
            Some(before) if before == preview.after => IdentityOutcome::Unchanged,
            Some(_) => IdentityOutcome::Moved,
        };
        Self {
            outcome,
            customer: preview.is_known.then(|| id(preview.after)),
            merged: preview.joined.iter().map(|customer| id(*customer)).collect(),
        }
    }
}

impl TraitChange {
    pub(super) fn of((name, before, after): &(String, Value, Value)) -> Self {
        let side = |value: &Value| (!value.is_null()).then(|| Json(value.clone()));
        Self {
            name: name.clone(),
            before: side(before),
            after: side(after),
        }
    }
}
