//! Purchases with their lines.

use super::pairs;
use crate::base::money::Currency;
use crate::base::{EventId, Instant, Money, ProductId, PurchaseId, RecordId};
use crate::customer::order::{Order, Prices, Rank, Stated};
use crate::customer::{Purchase, PurchaseKey, PurchaseLine};
use crate::store::walk::{Lane, columns_of};
use crate::store::{Rows, StoreError};
use entity::purchase;
use rust_decimal::Decimal;
use sea_orm::{ConnectionTrait, FromQueryResult as _, QueryResult, Statement};
use std::collections::HashMap;
use std::str::FromStr as _;

/// Purchases as entries of a timeline.
pub fn purchase_lane() -> Lane {
    Lane {
        keys: "purchase",
        record: "record_id",
        at: "occurred_at",
        id: "id",
        condition: String::new(),
        values: Vec::new(),
        is_shared: false,
        rows: "purchase",
        on: "{}.record_id = f.record_id AND {}.id = f.id",
        columns: columns_of::<purchase::Entity>(),
    }
}

/// The purchase of a timeline's row.
pub fn read_purchase(row: &QueryResult, prefix: &str) -> Result<Purchase, StoreError> {
    Ok(purchase::Model::from_query_result(row, prefix)?.into())
}

/// Purchases by key.
pub async fn purchases(db: &impl ConnectionTrait, keys: &[PurchaseKey]) -> Result<HashMap<PurchaseKey, Purchase>, StoreError> {
    let rows = purchase_models(db, keys).await?;
    Ok(rows
        .into_iter()
        .map(Purchase::from)
        .map(|purchase| (purchase.key, purchase))
        .collect())
}

/// The lines of purchases, each purchase's in the order of the report.
pub async fn lines(
    db: &impl ConnectionTrait,
    keys: &[PurchaseKey],
) -> Result<HashMap<PurchaseKey, Vec<PurchaseLine>>, StoreError> {
    let backend = db.get_database_backend();
    let (relation, values) = pairs(backend, keys.iter().map(|key| (key.record.0, key.id.0)));
    let sql = format!(
        "SELECT l.record_id, l.purchase_id, l.product_id, l.quantity, l.price, p.currency FROM {relation}
         JOIN purchase_line l ON l.record_id = v.record_id AND l.purchase_id = v.id
         JOIN purchase p ON p.record_id = v.record_id AND p.id = v.id ORDER BY l.record_id, l.purchase_id, l.n"
    );
    let mut by_purchase: HashMap<PurchaseKey, Vec<PurchaseLine>> = HashMap::new();
    for row in db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await? {
        let key = PurchaseKey {
            record: RecordId(row.try_get_by_index(0)?),
            id: PurchaseId(row.try_get_by_index(1)?),
        };
        let currency = Currency::stored(row.try_get_by_index(5)?);
        let price = row
            .try_get_by_index::<Option<String>>(4)?
            .map(|text| decimal(&text))
            .transpose()?;
        by_purchase.entry(key).or_default().push(PurchaseLine {
            product: ProductId(row.try_get_by_index(2)?),
            quantity: row.try_get_by_index(3)?,
            price: price.and_then(|price| Money::from_decimal(price, currency).ok()),
        });
    }
    Ok(by_purchase)
}

/// A purchase as stored.
#[derive(Clone, Debug)]
pub struct PurchaseRow {
    key: PurchaseKey,
    order_id: String,
    order: Order,
    pub(in crate::customer) amount_minor: Option<i64>,
    pub(in crate::customer) refunded_minor: i64,
    pub(in crate::customer) rev: i64,
}

impl PurchaseRow {
    pub(in crate::customer) fn new(key: PurchaseKey, order_id: String, order: &Order, refunded_minor: i64, rev: i64) -> Self {
        let amount_minor = order.money().map(|money| money.amount_minor);
        Self {
            key,
            order_id,
            order: order.clone(),
            amount_minor,
            refunded_minor,
            rev,
        }
    }

    pub(in crate::customer) const fn key(&self) -> PurchaseKey {
        self.key
    }

    pub(in crate::customer) fn order_id(&self) -> &str {
        &self.order_id
    }

    pub(in crate::customer) fn order(&self) -> Order {
        self.order.clone()
    }
}

impl TryFrom<purchase::Model> for PurchaseRow {
    type Error = StoreError;

