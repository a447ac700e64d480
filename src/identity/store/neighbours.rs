//! What placing must know and hold still: a look without locks, the locks in their order (identifiers, customers, records), the
//! neighbourhood behind them, and writing what came out. Every statement is about the whole batch.

use super::sayings;
use crate::base::{CustomerId, EventId, IdentifierId, Instant, RecordId};
use crate::identity::{NewLink, Shown};
use crate::store::{Rows, StoreError, any_of, ids_value};
use entity::{IdentifierKind, IdentifierState, identifier};
use sea_orm::{ActiveEnum as _, ConnectionTrait, DbBackend, FromQueryResult, Statement, TryGetable};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use uuid::Uuid;

/// What is known of records and values before anything is locked.
#[derive(Debug, Default)]
pub struct Known {
    pub records: HashMap<RecordId, KnownRecord>,
    pub values: HashMap<IdentifierId, KnownValue>,
    pub shown: HashSet<(RecordId, IdentifierId)>,
    /// Records that were erased; they may live again.
    pub erased: HashMap<RecordId, KnownErased>,
    /// Values whose messages are dropped, and since when.
    pub suppressed: HashMap<IdentifierId, Instant>,
}

/// What is known of a record that was erased.
#[derive(Clone, Copy, Debug)]
pub struct KnownErased {
    /// The arrival of the erasure: what comes now arrives later.
    pub at: i64,
    pub siblings: i64,
    /// The erasure is not through.
    pub is_pending: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct KnownRecord {
    pub customer: CustomerId,
    pub siblings: i64,
}

#[derive(Clone, Copy, Debug)]
pub struct KnownValue {
    pub state: IdentifierState,
    pub owner: Option<CustomerId>,
    /// Another transaction holds it and may be giving it to somebody else: who waits for the lock comes after that.
    pub is_contended: bool,
}

impl Known {
    pub fn absorb(&mut self, other: Self) {
        self.records.extend(other.records);
        self.values.extend(other.values);
        self.shown.extend(other.shown);
        self.erased.extend(other.erased);
        self.suppressed.extend(other.suppressed);
    }

