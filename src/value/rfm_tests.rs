use super::super::looks::{assert_same_whatever_the_looks, at, bought, changes, labels, order, refund};
use super::super::published::Published;
use super::super::rules::ValueRules;
use super::*;
use chrono::NaiveDate;
use chrono_tz::Tz;
use proptest::prelude::*;
use rust_decimal::Decimal;
use std::collections::{BTreeMap, BTreeSet, HashMap};

fn published(rfm: Option<RfmCuts>) -> Published {
    Published {
        version: 7,
        as_of: Instant::from_micros(0),
        buying: None,
        spending: None,
        rfm,
        gap_days: BTreeMap::new(),
    }
}

fn score_of(worse: usize, count: usize) -> u8 {
    u8::try_from(1 + (5 * worse / count).min(4)).unwrap()
}

/// By the rule, everybody counted.
fn scores_by_rule(population: &[Rfm], one: &Rfm) -> Scores {
    let worse =
        |is_worse: &dyn Fn(&Rfm) -> bool| score_of(population.iter().filter(|other| is_worse(other)).count(), population.len());
    Scores {
        recency: worse(&|other| other.recency_days > one.recency_days),
        frequency: worse(&|other| other.purchase_days < one.purchase_days),
        monetary: worse(&|other| other.net_minor < one.net_minor),
    }
}

fn cuts_of(population: &[Rfm]) -> RfmCuts {
    cuts(
        population
            .iter()
            .map(|one| (one.recency_days, one.purchase_days, one.net_minor)),
    )
    .unwrap()
}

fn rfm(recency_days: i64, purchase_days: i64, net_minor: i128) -> Rfm {
    Rfm {
        recency_days,
        purchase_days,
        net_minor,
    }
}

/// Everybody of CDNOW up to the end of September 1997, by their number.
fn cdnow() -> BTreeMap<u64, Rfm> {
    let file = format!("{}/tests/data/clv/cdnow_transactions.csv", env!("CARGO_MANIFEST_DIR"));
    let end: NaiveDate = "1997-09-30".parse().unwrap();
    let mut days: BTreeMap<u64, (BTreeSet<NaiveDate>, Decimal)> = BTreeMap::new();
    for line in std::fs::read_to_string(file).unwrap().lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let day: NaiveDate = fields[1].parse().unwrap();
        if day <= end {
            let of_customer = days.entry(fields[0].parse().unwrap()).or_default();
            of_customer.0.insert(day);
            of_customer.1 += fields[3].parse::<Decimal>().unwrap();
        }
    }
    let rfm_of = |(id, (days, spent)): (u64, (BTreeSet<NaiveDate>, Decimal))| {
        let minor: i128 = (spent * Decimal::ONE_HUNDRED).normalize().to_string().parse().unwrap();
        let recency = days_between(*days.last().unwrap(), end);
        (id, rfm(recency, i64::try_from(days.len()).unwrap(), minor))
    };
    days.into_iter().map(rfm_of).collect()
}

#[test]
fn the_scores_and_classes_of_cdnow_are_those_of_the_reference() {
    let file = format!("{}/tests/data/clv/expected.json", env!("CARGO_MANIFEST_DIR"));
    let expected: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let expected = &expected["rfm"];
    let customers = cdnow();
    assert_eq!(customers.len(), 2_357);
    let population: Vec<Rfm> = customers.values().copied().collect();
    let cuts = cuts_of(&population);

    let mut classes: HashMap<String, u64> = HashMap::new();
    let mut counts: HashMap<(&str, u8), u64> = HashMap::new();
    for one in &population {
        let scores = cuts.scores(one);
        assert_eq!(scores, scores_by_rule(&population, one));
        let class = cuts.class(scores).label().to_lowercase().replace("win_back", "winback");
        *classes.entry(class).or_default() += 1;
        for axis in [("R", scores.recency), ("F", scores.frequency), ("M", scores.monetary)] {
            *counts.entry(axis).or_default() += 1;
        }
    }
    let reference = expected["class_counts_rule_A_scores"].as_object().unwrap();
    assert_eq!(classes.len(), reference.len());
    for (class, count) in reference {
        assert_eq!(classes[class], count.as_u64().unwrap(), "{class}");
    }
    for (place, axis) in ["R", "F", "M"].into_iter().enumerate() {
        for score in 1..=5 {
            let reference = expected["score_counts"][axis][score.to_string()].as_u64().unwrap();
            assert_eq!(counts.get(&(axis, score)).copied().unwrap_or(0), reference, "{axis} {score}");
        }
        let mean = expected["mean_scores"][axis].as_f64().unwrap();
        assert!((cuts.means[place] - mean).abs() < 1e-12, "{axis}");
    }
    let sample = expected["sample"].as_array().unwrap();
    for reference in sample {
        let one = &customers[&reference["customer_id"].as_u64().unwrap()];
        let scores = cuts.scores(one);
        let score = |name: &str| u8::try_from(reference[name].as_u64().unwrap()).unwrap();
        assert_eq!(one.recency_days, reference["R_days"].as_i64().unwrap());
        assert_eq!(one.purchase_days, reference["F"].as_i64().unwrap());
        assert_eq!(
            [scores.recency, scores.frequency, scores.monetary],
            ["r", "f", "m"].map(score),
            "{reference}"
        );
        let class = cuts.class(scores).label().to_lowercase().replace("win_back", "winback");
        assert_eq!(class, reference["cls_A"].as_str().unwrap());
    }
    assert!(sample.len() >= 10);
}

