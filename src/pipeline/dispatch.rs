//! The one reader of the log that acts on it: every change is handed to every handler once, in the order of the log.
//!
//! Promises: what handlers write, what they note and the place behind the batch are one commit, so that whoever is killed between any two
//! writes has neither lost a change nor done anything twice; one instance hands over at a time, under a fenced lease, and one whose lease
//! was taken over commits nothing; a batch that a handler refuses is tried again with growing pauses, and nothing behind it is handed over
//! before. When the log no longer has what follows its place, it begins anew where the log does, and says so.
//! Leaves to others: waiting (`worker`), and what follows from a change (each `Handler` is a feature's).

use super::Services;
use crate::base::Instant;
use crate::feed::{Entry, FeedError, Filter, Log, Place, Reader, Start, consumer};
use crate::store::lease::{self, Lease};
use crate::store::{Store, StoreError};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sea_orm::DatabaseTransaction;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

/// Of the lease and of the place.
pub const NAME: &str = "dispatcher";
/// A dead dispatcher is followed after at most so long.
const LEASE: Duration = Duration::from_secs(5);
/// An idle one renews its lease so long before its end.
const RENEWED_BEFORE: Duration = Duration::from_secs(3);
/// Changes of one commit: enough to make its own cost small, few enough that whoever waits for the same locks does not feel it.
const BATCH: usize = 500;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Something that follows from changes. It is asked for the whole batch at once.
pub trait Handler: Send + Sync {
    /// Writes what follows, by `tx` alone; `log` takes what it has to tell, and readers get that with the same commit, this handler too.
    /// May be called again with the same changes when the transaction was not committed, so it must have no other effect.
    fn take<'t>(
        &'t self,
        tx: &'t DatabaseTransaction,
        changes: &'t [Entry],
        log: &'t mut Log,
    ) -> BoxFuture<'t, Result<(), StoreError>>;
}

/// One instance's part in handing over.
pub struct Dispatcher {
    services: Services,
    /// Names this instance, and no other ever.
    holder: String,
    handlers: Vec<Arc<dyn Handler>>,
    batch: usize,
    lease: Option<Lease>,
    until: Instant,
    reader: Option<Reader>,
    /// Times in a row that the batch in hand was refused, and when it is tried again.
    refused: u32,
    not_before: Instant,
}

/// What became of a batch.
enum Outcome {
    Done,
    /// Another instance hands over now.
    LeaseLost,
    /// Somebody put the place elsewhere meanwhile.
    Moved,
}

impl Dispatcher {
    /// With everybody who acts on changes: today nobody, and then it does nothing at all.
    pub fn new(services: &Services) -> Self {
        Self {
            services: services.clone(),
            holder: services.store.ids().time_ordered(services.now()).to_string(),
            handlers: Vec::new(),
            batch: BATCH,
            lease: None,
            until: Instant::from_micros(0),
            reader: None,
            refused: 0,
            not_before: Instant::from_micros(0),
        }
    }

    /// One handler more. They are asked in this order.
    #[must_use]
    pub fn with(mut self, handler: Arc<dyn Handler>) -> Self {
        self.handlers.push(handler);
        self
    }

    /// Another number of changes in one commit.
    #[must_use]
    pub fn taking(mut self, changes: usize) -> Self {
        self.batch = changes.max(1);
        self
    }

    pub fn has_handlers(&self) -> bool {
        !self.handlers.is_empty()
    }

    pub fn is_holder(&self) -> bool {
        self.lease.is_some()
    }

    /// Hands over one batch, if this instance holds the lease or can have it and no pause is on. Answers whether it got any further: then
    /// there may be more.
    ///
    /// # Errors
    /// When a handler refuses or the database does not answer: nothing was committed, or, when that is unknown, the stored place tells.
    pub async fn run_once(&mut self, now: Instant) -> Result<bool, StoreError> {
        if !self.has_handlers() || !self.has_lease(now).await? || now < self.not_before {
            return Ok(false);
        }
        let handed_over = self.hand_over(now).await;
        match &handed_over {
            Ok(_) => self.refused = 0,
            Err(_) => {
                metrics::counter!("tributary_dispatcher_failures_total").increment(1);
                // What was read is read again from the stored place.
                self.reader = None;
                self.not_before = now.plus(pause(self.refused));
                self.refused = self.refused.saturating_add(1);
            }
        }
        handed_over
    }

    /// Claims the lease or renews it in time.
    async fn has_lease(&mut self, now: Instant) -> Result<bool, StoreError> {
        let store = &self.services.store;
        let Some(lease) = self.lease.clone() else {
            if !lease::is_free(store.writer(), NAME, now).await? {
                return Ok(false);
            }
            self.lease = lease::claim(store.writer(), NAME, &self.holder, now, LEASE).await?;
            self.until = now.plus(LEASE);
            // Whoever held it before may have got further since this instance read.
            self.reader = None;
            if let Some(lease) = &self.lease {
                tracing::info!(fence = lease.fence, "this instance hands changes over");
            }
            return Ok(self.lease.is_some());
        };
        if now.plus(RENEWED_BEFORE) < self.until {
            return Ok(true);
        }
        let held = store.transact(|tx, _| {
            let lease = lease.clone();
            Box::pin(async move { lease.hold(tx, now, LEASE).await })
        });
        match held.await? {
            Some(_) => self.until = now.plus(LEASE),
            None => self.lose_lease(),
        }
        Ok(self.lease.is_some())
    }

