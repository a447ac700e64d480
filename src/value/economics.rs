//! What it costs to win customers and to keep them, and what one brings in a first year: sums over everybody, taken once when models are
//! fitted, so that asking for one customer costs nothing more. Pure.
//!
//! What money bought says what it is. Words of keeping (service, support, retention, loyalty …) make it a cost of everybody who was a
//! customer in that time: all of it over the years that all of them were customers. Words of winning (acquisition, advertising, clicks …),
//! and none at all, make it a cost of those whose first order lies in its time; where it names a channel of our sources, of those who
//! came by that channel. What it bought otherwise is in neither, and told as a warning.

use crate::base::Instant;
use std::collections::BTreeMap;

/// Words that make money a cost of keeping customers, in the languages that files are read in.
const KEEPING: &[&str] = &[
    "retention",
    "retain",
    "keep",
    "loyalty",
    "service",
    "support",
    "care",
    "renewal",
    "win-back",
    "winback",
    "win back",
    "bindung",
    "betreuung",
    "服务",
    "留存",
    "维护",
    "客服",
];
/// Words that make it a cost of winning them.
const WINNING: &[&str] = &[
    "acqui",
    "advert",
    "ads",
    "ad ",
    "marketing",
    "media",
    "click",
    "impression",
    "lead",
    "prospect",
    "install",
    "awareness",
    "search",
    "akquise",
    "werbung",
    "neukunden",
    "获客",
    "广告",
    "推广",
    "拉新",
];
/// Channels of sources. Money that names another was spent on everybody who came.
const CHANNELS: &[&str] = &[
    "WEB",
    "APP",
    "POS",
    "CRM",
    "EMAIL",
    "CALL_CENTRE",
    "SOCIAL",
    "IMPORT",
    "OTHER",
];
/// Longer lists of costs of winning are no use: the oldest go.
const MOST_WINNING: usize = 20_000;
const MICROS_A_DAY: i64 = 86_400_000_000;
const DAYS_A_YEAR: f64 = 365.25;

/// Money spent, in minor units of the reporting currency.
#[derive(Clone, Debug, PartialEq)]
pub struct Spent {
    pub from: Instant,
    /// Behind the last instant.
    pub until: Instant,
    pub channel: Option<String>,
    pub bought: Option<String>,
    /// `None`: there is no rate for its first day.
    pub amount: Option<i64>,
}

/// What all customers together say, as far as money needs it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Everybody {
    /// First orders by day (days since 1970, UTC) and channel.
    pub newcomers: BTreeMap<(i64, String), u64>,
    /// Net revenue of first years that are over, in minor units, and how many there are.
    pub first_years: (f64, u64),
    /// Times that anybody brought somebody.
    pub referrals: u64,
}

/// The sums.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Economics {
    /// Mean net revenue of a customer's first year, in minor units; `None`: nobody has been one for a year.
    pub first_year: Option<f64>,
    /// Times that anybody brought somebody; while it is 0, nobody tells of it.
    pub referrals: u64,
    /// What keeping a customer costs a year, in minor units; `None`: no such cost was told.
    pub keeping: Option<f64>,
    /// What was spent on winning customers, in the order of time.
    pub winning: Vec<Winning>,
    /// Up to here first orders were counted.
    pub as_of: Option<Instant>,
    pub warnings: Vec<String>,
}

/// Money spent on customers whose first order lies in a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Winning {
    pub from: Instant,
    pub until: Instant,
    /// `None`: on everybody.
    pub channel: Option<String>,
    /// For each of those who came.
    pub each: f64,
}

/// What money is a cost of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Winning,
    Keeping,
    Neither,
}

fn purpose(bought: Option<&str>) -> Purpose {
    let bought = bought.unwrap_or_default().trim().to_lowercase();
    // Padded, so that a word may be asked for as a whole.
    let padded = format!("{bought} ");
    let says = |words: &[&str]| words.iter().any(|word| padded.contains(word));
    if bought.is_empty() {
        Purpose::Winning
    } else if says(KEEPING) {
        Purpose::Keeping
    } else if says(WINNING) {
        Purpose::Winning
    } else {
        Purpose::Neither
    }
}

