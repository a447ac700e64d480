//! Of several reports of one order by records of one customer, one counts. Pure.
//!
//! A report that names an amount goes before one that names none, then the source with the higher trust, then the later report. What
//! was given back is told by any of them: by the source with the highest trust that told of a refund, of equals by the one that gives
//! back more; never the sum, since two systems tell of the same refund. Nothing of this is stored: a merge, a split or another trust
//! changes what counts, and no row.

use super::model::PurchaseKey;
use super::order::{Prices, Refund, given_back, given_back_each};
use crate::base::money::Currency;
use crate::base::{CustomerId, Instant, Money};

/// What one record's source reports of an order.
#[derive(Clone, Debug)]
pub struct Told {
    pub customer: CustomerId,
    pub key: PurchaseKey,
    pub trust: i64,
    /// Event time of the report that its amount comes from; else of its first.
    pub told_at: Instant,
    /// None: no report named one.
    pub amount: Option<Money>,
    /// None: no report named one, and it is assumed.
    pub named: Option<Currency>,
    /// As far as this record was told.
    pub refunded: Money,
    pub refunds: Vec<Refund>,
    pub prices: Prices,
}

/// What counts of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub counted: PurchaseKey,
    /// What was given back of the order, whoever told.
    pub refunded: Money,
    /// The same by the instants of the refunds; empty where they were not handed in.
    pub given_back: Vec<(Instant, i64)>,
}

/// Which of the reports of one order counts; `None` without reports.
pub fn standing(reports: &[Told]) -> Option<Standing> {
    let counted = reports
        .iter()
        .max_by_key(|told| (told.amount.is_some(), told.trust, told.told_at, told.key.record))?;
    let words_of_order = |told: &Told| {
        let in_words_of_order = told.refunds.iter().cloned().map(|refund| Refund {
            currency: refund.currency.or_else(|| told.named.clone()),
            ..refund
        });
        let mut prices = counted.prices.clone();
        prices.extend(told.prices.clone());
        let refunds: Vec<Refund> = in_words_of_order.collect();
        (refunds, prices)
    };
    let given_back_by = |told: &Told| {
        let (refunds, prices) = words_of_order(told);
        given_back(counted.amount.as_ref(), counted.refunded.currency.clone(), &refunds, &prices)
    };
    let told_of_refunds = reports.iter().filter(|told| !told.refunds.is_empty());
    let refunded = told_of_refunds
        .map(|told| (told, given_back_by(told)))
        // Two who tell of as much may tell of other instants: one of them stands, whoever is read first.
        .max_by_key(|(told, back)| (told.trust, back.amount_minor, told.key.record));
    let by_instant = refunded.as_ref().map(|(told, _)| {
        let (refunds, prices) = words_of_order(told);
        given_back_each(counted.amount.as_ref(), &counted.refunded.currency, &refunds, &prices)
    });
    Some(Standing {
        counted: counted.key,
        given_back: by_instant.unwrap_or_default(),
        refunded: refunded.map_or_else(|| counted.refunded.clone(), |(_, back)| back),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{EventId, ProductId, PurchaseId, RecordId};
    use rust_decimal::Decimal;

    fn money(amount_minor: i64, currency: &str) -> Money {
        Money {
            amount_minor,
            currency: Currency::stored(currency.to_owned()),
        }
    }

    fn told(record: u128, trust: i64, at: i64, amount: Option<i64>) -> Told {
        Told {
            customer: CustomerId(uuid::Uuid::nil()),
            key: PurchaseKey {
                record: RecordId(uuid::Uuid::from_u128(record)),
                id: PurchaseId(uuid::Uuid::nil()),
            },
            trust,
            told_at: Instant::from_micros(at),
            amount: amount.map(|minor| money(minor, "EUR")),
            named: amount.map(|_| Currency::stored("EUR".to_owned())),
            refunded: money(0, if amount.is_some() { "EUR" } else { "USD" }),
            refunds: Vec::new(),
            prices: Prices::new(),
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

    fn counted(reports: &[Told]) -> (u128, i64) {
        let mut turned = reports.to_vec();
        turned.reverse();
        let standing = standing(reports).expect("a report counts");
        assert_eq!(
            super::standing(&turned),
            Some(standing.clone()),
            "in whatever order they are read"
        );
        (standing.counted.record.0.as_u128(), standing.refunded.amount_minor)
    }

    #[test]
    fn trust_goes_before_time_and_a_known_amount_before_both() {
        assert_eq!(
            counted(&[told(1, 50, 1, Some(10)), told(2, 50, 2, Some(11))]).0,
            2,
            "the later"
        );
        assert_eq!(
            counted(&[told(1, 60, 1, Some(10)), told(2, 50, 2, Some(11))]).0,
            1,
            "the more trusted"
        );
        assert_eq!(
            counted(&[told(1, 60, 3, None), told(2, 50, 2, Some(11))]).0,
            2,
            "unknown is not zero"
        );
        assert_eq!(
            counted(&[told(1, 50, 1, Some(10)), told(2, 50, 1, Some(11))]).0,
            2,
            "equal, and still the same one"
        );
        assert_eq!(standing(&[]), None);
    }

    #[test]
    fn a_refund_counts_whoever_told_of_it_and_only_once() {
        let back = |mut told: Told, refunds: &[Refund]| {
            told.refunds = refunds.to_vec();
            told
        };
        let web = told(1, 50, 1, Some(4500));
        let cases = [
            // The shop tells of the order, the books of the refund alone.
            (vec![web.clone(), back(told(2, 90, 2, None), &[refund(Some(10), None)])], 1000),
            (vec![web.clone(), back(told(2, 90, 2, None), &[refund(None, None)])], 4500),
            (
                vec![web.clone(), back(told(2, 90, 2, None), &[refund(Some(10), Some("USD"))])],
                0,
            ),
            (vec![web.clone(), back(told(2, 90, 2, None), &[refund(Some(99), None)])], 4500),
            // Both tell of the same refund, or the more trusted of less.
            (
                vec![
                    back(web.clone(), &[refund(Some(10), None)]),
                    back(told(2, 50, 2, Some(4400)), &[refund(Some(10), None)]),
                ],
                1000,
            ),
            (
                vec![
                    back(web.clone(), &[refund(Some(30), None)]),
                    back(told(2, 90, 2, Some(4500)), &[refund(Some(10), None)]),
                ],
                1000,
            ),
            (
                vec![
                    back(web.clone(), &[refund(Some(30), None)]),
                    back(told(2, 50, 2, Some(4500)), &[refund(Some(10), None)]),
                ],
                3000,
            ),
            (vec![back(web, &[refund(Some(30), None)]), told(2, 90, 2, Some(4500))], 3000),
        ];
        for (reports, expected) in cases {
            assert_eq!(counted(&reports).1, expected, "{reports:?}");
        }
    }

    #[test]
    fn products_that_came_back_are_worth_what_any_report_says_they_cost() {
        let pot = ProductId(uuid::Uuid::from_u128(7));
        let mut web = told(1, 50, 1, Some(4500));
        web.prices.insert(pot, Decimal::from(20));
        let mut books = told(2, 50, 2, None);
        books.refunds = vec![Refund {
            pieces: vec![(pot, 1)],
            ..refund(Some(0), None)
        }];
        assert_eq!(counted(&[web, books]), (1, 2000));
    }
}
