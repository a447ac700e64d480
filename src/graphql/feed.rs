//! The change log as clients read it: where to start, what to leave out, a batch at a time.

use super::feed_change::ChangeNode;
use super::kinds::Topic;
use super::node_id;
use super::scalars::{Cursor, DateTime};
use super::{error, services};
use crate::base::{CustomerId, Instant};
use crate::feed::{Batch, Feed, FeedError, Filter, Place, Reader, Start};
use crate::pipeline::{Services, changes};
use async_graphql::{Context, Error, ErrorExtensions as _, ID, InputObject, OneofObject, Result, SimpleObject};
use std::sync::{Arc, Mutex};

/// Customers that one filter may name.
const MAX_CUSTOMERS: usize = 1_000;
/// Fields that one filter may name.
const MAX_FIELDS: usize = 100;

/// Where reading the log begins.
#[derive(Clone, Debug, OneofObject)]
pub enum FeedStart {
    /// Behind this cursor: with the first change that its reader has not seen.
    After(Cursor),
    /// With whatever is committed from now on; the value is true.
    FromNow(bool),
    /// With the oldest change that is kept; the value is true.
    FromBeginning(bool),
    /// With the first change recorded at this instant or later.
    At(DateTime),
}

impl FeedStart {
    fn read(self, feed: &Feed) -> Result<Start> {
        match self {
            Self::After(Cursor(text)) => feed.parse(&text).map(Start::After).map_err(|error| refuse(feed, &error)),
            Self::At(DateTime(instant)) => Ok(Start::At(instant)),
            Self::FromNow(true) => Ok(Start::FromNow),
            Self::FromBeginning(true) => Ok(Start::FromBeginning),
            Self::FromNow(false) | Self::FromBeginning(false) => {
                Err(error::bad_input("start", "fromNow and fromBeginning are true or left out"))
            }
        }
    }
}

/// Which changes a reader wants: those for which everything that is given holds. A cursor is a place in the whole log, so the next
/// reader of it may have another filter.
#[derive(Clone, Debug, Default, InputObject)]
pub struct ChangeFilter {
    /// What they are about; left out: everything but EVENT.
    topics: Option<Vec<Topic>>,
    /// Whose changes, at most 1000, by any id they ever had; merges are followed.
    customers: Option<Vec<ID>>,
    /// Those in which one of these fields changed, at most 100.
    changed: Option<Vec<String>>,
}

impl ChangeFilter {
    pub fn read(self, services: &Services) -> Result<Filter> {
        if self
            .customers
            .as_ref()
            .is_some_and(|customers| customers.len() > MAX_CUSTOMERS)
        {
            return Err(error::bad_input("filter.customers", format!("at most {MAX_CUSTOMERS}")));
        }
        if self.changed.as_ref().is_some_and(|fields| fields.len() > MAX_FIELDS) {
            return Err(error::bad_input("filter.changed", format!("at most {MAX_FIELDS}")));
        }
        let customers = self.customers.map(|ids| {
            let ids: std::result::Result<Vec<CustomerId>, String> = ids.iter().map(node_id::customer_id).collect();
            ids.map_err(|reason| error::bad_input("filter.customers", reason))
        });
        Ok(Filter {
            topics: self.topics.map(|topics| topics.into_iter().map(Into::into).collect()),
            customers: customers
                .transpose()?
                .map(|customers| changes::follow(services.store.clone(), customers)),
            changed: self.changed.map(|fields| fields.into_iter().collect()),
            whole_rows: false,
        })
    }
}

/// Some changes, in the order of the log, or none.
#[derive(Clone, Debug, SimpleObject)]
pub struct ChangeBatch {
    /// The changes; those of one transaction come together, unless there are more of them than a batch holds. Empty in a heartbeat.
    changes: Vec<ChangeNode>,
    /// Behind everything up to here, wanted or not: who has processed the changes goes on from it, whatever happened since.
    cursor: Cursor,
    /// Whether nothing more was there to read.
    caught_up: bool,
    /// Whether it holds no change, and only tells that the reader is alive and where it is.
    heartbeat: bool,
    /// The end of the log.
    head: Cursor,
    /// How long ago the oldest change was recorded that is still to come, in seconds, or somewhat more; 0 when nothing is to come.
    lag_seconds: f64,
}

/// How far the log reaches.
#[derive(Clone, Debug, SimpleObject)]
pub struct FeedBounds {
    /// The oldest cursor that is still good: what comes behind it is kept.
    floor: Cursor,
    /// The newest: read it before a list, go on from it behind the list, and nothing is missed.
    head: Cursor,
}

