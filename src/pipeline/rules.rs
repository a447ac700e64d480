//! Other rules for who is who: what they would change, and publishing them.
//!
//! Promises: simulating writes nothing. Published rules stand for every message from their commit on; the records that are there are
//! placed again in order of arrival by a background job, which may be interrupted and goes on, a group of customers in a commit. What
//! values were held stays held: a person releases them. A telephone number keeps the spelling it got when it was sent.

use super::rebuild::{self, Listener, RebuildError};
use super::refresh;
use crate::access::note_deed;
use crate::base::{CustomerId, DecisionId, IdentifierId, Instant, JobId, Kind, RecordId};
use crate::customer::Survivorship;
use crate::feed::{Log, TransactionId};
use crate::identity::decision::NewDecision;
use crate::identity::rules::RulesError;
use crate::identity::store::{decisions, history, neighbours};
use crate::identity::{Rules, Scene, Seeds};
use crate::job::{self, JobError, NewJob, Running};
use crate::pipeline::Services;
use crate::pipeline::mend::{Doer, MendError};
use crate::pipeline::unify::{Happened, unify};
use crate::store::{Difference, StoreError, Transient};
use entity::{DueClass, IdentityDecisionKind, identity_rules};
use sea_orm::DatabaseTransaction;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// The kind of the job that places all records again.
pub const JOB_KIND: &str = "identity_rules_publish";
/// Changes that a simulation tells one by one.
const RISKIEST: usize = 20;
/// Customers whose golden values are computed again in one commit.
const CUSTOMERS_PER_COMMIT: usize = 500;
/// Meanwhile others may write; after so many rounds what is left is left to the next publication.
const ROUNDS: usize = 4;

#[derive(Debug, thiserror::Error)]
pub enum RulesChangeError {
    #[error(transparent)]
    Unsound(#[from] RulesError),
    #[error(transparent)]
    Refused(#[from] MendError),
    #[error(transparent)]
    Fold(#[from] RebuildError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Transient for RulesChangeError {
    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) | Self::Fold(RebuildError::Store(error)) => Some(error),
            Self::Refused(refused) => refused.store_error(),
            _ => None,
        }
    }
}

impl RulesChangeError {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Unsound(_) => Kind::Invalid,
            Self::Refused(refused) => refused.kind(),
            Self::Fold(RebuildError::Store(error)) | Self::Store(error) => error.kind(),
            Self::Fold(RebuildError::Rules(..)) => Kind::Internal,
        }
    }
}

/// What a rule set is laid over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// The rules that stand.
    Standing,
    /// The defaults for a shop.
    Defaults,
    /// Nothing: the rule set is complete.
    Nothing,
}

/// One thing that other rules would do to customers of today.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Risk {
    /// True: these become one. False: this one becomes `parts`.
    pub is_merge: bool,
    pub customers: Vec<CustomerId>,
    /// Customers that come of it.
    pub parts: usize,
    pub records: usize,
}

/// What other rules would change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Simulation {
    pub records: usize,
    pub customers_before: usize,
    pub customers_after: usize,
    /// Customers that would be absorbed.
    pub merges: usize,
    /// Customers that would come of others beside the one that stays.
    pub splits: usize,
    /// Those that change most people at once, the worst first.
    pub riskiest: Vec<Risk>,
}

/// Published rules.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    pub version: i64,
    pub job: JobId,
    pub transaction: TransactionId,
}

/// A sound rule set: `stated` laid over its base.
pub async fn laid_over(services: &Services, stated: &Value, base: Base) -> Result<Value, RulesChangeError> {
    let under = match base {
        Base::Standing => services.rules.config(&services.store).await?,
        Base::Defaults => Rules::shop_json(),
        Base::Nothing => json!({}),
    };
    let config = Rules::overlay(&under, stated);
    Survivorship::parse(&Rules::parse(&config)?.golden)?;
    Ok(config)
}

struct Nobody;

