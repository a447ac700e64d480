//! Survivorship: of what several records say about one attribute, which value is the customer's. Pure.
//!
//! Fillers (`identity::says_nothing`) never win. An explicit null says "no value": under `most_recent` the customer has none when the
//! newest statement of all is a null; under the other strategies it only takes that record's own value out. More recent means the later
//! event time, then the later arrival, then the higher record id, so the order in which records are listed never matters.

use super::Golden;
use crate::base::{EventId, Instant, RecordId};
use crate::identity::rules::RulesError;
use crate::identity::{RecordTraits, Stated, folded, says_nothing};
use crate::ingest::source::channel_named;
use crate::ingest::traits::canonical_name;
use entity::Channel;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

const STRATEGIES: &str = "use most_recent, source_priority, most_frequent, longest or trust";

/// The rules by attribute; an attribute without one goes by the most recent value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survivorship(BTreeMap<String, Strategy>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Strategy {
    MostRecent,
    /// The first of these that has a value, then the most recent; behind the last of them whoever is not named.
    SourcePriority(Vec<Preferred>),
    /// Compared as folded text; ties and the spelling by the most recent.
    MostFrequent,
    /// In characters of the trimmed text; ties by the most recent.
    Longest,
    /// Of the most trusted source, then the most recent.
    Trust,
}

/// A name in `sources`: the key of one source, or a channel and so all its sources.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Preferred {
    key: String,
    channel: Option<Channel>,
}

/// What one record of the customer says, and who says it.
#[derive(Clone, Copy, Debug)]
pub struct Spoken<'a> {
    pub record: RecordId,
    pub source_key: &'a str,
    pub channel: Channel,
    pub trust: i64,
    pub traits: &'a RecordTraits,
}

/// The value that survived, where it comes from and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Survivor<'a> {
    pub value: &'a Value,
    pub record: RecordId,
    /// When it was so, by the message that stated it.
    pub at: Instant,
    /// The message that stated it.
    pub event: EventId,
    /// The strategy by its name in rule sets.
    pub rule: &'static str,
}

impl Survivorship {
    /// Out of the key `golden` of a rule set: `{"city": {"strategy": "most_frequent"}}`. A null, as a whole or for an attribute, is no
    /// rule, so that an overlay can take one back. An error names its path from `golden` on.
    pub fn parse(config: &Value) -> Result<Self, RulesError> {
        let stated = match config {
            Value::Null => return Ok(Self::default()),
            Value::Object(stated) => stated,
            _ => return Err(fault("golden", "must be an object of rules by attribute")),
        };
        let mut rules = BTreeMap::new();
        for (attribute, rule) in stated.iter().filter(|(_, rule)| !rule.is_null()) {
            let path = format!("golden.{attribute}");
            let strategy = Strategy::parse(&path, rule)?;
            let name = canonical_name(attribute);
            if rules.insert(name.to_owned(), strategy).is_some() {
                return Err(fault(&path, format!("{name} has a rule already, in another spelling")));
            }
        }
        Ok(Self(rules))
    }

    /// All golden values of a customer, given all its records.
    pub fn golden(&self, spoken: &[Spoken<'_>]) -> Golden {
        let names: BTreeSet<&str> = spoken
            .iter()
            .flat_map(|spoken| spoken.traits.iter().map(|(name, _)| name))
            .collect();
        Golden(self.golden_of(names, spoken))
    }

    /// The golden values of these attributes alone, given all records of the customer. A name that is missing in the answer has no value.
    pub fn golden_of<'n>(&self, names: impl IntoIterator<Item = &'n str>, spoken: &[Spoken<'_>]) -> Map<String, Value> {
        let survivors = names.into_iter().filter_map(|name| {
            let survivor = self.survivor_of(name, spoken)?;
            Some((name.to_owned(), survivor.value.clone()))
        });
        survivors.collect()
    }

    /// The value of one attribute with its provenance; `None` when the customer has no value.
    pub fn survivor_of<'a>(&self, name: &str, spoken: &[Spoken<'a>]) -> Option<Survivor<'a>> {
        let strategy = self.strategy_of(name);
        let said = said(name, spoken).filter(|said| strategy.counts(said)).collect();
        let survivor = strategy.choose(said).filter(|said| !said.stated.value.is_null())?;
        Some(Survivor {
            value: &survivor.stated.value,
            record: survivor.by.record,
            at: survivor.stated.at,
            event: survivor.stated.event,
            rule: strategy.name(),
        })
    }

    fn strategy_of(&self, name: &str) -> &Strategy {
        self.0.get(name).unwrap_or(&Strategy::MostRecent)
    }
}

