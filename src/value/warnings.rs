//! Early warnings: late by the customer's own rhythm, falling usage, a low recommendation, a cancelled contract. Pure.
//!
//! Each is a metric of its own that holds from the exact first instant of its condition to the first at which it ends. What stands behind it
//! are figures of its beginning, which stay as they are while it lasts.

use super::days::{day_of, day_start, days_between, later};
use super::known::{Known, SubscriptionStep};
use super::metric::{Basis, Held, Metric};
use super::rhythm::rhythm;
use super::rules::ValueRules;
use crate::base::Instant;
use crate::due::Judged;
use chrono::NaiveDate;
use serde_json::{Value, json};

/// The label while a warning lasts.
pub const ON: &str = "ON";
/// Usage of so many days, up to yesterday …
const RECENT_DAYS: i64 = 28;
/// … is held against that of so many before.
const BEFORE_DAYS: i64 = 56;
/// Usage of some years ago says nothing of today.
const MOST_DAYS: i64 = 2_000;
/// A share is compared in millionths, in whole numbers: a threshold is met or it is not.
const MILLION: f64 = 1e6;

/// What is warned of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EarlyWarning {
    /// No order for so many of their usual gaps as make a decline.
    Gap,
    /// They use what they bought much less than before.
    Usage,
    /// They would not recommend us.
    Recommendation,
    /// They cancelled their subscription, and did not start it again.
    Contract,
}

/// Usage events in two spans of whole days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Of the 28 days up to yesterday.
    pub recent: i64,
    /// Of the 56 days before those.
    pub before: i64,
}

impl EarlyWarning {
    pub const ALL: [Self; 4] = [Self::Gap, Self::Usage, Self::Recommendation, Self::Contract];

    /// The warning of a metric; `None`: it is none.
    pub fn of_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|warning| warning.key() == key)
    }

    fn judge(self, basis: Basis<'_>, at: Instant) -> Judged<Option<Value>> {
        match self {
            Self::Gap => gap(basis, at),
            Self::Usage => usage_drop(basis, at),
            Self::Recommendation => recommendation(basis, at),
            Self::Contract => contract(basis, at),
        }
    }
}

impl Metric for EarlyWarning {
    fn key(&self) -> &'static str {
        match self {
            Self::Gap => "warning.gap",
            Self::Usage => "warning.usage",
            Self::Recommendation => "warning.recommendation",
            Self::Contract => "warning.contract",
        }
    }

    fn evaluate(&self, basis: Basis<'_>, at: Instant) -> Judged<Option<Held>> {
        let Judged { value, next } = self.judge(basis, at);
        let held = value.map(|detail| Held {
            value: ON.to_owned(),
            detail,
            by_model: false,
        });
        Judged { value: held, next }
    }
}

