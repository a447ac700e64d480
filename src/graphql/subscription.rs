//! What can be subscribed to. Every stream is pulled: nothing is read before the one before was taken.

use super::feed::{ChangeBatch, ChangeFilter, FeedStart, LastCursor, open, refuse};
use super::feed_customer::{self, CustomerChange};
use super::guard::Needs;
use super::shared::Share;
use super::{error, node_id, principal, services};
use crate::access::Scope;
use crate::feed::Tail;
use async_graphql::{Context, ID, Result, Subscription as SubscriptionRoot};
use futures_util::stream::{self, Stream};
use std::time::Duration;

const BATCHES: std::ops::RangeInclusive<i32> = 1..=1_000;
const HEARTBEATS: std::ops::RangeInclusive<i32> = 1..=3_600;

/// What can be subscribed to.
pub struct Subscription;

/// What can be subscribed to. A subscription asks for one field. It ends with an error, or when its client ends it; who goes on from the
/// last cursor it has processed misses nothing and gets nothing twice.
#[SubscriptionRoot]
impl Subscription {
    /// Every committed change, in the order of the log. The first batch comes at once, so that the client has a cursor; while nothing changes
    /// a heartbeat comes from time to time, and moves the cursor also over changes that the filter leaves out.
    #[graphql(guard = "Needs(Scope::Read)")]
    async fn changes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Where to begin.")] start: FeedStart,
        #[graphql(desc = "Which changes; by default all but EVENT.")] filter: Option<ChangeFilter>,
        #[graphql(desc = "How many changes at once, 1 to 1000.", default = 100)] batch: i32,
        #[graphql(
            desc = "After how many seconds without a change a heartbeat comes, 1 to 3600.",
            default = 15
        )]
        heartbeat_seconds: i32,
    ) -> Result<impl Stream<Item = Result<ChangeBatch>> + use<>> {
        if !BATCHES.contains(&batch) {
            return Err(error::bad_input("batch", "must lie between 1 and 1000"));
        }
        if !HEARTBEATS.contains(&heartbeat_seconds) {
            return Err(error::bad_input("heartbeatSeconds", "must lie between 1 and 3600"));
        }
        let services = services(ctx)?.clone();
        let last = last_cursor(ctx);
        let filter = filter.unwrap_or_default().read(&services)?;
        // Under which ids customers are known is looked up by each reader, at another moment.
        let share = ctx.data::<Share>().ok().filter(|_| filter.customers.is_none()).cloned();
        let heads = services.feed.heads();
        let reader = open(&services, start, filter).await?;
        let heartbeat = Duration::from_secs(u64::from(heartbeat_seconds.unsigned_abs()));
        let size = usize::try_from(batch).unwrap_or(1);
        let tail = Tail::new(reader, heads, size, heartbeat);
        Ok(stream::try_unfold(
            (tail, services, last, share),
            |(mut tail, services, last, share)| async move {
                let batch = tail.next().await.map_err(|error| refuse(&services.feed, &error))?;
                last.set(batch.place);
                let is_answered = match &share {
                    Some(share) if services.feed.listeners() > 1 => share.find(&batch).await,
                    _ => false,
                };
                let batch = match is_answered {
                    true => ChangeBatch::answered(),
                    false => ChangeBatch::new(&services.feed, batch, services.now()),
                };
                Ok(Some((batch, (tail, services, last, share))))
            },
        ))
    }

    /// A customer, whenever anything of theirs has changed: at most four views a second, each of which takes in whatever happened
    /// before it. Follows merges. Without a start the view of now comes first. A subject token may ask for its own customer.
    async fn customer_changed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Any id the customer ever had.")] id: ID,
        #[graphql(desc = "From where on changes count; by default from now on.")] start: Option<FeedStart>,
    ) -> Result<impl Stream<Item = Result<CustomerChange>> + use<>> {
        let id = node_id::customer_id(&id).map_err(|reason| error::bad_input("id", reason))?;
        feed_customer::watch(services(ctx)?, principal(ctx)?, last_cursor(ctx), id, start).await
    }
}

fn last_cursor(ctx: &Context<'_>) -> LastCursor {
    ctx.data::<LastCursor>().ok().cloned().unwrap_or_default()
}
