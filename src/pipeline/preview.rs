//! What would become of items, asked and not done: intake's own steps in a transaction that is rolled back.
//!
//! Promises: what is told is what storing the same items at that moment would have done; nothing is written, no ordinal is drawn.

use super::Services;
use super::intake::{self, Delivery, Outcome};
use crate::base::{CustomerId, Instant, RecordId};
use crate::feed::Change;
use crate::identity::store::resolve;
use crate::store::StoreError;
use entity::{ChangeOp, Topic};
use sea_orm::DatabaseTransaction;
use serde_json::Value;
use std::collections::HashMap;

/// What would become of one record and its customer, by all items of the call together.
#[derive(Clone, Debug, PartialEq)]
pub struct Preview {
    /// The customer that the record belongs to now; none: the record would be new.
    pub before: Option<CustomerId>,
    /// The customer that it would belong to.
    pub after: CustomerId,
    /// Whether that customer is one already.
    pub is_known: bool,
    /// Customers that would become one with it, in the order of their ids.
    pub joined: Vec<CustomerId>,
    /// Golden values that would differ from those of the customer the record would belong to, or, for a new one, all of them: name,
    /// before, after. Null: none.
    pub changes: Vec<(String, Value, Value)>,
}

/// What would become of deliveries.
#[derive(Clone, Debug)]
pub struct Previewed {
    /// For each message of each delivery, in order.
    pub outcomes: Vec<Vec<Outcome>>,
    /// Of each record asked for.
    pub records: HashMap<RecordId, Preview>,
}

/// Asks what storing these deliveries would do, and to these records.
pub async fn preview(services: &Services, deliveries: &[Delivery], records: &[RecordId]) -> Result<Previewed, StoreError> {
    let now = services.now();
    let rehearsed = services
        .store
        .rehearse(|tx, _| Box::pin(look(tx, services, now, deliveries, records)));
    rehearsed.await
}

async fn look(
    tx: &DatabaseTransaction,
    services: &Services,
    now: Instant,
    deliveries: &[Delivery],
    records: &[RecordId],
) -> Result<Previewed, StoreError> {
    // A record's own id finds its customer.
    let own_ids: Vec<CustomerId> = records.iter().map(|record| CustomerId(record.0)).collect();
    let before = resolve(tx, &own_ids).await?;
    let (outcomes, log, _) = intake::write(tx, services, now, deliveries).await?;
    let after = resolve(tx, &own_ids).await?;
    // The log has every customer that differs, with what differs.
    let of_customers = || log.changes().iter().filter(|change| change.topic == Topic::Customer);
    let news: HashMap<_, _> = of_customers()
        .filter(|change| change.op != ChangeOp::Deleted)
        .map(|change| (change.entity, change))
        .collect();
    let mut previews = HashMap::new();
    for own_id in own_ids {
        let Some(customer) = after.get(&own_id).copied() else {
            continue;
        };
        let of_customer = news.get(&customer.0).copied();
        let is_joined = |change: &&Change| change.op == ChangeOp::Deleted && change.customer == Some(customer);
        let mut joined: Vec<CustomerId> = of_customers()
            .filter(is_joined)
            .map(|change| CustomerId(change.entity))
            .collect();
        joined.sort_unstable();
        let preview = Preview {
            before: before.get(&own_id).copied(),
            after: customer,
            is_known: of_customer.is_none_or(|change| change.op != ChangeOp::Created),
            joined,
            changes: of_customer.map(changes).unwrap_or_default(),
        };
        previews.insert(RecordId(own_id.0), preview);
    }
    Ok(Previewed {
        outcomes,
        records: previews,
    })
}

/// Name, before, after.
fn changes(change: &Change) -> Vec<(String, Value, Value)> {
    let both = |(name, pair): (&String, &Value)| {
        let side = |n: usize| pair.get(n).cloned().unwrap_or_default();
        (name.clone(), side(0), side(1))
    };
    change.changed.iter().map(both).collect()
}