impl Listener for Nobody {
    fn difference(&mut self, _: Difference) {}
    fn progress(&mut self, _: &'static str, _: usize) {}
}

/// What a rule set would change if it were published now. Reads one view of the database; costs memory for who is who.
pub async fn simulate(services: &Services, config: &Value) -> Result<Simulation, RulesChangeError> {
    let rules = Arc::new(Rules::parse(config)?);
    let configured = Arc::new(Rules::parse(services.rules.configured())?);
    let mut folded = rebuild::fold(&services.store, configured, Some(&rules), &mut Nobody).await?;
    let before = folded.neighbourhood.partition();
    folded.publish(rules);
    Ok(compare(&before, &folded.neighbourhood.partition()))
}

type Partition = BTreeMap<CustomerId, BTreeSet<RecordId>>;

fn compare(before: &Partition, after: &Partition) -> Simulation {
    let customer_in = |partition: &Partition| -> HashMap<RecordId, CustomerId> {
        let records = partition
            .iter()
            .flat_map(|(customer, records)| records.iter().map(|record| (*record, *customer)));
        records.collect()
    };
    let (was, becomes) = (customer_in(before), customer_in(after));
    let mut simulation = Simulation {
        records: was.len(),
        customers_before: before.len(),
        customers_after: after.len(),
        ..Simulation::default()
    };
    for records in after.values() {
        let joined: BTreeSet<CustomerId> = records.iter().filter_map(|record| was.get(record)).copied().collect();
        if joined.len() > 1 {
            simulation.merges += joined.len() - 1;
            simulation.riskiest.push(Risk {
                is_merge: true,
                customers: joined.into_iter().collect(),
                parts: 1,
                records: records.len(),
            });
        }
    }
    for (customer, records) in before {
        let parts: BTreeSet<CustomerId> = records.iter().filter_map(|record| becomes.get(record)).copied().collect();
        if parts.len() > 1 {
            simulation.splits += parts.len() - 1;
            simulation.riskiest.push(Risk {
                is_merge: false,
                customers: vec![*customer],
                parts: parts.len(),
                records: records.len(),
            });
        }
    }
    let weight = |risk: &Risk| (risk.customers.len().max(risk.parts), risk.records);
    simulation
        .riskiest
        .sort_by(|a, b| weight(b).cmp(&weight(a)).then_with(|| a.customers.cmp(&b.customers)));
    simulation.riskiest.truncate(RISKIEST);
    simulation
}

/// Publishes a sound rule set and enqueues the job that places all records again.
pub async fn publish(services: &Services, doer: &Doer, config: &Value) -> Result<Published, RulesChangeError> {
    doer.check()?;
    let now = services.now();
    let published = services
        .store
        .transact::<_, RulesChangeError, _>(|tx, _| Box::pin(write(tx, services, now, doer, config)))
        .await?;
    services.rules.refresh(&services.store).await?;
    services.jobs.nudge();
    Ok(published)
}

async fn write(
    tx: &DatabaseTransaction,
    services: &Services,
    now: Instant,
    doer: &Doer,
    config: &Value,
) -> Result<Published, RulesChangeError> {
    let ids = services.store.ids();
    let version = decisions::standing_rules(tx).await?.map_or(0, |rules| rules.version) + 1;
    let arrival = services.arrivals.reserve(now, 0, 1);
    let rules = identity_rules::Model {
        version,
        config: config.clone(),
        arrival,
        actor: doer.actor.to_string(),
    };
    decisions::insert_rules(tx, &rules)
        .await
        .map_err(|error| match error.is_unique_violation() {
            true => StoreError::LostRace,
            false => error,
        })?;
    let decision = NewDecision {
        reason: Some(doer.reason.trim().to_owned()),
        evidence: json!({"version": version}),
        ..NewDecision::by(
            DecisionId(ids.time_ordered(now)),
            arrival,
            IdentityDecisionKind::Rules,
            doer.actor.to_string(),
            version,
        )
    };
    decisions::insert(tx, std::slice::from_ref(&decision)).await?;
    let input = json!({"version": version, "decision": decision.id.to_string()});
    let job = job::enqueue(tx, &NewJob::new(ids, now, JOB_KIND, input, doer.actor.to_string())).await?;
    let object = format!("rules:{version}");
    let detail = json!({"reason": decision.reason, "rules": config});
    note_deed(tx, ids, now, &doer.actor, ("identity.rules", &object), detail).await?;
    let mut log = Log::new(ids, now, doer.actor.as_str());
    super::unify::tell_decisions(&mut log, std::slice::from_ref(&decision), |_| None);
    let transaction = log.write(tx, now).await?;
    Ok(Published {
        version,
        job,
        transaction,
    })
}

/// The job: places again, group by group, whoever the standing rules place otherwise than they are stored.
pub async fn place_everybody_again(services: Services, job: Running, _: Instant) -> Result<Value, JobError> {
    services.rules.refresh(&services.store).await?;
    let decision = job.input()["decision"]
        .as_str()
        .and_then(|text| uuid::Uuid::parse_str(text).ok());
    let decision = DecisionId(decision.ok_or_else(|| JobError::GiveUp("the job names no decision".to_owned()))?);
    let mut changed = 0;
    for _ in 0..ROUNDS {
        let groups = differing(&services).await?;
        if groups.is_empty() {
            break;
        }
        let total = i64::try_from(groups.len()).unwrap_or(i64::MAX);
        for (done, records) in (0..).zip(groups) {
            job.progress(done, Some(total), None).await?;
            changed += place_again(&services, decision, records).await?;
        }
    }
    let refreshed = survive_again(&services, &job).await?;
    Ok(json!({"customersPlacedAgain": changed, "goldenValuesChanged": refreshed}))
}

/// Records whose customers, or whose values' owners, are not what the history comes to; grouped so that groups do not meet.
async fn differing(services: &Services) -> Result<Vec<BTreeSet<RecordId>>, JobError> {
    let configured = Rules::parse(services.rules.configured()).map_err(|error| JobError::GiveUp(error.to_string()))?;
    let folded = rebuild::fold(&services.store, Arc::new(configured), None, &mut Nobody).await;
    let folded = folded.map_err(|error| match error {
        RebuildError::Store(error) => JobError::Store(error),
        RebuildError::Rules(..) => JobError::GiveUp(error.to_string()),
    })?;
    let wanted = &folded.neighbourhood;
    let db = services.store.reader();
    // Customers that share a record, before or after, belong to one group.
    let mut groups = Groups::default();
    let mut differing: BTreeSet<RecordId> = BTreeSet::new();
    let mut last = None;
    loop {
        let page = history::customers_after(db, last).await?;
        last = page.last().map(|(record, _)| *record);
        if last.is_none() {
            break;
        }
        for (record, stored) in page {
            let Some(after) = wanted.customer_of(record) else { continue };
            groups.join(record, RecordId(stored.0));
            groups.join(record, RecordId(after.0));
            if after != stored {
                differing.insert(record);
            }
        }
    }
    let mut last = None;
    loop {
        let page = history::identifiers_after(db, last.as_ref()).await?;
        for value in &page {
            let id = IdentifierId(value.id);
            let (stored, after) = (value.owner_id.map(RecordId), wanted.owner_of(id));
            let of = |record: Option<RecordId>| record.and_then(|record| wanted.customer_of(record));
            let state_differs = wanted.state_of(id).is_some_and(|state| state != value.state);
            if of(stored) != of(after) || state_differs {
                let showing = stored.into_iter().chain(after).chain(wanted.shown_by(id));
                let showing: Vec<RecordId> = showing.collect();
                for pair in showing.windows(2) {
                    groups.join(pair[0], pair[1]);
                }
                differing.extend(showing.first());
            }
        }
        last = page.into_iter().next_back();
        if last.is_none() {
            break;
        }
    }
    Ok(groups.with(&differing))
}

/// Records joined into groups.
#[derive(Default)]
struct Groups(HashMap<RecordId, RecordId>);

impl Groups {
    fn root(&mut self, record: RecordId) -> RecordId {
        let mut root = record;
        while let Some(parent) = self.0.get(&root).filter(|parent| **parent != root) {
            root = *parent;
        }
        self.0.insert(record, root);
        root
    }

