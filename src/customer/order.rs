//! An order out of its reports, whatever order they arrive in. Pure.
//!
//! Each part of an order comes from the greatest report that names it: an update outranks a completion, among equals the latest by
//! (event time, event id) stands. So an update without an amount leaves the amount alone. Refunds add up, one for each event, and never
//! beyond the amount, since a refund may include shipping that the amount leaves out; products given back without a price count at the
//! order's. The order is dated by its earliest completion.

use crate::base::money::Currency;
use crate::base::{EventId, Instant, Money, ProductId};
use rust_decimal::Decimal;
use std::collections::BTreeMap;

/// The price of a piece of each product of an order, where its report named one.
pub type Prices = BTreeMap<ProductId, Decimal>;

/// What an order amounts to, as far as it was reported.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// The amount, and the currency where the same report named it.
    pub amount: Option<Stated<(Decimal, Option<Currency>)>>,
    /// The currency, for an amount whose report named none.
    pub currency: Option<Stated<Currency>>,
    /// Whose lines are the order's.
    pub lines: Option<Stated<()>>,
    pub placed_at: Option<Instant>,
    /// The earliest report of any kind.
    pub first_at: Instant,
}

/// A part of an order and the report it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Stated<T> {
    pub by: Rank,
    pub value: T,
}

/// Which of two reports stands: the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// 1 completed, 2 updated.
    pub kind: i16,
    pub at: Instant,
    pub event: EventId,
}

/// A completion or an update.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub rank: Rank,
    pub amount: Option<Decimal>,
    pub currency: Option<Currency>,
    pub has_lines: bool,
}

/// Money given back, as one event told it.
#[derive(Clone, Debug, PartialEq)]
pub struct Refund {
    pub event: EventId,
    pub at: Instant,
    /// None: all that is left.
    pub amount: Option<Decimal>,
    /// None: that of the order.
    pub currency: Option<Currency>,
    /// Products, and how many pieces of each, that came back beside the amount without a price.
    pub pieces: Vec<(ProductId, i64)>,
}

impl Order {
    pub fn first_reported(at: Instant) -> Self {
        Self {
            amount: None,
            currency: None,
            lines: None,
            placed_at: None,
            first_at: at,
        }
    }

    /// Takes a completion or an update into account. True when its lines are now the order's.
    pub fn report(&mut self, report: &Report) -> bool {
        let rank = report.rank;
        self.first_at = self.first_at.min(rank.at);
        if rank.kind == 1 {
            self.placed_at = Some(self.placed_at.map_or(rank.at, |placed| placed.min(rank.at)));
        }
        if let Some(amount) = report.amount {
            take(&mut self.amount, rank, (amount, report.currency.clone()));
        }
        if let Some(currency) = &report.currency {
            take(&mut self.currency, rank, currency.clone());
        }
        report.has_lines && take(&mut self.lines, rank, ())
    }

    pub fn occurred_at(&self) -> Instant {
        self.placed_at.unwrap_or(self.first_at)
    }

    pub fn money_currency(&self) -> Currency {
        let with_amount = self.amount.as_ref().and_then(|stated| stated.value.1.clone());
        with_amount
            .or_else(|| self.currency.as_ref().map(|stated| stated.value.clone()))
            .unwrap_or_else(Currency::assumed)
    }

    /// `None` while no report named an amount, or when it does not fit the currency that another report named.
    pub fn money(&self) -> Option<Money> {
        let amount = self.amount.as_ref()?.value.0;
        Money::from_decimal(amount, self.money_currency()).ok()
    }

    /// What was given back, in the order's currency.
    pub fn refunded(&self, refunds: &[Refund], prices: &Prices) -> Money {
        given_back(self.money().as_ref(), self.money_currency(), refunds, prices)
    }
}

/// What refunds make of an amount: nothing while it is unknown, at most all of it. A refund in another currency is not converted and
/// does not count, nor does a product whose price nobody named.
pub fn given_back(amount: Option<&Money>, currency: Currency, refunds: &[Refund], prices: &Prices) -> Money {
    let Some(amount) = amount.filter(|amount| amount.amount_minor > 0) else {
        return Money {
            amount_minor: 0,
            currency,
        };
    };
    let mut sum = Decimal::ZERO;
    for refund in refunds
        .iter()
        .filter(|refund| refund.currency.as_ref().is_none_or(|of_refund| *of_refund == currency))
    {
        match refund.value(prices).and_then(|part| sum.checked_add(part)) {
            None => return amount.clone(),
            Some(more) => sum = more,
        }
    }
    match Money::from_decimal(sum, currency) {
        Ok(sum) if sum.amount_minor <= amount.amount_minor => sum,
        _ => amount.clone(),
    }
}

