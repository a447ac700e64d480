//! The file: scenarios with their rules, their steps in order of arrival, and what must have become of it.
//!
//! Every key is known or refused: an expectation with a slip in its name would otherwise be an expectation never looked at.

use super::consents::{self, Answer, Asked};
use super::fields::{At, Fault};
use crate::base::Instant;
use crate::customer::Survivorship;
use crate::identity::Rules;
use crate::identity::rules::{RulesError, kind_of};
use crate::ingest::json;
use crate::ingest::message::Assertion;
use crate::ingest::source::{channel_named, check_key};
use entity::{Channel, IdentifierKind};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The version of the format that this reads.
const FORMAT: u64 = 1;
/// Words for people, which nothing follows from.
const PROSE: [&str; 3] = ["description", "note", "reason"];

/// A scenario of a file, or what is wrong with it.
#[derive(Clone, Debug)]
pub struct Read {
    /// As far as it could be read, else its place: `scenarios[3]`.
    pub id: String,
    pub title: String,
    pub scenario: Result<Scenario, Fault>,
}

/// A history and what it must end in.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The whole rule set under which it plays.
    pub rules: Value,
    /// Sources by key, one for each channel that brings records.
    pub sources: BTreeMap<String, Channel>,
    pub steps: Vec<Step>,
    pub expected: Expected,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// None: soon after the step before.
    pub at: Option<Instant>,
    pub deed: Deed,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Deed {
    Record {
        id: String,
        /// That of its first delivery: a repetition is one whatever channel it comes by.
        source: String,
        identifiers: Vec<Assertion>,
        attributes: Map<String, Value>,
        consents: Vec<Answer>,
    },
    /// Recorded for the customer whom a record has then: the latest word of each of their records.
    Consent {
        customer_of: String,
        said: Answer,
    },
    CannotLink {
        a: String,
        b: String,
    },
    MustLink {
        a: String,
        b: String,
    },
    Block {
        kind: IdentifierKind,
        namespace: String,
        value: String,
    },
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expected {
    /// Every record, by customer.
    pub partition: Vec<BTreeSet<String>>,
    /// By record, attributes of its customer; null: it has none.
    pub golden: BTreeMap<String, Map<String, Value>>,
    pub redirects: Vec<Redirect>,
    pub lookup: Vec<Lookup>,
    pub consents: Vec<Asked>,
}

/// The id first handed out for one record must find the customer of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    pub old_id_of: String,
    pub resolves_to_customer_of: String,
}

/// Who is found by a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// As the file names it.
    pub type_name: String,
    pub kind: IdentifierKind,
    pub namespace: String,
    pub value: String,
    /// None: nobody.
    pub customer_of: Option<String>,
}

/// The document, cut into scenarios without looking inside them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cut<'t> {
    format: Option<u64>,
    #[expect(dead_code, reason = "for people")]
    title: Option<String>,
    #[expect(dead_code, reason = "for people")]
    description: Option<String>,
    #[expect(dead_code, reason = "for people")]
    note: Option<String>,
    #[expect(dead_code, reason = "for people")]
    reason: Option<String>,
    #[serde(borrow)]
    default_config: Option<&'t RawValue>,
    #[serde(borrow)]
    scenarios: Vec<&'t RawValue>,
}

/// Reads a file. `defaults`: the rules under which its scenarios play where it has no `default_config`.
///
/// # Errors
/// When it cannot be cut into scenarios, or its `default_config` is no rule set.
pub fn read(text: &str, defaults: &Value) -> Result<Vec<Read>, Fault> {
    let cut: Cut<'_> = serde_json::from_str(text).map_err(|error| Fault::new("", error.to_string()))?;
    if let Some(format) = cut.format.filter(|format| *format != FORMAT) {
        return Err(Fault::new("format", format!("is {format}: this version reads {FORMAT}")));
    }
    if cut.scenarios.is_empty() {
        return Err(Fault::new("scenarios", "is empty: nothing would be tested"));
    }
    let defaults = match cut.default_config {
        None => defaults.clone(),
        Some(config) => strict(config).map_err(|fault| within("default_config", fault))?,
    };
    check_rules(&defaults).map_err(|fault| within("default_config", fault))?;
    let mut ids = BTreeSet::new();
    let mut scenarios = Vec::with_capacity(cut.scenarios.len());
    for (place, raw) in cut.scenarios.into_iter().enumerate() {
        let mut read = scenario(place, raw, &defaults);
        if !ids.insert(read.id.clone()) {
            read.scenario = Err(Fault::new(
                "id",
                format!("another scenario of this file is called {}, too", read.id),
            ));
        }
        scenarios.push(read);
    }
    Ok(scenarios)
}

