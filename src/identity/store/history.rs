//! The recorded history in whole, for folding it again: which records there are, what they showed, what was decided.

use crate::store::sweep;

sweep!(
    /// The next links, in the order of their keys.
    links_after, link, [record_id, identifier_id, event_id]
);
sweep!(
    /// The next identifiers, in the order of their ids.
    identifiers_after, identifier, [id]
);
sweep!(
    /// The next decisions, in the order of their ids.
    decisions_after, identity_decision, [id]
);
sweep!(
    /// The next records that decisions are about.
    decision_records_after, decision_record, [record_id, decision_id]
);
sweep!(
    /// The next items on hold, resolved ones included.
    held_items_after, held_item, [id]
);

use crate::base::{CustomerId, RecordId, SourceId};
use crate::store::{SWEEP_ROWS, StoreError, any_of, ids_value};
use entity::record;
use sea_orm::{ConnectionTrait, FromQueryResult, Statement};
use uuid::Uuid;

/// What of a record is no view: its key and when it came.
#[derive(Clone, Debug, FromQueryResult)]
pub struct RecordKey {
    pub id: Uuid,
    pub source_id: Uuid,
    pub external_key: String,
    pub arrival: i64,
}

impl RecordKey {
    pub fn source(&self) -> SourceId {
        SourceId(self.source_id)
    }
}

/// The next records, in the order of their ids.
pub async fn record_keys_after(db: &impl ConnectionTrait, after: Option<RecordId>) -> Result<Vec<RecordKey>, StoreError> {
    let backend = db.get_database_backend();
    let (condition, values) = match after {
        None => ("", Vec::new()),
        Some(after) => ("WHERE id > $1", vec![after.0.into()]),
    };
    let sql = format!("SELECT id, source_id, external_key, arrival FROM record {condition} ORDER BY id LIMIT {SWEEP_ROWS}");
    let statement = Statement::from_sql_and_values(backend, sql, values);
    Ok(RecordKey::find_by_statement(statement).all(db).await?)
}

/// Records as they are stored, whatever they hold.
pub async fn stored_records(db: &impl ConnectionTrait, ids: &[RecordId]) -> Result<Vec<record::Model>, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!("SELECT * FROM record WHERE {}", any_of(backend, "id", 1));
    let statement = Statement::from_sql_and_values(backend, sql, [ids_value(backend, ids.iter().map(|id| id.0))]);
    Ok(record::Model::find_by_statement(statement).all(db).await?)
}

/// The next records with their customers, in the order of their ids.
pub async fn customers_after(
    db: &impl ConnectionTrait,
    after: Option<RecordId>,
) -> Result<Vec<(RecordId, CustomerId)>, StoreError> {
    let backend = db.get_database_backend();
    let (condition, values) = match after {
        None => ("", Vec::new()),
        Some(after) => ("WHERE id > $1", vec![after.0.into()]),
    };
    let sql = format!("SELECT id, customer_id FROM record {condition} ORDER BY id LIMIT {SWEEP_ROWS}");
    let rows = db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    rows.iter()
        .map(|row| Ok((RecordId(row.try_get_by_index(0)?), CustomerId(row.try_get_by_index(1)?))))
        .collect()
}
