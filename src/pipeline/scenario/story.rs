//! The other format: stories. What is given, what is done, what must hold then; everything by name, so that a file outlives versions.
//!
//! A word that this version does not know makes a story one that cannot be played yet, and never one that passes: what a later version
//! adds (steps, checks, things that are given) is added as another word. Mistakes in words that are known are faults.

use super::checks::{self, Check};
use super::fields::{At, Fault};
use super::stages::{self, GivenValue};
use super::steps::{self, Step};
use crate::base::Instant;
use crate::ingest::json;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The version of the format that this reads.
pub const STORIES: &str = "journey-scenarios/1";
const FAMILY: &str = "journey-scenarios/";
/// Words for people, which nothing follows from.
const PROSE: [&str; 3] = ["area", "why", "note"];

/// A story of a file, or why it cannot be played.
#[derive(Clone, Debug)]
pub struct ReadStory {
    /// As far as it could be read, else its place: `scenarios[3]`.
    pub id: String,
    pub title: String,
    pub story: Result<Story, Unread>,
}

/// Why a story cannot be played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// There is a mistake in it.
    Wrong(Fault),
    /// It says something that this version does not know.
    NotYet(Fault),
}

impl From<Fault> for Unread {
    fn from(fault: Fault) -> Self {
        Self::Wrong(fault)
    }
}

/// What is given, what is done, and what must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Story {
    /// Where the clock stands.
    pub clock: Instant,
    /// How value is computed, where the story says.
    pub value: GivenValue,
    /// In place before the first step.
    pub customers: Vec<Given>,
    pub steps: Vec<Step>,
    pub checks: Vec<Check>,
}

/// A customer who is there before the first step.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// The user id by which every step names them.
    pub key: String,
    pub attributes: Map<String, Value>,
}

/// Whether a text says that it is a file of stories.
pub fn is_of_stories(text: &str) -> bool {
    let file: Option<Value> = serde_json::from_str(text).ok();
    let format = file.as_ref().and_then(|file| file.get("format")).and_then(Value::as_str);
    format.is_some_and(|format| format.starts_with(FAMILY))
}

/// Reads a file of stories.
///
/// # Errors
/// When it cannot be cut into stories.
pub fn read_stories(text: &str) -> Result<Vec<ReadStory>, Fault> {
    let file = json::parse(text).map_err(|fault| Fault::new(fault.field, fault.message))?;
    let file = At::new(&file);
    file.only(&["format", "title", "conventions", "provenance", "scenarios"])?;
    let format = file.required("format")?;
    if format.text()? != STORIES {
        return Err(format.fault(format!("is {}: this version reads {STORIES}", format.value)));
    }
    let mut ids = BTreeSet::new();
    let mut stories = Vec::new();
    for (place, story) in file.required("scenarios")?.items()?.enumerate() {
        // Paths are those inside the story, as its id is told beside them.
        let whole = At::new(story.value);
        let text = |key: &str| Some(story.value.get(key)?.as_str()?.to_owned());
        let mut read = ReadStory {
            id: text("id").unwrap_or_else(|| format!("scenarios[{place}]")),
            title: text("title").unwrap_or_default(),
            story: read(&whole),
        };
        if !ids.insert(read.id.clone()) {
            let problem = format!("another scenario of this file is called {}, too", read.id);
            read.story = Err(Fault::new("id", problem).into());
        }
        stories.push(read);
    }
    if stories.is_empty() {
        return Err(Fault::new("scenarios", "is empty: nothing would be tested"));
    }
    Ok(stories)
}

fn read(whole: &At<'_>) -> Result<Story, Unread> {
    let mut unknown = Unknown::default();
    unknown.keys(
        whole,
        &[&["id", "title", "given", "when", "then"], PROSE.as_slice()].concat(),
        "",
    )?;
    whole.required("id")?.name()?;
    // Steps first: they say best what a story is about.
    let mut steps = Vec::new();
    for step in whole.required("when")?.items()? {
        steps.extend(unknown.take(steps::read(&step, false))?);
    }
    let given = whole.required("given")?;
    unknown.keys(&given, &["clock", "tenant", "customers", "lifecycleConfig"], "given.")?;
    let clock = given.required("clock")?.instant()?;
    let mut value = GivenValue::default();
    if let Some(tenant) = given.get("tenant")? {
        unknown.keys(&tenant, &["timeZone"], "given.tenant.")?;
        value.zone = Some(stages::zone(&tenant.required("timeZone")?)?);
    }
    if let Some(config) = given.get("lifecycleConfig")? {
        unknown.keys(&config, &stages::CONFIG, "given.lifecycleConfig.")?;
        value.lifecycle = Some(stages::read_config(&config)?);
    }
    let customers = match given.get("customers")? {
        Some(listed) => customers(&listed, &mut unknown)?,
        None => Vec::new(),
    };
    let mut checks = Vec::new();
    for check in whole.required("then")?.items()? {
        checks.extend(unknown.take(checks::read(&check))?.into_iter().flatten());
    }
    if let Some(fault) = unknown.told() {
        return Err(Unread::NotYet(fault));
    }
    let story = Story {
        clock,
        value,
        customers,
        steps,
        checks,
    };
    fits(&story)?;
    Ok(story)
}

