//! The facts of a customer as far as they are stored and told: what they bought by currency, and as of the last look what their worth is
//! computed from. Pure.

use super::facts::{Facts, PurchaseDays};
use crate::base::Instant;
use crate::base::money::Currency;
use crate::customer::{PurchaseSummary, Totals};
use serde_json::{Map, Value, json};

/// Money of each currency in minor units, as texts: sums may pass 64 bits.
fn minor(summary: &PurchaseSummary, of: impl Fn(&Totals) -> i128) -> Value {
    let each = summary.totals.iter();
    let each = each.map(|(currency, totals)| (currency.code().to_owned(), json!(of(totals).to_string())));
    Value::Object(each.collect())
}

fn fields(summary: &PurchaseSummary) -> [(&'static str, Value); 7] {
    let instant = |at: Option<Instant>| at.map_or(Value::Null, |at| json!(at.to_string()));
    [
        ("purchaseCount", json!(summary.count)),
        ("unknownAmounts", json!(summary.unknown)),
        ("returned", json!(summary.returned)),
        ("firstPurchaseAt", instant(summary.first_at)),
        ("lastPurchaseAt", instant(summary.last_at)),
        ("netRevenueMinor", minor(summary, Totals::net)),
        ("refundsMinor", minor(summary, |totals| totals.refunds)),
    ]
}

/// What is stored of a customer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Everything that was told of orders, by currency, also what lies ahead.
    pub purchases: PurchaseSummary,
    pub standing: Standing,
}

/// What had happened by the last look, in the reporting currency: enough for lifetime value and RFM without reading orders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// `None`: nobody has bought anything yet.
    pub currency: Option<Currency>,
    /// Orders that were placed, and those of them whose amount is known.
    pub orders: i64,
    pub priced: i64,
    /// What was paid and not given back, and what was given back; `None`: no orders, or more than 64 bits hold.
    pub net: Option<i64>,
    pub refunds: Option<i64>,
    pub days: PurchaseDays,
    pub referrals: i64,
    pub reviews: i64,
}

impl Told {
    /// Whether there is nothing to store.
    pub fn is_nothing(&self) -> bool {
        let standing = &self.standing;
        self.purchases == PurchaseSummary::default() && (standing.orders, standing.referrals, standing.reviews) == (0, 0, 0)
    }
}

impl Standing {
    pub fn of(facts: &Facts, currency: Option<&Currency>) -> Self {
        let bought = facts.orders > 0;
        Self {
            currency: currency.filter(|_| bought).cloned(),
            orders: facts.orders,
            priced: facts.priced,
            net: i64::try_from(facts.net()).ok().filter(|_| bought),
            refunds: i64::try_from(facts.refunds).ok().filter(|_| bought),
            days: facts.days,
            referrals: facts.referrals,
            reviews: facts.reviews,
        }
    }

    /// The share of orders whose amount is known, 0 to 1; `None` without orders.
    pub fn coverage(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "no customer has 2^52 orders")]
        let share = self.priced as f64 / self.orders as f64;
        (self.orders > 0).then_some(share)
    }

    fn fields(&self) -> [(&'static str, Value); 6] {
        let money = |minor: Option<i64>| minor.filter(|_| self.currency.is_some()).map(|minor| minor.to_string());
        [
            ("reportingCurrency", json!(self.currency.as_ref().map(Currency::code))),
            ("reportingNetMinor", json!(money(self.net))),
            ("reportingRefundsMinor", json!(money(self.refunds))),
            ("purchaseDays", json!(self.days.count)),
            ("referrals", json!(self.referrals)),
            ("reviews", json!(self.reviews)),
        ]
    }
}

/// Field → [before, after] of what differs, for the log.
pub fn differences(before: &Told, after: &Told) -> Map<String, Value> {
    let all = |told: &Told| fields(&told.purchases).into_iter().chain(told.standing.fields());
    let pairs = all(before).zip(all(after));
    let differing = pairs.filter(|((_, before), (_, after))| before != after);
    differing
        .map(|((name, before), (_, after))| (name.to_owned(), json!([before, after])))
        .collect()
}

/// As `customer_value.totals` holds them.
pub(super) fn totals_json(summary: &PurchaseSummary) -> Value {
    let each = summary.totals.iter().map(|(currency, totals)| {
        let of_currency = json!({
            "count": totals.count, "revenue": totals.revenue.to_string(), "refunds": totals.refunds.to_string(),
            "net": totals.net().to_string(),
        });
        (currency.code().to_owned(), of_currency)
    });
    Value::Object(each.collect())
}

/// What `totals_json` wrote; `None`: somebody else did.
pub(super) fn totals_of(stored: &Value) -> Option<std::collections::BTreeMap<Currency, Totals>> {
    let amount = |of_currency: &Value, name: &str| of_currency.get(name)?.as_str()?.parse().ok();
    let each = stored.as_object()?.iter().map(|(code, of_currency)| {
        let totals = Totals {
            count: of_currency.get("count")?.as_i64()?,
            revenue: amount(of_currency, "revenue")?,
            refunds: amount(of_currency, "refunds")?,
        };
        Some((Currency::stored(code.clone()), totals))
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(revenue: i128) -> Told {
        let known = Facts {
            orders: 1,
            priced: 1,
            revenue,
            refunds: 5,
            ..Facts::default()
        };
        let euro = Currency::stored("EUR".to_owned());
        Told {
            purchases: summary(revenue),
            standing: Standing::of(&known, Some(&euro)),
        }
    }

    fn summary(revenue: i128) -> PurchaseSummary {
        let totals = Totals {
            count: 1,
            revenue,
            refunds: 5,
        };
        PurchaseSummary {
            count: 1,
            first_at: Some(Instant::from_micros(0)),
            totals: [(Currency::stored("EUR".to_owned()), totals)].into(),
            ..PurchaseSummary::default()
        }
    }

    #[test]
    fn only_what_differs_is_told_and_sums_beyond_64_bits_exactly() {
        let (before, after) = (told(100), told(i128::from(i64::MAX) * 2));
        let expected =
            json!({"netRevenueMinor": [{"EUR": "95"}, {"EUR": "18446744073709551609"}], "reportingNetMinor": ["95", null]});
        assert_eq!(Value::Object(differences(&before, &after)), expected);
        assert!(differences(&after, &after).is_empty());
        let first = differences(&Told::default(), &before);
        assert_eq!(first["purchaseCount"], json!([0, 1]));
        assert_eq!(first["firstPurchaseAt"], json!([null, "1970-01-01T00:00:00Z"]));
        assert_eq!(
            (&first["reportingCurrency"], &first["reportingNetMinor"]),
            (&json!([null, "EUR"]), &json!([null, "95"]))
        );
    }

    #[test]
    fn totals_are_read_as_they_were_written() {
        let summary = summary(i128::from(i64::MAX) + 7);
        assert_eq!(totals_of(&totals_json(&summary)), Some(summary.totals));
        assert_eq!(totals_of(&json!({"EUR": {"count": 1}})), None);
    }
}
