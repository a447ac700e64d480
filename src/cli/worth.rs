//! How value is computed here, as the settings say it: sections [value], [lifecycle], [churn] and [worth].
//!
//! What may be left open is a text, and empty while it is.

use super::settings::Settings;
use crate::base::money::Currency;
use crate::value::Family;
use crate::value::rules::{ChurnRules, LifecycleRules, ValueRules, WorthRules};
use chrono::NaiveDate;
use chrono_tz::Tz;
use serde::Deserialize;
use std::collections::BTreeSet;

#[derive(Clone, Debug, Deserialize)]
pub struct Value {
    pub zone: String,
    pub currency: String,
    pub data_from: String,
    pub activity: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Lifecycle {
    pub default_gap_days: f64,
    pub mature_min_orders: usize,
    pub mature_min_tenure_days: f64,
    pub mature_min_revenue_ratio: String,
    pub decline_gap_factor: f64,
    pub lost_gap_factor: f64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Churn {
    pub medium_from: f64,
    pub high_from: f64,
    pub usage_events: Vec<String>,
    pub usage_drop: f64,
    pub low_recommendation: i64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Worth {
    pub margin: String,
    pub annual_discount: f64,
    pub annual_retention: String,
    pub referral_share: f64,
    pub coverage_floor: f64,
    pub model: String,
}

/// Everything that is wrong with these sections, a line each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct ValueProblems(pub Vec<String>);

/// What was found wrong so far.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn require(&mut self, holds: bool, problem: &str) {
        if !holds {
            self.0.push(problem.to_owned());
        }
    }

    /// `None` for an empty text, and for one that says something wrong.
    fn open<T>(&mut self, text: &str, read: impl FnOnce(&str) -> Option<T>, problem: &str) -> Option<T> {
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        let value = read(text);
        self.require(value.is_some(), problem);
        value
    }

    fn names(&mut self, key: &str, names: &[String]) -> Vec<String> {
        let given: BTreeSet<&str> = names.iter().map(|name| name.trim()).collect();
        self.require(
            !given.contains(""),
            &format!("{key} must hold names of events, none of them empty"),
        );
        self.require(given.len() <= MAX_NAMES, &format!("{key} may hold {MAX_NAMES} names"));
        given.into_iter().map(str::to_owned).collect()
    }
}

/// Each name costs a row of the roll-up for every customer and day, and a look at every event.
const MAX_NAMES: usize = 100;

fn share(text: &str) -> Option<f64> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share))
}

impl Settings {
    /// How value is computed, or everything that is wrong with what the settings say of it.
    pub fn value_rules(&self) -> Result<ValueRules, ValueProblems> {
        let mut problems = Problems::default();
        let rules = ValueRules {
            zone: self.zone(&mut problems),
            currency: problems.open(
                &self.value.currency,
                |text| Currency::parse(text).ok(),
                "value.currency must be a currency code such as EUR, or empty",
            ),
            data_from: problems.open(
                &self.value.data_from,
                |text| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok(),
                "value.data_from must be a day such as 2024-01-01, or empty",
            ),
            activity: problems.names("value.activity", &self.value.activity),
            lifecycle: self.lifecycle.rules(&mut problems),
            churn: self.churn.rules(&mut problems),
            worth: self.worth.rules(&mut problems),
        };
        match problems.0.is_empty() {
            true => Ok(rules),
            false => Err(ValueProblems(problems.0)),
        }
    }

    fn zone(&self, problems: &mut Problems) -> Tz {
        let zone = self.value.zone.trim().parse();
        problems.require(
            zone.is_ok(),
            "value.zone must be a name of the time zone database such as Europe/Berlin or UTC",
        );
        zone.unwrap_or(Tz::UTC)
    }
}