fn customers(listed: &At<'_>, unknown: &mut Unknown) -> Result<Vec<Given>, Fault> {
    let mut customers: Vec<Given> = Vec::new();
    for customer in listed.items()? {
        unknown.keys(&customer, &["key", "attributes"], "given.customers.")?;
        let key = customer.required("key")?;
        let name = key.name()?.to_owned();
        if customers.iter().any(|given| given.key == name) {
            return Err(key.fault("stands here twice"));
        }
        let attributes = customer.get("attributes")?.map(|attributes| attributes.object().cloned());
        customers.push(Given {
            key: name,
            attributes: attributes.transpose()?.unwrap_or_default(),
        });
    }
    Ok(customers)
}

/// Whatever is named was there before.
fn fits(story: &Story) -> Result<(), Fault> {
    let mut numbers = BTreeSet::new();
    for step in &story.steps {
        if !step.n.is_some_and(|n| numbers.insert(n)) {
            return Err(Fault::new(format!("{}.n", step.path), "must be a number of its own"));
        }
    }
    let known = |key: &str, path: &str| match story.customers.iter().any(|given| given.key == key) {
        true => Ok(()),
        false => Err(Fault::new(path, format!("no customer is given by the key {key:?}"))),
    };
    for step in &story.steps {
        step.customers(&mut |key, path| known(key, path))?;
    }
    if story.checks.is_empty() {
        return Err(Fault::new("then", "is empty: nothing would be tested"));
    }
    for check in &story.checks {
        if let Some(after) = check.after
            && !numbers.contains(&after)
        {
            return Err(Fault::new(&check.path, format!("there is no step {after}")));
        }
        if let Some(key) = check.customer() {
            known(key, &check.path)?;
        }
    }
    Ok(())
}

/// Words that this version does not know, in the order in which they were found.
#[derive(Debug, Default)]
struct Unknown(Vec<(String, String)>);

impl Unknown {
    /// Passes on what was read; nothing where a word was unknown.
    fn take<T>(&mut self, read: Result<T, Unread>) -> Result<Option<T>, Fault> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(Unread::Wrong(fault)) => Err(fault),
            Err(Unread::NotYet(fault)) => {
                self.0.push((fault.path, fault.problem));
                Ok(None)
            }
        }
    }

    /// Notes the keys of an object that are not among these.
    fn keys(&mut self, at: &At<'_>, known: &[&str], prefix: &str) -> Result<(), Fault> {
        for (key, value) in at.members()?.filter(|(key, _)| !known.contains(key)) {
            self.0.push((value.path, format!("{prefix}{key}")));
        }
        Ok(())
    }

    /// The first of them with its place, the others by name.
    fn told(self) -> Option<Fault> {
        let mut words = self.0.into_iter();
        let (path, first) = words.next()?;
        let mut others: Vec<String> = Vec::new();
        for (_, word) in words {
            if word != first && !others.contains(&word) {
                others.push(word);
            }
        }
        let nor = if others.is_empty() {
            String::new()
        } else {
            format!(", nor {}", others.join(", "))
        };
        Some(Fault::new(path, format!("this version does not know {first}{nor}")))
    }
}

/// The word at a place is none that this version knows.
pub(super) fn not_yet(at: &At<'_>, word: impl Into<String>) -> Unread {
    Unread::NotYet(at.fault(word))
}

/// An object with no other keys than these, as far as this version knows.
pub(super) fn only(at: &At<'_>, word: &str, known: &[&str]) -> Result<(), Unread> {
    match at.members()?.find(|(key, _)| !known.contains(key)) {
        None => Ok(()),
        Some((key, value)) => Err(not_yet(&value, format!("{word}.{key}"))),
    }
}
