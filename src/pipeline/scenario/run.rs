//! Plays a scenario through the verbs that the doors of a server call.

use super::compare::Answers;
use super::consents::Answer;
use super::fields::Fault;
use super::format::{Deed, Lookup, Scenario, Step};
use crate::access::Actor;
use crate::base::{CustomerId, Instant, RecordId};
use crate::customer::{consent, store as customer_store};
use crate::identity::store::neighbours::customers_of;
use crate::identity::{Shown, store as identity_store};
use crate::ingest::Item;
use crate::ingest::item::ConsentItem;
use crate::ingest::source::{self, NewSource};
use crate::pipeline::Services;
use crate::pipeline::consents::{self, ConsentError, NewConsent};
use crate::pipeline::mend::{self, Decision, Doer};
use crate::pipeline::records::{self, RecordsDoor};
use entity::ConsentAnswer;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Display;
use std::time::Duration;

/// Between two steps where the file does not say when the later one happened: enough to tell them apart.
const PAUSE: Duration = Duration::from_secs(1);

/// When a scenario begins: with its first step.
pub fn start(scenario: &Scenario) -> Instant {
    let first = scenario.steps.iter().find_map(|step| step.at);
    first.unwrap_or_default()
}

/// When a step is taken: as it says, unless that is over already; then soon.
pub fn moment(now: Instant, step: &Step) -> Instant {
    step.at.filter(|at| *at > now).unwrap_or_else(|| now.plus(PAUSE))
}

/// Plays a scenario on services that stand on an empty store, under its rules and with a clock moved by hand.
///
/// # Errors
/// Names the step that was refused, and why.
pub async fn run(services: &Services, door: &RecordsDoor, scenario: &Scenario) -> Result<Answers, Fault> {
    let play = Play {
        services,
        door,
        scenario,
        doer: Doer {
            actor: Actor::new("test"),
            reason: "a step of a scenario".to_owned(),
        },
    };
    play.make_sources().await.map_err(at("steps"))?;
    let mut first_ids: BTreeMap<&str, CustomerId> = BTreeMap::new();
    let mut records: BTreeMap<&str, RecordId> = BTreeMap::new();
    for (place, step) in scenario.steps.iter().enumerate() {
        let now = services.now();
        let ahead = moment(now, step).micros() - now.micros();
        services
            .clock
            .advance(Duration::from_micros(u64::try_from(ahead).unwrap_or(0)));
        let path = format!("steps[{place}]");
        if let Deed::Record { id, .. } = &step.deed {
            let (record, customer) = play.bring(step, &path).await?;
            records.insert(id, record);
            first_ids.entry(id).or_insert(customer);
        } else if let Deed::Consent { customer_of, said } = &step.deed {
            let record = records.get(customer_of.as_str());
            let record = record.ok_or_else(|| at(&path)("names an unknown record"))?;
            play.record_consent(step, *record, said).await.map_err(at(&path))?;
        } else {
            let decision = play
                .decision(&step.deed, &records)
                .ok_or_else(|| at(&path)("names an unknown record"))?;
            mend::decide(services, &play.doer, &decision).await.map_err(at(&path))?;
        }
    }
    play.answers(&records, &first_ids).await.map_err(at("expected"))
}

/// Says where something failed.
fn at<E: Display>(path: &str) -> impl FnOnce(E) -> Fault {
    move |error| Fault::new(path, error.to_string())
}

struct Play<'a> {
    services: &'a Services,
    door: &'a RecordsDoor,
    scenario: &'a Scenario,
    doer: Doer,
}

