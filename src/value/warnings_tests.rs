use super::super::looks::{HOUR, assert_same_whatever_the_looks, at, bought, labels};
use super::*;
use chrono_tz::Tz;
use proptest::prelude::*;

fn rules(zone: Tz) -> ValueRules {
    let mut rules = ValueRules {
        zone,
        ..ValueRules::default()
    };
    rules.churn.usage_events = vec!["login".to_owned(), "export".to_owned()];
    rules
}

fn basis<'a>(known: &'a Known, rules: &'a ValueRules) -> Basis<'a> {
    Basis {
        known,
        rules,
        published: None,
    }
}

fn told(warning: EarlyWarning, known: &Known, rules: &ValueRules) -> Vec<String> {
    let changes = labels(&warning, basis(known, rules), "2025-12-01", "2027-01-01").into_iter();
    changes.map(|(at, label)| format!("{at} {label}")).collect()
}

fn detail(warning: EarlyWarning, known: &Known, rules: &ValueRules, when: &str) -> Value {
    warning.evaluate(basis(known, rules), at(when)).value.unwrap().detail
}

fn used(days: &[(&str, &str, i64)]) -> Known {
    let mut known = Known::default();
    for (name, day, count) in days {
        let of_name = known.activity.entry((*name).to_owned()).or_default();
        of_name.insert(day.parse().unwrap(), *count);
    }
    known
}

#[test]
fn late_is_twice_the_usual_gap_to_the_microsecond() {
    let rules = rules(Tz::Europe__Berlin);
    let known = bought(
        rules.zone,
        &[
            "2026-01-01T08:00:00Z",
            "2026-01-11T08:00:00.000001Z",
            "2026-01-21T08:00:00Z",
            "2026-03-01T00:00:00Z",
        ],
    );
    // Gaps of 10 days and a microsecond, and of 10 days less a microsecond: the median is 10 days.
    assert_eq!(
        told(EarlyWarning::Gap, &known, &rules),
        [
            "2026-02-10T08:00:00Z ON",
            "2026-03-01T00:00:00Z -",
            "2026-03-21T00:00:00.000002Z ON"
        ]
    );
    let expected = json!({"lastOrderAt": "2026-01-21T08:00:00Z", "usualGapDays": 10.0});
    assert_eq!(detail(EarlyWarning::Gap, &known, &rules, "2026-02-10T08:00:00Z"), expected);
    assert_eq!(
        detail(EarlyWarning::Gap, &known, &rules, "2026-02-28"),
        expected,
        "nothing moves while it lasts"
    );
}

#[test]
fn who_ordered_once_is_late_after_twice_the_default() {
    let rules = rules(Tz::UTC);
    let known = bought(rules.zone, &["2026-01-01T08:00:00Z"]);
    assert_eq!(told(EarlyWarning::Gap, &known, &rules), ["2026-03-02T08:00:00Z ON"]);
    assert!(told(EarlyWarning::Gap, &Known::default(), &rules).is_empty());
}

#[test]
fn usage_is_held_against_the_weeks_before_at_midnights_of_the_zone() {
    let rules = rules(Tz::America__New_York);
    // 10 on each of two days 28 days apart, in two names; then 6 in the four weeks behind.
    let known = used(&[
        ("login", "2026-01-05", 4),
        ("export", "2026-01-05", 6),
        ("login", "2026-03-20", 3),
    ]);
    // From February 3rd on the ten lie before the last 28 days: 0 against 10 per 56 days. They leave the 56 days on the 31st of March.
    // On March 21st, 3 of 28 days against 10 of 56 are 40 % less exactly: 60 % are left.
    assert_eq!(
        told(EarlyWarning::Usage, &known, &rules),
        [
            "2026-02-03T05:00:00Z ON",
            "2026-03-31T04:00:00Z -",
            "2026-04-18T04:00:00Z ON",
            "2026-06-13T04:00:00Z -"
        ]
    );
    let expected = json!({"day": "2026-02-03", "last28Days": 0, "before56Days": 10});
    assert_eq!(
        detail(EarlyWarning::Usage, &known, &rules, "2026-03-25"),
        expected,
        "figures of its beginning"
    );
    let better = used(&[("login", "2026-01-05", 10), ("login", "2026-03-20", 4)]);
    let ends = told(EarlyWarning::Usage, &better, &rules);
    assert_eq!(
        ends[1], "2026-03-21T04:00:00Z -",
        "4 of 28 days against 10 of 56 are 20 % less only"
    );
}

