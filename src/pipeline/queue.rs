//! Group commit: deliveries that arrive while a commit is under way share the next one.
//!
//! Promises: a delivery is answered after its commit and not before; a group that the database refuses is taken apart until only the
//! culprit is refused; what waits is bounded, and beyond the bound a delivery is turned away at once.

use super::intake::{self, Delivery, Outcome, Stored};
use crate::base::Kind;
use crate::feed::TransactionId;
use crate::ingest::message::Refusal;
use crate::ingest::{RefusedItem, Sightings};
use crate::pipeline::Services;
use crate::store::StoreError;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc, oneshot};
use tokio::task::JoinHandle;

/// Messages of one commit; a larger group gains nothing and makes everyone in it wait.
const GROUP_MESSAGES: usize = 2_500;
/// While a commit is under way the next one waits until it ends or until this many messages are there: many small commits beside each
/// other cost more than a few larger ones in a row, each of which pays for its statements and its flush.
const WORTH_A_COMMIT: usize = 16;

/// What becomes of one message of a delivery.
pub type Receipt = Result<Outcome, Refusal>;

/// What becomes of a delivery.
#[derive(Clone, Debug, Default)]
pub struct Delivered {
    /// One for each message, in order.
    pub receipts: Vec<Receipt>,
    /// The transaction that holds what was new; the last one when the delivery was taken apart. None: nothing was new.
    pub transaction: Option<TransactionId>,
}

impl Delivered {
    /// A commit may be shared: it is news of this delivery only if something of this delivery was new.
    fn add(&mut self, outcomes: Vec<Outcome>, transaction: Option<TransactionId>) {
        let is_news = |outcome: &Outcome| !matches!(outcome, Outcome::Duplicate | Outcome::Suppressed);
        if outcomes.iter().any(is_news) {
            self.transaction = transaction;
        }
        self.receipts.extend(outcomes.into_iter().map(Ok));
    }
}

#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    #[error("too many events are waiting to be stored")]
    Overloaded,
    #[error("the server is shutting down")]
    Stopping,
    #[error("{text}")]
    Store { text: &'static str, kind: Kind },
}

impl IntakeError {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Overloaded => Kind::Overloaded,
            Self::Stopping => Kind::Unavailable,
            Self::Store { kind, .. } => *kind,
        }
    }
}

impl From<StoreError> for IntakeError {
    /// For the sender: no statement, no value.
    fn from(error: StoreError) -> Self {
        let text = match &error {
            StoreError::Unavailable(_) | StoreError::LostRace => "the database does not answer: send the events again",
            StoreError::CommitUnknown(_) => "it is unknown whether the events were stored: send them again",
            StoreError::Statement(_) | StoreError::Schema(_) | StoreError::Corrupt(_) => "internal error",
        };
        Self::Store {
            text,
            kind: error.kind(),
        }
    }
}

/// The entrance: hands deliveries to the committers.
#[derive(Clone, Debug)]
pub struct Intake {
    waiting: mpsc::UnboundedSender<Waiting>,
    room: Arc<Semaphore>,
    capacity: usize,
    committers: usize,
}

#[derive(Debug)]
enum Waiting {
    Delivery(Delivery, Answer),
    /// Whoever takes this commits what it holds and ends.
    End,
}

/// Where the receipts go, and the delivery's places in the waiting room, which are free again when it is answered.
#[derive(Debug)]
struct Answer {
    sender: oneshot::Sender<Result<Delivered, IntakeError>>,
    _places: OwnedSemaphorePermit,
}

impl Answer {
    fn send(self, delivered: Result<Delivered, IntakeError>) {
        // A sender that hung up has no need of its answer.
        let _ = self.sender.send(delivered);
    }
}

/// The tasks that commit.
#[derive(Debug)]
pub struct Committers(Vec<JoinHandle<()>>);

impl Committers {
    /// Waits until everything handed in before `Intake::close` is stored.
    pub async fn finished(self) {
        for committer in self.0 {
            if let Err(error) = committer.await {
                tracing::error!(%error, "a committer ended badly");
            }
        }
    }
}

