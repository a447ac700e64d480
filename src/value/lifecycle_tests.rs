//! The life cycle in tables, and one property: however often and late somebody looks, the history is the same, to the microsecond.

use super::super::known::{Known, Order, Returned};
use super::super::published::Published;
use super::super::rules::{LifecycleRules, ValueRules};
use super::*;
use crate::due::{Measure, catch_up};
use proptest::prelude::*;

fn instant(text: &str) -> Instant {
    Instant::parse(text).unwrap()
}

fn order(at: Instant, amount: Option<i64>) -> Order {
    let day = chrono::DateTime::from_timestamp_micros(at.micros()).unwrap().date_naive();
    Order {
        at,
        day,
        amount,
        refunds: Vec::new(),
        categories: vec!["ink".to_owned()],
        channel: "WEB".to_owned(),
    }
}

/// Orders of ten euros each.
fn bought(at: &[&str]) -> Known {
    Known {
        orders: at.iter().map(|at| order(instant(at), Some(1_000))).collect(),
        ..Known::default()
    }
}

fn rules(change: impl FnOnce(&mut LifecycleRules)) -> ValueRules {
    let mut rules = ValueRules::default();
    rules.lifecycle.mature_min_tenure_days = 90.0;
    rules.lifecycle.mature_min_revenue_ratio = None;
    change(&mut rules.lifecycle);
    rules
}

/// `MATURE`, `DECLINE LOST`, `GROWTH?` where revenue is unknown; and the next instant.
fn judge(known: &Known, rules: &ValueRules, at: Instant) -> (String, Option<Instant>) {
    let basis = Basis {
        known,
        rules,
        published: None,
    };
    let Judged { value, next } = Lifecycle.evaluate(basis, at);
    let Some(Held { value, detail, .. }) = value else {
        return (POTENTIAL.to_owned(), next);
    };
    let more = match (detail["subStage"].as_str(), detail.get("revenue")) {
        (Some(stage), None) => format!(" {stage}"),
        (None, Some(_)) => "?".to_owned(),
        _ => String::new(),
    };
    (format!("{value}{more}"), next)
}

fn stage(known: &Known, rules: &ValueRules, at: &str) -> String {
    judge(known, rules, instant(at)).0
}

const REGULAR: [&str; 4] = ["2026-01-01", "2026-01-31", "2026-03-02", "2026-04-01"];

#[test]
fn stages_follow_each_other_at_their_exact_instants() {
    let (known, rules) = (bought(&REGULAR), rules(|_| {}));
    let mut at = instant("2025-01-01");
    let mut told = vec![(at.to_string(), judge(&known, &rules, at).0)];
    while let Some(next) = judge(&known, &rules, at).1 {
        let before = judge(&known, &rules, Instant::from_micros(next.micros() - 1)).0;
        assert_eq!(&before, &told.last().unwrap().1, "just before {next}");
        at = next;
        if judge(&known, &rules, at).0 != before {
            told.push((at.to_string(), judge(&known, &rules, at).0));
        }
    }
    let told: Vec<(&str, &str)> = told.iter().map(|(at, stage)| (at.as_str(), stage.as_str())).collect();
    let expected = [
        ("2025-01-01T00:00:00Z", "POTENTIAL"),
        ("2026-01-01T00:00:00Z", "GROWTH"),
        ("2026-04-01T00:00:00Z", "MATURE"),
        ("2026-05-31T00:00:00Z", "DECLINE"),
        ("2026-07-30T00:00:00Z", "DECLINE LOST"),
    ];
    assert_eq!(told, expected);
}

#[test]
fn maturity_needs_orders_and_tenure() {
    let known = bought(&REGULAR);
    let with = |change: fn(&mut LifecycleRules)| stage(&known, &rules(change), "2026-04-01");
    assert_eq!(with(|_| {}), "MATURE");
    assert_eq!(with(|rules| rules.mature_min_orders = 5), "GROWTH");
    assert_eq!(with(|rules| rules.mature_min_tenure_days = 90.000_000_1), "GROWTH");
    let later = rules(|rules| rules.mature_min_tenure_days = 100.5);
    assert_eq!(
        judge(&known, &later, instant("2026-04-01")).1,
        Some(instant("2026-04-11T12:00:00Z"))
    );
    assert_eq!(stage(&known, &later, "2026-04-11T12:00:00Z"), "MATURE");
}

