//! Scalars of the public face.

use crate::base::{Instant, Money};
use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, SimpleObject, Value};

/// An instant: RFC 3339, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime(pub Instant);

/// An instant: RFC 3339, in UTC. Input may name any offset.
#[Scalar]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else {
            return Err(InputValueError::expected_type(value));
        };
        let instant =
            Instant::parse(text).ok_or_else(|| InputValueError::custom("expected RFC 3339, such as 2026-01-31T12:00:00Z"))?;
        Ok(Self(instant))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// A place in the change log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub String);

/// A place in the change log: an opaque text, good for as long as what comes behind it is kept.
#[Scalar]
impl ScalarType for Cursor {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => Ok(Self(text)),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// A calendar day: `2026-01-31`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Date(pub String);

/// A calendar day without a time: `2026-01-31`.
#[Scalar]
impl ScalarType for Date {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else {
            return Err(InputValueError::expected_type(value));
        };
        Self::of(text).ok_or_else(|| InputValueError::custom("expected a day, such as 2026-01-31"))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

impl Date {
    /// The day a text begins with; `None` when it does not begin with one.
    pub fn of(text: &str) -> Option<Self> {
        let day = text.trim().get(..10)?;
        chrono::NaiveDate::parse_from_str(day, "%Y-%m-%d")
            .is_ok()
            .then(|| Self(day.to_owned()))
    }
}

/// A whole number beyond 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Int64(pub i64);

/// The largest whole number that every JSON reader holds exactly.
const MAX_SAFE: i64 = 1 << 53;

/// A whole number as a JSON integer; refused beyond 2^53, which not every reader holds exactly.
#[Scalar]
impl ScalarType for Int64 {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::Number(number) = &value else {
            return Err(InputValueError::expected_type(value));
        };
        let number = number
            .as_i64()
            .filter(|number| number.unsigned_abs() <= MAX_SAFE.unsigned_abs());
        number
            .map(Self)
            .ok_or_else(|| InputValueError::custom("expected a whole number within ±2^53"))
    }

    fn to_value(&self) -> Value {
        Value::Number(self.0.into())
    }
}

/// An exact amount of money.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(name = "Money")]
pub struct MoneyValue {
    /// In the smallest unit of the currency: 1999 for 19.99 USD.
    pub amount_minor: Int64,
    /// ISO 4217 code, or what the source said where it has none.
    pub currency: String,
    /// The same as a decimal text: "19.99".
    pub decimal: String,
}

impl From<Money> for MoneyValue {
    fn from(money: Money) -> Self {
        Self {
            amount_minor: Int64(money.amount_minor),
            decimal: money.decimal(),
            currency: money.currency.code().to_owned(),
        }
    }
}
