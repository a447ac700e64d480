//! Writing the log: changes are collected while a transaction works and written at its end.

use crate::base::{CustomerId, EventId, Ids, Instant, RecordId};
use crate::store::{Rows, StoreError};
use entity::{ChangeOp, Topic};
use sea_orm::{ActiveEnum as _, ConnectionTrait, DatabaseTransaction, DbBackend, Statement};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A committed transaction, as mutations answer it and `atLeast` takes it.
pub type TransactionId = Uuid;

/// One thing that changed. See the table `change`.
#[derive(Clone, Debug)]
pub struct Change {
    pub topic: Topic,
    pub op: ChangeOp,
    pub entity: Uuid,
    pub record: Option<RecordId>,
    pub customer: Option<CustomerId>,
    pub rev: i64,
    pub occurred_at: Instant,
    /// Field → [before, after], for the fields that differ.
    pub changed: Map<String, Value>,
    /// Events the record received in this transaction.
    pub events: Vec<EventId>,
}

/// The log of one transaction in the making.
#[derive(Debug)]
pub struct Log {
    id: TransactionId,
    actor: String,
    changes: Vec<Change>,
    /// What changes come of, by their place.
    causes: BTreeMap<usize, String>,
}

impl Log {
    pub fn new(ids: &Ids, now: Instant, actor: impl Into<String>) -> Self {
        Self {
            id: ids.time_ordered(now),
            actor: actor.into(),
            changes: Vec::new(),
            causes: BTreeMap::new(),
        }
    }

    /// Of the transaction it is about.
    pub fn id(&self) -> TransactionId {
        self.id
    }

    pub fn note(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// The same with what it comes of, for `change.cause`.
    pub fn note_because(&mut self, change: Change, cause: String) {
        self.causes.insert(self.changes.len(), cause);
        self.changes.push(change);
    }

    /// Everything noted so far.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Writes everything noted. Must be the last statement of the transaction: the ordinal it draws then orders this transaction
    /// after every other that it waited for.
    pub async fn write(mut self, tx: &DatabaseTransaction, now: Instant) -> Result<TransactionId, StoreError> {
        // Of a build that only measures: see Cargo.toml.
        if cfg!(feature = "bench-no-log") {
            return Ok(self.id);
        }
        let count = self.changes.len();
        let causes = (0..count).map(|n| self.causes.remove(&n)).collect();
        insert_changes(tx, self.id, self.changes, causes).await?;
        let backend = tx.get_database_backend();
        let sql = if backend == DbBackend::Postgres {
            "INSERT INTO change_tx (tx_id, row_count, recorded_at, actor, ordinal) VALUES ($1, $2, $3, $4, nextval('change_ordinal'))"
        } else {
            "INSERT INTO change_tx (tx_id, row_count, recorded_at, actor, ordinal, position)
             SELECT $1, $2, $3, $4, COALESCE(MAX(ordinal), 0) + 1, COALESCE(MAX(position), 0) + 1 FROM change_tx"
        };
        let values = [
            self.id.into(),
            i64::try_from(count).unwrap_or(i64::MAX).into(),
            now.micros().into(),
            self.actor.into(),
        ];
        tx.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
        Ok(self.id)
    }
}

async fn insert_changes(
    tx: &DatabaseTransaction,
    id: TransactionId,
    changes: Vec<Change>,
    causes: Vec<Option<String>>,
) -> Result<(), StoreError> {
    let count = i64::try_from(changes.len()).unwrap_or(i64::MAX);
    let json =
        |change: &Change| (!change.changed.is_empty()).then(|| serde_json::to_string(&change.changed).expect("a map is JSON"));
    let packed = |change: &Change| {
        (!change.events.is_empty()).then(|| change.events.iter().flat_map(|event| event.0.into_bytes()).collect())
    };
    Rows::new()
        .id("tx_id", changes.iter().map(|_| id))
        .int("n", 0..count)
        .small("topic", changes.iter().map(|change| change.topic.to_value()))
        .small("op", changes.iter().map(|change| change.op.to_value()))
        .id("entity_id", changes.iter().map(|change| change.entity))
        .optional_id("record_id", changes.iter().map(|change| change.record.map(|record| record.0)))
        .optional_id(
            "customer_id",
            changes.iter().map(|change| change.customer.map(|customer| customer.0)),
        )
        .int("rev", changes.iter().map(|change| change.rev))
        .int("occurred_at", changes.iter().map(|change| change.occurred_at.micros()))
        .optional_json("changed", changes.iter().map(json))
        .optional_bytes("events", changes.iter().map(packed))
        .optional_text("cause", causes)
        .insert(tx, "change", "")
        .await?;
    Ok(())
}