#[test]
fn usage_is_unknown_where_nothing_is_configured_or_happened() {
    let known = used(&[("login", "2026-01-05", 10)]);
    assert!(told(EarlyWarning::Usage, &known, &ValueRules::default()).is_empty());
    assert!(told(EarlyWarning::Usage, &Known::default(), &rules(Tz::UTC)).is_empty());
    assert_eq!(Usage::on(basis(&known, &rules(Tz::UTC)), "2026-05-01".parse().unwrap()), None);
}

#[test]
fn the_last_recommendation_counts_and_six_is_low() {
    let rules = rules(Tz::UTC);
    let known = Known {
        recommendations: vec![
            (at("2026-01-01"), 7),
            (at("2026-02-01"), 6),
            (at("2026-02-05"), 0),
            (at("2026-03-01"), 9),
        ],
        ..Known::default()
    };
    assert_eq!(
        told(EarlyWarning::Recommendation, &known, &rules),
        ["2026-02-01T00:00:00Z ON", "2026-02-05T00:00:00Z ON", "2026-03-01T00:00:00Z -"],
        "a worse answer is news"
    );
    let expected = json!({"answeredAt": "2026-02-05T00:00:00Z", "score": 0});
    assert_eq!(detail(EarlyWarning::Recommendation, &known, &rules, "2026-02-20"), expected);
}

#[test]
fn a_subscription_that_starts_again_is_no_warning() {
    use SubscriptionStep::{Cancelled, Renewed, Started};
    let rules = rules(Tz::UTC);
    let known = Known {
        subscriptions: vec![
            (at("2026-01-01"), Started),
            (at("2026-02-01"), Cancelled),
            (at("2026-03-01"), Started),
            (at("2026-04-01"), Renewed),
            (at("2026-05-01"), Cancelled),
        ],
        ..Known::default()
    };
    assert_eq!(
        told(EarlyWarning::Contract, &known, &rules),
        ["2026-02-01T00:00:00Z ON", "2026-03-01T00:00:00Z -", "2026-05-01T00:00:00Z ON"]
    );
    assert_eq!(cancelled_at(&known, at("2026-04-30")), None);
}

#[test]
fn each_warning_is_found_by_its_key() {
    for warning in EarlyWarning::ALL {
        assert_eq!(EarlyWarning::of_key(warning.key()), Some(warning));
    }
    assert_eq!(EarlyWarning::of_key("warning.moon"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn warnings_are_told_the_same_however_often_somebody_looks(
        orders in prop::collection::vec(0_i64..3_000, 0..6),
        usage in prop::collection::vec((0_i64..150, 1_i64..9), 0..40),
        answers in prop::collection::vec((0_i64..3_000, 0_i64..11), 0..4),
        steps in prop::collection::vec((0_i64..3_000, prop::bool::ANY), 0..4),
        seed in 1_i64..1_000_000,
    ) {
        let rules = rules(Tz::America__Sao_Paulo);
        let start = at("2018-09-01");
        let hours = |hours: i64| Instant::from_micros(start.micros() + hours * HOUR + 7);
        let mut known = Known::default();
        for when in orders {
            known.orders.push(super::super::looks::order(rules.zone, hours(when), None));
        }
        known.orders.sort_by_key(|order| order.at);
        let logins = known.activity.entry("login".to_owned()).or_default();
        for (day, count) in usage {
            logins.insert(later(day_of(rules.zone, start), day), count);
        }
        for (when, score) in answers {
            known.recommendations.push((hours(when), score));
        }
        known.recommendations.sort_by_key(|(when, _)| *when);
        for (when, is_start) in steps {
            let step = if is_start { SubscriptionStep::Started } else { SubscriptionStep::Cancelled };
            known.subscriptions.push((hours(when), step));
        }
        known.subscriptions.sort_by_key(|(when, _)| *when);
        for warning in EarlyWarning::ALL {
            assert_same_whatever_the_looks(&warning, basis(&known, &rules), (start, hours(6_000)), seed);
        }
    }
}
