//! The shell around placing: locks and loads the customers that a batch can touch, lets them be placed in memory, and answers the
//! difference. A constant number of statements, however many messages or customers there are.
//!
//! Locks are taken in one order everywhere: values by id, customers by id, records. A customer's lock covers its records: nobody adds,
//! takes or changes one without it. Owners are read again after locking; if they changed meanwhile, the newcomers are locked too.

use super::place::{Assertion, Besides, Effect, Neighbourhood};
use super::store::decisions;
use super::store::neighbours::{self, Member, ShownBy, ValueChange};
use super::{Rules, Shown, Verdict, says_nothing};
use crate::base::ids::HashKey;
use crate::base::{CustomerId, EventId, IdentifierId, Instant, RecordId};
use crate::ingest::traits::canonical;
use crate::store::StoreError;
use entity::{IdentifierKind, IdentifierState, identifier};
use sea_orm::ConnectionTrait;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Owners may change while their locks are waited for; after so many rounds the whole transaction is tried again.
const ROUNDS: usize = 4;

/// What a batch is about.
#[derive(Debug, Default)]
pub struct Seeds {
    /// Values that messages show.
    pub values: Vec<Shown>,
    /// Records that may bring their customers in; they need not exist.
    pub records: BTreeSet<RecordId>,
    /// Records whose customers are only held still.
    pub still: BTreeSet<RecordId>,
    /// Whether the customers of these records may be placed again: then everything their records have shown is brought in.
    pub again: bool,
}

/// The customers a batch can touch, under lock.
#[derive(Debug)]
pub struct Scene {
    pub neighbourhood: Neighbourhood,
    /// The largest arrival of anything read under lock: what is decided now arrives later.
    pub latest_arrival: i64,
    /// Customers under lock as they are stored, those held still included.
    pub locked: BTreeSet<CustomerId>,
    /// As stored: the customers of the records at hand, and owners and states of the values under lock.
    customers: HashMap<RecordId, CustomerId>,
    values: HashMap<IdentifierId, (Option<RecordId>, IdentifierState)>,
    /// The customers of records that are only held still.
    still: HashMap<RecordId, CustomerId>,
    /// Values under lock whose owner or state has changed before; no other can have joined anybody.
    changed_before: BTreeSet<IdentifierId>,
    /// The spellings of values under lock.
    spellings: HashMap<IdentifierId, (IdentifierKind, String, String)>,
}

/// What placing changed.
#[derive(Debug, Default)]
pub struct Difference {
    /// Records that were there and belong to another customer now.
    pub relinked: Vec<(RecordId, CustomerId)>,
    pub values: Vec<ValueChange>,
    /// Customers that are one with another now, and that one.
    pub vanished: BTreeMap<CustomerId, CustomerId>,
    /// Customers that were not there.
    pub appeared: BTreeSet<CustomerId>,
    /// Customers that stay, with other records than before.
    pub changed: BTreeSet<CustomerId>,
    /// The records of every customer that appeared or changed.
    pub records: BTreeMap<CustomerId, BTreeSet<RecordId>>,
}

impl Difference {
    pub fn is_empty(&self) -> bool {
        self.relinked.is_empty() && self.values.is_empty() && self.appeared.is_empty() && self.changed.is_empty()
    }
}

impl Scene {
    /// Nobody, for a batch that says nothing new.
    pub fn empty(rules: Arc<Rules>) -> Self {
        Self {
            neighbourhood: Neighbourhood::new(rules),
            latest_arrival: 0,
            locked: BTreeSet::new(),
            customers: HashMap::new(),
            values: HashMap::new(),
            still: HashMap::new(),
            changed_before: BTreeSet::new(),
            spellings: HashMap::new(),
        }
    }