    fn join(&mut self, a: RecordId, b: RecordId) {
        let (a, b) = (self.root(a), self.root(b));
        self.0.insert(a.max(b), a.min(b));
    }

    /// The groups that have one of these records, whole.
    fn with(mut self, records: &BTreeSet<RecordId>) -> Vec<BTreeSet<RecordId>> {
        let wanted: BTreeSet<RecordId> = records.iter().map(|record| self.root(*record)).collect();
        let mut groups: BTreeMap<RecordId, BTreeSet<RecordId>> = BTreeMap::new();
        for record in self.0.keys().copied().collect::<Vec<_>>() {
            let root = self.root(record);
            if wanted.contains(&root) {
                groups.entry(root).or_default().insert(record);
            }
        }
        groups.into_values().collect()
    }
}

/// Places the customers of these records again under the standing rules, in one commit. Answers how many customers changed.
async fn place_again(services: &Services, decision: DecisionId, records: BTreeSet<RecordId>) -> Result<usize, StoreError> {
    let now = services.now();
    let seeds = Seeds {
        records,
        again: true,
        ..Seeds::default()
    };
    services
        .store
        .transact(|tx, _| {
            let seeds = &seeds;
            Box::pin(async move {
                let standing = services.rules.standing();
                let mut scene = Scene::load(tx, standing.rules, now, seeds).await?;
                scene.place_all_again();
                let difference = scene.difference();
                if difference.is_empty() {
                    return Ok(0);
                }
                let arrival = services.arrivals.reserve(now, scene.latest_arrival, 1);
                let own_ids: Vec<RecordId> = difference.appeared.iter().map(|customer| RecordId(customer.0)).collect();
                let concerned: BTreeSet<CustomerId> =
                    difference.records.keys().chain(difference.vanished.keys()).copied().collect();
                let happened = Happened {
                    difference,
                    arrival,
                    ..Happened::default()
                };
                let mut log = Log::new(services.store.ids(), now, "rules");
                let unified = unify(tx, services, happened).await?;
                unified.tell(&mut log, BTreeMap::new(), |record| CustomerId(record.0), now);
                neighbours::mark_customers(tx, &own_ids).await?;
                let concerned_by_moves = refresh::Concerned {
                    moved: &unified.moved,
                    ..refresh::Concerned::default()
                };
                refresh::mark(tx, &log, (now, DueClass::Bulk), concerned_by_moves).await?;
                decisions::concern(tx, decision, arrival, &concerned).await?;
                log.write(tx, now).await?;
                Ok(concerned.len())
            })
        })
        .await
}

/// Computes the golden values of everybody again, for rules that let other values survive.
async fn survive_again(services: &Services, job: &Running) -> Result<usize, JobError> {
    let (mut changed, mut done) = (0, 0);
    let mut last = None;
    loop {
        let page = crate::customer::store::customer_ids_after(services.store.reader(), last, CUSTOMERS_PER_COMMIT).await?;
        last = page.last().copied();
        if last.is_none() {
            return Ok(changed);
        }
        done += i64::try_from(page.len()).unwrap_or(0);
        job.progress(done, None, None).await?;
        let now = services.now();
        changed += services
            .store
            .transact(|tx, _| {
                let page: BTreeSet<CustomerId> = page.iter().copied().collect();
                Box::pin(async move {
                    let locked = neighbours::lock_customers(tx, &page).await?;
                    let happened = Happened {
                        again: locked.into_keys().collect(),
                        arrival: now.micros(),
                        ..Happened::default()
                    };
                    let mut log = Log::new(services.store.ids(), now, "rules");
                    let unified = unify(tx, services, happened).await?;
                    unified.tell(&mut log, BTreeMap::new(), |record| CustomerId(record.0), now);
                    let changed = unified.changed();
                    if !log.is_empty() {
                        log.write(tx, now).await?;
                    }
                    Ok::<_, StoreError>(changed)
                })
            })
            .await?;
    }
}
