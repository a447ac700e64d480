//! Runs jobs, one at a time: claims one, keeps its lease while its handler works, and writes down how it ended.
//!
//! The handler runs in a task of its own, so that neither its panic nor its long calculation takes the lease with it. When the lease is lost
//! or the server stops, that task is ended at its next await before anything else happens.

use super::model::next_attempt;
use super::store::{self, Lease};
use super::{ATTEMPTS, Job, JobError, Running};
use crate::base::{Clock, Instant, Kind};
use crate::store::{Store, StoreError, in_background};
use futures_util::future::BoxFuture;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tracing::Instrument as _;

/// How long a job of a worker that died waits for another. Shorter, and a slow database costs a healthy worker its job.
const LEASE: Duration = Duration::from_secs(15);
/// Behind the nudges, which other instances do not hear and a crash forgets: the longest that a job which is due waits for an idle worker.
const POLLED_EVERY: Duration = Duration::from_secs(1);

/// Wakes the runner of this process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Nudge {
    queued: Arc<Notify>,
    cancelled: Arc<Notify>,
}

impl Nudge {
    /// After the commit that queued a job: look now. A runner that is busy looks afterwards.
    pub fn nudge(&self) {
        self.queued.notify_one();
    }

    /// After the commit that took a job back: whoever runs one looks whether it is theirs.
    pub fn nudge_running(&self) {
        self.cancelled.notify_waiters();
    }
}

type Handler = Arc<dyn Fn(Running, Instant) -> BoxFuture<'static, Result<Value, JobError>> + Send + Sync>;

/// Runs jobs of the kinds it has handlers for.
pub struct Runner {
    store: Store,
    clock: Clock,
    nudge: Nudge,
    lease: Duration,
    handlers: BTreeMap<&'static str, Handler>,
    stopped: watch::Sender<bool>,
}

/// A handler made of a verb that wants what it works with: `runner.on("kind", with(services, verb))`.
pub fn with<C, F, W>(context: &C, verb: F) -> impl Fn(Running, Instant) -> W + Send + Sync + 'static
where
    C: Clone + Send + Sync + 'static,
    F: Fn(C, Running, Instant) -> W + Send + Sync + 'static,
{
    let context = context.clone();
    move |job, now| verb(context.clone(), job, now)
}

/// How an attempt ended.
enum End {
    Handler(Result<Value, JobError>),
    Panic,
    Interrupted,
}

impl Runner {
    pub fn new(store: Store, clock: Clock, nudge: Nudge) -> Self {
        Self {
            store,
            clock,
            nudge,
            lease: LEASE,
            handlers: BTreeMap::new(),
            stopped: watch::Sender::new(false),
        }
    }

