//! Consent across the features: what messages answer is stored with them, what somebody records for a customer goes to every record of
//! theirs, and whenever what a customer answers changes, by an answer, a merge or a split, it is news.

use super::Services;
use super::unify::Happened;
use crate::access::{Actor, note_deed};
use crate::base::ids::HashKey;
use crate::base::{ConsentId, CustomerId, Instant, Kind, RecordId};
use crate::customer::consent::{self, Answers, Consent, ConsentKey};
use crate::customer::store as customer_store;
use crate::feed::{Change, Log, TransactionId};
use crate::identity::store::neighbours;
use crate::identity::{Scene, Seeds};
use crate::ingest::{consent as words, json};
use crate::store::{StoreError, Transient};
use entity::{ChangeOp, ConsentAnswer, ConsentOrigin, Topic};
use sea_orm::DatabaseTransaction;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// Evidence is a note of what was shown and ticked, not an archive of it.
const MAX_EVIDENCE_BYTES: usize = 32_768;
/// Clocks of callers differ; an answer from further ahead would outlast everything said until then.
const AHEAD: Duration = Duration::from_secs(60);

/// What a customer answered, as somebody records it.
#[derive(Clone, Debug)]
pub struct NewConsent {
    /// Any id they ever had.
    pub customer: CustomerId,
    pub purpose: String,
    /// None: all of them.
    pub channel: Option<String>,
    pub answer: ConsentAnswer,
    pub evidence: Option<Value>,
    /// None: now.
    pub at: Option<Instant>,
}

/// An answer that was recorded.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The customer of today.
    pub customer: CustomerId,
    /// As they are kept.
    pub purpose: String,
    pub channel: String,
    pub transaction: TransactionId,
}

/// Why an answer was not recorded. `field`: the input to blame.
#[derive(Debug, thiserror::Error)]
pub enum ConsentError {
    #[error("{problem}")]
    Invalid { field: &'static str, problem: String },
    #[error("there is no such customer")]
    NoCustomer,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Transient for ConsentError {
    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

impl ConsentError {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Invalid { .. } => Kind::Invalid,
            Self::NoCustomer => Kind::NotFound,
            Self::Store(error) => error.kind(),
        }
    }

    pub fn field(&self) -> &'static str {
        match self {
            Self::Invalid { field, .. } => field,
            Self::NoCustomer => "customer",
            Self::Store(_) => "input",
        }
    }
}

/// Records an answer of a customer under every record they have now, in a transaction of its own.
pub async fn record(services: &Services, actor: &Actor, new: &NewConsent) -> Result<Recorded, ConsentError> {
    let now = services.now();
    let checked = check(new, now)?;
    services
        .store
        .transact(|tx, _| Box::pin(write(tx, services, actor, now, &checked)))
        .await
}

fn check(new: &NewConsent, now: Instant) -> Result<NewConsent, ConsentError> {
    let invalid = |field| move |problem: String| ConsentError::Invalid { field, problem };
    if let Some(evidence) = &new.evidence {
        json::check(evidence).map_err(|refusal| invalid("evidence")(refusal.message))?;
        if evidence.to_string().len() > MAX_EVIDENCE_BYTES {
            let problem = format!("may have {MAX_EVIDENCE_BYTES} bytes of JSON: name where the rest lies");
            return Err(invalid("evidence")(problem));
        }
    }
    if new.at.is_some_and(|at| at > now.plus(AHEAD)) {
        return Err(invalid("occurredAt")(
            "lies ahead: nobody has answered yet what they will answer then".to_owned(),
        ));
    }
    Ok(NewConsent {
        purpose: words::purpose(&new.purpose).map_err(invalid("purpose"))?,
        channel: Some(words::channel(new.channel.as_deref()).map_err(invalid("channel"))?),
        ..new.clone()
    })
}

