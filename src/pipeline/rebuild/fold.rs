//! The recorded history of who is who, folded from empty: kept assertions and decisions, interleaved by arrival. Pure.
//!
//! Each assertion is placed under the rules, the attributes and the decisions of its arrival; each decision places again exactly those
//! whom it concerned. What comes out is what the live tables must hold.

use crate::base::{CustomerId, DecisionId, EventId, IdentifierId, RecordId};
use crate::identity::Rules;
use crate::identity::place::{Assertion, Decree, Neighbourhood, Placement, Rejection};
use entity::{HoldReason, IdentifierKind, IdentifierState, IdentityDecisionKind};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Everything that identity is a fold of, traits apart.
#[derive(Debug, Default)]
pub struct History {
    /// (arrival, record).
    pub records: Vec<(i64, RecordId)>,
    pub shown: Vec<ShownValue>,
    pub values: HashMap<IdentifierId, Spelling>,
    pub rulings: Vec<(i64, Ruling)>,
}

/// A kept part of an assertion. Ordered by arrival, then as the message gave it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShownValue {
    pub arrival: i64,
    pub record: RecordId,
    pub event: EventId,
    pub place: i16,
    pub value: IdentifierId,
    /// As it was sent, where that differs from its spelling.
    pub raw: Option<String>,
    /// Of a record that was erased: whether the rules of that moment let it recognise people.
    pub judged: Option<bool>,
}

/// The spelling under which a value is kept.
#[derive(Clone, Debug)]
pub struct Spelling {
    pub kind: IdentifierKind,
    pub namespace: String,
    pub value: String,
    /// Its text was erased: the versions of the rules by which it could recognise people.
    pub judged: Option<BTreeSet<i64>>,
}

/// What somebody decided.
#[derive(Clone, Debug)]
pub enum Ruling {
    Decree(Decree),
    Revoke(DecisionId),
    Block(IdentifierId),
    Release(IdentifierId),
    /// Other rules from now on, for everybody; the version of those that were published.
    Rules(Arc<Rules>, Option<i64>),
    /// These records were erased, at this arrival.
    Erase(i64, BTreeSet<RecordId>),
}

/// What a placement recorded by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Derived {
    pub arrival: i64,
    pub record: RecordId,
    pub kind: IdentityDecisionKind,
    pub value: IdentifierId,
    pub hold: Option<HoldReason>,
}

/// What the history comes to.
#[derive(Debug)]
pub struct Folded {
    pub neighbourhood: Neighbourhood,
    /// Records whose own ids were ids of customers at some time.
    pub own_ids: HashSet<RecordId>,
    pub derived: BTreeSet<Derived>,
    history: History,
    rules: Arc<Rules>,
    /// None: rules that were never published.
    version: Option<i64>,
}

impl History {
    /// Folds. The neighbourhood is empty but for the rules of the beginning and what records said of the attributes that rules compare.
    /// `placed` hears how many records are placed.
    pub fn fold(mut self, neighbourhood: Neighbourhood, rules: Arc<Rules>, mut placed: impl FnMut(usize)) -> Folded {
        self.records.sort_unstable();
        self.shown.sort_unstable();
        self.rulings.sort_by_key(|(arrival, _)| *arrival);
        let rulings = std::mem::take(&mut self.rulings);
        let mut rulings = rulings.into_iter().peekable();
        let (records, shown) = (std::mem::take(&mut self.records), std::mem::take(&mut self.shown));
        let mut folded = Folded {
            neighbourhood,
            own_ids: HashSet::new(),
            derived: BTreeSet::new(),
            history: self,
            rules,
            version: Some(0),
        };
        let mut records = records.into_iter().peekable();
        let mut shown = shown.as_slice();
        let mut count = 0;
        loop {
            let next_shown = shown.first().map(|shown| (shown.arrival, shown.record));
            let next_record = records.peek().copied();
            let Some((arrival, record)) = next_shown.into_iter().chain(next_record).min() else {
                break;
            };
            while let Some((_, ruling)) = rulings.next_if(|(decided, _)| *decided < arrival) {
                folded.rule(ruling);
            }
            if next_record == Some((arrival, record)) {
                records.next();
                count += 1;
                placed(count);
            }
            let together = shown
                .iter()
                .take_while(|next| (next.arrival, next.record) == (arrival, record))
                .count();
            let (now, rest) = shown.split_at(together);
            shown = rest;
            folded.assert(arrival, record, now);
        }
        for (_, ruling) in rulings {
            folded.rule(ruling);
        }
        folded
    }
}

impl Folded {
    /// Other rules on top of the history, for whoever asks what they would change.
    pub fn publish(&mut self, rules: Arc<Rules>) {
        self.rule(Ruling::Rules(rules, None));
    }

    fn assert(&mut self, arrival: i64, record: RecordId, shown: &[ShownValue]) {
        for shown in shown {
            self.know(shown.value, shown.raw.as_deref(), shown.judged);
        }
        let placement = self.neighbourhood.place(&Assertion {
            record,
            arrival,
            event: shown.first().map(|shown| shown.event),
            identifiers: shown.iter().map(|shown| shown.value).collect(),
        });
        self.note(arrival, record, &placement);
        self.note_own_ids(&BTreeSet::from([record]));
    }

