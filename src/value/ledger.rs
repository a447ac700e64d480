//! From single purchases to histories.
//!
//! Purchases of a customer on one day are one purchase, and their values are added up, refunds counting negative on the day they happen.
//! A day with refunds only is no purchase. A purchase day whose sum is nothing or less is a purchase, and left out of the mean spend;
//! where no repeat day brought anything, the mean is zero.

use super::history::{History, Spend};
use chrono::NaiveDate;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

/// One row of what was bought or given back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Purchase {
    /// Position of the customer in the caller's list.
    pub customer: usize,
    pub day: NaiveDate,
    /// Below zero: a refund.
    pub value: Decimal,
}

/// The time that is looked at, both days included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Purchases before it are not counted. Who made one has no known beginning, so the history of such a customer starts with the first
    /// purchase in the window, is marked, and must not be fitted to.
    pub from: Option<NaiveDate>,
    /// The last day that models are fitted to. Later purchases are counted apart, to hold predictions against.
    pub calibration_end: NaiveDate,
}

/// The unit of time of histories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Day,
    Week,
}

/// A customer with at least one purchase in the window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Customer {
    pub history: History,
    /// None without a repeat purchase.
    pub spend: Option<Spend>,
    /// Purchase days after the end of the calibration.
    pub later: u32,
    /// Bought before the window began.
    pub began_before: bool,
}

/// All customers, and what was left out.
#[derive(Clone, Debug, PartialEq)]
pub struct Ledger {
    /// In the caller's order; none for who did not buy in the window.
    pub customers: Vec<Option<Customer>>,
    /// Days of a customer that hold only refunds.
    pub refund_days: usize,
}

/// A day of one customer.
struct Day {
    day: NaiveDate,
    value: Decimal,
}

impl Unit {
    /// Its length.
    pub fn days(self) -> f64 {
        match self {
            Self::Day => 1.0,
            Self::Week => 7.0,
        }
    }
}

/// Sorts the purchases of `count` customers into histories.
pub fn ledger(mut purchases: Vec<Purchase>, count: usize, window: Window, unit: Unit) -> Ledger {
    purchases.sort_unstable_by_key(|purchase| (purchase.customer, purchase.day));
    let mut ledger = Ledger {
        customers: vec![None; count],
        refund_days: 0,
    };
    for of_customer in purchases.chunk_by(|one, other| one.customer == other.customer) {
        let mut days = Vec::new();
        for of_day in of_customer.chunk_by(|one, other| one.day == other.day) {
            if of_day.iter().any(|purchase| purchase.value >= Decimal::ZERO) {
                days.push(Day {
                    day: of_day[0].day,
                    value: of_day.iter().map(|purchase| purchase.value).sum(),
                });
            } else {
                ledger.refund_days += 1;
            }
        }
        ledger.customers[of_customer[0].customer] = customer(&days, window, unit);
    }
    ledger
}

/// `days` ascend.
fn customer(days: &[Day], window: Window, unit: Unit) -> Option<Customer> {
    let begin = window.from.map_or(0, |from| days.partition_point(|day| day.day < from));
    let end = days.partition_point(|day| day.day <= window.calibration_end);
    let (first, repeats) = days.get(begin..end)?.split_first()?;
    let time = |until: NaiveDate| (until - first.day).num_days() as f64 / unit.days();
    let recency = repeats.last().map_or(0.0, |last| time(last.day));
    let count = u32::try_from(repeats.len()).expect("fewer days than a calendar has");
    let history = History::new(count, recency, time(window.calibration_end)).expect("days ascend up to the end");
    Some(Customer {
        history,
        spend: spend(repeats),
        later: u32::try_from(days.len() - end).expect("fewer days than a calendar has"),
        began_before: begin > 0,
    })
}

