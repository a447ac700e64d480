//! Customers as the models think of them: a cohort that first buys within twelve weeks and is watched for 39 in all, with the parameters
//! that the CDNOW data are fitted by. Days are whole and purchases of one day one, as in real data.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rand_distr::{Beta, Distribution as _, Exp1, Gamma};
use tributary::value::{History, Spend};

/// Purchase rates in weeks, probabilities to stop, spend.
const RATE: (f64, f64) = (0.2426, 4.4136);
const STOP: (f64, f64) = (0.7929, 2.4259);
const SPEND: (f64, f64, f64) = (6.25, 3.744, 15.44);
const COHORT_DAYS: u32 = 84;
const WATCHED_DAYS: u32 = 273;
const DAYS_A_WEEK: f64 = 7.0;

/// A customer, with repeat purchases and days from the first to the last and to the end.
#[derive(Clone, Copy, Debug)]
pub struct Customer {
    pub repeats: u32,
    pub recency_days: u32,
    pub age_days: u32,
    /// Mean of the repeat days; 0 without.
    pub monetary: f64,
}

/// The same every time.
pub fn customers(count: usize) -> Vec<Customer> {
    let mut random = StdRng::seed_from_u64(20_261_122);
    (0..count).map(|_| customer(&mut random)).collect()
}

pub fn histories(customers: &[Customer]) -> Vec<History> {
    let weeks = |days: u32| f64::from(days) / DAYS_A_WEEK;
    let history = |of: &Customer| History::new(of.repeats, weeks(of.recency_days), weeks(of.age_days)).unwrap();
    customers.iter().map(history).collect()
}

/// Of those with a repeat purchase.
pub fn spends(customers: &[Customer]) -> Vec<Spend> {
    customers
        .iter()
        .filter_map(|of| Spend::new(of.repeats, of.monetary).ok())
        .collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "days up to the end of the watch"
)]
fn customer(random: &mut StdRng) -> Customer {
    let rate = Gamma::new(RATE.0, 1.0 / RATE.1).unwrap().sample(random);
    let stop = Beta::new(STOP.0, STOP.1).unwrap().sample(random);
    let age_days = WATCHED_DAYS - 1 - random.random_range(0..COHORT_DAYS);
    let (mut at, mut repeats, mut recency_days) = (0.0, 0, 0);
    loop {
        let gap: f64 = Exp1.sample(random);
        at += gap / rate * DAYS_A_WEEK;
        if at >= f64::from(age_days) + 1.0 {
            break;
        }
        let day = at as u32;
        if day > recency_days {
            (repeats, recency_days) = (repeats + 1, day);
        }
        if random.random::<f64>() < stop {
            break;
        }
    }
    Customer {
        repeats,
        recency_days,
        age_days,
        monetary: monetary(random, repeats),
    }
}

fn monetary(random: &mut StdRng, repeats: u32) -> f64 {
    if repeats == 0 {
        return 0.0;
    }
    let (p, q, v) = SPEND;
    let rate: f64 = Gamma::new(q, 1.0 / v).unwrap().sample(random);
    let total: f64 = Gamma::new(p * f64::from(repeats), 1.0 / rate).unwrap().sample(random);
    total / f64::from(repeats)
}
