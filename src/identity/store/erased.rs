//! What is left of erased people: the ledger, what refuses their later messages, and skeletons of records, links and values, by which
//! the history can be folded up to the step at which they went. What is moved here is gone from `record`, `link` and `identifier` in
//! the same transaction, so nothing that reads those can find it any more.

use crate::base::{EventId, IdentifierId, RecordId};
use crate::store::{Rows, SWEEP_ROWS, StoreError, any_of, ids_value};
use entity::{IdentifierKind, link};
use sea_orm::{ActiveEnum as _, ConnectionTrait, DbBackend, FromQueryResult, Statement, Value};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use uuid::Uuid;

/// An erasure as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
pub struct Erasure {
    pub id: Uuid,
    pub arrival: i64,
    pub requested_at: i64,
    pub actor: String,
    /// The id that the customer had.
    pub customer_id: Uuid,
    pub decision_id: Uuid,
    pub job_id: Uuid,
    pub tx_id: Uuid,
    /// Ids of sixteen bytes each.
    pub records: Vec<u8>,
    pub identifiers: Option<Vec<u8>>,
    pub finished_at: Option<i64>,
}

impl Erasure {
    pub fn records(&self) -> Vec<RecordId> {
        unpacked(&self.records).into_iter().map(RecordId).collect()
    }
}

/// Ids one behind the other.
pub fn packed(ids: impl IntoIterator<Item = Uuid>) -> Vec<u8> {
    ids.into_iter().flat_map(Uuid::into_bytes).collect()
}

pub(super) fn unpacked(bytes: &[u8]) -> Vec<Uuid> {
    let (ids, _) = bytes.as_chunks::<16>();
    ids.iter().map(|id| Uuid::from_bytes(*id)).collect()
}

/// A record's skeleton, one for each of its lives.
#[derive(Clone, Debug, FromQueryResult)]
pub struct ErasedRecord {
    pub id: Uuid,
    pub arrival: i64,
    pub erasure_id: Uuid,
    /// The arrival of the erasure.
    pub erased_at: i64,
    /// The anonymous record beside which it was opened.
    pub first_id: Option<Uuid>,
    pub siblings: i64,
    /// Until the erasure is through.
    pub external_key: Option<String>,
}

/// What an erased record showed.
#[derive(Clone, Debug, FromQueryResult)]
pub struct ErasedLink {
    pub record_id: Uuid,
    pub identifier_id: Uuid,
    pub event_id: Uuid,
    pub arrival: i64,
    pub place: i16,
    /// Whether the rules of its arrival let the value, as it was sent, recognise people.
    pub is_usable: bool,
    /// As it was sent, until the erasure is through.
    pub raw: Option<String>,
}

/// A value that nobody shows any more.
#[derive(Clone, Debug, FromQueryResult)]
pub struct ErasedValue {
    pub id: Uuid,
    pub erasure_id: Uuid,
    pub kind: IdentifierKind,
    pub namespace: String,
    /// Until the erasure is through.
    pub value: Option<String>,
    /// The versions of the rules by which it could recognise people; 0 are the configured ones.
    pub judged: serde_json::Value,
}

/// What an erased record said of an attribute that rules compare.
#[derive(Clone, Debug, FromQueryResult)]
pub struct ErasedStatement {
    pub record_id: Uuid,
    pub event_id: Uuid,
    pub attribute: String,
    pub arrival: i64,
    pub occurred_at: i64,
    /// A keyed hash of the value; null when it was cleared.
    pub value_id: Option<Uuid>,
}

fn statement(backend: DbBackend, sql: &str, ids: impl IntoIterator<Item = Uuid>) -> Statement {
    Statement::from_sql_and_values(backend, sql, [ids_value(backend, ids)])
}

/// The last erasure of the record that has this id as its own.
pub async fn erasure_of(db: &impl ConnectionTrait, record: RecordId) -> Result<Option<Erasure>, StoreError> {
    let sql =
        "SELECT e.* FROM erased_record r JOIN erasure e ON e.id = r.erasure_id WHERE r.id = $1 ORDER BY r.arrival DESC LIMIT 1";
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, [record.0.into()]);
    Ok(Erasure::find_by_statement(statement).one(db).await?)
}

/// An erasure by its id.
pub async fn erasure(db: &impl ConnectionTrait, id: Uuid) -> Result<Option<Erasure>, StoreError> {
    let sql = "SELECT * FROM erasure WHERE id = $1";
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, [id.into()]);
    Ok(Erasure::find_by_statement(statement).one(db).await?)
}

