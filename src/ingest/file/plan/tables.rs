//! Rows that are about money and not about people: rates and spend. Pure.

use super::super::cell::not_a;
use super::super::rows::Row;
use super::{Column, Moment, Plan};
use crate::base::money::Currency;
use crate::base::{Instant, Money};
use crate::ingest::message::Refusal;
use chrono::NaiveDate;
use rust_decimal::Decimal;

/// One of `from` was `rate` of `to` on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateRow {
    /// Its midnight, UTC.
    pub day: Instant,
    pub from: Currency,
    pub to: Currency,
    pub rate: Decimal,
}

/// Money spent in a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpendRow {
    /// Midnight UTC of the first day, and of the day behind the last.
    pub from: Instant,
    pub until: Instant,
    pub channel: Option<String>,
    pub campaign: Option<String>,
    /// What it bought.
    pub bought: Option<String>,
    pub amount: Money,
}

impl Plan {
    fn day(&self, row: &Row, moment: &Moment) -> Result<NaiveDate, Refusal> {
        let text = self.needed(row, &moment.column)?;
        let dated = self.conventions.dated(&text, moment.format.as_ref(), &moment.column.name)?;
        dated
            .day(self.conventions.zone)
            .ok_or_else(|| not_a(&moment.column.name, "a date"))
    }

    fn currency(&self, row: &Row, column: &Column) -> Result<Currency, Refusal> {
        let code = self.needed(row, column)?;
        Currency::parse(&code).map_err(|error| Refusal::new("invalid_currency", column.name.as_str(), error.to_string()))
    }

    pub(super) fn rate(&self, row: &Row) -> Result<RateRow, Refusal> {
        let Some(columns) = &self.rate else {
            return Err(not_a("", "a rate"));
        };
        let (from, to) = (self.currency(row, &columns.from)?, self.currency(row, &columns.to)?);
        let rate = self
            .conventions
            .decimal(&self.needed(row, &columns.rate)?, &columns.rate.name)?;
        if rate <= Decimal::ZERO {
            return Err(Refusal::new(
                "invalid_amount",
                columns.rate.name.as_str(),
                "must be greater than zero",
            ));
        }
        if from == to {
            return Err(Refusal::new(
                "invalid_currency",
                columns.to.name.as_str(),
                "must be another currency than the first",
            ));
        }
        Ok(RateRow {
            day: midnight(self.day(row, &columns.day)?),
            from,
            to,
            rate: rate.normalize(),
        })
    }

    pub(super) fn spend(&self, row: &Row) -> Result<SpendRow, Refusal> {
        let Some(columns) = &self.spend else {
            return Err(not_a("", "spend"));
        };
        let first = self.day(row, &columns.date)?;
        let until = columns
            .until
            .as_ref()
            .filter(|until| self.text(row, Some(&until.column)).is_some());
        let last = until.map_or(Ok(first), |until| self.day(row, until))?;
        if last < first {
            let column = until.map_or("", |until| &until.column.name);
            return Err(Refusal::new("invalid_period", column, "must not lie before the first day"));
        }
        let currency = match (&columns.currency_column, &columns.currency) {
            (Some(column), None) => self.currency(row, column)?,
            (Some(column), Some(fixed)) if self.text(row, Some(column)).is_none() => fixed.clone(),
            (Some(column), Some(_)) => self.currency(row, column)?,
            (None, Some(fixed)) => fixed.clone(),
            (None, None) => {
                return Err(Refusal::new(
                    "invalid_currency",
                    "currency",
                    "no column names it: say it in the mapping file",
                ));
            }
        };
        let amount = self
            .conventions
            .decimal(&self.needed(row, &columns.amount)?, &columns.amount.name)?;
        let amount = Money::from_decimal(amount, currency);
        let behind = last.succ_opt().ok_or_else(|| not_a(&columns.date.column.name, "a date"))?;
        Ok(SpendRow {
            from: midnight(first),
            until: midnight(behind),
            channel: self.owned(row, columns.channel.as_ref()),
            campaign: self.owned(row, columns.campaign.as_ref()),
            bought: self.owned(row, columns.bought.as_ref()),
            amount: amount.map_err(|error| Refusal::new("invalid_amount", columns.amount.name.as_str(), error.to_string()))?,
        })
    }
}

fn midnight(day: NaiveDate) -> Instant {
    Instant::from_micros(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros())
}
