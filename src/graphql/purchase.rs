//! What a customer bought, added up.

use super::scalars::{DateTime, MoneyValue};
use crate::base::Money;
use crate::base::money::Currency;
use crate::customer::{PurchaseSummary, Totals, money};
use async_graphql::{Object, SimpleObject};

/// What a customer bought, added up.
pub struct PurchaseSummaryNode(pub PurchaseSummary);

/// What a customer bought, added up: each order once, however many sources reported it.
#[Object(name = "PurchaseSummary")]
impl PurchaseSummaryNode {
    /// How many orders: those of `purchases` that are `counted`.
    async fn count(&self) -> i64 {
        self.0.count
    }

    /// How many of them have an amount that no report named. They are in no sum.
    async fn unknown_amounts(&self) -> i64 {
        self.0.unknown
    }

    /// The share of orders whose amount is known, 0 to 1: how much of the truth the sums are. It is null without orders.
    async fn coverage(&self) -> Option<f64> {
        self.0.coverage()
    }

    /// How many orders were given back or cancelled entirely.
    async fn returned(&self) -> i64 {
        self.0.returned
    }

    /// What was paid for goods and not given back; null when amounts are known in several currencies, since nothing is converted (see
    /// `totals`), when no amount is known, and beyond 64 bits.
    async fn net_revenue(&self) -> Option<MoneyValue> {
        self.0.only().and_then(|(currency, totals)| value(totals.net(), currency))
    }

    /// What was given back; null when `netRevenue` is.
    async fn refunds(&self) -> Option<MoneyValue> {
        self.0.only().and_then(|(currency, totals)| value(totals.refunds, currency))
    }

    /// The sums of each currency, in the order of their codes.
    async fn totals(&self) -> Vec<PurchaseTotals> {
        let totals = self.0.totals.iter();
        totals
            .map(|(currency, totals)| PurchaseTotals::of(currency, totals))
            .collect()
    }

    /// When the first order was placed; null without one. An order that is known by its refund alone says nothing of it.
    async fn first_purchase_at(&self) -> Option<DateTime> {
        self.0.first_at.map(DateTime)
    }

    /// When the last order was placed; null without one.
    async fn last_purchase_at(&self) -> Option<DateTime> {
        self.0.last_at.map(DateTime)
    }
}

/// The orders in one currency.
#[derive(SimpleObject)]
pub struct PurchaseTotals {
    /// ISO 4217 code, or what the source said where it has none.
    currency: String,
    /// How many orders with a known amount.
    count: i64,
    /// What was paid for goods; null beyond 64 bits.
    revenue: Option<MoneyValue>,
    /// What was given back of it; null beyond 64 bits.
    refunds: Option<MoneyValue>,
    /// What remains; null beyond 64 bits.
    net_revenue: Option<MoneyValue>,
}

impl PurchaseTotals {
    fn of(currency: &Currency, totals: &Totals) -> Self {
        Self {
            currency: currency.code().to_owned(),
            count: totals.count,
            revenue: value(totals.revenue, currency),
            refunds: value(totals.refunds, currency),
            net_revenue: value(totals.net(), currency),
        }
    }
}

fn value(minor: i128, currency: &Currency) -> Option<MoneyValue> {
    money(minor, currency).map(|money: Money| money.into())
}
