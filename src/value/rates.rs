//! Amounts in the reporting currency, by the rate of a day: exactly, with one rounding, half away from zero, at the minor unit.
//!
//! The rate from the one currency to the other goes first; without it the inverse of the opposite rate. Without either the amount is
//! unknown, and so is one beyond 2^53 minor units, which not every reader of JSON holds exactly, and no model.

use crate::base::Money;
use crate::base::money::Currency;
use crate::store::{Rows, StoreError};
use chrono::NaiveDate;
use rust_decimal::Decimal;
use sea_orm::{ConnectionTrait, Statement};
use std::collections::{BTreeSet, HashMap};

/// The largest amount of an order that is taken for one.
const MOST: u64 = 1 << 53;

/// Rates into one currency.
#[derive(Clone, Debug)]
pub struct Rates {
    to: Option<Currency>,
    direct: HashMap<(Currency, NaiveDate), Decimal>,
    /// One of the reporting currency in another.
    opposite: HashMap<(Currency, NaiveDate), Decimal>,
}

impl Rates {
    /// Reads the rates of these currencies and days; no statement where all is in the one currency already.
    pub async fn load(
        db: &impl ConnectionTrait,
        to: Option<&Currency>,
        needed: impl IntoIterator<Item = (Currency, NaiveDate)>,
    ) -> Result<Self, StoreError> {
        let mut rates = Self {
            to: to.cloned(),
            direct: HashMap::new(),
            opposite: HashMap::new(),
        };
        let Some(to) = to else { return Ok(rates) };
        let needed: BTreeSet<(Currency, NaiveDate)> = needed.into_iter().filter(|(from, _)| from != to).collect();
        if needed.is_empty() {
            return Ok(rates);
        }
        let backend = db.get_database_backend();
        let both = || needed.iter().flat_map(|(from, day)| [(from, to, *day), (to, from, *day)]);
        let (relation, values) = Rows::new()
            .text("from_currency", both().map(|(from, ..)| from.code().to_owned()))
            .text("to_currency", both().map(|(_, to, _)| to.code().to_owned()))
            .int("day", both().map(|(.., day)| midnight(day)))
            .relation(backend);
        // Leans on the key of exchange_rate.
        let sql = format!(
            "SELECT e.from_currency, e.to_currency, e.day, e.rate FROM {relation} JOIN exchange_rate e
             ON e.from_currency = v.from_currency AND e.to_currency = v.to_currency AND e.day = v.day"
        );
        for row in db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await? {
            let from = Currency::stored(row.try_get_by_index(0)?);
            let into = Currency::stored(row.try_get_by_index(1)?);
            let day = day_of_midnight(row.try_get_by_index(2)?);
            let text: String = row.try_get_by_index(3)?;
            let rate = text.parse::<Decimal>();
            let rate = rate.map_err(|_| StoreError::Corrupt("a rate is no decimal text".to_owned()))?;
            match from == *to {
                true => rates.opposite.insert((into, day), rate),
                false => rates.direct.insert((from, day), rate),
            };
        }
        Ok(rates)
    }

    /// What an amount of a day is in the reporting currency, in minor units; `None`: there is no rate, or it is too much.
    pub fn convert(&self, money: &Money, day: NaiveDate) -> Option<i64> {
        let to = self.to.as_ref()?;
        let from = &money.currency;
        let size = money.amount_minor.unsigned_abs();
        let converted = if from == to {
            Some(size)
        } else {
            let key = (from.clone(), day);
            let digits = i64::from(to.digits()) - i64::from(from.digits());
            match (self.direct.get(&key), self.opposite.get(&key)) {
                (Some(rate), _) => multiplied(size, *rate, digits),
                (None, Some(rate)) => divided(size, *rate, digits),
                (None, None) => None,
            }
        };
        let size = i64::try_from(converted.filter(|size| *size <= MOST)?).ok()?;
        Some(size * money.amount_minor.signum())
    }
}

/// As `exchange_rate.day` holds it.
pub fn midnight(day: NaiveDate) -> i64 {
    day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros()
}

fn day_of_midnight(micros: i64) -> NaiveDate {
    chrono::DateTime::from_timestamp_micros(micros).map_or(NaiveDate::MIN, |at| at.date_naive())
}

/// size x rate x 10^digits.
fn multiplied(size: u64, rate: Decimal, digits: i64) -> Option<u64> {
    let rate = rate.normalize();
    let mantissa = u128::try_from(rate.mantissa()).ok().filter(|mantissa| *mantissa > 0)?;
    let exponent = digits - i64::from(rate.scale());
    let (up, down) = (ten_to(exponent)?, ten_to(-exponent)?);
    rounded(size, mantissa.checked_mul(up)?, down)
}

/// size / rate x 10^digits.
fn divided(size: u64, rate: Decimal, digits: i64) -> Option<u64> {
    let rate = rate.normalize();
    let mantissa = u128::try_from(rate.mantissa()).ok().filter(|mantissa| *mantissa > 0)?;
    let exponent = digits + i64::from(rate.scale());
    let (up, down) = (ten_to(exponent)?, ten_to(-exponent)?);
    rounded(size, up, mantissa.checked_mul(down)?)
}

/// 1 for what is not above zero.
fn ten_to(exponent: i64) -> Option<u128> {
    10_u128.checked_pow(u32::try_from(exponent.max(0)).ok()?)
}

