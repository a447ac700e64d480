use super::super::buying::Family;
use super::super::fit::{Fit, FittedBuying};
use super::super::known::{Known, SubscriptionStep};
use super::super::looks::{HOUR, assert_same_whatever_the_looks, at, bought, labels, order, refund};
use super::super::published::Published;
use super::super::rules::ValueRules;
use super::*;
use chrono_tz::Tz;
use proptest::prelude::*;
use statrs::function::gamma::ln_gamma;
use std::collections::BTreeMap;

/// BG/NBD and MBG/NBD of CDNOW, in days.
const CDNOW: [Buying; 2] = [
    Buying {
        family: Family::BgNbd,
        r: 0.242_594_522,
        alpha: 7.0 * 4.413_602_019,
        a: 0.792_922_017,
        b: 2.425_906_777,
    },
    Buying {
        family: Family::MbgNbd,
        r: 0.524_843_159,
        alpha: 7.0 * 6.183_085_280,
        a: 0.891_359_391,
        b: 1.614_002_240,
    },
];

fn published(model: Buying, converged: bool) -> Published {
    let fit = Fit {
        log_likelihood: -1.0,
        standard_errors: None,
        log_covariance: None,
        customers: 1,
        different: 1,
        iterations: 1,
        gradient_norm: 0.0,
        converged,
        warnings: Vec::new(),
    };
    Published {
        version: 3,
        as_of: Instant::from_micros(0),
        buying: Some(FittedBuying { model, fit }),
        spending: None,
        rfm: None,
        gap_days: BTreeMap::new(),
    }
}

/// The integral over all x > 0 of e^`log` times another factor, x being e^(pi/2 sinh v) in equal steps of v.
fn over_rates(log: impl Fn(f64) -> f64) -> f64 {
    let half_pi = std::f64::consts::FRAC_PI_2;
    let step = 1.0 / 256.0;
    let node = |n: i32| {
        let v = f64::from(n) * step;
        let x = (half_pi * v.sinh()).exp();
        (log(x) + x.ln()).exp() * half_pi * v.cosh() * step
    };
    (-1612..=1612).map(node).filter(|part| part.is_finite()).sum()
}

/// The mean of p^i (1-p)^j over a beta distribution, by quadrature.
fn over_stopping(a: f64, b: f64, i: f64, j: f64) -> f64 {
    let pi = std::f64::consts::PI;
    let step = 1.0 / 256.0;
    let log_beta = ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b);
    let node = |n: i32| {
        let v = f64::from(n) * step;
        let u = pi * v.sinh();
        // p = 1 / (1 + e^-u), and its rest; dp = p (1 - p) du.
        let (log_p, log_rest) = (-(-u).exp().ln_1p(), -u.exp().ln_1p());
        ((a + i) * log_p + (b + j) * log_rest - log_beta).exp() * pi * v.cosh() * step
    };
    (-1612..=1612).map(node).filter(|part| part.is_finite()).sum()
}

/// The probability of no purchase in the horizon, out of the densities of the model alone: rates and probabilities to stop integrated over
/// their distributions, stopped or not stopped.
fn by_quadrature(model: &Buying, history: &History, horizon: f64) -> f64 {
    let Buying { family, r, alpha, a, b } = *model;
    let x = f64::from(history.repeats());
    let rates = |until: f64| over_rates(|rate| (r + x - 1.0) * rate.ln() - rate * (alpha + until));
    let survived = match family {
        Family::BgNbd => x,
        Family::MbgNbd => x + 1.0,
    };
    let alive = over_stopping(a, b, 0.0, survived);
    let stopped = match family {
        Family::BgNbd if x == 0.0 => 0.0,
        _ => over_stopping(a, b, 1.0, survived - 1.0) * rates(history.recency()),
    };
    let silent = alive * rates(history.age() + horizon);
    (silent + stopped) / (alive * rates(history.age()) + stopped)
}