async fn write(
    tx: &DatabaseTransaction,
    services: &Services,
    actor: &Actor,
    now: Instant,
    new: &NewConsent,
) -> Result<Recorded, ConsentError> {
    let own = RecordId(new.customer.0);
    let seeds = Seeds {
        still: [own].into(),
        ..Seeds::default()
    };
    let scene = Scene::load(tx, services.rules.standing().rules, now, &seeds).await?;
    let customer = scene.customer_before(own).ok_or(ConsentError::NoCustomer)?;
    let members = neighbours::members(tx, &[customer].into(), &[]).await?;
    let records: Vec<RecordId> = members.iter().map(|member| member.id).collect();
    let stored = customer_store::consents_of(tx, &records).await?;
    let latest = stored.iter().map(|consent| consent.arrival).max().unwrap_or_default();
    let arrival = services.arrivals.reserve(now, latest.max(scene.latest_arrival), 1);
    let id = ConsentId(services.store.ids().time_ordered(now));
    let channel = new.channel.clone().unwrap_or_else(|| words::ANY.to_owned());
    let answer = |record: &RecordId| Consent {
        key: ConsentKey { record: *record, id },
        purpose: new.purpose.clone(),
        channel: channel.clone(),
        answer: new.answer,
        origin: ConsentOrigin::Deed,
        evidence: new.evidence.clone().unwrap_or_default(),
        at: new.at.unwrap_or(now),
        arrival,
        event: None,
        actor: Some(actor.to_string()),
    };
    let given: Vec<Consent> = records.iter().map(answer).collect();
    let given = keep(tx, services.store.hash_key(), &stored, given).await?;
    let mut log = Log::new(services.store.ids(), now, actor.as_str());
    let (before, after) = (Answers::of(&stored), Answers::of(stored.iter().chain(&given)));
    for change in news(customer, &before, &after, "RECORDED", arrival, now) {
        log.note(change);
    }
    let detail = json!({"consent": id.to_string(), "purpose": new.purpose, "channel": channel,
        "answer": state_name(Some(new.answer)), "occurredAt": new.at.unwrap_or(now).to_string(), "records": records.len()});
    let object = format!("customer:{customer}");
    note_deed(tx, services.store.ids(), now, actor, ("consent.record", &object), detail).await?;
    Ok(Recorded {
        customer,
        purpose: new.purpose.clone(),
        channel,
        transaction: log.write(tx, now).await?,
    })
}

/// Stores what messages answered, and tells what that, and records that pass from one customer to another, changes for customers. To be
/// asked under lock, before records are relinked. Nothing to do costs nothing, anything
/// two statements, and two more to write: one looks whether messages repeated what is contradicted now.
pub(super) async fn follow(tx: &DatabaseTransaction, keys: &HashKey, happened: &Happened<'_>) -> Result<Vec<Change>, StoreError> {
    let difference = &happened.difference;
    if happened.consents.is_empty() && difference.relinked.is_empty() {
        return Ok(Vec::new());
    }
    let speaking = happened.consents.iter().map(|consent| consent.key.record);
    let mut concerned: BTreeSet<CustomerId> = speaking
        .filter_map(|record| happened.customers.get(&record))
        .copied()
        .collect();
    if !difference.relinked.is_empty() {
        concerned.extend(difference.vanished.keys().chain(&difference.changed));
    }
    let members = neighbours::members(tx, &concerned, &[]).await?;
    let ids: Vec<RecordId> = members.iter().map(|member| member.id).collect();
    let stored = customer_store::consents_of(tx, &ids).await?;
    let kept = keep(tx, keys, &stored, happened.consents.clone()).await?;

    let customers_before: HashMap<RecordId, CustomerId> = members.iter().map(|member| (member.id, member.customer)).collect();
    let mut customers_after = customers_before.clone();
    customers_after.extend(difference.relinked.iter().copied());
    customers_after.extend(happened.new.values().map(|record| (record.id, record.customer)));
    let before = by_customer(&stored, &customers_before);
    let after = by_customer(stored.iter().chain(&kept), &customers_after);

    let spoken_to: BTreeSet<CustomerId> = kept
        .iter()
        .filter_map(|consent| customers_after.get(&consent.key.record).copied())
        .collect();
    let joined: BTreeSet<CustomerId> = difference.vanished.values().copied().collect();
    let now = Instant::from_micros(happened.arrival);
    let nothing = Answers::default();
    let mut told = Vec::new();
    // Whoever is another customer now is told of by the news of that customer.
    let remaining = before
        .keys()
        .chain(after.keys())
        .filter(|id| !difference.vanished.contains_key(id));
    for customer in remaining.collect::<BTreeSet<_>>() {
        let cause = if spoken_to.contains(customer) {
            "MESSAGE"
        } else if joined.contains(customer) {
            "MERGE"
        } else {
            "SPLIT"
        };
        let (before, after) = (
            before.get(customer).unwrap_or(&nothing),
            after.get(customer).unwrap_or(&nothing),
        );
        told.extend(news(*customer, before, after, cause, happened.arrival, now));
    }
    Ok(told)
}

