//! Lengths of time, as ISO 8601 writes them.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};

/// A length of time: ISO 8601, such as P30D, P5Y or PT1H. A year counts 365.25 days and a month a twelfth of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Duration {
    /// As it was written.
    text: String,
    pub days: f64,
}

const DAYS_A_YEAR: f64 = 365.25;

/// A length of time: ISO 8601, such as P30D, P5Y or PT1H. A year counts 365.25 days and a month a twelfth of it.
#[Scalar]
impl ScalarType for Duration {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else {
            return Err(InputValueError::expected_type(value));
        };
        Self::of(text).ok_or_else(|| InputValueError::custom("expected ISO 8601, such as P30D, P5Y or PT1H"))
    }

    fn to_value(&self) -> Value {
        Value::String(self.text.clone())
    }
}

impl Duration {
    /// So many years.
    pub fn years(count: u32) -> Self {
        Self {
            text: format!("P{count}Y"),
            days: f64::from(count) * DAYS_A_YEAR,
        }
    }

    pub fn in_years(&self) -> f64 {
        self.days / DAYS_A_YEAR
    }

    /// `None`: it is no such length.
    pub fn of(text: &str) -> Option<Self> {
        let rest = text.strip_prefix('P')?;
        let (date, time) = match rest.split_once('T') {
            Some((_, "")) => return None,
            Some((date, time)) => (date, time),
            None => (rest, ""),
        };
        let of_date = [('Y', DAYS_A_YEAR), ('M', DAYS_A_YEAR / 12.0), ('W', 7.0), ('D', 1.0)];
        let of_time = [('H', 1.0 / 24.0), ('M', 1.0 / 1_440.0), ('S', 1.0 / 86_400.0)];
        let parts = (parts(date, &of_date)?, parts(time, &of_time)?);
        (!rest.is_empty()).then(|| Self {
            text: text.to_owned(),
            days: parts.0 + parts.1,
        })
    }
}

/// Days of parts such as `5Y6M`, each unit once and in this order.
fn parts(mut text: &str, units: &[(char, f64)]) -> Option<f64> {
    let mut days = 0.0;
    let mut left = units.iter();
    while !text.is_empty() {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, rest) = text.split_at(end);
        let mut rest = rest.chars();
        let unit = rest.next()?;
        let (_, length) = left.find(|(name, _)| *name == unit)?;
        // Digits before a point and behind it.
        let is_number = number.starts_with(|c: char| c.is_ascii_digit()) && number.ends_with(|c: char| c.is_ascii_digit());
        days += number.parse::<f64>().ok().filter(|_| is_number)? * length;
        text = rest.as_str();
    }
    days.is_finite().then_some(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_as_iso_8601_writes_them() {
        for (text, days) in [
            ("P30D", 30.0),
            ("P5Y", 1826.25),
            ("P1Y6M", 365.25 * 1.5),
            ("P2W", 14.0),
            ("PT1H", 1.0 / 24.0),
            ("PT90M", 1.5 / 24.0),
            ("P1DT12H", 1.5),
            ("P0.5Y", 182.625),
            ("P0D", 0.0),
        ] {
            let found = Duration::of(text).unwrap_or_else(|| panic!("{text}"));
            assert!((found.days - days).abs() < 1e-9, "{text}: {}", found.days);
            assert_eq!(found.to_value(), Value::String(text.to_owned()));
        }
        for text in [
            "", "P", "PT", "P1", "1D", "P-1D", "PD", "P1H", "P1D2Y", "P1D1D", "P1S", "p1d", "P1.D", "P.5D", "P1e3D", "P1DT",
        ] {
            assert_eq!(Duration::of(text), None, "{text}");
        }
    }
}