/// Writes the ledger's row.
pub async fn insert_erasure(db: &impl ConnectionTrait, erasure: &Erasure) -> Result<(), StoreError> {
    Rows::new()
        .id("id", [erasure.id])
        .int("arrival", [erasure.arrival])
        .int("requested_at", [erasure.requested_at])
        .text("actor", [erasure.actor.clone()])
        .id("customer_id", [erasure.customer_id])
        .id("decision_id", [erasure.decision_id])
        .id("job_id", [erasure.job_id])
        .id("tx_id", [erasure.tx_id])
        .optional_bytes("records", [Some(erasure.records.clone())])
        .optional_bytes("identifiers", [erasure.identifiers.clone()])
        .insert(db, "erasure", "")
        .await?;
    Ok(())
}

/// Notes that an erasure is through. False: it was before.
pub async fn finish(db: &impl ConnectionTrait, erasure: Uuid, now: i64) -> Result<(), StoreError> {
    let sql = "UPDATE erasure SET finished_at = $2 WHERE id = $1 AND finished_at IS NULL";
    let values = [erasure.into(), now.into()];
    db.execute_raw(Statement::from_sql_and_values(db.get_database_backend(), sql, values))
        .await?;
    Ok(())
}

/// Later messages that show one of these values as their strongest are dropped.
pub async fn suppress(
    db: &impl ConnectionTrait,
    erasure: Uuid,
    since: i64,
    values: &BTreeSet<IdentifierId>,
) -> Result<(), StoreError> {
    Rows::new()
        .id("id", values.iter().map(|id| id.0))
        .id("erasure_id", values.iter().map(|_| erasure))
        .int("since", values.iter().map(|_| since))
        .insert(db, "suppression", "ON CONFLICT (id) DO NOTHING")
        .await?;
    Ok(())
}

/// A value may be heard of again. False: it was not suppressed.
pub async fn lift(db: &impl ConnectionTrait, value: IdentifierId) -> Result<bool, StoreError> {
    let sql = "DELETE FROM suppression WHERE id = $1 RETURNING id";
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, [value.0.into()]);
    Ok(!db.query_all_raw(statement).await?.is_empty())
}

/// Values may be heard of again that were suppressed before an instant. Answers those that were.
pub async fn lift_granted(
    db: &impl ConnectionTrait,
    granted: &BTreeMap<IdentifierId, i64>,
) -> Result<Vec<IdentifierId>, StoreError> {
    let backend = db.get_database_backend();
    let (relation, values) = Rows::new()
        .id("id", granted.keys().map(|id| id.0))
        .int("at", granted.values().copied())
        .relation(backend);
    let sql = format!(
        "DELETE FROM suppression WHERE EXISTS (SELECT 1 FROM {relation} WHERE v.id = suppression.id AND v.at > suppression.since)
         RETURNING id"
    );
    let rows = db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    rows.iter().map(|row| Ok(IdentifierId(row.try_get_by_index(0)?))).collect()
}

/// Whether anybody was ever erased here.
pub async fn is_anybody_erased(db: &impl ConnectionTrait) -> Result<bool, StoreError> {
    let statement = Statement::from_string(db.get_database_backend(), "SELECT id FROM erasure LIMIT 1");
    Ok(db.query_one_raw(statement).await?.is_some())
}

/// Which of these ids belong to people who were erased: suppressed values, and records that did not live again. By primary keys.
pub async fn of_erased(db: &impl ConnectionTrait, ids: &BTreeSet<Uuid>) -> Result<HashSet<Uuid>, StoreError> {
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let backend = db.get_database_backend();
    let sql = format!(
        "SELECT id FROM suppression WHERE {0} UNION SELECT e.id FROM erased_record e WHERE {1} AND e.is_latest
            AND NOT EXISTS (SELECT 1 FROM record r WHERE r.id = e.id)",
        any_of(backend, "id", 1),
        any_of(backend, "e.id", 1)
    );
    let rows = db.query_all_raw(statement(backend, &sql, ids.iter().copied())).await?;
    rows.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}

/// Whether any of these values is suppressed. By primary key.
pub async fn is_any_suppressed(db: &impl ConnectionTrait, values: &BTreeSet<IdentifierId>) -> Result<bool, StoreError> {
    if values.is_empty() {
        return Ok(false);
    }
    let backend = db.get_database_backend();
    let sql = format!("SELECT id FROM suppression WHERE {} LIMIT 1", any_of(backend, "id", 1));
    let found = db
        .query_all_raw(statement(backend, &sql, values.iter().map(|id| id.0)))
        .await?;
    Ok(!found.is_empty())
}