#[test]
fn the_rhythm_is_the_own_one_then_that_of_the_category_then_the_default() {
    let two = bought(&["2026-01-01", "2026-01-03"]);
    assert_eq!(
        judge(&two, &rules(|_| {}), instant("2026-01-03")).1,
        Some(instant("2026-03-04"))
    );
    let three = bought(&["2026-01-01", "2026-01-03", "2026-01-13"]);
    assert_eq!(
        judge(&three, &rules(|_| {}), instant("2026-01-13")).1,
        Some(instant("2026-01-25")),
        "six days"
    );
    let published = Published {
        version: 3,
        as_of: instant("2026-01-01"),
        buying: None,
        spending: None,
        rfm: None,
        gap_days: [("ink".to_owned(), 10.0)].into(),
    };
    let rules = rules(|_| {});
    let basis = Basis {
        known: &two,
        rules: &rules,
        published: Some(&published),
    };
    let judged = Lifecycle.evaluate(basis, instant("2026-01-03"));
    assert_eq!(judged.next, Some(instant("2026-01-23")));
    assert!(judged.value.unwrap().by_model);
}

#[test]
fn a_contract_that_ended_declines_until_they_order_again() {
    let mut known = bought(&["2026-01-01", "2026-01-31"]);
    known.subscriptions = vec![
        (instant("2026-01-02"), SubscriptionStep::Started),
        (instant("2026-01-10"), SubscriptionStep::Cancelled),
    ];
    let rules = rules(|_| {});
    assert_eq!(
        judge(&known, &rules, instant("2026-01-09")),
        ("GROWTH".to_owned(), Some(instant("2026-01-10")))
    );
    assert_eq!(
        judge(&known, &rules, instant("2026-01-10")),
        ("DECLINE".to_owned(), Some(instant("2026-01-31")))
    );
    assert_eq!(stage(&known, &rules, "2026-01-31"), "GROWTH");
    known.orders.pop();
    assert_eq!(
        judge(&known, &rules, instant("2026-01-10")).1,
        Some(instant("2026-05-01")),
        "lost after four gaps"
    );
    known.subscriptions.push((instant("2026-01-12"), SubscriptionStep::Renewed));
    assert_eq!(stage(&known, &rules, "2026-01-12"), "GROWTH");
    known.orders.clear();
    assert_eq!(
        stage(&known, &rules, "2026-01-11"),
        "POTENTIAL",
        "who never ordered has nothing to end"
    );
}

#[test]
fn revenue_that_falls_is_no_maturity_and_windows_hold_their_end() {
    // The first of these lies 90 days before the last.
    let mut known = bought(&["2026-01-01", "2026-01-31", "2026-03-02", "2026-04-01"]);
    let asked = |ratio| rules(|rules| rules.mature_min_revenue_ratio = Some(ratio));
    assert_eq!(stage(&known, &asked(3.0), "2026-04-01"), "MATURE", "30 euros after 10");
    assert_eq!(stage(&known, &asked(3.000_000_001), "2026-04-01"), "GROWTH");
    assert_eq!(
        stage(&known, &asked(3.000_000_001), "2026-03-31T23:59:59.999999Z"),
        "GROWTH",
        "40 after none, and no tenure"
    );
    known.orders[3].refunds = vec![Returned {
        at: instant("2026-04-10"),
        day: "2026-04-10".parse().unwrap(),
        amount: 1_000,
    }];
    assert_eq!(
        judge(&known, &asked(2.5), instant("2026-04-01")).1,
        Some(instant("2026-04-10"))
    );
    assert_eq!(
        stage(&known, &asked(2.5), "2026-04-10"),
        "GROWTH",
        "given back on its own day: 20 after 10"
    );
    assert_eq!(stage(&known, &asked(2.0), "2026-04-10"), "MATURE");
}

#[test]
fn an_unknown_amount_is_never_taken_for_nothing() {
    let with = |unknown: &[usize], ratio| {
        let mut known = bought(&REGULAR);
        for place in unknown {
            known.orders[*place].amount = None;
        }
        stage(
            &known,
            &rules(|rules| rules.mature_min_revenue_ratio = Some(ratio)),
            "2026-04-01",
        )
    };
    // Ten before, thirty after.
    assert_eq!(with(&[3], 2.0), "MATURE", "more can only raise it");
    assert_eq!(with(&[3], 2.5), "GROWTH?");
    assert_eq!(with(&[0], 2.5), "GROWTH?");
    assert_eq!(with(&[0], 0.0), "MATURE", "the earlier window has no say");
    assert_eq!(with(&[0, 3], 0.8), "GROWTH?");
    assert_eq!(with(&[], 3.5), "GROWTH");
    let none = rules(|_| {});
    let mut known = bought(&REGULAR);
    known.orders.iter_mut().for_each(|order| order.amount = None);
    assert_eq!(stage(&known, &none, "2026-04-01"), "MATURE", "revenue is not asked about");
}