    fn try_from(row: purchase::Model) -> Result<Self, StoreError> {
        let amount = row.amount.map(|text| decimal(&text)).transpose()?;
        let amount = stated(row.amount_kind, row.amount_at, row.amount_event, amount);
        let currency = row.amount_currency.map(Currency::stored);
        let order = Order {
            amount: amount.map(|stated| Stated {
                by: stated.by,
                value: (stated.value, currency),
            }),
            currency: stated(
                row.named_kind,
                row.named_at,
                row.named_event,
                row.named_currency.map(Currency::stored),
            ),
            lines: stated(row.lines_kind, row.lines_at, row.lines_event, Some(())),
            placed_at: row.placed_at.map(Instant::from_micros),
            first_at: Instant::from_micros(row.first_at),
        };
        Ok(Self {
            key: PurchaseKey {
                record: RecordId(row.record_id),
                id: PurchaseId(row.id),
            },
            order_id: row.order_id,
            order,
            amount_minor: row.amount_minor,
            refunded_minor: row.refunded_minor,
            rev: row.rev,
        })
    }
}

fn stated<T>(kind: Option<i16>, at: Option<i64>, event: Option<uuid::Uuid>, value: Option<T>) -> Option<Stated<T>> {
    let by = Rank {
        kind: kind?,
        at: Instant::from_micros(at?),
        event: EventId(event?),
    };
    Some(Stated { by, value: value? })
}

pub(super) fn decimal(text: &str) -> Result<Decimal, StoreError> {
    Decimal::from_str(text).map_err(|_| StoreError::Corrupt("an amount is no decimal text".to_owned()))
}

pub(in crate::customer) async fn purchase_rows(
    db: &impl ConnectionTrait,
    keys: &[PurchaseKey],
) -> Result<HashMap<PurchaseKey, PurchaseRow>, StoreError> {
    let rows = purchase_models(db, keys).await?;
    let rows: Vec<PurchaseRow> = rows.into_iter().map(PurchaseRow::try_from).collect::<Result<_, _>>()?;
    Ok(rows.into_iter().map(|row| (row.key, row)).collect())
}

async fn purchase_models(db: &impl ConnectionTrait, keys: &[PurchaseKey]) -> Result<Vec<purchase::Model>, StoreError> {
    let backend = db.get_database_backend();
    let (relation, values) = pairs(backend, keys.iter().map(|key| (key.record.0, key.id.0)));
    let sql = format!("SELECT p.* FROM {relation} JOIN purchase p ON p.record_id = v.record_id AND p.id = v.id");
    Ok(
        purchase::Model::find_by_statement(Statement::from_sql_and_values(backend, sql, values))
            .all(db)
            .await?,
    )
}

/// What a piece of each product costs: of several lines of one product the first that names a price.
pub(in crate::customer) fn prices_of(lines: impl IntoIterator<Item = (ProductId, Option<Decimal>)>) -> Prices {
    let mut prices = Prices::new();
    for (product, price) in lines {
        if let Some(price) = price {
            prices.entry(product).or_insert(price);
        }
    }
    prices
}

/// The prices in the lines of purchases.
pub(in crate::customer) async fn prices(
    db: &impl ConnectionTrait,
    keys: &[PurchaseKey],
) -> Result<HashMap<PurchaseKey, Prices>, StoreError> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let backend = db.get_database_backend();
    let (relation, values) = pairs(backend, keys.iter().map(|key| (key.record.0, key.id.0)));
    let sql = format!(
        "SELECT l.record_id, l.purchase_id, l.product_id, l.price FROM {relation}
         JOIN purchase_line l ON l.record_id = v.record_id AND l.purchase_id = v.id ORDER BY l.record_id, l.purchase_id, l.n"
    );
    let mut lines: HashMap<PurchaseKey, Vec<(ProductId, Option<Decimal>)>> = HashMap::new();
    for row in db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await? {
        let key = PurchaseKey {
            record: RecordId(row.try_get_by_index(0)?),
            id: PurchaseId(row.try_get_by_index(1)?),
        };
        let price: Option<String> = row.try_get_by_index(3)?;
        let price = price.map(|text| decimal(&text)).transpose()?;
        lines
            .entry(key)
            .or_default()
            .push((ProductId(row.try_get_by_index(2)?), price));
    }
    Ok(lines.into_iter().map(|(key, lines)| (key, prices_of(lines))).collect())
}

