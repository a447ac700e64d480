//! Steps that read the change log: as a subscriber would, with cursors as texts, by the reader that serves subscriptions.

use super::fields::{At, Fault};
use super::steps::number;
use super::story::{Unread, not_yet};
use crate::feed::{Batch, Entry, Feed, FeedError, Filter, Place, Reader, Start, Tail};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The cursor right behind what is given.
pub const BEGINNING: &str = "BEGINNING";
/// As a subscription's defaults.
const BATCH: u64 = 100;
const MAX_BATCH: u64 = 1_000;
const HEARTBEAT: Duration = Duration::from_secs(15);
/// So long a step waits for what must come, in real time.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedStep {
    /// Remembers where the log ends.
    Head { remember: String },
    /// Subscribes, and goes on receiving until it is closed.
    Open { reader: String, after: String, batch: u64 },
    /// Takes so many of the changes that were received.
    Take { reader: String, until: Until },
    /// Ends a subscription; remembers the cursor of the so-manieth change that was taken from it.
    Close {
        reader: String,
        remembers: Option<(u64, String)>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// So many more.
    Changes(u64),
    /// There is nothing more to read.
    CaughtUp,
}

/// Reads a step of this kind; none: the word is of another.
pub(super) fn read(word: &str, at: &At<'_>, own: &impl Fn(&[&str]) -> Result<(), Unread>) -> Result<Option<FeedStep>, Unread> {
    let name = |key: &str| Ok::<_, Fault>(at.required(key)?.name()?.to_owned());
    Ok(Some(match word {
        "feed.head" => {
            own(&["remember"])?;
            FeedStep::Head {
                remember: name("remember")?,
            }
        }
        "feed.open" => {
            own(&["as", "after", "batch"])?;
            let batch = at.get("batch")?;
            let size = batch.as_ref().map(number).transpose()?.unwrap_or(BATCH);
            if let Some(batch) = batch.filter(|_| !(1..=MAX_BATCH).contains(&size)) {
                return Err(batch.fault(format!("must lie between 1 and {MAX_BATCH}")).into());
            }
            FeedStep::Open {
                reader: name("as")?,
                after: name("after")?,
                batch: size,
            }
        }
        "feed.take" => {
            own(&["as", "waitFor", "untilCaughtUp"])?;
            let until = match (at.get("waitFor")?, at.get("untilCaughtUp")?) {
                (Some(count), None) => Until::Changes(number(&count)?),
                (None, Some(caught_up)) if caught_up.value == &Value::Bool(true) => Until::CaughtUp,
                _ => return Err(at.fault("needs either waitFor or untilCaughtUp: true").into()),
            };
            FeedStep::Take {
                reader: name("as")?,
                until,
            }
        }
        "feed.close" => {
            own(&["as", "rememberCursorOfItem", "remember"])?;
            let remembers = match (at.get("rememberCursorOfItem")?, at.get("remember")?) {
                (Some(item), Some(remember)) => Some((number(&item)?, remember.name()?.to_owned())),
                (None, None) => None,
                _ => return Err(at.fault("rememberCursorOfItem and remember go together").into()),
            };
            FeedStep::Close {
                reader: name("as")?,
                remembers,
            }
        }
        other if other.starts_with("feed.") => return Err(not_yet(&at.required("do")?, other)),
        _ => return Ok(None),
    }))
}

/// A change as a check looks at it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    cursor: String,
    told: Value,
}

impl Item {
    fn new(feed: &Feed, entry: &Entry) -> Self {
        let body = entry.body();
        let side = |place: usize| -> Map<String, Value> {
            let values = body.changed.iter();
            values
                .map(|(name, pair)| (name.clone(), pair.get(place).cloned().unwrap_or(Value::Null)))
                .collect()
        };
        Self {
            cursor: feed.text(entry.place()),
            told: json!({"rev": body.rev, "before": side(0), "after": side(1)}),
        }
    }

    /// What stands at `after.i`; null where nothing does.
    pub(super) fn value(&self, path: &[String]) -> Value {
        let found = path.iter().try_fold(&self.told, |value, key| value.get(key));
        found.cloned().unwrap_or(Value::Null)
    }
}

/// What a subscription receives at once.
struct Received {
    items: Vec<Item>,
    caught_up: bool,
}

/// A subscription: its receiving goes on beside the steps.
struct Subscription {
    received: mpsc::UnboundedReceiver<Result<Received, FeedError>>,
    receiving: JoinHandle<()>,
    /// Received and not taken yet.
    waiting: VecDeque<Item>,
    taken: Vec<Item>,
    /// Whether it was told that there is nothing more, with or before something that was taken.
    caught_up: bool,
    is_open: bool,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.receiving.abort();
    }
}

/// All that the feed steps of one story know.
pub(super) struct Subscriptions {
    feed: Feed,
    cursors: Mutex<BTreeMap<String, String>>,
    /// Closed ones too: checks ask what was taken.
    all: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<Subscription>>>>,
}

impl Subscriptions {
    pub(super) fn new(feed: Feed) -> Self {
        Self {
            feed,
            cursors: Mutex::default(),
            all: Mutex::default(),
        }
    }

