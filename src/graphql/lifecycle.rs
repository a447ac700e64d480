//! Where a customer stands in the life cycle, and the history of everything discrete about them.

use super::connection::{Connection, page};
use super::error;
use super::loaders::{InForce, KnownOf, MetricHistoryOf, MetricsAt, MetricsOf, ask};
use super::movement::LifecycleStage;
use super::scalars::DateTime;
use super::services;
use crate::base::paging::Slice;
use crate::base::{CustomerId, Instant};
use crate::customer::Customer;
use crate::value::lifecycle::{self, LOST};
use crate::value::metric::{Basis, Metric};
use crate::value::metric_store::{Place, place, unwritten};
use crate::value::metrics;
use async_graphql::{Context, Enum, Json, Object, Result, SimpleObject};
use entity::metric_change::Model;
use serde_json::{Value, json};

/// What is said of a stage more closely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum LifecycleSubStage {
    /// Of DECLINE: so late by their own rhythm that they are lost.
    Lost,
}

/// What became of winning a customer back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum WinBackState {
    /// Nobody has tried.
    None,
    /// A journey tries.
    Targeted,
    /// They came back in time.
    Recovered,
    /// They did not.
    Failed,
}

/// Where a customer stands in the life cycle.
pub struct Lifecycle {
    held: MetricValue,
    customer: CustomerId,
    is_now: bool,
}

/// Where a customer stands in the life cycle, as of the last look at them.
#[Object]
impl Lifecycle {
    /// The stage.
    async fn stage(&self) -> Result<LifecycleStage> {
        LifecycleStage::of_label(&self.held.value).ok_or_else(|| error::internal(format!("the stage {}", self.held.value)))
    }

    /// LOST when they are so late that they count as lost; null otherwise.
    async fn sub_stage(&self) -> Option<LifecycleSubStage> {
        (self.held.detail.0["subStage"] == json!(LOST)).then_some(LifecycleSubStage::Lost)
    }

    /// What became of winning them back. Journeys will say; until then it is NONE.
    async fn win_back(&self) -> WinBackState {
        WinBackState::None
    }

    /// Since when they are in this stage and sub-stage.
    async fn since(&self) -> DateTime {
        self.held.since
    }

    /// What it came of: "time", "transaction:" with the id of the transaction that told something, "model:" with a version of the models,
    /// "unmerge:" with a transaction that made them a customer of their own again; "created" of who never ordered.
    async fn cause(&self) -> &str {
        &self.held.cause
    }

    /// When time alone will change the stage or sub-stage, by what is known now; null when it will not, and when an earlier instant was
    /// asked about.
    async fn next_check_at(&self, ctx: &Context<'_>) -> Option<Result<DateTime>> {
        if !self.is_now {
            return None;
        }
        let next = async {
            let (known, in_force) = futures_util::try_join!(ask(ctx, KnownOf(self.customer)), ask(ctx, InForce))?;
            let known = known.unwrap_or_default();
            let version = in_force.and_then(|in_force| in_force.version);
            let services = services(ctx)?;
            let basis = Basis {
                known: &known,
                rules: &services.value,
                published: version.as_ref().map(|version| &version.published),
            };
            Ok(lifecycle::Lifecycle.evaluate(basis, services.now()).next.map(DateTime))
        };
        next.await.transpose()
    }

    /// The version of the models that had a say, by the usual gap of a category; null when none had.
    async fn model_version(&self) -> Option<i64> {
        self.held.model_version
    }
}

/// Something discrete about a customer: what holds, and since when.
#[derive(Clone, Debug, SimpleObject)]
pub struct MetricValue {
    /// Its name: lifecycle, rfm, churn, warning.gap ….
    metric: String,
    /// The label: GROWTH, IMPORTANT_VALUE, HIGH, ON ….
    value: String,
    /// What stands behind it: a sub-stage, scores, figures.
    detail: Json<Value>,
    /// Since when both hold.
    since: DateTime,
    /// What it came of; see `Lifecycle.cause`.
    cause: String,
    /// The version of the models that had a say; null when none had.
    model_version: Option<i64>,
}

