//! How value is computed here: the deployment's configuration in plain types. Section `[value]` of the settings says what each key means.

use crate::base::Instant;
use crate::base::money::Currency;
use crate::ingest::reserved::RESERVED;
use chrono::{NaiveDate, NaiveTime, TimeZone as _};
use chrono_tz::Tz;
use serde_json::json;
use std::collections::BTreeSet;

/// Everything that is configured about value.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueRules {
    /// The zone whose days count.
    pub zone: Tz,
    /// The reporting currency; `None`: the currency that most orders were in when one was needed first.
    pub currency: Option<Currency>,
    /// Purchases before this day are left out of models, and who made one is not fitted to: the data begin here.
    pub data_from: Option<NaiveDate>,
    /// Names of events that are rolled up by day, beside those that measures ask about by themselves.
    pub activity: Vec<String>,
    pub lifecycle: LifecycleRules,
    pub churn: ChurnRules,
    pub worth: WorthRules,
}

/// When a customer passes from one stage of the life cycle to another.
#[derive(Clone, Debug, PartialEq)]
pub struct LifecycleRules {
    /// Days between orders of who has fewer than three, where nothing better is known.
    pub default_gap_days: f64,
    pub mature_min_orders: usize,
    pub mature_min_tenure_days: f64,
    /// Revenue of the last 90 days over that of the 90 days before; `None`: not asked.
    pub mature_min_revenue_ratio: Option<f64>,
    /// Own gaps without an order until somebody declines, and until they are lost.
    pub decline_gap_factor: f64,
    pub lost_gap_factor: f64,
}

/// Bands of the probability of churn, and what is warned of.
#[derive(Clone, Debug, PartialEq)]
pub struct ChurnRules {
    /// From which probability on the band is MEDIUM, and HIGH.
    pub medium_from: f64,
    pub high_from: f64,
    /// Names of events that count as usage; without any, a drop of usage is unknown.
    pub usage_events: Vec<String>,
    /// The part by which usage of the last 28 days must fall below that of the 56 days before, per day: 0.4.
    pub usage_drop: f64,
    /// A score of the last recommendation survey (0 to 10) up to which it is a warning.
    pub low_recommendation: i64,
}

/// Money of the future.
#[derive(Clone, Debug, PartialEq)]
pub struct WorthRules {
    /// The part of revenue that is earned; `None`: not told, and revenue is taken for it, with a reason.
    pub margin: Option<f64>,
    /// What waiting for a year costs: 0.1 is ten per cent.
    pub annual_discount: f64,
    /// The part of customers who stay for another year, where no fitted model says; `None`: then nothing is known.
    pub annual_retention: Option<f64>,
    /// The part of a referred customer's margin that the one who referred is credited with.
    pub referral_share: f64,
    /// Below this coverage a lifetime value is not told.
    pub coverage_floor: f64,
    /// The model of buying that is published by a fit: the likelier one, unless it is fixed.
    pub family: Option<super::Family>,
}

impl Default for ValueRules {
    fn default() -> Self {
        Self {
            zone: Tz::UTC,
            currency: None,
            data_from: None,
            activity: Vec::new(),
            lifecycle: LifecycleRules::default(),
            churn: ChurnRules::default(),
            worth: WorthRules::default(),
        }
    }
}

impl Default for LifecycleRules {
    fn default() -> Self {
        Self {
            default_gap_days: 30.0,
            mature_min_orders: 4,
            mature_min_tenure_days: 180.0,
            mature_min_revenue_ratio: Some(0.8),
            decline_gap_factor: 2.0,
            lost_gap_factor: 4.0,
        }
    }
}

impl Default for ChurnRules {
    fn default() -> Self {
        Self {
            medium_from: 0.4,
            high_from: 0.7,
            usage_events: Vec::new(),
            usage_drop: 0.4,
            low_recommendation: 6,
        }
    }
}

impl Default for WorthRules {
    fn default() -> Self {
        Self {
            margin: None,
            annual_discount: 0.1,
            annual_retention: None,
            referral_share: 0.5,
            coverage_floor: 0.5,
            family: None,
        }
    }
}

/// Beyond any day of the calendar that instants know.
const CALENDAR: (i64, i64) = (-62_135_596_800_000_000, 253_402_300_799_999_999);

