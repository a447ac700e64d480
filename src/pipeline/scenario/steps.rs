//! The steps of a story: one kind for each word of `do`. A new kind is a variant here, its reading and its doing.

use super::feed_steps::{self, FeedStep};
use super::fields::{At, Fault};
use super::story::{Unread, not_yet, only};
use crate::base::Instant;
use serde_json::{Map, Value};

/// A step may be repeated so often.
const MAX_TIMES: u64 = 100_000;
/// What every step may say besides what is its own.
const OF_ALL: [&str; 4] = ["n", "do", "note", "settle"];

#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// By which a check names it; none inside another step.
    pub n: Option<u64>,
    pub path: String,
    /// Whether everything that is due afterwards is done before the next step.
    pub settles: bool,
    pub deed: StoryDeed,
}

#[derive(Clone, Debug, PartialEq)]
pub enum StoryDeed {
    /// The step, so often, one after the other.
    Repeat {
        times: u64,
        step: Box<Step>,
    },
    /// All at the same time.
    InParallel(Vec<Step>),
    /// Somebody has other attributes. Values may count: see `counted`.
    CustomerSet {
        customer: String,
        attributes: Map<String, Value>,
    },
    /// Somebody did something, now.
    EventIngest {
        customer: String,
        name: String,
        /// Of the message; of an order, the order's.
        id: String,
        properties: Map<String, Value>,
    },
    /// Two customers are one.
    CustomerMerge {
        survivor: String,
        absorbed: String,
    },
    /// Time passes, and whatever falls due meanwhile is done at its instant.
    ClockAdvanceTo(Instant),
    Feed(FeedStep),
}

/// Reads a step. `counts`: it is repeated, so that `$i` means something.
pub(super) fn read(at: &At<'_>, counts: bool) -> Result<Step, Unread> {
    let word = at.required("do")?;
    let own = |keys: &[&str]| only(at, word.text()?, &[OF_ALL.as_slice(), keys].concat());
    let deed = match word.text()? {
        "repeat" => {
            own(&["times", "step"])?;
            let times = at.required("times")?;
            let step = Box::new(read(&at.required("step")?, true)?);
            match number(&times)? {
                number @ 1..=MAX_TIMES => StoryDeed::Repeat { times: number, step },
                _ => return Err(times.fault(format!("must lie between 1 and {MAX_TIMES}")).into()),
            }
        }
        "inParallel" => {
            own(&["steps"])?;
            let steps = at.required("steps")?;
            StoryDeed::InParallel(steps.items()?.map(|step| read(&step, counts)).collect::<Result<_, _>>()?)
        }
        "customer.set" => {
            own(&["customer", "attributes"])?;
            let attributes = at.required("attributes")?;
            for (_, value) in attributes.members()? {
                check_counts(&value, counts)?;
            }
            StoryDeed::CustomerSet {
                customer: at.required("customer")?.name()?.to_owned(),
                attributes: attributes.object()?.clone(),
            }
        }
        "event.ingest" => {
            own(&["customer", "event", "eventId", "properties"])?;
            let properties = at.get("properties")?.map(|properties| properties.object().cloned());
            StoryDeed::EventIngest {
                customer: at.required("customer")?.name()?.to_owned(),
                name: at.required("event")?.name()?.to_owned(),
                id: at.required("eventId")?.name()?.to_owned(),
                properties: properties.transpose()?.unwrap_or_default(),
            }
        }
        "customer.merge" => {
            own(&["survivor", "absorbed"])?;
            StoryDeed::CustomerMerge {
                survivor: at.required("survivor")?.name()?.to_owned(),
                absorbed: at.required("absorbed")?.name()?.to_owned(),
            }
        }
        "clock.advanceTo" => {
            own(&["to"])?;
            StoryDeed::ClockAdvanceTo(at.required("to")?.instant()?)
        }
        other => match feed_steps::read(other, at, &own)? {
            Some(step) => StoryDeed::Feed(step),
            None => return Err(not_yet(&word, other)),
        },
    };
    let settles = at.get("settle")?.map(|settle| match settle.value {
        Value::Bool(settles) => Ok(*settles),
        _ => Err(settle.fault("must be true or false")),
    });
    Ok(Step {
        n: at.get("n")?.map(|n| number(&n)).transpose()?,
        path: at.path.clone(),
        settles: settles.transpose()?.unwrap_or(true),
        deed,
    })
}

impl Step {
    /// Shows the customers that it names, with where it does.
    pub(super) fn customers(&self, show: &mut impl FnMut(&str, &str) -> Result<(), Fault>) -> Result<(), Fault> {
        match &self.deed {
            StoryDeed::Repeat { step, .. } => step.customers(show),
            StoryDeed::InParallel(steps) => steps.iter().try_for_each(|step| step.customers(show)),
            StoryDeed::CustomerSet { customer, .. } | StoryDeed::EventIngest { customer, .. } => {
                show(customer, &format!("{}.customer", self.path))
            }
            StoryDeed::CustomerMerge { survivor, absorbed } => {
                show(survivor, &format!("{}.survivor", self.path))?;
                show(absorbed, &format!("{}.absorbed", self.path))
            }
            StoryDeed::ClockAdvanceTo(_) | StoryDeed::Feed(_) => Ok(()),
        }
    }
}

pub(super) fn number(at: &At<'_>) -> Result<u64, Fault> {
    at.value.as_u64().ok_or_else(|| at.fault("must be a whole number, 0 or more"))
}

/// What stands for a number that counts: `$i` is the turn of the repetition, from 1 on, and `100+$i` is a sum. None: it is a plain value.
/// The inner error: it means to be one, and this version cannot reckon it.
fn expression(value: &Value) -> Option<Result<i64, ()>> {
    let text = value.as_str().filter(|text| text.contains("$i"))?;
    let Some(before) = text.strip_suffix("$i") else {
        return Some(Err(()));
    };
    if before.is_empty() {
        return Some(Ok(0));
    }
    let added = before.strip_suffix('+').and_then(|added| added.trim().parse::<u32>().ok());
    Some(added.map(i64::from).ok_or(()))
}

fn check_counts(at: &At<'_>, counts: bool) -> Result<(), Unread> {
    match expression(at.value) {
        None => Ok(()),
        Some(Ok(_)) if counts => Ok(()),
        Some(Ok(_)) => Err(at.fault("$i means something only inside of repeat").into()),
        Some(Err(())) => Err(not_yet(at, at.value.to_string())),
    }
}

/// Attributes with what counts put in.
pub(super) fn counted(attributes: &Map<String, Value>, turn: u64) -> Map<String, Value> {
    let put_in = |value: &Value| match expression(value) {
        Some(Ok(added)) => (added.unsigned_abs() + turn).into(),
        _ => value.clone(),
    };
    attributes.iter().map(|(name, value)| (name.clone(), put_in(value))).collect()
}
