//! A group of messages becomes stored in one transaction: deduplicate, store events, place, unify, append to the log.
//!
//! Promises: all of the group or nothing; a message stored before changes nothing again; a constant number of statements however many
//! messages there are; an event of a known record that says nothing new writes its event row and a share of one change row.

mod item;
mod listed;
mod place;
mod suppress;

pub use item::is_telling;
pub use place::id_text;

use self::item::Item;
use self::place::{Around, SpokenFor};
use crate::base::ids::HashKey;
use crate::base::{CustomerId, IdentifierId, Instant, RecordId, SourceId};
use crate::customer::consent::Consent;
use crate::customer::purchases::{self, Reported, Touched};
use crate::customer::store::NewEvent;
use crate::customer::{EventKey, store as customer_store};
use crate::due::Span;
use crate::feed::{Change, Log, TransactionId};
use crate::identity::store::decisions;
use crate::identity::store::neighbours::{self, Known};
use crate::identity::{NewRecord, Scene, Seeds};
use crate::ingest::{Message, RefusedItem, Sightings, insert_rejected};
use crate::pipeline::unify::{Happened, Received, Said, tell_decisions, unify};
use crate::pipeline::{Services, refresh};
use crate::store::StoreError;
use crate::value::rules::ValueRules;
use entity::{ChangeOp, DueClass, Topic};
use sea_orm::{ConnectionTrait as _, DatabaseTransaction, DbBackend};
use serde_json::{Map, json};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Accepted,
    /// Stored, and placed alone because a value is quarantined, or the customer too large, or the alias under review.
    Held,
    /// The same message was stored before.
    Duplicate,
    /// It is about somebody who was erased: dropped, and listed as refused.
    Suppressed,
}

/// What became of a group: an outcome for each message of each delivery, in order, and the transaction; none when there was no news.
#[derive(Clone, Debug)]
pub struct Stored {
    pub outcomes: Vec<Vec<Outcome>>,
    pub transaction: Option<TransactionId>,
    /// Whether customers are due by it.
    pub marked: bool,
}

/// What one request brought: messages to store and items to list as refused.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub source_id: crate::base::SourceId,
    pub source_key: String,
    /// Its aliases wait for a person.
    pub reviews_aliases: bool,
    pub received_at: Instant,
    pub messages: Vec<Message>,
    pub refused: Vec<RefusedItem>,
    /// Of many at once for which nobody waits: their customers are looked at after those of others.
    pub is_bulk: bool,
}

impl Delivery {
    /// How many items it brings, refused ones included.
    pub fn size(&self) -> usize {
        self.messages.len() + self.refused.len()
    }
}

/// Gives out arrivals, each later than any before it in this process.
#[derive(Clone, Debug, Default)]
pub struct Arrivals(Arc<AtomicI64>);

impl Arrivals {
    /// The first of `count` free arrivals: now, or later than `latest` and than every one given out.
    pub fn reserve(&self, now: Instant, latest: i64, count: i64) -> i64 {
        let floor = now.micros().max(latest + 1);
        let reserve = |last: i64| Some(floor.max(last + 1) + count.max(1) - 1);
        let previous = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, reserve);
        floor.max(previous.unwrap_or_else(|last| last) + 1)
    }
}

/// Stores deliveries in the caller's transaction.
pub async fn store(
    tx: &DatabaseTransaction,
    services: &Services,
    now: Instant,
    deliveries: &[Delivery],
) -> Result<Stored, StoreError> {
    let (outcomes, log, marked) = write(tx, services, now, deliveries).await?;
    // Repetitions and refusals are no news.
    let transaction = match log.is_empty() {
        true => None,
        false => Some(log.write(tx, now).await?),
    };
    Ok(Stored {
        outcomes,
        transaction,
        marked,
    })
}