fn channel_of_sources(channel: Option<&str>) -> Option<String> {
    let name = channel?.trim().to_uppercase().replace([' ', '-'], "_");
    CHANNELS.contains(&name.as_str()).then_some(name)
}

fn day(at: Instant) -> i64 {
    at.micros().div_euclid(MICROS_A_DAY)
}

impl Everybody {
    pub fn came(&mut self, first: Instant, channel: &str) {
        *self.newcomers.entry((day(first), channel.to_owned())).or_insert(0) += 1;
    }

    /// How many came in whole days.
    fn came_within(&self, from: Instant, until: Instant, channel: Option<&str>) -> u64 {
        let days = (day(from), String::new())..(day(until), String::new());
        let came = self.newcomers.range(days);
        came.filter(|((_, by), _)| channel.is_none_or(|channel| channel == by))
            .map(|(_, count)| count)
            .sum()
    }

    /// Years that all of them together were customers in a time.
    fn years_within(&self, from: Instant, until: Instant) -> f64 {
        let (from, until) = (day(from), day(until));
        let came = self.newcomers.iter().take_while(|((came, _), _)| *came < until);
        let days: f64 = came
            .map(|((came, _), count)| *count as f64 * (until - (*came).max(from)) as f64)
            .sum();
        days / DAYS_A_YEAR
    }
}

impl Economics {
    /// Takes the sums as of an instant: what is not over by then is left out.
    pub fn of(everybody: &Everybody, spent: &[Spent], as_of: Instant) -> Self {
        let mut found = Self {
            first_year: (everybody.first_years.1 > 0).then(|| everybody.first_years.0 / everybody.first_years.1 as f64),
            referrals: everybody.referrals,
            as_of: Some(as_of),
            ..Self::default()
        };
        let (over, later): (Vec<&Spent>, Vec<&Spent>) = spent.iter().partition(|row| row.until <= as_of);
        let (known, unknown): (Vec<&Spent>, Vec<&Spent>) = over.into_iter().partition(|row| row.amount.is_some());
        let of = |wanted: Purpose| {
            known
                .iter()
                .copied()
                .filter(move |row| purpose(row.bought.as_deref()) == wanted)
        };
        let other = of(Purpose::Neither).count();
        let mut warn = |count: usize, what: &str| {
            if count > 0 {
                found.warnings.push(format!("{count} {what}"));
            }
        };
        warn(later.len(), "rows of spend are not over yet: they are in no cost");
        warn(
            unknown.len(),
            "rows of spend have no exchange rate for their first day: they are in no cost",
        );
        warn(
            other,
            "rows of spend bought neither new customers nor the keeping of old ones: they are in no cost",
        );
        found.keeping = keeping(everybody, of(Purpose::Keeping));
        let (winning, nobody_came) = winning(everybody, of(Purpose::Winning));
        warn(
            nobody_came,
            "times and channels of spend brought nobody: they are in nobody's cost",
        );
        found.winning = winning;
        if found.winning.len() > MOST_WINNING {
            let oldest = found.winning.len() - MOST_WINNING;
            found.winning.drain(..oldest);
            found.warnings.push(format!("the {oldest} oldest rows of spend are left out"));
        }
        found
    }

    /// What winning somebody cost who first ordered then and by that channel; `None`: no spend is known of then.
    pub fn cost_of_winning(&self, first: Instant, channel: &str) -> Option<f64> {
        let begun = self.winning.partition_point(|row| row.from <= first);
        let there = self.winning[..begun].iter().filter(|row| {
            let theirs = row.channel.as_deref().is_none_or(|by| by == channel);
            first < row.until && theirs
        });
        let mut there = there.peekable();
        there.peek()?;
        Some(there.map(|row| row.each).sum())
    }
}

fn keeping<'a>(everybody: &Everybody, rows: impl Iterator<Item = &'a Spent> + Clone) -> Option<f64> {
    let from = rows.clone().map(|row| row.from).min()?;
    let until = rows.clone().map(|row| row.until).max()?;
    let spent: f64 = rows.filter_map(|row| row.amount).map(|amount| amount as f64).sum();
    let years = everybody.years_within(from, until);
    (years > 0.0).then(|| spent / years)
}

