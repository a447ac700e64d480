//! The facts of what a customer bought, as far as they are stored and told: orders, their first and last, and their money. Pure.
//!
//! They are `customer::PurchaseSummary`, which counts each order once; nothing is counted here.

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

/// Field → [before, after] of what differs, for the log.
pub fn differences(before: &PurchaseSummary, after: &PurchaseSummary) -> Map<String, Value> {
    let pairs = fields(before).into_iter().zip(fields(after));
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
        let (before, after) = (summary(100), summary(i128::from(i64::MAX) * 2));
        let expected = json!({"netRevenueMinor": [{"EUR": "95"}, {"EUR": "18446744073709551609"}]});
        assert_eq!(Value::Object(differences(&before, &after)), expected);
        assert!(differences(&after, &after).is_empty());
        let first = differences(&PurchaseSummary::default(), &before);
        assert_eq!(first["purchaseCount"], json!([0, 1]));
        assert_eq!(first["firstPurchaseAt"], json!([null, "1970-01-01T00:00:00Z"]));
    }

    #[test]
    fn totals_are_read_as_they_were_written() {
        let summary = summary(i128::from(i64::MAX) + 7);
        assert_eq!(totals_of(&totals_json(&summary)), Some(summary.totals));
        assert_eq!(totals_of(&json!({"EUR": {"count": 1}})), None);
    }
}