/// All of `store` but the log, which draws an ordinal: for storing, and for seeing what would be stored. Answers also whether anybody is
/// due by it.
pub(super) async fn write(
    tx: &DatabaseTransaction,
    services: &Services,
    now: Instant,
    deliveries: &[Delivery],
) -> Result<(Vec<Vec<Outcome>>, Log, bool), StoreError> {
    let standing = services.rules.standing();
    let keys = services.store.hash_key();
    let messages = deliveries.iter().flat_map(|delivery| &delivery.messages);
    let mut items: Vec<Item<'_>> = messages.map(|message| Item::of(keys, &standing.rules, message)).collect();

    // Before the look: whoever locks a value after it, and changes what was seen, arrives later.
    let first = services.arrivals.reserve(now, 0, count(&items));
    number(&mut items, first);
    let known = look(tx, keys, &mut items).await?;
    suppress::mark(tx, keys, &mut items, &known, &standing.rules).await?;
    open_what_is_news(&mut items, &known, &standing.rules.agreement_attributes());
    let stored = stored_before(tx, keys, &items, &known).await?;
    mark_new(&mut items, |item| {
        keys_of(keys, item, &known).iter().any(|key| stored.contains(key))
    });
    let seeds = seeds(&items, keys, &known, &services.value);
    let mut scene = Scene::load(tx, standing.rules.clone(), now, &seeds).await?;
    check_siblings(tx, &items, &known).await?;
    suppress::check(tx, &items, &known, &scene).await?;
    let latest = suppress::latest_erasure(&items, &known).max(scene.latest_arrival);
    number_open(&mut items, services, now, latest);
    let sources = spoken_for(deliveries);
    let around = Around {
        keys,
        ids: services.store.ids(),
        now,
        rules_version: standing.version,
        sources: &sources,
    };
    let mut placed = place::place(&mut scene, &known, &mut items, around);
    store_events(tx, &mut items).await?;
    suppress::lift(tx, services, now, &actor(deliveries), &items).await?;
    let held: HashSet<RecordId> = placed.held.iter().copied().collect();

    let mut log = Log::new(services.store.ids(), now, actor(deliveries));
    let mut happened = happened(&scene, &known, &items, std::mem::take(&mut placed.new));
    happened.consents = answered(keys, &items);
    let unified = unify(tx, services, happened).await?;
    unified.tell(
        &mut log,
        received(&items),
        |record| customer_today(&scene, &known, record),
        now,
    );
    neighbours::insert_links(tx, &placed.links).await?;
    neighbours::mark_customers(tx, &placed.own_ids).await?;
    neighbours::update_siblings(tx, &placed.siblings.into_iter().collect::<Vec<_>>()).await?;
    decisions::insert(tx, &placed.decisions).await?;
    let customer_of = |record: RecordId| customer_today(&scene, &known, record);
    tell_decisions(&mut log, &placed.decisions, |record| Some(customer_of(record)));
    let reports: Vec<Reported<'_>> = items.iter().filter(|item| item.is_new).filter_map(Item::reported).collect();
    let mut buyers = BTreeSet::new();
    for purchase in purchases::apply(tx, keys, &reports).await? {
        let customer = customer_of(purchase.key.record);
        buyers.insert(customer);
        log.note(purchase_change(&purchase, customer));
    }
    let mut active: BTreeMap<CustomerId, Span> = BTreeMap::new();
    for item in items.iter().filter(|item| item.is_new && item.is_counted(&services.value)) {
        let span = Span::at(item.message.occurred_at);
        active
            .entry(customer_of(item.record))
            .and_modify(|known| *known = known.with(span))
            .or_insert(span);
    }
    let concerned = refresh::Concerned {
        buyers,
        active,
        moved: &unified.moved,
    };
    let marked = refresh::mark(tx, &log, (now, class(deliveries)), concerned).await?;
    let suppressed = suppress::refused(&items);
    let suppressed = suppressed.iter().map(suppress::Suppressed::rejection);
    let refused = listed::without_erased(tx, keys, &standing.rules, deliveries).await?;
    let rejections = refused.iter().map(listed::Listed::rejection).chain(suppressed);
    insert_rejected(tx, &services.store, rejections).await?;
    let new_messages = items.iter().filter(|item| item.is_new).map(|item| item.message);
    services.catalogue.discover(tx, &Sightings::of(new_messages)).await?;

    let mut outcomes = items.iter().map(|item| match item.is_new {
        _ if item.is_suppressed => Outcome::Suppressed,
        true if item.is_open && held.contains(&item.record) => Outcome::Held,
        true => Outcome::Accepted,
        false => Outcome::Duplicate,
    });
    let outcomes = deliveries
        .iter()
        .map(|delivery| outcomes.by_ref().take(delivery.messages.len()).collect())
        .collect();
    Ok((outcomes, log, marked))
}

