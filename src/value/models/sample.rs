//! What a fit needs of all customers, gathered page by page, and the fit. Pure.
//!
//! Of each customer some numbers remain, and equal histories are counted and not kept, so that memory does not grow with what was bought.
//! Whoever bought before the data begin is scored and cut by, and not fitted to.

use crate::base::Instant;
use crate::base::money::Currency;
use crate::value::backtest::{Accuracy, Foretold, accuracy, naive_rate};
use crate::value::economics::{Economics, Everybody, Spent};
use crate::value::facts::{Facts, median};
use crate::value::fit::{FittedBuying, FittedSpending, Unfit, fit_spending, fit_tally, likeliest};
use crate::value::history::{History, Spend};
use crate::value::known::{Known, Order};
use crate::value::published::RfmCuts;
use crate::value::rhythm::{main_category, own_gap};
use crate::value::rules::ValueRules;
use crate::value::{Family, Tally, rfm};
use chrono::NaiveDate;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What is asked of a fit.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// Purchases after it are not looked at.
    pub as_of: Instant,
    /// The last day of the first part of the time, for the back-test; `None`: there is none.
    pub calibration_end: Option<NaiveDate>,
    /// The model of buying to choose; `None`: the likelier one.
    pub family: Option<Family>,
}

/// What remains of the customers so far.
#[derive(Debug)]
pub struct Sample {
    rules: Arc<ValueRules>,
    terms: Terms,
    today: NaiveDate,
    whole: Tally,
    spends: Vec<Spend>,
    first_part: Tally,
    /// Histories up to the end of the calibration and purchase days behind it, with the number of customers.
    held_out: HashMap<(u32, u64, u64, u32), usize>,
    /// Days since the last purchase, purchase days, net revenue.
    population: Vec<(i64, i64, i128)>,
    gaps: BTreeMap<String, Vec<f64>>,
    everybody: Everybody,
    began_before: u64,
    unpriced: u64,
}

/// Which model of buying values are computed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen {
    Family(Family),
    /// None converged, or there was too little to fit.
    None,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub terms: Terms,
    /// Of the amounts; `None`: nobody has bought anything.
    pub currency: Option<Currency>,
    /// Customers who bought something.
    pub buyers: usize,
    pub buying: Result<Vec<FittedBuying>, Unfit>,
    pub chosen: Chosen,
    pub spending: Result<FittedSpending, Unfit>,
    pub rfm: Option<RfmCuts>,
    pub gap_days: BTreeMap<String, f64>,
    pub economics: Economics,
    pub backtest: Result<BackTest, String>,
    /// About the purchases as a whole, in words.
    pub warnings: Vec<String>,
}

/// Predictions from the first part of the time, held against the rest.
#[derive(Clone, Debug, PartialEq)]
pub struct BackTest {
    pub calibration_end: NaiveDate,
    /// Length of the rest.
    pub days: f64,
    pub models: Vec<(FittedBuying, Option<Accuracy>)>,
    /// The same at everybody's own rate until then.
    pub naive: Option<Accuracy>,
}

const DAYS_A_YEAR: i64 = 365;
const MICROS_A_DAY: i64 = 86_400_000_000;

impl Sample {
    pub fn new(rules: Arc<ValueRules>, terms: Terms) -> Self {
        Self {
            today: rules.day(terms.as_of),
            rules,
            terms,
            whole: Tally::default(),
            spends: Vec::new(),
            first_part: Tally::default(),
            held_out: HashMap::new(),
            population: Vec::new(),
            gaps: BTreeMap::new(),
            everybody: Everybody::default(),
            began_before: 0,
            unpriced: 0,
        }
    }

    /// Takes in one customer. Nothing of one who had not bought anything by then, but whom they had brought.
    pub fn add(&mut self, known: &Known) {
        let as_of = self.terms.as_of;
        let facts = Facts::of(known, &self.rules, as_of);
        self.everybody.referrals += u64::try_from(facts.referrals).unwrap_or(0);
        self.unpriced += u64::try_from(facts.orders - facts.priced).unwrap_or(0);
        let orders = known.orders_until(as_of);
        let Some(first) = orders.first() else { return };
        self.everybody.came(first.at, &first.channel);
        self.add_gap(orders);
        if let Some(last) = facts.days.last {
            let recency = (self.today - last).num_days();
            self.population.push((recency, facts.days.count, facts.net()));
        }
        if facts.days.began_before {
            self.began_before += 1;
        } else {
            self.add_first_year(orders);
        }
        let Some(history) = facts.days.history(self.today) else {
            return;
        };
        let fitted_to = !facts.days.began_before;
        if fitted_to {
            self.whole.add(&history);
            self.spends.extend(facts.days.spend());
        }
        let Some(end) = self.terms.calibration_end else { return };
        let then = Facts::of(known, &self.rules, Instant::from_micros(self.rules.end(end).micros() - 1));
        let Some(history) = then.days.history(end) else { return };
        if fitted_to {
            self.first_part.add(&history);
        }
        let later = u32::try_from(facts.days.count - then.days.count).unwrap_or(0);
        let key = (history.repeats(), history.recency().to_bits(), history.age().to_bits(), later);
        *self.held_out.entry(key).or_insert(0) += 1;
    }

