//! Who is this? Places assertions, in the order of their arrival, among the customers of a neighbourhood. Pure: plain data in, plain
//! data out; no clock, no database, no randomness.
//!
//! An assertion is what one message showed of one record: identifiers that recognise people. Each is tried from the strongest to the
//! weakest and accepted unless it would break a limit, cross an operator's decision or join people who contradict each other; one that
//! is rejected is set aside alone. Whatever a customer's id is follows from its records and the standing decisions (`survivor`), never
//! from the path that led there.

use super::rules::{OnConflict, Rules, TypeRule};
use crate::base::{CustomerId, IdentifierId, RecordId};
use entity::{IdentifierKind, IdentifierState};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// What one message showed of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assertion {
    pub record: RecordId,
    /// Order of arrival; ties by record id.
    pub arrival: i64,
    /// Usable identifiers, in the order in which they were given.
    pub identifiers: Vec<IdentifierId>,
}

/// What an operator or a source decided about two records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decree {
    /// Different people.
    Apart,
    /// The same person, whatever the limits say. A standing merge names who survives.
    Together { survivor: Option<RecordId> },
}

/// A customer in the making: its records and the values it owns.
#[derive(Clone, Debug, Default)]
struct Group {
    /// (arrival, record): the first is the oldest.
    records: BTreeSet<(i64, RecordId)>,
    values: BTreeSet<IdentifierId>,
}

/// A value and whom it belongs to.
#[derive(Clone, Debug)]
pub struct Value {
    pub kind: IdentifierKind,
    pub namespace: String,
    pub state: IdentifierState,
    /// Records that have shown it.
    pub shown_by: BTreeSet<RecordId>,
}

type GroupId = u32;

/// Everything a batch of assertions can touch.
#[derive(Clone, Debug)]
pub struct Neighbourhood<'r> {
    rules: &'r Rules,
    groups: BTreeMap<GroupId, Group>,
    next_group: GroupId,
    group_of: HashMap<RecordId, GroupId>,
    arrivals: HashMap<RecordId, i64>,
    values: BTreeMap<IdentifierId, Value>,
    owners: HashMap<IdentifierId, GroupId>,
    /// Attribute values of records that types compare, in lower case.
    attributes: HashMap<RecordId, BTreeMap<String, String>>,
    decrees: BTreeMap<(RecordId, RecordId), Decree>,
    /// Standing splits: no record of one side shares a customer with one of the other.
    splits: Vec<[BTreeSet<RecordId>; 2]>,
}

/// Why an identifier of an assertion was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// A customer would hold more values of a type than its limit.
    Limit {
        kind: IdentifierKind,
        namespace: String,
        limit: usize,
    },
    /// An operator said that these are different people.
    CannotLink { a: RecordId, b: RecordId },
    /// The two sides name different values of an attribute.
    Disagreement { attribute: String },
    /// A customer would have more records than may be joined without a person looking.
    TooManyRecords { limit: usize },
}

/// What placing one assertion did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Customers that became one because of an identifier: (identifier, id that went, id that stayed).
    pub joined: Vec<(IdentifierId, CustomerId, CustomerId)>,
    pub rejected: Vec<(IdentifierId, Rejection)>,
    /// Values that passed to the record's customer.
    pub moved: Vec<IdentifierId>,
    /// Values that too many customers have shown.
    pub quarantined: Vec<IdentifierId>,
}

impl<'r> Neighbourhood<'r> {
    pub fn new(rules: &'r Rules) -> Self {
        Self {
            rules,
            groups: BTreeMap::new(),
            next_group: 0,
            group_of: HashMap::new(),
            arrivals: HashMap::new(),
            values: BTreeMap::new(),
            owners: HashMap::new(),
            attributes: HashMap::new(),
            decrees: BTreeMap::new(),
            splits: Vec::new(),
        }
    }

    /// Makes a value known; the first word about it counts.
    pub fn know_value(&mut self, id: IdentifierId, kind: IdentifierKind, namespace: &str, state: IdentifierState) {
        let value = || Value {
            kind,
            namespace: namespace.to_owned(),
            state,
            shown_by: BTreeSet::new(),
        };
        self.values.entry(id).or_insert_with(value);
    }

    /// States an attribute of a record as it is compared; the last word counts.
    pub fn state_attribute(&mut self, record: RecordId, name: &str, value: &str) {
        self.attributes
            .entry(record)
            .or_default()
            .insert(name.to_owned(), value.trim().to_lowercase());
    }

    /// The customer of a record; `None` while it is not placed.
    pub fn customer_of(&self, record: RecordId) -> Option<CustomerId> {
        self.group_of.get(&record).map(|group| self.survivor(*group))
    }

    /// Who owns a value; `None`: nobody.
    pub fn owner_of(&self, value: IdentifierId) -> Option<CustomerId> {
        self.owners.get(&value).map(|group| self.survivor(*group))
    }

