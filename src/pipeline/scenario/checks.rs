//! What must hold in a story: one kind of check for each word under `then`. A new kind is a variant here, its reading and its judging.

use super::feed_steps::{Item, Subscriptions};
use super::fields::{At, Fault};
use super::stages::{self, StageClaim};
use super::steps::number;
use super::story::{Unread, not_yet, only};
use crate::base::CustomerId;
use crate::feed::Entry;
use crate::store::Store;
use entity::Topic;
use serde_json::Value;
use std::collections::HashSet;

/// A list written as a range is at most so long.
const MAX_LIST: u64 = 1_000_000;

#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// The number of the step after which it must hold; none: at the end.
    pub after: Option<u64>,
    pub path: String,
    pub claim: Claim,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// What was taken from a reader so far: these values, in this order.
    Taken {
        reader: String,
        /// `after.i`, cut at the dots.
        values_of: Vec<String>,
        list: Vec<Value>,
        each_once: bool,
    },
    /// A reader was told that there is nothing more.
    CaughtUpSeen { reader: String },
    /// The log has the revisions of a customer without gap or repetition.
    RevisionsIncrease { customer: String },
    /// Where a customer stands in the life cycle.
    Stage(StageClaim),
}

/// Reads an entry of `then`: it may claim several things, or be a note for people.
pub(super) fn read(at: &At<'_>) -> Result<Vec<Check>, Unread> {
    let after = at.get("after")?.map(|after| number(&after)).transpose()?;
    let mut checks = Vec::new();
    for (word, about) in at.members()?.filter(|(word, _)| !["after", "note"].contains(word)) {
        if let Some(claims) = stages::read_claims(word, &about)? {
            checks.extend(claims.into_iter().map(|(path, claim)| Check {
                after,
                path,
                claim: Claim::Stage(claim),
            }));
            continue;
        }
        let claim = match word {
            "taken" => {
                only(&about, word, &["as", "valuesOf", "list", "eachExactlyOnce"])?;
                taken(&about)?
            }
            "caughtUpSeen" => {
                only(&about, word, &["as", "atLeastOnce"])?;
                must_be_true(&about, "atLeastOnce")?;
                Claim::CaughtUpSeen {
                    reader: about.required("as")?.name()?.to_owned(),
                }
            }
            "entityRevisions" => {
                only(&about, word, &["customer", "increaseByOne"])?;
                must_be_true(&about, "increaseByOne")?;
                Claim::RevisionsIncrease {
                    customer: about.required("customer")?.name()?.to_owned(),
                }
            }
            other => return Err(not_yet(&about, format!("then.{other}"))),
        };
        checks.push(Check {
            after,
            path: about.path,
            claim,
        });
    }
    if checks.is_empty() && at.get("note")?.is_none() {
        return Err(at.fault("claims nothing").into());
    }
    Ok(checks)
}

fn must_be_true(at: &At<'_>, key: &str) -> Result<(), Fault> {
    let said = at.required(key)?;
    match said.value {
        Value::Bool(true) => Ok(()),
        _ => Err(said.fault("must be true")),
    }
}

fn taken(at: &At<'_>) -> Result<Claim, Unread> {
    let values_of = at.required("valuesOf")?;
    let path: Vec<String> = values_of.name()?.split('.').map(str::to_owned).collect();
    let is_known = match path.as_slice() {
        [side, _] => side == "before" || side == "after",
        [only] => only == "rev",
        _ => false,
    };
    if !is_known {
        return Err(not_yet(&values_of, format!("valuesOf {}", values_of.value)));
    }
    let each_once = at
        .get("eachExactlyOnce")?
        .map(|_| must_be_true(at, "eachExactlyOnce"))
        .transpose()?;
    Ok(Claim::Taken {
        reader: at.required("as")?.name()?.to_owned(),
        values_of: path,
        list: list(&at.required("list")?)?,
        each_once: each_once.is_some(),
    })
}

