//! What intake's own tables keep of people who were erased: nothing.
//!
//! The catalogue is asked against what is left (`event`, `record`), which this module only reads: a name that nobody sends any more may
//! be somebody's own.

use crate::store::{Rows, StoreError, any_of, ids_value, sweep};
use entity::EventKind;
use sea_orm::{ActiveEnum as _, ConnectionTrait, DbBackend, Statement};
use std::collections::BTreeSet;
use uuid::Uuid;

sweep!(
    /// The next refused items, in the order of their ids.
    rejected_after, rejected_item, [id]
);

/// Takes text and message out of refused items.
pub async fn redact_rejected(db: &impl ConnectionTrait, ids: &[Uuid]) -> Result<u64, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!(
        "UPDATE rejected_item SET payload = '{{}}', message = 'erased' WHERE {} AND payload <> '{{}}'",
        any_of(backend, "id", 1)
    );
    let values = [ids_value(backend, ids.iter().copied())];
    let done = db.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Ok(done.rows_affected())
}

/// Deletes those of these names that no event has any more; answers them. A common name is found at once, a rare one costs a reading of
/// `event`.
pub async fn prune_events(
    db: &impl ConnectionTrait,
    names: &BTreeSet<(String, EventKind)>,
) -> Result<Vec<(String, EventKind)>, StoreError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let backend = db.get_database_backend();
    let (relation, values) = Rows::new()
        .text("name", names.iter().map(|(name, _)| name.clone()))
        .small("kind", names.iter().map(|(_, kind)| kind.to_value()))
        .relation(backend);
    let sql = format!(
        "DELETE FROM event_definition WHERE (name, kind) IN (SELECT name, kind FROM {relation})
         AND (SELECT 1 FROM event e WHERE e.kind = event_definition.kind AND e.name = event_definition.name LIMIT 1) IS NULL
         RETURNING name, kind"
    );
    let rows = db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    let mut gone = Vec::with_capacity(rows.len());
    for row in rows {
        let kind = EventKind::try_from_value(&row.try_get_by_index(1)?)?;
        gone.push((row.try_get_by_index(0)?, kind));
    }
    Ok(gone)
}

/// Deletes those of these names that no record states any more; answers them.
pub async fn prune_traits(db: &impl ConnectionTrait, names: &BTreeSet<String>) -> Result<Vec<String>, StoreError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let backend = db.get_database_backend();
    let (relation, values) = Rows::new().text("name", names.iter().cloned()).relation(backend);
    let states = match backend {
        DbBackend::Postgres => "jsonb_exists(r.traits, trait_definition.name)",
        _ => "EXISTS (SELECT 1 FROM json_each(r.traits) t WHERE t.key = trait_definition.name)",
    };
    let sql = format!(
        "DELETE FROM trait_definition WHERE name IN (SELECT name FROM {relation})
         AND (SELECT 1 FROM record r WHERE {states} LIMIT 1) IS NULL RETURNING name"
    );
    let rows = db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    rows.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}
