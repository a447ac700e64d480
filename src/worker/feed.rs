//! The loops of the change log: its tail is read, transactions get their positions, old rows go, instances pass the word.

use crate::base::{Instant, Stopwatch};
use crate::feed::{Retention, Stamper, Wake, retention};
use crate::pipeline::Services;
use crate::store::in_background;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Without a word everybody looks so often: what a lost word costs.
const LOOKED_EVERY: Duration = Duration::from_millis(500);
/// Looks at the tail are at least so far apart, so that a burst of commits is read in few of them.
const BREATH: Duration = Duration::from_millis(2);
/// Each of many readers costs its share of a batch, however small: they get fewer and larger ones.
const BREATH_OF_READER: Duration = Duration::from_micros(50);
const LONGEST_BREATH: Duration = Duration::from_millis(50);
/// After one look at what is due the next waits at least so long, and so many times what that one took.
const PRUNED_EVERY: Duration = Duration::from_secs(60);
const PRUNE_RESTS: f64 = 50.0;

/// The configuration as far as these loops need it.
#[derive(Clone, Debug)]
pub struct FeedOptions {
    /// Empty: instances are not told of each other's commits.
    pub redis_url: String,
    pub retention: Retention,
}

/// The loops of one server.
pub struct FeedLoops {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts the loops.
pub fn start(services: &Services, options: FeedOptions) -> FeedLoops {
    let feed = services.feed.clone();
    let (stop, stopped) = watch::channel(false);
    let (committed, told) = watch::channel(0);
    let stamped = watch::Sender::new(0);
    let holder = services.store.ids().time_ordered(services.now()).to_string();
    let mut tasks = Vec::new();
    let mut spawn = |work: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        tasks.push(tokio::spawn(in_background(work)));
    };
    spawn(Box::pin(until(stopped.clone(), read_tail(services.clone()))));
    if let Some(wake) = Wake::new(&options.redis_url, &feed) {
        let (teller, commits, heads) = (wake.clone(), services.store.commits(), stamped.subscribe());
        spawn(Box::pin(until(
            stopped.clone(),
            async move { teller.tell(commits, heads).await },
        )));
        let listening = feed.clone();
        spawn(Box::pin(until(stopped.clone(), async move {
            wake.listen(&listening, &committed).await;
        })));
    }
    if services.store.is_postgres() {
        let stamper = Stamper::new(services.store.clone(), holder.clone());
        spawn(Box::pin(stamp(services.clone(), stamper, told, stamped, stopped.clone())));
    }
    spawn(Box::pin(until(stopped, prune(services.clone(), holder, options.retention))));
    FeedLoops { stop, tasks }
}

impl FeedLoops {
    /// Ends the loops; another instance may stamp at once.
    pub async fn stop(self) {
        // The loops also end when nobody holds the sender any more.
        let _ = self.stop.send(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a loop of the change log ended badly");
            }
        }
    }
}

async fn until(mut stopped: watch::Receiver<bool>, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        // A dropped sender means the same as a sent stop.
        _ = stopped.wait_for(|stop| *stop) => {}
    }
}

/// Reads what is new. On SQLite a commit is a word, on PostgreSQL what the stamper has done.
async fn read_tail(services: Services) {
    let feed = &services.feed;
    let mut commits = feed.store().commits();
    let mut hints = feed.hints();
    let lag = metrics::gauge!("tributary_feed_lag_seconds");
    loop {
        commits.borrow_and_update();
        hints.borrow_and_update();
        match feed.look().await {
            Ok(Some(newest)) => lag.set(seconds_between(newest, services.now())),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "reading the change log"),
        }
        let of_readers = BREATH_OF_READER * u32::try_from(feed.listeners()).unwrap_or(u32::MAX).min(10_000);
        tokio::time::sleep(of_readers.clamp(BREATH, LONGEST_BREATH)).await;
        let is_told = !feed.store().is_postgres() && feed.has_listeners();
        tokio::select! {
            _ = commits.changed(), if is_told => {}
            _ = hints.changed() => {}
            () = tokio::time::sleep(LOOKED_EVERY) => {}
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a metric")]
fn seconds_between(since: Instant, now: Instant) -> f64 {
    (now.micros() - since.micros()).max(0) as f64 / 1e6
}

/// Stamps as soon as somebody committed.
async fn stamp(
    services: Services,
    mut stamper: Stamper,
    mut told: watch::Receiver<u64>,
    stamped: watch::Sender<u64>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut commits = services.store.commits();
    let mut is_told = true;
    loop {
        commits.borrow_and_update();
        match stamper.run_once(services.now()).await {
            Ok(0) => {}
            Ok(_) => {
                services.feed.hint();
                stamped.send_modify(|count| *count = count.wrapping_add(1));
            }
            Err(error) => {
                tracing::warn!(%error, "stamping the change log");
                tokio::time::sleep(BREATH).await;
            }
        }
        metrics::gauge!("tributary_feed_is_stamper").set(if stamper.is_holder() { 1.0 } else { 0.0 });
        let is_holder = stamper.is_holder();
        tokio::select! {
            _ = commits.changed(), if is_holder => {}
            changed = told.changed(), if is_told && is_holder => is_told = changed.is_ok(),
            () = tokio::time::sleep(LOOKED_EVERY) => {}
            _ = stopped.wait_for(|stop| *stop) => break,
        }
    }
    stamper.stop().await;
}

/// Removes old rows, in its own time.
async fn prune(services: Services, holder: String, keep: Retention) {
    loop {
        let watch = Stopwatch::start();
        match retention::prune(&services.feed, &holder, services.now(), keep).await {
            Ok(0) => {}
            Ok(transactions) => tracing::info!(transactions, "removed old rows of the change log"),
            Err(error) => tracing::warn!(%error, "removing old rows of the change log"),
        }
        let rest = Duration::from_secs_f64(watch.seconds() * PRUNE_RESTS);
        tokio::time::sleep(rest.max(PRUNED_EVERY)).await;
    }
}
