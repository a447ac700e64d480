//! Where a customer stands in the life cycle: POTENTIAL until the first order, GROWTH, MATURE when they buy often enough for long enough and
//! no less than before, DECLINE when they are late by their own rhythm or end their contract. Pure.
//!
//! Read top down, and each threshold holds from its exact instant on. A contract that ended declines them until they order again, since
//! whoever buys has come back. What was ordered or given back for an amount that nobody named is unknown and not zero: MATURE is said only
//! where the ratio of revenue holds whatever the amount was, and where it is not said for that alone, `detail.revenue` is UNKNOWN. With no
//! revenue in the earlier window (or less than none) nothing has fallen, unless the later one is below zero.

use super::days::DAY_MICROS;
use super::known::SubscriptionStep;
use super::metric::{Basis, Held, Metric};
use super::rhythm::{Rhythm, RhythmSource, rhythm};
use crate::base::Instant;
use crate::due::Judged;
use serde_json::{Map, Value, json};

pub const KEY: &str = "lifecycle";

/// The stages, as rules and reports compare them.
pub const POTENTIAL: &str = "POTENTIAL";
pub const GROWTH: &str = "GROWTH";
pub const MATURE: &str = "MATURE";
pub const DECLINE: &str = "DECLINE";
/// The sub-stage of DECLINE.
pub const LOST: &str = "LOST";

/// The windows whose revenue is compared: these days, and as many before.
const WINDOW_MICROS: i64 = 90 * DAY_MICROS;

/// The stage of the life cycle.
#[derive(Clone, Copy, Debug)]
pub struct Lifecycle;

impl Metric for Lifecycle {
    fn key(&self) -> &'static str {
        KEY
    }

    fn otherwise(&self) -> Option<&'static str> {
        Some(POTENTIAL)
    }

    fn evaluate(&self, basis: Basis<'_>, at: Instant) -> Judged<Option<Held>> {
        let next_fact = next_fact(basis, at);
        let Some(looking) = Looking::new(basis, at) else {
            return Judged {
                value: None,
                next: next_fact,
            };
        };
        let stage = looking.stage(at);
        let passing = looking.instants(at);
        // Up to the next fact, which is looked at by itself.
        let mut passing = passing
            .into_iter()
            .take_while(|then| next_fact.is_none_or(|fact| *then < fact));
        let next = passing.find(|then| looking.stage(*then) != stage);
        Judged {
            value: Some(held(stage, looking.rhythm.source == RhythmSource::Category)),
            next: next.or(next_fact),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Whether they would be mature if an unknown amount were high or low enough.
    Growth {
        revenue_unknown: bool,
    },
    Mature,
    Decline {
        lost: bool,
    },
}

fn held(stage: Stage, by_model: bool) -> Held {
    let (value, lost) = match stage {
        Stage::Growth { .. } => (GROWTH, false),
        Stage::Mature => (MATURE, false),
        Stage::Decline { lost } => (DECLINE, lost),
    };
    let mut detail = Map::from_iter([("subStage".to_owned(), lost.then_some(LOST).into())]);
    if stage == (Stage::Growth { revenue_unknown: true }) {
        detail.insert("revenue".to_owned(), json!("UNKNOWN"));
    }
    Held {
        value: value.to_owned(),
        detail: Value::Object(detail),
        by_model,
    }
}

/// The next thing that is known and has not happened yet.
fn next_fact(basis: Basis<'_>, at: Instant) -> Option<Instant> {
    let orders = basis.known.orders.iter().map(|order| order.at);
    let refunds = basis
        .known
        .orders
        .iter()
        .flat_map(|order| &order.refunds)
        .map(|refund| refund.at);
    let steps = basis.known.subscriptions.iter().map(|(step, _)| *step);
    orders.chain(refunds).chain(steps).filter(|fact| *fact > at).min()
}

/// A customer who has ordered, at an instant and from then on as long as nothing else happens.
struct Looking<'b> {
    basis: Basis<'b>,
    orders: usize,
    first: Instant,
    last: Instant,
    rhythm: Rhythm,
    contract_ended: bool,
    /// Empty unless it is asked about.
    revenue: Revenue,
}

impl<'b> Looking<'b> {
    /// `None`: nothing is ordered yet.
    fn new(basis: Basis<'b>, at: Instant) -> Option<Self> {
        let orders = basis.known.orders_until(at);
        let (first, last) = (orders.first()?.at, orders.last()?.at);
        let mut steps = basis.known.subscriptions.iter().filter(|(step, _)| *step <= at);
        let ended = steps.next_back().filter(|(_, step)| *step == SubscriptionStep::Cancelled);
        let is_asked = basis.rules.lifecycle.mature_min_revenue_ratio.is_some();
        Some(Self {
            basis,
            orders: orders.len(),
            first,
            last,
            rhythm: rhythm(basis, at),
            contract_ended: ended.is_some_and(|(ended, _)| *ended >= last),
            revenue: if is_asked {
                Revenue::until(basis, at)
            } else {
                Revenue::default()
            },
        })
    }

