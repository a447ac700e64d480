//! One cell of a row: what it says as text, number, truth or date, or that it says nothing. Pure.

use super::date::{DateFault, DateFormat, Dated};
use super::mapping::ColumnType;
use super::safe::unguarded;
use crate::base::Instant;
use crate::base::money;
use crate::ingest::json;
use crate::ingest::message::Refusal;
use chrono_tz::Tz;
use rust_decimal::Decimal;
use serde_json::{Number, Value};

/// A cell of CSV, or a value of NDJSON.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell<'r> {
    Text(&'r str),
    Json(&'r Value),
}

/// How the cells of a file are read.
#[derive(Clone, Debug)]
pub(super) struct Conventions {
    /// Folded.
    pub null: Vec<String>,
    pub clear: Vec<String>,
    pub zone: Tz,
    pub dates: DateFormat,
    pub decimal_comma: bool,
}

impl Conventions {
    /// What a cell says, without spaces around it; `None` when it says nothing.
    pub(super) fn text<'r>(&self, cell: Option<Cell<'r>>) -> Option<std::borrow::Cow<'r, str>> {
        let text = match cell? {
            Cell::Text(text) => std::borrow::Cow::Borrowed(unguarded(text).trim()),
            Cell::Json(Value::String(text)) => std::borrow::Cow::Borrowed(text.trim()),
            Cell::Json(Value::Null) => return None,
            Cell::Json(value) => std::borrow::Cow::Owned(value.to_string()),
        };
        (!text.is_empty() && !is_among(&self.null, &text)).then_some(text)
    }

    /// A value of the type wanted; `None` when the cell says nothing, null when it clears.
    pub(super) fn value(
        &self,
        cell: Option<Cell<'_>>,
        wanted: ColumnType,
        format: Option<&DateFormat>,
        column: &str,
    ) -> Result<Option<Value>, Refusal> {
        // A null of JSON is said, where an empty cell is only empty.
        if let Some(Cell::Json(Value::Null)) = cell {
            return Ok(Some(Value::Null));
        }
        if let (
            ColumnType::Auto,
            Some(Cell::Json(value @ (Value::Array(_) | Value::Object(_) | Value::Bool(_) | Value::Number(_)))),
        ) = (wanted, cell)
        {
            return Ok(Some(value.clone()));
        }
        let Some(text) = self.text(cell) else { return Ok(None) };
        if is_among(&self.clear, &text) {
            return Ok(Some(Value::Null));
        }
        Ok(Some(match wanted {
            ColumnType::Auto | ColumnType::Text => text.into_owned().into(),
            ColumnType::Number => Value::Number(self.number(&text, column)?),
            ColumnType::Bool => truth(&text).ok_or_else(|| not_a(column, "a yes or a no"))?.into(),
            ColumnType::Date => {
                let day = self.dated(&text, format, column)?.day(self.zone);
                day.ok_or_else(|| not_a(column, "a date"))?.to_string().into()
            }
            ColumnType::DateTime => self.instant(&text, format, column)?.to_string().into(),
            ColumnType::Json => json::parse(&text).map_err(|fault| {
                let refusal = Refusal::from(fault);
                Refusal::new("invalid_value", column, refusal.message)
            })?,
        }))
    }

    pub(super) fn instant(&self, text: &str, format: Option<&DateFormat>, column: &str) -> Result<Instant, Refusal> {
        let instant = self.dated(text, format, column)?.instant(self.zone);
        instant.ok_or_else(|| not_a(column, "a date"))
    }

    pub(super) fn dated(&self, text: &str, format: Option<&DateFormat>, column: &str) -> Result<Dated, Refusal> {
        let format = format.unwrap_or(&self.dates);
        format.read(text, self.zone).map_err(|fault| match fault {
            DateFault::Unreadable => not_a(column, "a date"),
            DateFault::Ambiguous => {
                let message = "may begin with the day or with the month: say dates = \"DMY\" or \"MDY\" in the mapping file";
                Refusal::new("ambiguous_date", column, message)
            }
        })
    }

    /// An amount as decimal text with a point.
    pub(super) fn amount(&self, text: &str) -> String {
        match self.decimal_comma {
            true => text.replace(['.', ' ', '\u{a0}', '\u{202f}', '\''], "").replace(',', "."),
            false => text.to_owned(),
        }
    }

    pub(super) fn decimal(&self, text: &str, column: &str) -> Result<Decimal, Refusal> {
        let text = Value::String(self.amount(text));
        let amount = money::parse_amount(&text);
        amount.map_err(|error| Refusal::new("invalid_amount", column, error.to_string()))
    }

    fn number(&self, text: &str, column: &str) -> Result<Number, Refusal> {
        let refuse = || not_a(column, "a number");
        let plain = self.amount(text);
        let number = plain.parse::<Decimal>().or_else(|_| Decimal::from_scientific(&plain));
        let number = number.map_err(|_| refuse())?.normalize();
        if number.is_integer()
            && let Ok(whole) = i64::try_from(number)
        {
            return Ok(whole.into());
        }
        if number.mantissa().unsigned_abs() >= 10_u128.pow(15) {
            let message = "has more digits than a number carries exactly: give the column the type text";
            return Err(Refusal::new("invalid_value", column, message));
        }
        let binary = number.to_string().parse::<f64>().ok();
        binary.and_then(Number::from_f64).ok_or_else(refuse)
    }
}