pub(in crate::customer) async fn upsert_purchases(db: &impl ConnectionTrait, rows: &[PurchaseRow]) -> Result<(), StoreError> {
    let amounts = || rows.iter().map(|row| row.order.amount.as_ref());
    let named = || rows.iter().map(|row| row.order.currency.as_ref());
    let lines = || rows.iter().map(|row| row.order.lines.as_ref());
    Rows::new()
        .id("record_id", rows.iter().map(|row| row.key.record.0))
        .id("id", rows.iter().map(|row| row.key.id.0))
        .text("order_namespace", rows.iter().map(|_| String::new()))
        .text("order_id", rows.iter().map(|row| row.order_id.clone()))
        .int("occurred_at", rows.iter().map(|row| row.order.occurred_at().micros()))
        .int("first_at", rows.iter().map(|row| row.order.first_at.micros()))
        .optional_int("placed_at", rows.iter().map(|row| row.order.placed_at.map(Instant::micros)))
        .text(
            "currency",
            rows.iter().map(|row| row.order.money_currency().code().to_owned()),
        )
        .optional_int("amount_minor", rows.iter().map(|row| row.amount_minor))
        .int("refunded_minor", rows.iter().map(|row| row.refunded_minor))
        .optional_text(
            "amount",
            amounts().map(|amount| amount.map(|amount| amount.value.0.to_string())),
        )
        .optional_text(
            "amount_currency",
            amounts().map(|amount| Some(amount?.value.1.as_ref()?.code().to_owned())),
        )
        .optional_small("amount_kind", amounts().map(|amount| amount.map(|amount| amount.by.kind)))
        .optional_int(
            "amount_at",
            amounts().map(|amount| amount.map(|amount| amount.by.at.micros())),
        )
        .optional_id("amount_event", amounts().map(|amount| amount.map(|amount| amount.by.event.0)))
        .optional_text(
            "named_currency",
            named().map(|named| named.map(|named| named.value.code().to_owned())),
        )
        .optional_small("named_kind", named().map(|named| named.map(|named| named.by.kind)))
        .optional_int("named_at", named().map(|named| named.map(|named| named.by.at.micros())))
        .optional_id("named_event", named().map(|named| named.map(|named| named.by.event.0)))
        .optional_small("lines_kind", lines().map(|lines| lines.map(|lines| lines.by.kind)))
        .optional_int("lines_at", lines().map(|lines| lines.map(|lines| lines.by.at.micros())))
        .optional_id("lines_event", lines().map(|lines| lines.map(|lines| lines.by.event.0)))
        .int("rev", rows.iter().map(|row| row.rev))
        .insert(
            db,
            "purchase",
            "ON CONFLICT (record_id, id) DO UPDATE SET occurred_at = excluded.occurred_at, first_at = excluded.first_at,
                placed_at = excluded.placed_at, currency = excluded.currency, amount_minor = excluded.amount_minor,
                refunded_minor = excluded.refunded_minor, amount = excluded.amount, amount_currency = excluded.amount_currency,
                amount_kind = excluded.amount_kind, amount_at = excluded.amount_at, amount_event = excluded.amount_event,
                named_currency = excluded.named_currency, named_kind = excluded.named_kind, named_at = excluded.named_at,
                named_event = excluded.named_event, lines_kind = excluded.lines_kind, lines_at = excluded.lines_at,
                lines_event = excluded.lines_event, rev = excluded.rev",
        )
        .await?;
    Ok(())
}

/// A line as it is written.
#[derive(Clone, Debug)]
pub(in crate::customer) struct LineRow {
    pub key: PurchaseKey,
    pub n: i64,
    pub product: ProductId,
    pub quantity: i64,
    pub price: Option<Decimal>,
}

pub(in crate::customer) async fn replace_lines(
    db: &impl ConnectionTrait,
    purchases: &[PurchaseKey],
    lines: &[LineRow],
) -> Result<(), StoreError> {
    if purchases.is_empty() {
        return Ok(());
    }
    let backend = db.get_database_backend();
    let (relation, values) = pairs(backend, purchases.iter().map(|key| (key.record.0, key.id.0)));
    let sql = format!("DELETE FROM purchase_line WHERE (record_id, purchase_id) IN (SELECT record_id, id FROM {relation})");
    db.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Rows::new()
        .id("record_id", lines.iter().map(|line| line.key.record.0))
        .id("purchase_id", lines.iter().map(|line| line.key.id.0))
        .int("n", lines.iter().map(|line| line.n))
        .id("product_id", lines.iter().map(|line| line.product.0))
        .int("quantity", lines.iter().map(|line| line.quantity))
        .optional_text("price", lines.iter().map(|line| line.price.map(|price| price.to_string())))
        .insert(db, "purchase_line", "")
        .await?;
    Ok(())
}

impl From<purchase::Model> for Purchase {
    fn from(row: purchase::Model) -> Self {
        let currency = Currency::stored(row.currency);
        Self {
            key: PurchaseKey {
                record: RecordId(row.record_id),
                id: PurchaseId(row.id),
            },
            order_id: row.order_id,
            occurred_at: Instant::from_micros(row.occurred_at),
            amount: row.amount_minor.map(|amount_minor| Money {
                amount_minor,
                currency: currency.clone(),
            }),
            refunded: Money {
                amount_minor: row.refunded_minor,
                currency,
            },
        }
    }
}