#[test]
fn nobody_has_no_cuts_and_equals_are_all_low() {
    assert_eq!(cuts(std::iter::empty()), None);
    for count in [1, 2, 7] {
        let all = vec![rfm(3, 2, 500); count];
        let cuts = cuts_of(&all);
        let low = cuts.scores(&all[0]);
        assert_eq!([low.recency, low.frequency, low.monetary], [1; 3], "{count} equals");
        assert_eq!(cuts.means, [1.0; 3]);
        assert_eq!(cuts.class(low), RfmClass::GeneralWinBack, "high is strictly above the mean");
        let better = cuts.scores(&rfm(2, 3, 501));
        assert_eq!(
            [better.recency, better.frequency, better.monetary],
            [5; 3],
            "better than everybody"
        );
        assert_eq!(cuts.class(better), RfmClass::ImportantValue);
    }
}

#[test]
fn equals_share_a_score_and_leave_gaps() {
    let frequencies = [1, 1, 1, 2, 3];
    let all: Vec<Rfm> = frequencies.iter().map(|days| rfm(0, *days, 0)).collect();
    let cuts = cuts_of(&all);
    let scores: Vec<u8> = all.iter().map(|one| cuts.scores(one).frequency).collect();
    assert_eq!(scores, [1, 1, 1, 4, 5], "of the second, three of five are worse");
}

#[test]
fn labels_are_read_back() {
    for class in RfmClass::ALL {
        assert_eq!(RfmClass::of_label(class.label()), Some(class));
    }
    assert_eq!(RfmClass::of_label("IMPORTANT"), None);
    let scores = Scores {
        recency: 5,
        frequency: 1,
        monetary: 3,
    };
    assert_eq!(Scores::of_detail(&scores.detail()), Some(scores));
    assert_eq!(Scores::of_detail(&json!({"recency": 5})), None);
}

/// Recency cuts after 9, 19, 39 and 59 days, two purchase days and 15.00 being above the mean.
fn some_cuts() -> RfmCuts {
    RfmCuts {
        recency: [9, 19, 39, 59],
        frequency: [2, 3, 4, 5],
        monetary: [1_000, 1_500, 2_000, 9_000],
        means: [2.5, 1.5, 2.5],
    }
}

