//! Every statement of customers, events, purchases and products.

use super::Golden;
use super::model::{Customer, Event, EventKey, Product, Purchase, PurchaseKey, PurchaseLine};
use super::order::{Order, Rank, Refund, Stated};
use crate::base::money::Currency;
use crate::base::paging::{Page, Slice};
use crate::base::{CustomerId, EventId, Instant, Money, ProductId, PurchaseId, RecordId};
use crate::store::{Rows, StoreError, any_of, ids_value};
use entity::{EventKind, customer, event, product, purchase, refund};
use rust_decimal::Decimal;
use sea_orm::{ActiveEnum as _, ConnectionTrait, FromQueryResult as _, Statement, Value};
use serde_json::Value as Json;
use std::collections::{HashMap, HashSet};
use std::str::FromStr as _;

/// An event to be written; JSON already serialised.
#[derive(Clone, Debug)]
pub struct NewEvent<'m> {
    pub key: EventKey,
    pub arrival: i64,
    pub message: &'m crate::ingest::Message,
}

/// Writes events; answers the keys of those that were not there before. The key is the deduplication.
pub async fn insert_events(db: &impl ConnectionTrait, events: &[NewEvent<'_>]) -> Result<HashSet<EventKey>, StoreError> {
    let json = |value: &serde_json::Map<String, Json>| serde_json::to_string(value).expect("a map is JSON");
    let message = || events.iter().map(|event| event.message);
    let inserted = Rows::new()
        .id("record_id", events.iter().map(|event| event.key.record.0))
        .id("id", events.iter().map(|event| event.key.id.0))
        .text("message_id", message().map(|message| message.message_id.clone()))
        .small("kind", message().map(|message| message.kind.to_value()))
        .text("name", message().map(|message| message.name.clone()))
        .int("occurred_at", message().map(|message| message.occurred_at.micros()))
        .int("received_at", message().map(|message| message.received_at.micros()))
        .int("arrival", events.iter().map(|event| event.arrival))
        .optional_int(
            "original_at",
            message().map(|message| message.original_at.map(Instant::micros)),
        )
        .optional_int("sent_at", message().map(|message| message.sent_at.map(Instant::micros)))
        .small("flags", message().map(|message| message.flags.0))
        .json("properties", message().map(|message| json(&message.properties)))
        .json("context", message().map(|message| json(&message.context)))
        .insert(db, "event", "ON CONFLICT (record_id, id) DO NOTHING RETURNING record_id, id")
        .await?;
    let mut keys = HashSet::with_capacity(inserted.len());
    for row in inserted {
        keys.insert(EventKey {
            record: RecordId(row.try_get_by_index(0)?),
            id: EventId(row.try_get_by_index(1)?),
        });
    }
    Ok(keys)
}

/// Writes new customers.
pub async fn insert_customers(db: &impl ConnectionTrait, customers: &[Customer]) -> Result<(), StoreError> {
    Rows::new()
        .id("id", customers.iter().map(|customer| customer.id.0))
        .int("created_at", customers.iter().map(|customer| customer.created_at.micros()))
        .optional_text(
            "display_name",
            customers.iter().map(|customer| customer.golden.display_name()),
        )
        .optional_text("email", customers.iter().map(|customer| customer.golden.text("email")))
        .optional_text("phone", customers.iter().map(|customer| customer.golden.text("phone")))
        .json("golden", customers.iter().map(|customer| golden_json(&customer.golden)))
        .int("rev", customers.iter().map(|customer| customer.rev))
        .insert(db, "customer", "")
        .await?;
    Ok(())
}

/// Writes the golden values of customers that have them.
pub async fn update_customers(db: &impl ConnectionTrait, customers: &[Customer]) -> Result<(), StoreError> {
    Rows::new()
        .id("id", customers.iter().map(|customer| customer.id.0))
        .optional_text(
            "display_name",
            customers.iter().map(|customer| customer.golden.display_name()),
        )
        .optional_text("email", customers.iter().map(|customer| customer.golden.text("email")))
        .optional_text("phone", customers.iter().map(|customer| customer.golden.text("phone")))
        .json("golden", customers.iter().map(|customer| golden_json(&customer.golden)))
        .int("rev", customers.iter().map(|customer| customer.rev))
        .update(
            db,
            "customer",
            "display_name = v.display_name, email = v.email, phone = v.phone, golden = v.golden, rev = v.rev",
            "customer.id = v.id",
        )
        .await?;
    Ok(())
}

fn golden_json(golden: &Golden) -> String {
    serde_json::to_string(&golden.0).expect("a map is JSON")
}

/// Customers by their current ids.
pub async fn customers(db: &impl ConnectionTrait, ids: &[CustomerId]) -> Result<HashMap<CustomerId, Customer>, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!("SELECT * FROM customer WHERE {}", any_of(backend, "id", 1));
    let statement = Statement::from_sql_and_values(backend, sql, [ids_value(backend, ids.iter().map(|id| id.0))]);
    let rows = customer::Model::find_by_statement(statement).all(db).await?;
    Ok(rows
        .into_iter()
        .map(|row| (CustomerId(row.id), Customer::from(row)))
        .collect())
}

