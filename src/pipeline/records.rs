//! Records that servers send as items: through the same queue as any channel's messages, with a receipt for each item.

use super::Services;
use super::intake::{Delivery, Outcome};
use super::preview::{Preview, preview};
use super::queue::{Intake, IntakeError, Receipt};
use crate::base::{Kind, RecordId, SourceId};
use crate::feed::TransactionId;
use crate::ingest::message::Refusal;
use crate::ingest::store::sources_by_ids;
use crate::ingest::{Arrival, BodyFault, Item, Limits, item};
use crate::store::StoreError;
use std::collections::HashMap;
use std::sync::Arc;

/// Takes items.
#[derive(Clone, Debug)]
pub struct RecordsDoor {
    pub intake: Intake,
    /// For sources without limits of their own; each event and purchase counts as an event, and so does what an item says of the person.
    pub limits: Limits,
    /// Traits that no source may set.
    pub protected_traits: Arc<[String]>,
    /// Whether a text is an id that only this server hands out.
    pub is_internal_id: fn(&str) -> bool,
}

/// Why a whole call was refused; nothing of it was stored, except perhaps where the database failed.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    #[error("there is no such source")]
    NoSource,
    #[error("this source is disabled: enable it with sourceUpdate")]
    SourceDisabled,
    #[error("{}", .0.message)]
    Items(BodyFault),
    #[error(transparent)]
    Intake(#[from] IntakeError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RecordsError {
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoSource => Kind::NotFound,
            Self::SourceDisabled => Kind::Conflict,
            Self::Items(_) => Kind::Invalid,
            Self::Intake(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }

    /// The input field to blame.
    pub fn field(&self) -> &'static str {
        match self {
            Self::NoSource | Self::SourceDisabled => "source",
            Self::Items(_) | Self::Intake(_) | Self::Store(_) => "items",
        }
    }
}

/// What became of a call's items.
#[derive(Clone, Debug)]
pub struct Ingested {
    /// For each item, in order, its record and what became of it: accepted when anything of it was new.
    pub receipts: Vec<(RecordId, Receipt)>,
    /// None: nothing was new.
    pub transaction: Option<TransactionId>,
}

/// Items that were read: as a delivery, with what is known of them before.
struct Read {
    records: Vec<RecordId>,
    delivery: Delivery,
}

impl Read {
    /// What became of each item, from what became of each message.
    fn receipts(&self, of_messages: impl IntoIterator<Item = Receipt>) -> Vec<(RecordId, Receipt)> {
        let mut of_items: Vec<Option<Receipt>> = vec![None; self.records.len()];
        for item in &self.delivery.refused {
            of_items[item.index] = Some(Err(item.refusal.clone()));
        }
        for (message, receipt) in self.delivery.messages.iter().zip(of_messages) {
            let of_item = &mut of_items[message.place];
            *of_item = Some(match of_item.take() {
                None => told(receipt),
                Some(before) => together(before, told(receipt)),
            });
        }
        let certain = |receipt: Option<Receipt>| receipt.expect("an item is refused or has messages, each with a receipt");
        self.records.iter().copied().zip(of_items.into_iter().map(certain)).collect()
    }
}

async fn read(services: &Services, door: &RecordsDoor, source: SourceId, items: Vec<Item>) -> Result<Read, RecordsError> {
    let found = sources_by_ids(services.store.reader(), &[source]).await?.pop();
    let known = found.ok_or(RecordsError::NoSource)?;
    if !known.enabled {
        return Err(RecordsError::SourceDisabled);
    }
    let keys = services.store.hash_key();
    let records: Vec<RecordId> = items.iter().map(|item| keys.record(source, &item.key)).collect();
    let arrival = Arrival {
        source,
        received_at: services.now(),
        protected_traits: &door.protected_traits,
        is_internal_id: door.is_internal_id,
        address: None,
    };
    let read = item::into_messages(items, door.limits.of_source(&known), &arrival, keys);
    let (messages, refused) = read.map_err(RecordsError::Items)?;
    let delivery = Delivery {
        source_id: source,
        source_key: known.key,
        reviews_aliases: known.review_aliases,
        received_at: arrival.received_at,
        messages,
        refused,
        is_bulk: false,
    };
    Ok(Read { records, delivery })
}