fn gap(basis: Basis<'_>, at: Instant) -> Judged<Option<Value>> {
    let orders = basis.known.orders_until(at);
    let next_order = basis.known.orders.get(orders.len()).map(|order| order.at);
    let Some(last) = orders.last() else {
        return Judged {
            value: None,
            next: next_order,
        };
    };
    let rhythm = rhythm(basis, at);
    let begins = rhythm.passed(last.at, basis.rules.lifecycle.decline_gap_factor);
    if begins > at {
        return Judged {
            value: None,
            next: next_order.into_iter().chain([begins]).min(),
        };
    }
    let detail = json!({"lastOrderAt": last.at.to_string(), "usualGapDays": tenths(rhythm.days())});
    Judged {
        value: Some(detail),
        next: next_order,
    }
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

impl Usage {
    /// On a day; `None`: no events are configured that are usage, or there were none in either span.
    pub fn on(basis: Basis<'_>, day: NaiveDate) -> Option<Self> {
        let usage = UsageDays::around(basis, day)?.usage(day);
        (usage.recent > 0 || usage.before > 0).then_some(usage)
    }

    /// The part by which it fell, per day; below zero where it rose, `None` where there was nothing to fall from.
    pub fn drop(self) -> Option<f64> {
        let fell = |usage: Self| 1.0 - (usage.recent * BEFORE_DAYS) as f64 / (usage.before * RECENT_DAYS) as f64;
        (self.before > 0).then(|| fell(self))
    }

    /// Whether it fell by as much as is warned of.
    pub fn has_dropped(self, rules: &ValueRules) -> bool {
        #[expect(clippy::cast_possible_truncation, reason = "a share of one")]
        let left = (MILLION - (rules.churn.usage_drop * MILLION).round()) as i128;
        let [recent, before] = [self.recent * BEFORE_DAYS, self.before * RECENT_DAYS].map(i128::from);
        before > 0 && recent * 1_000_000 <= left * before
    }
}

/// Usage by day around one day.
struct UsageDays {
    /// The first day with usage.
    first: NaiveDate,
    /// The last one.
    last: NaiveDate,
    /// How often before each day from the first on, and before the day after the last.
    sums: Vec<i64>,
}

impl UsageDays {
    /// `None`: no events are configured that are usage, or there are none since some years before the day.
    fn around(basis: Basis<'_>, day: NaiveDate) -> Option<Self> {
        let names = &basis.rules.churn.usage_events;
        let near = later(day, -MOST_DAYS)..;
        let all = || {
            names
                .iter()
                .filter_map(|name| basis.known.activity.get(name))
                .flat_map(|days| days.range(near.clone()))
        };
        let (first, last) = (*all().map(|(day, _)| day).min()?, *all().map(|(day, _)| day).max()?);
        let place = |day: NaiveDate| usize::try_from(days_between(first, day)).expect("not before the first");
        let mut sums = vec![0; place(last) + 2];
        for (day, count) in all() {
            sums[place(*day) + 1] += count;
        }
        for at in 1..sums.len() {
            sums[at] += sums[at - 1];
        }
        Some(Self { first, last, sums })
    }

    /// How often before a day.
    fn before(&self, day: NaiveDate) -> i64 {
        let place = usize::try_from(days_between(self.first, day)).unwrap_or(0);
        self.sums[place.min(self.sums.len() - 1)]
    }

    fn usage(&self, day: NaiveDate) -> Usage {
        let middle = self.before(later(day, -RECENT_DAYS));
        Usage {
            recent: self.before(day) - middle,
            before: middle - self.before(later(day, -RECENT_DAYS - BEFORE_DAYS)),
        }
    }

    /// The last day on which either span holds anything.
    fn end(&self) -> NaiveDate {
        later(self.last, RECENT_DAYS + BEFORE_DAYS)
    }
}

fn usage_drop(basis: Basis<'_>, at: Instant) -> Judged<Option<Value>> {
    let zone = basis.rules.zone;
    let today = day_of(zone, at);
    let Some(days) = UsageDays::around(basis, today) else {
        return Judged { value: None, next: None };
    };
    let dropped = |day: NaiveDate| days.usage(day).has_dropped(basis.rules);
    let is_on = dropped(today);
    let mut changes = later(today, 1);
    // One day behind the end there is nothing to have fallen from.
    while changes <= later(days.end(), 1) && dropped(changes) == is_on {
        changes = later(changes, 1);
    }
    let mut since = today;
    while is_on && dropped(later(since, -1)) {
        since = later(since, -1);
    }
    let usage = days.usage(since);
    let detail = json!({"day": since.to_string(), "last28Days": usage.recent, "before56Days": usage.before});
    Judged {
        value: is_on.then_some(detail),
        next: (changes <= later(days.end(), 1)).then(|| day_start(zone, changes)),
    }
}

/// What comes of the latest of dated things, and when the next comes.
fn latest<T: Copy>(things: &[(Instant, T)], at: Instant) -> (Option<(Instant, T)>, Option<Instant>) {
    let behind = things.partition_point(|(when, _)| *when <= at);
    let last = behind.checked_sub(1).map(|place| things[place]);
    (last, things.get(behind).map(|(when, _)| *when))
}

/// The last answer to a survey on recommendation, 0 to 10.
pub fn last_recommendation(known: &Known, at: Instant) -> Option<(Instant, i64)> {
    latest(&known.recommendations, at).0
}

fn recommendation(basis: Basis<'_>, at: Instant) -> Judged<Option<Value>> {
    let (last, next) = latest(&basis.known.recommendations, at);
    let low = last.filter(|(_, score)| *score <= basis.rules.churn.low_recommendation);
    Judged {
        value: low.map(|(when, score)| json!({"answeredAt": when.to_string(), "score": score})),
        next,
    }
}

/// When the subscription was cancelled; `None`: there is none, or it goes on.
pub fn cancelled_at(known: &Known, at: Instant) -> Option<Instant> {
    let (last, _) = latest(&known.subscriptions, at);
    let cancelled = last.filter(|(_, step)| *step == SubscriptionStep::Cancelled);
    cancelled.map(|(when, _)| when)
}

fn contract(basis: Basis<'_>, at: Instant) -> Judged<Option<Value>> {
    let (_, next) = latest(&basis.known.subscriptions, at);
    let cancelled = cancelled_at(basis.known, at);
    Judged {
        value: cancelled.map(|when| json!({"cancelledAt": when.to_string()})),
        next,
    }
}

#[cfg(test)]
#[path = "warnings_tests.rs"]
mod tests;