    pub(super) async fn take_step(&self, step: &FeedStep) -> Result<(), String> {
        match step {
            FeedStep::Head { remember } => self.remember_head(remember).await,
            FeedStep::Open { reader, after, batch } => self.open(reader, after, *batch).await,
            FeedStep::Take { reader, until } => {
                let subscription = self.named(reader)?;
                let mut subscription = subscription.lock().await;
                subscription.take(*until).await
            }
            FeedStep::Close { reader, remembers } => {
                let subscription = self.named(reader)?;
                let mut subscription = subscription.lock().await;
                subscription.is_open = false;
                subscription.receiving.abort();
                let Some((item, name)) = remembers else { return Ok(()) };
                let place = usize::try_from(*item).ok().and_then(|item| item.checked_sub(1));
                let taken = place.and_then(|place| subscription.taken.get(place));
                let taken =
                    taken.ok_or_else(|| format!("{} changes were taken: there is no item {item}", subscription.taken.len()))?;
                self.remember(name, taken.cursor.clone());
                Ok(())
            }
        }
    }

    pub(super) async fn remember_head(&self, name: &str) -> Result<(), String> {
        let bounds = self.feed.bounds().await.map_err(|error| error.to_string())?;
        self.remember(name, self.feed.text(bounds.head));
        Ok(())
    }

    fn remember(&self, name: &str, cursor: String) {
        let mut cursors = self.cursors.lock().expect("no panic happens while it is held");
        cursors.insert(name.to_owned(), cursor);
    }

    async fn open(&self, name: &str, after: &str, batch: u64) -> Result<(), String> {
        let cursor = self
            .cursors
            .lock()
            .expect("no panic happens while it is held")
            .get(after)
            .cloned();
        let cursor = cursor.ok_or_else(|| format!("no cursor is remembered as {after:?}"))?;
        // Asked for before the place is, as a subscription does.
        let heads = self.feed.heads();
        let reader = self.reader_behind(&cursor).await.map_err(|error| error.to_string())?;
        let mut tail = Tail::new(reader, heads, usize::try_from(batch).unwrap_or(1), HEARTBEAT);
        let (sender, received) = mpsc::unbounded_channel();
        let feed = self.feed.clone();
        let receiving = tokio::spawn(async move {
            loop {
                let batch = tail.next().await.map(|batch| Received::new(&feed, &batch));
                let is_over = batch.is_err();
                if sender.send(batch).is_err() || is_over {
                    return;
                }
            }
        });
        let subscription = Subscription {
            received,
            receiving,
            waiting: VecDeque::new(),
            taken: Vec::new(),
            caught_up: false,
            is_open: true,
        };
        let mut all = self.all.lock().expect("no panic happens while it is held");
        match all.insert(name.to_owned(), Arc::new(tokio::sync::Mutex::new(subscription))) {
            None => Ok(()),
            Some(_) => Err(format!("a reader is called {name:?} already")),
        }
    }

    async fn reader_behind(&self, cursor: &str) -> Result<Reader, FeedError> {
        let place = self.feed.place_of(Start::After(self.feed.parse(cursor)?)).await?;
        Reader::open(self.feed.clone(), place, Filter::default()).await
    }

    fn named(&self, name: &str) -> Result<Arc<tokio::sync::Mutex<Subscription>>, String> {
        let all = self.all.lock().expect("no panic happens while it is held");
        all.get(name).cloned().ok_or_else(|| format!("no reader is called {name:?}"))
    }

    /// What was taken from a reader, and whether it was told that there is nothing more.
    pub(super) async fn taken(&self, name: &str) -> Result<(Vec<Item>, bool), String> {
        let subscription = self.named(name)?;
        let subscription = subscription.lock().await;
        Ok((subscription.taken.clone(), subscription.caught_up))
    }

    /// Everything in the log that is kept, read in one go.
    pub(super) async fn whole_log(&self) -> Result<Vec<Entry>, FeedError> {
        let place: Place = self.feed.place_of(Start::FromBeginning).await?;
        let mut reader = Reader::open(self.feed.clone(), place, Filter::default()).await?;
        let mut entries = Vec::new();
        loop {
            let batch = reader.next(usize::try_from(MAX_BATCH).unwrap_or(1)).await?;
            entries.extend(batch.entries);
            if batch.caught_up {
                return Ok(entries);
            }
        }
    }
}

impl Received {
    fn new(feed: &Feed, batch: &Batch) -> Self {
        Self {
            items: batch.entries.iter().map(|entry| Item::new(feed, entry)).collect(),
            caught_up: batch.caught_up,
        }
    }
}

impl Subscription {
    async fn take(&mut self, until: Until) -> Result<(), String> {
        if !self.is_open {
            return Err("the reader is closed".to_owned());
        }
        let before = self.taken.len();
        let taking = async {
            loop {
                let wanted = match until {
                    Until::Changes(count) => usize::try_from(count).unwrap_or(usize::MAX) - (self.taken.len() - before),
                    Until::CaughtUp => usize::MAX,
                };
                let taken = self.waiting.len().min(wanted);
                self.taken.extend(self.waiting.drain(..taken));
                if wanted == taken {
                    return Ok(());
                }
                let received = self.received.recv().await.ok_or("the subscription has ended")?;
                let received = received.map_err(|error| error.to_string())?;
                self.waiting.extend(received.items);
                self.caught_up |= received.caught_up;
                if received.caught_up && until == Until::CaughtUp {
                    self.taken.extend(self.waiting.drain(..));
                    return Ok(());
                }
            }
        };
        match tokio::time::timeout(PATIENCE, taking).await {
            Ok(taken) => taken,
            Err(_) => Err(format!(
                "{} changes came within {} seconds",
                self.taken.len() - before,
                PATIENCE.as_secs()
            )),
        }
    }
}
