//! Facts of a customer at an instant: what they bought, gave back, and did besides, as far as it had happened by then. Pure.
//!
//! A refund counts on its own instant for revenue. For the models of buying and spending purchases of one day are one purchase, and a
//! refund lowers the day of its purchase. What has no amount in the reporting currency is in no sum, and lowers the coverage.

use super::history::{History, Spend};
use super::known::{Known, Order};
use super::rules::ValueRules;
use crate::base::Instant;
use chrono::NaiveDate;
use std::collections::BTreeMap;

const MICROS_PER_DAY: f64 = 86_400e6;

/// What had happened up to an instant. Money is in minor units of the reporting currency.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Orders that were placed.
    pub orders: i64,
    /// Of these, those whose amount is known.
    pub priced: i64,
    /// Of these, those that were given back entirely.
    pub returned: i64,
    /// Before refunds. Sums of 64-bit amounts need more than 64 bits.
    pub revenue: i128,
    pub refunds: i128,
    pub first_at: Option<Instant>,
    pub last_at: Option<Instant>,
    /// Median of `gap_days`; `None` with orders on fewer than two days.
    pub cadence_days: Option<f64>,
    /// In how many orders each category was; the most frequent first, equals by name.
    pub categories: Vec<(String, i64)>,
    /// Through which channel how many orders came, in the same order.
    pub channels: Vec<(String, i64)>,
    pub referrals: i64,
    pub reviews: i64,
    pub days: PurchaseDays,
}

/// What the models of buying and spending know of somebody: the days on which they bought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PurchaseDays {
    /// Since `ValueRules::data_from`, where that is set; so the other fields.
    pub count: i64,
    pub first: Option<NaiveDate>,
    pub last: Option<NaiveDate>,
    /// Days behind the first whose purchases brought something after refunds.
    pub earning: i64,
    /// Days behind the first whose purchases brought nothing or less.
    pub barren: i64,
    /// What the earning days brought together; stops at 64 bits.
    pub spend: i64,
    /// Bought before the data begin: nobody knows since when.
    pub began_before: bool,
}

impl Facts {
    /// What had happened up to `at`, `at` included.
    pub fn of(known: &Known, rules: &ValueRules, at: Instant) -> Self {
        let orders = known.orders_until(at);
        let mut facts = Self {
            orders: count(orders.len()),
            first_at: orders.first().map(|order| order.at),
            last_at: orders.last().map(|order| order.at),
            cadence_days: median(gap_days(orders)),
            referrals: count(known.referrals.iter().filter(|when| **when <= at).count()),
            reviews: count(known.reviews.iter().filter(|when| **when <= at).count()),
            days: PurchaseDays::of(orders, rules.data_from, at),
            ..Self::default()
        };
        let (mut categories, mut channels) = (BTreeMap::new(), BTreeMap::new());
        for order in orders {
            for category in &order.categories {
                *categories.entry(category.as_str()).or_default() += 1;
            }
            *channels.entry(order.channel.as_str()).or_default() += 1;
            let Some(amount) = order.amount else { continue };
            let back = order.given_back(at);
            facts.priced += 1;
            facts.revenue += i128::from(amount);
            facts.refunds += i128::from(back);
            facts.returned += i64::from(amount > 0 && back == amount);
        }
        facts.categories = most_frequent_first(categories);
        facts.channels = most_frequent_first(channels);
        facts
    }

    /// What was paid and not given back.
    pub fn net(&self) -> i128 {
        self.revenue - self.refunds
    }

    /// The share of orders whose amount is known, 0 to 1; `None` without orders.
    pub fn coverage(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "no customer has 2^52 orders")]
        let share = self.priced as f64 / self.orders as f64;
        (self.orders > 0).then_some(share)
    }
}

impl PurchaseDays {
    /// `orders` ascend, and were all placed by `at`.
    fn of(orders: &[Order], data_from: Option<NaiveDate>, at: Instant) -> Self {
        let mut found = Self::default();
        // An amount below nothing buys nothing: it is somebody's credit note.
        let buys = |order: &Order| order.amount.is_none_or(|amount| amount >= 0);
        let mut by_day: BTreeMap<NaiveDate, Vec<&Order>> = BTreeMap::new();
        for order in orders {
            by_day.entry(order.day).or_default().push(order);
        }
        for (day, of_day) in by_day {
            if !of_day.iter().any(|order| buys(order)) {
                continue;
            }
            if data_from.is_some_and(|from| day < from) {
                found.began_before = true;
                continue;
            }
            found.count += 1;
            found.last = Some(day);
            if found.first.is_none() {
                found.first = Some(day);
                continue;
            }
            // A part of what a day brought is not what it brought.
            let net: Option<i128> = of_day
                .iter()
                .map(|order| Some(i128::from(order.amount? - order.given_back(at))))
                .sum();
            match net {
                None => {}
                Some(net) if net > 0 => {
                    found.earning += 1;
                    found.spend = found.spend.saturating_add(i64::try_from(net).unwrap_or(i64::MAX));
                }
                Some(_) => found.barren += 1,
            }
        }
        found
    }

    /// As the models take it, in days up to `today`; `None`: no purchase since the data begin, or none before that day.
    pub fn history(&self, today: NaiveDate) -> Option<History> {
        let (first, last) = (self.first?, self.last?);
        #[expect(clippy::cast_precision_loss, reason = "a calendar has fewer days")]
        let days = |until: NaiveDate| (until - first).num_days() as f64;
        let repeats = u32::try_from(self.count - 1).ok()?;
        History::new(repeats, days(last), days(today)).ok()
    }

    /// Mean spend of the days behind the first, in minor units; `None`: there is none of which it is known.
    pub fn spend(&self) -> Option<Spend> {
        let days = u32::try_from(self.earning).ok()?;
        if days == 0 {
            return Spend::new(u32::try_from(self.barren).ok()?, 0.0).ok();
        }
        #[expect(clippy::cast_precision_loss, reason = "a mean for models, which compute in such numbers")]
        let mean = self.spend as f64 / f64::from(days);
        Spend::new(days, mean).ok()
    }
}

impl Order {
    /// What was given back by an instant.
    pub fn given_back(&self, at: Instant) -> i64 {
        let back = self.refunds.iter().filter(|refund| refund.at <= at);
        back.map(|refund| refund.amount).sum()
    }
}

/// Elapsed days between an order and the next one of a later day. `orders` ascend.
pub fn gap_days(orders: &[Order]) -> Vec<f64> {
    let mut gaps = Vec::new();
    let mut last: Option<&Order> = None;
    for order in orders {
        match last {
            Some(before) if before.day == order.day => continue,
            #[expect(
                clippy::cast_precision_loss,
                reason = "microseconds of ten thousand years lose less than one of them"
            )]
            Some(before) => gaps.push((order.at.micros() - before.at.micros()) as f64 / MICROS_PER_DAY),
            None => {}
        }
        last = Some(order);
    }
    gaps
}

/// The middle one, or the mean of the two in the middle; `None` of nothing.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    match values.len() % 2 {
        1 => Some(upper),
        _ => Some(f64::midpoint(values[middle - 1], upper)),
    }
}

fn count(many: usize) -> i64 {
    i64::try_from(many).unwrap_or(i64::MAX)
}

fn most_frequent_first(counted: BTreeMap<&str, i64>) -> Vec<(String, i64)> {
    let mut all: Vec<(String, i64)> = counted.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
    all.sort_by_key(|(_, count)| -count);
    all
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
