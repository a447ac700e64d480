//! Which background jobs there are: a line for each kind, with the verb that does it, and whether it may be taken back.

use super::{Services, erase, models, refresh, rules};
use crate::access::{Actor, record_deed};
use crate::base::{JobId, Kind};
use crate::feed::TransactionId;
use crate::job::{self, Job, Runner, with};
use crate::store::{StoreError, Transient};
use entity::JobState;
use serde_json::json;

/// A runner of everything this server knows how to do in the background.
pub fn runner(services: &Services) -> Runner {
    Runner::new(services.store.clone(), services.clock.clone(), services.jobs.clone())
        .on(rules::JOB_KIND, with(services, rules::place_everybody_again))
        .on(erase::JOB_KIND, with(services, erase::carry_through))
        .on(refresh::JOB_KIND, with(services, refresh::mark_buyers))
        .on(models::JOB_KIND, with(services, models::fit))
}

/// Why a job was not taken back.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    #[error("there is no such job")]
    NotFound,
    #[error("the job has ended")]
    Ended,
    #[error("{0}")]
    Refused(&'static str),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CancelError {
    pub fn kind(&self) -> Kind {
        match self {
            Self::NotFound => Kind::NotFound,
            Self::Ended | Self::Refused(_) => Kind::Conflict,
            Self::Store(error) => error.kind(),
        }
    }
}

impl Transient for CancelError {
    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

/// What stands against taking a job of this kind back; `None`: nothing.
fn why_not(kind: &str) -> Option<&'static str> {
    match kind {
        // The mutation has taken the person out of sight already, and it is promised that the rest follows.
        erase::JOB_KIND => Some("an erasure has begun with its mutation and is carried through: nobody is left half erased"),
        refresh::JOB_KIND => Some("what customers bought would stay as it was before the change that this job follows"),
        _ => None,
    }
}

/// Takes a job back: one that waits is never run, one that runs ends at its next await, here at once and elsewhere at its next renewal or
/// step; what it has committed stays.
pub async fn cancel(services: &Services, actor: &Actor, id: JobId) -> Result<(Job, TransactionId), CancelError> {
    let now = services.now();
    let cancelled = services
        .store
        .transact::<_, CancelError, _>(|tx, _| {
            Box::pin(async move {
                let found = async || Ok::<_, StoreError>(job::jobs(tx, &[id]).await?.remove(&id));
                let before = found().await?.ok_or(CancelError::NotFound)?;
                if !matches!(before.state, JobState::Queued | JobState::Running) {
                    return Err(CancelError::Ended);
                }
                if let Some(reason) = why_not(&before.kind) {
                    return Err(CancelError::Refused(reason));
                }
                // It may have ended in this instant.
                if !job::cancel(tx, id, now).await? {
                    return Err(CancelError::Ended);
                }
                let job = found().await?.ok_or(CancelError::NotFound)?;
                let (ids, object) = (services.store.ids(), format!("job:{id}"));
                let transaction = record_deed(tx, ids, now, actor, "job.cancel", &object, json!({"kind": job.kind})).await?;
                Ok((job, transaction))
            })
        })
        .await?;
    services.jobs.nudge_running();
    Ok(cancelled)
}
