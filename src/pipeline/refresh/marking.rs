//! Whom a change concerns: the one place that decides who is marked due.
//!
//! What no live view asks about marks nobody. The views of today ask what customers bought, and how often they did what measures and the
//! settings name: a report of an order or a refund, such an event, records with either that pass to another customer, another trust of a
//! source, another rate. An erasure takes what is derived along by itself.

use crate::base::money::Currency;
use crate::base::{CustomerId, Instant, RecordId, SourceId};
use crate::customer::store::{self as customer_store, Bought};
use crate::due::{self, Mark, Span};
use crate::feed::Log;
use crate::job::{JobError, Running};
use crate::pipeline::Services;
use crate::pipeline::unify::Moved;
use crate::store::StoreError;
use crate::value::activity;
use entity::DueClass;
use sea_orm::DatabaseTransaction;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// The job that marks everybody, or who bought something, at one source, or in some currencies; after other models were published with
/// their version.
pub const JOB_KIND: &str = crate::ingest::source::TRUST_JOB;
/// Customers looked through in one commit.
const CUSTOMERS_PER_COMMIT: usize = 1_000;

/// What a transaction did that views may ask about.
#[derive(Debug, Default)]
pub struct Concerned<'c> {
    /// Customers whose orders were reported.
    pub buyers: BTreeSet<CustomerId>,
    /// Customers who did what somebody asks about, and when.
    pub active: BTreeMap<CustomerId, Span>,
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
    let mut customers: BTreeMap<CustomerId, Option<Span>> = concerned.buyers.into_iter().map(|buyer| (buyer, None)).collect();
    customers.extend(concerned.active.into_iter().map(|(customer, span)| (customer, Some(span))));
    if !concerned.moved.is_empty() {
        let moved: Vec<RecordId> = concerned.moved.iter().map(|moved| moved.record).collect();
        let buying = customer_store::records_that_bought(tx, &moved).await?;
        let from: BTreeSet<CustomerId> = concerned.moved.iter().map(|moved| moved.from).collect();
        let active = activity::active_among(tx, from).await?;
        for Moved { record, from, to } in concerned.moved {
            // What either did has to be counted again, whichever of the records it hangs off.
            if active.contains(from) {
                customers.extend([from, to].map(|customer| (*customer, Some(Span::EVERYTHING))));
            } else if buying.contains(record) {
                for customer in [from, to] {
                    customers.entry(*customer).or_default();
                }
            }
        }
    }
    if customers.is_empty() {
        return Ok(false);
    }
    let by = Mark {
        by: log.id(),
        at: now,
        class,
    };
    due::mark_with_events(tx, &customers, by).await?;
    Ok(true)
}

/// Whom a job marks: everybody, everything they did counted again; or who bought something, of them those of whom a source told an order, or
/// who bought in one of some currencies between two instants.
enum Wanted {
    Everybody,
    Buyers(Bought),
}

impl Wanted {
    /// Who bought in the `reporting` currency asks for no rate.
    fn of(input: &Value, reporting: Option<&Currency>) -> Self {
        if input["everybody"] == json!(true) {
            return Self::Everybody;
        }
        let currencies = input["currencies"].as_array().map(|codes| {
            let codes = codes.iter().filter_map(Value::as_str);
            let foreign = codes.filter(|code| reporting.is_none_or(|reporting| reporting.code() != *code));
            foreign.map(str::to_owned).collect()
        });
        let instant = |name: &str| input[name].as_i64();
        Self::Buyers(Bought {
            at: id_in(&input["source"]).map(SourceId),
            currencies,
            between: instant("from").zip(instant("until")),
        })
    }

    async fn among(
        &self,
        tx: &DatabaseTransaction,
        page: &[CustomerId],
    ) -> Result<BTreeMap<CustomerId, Option<Span>>, StoreError> {
        match self {
            Self::Everybody => Ok(page.iter().map(|customer| (*customer, Some(Span::EVERYTHING))).collect()),
            Self::Buyers(bought) => {
                let buyers = customer_store::buyers_among(tx, page, bought).await?;
                Ok(buyers.into_iter().map(|buyer| (buyer, None)).collect())
            }
        }
    }
}

fn id_in(value: &Value) -> Option<Uuid> {
    value.as_str().and_then(|text| Uuid::parse_str(text).ok())
}

/// The job's verb: marks whom its input wants, a thousand customers at a time.
pub async fn mark_buyers(services: Services, job: Running, _: Instant) -> Result<Value, JobError> {
    let reporting = services.reporting().await?;
    let wanted = Wanted::of(job.input(), reporting.currency.as_ref());
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
                let (page, job, services, wanted) = (&page, &job, &services, &wanted);
                Box::pin(async move {
                    let customers = wanted.among(tx, page).await?;
                    let fresh = services.store.ids().time_ordered(now);
                    let by = Mark {
                        by: model.map_or(fresh, |version| due::mark_of_model(version, fresh)),
                        at: now,
                        class: DueClass::Bulk,
                    };
                    due::mark_with_events(tx, &customers, by).await?;
                    let marked = marked + i64::try_from(customers.len()).unwrap_or(0);
                    let cursor = json!({"last": behind.to_string(), "lookedAt": looked_at, "marked": marked});
                    job.progress_in(tx, looked_at, None, Some(cursor)).await?;
                    Ok(marked)
                })
            })
            .await?;
        services.refresh.nudge();
    }
}
