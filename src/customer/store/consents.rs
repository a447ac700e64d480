//! Answers to being spoken to: written once each, read by record and along the timeline.

use super::pairs;
use crate::base::ids::HashKey;
use crate::base::{ConsentId, EventId, Instant, RecordId};
use crate::customer::consent::{Consent, ConsentKey};
use crate::ingest::consent::preferences;
use crate::store::walk::{Lane, columns_of};
use crate::store::{Rows, StoreError, any_of, ids_value};
use entity::consent;
use sea_orm::{ActiveEnum as _, ConnectionTrait, DbBackend, FromQueryResult as _, QueryResult, Statement};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};

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

/// The preferences in messages of records, from an instant of each record on. By the timeline index.
pub async fn preferences_since(
    db: &impl ConnectionTrait,
    keys: &HashKey,
    since: &BTreeMap<RecordId, Instant>,
) -> Result<Vec<Consent>, StoreError> {
    if since.is_empty() {
        return Ok(Vec::new());
    }
    let backend = db.get_database_backend();
    let (relation, values) = Rows::new()
        .id("record_id", since.keys().map(|record| record.0))
        .int("since", since.values().map(|at| at.micros()))
        .relation(backend);
    let said = if backend == DbBackend::Postgres {
        "(e.context -> 'context' -> 'consent')::text"
    } else {
        "json_extract(e.context, '$.context.consent')"
    };
    let sql = format!(
        "SELECT e.record_id, e.id, e.name, e.message_id, e.occurred_at, e.arrival, {said} FROM {relation}
         JOIN event e ON e.record_id = v.record_id AND e.occurred_at >= v.since WHERE {said} IS NOT NULL"
    );
    let mut found = Vec::new();
    for row in db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await? {
        let (record, event) = (RecordId(row.try_get_by_index(0)?), EventId(row.try_get_by_index(1)?));
        let (name, message_id): (String, String) = (row.try_get_by_index(2)?, row.try_get_by_index(3)?);
        let at = Instant::from_micros(row.try_get_by_index(4)?);
        let consent: Value = serde_json::from_str(&row.try_get_by_index::<String>(6)?).unwrap_or_default();
        let context = Map::from_iter([("consent".to_owned(), consent)]);
        // Whatever was accepted could be read.
        let said = preferences(&context, &name, &message_id, at).unwrap_or_default();
        for (n, said) in (0..).zip(&said) {
            found.push(Consent::of_message(keys, (record, event), n, row.try_get_by_index(5)?, said));
        }
    }
    Ok(found)
}

/// Answers as entries of a timeline. One that was recorded for a customer stands under each of their records, and is one entry: the row
/// of the first of them is read.
pub fn consent_lane() -> Lane {
    Lane {
        keys: "consent",
        record: "record_id",
        at: "occurred_at",
        id: "id",
        condition: String::new(),
        values: Vec::new(),
        is_shared: true,
        rows: "consent",
        on: "{}.id = f.id AND {}.record_id = (SELECT w.record_id FROM who w JOIN consent c ON c.record_id = w.record_id AND c.id = f.id
              WHERE w.list_id = f.list_id ORDER BY w.record_id LIMIT 1)",
        columns: columns_of::<consent::Entity>(),
    }
}

/// The answer of a timeline's row.
pub fn read_consent(row: &QueryResult, prefix: &str) -> Result<Consent, StoreError> {
    Ok(consent::Model::from_query_result(row, prefix)?.into())
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
