//! Money given back, by event, as it was said.

use super::pairs;
use super::purchases::decimal;
use crate::base::money::Currency;
use crate::base::{EventId, Instant, ProductId, PurchaseId, RecordId};
use crate::customer::PurchaseKey;
use crate::customer::order::Refund;
use crate::store::{Rows, StoreError};
use entity::refund;
use sea_orm::{ConnectionTrait, FromQueryResult as _, Statement};
use serde_json::{Value as Json, json};
use std::collections::HashMap;

pub(in crate::customer) async fn refunds(
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
            pieces: pieces(row.pieces)?,
        });
    }
    Ok(by_purchase)
}

fn pieces(stored: Option<Json>) -> Result<Vec<(ProductId, i64)>, StoreError> {
    let Some(stored) = stored else { return Ok(Vec::new()) };
    let pieces: Vec<(uuid::Uuid, i64)> =
        serde_json::from_value(stored).map_err(|_| StoreError::Corrupt("the pieces of a refund are no list".to_owned()))?;
    Ok(pieces
        .into_iter()
        .map(|(product, pieces)| (ProductId(product), pieces))
        .collect())
}

/// As `refund.pieces` keeps them; null: none.
pub(in crate::customer) fn pieces_json(refund: &Refund) -> Option<Json> {
    let pieces: Vec<(uuid::Uuid, i64)> = refund.pieces.iter().map(|(product, pieces)| (product.0, *pieces)).collect();
    (!pieces.is_empty()).then(|| json!(pieces))
}

pub(in crate::customer) async fn insert_refunds(
    db: &impl ConnectionTrait,
    refunds: &[(PurchaseKey, Refund)],
) -> Result<(), StoreError> {
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
        .optional_json(
            "pieces",
            refunds
                .iter()
                .map(|(_, refund)| pieces_json(refund).map(|pieces| pieces.to_string())),
        )
        .insert(db, "refund", "")
        .await?;
    Ok(())
}
