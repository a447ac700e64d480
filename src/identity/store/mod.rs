//! Every statement of records, identifiers, links and decisions; the way from a customer to its records is `records_of`, `sayings_of`
//! and what `neighbours` reads under lock, and nothing else.

pub mod decisions;
pub mod erased;
pub mod evidence;
pub mod history;
pub mod ledger;
pub mod neighbours;
pub mod parts;
pub mod sayings;

use super::{Identifier, NewRecord, Record, RecordTraits};
use crate::base::{CustomerId, IdentifierId, Instant, RecordId, SourceId};
use crate::store::{Rows, StoreError, any_of, ids_value};
use entity::{IdentifierKind, IdentifierState, identifier, record};
use sea_orm::{ActiveEnum as _, ConnectionTrait, FromQueryResult, Statement, TryGetable as _};
use std::collections::HashMap;
use uuid::Uuid;

/// Writes new records. Loses the race when another transaction wrote one of them meanwhile.
pub async fn insert_records(db: &impl ConnectionTrait, records: &[NewRecord]) -> Result<(), StoreError> {
    let written = Rows::new()
        .id("id", records.iter().map(|record| record.id.0))
        .id("source_id", records.iter().map(|record| record.source.0))
        .text("external_key", records.iter().map(|record| record.external_key.clone()))
        .id("customer_id", records.iter().map(|record| record.customer.0))
        .int("arrival", records.iter().map(|record| record.arrival))
        .json("traits", records.iter().map(|record| record.traits.to_json().to_string()))
        .int("rev", records.iter().map(|_| 1))
        .int("siblings", records.iter().map(|record| record.siblings))
        .flag("was_customer", records.iter().map(|record| record.was_customer))
        .insert(db, "record", "ON CONFLICT (id) DO NOTHING RETURNING id")
        .await?;
    if written.len() == records.len() {
        Ok(())
    } else {
        Err(StoreError::LostRace)
    }
}

/// Writes the traits of locked records.
pub async fn update_traits<'r>(
    db: &impl ConnectionTrait,
    records: impl IntoIterator<Item = &'r Record>,
) -> Result<(), StoreError> {
    let records: Vec<_> = records.into_iter().collect();
    Rows::new()
        .id("id", records.iter().map(|record| record.id.0))
        .json("traits", records.iter().map(|record| record.traits.to_json().to_string()))
        .update(db, "record", "traits = v.traits", "record.id = v.id")
        .await?;
    Ok(())
}

/// The customer of today behind any id that was ever handed out.
pub async fn resolve(db: &impl ConnectionTrait, ids: &[CustomerId]) -> Result<HashMap<CustomerId, CustomerId>, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!("SELECT id, customer_id FROM record WHERE {}", any_of(backend, "id", 1));
    let statement = Statement::from_sql_and_values(backend, sql, [ids_value(backend, ids.iter().map(|id| id.0))]);
    let mut resolved = HashMap::with_capacity(ids.len());
    for row in db.query_all_raw(statement).await? {
        resolved.insert(CustomerId(row.try_get_by_index(0)?), CustomerId(row.try_get_by_index(1)?));
    }
    Ok(resolved)
}

/// Who owns an identifier; nobody when it is unknown, blocked or held.
pub async fn owner(db: &impl ConnectionTrait, id: IdentifierId) -> Result<Option<CustomerId>, StoreError> {
    Ok(owners(db, &[id]).await?.remove(&id))
}

/// Who owns identifiers; those that nobody owns are missing.
pub async fn owners(db: &impl ConnectionTrait, ids: &[IdentifierId]) -> Result<HashMap<IdentifierId, CustomerId>, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!(
        "SELECT i.id, r.customer_id FROM identifier i JOIN record r ON r.id = i.owner_id WHERE {} AND i.state IN ($2, $3)",
        any_of(backend, "i.id", 1)
    );
    let recognising = [IdentifierState::Active, IdentifierState::Cleared].map(|state| state.to_value().into());
    let values = std::iter::once(ids_value(backend, ids.iter().map(|id| id.0))).chain(recognising);
    let mut owners = HashMap::with_capacity(ids.len());
    for row in db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await? {
        owners.insert(IdentifierId(row.try_get_by_index(0)?), CustomerId(row.try_get_by_index(1)?));
    }
    Ok(owners)
}

/// The way from customers to their records inside a statement about both: joins `record r` to a table `v` with a column `customer_id`.
/// Leans on the index (customer_id, arrival, id).
pub const JOIN_RECORDS: &str = "JOIN record r ON r.customer_id = v.customer_id";