    /// How many records were opened beside an anonymous one, in whatever life of it.
    pub fn siblings(&self, first: RecordId) -> i64 {
        let of_erased = || self.erased.get(&first).map_or(0, |erased| erased.siblings);
        self.records.get(&first).map_or_else(of_erased, |record| record.siblings)
    }
}

/// Looks at records and the values asked about with them. One statement, by primary keys, without a lock.
pub async fn look(db: &impl ConnectionTrait, pairs: &HashSet<(RecordId, Option<IdentifierId>)>) -> Result<Known, StoreError> {
    let mut known = Known::default();
    if pairs.is_empty() {
        return Ok(known);
    }
    let backend = db.get_database_backend();
    let (relation, values) = Rows::new()
        .id("record_id", pairs.iter().map(|(record, _)| record.0))
        .optional_id("identifier_id", pairs.iter().map(|(_, identifier)| identifier.map(|id| id.0)))
        .relation(backend);
    // PostgreSQL writes into a row's xmax who locks or changes it, and leaves it there: only one that was not over when this statement
    // began counts. SQLite has one writer, which is this one.
    let is_contended = if backend == DbBackend::Postgres {
        "i.xmax::text <> '0' AND age(i.xmax) <= age(pg_snapshot_xmin(pg_current_snapshot())::xid)"
    } else {
        "0"
    };
    let sql = format!(
        "SELECT v.record_id, v.identifier_id, r.customer_id, r.siblings, i.state, o.customer_id,
                EXISTS (SELECT 1 FROM link l WHERE l.record_id = v.record_id AND l.identifier_id = v.identifier_id), {is_contended},
                s.since, e.erased_at, e.siblings, e.is_pending
         FROM {relation} LEFT JOIN record r ON r.id = v.record_id LEFT JOIN identifier i ON i.id = v.identifier_id
              LEFT JOIN record o ON o.id = i.owner_id LEFT JOIN suppression s ON s.id = v.identifier_id
              LEFT JOIN erased_record e ON e.id = v.record_id AND e.is_latest"
    );
    for row in db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await? {
        let record = RecordId(row.try_get_by_index(0)?);
        let identifier = row.try_get_by_index::<Option<Uuid>>(1)?.map(IdentifierId);
        if let Some(customer) = row.try_get_by_index::<Option<Uuid>>(2)? {
            let customer = CustomerId(customer);
            let siblings = row.try_get_by_index::<Option<i64>>(3)?.unwrap_or(0);
            known.records.insert(record, KnownRecord { customer, siblings });
        }
        if let Some(at) = row.try_get_by_index::<Option<i64>>(9)? {
            let (siblings, is_pending) = (row.try_get_by_index(10)?, row.try_get_by_index(11)?);
            known.erased.insert(
                record,
                KnownErased {
                    at,
                    siblings,
                    is_pending,
                },
            );
        }
        let Some(identifier) = identifier else { continue };
        if let Some(since) = row.try_get_by_index::<Option<i64>>(8)? {
            known.suppressed.insert(identifier, Instant::from_micros(since));
        }
        if let Ok(state) = IdentifierState::try_get_by_index(&row, 4) {
            let owner = row.try_get_by_index::<Option<Uuid>>(5)?.map(CustomerId);
            let is_contended = row.try_get_by_index(7)?;
            known.values.insert(
                identifier,
                KnownValue {
                    state,
                    owner,
                    is_contended,
                },
            );
        }
        if row.try_get_by_index(6)? {
            known.shown.insert((record, identifier));
        }
    }
    Ok(known)
}

/// Locks the rows of values, making those that are missing, and reads them; one whose text was erased with who showed it has it again.
/// In order of id, so that two transactions wait for each
/// other in one order.
pub async fn claim_values<'s>(
    db: &impl ConnectionTrait,
    shown: impl IntoIterator<Item = &'s Shown>,
    arrival: i64,
) -> Result<Vec<identifier::Model>, StoreError> {
    let tail = "ON CONFLICT (id) DO UPDATE SET rev = identifier.rev, value = excluded.value RETURNING *";
    insert_values(db, shown, arrival, tail).await
}

/// Makes values known that recognise nobody; nobody waits for them.
pub async fn insert_unusable<'s>(
    db: &impl ConnectionTrait,
    shown: impl IntoIterator<Item = &'s Shown>,
    arrival: i64,
) -> Result<(), StoreError> {
    let tail = "ON CONFLICT (id) DO UPDATE SET value = excluded.value WHERE identifier.value = ''";
    insert_values(db, shown, arrival, tail).await.map(drop)
}

async fn insert_values<'s>(
    db: &impl ConnectionTrait,
    shown: impl IntoIterator<Item = &'s Shown>,
    arrival: i64,
    tail: &str,
) -> Result<Vec<identifier::Model>, StoreError> {
    let sorted: BTreeMap<IdentifierId, &Shown> = shown.into_iter().map(|shown| (shown.id, shown)).collect();
    let state = |shown: &&Shown| {
        let state = if shown.is_usable {
            IdentifierState::Active
        } else {
            IdentifierState::Unusable
        };
        state.to_value()
    };
    let rows = Rows::new()
        .id("id", sorted.keys().map(|id| id.0))
        .small("kind", sorted.values().map(|shown| shown.kind.to_value()))
        .text("namespace", sorted.values().map(|shown| shown.namespace.clone()))
        .text("value", sorted.values().map(|shown| shown.value.clone()))
        .small("state", sorted.values().map(state))
        .int("arrival", sorted.values().map(|_| arrival))
        .int("rev", sorted.values().map(|_| 1))
        .insert(db, "identifier", tail)
        .await?;
    rows.iter()
        .map(|row| Ok(identifier::Model::from_query_result(row, "")?))
        .collect()
}