    fn add_gap(&mut self, orders: &[Order]) {
        if let (Some(micros), Some(category)) = (own_gap(orders), main_category(orders)) {
            let gaps = self.gaps.entry(category.to_owned()).or_default();
            gaps.push(micros as f64 / MICROS_A_DAY as f64);
        }
    }

    /// Of a first year that is over, and whose amounts are all known.
    fn add_first_year(&mut self, orders: &[Order]) {
        let Some(first) = orders.first() else { return };
        let end = Instant::from_micros(first.at.micros().saturating_add(DAYS_A_YEAR * MICROS_A_DAY));
        if end > self.terms.as_of {
            return;
        }
        let within = orders.iter().take_while(|order| order.at < end);
        let net: Option<i128> = within
            .map(|order| Some(i128::from(order.amount? - order.given_back(end))))
            .sum();
        if let Some(net) = net {
            self.everybody.first_years.0 += net as f64;
            self.everybody.first_years.1 += 1;
        }
    }

    /// Fits everything. Takes its time: some seconds for a million customers.
    pub fn fit(self, currency: Option<Currency>, spent: &[Spent]) -> Found {
        let buying = fit_tally(&self.whole);
        let chosen = choose(&buying, self.terms.family);
        let mut warnings = Vec::new();
        let mut warn = |count: u64, what: &str| {
            if count > 0 {
                warnings.push(format!("{count} {what}"));
            }
        };
        warn(
            self.began_before,
            "customers bought before the data begin: they are scored, and not fitted to",
        );
        warn(
            self.unpriced,
            "orders have no known amount, or no exchange rate for their day: models of spending leave them out",
        );
        let backtest = self.backtest();
        Found {
            buyers: self.population.len(),
            spending: fit_spending(&self.spends),
            gap_days: self
                .gaps
                .into_iter()
                .filter_map(|(category, gaps)| Some((category, median(gaps)?)))
                .collect(),
            economics: Economics::of(&self.everybody, spent, self.terms.as_of),
            rfm: rfm::cuts(self.population.into_iter()),
            buying,
            chosen,
            currency,
            backtest,
            warnings,
            terms: self.terms,
        }
    }

    fn backtest(&self) -> Result<BackTest, String> {
        let end = self.terms.calibration_end;
        let end = end.ok_or_else(|| "no time lies between the first purchase and now".to_owned())?;
        let days = (self.today - end).num_days() as f64;
        if days <= 0.0 {
            return Err("no day lies behind the end of the calibration".to_owned());
        }
        let fits = fit_tally(&self.first_part).map_err(|unfit| format!("of the first part of the time: {unfit}"))?;
        let told = |predict: &dyn Fn(&History) -> f64| {
            let mut foretold = Vec::with_capacity(self.held_out.values().sum());
            let mut groups: Vec<_> = self.held_out.iter().collect();
            // In one order, so that sums come out the same to the last digit.
            groups.sort_unstable();
            for ((repeats, recency, age, later), count) in groups {
                let history = History::new(*repeats, f64::from_bits(*recency), f64::from_bits(*age)).expect("it was one");
                let one = Foretold {
                    repeats: *repeats,
                    predicted: predict(&history),
                    actual: f64::from(*later),
                };
                foretold.extend(std::iter::repeat_n(one, *count));
            }
            accuracy(&foretold)
        };
        let models = fits.into_iter().map(|fitted| {
            let converged = fitted.fit.converged;
            let found = converged.then(|| told(&|history| fitted.model.expected_purchases(history, days)));
            (fitted, found.flatten())
        });
        Ok(BackTest {
            calibration_end: end,
            days,
            models: models.collect(),
            naive: told(&|history| naive_rate(history, days)),
        })
    }
}

fn choose(buying: &Result<Vec<FittedBuying>, Unfit>, family: Option<Family>) -> Chosen {
    let fits = buying.iter().flatten();
    let allowed = fits.filter(|fitted| family.is_none_or(|family| fitted.model.family == family));
    likeliest(allowed).map_or(Chosen::None, |fitted| Chosen::Family(fitted.model.family))
}

#[cfg(test)]
#[path = "sample_tests.rs"]
mod tests;