/// Customers, the newest first; the key of a page is (created at, id). Leans on the index (created_at, id).
pub async fn newest_customers(db: &impl ConnectionTrait, page: &Page<(i64, uuid::Uuid)>) -> Result<Slice<Customer>, StoreError> {
    let backend = db.get_database_backend();
    let limit: Value = i64::try_from(page.first + 1).unwrap_or(i64::MAX).into();
    let (condition, values) = match page.after {
        None => ("", vec![limit]),
        Some((created_at, id)) => ("WHERE (created_at, id) < ($2, $3)", vec![limit, created_at.into(), id.into()]),
    };
    let sql = format!("SELECT * FROM customer {condition} ORDER BY created_at DESC, id DESC LIMIT $1");
    let rows = customer::Model::find_by_statement(Statement::from_sql_and_values(backend, sql, values))
        .all(db)
        .await?;
    Ok(Slice::from_one_more(
        rows.into_iter().map(Customer::from).collect(),
        page.first,
    ))
}

/// How many customers there are, counted up to `limit`.
pub async fn count_customers(db: &impl ConnectionTrait, limit: i64) -> Result<i64, StoreError> {
    count(
        db,
        "SELECT COUNT(*) FROM (SELECT 1 FROM customer LIMIT $1) AS counted",
        vec![limit.into()],
    )
    .await
}

async fn count(db: &impl ConnectionTrait, sql: &str, values: Vec<Value>) -> Result<i64, StoreError> {
    let row = db
        .query_one_raw(Statement::from_sql_and_values(db.get_database_backend(), sql, values))
        .await?;
    Ok(row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or(0))
}

/// The first and the last event time of records. Two probes of the timeline index each.
pub async fn seen(db: &impl ConnectionTrait, records: &[RecordId]) -> Result<HashMap<RecordId, (Instant, Instant)>, StoreError> {
    let backend = db.get_database_backend();
    let (relation, values) = Rows::new()
        .id("record_id", records.iter().map(|record| record.0))
        .relation(backend);
    let sql = format!(
        "SELECT v.record_id, (SELECT MIN(e.occurred_at) FROM event e WHERE e.record_id = v.record_id),
                (SELECT MAX(e.occurred_at) FROM event e WHERE e.record_id = v.record_id) FROM {relation}"
    );
    let mut seen = HashMap::with_capacity(records.len());
    for row in db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await? {
        let (first, last): (Option<i64>, Option<i64>) = (row.try_get_by_index(1)?, row.try_get_by_index(2)?);
        if let (Some(first), Some(last)) = (first, last) {
            seen.insert(
                RecordId(row.try_get_by_index(0)?),
                (Instant::from_micros(first), Instant::from_micros(last)),
            );
        }
    }
    Ok(seen)
}

/// A place in a timeline: event time, then id, then record.
pub type TimelineKey = (i64, uuid::Uuid, uuid::Uuid);

/// Which entries of a timeline are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TimelineWindow {
    pub page: Page<TimelineKey>,
    pub oldest_first: bool,
    pub from: Option<Instant>,
    /// Exclusive.
    pub to: Option<Instant>,
}