/// Locks rows in the order of the sorted ids in the first parameter, and reads them; those that are gone are missing from the answer.
/// `UPDATE … WHERE id = ANY` would lock in the order of whatever plan is chosen, and two transactions would wait for each other. SQLite
/// has one writer, whose transaction holds everything.
fn locking(backend: DbBackend, table: &str, columns: &str) -> String {
    if backend == DbBackend::Postgres {
        format!(
            "SELECT locked.* FROM UNNEST($1::uuid[]) AS wanted(id)
             CROSS JOIN LATERAL (SELECT {columns} FROM {table} WHERE {table}.id = wanted.id FOR NO KEY UPDATE) AS locked"
        )
    } else {
        format!("SELECT {columns} FROM {table} WHERE {}", any_of(backend, "id", 1))
    }
}

/// Locks the rows of values that are known to be there.
pub async fn lock_values(db: &impl ConnectionTrait, ids: &BTreeSet<IdentifierId>) -> Result<Vec<identifier::Model>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let backend = db.get_database_backend();
    let sql = locking(backend, "identifier", "*");
    let statement = Statement::from_sql_and_values(backend, sql, [ids_value(backend, ids.iter().map(|id| id.0))]);
    Ok(identifier::Model::find_by_statement(statement).all(db).await?)
}

/// Locks customers, and with each of them all its records. Answers when each was last placed.
pub async fn lock_customers(
    db: &impl ConnectionTrait,
    ids: &BTreeSet<CustomerId>,
) -> Result<HashMap<CustomerId, i64>, StoreError> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let backend = db.get_database_backend();
    let sql = locking(backend, "customer", "id, placed_at");
    let statement = Statement::from_sql_and_values(backend, sql, [ids_value(backend, ids.iter().map(|id| id.0))]);
    let rows = db.query_all_raw(statement).await?;
    rows.iter()
        .map(|row| Ok((CustomerId(row.try_get_by_index(0)?), row.try_get_by_index(1)?)))
        .collect()
}

/// A record as placing sees it.
#[derive(Clone, Debug)]
pub struct Member {
    pub id: RecordId,
    pub customer: CustomerId,
    pub arrival: i64,
    /// Of the attributes asked for, in their order: `[value, at, event, …]`, null where nothing was said.
    pub attributes: Vec<Json>,
}

/// A record as it is packed: its id, its arrival, then what it says of each attribute.
#[derive(serde::Deserialize)]
struct Packed(Uuid, i64, Vec<Json>);

/// The records of customers, with what they say of some attributes. One row for each customer: see `sayings`.
pub async fn members(
    db: &impl ConnectionTrait,
    customers: &BTreeSet<CustomerId>,
    attributes: &[String],
) -> Result<Vec<Member>, StoreError> {
    if customers.is_empty() {
        return Ok(Vec::new());
    }
    let backend = db.get_database_backend();
    let mut said = Vec::with_capacity(attributes.len());
    let mut values = vec![ids_value(backend, customers.iter().map(|id| id.0))];
    for name in attributes {
        values.push(sayings::path(backend, name));
        said.push(sayings::said(backend, values.len()));
    }
    let packed = sayings::packed(backend, &["id"], &said);
    let sql = format!(
        "SELECT customer_id, {packed} FROM record WHERE {} GROUP BY customer_id",
        any_of(backend, "customer_id", 1)
    );
    let mut members = Vec::new();
    for row in db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await? {
        let customer = CustomerId(row.try_get_by_index(0)?);
        for Packed(id, arrival, attributes) in sayings::unpack(&row.try_get_by_index::<String>(1)?, customer)? {
            members.push(Member {
                id: RecordId(id),
                customer,
                arrival,
                attributes,
            });
        }
    }
    Ok(members)
}

