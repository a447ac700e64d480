//! What stands against an identifier: limits, decisions that keep people apart, contradiction, and sizes no person explains.

use super::{Assertion, GroupId, Neighbourhood, Rejection};
use crate::base::{DecisionId, IdentifierId, RecordId};
use entity::IdentifierKind;
use std::collections::{BTreeMap, BTreeSet, HashSet};

impl Neighbourhood {
    /// Why this value cannot join the owner's customer and the target's; `None` when it can.
    pub(super) fn obstacle(
        &self,
        assertion: &Assertion,
        target: Option<GroupId>,
        owner: Option<GroupId>,
        accepted: &[IdentifierId],
        id: IdentifierId,
    ) -> Option<Rejection> {
        if owner.is_some() && owner == target {
            return None;
        }
        self.broken_limit(target, owner, accepted, id)
            .or_else(|| self.crossed_decision(assertion.record, target, owner))
            .or_else(|| self.disagreement(assertion, target, owner, id))
            .or_else(|| self.too_many_records(assertion.record, target, owner))
            .or_else(|| self.too_many_joins(assertion.arrival, target, owner, id))
    }

    /// A limit stands only against growth: who holds more already, by decision, may be joined as long as it does not hold still more.
    pub(super) fn broken_limit(
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
        let mut together = self.counts(&together, None);
        for group in target.into_iter().chain(owner) {
            self.count_besides(group, &mut together);
        }
        let (of_target, of_owner) = (self.counts(values(target), target), self.counts(values(owner), owner));
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

    /// How many of each kind these values are, and those that a customer has besides.
    fn counts(&self, values: &BTreeSet<IdentifierId>, of: Option<GroupId>) -> BTreeMap<(IdentifierKind, &str), usize> {
        let mut counts = BTreeMap::new();
        for id in values {
            let value = &self.values[id];
            *counts.entry((value.kind, value.namespace.as_str())).or_insert(0) += 1;
        }
        if let Some(group) = of {
            self.count_besides(group, &mut counts);
        }
        counts
    }

    fn count_besides<'s>(&'s self, group: GroupId, counts: &mut BTreeMap<(IdentifierKind, &'s str), usize>) {
        for ((kind, namespace), count) in &self.groups[&group].besides.values {
            *counts.entry((*kind, namespace.as_str())).or_insert(0) += count;
        }
    }

    fn crossed_decision(&self, record: RecordId, target: Option<GroupId>, owner: Option<GroupId>) -> Option<Rejection> {
        let owner = owner?;
        let decision = match target {
            Some(target) => self.parting(target, owner),
            None => None,
        }
        .or_else(|| self.parting_of_record(record, owner))?;
        let [left, right] = &self.decrees[&decision].sides;
        let mut ours = target.map(|target| self.members(target)).unwrap_or_default();
        ours.insert(record);
        let theirs = self.members(owner);
        let pair = [(left, right), (right, left)].into_iter().find_map(|(one, other)| {
            let a = ours.iter().find(|record| one.contains(record))?;
            let b = theirs.iter().find(|record| other.contains(record))?;
            Some((*a, *b))
        });
        let (a, b) = pair?;
        Some(Rejection::CannotLink { decision, a, b })
    }

    /// A decision that keeps two customers apart.
    pub(super) fn parting(&self, a: GroupId, b: GroupId) -> Option<DecisionId> {
        self.partings(a, b).next()
    }

    pub(super) fn partings(&self, a: GroupId, b: GroupId) -> impl Iterator<Item = DecisionId> {
        let (fewer, more) = (&self.groups[&a].sides, &self.groups[&b].sides);
        let (fewer, more) = if fewer.len() <= more.len() {
            (fewer, more)
        } else {
            (more, fewer)
        };
        fewer.iter().filter_map(move |(decision, [left, right])| {
            let other = more.get(decision)?;
            ((*left > 0 && other[1] > 0) || (*right > 0 && other[0] > 0)).then_some(*decision)
        })
    }

    /// A decision that keeps a record which is not placed yet out of a customer.
    fn parting_of_record(&self, record: RecordId, group: GroupId) -> Option<DecisionId> {
        let sides = &self.groups[&group].sides;
        self.decrees_of.get(&record)?.iter().copied().find(|decision| {
            let Some([left, right]) = sides.get(decision) else {
                return false;
            };
            let decree = &self.decrees[decision];
            (decree.sides[0].contains(&record) && *right > 0) || (decree.sides[1].contains(&record) && *left > 0)
        })
    }

    /// This record's value, or the target's where it has none, against the owner's: both sides name some and share none. Values are
    /// those of the assertion's arrival.
    fn disagreement(
        &self,
        assertion: &Assertion,
        target: Option<GroupId>,
        owner: Option<GroupId>,
        id: IdentifierId,
    ) -> Option<Rejection> {
        let owner = owner?;
        for name in self.rule(id).requires_agreement {
            let of_group = |group: GroupId| -> HashSet<&str> {
                let records = self.groups[&group].records.iter();
                records
                    .filter_map(|(_, member)| self.attribute(*member, &name, assertion.arrival))
                    .collect()
            };
            let ours: HashSet<&str> = match self.attribute(assertion.record, &name, assertion.arrival) {
                Some(own) => HashSet::from([own]),
                None => target.map(of_group).unwrap_or_default(),
            };
            if ours.is_empty() {
                continue;
            }
            let theirs = of_group(owner);
            if !theirs.is_empty() && ours.is_disjoint(&theirs) {
                return Some(Rejection::Disagreement { attribute: name });
            }
        }
        None
    }

    /// What stood of a record's attribute at an arrival.
    fn attribute(&self, record: RecordId, name: &str, arrival: i64) -> Option<&str> {
        let statements = self.attributes.get(&record)?.get(name)?;
        let arrived = statements.iter().filter(|statement| statement.arrival <= arrival);
        arrived.max_by_key(|statement| statement.said_at)?.value.as_deref()
    }

    /// Placing a customer again costs as much as it has records, so what joins by itself is bounded.
    fn too_many_records(&self, record: RecordId, target: Option<GroupId>, owner: Option<GroupId>) -> Option<Rejection> {
        let size = |group: GroupId| self.groups[&group].records.len() + self.groups[&group].besides.records;
        let newcomer = usize::from(!self.group_of.contains_key(&record));
        let limit = self.rules.max_records;
        let together = size(owner?) + target.map_or(0, size) + newcomer;
        (together > limit).then_some(Rejection::TooManyRecords { limit })
    }

    /// The alarm: one value that joins customer after customer within a short time is no person's.
    fn too_many_joins(
        &self,
        arrival: i64,
        target: Option<GroupId>,
        owner: Option<GroupId>,
        id: IdentifierId,
    ) -> Option<Rejection> {
        let alarm = self.rules.over_merge_alarm.as_ref().filter(|_| !self.is_again)?;
        (owner? != target?).then_some(())?;
        let since = arrival.saturating_sub(alarm.window_micros());
        let value = &self.values[&id];
        if value.state == entity::IdentifierState::Cleared {
            return None;
        }
        let recent = value.joins.iter().filter(|joined| **joined > since).count();
        (recent >= alarm.joins).then_some(Rejection::TooManyJoins { limit: alarm.joins })
    }
}