impl Strategy {
    fn parse(path: &str, rule: &Value) -> Result<Self, RulesError> {
        let Value::Object(rule) = rule else {
            return Err(fault(path, r#"must be an object such as {"strategy": "most_recent"}"#));
        };
        if let Some(key) = rule.keys().find(|key| !["strategy", "sources"].contains(&key.as_str())) {
            return Err(fault(
                format!("{path}.{key}"),
                "is no key of a rule: use strategy and sources",
            ));
        }
        let sources = rule.get("sources").filter(|sources| !sources.is_null());
        let sources_path = format!("{path}.sources");
        let strategy = match rule.get("strategy") {
            Some(Value::String(name)) => match name.as_str() {
                "most_recent" => Self::MostRecent,
                "most_frequent" => Self::MostFrequent,
                "longest" => Self::Longest,
                "trust" => Self::Trust,
                "source_priority" => return Ok(Self::SourcePriority(preferred(&sources_path, sources)?)),
                unknown => {
                    return Err(fault(
                        format!("{path}.strategy"),
                        format!("{unknown} is no strategy: {STRATEGIES}"),
                    ));
                }
            },
            Some(_) => return Err(fault(format!("{path}.strategy"), format!("must be a text: {STRATEGIES}"))),
            None => return Err(fault(format!("{path}.strategy"), format!("is missing: {STRATEGIES}"))),
        };
        if sources.is_some() {
            return Err(fault(
                sources_path,
                format!("is for source_priority only, not for {}", strategy.name()),
            ));
        }
        Ok(strategy)
    }

    fn name(&self) -> &'static str {
        match self {
            Self::MostRecent => "most_recent",
            Self::SourcePriority(_) => "source_priority",
            Self::MostFrequent => "most_frequent",
            Self::Longest => "longest",
            Self::Trust => "trust",
        }
    }

    /// Whether a statement may win. A null may where it clears for all.
    fn counts(&self, said: &Said<'_>) -> bool {
        !says_nothing(&said.stated.value) || (said.stated.value.is_null() && *self == Self::MostRecent)
    }

    /// The statement of the greatest weight, and of those the most recent.
    fn choose<'a>(&self, said: Vec<Said<'a>>) -> Option<Said<'a>> {
        let weights = self.weights(&said);
        let weighed = weights.into_iter().zip(said);
        weighed
            .max_by_key(|(weight, said)| (*weight, said.recency()))
            .map(|(_, said)| said)
    }

    /// What each statement weighs among these; where it is equal the most recent wins.
    fn weights(&self, said: &[Said<'_>]) -> Vec<i64> {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        match self {
            Self::MostRecent => vec![0; said.len()],
            Self::SourcePriority(sources) => said.iter().map(|said| -count(place(sources, &said.by))).collect(),
            Self::MostFrequent => {
                let texts: Vec<String> = said.iter().map(|said| folded(&said.text())).collect();
                let mut counts: HashMap<&str, usize> = HashMap::new();
                for text in &texts {
                    *counts.entry(text).or_default() += 1;
                }
                texts.iter().map(|text| count(counts[text.as_str()])).collect()
            }
            Self::Longest => said.iter().map(|said| count(said.text().trim().chars().count())).collect(),
            Self::Trust => said.iter().map(|said| said.by.trust).collect(),
        }
    }
}

/// The first of these names that is this speaker's, from 0; behind the last where none is.
fn place(sources: &[Preferred], by: &Spoken<'_>) -> usize {
    sources.iter().position(|source| source.is(by)).unwrap_or(sources.len())
}

impl Preferred {
    fn is(&self, by: &Spoken<'_>) -> bool {
        self.key == by.source_key || self.channel == Some(by.channel)
    }
}

/// One record's statement about the attribute in question.
#[derive(Clone, Copy)]
struct Said<'a> {
    by: Spoken<'a>,
    stated: &'a Stated,
}

impl<'a> Said<'a> {
    fn recency(&self) -> (Instant, i64, RecordId) {
        (self.stated.at, self.stated.arrival, self.by.record)
    }

    /// A text as it is, anything else as JSON. The keys of an object are in order, since `serde_json` keeps its maps sorted.
    fn text(&self) -> Cow<'a, str> {
        match &self.stated.value {
            Value::String(text) => Cow::Borrowed(text),
            other => Cow::Owned(other.to_string()),
        }
    }
}

/// What is said of an attribute, whatever it is worth.
fn said<'a>(name: &str, spoken: &[Spoken<'a>]) -> impl Iterator<Item = Said<'a>> {
    spoken.iter().filter_map(move |by| {
        let stated = by.traits.stated(name)?;
        Some(Said { by: *by, stated })
    })
}

fn preferred(path: &str, sources: Option<&Value>) -> Result<Vec<Preferred>, RulesError> {
    let hint = "name at least one source or channel, the most preferred first";
    let sources = match sources {
        None => return Err(fault(path, format!("is missing: {hint}"))),
        Some(Value::Array(sources)) if sources.is_empty() => return Err(fault(path, format!("is empty: {hint}"))),
        Some(Value::Array(sources)) => sources,
        Some(_) => return Err(fault(path, format!("must be a list: {hint}"))),
    };
    let mut preferred = Vec::with_capacity(sources.len());
    for (place, name) in sources.iter().enumerate() {
        // Keys of sources are lower case, too.
        let key = name.as_str().map(|name| name.trim().to_lowercase()).unwrap_or_default();
        if key.is_empty() {
            return Err(fault(
                format!("{path}.{place}"),
                "must be the key of a source or the name of a channel",
            ));
        }
        let channel = channel_named(&key);
        preferred.push(Preferred { key, channel });
    }
    Ok(preferred)
}

fn fault(path: impl Into<String>, problem: impl Into<String>) -> RulesError {
    RulesError {
        path: path.into(),
        problem: problem.into(),
    }
}

#[path = "account.rs"]
mod account;
pub use account::{Account, Alternative};

#[cfg(test)]
#[path = "survive_tests.rs"]
mod tests;
