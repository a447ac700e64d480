//! How likely somebody is to stay away: the probability of no purchase within their horizon, its band, and what speaks for it. Pure.
//!
//! The horizon is 30 days, or the 90th percentile of the customer's own gaps where that is longer. Somebody who is alive buys at a rate that
//! is gamma distributed with shape r + x and rate alpha + T after what was seen, and stops only right after a purchase. So
//! P = 1 - P(alive) (1 - ((alpha + T) / (alpha + T + H))^(r + x)), under BG/NBD and MBG/NBD alike. It rises from day to day until the next
//! purchase: a band is left upwards by time alone, downwards by a purchase. Age counts whole days of the deployment's zone.

use super::buying::Buying;
use super::days::{day_of, day_start, days_between, later};
use super::facts::Facts;
use super::history::History;
use super::known::Order;
use super::metric::{Basis, Held, Metric};
use super::rhythm::{Rhythm, RhythmSource, rhythm};
use super::rules::ChurnRules;
use super::warnings::{Usage, cancelled_at, last_recommendation};
use crate::base::Instant;
use crate::due::Judged;
use chrono::NaiveDate;
use serde_json::json;

/// Nobody is said to stay away for less.
const LEAST_HORIZON_DAYS: i64 = 30;
/// Bands are looked for so far ahead: two centuries.
const MOST_DAYS: i64 = 73_000;
/// Orders of so many days are held against those of as many before.
const FREQUENCY_DAYS: i64 = 90;
/// From this share of money given back on it is a reason.
const MANY_RETURNS: f64 = 0.2;
/// Nobody reads more.
const MOST_REASONS: usize = 5;

/// What is to be feared of a customer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Churn {
    /// Of no purchase within the horizon, which begins now.
    pub probability: f64,
    pub horizon_days: i64,
    pub band: ChurnBand,
}

/// Bands of the probability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChurnBand {
    Low,
    Medium,
    High,
}

/// Why it cannot be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoChurn {
    #[error("no model of buying is published")]
    NoModel,
    #[error("the published model of buying did not converge")]
    NotConverged,
    #[error("nothing was bought since the data begin")]
    NothingBought,
}

impl ChurnBand {
    pub const ALL: [Self; 3] = [Self::Low, Self::Medium, Self::High];

    /// The label of the history, as the enum of the schema says it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Low => "LOW",
            Self::Medium => "MEDIUM",
            Self::High => "HIGH",
        }
    }

    /// `None`: no band has this label.
    pub fn of_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|band| band.label() == label)
    }

    fn of(probability: f64, rules: &ChurnRules) -> Self {
        if probability >= rules.high_from {
            Self::High
        } else if probability >= rules.medium_from {
            Self::Medium
        } else {
            Self::Low
        }
    }
}

/// The probability of no purchase within `horizon` after the end of the observation.
pub fn no_purchase_within(model: &Buying, history: &History, horizon: f64) -> f64 {
    let shape = model.r + f64::from(history.repeats());
    let buys_if_alive = -(-shape * (horizon / (model.alpha + history.age())).ln_1p()).exp_m1();
    1.0 - model.probability_alive(history) * buys_if_alive
}

/// A horizon in days: the 90th percentile of the gaps between days with an order, or 30 days where that is longer. The percentile is the
/// shortest gap that is no shorter than nine of ten.
fn horizon_days(orders: &[Order]) -> i64 {
    let mut days: Vec<NaiveDate> = orders.iter().map(|order| order.day).collect();
    days.dedup();
    let mut gaps: Vec<i64> = days.windows(2).map(|pair| days_between(pair[0], pair[1])).collect();
    gaps.sort_unstable();
    let rank = (gaps.len() * 9).div_ceil(10);
    let percentile = rank.checked_sub(1).map_or(0, |place| gaps[place]);
    percentile.max(LEAST_HORIZON_DAYS)
}

