//! How value is computed here: the deployment's configuration in plain types. Section `[value]` of the settings says what each key means.

use crate::base::money::Currency;
use chrono::NaiveDate;
use chrono_tz::Tz;

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