/// Those of these records that a customer has, how many it has in all, and the largest arrival of any.
pub async fn some_members(
    db: &impl ConnectionTrait,
    customer: CustomerId,
    records: &BTreeSet<RecordId>,
) -> Result<(Vec<Member>, usize, i64), StoreError> {
    let backend = db.get_database_backend();
    let sql = format!(
        "SELECT id, arrival, (SELECT COUNT(*) FROM record WHERE customer_id = $2),
                (SELECT MAX(arrival) FROM record WHERE customer_id = $2)
         FROM record WHERE {} AND customer_id = $2",
        any_of(backend, "id", 1)
    );
    let values = [ids_value(backend, records.iter().map(|id| id.0)), customer.0.into()];
    let mut members = Vec::new();
    let (mut all, mut latest) = (0, i64::MIN);
    for row in db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await? {
        members.push(Member {
            id: RecordId(row.try_get_by_index(0)?),
            customer,
            arrival: row.try_get_by_index(1)?,
            attributes: Vec::new(),
        });
        all = row.try_get_by_index::<i64>(2)?;
        latest = row.try_get_by_index(3)?;
    }
    Ok((members, usize::try_from(all).unwrap_or(0), latest))
}

/// How many values of a kind a customer owns.
#[derive(Clone, Debug)]
pub struct Owned {
    pub customer: CustomerId,
    pub kind: IdentifierKind,
    pub namespace: String,
    pub count: usize,
    /// The largest arrival at which any record of it showed a value of this kind.
    pub latest: i64,
}

/// What the records of customers have shown and own, counted. An owner has always shown what it owns.
pub async fn owned_by(db: &impl ConnectionTrait, customers: &BTreeSet<CustomerId>) -> Result<Vec<Owned>, StoreError> {
    if customers.is_empty() {
        return Ok(Vec::new());
    }
    let backend = db.get_database_backend();
    let sql = format!(
        "SELECT r.customer_id, i.kind, i.namespace, COUNT(DISTINCT CASE WHEN i.owner_id = l.record_id THEN i.id END), MAX(l.arrival)
         FROM record r JOIN link l ON l.record_id = r.id JOIN identifier i ON i.id = l.identifier_id
         WHERE {} GROUP BY r.customer_id, i.kind, i.namespace",
        any_of(backend, "r.customer_id", 1)
    );
    let values = [ids_value(backend, customers.iter().map(|id| id.0))];
    let rows = db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    rows.iter()
        .map(|row| {
            Ok(Owned {
                customer: CustomerId(row.try_get_by_index(0)?),
                kind: IdentifierKind::try_get_by_index(row, 1).map_err(sea_orm::DbErr::from)?,
                namespace: row.try_get_by_index(2)?,
                count: usize::try_from(row.try_get_by_index::<i64>(3)?).unwrap_or(0),
                latest: row.try_get_by_index(4)?,
            })
        })
        .collect()
}

/// Which of these records have shown which of these values. By the primary key.
pub async fn shown_pairs(
    db: &impl ConnectionTrait,
    records: &BTreeSet<RecordId>,
    values: &BTreeSet<IdentifierId>,
) -> Result<Vec<(RecordId, IdentifierId)>, StoreError> {
    if records.is_empty() || values.is_empty() {
        return Ok(Vec::new());
    }
    let backend = db.get_database_backend();
    let sql = format!(
        "SELECT DISTINCT record_id, identifier_id FROM link WHERE {} AND {}",
        any_of(backend, "record_id", 1),
        any_of(backend, "identifier_id", 2)
    );
    let parameters = [
        ids_value(backend, records.iter().map(|id| id.0)),
        ids_value(backend, values.iter().map(|id| id.0)),
    ];
    let rows = db
        .query_all_raw(Statement::from_sql_and_values(backend, sql, parameters))
        .await?;
    rows.iter()
        .map(|row| Ok((RecordId(row.try_get_by_index(0)?), IdentifierId(row.try_get_by_index(1)?))))
        .collect()
}