    /// Locks and loads. `now`: for values that are made now, and for what counts as recent.
    pub async fn load(tx: &impl ConnectionTrait, rules: Arc<Rules>, now: Instant, seeds: &Seeds) -> Result<Self, StoreError> {
        let mut scene = Self::empty(rules);
        let usable = || seeds.values.iter().filter(|shown| shown.is_usable);
        let mut values = Vec::new();
        let mut bound = BTreeSet::new();
        if seeds.again {
            let customers: BTreeSet<CustomerId> = neighbours::customers_of(tx, &seeds.records).await?.into_values().collect();
            bound = bound_to(tx, &customers).await?;
            // All of them at once: locks are taken upwards.
            let mut all = values_of(tx, &customers).await?;
            all.extend(usable().map(|shown| shown.id));
            values = neighbours::lock_values(tx, &all).await?;
        }
        let known: BTreeSet<IdentifierId> = values.iter().map(|value| IdentifierId(value.id)).collect();
        let missing = usable().filter(|shown| !known.contains(&shown.id));
        values.extend(neighbours::claim_values(tx, missing, now.micros()).await?);
        neighbours::insert_unusable(tx, seeds.values.iter().filter(|shown| !shown.is_usable), now.micros()).await?;
        for shown in seeds.values.iter().filter(|shown| !shown.is_usable) {
            scene
                .neighbourhood
                .know_value(shown.id, (shown.kind, &shown.namespace), IdentifierState::Unusable, 0);
        }
        scene.know_values(&values);
        let owners = values.iter().filter_map(|value| value.owner_id).map(RecordId);
        let bringing: BTreeSet<RecordId> = owners.chain(seeds.records.iter().copied()).chain(bound).collect();
        let playing = scene.lock(tx, &bringing, &seeds.still).await?;
        scene.seat(tx, &playing, seeds, now).await?;
        Ok(scene)
    }

    fn know_values(&mut self, values: &[identifier::Model]) {
        for value in values {
            let id = IdentifierId(value.id);
            self.latest_arrival = self.latest_arrival.max(value.arrival);
            self.neighbourhood.know_value(
                id,
                (value.kind, &value.namespace),
                value.state,
                value.held_at.unwrap_or(value.arrival),
            );
            self.values.insert(id, (value.owner_id.map(RecordId), value.state));
            if value.rev > 1 {
                self.changed_before.insert(id);
            }
            let spelling = (value.kind, value.namespace.clone(), value.value.clone());
            self.spellings.insert(id, spelling);
        }
    }

    /// Locks the customers of records. Answers those that play a part; the others are only held still.
    async fn lock(
        &mut self,
        tx: &impl ConnectionTrait,
        bringing: &BTreeSet<RecordId>,
        still: &BTreeSet<RecordId>,
    ) -> Result<BTreeSet<CustomerId>, StoreError> {
        let all: BTreeSet<RecordId> = bringing.union(still).copied().collect();
        for _ in 0..ROUNDS {
            let customers = neighbours::customers_of(tx, &all).await?;
            let missing: BTreeSet<CustomerId> = customers
                .values()
                .filter(|customer| !self.locked.contains(customer))
                .copied()
                .collect();
            if missing.is_empty() {
                let playing = bringing.iter().filter_map(|record| customers.get(record)).copied().collect();
                self.still = still
                    .iter()
                    .filter_map(|record| Some((*record, *customers.get(record)?)))
                    .collect();
                return Ok(playing);
            }
            // Locks are taken upwards. Whoever has to go back lets go of everything first, or would wait for one that waits for them.
            if missing.first() < self.locked.last() {
                return Err(StoreError::LostRace);
            }
            for (customer, placed_at) in neighbours::lock_customers(tx, &missing).await? {
                self.latest_arrival = self.latest_arrival.max(placed_at);
                self.locked.insert(customer);
            }
        }
        Err(StoreError::LostRace)
    }

    /// Seats the records of locked customers with all that placing asks about them.
    async fn seat(
        &mut self,
        tx: &impl ConnectionTrait,
        customers: &BTreeSet<CustomerId>,
        seeds: &Seeds,
        now: Instant,
    ) -> Result<(), StoreError> {
        let attributes = self.compared(seeds);
        let decrees = decisions::decrees_of(tx, customers).await?;
        let (members, besides) = match customers.first() {
            // Nobody else is there to be joined with, so nobody asks for all its records.
            Some(only) if customers.len() == 1 && attributes.is_empty() && !seeds.again => {
                let bound = decrees.iter().flat_map(|decree| decree.sides.iter().flatten().copied());
                let owners = self.values.values().filter_map(|(owner, _)| *owner);
                let asked = bound.chain(owners).chain(seeds.records.iter().copied());
                let asked = asked.chain([RecordId(only.0)]).collect();
                let (members, all, latest) = neighbours::some_members(tx, *only, &asked).await?;
                self.latest_arrival = self.latest_arrival.max(latest);
                let besides = all.saturating_sub(members.len());
                (members, besides)
            }
            _ => (neighbours::members(tx, customers, &attributes).await?, 0),
        };
        let mut seats: BTreeMap<CustomerId, Vec<(i64, RecordId)>> = BTreeMap::new();
        for member in &members {
            self.customers.insert(member.id, member.customer);
            self.latest_arrival = self.latest_arrival.max(member.arrival);
            seats.entry(member.customer).or_default().push((member.arrival, member.id));
        }
        // Before they are seated, so that each seat wears what binds it.
        for decree in decrees {
            self.latest_arrival = self.latest_arrival.max(decree.arrival);
            self.neighbourhood.know_decree(decree);
        }
        for seats in seats.into_values() {
            self.neighbourhood.seat(seats);
        }
        if seeds.again {
            let ids: Vec<RecordId> = members.iter().map(|member| member.id).collect();
            let shown = neighbours::shown_by(tx, &ids).await?;
            self.check_all_locked(&shown, seeds)?;
            self.know_history(&shown, &members, &seeds.records);
            self.know_shown(&shown);
            self.know_owners(&shown);
        } else {
            self.know_owners(&[]);
            self.know_besides(tx, customers, besides).await?;
            let values = seeds.values.iter().map(|shown| shown.id).collect();
            let known = |record: &RecordId| self.customers.contains_key(record);
            let known = seeds.records.iter().copied().filter(known).collect();
            for (record, value) in neighbours::shown_pairs(tx, &known, &values).await? {
                self.neighbourhood.know_shown(value, record);
            }
        }
        self.know_elsewhere(tx, customers, seeds, now).await?;
        self.know_attributes(tx, members, &attributes, seeds.again).await
    }

