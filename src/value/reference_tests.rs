//! The CDNOW data and the answers of other implementations, see `tests/data/README.md`.

use super::*;
use serde_json::Value;
use std::collections::HashMap;

const HOLD_OUT_WEEKS: f64 = 39.0;

struct Cdnow {
    expected: Value,
    ids: Vec<String>,
    customers: Vec<Customer>,
}

fn file(name: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/data/clv/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Histories up to the end of September 1997 out of the single purchases.
fn cdnow() -> Cdnow {
    let mut ids: Vec<String> = Vec::new();
    let mut places = HashMap::new();
    let text = file("cdnow_transactions.csv");
    let purchases = text.lines().skip(1).map(|line| {
        let fields: Vec<&str> = line.split(',').collect();
        let customer = *places.entry(fields[0].to_owned()).or_insert_with(|| {
            ids.push(fields[0].to_owned());
            ids.len() - 1
        });
        Purchase {
            customer,
            day: fields[1].parse().unwrap(),
            value: fields[3].parse().unwrap(),
        }
    });
    let purchases: Vec<Purchase> = purchases.collect();
    let window = Window {
        from: None,
        calibration_end: "1997-09-30".parse().unwrap(),
    };
    let customers = ledger(purchases, ids.len(), window, Unit::Week).customers;
    Cdnow {
        expected: serde_json::from_str(&file("expected.json")).unwrap(),
        ids,
        customers: customers.into_iter().map(Option::unwrap).collect(),
    }
}

impl Cdnow {
    fn histories(&self) -> Vec<History> {
        self.customers.iter().map(|customer| customer.history).collect()
    }

    fn spends(&self) -> Vec<Spend> {
        self.customers.iter().filter_map(|customer| customer.spend).collect()
    }

    /// The models with the parameters of the reference.
    fn model(&self, family: Family) -> Buying {
        Buying::new(
            family,
            named(&self.expected["fits"][family.key()]["params"], ["r", "alpha", "a", "b"]),
        )
    }

    fn spending(&self) -> Spending {
        Spending::new(named(&self.expected["fits"]["gamma_gamma"]["params"], ["p", "q", "v"]))
    }
}

fn named<const N: usize>(values: &Value, names: [&str; N]) -> [f64; N] {
    names.map(|name| values[name].as_f64().unwrap())
}

/// The name of a family in the keys of the reference.
fn short(family: Family) -> &'static str {
    match family {
        Family::BgNbd => "bg",
        Family::MbgNbd => "mbg",
    }
}

#[track_caller]
fn assert_near(mine: f64, reference: &Value, relative: f64, what: &str) {
    let reference = reference.as_f64().unwrap();
    assert!(
        (mine - reference).abs() <= relative * reference.abs(),
        "{what}: {mine}, expected {reference}"
    );
}

/// Parameters, log-likelihood and standard errors.
fn check_fit<const N: usize>(fit: &Fit<N>, parameters: [f64; N], reference: &Value, names: [&str; N]) {
    assert!(fit.converged, "{:?}", fit.warnings);
    let likelihood = reference["log_likelihood"].as_f64().unwrap();
    assert!(
        (fit.log_likelihood - likelihood).abs() < 1e-6,
        "{} for {likelihood}",
        fit.log_likelihood
    );
    let errors = fit.standard_errors.unwrap();
    for (i, name) in names.into_iter().enumerate() {
        assert_near(parameters[i], &reference["params"][name], 1e-5, name);
        assert_near(
            errors[i],
            &reference["standard_errors"][name],
            1e-4,
            &format!("standard error of {name}"),
        );
    }
}

