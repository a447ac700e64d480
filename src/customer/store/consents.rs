//! Answers to being spoken to: written once each, read by record and along the timeline.

use super::pairs;
use super::window::{TimelineWindow, first_per_record};
use crate::base::{ConsentId, EventId, Instant, RecordId};
use crate::customer::consent::{Consent, ConsentKey};
use crate::store::{Rows, StoreError, any_of, ids_value};
use entity::consent;
use sea_orm::{ActiveEnum as _, ConnectionTrait, FromQueryResult as _, Statement};
use serde_json::Value;
use std::collections::HashMap;
use uuid::Uuid;

/// Writes answers; those that are there already stay as they are.
pub async fn insert_consents(db: &impl ConnectionTrait, consents: &[Consent]) -> Result<(), StoreError> {
    let evidence = |value: &Value| (!value.is_null()).then(|| value.to_string());
    Rows::new()
        .id("record_id", consents.iter().map(|consent| consent.key.record.0))
        .id("id", consents.iter().map(|consent| consent.key.id.0))
        .text("purpose", consents.iter().map(|consent| consent.purpose.clone()))
        .text("channel", consents.iter().map(|consent| consent.channel.clone()))
        .small("answer", consents.iter().map(|consent| consent.answer.to_value()))
        .small("origin", consents.iter().map(|consent| consent.origin.to_value()))
        .optional_json("evidence", consents.iter().map(|consent| evidence(&consent.evidence)))
        .int("occurred_at", consents.iter().map(|consent| consent.at.micros()))
        .int("arrival", consents.iter().map(|consent| consent.arrival))
        .optional_id("event_id", consents.iter().map(|consent| consent.event.map(|event| event.0)))
        .optional_text("actor", consents.iter().map(|consent| consent.actor.clone()))
        .insert(db, "consent", "ON CONFLICT (record_id, id) DO NOTHING")
        .await?;
    Ok(())
}

/// Everything that records ever answered.
pub async fn consents_of(db: &impl ConnectionTrait, records: &[RecordId]) -> Result<Vec<Consent>, StoreError> {
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let backend = db.get_database_backend();
    let sql = format!("SELECT * FROM consent WHERE {}", any_of(backend, "record_id", 1));
    let statement = Statement::from_sql_and_values(backend, sql, [ids_value(backend, records.iter().map(|id| id.0))]);
    let rows = consent::Model::find_by_statement(statement).all(db).await?;
    Ok(rows.into_iter().map(Consent::from).collect())
}

/// Answers of each record in the window, at most one page and one row of each. One that was recorded for a customer stands under each of
/// their records, and is one: a page begins behind all its rows.
pub async fn timeline_consents(
    db: &impl ConnectionTrait,
    records: &[RecordId],
    window: &TimelineWindow,
) -> Result<Vec<Consent>, StoreError> {
    let mut window = window.clone();
    if let Some((_, _, record)) = &mut window.page.after {
        *record = if window.oldest_first { Uuid::max() } else { Uuid::nil() };
    }
    let statement = first_per_record(db.get_database_backend(), "consent", records, &window, "", Vec::new());
    let rows = consent::Model::find_by_statement(statement).all(db).await?;
    Ok(rows.into_iter().map(Consent::from).collect())
}

/// Answers by key.
pub async fn consents(db: &impl ConnectionTrait, keys: &[ConsentKey]) -> Result<HashMap<ConsentKey, Consent>, StoreError> {
    let backend = db.get_database_backend();
    let (relation, values) = pairs(backend, keys.iter().map(|key| (key.record.0, key.id.0)));
    let sql = format!("SELECT c.* FROM {relation} JOIN consent c ON c.record_id = v.record_id AND c.id = v.id");
    let rows = consent::Model::find_by_statement(Statement::from_sql_and_values(backend, sql, values))
        .all(db)
        .await?;
    Ok(rows
        .into_iter()
        .map(Consent::from)
        .map(|consent| (consent.key, consent))
        .collect())
}

impl From<consent::Model> for Consent {
    fn from(row: consent::Model) -> Self {
        Self {
            key: ConsentKey {
                record: RecordId(row.record_id),
                id: ConsentId(row.id),
            },
            purpose: row.purpose,
            channel: row.channel,
            answer: row.answer,
            origin: row.origin,
            evidence: row.evidence.unwrap_or_default(),
            at: Instant::from_micros(row.occurred_at),
            arrival: row.arrival,
            event: row.event_id.map(EventId),
            actor: row.actor,
        }
    }
}
