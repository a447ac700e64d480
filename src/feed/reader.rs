//! One reader on its way through the log: replay and tail in one.
//!
//! Promises: each change that it wants comes once, in order; a transaction is not divided unless it is larger than a batch; the place
//! moves over what the reader does not want; nothing is read ahead beyond one page of rows, which readers at the end share.

use super::cursor::{END, Place};
use super::read::{Feed, FeedError};
use super::row::{Body, Row};
use crate::base::{EventId, Instant};
use crate::store::StoreError;
use entity::{ChangeOp, Topic};
use futures_util::future::BoxFuture;
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use uuid::Uuid;

/// A batch ends after so many rows even when the reader wanted none of them, so that its place moves on.
const MAX_SCANNED: usize = 20_000;

/// Answers under which ids the customers of a filter are known today: their records' own.
pub type Follow = Arc<dyn Fn() -> BoxFuture<'static, Result<HashSet<Uuid>, StoreError>> + Send + Sync>;

/// Which changes a reader wants.
#[derive(Clone, Default)]
pub struct Filter {
    /// None: every topic but events.
    pub topics: Option<BTreeSet<Topic>>,
    /// None: of everybody, and of nobody.
    pub customers: Option<Follow>,
    /// Those in which one of these fields changed.
    pub changed: Option<BTreeSet<String>>,
    /// Rows are not expanded: a row is one entry, whatever events it lists.
    pub whole_rows: bool,
}

/// A change, or an event that came with it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub row: Arc<Row>,
    pub k: u32,
    /// The event that it is; none: it is the change itself.
    pub event: Option<EventId>,
}

/// The fields of an entry that is an event.
pub const EVENT_FIELDS: [&str; 5] = ["kind", "name", "occurredAt", "properties", "record"];

impl Entry {
    pub fn body(&self) -> &Body {
        self.row.body.as_ref().expect("only rows with a body have entries")
    }

    /// Behind it.
    pub fn place(&self) -> Place {
        Place::at(self.row.position, self.row.transaction, self.row.n, self.k)
    }
}

/// What a reader gets at once.
#[derive(Debug)]
pub struct Batch {
    pub entries: Vec<Entry>,
    /// Everything up to it was read.
    pub place: Place,
    /// The end of the log.
    pub head: Place,
    pub caught_up: bool,
    /// When the oldest change behind `place` was recorded, or an older one; none when there is none.
    pub waiting_since: Option<Instant>,
}

/// Where a reader is. Cheap while it waits.
pub struct Reader {
    feed: Feed,
    filter: Filter,
    /// The ids of the filter's customers.
    ids: HashSet<Uuid>,
    /// Everything up to it was handed out.
    place: Place,
    /// Row and transaction to load next.
    next: (i64, u32),
    /// Rows that were loaded and not looked at.
    rows: VecDeque<Arc<Row>>,
    /// The entry of the first of them to look at.
    k: u32,
    /// Entries of the transaction in hand that did not fit the last batch.
    carried: Vec<Entry>,
    last_recorded: Option<Instant>,
}

impl Reader {
    /// A reader that has read everything up to a place, which was checked.
    pub async fn open(feed: Feed, place: Place, filter: Filter) -> Result<Self, FeedError> {
        let ids = match &filter.customers {
            Some(follow) => follow().await?,
            None => HashSet::new(),
        };
        let (next, k) = match (place.n, place.k) {
            (END, _) => ((place.position + 1, 0), 0),
            (n, END) => ((place.position, n + 1), 0),
            (n, k) => ((place.position, n), k + 1),
        };
        Ok(Self {
            feed,
            filter,
            ids,
            place,
            next,
            rows: VecDeque::new(),
            k,
            carried: Vec::new(),
            last_recorded: None,
        })
    }

    pub fn place(&self) -> Place {
        self.place
    }

    /// Whether there may be something to read at once.
    pub fn has_more(&self, head: Place) -> bool {
        !self.rows.is_empty() || !self.carried.is_empty() || head.position > self.place.position
    }

    /// The next changes, at most so many (one at least). Empty: there are none now, or a long stretch held none that is wanted.
    pub async fn next(&mut self, size: usize) -> Result<Batch, FeedError> {
        let mut entries = std::mem::take(&mut self.carried);
        // Entries from here on are of the transaction in hand.
        let mut began = 0;
        let mut scanned = 0;
        loop {
            if self.rows.is_empty() && !self.load().await? {
                break;
            }
            let row = self.rows.front().expect("rows were loaded").clone();
            if self.next_entries(&row, &mut entries, size) {
                if began > 0 {
                    self.carried = entries.split_off(began);
                } else if let Some(last) = entries.last() {
                    // Larger than a batch: it is divided behind what fits.
                    self.place = last.place();
                }
                return Ok(self.batch(entries));
            }
            self.rows.pop_front();
            self.k = 0;
            scanned += 1;
            self.last_recorded = Some(row.recorded_at);
            if row.is_last() {
                self.place = Place::behind(row.position, row.transaction);
                began = entries.len();
                if entries.len() >= size || scanned >= MAX_SCANNED {
                    break;
                }
            }
        }
        Ok(self.batch(entries))
    }