    fn lose_lease(&mut self) {
        tracing::warn!("another instance hands changes over now");
        // It is for the other to say from now on.
        metrics::gauge!("tributary_dispatcher_lag_seconds").set(0.0);
        self.lease = None;
        self.reader = None;
    }

    async fn hand_over(&mut self, now: Instant) -> Result<bool, StoreError> {
        // Where nobody listens nobody else looks for what is new.
        self.services.feed.refresh().await?;
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => match self.open(now).await {
                Ok(reader) => reader,
                Err(error) => return self.begin_anew(error, now).await,
            },
        };
        let from = reader.place();
        let batch = match reader.next(self.batch).await {
            Ok(batch) => batch,
            Err(error) => return self.begin_anew(error, now).await,
        };
        if let Some(first) = batch.entries.first() {
            report_lag(Some(first.row.recorded_at), now);
        }
        if batch.place == from {
            report_lag(None, now);
            self.reader = Some(reader);
            return Ok(false);
        }
        match self.commit(from, batch.place, batch.entries.into(), now).await? {
            Outcome::Done => {
                report_lag(batch.waiting_since, now);
                self.until = now.plus(LEASE);
                self.reader = Some(reader);
                Ok(true)
            }
            Outcome::Moved => Ok(true),
            Outcome::LeaseLost => {
                self.lose_lease();
                Ok(false)
            }
        }
    }

    /// A reader at the stored place. The first ever begins with what is committed from now on: nobody asked for what was before.
    async fn open(&self, now: Instant) -> Result<Reader, FeedError> {
        let (feed, store) = (&self.services.feed, &self.services.store);
        let start = match consumer::place_of(store.writer(), NAME).await? {
            Some(place) => Start::After(place),
            None => Start::FromNow,
        };
        let place = feed.place_of(start).await?;
        if start == Start::FromNow {
            consumer::ack(store.writer(), NAME, place, now).await?;
        }
        let filter = Filter {
            whole_rows: true,
            ..Filter::default()
        };
        Reader::open(feed.clone(), place, filter).await
    }

    /// Handlers' writes, the place behind them and what they have to tell, or nothing.
    async fn commit(&self, from: Place, to: Place, changes: Arc<[Entry]>, now: Instant) -> Result<Outcome, StoreError> {
        let Some(lease) = &self.lease else {
            return Ok(Outcome::LeaseLost);
        };
        let store = &self.services.store;
        store
            .transact(|tx, _| {
                let (lease, handlers, changes) = (lease.clone(), self.handlers.clone(), changes.clone());
                let mut log = Log::new(store.ids(), now, NAME);
                Box::pin(async move {
                    if lease.hold(tx, now, LEASE).await?.is_none() {
                        return Ok(Outcome::LeaseLost);
                    }
                    if consumer::place_of(tx, NAME).await? != Some(from) {
                        return Ok(Outcome::Moved);
                    }
                    if !changes.is_empty() {
                        for handler in &handlers {
                            let taken = AssertUnwindSafe(handler.take(tx, &changes, &mut log)).catch_unwind().await;
                            taken.unwrap_or_else(|_| Err(StoreError::Corrupt("a handler of changes panicked".to_owned())))?;
                        }
                    }
                    consumer::ack(tx, NAME, to, now).await?;
                    if !log.is_empty() {
                        log.write(tx, now).await?;
                    }
                    Ok(Outcome::Done)
                })
            })
            .await
    }

    /// When the log does not have what follows the place: begins with the oldest change that is kept.
    async fn begin_anew(&self, error: FeedError, now: Instant) -> Result<bool, StoreError> {
        let reason = match error {
            FeedError::Store(error) => return Err(error),
            FeedError::Expired { .. } => "expired",
            FeedError::Epoch => "epoch",
            FeedError::Invalid => "invalid",
        };
        let Some(lease) = &self.lease else { return Ok(false) };
        let floor = self.services.feed.bounds().await?.floor;
        tracing::warn!(
            reason,
            position = floor.position,
            "the log no longer has what follows the dispatcher's place: it begins anew with the oldest change that is kept"
        );
        metrics::counter!("tributary_dispatcher_resets_total", "reason" => reason).increment(1);
        put(&self.services.store, lease, floor, now).await?;
        Ok(true)
    }

    /// Lets another instance take over at once.
    pub async fn stop(mut self) {
        if let Some(lease) = self.lease.take()
            && let Err(error) = lease.release(self.services.store.writer()).await
        {
            tracing::warn!(%error, "giving the dispatcher's lease back");
        }
    }
}

async fn put(store: &Store, lease: &Lease, place: Place, now: Instant) -> Result<(), StoreError> {
    store
        .transact(|tx, _| {
            let lease = lease.clone();
            Box::pin(async move {
                if lease.hold(tx, now, LEASE).await?.is_some() {
                    consumer::reset(tx, NAME, place, now).await?;
                }
                Ok::<_, StoreError>(())
            })
        })
        .await
}

fn pause(refused: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(refused)).min(LONGEST_PAUSE)
}

/// How long the oldest change that was not handed over has waited; none: there is none.
#[expect(clippy::cast_precision_loss, reason = "a metric")]
fn report_lag(waiting_since: Option<Instant>, now: Instant) {
    let micros = waiting_since.map_or(0, |since| (now.micros() - since.micros()).max(0));
    metrics::gauge!("tributary_dispatcher_lag_seconds").set(micros as f64 / 1e6);
}