    /// The instants after this one at which the passing of time may change the stage, in order.
    fn instants(&self, at: Instant) -> Vec<Instant> {
        let rules = &self.basis.rules.lifecycle;
        let mut instants = vec![
            self.rhythm.passed(self.last, rules.decline_gap_factor),
            self.rhythm.passed(self.last, rules.lost_gap_factor),
            self.tenured_at(),
        ];
        for entry in &self.revenue.entries {
            instants.push(shifted(entry.at, WINDOW_MICROS));
            instants.push(shifted(entry.at, 2 * WINDOW_MICROS));
        }
        instants.retain(|then| *then > at);
        instants.sort_unstable();
        instants.dedup();
        instants
    }

    fn tenured_at(&self) -> Instant {
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates: never, then")]
        let micros = (self.basis.rules.lifecycle.mature_min_tenure_days * DAY_MICROS as f64).ceil() as i64;
        shifted(self.first, micros)
    }

    fn stage(&self, at: Instant) -> Stage {
        let rules = &self.basis.rules.lifecycle;
        let lost = at >= self.rhythm.passed(self.last, rules.lost_gap_factor);
        if self.contract_ended || at >= self.rhythm.passed(self.last, rules.decline_gap_factor) {
            return Stage::Decline { lost };
        }
        if self.orders < rules.mature_min_orders || at < self.tenured_at() {
            return Stage::Growth { revenue_unknown: false };
        }
        match rules.mature_min_revenue_ratio.map(|ratio| self.revenue.holds(ratio, at)) {
            None | Some(Some(true)) => Stage::Mature,
            Some(Some(false)) => Stage::Growth { revenue_unknown: false },
            Some(None) => Stage::Growth { revenue_unknown: true },
        }
    }
}

/// What came and went in the two windows before an instant, and in those of all later ones.
#[derive(Debug, Default)]
struct Revenue {
    /// In the order of their instants.
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: Instant,
    /// Below zero: given back. `None`: it came, and nobody named how much.
    amount: Option<i64>,
    /// Of this entry and all before it.
    sum: Sum,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    minor: i128,
    unknown: usize,
}

impl Revenue {
    fn until(basis: Basis<'_>, at: Instant) -> Self {
        let from = shifted(at, -2 * WINDOW_MICROS);
        let entry = |at, amount| Entry {
            at,
            amount,
            sum: Sum::default(),
        };
        let orders = basis.known.orders_until(at).iter();
        let mut entries: Vec<Entry> = orders
            .flat_map(|order| {
                let refunds = order.refunds.iter().map(move |refund| entry(refund.at, Some(-refund.amount)));
                std::iter::once(entry(order.at, order.amount)).chain(refunds)
            })
            .filter(|entry| entry.at > from && entry.at <= at)
            .collect();
        entries.sort_by_key(|entry| entry.at);
        let mut sum = Sum::default();
        for entry in &mut entries {
            sum.minor += i128::from(entry.amount.unwrap_or(0));
            sum.unknown += usize::from(entry.amount.is_none());
            entry.sum = sum;
        }
        Self { entries }
    }

    /// Of everything up to an instant.
    fn sum_until(&self, at: Instant) -> Sum {
        let count = self.entries.partition_point(|entry| entry.at <= at);
        count.checked_sub(1).map_or_else(Sum::default, |last| self.entries[last].sum)
    }

    /// Whether the revenue of the last 90 days is at least this part of that of the 90 days before; `None`: that depends on amounts that
    /// nobody named.
    fn holds(&self, ratio: f64, at: Instant) -> Option<bool> {
        let (now, middle) = (self.sum_until(at), self.sum_until(shifted(at, -WINDOW_MICROS)));
        let before = self.sum_until(shifted(at, -2 * WINDOW_MICROS));
        let (late, early) = (now.minor - middle.minor, middle.minor - before.minor);
        let (late_unknown, early_unknown) = (now.unknown > middle.unknown, middle.unknown > before.unknown);
        // Exact: the ratio as it is written down, in parts of a thousand million.
        #[expect(clippy::cast_possible_truncation, reason = "a ratio is small")]
        let parts = i128::from((ratio * 1e9).round() as i64);
        let is_enough = late * 1_000_000_000 >= parts * early.max(0);
        // What nobody named was more than nothing, wherever it came.
        match (is_enough, late_unknown, early_unknown && parts > 0) {
            (_, false, false) | (true, true, false) | (false, false, true) => Some(is_enough),
            _ => None,
        }
    }
}

fn shifted(at: Instant, micros: i64) -> Instant {
    Instant::from_micros(at.micros().saturating_add(micros))
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
