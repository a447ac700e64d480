//! Erasure: a person goes, and the history of everybody else stays as it was.
//!
//! Promises: when the mutation answers, nothing reads the person any more, by whatever id, and their later messages are dropped; the job
//! behind it then takes what is left out of every table (`tables`), and may be interrupted and run again. What stays are skeletons: when
//! something arrived, and keyed hashes, so that `rebuild` folds everybody else up to that step as before. A second call answers the same
//! job.
//!
//! What was erased is in a ledger of keyed hashes, which can be written out and carried out again on a database that was restored from an
//! older backup (`listing`, `replay`).

mod listing;
mod mention;
mod replay;
pub mod tables;
mod work;

pub use listing::{Entry, Fault, Head, Line, installation, line, read};
pub use replay::{Replayed, replay};

pub use work::{JOB_KIND, Step, carry_through};

use crate::access::{Actor, note_deed, record_deed};
use crate::base::{CustomerId, DecisionId, IdentifierId, Instant, JobId, RecordId};
use crate::customer::store::delete_customers;
use crate::customer::store::erased::mark_products;
use crate::feed::{Change, Log, TransactionId};
use crate::identity::decision::NewDecision;
use crate::identity::store::erased::{self, ErasedLink, ErasedRecord, ErasedValue, Erasure, packed};
use crate::identity::store::{decisions, evidence, history, ledger, neighbours};
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
    async fn load(
        tx: &DatabaseTransaction,
        customers: &BTreeSet<CustomerId>,
        records: BTreeSet<RecordId>,
    ) -> Result<Self, StoreError> {
        let links = erased::links_of(tx, &records).await?;
        let shown: BTreeSet<IdentifierId> = links.iter().map(|link| IdentifierId(link.identifier_id)).collect();
        let ids: Vec<IdentifierId> = shown.iter().copied().collect();
        let showing = neighbours::shown_to(tx, &shown).await?;
        let others = showing.into_iter().filter(|(_, by)| !customers.contains(by));
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

    /// What recognised them and nobody else: no later message is heard by it.
    fn suppressed(&self) -> BTreeSet<IdentifierId> {
        let telling = self
            .gone()
            .filter(|value| is_telling(value.kind) && value.state != IdentifierState::Unusable);
        telling.map(|value| IdentifierId(value.id)).collect()
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
    let scene = Scene::load(tx, standing.rules.clone(), now, &seeds).await?;
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
    let deed = Deed {
        id: services.store.ids().time_ordered(now),
        requested_at: now,
        reason: doer.reason.trim(),
        by: &doer.actor,
        asked_by: doer.actor.as_str(),
        customer,
        customers: [customer].into(),
        records: scene.neighbourhood.companions(own),
        of_ledger: None,
    };
    carry_out(tx, services, now, scene, deed).await
}

/// An erasure about to be carried out.
struct Deed<'d> {
    id: uuid::Uuid,
    requested_at: Instant,
    reason: &'d str,
    /// Who carries it out, and who asked for it.
    by: &'d Actor,
    asked_by: &'d str,
    /// The id that the person had.
    customer: CustomerId,
    /// Whole customers that are here, and their records.
    customers: BTreeSet<CustomerId>,
    records: BTreeSet<RecordId>,
    of_ledger: Option<OfLedger<'d>>,
}

/// It was carried out before, on a database that is no more.
struct OfLedger<'d> {
    entry: &'d Entry,
    /// The last of those carried out again writes the files anew for all of them.
    writes_anew: bool,
}