#[test]
fn the_histories_of_cdnow_are_those_of_the_reference() {
    let cdnow = cdnow();
    let checks = &cdnow.expected["data_checks"];
    let sum = |of: fn(&Customer) -> u32| cdnow.customers.iter().map(|one| u64::from(of(one))).sum::<u64>();
    assert_eq!(Some(cdnow.customers.len() as u64), checks["customers"].as_u64());
    assert_eq!(Some(sum(|one| one.history.repeats())), checks["repeat_calibration"].as_u64());
    assert_eq!(Some(sum(|one| one.later)), checks["repeat_holdout"].as_u64());
    assert_eq!(Some(cdnow.spends().len() as u64), checks["gamma_gamma_customers"].as_u64());
    let correlation = spend_with_frequency(&cdnow.spends()).unwrap();
    assert_near(correlation, &checks["pearson_x_monetary_repeaters"], 1e-9, "Pearson's r");
}

#[test]
fn the_fits_of_cdnow_are_those_of_the_reference() {
    let cdnow = cdnow();
    let fits = fit_all(&cdnow.histories()).unwrap();
    for fitted in &fits {
        let reference = &cdnow.expected["fits"][fitted.model.family.key()];
        check_fit(&fitted.fit, fitted.model.parameters(), reference, ["r", "alpha", "a", "b"]);
        assert_eq!(
            Some(fitted.fit.different as u64),
            cdnow.expected["data_checks"]["unique_x_tx_T"].as_u64()
        );
        assert_eq!(fit_buying(fitted.model.family, &cdnow.histories()).as_ref(), Ok(fitted));
    }
    assert_eq!(likeliest(&fits).unwrap().model.family, Family::MbgNbd);
    let spending = fit_spending(&cdnow.spends()).unwrap();
    check_fit(
        &spending.fit,
        spending.model.parameters(),
        &cdnow.expected["fits"]["gamma_gamma"],
        ["p", "q", "v"],
    );
    assert_eq!(spending.fit.warnings, [], "spend and frequency hardly go together");
}

#[test]
fn the_order_of_customers_and_the_unit_of_time_change_nothing() {
    let cdnow = cdnow();
    let mut histories = cdnow.histories();
    let fitted = fit_buying(Family::BgNbd, &histories).unwrap();
    histories.reverse();
    assert_eq!(fit_buying(Family::BgNbd, &histories).unwrap(), fitted);
    let in_days = |one: &History| History::new(one.repeats(), one.recency() * 7.0, one.age() * 7.0).unwrap();
    let days = fit_buying(Family::BgNbd, &histories.iter().map(in_days).collect::<Vec<_>>()).unwrap();
    assert!((days.model.alpha / 7.0 / fitted.model.alpha - 1.0).abs() < 1e-8);
    assert!((days.model.a / fitted.model.a - 1.0).abs() < 1e-8);
}

#[test]
fn functions_agree_with_high_precision_references() {
    let cdnow = cdnow();
    let checks = cdnow.expected["function_checks"].as_array().unwrap();
    let mut checked = 0;
    for check in checks {
        let Some(family) = Family::ALL.into_iter().find(|family| check["model"] == family.key()) else {
            continue;
        };
        let parameters: Vec<f64> = check["params"]
            .as_array()
            .unwrap()
            .iter()
            .map(|value| value.as_f64().unwrap())
            .collect();
        let model = Buying::new(family, parameters.try_into().unwrap());
        let number = |name: &str| check[name].as_f64().unwrap();
        let repeats = u32::try_from(check["x"].as_u64().unwrap()).unwrap();
        let history = History::new(repeats, number("t_x"), number("T")).unwrap();
        let what = format!("{family:?} {history:?}");
        assert_near(model.probability_alive(&history), &check["p_alive"], 1e-10, &what);
        for (horizon, expected) in check["cet"].as_object().unwrap() {
            assert_near(
                model.expected_purchases(&history, horizon.parse().unwrap()),
                expected,
                1e-10,
                &what,
            );
        }
        if let Some(discounted) = check.get("dert_delta_ln1.15_over_52") {
            let rate = cdnow.expected["meta"]["discount"]["delta_continuous"].as_f64().unwrap();
            assert_near(
                model.discounted(&history, rate),
                discounted,
                1e-9,
                &format!("discounted, {what}"),
            );
        }
        checked += 1;
    }
    assert_eq!(checked, 18);
}

