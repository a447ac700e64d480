//! Held against each metric: that it tells the same however often somebody looks, and that it names every instant at which it changes.

use super::known::{Known, Order, Returned};
use super::metric::{Basis, Held, Metric};
use crate::base::Instant;
use crate::due::{Judged, Measure, catch_up};
use chrono_tz::Tz;

pub(super) const HOUR: i64 = 3_600_000_000;

struct Followed<'b>(&'b dyn Metric, Basis<'b>);

impl Measure for Followed<'_> {
    type Facts = ();
    type Value = Option<Held>;

    fn evaluate(&self, (): &(), at: Instant) -> Judged<Option<Held>> {
        self.0.evaluate(self.1, at)
    }
}

pub(super) fn at(text: &str) -> Instant {
    Instant::parse(text).unwrap()
}

/// An order of so many minor units at an instant, the day being that of the zone.
pub(super) fn order(zone: Tz, when: Instant, amount: Option<i64>) -> Order {
    Order {
        at: when,
        day: super::days::day_of(zone, when),
        amount,
        refunds: Vec::new(),
        categories: Vec::new(),
        channel: "WEB".to_owned(),
    }
}

pub(super) fn refund(zone: Tz, when: Instant, amount: i64) -> Returned {
    Returned {
        at: when,
        day: super::days::day_of(zone, when),
        amount,
    }
}

/// Orders of ten units each.
pub(super) fn bought(zone: Tz, when: &[&str]) -> Known {
    Known {
        orders: when.iter().map(|when| order(zone, at(when), Some(1_000))).collect(),
        ..Known::default()
    }
}

/// Every change from one instant to another, with the instant.
pub(super) fn changes(metric: &dyn Metric, basis: Basis<'_>, from: Instant, until: Instant) -> Vec<(Instant, Option<Held>)> {
    catch_up(&Followed(metric, basis), &(), &None, from, until).unwrap().changes
}

/// The same, labels only.
pub(super) fn labels(metric: &dyn Metric, basis: Basis<'_>, from: &str, until: &str) -> Vec<(String, String)> {
    let changes = changes(metric, basis, at(from), at(until)).into_iter();
    changes
        .map(|(at, held)| (at.to_string(), held.map_or_else(|| "-".to_owned(), |held| held.value)))
        .collect()
}

/// That looks at other instants tell what one look tells, and that asking every seven hours finds no change that was not named.
pub(super) fn assert_same_whatever_the_looks(metric: &dyn Metric, basis: Basis<'_>, span: (Instant, Instant), seed: i64) {
    let (from, until) = span;
    let whole = changes(metric, basis, from, until);
    let (mut told, mut due, mut held, mut now) = (Vec::new(), from, None, from);
    let mut step = seed;
    while now < until {
        step = (step * 1_103_515_245 + 12_345).rem_euclid(1 << 31);
        now = Instant::from_micros(now.micros() + 1 + (step % 900) * HOUR).min(until);
        if due > now {
            continue;
        }
        let caught_up = catch_up(&Followed(metric, basis), &(), &held, due, now).unwrap();
        held = caught_up.changes.last().map_or(held, |(_, value)| value.clone());
        told.extend(caught_up.changes);
        due = caught_up.next.unwrap_or(Instant::from_micros(i64::MAX));
    }
    assert_eq!(told, whole, "{} with seed {seed}", metric.key());

    let holds = |at: Instant| {
        whole
            .iter()
            .rev()
            .find(|(from, _)| *from <= at)
            .and_then(|(_, held)| held.clone())
    };
    let mut hour = from;
    while hour < until {
        assert_eq!(
            metric.evaluate(basis, hour).value,
            holds(hour),
            "{} at {hour}, seed {seed}",
            metric.key()
        );
        hour = Instant::from_micros(hour.micros() + 7 * HOUR);
    }
    for (change, held) in &whole {
        assert_eq!(metric.evaluate(basis, *change).value, *held);
        let before = Instant::from_micros(change.micros() - 1);
        if before >= from {
            assert_ne!(
                metric.evaluate(basis, before).value,
                *held,
                "{} changed before {change}",
                metric.key()
            );
        }
    }
}