/// Starts committers: one on SQLite, which has one writer, `parallel` on PostgreSQL. `capacity`: events that may wait.
pub fn start(services: Services, parallel: usize, capacity: usize) -> (Intake, Committers) {
    let (waiting, receiver) = mpsc::unbounded_channel();
    let receiver = Arc::new(Mutex::new(receiver));
    let committers = if services.store.is_postgres() { parallel.max(1) } else { 1 };
    let committer = Committer {
        services,
        commits: Arc::default(),
    };
    let tasks = (0..committers).map(|_| tokio::spawn(committer.clone().run(receiver.clone())));
    let tasks = Committers(tasks.collect());
    let capacity = capacity.min(Semaphore::MAX_PERMITS);
    (
        Intake {
            waiting,
            room: Arc::new(Semaphore::new(capacity)),
            capacity,
            committers,
        },
        tasks,
    )
}

impl Intake {
    /// Stores a delivery; answers a receipt for each of its messages, in order, when they are committed.
    pub async fn deliver(&self, delivery: Delivery) -> Result<Delivered, IntakeError> {
        let places = u32::try_from(delivery.size().clamp(1, self.capacity)).unwrap_or(u32::MAX);
        let places = self
            .room
            .clone()
            .try_acquire_many_owned(places)
            .map_err(|error| match error {
                TryAcquireError::NoPermits => IntakeError::Overloaded,
                TryAcquireError::Closed => IntakeError::Stopping,
            })?;
        let (sender, delivered) = oneshot::channel();
        let waiting = Waiting::Delivery(delivery, Answer { sender, _places: places });
        self.waiting.send(waiting).map_err(|_| IntakeError::Stopping)?;
        delivered.await.map_err(|_| IntakeError::Store {
            text: "internal error",
            kind: Kind::Internal,
        })?
    }

    /// Takes nothing more; the committers store what was handed in and end.
    pub fn close(&self) {
        self.room.close();
        for _ in 0..self.committers {
            // A committer that has ended already needs no telling.
            let _ = self.waiting.send(Waiting::End);
        }
    }
}

#[derive(Clone)]
struct Committer {
    services: Services,
    commits: Arc<Commits>,
}

/// How many commits are under way, and news of each that ends.
#[derive(Debug, Default)]
struct Commits {
    under_way: AtomicUsize,
    ended: Notify,
}

/// A commit under way; ends when it is dropped, even by a panic, or others would wait for it for ever.
struct CommitUnderWay<'c>(&'c Commits);

impl Commits {
    fn begin(&self) -> CommitUnderWay<'_> {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        CommitUnderWay(self)
    }
}

impl Drop for CommitUnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
        self.0.ended.notify_waiters();
    }
}

impl Committer {
    async fn run(self, receiver: Arc<Mutex<mpsc::UnboundedReceiver<Waiting>>>) {
        loop {
            let (group, under_way, ended) = next_group(&receiver, &self.commits).await;
            if !group.is_empty() {
                // In a task of its own: a panic costs its group, whose senders are told, and not the committer.
                let committer = self.clone();
                if let Err(error) = tokio::spawn(async move { committer.commit(group).await }).await {
                    tracing::error!(%error, "a group could not be stored");
                }
            }
            drop(under_way);
            if ended {
                return;
            }
        }
    }

    async fn commit(&self, group: Vec<(Delivery, Answer)>) {
        let (deliveries, answers): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        match self.store_all(&deliveries).await {
            Ok(stored) => {
                for (answer, outcomes) in answers.into_iter().zip(stored.outcomes) {
                    let mut delivered = Delivered::default();
                    delivered.add(outcomes, stored.transaction);
                    answer.send(Ok(delivered));
                }
            }
            Err(error) if worth_taking_apart(&error) => {
                tracing::warn!(%error, deliveries = deliveries.len(), "a group was refused; storing its deliveries one by one");
                for (delivery, answer) in deliveries.into_iter().zip(answers) {
                    answer.send(self.store_apart(delivery).await.map_err(IntakeError::from));
                }
            }
            Err(error) => {
                tracing::error!(%error, "a group could not be stored");
                let (text, kind) = match IntakeError::from(error) {
                    IntakeError::Store { text, kind } => (text, kind),
                    other => ("internal error", other.kind()),
                };
                for answer in answers {
                    answer.send(Err(IntakeError::Store { text, kind }));
                }
            }
        }
    }

