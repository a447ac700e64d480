//! Erasure: a person goes, and the history of everybody else stays as it was.
//!
//! Promises: when the mutation answers, nothing reads the person any more, by whatever id, and their later messages are dropped; the job
//! behind it then takes what is left out of every table (`tables`), and may be interrupted and run again. What stays are skeletons: when
//! something arrived, and keyed hashes, so that `rebuild` folds everybody else up to that step as before. A second call answers the same
//! job.

mod mention;
pub mod tables;
mod work;

pub use work::{JOB_KIND, Step, carry_through};

use crate::access::{note_deed, record_deed};
use crate::base::{CustomerId, DecisionId, IdentifierId, Instant, JobId, RecordId};
use crate::customer::store::delete_customers;
use crate::customer::store::erased::mark_products;
use crate::feed::{Change, Log, TransactionId};
use crate::identity::decision::NewDecision;
use crate::identity::store::erased::{self, ErasedLink, ErasedRecord, ErasedValue, Erasure, packed};
use crate::identity::store::{decisions, evidence, history, neighbours};
use crate::identity::{Rules, Scene, Seeds, Shown};
use crate::job::{self, NewJob};
use crate::pipeline::Services;
use crate::pipeline::intake::is_telling;
use crate::pipeline::mend::{Doer, MendError};
use crate::pipeline::unify::tell_decisions;
use crate::store::StoreError;
use crate::{due, value};
use entity::{ChangeOp, IdentifierKind, IdentifierState, IdentityDecisionKind, Topic, identifier, link, record};
use mention::Mentions;
use sea_orm::DatabaseTransaction;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// An erasure that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erased {
    /// It takes what is left out of every table.
    pub job: JobId,
    /// None: the person was erased before.
    pub transaction: Option<TransactionId>,
}

/// Erases a customer, by any id they ever had.
pub async fn erase(services: &Services, doer: &Doer, customer: CustomerId) -> Result<Erased, MendError> {
    doer.check()?;
    let now = services.now();
    let erased = services
        .store
        .transact::<_, MendError, _>(|tx, _| Box::pin(write(tx, services, now, doer, customer)))
        .await?;
    services.jobs.nudge();
    Ok(erased)
}

/// Lets a value be heard of again: its owner asked for it.
pub async fn lift(
    services: &Services,
    doer: &Doer,
    (kind, namespace, value): (IdentifierKind, String, String),
) -> Result<TransactionId, MendError> {
    doer.check()?;
    let now = services.now();
    let rules = services.rules.standing().rules;
    let shown = Shown::judge(services.store.hash_key(), &rules, kind, &namespace, &value);
    services
        .store
        .transact::<_, MendError, _>(|tx, _| {
            let id = shown.id;
            Box::pin(async move {
                if !erased::lift(tx, id).await? {
                    return Err(MendError::NotFound {
                        field: "identifier",
                        what: "suppressed value",
                    });
                }
                let object = format!("suppression:{id}");
                let detail = json!({"reason": doer.reason.trim()});
                let ids = services.store.ids();
                Ok(record_deed(tx, ids, now, &doer.actor, "suppression.lift", &object, detail).await?)
            })
        })
        .await
}

/// The rules that stood from an arrival on, by version; the configured ones first.
pub(super) async fn rules_over_time(services: &Services, tx: &DatabaseTransaction) -> Result<Vec<(i64, i64, Rules)>, StoreError> {
    let parsed = |version: i64, config: &Value| {
        Rules::parse(config).map_err(|error| StoreError::Corrupt(format!("rules version {version}: {error}")))
    };
    let mut all = vec![(i64::MIN, 0, parsed(0, services.rules.configured())?)];
    for published in decisions::published_rules(tx).await? {
        let rules = parsed(published.version, &published.config)?;
        all.push((published.arrival, published.version, rules));
    }
    Ok(all)
}

/// What is known of the person under lock.
struct Person {
    records: BTreeSet<RecordId>,
    stored: Vec<record::Model>,
    links: Vec<link::Model>,
    values: HashMap<IdentifierId, identifier::Model>,
    /// Values that others show too.
    shared: BTreeSet<IdentifierId>,
}

