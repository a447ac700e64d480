//! Group commit: deliveries that arrive while a commit is under way share the next one.
//!
//! Promises: a delivery is answered after its commit and not before; a group that the database refuses is taken apart until only the
//! culprit is refused; what waits is bounded, and beyond the bound a delivery is turned away at once.

use super::intake::{self, Delivery, Outcome};
use crate::base::{Clock, Kind};
use crate::ingest::message::Refusal;
use crate::ingest::{Catalogue, RefusedItem, Sightings};
use crate::store::{Store, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

/// Messages of one commit; a larger group gains nothing and makes everyone in it wait.
const GROUP_MESSAGES: usize = 2_500;
/// Each message takes at least this many of the waiting room's places, so that empty deliveries are bounded too.
const LEAST_PLACES: usize = 1;

/// What becomes of one message of a delivery.
pub type Receipt = Result<Outcome, Refusal>;

#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    #[error("too many events are waiting to be stored")]
    Overloaded,
    #[error("the server is shutting down")]
    Stopping,
    #[error("the events could not be stored: {0}")]
    Store(String, Kind),
}

impl IntakeError {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Overloaded => Kind::Overloaded,
            Self::Stopping => Kind::Unavailable,
            Self::Store(_, kind) => *kind,
        }
    }
}

/// The entrance: hands deliveries to the committers.
#[derive(Clone, Debug)]
pub struct Intake {
    waiting: mpsc::UnboundedSender<Waiting>,
    room: Arc<Semaphore>,
    capacity: usize,
}

#[derive(Debug)]
struct Waiting {
    delivery: Delivery,
    answer: oneshot::Sender<Result<Vec<Receipt>, IntakeError>>,
    /// Its places in the waiting room, given back when it is answered.
    _places: OwnedSemaphorePermit,
}

/// The tasks that commit. They end when every `Intake` is gone and everything handed in is stored.
#[derive(Debug)]
pub struct Committers(Vec<JoinHandle<()>>);

impl Committers {
    /// Waits until everything handed in is stored.
    pub async fn finished(self) {
        for committer in self.0 {
            if let Err(error) = committer.await {
                tracing::error!(%error, "a committer ended badly");
            }
        }
    }
}

/// Starts committers: one on SQLite, which has one writer, `parallel` on PostgreSQL. `capacity`: messages that may wait.
pub fn start(store: Store, catalogue: Catalogue, clock: Clock, parallel: usize, capacity: usize) -> (Intake, Committers) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let receiver = Arc::new(Mutex::new(receiver));
    let last_arrival = Arc::new(AtomicI64::new(0));
    let count = if store.is_postgres() { parallel.max(1) } else { 1 };
    let committers = (0..count).map(|_| {
        let committer = Committer {
            store: store.clone(),
            catalogue: catalogue.clone(),
            clock: clock.clone(),
            last_arrival: last_arrival.clone(),
        };
        tokio::spawn(committer.run(receiver.clone()))
    });
    let committers = Committers(committers.collect());
    let capacity = capacity.min(Semaphore::MAX_PERMITS);
    (
        Intake {
            waiting: sender,
            room: Arc::new(Semaphore::new(capacity)),
            capacity,
        },
        committers,
    )
}

impl Intake {
    /// Stores a delivery; answers a receipt for each of its messages, in order, when they are committed.
    pub async fn deliver(&self, delivery: Delivery) -> Result<Vec<Receipt>, IntakeError> {
        let count = (delivery.messages.len() + delivery.refused.len()).clamp(LEAST_PLACES, self.capacity);
        let places = u32::try_from(count).unwrap_or(u32::MAX);
        let places = self
            .room
            .clone()
            .try_acquire_many_owned(places)
            .map_err(|_| IntakeError::Overloaded)?;
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting {
            delivery,
            answer,
            _places: places,
        };
        self.waiting.send(waiting).map_err(|_| IntakeError::Stopping)?;
        answered.await.map_err(|_| IntakeError::Stopping)?
    }
}

struct Committer {
    store: Store,
    catalogue: Catalogue,
    clock: Clock,
    last_arrival: Arc<AtomicI64>,
}

impl Committer {
    async fn run(self, receiver: Arc<Mutex<mpsc::UnboundedReceiver<Waiting>>>) {
        while let Some(group) = next_group(&receiver).await {
            self.commit(group).await;
        }
    }