    /// Another lease than the usual one.
    #[must_use]
    pub fn leasing(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Jobs of this kind are done by this handler; `now` is the instant of the claim.
    #[must_use]
    pub fn on<F, W>(mut self, kind: &'static str, handler: F) -> Self
    where
        F: Fn(Running, Instant) -> W + Send + Sync + 'static,
        W: Future<Output = Result<Value, JobError>> + Send + 'static,
    {
        self.handlers
            .insert(kind, Arc::new(move |job, now| Box::pin(handler(job, now))));
        self
    }

    /// Claims one job and runs it to the end of its attempt. `false`: none was to be had. What goes wrong is logged and written to the job.
    pub async fn run_once(&self, now: Instant) -> bool {
        if self.is_stopped() {
            return false;
        }
        let claimed = store::claim(self.store.writer(), self.handlers.keys().copied(), now, self.lease).await;
        let job = match claimed {
            Ok(Some(job)) => job,
            Ok(None) => return false,
            Err(error) => {
                tracing::warn!(%error, "looking for a job");
                return false;
            }
        };
        let span = tracing::info_span!("job", job.id = %job.id, job.kind = job.kind, job.attempt = job.attempts);
        self.attempt(job, now).instrument(span).await;
        true
    }

    /// Waits until it is worth looking for a job: a nudge, a second, or the stop.
    pub async fn wait(&self) {
        let mut stopped = self.stopped.subscribe();
        tokio::select! {
            () = self.nudge.queued.notified() => {}
            () = tokio::time::sleep(POLLED_EVERY) => {}
            // The sender is ours, so this ends by a stop and nothing else.
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
    }

    /// Interrupts the job under way, which is given back and not counted as an attempt; claims no more.
    pub fn stop(&self) {
        self.stopped.send_replace(true);
    }

    pub fn is_stopped(&self) -> bool {
        *self.stopped.borrow()
    }

    async fn attempt(&self, job: Job, now: Instant) {
        let lease = Lease::from(&job);
        let attempts = job.attempts;
        let end = if attempts > ATTEMPTS {
            // Its workers died of it, one after the other: nobody was left to write that down.
            End::Handler(Err(JobError::GiveUp("no attempt came to an end".to_owned())))
        } else {
            self.handled(job, now).await
        };
        match self.write_down(lease, attempts, end).await {
            Ok(true) => {}
            Ok(false) => tracing::info!("the job was taken back, or another worker has taken it over"),
            // The lease runs out, and the job is tried again.
            Err(error) => tracing::error!(%error, "the end of a job's attempt could not be stored"),
        }
    }

    /// Runs the handler under a lease that is renewed meanwhile.
    async fn handled(&self, job: Job, now: Instant) -> End {
        let lease = Lease::from(&job);
        let handler = self.handlers.get(job.kind.as_str());
        let handler = handler.expect("only kinds with a handler are claimed").clone();
        let running = Running::new(job, self.store.clone(), self.clock.clone(), self.lease);
        let mut stopped = self.stopped.subscribe();
        let mut task = JoinSet::new();
        task.spawn(in_background(async move { handler(running, now).await }).in_current_span());
        let end = tokio::select! {
            biased;
            ended = task.join_next() => match ended {
                Some(Ok(result)) => End::Handler(result),
                _ => End::Panic,
            },
            () = self.keep(lease) => End::Handler(Err(JobError::LostLease)),
            _ = stopped.wait_for(|stopped| *stopped) => End::Interrupted,
        };
        // Nothing of it goes on when somebody else begins.
        task.shutdown().await;
        end
    }

    /// Renews the lease, three times in its length so that two may fail, and when a job was taken back here; ends when it is lost.
    async fn keep(&self, lease: Lease) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.lease / 3) => {}
                () = self.nudge.cancelled.notified() => {}
            }
            match store::renew(self.store.writer(), lease, self.clock.now().plus(self.lease)).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => tracing::warn!(%error, "renewing the lease of a job"),
            }
        }
    }

    /// Answers whether the lease still stood.
    async fn write_down(&self, lease: Lease, attempts: i64, end: End) -> Result<bool, StoreError> {
        let (db, now) = (self.store.writer(), self.clock.now());
        let (outcome, text) = match end {
            End::Handler(Ok(result)) => match store::finish(db, lease, now, result).await {
                Err(error) if error.is_about_data() => {
                    tracing::error!(%error, "the result of a job cannot be stored");
                    return store::fail(db, lease, now, "the result cannot be stored").await;
                }
                stored => return stored,
            },
            End::Interrupted => return store::give_back(db, lease).await,
            End::Handler(Err(JobError::LostLease)) => return Ok(false),
            End::Handler(Err(JobError::GiveUp(text))) => (None, text),
            End::Handler(Err(JobError::Retry(text))) => (next_attempt(attempts, now), text),
            End::Handler(Err(JobError::Store(error))) => {
                let text = if error.kind() == Kind::Unavailable {
                    tracing::warn!(%error, "the database did not answer a job");
                    "the database did not answer"
                } else {
                    tracing::error!(%error, "a job failed");
                    "internal error; the server's log knows more"
                };
                (next_attempt(attempts, now), text.to_owned())
            }
            End::Panic => {
                tracing::error!("a job's handler panicked");
                (
                    next_attempt(attempts, now),
                    "internal error; the server's log knows more".to_owned(),
                )
            }
        };
        match outcome {
            Some(at) => store::retry(db, lease, at, &text).await,
            None => {
                tracing::warn!(error = text, "a job is given up");
                store::fail(db, lease, now, &text).await
            }
        }
    }
}