fn strict(raw: &RawValue) -> Result<Value, Fault> {
    json::parse(raw.get()).map_err(|fault| Fault::new(fault.field, fault.message))
}

fn within(part: &str, fault: Fault) -> Fault {
    let path = if fault.path.is_empty() {
        part.to_owned()
    } else {
        format!("{part}.{}", fault.path)
    };
    Fault { path, ..fault }
}

fn check_rules(rules: &Value) -> Result<(), Fault> {
    let checked = Rules::parse(rules).and_then(|rules| Survivorship::parse(&rules.golden));
    // "rules" is what the parser calls the whole.
    let fault = |error: RulesError| Fault::new(if error.path == "rules" { "" } else { &error.path }, error.problem);
    checked.map(drop).map_err(fault)
}

fn scenario(place: usize, raw: &RawValue, defaults: &Value) -> Read {
    let value = strict(raw);
    let text = |key: &str| {
        let text = value.as_ref().ok()?.get(key)?.as_str()?;
        Some(text.to_owned())
    };
    Read {
        id: text("id").unwrap_or_else(|| format!("scenarios[{place}]")),
        title: text("title").unwrap_or_default(),
        scenario: value.clone().and_then(|value| Reading::new(&value, defaults)?.finish()),
    }
}

/// A scenario on its way out of the file.
struct Reading<'v> {
    whole: At<'v>,
    rules: Value,
    sources: BTreeMap<String, Channel>,
    /// The source of each record that a step has brought so far.
    records: BTreeMap<String, String>,
}

impl<'v> Reading<'v> {
    fn new(value: &'v Value, defaults: &Value) -> Result<Self, Fault> {
        let whole = At::new(value);
        let keys = ["id", "title", "config", "steps", "expected"];
        whole.only(&[keys.as_slice(), &PROSE].concat())?;
        whole.required("id")?.name()?;
        if let Some(title) = whole.get("title")? {
            title.text()?;
        }
        let config = whole.get("config")?;
        let rules = match &config {
            None => defaults.clone(),
            Some(config) => Rules::overlay(defaults, &config.object().map(|_| config.value.clone())?),
        };
        check_rules(&rules).map_err(|fault| within("config", fault))?;
        Ok(Self {
            whole,
            rules,
            sources: BTreeMap::new(),
            records: BTreeMap::new(),
        })
    }

    fn finish(mut self) -> Result<Scenario, Fault> {
        let mut steps = Vec::new();
        for step in self.whole.required("steps")?.items()? {
            steps.push(self.step(&step)?);
        }
        let expected = self.expected(&self.whole.required("expected")?)?;
        Ok(Scenario {
            rules: self.rules,
            sources: self.sources,
            steps,
            expected,
        })
    }

    fn step(&mut self, step: &At<'v>) -> Result<Step, Fault> {
        let op = step.required("op")?;
        let known = |keys: &[&str]| step.only(&[&["op", "ts"], keys, &PROSE].concat());
        let deed = match op.text()? {
            "record" => {
                known(&["record_id", "channel", "identifiers", "attributes", "consents"])?;
                step.required("ts")?;
                self.record(step)?
            }
            "cannot_link" => {
                known(&["a", "b"])?;
                let (a, b) = (self.known_record(step, "a")?, self.known_record(step, "b")?);
                Deed::CannotLink { a, b }
            }
            "must_link" => {
                known(&["a", "b"])?;
                let (a, b) = (self.known_record(step, "a")?, self.known_record(step, "b")?);
                Deed::MustLink { a, b }
            }
            "block_value" => {
                known(&["type", "value"])?;
                let (kind, namespace) = kind_of(step.required("type")?.name()?);
                Deed::Block {
                    kind,
                    namespace: namespace.to_owned(),
                    value: step.required("value")?.name()?.to_owned(),
                }
            }
            "consent_record" => {
                known(&["customer_of", "purpose", "channel", "state"])?;
                Deed::Consent {
                    customer_of: self.known_record(step, "customer_of")?,
                    said: consents::answer(step)?,
                }
            }
            other => {
                let problem =
                    format!("there is no step {other:?}: use record, consent_record, cannot_link, must_link or block_value");
                return Err(op.fault(problem));
            }
        };
        let at = step.get("ts")?.map(|ts| ts.instant()).transpose()?;
        Ok(Step { at, deed })
    }