fn spend(repeats: &[Day]) -> Option<Spend> {
    let earning = repeats.iter().map(|day| day.value).filter(|value| *value > Decimal::ZERO);
    let (count, sum) = earning.fold((0_u32, Decimal::ZERO), |(count, sum), value| (count + 1, sum + value));
    if count == 0 {
        return Spend::new(u32::try_from(repeats.len()).ok()?, 0.0).ok();
    }
    Spend::new(count, sum.to_f64()? / f64::from(count)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bought(rows: &[(usize, &str, &str)]) -> Vec<Purchase> {
        let row = |(customer, day, value): &(usize, &str, &str)| Purchase {
            customer: *customer,
            day: day.parse().unwrap(),
            value: value.parse().unwrap(),
        };
        rows.iter().map(row).collect()
    }

    fn one(rows: &[(usize, &str, &str)], from: Option<&str>) -> Option<Customer> {
        let window = Window {
            from: from.map(|day| day.parse().unwrap()),
            calibration_end: "2024-03-31".parse().unwrap(),
        };
        ledger(bought(rows), 1, window, Unit::Day).customers[0]
    }

    fn history(repeats: u32, recency: f64, age: f64) -> History {
        History::new(repeats, recency, age).unwrap()
    }

    #[test]
    fn purchases_of_one_day_count_once_and_add_up_exactly() {
        let rows = [
            (0, "2024-03-01", "5"),
            (0, "2024-03-04", "0.1"),
            (0, "2024-03-04", "0.2"),
            (0, "2024-03-04", "-0.3"),
        ];
        let customer = one(&rows, None).unwrap();
        assert_eq!(customer.history, history(1, 3.0, 30.0));
        assert_eq!(customer.spend, Spend::new(1, 0.0).ok(), "0.1 + 0.2 - 0.3 is nothing");
    }

    #[test]
    fn a_leap_day_is_a_day() {
        let customer = one(
            &[(0, "2024-02-28", "5"), (0, "2024-02-29", "6"), (0, "2024-03-01", "8")],
            None,
        )
        .unwrap();
        assert_eq!(customer.history, history(2, 2.0, 32.0));
        assert_eq!(customer.spend, Spend::new(2, 7.0).ok());
    }

    #[test]
    fn refunds_over_the_price_neither_buy_nor_spend() {
        let rows = [
            (0, "2024-03-01", "5"),
            (0, "2024-03-02", "10"),
            (0, "2024-03-02", "-25"),
            (0, "2024-03-09", "-99"),
        ];
        let window = Window {
            from: None,
            calibration_end: "2024-03-31".parse().unwrap(),
        };
        let found = ledger(bought(&rows), 1, window, Unit::Day);
        let customer = found.customers[0].unwrap();
        assert_eq!(customer.history, history(1, 1.0, 30.0));
        assert_eq!((customer.spend, found.refund_days), (Spend::new(1, 0.0).ok(), 1));
    }

    #[test]
    fn only_refunds_make_no_customer() {
        assert_eq!(one(&[(0, "2024-03-02", "-25")], None), None);
    }

    #[test]
    fn a_purchase_before_the_window_is_marked_and_not_counted() {
        let rows = [(0, "2023-12-31", "5"), (0, "2024-01-10", "6"), (0, "2024-01-20", "7")];
        let customer = one(&rows, Some("2024-01-01")).unwrap();
        assert_eq!(customer.history, history(1, 10.0, 81.0));
        assert!(customer.began_before);
        assert_eq!(
            one(&rows[..1], Some("2024-01-01")),
            None,
            "nobody without a purchase in the window"
        );
    }

    #[test]
    fn purchases_after_the_calibration_are_counted_apart() {
        let customer = one(
            &[(0, "2024-03-31", "5"), (0, "2024-04-01", "6"), (0, "2024-04-01", "6")],
            None,
        )
        .unwrap();
        assert_eq!((customer.history, customer.later), (History::NEW, 1));
        assert_eq!(one(&[(0, "2024-04-01", "5")], None), None);
    }
}
