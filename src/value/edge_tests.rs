//! Data that hold little or nothing: an answer or a reason, never a wild number.

use super::*;
use proptest::prelude::*;

const TERMS: Terms = Terms {
    horizon: 52.0,
    periods: 12,
    period: 4.345,
    discount: 0.01,
    margin: 1.0,
};

fn history(repeats: u32, recency: f64, age: f64) -> History {
    History::new(repeats, recency, age).unwrap()
}

/// Nothing is scored with such data, and the reason is given.
fn assert_unknown(histories: &[History], why: &str) {
    for family in Family::ALL {
        let fitted = fit_buying(family, histories);
        let mut scorer = Scorer::new(fitted.as_ref().map_err(|unfit| *unfit), Err(Unfit::NoSpend), TERMS);
        let score = scorer.score(&history(1, 3.0, 9.0), None);
        let reason = score.p_alive.unwrap_err().to_string();
        assert!(reason.contains(why), "{family:?}: {reason}");
        assert!(score.clv.is_err() && score.expected_purchases.is_err() && score.expected_spend.is_err());
        assert!(scorer.interval(&history(1, 3.0, 9.0)).is_err());
    }
}

#[test]
fn no_customer() {
    assert_unknown(&[], "no customer");
    assert_eq!(fit_spending(&[]), Err(Unfit::NoSpend));
}

#[test]
fn one_customer_with_one_purchase() {
    assert_unknown(&[history(0, 0.0, 20.0)], "nobody has bought on a second day");
}

#[test]
fn one_customer_with_repeats() {
    let one = [history(5, 18.0, 20.0)];
    assert_unknown(&one, "did not converge");
    let warnings = fit_buying(Family::BgNbd, &one).unwrap().fit.warnings;
    assert!(warnings.contains(&Warning::Few { customers: 1 }), "{warnings:?}");
    let spending = fit_spending(&[Spend::new(5, 20.0).unwrap()]).unwrap();
    assert!(!spending.fit.converged, "one mean says nothing about many");
}

#[test]
fn everybody_bought_once() {
    assert_unknown(&vec![history(0, 0.0, 20.0); 500], "nobody has bought on a second day");
}

#[test]
fn all_customers_equal() {
    assert_unknown(&vec![history(3, 15.0, 20.0); 500], "did not converge");
    let spending = fit_spending(&vec![Spend::new(3, 20.0).unwrap(); 500]).unwrap();
    assert!(!spending.fit.converged, "{spending:?}");
}

#[test]
fn everybody_came_today() {
    assert_unknown(&vec![History::NEW; 500], "no time has passed");
}

#[test]
fn free_gifts_alone_are_no_spend() {
    assert_eq!(fit_spending(&[Spend::new(2, 0.0).unwrap()]), Err(Unfit::NoSpend));
}

#[test]
fn warnings_speak_in_words() {
    let fitted = fit_buying(Family::BgNbd, &vec![history(3, 15.0, 20.0); 500]).unwrap();
    let words: Vec<String> = fitted.fit.warnings.iter().map(ToString::to_string).collect();
    assert!(words.iter().any(|line| line.contains("did not converge")), "{words:?}");
    assert!(
        words.iter().any(|line| line.starts_with("the data do not determine")),
        "{words:?}"
    );
}

#[test]
fn thousands_of_purchases_and_customers_of_today_have_values() {
    let spending = Spending::new([6.25, 3.74, 15.44]);
    for family in Family::ALL {
        for a in [0.793, 1.0 - 1e-9, 1.0, 1.0 + 1e-7] {
            let model = Buying::new(family, [0.243, 4.414, a, 2.426]);
            for (one, least, most) in [
                (history(3000, 3000.0, 3000.0), 40.0, 53.0),
                (history(3000, 2000.0, 3000.0), 0.0, 1e-100),
                (History::NEW, 0.1, 3.0),
            ] {
                let expected = model.expected_purchases(&one, 52.0);
                assert!((least..=most).contains(&expected), "{family:?}, a = {a}, {one:?}: {expected}");
            }
            let near = Buying::new(family, [0.243, 4.414, a + 1e-6, 2.426]);
            let one = history(7, 29.43, 38.86);
            let change = near.expected_purchases(&one, 52.0) / model.expected_purchases(&one, 52.0) - 1.0;
            assert!(change.abs() < 1e-5, "smooth across a = 1: {change}");
        }
    }
    assert!(spending.expected(Some(&Spend::new(3000, 1e9).unwrap())).unwrap().is_finite());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    /// Whatever few customers there are: a fit ends, and what it answers is in range.
    #[test]
    fn scores_are_in_range_or_unknown(rows in proptest::collection::vec((0..40_u32, 0.0..1.0_f64, 0..400_u32), 0..30)) {
        let histories: Vec<History> = rows.iter().map(|(repeats, part, age)| {
            let recency = (f64::from(*age) * part).floor();
            let repeats = if recency > 0.0 { (*repeats).max(1) } else { 0 };
            history(repeats, recency, f64::from(*age))
        }).collect();
        for family in Family::ALL {
            let fitted = fit_buying(family, &histories);
            let mut scorer = Scorer::new(fitted.as_ref().map_err(|unfit| *unfit), Err(Unfit::NoSpend), TERMS);
            for one in &histories {
                let score = scorer.score(one, None);
                if let Ok(alive) = score.p_alive {
                    prop_assert!((0.0..=1.0).contains(&alive));
                    prop_assert!(score.expected_purchases.is_ok_and(|expected| (0.0..1e6).contains(&expected)));
                }
            }
        }
    }
}
