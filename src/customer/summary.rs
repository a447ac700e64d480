//! What a customer bought, added up: exactly, per currency, each order once. Pure.

use crate::base::money::Currency;
use crate::base::{Instant, Money};
use std::collections::BTreeMap;

/// All orders of a customer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PurchaseSummary {
    /// Orders, each once however many sources reported it.
    pub count: i64,
    /// Of these, those whose amount no report named.
    pub unknown: i64,
    /// Of these, those that were given back entirely.
    pub returned: i64,
    /// Of the orders that were placed: one that is known by its refund alone says nothing of it.
    pub first_at: Option<Instant>,
    pub last_at: Option<Instant>,
    /// The known amounts.
    pub totals: BTreeMap<Currency, Totals>,
}

/// The orders in one currency. Sums of 64-bit amounts need more than 64 bits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub count: i64,
    pub revenue: i128,
    pub refunds: i128,
}

impl Totals {
    pub const fn net(&self) -> i128 {
        self.revenue - self.refunds
    }
}

impl PurchaseSummary {
    /// The share of orders whose amount is known, 0 to 1; `None` without orders.
    pub fn coverage(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "no customer has 2^52 orders")]
        let share = (self.count - self.unknown) as f64 / self.count as f64;
        (self.count > 0).then_some(share)
    }

    /// The one currency of all known amounts; `None` with several, and with none.
    pub fn only(&self) -> Option<(&Currency, &Totals)> {
        let mut all = self.totals.iter();
        all.next().filter(|_| all.next().is_none())
    }

    /// Adds an order that counts up with the others.
    pub(super) fn add(&mut self, placed_at: Option<Instant>, amount: Option<&Money>, refunded: i64) {
        self.count += 1;
        self.first_at = self.first_at.into_iter().chain(placed_at).min();
        self.last_at = self.last_at.max(placed_at);
        let Some(amount) = amount else {
            self.unknown += 1;
            return;
        };
        self.returned += i64::from(amount.amount_minor > 0 && refunded == amount.amount_minor);
        let totals = self.totals.entry(amount.currency.clone()).or_default();
        totals.count += 1;
        totals.revenue += i128::from(amount.amount_minor);
        totals.refunds += i128::from(refunded);
    }

    /// The refund of an order that counts turns out to be another than its own record was told.
    pub(super) fn correct(&mut self, amount: &Money, told: &Money, standing: &Money) {
        if let Some(totals) = self.totals.get_mut(&amount.currency) {
            totals.refunds += i128::from(standing.amount_minor) - i128::from(told.amount_minor);
        }
        let is_all = |refunded: &Money| amount.amount_minor > 0 && refunded.amount_minor == amount.amount_minor;
        self.returned += i64::from(is_all(standing)) - i64::from(is_all(told));
    }
}

/// Minor units as money; `None` beyond 64 bits.
pub fn money(minor: i128, currency: &Currency) -> Option<Money> {
    let amount_minor = i64::try_from(minor).ok()?;
    Some(Money {
        amount_minor,
        currency: currency.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_beyond_64_bits_are_unknown_and_not_wrong() {
        let euro = Currency::stored("EUR".to_owned());
        let sum = i128::from(i64::MAX) + i128::from(i64::MAX);
        assert_eq!(money(sum, &euro), None);
        assert_eq!(
            money(sum - i128::from(i64::MAX), &euro).map(|money| money.amount_minor),
            Some(i64::MAX)
        );
    }

    #[test]
    fn what_is_unknown_lowers_the_coverage_and_no_order_has_none() {
        let summary = PurchaseSummary {
            count: 4,
            unknown: 1,
            ..PurchaseSummary::default()
        };
        assert_eq!(summary.coverage(), Some(0.75));
        assert_eq!(PurchaseSummary::default().coverage(), None);
        assert_eq!(PurchaseSummary::default().only(), None);
    }
}
