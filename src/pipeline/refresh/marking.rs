//! Whom a change concerns: the one place that decides who is marked due.
//!
//! What no live view asks about marks nobody. Today's one view asks what customers bought: a report of an order or a refund, records with
//! purchases that pass to another customer, and another trust of a source. An erasure takes what is derived along by itself.

use crate::base::{CustomerId, Instant, RecordId, SourceId};
use crate::customer::store as customer_store;
use crate::due::{self, Mark};
use crate::feed::Log;
use crate::job::{JobError, Running};
use crate::pipeline::Services;
use crate::pipeline::unify::Moved;
use crate::store::StoreError;
use entity::DueClass;
use sea_orm::DatabaseTransaction;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use uuid::Uuid;

/// The job that marks everybody who bought something, or who bought at one source; after other models were published with their version.
pub const JOB_KIND: &str = crate::ingest::source::TRUST_JOB;
/// Customers looked through in one commit.
const CUSTOMERS_PER_COMMIT: usize = 1_000;

/// What a transaction did that views may ask about.
#[derive(Debug, Default)]
pub struct Concerned<'c> {
    /// Customers whose orders were reported.
    pub buyers: BTreeSet<CustomerId>,
    /// Records that passed from one customer to another.
    pub moved: &'c [Moved],
}

/// Marks whoever is concerned, by the transaction that does it; answers whether anybody is. After the commit, nudge.
pub async fn mark(
    tx: &DatabaseTransaction,
    log: &Log,
    (now, class): (Instant, DueClass),
    concerned: Concerned<'_>,
) -> Result<bool, StoreError> {
    let mut customers = concerned.buyers;
    if !concerned.moved.is_empty() {
        let moved: Vec<RecordId> = concerned.moved.iter().map(|moved| moved.record).collect();
        let buying = customer_store::records_that_bought(tx, &moved).await?;
        let moved = concerned.moved.iter().filter(|moved| buying.contains(&moved.record));
        customers.extend(moved.flat_map(|moved| [moved.from, moved.to]));
    }
    if customers.is_empty() {
        return Ok(false);
    }
    let by = Mark {
        by: log.id(),
        at: now,
        class,
    };
    due::mark(tx, &customers, by).await?;
    Ok(true)
}

/// The job's verb: marks everybody who bought something, or of whom the source in its input told an order, a thousand customers at a time.
pub async fn mark_buyers(services: Services, job: Running, _: Instant) -> Result<Value, JobError> {
    let id_in = |value: &Value| value.as_str().and_then(|text| Uuid::parse_str(text).ok());
    let source = id_in(&job.input()["source"]).map(SourceId);
    let model = job.input()["model"].as_i64();
    let mut last = job.cursor().and_then(|cursor| id_in(&cursor["last"])).map(CustomerId);
    let mut looked_at = job.cursor().and_then(|cursor| cursor["lookedAt"].as_i64()).unwrap_or(0);
    let mut marked = job.cursor().and_then(|cursor| cursor["marked"].as_i64()).unwrap_or(0);
    loop {
        let page = customer_store::customer_ids_after(services.store.reader(), last, CUSTOMERS_PER_COMMIT).await?;
        last = page.last().copied();
        let Some(behind) = last else {
            return Ok(json!({"customersMarked": marked}));
        };
        looked_at += i64::try_from(page.len()).unwrap_or(0);
        let now = job.now();
        marked = services
            .store
            .transact::<_, JobError, _>(|tx, _| {
                let (page, job, services) = (&page, &job, &services);
                Box::pin(async move {
                    let buyers = customer_store::buyers_among(tx, page, source).await?;
                    let fresh = services.store.ids().time_ordered(now);
                    let by = Mark {
                        by: model.map_or(fresh, |version| due::mark_of_model(version, fresh)),
                        at: now,
                        class: DueClass::Bulk,
                    };
                    due::mark(tx, &buyers, by).await?;
                    let marked = marked + i64::try_from(buyers.len()).unwrap_or(0);
                    let cursor = json!({"last": behind.to_string(), "lookedAt": looked_at, "marked": marked});
                    job.progress_in(tx, looked_at, None, Some(cursor)).await?;
                    Ok(marked)
                })
            })
            .await?;
        services.refresh.nudge();
    }
}
