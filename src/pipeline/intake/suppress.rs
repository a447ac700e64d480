//! Messages about people who were erased are dropped before anything is looked for or stored.
//!
//! A message is about such a person when its strongest value that stands for a person is suppressed; a device or an anonymous id never
//! tells. One that shows no such value goes by its record: under a key that the sender made for a person who is erased nothing opens a
//! record again, unless another message of the same group does. While an erasure is under way nothing opens its records again at all.
//!
//! Who agrees again is heard again: a message that grants something expressly (`consent::granted_expressly`), later than the erasure and
//! never seen before, lifts the suppression of every value it shows, and opens its record. What was erased does not come back.

use super::Item;
use crate::access::note_deeds;
use crate::base::ids::HashKey;
use crate::base::{IdentifierId, Instant, RecordId};
use crate::customer::{EventKey, store as customer_store};
use crate::identity::store::erased;
use crate::identity::store::neighbours::Known;
use crate::identity::{Rules, Scene};
use crate::ingest::consent::granted_expressly;
use crate::ingest::message::{KeyedBy, Refusal};
use crate::ingest::{RefusedItem, Rejection};
use crate::pipeline::Services;
use crate::store::StoreError;
use sea_orm::{ConnectionTrait as _, DatabaseTransaction, DbBackend};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Marks what is dropped, and what is heard again.
pub async fn mark(
    tx: &DatabaseTransaction,
    keys: &HashKey,
    items: &mut [Item<'_>],
    known: &Known,
    rules: &Rules,
) -> Result<(), StoreError> {
    if known.suppressed.is_empty() && known.erased.is_empty() {
        return Ok(());
    }
    let mut granting: Vec<EventKey> = Vec::new();
    for item in items.iter().filter(|item| granted_expressly(item.message).is_some()) {
        granting.extend(super::keys_of(keys, item, known));
    }
    // A grant that is sent again was given before the erasure, whatever its time says.
    let told_before = customer_store::stored_events(tx, granting).await?;
    // Records that messages with a name of their own speak for.
    let mut spoken_for: HashSet<RecordId> = HashSet::new();
    let mut heard: HashSet<IdentifierId> = HashSet::new();
    for item in items.iter_mut() {
        let telling = item.suppressible(rules);
        let is_new = !super::keys_of(keys, item, known).iter().any(|key| told_before.contains(key));
        let granted = granted_expressly(item.message).filter(|_| is_new && !is_pending(item, known));
        let is_granted = |since: Instant| granted.is_some_and(|at| at > since);
        let is_dropped = |value: IdentifierId| {
            let since = known.suppressed.get(&value);
            since.is_some_and(|since| !heard.contains(&value) && !is_granted(*since))
        };
        item.is_suppressed = is_pending(item, known) || telling.first().copied().is_some_and(is_dropped);
        if item.is_suppressed {
            continue;
        }
        let lifted = |value: &&IdentifierId| {
            let since = known.suppressed.get(value);
            since.is_some_and(|since| !heard.contains(*value) && is_granted(*since))
        };
        item.lifts = granted.map_or_else(Vec::new, |at| {
            telling.iter().filter(lifted).map(|value| (*value, at)).collect()
        });
        heard.extend(item.lifts.iter().map(|(value, _)| *value));
        let erased_at = known.erased.get(&item.record).map(|erased| Instant::from_micros(erased.at));
        if !telling.is_empty() || erased_at.is_some_and(is_granted) {
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
    Ok(())
}

/// Lets the values be heard of again that new messages lift, and says so in the audit.
pub async fn lift(
    tx: &DatabaseTransaction,
    services: &Services,
    now: Instant,
    actor: &str,
    items: &[Item<'_>],
) -> Result<(), StoreError> {
    let lifting: Vec<&Item<'_>> = items.iter().filter(|item| item.is_new && !item.lifts.is_empty()).collect();
    if lifting.is_empty() {
        return Ok(());
    }
    let (mut granted, mut deeds) = (BTreeMap::new(), Vec::new());
    for item in lifting {
        for (value, at) in &item.lifts {
            let detail = json!({"granted": {"record": super::id_text(item.record), "event": super::id_text(item.event)}});
            deeds.push((format!("suppression:{value}"), detail));
            granted.insert(*value, at.micros());
        }
    }
    // Somebody lifted it meanwhile, or the person was erased once more.
    if erased::lift_granted(tx, &granted).await?.len() < granted.len() {
        return Err(StoreError::LostRace);
    }
    note_deeds(tx, services.store.ids(), now, actor, "suppression.lift", &deeds).await
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
        .filter(|shown| super::is_telling(shown.kind) && !known.suppressed.contains_key(&shown.id))
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
