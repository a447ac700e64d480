//! How all customers spread over classes and stages, and how they moved.

use super::classes::RfmClass;
use super::error;
use super::loaders::{InForce, ask};
use super::scalars::{DateTime, MoneyValue};
use super::services;
use crate::base::Instant;
use crate::customer::money;
use crate::value::movement::{self, Moved};
use crate::value::{lifecycle, rfm};
use async_graphql::{Context, Enum, Result, SimpleObject};

/// Where a customer stands in the life cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum LifecycleStage {
    /// They have not bought anything yet.
    Potential,
    /// They buy.
    Growth,
    /// They buy often enough, for long enough, and no less than before.
    Mature,
    /// They are late by their own rhythm, or ended their contract.
    Decline,
}

impl LifecycleStage {
    /// `None`: no stage has this label.
    pub fn of_label(label: &str) -> Option<Self> {
        match label {
            lifecycle::POTENTIAL => Some(Self::Potential),
            lifecycle::GROWTH => Some(Self::Growth),
            lifecycle::MATURE => Some(Self::Mature),
            lifecycle::DECLINE => Some(Self::Decline),
            _ => None,
        }
    }
}

/// All customers who have a class.
#[derive(Clone, Debug, SimpleObject)]
pub struct RfmMatrix {
    /// All eight classes, the empty ones too.
    cells: Vec<RfmCell>,
    /// How customers moved since the instant that was asked for, those who kept their class included; null when none was asked for.
    movement: Option<Vec<RfmMovement>>,
    /// Of the models in force; null while none are published.
    model_version: Option<i64>,
}

/// The customers of one class.
#[derive(Clone, Debug, SimpleObject)]
pub struct RfmCell {
    /// Which class.
    class: RfmClass,
    /// How many customers are in it.
    customers: i64,
    /// What they paid and did not take back, in the reporting currency; null while there is none, and beyond 64 bits.
    net_revenue: Option<MoneyValue>,
}

/// Customers who went from one class to another, or kept theirs.
#[derive(Clone, Debug, SimpleObject)]
pub struct RfmMovement {
    /// Their class then; null: they had none.
    from: Option<RfmClass>,
    /// Their class now; null: they have none.
    to: Option<RfmClass>,
    /// How many.
    customers: i64,
}

/// Customers by stage at two instants.
#[derive(Clone, Debug, SimpleObject)]
pub struct LifecycleFunnel {
    /// The earlier instant.
    from: DateTime,
    /// The later one.
    to: DateTime,
    /// All four stages, the empty ones too.
    stages: Vec<LifecycleCount>,
    /// How customers moved between the two, those who stayed included.
    transitions: Vec<LifecycleTransition>,
}

/// The customers of one stage.
#[derive(Clone, Debug, SimpleObject)]
pub struct LifecycleCount {
    /// Which stage.
    stage: LifecycleStage,
    /// How many of today's customers were in it at the earlier instant.
    at_from: i64,
    /// How many were at the later one.
    at_to: i64,
}

/// Customers who went from one stage to another, or stayed.
#[derive(Clone, Debug, SimpleObject)]
pub struct LifecycleTransition {
    /// Their stage at the earlier instant; null: they were not there yet.
    from: Option<LifecycleStage>,
    /// Their stage at the later instant; null: they were not there yet.
    to: Option<LifecycleStage>,
    /// How many.
    customers: i64,
}

fn class(label: Option<&String>) -> Option<RfmClass> {
    rfm::RfmClass::of_label(label?).map(Into::into)
}

pub async fn rfm_matrix(ctx: &Context<'_>, since: Option<Instant>) -> Result<RfmMatrix> {
    let services = services(ctx)?;
    let db = services.store.reader();
    let in_force = ask(ctx, InForce)
        .await?
        .ok_or_else(|| error::internal("nothing is known of models"))?;
    let currency = in_force.reporting.currency;
    let found = movement::cells(db, "rfm", currency.as_ref()).await;
    let found = found.map_err(|cause| error::store(&cause))?;
    let cell = |class: rfm::RfmClass| {
        let of_class = found.get(class.label()).copied().unwrap_or_default();
        let net_revenue = currency.as_ref().and_then(|currency| money(of_class.net_minor, currency));
        RfmCell {
            class: class.into(),
            customers: of_class.customers,
            net_revenue: net_revenue.map(Into::into),
        }
    };
    let movement = match since {
        Some(since) => {
            let moved = movement::moved(db, "rfm", None, since, services.now()).await;
            let moved = moved.map_err(|cause| error::store(&cause))?.into_iter();
            let moved = moved.map(|moved| RfmMovement {
                from: class(moved.from.as_ref()),
                to: class(moved.to.as_ref()),
                customers: moved.customers,
            });
            Some(moved.collect())
        }
        None => None,
    };
    Ok(RfmMatrix {
        cells: rfm::RfmClass::ALL.map(cell).into(),
        movement,
        model_version: in_force.version.map(|version| version.published.version),
    })
}

fn stage(label: Option<&String>) -> Option<LifecycleStage> {
    LifecycleStage::of_label(label?)
}

pub async fn lifecycle_funnel(ctx: &Context<'_>, from: Instant, to: Option<Instant>) -> Result<LifecycleFunnel> {
    let services = services(ctx)?;
    let to = to.unwrap_or_else(|| services.now());
    if to < from {
        return Err(error::bad_input("to", "is earlier than from".to_owned()));
    }
    let moved = movement::moved(services.store.reader(), lifecycle::KEY, Some(lifecycle::POTENTIAL), from, to).await;
    let moved = moved.map_err(|cause| error::store(&cause))?;
    let count = |label: &str| {
        let of = |held: &dyn Fn(&Moved) -> Option<&String>| {
            let there = moved.iter().filter(|moved| held(moved).is_some_and(|held| held == label));
            there.map(|moved| moved.customers).sum()
        };
        Some(LifecycleCount {
            stage: LifecycleStage::of_label(label)?,
            at_from: of(&|moved| moved.from.as_ref()),
            at_to: of(&|moved| moved.to.as_ref()),
        })
    };
    let stages = [lifecycle::POTENTIAL, lifecycle::GROWTH, lifecycle::MATURE, lifecycle::DECLINE];
    let transition = |moved: &Moved| LifecycleTransition {
        from: stage(moved.from.as_ref()),
        to: stage(moved.to.as_ref()),
        customers: moved.customers,
    };
    Ok(LifecycleFunnel {
        from: DateTime(from),
        to: DateTime(to),
        stages: stages.into_iter().filter_map(count).collect(),
        transitions: moved.iter().map(transition).collect(),
    })
}
