//! Purchases out of all reports at once, against those that are stored: what `purchases::apply` keeps report by report must be what the
//! reports make together.

use super::model::PurchaseKey;
use super::order::Order;
use super::purchases::{Reported, Written, folded};
use super::store;
use crate::base::RecordId;
use crate::base::ids::HashKey;
use crate::store::{Columns, Difference, StoreError, compare};
use sea_orm::ConnectionTrait;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// What the reports say of products, gathered over all records.
#[derive(Debug, Default)]
pub struct Described(BTreeMap<uuid::Uuid, store::ProductRow>);

/// A row's columns under their own names.
macro_rules! columns {
    ($row:expr; $($column:ident),+ $(,)?) => {
        Columns::from([$((stringify!($column), json!($row.$column))),+])
    };
}

/// Compares the purchases of some records, with lines and refunds, given all their reports. What they say of products is gathered.
pub async fn compare_purchases(
    db: &impl ConnectionTrait,
    keys: &HashKey,
    records: &[RecordId],
    reports: &[Reported<'_>],
    described: &mut Described,
) -> Result<Vec<Difference>, StoreError> {
    let expected = folded(keys, reports);
    let stored = stored(db, records).await?;
    let mut found = compare("purchase", stored.purchases, purchases(&expected));
    found.extend(compare("purchase_line", stored.lines, lines(&expected)));
    found.extend(compare("refund", stored.refunds, refunds(&expected)));
    for (id, product) in expected.products {
        match described.0.entry(id) {
            std::collections::btree_map::Entry::Vacant(place) => drop(place.insert(product)),
            std::collections::btree_map::Entry::Occupied(mut known) => known.get_mut().describe(product),
        }
    }
    Ok(found)
}

/// Compares all products with what all reports said of them.
pub async fn compare_products(db: &impl ConnectionTrait, described: Described) -> Result<Vec<Difference>, StoreError> {
    let mut stored = BTreeMap::new();
    let mut last = None;
    loop {
        let page = store::whole::products_after(db, last.as_ref()).await?;
        for row in &page {
            stored.insert(row.id.to_string(), columns!(row; sku, name, name_at, category, category_at));
        }
        last = page.into_iter().next_back();
        if last.is_none() {
            break;
        }
    }
    // What erased people bought is described by orders that are gone.
    let released = store::erased::released_products(db).await?;
    stored.retain(|id, _| !released.contains(&uuid::Uuid::parse_str(id).unwrap_or_default()));
    let described = described.0.into_iter().filter(|(id, _)| !released.contains(id));
    let expected = described.map(|(id, product)| {
        let part = |part: &Option<(crate::base::Instant, String)>| match part {
            Some((at, text)) => (json!(text), json!(at.micros())),
            None => (Json::Null, json!(i64::MIN)),
        };
        let ((name, name_at), (category, category_at)) = (part(&product.name), part(&product.category));
        let columns = Columns::from([
            ("sku", json!(product.sku)),
            ("name", name),
            ("name_at", name_at),
            ("category", category),
            ("category_at", category_at),
        ]);
        (id.to_string(), columns)
    });
    Ok(compare("product", stored, expected.collect()))
}

fn key_text(key: PurchaseKey) -> String {
    format!("{}/{}", key.record, key.id)
}

fn purchases(written: &Written) -> BTreeMap<String, Columns> {
    let columns = |row: &store::PurchaseRow| (key_text(row.key()), purchase_columns(row));
    written.purchases.iter().map(columns).collect()
}

fn purchase_columns(row: &store::PurchaseRow) -> Columns {
    let order: Order = row.order();
    let rank = |by: Option<super::order::Rank>| match by {
        Some(by) => [json!(by.kind), json!(by.at.micros()), json!(by.event.0)],
        None => [Json::Null, Json::Null, Json::Null],
    };
    let [amount_kind, amount_at, amount_event] = rank(order.amount.as_ref().map(|stated| stated.by));
    let [named_kind, named_at, named_event] = rank(order.currency.as_ref().map(|stated| stated.by));
    let [lines_kind, lines_at, lines_event] = rank(order.lines.as_ref().map(|stated| stated.by));
    let amount = order.amount.as_ref().map(|stated| stated.value.0.to_string());
    let amount_currency = order.amount.as_ref().and_then(|stated| stated.value.1.as_ref());
    let named_currency = order.currency.as_ref().map(|stated| &stated.value);
    Columns::from([
        ("order_id", json!(row.order_id())),
        ("occurred_at", json!(order.occurred_at().micros())),
        ("first_at", json!(order.first_at.micros())),
        ("placed_at", json!(order.placed_at.map(crate::base::Instant::micros))),
        ("currency", json!(order.money_currency().code())),
        ("amount_minor", json!(row.amount_minor)),
        ("refunded_minor", json!(row.refunded_minor)),
        ("amount", json!(amount)),
        ("amount_currency", json!(amount_currency.map(|currency| currency.code()))),
        ("amount_kind", amount_kind),
        ("amount_at", amount_at),
        ("amount_event", amount_event),
        ("named_currency", json!(named_currency.map(|currency| currency.code()))),
        ("named_kind", named_kind),
        ("named_at", named_at),
        ("named_event", named_event),
        ("lines_kind", lines_kind),
        ("lines_at", lines_at),
        ("lines_event", lines_event),
    ])
}

fn lines(written: &Written) -> BTreeMap<String, Columns> {
    let columns = |line: &store::LineRow| {
        let columns = Columns::from([
            ("product_id", json!(line.product.0)),
            ("quantity", json!(line.quantity)),
            ("price", json!(line.price.map(|price| price.to_string()))),
        ]);
        (format!("{}/{}", key_text(line.key), line.n), columns)
    };
    written.lines.iter().map(columns).collect()
}

fn refunds(written: &Written) -> BTreeMap<String, Columns> {
    let columns = |(key, refund): &(PurchaseKey, super::order::Refund)| {
        let columns = Columns::from([
            ("occurred_at", json!(refund.at.micros())),
            ("amount", json!(refund.amount.map(|amount| amount.to_string()))),
            ("currency", json!(refund.currency.as_ref().map(|currency| currency.code()))),
            ("pieces", json!(store::pieces_json(refund))),
        ]);
        (format!("{}/{}", key_text(*key), refund.event), columns)
    };
    written.refunds.iter().map(columns).collect()
}

#[derive(Default)]
struct Stored {
    purchases: BTreeMap<String, Columns>,
    lines: BTreeMap<String, Columns>,
    refunds: BTreeMap<String, Columns>,
}

async fn stored(db: &impl ConnectionTrait, records: &[RecordId]) -> Result<Stored, StoreError> {
    let mut stored = Stored::default();
    let mut last = None;
    loop {
        let page = store::whole::purchases_of_after(db, records, last.as_ref()).await?;
        for row in &page {
            stored.purchases.insert(
                format!("{}/{}", row.record_id, row.id),
                columns!(row; order_id, occurred_at, first_at, placed_at, currency, amount_minor, refunded_minor, amount,
                    amount_currency, amount_kind, amount_at, amount_event, named_currency, named_kind, named_at, named_event,
                    lines_kind, lines_at, lines_event),
            );
        }
        last = page.into_iter().next_back();
        if last.is_none() {
            break;
        }
    }
    let mut last = None;
    loop {
        let page = store::whole::lines_of_after(db, records, last.as_ref()).await?;
        for row in &page {
            let key = format!("{}/{}/{}", row.record_id, row.purchase_id, row.n);
            stored.lines.insert(key, columns!(row; product_id, quantity, price));
        }
        last = page.into_iter().next_back();
        if last.is_none() {
            break;
        }
    }
    let mut last = None;
    loop {
        let page = store::whole::refunds_of_after(db, records, last.as_ref()).await?;
        for row in &page {
            let key = format!("{}/{}/{}", row.record_id, row.purchase_id, row.event_id);
            stored
                .refunds
                .insert(key, columns!(row; occurred_at, amount, currency, pieces));
        }
        last = page.into_iter().next_back();
        if last.is_none() {
            break;
        }
    }
    Ok(stored)
}