impl Person {
    async fn load(tx: &DatabaseTransaction, customer: CustomerId, records: BTreeSet<RecordId>) -> Result<Self, StoreError> {
        let links = erased::links_of(tx, &records).await?;
        let shown: BTreeSet<IdentifierId> = links.iter().map(|link| IdentifierId(link.identifier_id)).collect();
        let ids: Vec<IdentifierId> = shown.iter().copied().collect();
        let showing = neighbours::shown_to(tx, &shown).await?;
        let others = showing.into_iter().filter(|(_, by)| *by != customer);
        Ok(Self {
            stored: history::stored_records(tx, &records.iter().copied().collect::<Vec<_>>()).await?,
            values: evidence::values(tx, &ids).await?,
            shared: others.map(|(value, _)| value).collect(),
            records,
            links,
        })
    }

    fn skeletons(&self, services: &Services, erasure: uuid::Uuid, at: i64) -> Vec<ErasedRecord> {
        let keys = services.store.hash_key();
        let skeleton = |row: &record::Model| {
            let source = row.source_id.into();
            let beside = row.external_key.rsplit_once('#').and_then(|(first, n)| {
                let is_sibling = keys.sibling(source, first, n.parse().ok()?).0 == row.id;
                is_sibling.then(|| keys.record(source, first).0)
            });
            ErasedRecord {
                id: row.id,
                arrival: row.arrival,
                erasure_id: erasure,
                erased_at: at,
                first_id: beside,
                siblings: row.siblings,
                external_key: Some(row.external_key.clone()),
            }
        };
        self.stored.iter().map(skeleton).collect()
    }

    /// Whether each value could recognise people when it was shown: who folds the history cannot judge it any more.
    fn judged_links(&self, rules: &[(i64, i64, Rules)]) -> Vec<ErasedLink> {
        let judged = |row: &link::Model| {
            let standing = rules.iter().rev().find(|(since, ..)| *since < row.arrival).or(rules.first());
            let value = self.values.get(&IdentifierId(row.identifier_id));
            let is_usable = standing.zip(value).is_some_and(|((.., rules), value)| {
                let sent = row.raw.as_deref().unwrap_or(&value.value);
                rules.judge(value.kind, &value.namespace, sent).into_spelling() == (value.value.clone(), true)
            });
            ErasedLink {
                record_id: row.record_id,
                identifier_id: row.identifier_id,
                event_id: row.event_id,
                arrival: row.arrival,
                place: row.place,
                is_usable,
                raw: row.raw.clone(),
            }
        };
        self.links.iter().map(judged).collect()
    }

    fn gone(&self) -> impl Iterator<Item = &identifier::Model> {
        self.values
            .values()
            .filter(|value| !self.shared.contains(&IdentifierId(value.id)))
    }

    fn judged_values(&self, rules: &[(i64, i64, Rules)], erasure: uuid::Uuid) -> Vec<ErasedValue> {
        let judged = |value: &identifier::Model| {
            let usable = rules.iter().filter(|(.., rules)| {
                rules.judge(value.kind, &value.namespace, &value.value).into_spelling() == (value.value.clone(), true)
            });
            ErasedValue {
                id: value.id,
                erasure_id: erasure,
                kind: value.kind,
                namespace: value.namespace.clone(),
                value: Some(value.value.clone()),
                judged: usable.map(|(_, version, _)| *version).collect(),
            }
        };
        let mut judged: Vec<ErasedValue> = self.gone().map(judged).collect();
        judged.sort_by_key(|value| value.id);
        judged
    }

    /// Whoever asks for an erasure may name the person in their reason, which stays.
    fn without_names(&self, reason: &str) -> String {
        let spelt = self.values.values().map(|value| value.value.clone());
        let sent = self.links.iter().filter_map(|link| link.raw.clone());
        let keys = self.stored.iter().map(|row| row.external_key.clone());
        let mut texts: Vec<String> = spelt.chain(sent).chain(keys).collect();
        for row in &self.stored {
            texts_in(&row.traits, &mut texts);
        }
        match Mentions::of(texts).in_words(reason) {
            true => "(the reason named the person)".to_owned(),
            false => reason.to_owned(),
        }
    }
}

fn texts_in(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts_in(item, texts)),
        Value::Object(members) => members.values().for_each(|value| texts_in(value, texts)),
        _ => {}
    }
}