/// Writes what of the new answers says something, and answers it. What contradicts an earlier answer makes what repeated that one news.
async fn keep(
    tx: &DatabaseTransaction,
    keys: &HashKey,
    stored: &[Consent],
    mut new: Vec<Consent>,
) -> Result<Vec<Consent>, StoreError> {
    let since = consent::contradicts_since(stored, &new);
    let known: BTreeSet<ConsentKey> = new.iter().map(|consent| consent.key).collect();
    let repeated = customer_store::preferences_since(tx, keys, &since).await?;
    new.extend(repeated.into_iter().filter(|consent| !known.contains(&consent.key)));
    let kept = consent::worth_keeping(stored, &new);
    customer_store::insert_consents(tx, &kept).await?;
    Ok(kept)
}

fn by_customer<'c>(
    consents: impl IntoIterator<Item = &'c Consent>,
    customers: &HashMap<RecordId, CustomerId>,
) -> BTreeMap<CustomerId, Answers> {
    let mut said: BTreeMap<CustomerId, Vec<&Consent>> = BTreeMap::new();
    for consent in consents {
        if let Some(customer) = customers.get(&consent.key.record) {
            said.entry(*customer).or_default().push(consent);
        }
    }
    said.into_iter()
        .map(|(customer, said)| (customer, Answers::of(said)))
        .collect()
}

/// A change for each question that a customer answers differently from now on.
fn news(customer: CustomerId, before: &Answers, after: &Answers, cause: &str, rev: i64, now: Instant) -> Vec<Change> {
    let mut told = Vec::new();
    for (question, before, after) in Answers::differences(before, after) {
        let Some(either) = after.or(before) else { continue };
        let states = [before, after].map(|standing| state_name(standing.map(|standing| standing.answer)));
        let mut changed = Map::new();
        changed.insert("purpose".to_owned(), json!([null, either.purpose]));
        changed.insert("channel".to_owned(), json!([null, question.channel()]));
        changed.insert("state".to_owned(), json!(states));
        changed.insert("cause".to_owned(), json!([null, cause]));
        told.push(Change {
            topic: Topic::Consent,
            op: if before.is_none() {
                ChangeOp::Created
            } else {
                ChangeOp::Updated
            },
            entity: customer.0,
            record: after.map(|standing| standing.record),
            customer: Some(customer),
            rev,
            occurred_at: now,
            changed,
            events: Vec::new(),
        });
    }
    told
}

/// As clients read it.
const fn state_name(answer: Option<ConsentAnswer>) -> &'static str {
    match answer {
        Some(ConsentAnswer::Granted) => "GRANTED",
        Some(ConsentAnswer::Denied) => "DENIED",
        Some(ConsentAnswer::Withdrawn) => "WITHDRAWN",
        None => "UNKNOWN",
    }
}
