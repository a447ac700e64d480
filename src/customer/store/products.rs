//! Products, as reports described them last.

use crate::base::{Instant, ProductId};
use crate::customer::Product;
use crate::store::{Rows, StoreError, any_of, ids_value};
use entity::product;
use sea_orm::{ConnectionTrait, FromQueryResult as _, Statement};
use std::collections::HashMap;

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

/// A product as reports described it, each part with the event time of the report.
#[derive(Clone, Debug)]
pub(in crate::customer) struct ProductRow {
    pub id: ProductId,
    pub sku: String,
    pub name: Option<(Instant, String)>,
    pub category: Option<(Instant, String)>,
}

impl ProductRow {
    /// Part by part the latest stands, of equal instants the greater text: the order of arrival does not matter.
    pub(in crate::customer) fn describe(&mut self, other: Self) {
        self.name = self.name.take().max(other.name);
        self.category = self.category.take().max(other.category);
    }
}

/// Writes descriptions by the rule of `ProductRow::describe`; a part that nobody named has the least instant.
pub(in crate::customer) async fn upsert_products<'p>(
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
