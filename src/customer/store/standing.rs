//! What counts of the orders of customers: the sums of whole customers in one statement, single orders by key, and more only of orders
//! that several records report.

use super::{prices, refunds};
use crate::base::money::Currency;
use crate::base::{CustomerId, Instant, Money, PurchaseId, RecordId};
use crate::customer::PurchaseKey;
use crate::customer::order::Prices;
use crate::customer::standing::{Standing, Told, standing};
use crate::customer::summary::{PurchaseSummary, Totals};
use crate::identity::store::JOIN_RECORDS;
use crate::ingest::store::JOIN_SOURCES;
use crate::store::{Rows, StoreError};
use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, Statement};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// When a report was told, for `standing`.
pub(super) const TOLD_AT: &str = "COALESCE(p.amount_at, p.placed_at, p.first_at)";

#[derive(FromQueryResult)]
struct Summed {
    customer_id: Uuid,
    currency: String,
    orders: i64,
    known: i64,
    returned: i64,
    repeated: i64,
    first_at: Option<i64>,
    last_at: Option<i64>,
    revenue_high: Option<i64>,
    revenue_low: Option<i64>,
    refunds_high: Option<i64>,
    refunds_low: Option<i64>,
}

/// Every report of the customers' orders; `place` 1 is the one that counts, by the rule of `standing`.
fn placed(relation: &str) -> String {
    format!(
        "SELECT v.customer_id, p.record_id, p.id, p.currency, p.occurred_at, p.placed_at, p.amount_minor, p.refunded_minor,
                ROW_NUMBER() OVER (PARTITION BY v.customer_id, p.id
                    ORDER BY CASE WHEN p.amount_minor IS NULL THEN 1 ELSE 0 END, s.trust DESC, {TOLD_AT} DESC, p.record_id DESC) AS place
         FROM {relation} {JOIN_RECORDS} {JOIN_SOURCES} JOIN purchase p ON p.record_id = r.id"
    )
}

pub(super) fn customers_relation(backend: DbBackend, customers: &[CustomerId]) -> (String, Vec<sea_orm::Value>) {
    Rows::new()
        .id("customer_id", customers.iter().map(|customer| customer.0))
        .relation(backend)
}

/// The statement that adds up the orders of customers, a row for each currency of each.
pub fn summed(backend: DbBackend, customers: &[CustomerId]) -> Statement {
    let (relation, values) = customers_relation(backend, customers);
    // Sums in two halves, so that neither overflows.
    let half = |column: &str| {
        format!(
            "CAST(SUM({column} >> 32) FILTER (WHERE place = 1 AND amount_minor IS NOT NULL) AS BIGINT) AS {{}}_high,
             CAST(SUM({column} & 4294967295) FILTER (WHERE place = 1 AND amount_minor IS NOT NULL) AS BIGINT) AS {{}}_low"
        )
    };
    let was_placed = "place = 1 AND (placed_at IS NOT NULL OR amount_minor IS NOT NULL)";
    let sql = format!(
        "SELECT customer_id, currency,
                COUNT(*) FILTER (WHERE place = 1) AS orders,
                COUNT(amount_minor) FILTER (WHERE place = 1) AS known,
                COUNT(*) FILTER (WHERE place = 1 AND amount_minor > 0 AND refunded_minor = amount_minor) AS returned,
                COUNT(*) FILTER (WHERE place > 1) AS repeated,
                MIN(occurred_at) FILTER (WHERE {was_placed}) AS first_at, MAX(occurred_at) FILTER (WHERE {was_placed}) AS last_at,
                {}, {}
         FROM ({}) AS told GROUP BY customer_id, currency",
        half("amount_minor").replace("{}", "revenue"),
        half("refunded_minor").replace("{}", "refunds"),
        placed(&relation)
    );
    Statement::from_sql_and_values(backend, sql, values)
}

/// What customers bought, added up; those without orders are missing. One statement, and a constant number more while a refund was told
/// by a report that does not count.
pub async fn summaries(
    db: &impl ConnectionTrait,
    customers: &[CustomerId],
) -> Result<HashMap<CustomerId, PurchaseSummary>, StoreError> {
    let statement = summed(db.get_database_backend(), customers);
    let mut summaries: HashMap<CustomerId, PurchaseSummary> = HashMap::new();
    let mut repeated = Vec::new();
    for row in Summed::find_by_statement(statement).all(db).await? {
        let customer = CustomerId(row.customer_id);
        if row.repeated > 0 && !repeated.contains(&customer) {
            repeated.push(customer);
        }
        row.add_to(summaries.entry(customer).or_default());
    }
    correct_refunds(db, &repeated, &mut summaries).await?;
    Ok(summaries)
}

impl Summed {
    fn add_to(self, summary: &mut PurchaseSummary) {
        summary.count += self.orders;
        summary.unknown += self.orders - self.known;
        summary.returned += self.returned;
        let (first, last) = (
            self.first_at.map(Instant::from_micros),
            self.last_at.map(Instant::from_micros),
        );
        summary.first_at = summary.first_at.into_iter().chain(first).min();
        summary.last_at = summary.last_at.max(last);
        if self.known > 0 {
            let whole = |high: Option<i64>, low: Option<i64>| {
                (i128::from(high.unwrap_or_default()) << 32) + i128::from(low.unwrap_or_default())
            };
            let totals = Totals {
                count: self.known,
                revenue: whole(self.revenue_high, self.revenue_low),
                refunds: whole(self.refunds_high, self.refunds_low),
            };
            summary.totals.insert(Currency::stored(self.currency), totals);
        }
    }
}

