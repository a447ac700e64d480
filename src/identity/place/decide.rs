//! Decisions: what people and sources decreed about records, whatever their identifiers say; and placing again those whom a decision
//! concerns.

use super::{Assertion, GroupId, Neighbourhood, Placement};
use crate::base::{DecisionId, IdentifierId, RecordId};
use entity::IdentifierState;
use std::collections::{BTreeMap, BTreeSet};

/// What a decree demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// No record of one side shares a customer with one of the other.
    Apart,
    /// The same person, whatever the limits say. A merge by hand names the record whose id survives.
    Together { survivor: Option<RecordId> },
}

/// A standing decision about records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decree {
    pub id: DecisionId,
    pub arrival: i64,
    pub effect: Effect,
    /// About two records and nobody else.
    pub is_pair: bool,
    pub sides: [BTreeSet<RecordId>; 2],
}

impl Decree {
    fn pair(&self) -> Option<BTreeSet<RecordId>> {
        self.is_pair.then(|| self.records().collect())
    }

    fn records(&self) -> impl Iterator<Item = RecordId> {
        self.sides.iter().flatten().copied()
    }

    /// Has the two sides of the other decree on different sides.
    fn separates(&self, other: &Self) -> bool {
        let [one, two] = [0, 1].map(|side| other.sides[side].iter().next());
        let (Some(one), Some(two)) = (one, two) else { return false };
        let [left, right] = &self.sides;
        (left.contains(one) && right.contains(two)) || (left.contains(two) && right.contains(one))
    }

    fn is_apart(&self) -> bool {
        self.effect == Effect::Apart
    }

    /// Those that join records, unless a later one parts the same records.
    pub fn standing_bonds(decrees: &[Self]) -> impl Iterator<Item = &Self> {
        let (apart, together): (Vec<&Self>, Vec<&Self>) = decrees.iter().partition(|decree| decree.is_apart());
        together.into_iter().filter(move |bond| {
            let mut later = apart
                .iter()
                .filter(|other| (other.arrival, other.id) > (bond.arrival, bond.id));
            !later.any(|other| other.separates(bond))
        })
    }
}

impl Neighbourhood {
    /// A decree that stands already.
    pub fn know_decree(&mut self, decree: Decree) {
        for record in decree.records() {
            self.decrees_of.entry(record).or_default().insert(decree.id);
        }
        let records: Vec<RecordId> = decree.records().collect();
        self.decrees.insert(decree.id, decree);
        self.wear_again(&records);
    }

    /// Decides about records. The last decision on a pair replaces an earlier one that says the opposite. People who must not be one are
    /// placed again, their records alone. Answers what placing them did.
    pub fn decide(&mut self, decree: Decree) -> Vec<Placement> {
        self.know_decree(decree.clone());
        let groups_of = |side: &BTreeSet<RecordId>| -> BTreeSet<GroupId> {
            side.iter().filter_map(|record| self.group_of.get(record)).copied().collect()
        };
        let [left, right] = [groups_of(&decree.sides[0]), groups_of(&decree.sides[1])];
        match decree.effect {
            Effect::Together { .. } => {
                let mut all: Vec<RecordId> = decree.records().filter(|record| self.is_placed(*record)).collect();
                if let Some(first) = all.pop() {
                    for other in all {
                        self.unite(self.group_of[&first], self.group_of[&other]);
                    }
                }
                Vec::new()
            }
            Effect::Apart => {
                let shared = left.intersection(&right).flat_map(|group| self.members(*group)).collect();
                self.place_again(&shared)
            }
        }
    }

    /// The records that a standing decision binds.
    pub fn bound_by(&self, id: DecisionId) -> BTreeSet<RecordId> {
        self.decrees.get(&id).into_iter().flat_map(Decree::records).collect()
    }

    /// Takes a decision back: the customers it concerns are placed again under those that still stand.
    pub fn revoke(&mut self, id: DecisionId) -> Vec<Placement> {
        let Some(decree) = self.decrees.remove(&id) else {
            return Vec::new();
        };
        let records: Vec<RecordId> = decree.records().collect();
        for record in &records {
            if let Some(decrees) = self.decrees_of.get_mut(record) {
                decrees.remove(&id);
            }
        }
        self.wear_again(&records);
        let groups: BTreeSet<GroupId> = records
            .iter()
            .filter_map(|record| self.group_of.get(record))
            .copied()
            .collect();
        let concerned = groups.into_iter().flat_map(|group| self.members(group)).collect();
        self.place_again(&concerned)
    }

    /// Blocks a value for good: whoever held it is placed again without it.
    pub fn block(&mut self, id: IdentifierId) -> Vec<Placement> {
        let holder = self.owner(id);
        self.release(id);
        if let Some(value) = self.values.get_mut(&id) {
            value.state = IdentifierState::Blocked;
        }
        match holder {
            Some(holder) => self.place_again(&self.members(holder)),
            None => Vec::new(),
        }
    }