#[test]
fn the_score_of_recency_falls_at_midnight_of_the_zone_also_when_clocks_move() {
    let rules = ValueRules {
        zone: Tz::Europe__Berlin,
        ..ValueRules::default()
    };
    let known = bought(rules.zone, &["2026-03-20T22:30:00Z"]);
    let published = published(Some(some_cuts()));
    let basis = Basis {
        known: &known,
        rules: &rules,
        published: Some(&published),
    };
    // The 20th in Berlin, where summer began on the 29th: day 10 begins at 22:00 UTC.
    let expected = [
        ("2026-03-20T22:30:00Z", "GENERAL_DEVELOP"),
        ("2026-03-29T22:00:00Z", "GENERAL_DEVELOP"),
        ("2026-04-08T22:00:00Z", "GENERAL_DEVELOP"),
        ("2026-04-28T22:00:00Z", "GENERAL_WIN_BACK"),
        ("2026-05-18T22:00:00Z", "GENERAL_WIN_BACK"),
    ];
    let expected = expected.map(|(at, label)| (at.to_owned(), label.to_owned()));
    assert_eq!(labels(&RfmMetric, basis, "2026-01-01", "2027-01-01"), expected);
    let all = changes(&RfmMetric, basis, at("2026-01-01"), at("2027-01-01"));
    let recency: Vec<u64> = all
        .iter()
        .map(|(_, held)| held.as_ref().unwrap().detail["recency"].as_u64().unwrap())
        .collect();
    assert_eq!(recency, [5, 4, 3, 2, 1]);
    assert!(all.iter().all(|(_, held)| held.as_ref().unwrap().by_model));
    let last = RfmMetric.evaluate(basis, at("2026-06-01"));
    assert_eq!(last.next, None, "nothing more can fall");
}

#[test]
fn money_counts_until_it_is_given_back_and_unknown_amounts_are_no_class() {
    let rules = ValueRules::default();
    let published = published(Some(some_cuts()));
    let mut known = bought(rules.zone, &["2026-03-01T10:00:00Z", "2026-03-02T10:00:00Z"]);
    known.orders[1]
        .refunds
        .push(refund(rules.zone, at("2026-03-05T08:00:00Z"), 1_000));
    let basis = Basis {
        known: &known,
        rules: &rules,
        published: Some(&published),
    };
    let told = labels(&RfmMetric, basis, "2026-01-01", "2026-03-07");
    let told: Vec<(&str, &str)> = told.iter().map(|(at, label)| (at.as_str(), label.as_str())).collect();
    assert_eq!(
        told,
        [
            ("2026-03-01T10:00:00Z", "GENERAL_DEVELOP"),
            ("2026-03-02T10:00:00Z", "IMPORTANT_VALUE"),
            ("2026-03-05T08:00:00Z", "GENERAL_VALUE"),
        ]
    );
    let nothing_known = Known {
        orders: vec![order(rules.zone, at("2026-03-01"), None)],
        ..Known::default()
    };
    let unknown = Basis {
        known: &nothing_known,
        ..basis
    };
    assert_eq!(RfmMetric.evaluate(unknown, at("2026-03-02")).value, None);
    let unpublished = Basis {
        published: None,
        ..basis
    };
    let judged = RfmMetric.evaluate(unpublished, at("2026-03-06"));
    assert_eq!((judged.value, judged.next), (None, None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn cuts_say_of_everybody_and_of_newcomers_what_the_rule_says(
        population in prop::collection::vec((0_i64..12, 1_i64..6, -3_i128..9), 1..60),
        newcomer in (0_i64..14, 1_i64..8, -5_i128..12),
    ) {
        let population: Vec<Rfm> = population.into_iter().map(|(r, f, m)| rfm(r, f, m)).collect();
        let cuts = cuts_of(&population);
        for one in population.iter().chain([&rfm(newcomer.0, newcomer.1, newcomer.2)]) {
            prop_assert_eq!(cuts.scores(one), scores_by_rule(&population, one));
        }
    }

    #[test]
    fn the_class_is_told_the_same_however_often_somebody_looks(
        orders in prop::collection::vec((0_i64..4_000, prop::option::of(0_i64..2_500), 0_i64..2_000), 0..7),
        seed in 1_i64..1_000_000,
    ) {
        let rules = ValueRules { zone: Tz::America__Sao_Paulo, ..ValueRules::default() };
        let start = at("2018-09-01");
        let hours = |hours: i64| Instant::from_micros(start.micros() + hours * super::super::looks::HOUR + 7);
        let mut known = Known::default();
        for (when, amount, back) in orders {
            let mut order = order(rules.zone, hours(when), amount);
            if let Some(amount) = amount.filter(|amount| *amount > 100) {
                order.refunds.push(refund(rules.zone, hours(when + back), amount / 2));
            }
            known.orders.push(order);
        }
        known.orders.sort_by_key(|order| order.at);
        let published = published(Some(some_cuts()));
        let basis = Basis { known: &known, rules: &rules, published: Some(&published) };
        assert_same_whatever_the_looks(&RfmMetric, basis, (start, hours(6_000)), seed);
    }
}
