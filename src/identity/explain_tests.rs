use super::*;
use proptest::prelude::*;
use uuid::Uuid;

fn record(n: u128) -> RecordId {
    RecordId(Uuid::from_u128(n))
}

fn value(n: u128) -> IdentifierId {
    IdentifierId(Uuid::from_u128(1000 + n))
}

fn decision(n: u128) -> DecisionId {
    DecisionId(Uuid::from_u128(2000 + n))
}

fn event(arrival: i64) -> EventId {
    EventId(Uuid::from_u128(u128::from(arrival.unsigned_abs())))
}

/// Showings as (record, value), one message each, in order of arrival; the value's number is its strength.
fn shown(showings: &[(u128, u128)]) -> Evidence {
    let mut evidence = Evidence::default();
    for (arrival, (by, what)) in (1..).zip(showings) {
        evidence.strengths.insert(value(*what), u32::try_from(*what).unwrap_or(9));
        evidence.showings.push(Showing {
            record: record(*by),
            value: value(*what),
            event: event(arrival),
            arrival,
        });
    }
    evidence
}

impl Evidence {
    fn ruled(mut self, what: u128, arrival: i64, cause: Option<u128>, says: Says) -> Self {
        self.rulings.push(Ruling {
            decision: decision(u128::from(arrival.unsigned_abs())),
            value: value(what),
            arrival,
            cause: cause.map(|by| (record(by), event(arrival))),
            says,
        });
        self.rulings.sort_by_key(|ruling| ruling.arrival);
        self
    }

    fn bound(mut self, n: u128, arrival: i64, ends: [u128; 2]) -> Self {
        self.bonds.push(Bond {
            decision: decision(n),
            arrival,
            ends: ends.map(record),
        });
        self
    }

    /// The records of a chain, and what each step rests on.
    fn chain(&self, from: u128, to: u128) -> Option<Vec<(RecordId, Because)>> {
        let steps = self.path(record(from), record(to))?;
        Some(steps.into_iter().map(|step| (step.to, step.because)).collect())
    }
}

fn by_value(n: u128) -> Because {
    let value = value(n);
    Because::Shown { value, link: None }
}

#[test]
fn a_chain_leads_over_the_record_that_showed_both_values() {
    let evidence = shown(&[(1, 1), (2, 1), (2, 2), (3, 2)]);
    let steps = evidence.path(record(1), record(3)).unwrap();
    let told: Vec<_> = steps.iter().map(|step| (step.from, step.to, step.because, step.at)).collect();
    assert_eq!(
        told,
        [(record(1), record(2), by_value(1), 2), (record(2), record(3), by_value(2), 4)]
    );
    assert_eq!(evidence.path(record(1), record(1)), Some(Vec::new()));
    assert_eq!(evidence.path(record(1), record(9)), None);
}

#[test]
fn of_chains_of_one_length_the_strongest_value_wins_and_then_the_oldest() {
    let evidence = shown(&[(1, 2), (2, 2), (1, 1), (2, 1)]);
    assert_eq!(evidence.chain(1, 2), Some(vec![(record(2), by_value(1))]));
    let same_strength = Evidence {
        strengths: [(value(1), 5), (value(2), 5)].into(),
        ..evidence.clone()
    };
    assert_eq!(same_strength.chain(1, 2), Some(vec![(record(2), by_value(2))]));
    let decided = evidence.bound(1, 9, [2, 1]);
    assert_eq!(decided.chain(1, 2), Some(vec![(record(2), Because::Decided(decision(1)))]));
}

#[test]
fn a_showing_that_was_set_aside_joins_nobody_until_the_value_is_shown_again() {
    // Record 2 showed value 1 in vain, and is joined over value 2 and record 3.
    let aside = [(1, 1), (2, 1), (1, 2), (3, 2), (3, 3), (2, 3)];
    let evidence = shown(&aside).ruled(1, 2, Some(2), Says::SetAside);
    assert_eq!(
        evidence.chain(1, 2),
        Some(vec![(record(3), by_value(2)), (record(2), by_value(3))])
    );
    let again = [aside.as_slice(), &[(2, 1)]].concat();
    let evidence = shown(&again).ruled(1, 2, Some(2), Says::SetAside);
    assert_eq!(evidence.chain(1, 2), Some(vec![(record(2), by_value(1))]));
}

#[test]
fn a_value_that_passed_to_somebody_else_joins_those_before_and_those_after() {
    let evidence = shown(&[(1, 1), (2, 1), (3, 1), (4, 1), (1, 2), (3, 2)]).ruled(1, 3, Some(3), Says::Moved);
    assert_eq!(evidence.chain(1, 2), Some(vec![(record(2), by_value(1))]));
    assert_eq!(evidence.chain(3, 4), Some(vec![(record(4), by_value(1))]));
    assert_eq!(
        evidence.chain(2, 3),
        Some(vec![(record(1), by_value(1)), (record(3), by_value(2))])
    );
}

#[test]
fn a_held_value_joins_those_before_and_a_released_one_those_after() {
    let showings = [(1, 1), (2, 1), (3, 1), (9, 9), (4, 1), (5, 1), (1, 2), (3, 2), (3, 3), (4, 3)];
    let evidence = shown(&showings)
        .ruled(1, 2, Some(2), Says::Held)
        .ruled(1, 4, None, Says::Released);
    assert_eq!(evidence.chain(1, 2), Some(vec![(record(2), by_value(1))]));
    assert_eq!(evidence.chain(4, 5), Some(vec![(record(5), by_value(1))]));
    assert_eq!(evidence.chain(1, 3), Some(vec![(record(3), by_value(2))]));
    let never_again = shown(&showings).ruled(1, 2, Some(2), Says::Held);
    assert_eq!(
        never_again.chain(1, 4),
        Some(vec![(record(3), by_value(2)), (record(4), by_value(3))])
    );
}