    async fn commit(&self, group: Vec<Waiting>) {
        let (deliveries, answers): (Vec<_>, Vec<_>) = group
            .into_iter()
            .map(|waiting| (waiting.delivery, (waiting.answer, waiting._places)))
            .unzip();
        match self.store_all(&deliveries).await {
            Ok(outcomes) => {
                for ((answer, _places), outcomes) in answers.into_iter().zip(outcomes) {
                    // A sender that hung up has no need of its answer.
                    let _ = answer.send(Ok(outcomes.into_iter().map(Ok).collect()));
                }
            }
            Err(error) if worth_taking_apart(&error) => {
                tracing::warn!(%error, deliveries = deliveries.len(), "a group was refused; storing its deliveries one by one");
                for (delivery, (answer, _places)) in deliveries.into_iter().zip(answers) {
                    let _ = answer.send(self.store_item_by_item(delivery).await);
                }
            }
            Err(error) => {
                tracing::error!(%error, "a group could not be stored");
                let kind = error.kind();
                for (answer, _places) in answers {
                    let _ = answer.send(Err(IntakeError::Store(public_text(&error).to_owned(), kind)));
                }
            }
        }
    }

    /// One commit for all of it.
    async fn store_all(&self, deliveries: &[Delivery]) -> Result<Vec<Vec<Outcome>>, StoreError> {
        let now = self.clock.now();
        let count: usize = deliveries.iter().map(|delivery| delivery.messages.len()).sum();
        let stored = self
            .store
            .transact(|tx, _| {
                let first_arrival = self.reserve_arrivals(now.micros(), count);
                Box::pin(intake::store(
                    tx,
                    &self.store,
                    &self.catalogue,
                    now,
                    first_arrival,
                    deliveries,
                ))
            })
            .await?;
        let accepted = deliveries.iter().zip(&stored).flat_map(|(delivery, outcomes)| {
            delivery
                .messages
                .iter()
                .zip(outcomes)
                .filter(|(_, outcome)| **outcome == Outcome::Accepted)
                .map(|(message, _)| message)
        });
        self.catalogue.committed(Sightings::of(accepted));
        metrics::histogram!("tributary_intake_group_messages").record(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
        Ok(stored)
    }

    /// The way of last resort: each message by itself, so that only the culprit is refused.
    async fn store_item_by_item(&self, delivery: Delivery) -> Result<Vec<Receipt>, IntakeError> {
        let mut receipts = Vec::with_capacity(delivery.messages.len());
        let mut refused = delivery.refused.clone();
        for (index, message) in delivery.messages.iter().enumerate() {
            let alone = Delivery {
                messages: vec![message.clone()],
                refused: Vec::new(),
                ..delivery.clone()
            };
            match self.store_all(std::slice::from_ref(&alone)).await {
                Ok(outcomes) => receipts.push(Ok(outcomes[0][0])),
                Err(error) if worth_taking_apart(&error) => {
                    tracing::error!(%error, index, "a message could not be stored");
                    let refusal = Refusal {
                        code: "not_storable",
                        message: "the database refused this event; the server's log knows more".to_owned(),
                        field: None,
                    };
                    let payload = serde_json::Value::Object(message.properties.clone()).to_string();
                    refused.push(RefusedItem {
                        index,
                        refusal: refusal.clone(),
                        payload,
                    });
                    receipts.push(Err(refusal));
                }
                Err(error) => return Err(IntakeError::Store(public_text(&error).to_owned(), error.kind())),
            }
        }
        let rest = Delivery {
            messages: Vec::new(),
            refused,
            ..delivery
        };
        self.store_all(std::slice::from_ref(&rest))
            .await
            .map_err(|error| IntakeError::Store(public_text(&error).to_owned(), error.kind()))?;
        Ok(receipts)
    }

    /// Reserves `count` arrival instants that nobody in this process has used: now, or after the last one given out.
    fn reserve_arrivals(&self, now: i64, count: usize) -> i64 {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let previous = self
            .last_arrival
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(now.max(last + 1) + count));
        now.max(previous.unwrap_or_else(|last| last) + 1)
    }
}

/// Waits for one delivery, then takes what else is there, up to one group.
async fn next_group(receiver: &Mutex<mpsc::UnboundedReceiver<Waiting>>) -> Option<Vec<Waiting>> {
    let mut receiver = receiver.lock().await;
    let first = receiver.recv().await?;
    let mut count = first.delivery.messages.len();
    let mut group = vec![first];
    while count < GROUP_MESSAGES {
        let Ok(next) = receiver.try_recv() else { break };
        count += next.delivery.messages.len();
        group.push(next);
    }
    Some(group)
}

/// A statement the database refuses is somebody's fault; an unreachable database is nobody's in the group.
fn worth_taking_apart(error: &StoreError) -> bool {
    matches!(error, StoreError::Statement(_) | StoreError::Corrupt(_))
}

/// For the sender: no statement, no value.
fn public_text(error: &StoreError) -> &'static str {
    match error {
        StoreError::Unavailable(_) | StoreError::LostRace => "the database does not answer",
        StoreError::CommitUnknown(_) => "it is unknown whether they were stored: send them again",
        StoreError::Statement(_) | StoreError::Schema(_) | StoreError::Corrupt(_) => "internal error",
    }
}
