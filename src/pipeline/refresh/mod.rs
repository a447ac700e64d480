//! Customers who are due are looked at again: what follows from their records is computed and every difference is news.
//!
//! Promises: a change and the mark that it leaves are one commit (`marking`), and a mark is gone only when everything it told of has been
//! looked at; a customer is looked at under their lock, so twice is the same as once; what differs is written and nothing else; an
//! interval that opened and closed while nobody looked is told with its true instants (`due::catch_up`); a customer whose refresh fails is taken
//! out of the batch alone, and given up after some attempts until somebody drives it again; a constant number of statements for a batch.
//! Leaves to others: waiting (`worker`), and the values themselves (each `View` is a feature's).

mod facts;
mod histories;
mod marking;
mod retry;
mod rules;
mod settled;
mod worth;

pub use marking::{Concerned, JOB_KIND, mark, mark_buyers};
pub use retry::{NotQuarantined, drive_again};
pub use rules::follow_rules;
pub use settled::{are_settled, is_settled};

use crate::base::{CustomerId, Instant, RecordId};
use crate::due::{self, Claim, Due};
use crate::feed::Log;
use crate::identity::store::neighbours;
use crate::pipeline::Services;
use crate::store::{StoreError, counted_as_here};
use entity::DueClass;
use futures_util::future::BoxFuture;
use sea_orm::DatabaseTransaction;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use worth::Worth;

/// Customers of one transaction, unless settings say otherwise: enough to make the statements' own cost small, few enough that intake,
/// which waits for the same locks, does not feel it.
const BATCH: usize = 200;
/// How long the customers of a worker that died wait for another. A batch takes a small part of a second.
const LEASE: Duration = Duration::from_secs(30);

/// Wakes the refresh of this process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    /// After the commit of a mark: look now. Who is busy looks afterwards.
    pub fn nudge(&self) {
        self.0.notify_one();
    }

    /// Waits for a nudge, also one that came before.
    pub async fn nudged(&self) {
        self.0.notified().await;
    }
}

/// Customers under lock who are to be looked at.
#[derive(Debug)]
pub struct Batch {
    pub now: Instant,
    /// Those who are customers, in the order of their ids.
    pub standing: Vec<Due>,
    /// Ids that are no customer's any more, and whose they are now; `None`: they were erased.
    pub gone: Vec<(Due, Option<CustomerId>)>,
}

/// The instant at which something about a customer may next change by itself.
pub type Nexts = BTreeMap<CustomerId, Instant>;

/// Takes further instants into account: of two for one customer the earlier.
fn join(nexts: &mut Nexts, further: Nexts) {
    for (customer, at) in further {
        let next = nexts.entry(customer).or_insert(at);
        *next = at.min(*next);
    }
}

/// Something that follows from customers' records: loads what it asks for the whole batch, writes what differs and notes every difference.
pub trait View: Send + Sync {
    fn refresh<'t>(
        &'t self,
        tx: &'t DatabaseTransaction,
        batch: &'t Batch,
        log: &'t mut Log,
    ) -> BoxFuture<'t, Result<Nexts, StoreError>>;
}

/// Refreshes customers. Cheap to clone.
#[derive(Clone)]
pub struct Refresher {
    services: Services,
    views: Vec<Arc<dyn View>>,
    batch: usize,
    lease: Duration,
}

/// Why a batch was not refreshed.
enum Failure {
    Store(StoreError),
    /// A view panicked.
    Panic,
}

impl Failure {
    /// Whether a smaller batch without the culprit may pass; else nobody in it is to blame.
    fn is_worth_taking_apart(&self) -> bool {
        match self {
            Self::Store(error) => error.is_about_data() || matches!(error, StoreError::Corrupt(_)),
            Self::Panic => true,
        }
    }
}

impl Refresher {
    /// With everything that follows from records today.
    pub fn new(services: &Services) -> Self {
        Self {
            services: services.clone(),
            views: vec![Arc::new(Worth::new(services))],
            batch: BATCH,
            lease: LEASE,
        }
    }

    /// One view more.
    #[must_use]
    pub fn with(mut self, view: Arc<dyn View>) -> Self {
        self.views.push(view);
        self
    }

    /// Another number of customers in one transaction.
    #[must_use]
    pub fn taking(mut self, customers: usize) -> Self {
        self.batch = customers.max(1);
        self
    }

    /// Whether a run that claimed so many may have left others who were due.
    pub fn may_have_left_some(&self, claimed: usize) -> bool {
        claimed >= self.batch
    }

