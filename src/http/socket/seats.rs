//! Who sits on the open connections: how many there may be, whose keys still hold, and when all must go.
//!
//! Promises: a place is given back when its holder is dropped; a key that was revoked or has expired is noticed within one round for all
//! its connections together, at the cost of one look, however many there are. Connections of `text/event-stream` are counted with the
//! sockets: they are the same thing on another road.

use crate::access::{Holder, Principal};
use crate::pipeline::Services;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;

/// The configuration's section `sockets`.
#[derive(Clone, Copy, Debug)]
pub struct SocketOptions {
    /// How long a socket may take to say who it is.
    pub init: Duration,
    /// A socket that was quiet for so long is asked whether it is there; after twice as long it is closed.
    pub ping: Duration,
    /// A comment after so much quiet in an event stream.
    pub comment: Duration,
    /// How long a connection may take nothing of what it is sent.
    pub slow: Duration,
    /// How often the keys of open connections are looked at.
    pub recheck: Duration,
    pub max_message_bytes: usize,
    pub messages_per_second: u32,
    /// Operations at once on one socket.
    pub operations: usize,
    pub connections: usize,
    pub connections_per_key: usize,
    /// Of one visitor, by tokens of one key.
    pub connections_per_visitor: usize,
}

/// All open connections of this server.
#[derive(Clone)]
pub struct Sockets(Arc<Inner>);

struct Inner {
    options: SocketOptions,
    stopping: watch::Sender<bool>,
    open: watch::Sender<usize>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// Connections by whose they are.
    holders: HashMap<String, usize>,
    /// Connections by the id of their key, and where they hear that it has ended.
    keys: HashMap<String, (usize, watch::Sender<bool>)>,
}

/// A place among all connections.
pub struct Seat(Arc<Inner>);

/// A place among those of one holder, on a connection that says who it is.
pub struct Badge {
    inner: Arc<Inner>,
    holder: String,
    key: Option<String>,
    /// The last answer of a key that is looked after by nobody is that it holds.
    ended: Option<watch::Receiver<bool>>,
}

impl Sockets {
    pub fn new(options: SocketOptions) -> Self {
        Self(Arc::new(Inner {
            options,
            stopping: watch::Sender::new(false),
            open: watch::Sender::new(0),
            held: Mutex::default(),
        }))
    }

    pub fn options(&self) -> &SocketOptions {
        &self.0.options
    }

    /// A place; `None` when all are taken or the server stops.
    pub fn seat(&self) -> Option<Seat> {
        let inner = &self.0;
        let taken = inner.open.send_if_modified(|open| {
            let is_free = *open < inner.options.connections && !*inner.stopping.borrow();
            *open += usize::from(is_free);
            is_free
        });
        taken.then(|| Seat(inner.clone()))
    }

    /// A place among the holder's; `None` when those are taken.
    pub fn badge(&self, holder: &Holder) -> Option<Badge> {
        let inner = &self.0;
        let (name, most) = match &holder.principal {
            Principal::Subject(subject) => (
                format!("{} {:?} {} {}", subject.actor, subject.kind, subject.namespace, subject.value),
                inner.options.connections_per_visitor,
            ),
            principal => (principal.actor().to_string(), inner.options.connections_per_key),
        };
        let mut held = inner.held();
        let count = held.holders.entry(name.clone()).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        let ended = holder.key.as_ref().map(|key| {
            let (count, ended) = held.keys.entry(key.clone()).or_insert_with(|| (0, watch::Sender::new(false)));
            *count += 1;
            ended.subscribe()
        });
        Some(Badge {
            inner: inner.clone(),
            holder: name,
            key: holder.key.clone(),
            ended,
        })
    }

    /// Tells when the server stops.
    pub fn stopping(&self) -> Stopping {
        Stopping(self.0.stopping.subscribe())
    }

    /// Tells all connections to end, and takes no more.
    pub fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    /// Waits until all connections have ended, but not for long: `false` when some are left.
    pub async fn emptied(&self, patience: Duration) -> bool {
        let mut open = self.0.open.subscribe();
        matches!(
            tokio::time::timeout(patience, open.wait_for(|open| *open == 0)).await,
            Ok(Ok(_))
        )
    }

    /// Looks after the keys of open connections until the server stops.
    pub async fn watch_keys(self, services: Services) {
        let mut stopping = self.stopping();
        loop {
            tokio::select! {
                () = stopping.wait() => return,
                () = tokio::time::sleep(self.0.options.recheck) => {}
            }
            self.look_at_keys(&services).await;
        }
    }

    async fn look_at_keys(&self, services: &Services) {
        let keys: Vec<String> = self.0.held().keys.keys().cloned().collect();
        if keys.is_empty() {
            return;
        }
        match services.keyring.ended(&keys, services.now()).await {
            Ok(ended) => {
                let held = self.0.held();
                for (_, sender) in ended.iter().filter_map(|key| held.keys.get(key)) {
                    sender.send_replace(true);
                }
            }
            // A key stays good as long as nobody can say otherwise; a token's own end needs no database.
            Err(error) => tracing::warn!(%error, "looking at the keys of open sockets"),
        }
    }
}

/// Whether the server stops.
pub struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// Resolves when it does.
    pub async fn wait(&mut self) {
        // A sender that is gone means the same.
        let _ = self.0.wait_for(|stopping| *stopping).await;
    }
}

impl Badge {
    /// Resolves when the key was revoked or has expired.
    pub async fn ended(&mut self) {
        match &mut self.ended {
            Some(ended) => {
                // The sender lives as long as the badge that counts in it.
                let _ = ended.wait_for(|ended| *ended).await;
            }
            None => std::future::pending().await,
        }
    }
}

impl Inner {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("no panic happens while it is held")
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

impl Drop for Badge {
    fn drop(&mut self) {
        let mut held = self.inner.held();
        if let Some(count) = held.holders.get_mut(&self.holder) {
            *count -= 1;
            if *count == 0 {
                held.holders.remove(&self.holder);
            }
        }
        let Some(key) = &self.key else { return };
        if let Some((count, _)) = held.keys.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                held.keys.remove(key);
            }
        }
    }
}
