//! What stories say of the life cycle: how it is configured, where customers must stand, and how they came there.

use super::checks::differs;
use super::fields::{At, Fault};
use super::story::{Unread, only};
use crate::base::CustomerId;
use crate::base::paging::Page;
use crate::customer::store::customers;
use crate::store::{Store, StoreError};
use crate::value::lifecycle::{self, DECLINE, GROWTH, LOST, Lifecycle, MATURE, POTENTIAL};
use crate::value::metric_store;
use crate::value::rules::{LifecycleRules, ValueRules};
use chrono_tz::Tz;
use entity::metric_change::Model;
use serde_json::Value;

/// By which stories name an order, and sources do.
pub(super) const ORDER: &str = "order.placed";
pub(super) const ORDER_AS_TOLD: &str = "Order Completed";

/// What `given.lifecycleConfig` may say. `gap` and `afterRecovery` are prose; how long somebody may be won back means nothing before
/// anybody tries.
pub(super) const CONFIG: [&str; 9] = [
    "defaultGapDays",
    "gap",
    "matureMinOrders",
    "matureMinTenureDays",
    "matureMinRevenueRatio",
    "declineGapFactor",
    "lostGapFactor",
    "winBackWindowDays",
    "afterRecovery",
];
/// No history of a story is longer.
const MAX_HISTORY: u64 = 10_000;

/// How value is computed in a story; what it leaves open is as it is configured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GivenValue {
    pub zone: Option<Tz>,
    pub lifecycle: Option<GivenLifecycle>,
}

/// The life cycle of a story. Revenue is asked about only if it says so.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GivenLifecycle {
    default_gap_days: Option<f64>,
    mature_min_orders: Option<usize>,
    mature_min_tenure_days: Option<f64>,
    mature_min_revenue_ratio: Option<f64>,
    decline_gap_factor: Option<f64>,
    lost_gap_factor: Option<f64>,
}

impl GivenValue {
    /// Laid over what is configured.
    pub fn over(&self, mut rules: ValueRules) -> ValueRules {
        if let Some(zone) = self.zone {
            rules.zone = zone;
        }
        if let Some(given) = &self.lifecycle {
            let configured = rules.lifecycle;
            rules.lifecycle = LifecycleRules {
                default_gap_days: given.default_gap_days.unwrap_or(configured.default_gap_days),
                mature_min_orders: given.mature_min_orders.unwrap_or(configured.mature_min_orders),
                mature_min_tenure_days: given.mature_min_tenure_days.unwrap_or(configured.mature_min_tenure_days),
                mature_min_revenue_ratio: given.mature_min_revenue_ratio,
                decline_gap_factor: given.decline_gap_factor.unwrap_or(configured.decline_gap_factor),
                lost_gap_factor: given.lost_gap_factor.unwrap_or(configured.lost_gap_factor),
            };
        }
        rules
    }
}

pub(super) fn zone(at: &At<'_>) -> Result<Tz, Fault> {
    let name = at.name()?;
    name.parse()
        .map_err(|_| at.fault(format!("{name:?} is no time zone: write Europe/Berlin")))
}

pub(super) fn read_config(at: &At<'_>) -> Result<GivenLifecycle, Fault> {
    let number = |key: &str| {
        let said = at.get(key)?;
        let read = said.map(|said| match said.value.as_f64().filter(|number| *number > 0.0) {
            Some(number) => Ok(number),
            None => Err(said.fault("must be a number above 0")),
        });
        read.transpose()
    };
    let orders = at.get("matureMinOrders")?.map(|said| {
        let count = super::steps::number(&said)?;
        usize::try_from(count).map_err(|_| said.fault("is too large"))
    });
    Ok(GivenLifecycle {
        default_gap_days: number("defaultGapDays")?,
        mature_min_orders: orders.transpose()?,
        mature_min_tenure_days: number("matureMinTenureDays")?,
        mature_min_revenue_ratio: number("matureMinRevenueRatio")?,
        decline_gap_factor: number("declineGapFactor")?,
        lost_gap_factor: number("lostGapFactor")?,
    })
}

/// What is claimed of one customer.
#[derive(Clone, Debug, PartialEq)]
pub struct StageClaim {
    pub customer: String,
    what: Claimed,
}

#[derive(Clone, Debug, PartialEq)]
enum Claimed {
    /// The stage, and the sub-stage where it is named; null: there is none.
    Stands {
        stage: Option<String>,
        sub_stage: Option<Option<String>>,
    },
    /// Every stage, in order; a sub-stage is none of its own.
    CameBy(Vec<String>),
}