#[test]
fn expected_spend_agrees_with_the_references() {
    let cdnow = cdnow();
    for check in cdnow.expected["gamma_gamma_checks"].as_array().unwrap() {
        let parameters: Vec<f64> = check["params"]
            .as_array()
            .unwrap()
            .iter()
            .map(|value| value.as_f64().unwrap())
            .collect();
        let days = u32::try_from(check["x"].as_u64().unwrap()).unwrap();
        let spend = Spend::new(days, check["monetary"].as_f64().unwrap()).ok();
        let mine = Spending::new(parameters.try_into().unwrap())
            .expected(spend.as_ref())
            .unwrap();
        assert_near(mine, &check["expected_spend"], 1e-12, &format!("{spend:?}"));
    }
}

/// Scores with fitted models, as a caller makes them.
fn scores(cdnow: &Cdnow, family: Family) -> Vec<Score> {
    let buying = fit_buying(family, &cdnow.histories()).unwrap();
    let spending = fit_spending(&cdnow.spends()).unwrap();
    let terms = Terms {
        horizon: HOLD_OUT_WEEKS,
        periods: 12,
        period: 4.345,
        discount: 0.01,
        margin: 1.0,
    };
    let mut scorer = Scorer::new(Ok(&buying), Ok(&spending), terms);
    cdnow
        .customers
        .iter()
        .map(|one| scorer.score(&one.history, one.spend.as_ref()))
        .collect()
}

#[test]
fn every_customer_of_cdnow_has_a_value_and_it_is_that_of_the_reference() {
    let cdnow = cdnow();
    for family in Family::ALL {
        let scores = scores(&cdnow, family);
        assert!(
            scores
                .iter()
                .all(|score| score.columns().iter().all(|(_, number)| number.is_ok()))
        );
        let key = short(family);
        for reference in cdnow.expected["per_customer"].as_array().unwrap() {
            let id = reference["customer_id"].to_string();
            let score = &scores[cdnow.ids.iter().position(|other| *other == id).unwrap()];
            let check = |mine: f64, name: &str| assert_near(mine, &reference[name], 2e-6, &format!("{name} of {id}"));
            check(score.p_alive.unwrap(), &format!("palive_{key}"));
            check(score.expected_purchases.unwrap(), &format!("cet39_{key}"));
            check(score.expected_spend.unwrap(), "expected_spend");
            check(score.clv.unwrap(), &format!("clv12m_{key}"));
        }
        let totals = &cdnow.expected["totals"];
        let sum = |of: fn(&Score) -> f64| scores.iter().map(of).sum::<f64>();
        assert_near(
            sum(|score| score.expected_purchases.unwrap()),
            &totals["cet39"][key],
            1e-6,
            "expected purchases",
        );
        assert_near(
            sum(|score| score.clv.unwrap()),
            &totals["clv12m"][key],
            1e-6,
            "value of twelve months",
        );
        let mean = sum(|score| score.p_alive.unwrap()) / 2357.0;
        assert_near(mean, &totals["mean_palive"][key], 1e-6, "mean probability alive");
        let mean = sum(|score| score.expected_spend.unwrap()) / 2357.0;
        assert_near(mean, &totals["expected_spend_mean"], 1e-6, "mean expected spend");
    }
}

