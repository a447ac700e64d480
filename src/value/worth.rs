//! What one customer is worth: the money that is still to come, discounted, and what they brought so far. Pure.
//!
//! total = -CAC + sum over periods of s (T + R - C) / (1 + d)^t, where T is what purchases bring, R what those bring whom the customer
//! refers, C what keeping them costs, and s whether they are still a customer at the end of the period. With a model of buying that
//! converged, s is the probability that they are alive, purchases are expected by the model, and periods are months; without one, and
//! with a configured retention, s is retention^t, purchases go on as they were, and periods are years. Everything falls due at the end of
//! its period; a horizon may end within one.
//!
//! Promises: what is not known is left out, told in words and lowers the coverage, and is never taken for nothing; below the floor, and
//! beyond 2^53 minor units, there is no total. Sources: Gupta and Lehmann 2003; Fader, Hardie and Lee 2005; Kumar et al. 2010.

use super::economics::Economics;
use super::fit::{FittedBuying, FittedSpending};
use super::history::{History, Spend};
use super::rules::WorthRules;
use super::score::{Scorer, Terms};
use crate::base::Instant;

/// How much of the truth each part is: the coverage is the sum over the parts that are known.
pub const WEIGHTS: Weights = Weights {
    purchases: 0.6,
    margin: 0.15,
    relationship: 0.05,
    keeping: 0.1,
    winning: 0.1,
};
pub const DAYS_A_YEAR: f64 = 365.25;
const MONTHS_A_YEAR: f64 = 12.0;
/// Amounts beyond it are not exact in every JSON reader.
const LARGEST: f64 = 9_007_199_254_740_992.0;
/// A horizon that ends so shortly behind a period ends with it.
const SLACK: f64 = 1e-9;

/// See [`WEIGHTS`].
#[derive(Clone, Copy, Debug)]
pub struct Weights {
    /// Times the share of orders whose amount is known.
    pub purchases: f64,
    pub margin: f64,
    pub relationship: f64,
    pub keeping: f64,
    pub winning: f64,
}

/// How far ahead is looked, and what waiting for a year costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asked {
    pub years: f64,
    pub annual_discount: f64,
}

/// What is known of the customer at the instant that is asked about. Times in days, money in minor units of the reporting currency.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Subject {
    /// `None`: they have bought nothing.
    pub history: Option<History>,
    /// Of repeat days; `None` without one.
    pub spend: Option<Spend>,
    /// What they paid and did not take back; `None`: no amount is known.
    pub net: Option<f64>,
    /// The share of orders whose amount is known.
    pub known: f64,
    /// Since the first order.
    pub years: f64,
    pub referrals: u64,
    /// Instant and channel of the first order.
    pub first: Option<(Instant, String)>,
}

/// What is in force. A reason stands where there is none.
#[derive(Clone, Debug)]
pub struct Models<'a> {
    pub buying: Result<&'a FittedBuying, String>,
    pub spending: Result<&'a FittedSpending, String>,
    /// `None`: nothing is published, or in another currency.
    pub economics: Option<&'a Economics>,
}

/// What the future is told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Model,
    Retention,
    None,
}

/// The answer, in minor units of the reporting currency.
#[derive(Clone, Debug, PartialEq)]
pub struct Worth {
    pub form: Form,
    /// What is to come less what winning them cost.
    pub total: Option<f64>,
    /// What they brought so far.
    pub historic: Option<f64>,
    /// What is to come: transaction + relationship - cost.
    pub predicted: Option<f64>,
    pub transaction: Option<f64>,
    pub relationship: Option<f64>,
    pub cost: Option<f64>,
    pub acquisition: Option<f64>,
    pub probability_alive: Option<f64>,
    /// Net spend on a purchase day to come.
    pub average: Option<f64>,
    pub coverage: f64,
    pub reasons: Vec<String>,
}

/// One period: its end and its length in years, what is left of money that falls due at its end, whether somebody is still a customer
/// then, and what purchases of it bring before margin, if that is known.
struct Period {
    years: f64,
    discounted: f64,
    stays: f64,
    revenue: Option<f64>,
}

/// What is still open, in words.
struct Open {
    coverage: f64,
    reasons: Vec<String>,
}

impl Open {
    /// Takes part of what is known into the coverage.
    fn known<T>(&mut self, weight: f64, part: Result<T, String>) -> Option<T> {
        match part {
            Ok(part) => {
                self.coverage += weight;
                Some(part)
            }
            Err(reason) => {
                self.doubt(reason);
                None
            }
        }
    }

    fn doubt(&mut self, reason: impl Into<String>) {
        let reason = reason.into();
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }
}