    pub fn state_of(&self, value: IdentifierId) -> Option<IdentifierState> {
        self.values.get(&value).map(|value| value.state)
    }

    /// Records by customer.
    pub fn partition(&self) -> BTreeMap<CustomerId, BTreeSet<RecordId>> {
        let group =
            |(id, group): (&GroupId, &Group)| (self.survivor(*id), group.records.iter().map(|(_, record)| *record).collect());
        self.groups.iter().map(group).collect()
    }

    /// The id of a customer: that of the oldest of its records which a standing merge names as survivor, else of its oldest record.
    fn survivor(&self, group: GroupId) -> CustomerId {
        let records = &self.groups[&group].records;
        let is_named = |record: &RecordId| {
            self.decrees
                .values()
                .any(|decree| matches!(decree, Decree::Together { survivor: Some(named) } if named == record))
        };
        let named = records.iter().map(|(_, record)| record).find(|record| is_named(record));
        let oldest = records.iter().map(|(_, record)| record).next();
        CustomerId(named.or(oldest).expect("a customer has a record").0)
    }

    /// Places an assertion: steps 1 to 5 of the rules. A record that is placed already may bring others in; it is never taken out.
    pub fn place(&mut self, assertion: &Assertion) -> Placement {
        let mut placement = Placement::default();
        self.arrivals.entry(assertion.record).or_insert(assertion.arrival);
        let mut target = self.group_of.get(&assertion.record).copied();
        let mut accepted: Vec<IdentifierId> = Vec::new();
        for id in self.by_priority(&assertion.identifiers) {
            let owner = self.owners.get(&id).copied();
            match self.obstacle(assertion.record, target, owner, &accepted, id) {
                Some(rejection) => placement.rejected.push((id, rejection)),
                None => {
                    accepted.push(id);
                    target = match (target, owner) {
                        (Some(target), Some(owner)) if target != owner => Some(self.join(target, owner, id, &mut placement)),
                        (target, owner) => target.or(owner),
                    };
                }
            }
        }
        let target = target.unwrap_or_else(|| self.open_group());
        self.enter(assertion.record, target);
        for id in accepted {
            self.give(id, target);
        }
        self.pass_on(target, &mut placement);
        self.apply_decrees_of(assertion.record);
        self.quarantine(assertion, &mut placement);
        placement
    }

    /// Identifiers that can recognise anybody, strongest first, each once, in the given order among equals.
    fn by_priority(&self, identifiers: &[IdentifierId]) -> Vec<IdentifierId> {
        let mut usable: Vec<IdentifierId> = Vec::with_capacity(identifiers.len());
        for id in identifiers {
            let is_active = self
                .values
                .get(id)
                .is_some_and(|value| value.state == IdentifierState::Active);
            if is_active && !usable.contains(id) {
                usable.push(*id);
            }
        }
        usable.sort_by_key(|id| self.rule(*id).priority);
        usable
    }

    fn rule(&self, id: IdentifierId) -> TypeRule {
        let value = &self.values[&id];
        self.rules.of(value.kind, &value.namespace)
    }

    /// Why this value cannot join the owner's customer and the target's; `None` when it can.
    fn obstacle(
        &self,
        record: RecordId,
        target: Option<GroupId>,
        owner: Option<GroupId>,
        accepted: &[IdentifierId],
        id: IdentifierId,
    ) -> Option<Rejection> {
        if owner.is_some() && owner == target {
            return None;
        }
        let limit = self.broken_limit(target, owner, accepted, id);
        limit
            .or_else(|| self.crossed_decision(record, target, owner))
            .or_else(|| self.disagreement(record, target, owner, id))
            .or_else(|| {
                let size = |group: Option<GroupId>| group.map_or(0, |group| self.groups[&group].records.len());
                let too_many = size(target) > 0 && size(owner) > 0 && size(target) + size(owner) > self.rules.max_records;
                too_many.then_some(Rejection::TooManyRecords {
                    limit: self.rules.max_records,
                })
            })
    }

    /// A limit stands only against growth: who holds more already, by decision, may be joined as long as it does not hold still more.
    fn broken_limit(
        &self,
        target: Option<GroupId>,
        owner: Option<GroupId>,
        accepted: &[IdentifierId],
        id: IdentifierId,
    ) -> Option<Rejection> {
        let none = BTreeSet::new();
        let values = |group: Option<GroupId>| group.map_or(&none, |group| &self.groups[&group].values);
        let mut together: BTreeSet<IdentifierId> = values(target).union(values(owner)).copied().collect();
        together.extend(accepted);
        together.insert(id);
        let together = self.counts(&together);
        let (of_target, of_owner) = (self.counts(values(target)), self.counts(values(owner)));
        for ((kind, namespace), count) in together {
            let Some(limit) = self.rules.of(kind, namespace).limit else {
                continue;
            };
            let held = |counts: &BTreeMap<(IdentifierKind, &str), usize>| counts.get(&(kind, namespace)).copied().unwrap_or(0);
            if count > limit && count > held(&of_target).max(held(&of_owner)) {
                return Some(Rejection::Limit {
                    kind,
                    namespace: namespace.to_owned(),
                    limit,
                });
            }
        }
        None
    }

