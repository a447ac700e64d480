//! An order out of its reports, whatever order they arrive in. Pure.
//!
//! The amount comes from one report: an update outranks a completion, among equals the latest by (event time, event id). Refunds add
//! up, one for each event, and never beyond the amount, since a refund may include shipping that the amount leaves out. The order is
//! dated by its earliest completion.

use crate::base::money::{Currency, MoneyError};
use crate::base::{EventId, Instant, Money};
use rust_decimal::Decimal;

/// What an order amounts to, as far as it was reported.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// The report the amount comes from; none while only refunds are known.
    pub report: Option<Report>,
    pub placed_at: Option<Instant>,
    /// The earliest report of any kind.
    pub first_at: Instant,
}

/// A completion or an update. Compared by (rank, instant, event): the greatest stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// 1 completed, 2 updated.
    pub rank: i16,
    pub at: Instant,
    pub event: EventId,
    pub currency: Currency,
    pub amount: Option<Money>,
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
}

impl Order {
    pub fn first_reported(at: Instant) -> Self {
        Self {
            report: None,
            placed_at: None,
            first_at: at,
        }
    }

    /// Takes a completion or an update into account. True when the report now stands, so that its lines replace the others.
    pub fn report(&mut self, report: Report) -> bool {
        self.first_at = self.first_at.min(report.at);
        if report.rank == 1 {
            self.placed_at = Some(self.placed_at.map_or(report.at, |placed| placed.min(report.at)));
        }
        let standing = self
            .report
            .as_ref()
            .map(|standing| (standing.rank, standing.at, standing.event));
        if standing.is_some_and(|standing| standing >= (report.rank, report.at, report.event)) {
            return false;
        }
        self.report = Some(report);
        true
    }

    pub fn occurred_at(&self) -> Instant {
        self.placed_at.unwrap_or(self.first_at)
    }

    pub fn currency(&self) -> Currency {
        self.report
            .as_ref()
            .map_or_else(Currency::assumed, |report| report.currency.clone())
    }

    pub fn amount(&self) -> Option<&Money> {
        self.report.as_ref().and_then(|report| report.amount.as_ref())
    }

    /// What was given back, in the order's currency. Nothing while the amount is unknown; a refund in another currency is not
    /// converted and does not count.
    pub fn refunded(&self, refunds: &[Refund]) -> Result<Money, MoneyError> {
        let currency = self.currency();
        let Some(amount) = self.amount() else {
            return Ok(Money {
                amount_minor: 0,
                currency,
            });
        };
        let mut sum = Decimal::ZERO;
        for refund in refunds
            .iter()
            .filter(|refund| refund.currency.as_ref().is_none_or(|of_refund| *of_refund == currency))
        {
            match refund.amount {
                None => return Ok(amount.clone()),
                Some(part) => sum = sum.checked_add(part.abs()).ok_or(MoneyError::TooLarge)?,
            }
        }
        let sum = Money::from_decimal(sum, currency)?;
        Ok(if sum.amount_minor > amount.amount_minor.max(0) {
            amount.clone()
        } else {
            sum
        })
    }
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

    fn report(rank: i16, at: i64, amount_minor: i64) -> Report {
        let money = euro(amount_minor);
        let event = EventId(uuid::Uuid::from_u128(u128::try_from(at).expect("positive")));
        Report {
            rank,
            at: Instant::from_micros(at),
            event,
            currency: money.currency.clone(),
            amount: Some(money),
        }
    }

    fn refund(amount: Option<i64>, currency: Option<&str>) -> Refund {
        Refund {
            event: EventId(uuid::Uuid::nil()),
            at: Instant::from_micros(9),
            amount: amount.map(Decimal::from),
            currency: currency.map(|code| Currency::stored(code.to_owned())),
        }
    }

    fn folded(reports: &[Report]) -> Order {
        let mut order = Order::first_reported(reports[0].at);
        for report in reports {
            order.report(report.clone());
        }
        order
    }

    #[test]
    fn an_order_is_the_same_in_whatever_order_its_reports_arrive() {
        let reports = [report(1, 10, 100), report(2, 20, 80), report(1, 30, 100), report(2, 15, 90)];
        let expected = folded(&reports);
        assert_eq!(expected.amount(), Some(&euro(80)));
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
        let order = folded(&[report(1, 10, 4500)]);
        for (refunds, expected) in [
            (vec![], 0),
            (vec![refund(Some(10), None)], 1000),
            (vec![refund(Some(10), None), refund(Some(-5), Some("EUR"))], 1500),
            (vec![refund(Some(52), None)], 4500),
            (vec![refund(None, None)], 4500),
            (vec![refund(Some(10), Some("USD"))], 0),
        ] {
            assert_eq!(order.refunded(&refunds), Ok(euro(expected)), "{refunds:?}");
        }
        let unknown = Order::first_reported(Instant::from_micros(1));
        assert_eq!(
            unknown.refunded(&[refund(Some(10), None)]).map(|money| money.amount_minor),
            Ok(0)
        );
    }
}
