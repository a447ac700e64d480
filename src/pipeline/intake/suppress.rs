//! Messages about people who were erased are dropped before anything is looked for or stored.
//!
//! A message is about such a person when its strongest value that stands for a person is suppressed; a device or an anonymous id never
//! tells. One that shows no such value goes by its record: under a key that the sender made for a person who is erased nothing opens a
//! record again, unless another message of the same group does. While an erasure is under way nothing opens its records again at all.

use super::Item;
use crate::base::{IdentifierId, RecordId};
use crate::identity::store::erased;
use crate::identity::store::neighbours::Known;
use crate::identity::{Rules, Scene};
use crate::ingest::message::{KeyedBy, Refusal};
use crate::ingest::{RefusedItem, Rejection};
use crate::store::StoreError;
use sea_orm::{ConnectionTrait as _, DatabaseTransaction, DbBackend};
use serde_json::json;
use std::collections::{BTreeSet, HashSet};

/// Marks what is dropped.
pub fn mark(items: &mut [Item<'_>], known: &Known, rules: &Rules) {
    if known.suppressed.is_empty() && known.erased.is_empty() {
        return;
    }
    // Records that messages with a name of their own speak for.
    let mut spoken_for: HashSet<RecordId> = HashSet::new();
    for item in items.iter_mut() {
        let strongest = item.suppressible(rules).first().copied();
        item.is_suppressed = is_pending(item, known) || strongest.is_some_and(|value| known.suppressed.contains(&value));
        if strongest.is_some() && !item.is_suppressed {
            spoken_for.insert(item.record);
        }
    }
    for item in items.iter_mut().filter(|item| item.message.keyed_by == KeyedBy::Sender) {
        let is_nameless = item.suppressible(rules).is_empty();
        let is_gone = known.erased.contains_key(&item.record) && !known.records.contains_key(&item.record);
        if is_nameless && is_gone && !spoken_for.contains(&item.record) {
            item.is_suppressed = true;
        }
    }
}

fn is_pending(item: &Item<'_>, known: &Known) -> bool {
    let is_gone = !known.records.contains_key(&item.record);
    is_gone && known.erased.get(&item.record).is_some_and(|erased| erased.is_pending)
}

/// Whoever was erased while locks were waited for is looked for again, from the beginning. SQLite has one writer, which is this one.
pub async fn check(tx: &DatabaseTransaction, items: &[Item<'_>], known: &Known, scene: &Scene) -> Result<(), StoreError> {
    if tx.get_database_backend() == DbBackend::Sqlite {
        return Ok(());
    }
    let locked = |item: &&Item<'_>| {
        let is_held_still = !item.message.traits.is_empty() || item.message.order.is_some();
        item.is_new && (item.is_open || is_held_still)
    };
    let is_gone = |item: &Item<'_>| known.records.contains_key(&item.record) && scene.customer_before(item.record).is_none();
    if items.iter().filter(locked).any(is_gone) {
        return Err(StoreError::LostRace);
    }
    let open = items.iter().filter(|item| item.is_new && item.is_open);
    let shown = open.flat_map(|item| item.shown.iter()).filter(|shown| shown.is_usable);
    let shown: BTreeSet<IdentifierId> = shown
        .filter(|shown| super::is_telling(shown.kind) && !known.suppressed.contains(&shown.id))
        .map(|shown| shown.id)
        .collect();
    match erased::is_any_suppressed(tx, &shown).await? {
        true => Err(StoreError::LostRace),
        false => Ok(()),
    }
}

/// A record that lives again arrives after its erasure.
pub fn latest_erasure(items: &[Item<'_>], known: &Known) -> i64 {
    let of_items = items
        .iter()
        .filter(|item| item.is_open)
        .filter_map(|item| known.erased.get(&item.record));
    of_items.map(|erased| erased.at).max().unwrap_or(0)
}

/// What was dropped, as it is listed: without a word of it.
pub struct Suppressed<'i> {
    item: &'i Item<'i>,
    listed: RefusedItem,
}

impl Suppressed<'_> {
    pub fn rejection(&self) -> Rejection<'_> {
        Rejection {
            source: self.item.message.source,
            received_at: self.item.message.received_at,
            item: &self.listed,
        }
    }
}

pub fn refused<'i>(items: &'i [Item<'i>]) -> Vec<Suppressed<'i>> {
    let suppressed = items.iter().filter(|item| item.is_suppressed);
    suppressed
        .map(|item| Suppressed {
            item,
            listed: RefusedItem {
                index: item.message.place,
                refusal: Refusal {
                    code: "suppressed",
                    message: "it is about somebody who was erased, and nothing of it is kept".to_owned(),
                    field: None,
                },
                // Hashes: a repetition is listed once, and nothing can be read.
                payload: json!({"record": super::id_text(item.record), "event": super::id_text(item.event)}).to_string(),
            },
        })
        .collect()
}
