//! Reading the log: where it begins and ends, whether a cursor is still good, and the rows behind a place.
//!
//! Promises: rows come in the order of positions, each once; what is answered was committed. One look at the database serves every reader
//! at the end of the log (`Ring`); whoever is further behind reads the database. Either way it is the same call.

use super::cursor::{Place, tag_of};
use super::ring::Ring;
use super::row::{PAGE_ROWS, Row, rows_from};
use crate::base::{Instant, Kind};
use crate::store::{Store, StoreError};
use sea_orm::{ConnectionTrait as _, DbErr, Statement};
use std::sync::{Arc, RwLock};
use tokio::sync::watch;
use uuid::Uuid;

/// When the end of the log is further away than so many positions, the tail begins anew there instead of reading up to it.
const MAX_CATCH_UP: i64 = 4_000;
/// Transactions recorded around one instant are in no order; so many are looked at to find the first of them.
const AROUND_INSTANT: usize = 1_000;

/// The log as readers see it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Feed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    /// The end of the log as far as this instance knows; everything up to it can be read.
    head: watch::Sender<Place>,
    /// Somebody says that there is more to read.
    hints: watch::Sender<u64>,
    ring: RwLock<Ring>,
    /// One looks at a time.
    looking: tokio::sync::Mutex<()>,
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    After(Place),
    FromNow,
    /// With the oldest change that is still kept.
    FromBeginning,
    /// With the first change recorded at this instant or later.
    At(Instant),
}

/// How far back the log reaches, and to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The oldest place that is still good.
    pub floor: Place,
    pub head: Place,
}

/// Why a place cannot be read from.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error("this is no cursor of this server: use one as it was answered")]
    Invalid,
    #[error("the changes behind this cursor are no longer kept: read the customers anew, and go on from a cursor that is")]
    Expired { bounds: Bounds },
    #[error("the log is not the one this cursor was made in, since an older state of it was restored: read the customers anew")]
    Epoch,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl FeedError {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Invalid => Kind::Invalid,
            Self::Expired { .. } | Self::Epoch => Kind::Conflict,
            Self::Store(error) => error.kind(),
        }
    }
}

impl From<DbErr> for FeedError {
    fn from(error: DbErr) -> Self {
        Self::Store(error.into())
    }
}

impl Feed {
    pub fn new(store: Store) -> Self {
        Self(Arc::new(Inner {
            store,
            head: watch::Sender::new(Place::BEGINNING),
            hints: watch::Sender::new(0),
            ring: RwLock::default(),
            looking: tokio::sync::Mutex::default(),
        }))
    }

    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The end of the log as this instance knows it, and every later one.
    pub fn heads(&self) -> watch::Receiver<Place> {
        let heads = self.0.head.subscribe();
        // While nobody listened the tail was not read.
        self.hint();
        heads
    }

    /// The end of the log as this instance knows it.
    pub fn head(&self) -> Place {
        *self.0.head.borrow()
    }