/// A list, or whole numbers from one to another: `101..451` has both ends.
fn list(at: &At<'_>) -> Result<Vec<Value>, Unread> {
    match at.value {
        Value::Array(values) => Ok(values.clone()),
        Value::String(range) => {
            let ends = range.split_once("..");
            let ends = ends.and_then(|(first, last)| Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?)));
            match ends {
                Some((first, last)) if first <= last && last - first < MAX_LIST => Ok((first..=last).map(Value::from).collect()),
                _ => Err(at.fault(format!("{range:?} is no range of numbers: write 101..451")).into()),
            }
        }
        Value::Object(_) => Err(not_yet(at, "a list with anyOrder or contains")),
        _ => Err(at.fault("must be a list or a range such as 101..451").into()),
    }
}

impl Check {
    /// The customer whom it names.
    pub(super) fn customer(&self) -> Option<&str> {
        match &self.claim {
            Claim::RevisionsIncrease { customer } => Some(customer),
            Claim::Stage(claim) => Some(&claim.customer),
            Claim::Taken { .. } | Claim::CaughtUpSeen { .. } => None,
        }
    }

    /// What differs, in words; none: it holds. `customer`: whom it names.
    ///
    /// # Errors
    /// When it cannot be told.
    pub(super) async fn judge(
        &self,
        store: &Store,
        subscriptions: &Subscriptions,
        customer: Option<CustomerId>,
    ) -> Result<Vec<String>, String> {
        match &self.claim {
            Claim::Stage(claim) => claim.judge(store, customer).await,
            Claim::Taken {
                reader,
                values_of,
                list,
                each_once,
            } => {
                let (items, _) = subscriptions.taken(reader).await?;
                let values: Vec<Value> = items.iter().map(|item: &Item| item.value(values_of)).collect();
                let what = format!("{} taken by {reader}", values_of.join("."));
                let mut differences: Vec<String> = differs(&values, list)
                    .map(|told| format!("{what}: {told}"))
                    .into_iter()
                    .collect();
                if *each_once {
                    let mut seen = HashSet::new();
                    let twice = values.iter().find(|value| !seen.insert(value.to_string()));
                    differences.extend(twice.map(|value| format!("{what}: {value} came twice")));
                }
                Ok(differences)
            }
            Claim::CaughtUpSeen { reader } => {
                let (_, caught_up) = subscriptions.taken(reader).await?;
                Ok((!caught_up)
                    .then(|| format!("{reader} was never told that there is nothing more"))
                    .into_iter()
                    .collect())
            }
            Claim::RevisionsIncrease { customer: key } => {
                let log = subscriptions.whole_log().await.map_err(|error| error.to_string())?;
                let id = customer.map(|customer| customer.0);
                let theirs = log
                    .iter()
                    .map(Entry::body)
                    .filter(|body| body.topic == Topic::Customer && Some(body.entity) == id);
                let revisions: Vec<i64> = theirs.map(|body| body.rev).collect();
                if revisions.len() < 2 {
                    return Ok(vec![format!(
                        "the log has {} changes of {key}: nothing to compare",
                        revisions.len()
                    )]);
                }
                let gap = revisions.windows(2).find(|pair| pair[1] != pair[0] + 1);
                Ok(gap
                    .map(|pair| format!("revisions of {key}: {} follows {}", pair[1], pair[0]))
                    .into_iter()
                    .collect())
            }
        }
    }
}

/// The first place where two lists part.
pub(super) fn differs(got: &[Value], wanted: &[Value]) -> Option<String> {
    let places = got.len().max(wanted.len());
    let place = (0..places).find(|place| got.get(*place) != wanted.get(*place))?;
    let told = |values: &[Value]| values.get(place).map_or("nothing".to_owned(), Value::to_string);
    Some(format!(
        "item {} is {}, expected {} ({} items, expected {})",
        place + 1,
        told(got),
        told(wanted),
        got.len(),
        wanted.len()
    ))
}
