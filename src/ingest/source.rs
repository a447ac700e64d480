//! Sources: the systems that send data, each with its own write key.

use super::store;
use crate::access::key;
use crate::access::{self, Actor};
use crate::base::{Instant, Kind, SourceId};
use crate::job::{self, NewJob};
use crate::store::{Store, StoreError, Transient, remembering};
use entity::{Channel, source};
use std::sync::Arc;
use std::time::Duration;

/// How long the key before a rotation still works, so that senders can be changed one by one.
const OLD_KEY_GRACE: Duration = Duration::from_secs(24 * 3600);
/// A source changed by another instance or by the command line is seen after this long, where the configuration does not say.
const CACHED_FOR: Duration = Duration::from_secs(5);
/// The kind of the job that follows another trust: it looks again at whoever bought at the source.
pub const TRUST_JOB: &str = "refresh_mark";
const MAX_KEY_CHARS: usize = 64;
/// Enough to rank any number of sources.
const MAX_TRUST: i64 = 1_000_000;
/// The most a source's limits can be raised to.
pub const MAX_LIMIT_BYTES: usize = 4 * 1024 * 1024;

/// A source's own limit, or the server's.
pub fn own_limit(own: Option<i64>, default: usize) -> usize {
    own.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(default)
}

/// A channel by the name people type: as GraphQL or the command line write it, in any case; `call` is short for the call centre.
pub fn channel_named(name: &str) -> Option<Channel> {
    Some(match name.trim().to_lowercase().replace('-', "_").as_str() {
        "web" => Channel::Web,
        "app" => Channel::App,
        "pos" => Channel::Pos,
        "crm" => Channel::Crm,
        "email" => Channel::Email,
        "call" | "call_centre" | "call_center" => Channel::CallCentre,
        "social" => Channel::Social,
        "import" => Channel::Import,
        "other" => Channel::Other,
        _ => return None,
    })
}

/// What is wanted of a new source.
#[derive(Clone, Debug)]
pub struct NewSource {
    pub key: String,
    pub name: String,
    pub channel: Channel,
    pub trust: i64,
    /// A key that senders already use; none: one is made.
    pub write_key: Option<String>,
    pub max_event_bytes: Option<i64>,
    pub max_batch_bytes: Option<i64>,
    /// Its aliases wait for a person instead of joining two ids by themselves.
    pub review_aliases: bool,
}

/// What is to change; `None` leaves a field alone.
#[derive(Clone, Debug, Default)]
pub struct SourceChange {
    pub name: Option<String>,
    pub trust: Option<i64>,
    pub enabled: Option<bool>,
    pub rotate_write_key: bool,
    /// `Some(None)`: back to the server's default.
    pub max_event_bytes: Option<Option<i64>>,
    pub max_batch_bytes: Option<Option<i64>>,
    pub review_aliases: Option<bool>,
}

#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("{field}: {message}")]
    Invalid { field: &'static str, message: String },
    #[error("a source with the key \"{0}\" exists already")]
    KeyTaken(String),
    #[error("another source has this write key")]
    WriteKeyTaken,
    #[error("there is no such source")]
    NotFound,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Transient for SourceError {
    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

impl SourceError {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Invalid { .. } => Kind::Invalid,
            Self::KeyTaken(_) | Self::WriteKeyTaken => Kind::Conflict,
            Self::NotFound => Kind::NotFound,
            Self::Store(error) => error.kind(),
        }
    }

    /// The input field to blame.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Invalid { field, .. } => field,
            Self::KeyTaken(_) => "key",
            Self::WriteKeyTaken => "writeKey",
            Self::NotFound | Self::Store(_) => "id",
        }
    }
}

/// A stored source and, just after it was made, the text of its write key.
#[derive(Clone, Debug)]
pub struct SourceWithKey {
    pub source: source::Model,
    pub write_key: Option<String>,
    pub transaction: crate::feed::TransactionId,
}