#[test]
fn the_probability_is_that_of_the_integral_over_rates_and_stopping() {
    let histories = [
        (0, 0.0, 0.0),
        (0, 0.0, 200.0),
        (1, 12.0, 40.0),
        (2, 60.0, 61.0),
        (3, 5.0, 300.0),
        (29, 270.0, 273.0),
        (200, 700.0, 705.0),
    ];
    for model in &CDNOW {
        for (repeats, recency, age) in histories {
            let history = History::new(repeats, recency, age).unwrap();
            for horizon in [1.0, 30.0, 365.0] {
                let (mine, reference) = (
                    no_purchase_within(model, &history, horizon),
                    by_quadrature(model, &history, horizon),
                );
                let what = format!(
                    "{:?} {repeats} {recency} {age} in {horizon}: {mine} {reference}",
                    model.family
                );
                assert!((mine - reference).abs() < 1e-9, "{what}");
            }
        }
    }
}

#[test]
fn a_horizon_is_the_ninth_of_ten_gaps_or_a_month() {
    let horizon = |days: &[i64]| {
        let orders: Vec<Order> = days
            .iter()
            .map(|day| order(Tz::UTC, Instant::from_micros(day * 24 * HOUR), None))
            .collect();
        horizon_days(&orders)
    };
    assert_eq!(horizon(&[]), 30);
    assert_eq!(horizon(&[5, 5]), 30);
    assert_eq!(horizon(&[0, 70]), 70, "the only gap");
    assert_eq!(horizon(&[0, 10, 20, 90]), 70, "of three the longest");
    let ten: Vec<i64> = (0..=9).map(|n| n * 40).chain([9 * 40 + 300]).collect();
    assert_eq!(horizon(&ten), 40, "of ten gaps the ninth");
}

#[test]
fn without_a_model_that_converged_or_a_purchase_there_is_a_reason() {
    let (rules, known) = (ValueRules::default(), bought(Tz::UTC, &["2026-01-01"]));
    let (good, poor) = (published(CDNOW[0], true), published(CDNOW[0], false));
    let ask = |known: &Known, published: Option<&Published>, rules: &ValueRules| {
        let basis = Basis { known, rules, published };
        let judged = ChurnMetric.evaluate(basis, at("2026-02-01"));
        (
            churn(basis, at("2026-02-01")).map(|churn| churn.horizon_days),
            judged.value.is_some(),
        )
    };
    assert_eq!(ask(&known, Some(&good), &rules), (Ok(30), true));
    assert_eq!(ask(&known, None, &rules), (Err(NoChurn::NoModel), false));
    assert_eq!(ask(&known, Some(&poor), &rules), (Err(NoChurn::NotConverged), false));
    assert_eq!(
        ask(&Known::default(), Some(&good), &rules),
        (Err(NoChurn::NothingBought), false)
    );
    let later_data = ValueRules {
        data_from: Some("2026-01-02".parse().unwrap()),
        ..ValueRules::default()
    };
    assert_eq!(ask(&known, Some(&good), &later_data), (Err(NoChurn::NothingBought), false));
}