async fn write(
    tx: &DatabaseTransaction,
    services: &Services,
    now: Instant,
    doer: &Doer,
    asked: CustomerId,
) -> Result<Erased, MendError> {
    let own = RecordId(asked.0);
    let standing = services.rules.standing();
    let seeds = Seeds {
        records: [own].into(),
        again: true,
        ..Seeds::default()
    };
    let mut scene = Scene::load(tx, standing.rules.clone(), now, &seeds).await?;
    let Some(customer) = scene.customer_before(own) else {
        let before = erased::erasure_of(tx, own).await?;
        let found = before.map(|erasure| Erased {
            job: JobId(erasure.job_id),
            transaction: None,
        });
        return found.ok_or(MendError::NotFound {
            field: "id",
            what: "customer",
        });
    };
    let person = Person::load(tx, customer, scene.neighbourhood.companions(own)).await?;
    let rules = rules_over_time(services, tx).await?;
    let ids = services.store.ids();
    let arrival = services.arrivals.reserve(now, scene.latest_arrival, 1);
    scene.neighbourhood.erase(&person.records, arrival);
    let released = scene.difference().values;

    let mut log = Log::new(ids, now, doer.actor.as_str());
    let reason = person.without_names(doer.reason.trim());
    let decision = NewDecision {
        reason: Some(reason.clone()),
        evidence: json!({"count": person.records.len()}),
        concerned: vec![customer],
        ..NewDecision::by(
            DecisionId(ids.time_ordered(now)),
            arrival,
            IdentityDecisionKind::Erase,
            doer.actor.to_string(),
            standing.version,
        )
    };
    let erasure_id = ids.time_ordered(now);
    let silenced = erased::end_decisions(tx, &person.records, now.micros(), doer.actor.as_str()).await?;
    let values = person.judged_values(&rules, erasure_id);
    let counts = BTreeMap::from([
        ("customer", 1),
        ("record", person.stored.len()),
        ("link", person.links.len()),
        ("identifier", values.len()),
        ("identity_decision", usize::try_from(silenced).unwrap_or(usize::MAX)),
    ]);
    let input = json!({"erasure": erasure_id.to_string(), "counts": counts});
    let job = job::enqueue(tx, &NewJob::new(ids, now, JOB_KIND, input, doer.actor.to_string())).await?;
    let identifiers = packed(person.values.values().map(|value| value.id));
    let erasure = Erasure {
        id: erasure_id,
        arrival,
        requested_at: now.micros(),
        actor: doer.actor.to_string(),
        customer_id: customer.0,
        decision_id: decision.id.0,
        job_id: job.0,
        tx_id: log.id(),
        records: packed(person.records.iter().map(|record| record.0)),
        identifiers: (!identifiers.is_empty()).then_some(identifiers),
        finished_at: None,
    };
    // The ledger first: whatever happens afterwards, it is known what was to be erased.
    erased::insert_erasure(tx, &erasure).await?;
    let suppressed = person
        .gone()
        .filter(|value| is_telling(value.kind) && value.state != IdentifierState::Unusable);
    let suppressed: BTreeSet<IdentifierId> = suppressed.map(|value| IdentifierId(value.id)).collect();
    erased::suppress(tx, erasure_id, now.micros(), &suppressed).await?;
    neighbours::update_values(tx, &released, arrival).await?;
    erased::bury_records(tx, &person.skeletons(services, erasure_id, arrival)).await?;
    erased::bury_links(tx, &person.records, &person.judged_links(&rules)).await?;
    let is_decided = |value: &&identifier::Model| !matches!(value.state, IdentifierState::Active | IdentifierState::Unusable);
    let remembered: BTreeSet<uuid::Uuid> = person.gone().filter(is_decided).map(|value| value.id).collect();
    erased::bury_values(tx, &values, &remembered).await?;
    delete_customers(tx, &[customer]).await?;
    // What was derived, also under ids that the person had once.
    let once = || person.records.iter().map(|record| CustomerId(record.0));
    value::store::delete(tx, once()).await?;
    due::forget(tx, once()).await?;
    mark_products(tx, &person.records).await?;
    decisions::insert(tx, std::slice::from_ref(&decision)).await?;
    let object = format!("erasure:{erasure_id}");
    let detail = json!({"reason": reason, "records": person.records.len()});
    note_deed(tx, ids, now, &doer.actor, ("customer.erase", &object), detail).await?;
    log.note(gone(customer, arrival, now));
    tell_decisions(&mut log, std::slice::from_ref(&decision), |_| Some(customer));
    let transaction = log.write(tx, now).await?;
    Ok(Erased {
        job,
        transaction: Some(transaction),
    })
}

fn gone(customer: CustomerId, arrival: i64, now: Instant) -> Change {
    Change {
        topic: Topic::Customer,
        op: ChangeOp::Deleted,
        entity: customer.0,
        record: None,
        customer: Some(customer),
        rev: arrival,
        occurred_at: now,
        changed: Map::from_iter([("erased".to_owned(), json!([null, true]))]),
        events: Vec::new(),
    }
}