    /// The attributes that placing may compare: of whoever is placed again all that rules name, else those of the types of values that
    /// somebody owns, or may own before the batch is placed.
    fn compared(&self, seeds: &Seeds) -> Vec<String> {
        let rules = self.neighbourhood.rules();
        if seeds.again {
            return rules.agreement_attributes().into_iter().map(str::to_owned).collect();
        }
        let is_owned = |shown: &&Shown| self.values.get(&shown.id).is_some_and(|(owner, _)| owner.is_some());
        let several = seeds.records.len() > 1;
        let joining = seeds.values.iter().filter(|shown| several || is_owned(shown));
        let names = joining.flat_map(|shown| rules.of(shown.kind, &shown.namespace).requires_agreement);
        names.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Counts what customers own and have besides that which is under lock: limits ask for no more.
    async fn know_besides(
        &mut self,
        tx: &impl ConnectionTrait,
        customers: &BTreeSet<CustomerId>,
        records: usize,
    ) -> Result<(), StoreError> {
        let mut besides: BTreeMap<CustomerId, Besides> = BTreeMap::new();
        for owned in neighbours::owned_by(tx, customers).await? {
            self.latest_arrival = self.latest_arrival.max(owned.latest);
            let of_customer = besides.entry(owned.customer).or_default();
            *of_customer.values.entry((owned.kind, owned.namespace)).or_default() += owned.count;
        }
        for (value, (owner, _)) in &self.values {
            let customer = owner.and_then(|owner| self.customers.get(&owner));
            let Some(of_customer) = customer.and_then(|customer| besides.get_mut(customer)) else {
                continue;
            };
            let (kind, namespace, _) = &self.spellings[value];
            if let Some(count) = of_customer.values.get_mut(&(*kind, namespace.clone())) {
                *count = count.saturating_sub(1);
            }
        }
        for customer in customers {
            let mut of_customer = besides.remove(customer).unwrap_or_default();
            of_customer.records = records;
            self.neighbourhood.know_besides(RecordId(customer.0), of_customer);
        }
        Ok(())
    }

    /// A record may have shown more while the locks were waited for.
    fn check_all_locked(&self, shown: &[ShownBy], seeds: &Seeds) -> Result<(), StoreError> {
        let again: BTreeSet<CustomerId> = seeds
            .records
            .iter()
            .filter_map(|record| self.customers.get(record))
            .copied()
            .collect();
        let is_again = |shown: &&ShownBy| {
            self.customers
                .get(&RecordId(shown.record_id))
                .is_some_and(|customer| again.contains(customer))
        };
        let is_locked = |shown: &ShownBy| self.values.contains_key(&IdentifierId(shown.id));
        if shown.iter().filter(is_again).all(is_locked) {
            Ok(())
        } else {
            Err(StoreError::LostRace)
        }
    }

    /// What the records that may be placed again asserted, message by message.
    fn know_history(&mut self, shown: &[ShownBy], members: &[Member], records: &BTreeSet<RecordId>) {
        let again: BTreeSet<CustomerId> = records
            .iter()
            .filter_map(|record| self.customers.get(record))
            .copied()
            .collect();
        let mut assertions: BTreeMap<(i64, RecordId, EventId), Vec<IdentifierId>> = BTreeMap::new();
        for shown in shown {
            let key = (shown.arrival, RecordId(shown.record_id), EventId(shown.event_id));
            assertions.entry(key).or_default().push(IdentifierId(shown.id));
        }
        let is_again: BTreeSet<RecordId> = members
            .iter()
            .filter(|member| again.contains(&member.customer))
            .map(|member| member.id)
            .collect();
        for ((arrival, record, event), identifiers) in assertions {
            if is_again.contains(&record) {
                self.neighbourhood.know_history(Assertion {
                    record,
                    arrival,
                    event: Some(event),
                    identifiers,
                });
            }
        }
    }

    fn know_shown(&mut self, shown: &[ShownBy]) {
        for shown in shown {
            let (id, record) = (IdentifierId(shown.id), RecordId(shown.record_id));
            self.latest_arrival = self.latest_arrival.max(shown.arrival);
            self.neighbourhood
                .know_value(id, (shown.kind, &shown.namespace), shown.state, shown.held_at);
            self.neighbourhood.know_shown(id, record);
        }
    }

    /// A value whose owner is not at hand is not under lock, and nobody here will touch it.
    fn know_owners(&mut self, shown: &[ShownBy]) {
        let locked = self.values.iter().filter_map(|(id, (owner, _))| Some((*id, (*owner)?)));
        let others = shown
            .iter()
            .filter_map(|shown| Some((IdentifierId(shown.id), RecordId(shown.owner_id?))));
        let owners: BTreeMap<IdentifierId, RecordId> = locked.chain(others).collect();
        for (id, owner) in owners {
            self.neighbourhood.know_owner(id, owner);
        }
    }

    /// What customers outside have to do with the values at hand, for the rules that count them.
    async fn know_elsewhere(
        &mut self,
        tx: &impl ConnectionTrait,
        customers: &BTreeSet<CustomerId>,
        seeds: &Seeds,
        now: Instant,
    ) -> Result<(), StoreError> {
        let rules = self.neighbourhood.rules();
        let counted: BTreeSet<IdentifierId> = self
            .values
            .iter()
            .filter(|(_, (_, state))| *state == IdentifierState::Active)
            .map(|(id, _)| *id)
            .collect();
        let alarm = rules.over_merge_alarm.clone();
        if rules.shared_after.is_some() {
            for (value, customer) in neighbours::shown_to(tx, &counted).await? {
                if !customers.contains(&customer) {
                    self.neighbourhood.know_shown_elsewhere(value, customer);
                } else if !seeds.again {
                    self.neighbourhood.know_shown_among(value, RecordId(customer.0));
                }
            }
        }
        if let Some(alarm) = alarm {
            let joined = counted.intersection(&self.changed_before).copied().collect();
            let since = now.micros().saturating_sub(alarm.window_micros());
            for (value, arrival) in decisions::joins_of(tx, &joined, since).await? {
                self.neighbourhood.know_join(value, arrival);
            }
        }
        Ok(())
    }

    /// What the records say of the attributes that rules compare: as it stands, or, for placing again, everything they ever said.
    async fn know_attributes(
        &mut self,
        tx: &impl ConnectionTrait,
        members: Vec<Member>,
        attributes: &[String],
        again: bool,
    ) -> Result<(), StoreError> {
        let speaking = members
            .into_iter()
            .filter(|member| member.attributes.iter().any(|said| !said.is_null()));
        let speaking: Vec<Member> = speaking.collect();
        if again {
            let ids: Vec<RecordId> = speaking.iter().map(|member| member.id).collect();
            for event in neighbours::stating_events(tx, &ids).await? {
                let said = stated_traits(event.is_identify, &event.properties, &event.context);
                let says_something = |value: &Json| value.is_null() || !says_nothing(value);
                for (name, value) in said
                    .iter()
                    .filter(|(name, value)| attributes.contains(name) && says_something(value))
                {
                    let said_at = (Instant::from_micros(event.occurred_at), event.event);
                    let value = comparable(value);
                    self.neighbourhood
                        .state_attribute(event.record, name, value.as_deref(), said_at, event.arrival);
                }
            }
            return Ok(());
        }
        for member in speaking {
            for (name, said) in attributes.iter().zip(&member.attributes) {
                let (Some(value), Some(at), Some(event)) = (said.get(0), said.get(1).and_then(Json::as_i64), said.get(2)) else {
                    continue;
                };
                if !value.is_null() && says_nothing(value) {
                    continue;
                }
                let event = event
                    .as_str()
                    .and_then(|text| uuid::Uuid::parse_str(text).ok())
                    .unwrap_or_default();
                let said_at = (Instant::from_micros(at), EventId(event));
                let value = comparable(value);
                self.neighbourhood
                    .state_attribute(member.id, name, value.as_deref(), said_at, i64::MIN);
            }
        }
        Ok(())
    }

    /// Judges every value under lock by the rules at hand and places all records that are seated again, in order of arrival.
    pub fn place_all_again(&mut self) {
        let rules = self.neighbourhood.rules();
        let judged: Vec<(IdentifierId, bool)> = self
            .spellings
            .iter()
            .map(|(id, (kind, namespace, value))| (*id, rules.judge(*kind, namespace, value) == Verdict::Usable(value.clone())))
            .collect();
        for (id, is_usable) in judged {
            self.neighbourhood.judge_again(id, is_usable);
        }
        let all = self.customers.keys().copied().collect();
        self.neighbourhood.place_again(&all);
    }

    /// The customer a record was stored under when its lock was taken.
    pub fn customer_before(&self, record: RecordId) -> Option<CustomerId> {
        self.customers.get(&record).or_else(|| self.still.get(&record)).copied()
    }

    /// What placing changed so far.
    pub fn difference(&self) -> Difference {
        let mut difference = Difference::default();
        let partition = self.neighbourhood.partition();
        let mut before: BTreeMap<CustomerId, BTreeSet<RecordId>> = BTreeMap::new();
        for (record, customer) in &self.customers {
            before.entry(*customer).or_default().insert(*record);
        }
        for (customer, records) in partition {
            for record in &records {
                if self.customers.get(record).is_some_and(|stored| *stored != customer) {
                    difference.relinked.push((*record, customer));
                }
            }
            match before.get(&customer) {
                None => drop(difference.appeared.insert(customer)),
                Some(stored) if *stored != records => drop(difference.changed.insert(customer)),
                Some(_) => continue,
            }
            difference.records.insert(customer, records);
        }
        for customer in before.keys() {
            let today = self.neighbourhood.customer_of(RecordId(customer.0));
            if let Some(today) = today.filter(|today| today != customer) {
                difference.vanished.insert(*customer, today);
            }
        }
        difference.relinked.sort_unstable();
        for (id, state, owner) in self.neighbourhood.values() {
            let after = (owner, state);
            if self.values.get(&id).is_some_and(|before| *before != after) {
                let held_at = self.neighbourhood.held_at(id);
                difference.values.push(ValueChange {
                    id,
                    owner,
                    state,
                    held_at,
                });
            }
        }
        difference
    }
}

/// The traits that a stored event states, under canonical names.
pub fn stated_traits(is_identify: bool, properties: &Json, context: &Json) -> Vec<(String, Json)> {
    let said_of_person = if is_identify { properties.as_object() } else { None };
    let in_context = context.get("context").and_then(|context| context.get("traits"));
    canonical(said_of_person, in_context.and_then(Json::as_object))
}

/// What stands for a compared value where its text must not: equal values have equal ones. None: it says nothing.
pub fn compared_as(keys: &HashKey, attribute: &str, value: &str) -> Option<uuid::Uuid> {
    let value = value.trim().to_lowercase();
    (!value.is_empty()).then(|| keys.id("statement", &[attribute.as_bytes(), value.as_bytes()]))
}

/// A trait's value as rules compare it; none for what is no text or number.
pub fn comparable(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The values that the records of these customers have shown.
async fn values_of(tx: &impl ConnectionTrait, customers: &BTreeSet<CustomerId>) -> Result<BTreeSet<IdentifierId>, StoreError> {
    let members = neighbours::members(tx, customers, &[]).await?;
    let members: Vec<RecordId> = members.iter().map(|member| member.id).collect();
    let shown = neighbours::shown_by(tx, &members).await?;
    Ok(shown.iter().map(|shown| IdentifierId(shown.id)).collect())
}

/// The records that decrees bind to those of these customers. They may be elsewhere, kept away by somebody who is no longer here when
/// these customers are placed again.
async fn bound_to(tx: &impl ConnectionTrait, customers: &BTreeSet<CustomerId>) -> Result<BTreeSet<RecordId>, StoreError> {
    let decrees = decisions::decrees_of(tx, customers).await?;
    let together = decrees
        .into_iter()
        .filter(|decree| matches!(decree.effect, Effect::Together { .. }));
    Ok(together.flat_map(|decree| decree.sides.into_iter().flatten()).collect())
}
