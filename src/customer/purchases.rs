//! Reports of orders become purchases: load what is stored of the orders concerned, fold, write what differs.
//! The caller has locked the records, so nobody else folds the same order meanwhile.

use super::model::PurchaseKey;
use super::order::{Order, Prices, Rank, Refund, Report};
use super::store::{self, ProductRow, PurchaseRow};
use crate::base::ids::HashKey;
use crate::base::money::Currency;
use crate::base::{EventId, Instant, RecordId};
use crate::ingest::message::{OrderLine, OrderReport, OrderReportKind};
use crate::store::StoreError;
use sea_orm::ConnectionTrait;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// One event's report of an order, with where and when it came.
#[derive(Clone, Debug)]
pub struct Reported<'m> {
    pub record: RecordId,
    pub event: EventId,
    pub at: Instant,
    pub report: &'m OrderReport,
}

/// A purchase that is new or differs from what was stored.
#[derive(Clone, Debug)]
pub struct Touched {
    pub key: PurchaseKey,
    pub rev: i64,
    pub occurred_at: Instant,
    pub created: bool,
    /// (amount, refunded) in minor units, before and after.
    pub before: Option<(Option<i64>, i64)>,
    pub after: (Option<i64>, i64),
    pub currency: Currency,
}

/// Folds reports into stored purchases and writes what changed.
pub async fn apply(db: &impl ConnectionTrait, keys: &HashKey, reports: &[Reported<'_>]) -> Result<Vec<Touched>, StoreError> {
    if reports.is_empty() {
        return Ok(Vec::new());
    }
    let by_purchase = by_purchase(keys, reports);
    let asked: Vec<PurchaseKey> = by_purchase.keys().copied().collect();
    let mut stored = store::purchase_rows(db, &asked).await?;
    let mut refunds = store::refunds(db, &asked).await?;
    let mut prices = prices_needed(db, &refunds, &by_purchase).await?;
    let mut written = Written::default();
    for (key, reports) in by_purchase {
        let known = Known {
            stored: stored.remove(&key),
            refunds: refunds.remove(&key).unwrap_or_default(),
            prices: prices.remove(&key).unwrap_or_default(),
        };
        fold(keys, key, known, &reports, &mut written);
    }
    written.save(db).await?;
    Ok(written.touched)
}

/// The stored prices of orders of which products came back without one. No statement where none did.
async fn prices_needed(
    db: &impl ConnectionTrait,
    refunds: &HashMap<PurchaseKey, Vec<Refund>>,
    reported: &BTreeMap<PurchaseKey, Vec<&Reported<'_>>>,
) -> Result<HashMap<PurchaseKey, Prices>, StoreError> {
    let names_products =
        |reported: &&&Reported<'_>| reported.report.kind == OrderReportKind::Refunded && !reported.report.lines.is_empty();
    let now = reported
        .iter()
        .filter(|(_, reports)| reports.iter().any(|report| names_products(&report)));
    let before = refunds
        .iter()
        .filter(|(_, refunds)| refunds.iter().any(|refund| !refund.pieces.is_empty()));
    let asked: BTreeSet<PurchaseKey> = now.map(|(key, _)| *key).chain(before.map(|(key, _)| *key)).collect();
    store::prices(db, &asked.into_iter().collect::<Vec<_>>()).await
}

/// What reports make of purchases where nothing is stored yet.
pub(super) fn folded(keys: &HashKey, reports: &[Reported<'_>]) -> Written {
    let mut written = Written::default();
    for (key, reports) in by_purchase(keys, reports) {
        fold(keys, key, Known::default(), &reports, &mut written);
    }
    written
}

fn by_purchase<'r, 'm>(keys: &HashKey, reports: &'r [Reported<'m>]) -> BTreeMap<PurchaseKey, Vec<&'r Reported<'m>>> {
    let mut by_purchase: BTreeMap<PurchaseKey, Vec<&Reported<'_>>> = BTreeMap::new();
    for reported in reports {
        let id = keys.purchase("", &reported.report.order_id);
        let record = reported.record;
        by_purchase.entry(PurchaseKey { record, id }).or_default().push(reported);
    }
    by_purchase
}

/// Everything one call of `apply` will write, gathered so that each table takes one statement.
#[derive(Default)]
pub(super) struct Written {
    touched: Vec<Touched>,
    pub(super) purchases: Vec<PurchaseRow>,
    pub(super) refunds: Vec<(PurchaseKey, Refund)>,
    relined: Vec<PurchaseKey>,
    pub(super) lines: Vec<store::LineRow>,
    pub(super) products: BTreeMap<uuid::Uuid, ProductRow>,
}

impl Written {
    async fn save(&self, db: &impl ConnectionTrait) -> Result<(), StoreError> {
        store::upsert_purchases(db, &self.purchases).await?;
        store::insert_refunds(db, &self.refunds).await?;
        store::replace_lines(db, &self.relined, &self.lines).await?;
        store::upsert_products(db, self.products.values()).await
    }
}

/// What is stored of one order.
#[derive(Default)]
struct Known {
    stored: Option<PurchaseRow>,
    refunds: Vec<Refund>,
    prices: Prices,
}

fn fold(keys: &HashKey, key: PurchaseKey, known: Known, reports: &[&Reported<'_>], written: &mut Written) {
    let Known {
        stored,
        mut refunds,
        mut prices,
    } = known;
    let order_id = reports[0].report.order_id.clone();
    let mut order = stored
        .as_ref()
        .map_or_else(|| Order::first_reported(reports[0].at), PurchaseRow::order);
    let mut standing_lines = None;
    for reported in reports {
        match reported.report.kind {
            OrderReportKind::Completed | OrderReportKind::Updated => {
                // Every report describes its products, also one whose lines do not stand: else they would depend on what came together.
                describe_products(keys, &reported.report.lines, reported.at, &mut written.products);
                if order.report(&to_report(reported)) {
                    standing_lines = Some(&reported.report.lines);
                }
            }
            OrderReportKind::Refunded | OrderReportKind::Cancelled => {
                order.first_at = order.first_at.min(reported.at);
                let report = reported.report;
                let refund = Refund {
                    event: reported.event,
                    at: reported.at,
                    amount: report.amount,
                    currency: report.currency.clone(),
                    pieces: report
                        .lines
                        .iter()
                        .map(|line| (keys.product(&line.sku), line.quantity))
                        .collect(),
                };
                refunds.push(refund.clone());
                written.refunds.push((key, refund));
            }
        }
    }
    if let Some(lines) = standing_lines {
        written.relined.push(key);
        add_lines(keys, key, lines, written);
        prices = store::prices_of(lines.iter().map(|line| (keys.product(&line.sku), line.price)));
    }
    let rev = stored.as_ref().map_or(1, |row| row.rev + 1);
    let row = PurchaseRow::new(key, order_id, &order, order.refunded(&refunds, &prices).amount_minor, rev);
    written.touched.push(Touched {
        key,
        rev,
        occurred_at: order.occurred_at(),
        created: stored.is_none(),
        before: stored.as_ref().map(|row| (row.amount_minor, row.refunded_minor)),
        after: (row.amount_minor, row.refunded_minor),
        currency: order.money_currency(),
    });
    written.purchases.push(row);
}

fn to_report(reported: &Reported<'_>) -> Report {
    let report = reported.report;
    let kind = if report.kind == OrderReportKind::Updated { 2 } else { 1 };
    Report {
        rank: Rank {
            kind,
            at: reported.at,
            event: reported.event,
        },
        amount: report.amount,
        currency: report.currency.clone(),
        has_lines: !report.lines.is_empty(),
    }
}

fn add_lines(keys: &HashKey, key: PurchaseKey, lines: &[OrderLine], written: &mut Written) {
    for (n, line) in lines.iter().enumerate() {
        written.lines.push(store::LineRow {
            key,
            n: i64::try_from(n).unwrap_or(i64::MAX),
            product: keys.product(&line.sku),
            quantity: line.quantity,
            price: line.price,
        });
    }
}

fn describe_products(keys: &HashKey, lines: &[OrderLine], at: Instant, products: &mut BTreeMap<uuid::Uuid, ProductRow>) {
    for line in lines {
        let row = ProductRow {
            id: keys.product(&line.sku),
            sku: line.sku.clone(),
            name: line.name.clone().map(|name| (at, name)),
            category: line.category.clone().map(|category| (at, category)),
        };
        match products.entry(row.id.0) {
            Entry::Vacant(place) => drop(place.insert(row)),
            Entry::Occupied(mut known) => known.get_mut().describe(row),
        }
    }
}