    fn counts(&self, values: &BTreeSet<IdentifierId>) -> BTreeMap<(IdentifierKind, &str), usize> {
        let mut counts = BTreeMap::new();
        for id in values {
            let value = &self.values[id];
            *counts.entry((value.kind, value.namespace.as_str())).or_insert(0) += 1;
        }
        counts
    }

    fn crossed_decision(&self, record: RecordId, target: Option<GroupId>, owner: Option<GroupId>) -> Option<Rejection> {
        let owner = owner?;
        let mut ours: BTreeSet<RecordId> = target.map(|target| self.members(target)).unwrap_or_default();
        ours.insert(record);
        let theirs = self.members(owner);
        let apart = |pair: &(RecordId, RecordId)| {
            (ours.contains(&pair.0) && theirs.contains(&pair.1)) || (ours.contains(&pair.1) && theirs.contains(&pair.0))
        };
        let decree = self
            .decrees
            .iter()
            .find(|(pair, decree)| **decree == Decree::Apart && apart(pair));
        if let Some(((a, b), _)) = decree {
            return Some(Rejection::CannotLink { a: *a, b: *b });
        }
        for [left, right] in &self.splits {
            for (one, other) in [(left, right), (right, left)] {
                if let (Some(a), Some(b)) = (ours.intersection(one).next(), theirs.intersection(other).next()) {
                    return Some(Rejection::CannotLink { a: *a, b: *b });
                }
            }
        }
        None
    }

    fn members(&self, group: GroupId) -> BTreeSet<RecordId> {
        self.groups[&group].records.iter().map(|(_, record)| *record).collect()
    }

    /// This record's value, or the target's where it has none, against the owner's: both sides name some and share none.
    fn disagreement(
        &self,
        record: RecordId,
        target: Option<GroupId>,
        owner: Option<GroupId>,
        id: IdentifierId,
    ) -> Option<Rejection> {
        let owner = owner?;
        let attribute_of = |record: &RecordId, name: &str| {
            self.attributes
                .get(record)
                .and_then(|all| all.get(name))
                .filter(|value| !value.is_empty())
        };
        let of_group = |group: GroupId, name: &str| -> HashSet<&String> {
            self.groups[&group]
                .records
                .iter()
                .filter_map(|(_, member)| attribute_of(member, name))
                .collect()
        };
        for name in self.rule(id).requires_agreement {
            let ours: HashSet<&String> = match attribute_of(&record, &name) {
                Some(own) => HashSet::from([own]),
                None => target.map(|target| of_group(target, &name)).unwrap_or_default(),
            };
            let theirs = of_group(owner, &name);
            if !ours.is_empty() && !theirs.is_empty() && ours.is_disjoint(&theirs) {
                return Some(Rejection::Disagreement { attribute: name });
            }
        }
        None
    }

    fn open_group(&mut self) -> GroupId {
        let group = self.next_group;
        self.next_group += 1;
        self.groups.insert(group, Group::default());
        group
    }

    fn enter(&mut self, record: RecordId, group: GroupId) {
        if self.group_of.insert(record, group).is_none() {
            let arrival = self.arrivals[&record];
            self.groups.entry(group).or_default().records.insert((arrival, record));
        }
    }

    fn give(&mut self, id: IdentifierId, group: GroupId) {
        if let Some(previous) = self.owners.insert(id, group)
            && let Some(previous) = self.groups.get_mut(&previous)
        {
            previous.values.remove(&id);
        }
        self.groups.entry(group).or_default().values.insert(id);
    }

    /// Two customers become one because of a value.
    fn join(&mut self, a: GroupId, b: GroupId, because: IdentifierId, placement: &mut Placement) -> GroupId {
        let ids = (self.survivor(a), self.survivor(b));
        let joined = self.unite(a, b);
        let stays = self.survivor(joined);
        let goes = if ids.0 == stays { ids.1 } else { ids.0 };
        placement.joined.push((because, goes, stays));
        joined
    }

    /// The smaller moves into the larger; which id stays is a question for `survivor`.
    fn unite(&mut self, a: GroupId, b: GroupId) -> GroupId {
        if a == b {
            return a;
        }
        let weight = |group: GroupId| self.groups[&group].records.len() + self.groups[&group].values.len();
        let (into, from) = if weight(a) >= weight(b) { (a, b) } else { (b, a) };
        let moved = self.groups.remove(&from).unwrap_or_default();
        for (_, record) in &moved.records {
            self.group_of.insert(*record, into);
        }
        for id in &moved.values {
            self.owners.insert(*id, into);
        }
        let group = self.groups.entry(into).or_default();
        group.records.extend(moved.records);
        group.values.extend(moved.values);
        into
    }

