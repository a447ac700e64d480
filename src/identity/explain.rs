//! Why are two records one customer? The shortest chain of evidence from one to the other. Pure: plain data in, plain data out.
//!
//! Two records stand next to each other when both have shown a value while it recognised the same person, or when a standing decision
//! says that they are one. What was shown and set aside is no evidence, and neither is a value across an instant at which it passed to
//! somebody else. Costs no more than reading the evidence once, however many records share a value.

use crate::base::{DecisionId, EventId, IdentifierId, RecordId};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// What is known of the records of one customer.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    pub showings: Vec<Showing>,
    /// Values that recognise people, or did until they were held; the smaller the number, the stronger the value.
    pub strengths: HashMap<IdentifierId, u32>,
    /// What was decided about values, whoever showed them, in order of arrival.
    pub rulings: Vec<Ruling>,
    /// Standing decisions that two records are one person.
    pub bonds: Vec<Bond>,
}

/// A record showed a value, by a message that said something new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Showing {
    pub record: RecordId,
    pub value: IdentifierId,
    pub event: EventId,
    pub arrival: i64,
}

/// What was decided about a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruling {
    pub decision: DecisionId,
    pub value: IdentifierId,
    pub arrival: i64,
    /// The message that caused it; none where a person decided.
    pub cause: Option<(RecordId, EventId)>,
    pub says: Says,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// It joined two customers.
    Joined,
    /// This showing joined nobody.
    SetAside,
    /// With this showing it passed to another customer.
    Moved,
    /// It recognises nobody from now on.
    Held,
    /// It recognises nobody, and never did.
    Blocked,
    /// It recognises people from now on.
    Released,
}

/// A decision that two records are one person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bond {
    pub decision: DecisionId,
    pub arrival: i64,
    pub ends: [RecordId; 2],
}

/// Two records next to each other in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub from: RecordId,
    pub to: RecordId,
    pub because: Because,
    /// The arrival from which on it held.
    pub at: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Because {
    Decided(DecisionId),
    /// Both showed the value. `link`: the decision by which it joined two customers; none when the later record was new.
    Shown {
        value: IdentifierId,
        link: Option<DecisionId>,
    },
}

/// Showings of one value that recognised one person: of each record the first.
type Holders = BTreeSet<(i64, RecordId)>;

/// Which evidence counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// As it happened, message by message.
    AsItHappened,
    /// As it is when the records are placed again, and what was ruled about a message no longer counts.
    PlacedAgain,
}

impl Evidence {
    /// The steps from one record to the other; among chains of one length, the strongest evidence first and then the oldest. `None`
    /// when nothing that counts today leads there.
    pub fn path(&self, from: RecordId, to: RecordId) -> Option<Vec<Step>> {
        if from == to {
            return Some(Vec::new());
        }
        self.search(from, to, Reading::AsItHappened)
            .or_else(|| self.search(from, to, Reading::PlacedAgain))
    }

    fn search(&self, from: RecordId, to: RecordId, reading: Reading) -> Option<Vec<Step>> {
        let circles = self.circles(reading);
        let mut circles_of: HashMap<RecordId, Vec<usize>> = HashMap::new();
        for (i, (_, holders)) in circles.iter().enumerate() {
            for (_, record) in holders {
                circles_of.entry(*record).or_default().push(i);
            }
        }
        let mut bonds_of: HashMap<RecordId, Vec<&Bond>> = HashMap::new();
        for bond in &self.bonds {
            for end in bond.ends {
                bonds_of.entry(end).or_default().push(bond);
            }
        }
        let mut reached: HashMap<RecordId, Step> = HashMap::new();
        let mut walked: HashSet<usize> = HashSet::new();
        let mut layer = BTreeSet::from([from]);
        while !layer.is_empty() && !reached.contains_key(&to) {
            let mut next: BTreeMap<RecordId, (u32, Step)> = BTreeMap::new();
            let mut offer = |strength: u32, step: Step| {
                let is_new = step.to != from && !reached.contains_key(&step.to);
                let rank = |strength: u32, step: &Step| (strength, step.at, step.because, step.from);
                let is_better = |(other, standing): &(u32, Step)| rank(strength, &step) < rank(*other, standing);
                if is_new && next.get(&step.to).is_none_or(is_better) {
                    next.insert(step.to, (strength, step));
                }
            };
            for record in &layer {
                for bond in bonds_of.get(record).into_iter().flatten() {
                    let other = bond.ends[usize::from(bond.ends[0] == *record)];
                    offer(0, bond.step(*record, other));
                }
            }
            let touched: BTreeSet<usize> = layer
                .iter()
                .filter_map(|record| circles_of.get(record))
                .flatten()
                .copied()
                .collect();
            for circle in touched {
                // Whoever shares a value is one step away from the first who leads to it, so it is walked once.
                if !walked.insert(circle) {
                    continue;
                }
                let (value, holders) = &circles[circle];
                let Some((since, gate)) = holders.iter().find(|(_, record)| layer.contains(record)) else {
                    continue;
                };
                for (shown_at, record) in holders.iter().filter(|(_, record)| record != gate) {
                    let at = *since.max(shown_at);
                    let link = self.link(*value, [*gate, *record], at);
                    let because = Because::Shown { value: *value, link };
                    let step = Step {
                        from: *gate,
                        to: *record,
                        because,
                        at,
                    };
                    offer(self.strengths[value], step);
                }
            }
            layer = next.keys().copied().collect();
            reached.extend(next.into_iter().map(|(record, (_, step))| (record, step)));
        }
        let mut steps = vec![*reached.get(&to)?];
        while let Some(step) = steps.last().and_then(|step| reached.get(&step.from)) {
            steps.push(*step);
        }
        steps.reverse();
        Some(steps)
    }

