//! The loop that looks again at customers who are due.

use crate::pipeline::Services;
use crate::pipeline::refresh::Refresher;
use crate::store::in_background;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Behind the nudges, which other instances do not hear and a crash forgets: the longest that a customer who is due waits for an idle loop.
const POLLED_EVERY: Duration = Duration::from_secs(1);
/// After a nudge what comes together is let come, so that a customer is looked at once and not for each message. Longer is felt.
const GATHERED_FOR: Duration = Duration::from_millis(10);
/// Counting who waits costs a reading of them, and nobody watches more closely.
const REPORTED_EVERY: Duration = Duration::from_secs(10);

/// The loop of one server.
pub struct Refreshing {
    stop: watch::Sender<bool>,
    tasks: [JoinHandle<()>; 2],
}

impl Refreshing {
    pub fn start(services: Services, refresher: Refresher) -> Self {
        let stop = watch::Sender::new(false);
        let reporting = report(services.clone(), refresher.clone(), stop.subscribe());
        let refreshing = refresh(services, refresher, stop.subscribe());
        Self {
            stop,
            tasks: [
                tokio::spawn(in_background(refreshing)),
                tokio::spawn(in_background(reporting)),
            ],
        }
    }

    /// Lets the batch under way end, and begins no other.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "the refresh ended badly");
            }
        }
    }
}

async fn refresh(services: Services, refresher: Refresher, mut stopped: watch::Receiver<bool>) {
    while !*stopped.borrow() {
        match refresher.run_once(services.now()).await {
            Ok(claimed) if refresher.may_have_left_some(claimed) => continue,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "refreshing customers"),
        }
        let nudged = async {
            services.refresh.nudged().await;
            tokio::time::sleep(GATHERED_FOR).await;
        };
        tokio::select! {
            () = nudged => {}
            () = tokio::time::sleep(POLLED_EVERY) => {}
            // A dropped sender means the same as a sent stop.
            _ = stopped.wait_for(|stop| *stop) => return,
        }
    }
}

async fn report(services: Services, refresher: Refresher, mut stopped: watch::Receiver<bool>) {
    loop {
        if let Err(error) = refresher.report(services.now()).await {
            tracing::debug!(%error, "counting who is due");
        }
        tokio::select! {
            () = tokio::time::sleep(REPORTED_EVERY) => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
    }
}