    /// Values that were set aside and whose type follows the latest holder pass to the target, if the limit allows.
    fn pass_on(&mut self, target: GroupId, placement: &mut Placement) {
        for (id, _) in placement.rejected.clone() {
            let is_owned_elsewhere = self.owners.get(&id).is_some_and(|owner| *owner != target);
            let follows = self.rule(id).on_conflict == OnConflict::Latest;
            if is_owned_elsewhere && follows && self.broken_limit(Some(target), None, &[], id).is_none() {
                self.give(id, target);
                placement.moved.push(id);
            }
        }
    }

    /// Counts the customers of today whose records have shown each value; from `shared_after` on it belongs to nobody.
    fn quarantine(&mut self, assertion: &Assertion, placement: &mut Placement) {
        for id in &assertion.identifiers {
            let Some(value) = self.values.get_mut(id) else { continue };
            value.shown_by.insert(assertion.record);
            let Some(shared_after) = self.rules.shared_after else {
                continue;
            };
            let customers: HashSet<GroupId> = value
                .shown_by
                .iter()
                .filter_map(|record| self.group_of.get(record))
                .copied()
                .collect();
            if value.state == IdentifierState::Active && customers.len() >= shared_after {
                value.state = IdentifierState::Held;
                placement.quarantined.push(*id);
                self.release(*id);
            }
        }
    }

    /// A value belongs to nobody from now on.
    fn release(&mut self, id: IdentifierId) {
        if let Some(owner) = self.owners.remove(&id)
            && let Some(owner) = self.groups.get_mut(&owner)
        {
            owner.values.remove(&id);
        }
    }

    /// Standing must-links of a record join it with the other record, once that is placed.
    fn apply_decrees_of(&mut self, record: RecordId) {
        let partners: Vec<RecordId> = self
            .decrees
            .iter()
            .filter(|(_, decree)| matches!(decree, Decree::Together { .. }))
            .filter_map(|((a, b), _)| {
                if *a == record {
                    Some(*b)
                } else if *b == record {
                    Some(*a)
                } else {
                    None
                }
            })
            .collect();
        for partner in partners {
            if let (Some(own), Some(other)) = (self.group_of.get(&record).copied(), self.group_of.get(&partner).copied()) {
                self.unite(own, other);
            }
        }
    }

    /// Decides about two records; the last decision on a pair stands. `history`: the assertions of every record known, in order of
    /// arrival. People who must not be one are placed again, their records alone.
    pub fn decide(&mut self, a: RecordId, b: RecordId, decree: Decree, history: &[Assertion]) {
        self.decrees.insert(if a < b { (a, b) } else { (b, a) }, decree);
        let (Some(of_a), Some(of_b)) = (self.group_of.get(&a).copied(), self.group_of.get(&b).copied()) else {
            return;
        };
        match decree {
            Decree::Together { .. } => {
                self.unite(of_a, of_b);
            }
            Decree::Apart if of_a == of_b => {
                let members = self.members(of_a);
                self.place_again(&members, history);
            }
            Decree::Apart => {}
        }
    }

    /// Blocks a value for good: whoever held it is placed again without it.
    pub fn block(&mut self, id: IdentifierId, history: &[Assertion]) {
        let holder = self.owners.get(&id).copied();
        self.release(id);
        if let Some(value) = self.values.get_mut(&id) {
            value.state = IdentifierState::Blocked;
        }
        if let Some(holder) = holder {
            let members = self.members(holder);
            self.place_again(&members, history);
        }
    }

    /// Takes records out and places them again in order of arrival, under the decisions that stand. What the customers concerned owned
    /// belongs to nobody until it is shown again.
    pub fn place_again(&mut self, records: &BTreeSet<RecordId>, history: &[Assertion]) {
        let touched: BTreeSet<GroupId> = records
            .iter()
            .filter_map(|record| self.group_of.get(record))
            .copied()
            .collect();
        for group in touched {
            for id in self.groups[&group].values.clone() {
                self.release(id);
            }
        }
        for record in records {
            if let Some(group) = self.group_of.remove(record) {
                let arrival = self.arrivals[record];
                let is_empty = self.groups.get_mut(&group).is_some_and(|group| {
                    group.records.remove(&(arrival, *record));
                    group.records.is_empty()
                });
                if is_empty {
                    self.groups.remove(&group);
                }
            }
        }
        for assertion in history.iter().filter(|assertion| records.contains(&assertion.record)) {
            self.place(assertion);
        }
    }
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
