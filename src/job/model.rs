//! A job in plain types, and when a failed attempt is tried again.

use crate::base::{Ids, Instant, JobId, retry};
use crate::store::{StoreError, Transient};
use entity::{JobState, job};
use serde_json::Value;

/// How often a job is tried. With the pauses between them an outage of twenty minutes is outlived.
pub const ATTEMPTS: i64 = 6;

/// Work to be queued.
#[derive(Clone, Debug, PartialEq)]
pub struct NewJob {
    pub id: JobId,
    /// Which handler runs it.
    pub kind: String,
    /// Ids and choices, no data: a handler reads the state of the moment.
    pub input: Value,
    /// The earliest time it may run.
    pub available_at: Instant,
    pub created_at: Instant,
    /// Who asked for it.
    pub actor: String,
}

impl NewJob {
    /// Due at once.
    pub fn new(ids: &Ids, now: Instant, kind: impl Into<String>, input: Value, actor: impl Into<String>) -> Self {
        Self {
            id: JobId(ids.time_ordered(now)),
            kind: kind.into(),
            input,
            available_at: now,
            created_at: now,
            actor: actor.into(),
        }
    }
}

/// A job as it stands. See the table `job`.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub id: JobId,
    pub kind: String,
    pub state: JobState,
    pub input: Value,
    pub done: i64,
    /// `None`: nobody has said how much there is.
    pub total: Option<i64>,
    /// Where the next attempt goes on; `None`: at the beginning.
    pub cursor: Option<Value>,
    /// What it answered; `None` until it succeeded.
    pub result: Option<Value>,
    /// Why the last attempt failed, for people; `None`: none has, or a later one succeeded.
    pub error: Option<String>,
    /// The attempt under way included.
    pub attempts: i64,
    pub available_at: Instant,
    /// `None` while nobody runs it.
    pub claimed_until: Option<Instant>,
    pub fence: i64,
    pub created_at: Instant,
    /// The first attempt; `None` before it.
    pub started_at: Option<Instant>,
    /// `None` until it succeeded or was given up.
    pub finished_at: Option<Instant>,
    pub actor: String,
}

impl Job {
    /// From 0 to 1; `None` while it is unknown how much there is.
    pub fn progress(&self) -> Option<f64> {
        if self.state == JobState::Succeeded {
            return Some(1.0);
        }
        let total = self.total.filter(|total| *total > 0)?;
        #[expect(clippy::cast_precision_loss, reason = "a fraction for people")]
        Some((self.done as f64 / total as f64).clamp(0.0, 1.0))
    }
}

impl From<job::Model> for Job {
    fn from(model: job::Model) -> Self {
        Self {
            id: JobId(model.id),
            kind: model.kind,
            state: model.state,
            input: model.input,
            done: model.done,
            total: model.total,
            cursor: model.cursor,
            result: model.result,
            error: model.error,
            attempts: model.attempts,
            available_at: Instant::from_micros(model.available_at),
            claimed_until: model.claimed_until.map(Instant::from_micros),
            fence: model.fence,
            created_at: Instant::from_micros(model.created_at),
            started_at: model.started_at.map(Instant::from_micros),
            finished_at: model.finished_at.map(Instant::from_micros),
            actor: model.actor,
        }
    }
}

/// Why an attempt ended without a result. The texts are shown to whoever may read the job: no personal data, no secrets.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// It may go better later.
    #[error("{0}")]
    Retry(String),
    /// It will never go better.
    #[error("{0}")]
    GiveUp(String),
    /// Another worker has taken the job over: whatever this one still does is not wanted.
    #[error("another worker has taken the job over")]
    LostLease,
    /// The database failed: tried again. Only the log is told how.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Transient for JobError {
    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

/// When a job that failed `attempts` times is tried again; `None`: never.
pub(super) fn next_attempt(attempts: i64, now: Instant) -> Option<Instant> {
    retry::next_attempt(attempts, ATTEMPTS, now)
}