fn is_among(words: &[String], text: &str) -> bool {
    !words.is_empty() && words.contains(&text.to_lowercase())
}

/// Yes and no as people write them.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text.trim().to_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "1" | "on" | "ja" | "j" | "wahr" | "是" | "有" | "granted" | "subscribed" | "同意" => {
            Some(true)
        }
        "false" | "f" | "no" | "n" | "0" | "off" | "nein" | "falsch" | "否" | "无" | "denied" | "unsubscribed" | "拒绝" => {
            Some(false)
        }
        _ => None,
    }
}

pub(super) fn not_a(column: &str, wanted: &str) -> Refusal {
    Refusal::new("invalid_value", column, format!("is not {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn conventions() -> Conventions {
        Conventions {
            null: vec!["n/a".to_owned(), "-".to_owned()],
            clear: vec!["deleted".to_owned()],
            zone: Tz::Asia__Shanghai,
            dates: DateFormat::Auto,
            decimal_comma: false,
        }
    }

    fn read(text: &str, wanted: ColumnType) -> Result<Option<Value>, &'static str> {
        let value = conventions().value(Some(Cell::Text(text)), wanted, None, "c");
        value.map_err(|refusal| refusal.code)
    }

    #[test]
    fn cells_become_values_of_their_type() {
        use ColumnType::{Auto, Bool, Date, DateTime, Json, Number, Text};
        for (text, wanted, expected) in [
            (" Ada ", Text, Ok(Some(json!("Ada")))),
            ("'=1+1", Auto, Ok(Some(json!("=1+1")))),
            ("N/A", Text, Ok(None)),
            ("", Number, Ok(None)),
            ("Deleted", Number, Ok(Some(Value::Null))),
            ("007", Number, Ok(Some(json!(7)))),
            ("-12.50", Number, Ok(Some(json!(-12.5)))),
            ("1.5e3", Number, Ok(Some(json!(1500)))),
            ("12,5", Number, Err("invalid_value")),
            ("0.1234567890123456", Number, Err("invalid_value")),
            ("NaN", Number, Err("invalid_value")),
            ("Ja", Bool, Ok(Some(json!(true)))),
            ("否", Bool, Ok(Some(json!(false)))),
            ("maybe", Bool, Err("invalid_value")),
            ("1990年1月2日", Date, Ok(Some(json!("1990-01-02")))),
            ("1990-01-02T20:00:00Z", Date, Ok(Some(json!("1990-01-03")))),
            ("1990-01-02 08:00", DateTime, Ok(Some(json!("1990-01-02T00:00:00Z")))),
            ("1/2/1990", Date, Err("ambiguous_date")),
            ("[1,{\"a\":2}]", Json, Ok(Some(json!([1, {"a": 2}])))),
            ("[1", Json, Err("invalid_value")),
        ] {
            assert_eq!(read(text, wanted), expected, "{text}");
        }
    }

    #[test]
    fn values_of_json_stay_what_they_are_and_amounts_may_have_commas() {
        let german = Conventions {
            decimal_comma: true,
            ..conventions()
        };
        let value = json!({"a": [1, null, true], "b": "x", "n": 1.5});
        let of = |name: &str, wanted| german.value(value.get(name).map(Cell::Json), wanted, None, name).unwrap();
        assert_eq!(of("a", ColumnType::Auto), Some(json!([1, null, true])));
        assert_eq!(
            (of("b", ColumnType::Auto), of("c", ColumnType::Auto)),
            (Some(json!("x")), None)
        );
        assert_eq!(of("a", ColumnType::Text), Some(json!("[1,null,true]")));
        assert_eq!(german.decimal("1.299,95", "c").unwrap().to_string(), "1299.95");
        assert_eq!(german.amount("12 345,6"), "12345.6");
        assert!(german.decimal("viel", "c").is_err());
    }
}