async fn carry_out(
    tx: &DatabaseTransaction,
    services: &Services,
    now: Instant,
    mut scene: Scene,
    deed: Deed<'_>,
) -> Result<Erased, MendError> {
    let person = Person::load(tx, &deed.customers, deed.records).await?;
    let rules = rules_over_time(services, tx).await?;
    let ids = services.store.ids();
    // What never arrived here does so just before it goes.
    let born = services.arrivals.reserve(now, scene.latest_arrival, 2);
    let arrival = born + 1;
    scene.neighbourhood.erase(&person.records, arrival);
    let released = scene.difference().values;

    let mut log = Log::new(ids, now, deed.by.as_str());
    let reason = person.without_names(deed.reason);
    let entry = deed.of_ledger.as_ref().map(|of_ledger| of_ledger.entry);
    let mut evidence = json!({"count": person.records.len()});
    if entry.is_some() {
        evidence["replayed"] = json!(deed.id.to_string());
    }
    let decision = NewDecision {
        reason: Some(reason.clone()),
        evidence,
        concerned: deed.customers.iter().copied().collect(),
        ..NewDecision::by(
            DecisionId(ids.time_ordered(now)),
            arrival,
            IdentityDecisionKind::Erase,
            deed.by.to_string(),
            services.rules.standing().version,
        )
    };
    let silenced = erased::end_decisions(tx, &person.records, now.micros(), deed.by.as_str()).await?;
    let values = person.judged_values(&rules, deed.id);
    let counts = BTreeMap::from([
        ("customer", deed.customers.len()),
        ("record", person.stored.len()),
        ("link", person.links.len()),
        ("identifier", values.len()),
        ("identity_decision", usize::try_from(silenced).unwrap_or(usize::MAX)),
    ]);
    let mut input = json!({"erasure": deed.id.to_string(), "counts": counts});
    if let Some(of_ledger) = &deed.of_ledger {
        input["replayed"] = json!(true);
        input["writesAnew"] = json!(of_ledger.writes_anew);
    }
    let job = job::enqueue(tx, &NewJob::new(ids, now, JOB_KIND, input, deed.by.to_string())).await?;
    let identifiers = match entry {
        Some(entry) => packed(entry.identifiers.iter().copied()),
        None => packed(person.values.values().map(|value| value.id)),
    };
    let records: BTreeSet<RecordId> = match entry {
        Some(entry) => entry.records.iter().copied().map(RecordId).collect(),
        None => person.records.clone(),
    };
    let erasure = Erasure {
        id: deed.id,
        arrival,
        requested_at: deed.requested_at.micros(),
        actor: deed.asked_by.to_owned(),
        customer_id: deed.customer.0,
        decision_id: decision.id.0,
        job_id: job.0,
        tx_id: log.id(),
        records: packed(records.iter().map(|record| record.0)),
        identifiers: (!identifiers.is_empty()).then_some(identifiers),
        finished_at: None,
    };
    // The ledger first: whatever happens afterwards, it is known what was to be erased.
    erased::insert_erasure(tx, &erasure).await?;
    let suppressed: BTreeSet<IdentifierId> = match entry {
        // As the ledger has it: what others show too, or was lifted since, is not in it.
        Some(entry) => entry.suppressed.iter().copied().map(IdentifierId).collect(),
        None => person.suppressed(),
    };
    erased::suppress(tx, deed.id, deed.requested_at.micros(), &suppressed).await?;
    neighbours::update_values(tx, &released, arrival).await?;
    let mut skeletons = person.skeletons(services, deed.id, arrival);
    let missing: BTreeSet<RecordId> = records.difference(&person.records).copied().collect();
    for record in ledger::without_skeletons(tx, missing).await? {
        skeletons.push(ErasedRecord {
            id: record.0,
            arrival: born,
            erasure_id: deed.id,
            erased_at: arrival,
            first_id: None,
            siblings: 0,
            external_key: None,
        });
    }
    erased::bury_records(tx, &skeletons).await?;
    erased::bury_links(tx, &person.records, &person.judged_links(&rules)).await?;
    let is_decided = |value: &&identifier::Model| !matches!(value.state, IdentifierState::Active | IdentifierState::Unusable);
    let remembered: BTreeSet<uuid::Uuid> = person.gone().filter(is_decided).map(|value| value.id).collect();
    erased::bury_values(tx, &values, &remembered).await?;
    delete_customers(tx, &decision.concerned).await?;
    // What was derived, also under ids that the person had once.
    let once = || person.records.iter().map(|record| CustomerId(record.0));
    value::store::delete(tx, once()).await?;
    value::activity::delete(tx, once()).await?;
    value::metric_store::delete(tx, once()).await?;
    due::forget(tx, once()).await?;
    mark_products(tx, &person.records).await?;
    decisions::insert(tx, std::slice::from_ref(&decision)).await?;
    let object = format!("erasure:{}", deed.id);
    let detail = json!({"reason": reason, "records": person.records.len()});
    let action = if entry.is_some() {
        "customer.erase_again"
    } else {
        "customer.erase"
    };
    note_deed(tx, ids, now, deed.by, (action, &object), detail).await?;
    for customer in &deed.customers {
        log.note(gone(*customer, arrival, now));
    }
    tell_decisions(&mut log, std::slice::from_ref(&decision), |record| Some(CustomerId(record.0)));
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
