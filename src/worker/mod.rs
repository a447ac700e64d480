//! Loops that run what nobody waits for. Each does its work in a step of its own (`run_once`) and is separate from the waiting.

mod dispatching;
pub mod feed;
mod refreshing;

pub use dispatching::Dispatching;
pub use refreshing::Refreshing;

use crate::base::Stopwatch;
use crate::job::Runner;
use crate::pipeline::{Services, lists};
use crate::store::in_background;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Counts of the catalogue and last uses of keys are saved this often: what a crash may lose, in time.
const SAVED_EVERY: Duration = Duration::from_secs(5);

/// After one sweep of what lists lean on the next waits at least so long, and so many times what that one took: it costs little of a
/// small database and no more than a fiftieth of the time of a large one.
const SWEPT_EVERY: Duration = Duration::from_secs(60);
const SWEEP_RESTS: f64 = 50.0;

/// The loops of one server.
pub struct Worker {
    stop: watch::Sender<bool>,
    saving: JoinHandle<()>,
    sweeping: Option<JoinHandle<()>>,
    jobs: Option<(Arc<Runner>, JoinHandle<()>)>,
}

/// Starts the loops. Without a runner this server leaves background jobs to others.
pub fn start(services: Services, runner: Option<Runner>) -> Worker {
    let (stop, mut stopped) = watch::channel(false);
    let sweeping = runner
        .as_ref()
        .map(|_| tokio::spawn(in_background(sweep(services.clone(), stop.subscribe()))));
    let jobs = runner.map(|runner| {
        let runner = Arc::new(runner);
        (
            runner.clone(),
            tokio::spawn(in_background(run_jobs(services.clone(), runner))),
        )
    });
    let saving = tokio::spawn(in_background(async move {
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
    }));
    Worker {
        stop,
        saving,
        sweeping,
        jobs,
    }
}

impl Worker {
    /// Gives a job under way back, lets the loops finish their step and saves what is left.
    pub async fn stop(self) {
        // The loop also ends when nobody holds the sender any more.
        let _ = self.stop.send(true);
        let mut tasks = vec![self.saving];
        tasks.extend(self.sweeping);
        if let Some((runner, task)) = self.jobs {
            runner.stop();
            tasks.push(task);
        }
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a worker ended badly");
            }
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

/// Fills columns that older versions left empty, then keeps the copies of when people were last seen. A stop does not wait for a sweep.
async fn sweep(services: Services, mut stopped: watch::Receiver<bool>) {
    let sweeping = async {
        match lists::fill_folded(&services).await {
            Ok(0) => {}
            Ok(filled) => tracing::info!(customers = filled, "folded names, addresses and numbers for lists"),
            Err(error) => tracing::warn!(%error, "folding names, addresses and numbers for lists"),
        }
        loop {
            let watch = Stopwatch::start();
            if let Err(error) = lists::copy_last_seen(&services).await {
                tracing::warn!(%error, "copying when customers were last seen");
            }
            let rest = Duration::from_secs_f64(watch.seconds() * SWEEP_RESTS);
            tokio::time::sleep(rest.max(SWEPT_EVERY)).await;
        }
    };
    tokio::select! {
        () = sweeping => {}
        // A dropped sender means the same as a sent stop.
        _ = stopped.wait_for(|stop| *stop) => {}
    }
}

/// One job after the other, until the runner is stopped.
async fn run_jobs(services: Services, runner: Arc<Runner>) {
    while !runner.is_stopped() {
        if !runner.run_once(services.now()).await {
            runner.wait().await;
        }
    }
}