/// What a customer's band is read from on any day until the next order.
struct Outlook<'a> {
    model: Buying,
    rules: &'a ChurnRules,
    repeats: u32,
    recency: f64,
    first: NaiveDate,
    horizon_days: i64,
}

impl<'a> Outlook<'a> {
    fn new(basis: Basis<'a>, at: Instant) -> Result<Self, NoChurn> {
        let fitted = basis
            .published
            .and_then(|published| published.buying.as_ref())
            .ok_or(NoChurn::NoModel)?;
        if !fitted.fit.converged {
            return Err(NoChurn::NotConverged);
        }
        let days = Facts::of(basis.known, basis.rules, at).days;
        let history = days.history(day_of(basis.rules.zone, at)).ok_or(NoChurn::NothingBought)?;
        Ok(Self {
            model: fitted.model,
            rules: &basis.rules.churn,
            repeats: history.repeats(),
            recency: history.recency(),
            first: days.first.ok_or(NoChurn::NothingBought)?,
            horizon_days: horizon_days(basis.known.orders_until(at)),
        })
    }

    fn on(&self, day: NaiveDate) -> Churn {
        let [age, horizon] = [days_between(self.first, day), self.horizon_days].map(|days| days as f64);
        let history = History::new(self.repeats, self.recency, age).expect("days go on from a history");
        let probability = no_purchase_within(&self.model, &history, horizon).clamp(0.0, 1.0);
        Churn {
            probability,
            horizon_days: self.horizon_days,
            band: ChurnBand::of(probability, self.rules),
        }
    }

    /// The first day behind `today` on which the band is another: the probability only rises.
    fn leaves_band(&self, today: NaiveDate) -> Option<NaiveDate> {
        let band = self.on(today).band;
        let (mut same, mut other) = (0, MOST_DAYS);
        if self.on(later(today, other)).band == band {
            return None;
        }
        while other - same > 1 {
            let middle = i64::midpoint(same, other);
            if self.on(later(today, middle)).band == band {
                same = middle;
            } else {
                other = middle;
            }
        }
        Some(later(today, other))
    }
}

/// At an instant; what is not known has a reason.
pub fn churn(basis: Basis<'_>, at: Instant) -> Result<Churn, NoChurn> {
    Ok(Outlook::new(basis, at)?.on(day_of(basis.rules.zone, at)))
}

/// What speaks for it, in words with figures: the strongest first, five at most.
pub fn reasons(basis: Basis<'_>, at: Instant) -> Vec<String> {
    let all = [
        rhythm_reason(basis, at),
        frequency_reason(basis.known.orders_until(at), basis, at),
        usage_reason(basis, at),
        returns_reason(basis, at),
        recommendation_reason(basis, at),
        contract_reason(basis, at),
        one_time_reason(basis, at),
    ];
    let mut found: Vec<(f64, String)> = all.into_iter().flatten().collect();
    found.sort_by(|one, other| other.0.total_cmp(&one.0));
    found.into_iter().take(MOST_REASONS).map(|(_, words)| words).collect()
}

/// A weight and the words; the weights order what is said and mean nothing else.
type Reason = Option<(f64, String)>;

fn rhythm_reason(basis: Basis<'_>, at: Instant) -> Reason {
    let last = basis.known.orders_until(at).last()?;
    let rhythm = rhythm(basis, at);
    let since = Rhythm {
        micros: at.micros() - last.at.micros(),
        ..rhythm
    };
    let gaps = since.days() / rhythm.days();
    let whose = match rhythm.source {
        RhythmSource::Own => "their usual gap",
        RhythmSource::Category => "the usual gap of their main category",
        RhythmSource::Default => "the usual gap",
    };
    let words = || {
        let times = (gaps * 10.0).round() / 10.0;
        format!(
            "no order for {}, {times} times {whose} of {}",
            since.in_words(),
            rhythm.in_words()
        )
    };
    (gaps >= 1.0).then(|| ((gaps / 2.0).min(3.0), words()))
}