/// A value that a record has shown.
#[derive(Clone, Debug, FromQueryResult)]
pub struct ShownBy {
    pub record_id: Uuid,
    pub event_id: Uuid,
    pub arrival: i64,
    pub id: Uuid,
    pub kind: IdentifierKind,
    pub namespace: String,
    pub state: IdentifierState,
    pub owner_id: Option<Uuid>,
    /// When the value was held, if it is; else of its last change.
    pub held_at: i64,
}

/// Every value that records have shown, in order of arrival, those of one message in the order in which it gave them.
pub async fn shown_by(db: &impl ConnectionTrait, records: &[RecordId]) -> Result<Vec<ShownBy>, StoreError> {
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let backend = db.get_database_backend();
    let sql = format!(
        "SELECT l.record_id, l.event_id, l.arrival, i.id, i.kind, i.namespace, i.state, i.owner_id,
                COALESCE(i.held_at, i.arrival) AS held_at
         FROM link l JOIN identifier i ON i.id = l.identifier_id WHERE {} ORDER BY l.arrival, l.record_id, l.place",
        any_of(backend, "l.record_id", 1)
    );
    let statement = Statement::from_sql_and_values(backend, sql, [ids_value(backend, records.iter().map(|id| id.0))]);
    Ok(ShownBy::find_by_statement(statement).all(db).await?)
}

/// The customers of today whose records have shown values. Leans on the index (identifier_id, arrival).
pub async fn shown_to(
    db: &impl ConnectionTrait,
    ids: &BTreeSet<IdentifierId>,
) -> Result<Vec<(IdentifierId, CustomerId)>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let backend = db.get_database_backend();
    let sql = format!(
        "SELECT DISTINCT l.identifier_id, r.customer_id FROM link l JOIN record r ON r.id = l.record_id WHERE {}",
        any_of(backend, "l.identifier_id", 1)
    );
    let statement = Statement::from_sql_and_values(backend, sql, [ids_value(backend, ids.iter().map(|id| id.0))]);
    let rows = db.query_all_raw(statement).await?;
    rows.iter()
        .map(|row| Ok((IdentifierId(row.try_get_by_index(0)?), CustomerId(row.try_get_by_index(1)?))))
        .collect()
}

/// The customers of today of records; those that do not exist are missing.
pub async fn customers_of(
    db: &impl ConnectionTrait,
    records: &BTreeSet<RecordId>,
) -> Result<HashMap<RecordId, CustomerId>, StoreError> {
    if records.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<CustomerId> = records.iter().map(|record| CustomerId(record.0)).collect();
    let resolved = super::resolve(db, &ids).await?;
    Ok(resolved
        .into_iter()
        .map(|(id, customer)| (RecordId(id.0), customer))
        .collect())
}

/// An event's statement of traits, as far as placing compares them.
#[derive(Clone, Debug)]
pub struct Stating {
    pub record: RecordId,
    pub event: EventId,
    pub arrival: i64,
    pub occurred_at: i64,
    pub is_identify: bool,
    pub properties: Json,
    pub context: Json,
}

/// The events by which records stated traits.
pub async fn stating_events(db: &impl ConnectionTrait, records: &[RecordId]) -> Result<Vec<Stating>, StoreError> {
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let backend = db.get_database_backend();
    let has_traits = if backend == DbBackend::Postgres {
        "context -> 'context' -> 'traits' IS NOT NULL"
    } else {
        "json_extract(context, '$.context.traits') IS NOT NULL"
    };
    let sql = format!(
        "SELECT record_id, id, arrival, occurred_at, kind = $2, properties, context FROM event
         WHERE {} AND (kind = $2 OR {has_traits})",
        any_of(backend, "record_id", 1)
    );
    let values = [
        ids_value(backend, records.iter().map(|id| id.0)),
        entity::EventKind::Identify.to_value().into(),
    ];
    let rows = db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    rows.iter()
        .map(|row| {
            Ok(Stating {
                record: RecordId(row.try_get_by_index(0)?),
                event: EventId(row.try_get_by_index(1)?),
                arrival: row.try_get_by_index(2)?,
                occurred_at: row.try_get_by_index(3)?,
                is_identify: row.try_get_by_index(4)?,
                properties: row.try_get_by_index(5)?,
                context: row.try_get_by_index(6)?,
            })
        })
        .collect()
}

