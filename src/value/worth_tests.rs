use super::*;
use crate::value::{Buying, Family, Fit, Spending, Winning};

const ASKED: Asked = Asked {
    years: 5.0,
    annual_discount: 0.1,
};

fn fit<const N: usize>() -> Fit<N> {
    Fit {
        log_likelihood: -1.0,
        standard_errors: None,
        log_covariance: Some(std::array::from_fn(|i| {
            std::array::from_fn(|j| if i == j { 0.01 } else { 0.0 })
        })),
        customers: 100,
        different: 50,
        iterations: 9,
        gradient_norm: 0.0,
        converged: true,
        warnings: Vec::new(),
    }
}

/// As fitted to CDNOW, in days.
fn buying(family: Family) -> FittedBuying {
    let model = match family {
        Family::BgNbd => Buying::new(family, [0.242_594_522, 4.413_602_019 * 7.0, 0.792_922_017, 2.425_906_777]),
        Family::MbgNbd => Buying::new(family, [0.524_843_159, 6.183_085_28 * 7.0, 0.891_359_391, 1.614_002_24]),
    };
    FittedBuying { model, fit: fit() }
}

/// In cents.
fn spending() -> FittedSpending {
    FittedSpending {
        model: Spending::new([6.249_572_271, 3.744_224_667, 1_544.352_096]),
        fit: fit(),
    }
}

fn models<'a>(buying: &'a FittedBuying, spending: &'a FittedSpending, economics: Option<&'a Economics>) -> Models<'a> {
    Models {
        buying: Ok(buying),
        spending: Ok(spending),
        economics,
    }
}

fn no_models(economics: Option<&Economics>) -> Models<'_> {
    Models {
        buying: Err("no model is published".to_owned()),
        spending: Err("no model is published".to_owned()),
        economics,
    }
}

fn subject(repeats: u32, recency: f64, age: f64) -> Subject {
    Subject {
        history: History::new(repeats, recency, age).ok(),
        spend: Spend::new(repeats, 3_000.0).ok(),
        net: Some(3_000.0 * f64::from(repeats + 1)),
        known: 1.0,
        years: age / DAYS_A_YEAR,
        referrals: 0,
        first: Some((Instant::from_micros(0), "WEB".to_owned())),
    }
}

fn economics(first_year: f64, keeping: f64, winning: f64) -> Economics {
    Economics {
        first_year: Some(first_year),
        referrals: 5,
        keeping: Some(keeping),
        winning: vec![Winning {
            from: Instant::from_micros(0),
            until: Instant::from_micros(1_000),
            channel: None,
            each: winning,
        }],
        as_of: Some(Instant::from_micros(1_000)),
        warnings: Vec::new(),
    }
}

#[track_caller]
fn near(found: Option<f64>, expected: f64, what: &str) {
    let found = found.unwrap_or_else(|| panic!("{what} is unknown"));
    assert!(
        (found - expected).abs() < 1e-9 * expected.abs().max(1.0),
        "{what}: {found}, expected {expected}"
    );
}

#[test]
fn the_example_of_the_retention_form() {
    // T = 100, R = 10, C = 30, retention .8, d .1, H = 3, CAC 50.
    let rules = WorthRules {
        margin: Some(1.0),
        annual_retention: Some(0.8),
        ..WorthRules::default()
    };
    let economics = economics(20.0, 30.0, 50.0);
    let subject = Subject {
        net: Some(100.0),
        years: 1.0,
        referrals: 1,
        ..subject(0, 0.0, 365.25)
    };
    let asked = Asked {
        years: 3.0,
        annual_discount: 0.1,
    };
    let found = worth(&rules, &no_models(Some(&economics)), &subject, asked);
    assert_eq!(found.form, Form::Retention);
    let factors: f64 = (1..=3).map(|t| 0.8_f64.powi(t) / 1.1_f64.powi(t)).sum();
    assert!((factors - 1.640_872).abs() < 1e-6);
    near(found.transaction, 100.0 * factors, "transaction");
    near(found.relationship, 10.0 * factors, "relationship");
    near(found.cost, 30.0 * factors, "cost");
    near(found.acquisition, 50.0, "acquisition");
    near(found.total, 80.0 * factors - 50.0, "total");
    assert!((found.total.unwrap() - 81.27).abs() < 0.005, "{:?}", found.total);
    near(found.historic, 100.0 + 10.0 - 30.0 - 50.0, "historic");
    assert!((found.coverage - 1.0).abs() < 1e-12, "{found:?}");
    assert_eq!(
        found.reasons,
        ["no model is published: the configured retention is taken instead"]
    );
    assert_eq!((found.probability_alive, found.average), (None, None));
}

#[test]
fn a_horizon_that_ends_within_a_period_takes_its_part() {
    let rules = WorthRules {
        annual_retention: Some(0.5),
        ..WorthRules::default()
    };
    let asked = Asked {
        years: 1.5,
        annual_discount: 0.0,
    };
    let mut subject = subject(0, 0.0, 10.0);
    subject.net = Some(100.0);
    let found = worth(&rules, &no_models(None), &subject, asked);
    // What was bought within ten days is taken for a year's.
    near(found.transaction, 100.0 * 0.5 + 50.0 * 0.5_f64.powf(1.5), "transaction");
    assert_eq!(ends(2.0, 12.0).count(), 24);
    assert_eq!(ends(1.0 / 12.0, 12.0).count(), 1);
    assert_eq!(ends(0.1, 12.0).last(), Some((1.0 / 12.0, 0.1)));
}