impl Lifecycle {
    fn rules(&self, problems: &mut Problems) -> LifecycleRules {
        let days = 1.0 / 24.0..=3660.0;
        problems.require(
            days.contains(&self.default_gap_days),
            "lifecycle.default_gap_days must lie between an hour (0.0417) and 3660",
        );
        problems.require(
            (1..=1_000_000).contains(&self.mature_min_orders),
            "lifecycle.mature_min_orders must lie between 1 and 1000000",
        );
        problems.require(
            (0.0..=36_600.0).contains(&self.mature_min_tenure_days),
            "lifecycle.mature_min_tenure_days must lie between 0 and 36600",
        );
        problems.require(
            self.decline_gap_factor > 0.0 && self.decline_gap_factor <= 1000.0,
            "lifecycle.decline_gap_factor must lie above 0, and be 1000 at most",
        );
        problems.require(
            self.lost_gap_factor >= self.decline_gap_factor && self.lost_gap_factor <= 1000.0,
            "lifecycle.lost_gap_factor must be decline_gap_factor or more, and 1000 at most",
        );
        LifecycleRules {
            default_gap_days: self.default_gap_days,
            mature_min_orders: self.mature_min_orders,
            mature_min_tenure_days: self.mature_min_tenure_days,
            mature_min_revenue_ratio: problems.open(
                &self.mature_min_revenue_ratio,
                |text| text.parse().ok().filter(|ratio| (0.0..=1000.0).contains(ratio)),
                "lifecycle.mature_min_revenue_ratio must be a number from 0 to 1000 in quotes, or empty",
            ),
            decline_gap_factor: self.decline_gap_factor,
            lost_gap_factor: self.lost_gap_factor,
        }
    }
}

impl Churn {
    fn rules(&self, problems: &mut Problems) -> ChurnRules {
        problems.require(
            0.0 < self.medium_from && self.medium_from <= self.high_from && self.high_from <= 1.0,
            "churn.medium_from and churn.high_from must be probabilities above 0, the first no higher than the second",
        );
        problems.require(
            0.0 < self.usage_drop && self.usage_drop <= 1.0,
            "churn.usage_drop must lie above 0, and be 1 at most",
        );
        problems.require(
            (0..=10).contains(&self.low_recommendation),
            "churn.low_recommendation must lie between 0 and 10",
        );
        ChurnRules {
            medium_from: self.medium_from,
            high_from: self.high_from,
            usage_events: problems.names("churn.usage_events", &self.usage_events),
            usage_drop: self.usage_drop,
            low_recommendation: self.low_recommendation,
        }
    }
}