    /// Says that there may be more to read.
    pub fn hint(&self) {
        self.0.hints.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Changes with every word that there may be more to read.
    pub fn hints(&self) -> watch::Receiver<u64> {
        self.0.hints.subscribe()
    }

    /// How many wait for news.
    pub fn listeners(&self) -> usize {
        self.0.head.receiver_count()
    }

    pub fn has_listeners(&self) -> bool {
        self.listeners() > 0
    }

    /// A place as readers keep it.
    pub fn text(&self, place: Place) -> String {
        place.to_text(self.0.store.hash_key())
    }

    /// The place in such a text.
    pub fn parse(&self, text: &str) -> Result<Place, FeedError> {
        Place::parse(text, self.0.store.hash_key()).ok_or(FeedError::Invalid)
    }

    /// How far back the log reaches, and to where, as the database has it.
    pub async fn bounds(&self) -> Result<Bounds, StoreError> {
        let store = &self.0.store;
        let sql = "SELECT l.value, t.tx_id FROM lease l LEFT JOIN change_tx t ON t.position = l.value WHERE l.name = 'retention'";
        let row = store
            .reader()
            .query_one_raw(Statement::from_string(store.backend(), sql))
            .await?;
        let floor = match row {
            Some(row) => match (row.try_get_by_index::<i64>(0)?, row.try_get_by_index::<Option<Uuid>>(1)?) {
                (position, Some(transaction)) => Place::behind(position, transaction),
                _ => Place::BEGINNING,
            },
            None => Place::BEGINNING,
        };
        let head = self.read_head().await?.max(floor);
        // While nobody listened the end was seldom looked at, and a reader that begins now must not take an old one for it.
        if head > self.head() {
            self.look().await?;
        }
        Ok(Bounds { floor, head })
    }

    async fn read_head(&self) -> Result<Place, StoreError> {
        let store = &self.0.store;
        let sql = "SELECT position, tx_id FROM change_tx WHERE position IS NOT NULL ORDER BY position DESC LIMIT 1";
        let row = store
            .reader()
            .query_one_raw(Statement::from_string(store.backend(), sql))
            .await?;
        Ok(match row {
            Some(row) => Place::behind(row.try_get_by_index(0)?, row.try_get_by_index(1)?),
            None => Place::BEGINNING,
        })
    }

    /// The place from which to read.
    pub async fn place_of(&self, start: Start) -> Result<Place, FeedError> {
        match start {
            Start::After(place) => {
                self.check(place).await?;
                Ok(place)
            }
            Start::FromNow => Ok(self.bounds().await?.head),
            Start::FromBeginning => Ok(self.bounds().await?.floor),
            Start::At(instant) => self.place_at(instant).await,
        }
    }

    /// Whether the log still has what follows a place, and is the log that the place was made in.
    pub async fn check(&self, place: Place) -> Result<(), FeedError> {
        let bounds = self.bounds().await?;
        if place.position < bounds.floor.position {
            return Err(FeedError::Expired { bounds });
        }
        if place.position == 0 {
            return Ok(());
        }
        match self.transaction_at(place.position).await? {
            Some(transaction) if tag_of(transaction) == place.tag => Ok(()),
            _ => Err(FeedError::Epoch),
        }
    }

    async fn transaction_at(&self, position: i64) -> Result<Option<Uuid>, StoreError> {
        let store = &self.0.store;
        let sql = "SELECT tx_id FROM change_tx WHERE position = $1";
        let statement = Statement::from_sql_and_values(store.backend(), sql, [position.into()]);
        let row = store.reader().query_one_raw(statement).await?;
        Ok(row.map(|row| row.try_get_by_index(0)).transpose()?)
    }

    /// Before the first transaction recorded at an instant or later. Ids of transactions begin with their time, so their key finds it.
    async fn place_at(&self, instant: Instant) -> Result<Place, FeedError> {
        let store = &self.0.store;
        let bounds = self.bounds().await?;
        let millis = u64::try_from(instant.micros().div_euclid(1000)).unwrap_or(0);
        let first_id = uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid();
        let sql = format!(
            "SELECT MIN(position) FROM (SELECT position FROM change_tx WHERE tx_id >= $1 AND recorded_at >= $2 AND position IS NOT NULL
             ORDER BY tx_id LIMIT {AROUND_INSTANT}) AS around"
        );
        let statement = Statement::from_sql_and_values(store.backend(), sql, [first_id.into(), instant.micros().into()]);
        let row = store.reader().query_one_raw(statement).await?;
        let first = row.map(|row| row.try_get_by_index::<Option<i64>>(0)).transpose()?.flatten();
        let Some(first) = first else { return Ok(bounds.head) };
        let before = first - 1;
        if before <= bounds.floor.position {
            return Ok(bounds.floor);
        }
        Ok(match self.transaction_at(before).await? {
            Some(transaction) => Place::behind(before, transaction),
            None => self.bounds().await?.floor,
        })
    }

    /// The next rows from row `n` of the transaction at `position` on, at most `PAGE_ROWS`. None: there is nothing more to read now.
    pub(super) async fn rows_from(&self, position: i64, n: u32) -> Result<Vec<Arc<Row>>, StoreError> {
        let head = self.head().position;
        let kept = {
            let ring = self.0.ring.read().expect("no panic happens while it is held");
            ring.rows_from(position, n, head, PAGE_ROWS)
        };
        match kept {
            Some(rows) => Ok(rows),
            None => rows_from(&self.0.store, position, n.into()).await,
        }
    }

