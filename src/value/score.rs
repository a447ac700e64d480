//! One customer under the fitted models: alive or not, what is to be expected, what it is worth.
//!
//! Promises: an answer or a reason, never a guess. Where a model did not converge, nothing is predicted with it.

use super::buying::Buying;
use super::fit::{FittedBuying, FittedSpending, Unfit};
use super::history::{History, Spend};
use std::collections::HashMap;

/// What is asked about everybody. Times in the unit of the histories.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// How far ahead purchases are expected.
    pub horizon: f64,
    /// The lifetime value is the sum over so many periods of so long, paid at the end of each.
    pub periods: u32,
    pub period: f64,
    /// What waiting for one period costs: 0.01 is one per cent.
    pub discount: f64,
    /// The part of spend that is earned.
    pub margin: f64,
}

/// What is known of a customer's future. Money is in the unit of the spends.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    pub p_alive: Result<f64, Unknown>,
    /// Purchase days within the horizon.
    pub expected_purchases: Result<f64, Unknown>,
    /// Spend on a purchase day to come.
    pub expected_spend: Result<f64, Unknown>,
    /// Discounted margin on the purchases of all periods.
    pub clv: Result<f64, Unknown>,
}

impl Score {
    /// The numbers under the names that files give them.
    pub fn columns(&self) -> [(&'static str, Result<f64, Unknown>); 4] {
        [
            ("p_alive", self.p_alive),
            ("expected_purchases", self.expected_purchases),
            ("expected_spend", self.expected_spend),
            ("clv", self.clv),
        ]
    }
}

/// Why a number cannot be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    #[error("no model of buying: {0}")]
    NoBuying(Unfit),
    #[error("the model of buying did not converge")]
    BuyingNotConverged,
    #[error("no model of spending: {0}")]
    NoSpending(Unfit),
    #[error("the model of spending did not converge")]
    SpendingNotConverged,
    #[error("spend has no mean over customers, and this one has no repeat purchase to go by")]
    NoMeanSpend,
    #[error("the number is out of range")]
    OutOfRange,
}

/// Expected values of somebody alive: purchases in the horizon, and the discounted sum over the periods.
type Outlook = (f64, f64);

/// Scores many customers. Remembers what it has worked out for each number of repeats and each age.
#[derive(Debug)]
pub struct Scorer<'a> {
    buying: Result<&'a FittedBuying, Unknown>,
    spending: Result<&'a FittedSpending, Unknown>,
    terms: Terms,
    known: HashMap<(u32, u64), Outlook>,
}

/// With customers who are all of another age, remembering is of no use: it stops at this many.
const MOST_KNOWN: usize = 1 << 20;
/// Half the width of an interval of 90 %, in standard errors.
const NINETY_PERCENT: f64 = 1.644_853_626_951_472_7;

impl<'a> Scorer<'a> {
    pub fn new(buying: Result<&'a FittedBuying, Unfit>, spending: Result<&'a FittedSpending, Unfit>, terms: Terms) -> Self {
        let buying = buying.map_err(Unknown::NoBuying).and_then(|fitted| {
            if fitted.fit.converged {
                Ok(fitted)
            } else {
                Err(Unknown::BuyingNotConverged)
            }
        });
        let spending = spending.map_err(Unknown::NoSpending).and_then(|fitted| {
            if fitted.fit.converged {
                Ok(fitted)
            } else {
                Err(Unknown::SpendingNotConverged)
            }
        });
        Self {
            buying,
            spending,
            terms,
            known: HashMap::new(),
        }
    }

    pub fn score(&mut self, history: &History, spend: Option<&Spend>) -> Score {
        let expected_spend = self
            .spending
            .and_then(|fitted| fitted.model.expected(spend).ok_or(Unknown::NoMeanSpend))
            .and_then(in_range);
        let model = match self.buying {
            Ok(fitted) => fitted.model,
            Err(unknown) => {
                return Score {
                    p_alive: Err(unknown),
                    expected_purchases: Err(unknown),
                    expected_spend,
                    clv: Err(unknown),
                };
            }
        };
        let alive = model.probability_alive(history);
        let (purchases, discounted) = self.outlook(&model, history);
        Score {
            p_alive: in_range(alive),
            expected_purchases: in_range(alive * purchases),
            expected_spend,
            clv: expected_spend.and_then(|spend| in_range(alive * discounted * spend * self.terms.margin)),
        }
    }

    /// The range of the expected purchases that the uncertainty of the parameters leaves, at 90 %. It is about the expectation, not about
    /// the purchases themselves, which vary by chance as well. By the delta method on the logarithm, so it is never below zero.
    pub fn interval(&self, history: &History) -> Result<(f64, f64), Unknown> {
        const STEP: f64 = 1e-4;
        let fitted = self.buying?;
        let covariance = fitted.fit.log_covariance.ok_or(Unknown::BuyingNotConverged)?;
        let expected = |parameters| Buying::new(fitted.model.family, parameters).expected_purchases(history, self.terms.horizon);
        let parameters = fitted.model.parameters();
        let slopes: [f64; 4] = std::array::from_fn(|i| {
            let moved = |by: f64| {
                let mut moved = parameters;
                moved[i] *= by.exp();
                expected(moved).ln()
            };
            (moved(STEP) - moved(-STEP)) / (2.0 * STEP)
        });
        let mut variance = 0.0;
        for i in 0..4 {
            for j in 0..4 {
                variance += slopes[i] * covariance[i][j] * slopes[j];
            }
        }
        let (middle, factor) = (expected(parameters), (NINETY_PERCENT * variance.max(0.0).sqrt()).exp());
        Ok((in_range(middle / factor)?, in_range(middle * factor)?))
    }

    fn outlook(&mut self, model: &Buying, history: &History) -> Outlook {
        let key = (history.repeats(), history.age().to_bits());
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let expected = |horizon| model.expected_if_alive(history.repeats(), history.age(), horizon);
        let (mut sum, mut before, mut worth) = (0.0, 0.0, 1.0);
        for period in 1..=self.terms.periods {
            let until = expected(self.terms.period * f64::from(period));
            worth /= 1.0 + self.terms.discount;
            sum += (until - before) * worth;
            before = until;
        }
        let outlook = (expected(self.terms.horizon), sum);
        if self.known.len() < MOST_KNOWN {
            self.known.insert(key, outlook);
        }
        outlook
    }
}

fn in_range(number: f64) -> Result<f64, Unknown> {
    if number.is_finite() && number >= 0.0 {
        Ok(number)
    } else {
        Err(Unknown::OutOfRange)
    }
}
