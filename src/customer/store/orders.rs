//! Whole orders of customers, each once however many sources reported it: what value is computed from.

use super::standing::{TOLD_AT, customers_relation};
use super::{pairs, prices, refunds};
use crate::base::money::Currency;
use crate::base::{CustomerId, Instant, Money, PurchaseId, RecordId};
use crate::customer::order::Prices;
use crate::customer::standing::{Told, standing};
use crate::customer::{PurchaseKey, PurchaseSummary};
use crate::identity::store::JOIN_RECORDS;
use crate::ingest::store::JOIN_SOURCES;
use crate::store::StoreError;
use entity::Channel;
use sea_orm::{ConnectionTrait, FromQueryResult, Statement};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// An order as the report that counts tells it.
#[derive(Clone, Debug)]
pub struct CountedOrder {
    pub key: PurchaseKey,
    /// `None`: it is known by its refund or its cancellation alone.
    pub placed_at: Option<Instant>,
    /// `None`: no report named one.
    pub amount: Option<Money>,
    /// What was given back, in the currency of the amount, whoever told.
    pub refunded: Money,
    /// The same by the instants of the refunds, in their order.
    pub given_back: Vec<(Instant, i64)>,
    /// Of its products, sorted, each once.
    pub categories: Vec<String>,
    /// Of the source whose report counts.
    pub channel: Channel,
}

#[derive(FromQueryResult)]
struct Report {
    customer_id: Uuid,
    record_id: Uuid,
    id: Uuid,
    trust: i64,
    channel: Channel,
    told_at: i64,
    occurred_at: i64,
    placed_at: Option<i64>,
    currency: String,
    amount_minor: Option<i64>,
    refunded_minor: i64,
    named: Option<String>,
}

/// What is kept of a report beside what decides whether it counts.
struct Beside {
    placed_at: Option<Instant>,
    channel: Channel,
}

impl Report {
    fn split(self) -> (Told, Beside) {
        let currency = Currency::stored(self.currency);
        let money = |amount_minor| Money {
            amount_minor,
            currency: currency.clone(),
        };
        let was_placed = self.placed_at.is_some() || self.amount_minor.is_some();
        let told = Told {
            customer: CustomerId(self.customer_id),
            key: PurchaseKey {
                record: RecordId(self.record_id),
                id: PurchaseId(self.id),
            },
            trust: self.trust,
            told_at: Instant::from_micros(self.told_at),
            amount: self.amount_minor.map(money),
            refunded: money(self.refunded_minor),
            named: self.named.map(Currency::stored),
            refunds: Vec::new(),
            prices: Prices::new(),
        };
        let beside = Beside {
            placed_at: was_placed.then_some(Instant::from_micros(self.occurred_at)),
            channel: self.channel,
        };
        (told, beside)
    }
}

/// The orders of customers, those of each in the order of their instants; who has none is missing. Two statements, and one for refunds and
/// one for prices where some were given back.
pub async fn orders(
    db: &impl ConnectionTrait,
    customers: &[CustomerId],
) -> Result<HashMap<CustomerId, Vec<CountedOrder>>, StoreError> {
    let mut by_order = reports(db, customers).await?;
    let mut found: HashMap<CustomerId, Vec<CountedOrder>> = HashMap::new();
    if by_order.is_empty() {
        return Ok(found);
    }
    tell_refunds(db, &mut by_order).await?;
    for ((customer, _), (told, beside)) in by_order {
        let Some(standing) = standing(&told) else { continue };
        let counted = told.into_iter().zip(beside).find(|(told, _)| told.key == standing.counted);
        let Some((told, beside)) = counted else { continue };
        found.entry(customer).or_default().push(CountedOrder {
            key: told.key,
            placed_at: beside.placed_at,
            amount: told.amount,
            refunded: standing.refunded,
            given_back: standing.given_back,
            categories: Vec::new(),
            channel: beside.channel,
        });
    }
    let keys: Vec<PurchaseKey> = found.values().flatten().map(|order| order.key).collect();
    let mut categories = categories(db, &keys).await?;
    for orders in found.values_mut() {
        for order in orders.iter_mut() {
            order.categories = categories.remove(&order.key).unwrap_or_default();
        }
        orders.sort_by_key(|order| (order.placed_at, order.key.id, order.key.record));
    }
    Ok(found)
}

