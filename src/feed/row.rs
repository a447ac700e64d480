//! One row of the log as readers hold it: decoded once, shared by all of them.

use crate::base::{CustomerId, EventId, Instant, RecordId};
use crate::store::{Store, StoreError};
use entity::{ChangeOp, Topic};
use sea_orm::{ActiveEnum as _, ConnectionTrait as _, DbBackend, QueryResult, Statement};
use serde_json::{Map, Value};
use std::sync::Arc;
use uuid::Uuid;

/// Rows of one page, and at most so many transactions: enough to make the statement's own cost small.
pub const PAGE_ROWS: usize = 1_000;

/// A row and the transaction that wrote it.
#[derive(Clone, Debug)]
pub struct Row {
    pub position: i64,
    pub transaction: Uuid,
    pub recorded_at: Instant,
    pub actor: Arc<str>,
    /// Its place inside the transaction.
    pub n: u32,
    /// How many rows the transaction has.
    pub count: u32,
    /// What changed; none where the transaction wrote no row, or its rows are gone.
    pub body: Option<Body>,
    /// About how much memory it takes, in bytes.
    pub size: usize,
}

/// What changed.
#[derive(Clone, Debug)]
pub struct Body {
    pub topic: Topic,
    pub op: ChangeOp,
    pub entity: Uuid,
    pub record: Option<RecordId>,
    pub customer: Option<CustomerId>,
    pub rev: i64,
    pub occurred_at: Instant,
    /// Field → [before, after].
    pub changed: Map<String, Value>,
    /// It was about somebody who was erased: what it said is gone.
    pub redacted: bool,
    /// The events that a record received by the same transaction.
    pub events: Vec<EventId>,
    pub cause: Option<String>,
}

impl Row {
    /// Whether the transaction ends with it.
    pub fn is_last(&self) -> bool {
        self.n.saturating_add(1) >= self.count
    }

    /// How many entries readers see of it.
    pub fn entries(&self) -> u32 {
        self.body.as_ref().map_or(0, |body| {
            let own = usize::from(body.topic != Topic::Event);
            u32::try_from(body.events.len() + own).unwrap_or(u32::MAX)
        })
    }

    /// The event that an entry of it is; none: it is the change itself.
    pub fn event(&self, k: u32) -> Option<EventId> {
        let body = self.body.as_ref()?;
        let k = usize::try_from(k).ok()?;
        match body.topic {
            Topic::Event => body.events.get(k).copied(),
            _ => body.events.get(k.checked_sub(1)?).copied(),
        }
    }
}

/// The next rows of the log in order, from row `n` of the transaction at `position` on; at most `PAGE_ROWS`. Fewer: there is no more.
/// Positions have no gaps, so a range of them bounds what the statement looks at, whatever the planner makes of it. A transaction
/// without rows comes as one row without a body.
pub async fn rows_from(store: &Store, position: i64, n: i64) -> Result<Vec<Arc<Row>>, StoreError> {
    let changed = match store.backend() {
        DbBackend::Postgres => "c.changed::text",
        _ => "c.changed",
    };
    let sql = format!(
        "SELECT t.position, t.tx_id, t.recorded_at, t.actor, t.row_count, c.n, c.topic, c.op, c.entity_id, c.record_id, c.customer_id,
                c.rev, c.occurred_at, {changed}, c.events, c.cause
         FROM change_tx t LEFT JOIN change c ON c.tx_id = t.tx_id AND (t.position > $1 OR c.n >= $2)
         WHERE t.position >= $1 AND t.position < $1 + {PAGE_ROWS} ORDER BY t.position, c.n LIMIT {PAGE_ROWS}"
    );
    let statement = Statement::from_sql_and_values(store.backend(), sql, [position.into(), n.into()]);
    let mut rows: Vec<Arc<Row>> = Vec::new();
    for found in store.reader().query_all_raw(statement).await? {
        let row = read(&found, rows.last())?;
        rows.push(Arc::new(row));
    }
    Ok(rows)
}

fn read(row: &QueryResult, before: Option<&Arc<Row>>) -> Result<Row, StoreError> {
    let actor: String = row.try_get_by_index(3)?;
    // Neighbours mostly have one transaction or one sender.
    let actor = match before {
        Some(before) if *before.actor == *actor => before.actor.clone(),
        _ => actor.into(),
    };
    let n: Option<i64> = row.try_get_by_index(5)?;
    let (body, size) = match n {
        None => (None, 0),
        Some(_) => {
            let (body, size) = body(row)?;
            (Some(body), size)
        }
    };
    let narrow = |number: i64| u32::try_from(number).map_err(|_| StoreError::Corrupt("a place in a transaction".to_owned()));
    Ok(Row {
        position: row.try_get_by_index(0)?,
        transaction: row.try_get_by_index(1)?,
        recorded_at: Instant::from_micros(row.try_get_by_index(2)?),
        actor,
        n: narrow(n.unwrap_or(0))?,
        count: narrow(row.try_get_by_index(4)?)?,
        body,
        size: size + 300,
    })
}

fn body(row: &QueryResult) -> Result<(Body, usize), StoreError> {
    let corrupt = |what: &str| StoreError::Corrupt(format!("{what} of a change"));
    let text: Option<String> = row.try_get_by_index(13)?;
    let packed: Option<Vec<u8>> = row.try_get_by_index(14)?;
    let size = text.as_ref().map_or(0, |text| 3 * text.len()) + packed.as_ref().map_or(0, Vec::len);
    let mut changed: Map<String, Value> = match text {
        Some(text) => serde_json::from_str(&text).map_err(|_| corrupt("the fields"))?,
        None => Map::new(),
    };
    // A field that changed has two values; this says that there were fields.
    let redacted = changed.get("redacted") == Some(&Value::Bool(true));
    if redacted {
        changed.clear();
    }
    let events = packed.unwrap_or_default();
    let body = Body {
        topic: Topic::try_from_value(&row.try_get_by_index(6)?)?,
        op: ChangeOp::try_from_value(&row.try_get_by_index(7)?)?,
        entity: row.try_get_by_index(8)?,
        record: row.try_get_by_index::<Option<Uuid>>(9)?.map(RecordId),
        customer: row.try_get_by_index::<Option<Uuid>>(10)?.map(CustomerId),
        rev: row.try_get_by_index(11)?,
        occurred_at: Instant::from_micros(row.try_get_by_index(12)?),
        changed,
        redacted,
        events: events
            .chunks_exact(16)
            .filter_map(|id| Uuid::from_slice(id).ok().map(EventId))
            .collect(),
        cause: row.try_get_by_index(15)?,
    };
    Ok((body, size))
}
