//! What class a customer is in, what is to be feared of them, and what is warned of.

use super::loaders::{InForce, KnownOf, MetricsOf, WorthOf, ask};
use super::scalars::{DateTime, MoneyValue};
use super::services;
use crate::base::{CustomerId, Instant, Money};
use crate::value::churn::{self, NoChurn};
use crate::value::days::{day_of, days_between};
use crate::value::metric::Basis;
use crate::value::rfm::Scores;
use crate::value::warnings::{EarlyWarning, ON};
use async_graphql::{Context, Enum, Json, Result, SimpleObject};
use entity::metric_change::Model;
use serde_json::Value;
use std::sync::Arc;

/// The eight conventional classes: high or low on recency, frequency and money. High is a score strictly above the mean of the published
/// version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "crate::value::rfm::RfmClass")]
pub enum RfmClass {
    /// Bought recently, often and much.
    ImportantValue,
    /// Bought recently and much, and not often.
    ImportantDevelop,
    /// Bought often and much, and not recently.
    ImportantKeep,
    /// Bought much, and neither recently nor often.
    ImportantWinBack,
    /// Bought recently and often, and not much.
    GeneralValue,
    /// Bought recently, and neither often nor much.
    GeneralDevelop,
    /// Bought often, and neither recently nor much.
    GeneralKeep,
    /// Bought neither recently nor often nor much.
    GeneralWinBack,
}

/// How likely a customer is to stay away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "churn::ChurnBand")]
pub enum ChurnBand {
    /// Below `churn.medium_from`, 0.4 unless configured.
    Low,
    /// From there on.
    Medium,
    /// From `churn.high_from` on, 0.7 unless configured.
    High,
}

/// What is warned of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "crate::value::warnings::EarlyWarning")]
pub enum EarlyWarningKind {
    /// No order for twice their usual gap.
    Gap,
    /// Usage of the last 28 days, per day, is 40 % or more below that of the 56 days before.
    Usage,
    /// They answered 6 or less when last asked whether they recommend us.
    Recommendation,
    /// They cancelled their subscription, and did not start it again.
    Contract,
}

/// Recency, frequency and money. The scores and the class are as of `since`, and change at midnights of the deployment's zone; they are read
/// from cuts of a published version, which stand still, so nobody's class moves because others bought.
#[derive(Clone, Debug, SimpleObject)]
pub struct Rfm {
    /// Days of the deployment's zone since the last day with a purchase.
    recency_days: i64,
    /// Days with a purchase.
    frequency: i64,
    /// What was paid and not given back, in the reporting currency.
    monetary: MoneyValue,
    /// 1 to 5; 5 is the fifth that bought last.
    recency_score: i32,
    /// 1 to 5; 5 is the fifth that bought most often.
    frequency_score: i32,
    /// 1 to 5; 5 is the fifth that paid most.
    monetary_score: i32,
    /// What the scores are together.
    class: RfmClass,
    /// Since when these scores hold.
    since: DateTime,
    /// Of the models whose cuts the scores were read from; a later version that says the same changes nothing.
    model_version: i64,
}

/// How likely they are to stay away.
#[derive(Clone, Debug, SimpleObject)]
pub struct Churn {
    /// That they buy nothing within the horizon, from today on: 0 to 1. It is null when it cannot be known; then `reasons` say why.
    probability: Option<f64>,
    /// How far ahead that looks: 30 days, or the 90th percentile of their own gaps where that is longer. It is null when `probability` is.
    horizon_days: Option<i64>,
    /// The band as of the last look; null when the probability cannot be known, and until they are looked at.
    band: Option<ChurnBand>,
    /// Since when they are in that band; null when `band` is.
    since: Option<DateTime>,
    /// What speaks for it, in words with figures, the strongest first; or why the probability cannot be known.
    reasons: Vec<String>,
    /// Of the models in force; null while none are published.
    model_version: Option<i64>,
    /// When the probability was computed.
    as_of: DateTime,
}

