//! Who is this? Places assertions, in the order of their arrival, among the customers of a neighbourhood. Pure: plain data in, plain
//! data out; no clock, no database, no randomness.
//!
//! An assertion is what one message showed of one record: identifiers that recognise people. Each is tried from the strongest to the
//! weakest and accepted unless it would break a limit, cross an operator's decision or join people who contradict each other; one that
//! is rejected is set aside alone (`guards`). Decisions join and part people whatever the identifiers say (`decide`). Whatever a
//! customer's id is follows from its records and the standing decisions (`survivor`), never from the path that led there.
//!
//! A neighbourhood may be the few customers that a batch touches or the whole world of a rebuild (`know` tells it): the steps are the same.

mod decide;
mod guards;
mod know;

pub use decide::{Decree, Effect};
pub use know::Besides;

use super::rules::{OnConflict, Rules, TypeRule};
use crate::base::{CustomerId, DecisionId, EventId, IdentifierId, Instant, RecordId};
use entity::{IdentifierKind, IdentifierState};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// What one message showed of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assertion {
    pub record: RecordId,
    /// Order of arrival; ties by record id.
    pub arrival: i64,
    /// The message; none for a record that was made without one.
    pub event: Option<EventId>,
    /// Identifiers in the order in which they were given; those that recognise nobody are kept and not used.
    pub identifiers: Vec<IdentifierId>,
}

type GroupId = u32;

/// A customer in the making.
#[derive(Clone, Debug, Default)]
struct Group {
    /// (arrival, record): the first is the oldest.
    records: BTreeSet<(i64, RecordId)>,
    /// Values it owns.
    values: BTreeSet<IdentifierId>,
    /// Records that a standing merge names as survivor.
    named: BTreeSet<(i64, RecordId)>,
    /// How many records it has on each side of a decree that keeps people apart.
    sides: BTreeMap<DecisionId, [usize; 2]>,
    /// What it has besides and is only counted, since nobody asks for it by id: see `know::Besides`.
    besides: Besides,
}

/// A value, who has shown it and what became of it.
#[derive(Clone, Debug)]
struct Value {
    kind: IdentifierKind,
    namespace: String,
    state: IdentifierState,
    /// The arrival at which it was held.
    held_at: i64,
    /// Records of the neighbourhood that have shown it.
    shown_by: BTreeSet<RecordId>,
    /// One record each of customers of the neighbourhood that have shown it; which of their records did so is not known.
    shown_among: BTreeSet<RecordId>,
    /// Customers outside the neighbourhood whose records have shown it.
    shown_elsewhere: BTreeSet<CustomerId>,
    /// Arrivals at which it joined two customers.
    joins: Vec<i64>,
}

/// What a record said about an attribute that types compare.
#[derive(Clone, Debug)]
struct Statement {
    arrival: i64,
    said_at: (Instant, EventId),
    /// Trimmed, in lower case; none: cleared.
    value: Option<String>,
}

/// Everything a batch of assertions can touch.
#[derive(Clone, Debug)]
pub struct Neighbourhood {
    rules: Arc<Rules>,
    groups: BTreeMap<GroupId, Group>,
    next_group: GroupId,
    group_of: HashMap<RecordId, GroupId>,
    arrivals: HashMap<RecordId, i64>,
    values: BTreeMap<IdentifierId, Value>,
    /// Through which record its customer owns a value: a merge then changes no owner.
    owners: HashMap<IdentifierId, RecordId>,
    attributes: HashMap<RecordId, BTreeMap<String, Vec<Statement>>>,
    decrees: BTreeMap<DecisionId, Decree>,
    decrees_of: HashMap<RecordId, BTreeSet<DecisionId>>,
    /// What each record has asserted, as it is kept.
    history: HashMap<RecordId, Vec<Assertion>>,
    /// Records are being placed again: what a value joined then was counted when it did.
    is_again: bool,
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
    CannotLink { decision: DecisionId, a: RecordId, b: RecordId },
    /// The two sides name different values of an attribute.
    Disagreement { attribute: String },
    /// A customer would have more records than may be joined without a person looking.
    TooManyRecords { limit: usize },
    /// The value has joined more customers in a short time than one person explains; it is held from now on.
    TooManyJoins { limit: usize },
}