/// Writes which record showed which value.
pub async fn insert_links(db: &impl ConnectionTrait, links: &[NewLink]) -> Result<(), StoreError> {
    Rows::new()
        .id("record_id", links.iter().map(|link| link.record.0))
        .id("identifier_id", links.iter().map(|link| link.identifier.0))
        .id("event_id", links.iter().map(|link| link.event.0))
        .int("arrival", links.iter().map(|link| link.arrival))
        .int("occurred_at", links.iter().map(|link| link.occurred_at.micros()))
        .small("place", links.iter().map(|link| link.place))
        .optional_text("raw", links.iter().map(|link| link.raw.clone().filter(|raw| !raw.is_empty())))
        .insert(db, "link", "ON CONFLICT (record_id, identifier_id, event_id) DO NOTHING")
        .await?;
    Ok(())
}

/// Whom a value belongs to from now on, and its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueChange {
    pub id: IdentifierId,
    pub owner: Option<RecordId>,
    pub state: IdentifierState,
    /// The arrival of what put it on hold; none when it is not.
    pub held_at: Option<i64>,
}

/// Writes owners and states of locked values.
pub async fn update_values(db: &impl ConnectionTrait, changes: &[ValueChange], arrival: i64) -> Result<(), StoreError> {
    Rows::new()
        .id("id", changes.iter().map(|change| change.id.0))
        .optional_id("owner_id", changes.iter().map(|change| change.owner.map(|record| record.0)))
        .small("state", changes.iter().map(|change| change.state.to_value()))
        .int("arrival", changes.iter().map(|_| arrival))
        .optional_int("held_at", changes.iter().map(|change| change.held_at))
        .update(
            db,
            "identifier",
            "owner_id = v.owner_id, state = v.state, arrival = v.arrival, held_at = v.held_at, rev = identifier.rev + 1",
            "identifier.id = v.id",
        )
        .await?;
    Ok(())
}

/// Gives records of locked customers to other customers.
pub async fn relink(db: &impl ConnectionTrait, records: &[(RecordId, CustomerId)]) -> Result<(), StoreError> {
    Rows::new()
        .id("id", records.iter().map(|(record, _)| record.0))
        .id("customer_id", records.iter().map(|(_, customer)| customer.0))
        .update(
            db,
            "record",
            "customer_id = v.customer_id, rev = record.rev + 1",
            "record.id = v.id",
        )
        .await?;
    Ok(())
}

/// Remembers that the own ids of records were ids of customers.
pub async fn mark_customers(db: &impl ConnectionTrait, records: &[RecordId]) -> Result<(), StoreError> {
    if records.is_empty() {
        return Ok(());
    }
    let backend = db.get_database_backend();
    let is_true = if backend == DbBackend::Postgres { "true" } else { "1" };
    let sql = format!(
        "UPDATE record SET was_customer = {is_true} WHERE {}",
        any_of(backend, "id", 1)
    );
    let values = [ids_value(backend, records.iter().map(|record| record.0))];
    db.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Ok(())
}

/// Writes how many siblings anonymous records have. Loses the race when another transaction opened the same sibling.
pub async fn update_siblings(db: &impl ConnectionTrait, siblings: &[(RecordId, i64)]) -> Result<(), StoreError> {
    Rows::new()
        .id("id", siblings.iter().map(|(record, _)| record.0))
        .int("siblings", siblings.iter().map(|(_, count)| *count))
        .update(db, "record", "siblings = v.siblings", "record.id = v.id")
        .await?;
    Rows::new()
        .id("id", siblings.iter().map(|(record, _)| record.0))
        .int("siblings", siblings.iter().map(|(_, count)| *count))
        .update(db, "erased_record", "siblings = v.siblings", "erased_record.id = v.id")
        .await?;
    Ok(())
}