impl Play<'_> {
    async fn make_sources(&self) -> Result<(), source::SourceError> {
        for (key, channel) in &self.scenario.sources {
            let new = NewSource {
                key: key.clone(),
                name: key.clone(),
                channel: *channel,
                trust: 0,
                write_key: None,
                max_event_bytes: None,
                max_batch_bytes: None,
                review_aliases: false,
            };
            source::create(&self.services.store, self.services.now(), &self.doer.actor, new).await?;
        }
        Ok(())
    }

    /// Brings a record as a server would; answers it and its customer just after.
    async fn bring(&self, step: &Step, path: &str) -> Result<(RecordId, CustomerId), Fault> {
        let Deed::Record {
            id,
            source,
            identifiers,
            attributes,
            consents,
        } = &step.deed
        else {
            return Err(Fault::new(path, "brings no record"));
        };
        let item = Item {
            key: id.clone(),
            message_id: Some(id.clone()),
            at: step.at,
            identifiers: identifiers.clone(),
            traits: Some(Value::Object(attributes.clone())),
            events: Vec::new(),
            purchases: Vec::new(),
            consents: consents.iter().map(as_item).collect(),
        };
        let source = self.services.store.hash_key().source(source);
        let ingested = records::ingest(self.services, self.door, source, vec![item])
            .await
            .map_err(at(path))?;
        let (record, receipt) = ingested
            .receipts
            .into_iter()
            .next()
            .ok_or_else(|| at(path)("has no receipt"))?;
        if let Err(refusal) = receipt {
            let field = refusal.field.map(|field| format!("{field} ")).unwrap_or_default();
            return Err(Fault::new(
                path,
                format!("the record was refused: {field}{}", refusal.message),
            ));
        }
        let customers = customers_of(self.services.store.reader(), &[record].into())
            .await
            .map_err(at(path))?;
        let customer = customers.get(&record).ok_or_else(|| at(path)("the record has no customer"))?;
        Ok((record, *customer))
    }

    /// As `consentRecord` would, for the customer of today; any id they ever had finds them.
    async fn record_consent(&self, step: &Step, record: RecordId, said: &Answer) -> Result<(), ConsentError> {
        let new = NewConsent {
            customer: CustomerId(record.0),
            purpose: said.purpose.clone(),
            channel: Some(said.channel.clone()),
            answer: said.answer,
            evidence: None,
            at: step.at,
        };
        consents::record(self.services, &self.doer.actor, &new).await.map(drop)
    }

    /// None: for a step that brings a record or an answer, or names a record that nobody brought.
    fn decision(&self, deed: &Deed, records: &BTreeMap<&str, RecordId>) -> Option<Decision> {
        let record = |id: &String| records.get(id.as_str()).copied();
        match deed {
            Deed::Record { .. } | Deed::Consent { .. } => None,
            Deed::CannotLink { a, b } => Some(Decision::Separate {
                a: record(a)?,
                b: record(b)?,
            }),
            Deed::MustLink { a, b } => Some(Decision::Link {
                a: record(a)?,
                b: record(b)?,
            }),
            Deed::Block { kind, namespace, value } => Some(Decision::Block {
                kind: *kind,
                namespace: namespace.clone(),
                value: value.clone(),
            }),
        }
    }

    async fn answers(
        &self,
        records: &BTreeMap<&str, RecordId>,
        first_ids: &BTreeMap<&str, CustomerId>,
    ) -> Result<Answers, crate::store::StoreError> {
        let expected = &self.scenario.expected;
        let db = self.services.store.reader();
        let ids: BTreeSet<RecordId> = records.values().copied().collect();
        let customer_of = customers_of(db, &ids).await?;
        let of_record = |id: &str| records.get(id).and_then(|record| customer_of.get(record));
        let mut answers = Answers::default();
        for id in records.keys() {
            if let Some(customer) = of_record(id) {
                answers.customers.insert((*id).to_owned(), customer.to_string());
            }
        }

        let wanted: Vec<CustomerId> = expected.golden.keys().filter_map(|id| of_record(id)).copied().collect();
        let customers = customer_store::customers(db, &wanted).await?;
        for id in expected.golden.keys() {
            if let Some(customer) = of_record(id).and_then(|customer| customers.get(customer)) {
                answers.golden.insert(id.clone(), customer.golden.0.clone());
            }
        }

        let old: Vec<CustomerId> = first_ids.values().copied().collect();
        let resolved = identity_store::resolve(db, &old).await?;
        for (id, first) in first_ids {
            let today = resolved.get(first).map(CustomerId::to_string);
            answers.redirects.insert((*id).to_owned(), today);
        }

        let standing = self.services.rules.standing();
        let keys = self.services.store.hash_key();
        let judge = |lookup: &Lookup| Shown::judge(keys, &standing.rules, lookup.kind, &lookup.namespace, &lookup.value);
        let shown: Vec<Shown> = expected.lookup.iter().map(judge).collect();
        let usable: Vec<_> = shown.iter().filter(|shown| shown.is_usable).map(|shown| shown.id).collect();
        let owners = identity_store::owners(db, &usable).await?;
        answers.lookup = shown
            .iter()
            .map(|shown| owners.get(&shown.id).map(CustomerId::to_string))
            .collect();
        answers.consents = self.consents(of_record).await?;
        Ok(answers)
    }

    /// What the customers asked about answer, each by all of their records.
    async fn consents<'r>(
        &self,
        of_record: impl Fn(&str) -> Option<&'r CustomerId>,
    ) -> Result<Vec<Option<ConsentAnswer>>, crate::store::StoreError> {
        let asked = &self.scenario.expected.consents;
        let wanted: BTreeSet<CustomerId> = asked
            .iter()
            .filter_map(|asked| of_record(&asked.customer_of))
            .copied()
            .collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let db = self.services.store.reader();
        let records = identity_store::records_of(db, &wanted.into_iter().collect::<Vec<_>>()).await?;
        let customer_of: HashMap<RecordId, CustomerId> = records.iter().map(|record| (record.id, record.customer)).collect();
        let ids: Vec<RecordId> = customer_of.keys().copied().collect();
        let mut said: HashMap<CustomerId, Vec<consent::Consent>> = HashMap::new();
        for consent in customer_store::consents_of(db, &ids).await? {
            said.entry(customer_of[&consent.key.record]).or_default().push(consent);
        }
        let answers = asked.iter().map(|asked| {
            let said = said.get(of_record(&asked.customer_of)?)?;
            let question = consent::Question::new(&asked.purpose, &asked.channel);
            Some(consent::Answers::of(said).to(&question)?.answer)
        });
        Ok(answers.collect())
    }
}

fn as_item(said: &Answer) -> ConsentItem {
    ConsentItem {
        purpose: said.purpose.clone(),
        channel: Some(said.channel.clone()),
        answer: said.answer,
        evidence: None,
        at: None,
    }
}