/// The records of customers, each customer's in order of arrival. Leans on the index (customer_id, arrival, id).
pub async fn records_of(db: &impl ConnectionTrait, customers: &[CustomerId]) -> Result<Vec<Record>, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!(
        "SELECT * FROM record WHERE {} ORDER BY customer_id, arrival, id",
        any_of(backend, "customer_id", 1)
    );
    let statement = Statement::from_sql_and_values(backend, sql, [ids_value(backend, customers.iter().map(|id| id.0))]);
    record::Model::find_by_statement(statement)
        .all(db)
        .await?
        .into_iter()
        .map(Record::try_from)
        .collect()
}

/// Records by id, in no order.
pub async fn records(db: &impl ConnectionTrait, ids: &[RecordId]) -> Result<Vec<Record>, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!("SELECT * FROM record WHERE {}", any_of(backend, "id", 1));
    let statement = Statement::from_sql_and_values(backend, sql, [ids_value(backend, ids.iter().map(|id| id.0))]);
    record::Model::find_by_statement(statement)
        .all(db)
        .await?
        .into_iter()
        .map(Record::try_from)
        .collect()
}

#[derive(FromQueryResult)]
struct Shown {
    record_id: Uuid,
    source_id: Uuid,
    first_seen_at: i64,
    last_seen_at: i64,
    #[sea_orm(nested)]
    identifier: identifier::Model,
}

/// The identifiers that records have shown, by record, each in order of kind and value.
pub async fn identifiers_of(
    db: &impl ConnectionTrait,
    records: &[RecordId],
) -> Result<HashMap<RecordId, Vec<Identifier>>, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!(
        "SELECT l.record_id, r.source_id, MIN(l.occurred_at) AS first_seen_at, MAX(l.occurred_at) AS last_seen_at,
                i.id, i.kind, i.namespace, i.value, i.owner_id, i.state, i.arrival, i.rev
         FROM link l JOIN record r ON r.id = l.record_id JOIN identifier i ON i.id = l.identifier_id
         WHERE {}
         GROUP BY l.record_id, r.source_id, i.id, i.kind, i.namespace, i.value, i.owner_id, i.state, i.arrival, i.rev
         ORDER BY i.kind, i.namespace, i.value",
        any_of(backend, "l.record_id", 1)
    );
    let statement = Statement::from_sql_and_values(backend, sql, [ids_value(backend, records.iter().map(|id| id.0))]);
    let mut by_record: HashMap<RecordId, Vec<Identifier>> = HashMap::new();
    for row in Shown::find_by_statement(statement).all(db).await? {
        by_record.entry(RecordId(row.record_id)).or_default().push(Identifier {
            id: IdentifierId(row.identifier.id),
            kind: row.identifier.kind,
            namespace: row.identifier.namespace,
            value: row.identifier.value,
            state: row.identifier.state,
            first_seen_at: Instant::from_micros(row.first_seen_at),
            last_seen_at: Instant::from_micros(row.last_seen_at),
            sources: vec![SourceId(row.source_id)],
        });
    }
    Ok(by_record)
}

/// The kinds of identifiers there are, each with its namespace, in order. Reads all of them.
pub async fn identifier_kinds(db: &impl ConnectionTrait) -> Result<Vec<(IdentifierKind, String)>, StoreError> {
    let sql = "SELECT DISTINCT kind, namespace FROM identifier ORDER BY kind, namespace";
    let rows = db
        .query_all_raw(Statement::from_string(db.get_database_backend(), sql))
        .await?;
    rows.iter()
        .map(|row| {
            let kind = IdentifierKind::try_get_by_index(row, 0).map_err(sea_orm::DbErr::from)?;
            Ok((kind, row.try_get_by_index(1)?))
        })
        .collect()
}

impl TryFrom<record::Model> for Record {
    type Error = StoreError;

    fn try_from(model: record::Model) -> Result<Self, StoreError> {
        let corrupt = || StoreError::Corrupt(format!("record {}: traits", model.id));
        Ok(Self {
            id: RecordId(model.id),
            source: SourceId(model.source_id),
            external_key: model.external_key,
            customer: CustomerId(model.customer_id),
            arrival: model.arrival,
            traits: RecordTraits::from_json(model.traits).ok_or_else(corrupt)?,
            rev: model.rev,
            was_customer: model.was_customer,
        })
    }
}