/// Reads a claim of this kind, one for each customer; none: the word is of another.
pub(super) fn read_claims(word: &str, about: &At<'_>) -> Result<Option<Vec<(String, StageClaim)>>, Unread> {
    let read: fn(&At<'_>) -> Result<Claimed, Unread> = match word {
        "lifecycle" => stands,
        "lifecycleHistory" => came_by,
        _ => return Ok(None),
    };
    let mut claims = Vec::new();
    for (customer, said) in about.members()? {
        let claim = StageClaim {
            customer: customer.to_owned(),
            what: read(&said)?,
        };
        claims.push((said.path, claim));
    }
    Ok(Some(claims))
}

fn stands(at: &At<'_>) -> Result<Claimed, Unread> {
    only(at, "lifecycle", &["stage", "subStage"])?;
    let sub_stage = match at.object()?.get("subStage") {
        None => None,
        Some(Value::Null) => Some(None),
        Some(_) => Some(Some(one_of(&at.required("subStage")?, &[LOST])?)),
    };
    let stage = at.get("stage")?.map(|stage| one_of(&stage, &STAGES)).transpose()?;
    if stage.is_none() && sub_stage.is_none() {
        return Err(at.fault("claims nothing").into());
    }
    Ok(Claimed::Stands { stage, sub_stage })
}

fn came_by(at: &At<'_>) -> Result<Claimed, Unread> {
    let stages: Result<Vec<String>, Fault> = at.items()?.map(|stage| one_of(&stage, &STAGES)).collect();
    Ok(Claimed::CameBy(stages?))
}

const STAGES: [&str; 4] = [POTENTIAL, GROWTH, MATURE, DECLINE];

fn one_of(at: &At<'_>, known: &[&str]) -> Result<String, Fault> {
    let name = at.name()?;
    match known.contains(&name) {
        true => Ok(name.to_owned()),
        false => Err(at.fault(format!("{name:?} is none of {}", known.join(", ")))),
    }
}

impl StageClaim {
    pub(super) async fn judge(&self, store: &Store, customer: Option<CustomerId>) -> Result<Vec<String>, String> {
        let history = match customer {
            Some(customer) => history(store, customer).await.map_err(|error| error.to_string())?,
            None => return Ok(vec![format!("{} is nobody", self.customer)]),
        };
        let who = &self.customer;
        match &self.what {
            Claimed::Stands { stage, sub_stage } => {
                // Of several ids it is the one that still holds.
                let open = history.iter().rfind(|row| row.until_at.is_none());
                let got = open.map_or("nothing", |row| row.value.as_str());
                let got_sub = open.and_then(|row| row.detail["subStage"].as_str());
                let mut differences = Vec::new();
                if let Some(stage) = stage.as_ref().filter(|stage| *stage != got) {
                    differences.push(format!("the stage of {who} is {got}, expected {stage}"));
                }
                if let Some(wanted) = sub_stage.as_ref().filter(|wanted| wanted.as_deref() != got_sub) {
                    let told = |stage: Option<&str>| stage.unwrap_or("none").to_owned();
                    let (got, wanted) = (told(got_sub), told(wanted.as_deref()));
                    differences.push(format!("the sub-stage of {who} is {got}, expected {wanted}"));
                }
                Ok(differences)
            }
            Claimed::CameBy(wanted) => {
                let mut stages: Vec<Value> = history.into_iter().map(|row| row.value.into()).collect();
                stages.dedup();
                let wanted: Vec<Value> = wanted.iter().map(|stage| stage.as_str().into()).collect();
                let difference = differs(&stages, &wanted).map(|told| format!("stages of {who}: {told}"));
                Ok(difference.into_iter().collect())
            }
        }
    }
}

/// The oldest first.
async fn history(store: &Store, customer: CustomerId) -> Result<Vec<Model>, StoreError> {
    let page = Page {
        first: MAX_HISTORY,
        after: None,
    };
    let mut written = metric_store::histories(store.reader(), &[customer], lifecycle::KEY, &page).await?;
    let written = written.remove(&customer).unwrap_or_default().rows;
    let known = customers(store.reader(), &[customer]).await?;
    let created_at = known.get(&customer).map(|customer| customer.created_at);
    let before = created_at.and_then(|created_at| metric_store::unwritten(&Lifecycle, created_at, written.first()));
    Ok(before.into_iter().chain(written).collect())
}