impl TimelineWindow {
    /// Conditions on `alias`, the direction, and the values from parameter `$next` on. The last is the limit of each record.
    fn sql(&self, alias: &str, next: usize) -> (String, &'static str, Vec<Value>) {
        let (direction, beyond) = if self.oldest_first { ("ASC", ">") } else { ("DESC", "<") };
        let mut conditions = String::new();
        let mut values: Vec<Value> = Vec::new();
        let bind = |values: &mut Vec<Value>, value: Value| {
            values.push(value);
            format!("${}", next + values.len() - 1)
        };
        if let Some((at, id, record)) = self.page.after {
            let (at, id, record) = (
                bind(&mut values, at.into()),
                bind(&mut values, id.into()),
                bind(&mut values, record.into()),
            );
            conditions += &format!(" AND ({alias}.occurred_at, {alias}.id, {alias}.record_id) {beyond} ({at}, {id}, {record})");
        }
        if let Some(from) = self.from {
            conditions += &format!(" AND {alias}.occurred_at >= {}", bind(&mut values, from.micros().into()));
        }
        if let Some(to) = self.to {
            conditions += &format!(" AND {alias}.occurred_at < {}", bind(&mut values, to.micros().into()));
        }
        values.push(i64::try_from(self.page.first + 1).unwrap_or(i64::MAX).into());
        (conditions, direction, values)
    }
}

/// Which events a timeline lists.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventFilter {
    pub kinds: Vec<EventKind>,
    pub names: Option<Vec<String>>,
}

/// Events of each record in the window, at most one page and one row of each: whoever merges records has the order.
pub async fn timeline_events(
    db: &impl ConnectionTrait,
    records: &[RecordId],
    window: &TimelineWindow,
    filter: &EventFilter,
) -> Result<Vec<Event>, StoreError> {
    let backend = db.get_database_backend();
    let kinds = filter
        .kinds
        .iter()
        .map(|kind| kind.to_value().to_string())
        .collect::<Vec<_>>()
        .join(", ");
    let mut extra = format!(" AND k.kind IN ({kinds})");
    let mut values = Vec::new();
    for name in filter.names.iter().flatten() {
        extra += if values.is_empty() { " AND k.name IN (" } else { ", " };
        values.push(Value::from(name.as_str()));
        extra += &format!("${}", values.len() + 1);
    }
    if !values.is_empty() {
        extra.push(')');
    }
    let statement = newest_per_record(backend, "event", records, window, &extra, values);
    let rows = event::Model::find_by_statement(statement).all(db).await?;
    Ok(rows.into_iter().map(Event::from).collect())
}

/// Purchases of each record in the window, at most one page and one row of each.
pub async fn timeline_purchases(
    db: &impl ConnectionTrait,
    records: &[RecordId],
    window: &TimelineWindow,
) -> Result<Vec<Purchase>, StoreError> {
    let statement = newest_per_record(db.get_database_backend(), "purchase", records, window, "", Vec::new());
    let rows = purchase::Model::find_by_statement(statement).all(db).await?;
    Ok(rows.into_iter().map(Purchase::from).collect())
}

/// The first rows of each record in the direction of the window. `extra` uses `k` and the values from `$2` on.
/// PostgreSQL takes them by LATERAL; SQLite finds the rowids in the timeline index and then the rows.
fn newest_per_record(
    backend: sea_orm::DbBackend,
    table: &str,
    records: &[RecordId],
    window: &TimelineWindow,
    extra: &str,
    mut extra_values: Vec<Value>,
) -> Statement {
    let (relation, mut values) = Rows::new()
        .id("record_id", records.iter().map(|record| record.0))
        .relation(backend);
    values.append(&mut extra_values);
    let (conditions, direction, window_values) = window.sql("k", values.len() + 1);
    values.extend(window_values);
    let limit = values.len();
    let one_record = format!(
        "FROM {table} k WHERE k.record_id = v.record_id{extra}{conditions} ORDER BY k.occurred_at {direction}, k.id {direction} LIMIT ${limit}"
    );
    let sql = if backend == sea_orm::DbBackend::Postgres {
        format!("SELECT e.* FROM {relation} CROSS JOIN LATERAL (SELECT k.* {one_record}) AS e")
    } else {
        format!("SELECT e.* FROM {relation} JOIN {table} e ON e.rowid IN (SELECT k.rowid {one_record})")
    };
    Statement::from_sql_and_values(backend, sql, values)
}

