use super::*;
use crate::value::known::{Known, Order};
use crate::value::models::{Sample, Terms};
use crate::value::rules::ValueRules;
use chrono::NaiveDate;
use std::sync::Arc;
use uuid::Uuid;

fn at(day: &str) -> Instant {
    Instant::parse(day).unwrap()
}

fn order(day: &str, amount: Option<i64>) -> Order {
    Order {
        at: at(day),
        day: day.parse().unwrap(),
        amount,
        refunds: Vec::new(),
        categories: vec!["tea".to_owned()],
        channel: "WEB".to_owned(),
    }
}

fn known(days: &[&str]) -> Known {
    Known {
        orders: days.iter().map(|day| order(day, Some(1_000))).collect(),
        ..Known::default()
    }
}

fn terms(calibration_end: Option<&str>) -> Terms {
    Terms {
        as_of: at("2026-06-01T12:00:00Z"),
        calibration_end: calibration_end.map(|day| day.parse().unwrap()),
        family: None,
    }
}

fn found(customers: &[Known], terms: Terms) -> Found {
    let mut sample = Sample::new(Arc::new(ValueRules::default()), terms);
    for known in customers {
        sample.add(known);
    }
    sample.fit(Some(Currency::stored("EUR".to_owned())), &[])
}

fn stamp() -> Stamp {
    Stamp {
        version: 3,
        fitted_at: at("2026-06-02T00:00:00Z"),
        published_at: None,
        job: JobId(Uuid::nil()),
    }
}

/// Customers who differ as customers do, so that fits converge.
fn many() -> Vec<Known> {
    let begin: NaiveDate = "2025-01-01".parse().unwrap();
    let customer = |i: u64| {
        let first = i * 37 % 150;
        let gap = 11 + i * 53 % 89;
        let count = [0, 0, 1, 0, 2, 0, 4, 1, 9, 0, 3, 0][usize::try_from(i % 12).unwrap()];
        let day = |n: u64| {
            begin
                .checked_add_days(chrono::Days::new(first + n * gap))
                .unwrap()
                .to_string()
        };
        let mut known = known(
            &(0..=count)
                .map(day)
                .collect::<Vec<_>>()
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>(),
        );
        known.orders.retain(|order| order.at < at("2026-06-01"));
        for (n, order) in (0_i64..).zip(&mut known.orders) {
            order.amount = Some(500 + i64::try_from(i * 97 % 1_900).unwrap() + n * 13 % 70);
        }
        known
    };
    (0..400).map(customer).collect()
}

#[test]
fn a_version_is_read_as_it_was_found() {
    let found = found(&many(), terms(Some("2025-12-01")));
    let rows = rows(&found, stamp());
    let kinds: Vec<ValueModelKind> = rows.iter().map(|row| row.kind).collect();
    use ValueModelKind::{BgNbd, Economics, GammaGamma, Gaps, MbgNbd, Rfm};
    assert_eq!(kinds, [BgNbd, MbgNbd, GammaGamma, Rfm, Gaps, Economics]);
    let fits = found.buying.as_ref().unwrap();
    let Chosen::Family(family) = found.chosen else {
        panic!("{fits:?}")
    };
    let chosen = fits.iter().find(|fitted| fitted.model.family == family).unwrap();
    let read = version(rows.clone()).unwrap();
    let strip = |fit: &Fit<4>| Fit {
        warnings: Vec::new(),
        ..fit.clone()
    };
    let buying = read.published.buying.as_ref().unwrap();
    assert_eq!(
        (buying.model, strip(&buying.fit)),
        (chosen.model, strip(&chosen.fit)),
        "to the last digit"
    );
    assert_eq!(
        read.published.spending.as_ref().unwrap().model,
        found.spending.as_ref().unwrap().model
    );
    assert_eq!((read.no_buying, read.no_spending), (None, None));
    assert_eq!((&read.published.rfm, &read.published.gap_days), (&found.rfm, &found.gap_days));
    assert_eq!((read.published.version, read.published.as_of), (3, found.terms.as_of));
    assert_eq!(read.currency, found.currency);
    let gap = read.published.gap_days["tea"];
    assert!((11.0..=100.0).contains(&gap), "{gap}");
    // A first year that is over is known of those who began more than a year ago.
    assert!(read.economics.first_year.unwrap() > 500.0);
    let told = &rows.iter().find(|row| row.chosen).unwrap().model["backTest"];
    assert_eq!(
        (&told["calibrationEnd"], &told["days"]),
        (&json!("2025-12-01"), &json!(182.0))
    );
    assert_eq!(told["model"]["totalActual"], told["naiveRate"]["totalActual"]);
    assert!(told["model"]["deciles"].as_array().unwrap().len() == 10, "{told}");
}

#[test]
fn too_little_to_fit_is_said_in_words_and_nothing_is_computed_with_it() {
    let one = known(&["2026-01-05"]);
    let twice = known(&["2026-01-05", "2026-01-25"]);
    let cases: [(&str, Vec<Known>, &str); 5] = [
        ("no customer", vec![], "no model of buying: there is no customer"),
        (
            "a customer who bought nothing",
            vec![Known::default()],
            "no model of buying: there is no customer",
        ),
        ("one purchase each", vec![one; 90], "nobody has bought on a second day"),
        ("everybody today", vec![known(&["2026-06-01"]); 9], "no time has passed"),
        ("all equal", vec![twice; 300], "the model of buying did not converge"),
    ];
    for (name, customers, reason) in cases {
        let found = found(&customers, terms(Some("2026-02-01")));
        let bought = customers.iter().any(|known| !known.orders.is_empty());
        let rows = rows(&found, stamp());
        assert_eq!(rows.iter().any(|row| row.customers > 0), bought, "{name}");
        let read = version(rows).unwrap();
        assert_eq!(
            (read.published.buying.is_none(), read.published.rfm.is_some()),
            (true, bought),
            "{name}"
        );
        assert!(
            read.no_buying.as_ref().unwrap().contains(reason),
            "{name}: {:?}",
            read.no_buying
        );
        assert!(read.no_spending.is_some(), "{name}");
    }
}

#[test]
fn who_bought_before_the_data_begin_is_cut_by_and_not_fitted_to() {
    let rules = ValueRules {
        data_from: Some("2026-01-01".parse().unwrap()),
        ..ValueRules::default()
    };
    let mut sample = Sample::new(Arc::new(rules), terms(Some("2026-04-01")));
    sample.add(&known(&["2025-11-01", "2026-01-05", "2026-02-05", "2026-05-01"]));
    sample.add(&known(&["2026-01-05", "2026-02-05"]));
    let found = sample.fit(None, &[]);
    assert_eq!(found.buyers, 2);
    assert!(found.buying.unwrap().iter().all(|fitted| fitted.fit.customers == 1));
    assert!(found.warnings[0].starts_with("1 customers bought before the data begin"));
}

#[test]
fn an_order_without_an_amount_is_a_purchase_and_no_spend() {
    let mut customer = known(&["2026-01-05", "2026-02-05", "2026-03-05"]);
    customer.orders[1].amount = None;
    let found = found(&[customer], terms(None));
    assert_eq!(found.buying.as_ref().unwrap()[0].fit.customers, 1);
    assert_eq!(found.spending.as_ref().unwrap().fit.customers, 1);
    assert!(found.warnings[0].starts_with("1 orders have no known amount"));
    assert!(found.backtest.unwrap_err().contains("no time lies"));
}