#[test]
fn bands_are_left_at_the_first_midnight_that_says_so() {
    let rules = ValueRules {
        zone: Tz::Europe__Berlin,
        ..ValueRules::default()
    };
    let whole = [
        "2026-01-05T09:00:00Z",
        "2026-01-19T09:00:00Z",
        "2026-02-02T23:30:00Z",
        "2026-02-16T09:00:00Z",
    ];
    for model in CDNOW {
        for count in 1..=whole.len() {
            let (known, published) = (bought(rules.zone, &whole[..count]), published(model, true));
            let basis = Basis {
                known: &known,
                rules: &rules,
                published: Some(&published),
            };
            // Day by day, by the formula alone.
            let last = day_of(rules.zone, at(whole[count - 1]));
            let first = day_of(rules.zone, at(whole[0]));
            let horizon = 30.0;
            let band_on = |day: NaiveDate| {
                let history = History::new(
                    u32::try_from(count - 1).unwrap(),
                    days_between(first, last) as f64,
                    days_between(first, day) as f64,
                );
                let probability = no_purchase_within(&model, &history.unwrap(), horizon);
                match probability {
                    high if high >= 0.7 => "HIGH",
                    medium if medium >= 0.4 => "MEDIUM",
                    _ => "LOW",
                }
            };
            let mut expected = vec![(at(whole[count - 1]), band_on(last))];
            for days in 1..3_650 {
                let day = later(last, days);
                if band_on(day) != expected.last().unwrap().1 {
                    expected.push((day_start(rules.zone, day), band_on(day)));
                }
            }
            let expected: Vec<(String, String)> = expected
                .iter()
                .map(|(at, band)| (at.to_string(), (*band).to_owned()))
                .collect();
            assert_eq!(expected.last().unwrap().1, "HIGH");
            let told = labels(&ChurnMetric, basis, whole[count - 1], "2036-01-01");
            assert_eq!(told, expected, "{:?} {count}", model.family);
        }
    }
}

#[test]
fn reasons_say_what_speaks_for_it_with_figures() {
    let mut rules = ValueRules::default();
    rules.churn.usage_events = vec!["login".to_owned()];
    let mut known = bought(Tz::UTC, &["2026-01-01", "2026-01-11", "2026-01-21", "2026-05-01"]);
    known.orders[0].refunds.push(refund(Tz::UTC, at("2026-01-02"), 1_000));
    known.recommendations.push((at("2026-02-01"), 3));
    known
        .subscriptions
        .push((at("2026-05-20T12:00:00Z"), SubscriptionStep::Cancelled));
    known.activity.insert(
        "login".to_owned(),
        [("2026-04-10".parse().unwrap(), 8), ("2026-06-01".parse().unwrap(), 1)].into(),
    );
    let basis = Basis {
        known: &known,
        rules: &rules,
        published: None,
    };
    assert_eq!(
        reasons(basis, at("2026-06-10")),
        [
            "no order for 40 days, 4 times their usual gap of 10 days",
            "they cancelled their subscription on 2026-05-20 and did not start it again",
            "they answered 3 of 10 when last asked whether they recommend us",
            "usage fell by 75 % per day: 1 in the last 28 days, 8 in the 56 before",
            "1 order in the last 90 days, 3 in the 90 before",
        ]
        .map(str::to_owned)
    );
    assert!(reasons(basis, at("2026-01-01")).contains(&"they bought on one day only, 2026-01-01".to_owned()));
    let given_back = reasons(basis, at("2026-01-20"));
    assert!(
        given_back.contains(&"50 % of what they paid was given back".to_owned()),
        "{given_back:?}"
    );
    let nobody = Known::default();
    assert!(reasons(Basis { known: &nobody, ..basis }, at("2026-01-20")).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn the_band_is_told_the_same_however_often_somebody_looks(
        orders in prop::collection::vec(0_i64..4_000, 0..8),
        family in 0_usize..2,
        seed in 1_i64..1_000_000,
    ) {
        let rules = ValueRules { zone: Tz::America__Sao_Paulo, ..ValueRules::default() };
        let start = at("2018-09-01");
        let hours = |hours: i64| Instant::from_micros(start.micros() + hours * HOUR + 7);
        let mut orders: Vec<Order> = orders.into_iter().map(|when| order(rules.zone, hours(when), Some(1))).collect();
        orders.sort_by_key(|order| order.at);
        let known = Known { orders, ..Known::default() };
        let published = published(CDNOW[family], true);
        let basis = Basis { known: &known, rules: &rules, published: Some(&published) };
        assert_same_whatever_the_looks(&ChurnMetric, basis, (start, hours(6_000)), seed);
    }
}
