//! Customers: written by intake, read by id and by page.

use crate::base::{CustomerId, Instant};
use crate::customer::{Customer, Golden, folding};
use crate::store::{Rows, StoreError, any_of, ids_value};
use entity::customer;
use sea_orm::{ConnectionTrait, FromQueryResult as _, Statement};
use serde_json::Value as Json;
use std::collections::HashMap;

/// Writes new customers.
pub async fn insert_customers(db: &impl ConnectionTrait, customers: &[Customer]) -> Result<(), StoreError> {
    golden_columns(
        Rows::new()
            .id("id", customers.iter().map(|customer| customer.id.0))
            .int("created_at", customers.iter().map(|customer| customer.created_at.micros())),
        customers,
    )
    .int("rev", customers.iter().map(|customer| customer.rev))
    .int("placed_at", customers.iter().map(|customer| customer.placed_at))
    .insert(db, "customer", "")
    .await?;
    Ok(())
}

/// The golden values of customers, and the copies by which lists find them.
fn golden_columns(rows: Rows, customers: &[Customer]) -> Rows {
    rows.optional_text(
        "display_name",
        customers.iter().map(|customer| customer.golden.display_name()),
    )
    .optional_text("email", customers.iter().map(|customer| customer.golden.text("email")))
    .optional_text("phone", customers.iter().map(|customer| customer.golden.text("phone")))
    .optional_text(
        "name_folded",
        customers
            .iter()
            .map(|customer| customer.golden.display_name().and_then(|name| folding::name(&name))),
    )
    .optional_text(
        "email_folded",
        customers
            .iter()
            .map(|customer| customer.golden.text("email").and_then(|email| folding::email(&email))),
    )
    .optional_text(
        "phone_folded",
        customers
            .iter()
            .map(|customer| customer.golden.text("phone").and_then(|phone| folding::phone(&phone))),
    )
    .json("golden", customers.iter().map(|customer| golden_json(&customer.golden)))
}

/// Writes customers that are there.
pub async fn update_customers(db: &impl ConnectionTrait, customers: &[Customer]) -> Result<(), StoreError> {
    golden_columns(
        Rows::new().id("id", customers.iter().map(|customer| customer.id.0)),
        customers,
    )
    .int("rev", customers.iter().map(|customer| customer.rev))
    .int("created_at", customers.iter().map(|customer| customer.created_at.micros()))
    .int("placed_at", customers.iter().map(|customer| customer.placed_at))
    .update(
        db,
        "customer",
        "display_name = v.display_name, email = v.email, phone = v.phone, name_folded = v.name_folded,
             email_folded = v.email_folded, phone_folded = v.phone_folded, golden = v.golden, rev = v.rev,
             created_at = v.created_at, placed_at = v.placed_at",
        "customer.id = v.id",
    )
    .await?;
    Ok(())
}

fn golden_json(golden: &Golden) -> String {
    serde_json::to_string(&golden.0).expect("a map is JSON")
}

/// Takes away customers that are one with another now.
pub async fn delete_customers(db: &impl ConnectionTrait, ids: &[CustomerId]) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    let backend = db.get_database_backend();
    let sql = format!("DELETE FROM customer WHERE {}", any_of(backend, "id", 1));
    let values = [ids_value(backend, ids.iter().map(|id| id.0))];
    db.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Ok(())
}

/// The next customers in the order of their ids.
pub async fn customer_ids_after(
    db: &impl ConnectionTrait,
    after: Option<CustomerId>,
    limit: usize,
) -> Result<Vec<CustomerId>, StoreError> {
    let (condition, values) = match after {
        None => ("", Vec::new()),
        Some(after) => ("WHERE id > $1", vec![after.0.into()]),
    };
    let sql = format!("SELECT id FROM customer {condition} ORDER BY id LIMIT {limit}");
    let rows = db
        .query_all_raw(Statement::from_sql_and_values(db.get_database_backend(), sql, values))
        .await?;
    rows.iter().map(|row| Ok(CustomerId(row.try_get_by_index(0)?))).collect()
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

/// Customers as they are stored, whatever they hold.
pub async fn stored_customers(db: &impl ConnectionTrait, ids: &[CustomerId]) -> Result<Vec<customer::Model>, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!("SELECT * FROM customer WHERE {}", any_of(backend, "id", 1));
    let statement = Statement::from_sql_and_values(backend, sql, [ids_value(backend, ids.iter().map(|id| id.0))]);
    Ok(customer::Model::find_by_statement(statement).all(db).await?)
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
            placed_at: row.placed_at,
        }
    }
}
