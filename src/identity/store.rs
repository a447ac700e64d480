//! Every statement of records, identifiers and links; the way from a customer to its records is `records_of` and nothing else.

use super::{Identifier, NewLink, NewRecord, Record, RecordTraits};
use crate::base::{CustomerId, IdentifierId, Instant, RecordId, SourceId};
use crate::store::{Rows, StoreError, any_of, ids_value};
use entity::{IdentifierState, identifier, record};
use sea_orm::{ActiveEnum as _, ConnectionTrait, FromQueryResult, Statement};
use std::collections::{BTreeMap, HashMap, HashSet};
use uuid::Uuid;

/// What intake needs to know of records before it writes: who they belong to, and which identifiers they have shown.
#[derive(Debug, Default)]
pub struct Known {
    pub customers: HashMap<RecordId, CustomerId>,
    pub shown: HashSet<(RecordId, IdentifierId)>,
}

/// Reads records and, of the pairs asked for, those that were shown before. One statement, by primary keys.
pub async fn known(db: &impl ConnectionTrait, pairs: &HashSet<(RecordId, Option<IdentifierId>)>) -> Result<Known, StoreError> {
    let mut known = Known::default();
    if pairs.is_empty() {
        return Ok(known);
    }
    let backend = db.get_database_backend();
    let (relation, values) = Rows::new()
        .id("record_id", pairs.iter().map(|(record, _)| record.0))
        .optional_id(
            "identifier_id",
            pairs.iter().map(|(_, identifier)| identifier.map(|identifier| identifier.0)),
        )
        .relation(backend);
    let sql = format!(
        "SELECT r.id, r.customer_id, v.identifier_id,
                EXISTS (SELECT 1 FROM link l WHERE l.record_id = v.record_id AND l.identifier_id = v.identifier_id)
         FROM {relation} JOIN record r ON r.id = v.record_id"
    );
    for row in db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await? {
        let record = RecordId(row.try_get_by_index(0)?);
        known.customers.insert(record, CustomerId(row.try_get_by_index(1)?));
        if let (Some(identifier), true) = (row.try_get_by_index::<Option<Uuid>>(2)?, row.try_get_by_index(3)?) {
            known.shown.insert((record, IdentifierId(identifier)));
        }
    }
    Ok(known)
}

/// Locks records by raising their `rev`, and reads them. Sorted ids make the usual plan lock in one order; where it does not, the
/// deadlock is tried again.
pub async fn lock_records(db: &impl ConnectionTrait, ids: impl IntoIterator<Item = RecordId>) -> Result<Vec<Record>, StoreError> {
    let mut ids: Vec<Uuid> = ids.into_iter().map(|id| id.0).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    ids.sort_unstable();
    let backend = db.get_database_backend();
    let sql = format!(
        "UPDATE record SET rev = rev + 1 WHERE {} RETURNING *",
        any_of(backend, "id", 1)
    );
    let statement = Statement::from_sql_and_values(backend, sql, [ids_value(backend, ids)]);
    record::Model::find_by_statement(statement)
        .all(db)
        .await?
        .into_iter()
        .map(Record::try_from)
        .collect()
}

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

/// Writes links, and the identifiers nobody showed before; those then belong to the customer of the first link that names them.
pub async fn insert_links(db: &impl ConnectionTrait, links: &[NewLink]) -> Result<(), StoreError> {
    // Sorted, so that two transactions that show the same new values wait for each other in one order.
    let mut first: BTreeMap<IdentifierId, &NewLink> = BTreeMap::new();
    for link in links {
        let standing = first.entry(link.identifier).or_insert(link);
        if link.arrival < standing.arrival {
            *standing = link;
        }
    }
    Rows::new()
        .id("id", first.keys().map(|id| id.0))
        .small("kind", first.values().map(|link| link.kind.to_value()))
        .text("namespace", first.values().map(|link| link.namespace.clone()))
        .text("value", first.values().map(|link| link.value.clone()))
        .id("customer_id", first.values().map(|link| link.customer.0))
        .small("state", first.values().map(|_| IdentifierState::Active.to_value()))
        .int("arrival", first.values().map(|link| link.arrival))
        .int("rev", first.values().map(|_| 1))
        .insert(db, "identifier", "ON CONFLICT (id) DO NOTHING")
        .await?;
    Rows::new()
        .id("record_id", links.iter().map(|link| link.record.0))
        .id("identifier_id", links.iter().map(|link| link.identifier.0))
        .id("event_id", links.iter().map(|link| link.event.0))
        .int("arrival", links.iter().map(|link| link.arrival))
        .int("occurred_at", links.iter().map(|link| link.occurred_at.micros()))
        .insert(db, "link", "ON CONFLICT (record_id, identifier_id, event_id) DO NOTHING")
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
    let backend = db.get_database_backend();
    let sql = "SELECT customer_id FROM identifier WHERE id = $1 AND state = $2";
    let values = [id.0.into(), IdentifierState::Active.to_value().into()];
    let row = db.query_one_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Ok(row
        .map(|row| row.try_get_by_index::<Option<Uuid>>(0))
        .transpose()?
        .flatten()
        .map(CustomerId))
}

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
                i.id, i.kind, i.namespace, i.value, i.customer_id, i.state, i.arrival, i.rev
         FROM link l JOIN record r ON r.id = l.record_id JOIN identifier i ON i.id = l.identifier_id
         WHERE {}
         GROUP BY l.record_id, r.source_id, i.id, i.kind, i.namespace, i.value, i.customer_id, i.state, i.arrival, i.rev
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
        })
    }
}
