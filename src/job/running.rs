//! A job from the inside: what its handler sees and may say.

use super::store::{self, Lease, Progress};
use super::{Job, JobError};
use crate::base::{Clock, Instant, JobId};
use crate::store::Store;
use sea_orm::{ConnectionTrait, DatabaseTransaction};
use serde_json::Value;
use std::time::Duration;

/// A job under this worker's lease.
#[derive(Clone, Debug)]
pub struct Running {
    job: Job,
    store: Store,
    clock: Clock,
    lease: Duration,
}

impl Running {
    pub(super) fn new(job: Job, store: Store, clock: Clock, lease: Duration) -> Self {
        Self {
            job,
            store,
            clock,
            lease,
        }
    }

    pub fn id(&self) -> JobId {
        self.job.id
    }

    pub fn input(&self) -> &Value {
        &self.job.input
    }

    /// Where an earlier attempt came to; `None`: begin at the beginning.
    pub fn cursor(&self) -> Option<&Value> {
        self.job.cursor.as_ref()
    }

    /// Who asked for it.
    pub fn actor(&self) -> &str {
        &self.job.actor
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> i64 {
        self.job.attempts
    }

    /// For long jobs, whose `now` has grown old.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Saves how far the work is and where another attempt would go on (`None` leaves the cursor as it is), and renews the lease.
    ///
    /// # Errors
    /// `LostLease` when another worker has taken the job over: return it.
    pub async fn progress(&self, done: i64, total: Option<i64>, cursor: Option<Value>) -> Result<(), JobError> {
        self.save(self.store.writer(), done, total, cursor).await
    }

    /// The same inside a transaction of the handler: a step's writes and the cursor behind them are committed together, and a worker that
    /// lost its lease commits neither.
    pub async fn progress_in(
        &self,
        tx: &DatabaseTransaction,
        done: i64,
        total: Option<i64>,
        cursor: Option<Value>,
    ) -> Result<(), JobError> {
        self.save(tx, done, total, cursor).await
    }

    async fn save(
        &self,
        db: &impl ConnectionTrait,
        done: i64,
        total: Option<i64>,
        cursor: Option<Value>,
    ) -> Result<(), JobError> {
        let until = self.clock.now().plus(self.lease);
        if store::progress(db, Lease::from(&self.job), Progress { done, total, cursor }, until).await? {
            Ok(())
        } else {
            Err(JobError::LostLease)
        }
    }
}