/// Makes a source. The text of its write key is in the answer and nowhere else.
pub async fn create(store: &Store, now: Instant, actor: &Actor, new: NewSource) -> Result<SourceWithKey, SourceError> {
    check_key(&new.key)?;
    check_name(&new.name)?;
    check_trust(Some(new.trust))?;
    check_limits(new.max_event_bytes, new.max_batch_bytes)?;
    let write_key = match &new.write_key {
        Some(write_key) => check_write_key(write_key)?,
        None => key::new_write_key(store.ids()),
    };
    let model = source::Model {
        id: store.hash_key().source(&new.key).0,
        key: new.key,
        name: new.name,
        channel: new.channel,
        trust: new.trust,
        enabled: true,
        created_at: now.micros(),
        write_key_digest: key::digest(&write_key).to_vec(),
        previous_key_digest: None,
        previous_key_until: None,
        max_event_bytes: new.max_event_bytes,
        max_batch_bytes: new.max_batch_bytes,
        review_aliases: new.review_aliases,
    };
    let transaction = store
        .transact(|tx, _| {
            let (model, actor, ids) = (model.clone(), actor.clone(), store.ids().clone());
            Box::pin(async move {
                if store::source_by_key(tx, &model.key).await?.is_some() {
                    return Err(SourceError::KeyTaken(model.key));
                }
                if store::source_by_digest(tx, &model.write_key_digest, now).await?.is_some() {
                    return Err(SourceError::WriteKeyTaken);
                }
                let object = model.key.clone();
                // Somebody else may have made it between the look and the write.
                store::insert_source(tx, model)
                    .await
                    .map_err(|error| match error.is_unique_violation() {
                        true => SourceError::KeyTaken(object.clone()),
                        false => error.into(),
                    })?;
                Ok(access::record_deed(tx, &ids, now, &actor, "source.create", &object, serde_json::json!({})).await?)
            })
        })
        .await?;
    Ok(SourceWithKey {
        source: model,
        write_key: Some(write_key),
        transaction,
    })
}

/// Changes a source; a rotation answers the new write key, and the old one works for a day more.
pub async fn update(
    store: &Store,
    now: Instant,
    actor: &Actor,
    id: SourceId,
    change: SourceChange,
) -> Result<SourceWithKey, SourceError> {
    if let Some(name) = &change.name {
        check_name(name)?;
    }
    check_trust(change.trust)?;
    check_limits(change.max_event_bytes.flatten(), change.max_batch_bytes.flatten())?;
    let write_key = change.rotate_write_key.then(|| key::new_write_key(store.ids()));
    store
        .transact(|tx, _| {
            let (change, write_key, actor, ids) = (change.clone(), write_key.clone(), actor.clone(), store.ids().clone());
            Box::pin(async move {
                let mut source = store::source_by_id(tx, id).await?.ok_or(SourceError::NotFound)?;
                let trusted = source.trust;
                apply(&mut source, &change);
                if source.trust != trusted {
                    // What counts of an order that several sources told of may be another report now.
                    let input = serde_json::json!({"source": id.to_string()});
                    job::enqueue(tx, &NewJob::new(&ids, now, TRUST_JOB, input, actor.to_string())).await?;
                }
                if let Some(write_key) = &write_key {
                    source.previous_key_digest = Some(std::mem::replace(
                        &mut source.write_key_digest,
                        key::digest(write_key).to_vec(),
                    ));
                    source.previous_key_until = Some(now.plus(OLD_KEY_GRACE).micros());
                }
                store::update_source(tx, source.clone()).await?;
                let detail = serde_json::json!({
                    "name": change.name, "trust": change.trust, "enabled": change.enabled, "rotated": change.rotate_write_key,
                    "maxEventBytes": change.max_event_bytes, "maxBatchBytes": change.max_batch_bytes,
                    "reviewAliases": change.review_aliases,
                });
                let transaction = access::record_deed(tx, &ids, now, &actor, "source.update", &source.key, detail).await?;
                Ok(SourceWithKey {
                    source,
                    write_key,
                    transaction,
                })
            })
        })
        .await
}

fn apply(source: &mut source::Model, change: &SourceChange) {
    if let Some(name) = &change.name {
        source.name.clone_from(name);
    }
    source.trust = change.trust.unwrap_or(source.trust);
    source.enabled = change.enabled.unwrap_or(source.enabled);
    source.max_event_bytes = change.max_event_bytes.unwrap_or(source.max_event_bytes);
    source.max_batch_bytes = change.max_batch_bytes.unwrap_or(source.max_batch_bytes);
    source.review_aliases = change.review_aliases.unwrap_or(source.review_aliases);
}