/// Events by key.
pub async fn events(db: &impl ConnectionTrait, keys: &[EventKey]) -> Result<HashMap<EventKey, Event>, StoreError> {
    let backend = db.get_database_backend();
    let (relation, values) = pairs(backend, keys.iter().map(|key| (key.record.0, key.id.0)));
    let sql = format!("SELECT e.* FROM {relation} JOIN event e ON e.record_id = v.record_id AND e.id = v.id");
    let rows = event::Model::find_by_statement(Statement::from_sql_and_values(backend, sql, values))
        .all(db)
        .await?;
    Ok(rows.into_iter().map(Event::from).map(|event| (event.key, event)).collect())
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

/// Products by id.
pub async fn products(db: &impl ConnectionTrait, ids: &[ProductId]) -> Result<HashMap<ProductId, Product>, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!("SELECT * FROM product WHERE {}", any_of(backend, "id", 1));
    let statement = Statement::from_sql_and_values(backend, sql, [ids_value(backend, ids.iter().map(|id| id.0))]);
    let rows = product::Model::find_by_statement(statement).all(db).await?;
    let product = |row: product::Model| Product {
        id: ProductId(row.id),
        sku: row.sku,
        name: row.name,
        category: row.category,
    };
    Ok(rows.into_iter().map(|row| (ProductId(row.id), product(row))).collect())
}

/// A purchase as stored.
#[derive(Clone, Debug)]
pub struct PurchaseRow {
    key: PurchaseKey,
    order_id: String,
    order: Order,
    pub(super) amount_minor: Option<i64>,
    pub(super) refunded_minor: i64,
    pub(super) rev: i64,
}

