//! Words between instances over Redis: "somebody committed" to the stamper, "there is more to read" to the readers.
//!
//! Promises: nothing depends on them. Everybody looks at the database from time to time without a word, so a Redis that is stopped, hung,
//! flushed or absent costs latency and loses nothing; nobody who commits waits for Redis, since a task of its own passes the word on; every
//! call has a time limit, and both connections are made anew by themselves.

use super::Feed;
use futures_util::StreamExt as _;
use redis::{AsyncConnectionConfig, Client, RedisError, aio::MultiplexedConnection};
use std::time::Duration;
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(500);
/// An idle publisher says so often that it is there; a listener that hears nothing for so long connects anew.
const ALIVE_EVERY: Duration = Duration::from_secs(5);
const SILENT_AFTER: Duration = Duration::from_secs(15);

/// What is said.
const COMMIT: &str = "commit";
const HEAD: &str = "head";
const ALIVE: &str = "alive";

/// What this instance tells the others, and what it hears.
#[derive(Clone, Debug)]
pub struct Wake {
    client: Client,
    /// Of this installation alone: several may share a Redis.
    channel: String,
}

impl Wake {
    /// None without a URL. The URL was checked with the settings; one that Redis's client does not understand is told here.
    pub fn new(url: &str, feed: &Feed) -> Option<Self> {
        if url.is_empty() {
            return None;
        }
        match Client::open(url) {
            Ok(client) => Some(Self {
                client,
                channel: format!("tributary:{}", feed.store().hash_key().id("wake", &[]).simple()),
            }),
            Err(error) => {
                tracing::error!(%error, "redis.url cannot be used: instances look for changes without being told");
                None
            }
        }
    }

    /// Tells the others what happens here: commits, on PostgreSQL, and heads that this instance's stamper made (`stamped`).
    pub async fn tell(&self, mut commits: watch::Receiver<u64>, mut stamped: watch::Receiver<u64>) {
        loop {
            let mut connection = match self.connect().await {
                Ok(connection) => connection,
                Err(error) => {
                    complain(&error, "telling");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            loop {
                let word = tokio::select! {
                    changed = stamped.changed() => if changed.is_ok() { HEAD } else { return },
                    changed = commits.changed() => if changed.is_ok() { COMMIT } else { return },
                    () = tokio::time::sleep(ALIVE_EVERY) => ALIVE,
                };
                if let Err(error) = self.publish(&mut connection, word).await {
                    complain(&error, "telling");
                    break;
                }
            }
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        within(self.client.get_multiplexed_async_connection_with_config(&config)).await
    }

    async fn publish(&self, connection: &mut MultiplexedConnection, word: &str) -> Result<(), RedisError> {
        let mut command = redis::cmd("PUBLISH");
        command.arg(&self.channel).arg(word);
        within(command.query_async::<()>(connection)).await
    }

    /// Passes on what the others tell: `committed` to this instance's stamper, and to its readers that there is more to read.
    pub async fn listen(&self, feed: &Feed, committed: &watch::Sender<u64>) {
        loop {
            if let Err(error) = self.listen_once(feed, committed).await {
                complain(&error, "listening");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn listen_once(&self, feed: &Feed, committed: &watch::Sender<u64>) -> Result<(), RedisError> {
        let mut listening = within(self.client.get_async_pubsub()).await?;
        within(listening.subscribe(&self.channel)).await?;
        // What was said meanwhile is lost.
        feed.hint();
        committed.send_modify(|count| *count = count.wrapping_add(1));
        let mut words = listening.on_message();
        while let Ok(Some(word)) = tokio::time::timeout(SILENT_AFTER, words.next()).await {
            match word.get_payload::<String>().as_deref() {
                Ok(COMMIT) => committed.send_modify(|count| *count = count.wrapping_add(1)),
                Ok(HEAD) => feed.hint(),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The answer of a call, or that it took too long.
async fn within<T>(call: impl Future<Output = Result<T, RedisError>>) -> Result<T, RedisError> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(answer) => answer,
        Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    }
}

fn complain(error: &RedisError, doing: &str) {
    metrics::counter!("tributary_redis_failures_total").increment(1);
    tracing::warn!(%error, doing, "Redis does not answer: changes are found by looking for them");
}