    /// Who showed a value while it recognised one person, value by value.
    fn circles(&self, reading: Reading) -> Vec<(IdentifierId, Holders)> {
        let mut rulings: HashMap<IdentifierId, Vec<&Ruling>> = HashMap::new();
        if reading == Reading::AsItHappened {
            for ruling in &self.rulings {
                rulings.entry(ruling.value).or_default().push(ruling);
            }
        }
        let mut first: BTreeMap<(IdentifierId, usize), BTreeMap<RecordId, i64>> = BTreeMap::new();
        for showing in self
            .showings
            .iter()
            .filter(|showing| self.strengths.contains_key(&showing.value))
        {
            let of_value = rulings.get(&showing.value).map(Vec::as_slice).unwrap_or_default();
            let Some(era) = era(showing, of_value) else { continue };
            let at = first.entry((showing.value, era)).or_default().entry(showing.record);
            at.and_modify(|at| *at = showing.arrival.min(*at)).or_insert(showing.arrival);
        }
        let holders = |first: BTreeMap<RecordId, i64>| first.into_iter().map(|(record, at)| (at, record)).collect();
        let circles = first.into_iter().map(|((value, _), first)| (value, holders(first)));
        circles.filter(|(_, holders): &(_, Holders)| holders.len() > 1).collect()
    }

    fn link(&self, value: IdentifierId, records: [RecordId; 2], at: i64) -> Option<DecisionId> {
        let start = self.rulings.partition_point(|ruling| ruling.arrival < at);
        let then = self.rulings[start..].iter().take_while(|ruling| ruling.arrival == at);
        let mut joins = then.filter(|ruling| ruling.says == Says::Joined && ruling.value == value);
        joins
            .find(|ruling| ruling.cause.is_some_and(|(record, _)| records.contains(&record)))
            .map(|ruling| ruling.decision)
    }
}

/// How often the value had changed hands when it was shown; `None` when the showing joined nobody.
fn era(showing: &Showing, rulings: &[&Ruling]) -> Option<usize> {
    let mut era = 0;
    let mut recognises = true;
    for ruling in rulings {
        let is_cause = ruling.cause == Some((showing.record, showing.event));
        match ruling.says {
            Says::Joined => {}
            Says::SetAside if is_cause => return None,
            Says::SetAside => {}
            Says::Moved if is_cause || ruling.arrival < showing.arrival => era += 1,
            Says::Held if ruling.arrival < showing.arrival => recognises = false,
            Says::Moved | Says::Held => {}
            Says::Blocked if showing.arrival <= ruling.arrival => return None,
            Says::Blocked => recognises = false,
            Says::Released if ruling.arrival < showing.arrival => {
                era += 1;
                recognises = true;
            }
            Says::Released => {}
        }
    }
    recognises.then_some(era)
}

impl Bond {
    fn step(&self, from: RecordId, to: RecordId) -> Step {
        Step {
            from,
            to,
            because: Because::Decided(self.decision),
            at: self.arrival,
        }
    }
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