    /// Reads what is new at the end of the log and announces it; answers when the newest of what it read was recorded. Without anybody who
    /// listens only the end itself is read.
    pub async fn look(&self) -> Result<Option<Instant>, StoreError> {
        let _one_at_a_time = self.0.looking.lock().await;
        let mut known = self.head().position;
        if known == 0 || !self.has_listeners() {
            let head = self.read_head().await?;
            self.begin_at(head);
            return Ok(None);
        }
        let mut newest = None;
        let (mut position, mut n) = (known + 1, 0);
        loop {
            let rows = rows_from(&self.0.store, position, n.into()).await?;
            let Some(last) = rows.last().cloned() else { break };
            if known == self.head().position && rows.len() == PAGE_ROWS {
                let head = self.read_head().await?;
                if head.position - known > MAX_CATCH_UP {
                    self.begin_at(head);
                    return Ok(None);
                }
            }
            let whole = rows.iter().rev().find(|row| row.is_last()).cloned();
            newest = Some(last.recorded_at);
            self.ring().push(&rows);
            (position, n) = match last.is_last() {
                true => (last.position + 1, 0),
                false => (last.position, last.n + 1),
            };
            if let Some(whole) = whole {
                known = whole.position;
                self.0.head.send_replace(Place::behind(whole.position, whole.transaction));
            }
            if rows.len() < PAGE_ROWS {
                break;
            }
        }
        self.ring().trim();
        metrics::gauge!("tributary_feed_head_position").set(as_float(known));
        Ok(newest)
    }

    /// Looks now, where nobody else does for want of listeners.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        match self.has_listeners() {
            true => Ok(()),
            false => self.look().await.map(|_| ()),
        }
    }

    fn begin_at(&self, head: Place) {
        let mut ring = self.ring();
        if head <= self.head() {
            ring.trim();
            return;
        }
        ring.reset(head.position);
        // Announced while nobody can read an older ring.
        self.0.head.send_replace(head);
        drop(ring);
        metrics::gauge!("tributary_feed_head_position").set(as_float(head.position));
    }

    fn ring(&self) -> std::sync::RwLockWriteGuard<'_, Ring> {
        self.0.ring.write().expect("no panic happens while it is held")
    }

    /// Waits until a transaction can be read on this instance; false when it takes longer than this.
    pub async fn wait_for(&self, transaction: Uuid, patience: std::time::Duration) -> Result<bool, StoreError> {
        let mut heads = self.heads();
        let waiting = async {
            loop {
                // Before the question, so that no announcement is missed between it and the waiting.
                heads.borrow_and_update();
                if self.is_visible(transaction).await? {
                    return Ok(true);
                }
                if heads.changed().await.is_err() {
                    return Ok(false);
                }
            }
        };
        match tokio::time::timeout(patience, waiting).await {
            Ok(answer) => answer,
            Err(_) => self.is_visible(transaction).await,
        }
    }

    async fn is_visible(&self, transaction: Uuid) -> Result<bool, StoreError> {
        let store = &self.0.store;
        let sql = "SELECT position FROM change_tx WHERE tx_id = $1";
        let statement = Statement::from_sql_and_values(store.backend(), sql, [transaction.into()]);
        let row = store.reader().query_one_raw(statement).await?;
        Ok(match row {
            Some(row) => row.try_get_by_index::<Option<i64>>(0)?.is_some(),
            // Or it is so old that it is no longer kept.
            None => self.is_older_than_the_log(transaction).await?,
        })
    }

    async fn is_older_than_the_log(&self, transaction: Uuid) -> Result<bool, StoreError> {
        let store = &self.0.store;
        let sql = "SELECT t.tx_id FROM lease l JOIN change_tx t ON t.position = l.value WHERE l.name = 'retention'";
        let row = store
            .reader()
            .query_one_raw(Statement::from_string(store.backend(), sql))
            .await?;
        let floor: Option<Uuid> = row.map(|row| row.try_get_by_index(0)).transpose()?;
        Ok(transaction.get_version_num() == 7 && floor.is_some_and(|floor| transaction < floor))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a metric")]
pub(super) fn as_float(number: i64) -> f64 {
    number as f64
}