#[test]
fn odd_customers_have_a_stage_too() {
    let rules = ValueRules::default();
    assert_eq!(
        judge(&Known::default(), &rules, instant("2026-01-01")),
        ("POTENTIAL".to_owned(), None)
    );
    let at_once = bought(&["2026-01-01"; 5]);
    assert_eq!(
        judge(&at_once, &rules, instant("2026-01-01")),
        ("GROWTH".to_owned(), Some(instant("2026-03-02"))),
        "five orders of one day are no rhythm"
    );
    let leap = bought(&["2024-02-29"]);
    assert_eq!(judge(&leap, &rules, instant("2024-02-29")).1, Some(instant("2024-04-29")));
    let mut huge = bought(&REGULAR);
    huge.orders.iter_mut().for_each(|order| order.amount = Some(i64::MAX));
    assert_eq!(stage(&huge, &rules, "2026-04-01"), "GROWTH", "no tenure of half a year");
    let day = |n: i64| Instant::from_micros(n * DAY_MICROS);
    let many = Known {
        orders: (0..3_000).map(|n| order(day(n), Some(1))).collect(),
        ..Known::default()
    };
    assert_eq!(judge(&many, &rules, day(2_999)), ("MATURE".to_owned(), Some(day(3_001))));
}

struct Measured;

impl Measure for Measured {
    type Facts = (Known, ValueRules);
    type Value = Option<Held>;

    fn evaluate(&self, (known, rules): &(Known, ValueRules), at: Instant) -> Judged<Option<Held>> {
        let basis = Basis {
            known,
            rules,
            published: None,
        };
        Lifecycle.evaluate(basis, at)
    }
}

/// Hours, so that thresholds of several kinds fall together now and then.
const UNIT: i64 = 12 * 3_600 * 1_000_000;

fn anybody() -> impl Strategy<Value = Known> {
    let amount = prop_oneof![4 => (0..5_000_i64).prop_map(Some), 1 => Just(None)];
    let orders = prop::collection::vec((0..800_i64, amount, prop::option::of((0..300_i64, 0..100_i64))), 0..14);
    let step = prop_oneof![
        Just(SubscriptionStep::Started),
        Just(SubscriptionStep::Renewed),
        Just(SubscriptionStep::Cancelled)
    ];
    let steps = prop::collection::vec((0..800_i64, step), 0..4);
    (orders, steps).prop_map(|(mut orders, mut steps)| {
        orders.sort_by_key(|order| order.0);
        steps.sort_by_key(|step| step.0);
        let at = |n: i64| Instant::from_micros(n * UNIT);
        let order = |(when, amount, refund): (i64, Option<i64>, Option<(i64, i64)>)| {
            let mut order = order(at(when), amount);
            if let (Some(amount), Some((after, part))) = (amount, refund) {
                order.refunds.push(Returned {
                    at: at(when + after),
                    day: order.day,
                    amount: amount * part / 100,
                });
            }
            order
        };
        Known {
            orders: orders.into_iter().map(order).collect(),
            subscriptions: steps.into_iter().map(|(when, step)| (at(when), step)).collect(),
            ..Known::default()
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn however_often_somebody_looks_the_history_is_the_same_and_true(
        known in anybody(),
        ratio in prop::option::of(0.2..3.0_f64),
        tenure in 0..200_i64,
        looks in prop::collection::vec(1..400_i64, 1..30),
    ) {
        let rules = rules(|rules| {
            rules.mature_min_revenue_ratio = ratio;
            rules.mature_min_tenure_days = tenure as f64 / 2.0;
        });
        let facts = (known, rules);
        let value = |at: Instant| Measured.evaluate(&facts, at);
        let (begin, end) = (Instant::from_micros(-UNIT), Instant::from_micros(2_500 * UNIT));
        let initial = value(begin).value;
        let whole = catch_up(&Measured, &facts, &initial, begin, end).unwrap();

        let (mut told, mut stored, mut from, mut now) = (Vec::new(), initial.clone(), begin, begin.micros());
        let mut looks = looks.into_iter().cycle();
        while now < end.micros() {
            now = (now + looks.next().unwrap() * UNIT / 7).min(end.micros());
            if from.micros() > now {
                continue;
            }
            let caught_up = catch_up(&Measured, &facts, &stored, from, Instant::from_micros(now)).unwrap();
            stored = caught_up.changes.last().map_or(stored, |(_, value)| value.clone());
            told.extend(caught_up.changes);
            from = caught_up.next.unwrap_or(Instant::from_micros(i64::MAX));
        }
        prop_assert_eq!(&told, &whole.changes);

        // Every change happens at its own microsecond, and between them nothing does.
        let mut before = initial;
        for (at, after) in &whole.changes {
            prop_assert_eq!(&value(Instant::from_micros(at.micros() - 1)).value, &before);
            prop_assert_eq!(&value(*at).value, after);
            before = after.clone();
        }
        for n in 0..1_250 {
            for at in [2 * n * UNIT - 1, 2 * n * UNIT, 2 * n * UNIT + 1] {
                let at = Instant::from_micros(at);
                let held = whole.changes.iter().rev().find(|(from, _)| *from <= at).map_or(&value(begin).value, |(_, value)| value).clone();
                if at >= begin {
                    prop_assert_eq!(value(at).value, held, "{}", at);
                }
            }
        }
    }
}