/// An interval in which one thing held of a customer.
#[derive(Clone, Debug, SimpleObject)]
pub struct MetricChange {
    /// Its name: lifecycle, rfm, churn, warning.gap ….
    metric: String,
    /// The label: GROWTH, IMPORTANT_VALUE, HIGH, ON ….
    value: String,
    /// What stood behind it: a sub-stage, scores, figures.
    detail: Json<Value>,
    /// From when on it held.
    from: DateTime,
    /// Until when, that instant not included; null while it holds.
    until: Option<DateTime>,
    /// What it came of; see `Lifecycle.cause`.
    cause: String,
    /// What ended it: as `cause`, or "merge:" with a transaction when the customer became part of another; null while it holds.
    ended: Option<String>,
    /// The version of the models that had a say; null when none had.
    model_version: Option<i64>,
}

impl From<Model> for MetricValue {
    fn from(row: Model) -> Self {
        Self {
            metric: row.metric,
            value: row.value,
            detail: Json(row.detail),
            since: DateTime(Instant::from_micros(row.from_at)),
            cause: row.cause,
            model_version: row.model_version,
        }
    }
}

impl From<Model> for MetricChange {
    fn from(row: Model) -> Self {
        Self {
            metric: row.metric,
            value: row.value,
            detail: Json(row.detail),
            from: DateTime(Instant::from_micros(row.from_at)),
            until: row.until_at.map(|until| DateTime(Instant::from_micros(until))),
            cause: row.cause,
            ended: row.ended,
            model_version: row.model_version,
        }
    }
}

fn named(key: &str) -> Result<&'static dyn Metric> {
    metrics::named(key).ok_or_else(|| {
        let all: Vec<&str> = metrics::ALL.iter().map(|metric| metric.key()).collect();
        error::bad_input("metric", format!("is none of {}", all.join(", ")))
    })
}

async fn held(ctx: &Context<'_>, customer: &Customer, metric: &dyn Metric, at: Option<Instant>) -> Result<Option<MetricValue>> {
    let row = match at {
        None => {
            let open = ask(ctx, MetricsOf(customer.id)).await?.unwrap_or_default();
            open.iter().find(|row| row.metric == metric.key()).cloned()
        }
        Some(at) => {
            let held = ask(ctx, MetricsAt(customer.id, at)).await?.unwrap_or_default();
            held.get(metric.key()).cloned()
        }
    };
    Ok(row.or_else(|| unwritten(metric, customer.created_at, None)).map(Into::into))
}

/// A metric by its name; `None`: nothing holds.
pub async fn metric(ctx: &Context<'_>, customer: &Customer, key: &str, at: Option<Instant>) -> Result<Option<MetricValue>> {
    held(ctx, customer, named(key)?, at).await
}

pub async fn lifecycle(ctx: &Context<'_>, customer: &Customer, at: Option<Instant>) -> Result<Lifecycle> {
    let held = held(ctx, customer, &lifecycle::Lifecycle, at).await?;
    Ok(Lifecycle {
        held: held.ok_or_else(|| error::internal("a customer without a stage"))?,
        customer: customer.id,
        is_now: at.is_none(),
    })
}

/// The oldest first.
pub async fn history(
    ctx: &Context<'_>,
    customer: &Customer,
    key: &str,
    first: i32,
    after: Option<String>,
) -> Result<Connection<MetricChange>> {
    let metric = named(key)?;
    let page = page::<Place>(first, after.as_deref())?;
    let limit = page.first;
    let is_beginning = page.after.is_none();
    let asked = MetricHistoryOf(customer.id, metric.key(), page);
    let Slice { mut rows, more } = ask(ctx, asked).await?.unwrap_or_default();
    if is_beginning && let Some(row) = unwritten(metric, customer.created_at, rows.first()) {
        rows.insert(0, row);
    }
    let mut slice = Slice::from_one_more(rows, limit);
    slice.more |= more;
    Ok(Connection::new(slice, after.as_deref(), place, Into::into))
}