/// Everything that records have shown, as it is kept.
pub async fn links_of(db: &impl ConnectionTrait, records: &BTreeSet<RecordId>) -> Result<Vec<link::Model>, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!("SELECT * FROM link WHERE {}", any_of(backend, "record_id", 1));
    let statement = statement(backend, &sql, records.iter().map(|id| id.0));
    Ok(link::Model::find_by_statement(statement).all(db).await?)
}

/// Puts skeletons in the place of records under lock. `is_pending` until the erasure is through.
pub async fn bury_records(db: &impl ConnectionTrait, records: &[ErasedRecord]) -> Result<(), StoreError> {
    let backend = db.get_database_backend();
    let ids = || records.iter().map(|record| record.id);
    let sql = format!(
        "UPDATE erased_record SET is_latest = (1 = 0) WHERE {}",
        any_of(backend, "id", 1)
    );
    db.execute_raw(statement(backend, &sql, ids())).await?;
    Rows::new()
        .id("id", ids())
        .int("arrival", records.iter().map(|record| record.arrival))
        .id("erasure_id", records.iter().map(|record| record.erasure_id))
        .int("erased_at", records.iter().map(|record| record.erased_at))
        .optional_id("first_id", records.iter().map(|record| record.first_id))
        .int("siblings", records.iter().map(|record| record.siblings))
        .flag("is_latest", records.iter().map(|_| true))
        .flag("is_pending", records.iter().map(|_| true))
        .optional_text(
            "external_key",
            records
                .iter()
                .map(|record| record.external_key.clone().filter(|key| !key.is_empty())),
        )
        .insert(db, "erased_record", "")
        .await?;
    let sql = format!("DELETE FROM record WHERE {}", any_of(backend, "id", 1));
    db.execute_raw(statement(backend, &sql, ids())).await?;
    Ok(())
}

/// Puts skeletons in the place of what erased records showed.
pub async fn bury_links(db: &impl ConnectionTrait, records: &BTreeSet<RecordId>, links: &[ErasedLink]) -> Result<(), StoreError> {
    Rows::new()
        .id("record_id", links.iter().map(|link| link.record_id))
        .id("identifier_id", links.iter().map(|link| link.identifier_id))
        .id("event_id", links.iter().map(|link| link.event_id))
        .int("arrival", links.iter().map(|link| link.arrival))
        .small("place", links.iter().map(|link| link.place))
        .flag("is_usable", links.iter().map(|link| link.is_usable))
        .optional_text("raw", links.iter().map(|link| link.raw.clone().filter(|raw| !raw.is_empty())))
        .insert(db, "erased_link", "")
        .await?;
    let backend = db.get_database_backend();
    let sql = format!("DELETE FROM link WHERE {}", any_of(backend, "record_id", 1));
    db.execute_raw(statement(backend, &sql, records.iter().map(|id| id.0)))
        .await?;
    Ok(())
}

/// Puts skeletons in the place of values that nobody shows any more. `remembered`: those about which something was decided keep their
/// state under their hash, and lose their text.
pub async fn bury_values(
    db: &impl ConnectionTrait,
    values: &[ErasedValue],
    remembered: &BTreeSet<Uuid>,
) -> Result<(), StoreError> {
    if values.is_empty() {
        return Ok(());
    }
    Rows::new()
        .id("id", values.iter().map(|value| value.id))
        .id("erasure_id", values.iter().map(|value| value.erasure_id))
        .small("kind", values.iter().map(|value| value.kind.to_value()))
        .text("namespace", values.iter().map(|value| value.namespace.clone()))
        .optional_text(
            "value",
            values.iter().map(|value| value.value.clone().filter(|text| !text.is_empty())),
        )
        .json("judged", values.iter().map(|value| value.judged.to_string()))
        .insert(
            db,
            "erased_value",
            "ON CONFLICT (id) DO UPDATE SET erasure_id = excluded.erasure_id, value = excluded.value, judged = excluded.judged",
        )
        .await?;
    let backend = db.get_database_backend();
    let (kept, gone): (Vec<Uuid>, Vec<Uuid>) = values.iter().map(|value| value.id).partition(|id| remembered.contains(id));
    let sql = format!("DELETE FROM identifier WHERE {}", any_of(backend, "id", 1));
    db.execute_raw(statement(backend, &sql, gone)).await?;
    let sql = format!("UPDATE identifier SET value = '' WHERE {}", any_of(backend, "id", 1));
    db.execute_raw(statement(backend, &sql, kept)).await?;
    Ok(())
}