/// What a customer is worth.
pub fn worth(rules: &WorthRules, models: &Models<'_>, subject: &Subject, asked: Asked) -> Worth {
    let mut open = Open {
        coverage: 0.0,
        reasons: Vec::new(),
    };
    let (form, periods) = outlook(rules, models, subject, asked, &mut open);
    let average = average(models, subject, form, &mut open);
    let margin = open.known(
        WEIGHTS.margin,
        rules
            .margin
            .ok_or_else(|| "no margin is configured: revenue is taken for it".to_owned()),
    );
    let margin = margin.unwrap_or(1.0);
    let referred = open.known(
        WEIGHTS.relationship,
        referred_a_year(rules, models.economics, margin, subject),
    );
    let keeping = models.economics.and_then(|economics| economics.keeping);
    let keeping = open.known(
        WEIGHTS.keeping,
        keeping.ok_or_else(|| "what keeping customers costs is not known: no such spend was told".to_owned()),
    );
    let acquisition = open.known(WEIGHTS.winning, cost_of_winning(models.economics, subject));
    let discounted = |of: &dyn Fn(&Period) -> Option<f64>| -> Option<f64> {
        let sum: Option<f64> = periods.iter().map(|period| Some(of(period)? * period.discounted)).sum();
        sum.filter(|_| form != Form::None)
    };
    let mut transaction = discounted(&|period| Some(period.revenue? * margin));
    let staying = |a_year: Option<f64>| discounted(&|period| Some(a_year? * period.years * period.stays));
    let (relationship, cost) = (staying(referred), staying(keeping));
    transaction = transaction.and_then(|sum| in_range(sum, &mut open));
    if transaction.is_some() {
        open.coverage += WEIGHTS.purchases * subject.known;
        if subject.known < 1.0 {
            open.doubt("some orders have no known amount, or no exchange rate for their day");
        }
    }
    let predicted = transaction.map(|sum| sum + relationship.unwrap_or(0.0) - cost.unwrap_or(0.0));
    let covered = open.coverage + SLACK >= rules.coverage_floor;
    if predicted.is_some() && !covered {
        open.doubt(format!(
            "too little is known for a total: {:.2} of it, where {:.2} is asked for",
            open.coverage, rules.coverage_floor
        ));
    }
    let predicted = predicted.filter(|_| covered).and_then(|sum| in_range(sum, &mut open));
    let historic = historic(subject, margin, referred, keeping, acquisition, &mut open);
    Worth {
        form,
        total: predicted.and_then(|sum| in_range(sum - acquisition.unwrap_or(0.0), &mut open)),
        historic,
        predicted,
        transaction,
        relationship: relationship.and_then(|sum| in_range(sum, &mut open)),
        cost: cost.and_then(|sum| in_range(sum, &mut open)),
        acquisition,
        probability_alive: alive(models, subject),
        average,
        coverage: open.coverage.clamp(0.0, 1.0),
        reasons: open.reasons,
    }
}

/// The probability that they will buy again at some time; `None` without a model, or without a purchase.
fn alive(models: &Models<'_>, subject: &Subject) -> Option<f64> {
    let model = models.buying.as_ref().ok()?.model;
    let alive = model.probability_alive(subject.history.as_ref()?);
    (0.0..=1.0).contains(&alive).then_some(alive)
}

/// Purchase days to be expected within so many days, with the range of 90 % that the parameters leave.
pub fn purchases_within(buying: &FittedBuying, history: &History, days: f64) -> Option<(f64, Option<(f64, f64)>)> {
    let terms = Terms {
        horizon: days,
        periods: 0,
        period: 0.0,
        discount: 0.0,
        margin: 1.0,
    };
    let expected = buying.model.expected_purchases(history, days);
    if !expected.is_finite() || expected < 0.0 {
        return None;
    }
    let interval = if days > 0.0 {
        Scorer::new(Ok(buying), Err(super::fit::Unfit::NoSpend), terms)
            .interval(history)
            .ok()
    } else {
        Some((0.0, 0.0))
    };
    Some((expected, interval))
}

/// What the future is told by, and its periods.
fn outlook(rules: &WorthRules, models: &Models<'_>, subject: &Subject, asked: Asked, open: &mut Open) -> (Form, Vec<Period>) {
    let Some(history) = &subject.history else {
        open.doubt("nothing was bought");
        return (Form::None, Vec::new());
    };
    match (&models.buying, rules.annual_retention) {
        (Ok(buying), _) => (Form::Model, by_model(buying, models, subject, history, asked)),
        (Err(reason), Some(retention)) => {
            open.doubt(format!("{reason}: the configured retention is taken instead"));
            (Form::Retention, by_retention(retention, subject, asked))
        }
        (Err(reason), None) => {
            open.doubt(format!("{reason}, and no retention is configured"));
            (Form::None, Vec::new())
        }
    }
}

