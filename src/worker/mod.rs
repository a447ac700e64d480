//! Loops that run what nobody waits for. Each does its work in a step of its own (`run_once`) and is separate from the waiting.

use crate::pipeline::Services;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Counts of the catalogue and last uses of keys are saved this often: what a crash may lose, in time.
const SAVED_EVERY: Duration = Duration::from_secs(5);

/// The loops of one server.
#[derive(Debug)]
pub struct Worker {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Starts the loops.
pub fn start(services: Services) -> Worker {
    let (stop, mut stopped) = watch::channel(false);
    let task = tokio::spawn(async move {
        loop {
            let stopping = tokio::select! {
                () = tokio::time::sleep(SAVED_EVERY) => false,
                changed = stopped.changed() => changed.is_err() || *stopped.borrow(),
            };
            run_once(&services).await;
            if stopping {
                return;
            }
        }
    });
    Worker { stop, task }
}

impl Worker {
    /// Lets the loops finish their step and saves what is left.
    pub async fn stop(self) {
        // The loop also ends when nobody holds the sender any more.
        let _ = self.stop.send(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "a worker ended badly");
        }
    }
}

/// Saves counts and last uses, and looks for rules that another instance published.
pub async fn run_once(services: &Services) {
    if let Err(error) = services.rules.refresh(&services.store).await {
        tracing::warn!(%error, "reading the published rules");
    }
    if let Err(error) = services.catalogue.flush(&services.store).await {
        tracing::warn!(%error, "saving the catalogue's counts");
    }
    if let Err(error) = services.keyring.flush(services.now()).await {
        tracing::warn!(%error, "saving the last uses of keys");
    }
}