fn frequency_reason(orders: &[Order], basis: Basis<'_>, at: Instant) -> Reason {
    let today = day_of(basis.rules.zone, at);
    let (middle, begin) = (later(today, -FREQUENCY_DAYS), later(today, -2 * FREQUENCY_DAYS));
    let recent = orders.iter().filter(|order| order.day > middle).count();
    let before = orders.iter().filter(|order| order.day > begin && order.day <= middle).count();
    let fell = |recent: usize, before: usize| 1.0 - recent as f64 / before as f64;
    let words = || {
        let s = if recent == 1 { "" } else { "s" };
        format!("{recent} order{s} in the last {FREQUENCY_DAYS} days, {before} in the {FREQUENCY_DAYS} before")
    };
    (recent < before).then(|| (fell(recent, before), words()))
}

fn usage_reason(basis: Basis<'_>, at: Instant) -> Reason {
    let usage = Usage::on(basis, day_of(basis.rules.zone, at))?;
    let fell = usage.drop().filter(|_| usage.has_dropped(basis.rules))?;
    let words = format!(
        "usage fell by {:.0} % per day: {} in the last 28 days, {} in the 56 before",
        fell * 100.0,
        usage.recent,
        usage.before
    );
    Some((1.2 * fell, words))
}

fn returns_reason(basis: Basis<'_>, at: Instant) -> Reason {
    let facts = Facts::of(basis.known, basis.rules, at);
    let share = facts.refunds as f64 / facts.revenue as f64;
    let is_many = facts.revenue > 0 && share >= MANY_RETURNS;
    is_many.then(|| (share, format!("{:.0} % of what they paid was given back", share * 100.0)))
}

fn recommendation_reason(basis: Basis<'_>, at: Instant) -> Reason {
    let (_, score) = last_recommendation(basis.known, at)?;
    let is_low = score <= basis.rules.churn.low_recommendation;
    is_low.then(|| {
        (
            1.0,
            format!("they answered {score} of 10 when last asked whether they recommend us"),
        )
    })
}

fn contract_reason(basis: Basis<'_>, at: Instant) -> Reason {
    let day = day_of(basis.rules.zone, cancelled_at(basis.known, at)?);
    Some((
        2.0,
        format!("they cancelled their subscription on {day} and did not start it again"),
    ))
}

fn one_time_reason(basis: Basis<'_>, at: Instant) -> Reason {
    let mut days: Vec<NaiveDate> = basis.known.orders_until(at).iter().map(|order| order.day).collect();
    days.dedup();
    let only = <[NaiveDate; 1]>::try_from(days).ok()?;
    Some((0.4, format!("they bought on one day only, {}", only[0])))
}

/// The band.
#[derive(Clone, Copy, Debug)]
pub struct ChurnMetric;

impl Metric for ChurnMetric {
    fn key(&self) -> &'static str {
        "churn"
    }

    fn evaluate(&self, basis: Basis<'_>, at: Instant) -> Judged<Option<Held>> {
        let orders = basis.known.orders_until(at).len();
        let next_order = basis.known.orders.get(orders).map(|order| order.at);
        let outlook = match Outlook::new(basis, at) {
            Ok(outlook) => outlook,
            Err(NoChurn::NothingBought) => {
                return Judged {
                    value: None,
                    next: next_order,
                };
            }
            Err(NoChurn::NoModel | NoChurn::NotConverged) => return Judged { value: None, next: None },
        };
        let zone = basis.rules.zone;
        let today = day_of(zone, at);
        let leaves = outlook.leaves_band(today).map(|day| day_start(zone, day));
        Judged {
            value: Some(Held {
                value: outlook.on(today).band.label().to_owned(),
                detail: json!({}),
                by_model: true,
            }),
            next: leaves.into_iter().chain(next_order).min(),
        }
    }
}

#[cfg(test)]
#[path = "churn_tests.rs"]
mod tests;