impl ValueRules {
    /// The day of an instant, in the zone.
    pub fn day(&self, at: Instant) -> NaiveDate {
        let micros = at.micros().clamp(CALENDAR.0, CALENDAR.1);
        let at = chrono::DateTime::from_timestamp_micros(micros).expect("within the calendar");
        at.with_timezone(&self.zone).date_naive()
    }

    /// The first instant of a day in the zone. A day that a zone passed over begins with the next one.
    pub fn begin(&self, day: NaiveDate) -> Instant {
        // Where clocks are put forward at midnight the day begins later; no zone moves by anything but quarters of an hour.
        let mut local = day.and_time(NaiveTime::MIN);
        for _ in 0..=4 * 26 {
            match self.zone.from_local_datetime(&local).earliest() {
                Some(at) => return Instant::from_micros(at.timestamp_micros()),
                None => local += chrono::TimeDelta::minutes(15),
            }
        }
        Instant::from_micros(day.and_time(NaiveTime::MIN).and_utc().timestamp_micros())
    }

    /// The first instant behind a day.
    pub fn end(&self, day: NaiveDate) -> Instant {
        self.begin(day.succ_opt().unwrap_or(NaiveDate::MAX))
    }

    /// Names of the events that are rolled up by day, each once.
    pub fn names(&self) -> BTreeSet<&str> {
        let configured = self.activity.iter().chain(&self.churn.usage_events).map(String::as_str);
        RESERVED.into_iter().chain(configured).collect()
    }

    /// Whether somebody asks about events of this name.
    pub fn rolls_up(&self, name: &str) -> bool {
        let configured = || self.activity.iter().chain(&self.churn.usage_events);
        RESERVED.contains(&name) || configured().any(|asked| asked == name)
    }

    /// What of the rules the stored facts and the roll-up depend on, as a text: whoever finds another one computes them again.
    pub fn foundation(&self) -> String {
        let currency = self.currency.as_ref().map(Currency::code);
        let from = self.data_from.map(|day| day.to_string());
        json!({"zone": self.zone.name(), "currency": currency, "dataFrom": from, "activity": self.names()}).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_zone(zone: Tz) -> ValueRules {
        ValueRules {
            zone,
            ..ValueRules::default()
        }
    }

    #[test]
    fn a_day_is_the_zones_and_begins_with_its_first_instant() {
        let at = |text: &str| Instant::parse(text).unwrap();
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        for (zone, on, begins, ends) in [
            (Tz::UTC, "2026-05-01", "2026-05-01T00:00:00Z", "2026-05-02T00:00:00Z"),
            (
                Tz::Asia__Shanghai,
                "2028-02-29",
                "2028-02-28T16:00:00Z",
                "2028-02-29T16:00:00Z",
            ),
            // Clocks are put forward at midnight, and back; a day of 23 hours, and one of 25.
            (
                Tz::America__Santiago,
                "2026-09-06",
                "2026-09-06T04:00:00Z",
                "2026-09-07T03:00:00Z",
            ),
            (
                Tz::Europe__Berlin,
                "2026-10-25",
                "2026-10-24T22:00:00Z",
                "2026-10-25T23:00:00Z",
            ),
            // Samoa passed over the 30th.
            (
                Tz::Pacific__Apia,
                "2011-12-30",
                "2011-12-30T10:00:00Z",
                "2011-12-30T10:00:00Z",
            ),
        ] {
            let rules = in_zone(zone);
            assert_eq!(
                (rules.begin(day(on)), rules.end(day(on))),
                (at(begins), at(ends)),
                "{zone} {on}"
            );
            if begins != ends {
                assert_eq!(rules.day(at(begins)), day(on), "{zone}");
                assert_eq!(rules.day(Instant::from_micros(at(ends).micros() - 1)), day(on), "{zone}");
                assert_ne!(rules.day(Instant::from_micros(at(begins).micros() - 1)), day(on), "{zone}");
            }
        }
    }

    #[test]
    fn what_measures_ask_about_is_rolled_up_beside_what_is_configured() {
        let mut rules = ValueRules::default();
        assert!(rules.rolls_up("Referral Converted") && !rules.rolls_up("Login"));
        let before = rules.foundation();
        rules.churn.usage_events = vec!["Login".to_owned()];
        assert!(rules.rolls_up("Login") && rules.names().contains("Login"));
        assert_ne!(rules.foundation(), before);
    }
}