    /// Collects what is wanted of a row; true when the batch is full and there is more.
    fn next_entries(&mut self, row: &Arc<Row>, entries: &mut Vec<Entry>, size: usize) -> bool {
        let Some(body) = &row.body else { return false };
        let count = if self.filter.whole_rows { 1 } else { row.entries() };
        while self.k < count {
            let event = if self.filter.whole_rows { None } else { row.event(self.k) };
            if self.wants(body, event) {
                if entries.len() >= size {
                    return true;
                }
                entries.push(Entry {
                    row: row.clone(),
                    k: self.k,
                    event,
                });
            }
            self.k += 1;
        }
        false
    }

    fn wants(&self, body: &Body, event: Option<EventId>) -> bool {
        let topic = if event.is_some() { Topic::Event } else { body.topic };
        let by_topic = match &self.filter.topics {
            Some(topics) => topics.contains(&topic),
            None => topic != Topic::Event || self.filter.whole_rows,
        };
        let by_customer =
            || self.filter.customers.is_none() || body.customer.is_some_and(|customer| self.ids.contains(&customer.0));
        let by_field = || match (&self.filter.changed, event) {
            (None, _) => true,
            (Some(fields), Some(_)) => EVENT_FIELDS.iter().any(|field| fields.contains(*field)),
            (Some(fields), None) => body.changed.keys().any(|field| fields.contains(field)),
        };
        by_topic && by_customer() && by_field()
    }

    /// Loads a page; false when there is nothing more now.
    async fn load(&mut self) -> Result<bool, FeedError> {
        let (position, n) = self.next;
        let rows = self.feed.rows_from(position, n).await?;
        let Some(last) = rows.last() else {
            if self.feed.head().position >= position {
                self.check_floor(position).await?;
            }
            return Ok(false);
        };
        let is_gone = |row: &Arc<Row>| row.body.is_none() && row.count > 0 && !(row.position == position && n >= row.count);
        if rows[0].position != position || rows.iter().any(is_gone) {
            return Err(FeedError::Expired {
                bounds: self.feed.bounds().await?,
            });
        }
        self.next = match last.is_last() || last.body.is_none() {
            true => (last.position + 1, 0),
            false => (last.position, last.n + 1),
        };
        if let Some(follow) = &self.filter.customers
            && rows.iter().any(|row| self.moves(row))
        {
            self.ids = follow().await?;
        }
        self.rows = rows.into();
        if let Some(first) = self.rows.front()
            && first.body.is_none()
            && first.count > 0
        {
            // The place was behind the last row of its transaction.
            self.rows.pop_front();
            if self.rows.is_empty() {
                return Box::pin(self.load()).await;
            }
        }
        Ok(true)
    }

    /// Whether a row may tell of one of the filter's customers that they are known under other ids since.
    fn moves(&self, row: &Row) -> bool {
        let Some(body) = &row.body else { return false };
        let is_move = body.topic == Topic::Identity || body.topic == Topic::Customer && body.op != ChangeOp::Updated;
        let is_theirs = || {
            let named = [
                Some(body.entity),
                body.customer.map(|customer| customer.0),
                body.record.map(|record| record.0),
            ];
            named.into_iter().flatten().any(|id| self.ids.contains(&id))
        };
        is_move && is_theirs()
    }

    async fn check_floor(&self, position: i64) -> Result<(), FeedError> {
        let bounds = self.feed.bounds().await?;
        if bounds.floor.position >= position {
            return Err(FeedError::Expired { bounds });
        }
        Ok(())
    }

    fn batch(&self, entries: Vec<Entry>) -> Batch {
        let head = self.feed.head().max(self.place);
        let behind = self
            .carried
            .first()
            .map(|entry| entry.row.recorded_at)
            .or_else(|| self.rows.front().map(|row| row.recorded_at));
        let is_behind = behind.is_some() || head.position > self.place.position;
        Batch {
            entries,
            place: self.place,
            head,
            caught_up: !is_behind,
            waiting_since: behind.or(self.last_recorded.filter(|_| is_behind)),
        }
    }
}
