//! What the books of the company say besides orders: what marketing cost, and what a euro was worth.

use super::chance::Chance;
use super::company::Company;
use super::life::season;
use super::tell::{DAY, SYSTEMS, system_of};
use crate::base::money::{Currency, MoneyError};
use crate::base::{Instant, Money};
use crate::ingest::file::{RateRow, SpendRow};
use chrono::{DateTime, Datelike as _};
use entity::Channel;
use rust_decimal::Decimal;

/// The system that keeps the books.
pub const BOOKS: Channel = Channel::Crm;
/// Days of two years.
const SPAN: i64 = 730;
/// Days from one rate to the next.
/// Ten-thousandths by which a rate lies off the usual one at most.
const SWING: i64 = 300;

/// What a channel cost from one day to another of the same month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spend {
    /// Days since 1970, the last one included.
    pub first: i64,
    pub last: i64,
    pub channel: Channel,
    /// Euro cents.
    pub amount_minor: i64,
}

/// What a euro was worth on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Since 1970.
    pub day: i64,
    pub to: &'static str,
    pub rate: Decimal,
}

/// How a channel is called where its costs are booked.
pub fn channel_name(channel: Channel) -> &'static str {
    system_of(channel).key.trim_start_matches("demo-")
}

pub fn midnight(day: i64) -> Instant {
    Instant::from_micros(day * DAY * 1_000_000)
}

impl Spend {
    /// As a file of kind `spend` says it.
    pub fn row(&self) -> Result<SpendRow, MoneyError> {
        Ok(SpendRow {
            from: midnight(self.first),
            until: midnight(self.last + 1),
            channel: Some(channel_name(self.channel).to_owned()),
            campaign: None,
            bought: None,
            amount: Money {
                amount_minor: self.amount_minor,
                currency: Currency::parse("EUR")?,
            },
        })
    }
}

impl Rate {
    /// As a file of kind `rates` says it.
    pub fn row(&self) -> Result<RateRow, MoneyError> {
        Ok(RateRow {
            day: midnight(self.day),
            from: Currency::parse("EUR")?,
            to: Currency::parse(self.to)?,
            rate: self.rate.normalize(),
        })
    }
}

impl Company {
    /// What marketing cost, by month and channel, from two years ago to this month: more before the season.
    pub fn spend(&self) -> Vec<Spend> {
        let cents = |channel: Channel| match channel {
            Channel::Web => 42,
            Channel::Social => 21,
            Channel::App => 15,
            Channel::Pos => 11,
            Channel::Email => 6,
            _ => 0,
        };
        let month = |day: i64| DateTime::from_timestamp(day * DAY, 0).map(|time| (time.year(), time.month()));
        let people = i64::try_from(self.plan().people).unwrap_or(i64::MAX / 1_000_000);
        let mut rows: Vec<Spend> = Vec::new();
        let today = self.now() / DAY;
        for day in today - SPAN..=today {
            for system in SYSTEMS.iter().filter(|system| cents(system.channel) > 0) {
                // The part of this day in the month.
                let amount = people * cents(system.channel) * i64::try_from(season(day)).unwrap_or_default() / 3_000;
                let before = rows.iter_mut().rev().find(|row| row.channel == system.channel);
                match before.filter(|row| month(row.last) == month(day)) {
                    Some(row) => {
                        row.last = day;
                        row.amount_minor += amount;
                    }
                    None => rows.push(Spend {
                        first: day,
                        last: day,
                        channel: system.channel,
                        amount_minor: amount,
                    }),
                }
            }
        }
        rows
    }

    /// What a euro was worth in the currencies of the price lists, day by day.
    pub fn rates(&self) -> Vec<Rate> {
        let today = self.now() / DAY;
        let mut rates = Vec::new();
        for day in today - SPAN..=today {
            let mut chance = Chance::of(self.plan().seed, "rate", day.unsigned_abs());
            for (to, usual) in [("CNY", 78_000), ("USD", 10_900)] {
                let off = usual * chance.within(-SWING..=SWING) / 10_000;
                let rate = Decimal::new(usual + off, 4);
                rates.push(Rate { day, to, rate });
            }
        }
        rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::{Detail, Plan};
    use std::collections::HashSet;

    fn company() -> Company {
        Company::new(Plan {
            people: 400,
            seed: 1,
            until: Instant::parse("2026-06-01T12:00:00Z").expect("an instant"),
            detail: Detail::Full,
        })
    }

    #[test]
    fn every_month_of_two_years_has_its_spend() {
        let spend = company().spend();
        let months: HashSet<i64> = spend.iter().map(|row| row.first).collect();
        assert_eq!((months.len(), spend.len()), (25, 125));
        assert!(spend.iter().all(|row| row.amount_minor > 0));
        // Every day once for each channel.
        for channel in spend.iter().map(|row| row.channel).collect::<HashSet<_>>() {
            let days: i64 = spend
                .iter()
                .filter(|row| row.channel == channel)
                .map(|row| row.last - row.first + 1)
                .sum();
            assert_eq!(days, SPAN + 1);
        }
    }

    #[test]
    fn a_euro_is_worth_about_what_price_lists_say() {
        let rates = company().rates();
        assert_eq!(rates.len(), 2 * 731);
        for rate in rates {
            let usual = Decimal::new(if rate.to == "CNY" { 78 } else { 109 }, if rate.to == "CNY" { 1 } else { 2 });
            assert!((rate.rate / usual - Decimal::ONE).abs() <= Decimal::new(3, 2), "{rate:?}");
        }
    }
}