/// Whether a text can be the key of a source.
pub fn check_key(key: &str) -> Result<(), SourceError> {
    let well_formed = !key.is_empty()
        && key.len() <= MAX_KEY_CHARS
        && key
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte));
    if well_formed {
        return Ok(());
    }
    let message = format!("must be 1 to {MAX_KEY_CHARS} lower-case letters, digits, '-', '_' or '.', such as web-shop");
    Err(SourceError::Invalid { field: "key", message })
}

fn check_name(name: &str) -> Result<(), SourceError> {
    if name.trim().is_empty() || name.chars().count() > 255 || name.contains('\0') {
        return Err(SourceError::Invalid {
            field: "name",
            message: "must have 1 to 255 characters".to_owned(),
        });
    }
    Ok(())
}

fn check_trust(trust: Option<i64>) -> Result<(), SourceError> {
    if trust.is_some_and(|trust| !(-MAX_TRUST..=MAX_TRUST).contains(&trust)) {
        return Err(SourceError::Invalid {
            field: "trust",
            message: format!("must lie between -{MAX_TRUST} and {MAX_TRUST}"),
        });
    }
    Ok(())
}

fn check_write_key(write_key: &str) -> Result<String, SourceError> {
    // The key is the user name of Basic authentication, where a colon ends it.
    if (16..=255).contains(&write_key.len()) && write_key.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') {
        return Ok(write_key.to_owned());
    }
    let message = "must have 16 to 255 visible ASCII characters and no colon".to_owned();
    Err(SourceError::Invalid {
        field: "writeKey",
        message,
    })
}

fn check_limits(event: Option<i64>, batch: Option<i64>) -> Result<(), SourceError> {
    for (field, limit) in [("maxEventBytes", event), ("maxBatchBytes", batch)] {
        let sound = |limit: i64| usize::try_from(limit).is_ok_and(|limit| (1024..=MAX_LIMIT_BYTES).contains(&limit));
        if limit.is_some_and(|limit| !sound(limit)) {
            return Err(SourceError::Invalid {
                field,
                message: format!("must lie between 1024 and {MAX_LIMIT_BYTES}"),
            });
        }
    }
    Ok(())
}

/// Every source by its id.
pub type Sources = std::collections::HashMap<SourceId, source::Model>;

/// Finds the source of a write key, remembered for a few seconds, unknown keys too.
#[derive(Clone, Debug)]
pub struct SourceDirectory {
    store: Store,
    by_digest: moka::sync::Cache<[u8; 32], Option<Arc<source::Model>>>,
    all: moka::sync::Cache<(), Arc<Sources>>,
}

impl SourceDirectory {
    pub fn new(store: Store) -> Self {
        Self {
            store,
            by_digest: remembering(10_000, CACHED_FOR),
            all: remembering(1, CACHED_FOR),
        }
    }

    /// The same, remembering sources for so long.
    pub fn remembering(mut self, time: Duration) -> Self {
        self.by_digest = remembering(10_000, time);
        self.all = remembering(1, time);
        self
    }

    /// Every source, remembered for a few seconds; read again when one of these is not among them.
    pub async fn all(&self, needed: impl IntoIterator<Item = SourceId>) -> Result<Arc<Sources>, StoreError> {
        if let Some(known) = self.all.get(&())
            && needed.into_iter().all(|id| known.contains_key(&id))
        {
            return Ok(known);
        }
        let sources = store::all_sources(self.store.reader()).await?;
        let sources: Arc<Sources> = Arc::new(sources.into_iter().map(|source| (SourceId(source.id), source)).collect());
        self.all.insert((), sources.clone());
        Ok(sources)
    }

    /// The source that this write key belongs to; `None` for an unknown key. A disabled source is found too.
    pub async fn find(&self, write_key: &str, now: Instant) -> Result<Option<Arc<source::Model>>, StoreError> {
        let digest = key::digest(write_key);
        if let Some(known) = self.by_digest.get(&digest) {
            return Ok(known);
        }
        let found = store::source_by_digest(self.store.reader(), &digest, now)
            .await?
            .map(Arc::new);
        self.by_digest.insert(digest, found.clone());
        Ok(found)
    }

    /// After a change here: forget everything.
    pub fn forget(&self) {
        self.by_digest.invalidate_all();
        self.all.invalidate_all();
    }
}