#[test]
fn the_value_by_model_is_the_discounted_margin_on_what_is_expected() {
    let (buying, spending) = (buying(Family::BgNbd), spending());
    let rules = WorthRules {
        margin: Some(0.4),
        ..WorthRules::default()
    };
    let subject = subject(2, 30.43 * 7.0, 38.86 * 7.0);
    let asked = Asked {
        years: 1.0,
        annual_discount: 1.01_f64.powi(12) - 1.0,
    };
    let found = worth(&rules, &models(&buying, &spending, None), &subject, asked);
    // The same by the scorer, whose periods and discount are a month's.
    let terms = Terms {
        horizon: 1.0,
        periods: 12,
        period: DAYS_A_YEAR / 12.0,
        discount: 0.01,
        margin: 0.4,
    };
    let mut scorer = Scorer::new(Ok(&buying), Ok(&spending), terms);
    let score = scorer.score(&subject.history.unwrap(), subject.spend.as_ref());
    near(found.transaction, score.clv.unwrap(), "transaction");
    near(found.average, score.expected_spend.unwrap(), "average");
    near(found.probability_alive, score.p_alive.unwrap(), "alive");
    near(found.total, score.clv.unwrap(), "total without what is not known");
    assert!((found.coverage - 0.75).abs() < 1e-12);
    assert_eq!((found.relationship, found.cost, found.acquisition), (None, None, None));
    assert_eq!(found.reasons.len(), 3, "{:?}", found.reasons);
}

#[test]
fn costs_last_as_long_as_the_customer_stays() {
    let (buying, spending) = (buying(Family::MbgNbd), spending());
    let economics = economics(100.0, 1_200.0, 70.0);
    let subject = subject(3, 100.0, 200.0);
    let asked = Asked {
        years: 2.0,
        annual_discount: 0.0,
    };
    let found = worth(
        &WorthRules::default(),
        &models(&buying, &spending, Some(&economics)),
        &subject,
        asked,
    );
    let history = subject.history.unwrap();
    let staying: f64 = (1..=24_u32)
        .map(|month| {
            buying
                .model
                .probability_alive_after(&history, f64::from(month) * DAYS_A_YEAR / 12.0)
        })
        .sum();
    near(found.cost, 100.0 * staying, "cost");
    assert!(found.cost.unwrap() < 2_400.0 * found.probability_alive.unwrap());
    near(found.relationship, 0.0, "who referred nobody brings nothing by it");
    near(found.total, found.transaction.unwrap() - found.cost.unwrap() - 70.0, "total");
}

#[test]
fn nobody_with_a_purchase_is_unknown_under_a_model() {
    let spending = spending();
    for family in Family::ALL {
        let buying = buying(family);
        for subject in [
            subject(0, 0.0, 0.0),
            subject(0, 0.0, 9_000.0),
            subject(3_000, 3_000.0, 3_000.0),
            subject(1, 1.0, 4_000.0),
        ] {
            let found = worth(&WorthRules::default(), &models(&buying, &spending, None), &subject, ASKED);
            let numbers = [
                found.total,
                found.historic,
                found.predicted,
                found.transaction,
                found.probability_alive,
                found.average,
            ];
            assert!(
                numbers.iter().all(|number| number.is_some_and(f64::is_finite)),
                "{family:?} {subject:?} {found:?}"
            );
            let (expected, interval) = purchases_within(&buying, &subject.history.unwrap(), 365.25).unwrap();
            let (low, high) = interval.unwrap();
            assert!(low <= expected && expected <= high, "{low} {expected} {high}");
        }
    }
}

#[test]
fn what_is_unknown_is_null_with_a_reason() {
    let (buying, spending) = (buying(Family::BgNbd), spending());
    let rules = WorthRules::default();
    let nobody = worth(&rules, &models(&buying, &spending, None), &Subject::default(), ASKED);
    assert_eq!(
        (nobody.form, nobody.total, nobody.probability_alive),
        (Form::None, None, None)
    );
    assert!(nobody.reasons.contains(&"nothing was bought".to_owned()));
    let nothing = worth(&rules, &no_models(None), &subject(1, 5.0, 9.0), ASKED);
    assert_eq!((nothing.form, nothing.total, nothing.predicted), (Form::None, None, None));
    near(nothing.historic, 6_000.0, "what was is known without a model");
    assert_eq!(nothing.reasons[0], "no model is published, and no retention is configured");
    // Half of the orders without a rate: the parts are told, the total is not.
    let half = Subject {
        known: 0.5,
        ..subject(1, 5.0, 9.0)
    };
    let found = worth(&rules, &models(&buying, &spending, None), &half, ASKED);
    assert!(found.transaction.is_some() && found.total.is_none() && found.predicted.is_none());
    assert!((found.coverage - 0.3).abs() < 1e-12);
    assert!(
        found
            .reasons
            .last()
            .unwrap()
            .starts_with("too little is known for a total: 0.30"),
        "{:?}",
        found.reasons
    );
    let no_mean = FittedSpending {
        model: Spending::new([2.0, 0.9, 10.0]),
        fit: fit(),
    };
    let found = worth(&rules, &models(&buying, &no_mean, None), &subject(0, 0.0, 9.0), ASKED);
    assert_eq!((found.transaction, found.average, found.total), (None, None, None));
    assert!(found.probability_alive.is_some());
}

#[test]
fn a_number_beyond_what_is_exact_is_refused() {
    let (buying, spending) = (buying(Family::BgNbd), spending());
    let rich = Subject {
        spend: Spend::new(2, 1e18).ok(),
        net: Some(3e18),
        ..subject(2, 5.0, 9.0)
    };
    let found = worth(&WorthRules::default(), &models(&buying, &spending, None), &rich, ASKED);
    assert_eq!(
        (found.transaction, found.total, found.historic, found.average),
        (None, None, None, None)
    );
    assert_eq!(
        found.reasons.iter().filter(|reason| reason.contains("out of range")).count(),
        1
    );
}