#[test]
fn the_back_test_of_cdnow_is_that_of_the_reference() {
    let cdnow = cdnow();
    let holdout = &cdnow.expected["holdout"];
    let told = |predict: &dyn Fn(&Customer) -> f64| {
        let foretold = cdnow.customers.iter().map(|one| Foretold {
            repeats: one.history.repeats(),
            predicted: predict(one),
            actual: f64::from(one.later),
        });
        accuracy(&foretold.collect::<Vec<_>>()).unwrap()
    };
    let check = |found: &Accuracy, reference: &Value| {
        assert_near(found.total_predicted, &reference["total_predicted"], 1e-9, "total");
        assert_near(found.bias_percent.unwrap(), &reference["bias_pct"], 1e-8, "bias");
        assert_near(found.rmse, &reference["rmse"], 1e-9, "rmse");
        assert_near(found.correlation.unwrap(), &reference["pearson_r"], 1e-9, "Pearson's r");
    };
    for family in Family::ALL {
        let model = cdnow.model(family);
        let found = told(&|one| model.expected_purchases(&one.history, HOLD_OUT_WEEKS));
        check(&found, &holdout["accuracy"][short(family)]);
        for class in &found.by_frequency {
            let label = if class.label == MOST_FREQUENT {
                "7+".to_owned()
            } else {
                class.label.to_string()
            };
            let reference = &holdout["by_calibration_frequency"][&label];
            assert_eq!(Some(class.customers as u64), reference["n"].as_u64());
            assert_near(class.mean_predicted, &reference[short(family)], 1e-9, &label);
            assert_near(class.mean_actual, &reference["actual_mean"], 1e-12, &label);
        }
        let lifts: Vec<f64> = found.deciles.iter().map(|decile| decile.lift.unwrap()).collect();
        assert!(
            lifts[0] > 4.0 && lifts[9] < 0.5,
            "the best tenth buys most, the last least: {lifts:?}"
        );
    }
    check(
        &told(&|one| naive_rate(&one.history, HOLD_OUT_WEEKS)),
        &holdout["accuracy"]["naive_rate_x_over_T"],
    );
}

#[test]
fn purchases_of_all_weeks_follow_the_reference() {
    let cdnow = cdnow();
    let tracking = &cdnow.expected["tracking"];
    for family in Family::ALL {
        let model = cdnow.model(family);
        for week in [1_u8, 20, 39, 60, 78] {
            // Since the first purchase of each customer; the calibration ends with week 39.
            let times = cdnow.customers.iter().map(|one| f64::from(week) - 39.0 + one.history.age());
            let sum: f64 = times
                .filter(|time| *time > 0.0)
                .map(|time| model.expected_of_a_new_customer(time))
                .sum();
            assert_near(
                sum,
                &tracking[short(family)][usize::from(week) - 1],
                1e-9,
                &format!("{family:?}, week {week}"),
            );
        }
    }
}

#[test]
fn intervals_hold_the_expectation_and_widen_with_the_horizon() {
    let cdnow = cdnow();
    let buying = fit_buying(Family::MbgNbd, &cdnow.histories()).unwrap();
    let width = |horizon: f64| {
        let terms = Terms {
            horizon,
            periods: 1,
            period: 1.0,
            discount: 0.0,
            margin: 1.0,
        };
        let scorer = Scorer::new(Ok(&buying), Err(Unfit::NoSpend), terms);
        let history = History::new(2, 30.4, 38.9).unwrap();
        let (low, high) = scorer.interval(&history).unwrap();
        let expected = buying.model.expected_purchases(&history, horizon);
        assert!(0.0 < low && low < expected && expected < high, "{low} {expected} {high}");
        high / low
    };
    assert!(width(520.0) > width(39.0));
    assert!(width(39.0) < 1.5, "2,357 customers tell the expectation well");
}

#[test]
fn spending_has_the_parameters_of_the_reference_in_any_currency() {
    let cdnow = cdnow();
    let yen: Vec<Spend> = cdnow
        .spends()
        .iter()
        .map(|spend| Spend::new(spend.days(), spend.mean() * 150.0).unwrap())
        .collect();
    let (mine, reference) = (fit_spending(&yen).unwrap().model, cdnow.spending());
    assert!((mine.v / 150.0 / reference.v - 1.0).abs() < 1e-5 && (mine.q / reference.q - 1.0).abs() < 1e-5);
}
