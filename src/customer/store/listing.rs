//! Lists of customers: filters as conditions on `customer`, pages by keyset, counts up to a limit; and what keeps the columns filled
//! that lists lean on.
//!
//! Every order has its index. What a customer's records and events are asked for is a semi-join by index from each customer in the
//! order of the list, so a page of a common property costs its length, and of a rare one as many customers as lie between.

use crate::base::paging::{Page, Slice};
use crate::base::{CustomerId, Instant};
use crate::customer::listing::{Beginning, Filter, Order, Place};
use crate::customer::{Customer, folding};
use crate::store::{Rows, StoreError, any_of, ids_value};
use entity::{IdentifierState, customer};
use sea_orm::{ActiveEnum as _, ConnectionTrait, DbBackend, FromQueryResult, Statement, Value};
use serde_json::Value as Json;
use std::collections::HashMap;
use uuid::Uuid;

/// Conditions under construction, with their parameters.
struct Conditions {
    backend: DbBackend,
    all: Vec<String>,
    values: Vec<Value>,
}

/// A page of the customers that a filter lets through, each with its place. One statement, and a second where the page reaches those
/// whose place is unknown.
pub async fn page(
    db: &impl ConnectionTrait,
    filter: &Filter,
    order: Order,
    page: &Page<Place>,
) -> Result<Slice<(Customer, Place)>, StoreError> {
    let wanted = usize::try_from(page.first).unwrap_or(usize::MAX).saturating_add(1);
    let (column, direction, has_unknown) = match order {
        Order::Newest => ("created_at", "DESC", false),
        Order::Oldest => ("created_at", "ASC", false),
        Order::Name => ("name_folded", "ASC", true),
        Order::LastSeen => ("last_seen_at", "DESC", true),
    };
    let beyond = if direction == "ASC" { ">" } else { "<" };
    let (known_after, unknown_after) = match page.after.clone() {
        None => (Some(None), None),
        Some(place) => match place {
            Place::Created(at, id) => (Some(Some((Value::from(at), id))), None),
            Place::Named(Some(name), id) => (Some(Some((Value::from(name), id))), None),
            Place::Seen(Some(at), id) => (Some(Some((Value::from(at), id))), None),
            Place::Named(None, id) | Place::Seen(None, id) => (None, Some(id)),
        },
    };
    let mut rows = Vec::new();
    if let Some(after) = known_after {
        let mut conditions = Conditions::of(db.get_database_backend(), filter);
        if has_unknown {
            conditions.all.push(format!("customer.{column} IS NOT NULL"));
        }
        if let Some((value, id)) = after {
            let (value, id) = (conditions.bind(value), conditions.bind(id));
            conditions
                .all
                .push(format!("(customer.{column}, customer.id) {beyond} ({value}, {id})"));
        }
        let by = format!("customer.{column} {direction}, customer.id {direction}");
        rows = conditions.read(db, &by, wanted).await?;
    }
    if has_unknown && rows.len() < wanted {
        let mut conditions = Conditions::of(db.get_database_backend(), filter);
        conditions.all.push(format!("customer.{column} IS NULL"));
        if let Some(id) = unknown_after {
            let id = conditions.bind(id);
            conditions.all.push(format!("customer.id {beyond} {id}"));
        }
        rows.extend(
            conditions
                .read(db, &format!("customer.id {direction}"), wanted - rows.len())
                .await?,
        );
    }
    let placed = rows.into_iter().map(|row| {
        let place = match order {
            Order::Newest | Order::Oldest => Place::Created(row.created_at, row.id),
            Order::Name => Place::Named(row.name_folded.clone(), row.id),
            Order::LastSeen => Place::Seen(row.last_seen_at, row.id),
        };
        (Customer::from(row), place)
    });
    Ok(Slice::from_one_more(placed.collect(), page.first))
}

/// How many customers a filter lets through, counted up to `limit`.
pub async fn count(db: &impl ConnectionTrait, filter: &Filter, limit: u64) -> Result<u64, StoreError> {
    let mut conditions = Conditions::of(db.get_database_backend(), filter);
    let limit = conditions.bind(i64::try_from(limit).unwrap_or(i64::MAX));
    let sql = format!(
        "SELECT COUNT(*) FROM (SELECT 1 FROM customer{} LIMIT {limit}) AS counted",
        conditions.sql()
    );
    let row = db.query_one_raw(conditions.statement(sql)).await?;
    let counted: i64 = row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or(0);
    Ok(u64::try_from(counted).unwrap_or(0))
}