/// Under which a message is stored once, whoever it turns out to be about.
pub(super) fn first_key(services: &Services, message: &Message) -> EventKey {
    Item::first_key(services.store.hash_key(), &services.rules.standing().rules, message)
}

/// Asks what is known of every record and value; anonymous records go on where their newest sibling is.
async fn look(tx: &DatabaseTransaction, keys: &HashKey, items: &mut [Item<'_>]) -> Result<Known, StoreError> {
    let mut known = neighbours::look(tx, &asked_pairs(items)).await?;
    let siblings = Known::siblings;
    let mut moved_on = HashSet::new();
    for item in items.iter_mut() {
        if let Some(n) = item
            .chain
            .as_ref()
            .map(|chain| siblings(&known, chain.first))
            .filter(|n| *n > 0)
        {
            item.go_on(keys, n);
            moved_on.extend(item.shown.iter().map(|shown| (item.record, Some(shown.id))));
        }
        if let Some(alias) = &item.alias
            && let n @ 1.. = siblings(&known, alias.anonymous)
        {
            moved_on.insert((keys.sibling(item.message.source, &format!("a:{}", alias.previous), n), None));
        }
    }
    known.absorb(neighbours::look(tx, &moved_on).await?);
    Ok(known)
}

fn asked_pairs(items: &[Item<'_>]) -> HashSet<(RecordId, Option<IdentifierId>)> {
    let mut pairs = HashSet::new();
    for item in items {
        if item.shown.is_empty() {
            pairs.insert((item.record, None));
        }
        pairs.extend(item.shown.iter().map(|shown| (item.record, Some(shown.id))));
        if let Some(alias) = &item.alias {
            pairs.extend([(alias.user, None), (alias.anonymous, None)]);
        }
    }
    pairs
}

/// Opens what says something new, and with it everything that shows one of the same values: whom those belong to may change on the way.
fn open_what_is_news(items: &mut [Item<'_>], known: &Known, compared: &[&str]) {
    for item in items.iter_mut() {
        item.is_open = !item.is_suppressed && !item.says_nothing_new(known, compared);
    }
    loop {
        let in_play: HashSet<_> = items
            .iter()
            .filter(|item| item.is_open)
            .flat_map(|item| item.shown.iter().map(|shown| shown.id))
            .collect();
        let mut is_settled = true;
        for item in items.iter_mut().filter(|item| !item.is_open && !item.is_suppressed) {
            if item.shown.iter().any(|shown| shown.is_usable && in_play.contains(&shown.id)) {
                item.is_open = true;
                is_settled = false;
            }
        }
        if is_settled {
            return;
        }
    }
}

/// Which messages were stored before. Events are keyed by their record, so a message of an anonymous id is looked for under every
/// record of that id.
async fn stored_before(
    tx: &DatabaseTransaction,
    keys: &HashKey,
    items: &[Item<'_>],
    known: &Known,
) -> Result<HashSet<EventKey>, StoreError> {
    let mut asked = HashSet::new();
    for item in items {
        // Settled messages find out when they are written.
        let is_reborn = known.erased.contains_key(&item.record);
        if item.is_open || is_reborn || item.chain.as_ref().is_some_and(|chain| chain.first != item.record) {
            asked.extend(keys_of(keys, item, known));
        }
    }
    customer_store::stored_events(tx, asked).await
}

/// Every key under which a message may have been stored.
fn keys_of(keys: &HashKey, item: &Item<'_>, known: &Known) -> Vec<EventKey> {
    let mut possible = vec![item.key()];
    if let Some(chain) = &item.chain {
        let siblings = known.siblings(chain.first);
        let sibling = |n| keys.sibling(item.message.source, &item.external_key, n);
        let records = std::iter::once(chain.first).chain((1..=siblings).map(sibling));
        possible.extend(records.map(|record| EventKey { record, id: item.event }));
    }
    possible
}

/// Of two alike in one group the first counts; siblings of one anonymous id count as one record.
fn mark_new(items: &mut [Item<'_>], is_stored: impl Fn(&Item<'_>) -> bool) {
    let mut seen = HashSet::new();
    for item in items {
        let record = item.chain.as_ref().map_or(item.record, |chain| chain.first);
        item.is_new = !item.is_suppressed && seen.insert((record, item.event)) && !is_stored(item);
    }
}

/// What the group can touch.
fn seeds(items: &[Item<'_>], keys: &HashKey, known: &Known, value: &ValueRules) -> Seeds {
    let mut seeds = Seeds::default();
    let mut values = BTreeMap::new();
    for item in items.iter().filter(|item| item.is_new) {
        if !item.is_open {
            // What is said of a known person and what they buy is folded into what is stored: nobody else may do so meanwhile. What they
            // do and is counted marks whose it is, so nobody may take it elsewhere meanwhile.
            let says_something = !item.message.traits.is_empty() || !item.message.consents.is_empty();
            if says_something || item.message.order.is_some() || item.is_counted(value) {
                seeds.still.insert(item.record);
            }
            continue;
        }
        seeds.records.insert(item.record);
        values.extend(item.shown.iter().map(|shown| (shown.id, shown)));
        if let Some(alias) = &item.alias {
            let siblings = known.siblings(alias.anonymous);
            let newest = match siblings {
                0 => alias.anonymous,
                n => keys.sibling(item.message.source, &format!("a:{}", alias.previous), n),
            };
            seeds.records.extend([alias.user, newest]);
            // Nobody else may open either record meanwhile.
            values.extend(alias.shown.iter().map(|shown| (shown.id, shown)));
        }
    }
    seeds.values = values.into_values().cloned().collect();
    seeds
}

/// Another transaction may have opened a sibling while the locks were waited for.
async fn check_siblings(tx: &DatabaseTransaction, items: &[Item<'_>], known: &Known) -> Result<(), StoreError> {
    let open = items.iter().filter(|item| item.is_new && item.is_open);
    let chains: HashSet<RecordId> = open
        .flat_map(|item| {
            let chain = item.chain.as_ref().map(|chain| chain.first);
            chain.into_iter().chain(item.alias.as_ref().map(|alias| alias.anonymous))
        })
        .collect();
    if tx.get_database_backend() == DbBackend::Sqlite {
        return Ok(());
    }
    let pairs = chains.iter().map(|first| (*first, None)).collect();
    let today = neighbours::look(tx, &pairs).await?;
    match chains.iter().all(|first| known.siblings(*first) == today.siblings(*first)) {
        true => Ok(()),
        false => Err(StoreError::LostRace),
    }
}

/// How many arrivals these take.
fn count<'i, 'm: 'i>(items: impl IntoIterator<Item = &'i Item<'m>>) -> i64 {
    items.into_iter().map(Item::arrivals).sum()
}

fn number<'i, 'm: 'i>(items: impl IntoIterator<Item = &'i mut Item<'m>>, first: i64) {
    let mut next = first;
    for item in items {
        item.arrival = next;
        next += item.arrivals();
    }
}

/// What is placed arrives after everything it was placed upon.
fn number_open(items: &mut [Item<'_>], services: &Services, now: Instant, latest: i64) {
    let arrivals = count(items.iter().filter(|item| item.is_open));
    if arrivals > 0 {
        let first = services.arrivals.reserve(now, latest, arrivals);
        number(items.iter_mut().filter(|item| item.is_open), first);
    }
}

fn spoken_for(deliveries: &[Delivery]) -> HashMap<SourceId, SpokenFor> {
    let speak = |delivery: &Delivery| {
        let spoken = SpokenFor {
            key: delivery.source_key.clone(),
            reviews_aliases: delivery.reviews_aliases,
        };
        (delivery.source_id, spoken)
    };
    deliveries.iter().map(speak).collect()
}

/// The customer of a record when the group is placed.
fn customer_today(scene: &Scene, known: &Known, record: RecordId) -> CustomerId {
    let placed = scene
        .neighbourhood
        .customer_of(record)
        .or_else(|| scene.customer_before(record));
    let stored = || known.records.get(&record).map(|record| record.customer);
    placed.or_else(stored).unwrap_or(CustomerId(record.0))
}

/// What became of records, for their customers to follow.
fn happened<'m>(scene: &Scene, known: &Known, items: &[Item<'m>], mut new: BTreeMap<RecordId, NewRecord>) -> Happened<'m> {
    for record in new.values_mut() {
        record.customer = customer_today(scene, known, record.id);
    }
    let mut happened = Happened {
        difference: scene.difference(),
        new,
        arrival: items
            .iter()
            .map(|item| item.arrival + item.arrivals() - 1)
            .max()
            .unwrap_or_default(),
        ..Happened::default()
    };
    for item in items.iter().filter(|item| item.is_new) {
        happened.said.extend(item.message.traits.iter().map(|(name, value)| Said {
            record: item.record,
            name,
            value,
            at: item.message.occurred_at,
            event: item.event,
            arrival: item.arrival,
        }));
        // As it was under lock: another transaction may have made the record since it was looked for.
        let stored = || known.records.get(&item.record).map(|record| record.customer);
        if let Some(before) = scene.customer_before(item.record).or_else(stored) {
            happened.customers.insert(item.record, before);
        }
    }
    happened
}

/// What new messages answer to being spoken to.
fn answered(keys: &HashKey, items: &[Item<'_>]) -> Vec<Consent> {
    let new = items.iter().filter(|item| item.is_new);
    new.flat_map(|item| {
        let said = (0..).zip(&item.message.consents);
        said.map(|(n, said)| Consent::of_message(keys, (item.record, item.event), n, item.arrival, said))
    })
    .collect()
}

/// The new events of each record.
fn received(items: &[Item<'_>]) -> BTreeMap<RecordId, Received> {
    let mut received: BTreeMap<RecordId, Received> = BTreeMap::new();
    for item in items.iter().filter(|item| item.is_new) {
        let received = received.entry(item.record).or_insert_with(|| Received {
            events: Vec::new(),
            last_at: item.message.occurred_at,
            last_arrival: item.arrival,
        });
        received.events.push(item.event);
        received.last_at = received.last_at.max(item.message.occurred_at);
        received.last_arrival = received.last_arrival.max(item.arrival);
    }
    received
}

/// Stores what is new. What turns out to be stored already is no longer new; if it was placed meanwhile, all of it is tried again.
async fn store_events(tx: &DatabaseTransaction, items: &mut [Item<'_>]) -> Result<(), StoreError> {
    let mut events: Vec<NewEvent<'_>> = items
        .iter()
        .filter(|item| item.is_new)
        .map(|item| NewEvent {
            key: item.key(),
            arrival: item.arrival,
            message: item.message,
        })
        .collect();
    // In key order neighbours land on one index page, and two transactions with the same messages wait in one order.
    events.sort_unstable_by_key(|event| event.key);
    let stored = customer_store::insert_events(tx, &events).await?;
    for item in items.iter_mut().filter(|item| item.is_new && !stored.contains(&item.key())) {
        if item.is_open {
            return Err(StoreError::LostRace);
        }
        item.is_new = false;
    }
    Ok(())
}

/// Who goes first of those whom this makes due.
fn class(deliveries: &[Delivery]) -> DueClass {
    match deliveries.iter().all(|delivery| delivery.is_bulk) {
        true => DueClass::Bulk,
        false => DueClass::Live,
    }
}

/// Whoever sent all of it, for the log.
fn actor(deliveries: &[Delivery]) -> String {
    let mut sources = deliveries.iter().map(|delivery| delivery.source_key.as_str());
    let first = sources.next().unwrap_or_default();
    if sources.all(|source| source == first) {
        format!("source:{first}")
    } else {
        "intake".to_owned()
    }
}

fn purchase_change(purchase: &Touched, customer: CustomerId) -> Change {
    let (amount_before, refunded_before) = purchase.before.unwrap_or((None, 0));
    let (amount, refunded) = purchase.after;
    let mut changed = Map::new();
    if purchase.created || amount != amount_before {
        changed.insert("amountMinor".to_owned(), json!([amount_before, amount]));
        changed.insert("currency".to_owned(), json!([null, purchase.currency.code()]));
    }
    if refunded != refunded_before {
        changed.insert("refundedMinor".to_owned(), json!([refunded_before, refunded]));
    }
    Change {
        topic: Topic::Purchase,
        op: if purchase.created {
            ChangeOp::Created
        } else {
            ChangeOp::Updated
        },
        entity: purchase.key.id.0,
        record: Some(purchase.key.record),
        customer: Some(customer),
        rev: purchase.rev,
        occurred_at: purchase.occurred_at,
        changed,
        events: Vec::new(),
    }
}