/// Takes values away that no record shows and nobody owns or decided about: an alias names them without showing them. They must be
/// under lock.
pub async fn prune_values(db: &impl ConnectionTrait, values: &BTreeSet<IdentifierId>) -> Result<u64, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!(
        "DELETE FROM identifier WHERE {} AND owner_id IS NULL AND state IN (1, 5)
         AND NOT EXISTS (SELECT 1 FROM link l WHERE l.identifier_id = identifier.id)",
        any_of(backend, "id", 1)
    );
    let done = db.execute_raw(statement(backend, &sql, values.iter().map(|id| id.0))).await?;
    Ok(done.rows_affected())
}

/// What people said about records that are erased binds nobody any more, what they wrote about it is gone, and nothing waits because of
/// them.
pub async fn end_decisions(
    db: &impl ConnectionTrait,
    records: &BTreeSet<RecordId>,
    now: i64,
    by: &str,
) -> Result<u64, StoreError> {
    let backend = db.get_database_backend();
    let ids = || records.iter().map(|id| id.0);
    // What is said of everybody (8: other rules) is said of nobody.
    let sql = format!(
        "UPDATE identity_decision SET reason = NULL WHERE reason IS NOT NULL AND kind <> 8
         AND id IN (SELECT decision_id FROM decision_record WHERE {})",
        any_of(backend, "record_id", 1)
    );
    let silenced = db.execute_raw(statement(backend, &sql, ids())).await?.rows_affected();
    let sql = format!(
        "UPDATE decision_record SET stands = (1 = 0) WHERE {}",
        any_of(backend, "record_id", 1)
    );
    db.execute_raw(statement(backend, &sql, ids())).await?;
    let sql = format!(
        "UPDATE held_item SET resolved_at = $2, resolved_by = $3 WHERE resolved_at IS NULL AND ({} OR {})",
        any_of(backend, "record_id", 1),
        any_of(backend, "other_record_id", 1)
    );
    let values = [ids_value(backend, ids()), now.into(), by.into()];
    db.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Ok(silenced)
}

/// Values, spellings and keys that an erasure must not leave anywhere, while it is not through.
pub async fn texts_of(db: &impl ConnectionTrait, erasure: Uuid) -> Result<BTreeSet<String>, StoreError> {
    let backend = db.get_database_backend();
    let sql = "SELECT value FROM erased_value WHERE erasure_id = $1 AND value IS NOT NULL
         UNION SELECT external_key FROM erased_record WHERE erasure_id = $1 AND external_key IS NOT NULL
         UNION SELECT l.raw FROM erased_record r JOIN erased_link l ON l.record_id = r.id WHERE r.erasure_id = $1 AND l.raw IS NOT NULL
         UNION SELECT i.value FROM erased_record r JOIN erased_link l ON l.record_id = r.id JOIN identifier i ON i.id = l.identifier_id
         WHERE r.erasure_id = $1 AND i.value <> ''";
    let rows = db
        .query_all_raw(Statement::from_sql_and_values(backend, sql, [erasure.into()]))
        .await?;
    rows.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}

/// The last step: what skeletons held in clear is gone, and their records may live again.
pub async fn forget_texts(db: &impl ConnectionTrait, erasure: Uuid) -> Result<(), StoreError> {
    for sql in [
        "UPDATE erased_link SET raw = NULL WHERE raw IS NOT NULL AND record_id IN (SELECT id FROM erased_record WHERE erasure_id = $1)",
        "UPDATE erased_value SET value = NULL WHERE erasure_id = $1",
        "UPDATE erased_record SET external_key = NULL, is_pending = (1 = 0) WHERE erasure_id = $1",
    ] {
        db.execute_raw(Statement::from_sql_and_values(
            db.get_database_backend(),
            sql,
            [erasure.into()],
        ))
        .await?;
    }
    Ok(())
}

/// Writes what erased records said of attributes that rules compare.
pub async fn insert_statements(db: &impl ConnectionTrait, said: &[ErasedStatement]) -> Result<(), StoreError> {
    Rows::new()
        .id("record_id", said.iter().map(|said| said.record_id))
        .id("event_id", said.iter().map(|said| said.event_id))
        .text("attribute", said.iter().map(|said| said.attribute.clone()))
        .int("arrival", said.iter().map(|said| said.arrival))
        .int("occurred_at", said.iter().map(|said| said.occurred_at))
        .optional_id("value_id", said.iter().map(|said| said.value_id))
        .insert(
            db,
            "erased_statement",
            "ON CONFLICT (record_id, event_id, attribute) DO NOTHING",
        )
        .await?;
    Ok(())
}