/// size x up / down to the nearest whole number, half up; `None` beyond 64 bits. A rate has at most 96 bits and a currency 4 digits, so
/// neither factor passes 2^110, and sixteen bits of the size at a time keep every product and remainder within 128.
fn rounded(size: u64, up: u128, down: u128) -> Option<u64> {
    let (mut quotient, mut rest) = (0_u128, 0_u128);
    for shift in [48, 32, 16, 0] {
        let part = u128::from((size >> shift) & 0xffff);
        let whole = rest.checked_mul(1 << 16)?.checked_add(part.checked_mul(up)?)?;
        quotient = quotient.checked_mul(1 << 16)?.checked_add(whole / down)?;
        rest = whole % down;
    }
    let is_half = rest >= down - rest;
    u64::try_from(quotient + u128::from(is_half)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn currency(code: &str) -> Currency {
        Currency::stored(code.to_owned())
    }

    fn day() -> NaiveDate {
        "2026-05-01".parse().unwrap()
    }

    fn rates(to: &str, direct: &[(&str, &str)], opposite: &[(&str, &str)]) -> Rates {
        let known = |rates: &[(&str, &str)]| {
            let each = rates
                .iter()
                .map(|(code, rate)| ((currency(code), day()), rate.parse().unwrap()));
            each.collect()
        };
        Rates {
            to: Some(currency(to)),
            direct: known(direct),
            opposite: known(opposite),
        }
    }

    fn in_reporting(rates: &Rates, amount_minor: i64, code: &str) -> Option<i64> {
        let money = Money {
            amount_minor,
            currency: currency(code),
        };
        rates.convert(&money, day())
    }

    #[test]
    fn one_rounding_half_away_from_zero_at_the_minor_unit() {
        let into_euro = rates(
            "EUR",
            &[("USD", "0.9"), ("JPY", "0.00615"), ("KWD", "3.0125"), ("GBP", "0.5")],
            &[("CHF", "0.96"), ("USD", "7"), ("SEK", "3"), ("KRW", "1500.5")],
        );
        for (amount, code, expected) in [
            (10_000, "EUR", Some(10_000)),
            (10_000, "USD", Some(9_000)),
            (1, "GBP", Some(1)),
            (-1, "GBP", Some(-1)),
            (3, "GBP", Some(2)),
            (-5, "GBP", Some(-3)),
            (1_000, "JPY", Some(615)),
            (1_000, "KWD", Some(301)),
            (9_600, "CHF", Some(10_000)),
            (100, "SEK", Some(33)),
            (200, "SEK", Some(67)),
            (15_005, "KRW", Some(1_000)),
            (100, "NOK", None),
            (0, "USD", Some(0)),
        ] {
            assert_eq!(in_reporting(&into_euro, amount, code), expected, "{amount} {code}");
        }
        let into_yen = rates("JPY", &[("EUR", "162.5"), ("KWD", "500")], &[("CLF", "0.0002")]);
        assert_eq!(in_reporting(&into_yen, 101, "EUR"), Some(164), "164.125");
        assert_eq!(in_reporting(&into_yen, 1_001, "KWD"), Some(501), "500.5");
        assert_eq!(in_reporting(&into_yen, 3, "CLF"), Some(2), "0.0003 / 0.0002 is 1.5");
    }

    #[test]
    fn the_direct_rate_goes_before_the_opposite_one_and_another_day_has_none() {
        let rates = rates("EUR", &[("USD", "0.9")], &[("USD", "4")]);
        assert_eq!(in_reporting(&rates, 100, "USD"), Some(90));
        let money = Money {
            amount_minor: 100,
            currency: currency("USD"),
        };
        assert_eq!(rates.convert(&money, "2026-05-02".parse().unwrap()), None);
    }

    #[test]
    fn what_is_beyond_2_to_the_53_is_unknown_and_what_is_on_it_exact() {
        let most = 1_i64 << 53;
        let rates = rates(
            "EUR",
            &[("USD", "1.0000000000000000001"), ("XXX", "79228162514264337593543950335")],
            &[("IDR", "16000")],
        );
        assert_eq!(in_reporting(&rates, most, "EUR"), Some(most));
        assert_eq!(in_reporting(&rates, most + 1, "EUR"), None);
        assert_eq!(in_reporting(&rates, -most - 1, "EUR"), None);
        assert_eq!(in_reporting(&rates, most, "USD"), Some(most), "less than half a cent more");
        assert_eq!(
            in_reporting(&rates, i64::MAX, "IDR"),
            Some(576_460_752_303_423),
            "as long as the answer fits"
        );
        assert_eq!(in_reporting(&rates, i64::MAX, "XXX"), None);
        assert_eq!(in_reporting(&rates, i64::MIN, "IDR"), Some(-576_460_752_303_423));
    }

    #[test]
    fn long_rates_are_exact_to_the_last_digit() {
        let long: Decimal = "0.1234567890123456789012345678".parse().unwrap();
        assert_eq!(multiplied(1_000_000_000_000_000, long, 0), Some(123_456_789_012_346));
        assert_eq!(
            divided(1_234_567_890_123_456, long, 0),
            Some(9_999_999_999_999_994),
            "6.39 less than 10^16"
        );
        assert_eq!(rounded(u64::MAX, 1, 1), Some(u64::MAX));
        assert_eq!(rounded(5, 1, 10), Some(1), "half");
        assert_eq!(rounded(4, 1, 10), Some(0));
    }
}