impl Conditions {
    fn of(backend: DbBackend, filter: &Filter) -> Self {
        let mut conditions = Self {
            backend,
            all: Vec::new(),
            values: Vec::new(),
        };
        conditions.begins("name_folded", filter.name.as_ref());
        conditions.begins("email_folded", filter.email.as_ref());
        conditions.begins("phone_folded", filter.phone.as_ref());
        if filter.impossible {
            conditions.nobody();
        }
        if let Some(identifier) = filter.identifier {
            let id = conditions.bind(identifier.0);
            let states = recognising();
            conditions.all.push(format!(
                "customer.id = (SELECT r.customer_id FROM identifier i JOIN record r ON r.id = i.owner_id WHERE i.id = {id} AND i.state IN ({states}))"
            ));
        }
        if let Some(source) = filter.source {
            let id = conditions.bind(source.0);
            conditions.has_record("", &format!("r.source_id = {id}"));
        }
        if let Some(channels) = &filter.channels {
            let channels: Vec<String> = channels.iter().map(|channel| channel.to_value().to_string()).collect();
            match channels.is_empty() {
                true => conditions.nobody(),
                false => conditions.has_record(
                    "JOIN source s ON s.id = r.source_id",
                    &format!("s.channel IN ({})", channels.join(", ")),
                ),
            }
        }
        if let Some(kind) = filter.has_identifier {
            let join = "JOIN link l ON l.record_id = r.id JOIN identifier i ON i.id = l.identifier_id";
            let (kind, states) = (kind.to_value(), recognising());
            conditions.has_record(join, &format!("i.kind = {kind} AND i.state IN ({states})"));
        }
        if let Some(since) = filter.seen_since {
            let since = conditions.bind(since.micros());
            conditions.has_record("JOIN event e ON e.record_id = r.id", &format!("e.occurred_at >= {since}"));
        }
        if let Some(since) = filter.purchased_since {
            let since = conditions.bind(since.micros());
            conditions.has_record("JOIN purchase p ON p.record_id = r.id", &format!("p.occurred_at >= {since}"));
        }
        for (name, value) in &filter.traits {
            conditions.trait_is(name, value);
        }
        conditions
    }

    fn bind(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("${}", self.values.len())
    }

    fn nobody(&mut self) {
        self.all.push("1 = 0".to_owned());
    }

    /// Leans on the index (customer_id, arrival, id) of `record`, and on those that begin with the record's id.
    fn has_record(&mut self, join: &str, condition: &str) {
        self.all.push(format!(
            "EXISTS (SELECT 1 FROM record r {join} WHERE r.customer_id = customer.id AND {condition})"
        ));
    }

    /// By comparing, not by LIKE: no character of the prefix means anything but itself.
    fn begins(&mut self, column: &str, beginning: Option<&Beginning>) {
        match beginning {
            None => {}
            Some(Beginning::With(prefix)) if !prefix.contains('\0') => {
                let from = self.bind(prefix.as_str());
                self.all.push(format!("customer.{column} >= {from}"));
                if let Some(behind) = folding::behind(prefix) {
                    let behind = self.bind(behind);
                    self.all.push(format!("customer.{column} < {behind}"));
                }
            }
            Some(_) => self.nobody(),
        }
    }

    /// JSON compares by value: 1 is 1.0, and the order of an object's keys does not count. Golden values hold no null.
    fn trait_is(&mut self, name: &str, value: &Json) {
        let text = value.to_string();
        // Intake refuses NUL, and PostgreSQL has no word for it.
        if name.contains('\0') || text.contains("\\u0000") {
            return match value.is_null() {
                true => {}
                false => self.nobody(),
            };
        }
        let name = self.bind(name);
        if self.backend == DbBackend::Postgres {
            let condition = match value {
                Json::Null => format!("customer.golden -> {name}::text IS NULL"),
                _ => format!("customer.golden -> {name}::text = {}::jsonb", self.bind(text)),
            };
            return self.all.push(condition);
        }
        let condition = match value {
            Json::Null => {
                let none = format!("NOT EXISTS (SELECT 1 FROM json_each(customer.golden) g WHERE g.key = {name})");
                return self.all.push(none);
            }
            Json::Bool(truth) => format!("g.type = '{truth}'"),
            Json::Number(number) => {
                let number = match number.as_i64() {
                    Some(integer) => Value::from(integer),
                    None => Value::from(number.as_f64().unwrap_or(f64::NAN)),
                };
                format!("g.type IN ('integer', 'real') AND g.atom = {}", self.bind(number))
            }
            Json::String(text) => format!("g.type = 'text' AND g.atom = {}", self.bind(text.as_str())),
            Json::Array(_) | Json::Object(_) => {
                // As sets of (path, kind, value): equal when neither has what the other has not.
                let wanted = self.bind(text);
                let leaves = |tree: &str| {
                    format!(
                        "SELECT t.fullkey, CASE WHEN t.type IN ('integer', 'real') THEN 'number' ELSE t.type END, t.atom FROM json_tree({tree}) t"
                    )
                };
                let (has, wants) = (leaves("g.value"), leaves(&wanted));
                format!(
                    "g.type IN ('array', 'object') AND NOT EXISTS ({has} EXCEPT {wants}) AND NOT EXISTS ({wants} EXCEPT {has})"
                )
            }
        };
        self.all.push(format!(
            "EXISTS (SELECT 1 FROM json_each(customer.golden) g WHERE g.key = {name} AND {condition})"
        ));
    }

    fn sql(&self) -> String {
        if self.all.is_empty() {
            return String::new();
        }
        format!(" WHERE {}", self.all.join(" AND "))
    }