/// The sums know of the refunds of the reports that count; other reports of the same orders may tell of others.
async fn correct_refunds(
    db: &impl ConnectionTrait,
    customers: &[CustomerId],
    summaries: &mut HashMap<CustomerId, PurchaseSummary>,
) -> Result<(), StoreError> {
    if customers.is_empty() {
        return Ok(());
    }
    let (relation, values) = customers_relation(db.get_database_backend(), customers);
    let sql = format!(
        "SELECT told.record_id, told.id FROM ({}) AS told
         WHERE told.place > 1 AND EXISTS (SELECT 1 FROM refund f WHERE f.record_id = told.record_id AND f.purchase_id = told.id)",
        placed(&relation)
    );
    let mut keys = Vec::new();
    for row in db
        .query_all_raw(Statement::from_sql_and_values(db.get_database_backend(), sql, values))
        .await?
    {
        keys.push(PurchaseKey {
            record: RecordId(row.try_get_by_index(0)?),
            id: PurchaseId(row.try_get_by_index(1)?),
        });
    }
    for reports in reports_beside(db, &keys).await?.into_values() {
        let Some(Standing { counted, refunded, .. }) = standing(&reports) else {
            continue;
        };
        let Some(own) = reports.iter().find(|told| told.key == counted) else {
            continue;
        };
        if let (Some(amount), Some(summary)) = (&own.amount, summaries.get_mut(&own.customer)) {
            summary.correct(amount, &own.refunded, &refunded);
        }
    }
    Ok(())
}

/// Of each purchase, whether it counts within its customer, and what was given back of the order; of one that does not count, what its own
/// record was told. At most three statements.
pub async fn standings(
    db: &impl ConnectionTrait,
    keys: &[PurchaseKey],
) -> Result<HashMap<PurchaseKey, (bool, Money)>, StoreError> {
    let mut answers = HashMap::with_capacity(keys.len());
    for reports in reports_beside(db, keys).await?.into_values() {
        let Some(Standing { counted, refunded, .. }) = standing(&reports) else {
            continue;
        };
        for told in reports {
            let is_counted = told.key == counted;
            let refunded = if is_counted { refunded.clone() } else { told.refunded };
            answers.insert(told.key, (is_counted, refunded));
        }
    }
    Ok(answers)
}

#[derive(FromQueryResult)]
struct Report {
    customer_id: Uuid,
    record_id: Uuid,
    id: Uuid,
    trust: i64,
    told_at: i64,
    currency: String,
    amount_minor: Option<i64>,
    refunded_minor: i64,
    named: Option<String>,
}

impl From<Report> for Told {
    fn from(row: Report) -> Self {
        let money = |amount_minor| Money {
            amount_minor,
            currency: Currency::stored(row.currency.clone()),
        };
        Self {
            customer: CustomerId(row.customer_id),
            key: PurchaseKey {
                record: RecordId(row.record_id),
                id: PurchaseId(row.id),
            },
            trust: row.trust,
            told_at: Instant::from_micros(row.told_at),
            amount: row.amount_minor.map(money),
            refunded: money(row.refunded_minor),
            named: row.named.map(Currency::stored),
            refunds: Vec::new(),
            prices: Prices::new(),
        }
    }
}

/// By customer and order: every report of the orders that some purchases are of. Refunds and prices are read where several tell.
async fn reports_beside(
    db: &impl ConnectionTrait,
    keys: &[PurchaseKey],
) -> Result<BTreeMap<(CustomerId, PurchaseId), Vec<Told>>, StoreError> {
    let mut by_order: BTreeMap<(CustomerId, PurchaseId), Vec<Told>> = BTreeMap::new();
    if keys.is_empty() {
        return Ok(by_order);
    }
    let backend = db.get_database_backend();
    let (relation, values) = super::pairs(backend, keys.iter().map(|key| (key.record.0, key.id.0)));
    // Leans on the keys of record and purchase: one probe for each record of the customer.
    let sql = format!(
        "SELECT v.customer_id, p.record_id, p.id, s.trust, {TOLD_AT} AS told_at, p.currency, p.amount_minor, p.refunded_minor,
                COALESCE(p.amount_currency, p.named_currency) AS named
         FROM (SELECT DISTINCT own.customer_id, v.id FROM {relation} JOIN record own ON own.id = v.record_id) AS v
              {JOIN_RECORDS} {JOIN_SOURCES} JOIN purchase p ON p.record_id = r.id AND p.id = v.id"
    );
    let statement = Statement::from_sql_and_values(backend, sql, values);
    for row in Report::find_by_statement(statement).all(db).await? {
        let told = Told::from(row);
        by_order.entry((told.customer, told.key.id)).or_default().push(told);
    }
    let shared: Vec<PurchaseKey> = by_order
        .values()
        .filter(|reports| reports.len() > 1)
        .flatten()
        .map(|told| told.key)
        .collect();
    if shared.is_empty() {
        return Ok(by_order);
    }
    let mut refunds = refunds(db, &shared).await?;
    let gave_products = refunds.values().flatten().any(|refund| !refund.pieces.is_empty());
    let mut prices = prices(db, if gave_products { &shared } else { &[] }).await?;
    for told in by_order.values_mut().filter(|reports| reports.len() > 1).flatten() {
        told.refunds = refunds.remove(&told.key).unwrap_or_default();
        told.prices = prices.remove(&told.key).unwrap_or_default();
    }
    Ok(by_order)
}
