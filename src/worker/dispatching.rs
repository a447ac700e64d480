//! The loop that hands changes over to whoever acts on them.

use crate::pipeline::Services;
use crate::pipeline::dispatch::Dispatcher;
use crate::store::in_background;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Behind the announcements of the log's end: how often the lease is looked at, and a pause after a refusal.
const POLLED_EVERY: Duration = Duration::from_millis(500);

/// The loop of one server.
pub struct Dispatching {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Dispatching {
    /// None when nobody acts on changes: a loop would cost statements for nothing.
    pub fn start(services: Services, dispatcher: Dispatcher) -> Option<Self> {
        if !dispatcher.has_handlers() {
            return None;
        }
        let stop = watch::Sender::new(false);
        let task = tokio::spawn(in_background(dispatch(services, dispatcher, stop.subscribe())));
        Some(Self { stop, task })
    }

    /// Lets the batch under way end; another instance may go on at once.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "handing changes over ended badly");
        }
    }
}

async fn dispatch(services: Services, mut dispatcher: Dispatcher, mut stopped: watch::Receiver<bool>) {
    let mut heads = services.feed.heads();
    while !*stopped.borrow() {
        // Before reading, so that no announcement is missed between it and the waiting.
        heads.borrow_and_update();
        match dispatcher.run_once(services.now()).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "changes were not handed over: they are tried again"),
        }
        let is_holder = dispatcher.is_holder();
        tokio::select! {
            _ = heads.changed(), if is_holder => {}
            () = tokio::time::sleep(POLLED_EVERY) => {}
            // A dropped sender means the same as a sent stop.
            _ = stopped.wait_for(|stop| *stop) => break,
        }
    }
    dispatcher.stop().await;
}