/// Every report, those of one order of one customer together.
type ByOrder = BTreeMap<(CustomerId, PurchaseId), (Vec<Told>, Vec<Beside>)>;

async fn reports(db: &impl ConnectionTrait, customers: &[CustomerId]) -> Result<ByOrder, StoreError> {
    let backend = db.get_database_backend();
    let (relation, values) = customers_relation(backend, customers);
    let sql = format!(
        "SELECT v.customer_id, p.record_id, p.id, s.trust, s.channel, {TOLD_AT} AS told_at, p.occurred_at, p.placed_at, p.currency,
                p.amount_minor, p.refunded_minor, COALESCE(p.amount_currency, p.named_currency) AS named
         FROM {relation} {JOIN_RECORDS} {JOIN_SOURCES} JOIN purchase p ON p.record_id = r.id"
    );
    let rows = Report::find_by_statement(Statement::from_sql_and_values(backend, sql, values));
    let mut by_order = ByOrder::new();
    for row in rows.all(db).await? {
        let (told, beside) = row.split();
        let of_order = by_order.entry((told.customer, told.key.id)).or_default();
        of_order.0.push(told);
        of_order.1.push(beside);
    }
    Ok(by_order)
}

/// Reads the refunds of orders of which something was given back, or may have been as another report tells.
async fn tell_refunds(db: &impl ConnectionTrait, by_order: &mut ByOrder) -> Result<(), StoreError> {
    let gives_back = |told: &[Told]| told.len() > 1 || told.iter().any(|told| told.refunded.amount_minor != 0);
    let asked = by_order.values().filter(|(told, _)| gives_back(told));
    let asked: Vec<PurchaseKey> = asked.flat_map(|(told, _)| told).map(|told| told.key).collect();
    if asked.is_empty() {
        return Ok(());
    }
    let mut refunds = refunds(db, &asked).await?;
    let gave_products = refunds.values().flatten().any(|refund| !refund.pieces.is_empty());
    let mut prices = prices(db, if gave_products { &asked } else { &[] }).await?;
    for told in by_order.values_mut().flat_map(|(told, _)| told) {
        told.refunds = refunds.remove(&told.key).unwrap_or_default();
        told.prices = prices.remove(&told.key).unwrap_or_default();
    }
    Ok(())
}

/// What the products of purchases are of.
async fn categories(db: &impl ConnectionTrait, keys: &[PurchaseKey]) -> Result<HashMap<PurchaseKey, Vec<String>>, StoreError> {
    let backend = db.get_database_backend();
    let (relation, values) = pairs(backend, keys.iter().map(|key| (key.record.0, key.id.0)));
    let sql = format!(
        "SELECT DISTINCT l.record_id, l.purchase_id, d.category FROM {relation}
         JOIN purchase_line l ON l.record_id = v.record_id AND l.purchase_id = v.id
         JOIN product d ON d.id = l.product_id WHERE d.category IS NOT NULL"
    );
    let mut found: HashMap<PurchaseKey, Vec<String>> = HashMap::new();
    for row in db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await? {
        let key = PurchaseKey {
            record: RecordId(row.try_get_by_index(0)?),
            id: PurchaseId(row.try_get_by_index(1)?),
        };
        found.entry(key).or_default().push(row.try_get_by_index(2)?);
    }
    for categories in found.values_mut() {
        categories.sort_unstable();
    }
    Ok(found)
}

/// Orders added up.
pub fn added_up(orders: &[CountedOrder]) -> PurchaseSummary {
    let mut summary = PurchaseSummary::default();
    for order in orders {
        summary.add(order.placed_at, order.amount.as_ref(), order.refunded.amount_minor);
    }
    summary
}
