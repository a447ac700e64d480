//! How well purchases were foretold, held against what happened.
//!
//! Mean absolute error is left out on purpose: most customers buy nothing more, so to foretell nothing for everybody nearly wins by it.

use super::fit::correlation;
use super::history::History;

/// One customer of a back-test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Foretold {
    /// Repeat purchases in the time that the model was fitted to.
    pub repeats: u32,
    pub predicted: f64,
    pub actual: f64,
}

/// Errors over all customers.
#[derive(Clone, Debug, PartialEq)]
pub struct Accuracy {
    pub customers: usize,
    pub total_predicted: f64,
    pub total_actual: f64,
    /// Part by which the total is too high, in per cent; none where nobody bought.
    pub bias_percent: Option<f64>,
    /// Root of the mean squared error.
    pub rmse: f64,
    /// Pearson's r; none where one side never varies.
    pub correlation: Option<f64>,
    /// By repeat purchases up to [`MOST_FREQUENT`], who stand for that many or more.
    pub by_frequency: Vec<Class>,
    /// Tenths of the customers by prediction, the highest first; fewer where there are fewer customers.
    pub deciles: Vec<Class>,
}

/// Customers taken together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Class {
    /// Repeat purchases, or number of the decile from 1.
    pub label: u32,
    pub customers: usize,
    pub mean_predicted: f64,
    pub mean_actual: f64,
    /// Mean purchases over those of everybody; none where nobody bought.
    pub lift: Option<f64>,
}

/// From here on customers are taken together.
pub const MOST_FREQUENT: u32 = 7;

/// What somebody expects who goes on at the same rate: the simplest rule there is. Nothing where no time has passed.
pub fn naive_rate(history: &History, horizon: f64) -> f64 {
    if history.age() > 0.0 {
        f64::from(history.repeats()) / history.age() * horizon
    } else {
        0.0
    }
}

/// None without customers.
pub fn accuracy(foretold: &[Foretold]) -> Option<Accuracy> {
    if foretold.is_empty() {
        return None;
    }
    let customers = foretold.len();
    let total_predicted: f64 = foretold.iter().map(|one| one.predicted).sum();
    let total_actual: f64 = foretold.iter().map(|one| one.actual).sum();
    let squares: f64 = foretold.iter().map(|one| (one.predicted - one.actual).powi(2)).sum();
    let mean_actual = total_actual / customers as f64;
    Some(Accuracy {
        customers,
        total_predicted,
        total_actual,
        bias_percent: (total_actual > 0.0).then(|| 100.0 * (total_predicted / total_actual - 1.0)),
        rmse: (squares / customers as f64).sqrt(),
        correlation: correlation(foretold.iter().map(|one| (one.predicted, one.actual))),
        by_frequency: by_frequency(foretold, mean_actual),
        deciles: deciles(foretold, mean_actual),
    })
}

fn by_frequency(foretold: &[Foretold], mean_actual: f64) -> Vec<Class> {
    let classes = (0..=MOST_FREQUENT).map(|frequency| {
        let members = foretold.iter().filter(|one| one.repeats.min(MOST_FREQUENT) == frequency);
        let (count, predicted, actual) = members.fold((0, 0.0, 0.0), |(count, predicted, actual), one| {
            (count + 1, predicted + one.predicted, actual + one.actual)
        });
        class(frequency, count, predicted, actual, mean_actual)
    });
    classes.filter(|class| class.customers > 0).collect()
}

fn deciles(foretold: &[Foretold], mean_actual: f64) -> Vec<Class> {
    let mut ranked: Vec<(f64, f64)> = foretold.iter().map(|one| (one.predicted, one.actual)).collect();
    ranked.sort_unstable_by(|one, other| other.0.total_cmp(&one.0));
    // Customers of one prediction share what they did, so that the order among them does not matter.
    for tie in ranked.chunk_by_mut(|one, other| one.0 == other.0) {
        let mean = tie.iter().map(|(_, actual)| actual).sum::<f64>() / tie.len() as f64;
        tie.iter_mut().for_each(|(_, actual)| *actual = mean);
    }
    let count = ranked.len();
    let classes = (0..10_u32).map(|decile| {
        let bound = |decile: u32| count * decile as usize / 10;
        let members = &ranked[bound(decile)..bound(decile + 1)];
        let (predicted, actual) = members.iter().fold((0.0, 0.0), |sums, one| (sums.0 + one.0, sums.1 + one.1));
        class(decile + 1, members.len(), predicted, actual, mean_actual)
    });
    classes.filter(|class| class.customers > 0).collect()
}

fn class(label: u32, customers: usize, predicted: f64, actual: f64, mean_actual: f64) -> Class {
    let count = customers as f64;
    Class {
        label,
        customers,
        mean_predicted: predicted / count,
        mean_actual: actual / count,
        lift: (mean_actual > 0.0).then(|| actual / count / mean_actual),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foretold(rows: &[(u32, f64, f64)]) -> Vec<Foretold> {
        let row = |&(repeats, predicted, actual): &(u32, f64, f64)| Foretold {
            repeats,
            predicted,
            actual,
        };
        rows.iter().map(row).collect()
    }

    #[test]
    fn errors_are_counted_over_everybody() {
        let found = accuracy(&foretold(&[(0, 1.0, 0.0), (9, 5.0, 8.0)])).unwrap();
        assert_eq!(
            (found.total_predicted, found.total_actual, found.bias_percent),
            (6.0, 8.0, Some(-25.0))
        );
        assert!((found.rmse - 5f64.sqrt()).abs() < 1e-15);
        let labels: Vec<u32> = found.by_frequency.iter().map(|class| class.label).collect();
        assert_eq!(labels, [0, 7]);
        assert_eq!(found.by_frequency[1].lift, Some(2.0));
    }

    #[test]
    fn customers_of_one_prediction_are_alike_whatever_their_order() {
        let mut rows: Vec<(u32, f64, f64)> = (0..20).map(|i| (0, 1.0, f64::from(i % 2))).collect();
        let one = accuracy(&foretold(&rows)).unwrap();
        rows.reverse();
        assert_eq!(accuracy(&foretold(&rows)).unwrap(), one);
        assert!(
            one.deciles
                .iter()
                .all(|decile| decile.mean_actual == 0.5 && decile.customers == 2)
        );
    }

    #[test]
    fn without_customers_or_purchases_there_is_no_share() {
        assert_eq!(accuracy(&[]), None);
        let nobody = accuracy(&foretold(&[(0, 0.5, 0.0)])).unwrap();
        assert_eq!((nobody.bias_percent, nobody.correlation), (None, None));
    }

    #[test]
    fn the_naive_rate_of_a_customer_of_today_is_nothing() {
        assert_eq!(naive_rate(&History::NEW, 39.0), 0.0);
        assert_eq!(naive_rate(&History::new(2, 5.0, 8.0).unwrap(), 40.0), 10.0);
    }
}