/// Something that calls for attention before a customer is lost.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(name = "EarlyWarning")]
pub struct EarlyWarningNode {
    /// What is warned of.
    kind: EarlyWarningKind,
    /// Since when, to the microsecond.
    since: DateTime,
    /// The figures behind it, as of when it began.
    detail: Json<Value>,
}

async fn open(ctx: &Context<'_>, id: CustomerId) -> Result<Arc<Vec<Model>>> {
    Ok(ask(ctx, MetricsOf(id)).await?.unwrap_or_default())
}

/// `None`: no class, or nobody has looked yet.
pub async fn rfm(ctx: &Context<'_>, id: CustomerId) -> Result<Option<Rfm>> {
    let services = services(ctx)?;
    let (open, standing) = futures_util::try_join!(open(ctx, id), ask(ctx, WorthOf(id)))?;
    let class = open.iter().find(|row| row.metric == "rfm");
    let stored = standing.and_then(|standing| standing.stored);
    let found = class.zip(stored).and_then(|(row, stored)| {
        let standing = stored.told.standing;
        let scores = Scores::of_detail(&row.detail)?;
        let today = day_of(services.value.zone, services.now());
        let monetary = Money {
            amount_minor: standing.net?,
            currency: standing.currency?,
        };
        Some(Rfm {
            recency_days: days_between(standing.days.last?, today),
            frequency: standing.days.count,
            monetary: monetary.into(),
            recency_score: scores.recency.into(),
            frequency_score: scores.frequency.into(),
            monetary_score: scores.monetary.into(),
            class: crate::value::rfm::RfmClass::of_label(&row.value)?.into(),
            since: DateTime(Instant::from_micros(row.from_at)),
            model_version: row.model_version?,
        })
    });
    Ok(found)
}

pub async fn churn(ctx: &Context<'_>, id: CustomerId) -> Result<Churn> {
    let services = services(ctx)?;
    let (open, known, in_force) = futures_util::try_join!(open(ctx, id), ask(ctx, KnownOf(id)), ask(ctx, InForce))?;
    let known = known.unwrap_or_default();
    let version = in_force.and_then(|in_force| in_force.version);
    let basis = Basis {
        known: &known,
        rules: &services.value,
        published: version.as_ref().map(|version| &version.published),
    };
    let now = services.now();
    let found = churn::churn(basis, now);
    let band = open.iter().find(|row| row.metric == "churn" && found.is_ok());
    Ok(Churn {
        probability: found.ok().map(|churn| churn.probability),
        horizon_days: found.ok().map(|churn| churn.horizon_days),
        band: band.and_then(|row| churn::ChurnBand::of_label(&row.value)).map(Into::into),
        since: band.map(|row| DateTime(Instant::from_micros(row.from_at))),
        reasons: match found {
            Ok(_) => churn::reasons(basis, now),
            Err(unknown) => {
                let why_not = version.as_ref().and_then(|version| version.no_buying.clone());
                let why_not = why_not.filter(|_| unknown == NoChurn::NoModel);
                vec![why_not.unwrap_or_else(|| unknown.to_string())]
            }
        },
        model_version: basis.published.map(|published| published.version),
        as_of: DateTime(now),
    })
}

/// The oldest first.
pub async fn warnings(ctx: &Context<'_>, id: CustomerId) -> Result<Vec<EarlyWarningNode>> {
    let open = open(ctx, id).await?;
    let mut open: Vec<&Model> = open.iter().collect();
    open.sort_by(|one, other| (one.from_at, &one.metric).cmp(&(other.from_at, &other.metric)));
    let warning = |row: &Model| {
        Some(EarlyWarningNode {
            kind: EarlyWarning::of_key(&row.metric).filter(|_| row.value == ON)?.into(),
            since: DateTime(Instant::from_micros(row.from_at)),
            detail: Json(row.detail.clone()),
        })
    };
    Ok(open.into_iter().filter_map(warning).collect())
}