    /// A blocked or held value recognises people again from now on; nobody owns it until it is shown again, and no count holds it.
    pub fn clear(&mut self, id: IdentifierId) {
        if let Some(value) = self.values.get_mut(&id) {
            value.state = IdentifierState::Cleared;
        }
    }

    /// What other rules say of a value: whether it can recognise anybody at all. What people said of it, and what holds it, stays.
    pub fn judge_again(&mut self, id: IdentifierId, is_usable: bool) {
        let Some(state) = self.state_of(id) else { return };
        let judged = match (state, is_usable) {
            (IdentifierState::Active, false) => IdentifierState::Unusable,
            (IdentifierState::Unusable, true) => IdentifierState::Active,
            _ => return,
        };
        self.release(id);
        if let Some(value) = self.values.get_mut(&id) {
            value.state = judged;
        }
    }

    /// Takes records out and places them again in order of arrival, under the decisions that stand. What the customers concerned owned
    /// belongs to nobody until it is shown again. A value held since joins what was shown before it was held, and is nobody's again.
    pub fn place_again(&mut self, records: &BTreeSet<RecordId>) -> Vec<Placement> {
        self.take_out(records);
        let mut assertions: Vec<Assertion> = Vec::new();
        for record in records {
            let kept = self.history.get(record).map(Vec::as_slice).unwrap_or_default();
            // A record is placed first when it arrives, even if it showed nothing then.
            let arrival = self.arrivals[record];
            if kept.iter().all(|assertion| assertion.arrival > arrival) {
                assertions.push(Assertion {
                    record: *record,
                    arrival,
                    event: None,
                    identifiers: Vec::new(),
                });
            }
            assertions.extend_from_slice(kept);
        }
        assertions.sort_by_key(|assertion| (assertion.arrival, assertion.record));
        self.is_again = true;
        let placements = assertions.iter().map(|assertion| self.put(assertion)).collect();
        self.is_again = false;
        for id in assertions.iter().flat_map(|assertion| &assertion.identifiers) {
            if self.state_of(*id) == Some(IdentifierState::Held) {
                self.release(*id);
            }
        }
        placements
    }

