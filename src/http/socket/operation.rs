//! One operation on a connection, in a task of its own.
//!
//! Promises: what an operation computes does not depend on how fast the connection takes it, so none holds a lock or a connection to the
//! database while a slow client makes up its mind; the next answer is asked for only when the last one was taken, so there is never
//! more than one. Dropping it ends it.

use crate::access::Principal;
use crate::graphql::{Door, Emission, RequestBody};
use futures_util::StreamExt as _;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;

/// What an operation says, as JSON.
pub enum Saying {
    /// An answer, and where a reader goes on that took it.
    Next { result: String, cursor: Option<String> },
    /// A list of errors: nothing ran, and nothing follows.
    Error(String),
    /// It is over.
    Complete,
}

pub struct Said {
    pub id: Arc<str>,
    /// Which operation of this id.
    pub serial: u64,
    pub saying: Saying,
}

pub struct Operation {
    pub serial: u64,
    pub is_subscription: bool,
    /// Where a reader goes on that took all that was sent.
    pub cursor: Option<String>,
    go: Arc<Semaphore>,
    task: AbortHandle,
}

impl Operation {
    /// Begins; what it says goes to `said`. `serial` tells it from others of the same id.
    pub fn start(
        door: &Door,
        principal: Principal,
        request: RequestBody,
        (id, serial): (Arc<str>, u64),
        said: mpsc::Sender<Box<Said>>,
    ) -> Self {
        let is_subscription = request.is_subscription();
        let go = Arc::new(Semaphore::new(1));
        let mut emissions = door.stream(principal, request);
        let counted = Counted::new(is_subscription);
        let may_go = go.clone();
        let task = tokio::spawn(async move {
            let _counted = counted;
            loop {
                // It is never closed.
                let Ok(permit) = may_go.acquire().await else { return };
                permit.forget();
                let saying = match emissions.next().await {
                    None => Saying::Complete,
                    Some(Emission { answer, .. }) if answer.is_refusal() => Saying::Error(answer.errors_json()),
                    Some(Emission { answer, cursor }) => Saying::Next {
                        cursor,
                        result: answer.to_json(),
                    },
                };
                let is_last = !matches!(saying, Saying::Next { .. });
                let id = id.clone();
                let sent = said.send(Box::new(Said { id, serial, saying })).await;
                if is_last || sent.is_err() {
                    return;
                }
            }
        });
        Self {
            serial,
            is_subscription,
            cursor: None,
            go,
            task: task.abort_handle(),
        }
    }

    /// The last answer was taken: it may think of the next.
    pub fn go_on(&self) {
        self.go.add_permits(1);
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Counts open subscriptions for as long as it lives.
pub struct Counted(bool);

impl Counted {
    pub fn new(is_subscription: bool) -> Self {
        if is_subscription {
            metrics::gauge!("tributary_subscriptions_open").increment(1.0);
        }
        Self(is_subscription)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.0 {
            metrics::gauge!("tributary_subscriptions_open").decrement(1.0);
        }
    }
}
