//! What is known of one customer, loaded once; facts and measures ask it about an instant. Plain data: nothing here reads or decides.
//!
//! It holds everything that was told, also what lies behind or after the instant that is asked about: whoever asks leaves out what had not
//! happened yet. Money is in minor units of the reporting currency.

use crate::base::Instant;
use chrono::NaiveDate;
use std::collections::BTreeMap;

/// Orders in the order of their instants, each once however many sources reported it, and what else value follows from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    pub orders: Vec<Order>,
    /// `Referral Converted`: this customer brought somebody.
    pub referrals: Vec<Instant>,
    /// `Review Submitted`.
    pub reviews: Vec<Instant>,
    /// `Subscription Started | Renewed | Cancelled`, in the order of their instants.
    pub subscriptions: Vec<(Instant, SubscriptionStep)>,
    /// `Survey Answered` of the kind NPS, with the score, in the order of their instants.
    pub recommendations: Vec<(Instant, i64)>,
    /// How often an event of a name happened on a day of the deployment's zone, for the names that are rolled up.
    pub activity: BTreeMap<String, BTreeMap<NaiveDate, i64>>,
}

/// An order that was placed.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    pub at: Instant,
    /// Its day in the deployment's zone.
    pub day: NaiveDate,
    /// What it brought before refunds; `None`: no report named an amount, or there is no rate for its day.
    pub amount: Option<i64>,
    /// What was given back, by the instants of the refunds; together never more than the amount. Empty where the amount is unknown.
    pub refunds: Vec<Returned>,
    /// Categories of its products, sorted, each once.
    pub categories: Vec<String>,
    /// Channel of the source that reported it, as the enum of the schema says it: `WEB`.
    pub channel: String,
}

/// Money given back.
#[derive(Clone, Debug, PartialEq)]
pub struct Returned {
    pub at: Instant,
    pub day: NaiveDate,
    pub amount: i64,
}

/// What became of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionStep {
    Started,
    Renewed,
    Cancelled,
}

impl Known {
    /// The orders that were placed up to an instant.
    pub fn orders_until(&self, at: Instant) -> &[Order] {
        &self.orders[..self.orders.partition_point(|order| order.at <= at)]
    }
}