    fn take_out(&mut self, records: &BTreeSet<RecordId>) {
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
            let Some(group) = self.group_of.remove(record) else { continue };
            let seat = (self.arrivals[record], *record);
            let Some(group_left) = self.groups.get_mut(&group) else {
                continue;
            };
            group_left.records.remove(&seat);
            if group_left.records.is_empty() {
                self.groups.remove(&group);
            } else {
                self.take_decrees_off(*record, group);
            }
        }
    }

    /// Whole customers go, at this arrival: their values belong to nobody, and nobody is bound to them any more. Answers the values that
    /// they had shown.
    pub fn erase(&mut self, records: &BTreeSet<RecordId>, at: i64) -> BTreeSet<IdentifierId> {
        self.take_out(records);
        let mut bereft = BTreeSet::new();
        let mut values = BTreeSet::new();
        for record in records {
            self.arrivals.remove(record);
            // Whoever folds a history knows what a later life of the record will say.
            for said in self.attributes.get_mut(record).into_iter().flat_map(BTreeMap::values_mut) {
                said.retain(|said| said.arrival > at);
            }
            let kept = self.history.remove(record).unwrap_or_default();
            values.extend(kept.into_iter().flat_map(|assertion| assertion.identifiers));
            for decision in self.decrees_of.remove(record).unwrap_or_default() {
                if let Some(decree) = self.decrees.get_mut(&decision) {
                    for side in &mut decree.sides {
                        side.remove(record);
                    }
                    bereft.extend(decree.records());
                }
            }
        }
        for id in &values {
            if let Some(value) = self.values.get_mut(id) {
                value.shown_by.retain(|record| !records.contains(record));
            }
        }
        self.wear_again(&bereft.into_iter().collect::<Vec<_>>());
        values
    }

    /// A value that nobody shows any more is not known, unless something was decided about it.
    pub fn forget_unshown(&mut self, id: IdentifierId) {
        let is_unshown = |value: &super::Value| value.shown_by.is_empty() && value.shown_elsewhere.is_empty();
        let is_remembered = !matches!(self.state_of(id), Some(IdentifierState::Active | IdentifierState::Unusable));
        if !is_remembered && self.values.get(&id).is_some_and(is_unshown) {
            self.values.remove(&id);
        }
    }

    /// Standing must-links of a record join it with the other records, once those are placed.
    pub(super) fn obey_decrees_of(&mut self, record: RecordId) {
        let Some(decrees) = self.decrees_of.get(&record) else { return };
        let together = decrees
            .iter()
            .filter(|id| matches!(self.decrees[*id].effect, Effect::Together { .. }) && self.stands(**id));
        let partners: BTreeSet<RecordId> = together.flat_map(|id| self.decrees[id].records()).collect();
        for partner in partners {
            if let (Some(own), Some(other)) = (self.group_of.get(&record).copied(), self.group_of.get(&partner).copied())
                && self.parting(own, other).is_none()
            {
                self.unite(own, other);
            }
        }
    }

    /// A decision that keeps the customers of two records apart; `None` when nothing does, or they share one.
    pub fn what_parts(&self, a: RecordId, b: RecordId) -> Option<DecisionId> {
        let (one, other) = (self.group_of.get(&a).copied()?, self.group_of.get(&b).copied()?);
        if one == other { None } else { self.parting(one, other) }
    }

    /// A decision, not about exactly this pair, that keeps the customers of two records apart.
    pub fn what_else_parts(&self, a: RecordId, b: RecordId) -> Option<DecisionId> {
        let (one, other) = (self.group_of.get(&a).copied()?, self.group_of.get(&b).copied()?);
        let pair = BTreeSet::from([a, b]);
        let is_other = |decision: &DecisionId| self.decrees[decision].pair().is_none_or(|decreed| decreed != pair);
        self.partings(one, other).find(is_other).filter(|_| one != other)
    }

    /// A standing decree on exactly these two records.
    pub fn standing_on_pair(&self, a: RecordId, b: RecordId) -> Option<&Decree> {
        let pair = BTreeSet::from([a, b]);
        let of_a = self.decrees_of.get(&a)?.iter();
        let standing = of_a.filter(|id| self.stands(**id)).map(|id| &self.decrees[id]);
        standing
            .filter(|decree| decree.pair().as_ref() == Some(&pair))
            .max_by_key(|decree| (decree.arrival, decree.id))
    }

    /// Whether no later decision says the opposite: a must-link yields to whatever parts its two records, a cannot-link to a must-link of
    /// the same pair, a split to nothing.
    fn stands(&self, id: DecisionId) -> bool {
        let decree = &self.decrees[&id];
        let Some(first) = decree.records().next() else { return true };
        let of_record = self.decrees_of.get(&first).into_iter().flatten();
        let mut later = of_record
            .map(|other| &self.decrees[other])
            .filter(|other| (other.arrival, other.id) > (decree.arrival, decree.id));
        match decree.effect {
            Effect::Together { .. } => !later.any(|other| other.is_apart() && other.separates(decree)),
            Effect::Apart => match decree.pair() {
                Some(pair) => !later.any(|other| !other.is_apart() && other.pair().as_ref() == Some(&pair)),
                None => true,
            },
        }
    }

    /// Marks a record's customer with what decrees say of the record.
    pub(super) fn wear_decrees(&mut self, record: RecordId, group: GroupId) {
        let Some(decrees) = self.decrees_of.get(&record) else { return };
        let standing: Vec<DecisionId> = decrees.iter().copied().filter(|id| self.stands(*id)).collect();
        let seat = (self.arrivals[&record], record);
        for id in standing {
            let decree = &self.decrees[&id];
            let Some(group) = self.groups.get_mut(&group) else { return };
            match decree.effect {
                Effect::Together { survivor } => {
                    if survivor == Some(record) {
                        group.named.insert(seat);
                    }
                }
                Effect::Apart => {
                    let sides = group.sides.entry(id).or_default();
                    for (count, side) in sides.iter_mut().zip(&decree.sides) {
                        *count += usize::from(side.contains(&record));
                    }
                }
            }
        }
    }

    fn take_decrees_off(&mut self, record: RecordId, group: GroupId) {
        let seat = (self.arrivals[&record], record);
        let Some(group) = self.groups.get_mut(&group) else { return };
        group.named.remove(&seat);
        for id in self.decrees_of.get(&record).into_iter().flatten() {
            let decree = &self.decrees[id];
            if let Some(sides) = group.sides.get_mut(id) {
                for (count, side) in sides.iter_mut().zip(&decree.sides) {
                    *count = count.saturating_sub(usize::from(side.contains(&record)));
                }
            }
        }
    }

    /// The decrees of these records have changed: their customers are marked anew.
    fn wear_again(&mut self, records: &[RecordId]) {
        let groups: BTreeSet<GroupId> = records
            .iter()
            .filter_map(|record| self.group_of.get(record))
            .copied()
            .collect();
        for group in groups {
            if let Some(group) = self.groups.get_mut(&group) {
                group.named.clear();
                group.sides.clear();
            }
            for member in self.members(group) {
                self.wear_decrees(member, group);
            }
        }
    }
}