    /// A value is judged by the rules that stand when it is first spoken of.
    fn know(&mut self, id: IdentifierId, raw: Option<&str>, judged: Option<bool>) {
        if self.neighbourhood.state_of(id).is_some() {
            return;
        }
        let Some(spelling) = self.history.values.get(&id) else {
            return;
        };
        let is_usable = judged.or_else(|| self.is_usable(spelling, raw)).unwrap_or(true);
        let state = match is_usable {
            true => IdentifierState::Active,
            false => IdentifierState::Unusable,
        };
        self.neighbourhood
            .know_value(id, (spelling.kind, &spelling.namespace), state, 0);
    }

    /// None: its text is erased, and nobody judged it by these rules.
    fn is_usable(&self, spelling: &Spelling, raw: Option<&str>) -> Option<bool> {
        if let Some(judged) = &spelling.judged {
            return self.version.map(|version| judged.contains(&version));
        }
        let sent = raw.unwrap_or(&spelling.value);
        let (value, is_usable) = self.rules.judge(spelling.kind, &spelling.namespace, sent).into_spelling();
        // Other rules may spell it otherwise: then it is another value.
        Some(is_usable && value == spelling.value)
    }

    fn rule(&mut self, ruling: Ruling) {
        let mut concerned = BTreeSet::new();
        match ruling {
            Ruling::Decree(decree) => {
                for record in decree.sides.iter().flatten() {
                    concerned.extend(self.neighbourhood.companions(*record));
                }
                self.neighbourhood.decide(decree);
            }
            Ruling::Revoke(decision) => {
                for record in self.neighbourhood.bound_by(decision) {
                    concerned.extend(self.neighbourhood.companions(record));
                }
                self.neighbourhood.revoke(decision);
            }
            Ruling::Block(value) => {
                self.know(value, None, None);
                if let Some(owner) = self.neighbourhood.owner_of(value) {
                    concerned = self.neighbourhood.companions(owner);
                }
                self.neighbourhood.block(value);
            }
            Ruling::Release(value) => {
                self.know(value, None, None);
                self.neighbourhood.clear(value);
            }
            Ruling::Erase(at, records) => {
                for value in self.neighbourhood.erase(&records, at) {
                    self.neighbourhood.forget_unshown(value);
                }
                self.own_ids.retain(|record| !records.contains(record));
            }
            Ruling::Rules(rules, version) => {
                self.rules = rules.clone();
                self.version = version;
                self.neighbourhood.govern(rules);
                let judged: Vec<(IdentifierId, bool)> = self
                    .history
                    .values
                    .iter()
                    .filter_map(|(id, spelling)| Some((*id, self.is_usable(spelling, None)?)))
                    .collect();
                for (id, is_usable) in judged {
                    self.neighbourhood.judge_again(id, is_usable);
                }
                concerned = self.neighbourhood.partition().into_values().flatten().collect();
                self.neighbourhood.place_again(&concerned);
            }
        }
        self.note_own_ids(&concerned);
    }

    fn note_own_ids(&mut self, records: &BTreeSet<RecordId>) {
        let customers = records.iter().filter_map(|record| self.neighbourhood.customer_of(*record));
        self.own_ids.extend(customers.map(|CustomerId(own)| RecordId(own)));
    }

    /// What intake records of a placement.
    fn note(&mut self, arrival: i64, record: RecordId, placement: &Placement) {
        let derived = |kind, value, hold| Derived {
            arrival,
            record,
            kind,
            value,
            hold,
        };
        for join in &placement.joined {
            self.derived.insert(derived(IdentityDecisionKind::Link, join.because, None));
        }
        for (value, rejection) in &placement.rejected {
            let is_moved = placement.moved.iter().any(|(moved, _)| moved == value);
            let hold = match rejection {
                Rejection::TooManyRecords { .. } => Some(HoldReason::TooManyRecords),
                Rejection::TooManyJoins { .. } => Some(HoldReason::TooManyJoins),
                _ => None,
            };
            let kind = match (hold, is_moved) {
                (Some(_), _) => IdentityDecisionKind::Hold,
                (None, true) => IdentityDecisionKind::Move,
                (None, false) => IdentityDecisionKind::SetAside,
            };
            self.derived.insert(derived(kind, *value, hold));
        }
        let set_off_alarm = |value: &IdentifierId| {
            let mut rejected = placement.rejected.iter();
            rejected.any(|(rejected, why)| rejected == value && matches!(why, Rejection::TooManyJoins { .. }))
        };
        for value in placement.quarantined.iter().filter(|value| !set_off_alarm(value)) {
            let hold = Some(HoldReason::Shared);
            self.derived.insert(derived(IdentityDecisionKind::Hold, *value, hold));
        }
    }

    /// The state of a value; one that nobody has shown is judged by the rules that stand.
    pub fn state_of(&self, id: IdentifierId) -> IdentifierState {
        let unshown = || match self.history.values.get(&id) {
            Some(spelling) if self.is_usable(spelling, None) == Some(false) => IdentifierState::Unusable,
            _ => IdentifierState::Active,
        };
        self.neighbourhood.state_of(id).unwrap_or_else(unshown)
    }
}