    /// Claims a batch of customers who are due, LIVE first, and refreshes them. Answers how many were claimed.
    ///
    /// # Errors
    /// When the database does not answer, or fails for a reason that is no customer's: what was claimed is due again.
    pub async fn run_once(&self, now: Instant) -> Result<usize, StoreError> {
        let store = &self.services.store;
        if !due::is_any(store.reader(), now).await? {
            return Ok(0);
        }
        let mut claims = due::claim(store.writer(), DueClass::Live, now, self.lease, self.batch).await?;
        if claims.len() < self.batch {
            let room = self.batch - claims.len();
            claims.extend(due::claim(store.writer(), DueClass::Bulk, now, self.lease, room).await?);
        }
        // Not in the transaction, since it may write by itself the first time.
        self.services.reporting().await?;
        // One after the other has its neighbours on the same pages.
        claims.sort_unstable_by_key(|claim| claim.customer);
        let claimed = claims.len();
        let mut parts = vec![claims];
        while let Some(mut part) = parts.pop() {
            match self.attempt(&part, now).await {
                Ok(refreshed) => metrics::counter!("tributary_refresh_customers_total").increment(refreshed),
                Err(failure) if failure.is_worth_taking_apart() && part.len() > 1 => {
                    let second_half = part.split_off(part.len() / 2);
                    parts.extend([second_half, part]);
                }
                Err(failure) if failure.is_worth_taking_apart() => self.fail(part[0], now, &failure).await?,
                Err(Failure::Store(error)) => {
                    let rest = parts.iter().flatten().chain(&part);
                    // Else the lease runs out.
                    let released = due::release(store.writer(), rest.map(|claim| (claim.customer, claim.fence))).await;
                    if let Err(error) = released {
                        tracing::debug!(%error, "letting claims go");
                    }
                    return Err(error);
                }
                Err(Failure::Panic) => unreachable!("worth taking apart"),
            }
        }
        Ok(claimed)
    }

    /// In a task of its own, so that a panic is an answer. Answers how many were looked at.
    async fn attempt(&self, claims: &[Claim], now: Instant) -> Result<u64, Failure> {
        if claims.is_empty() {
            return Ok(0);
        }
        let (own, claims) = (self.clone(), claims.to_vec());
        let refreshing = async move {
            let store = own.services.store.clone();
            store
                .transact::<_, StoreError, _>(|tx, _| Box::pin(own.refresh(tx, &claims, now)))
                .await
        };
        match tokio::spawn(counted_as_here(refreshing)).await {
            Ok(refreshed) => refreshed.map_err(Failure::Store),
            Err(_) => Err(Failure::Panic),
        }
    }

    async fn refresh(&self, tx: &DatabaseTransaction, claims: &[Claim], now: Instant) -> Result<u64, StoreError> {
        let ids: BTreeSet<RecordId> = claims.iter().map(|claim| RecordId(claim.customer.0)).collect();
        let before = neighbours::customers_of(tx, &ids).await?;
        let locked = neighbours::lock_customers(tx, &before.values().copied().collect()).await?;
        // Whose an id is may have changed while its customer's lock was waited for.
        let today = neighbours::customers_of(tx, &ids).await?;
        let mut batch = Batch {
            now,
            standing: Vec::new(),
            gone: Vec::new(),
        };
        let mut left = Vec::new();
        for due in due::held(tx, claims).await? {
            let own = RecordId(due.customer.0);
            match today.get(&own) {
                customer if customer != before.get(&own) => left.push(due),
                Some(customer) if !locked.contains_key(customer) => {
                    return Err(StoreError::Corrupt(format!("the customer {customer} of a record is missing")));
                }
                Some(customer) if *customer == due.customer => batch.standing.push(due),
                customer => batch.gone.push((due, customer.copied())),
            }
        }
        let mut log = Log::new(self.services.store.ids(), now, "refresh");
        let mut nexts = Nexts::new();
        for view in &self.views {
            join(&mut nexts, view.refresh(tx, &batch, &mut log).await?);
        }
        let gone = batch.gone.iter().map(|(due, _)| (*due, None));
        let standing = batch.standing.iter().map(|due| (*due, nexts.get(&due.customer).copied()));
        let done: Vec<(Due, Option<Instant>)> = standing.chain(gone).collect();
        // Whoever lost a claim has not seen what its next holder sees.
        if due::finish(tx, &done, now).await? != done.len() as u64 {
            return Err(StoreError::LostRace);
        }
        due::release(tx, left.iter().map(|due| (due.customer, due.fence))).await?;
        if !log.is_empty() {
            log.write(tx, now).await?;
        }
        Ok(done.len() as u64)
    }

    /// One customer alone, and it failed.
    async fn fail(&self, claim: Claim, now: Instant, failure: &Failure) -> Result<(), StoreError> {
        let text = match failure {
            Failure::Store(error) => error.to_string(),
            Failure::Panic => "a view panicked; the server's log knows more".to_owned(),
        };
        metrics::counter!("tributary_refresh_failures_total").increment(1);
        let is_last = due::fail(self.services.store.writer(), claim, now, &text).await?;
        let (customer, attempts) = (claim.customer, claim.attempts + 1);
        if is_last {
            tracing::error!(customer.id = %customer, attempts, error = text, "the refresh of a customer is given up");
        } else {
            tracing::warn!(customer.id = %customer, attempts, error = text, "the refresh of a customer failed");
        }
        Ok(())
    }

    /// Says how much there is to do, for whoever watches.
    pub async fn report(&self, now: Instant) -> Result<(), StoreError> {
        let backlog = due::backlog(self.services.store.reader(), now).await?;
        let lag = backlog
            .oldest_live
            .map_or(0, |oldest| now.micros().saturating_sub(oldest.micros()));
        #[expect(clippy::cast_precision_loss, reason = "numbers for people")]
        {
            metrics::gauge!("tributary_refresh_lag_seconds").set(lag as f64 / 1e6);
            metrics::gauge!("tributary_refresh_due").set(backlog.due as f64);
            metrics::gauge!("tributary_refresh_claimed").set(backlog.claimed as f64);
            metrics::gauge!("tributary_refresh_quarantined").set(backlog.quarantined as f64);
        }
        Ok(())
    }
}