/// The same by the instants of the refunds, in their order: what each gives back beyond those before it. Together they are what
/// `given_back` says.
pub fn given_back_each(amount: Option<&Money>, currency: &Currency, refunds: &[Refund], prices: &Prices) -> Vec<(Instant, i64)> {
    let Some(amount) = amount.filter(|amount| amount.amount_minor > 0) else {
        return Vec::new();
    };
    let of_currency = |refund: &&Refund| refund.currency.as_ref().is_none_or(|of_refund| of_refund == currency);
    let mut refunds: Vec<&Refund> = refunds.iter().filter(of_currency).collect();
    refunds.sort_by_key(|refund| (refund.at, refund.event));
    let mut each = Vec::new();
    let (mut sum, mut before) = (Some(Decimal::ZERO), 0);
    for refund in refunds {
        sum = sum.and_then(|sum| sum.checked_add(refund.value(prices)?));
        let whole = sum.and_then(|sum| Money::from_decimal(sum, currency.clone()).ok());
        let back = whole.map_or(amount.amount_minor, |sum| sum.amount_minor.min(amount.amount_minor));
        if back > before {
            each.push((refund.at, back - before));
            before = back;
        }
    }
    each
}

impl Refund {
    /// What it gives back; `None` for all that is left, and for more than can be counted.
    fn value(&self, prices: &Prices) -> Option<Decimal> {
        let mut value = self.amount?.abs();
        for (product, pieces) in &self.pieces {
            let price = prices.get(product).copied().unwrap_or_default().abs();
            let of_product = price.checked_mul(Decimal::from(*pieces).abs())?;
            value = value.checked_add(of_product)?;
        }
        Some(value)
    }
}

fn take<T>(standing: &mut Option<Stated<T>>, by: Rank, value: T) -> bool {
    let stands = standing.as_ref().is_none_or(|standing| standing.by < by);
    if stands {
        *standing = Some(Stated { by, value });
    }
    stands
}

#[cfg(test)]
mod tests {
    use super::*;

    fn euro(amount_minor: i64) -> Money {
        Money {
            amount_minor,
            currency: Currency::stored("EUR".to_owned()),
        }
    }

    fn report(kind: i16, at: i64, amount: Option<i64>, currency: Option<&str>) -> Report {
        let event = EventId(uuid::Uuid::from_u128(u128::try_from(at).expect("positive")));
        Report {
            rank: Rank {
                kind,
                at: Instant::from_micros(at),
                event,
            },
            amount: amount.map(Decimal::from),
            currency: currency.map(|code| Currency::stored(code.to_owned())),
            has_lines: false,
        }
    }

    fn refund(amount: Option<i64>, currency: Option<&str>) -> Refund {
        Refund {
            event: EventId(uuid::Uuid::nil()),
            at: Instant::from_micros(9),
            amount: amount.map(Decimal::from),
            currency: currency.map(|code| Currency::stored(code.to_owned())),
            pieces: Vec::new(),
        }
    }

    fn folded(reports: &[Report]) -> Order {
        let mut order = Order::first_reported(reports[0].rank.at);
        for report in reports {
            order.report(report);
        }
        order
    }

    #[test]
    fn an_order_is_the_same_in_whatever_order_its_reports_arrive() {
        let reports = [
            report(1, 10, Some(100), Some("EUR")),
            report(2, 20, Some(80), None),
            report(1, 30, Some(100), Some("EUR")),
            report(2, 25, None, None),
            report(2, 15, Some(90), Some("EUR")),
        ];
        let expected = folded(&reports);
        assert_eq!(
            expected.money(),
            Some(euro(8000)),
            "an update without an amount leaves it alone, one without a currency too"
        );
        assert_eq!(expected.occurred_at(), Instant::from_micros(10));
        for start in 0..reports.len() {
            let mut turned = reports.to_vec();
            turned.rotate_left(start);
            assert_eq!(folded(&turned), expected);
            turned.reverse();
            assert_eq!(folded(&turned), expected);
        }
    }

