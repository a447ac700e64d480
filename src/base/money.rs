//! Money, exactly: 64-bit minor units and a currency code. Amounts are read from the decimal text of a report, never through binary
//! fractions, so 4.35 is 435 cents and not 434.

use rust_decimal::{Decimal, RoundingStrategy};
use std::fmt;
use std::str::FromStr;

/// An amount in the smallest unit of its currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Money {
    pub amount_minor: i64,
    pub currency: Currency,
}

/// A currency code: three letters of ISO 4217 where it has one, else what the source said (`BTC`, `POINTS`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency(String);

/// Why a text is no amount or no currency.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MoneyError {
    #[error("is not an amount of money: send a number or a decimal text such as \"19.99\"")]
    NotAnAmount,
    #[error("is larger than 64-bit minor units can hold")]
    TooLarge,
    #[error("has more digits than a JSON number carries exactly: send it as a text")]
    Inexact,
    #[error("is not a currency code: send 2 to 12 letters or digits such as EUR")]
    NotACurrency,
}

impl Currency {
    /// Assumed when a report names none, as the tracking API says.
    pub fn assumed() -> Self {
        Self("USD".to_owned())
    }

    /// Upper case; codes outside ISO 4217 are kept, since points and coins are real to those who collect them.
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        let code = text.trim().to_ascii_uppercase();
        let well_formed = (2..=12).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if well_formed {
            Ok(Self(code))
        } else {
            Err(MoneyError::NotACurrency)
        }
    }

    /// A code that was checked when it was stored.
    pub fn stored(code: String) -> Self {
        Self(code)
    }

    pub fn code(&self) -> &str {
        &self.0
    }

    /// Decimal digits of the minor unit by ISO 4217; two for a code that it does not list.
    pub fn digits(&self) -> u32 {
        match self.0.as_str() {
            "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "UYI" | "VND" | "VUV"
            | "XAF" | "XOF" | "XPF" => 0,
            "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
            "CLF" | "UYW" => 4,
            _ => 2,
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Money {
    /// Rounds half away from zero at the minor unit, as invoices do; what was sent stays readable in the event.
    pub fn from_decimal(amount: Decimal, currency: Currency) -> Result<Self, MoneyError> {
        let digits = currency.digits();
        let rounded = amount.round_dp_with_strategy(digits, RoundingStrategy::MidpointAwayFromZero);
        let minor = rounded
            .checked_mul(Decimal::from(10_i64.pow(digits)))
            .ok_or(MoneyError::TooLarge)?;
        let amount_minor = i64::try_from(minor).map_err(|_| MoneyError::TooLarge)?;
        Ok(Self { amount_minor, currency })
    }

    /// `19.99`: always with the digits of the currency's minor unit.
    pub fn decimal(&self) -> String {
        Decimal::new(self.amount_minor, self.currency.digits()).to_string()
    }
}

/// Reads an amount from JSON: a number, or a text with an optional currency sign and separators of thousands (`"$1,299.00"`).
pub fn parse_amount(value: &serde_json::Value) -> Result<Decimal, MoneyError> {
    match value {
        serde_json::Value::Number(number) => {
            let text = number.to_string();
            // Beyond 15 significant digits the parser may already have moved the last one.
            let exact = number.is_i64() || number.is_u64() || significant_digits(&text) <= 15;
            let amount = Decimal::from_scientific(&text)
                .or_else(|_| Decimal::from_str(&text))
                .map_err(|_| MoneyError::TooLarge)?;
            // A tail such as 0.30000000000000004 is the noise of somebody's sum, far below any minor unit: it rounds away.
            let noise_only = amount.abs() < Decimal::from(1_000_000_000_i64);
            if exact || noise_only {
                Ok(amount)
            } else {
                Err(MoneyError::Inexact)
            }
        }
        serde_json::Value::String(text) => parse_amount_text(text),
        _ => Err(MoneyError::NotAnAmount),
    }
}

fn significant_digits(text: &str) -> usize {
    let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
    mantissa
        .bytes()
        .filter(u8::is_ascii_digit)
        .skip_while(|&digit| digit == b'0')
        .count()
}

fn parse_amount_text(text: &str) -> Result<Decimal, MoneyError> {
    let is_sign = |c: char| c.is_whitespace() || c.is_alphabetic() || is_currency_sign(c);
    let trimmed = text.trim();
    let (negative, rest) = match trimmed.strip_prefix(['-', '−']) {
        Some(rest) => (true, rest),
        None => (false, trimmed),
    };
    let rest = rest.trim_matches(is_sign);
    let (negative, digits) = match rest.strip_prefix('-') {
        Some(digits) if !negative => (true, digits),
        _ => (negative, rest),
    };
    let plain = without_thousands(digits).ok_or(MoneyError::NotAnAmount)?;
    let amount = Decimal::from_str(&plain).map_err(|_| {
        if plain.len() > 28 {
            MoneyError::TooLarge
        } else {
            MoneyError::NotAnAmount
        }
    })?;
    Ok(if negative { -amount } else { amount })
}

fn is_currency_sign(c: char) -> bool {
    matches!(
        c,
        '$' | '¢' | '£' | '¤' | '¥' | '\u{20A0}'..='\u{20CF}' | '\u{FF04}' | '\u{FFE1}' | '\u{FFE5}'
    )
}

/// `1,299.00`, `1.299,00`, `1'299.00`, `1 299,00` → `1299.00`. The last of two different marks is the decimal one; a single comma is a
/// mark of thousands when exactly three digits follow it, a single point is always decimal.
fn without_thousands(text: &str) -> Option<String> {
    let compact: String = text
        .chars()
        .filter(|c| !matches!(c, '\'' | '’' | ' ' | '\u{a0}' | '\u{202f}' | '_'))
        .collect();
    let (points, commas) = (compact.matches('.').count(), compact.matches(',').count());
    let decimal_mark = match (points, commas) {
        (0, 0) => None,
        (1, 0) => Some('.'),
        (0, 1) => {
            let after = compact.len() - compact.find(',')? - 1;
            (after != 3).then_some(',')
        }
        (0, _) | (_, 0) => None,
        _ => {
            let last = compact.chars().rev().find(|c| matches!(c, '.' | ','));
            // A decimal mark stands once.
            if last.is_some_and(|mark| compact.matches(mark).count() != 1) {
                return None;
            }
            last
        }
    };
    let plain: String = match decimal_mark {
        None => compact.chars().filter(|c| !matches!(c, '.' | ',')).collect(),
        Some(mark) => {
            let (whole, fraction) = compact.rsplit_once(mark)?;
            if fraction.contains(['.', ',']) {
                return None;
            }
            let whole: String = whole.chars().filter(|c| !matches!(c, '.' | ',')).collect();
            format!("{}.{fraction}", if whole.is_empty() { "0" } else { &whole })
        }
    };
    let plain = plain.strip_suffix('.').unwrap_or(&plain);
    (!plain.is_empty() && plain.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')).then(|| plain.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn minor(value: serde_json::Value, currency: &str) -> Result<i64, MoneyError> {
        Ok(Money::from_decimal(parse_amount(&value)?, Currency::parse(currency)?)?.amount_minor)
    }

    #[test]
    fn amounts_become_minor_units_without_loss() {
        for (value, currency, expected) in [
            (json!(45), "EUR", 4500),
            (json!(52.5), "eur", 5250),
            (json!(4.35), "USD", 435),
            (json!(1.005), "USD", 101),
            (json!(0.1 + 0.2), "USD", 30),
            (json!(19.99), "USD", 1999),
            (json!(-5.5), "USD", -550),
            (json!(1999), "JPY", 1999),
            (json!(1.234), "KWD", 1234),
            (json!("19.99"), "USD", 1999),
            (json!("$19.99"), "USD", 1999),
            (json!("€ 1.299,50"), "EUR", 129_950),
            (json!("1,299.00"), "USD", 129_900),
            (json!("1,299"), "USD", 129_900),
            (json!("12,5"), "EUR", 1250),
            (json!("-3"), "USD", -300),
            (json!("19.99 USD"), "USD", 1999),
            (json!("1'299.05"), "CHF", 129_905),
            (json!("1,000,000"), "USD", 100_000_000),
            (json!("92233720368547758.07"), "USD", i64::MAX),
            (json!(7), "BTC", 700),
        ] {
            assert_eq!(minor(value.clone(), currency), Ok(expected), "{value} {currency}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused_with_its_reason() {
        for (value, error) in [
            (json!("abc"), MoneyError::NotAnAmount),
            (json!(""), MoneyError::NotAnAmount),
            (json!(true), MoneyError::NotAnAmount),
            (json!("1.2.3,4,5"), MoneyError::NotAnAmount),
            (json!("92233720368547758.08"), MoneyError::TooLarge),
            (json!(1e300), MoneyError::TooLarge),
            (json!(90_071_992_547_409.93), MoneyError::Inexact),
        ] {
            assert_eq!(minor(value.clone(), "USD"), Err(error), "{value}");
        }
        assert_eq!(Currency::parse("€"), Err(MoneyError::NotACurrency));
    }

    #[test]
    fn decimals_show_the_digits_of_the_currency() {
        for (amount_minor, code, expected) in [
            (1999, "USD", "19.99"),
            (5, "JPY", "5"),
            (-1, "KWD", "-0.001"),
            (700, "BTC", "7.00"),
        ] {
            assert_eq!(
                Money {
                    amount_minor,
                    currency: Currency::stored(code.to_owned())
                }
                .decimal(),
                expected
            );
        }
    }
}
