//! Erasures of the ledger, carried out again on a database that was restored from an older backup.
//!
//! Promises: everybody in the ledger is gone afterwards, as they went the first time: the same records, the same suppression, whatever
//! customers the records make up here. Somebody else whom the backup still has as one customer with them is split off first, by a decision
//! that says so. An erasure that this database knows is not carried out twice; what was lifted of it since is lifted.

use super::listing::Entry;
use super::{Deed, Erased, OfLedger, carry_out};
use crate::access::Actor;
use crate::base::{CustomerId, IdentifierId, Instant, RecordId};
use crate::identity::store::{erased, ledger};
use crate::identity::{Scene, Seeds};
use crate::pipeline::Services;
use crate::pipeline::mend::{self, Decision, Doer, MendError};
use crate::store::StoreError;
use sea_orm::DatabaseTransaction;
use std::collections::{BTreeMap, BTreeSet};

/// How often customers may be found mixed anew, because somebody else writes meanwhile.
const ROUNDS: usize = 8;

/// What became of an erasure of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// This database knew it. `lifted`: values that it still suppressed, and the ledger no longer does.
    Before { lifted: u64 },
    /// It was carried out again, on so many customers and records that were here; a job takes the rest out.
    Again { customers: usize, records: usize },
}

enum Attempt {
    Done(Replayed),
    /// Customers with records of others: those of the person in each.
    Mixed(BTreeMap<CustomerId, Vec<RecordId>>),
}

/// Carries one erasure of the ledger out again. `writes_anew`: it is the last one, and its job writes the files anew.
pub async fn replay(services: &Services, actor: &Actor, entry: &Entry, writes_anew: bool) -> Result<Replayed, MendError> {
    for _ in 0..ROUNDS {
        let now = services.now();
        let attempt = services
            .store
            .transact::<_, MendError, _>(|tx, _| Box::pin(attempt(tx, services, now, actor, entry, writes_anew)))
            .await?;
        let mixed = match attempt {
            Attempt::Done(replayed) => return Ok(replayed),
            Attempt::Mixed(mixed) => mixed,
        };
        for (customer, records) in mixed {
            let doer = Doer {
                actor: actor.clone(),
                reason: format!(
                    "the erasure {} is carried out again: these records were erased, the others not",
                    entry.erasure
                ),
            };
            mend::decide(services, &doer, &Decision::Split { customer, records }).await?;
        }
    }
    Err(StoreError::LostRace.into())
}

async fn attempt(
    tx: &DatabaseTransaction,
    services: &Services,
    now: Instant,
    actor: &Actor,
    entry: &Entry,
    writes_anew: bool,
) -> Result<Attempt, MendError> {
    if erased::erasure(tx, entry.erasure).await?.is_some() {
        let suppressed = entry.suppressed.iter().copied().map(IdentifierId).collect();
        let lifted = ledger::keep_suppressed(tx, entry.erasure, &suppressed).await?;
        return Ok(Attempt::Done(Replayed::Before { lifted }));
    }
    let all: BTreeSet<RecordId> = entry.records.iter().copied().map(RecordId).collect();
    let seeds = Seeds {
        records: all.clone(),
        again: true,
        ..Seeds::default()
    };
    let scene = Scene::load(tx, services.rules.standing().rules, now, &seeds).await?;
    let mut customers: BTreeMap<CustomerId, Vec<RecordId>> = BTreeMap::new();
    for record in &all {
        if let Some(customer) = scene.customer_before(*record) {
            customers.entry(customer).or_default().push(*record);
        }
    }
    let is_mixed = |records: &[RecordId]| scene.neighbourhood.companions(records[0]).len() > records.len();
    let (mixed, whole): (BTreeMap<_, _>, BTreeMap<_, _>) = customers.into_iter().partition(|(_, records)| is_mixed(records));
    if !mixed.is_empty() {
        return Ok(Attempt::Mixed(mixed));
    }
    let records: BTreeSet<RecordId> = whole.values().flatten().copied().collect();
    let replayed = Replayed::Again {
        customers: whole.len(),
        records: records.len(),
    };
    let deed = Deed {
        id: entry.erasure,
        requested_at: Instant::parse(&entry.requested_at).unwrap_or(now),
        reason: entry.reason.as_deref().unwrap_or("(no reason was kept)"),
        by: actor,
        asked_by: &entry.actor,
        customer: CustomerId(entry.customer),
        customers: whole.into_keys().collect(),
        records,
        of_ledger: Some(OfLedger { entry, writes_anew }),
    };
    let Erased { .. } = carry_out(tx, services, now, scene, deed).await?;
    Ok(Attempt::Done(replayed))
}