    #[test]
    fn refunds_add_up_and_never_exceed_the_amount() {
        let order = folded(&[report(1, 10, Some(45), Some("EUR"))]);
        for (refunds, expected) in [
            (vec![], 0),
            (vec![refund(Some(10), None)], 1000),
            (vec![refund(Some(10), None), refund(Some(-5), Some("EUR"))], 1500),
            (vec![refund(Some(52), None)], 4500),
            (vec![refund(None, None)], 4500),
            (vec![refund(Some(10), Some("USD"))], 0),
            (vec![refund(Some(i64::MAX), None), refund(Some(i64::MAX), None)], 4500),
        ] {
            assert_eq!(order.refunded(&refunds, &Prices::new()), euro(expected), "{refunds:?}");
        }
        let unknown = Order::first_reported(Instant::from_micros(1));
        assert_eq!(unknown.refunded(&[refund(Some(10), None)], &Prices::new()).amount_minor, 0);
        let owed = folded(&[report(1, 10, Some(-5), Some("EUR"))]);
        assert_eq!(owed.refunded(&[refund(Some(1), None)], &Prices::new()), euro(0));
    }

    #[test]
    fn what_each_refund_gives_back_is_together_what_all_give_back() {
        let order = folded(&[report(1, 10, Some(45), Some("EUR"))]);
        let at = |at: i64, refund: Refund| Refund {
            at: Instant::from_micros(at),
            ..refund
        };
        let euros = Currency::stored("EUR".to_owned());
        for (refunds, expected) in [
            (vec![], vec![]),
            (
                vec![at(20, refund(Some(10), None)), at(12, refund(Some(5), Some("EUR")))],
                vec![(12, 500), (20, 1000)],
            ),
            (
                vec![
                    at(20, refund(Some(30), None)),
                    at(25, refund(Some(30), None)),
                    at(30, refund(Some(1), None)),
                ],
                vec![(20, 3000), (25, 1500)],
            ),
            (
                vec![
                    at(20, refund(Some(10), Some("USD"))),
                    at(25, refund(None, None)),
                    at(30, refund(Some(1), None)),
                ],
                vec![(25, 4500)],
            ),
            (
                vec![at(20, refund(Some(i64::MAX), None)), at(25, refund(Some(i64::MAX), None))],
                vec![(20, 4500)],
            ),
        ] {
            let each = given_back_each(order.money().as_ref(), &euros, &refunds, &Prices::new());
            let told: Vec<(i64, i64)> = each.iter().map(|(at, back)| (at.micros(), *back)).collect();
            assert_eq!(told, expected, "{refunds:?}");
            let sum: i64 = each.iter().map(|(_, back)| back).sum();
            assert_eq!(sum, order.refunded(&refunds, &Prices::new()).amount_minor);
        }
    }

    #[test]
    fn products_given_back_without_a_price_count_at_the_prices_of_the_order() {
        let order = folded(&[report(1, 10, Some(45), Some("EUR"))]);
        let (pot, lid) = (ProductId(uuid::Uuid::from_u128(1)), ProductId(uuid::Uuid::from_u128(2)));
        let prices = Prices::from([(pot, Decimal::from(20)), (lid, Decimal::from(5))]);
        let back = |amount: Option<i64>, pieces: &[(ProductId, i64)]| Refund {
            pieces: pieces.to_vec(),
            ..refund(amount, None)
        };
        let nobody = ProductId(uuid::Uuid::from_u128(3));
        for (refunds, expected) in [
            (vec![back(Some(0), &[(pot, 1)])], 2000),
            (vec![back(Some(0), &[(pot, 1), (lid, 1)]), back(Some(3), &[])], 2800),
            (vec![back(Some(3), &[(lid, -1)])], 800),
            (vec![back(Some(0), &[(pot, 9)])], 4500),
            (vec![back(Some(0), &[(nobody, 1)])], 0),
            (vec![back(Some(0), &[(pot, i64::MAX), (lid, i64::MAX)])], 4500),
        ] {
            assert_eq!(order.refunded(&refunds, &prices), euro(expected), "{refunds:?}");
        }
    }
}