    fn record(&mut self, step: &At<'v>) -> Result<Deed, Fault> {
        let id = step.required("record_id")?.name()?.to_owned();
        let channel = step.required("channel")?;
        let key = channel.name()?.trim().to_lowercase();
        check_key(&key).map_err(|error| channel.fault(format!("no source can have this name: {error}")))?;
        let named = channel_named(&key).unwrap_or(Channel::Other);
        self.sources.entry(key.clone()).or_insert(named);
        let source = self.records.entry(id.clone()).or_insert(key).clone();
        let mut identifiers = Vec::new();
        if let Some(shown) = step.get("identifiers")? {
            for (type_name, values) in shown.members()? {
                assertions(type_name, &values, &mut identifiers)?;
            }
        }
        let attributes = match step.get("attributes")? {
            Some(attributes) => attributes.object()?.clone(),
            None => Map::new(),
        };
        let consents = match step.get("consents")? {
            Some(consents) => consents
                .items()?
                .map(|said| consents::given(&said))
                .collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        Ok(Deed::Record {
            id,
            source,
            identifiers,
            attributes,
            consents,
        })
    }

    fn known_record(&self, at: &At<'v>, key: &str) -> Result<String, Fault> {
        self.is_known(&at.required(key)?)
    }

    fn is_known(&self, at: &At<'v>) -> Result<String, Fault> {
        let id = at.name()?;
        if !self.records.contains_key(id) {
            return Err(at.fault(no_such_record(id)));
        }
        Ok(id.to_owned())
    }

    fn expected(&self, at: &At<'v>) -> Result<Expected, Fault> {
        at.only(&[&["partition", "golden", "redirects", "lookup", "consents"], PROSE.as_slice()].concat())?;
        let mut expected = Expected::default();
        let mut placed = BTreeSet::new();
        for customer in at.required("partition")?.items()? {
            let mut records = BTreeSet::new();
            for record in customer.items()? {
                let id = self.is_known(&record)?;
                if !placed.insert(id.clone()) {
                    return Err(record.fault(format!("{id:?} stands here twice: a record has one customer")));
                }
                records.insert(id);
            }
            if records.is_empty() {
                return Err(customer.fault("is empty: a customer has a record"));
            }
            expected.partition.push(records);
        }
        if let Some(golden) = at.get("golden")? {
            for (record, attributes) in golden.members()? {
                if !self.records.contains_key(record) {
                    return Err(attributes.fault(no_such_record(record)));
                }
                expected.golden.insert(record.to_owned(), attributes.object()?.clone());
            }
        }
        if let Some(redirects) = at.get("redirects")? {
            for redirect in redirects.items()? {
                redirect.only(&["old_id_of", "resolves_to_customer_of"])?;
                expected.redirects.push(Redirect {
                    old_id_of: self.known_record(&redirect, "old_id_of")?,
                    resolves_to_customer_of: self.known_record(&redirect, "resolves_to_customer_of")?,
                });
            }
        }
        if let Some(lookups) = at.get("lookup")? {
            for lookup in lookups.items()? {
                expected.lookup.push(self.lookup(&lookup)?);
            }
        }
        if let Some(asked) = at.get("consents")? {
            for asked in asked.items()? {
                let customer_of = self.known_record(&asked, "customer_of")?;
                expected.consents.push(consents::expected(&asked, customer_of)?);
            }
        }
        Ok(expected)
    }

    fn lookup(&self, at: &At<'v>) -> Result<Lookup, Fault> {
        at.only(&["type", "value", "customer_of"])?;
        let type_name = at.required("type")?.name()?;
        let (kind, namespace) = kind_of(type_name);
        if !at.object()?.contains_key("customer_of") {
            return Err(at.fault("customer_of is missing: name a record, or null for nobody"));
        }
        let customer_of = at.get("customer_of")?.map(|record| self.is_known(&record)).transpose()?;
        Ok(Lookup {
            type_name: type_name.to_owned(),
            kind,
            namespace: namespace.to_owned(),
            value: at.required("value")?.text()?.to_owned(),
            customer_of,
        })
    }
}

fn no_such_record(id: &str) -> String {
    format!("no step before brings a record {id:?}")
}

/// The values of one type: a text or a list of texts. Null and blank ones are as good as left out, as senders are told to do.
fn assertions(type_name: &str, values: &At<'_>, identifiers: &mut Vec<Assertion>) -> Result<(), Fault> {
    let (kind, namespace) = kind_of(type_name);
    let mut add = |value: &At<'_>| {
        if value.value.is_null() {
            return Ok(());
        }
        let text = value.text()?;
        if !text.trim().is_empty() {
            identifiers.push(Assertion {
                kind,
                namespace: namespace.to_owned(),
                value: text.to_owned(),
            });
        }
        Ok(())
    };
    if !values.value.is_array() {
        return add(values);
    }
    for value in values.items()? {
        add(&value)?;
    }
    Ok(())
}