fn by_model(buying: &FittedBuying, models: &Models<'_>, subject: &Subject, history: &History, asked: Asked) -> Vec<Period> {
    let model = buying.model;
    // Only what lasts as long as they stay asks for it.
    let asks_who_stays = models.economics.is_some_and(|all| all.keeping.is_some() || all.referrals > 0);
    let spend = models
        .spending
        .as_ref()
        .ok()
        .and_then(|fitted| fitted.model.expected(subject.spend.as_ref()));
    let mut before = 0.0;
    ends(asked.years, MONTHS_A_YEAR)
        .map(|(from, until)| {
            let expected = model.expected_purchases(history, until * DAYS_A_YEAR);
            let purchases = expected - before;
            before = expected;
            Period {
                years: until - from,
                discounted: (1.0 + asked.annual_discount).powf(-until),
                stays: match asks_who_stays {
                    true => model.probability_alive_after(history, until * DAYS_A_YEAR),
                    false => 1.0,
                },
                revenue: spend.map(|spend| purchases * spend),
            }
        })
        .collect()
}

fn by_retention(retention: f64, subject: &Subject, asked: Asked) -> Vec<Period> {
    // Of less than a year nobody knows whether it will repeat itself: it is taken for all of the year.
    let a_year = subject.net.map(|net| net / subject.years.max(1.0));
    ends(asked.years, 1.0)
        .map(|(from, until)| {
            let stays = retention.powf(until);
            Period {
                years: until - from,
                discounted: (1.0 + asked.annual_discount).powf(-until),
                stays,
                revenue: a_year.map(|revenue| revenue * (until - from) * stays),
            }
        })
        .collect()
}

/// Begin and end of each period, so many to a year; the last may be shorter.
fn ends(years: f64, a_year: f64) -> impl Iterator<Item = (f64, f64)> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and some hundreds at most"
    )]
    let count = (years * a_year - SLACK).ceil().max(0.0) as u32;
    (0..count).map(move |i| (f64::from(i) / a_year, (f64::from(i + 1) / a_year).min(years)))
}

/// Net spend on a purchase day to come.
fn average(models: &Models<'_>, subject: &Subject, form: Form, open: &mut Open) -> Option<f64> {
    if form != Form::Model {
        return None;
    }
    match &models.spending {
        Err(reason) => {
            open.doubt(reason.clone());
            None
        }
        Ok(fitted) => {
            let expected = fitted.model.expected(subject.spend.as_ref());
            if expected.is_none() {
                open.doubt(super::Unknown::NoMeanSpend.to_string());
            }
            expected.and_then(|expected| in_range(expected, open))
        }
    }
}

/// What those bring a year whom they refer.
fn referred_a_year(rules: &WorthRules, economics: Option<&Economics>, margin: f64, subject: &Subject) -> Result<f64, String> {
    let each = referred(rules, economics, margin)?;
    Ok(subject.referrals as f64 / subject.years.max(1.0) * each)
}

/// What one is credited who brought somebody.
fn referred(rules: &WorthRules, economics: Option<&Economics>, margin: f64) -> Result<f64, String> {
    let economics = economics.ok_or_else(|| "what referrals bring is not known: no model is published".to_owned())?;
    if economics.referrals == 0 {
        return Err("what referrals bring is not known: none was ever told".to_owned());
    }
    let first_year = economics.first_year;
    let first_year =
        first_year.ok_or_else(|| "what referrals bring is not known: nobody has been a customer for a year".to_owned())?;
    Ok(first_year * margin * rules.referral_share)
}

fn cost_of_winning(economics: Option<&Economics>, subject: &Subject) -> Result<f64, String> {
    let unknown = |why: &str| format!("what winning this customer cost is not known: {why}");
    let (first, channel) = subject.first.as_ref().ok_or_else(|| unknown("nothing was bought"))?;
    let economics = economics.ok_or_else(|| unknown("no model is published"))?;
    if economics.as_of.is_some_and(|as_of| *first > as_of) {
        return Err(unknown("they came after the published models were fitted"));
    }
    let cost = economics.cost_of_winning(*first, channel);
    cost.ok_or_else(|| unknown("no spend is told of the time of their first order"))
}

/// What they brought so far: margin on what they paid, what those bring whom they referred, less what they cost.
fn historic(
    subject: &Subject,
    margin: f64,
    referred_a_year: Option<f64>,
    keeping: Option<f64>,
    acquisition: Option<f64>,
    open: &mut Open,
) -> Option<f64> {
    let Some(net) = subject.net else {
        if subject.history.is_some() {
            open.doubt("no order has a known amount");
        }
        return None;
    };
    let referrals = referred_a_year.unwrap_or(0.0) * subject.years.max(1.0);
    let kept = keeping.unwrap_or(0.0) * subject.years;
    in_range(net * margin + referrals - kept - acquisition.unwrap_or(0.0), open)
}

fn in_range(amount: f64, open: &mut Open) -> Option<f64> {
    if amount.is_finite() && amount.abs() <= LARGEST {
        Some(amount)
    } else {
        open.doubt("the number is out of range");
        None
    }
}

#[cfg(test)]
#[path = "worth_tests.rs"]
mod tests;
