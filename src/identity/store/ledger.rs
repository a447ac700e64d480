//! The ledger of erasures, to be written out, and to be carried out again on a database that was restored.

use super::erased::unpacked;
use crate::base::{IdentifierId, RecordId};
use crate::store::{Rows, SWEEP_ROWS, StoreError, any_of, ids_value};
use sea_orm::{ConnectionTrait, FromQueryResult, Statement, Value};
use std::collections::{BTreeSet, HashMap, HashSet};
use uuid::Uuid;

/// An erasure with its reason.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Listed {
    pub id: Uuid,
    pub requested_at: i64,
    pub finished_at: Option<i64>,
    pub actor: String,
    /// None: taken out by a later erasure of the same records.
    pub reason: Option<String>,
    pub customer_id: Uuid,
    records: Vec<u8>,
    identifiers: Option<Vec<u8>>,
}

impl Listed {
    pub fn records(&self) -> Vec<Uuid> {
        unpacked(&self.records)
    }

    pub fn identifiers(&self) -> Vec<Uuid> {
        unpacked(self.identifiers.as_deref().unwrap_or_default())
    }
}

/// The next erasures behind one, in the order of their ids, which is that of their requests.
pub async fn erasures_after(db: &impl ConnectionTrait, after: Option<Uuid>) -> Result<Vec<Listed>, StoreError> {
    let (condition, values): (_, Vec<Value>) = match after {
        None => ("", Vec::new()),
        Some(after) => ("WHERE e.id > $1", vec![after.into()]),
    };
    let sql = format!(
        "SELECT e.id, e.requested_at, e.finished_at, e.actor, d.reason, e.customer_id, e.records, e.identifiers
         FROM erasure e LEFT JOIN identity_decision d ON d.id = e.decision_id {condition} ORDER BY e.id LIMIT {SWEEP_ROWS}"
    );
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    Ok(Listed::find_by_statement(statement).all(db).await?)
}

/// What erasures suppress today. Leans on the index (erasure_id, id).
pub async fn suppressed_by(
    db: &impl ConnectionTrait,
    erasures: impl IntoIterator<Item = Uuid>,
) -> Result<HashMap<Uuid, Vec<Uuid>>, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!(
        "SELECT erasure_id, id FROM suppression WHERE {} ORDER BY erasure_id, id",
        any_of(backend, "erasure_id", 1)
    );
    let statement = Statement::from_sql_and_values(backend, sql, [ids_value(backend, erasures)]);
    let mut suppressed: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
    for row in db.query_all_raw(statement).await? {
        suppressed
            .entry(row.try_get_by_index(0)?)
            .or_default()
            .push(row.try_get_by_index(1)?);
    }
    Ok(suppressed)
}

/// Which of these erasures this database knows.
pub async fn known(db: &impl ConnectionTrait, erasures: impl IntoIterator<Item = Uuid>) -> Result<HashSet<Uuid>, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!("SELECT id FROM erasure WHERE {}", any_of(backend, "id", 1));
    let rows = db
        .query_all_raw(Statement::from_sql_and_values(backend, sql, [ids_value(backend, erasures)]))
        .await?;
    rows.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}

/// Lifts what an erasure suppresses besides these values. Answers how many.
pub async fn keep_suppressed(
    db: &impl ConnectionTrait,
    erasure: Uuid,
    values: &BTreeSet<IdentifierId>,
) -> Result<u64, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!(
        "DELETE FROM suppression WHERE erasure_id = $1 AND NOT ({})",
        any_of(backend, "id", 2)
    );
    let parameters = [erasure.into(), ids_value(backend, values.iter().map(|id| id.0))];
    let done = db
        .execute_raw(Statement::from_sql_and_values(backend, sql, parameters))
        .await?;
    Ok(done.rows_affected())
}

/// Those of these records that were never erased here.
pub async fn without_skeletons(db: &impl ConnectionTrait, records: BTreeSet<RecordId>) -> Result<Vec<RecordId>, StoreError> {
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let backend = db.get_database_backend();
    let (relation, values) = Rows::new().id("id", records.iter().map(|id| id.0)).relation(backend);
    let sql = format!("SELECT v.id FROM {relation} WHERE NOT EXISTS (SELECT 1 FROM erased_record e WHERE e.id = v.id)");
    let rows = db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    rows.iter().map(|row| Ok(RecordId(row.try_get_by_index(0)?))).collect()
}

/// How many erasures are not through.
pub async fn unfinished(db: &impl ConnectionTrait) -> Result<i64, StoreError> {
    let sql = "SELECT COUNT(*) FROM erasure WHERE finished_at IS NULL";
    let row = db
        .query_one_raw(Statement::from_string(db.get_database_backend(), sql))
        .await?;
    row.map_or(Ok(0), |row| Ok(row.try_get_by_index(0)?))
}

/// Why an erasure was asked for; none when a later one took that out.
pub async fn reason_of(db: &impl ConnectionTrait, erasure: Uuid) -> Result<Option<String>, StoreError> {
    let sql = "SELECT d.reason FROM erasure e JOIN identity_decision d ON d.id = e.decision_id WHERE e.id = $1";
    let row = db
        .query_one_raw(Statement::from_sql_and_values(
            db.get_database_backend(),
            sql,
            [erasure.into()],
        ))
        .await?;
    row.map_or(Ok(None), |row| Ok(row.try_get_by_index(0)?))
}