    /// One commit for all of it.
    async fn store_all(&self, deliveries: &[Delivery]) -> Result<Stored, StoreError> {
        let now = self.services.now();
        let count: usize = deliveries.iter().map(|delivery| delivery.messages.len()).sum();
        let stored = self
            .services
            .store
            .transact(|tx, _| Box::pin(intake::store(tx, &self.services, now, deliveries)))
            .await?;
        if stored.marked {
            self.services.refresh.nudge();
        }
        let messages = deliveries
            .iter()
            .flat_map(|delivery| &delivery.messages)
            .zip(stored.outcomes.iter().flatten());
        let accepted = messages
            .filter(|(_, outcome)| !matches!(outcome, Outcome::Duplicate | Outcome::Suppressed))
            .map(|(message, _)| message);
        self.services.catalogue.committed(Sightings::of(accepted));
        let suppressed = stored.outcomes.iter().flatten();
        let suppressed = suppressed.filter(|outcome| **outcome == Outcome::Suppressed).count();
        if suppressed > 0 {
            metrics::counter!("tributary_events_suppressed_total").increment(suppressed as u64);
        }
        metrics::histogram!("tributary_intake_group_messages").record(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
        Ok(stored)
    }

    /// A delivery that the database refuses as a whole: halves of it, and halves of those, until only the culprits are left.
    async fn store_apart(&self, delivery: Delivery) -> Result<Delivered, StoreError> {
        let mut delivered = Delivered::default();
        let mut refused = delivery.refused.clone();
        let mut parts = vec![delivery.messages.clone()];
        while let Some(mut messages) = parts.pop() {
            let part = [Delivery {
                messages: messages.clone(),
                refused: Vec::new(),
                ..delivery.clone()
            }];
            match self.store_all(&part).await {
                Ok(stored) => delivered.add(stored.outcomes.into_iter().flatten().collect(), stored.transaction),
                Err(error) if !worth_taking_apart(&error) => return Err(error),
                Err(_) if messages.len() > 1 => {
                    let second_half = messages.split_off(messages.len() / 2);
                    // The last pushed is taken first, so that receipts stay in order.
                    parts.push(second_half);
                    parts.push(messages);
                }
                Err(error) => {
                    for message in messages {
                        tracing::error!(%error, place = message.place, "an event could not be stored");
                        let item = RefusedItem {
                            index: message.place,
                            refusal: not_storable(),
                            payload: message.as_read().to_string(),
                        };
                        delivered.receipts.push(Err(item.refusal.clone()));
                        refused.push(item);
                    }
                }
            }
        }
        self.store_all(&[Delivery {
            messages: Vec::new(),
            refused,
            ..delivery
        }])
        .await?;
        Ok(delivered)
    }
}

/// Waits for one delivery, then takes what else is there, up to one group; beside a commit under way it waits for a group worth one.
/// The group counts as a commit under way from here on. True: this was the end.
async fn next_group<'c>(
    receiver: &Mutex<mpsc::UnboundedReceiver<Waiting>>,
    commits: &'c Commits,
) -> (Vec<(Delivery, Answer)>, CommitUnderWay<'c>, bool) {
    let mut receiver = receiver.lock().await;
    let mut group = Group::default();
    let mut is_open = group.take(receiver.recv().await);
    while is_open {
        // Listens before it looks, so that an end between the two is heard.
        let ended = commits.ended.notified();
        while is_open && group.size < GROUP_MESSAGES {
            let Ok(next) = receiver.try_recv() else { break };
            is_open = group.take(Some(next));
        }
        if !is_open || group.size >= WORTH_A_COMMIT || commits.under_way.load(Ordering::SeqCst) == 0 {
            break;
        }
        tokio::select! {
            next = receiver.recv() => is_open = group.take(next),
            () = ended => {}
        }
    }
    (group.deliveries, commits.begin(), !is_open)
}

/// Deliveries on their way to one commit.
#[derive(Default)]
struct Group {
    deliveries: Vec<(Delivery, Answer)>,
    size: usize,
}

impl Group {
    /// False: nothing more will come.
    fn take(&mut self, waiting: Option<Waiting>) -> bool {
        let Some(Waiting::Delivery(delivery, answer)) = waiting else {
            return false;
        };
        self.size += delivery.size().max(1);
        self.deliveries.push((delivery, answer));
        true
    }
}

/// What the database refuses of the data itself may be one item's fault; an unreachable or busy database is nobody's.
fn worth_taking_apart(error: &StoreError) -> bool {
    error.is_about_data() || matches!(error, StoreError::Corrupt(_))
}

fn not_storable() -> Refusal {
    let message = "the database refused this event; the server's log knows more".to_owned();
    Refusal {
        code: "not_storable",
        message,
        field: None,
    }
}