/// Also how many times and channels brought nobody.
fn winning<'a>(everybody: &Everybody, rows: impl Iterator<Item = &'a Spent>) -> (Vec<Winning>, usize) {
    let mut sums: BTreeMap<(Instant, Instant, Option<String>), f64> = BTreeMap::new();
    for row in rows {
        let key = (row.from, row.until, channel_of_sources(row.channel.as_deref()));
        *sums.entry(key).or_insert(0.0) += row.amount.unwrap_or_default() as f64;
    }
    let mut found = Vec::new();
    let mut nobody_came = 0;
    for ((from, until, channel), sum) in sums {
        match everybody.came_within(from, until, channel.as_deref()) {
            0 => nobody_came += 1,
            came => found.push(Winning {
                from,
                until,
                channel,
                each: sum / came as f64,
            }),
        }
    }
    (found, nobody_came)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: i64) -> Instant {
        Instant::from_micros(day * MICROS_A_DAY)
    }

    fn spent(from: i64, until: i64, channel: Option<&str>, bought: Option<&str>, amount: i64) -> Spent {
        Spent {
            from: at(from),
            until: at(until),
            channel: channel.map(str::to_owned),
            bought: bought.map(str::to_owned),
            amount: Some(amount),
        }
    }

    fn everybody(came: &[(i64, &str)]) -> Everybody {
        let mut everybody = Everybody::default();
        for (day, channel) in came {
            everybody.came(at(*day), channel);
        }
        everybody
    }

    #[test]
    fn winning_is_paid_by_those_who_came_then_and_by_that_channel() {
        let everybody = everybody(&[(0, "WEB"), (9, "WEB"), (9, "POS"), (10, "WEB")]);
        let rows = [
            spent(0, 10, Some("web"), Some("Clicks"), 100),
            spent(0, 10, Some("google ads"), None, 30),
            spent(10, 20, Some("Call centre"), None, 7),
            spent(10, 30, None, None, 1_000_000),
        ];
        let found = Economics::of(&everybody, &rows, at(20));
        assert_eq!(found.cost_of_winning(at(0), "WEB"), Some(50.0 + 10.0));
        assert_eq!(
            found.cost_of_winning(at(9), "POS"),
            Some(10.0),
            "what names no channel of ours is everybody's"
        );
        assert_eq!(
            found.cost_of_winning(at(10), "WEB"),
            None,
            "nothing that is over is known of then"
        );
        assert_eq!(found.warnings.len(), 2, "{:?}", found.warnings);
        assert!(found.warnings[0].starts_with("1 rows of spend are not over"));
        assert!(found.warnings[1].starts_with("1 times and channels"));
    }

    #[test]
    fn keeping_is_paid_by_the_years_of_everybody() {
        // Two customers for all of the time, one for its second half.
        let everybody = everybody(&[(-50, "WEB"), (0, "WEB"), (50, "POS"), (100, "POS")]);
        let rows = [
            spent(0, 50, None, Some("customer service"), 300),
            spent(50, 100, Some("web"), Some("Loyalty programme"), 200),
            spent(0, 100, None, Some("rent"), 9_999),
        ];
        let found = Economics::of(&everybody, &rows, at(100));
        let years = 250.0 / 365.25;
        assert!((found.keeping.unwrap() - 500.0 / years).abs() < 1e-9);
        assert_eq!(found.winning, []);
        assert!(found.warnings[0].starts_with("1 rows of spend bought neither"));
    }

    #[test]
    fn without_customers_or_spend_nothing_is_known() {
        let nobody = Economics::of(&Everybody::default(), &[spent(0, 9, None, Some("service"), 5)], at(10));
        assert_eq!(
            (nobody.keeping, nobody.first_year, nobody.cost_of_winning(at(1), "WEB")),
            (None, None, None)
        );
        let unpriced = Spent {
            amount: None,
            ..spent(0, 9, None, None, 0)
        };
        let found = Economics::of(&everybody(&[(1, "WEB")]), &[unpriced], at(10));
        assert_eq!(found.cost_of_winning(at(1), "WEB"), None, "unknown is not zero");
    }
}