    fn statement(self, sql: String) -> Statement {
        Statement::from_sql_and_values(self.backend, sql, self.values)
    }

    async fn read(mut self, db: &impl ConnectionTrait, order: &str, limit: usize) -> Result<Vec<customer::Model>, StoreError> {
        let limit = self.bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let sql = format!("SELECT customer.* FROM customer{} ORDER BY {order} LIMIT {limit}", self.sql());
        Ok(customer::Model::find_by_statement(self.statement(sql)).all(db).await?)
    }
}

/// The states in which an identifier recognises people.
fn recognising() -> String {
    [IdentifierState::Active, IdentifierState::Cleared]
        .map(|state| state.to_value().to_string())
        .join(", ")
}

/// What the folded columns of a customer are made of.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Unfolded {
    pub id: Uuid,
    rev: i64,
    display_name: Option<String>,
    email: Option<String>,
    phone: Option<String>,
}

/// The next customers, in the order of their ids, that have something to fold and nothing folded.
pub async fn unfolded_after(
    db: &impl ConnectionTrait,
    after: Option<CustomerId>,
    limit: usize,
) -> Result<Vec<Unfolded>, StoreError> {
    let (condition, values) = match after {
        None => ("", Vec::new()),
        Some(after) => (" AND id > $1", vec![after.0.into()]),
    };
    let sql = format!(
        "SELECT id, rev, display_name, email, phone FROM customer
         WHERE name_folded IS NULL AND email_folded IS NULL AND phone_folded IS NULL
           AND (display_name IS NOT NULL OR email IS NOT NULL OR phone IS NOT NULL){condition} ORDER BY id LIMIT {limit}"
    );
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    Ok(Unfolded::find_by_statement(statement).all(db).await?)
}

/// Writes folded columns, except of customers that were written since they were read: those have theirs.
pub async fn write_folded(db: &impl ConnectionTrait, rows: &[Unfolded]) -> Result<(), StoreError> {
    let folded = |text: &Option<String>, fold: fn(&str) -> Option<String>| text.as_deref().and_then(fold);
    Rows::new()
        .id("id", rows.iter().map(|row| row.id))
        .int("rev", rows.iter().map(|row| row.rev))
        .optional_text("name_folded", rows.iter().map(|row| folded(&row.display_name, folding::name)))
        .optional_text("email_folded", rows.iter().map(|row| folded(&row.email, folding::email)))
        .optional_text("phone_folded", rows.iter().map(|row| folded(&row.phone, folding::phone)))
        .update(
            db,
            "customer",
            "name_folded = v.name_folded, email_folded = v.email_folded, phone_folded = v.phone_folded",
            "customer.id = v.id AND customer.rev = v.rev",
        )
        .await?;
    Ok(())
}

/// The next customers, in the order of their ids, with the instant that is stored as the last one at which they were seen.
pub async fn seen_copies_after(
    db: &impl ConnectionTrait,
    after: Option<CustomerId>,
    limit: usize,
) -> Result<Vec<(CustomerId, Option<Instant>)>, StoreError> {
    let (condition, values) = match after {
        None => ("", Vec::new()),
        Some(after) => ("WHERE id > $1", vec![after.0.into()]),
    };
    let sql = format!("SELECT id, last_seen_at FROM customer {condition} ORDER BY id LIMIT {limit}");
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    let rows = db.query_all_raw(statement).await?;
    rows.iter()
        .map(|row| {
            let at: Option<i64> = row.try_get_by_index(1)?;
            Ok((CustomerId(row.try_get_by_index(0)?), at.map(Instant::from_micros)))
        })
        .collect()
}

/// When the last event of each customer's records happened. One probe of the timeline index for each record.
pub async fn last_seen(
    db: &impl ConnectionTrait,
    customers: impl IntoIterator<Item = CustomerId>,
) -> Result<HashMap<CustomerId, Instant>, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!(
        "SELECT r.customer_id, MAX((SELECT MAX(e.occurred_at) FROM event e WHERE e.record_id = r.id)) FROM record r
         WHERE {} GROUP BY r.customer_id",
        any_of(backend, "r.customer_id", 1)
    );
    let ids = ids_value(backend, customers.into_iter().map(|id| id.0));
    let mut seen = HashMap::new();
    for row in db.query_all_raw(Statement::from_sql_and_values(backend, sql, [ids])).await? {
        let at: Option<i64> = row.try_get_by_index(1)?;
        if let Some(at) = at {
            seen.insert(CustomerId(row.try_get_by_index(0)?), Instant::from_micros(at));
        }
    }
    Ok(seen)
}

/// Stores when customers were last seen. Part of no version and no news.
pub async fn write_last_seen(db: &impl ConnectionTrait, seen: &[(CustomerId, Option<Instant>)]) -> Result<(), StoreError> {
    Rows::new()
        .id("id", seen.iter().map(|(id, _)| id.0))
        .optional_int("last_seen_at", seen.iter().map(|(_, at)| at.map(Instant::micros)))
        .update(db, "customer", "last_seen_at = v.last_seen_at", "customer.id = v.id")
        .await?;
    Ok(())
}