impl Worth {
    fn rules(&self, problems: &mut Problems) -> WorthRules {
        problems.require(
            (0.0..=10.0).contains(&self.annual_discount),
            "worth.annual_discount must lie between 0 and 10: 0.1 is ten per cent",
        );
        for (name, value) in [
            ("referral_share", self.referral_share),
            ("coverage_floor", self.coverage_floor),
        ] {
            problems.require(
                (0.0..=1.0).contains(&value),
                &format!("worth.{name} must lie between 0 and 1"),
            );
        }
        WorthRules {
            margin: problems.open(
                &self.margin,
                share,
                "worth.margin must be a number from 0 to 1 in quotes such as \"0.35\", or empty",
            ),
            annual_discount: self.annual_discount,
            annual_retention: problems.open(
                &self.annual_retention,
                share,
                "worth.annual_retention must be a number from 0 to 1 in quotes such as \"0.8\", or empty",
            ),
            referral_share: self.referral_share,
            coverage_floor: self.coverage_floor,
            family: problems.open(
                &self.model,
                |text| match text {
                    "bg-nbd" => Some(Family::BgNbd),
                    "mbg-nbd" => Some(Family::MbgNbd),
                    _ => None,
                },
                "worth.model must be bg-nbd, mbg-nbd or empty",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::settings::{Origins, load};
    use crate::value::Family;
    use crate::value::rules::ValueRules;
    use chrono_tz::Tz;

    fn with(variables: &[(&str, &str)]) -> Result<ValueRules, Vec<String>> {
        let environment = variables
            .iter()
            .map(|(name, value)| (format!("TRIBUTARY_{name}"), (*value).to_owned()))
            .collect();
        let settings = load(&Origins {
            environment,
            ..Origins::default()
        })?;
        Ok(settings.value_rules().expect("checked"))
    }

    #[test]
    fn the_defaults_are_those_of_the_rules() {
        assert_eq!(with(&[]), Ok(ValueRules::default()));
    }

    #[test]
    fn everything_can_be_said_in_the_environment() {
        let rules = with(&[
            ("VALUE__ZONE", "Asia/Shanghai"),
            ("VALUE__CURRENCY", "cny"),
            ("VALUE__DATA_FROM", "2024-02-29"),
            ("VALUE__ACTIVITY", "Signed In, Product Viewed, Signed In"),
            ("LIFECYCLE__DECLINE_GAP_FACTOR", "2.5"),
            ("LIFECYCLE__MATURE_MIN_REVENUE_RATIO", ""),
            ("CHURN__HIGH_FROM", "1"),
            ("CHURN__USAGE_EVENTS", "Signed In"),
            ("WORTH__MARGIN", "0.35"),
            ("WORTH__MODEL", "mbg-nbd"),
        ])
        .expect("sound");
        assert_eq!((rules.zone, rules.activity.len()), (Tz::Asia__Shanghai, 2));
        assert_eq!(rules.currency.as_ref().map(crate::base::money::Currency::code), Some("CNY"));
        assert_eq!(rules.data_from, "2024-02-29".parse().ok());
        assert_eq!(
            (rules.lifecycle.decline_gap_factor, rules.lifecycle.mature_min_revenue_ratio),
            (2.5, None)
        );
        assert_eq!((rules.churn.high_from, rules.churn.usage_events.len()), (1.0, 1));
        assert_eq!((rules.worth.margin, rules.worth.family), (Some(0.35), Some(Family::MbgNbd)));
    }

    #[test]
    fn what_is_wrong_is_named_all_at_once() {
        for (name, value, expected) in [
            ("VALUE__ZONE", "Berlin", "value.zone must be a name of the time zone database"),
            ("VALUE__CURRENCY", "€", "value.currency must be a currency code"),
            ("VALUE__DATA_FROM", "2023-02-29", "value.data_from must be a day"),
            (
                "LIFECYCLE__DEFAULT_GAP_DAYS",
                "0",
                "lifecycle.default_gap_days must lie between",
            ),
            (
                "LIFECYCLE__DEFAULT_GAP_DAYS",
                "NaN",
                "lifecycle.default_gap_days must lie between",
            ),
            (
                "LIFECYCLE__LOST_GAP_FACTOR",
                "1.5",
                "lifecycle.lost_gap_factor must be decline_gap_factor or more",
            ),
            (
                "LIFECYCLE__MATURE_MIN_ORDERS",
                "-1",
                "LIFECYCLE__MATURE_MIN_ORDERS: lifecycle.mature_min_orders must be a whole number",
            ),
            (
                "LIFECYCLE__MATURE_MIN_REVENUE_RATIO",
                "much",
                "lifecycle.mature_min_revenue_ratio must be a number",
            ),
            ("CHURN__MEDIUM_FROM", "0.8", "churn.medium_from and churn.high_from must be"),
            (
                "CHURN__USAGE_DROP",
                "lots",
                "CHURN__USAGE_DROP: churn.usage_drop must be a number",
            ),
            ("CHURN__LOW_RECOMMENDATION", "11", "churn.low_recommendation must lie between"),
            ("WORTH__MARGIN", "35", "worth.margin must be a number from 0 to 1"),
            (
                "WORTH__ANNUAL_RETENTION",
                "-0.1",
                "worth.annual_retention must be a number from 0 to 1",
            ),
            (
                "WORTH__COVERAGE_FLOOR",
                "1.1",
                "worth.coverage_floor must lie between 0 and 1",
            ),
            ("WORTH__MODEL", "pareto", "worth.model must be bg-nbd, mbg-nbd or empty"),
        ] {
            let problems = with(&[(name, value)]).expect_err(name);
            assert!(problems.len() == 1 && problems[0].contains(expected), "{name}: {problems:?}");
        }
        assert_eq!(
            with(&[("VALUE__ZONE", "x"), ("WORTH__MARGIN", "x")]).expect_err("two").len(),
            2
        );
    }
}