impl ChangeBatch {
    pub fn new(feed: &Feed, batch: Batch, now: Instant) -> Self {
        Self {
            cursor: Cursor(feed.text(batch.place)),
            head: Cursor(feed.text(batch.head)),
            caught_up: batch.caught_up,
            heartbeat: batch.entries.is_empty(),
            lag_seconds: batch.waiting_since.map_or(0.0, |since| seconds_between(since, now)),
            changes: batch.entries.into_iter().map(|entry| ChangeNode::new(feed, entry)).collect(),
        }
    }
}

impl ChangeBatch {
    /// In the place of one whose answer is there already.
    pub fn answered() -> Self {
        Self {
            changes: Vec::new(),
            cursor: Cursor(String::new()),
            caught_up: false,
            heartbeat: false,
            head: Cursor(String::new()),
            lag_seconds: 0.0,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds for people")]
fn seconds_between(since: Instant, now: Instant) -> f64 {
    (now.micros() - since.micros()).max(0) as f64 / 1e6
}

/// A reader that begins where it was asked to.
pub async fn open(services: &Services, start: FeedStart, filter: Filter) -> Result<Reader> {
    let feed = &services.feed;
    let start = start.read(feed)?;
    open_at(feed, start, filter).await.map_err(|error| refuse(feed, &error))
}

async fn open_at(feed: &Feed, start: Start, filter: Filter) -> std::result::Result<Reader, FeedError> {
    let place = feed.place_of(start).await?;
    Reader::open(feed.clone(), place, filter).await
}

/// One page of changes.
pub async fn page(ctx: &Context<'_>, start: FeedStart, filter: Option<ChangeFilter>, first: i32) -> Result<ChangeBatch> {
    let services = services(ctx)?;
    let feed = &services.feed;
    feed.refresh().await.map_err(|cause| error::store(&cause))?;
    let filter = filter.unwrap_or_default().read(services)?;
    let mut reader = open(services, start, filter).await?;
    let size = usize::try_from(first).unwrap_or(1);
    let batch = reader.next(size).await.map_err(|error| refuse(feed, &error))?;
    Ok(ChangeBatch::new(feed, batch, services.now()))
}

/// How far the log reaches.
pub async fn bounds(ctx: &Context<'_>) -> Result<FeedBounds> {
    let feed = &services(ctx)?.feed;
    let bounds = feed.bounds().await.map_err(|cause| error::store(&cause))?;
    Ok(FeedBounds {
        floor: Cursor(feed.text(bounds.floor)),
        head: Cursor(feed.text(bounds.head)),
    })
}

/// Waits until a transaction can be seen, where one is named.
pub async fn at_least(ctx: &Context<'_>, transaction: Option<ID>) -> Result<()> {
    let Some(transaction) = transaction else { return Ok(()) };
    let not_one = |_| error::bad_input("atLeast", "this is no transaction: use one as a mutation answered it");
    let id = transaction.parse().map_err(not_one)?;
    match changes::settled(services(ctx)?, id).await {
        Ok(true) => Ok(()),
        Ok(false) => {
            let message = "atLeast: the transaction cannot be seen here yet: try again";
            Err(error::refuse(error::Code::NotYet, message))
        }
        Err(cause) => Err(error::store(&cause)),
    }
}

/// Why the log cannot be read from there, with what to go on from.
pub fn refuse(feed: &Feed, error: &FeedError) -> Error {
    let code = match error {
        FeedError::Store(cause) => return error::store(cause),
        FeedError::Invalid => error::Code::CursorInvalid,
        FeedError::Expired { .. } => error::Code::CursorExpired,
        FeedError::Epoch => error::Code::CursorEpoch,
    };
    let refusal = error::refuse(code, error.to_string());
    match error {
        FeedError::Expired { bounds } => refusal.extend_with(|_, extensions| {
            extensions.set("floorCursor", feed.text(bounds.floor));
            extensions.set("headCursor", feed.text(bounds.head));
        }),
        _ => refusal,
    }
}

/// The cursor of what a stream emitted last: whoever must end the stream tells its client to go on from there.
#[derive(Clone, Debug, Default)]
pub struct LastCursor(Arc<Mutex<Option<Place>>>);

impl LastCursor {
    pub fn set(&self, place: Place) {
        *self.0.lock().expect("no panic happens while it is held") = Some(place);
    }

    pub fn get(&self) -> Option<Place> {
        *self.0.lock().expect("no panic happens while it is held")
    }
}