impl Rejection {
    /// Whether it waits for a person to look: the value, or the record, is on hold.
    pub const fn holds(&self) -> bool {
        matches!(self, Self::TooManyRecords { .. } | Self::TooManyJoins { .. })
    }
}

/// Two customers became one because of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Join {
    pub because: IdentifierId,
    pub gone: CustomerId,
    pub stayed: CustomerId,
}

/// What placing one assertion did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    pub joined: Vec<Join>,
    pub rejected: Vec<(IdentifierId, Rejection)>,
    /// Values that passed from another customer to the record's, and that customer.
    pub moved: Vec<(IdentifierId, CustomerId)>,
    /// Values that belong to nobody from now on, too many customers having shown them.
    pub quarantined: Vec<IdentifierId>,
    /// Values shown for the first time by the record, or whose showing moved an owner: what is kept of the assertion.
    pub kept: Vec<IdentifierId>,
}

impl Neighbourhood {
    pub fn new(rules: Arc<Rules>) -> Self {
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
            decrees_of: HashMap::new(),
            history: HashMap::new(),
            is_again: false,
        }
    }

    /// Places an assertion: steps 1 to 5 of the rules. A record that is placed already may bring others in; it is never taken out.
    pub fn place(&mut self, assertion: &Assertion) -> Placement {
        let placement = self.put(assertion);
        let is_first = !self.history.contains_key(&assertion.record);
        if is_first || !placement.kept.is_empty() {
            let kept = Assertion {
                identifiers: placement.kept.clone(),
                ..assertion.clone()
            };
            self.history.entry(assertion.record).or_default().push(kept);
        }
        placement
    }

    fn put(&mut self, assertion: &Assertion) -> Placement {
        let mut placement = Placement::default();
        let record = assertion.record;
        self.arrivals.entry(record).or_insert(assertion.arrival);
        let start = self.group_of.get(&record).copied();
        let mut target = start;
        let mut accepted: Vec<IdentifierId> = Vec::new();
        // Values that were the customer's own before: to show them again says nothing new.
        let of_start: Vec<IdentifierId> = assertion
            .identifiers
            .iter()
            .copied()
            .filter(|id| self.owner(*id).is_some_and(|owner| Some(owner) == start))
            .collect();
        for id in self.by_priority(assertion) {
            let owner = self.owner(id);
            match self.obstacle(assertion, target, owner, &accepted, id) {
                Some(rejection) => placement.rejected.push((id, rejection)),
                None => {
                    accepted.push(id);
                    target = match (target, owner) {
                        (Some(target), Some(owner)) if target != owner => {
                            Some(self.join(target, owner, (id, assertion.arrival), &mut placement))
                        }
                        (target, owner) => target.or(owner),
                    };
                }
            }
        }
        let target = target.unwrap_or_else(|| self.open_group());
        self.enter(record, target);
        for id in accepted {
            if self.owner(id) != Some(target) {
                self.give(id, target, record);
            }
        }
        self.pass_on(record, target, &mut placement);
        self.obey_decrees_of(record);
        self.hold_rejected(assertion, &mut placement);
        let mut kept = self.kept(assertion, &of_start);
        self.quarantine(assertion, &mut placement);
        kept.extend(&placement.quarantined);
        for id in &assertion.identifiers {
            if kept.contains(id) && !placement.kept.contains(id) {
                placement.kept.push(*id);
            }
        }
        placement
    }

    /// What says something new: a value the record had not shown, or one whose showing gave it to the record's customer. (One whose
    /// showing took it from everybody does, too.)
    fn kept(&mut self, assertion: &Assertion, of_start: &[IdentifierId]) -> Vec<IdentifierId> {
        let target = self.group_of.get(&assertion.record).copied();
        let mut kept = Vec::new();
        for id in &assertion.identifiers {
            let owner = self.owner(*id);
            let Some(value) = self.values.get_mut(id) else { continue };
            let is_first_showing = value.shown_by.insert(assertion.record);
            let is_gained = owner.is_some() && owner == target && !of_start.contains(id);
            if (is_first_showing || is_gained) && !kept.contains(id) {
                kept.push(*id);
            }
        }
        kept
    }

    fn owner(&self, id: IdentifierId) -> Option<GroupId> {
        self.owners.get(&id).and_then(|record| self.group_of.get(record)).copied()
    }

    /// Identifiers that can recognise anybody, strongest first, each once, in the given order among equals. A value that was held later
    /// than this arrival could.
    fn by_priority(&self, assertion: &Assertion) -> Vec<IdentifierId> {
        let mut usable: Vec<IdentifierId> = Vec::with_capacity(assertion.identifiers.len());
        for id in &assertion.identifiers {
            let recognises = self.values.get(id).is_some_and(|value| match value.state {
                IdentifierState::Active | IdentifierState::Cleared => true,
                IdentifierState::Held => assertion.arrival < value.held_at,
                IdentifierState::Blocked | IdentifierState::Unusable => false,
            });
            if recognises && !usable.contains(id) {
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

    fn members(&self, group: GroupId) -> BTreeSet<RecordId> {
        self.groups[&group].records.iter().map(|(_, record)| *record).collect()
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
            self.wear_decrees(record, group);
        }
    }

    fn give(&mut self, id: IdentifierId, group: GroupId, through: RecordId) {
        self.release(id);
        self.owners.insert(id, through);
        self.groups.entry(group).or_default().values.insert(id);
    }

    /// A value belongs to nobody from now on.
    fn release(&mut self, id: IdentifierId) {
        if let Some(group) = self.owner(id)
            && let Some(group) = self.groups.get_mut(&group)
        {
            group.values.remove(&id);
        }
        self.owners.remove(&id);
    }

    /// Two customers become one because of a value.
    fn join(&mut self, a: GroupId, b: GroupId, (because, arrival): (IdentifierId, i64), placement: &mut Placement) -> GroupId {
        let ids = (self.survivor(a), self.survivor(b));
        let joined = self.unite(a, b);
        let stayed = self.survivor(joined);
        let gone = if ids.0 == stayed { ids.1 } else { ids.0 };
        placement.joined.push(Join { because, gone, stayed });
        if !self.is_again {
            self.know_join(because, arrival);
        }
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
        let group = self.groups.entry(into).or_default();
        group.records.extend(moved.records);
        group.values.extend(moved.values);
        group.named.extend(moved.named);
        for (decision, [left, right]) in moved.sides {
            let sides = group.sides.entry(decision).or_default();
            sides[0] += left;
            sides[1] += right;
        }
        group.besides.add(moved.besides);
        into
    }

    /// Values that were set aside and whose type follows the latest holder pass to the target, if the limit allows.
    fn pass_on(&mut self, record: RecordId, target: GroupId, placement: &mut Placement) {
        for (id, rejection) in placement.rejected.clone() {
            let Some(owner) = self.owner(id).filter(|owner| *owner != target && !rejection.holds()) else {
                continue;
            };
            let follows = self.rule(id).on_conflict == OnConflict::Latest;
            if follows && self.broken_limit(Some(target), None, &[], id).is_none() {
                placement.moved.push((id, self.survivor(owner)));
                self.give(id, target, record);
            }
        }
    }

    /// A value that set off the alarm is held.
    fn hold_rejected(&mut self, assertion: &Assertion, placement: &mut Placement) {
        for (id, rejection) in &placement.rejected {
            if matches!(rejection, Rejection::TooManyJoins { .. }) {
                self.hold(*id, assertion.arrival);
                placement.quarantined.push(*id);
            }
        }
    }

    /// Counts the customers of today whose records have shown each value; from `shared_after` on it belongs to nobody.
    fn quarantine(&mut self, assertion: &Assertion, placement: &mut Placement) {
        let Some(shared_after) = self.rules.shared_after else { return };
        for id in &assertion.identifiers {
            let Some(value) = self.values.get(id).filter(|value| value.state == IdentifierState::Active) else {
                continue;
            };
            let shown = value.shown_by.len() + value.shown_among.len() + value.shown_elsewhere.len();
            if shown < shared_after {
                continue;
            }
            let customers: HashSet<GroupId> = value
                .shown_by
                .union(&value.shown_among)
                .filter_map(|record| self.group_of.get(record))
                .copied()
                .collect();
            if customers.len() + value.shown_elsewhere.len() >= shared_after {
                self.hold(*id, assertion.arrival);
                placement.quarantined.push(*id);
            }
        }
    }

    fn hold(&mut self, id: IdentifierId, arrival: i64) {
        self.release(id);
        if let Some(value) = self.values.get_mut(&id) {
            value.state = IdentifierState::Held;
            value.held_at = arrival;
        }
    }
}

#[cfg(test)]
mod tests;
