//! The CDNOW data through a sample, held against the reference: see `tests/data/README.md`.

use super::*;
use crate::base::Instant;
use serde_json::Value;

fn file(name: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/data/clv/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Everybody of CDNOW, amounts in cents.
fn cdnow() -> Vec<Known> {
    let mut customers: BTreeMap<String, Known> = BTreeMap::new();
    for line in file("cdnow_transactions.csv").lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let cents = fields[3].parse::<rust_decimal::Decimal>().unwrap() * rust_decimal::Decimal::from(100);
        let order = Order {
            at: Instant::parse(fields[1]).unwrap(),
            day: fields[1].parse().unwrap(),
            amount: i64::try_from(cents).ok(),
            refunds: Vec::new(),
            categories: Vec::new(),
            channel: "WEB".to_owned(),
        };
        assert!(order.amount.is_some(), "{line}");
        customers.entry(fields[0].to_owned()).or_default().orders.push(order);
    }
    let mut customers: Vec<Known> = customers.into_values().collect();
    customers
        .iter_mut()
        .for_each(|known| known.orders.sort_by_key(|order| order.at));
    customers
}

#[track_caller]
fn near(found: f64, reference: &Value, what: &str) {
    let reference = reference.as_f64().unwrap();
    assert!(
        (found - reference).abs() <= 1e-4 * reference.abs(),
        "{what}: {found}, expected {reference}"
    );
}

#[test]
fn the_back_test_of_all_purchases_is_that_of_the_reference() {
    let terms = Terms {
        as_of: Instant::parse("1998-06-30T23:59:59Z").unwrap(),
        calibration_end: "1997-09-30".parse().ok(),
        family: Some(Family::BgNbd),
    };
    let mut sample = Sample::new(Arc::new(ValueRules::default()), terms);
    for known in cdnow() {
        sample.add(&known);
    }
    let found = sample.fit(None, &[]);
    assert_eq!((found.buyers, found.chosen), (2357, Chosen::Family(Family::BgNbd)));
    let expected: Value = serde_json::from_str(&file("expected.json")).unwrap();
    let accuracy = &expected["holdout"]["accuracy"];
    let backtest = found.backtest.unwrap();
    assert_eq!(backtest.days, 273.0);
    for (fitted, own) in &backtest.models {
        let (name, short) = match fitted.model.family {
            Family::BgNbd => ("bg_nbd", "bg"),
            Family::MbgNbd => ("mbg_nbd", "mbg"),
        };
        let [r, alpha, a, b] = fitted.model.parameters();
        // Days for weeks.
        for (parameter, value) in [("r", r), ("alpha", alpha / 7.0), ("a", a), ("b", b)] {
            near(
                value,
                &expected["fits"][name]["params"][parameter],
                &format!("{parameter} of {name}"),
            );
        }
        let own = own.as_ref().unwrap();
        assert_eq!((own.customers, own.total_actual), (2357, 1882.0));
        near(own.total_predicted, &accuracy[short]["total_predicted"], name);
        near(own.bias_percent.unwrap(), &accuracy[short]["bias_pct"], name);
        near(own.rmse, &accuracy[short]["rmse"], name);
        near(own.correlation.unwrap(), &accuracy[short]["pearson_r"], name);
    }
    let naive = backtest.naive.unwrap();
    near(
        naive.total_predicted,
        &accuracy["naive_rate_x_over_T"]["total_predicted"],
        "everybody's own rate",
    );
    near(naive.rmse, &accuracy["naive_rate_x_over_T"]["rmse"], "everybody's own rate");
    // Cuts of everything up to June.
    assert!(found.rfm.is_some() && found.spending.unwrap().fit.converged);
}