#[test]
fn the_automatic_link_of_two_customers_is_named() {
    let evidence = shown(&[(1, 1), (2, 2), (3, 1), (3, 2)]).ruled(2, 4, Some(3), Says::Joined);
    let link = Some(decision(4));
    let joined = Because::Shown { value: value(2), link };
    assert_eq!(
        evidence.chain(1, 2),
        Some(vec![(record(3), by_value(1)), (record(2), joined)])
    );
}

#[test]
fn who_was_placed_again_is_explained_by_what_counts_then() {
    // Nothing as it happened joins the two; placed again, they are one by the value.
    let evidence = shown(&[(1, 1), (2, 1)]).ruled(1, 2, Some(2), Says::SetAside);
    assert_eq!(evidence.chain(1, 2), Some(vec![(record(2), by_value(1))]));
}

#[test]
fn a_thousand_records_that_share_a_value_are_searched_at_once() {
    let mut showings: Vec<(u128, u128)> = (1..=1000).map(|by| (by, 1)).collect();
    showings.extend((1000..=2000).map(|by| (by, by)));
    showings.extend((1001..=2000).map(|by| (by, by - 1)));
    let steps = shown(&showings).path(record(1), record(2000)).unwrap();
    assert_eq!(steps.len(), 1001);
}

fn says() -> impl Strategy<Value = Says> {
    prop_oneof![
        Just(Says::SetAside),
        Just(Says::Moved),
        Just(Says::Held),
        Just(Says::Blocked),
        Just(Says::Released)
    ]
}

/// A few records that show a few values, with rulings on some of the messages and decisions on some of the pairs.
fn worlds() -> impl Strategy<Value = Evidence> {
    let showings = prop::collection::vec((1..7_u128, 1..5_u128), 2..14);
    let rulings = prop::collection::vec((0..14_usize, says()), 0..4);
    let bonds = prop::collection::vec((1..7_u128, 1..7_u128), 0..2);
    (showings, rulings, bonds).prop_map(|(showings, rulings, bonds)| {
        let mut evidence = shown(&showings);
        for (at, says) in rulings {
            let (by, what) = showings[at % showings.len()];
            let arrival = i64::try_from(at % showings.len()).unwrap_or(0) + 1;
            evidence = evidence.ruled(what, arrival, Some(by), says);
        }
        for (n, (a, b)) in (1..).zip(bonds).filter(|(_, (a, b))| a != b) {
            evidence = evidence.bound(n, 100, [a, b]);
        }
        evidence
    })
}

/// How many steps apart two records are, by trying everything: without rulings, whoever shared a value is next to each other.
fn distance(evidence: &Evidence, from: RecordId, to: RecordId) -> Option<usize> {
    let next_to = |a: RecordId, b: RecordId| {
        let of = |record: RecordId| -> HashSet<IdentifierId> {
            let showings = evidence.showings.iter().filter(move |showing| showing.record == record);
            showings.map(|showing| showing.value).collect()
        };
        !of(a).is_disjoint(&of(b)) || evidence.bonds.iter().any(|bond| bond.ends == [a, b] || bond.ends == [b, a])
    };
    let mut near = BTreeSet::from([from]);
    for steps in 0..8 {
        if near.contains(&to) {
            return Some(steps);
        }
        let wider = (1..7)
            .map(record)
            .filter(|other| near.iter().any(|one| next_to(*one, *other)));
        near = wider.chain(near.iter().copied()).collect();
    }
    None
}

proptest! {
    #[test]
    fn a_chain_is_unbroken_and_no_shorter_one_exists(world in worlds(), from in 1..7_u128, to in 1..7_u128) {
        let plain = Evidence { rulings: Vec::new(), ..world };
        let (from, to) = (record(from), record(to));
        let steps = plain.path(from, to);
        prop_assert_eq!(steps.as_ref().map(Vec::len), distance(&plain, from, to));
        let mut at = from;
        for step in steps.into_iter().flatten() {
            prop_assert_eq!(step.from, at);
            at = step.to;
        }
    }

    /// Evidence exists: without the fact that a step names, the step is found no more.
    #[test]
    fn without_a_named_fact_the_chain_is_another_one_or_none(world in worlds(), from in 1..7_u128, to in 1..7_u128) {
        let (from, to) = (record(from), record(to));
        let Some(steps) = world.path(from, to) else { return Ok(()) };
        let rests_on = |step: &Step| (step.from, step.to, std::mem::discriminant(&step.because), match step.because {
            Because::Decided(decision) => decision.0,
            Because::Shown { value, .. } => value.0,
        });
        for step in &steps {
            let mut without = vec![world.clone(), world.clone()];
            match step.because {
                Because::Decided(decision) => without.iter_mut().for_each(|world| world.bonds.retain(|bond| bond.decision != decision)),
                Because::Shown { value, .. } => {
                    // What one of the two showed is taken out; or the value recognises nobody.
                    without[0].showings.retain(|showing| (showing.record, showing.value) != (step.to, value));
                    without[1].strengths.remove(&value);
                }
            }
            for world in without {
                let other = world.path(from, to).unwrap_or_default();
                prop_assert!(!other.iter().any(|kept| rests_on(kept) == rests_on(step)));
            }
        }
    }
}
