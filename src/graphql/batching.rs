//! Loaders that answer all questions of one level of a query in one statement, always.
//!
//! The library's loader waits a millisecond for further questions and then asks on another thread: on a busy machine it asks too
//! early and a page takes more statements, on an idle one it waits in vain. Here a loader's work runs in the task of its own request,
//! in rounds: the query goes as far as it can, then everything it asked for is loaded at once, then it goes on. So every sibling has
//! asked, the number of statements does not depend on luck, and nobody waits for a clock.

use super::loaders::{Loaders, Questions};
use crate::store::Store;
use async_graphql::dataloader::{DataLoader, HashMapCache};
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Loads that one request has asked for and nobody runs yet.
pub struct Waiting(UnboundedReceiver<BoxFuture<'static, ()>>);

/// The loaders of one request, and what they will want to load.
pub fn loaders(store: Store) -> (Loaders, Waiting) {
    let (sender, receiver) = unbounded_channel();
    let later = move |load| {
        // A request that has ended needs no answer.
        let _ = sender.send(load);
    };
    let loaders = DataLoader::with_cache(Questions::new(store), later, HashMapCache::default()).delay(Duration::ZERO);
    (loaders, Waiting(receiver))
}

/// Runs a query in rounds: as far as it gets, then all loads it asked for, then on.
pub async fn run_with_loads<T>(query: impl Future<Output = T>, mut waiting: Waiting) -> T {
    let mut query = pin!(query);
    let mut round = FuturesUnordered::new();
    poll_fn(|context| {
        loop {
            while let Poll::Ready(Some(())) = round.poll_next_unpin(context) {}
            if !round.is_empty() {
                // What it reads without a loader goes on meanwhile: a resolver that was given a connection and is not run would keep
                // it from the loads that wait for one. What it asks for now is loaded in the next round.
                return query.as_mut().poll(context);
            }
            if let Poll::Ready(answer) = query.as_mut().poll(context) {
                return Poll::Ready(answer);
            }
            while let Ok(load) = waiting.0.try_recv() {
                round.push(load);
            }
            if round.is_empty() {
                // It waits for something that is no load, and will be woken by it.
                return Poll::Pending;
            }
        }
    })
    .await
}