impl PurchaseRow {
    pub(super) fn new(key: PurchaseKey, order_id: String, order: &Order, refunded_minor: i64, rev: i64) -> Self {
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

    pub(super) fn order(&self) -> Order {
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

fn decimal(text: &str) -> Result<Decimal, StoreError> {
    Decimal::from_str(text).map_err(|_| StoreError::Corrupt("an amount is no decimal text".to_owned()))
}

pub(super) async fn purchase_rows(
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

fn pairs(backend: sea_orm::DbBackend, keys: impl Iterator<Item = (uuid::Uuid, uuid::Uuid)>) -> (String, Vec<Value>) {
    let (records, ids): (Vec<_>, Vec<_>) = keys.unzip();
    Rows::new().id("record_id", records).id("id", ids).relation(backend)
}

pub(super) async fn refunds(
    db: &impl ConnectionTrait,
    keys: &[PurchaseKey],
) -> Result<HashMap<PurchaseKey, Vec<Refund>>, StoreError> {
    let backend = db.get_database_backend();
    let (relation, values) = pairs(backend, keys.iter().map(|key| (key.record.0, key.id.0)));
    let sql = format!("SELECT f.* FROM {relation} JOIN refund f ON f.record_id = v.record_id AND f.purchase_id = v.id");
    let mut by_purchase: HashMap<PurchaseKey, Vec<Refund>> = HashMap::new();
    for row in refund::Model::find_by_statement(Statement::from_sql_and_values(backend, sql, values))
        .all(db)
        .await?
    {
        let amount = row.amount.map(|text| decimal(&text)).transpose()?;
        let key = PurchaseKey {
            record: RecordId(row.record_id),
            id: PurchaseId(row.purchase_id),
        };
        by_purchase.entry(key).or_default().push(Refund {
            event: EventId(row.event_id),
            at: Instant::from_micros(row.occurred_at),
            amount,
            currency: row.currency.map(Currency::stored),
        });
    }
    Ok(by_purchase)
}

pub(super) async fn upsert_purchases(db: &impl ConnectionTrait, rows: &[PurchaseRow]) -> Result<(), StoreError> {
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

pub(super) async fn insert_refunds(db: &impl ConnectionTrait, refunds: &[(PurchaseKey, Refund)]) -> Result<(), StoreError> {
    Rows::new()
        .id("record_id", refunds.iter().map(|(key, _)| key.record.0))
        .id("purchase_id", refunds.iter().map(|(key, _)| key.id.0))
        .id("event_id", refunds.iter().map(|(_, refund)| refund.event.0))
        .int("occurred_at", refunds.iter().map(|(_, refund)| refund.at.micros()))
        .optional_text(
            "amount",
            refunds
                .iter()
                .map(|(_, refund)| refund.amount.map(|amount| amount.to_string())),
        )
        .optional_text(
            "currency",
            refunds
                .iter()
                .map(|(_, refund)| refund.currency.as_ref().map(|currency| currency.code().to_owned())),
        )
        .insert(db, "refund", "")
        .await?;
    Ok(())
}

/// A line as it is written.
#[derive(Clone, Debug)]
pub(super) struct LineRow {
    pub key: PurchaseKey,
    pub n: i64,
    pub product: ProductId,
    pub quantity: i64,
    pub price: Option<Decimal>,
}

pub(super) async fn replace_lines(
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

/// A product as reports described it, each part with the event time of the report.
#[derive(Clone, Debug)]
pub(super) struct ProductRow {
    pub id: ProductId,
    pub sku: String,
    pub name: Option<(Instant, String)>,
    pub category: Option<(Instant, String)>,
}

impl ProductRow {
    /// Part by part the latest stands, of equal instants the greater text: the order of arrival does not matter.
    pub(super) fn describe(&mut self, other: Self) {
        self.name = self.name.take().max(other.name);
        self.category = self.category.take().max(other.category);
    }
}

/// Writes descriptions by the rule of `ProductRow::describe`; a part that nobody named has the least instant.
pub(super) async fn upsert_products<'p>(
    db: &impl ConnectionTrait,
    products: impl IntoIterator<Item = &'p ProductRow>,
) -> Result<(), StoreError> {
    let products: Vec<_> = products.into_iter().collect();
    let text = |part: &Option<(Instant, String)>| part.as_ref().map(|(_, text)| text.clone());
    let at = |part: &Option<(Instant, String)>| part.as_ref().map_or(i64::MIN, |(at, _)| at.micros());
    let later = |part: &str| {
        format!(
            "(excluded.{part}_at > product.{part}_at OR
              (excluded.{part}_at = product.{part}_at AND COALESCE(excluded.{part}, '') > COALESCE(product.{part}, '')))"
        )
    };
    let (name, category) = (later("name"), later("category"));
    let tail = format!(
        "ON CONFLICT (id) DO UPDATE SET
            name = CASE WHEN {name} THEN excluded.name ELSE product.name END,
            name_at = CASE WHEN {name} THEN excluded.name_at ELSE product.name_at END,
            category = CASE WHEN {category} THEN excluded.category ELSE product.category END,
            category_at = CASE WHEN {category} THEN excluded.category_at ELSE product.category_at END
         WHERE {name} OR {category}"
    );
    Rows::new()
        .id("id", products.iter().map(|product| product.id.0))
        .text("sku", products.iter().map(|product| product.sku.clone()))
        .optional_text("name", products.iter().map(|product| text(&product.name)))
        .int("name_at", products.iter().map(|product| at(&product.name)))
        .optional_text("category", products.iter().map(|product| text(&product.category)))
        .int("category_at", products.iter().map(|product| at(&product.category)))
        .insert(db, "product", &tail)
        .await?;
    Ok(())
}

impl From<customer::Model> for Customer {
    fn from(row: customer::Model) -> Self {
        let golden = match row.golden {
            Json::Object(golden) => Golden(golden),
            _ => Golden::default(),
        };
        Self {
            id: CustomerId(row.id),
            created_at: Instant::from_micros(row.created_at),
            golden,
            rev: row.rev,
        }
    }
}

impl From<event::Model> for Event {
    fn from(row: event::Model) -> Self {
        Self {
            key: EventKey {
                record: RecordId(row.record_id),
                id: EventId(row.id),
            },
            message_id: row.message_id,
            kind: row.kind,
            name: row.name,
            occurred_at: Instant::from_micros(row.occurred_at),
            received_at: Instant::from_micros(row.received_at),
            properties: row.properties,
            context: row.context,
        }
    }
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
