//! How often a customer usually buys: what being late is measured by. Pure.

use super::days::DAY_MICROS;
use super::known::Order;
use super::metric::Basis;
use crate::base::Instant;
use std::collections::BTreeMap;

/// The usual time between two orders of a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// Never below one.
    pub micros: i64,
    pub source: RhythmSource,
}

/// Where a rhythm was taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RhythmSource {
    /// The median of the customer's own gaps.
    Own,
    /// The median of those who buy the same category most often.
    Category,
    /// The configured one.
    Default,
}

/// From so many orders on, a customer has a rhythm of their own.
const OWN_RHYTHM_ORDERS: usize = 3;

impl Rhythm {
    pub fn days(self) -> f64 {
        self.micros as f64 / DAY_MICROS as f64
    }

    /// The first instant at which so many gaps have passed since an order.
    pub fn passed(self, since: Instant, gaps: f64) -> Instant {
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates: never, then")]
        let micros = (self.micros as f64 * gaps).ceil() as i64;
        Instant::from_micros(since.micros().saturating_add(micros))
    }

    /// Days in the fewest digits: `30`, `12.5`.
    pub fn in_words(self) -> String {
        format!("{} days", (self.days() * 10.0).round() / 10.0)
    }
}

/// The usual gap of a customer at an instant: the median of their own gaps from three orders on, else that of their main category, else the
/// configured one. Orders of one day are one visit: somebody who orders three times in an hour buys no more often for it.
pub fn rhythm(basis: Basis<'_>, at: Instant) -> Rhythm {
    let orders = basis.known.orders_until(at);
    if let Some(micros) = own_gap(orders) {
        return Rhythm {
            micros,
            source: RhythmSource::Own,
        };
    }
    let of_category = || basis.published?.gap_days.get(main_category(orders)?).copied();
    let in_micros = |days: f64| {
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
        let micros = (days * DAY_MICROS as f64).round() as i64;
        micros.max(1)
    };
    match of_category() {
        Some(days) => Rhythm {
            micros: in_micros(days),
            source: RhythmSource::Category,
        },
        None => Rhythm {
            micros: in_micros(basis.rules.lifecycle.default_gap_days),
            source: RhythmSource::Default,
        },
    }
}

/// The median time between the first orders of successive days with an order; `None` below three orders, or when all lie on one day.
pub fn own_gap(orders: &[Order]) -> Option<i64> {
    if orders.len() < OWN_RHYTHM_ORDERS {
        return None;
    }
    let visits = orders.chunk_by(|one, other| one.day == other.day).map(|of_day| of_day[0].at);
    let visits: Vec<Instant> = visits.collect();
    let mut gaps: Vec<i64> = visits.windows(2).map(|pair| pair[1].micros() - pair[0].micros()).collect();
    gaps.sort_unstable();
    let middle = gaps.len() / 2;
    let median = match gaps.len() {
        0 => return None,
        even if even % 2 == 0 => gaps[middle - 1].midpoint(gaps[middle]),
        _ => gaps[middle],
    };
    Some(median.max(1))
}

/// The category that most of these orders hold; of several, the first by name.
pub fn main_category(orders: &[Order]) -> Option<&str> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for category in orders.iter().flat_map(|order| &order.categories) {
        *counts.entry(category).or_default() += 1;
    }
    let most = *counts.values().max()?;
    counts
        .into_iter()
        .find(|(_, count)| *count == most)
        .map(|(category, _)| category)
}

#[cfg(test)]
mod tests {
    use super::super::known::Known;
    use super::super::published::Published;
    use super::super::rules::ValueRules;
    use super::*;

    fn known(orders: &[(&str, &[&str])]) -> Known {
        let order = |(at, categories): &(&str, &[&str])| Order {
            at: Instant::parse(at).unwrap(),
            day: at[..10].parse().unwrap(),
            amount: None,
            refunds: Vec::new(),
            categories: categories.iter().map(|name| (*name).to_owned()).collect(),
            channel: "WEB".to_owned(),
        };
        Known {
            orders: orders.iter().map(order).collect(),
            ..Known::default()
        }
    }

    fn published() -> Published {
        Published {
            version: 1,
            as_of: Instant::from_micros(0),
            buying: None,
            spending: None,
            rfm: None,
            gap_days: [("ink".to_owned(), 45.5)].into(),
        }
    }

    fn days(known: &Known, published: Option<&Published>, at: &str) -> (f64, RhythmSource) {
        let basis = Basis {
            known,
            rules: &ValueRules::default(),
            published,
        };
        let rhythm = rhythm(basis, Instant::parse(at).unwrap());
        (rhythm.days(), rhythm.source)
    }

    #[test]
    fn the_own_median_wins_then_the_category_then_the_default() {
        let known = known(&[
            ("2026-01-01", &["ink"]),
            ("2026-01-11T12:00:00Z", &["ink", "paper"]),
            ("2026-01-31", &["paper"]),
            ("2026-02-01", &[]),
        ]);
        let published = published();
        let at = |at| days(&known, Some(&published), at);
        assert_eq!(at("2025-12-31"), (30.0, RhythmSource::Default));
        assert_eq!(at("2026-01-15"), (45.5, RhythmSource::Category));
        assert_eq!(days(&known, None, "2026-01-15"), (30.0, RhythmSource::Default));
        assert_eq!(at("2026-01-31"), (15.0, RhythmSource::Own), "10.5 and 19.5");
        assert_eq!(at("2026-03-01"), (10.5, RhythmSource::Own), "10.5, 19.5 and 1");
    }

    #[test]
    fn orders_of_one_day_are_one_visit() {
        let hurried = known(&[
            ("2026-01-01T10:00:00Z", &[]),
            ("2026-01-01T10:05:00Z", &[]),
            ("2026-01-01T11:00:00Z", &[]),
        ]);
        assert_eq!(days(&hurried, None, "2026-01-02"), (30.0, RhythmSource::Default));
        let split = known(&[("2026-01-01", &[]), ("2026-01-09", &[]), ("2026-01-09T00:01:00Z", &[])]);
        assert_eq!(days(&split, None, "2026-02-01"), (8.0, RhythmSource::Own));
    }

    #[test]
    fn the_first_of_two_main_categories_is_the_first_by_name() {
        let both = known(&[("2026-01-01", &["paper"]), ("2026-01-02", &["ink"])]);
        assert_eq!(main_category(&both.orders), Some("ink"));
        assert_eq!(main_category(&[]), None);
    }

    #[test]
    fn a_gap_has_passed_at_the_first_whole_microsecond() {
        let rhythm = Rhythm {
            micros: 3,
            source: RhythmSource::Own,
        };
        assert_eq!(rhythm.passed(Instant::from_micros(10), 2.0).micros(), 16);
        assert_eq!(rhythm.passed(Instant::from_micros(10), 0.5).micros(), 12);
        assert_eq!(rhythm.passed(Instant::from_micros(i64::MAX), 2.0).micros(), i64::MAX);
    }
}
