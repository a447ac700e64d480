//! What can be subscribed to.

use super::error;
use super::guard::Needs;
use super::scalars::DateTime;
use crate::access::Scope;
use async_graphql::{InputObject, OneofObject, Result, SimpleObject, Subscription};
use futures_util::stream::{self, Stream};
use std::time::Duration;

/// The root of subscriptions.
pub struct Subscription;

/// Where a reader of the change log begins.
#[derive(Clone, Debug, OneofObject)]
pub enum FeedStart {
    /// Behind this cursor.
    After(String),
    /// With what happens from now on.
    FromNow(bool),
    /// With the oldest change that is kept.
    FromBeginning(bool),
    /// With the first change recorded at this instant or later.
    At(DateTime),
}

/// Which changes are wanted.
#[derive(Clone, Debug, Default, InputObject)]
pub struct ChangeFilter {
    /// Of these customers; without it of all.
    pub customers: Option<Vec<async_graphql::ID>>,
}

/// Changes in the order in which they were committed.
#[derive(Clone, Debug, SimpleObject)]
pub struct ChangeBatch {
    /// Continue behind it.
    pub cursor: String,
    /// Whether nothing was left to read.
    pub caught_up: bool,
    /// Whether it came because nothing did.
    pub heartbeat: bool,
}

/// What can be subscribed to.
#[Subscription]
impl Subscription {
    /// Changes as they are committed.
    #[graphql(guard = "Needs(Scope::Read)")]
    async fn changes(
        &self,
        #[graphql(desc = "Where to begin.")] start: FeedStart,
        #[graphql(desc = "Which changes; without it all.")] filter: Option<ChangeFilter>,
        #[graphql(desc = "At most so many changes at once.", default = 100)] batch: i32,
        #[graphql(desc = "A batch without changes after so many quiet seconds.", default = 15)] heartbeat_seconds: i32,
    ) -> Result<impl Stream<Item = ChangeBatch> + use<>> {
        let _ = (start, filter, batch);
        let Some(seconds) = u64::try_from(heartbeat_seconds)
            .ok()
            .filter(|seconds| (1..=3600).contains(seconds))
        else {
            return Err(error::bad_input("heartbeatSeconds", "must lie between 1 and 3600"));
        };
        Ok(stream::unfold(0_u64, move |n| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            let batch = ChangeBatch {
                cursor: n.to_string(),
                caught_up: true,
                heartbeat: true,
            };
            Some((batch, n + 1))
        }))
    }
}