/// Stores items of a source; answers when they are committed.
pub async fn ingest(
    services: &Services,
    door: &RecordsDoor,
    source: SourceId,
    items: Vec<Item>,
) -> Result<Ingested, RecordsError> {
    let read = read(services, door, source, items).await?;
    let refused_before = read.delivery.refused.len();
    let delivered = door.intake.deliver(read.delivery.clone()).await?;
    let is_kept = |receipt: &&Receipt| matches!(receipt, Ok(outcome) if *outcome != Outcome::Suppressed);
    let accepted = delivered.receipts.iter().filter(is_kept).count();
    metrics::counter!("tributary_events_accepted_total").increment(accepted as u64);
    metrics::counter!("tributary_events_rejected_total").increment((refused_before + delivered.receipts.len() - accepted) as u64);
    Ok(Ingested {
        receipts: read.receipts(delivered.receipts),
        transaction: delivered.transaction,
    })
}

/// As a server or an operator is told: a message about somebody who was erased is refused.
pub(super) fn told(receipt: Receipt) -> Receipt {
    match receipt {
        Ok(Outcome::Suppressed) => Err(suppressed()),
        other => other,
    }
}

fn suppressed() -> Refusal {
    let message =
        "it is about somebody who was erased: nothing of it was stored (an admin may allow it again with suppressionLift)";
    Refusal {
        code: "suppressed",
        message: message.to_owned(),
        field: None,
    }
}

/// What would become of a call's items.
#[derive(Clone, Debug)]
pub struct Rehearsed {
    /// As of `ingest`.
    pub receipts: Vec<(RecordId, Receipt)>,
    /// Of each record that an item would be stored for, by all of the call together.
    pub previews: HashMap<RecordId, Preview>,
}

/// Answers what `ingest` would do at this moment, and writes nothing.
pub async fn rehearse(
    services: &Services,
    door: &RecordsDoor,
    source: SourceId,
    items: Vec<Item>,
) -> Result<Rehearsed, RecordsError> {
    let mut read = read(services, door, source, items).await?;
    // What is refused already needs no database; it is not listed, since nothing was sent in earnest.
    let refused = std::mem::take(&mut read.delivery.refused);
    let deliveries = [read.delivery.clone()];
    let previewed = preview(services, &deliveries, &read.records).await?;
    read.delivery.refused = refused;
    Ok(Rehearsed {
        receipts: read.receipts(previewed.outcomes.into_iter().flatten().map(Ok)),
        previews: previewed.records,
    })
}

/// Two messages of one item as one: a refusal is told, and anything new makes it new.
pub(super) fn together(a: Receipt, b: Receipt) -> Receipt {
    match (a, b) {
        (Err(refusal), _) | (_, Err(refusal)) => Err(refusal),
        (Ok(Outcome::Held), _) | (_, Ok(Outcome::Held)) => Ok(Outcome::Held),
        (Ok(Outcome::Accepted), _) | (_, Ok(Outcome::Accepted)) => Ok(Outcome::Accepted),
        (Ok(known), Ok(_)) => Ok(known),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_new_when_anything_of_it_is_and_refused_when_anything_of_it_is() {
        let refused = || Err(Refusal::new("not_storable", "x", "x"));
        let (new, known) = (Ok(Outcome::Accepted), Ok(Outcome::Duplicate));
        assert_eq!(together(known.clone(), known.clone()), known);
        assert_eq!(together(known.clone(), new.clone()), new);
        assert_eq!(together(new.clone(), known), new);
        assert_eq!(together(new.clone(), refused()), refused());
        assert_eq!(together(refused(), new), refused());
    }
}
