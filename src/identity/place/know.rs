//! What a neighbourhood is told before anybody is placed, and what can be asked of it at any time.

use super::{Assertion, Group, GroupId, Neighbourhood, Statement, Value};
use crate::base::{CustomerId, EventId, IdentifierId, Instant, RecordId};
use crate::identity::Rules;
use entity::{IdentifierKind, IdentifierState};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a customer has besides the records and values that are known one by one. A batch of intake asks for few of them by id; how many
/// there are is all that limits ask of the others. Who may be placed again is known in full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Besides {
    pub records: usize,
    /// Values it owns, by kind and namespace.
    pub values: BTreeMap<(IdentifierKind, String), usize>,
}

impl Besides {
    pub(super) fn add(&mut self, other: Self) {
        self.records += other.records;
        for (kind, count) in other.values {
            *self.values.entry(kind).or_default() += count;
        }
    }
}

impl Neighbourhood {
    /// Makes a value known; the first word about it counts. `since`: when it was held, if it is.
    pub fn know_value(
        &mut self,
        id: IdentifierId,
        (kind, namespace): (IdentifierKind, &str),
        state: IdentifierState,
        since: i64,
    ) {
        let value = || Value {
            kind,
            namespace: namespace.to_owned(),
            state,
            held_at: since,
            shown_by: BTreeSet::new(),
            shown_among: BTreeSet::new(),
            shown_elsewhere: BTreeSet::new(),
            joins: Vec::new(),
        };
        self.values.entry(id).or_insert_with(value);
    }

    /// Seats the records of a customer as they are stored; the values they own follow with `know_owner`.
    pub fn seat(&mut self, records: impl IntoIterator<Item = (i64, RecordId)>) {
        let group = self.open_group();
        for (arrival, record) in records {
            self.arrivals.insert(record, arrival);
            self.enter(record, group);
        }
    }

    /// A seated record through which its customer owns a value.
    pub fn know_owner(&mut self, id: IdentifierId, record: RecordId) {
        if let Some(group) = self.group_of.get(&record).copied() {
            self.give(id, group, record);
        }
    }

    /// A record has shown a value.
    pub fn know_shown(&mut self, id: IdentifierId, record: RecordId) {
        if let Some(value) = self.values.get_mut(&id) {
            value.shown_by.insert(record);
        }
    }

    /// What the customer of a seated record has besides what is known one by one.
    pub fn know_besides(&mut self, record: RecordId, besides: Besides) {
        let group = self.group_of.get(&record).copied();
        if let Some(group) = group.and_then(|group| self.groups.get_mut(&group)) {
            group.besides.add(besides);
        }
    }

    /// Some record of a seated record's customer has shown a value.
    pub fn know_shown_among(&mut self, id: IdentifierId, record: RecordId) {
        if let Some(value) = self.values.get_mut(&id) {
            value.shown_among.insert(record);
        }
    }

    /// A customer outside the neighbourhood has shown a value.
    pub fn know_shown_elsewhere(&mut self, id: IdentifierId, customer: CustomerId) {
        if let Some(value) = self.values.get_mut(&id) {
            value.shown_elsewhere.insert(customer);
        }
    }

    /// A value joined two customers at this arrival.
    pub fn know_join(&mut self, id: IdentifierId, arrival: i64) {
        if let Some(value) = self.values.get_mut(&id) {
            value.joins.push(arrival);
        }
    }

    /// What a record asserted before, for records that may be placed again.
    pub fn know_history(&mut self, assertion: Assertion) {
        self.history.entry(assertion.record).or_default().push(assertion);
    }

    /// A record said this about an attribute; what stands at an arrival is the last by (event time, event) that had arrived.
    pub fn state_attribute(
        &mut self,
        record: RecordId,
        name: &str,
        value: Option<&str>,
        said_at: (Instant, EventId),
        arrival: i64,
    ) {
        let value = value
            .map(|value| value.trim().to_lowercase())
            .filter(|value| !value.is_empty());
        let of_record = self.attributes.entry(record).or_default();
        of_record
            .entry(name.to_owned())
            .or_default()
            .push(Statement { arrival, said_at, value });
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Other rules from now on; who is placed stays placed until it is placed again.
    pub fn govern(&mut self, rules: Arc<Rules>) {
        self.rules = rules;
    }

    pub fn is_placed(&self, record: RecordId) -> bool {
        self.group_of.contains_key(&record)
    }

    /// The customer of a record; `None` while it is not placed.
    pub fn customer_of(&self, record: RecordId) -> Option<CustomerId> {
        self.group_of.get(&record).map(|group| self.survivor(*group))
    }

    /// The record through which a value is owned; `None`: nobody owns it.
    pub fn owner_of(&self, value: IdentifierId) -> Option<RecordId> {
        self.owners.get(&value).copied()
    }

    /// The state of a value; `None` when it is not known here.
    pub fn state_of(&self, value: IdentifierId) -> Option<IdentifierState> {
        self.values.get(&value).map(|value| value.state)
    }

    /// The arrival at which a value was held; `None` when it is not on hold.
    pub fn held_at(&self, value: IdentifierId) -> Option<i64> {
        let value = self.values.get(&value)?;
        (value.state == IdentifierState::Held).then_some(value.held_at)
    }

    /// The records at hand that have shown a value.
    pub fn shown_by(&self, value: IdentifierId) -> impl Iterator<Item = RecordId> {
        self.values
            .get(&value)
            .into_iter()
            .flat_map(|value| value.shown_by.iter().copied())
    }

    pub fn arrival_of(&self, record: RecordId) -> Option<i64> {
        self.arrivals.get(&record).copied()
    }

    /// Every value known here, with its state and the record through which it is owned.
    pub fn values(&self) -> impl Iterator<Item = (IdentifierId, IdentifierState, Option<RecordId>)> {
        self.values
            .iter()
            .map(|(id, value)| (*id, value.state, self.owners.get(id).copied()))
    }

    /// Records by customer.
    pub fn partition(&self) -> BTreeMap<CustomerId, BTreeSet<RecordId>> {
        let group =
            |(id, group): (&GroupId, &Group)| (self.survivor(*id), group.records.iter().map(|(_, record)| *record).collect());
        self.groups.iter().map(group).collect()
    }

    /// Whether a record's customer has no other.
    pub fn is_alone(&self, record: RecordId) -> bool {
        let group = self.group_of.get(&record).and_then(|group| self.groups.get(group));
        group.is_some_and(|group| group.records.len() + group.besides.records == 1)
    }

    /// The records of a record's customer, itself included; those that are only counted are missing.
    pub fn companions(&self, record: RecordId) -> BTreeSet<RecordId> {
        self.group_of
            .get(&record)
            .map(|group| self.members(*group))
            .unwrap_or_default()
    }

    /// The id of a customer: that of the oldest of its records which a standing merge names as survivor, else of its oldest record.
    pub(super) fn survivor(&self, group: GroupId) -> CustomerId {
        let group = &self.groups[&group];
        let oldest = group.named.first().or_else(|| group.records.first());
        CustomerId(oldest.expect("a customer has a record").1.0)
    }
}