/// A decision as far as an erasure changes it.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Told {
    pub id: Uuid,
    pub evidence: serde_json::Value,
}

/// The decisions about records, each once.
pub async fn decisions_about(db: &impl ConnectionTrait, records: &[RecordId]) -> Result<Vec<Told>, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!(
        "SELECT id, evidence FROM identity_decision WHERE id IN (SELECT decision_id FROM decision_record WHERE {})",
        any_of(backend, "record_id", 1)
    );
    let statement = statement(backend, &sql, records.iter().map(|id| id.0));
    Ok(Told::find_by_statement(statement).all(db).await?)
}

/// Items on hold, resolved or not, that records caused.
pub async fn held_items_of(db: &impl ConnectionTrait, records: &[RecordId]) -> Result<Vec<Uuid>, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!(
        "SELECT id FROM held_item WHERE {} OR {}",
        any_of(backend, "record_id", 1),
        any_of(backend, "other_record_id", 1)
    );
    let rows = db
        .query_all_raw(statement(backend, &sql, records.iter().map(|id| id.0)))
        .await?;
    rows.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}

/// Writes other evidence.
pub async fn update_evidence(db: &impl ConnectionTrait, told: &[Told]) -> Result<(), StoreError> {
    Rows::new()
        .id("id", told.iter().map(|told| told.id))
        .json("evidence", told.iter().map(|told| told.evidence.to_string()))
        .update(
            db,
            "identity_decision",
            "evidence = v.evidence",
            "identity_decision.id = v.id",
        )
        .await?;
    Ok(())
}

/// Records that once shared a customer with erased ones, as far as decisions tell.
pub async fn once_together(db: &impl ConnectionTrait, records: &[RecordId]) -> Result<BTreeSet<RecordId>, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!(
        "SELECT DISTINCT other.record_id FROM decision_record own JOIN decision_record other ON other.decision_id = own.decision_id
         JOIN identity_decision d ON d.id = own.decision_id WHERE {} AND d.kind IN (1, 2, 3, 7, 8, 9)",
        any_of(backend, "own.record_id", 1)
    );
    let rows = db
        .query_all_raw(statement(backend, &sql, records.iter().map(|id| id.0)))
        .await?;
    rows.iter().map(|row| Ok(RecordId(row.try_get_by_index(0)?))).collect()
}

macro_rules! next_rows {
    ($(#[$doc:meta])* $verb:ident, $row:ident, $table:literal, [$($key:ident),+]) => {
        $(#[$doc])*
        pub async fn $verb(db: &impl ConnectionTrait, after: Option<&$row>) -> Result<Vec<$row>, StoreError> {
            let after: Vec<Value> = after.map(|row| vec![$(row.$key.clone().into()),+]).unwrap_or_default();
            crate::store::rows_after(db, $table, &[$(stringify!($key)),+], &after, None).await
        }
    };
}

next_rows!(
    /// The next skeletons of records.
    erased_records_after, ErasedRecord, "erased_record", [id, arrival]
);
next_rows!(
    /// The next skeletons of links.
    erased_links_after, ErasedLink, "erased_link", [record_id, identifier_id, event_id, arrival]
);
next_rows!(
    /// The next skeletons of values.
    erased_values_after, ErasedValue, "erased_value", [id]
);
next_rows!(
    /// The next skeletons of statements.
    erased_statements_after, ErasedStatement, "erased_statement", [record_id, event_id, attribute]
);

/// The keys of the next events of erased records, and whether each was an alias.
pub async fn erased_events_after(
    db: &impl ConnectionTrait,
    after: Option<(RecordId, EventId)>,
) -> Result<Vec<(RecordId, EventId, bool)>, StoreError> {
    let backend = db.get_database_backend();
    let (condition, values): (_, Vec<Value>) = match after {
        None => ("", Vec::new()),
        Some((record, event)) => ("WHERE (record_id, id) > ($1, $2)", vec![record.0.into(), event.0.into()]),
    };
    let sql = format!("SELECT record_id, id, is_alias FROM erased_event {condition} ORDER BY record_id, id LIMIT {SWEEP_ROWS}");
    let rows = db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    rows.iter()
        .map(|row| {
            Ok((
                RecordId(row.try_get_by_index(0)?),
                EventId(row.try_get_by_index(1)?),
                row.try_get_by_index(2)?,
            ))
        })
        .collect()
}
