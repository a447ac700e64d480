//! Making, revoking and recognising API keys.

use super::key::{self, KeyKind};
use super::token::Token;
use super::{Actor, Principal, Scope, origin, record_deed, store};
use crate::base::{Instant, Kind};
use crate::feed::TransactionId;
use crate::store::{Store, StoreError, Transient, remembering};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entity::{ApiKeyKind, api_key};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A key revoked by another instance stops working after this long, where the configuration does not say.
const CACHED_FOR: Duration = Duration::from_secs(5);
/// How long a subject token may live where the configuration does not say.
const LONGEST_TOKEN: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error("{field}: {message}")]
    Invalid { field: &'static str, message: String },
    #[error("there is no such key")]
    NotFound,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Transient for AccessError {
    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

impl AccessError {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Invalid { .. } => Kind::Invalid,
            Self::NotFound => Kind::NotFound,
            Self::Store(error) => error.kind(),
        }
    }

    /// The input field to blame.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Invalid { field, .. } => field,
            Self::NotFound | Self::Store(_) => "id",
        }
    }
}

/// What is wanted of a new key.
#[derive(Clone, Debug)]
pub struct NewKey {
    pub kind: ApiKeyKind,
    pub name: String,
    /// Of a server's key at least one; of a subject key none.
    pub scopes: Vec<Scope>,
    /// Origins whose pages may use it.
    pub origins: Vec<String>,
    pub expires_at: Option<Instant>,
}

/// A stored key, and its text or private half, which is in this answer and nowhere else.
#[derive(Clone, Debug)]
pub struct NewKeyAnswer {
    pub key: api_key::Model,
    pub text: String,
    pub transaction: TransactionId,
}

/// Makes a key.
pub async fn create(store: &Store, now: Instant, actor: &Actor, new: NewKey) -> Result<NewKeyAnswer, AccessError> {
    check(now, &new)?;
    let scopes: Vec<_> = new.scopes.iter().map(|scope| scope.name()).collect();
    let (id, digest, last_four, public_key, text) = match new.kind {
        ApiKeyKind::Server => {
            let made = key::new_key(KeyKind::Api, store.ids());
            (made.id, key::digest(&made.text), tail(&made.text), None, made.text)
        }
        ApiKeyKind::Subject => {
            let made = key::new_pair(store.ids());
            let last_four = tail(&URL_SAFE_NO_PAD.encode(&made.public_key));
            let digest = *blake3::hash(&made.public_key).as_bytes();
            (made.id, digest, last_four, Some(made.public_key), made.private_pem)
        }
    };
    let model = api_key::Model {
        id,
        digest: digest.to_vec(),
        name: new.name,
        scopes: scopes.join(","),
        last_four,
        created_at: now.micros(),
        created_by: actor.to_string(),
        expires_at: new.expires_at.map(Instant::micros),
        revoked_at: None,
        last_used_at: None,
        kind: new.kind,
        public_key,
        origins: new.origins.join(" "),
    };
    let transaction = store
        .transact::<_, AccessError, _>(|tx, _| {
            let (model, actor, ids) = (model.clone(), actor.clone(), store.ids().clone());
            Box::pin(async move {
                let object = format!("key:{}", model.id);
                let mut detail = serde_json::json!({"scopes": model.scopes});
                if model.kind == ApiKeyKind::Subject {
                    detail["kind"] = "subject".into();
                }
                if !model.origins.is_empty() {
                    detail["origins"] = model.origins.as_str().into();
                }
                store::insert_key(tx, model).await?;
                Ok(record_deed(tx, &ids, now, &actor, "key.create", &object, detail).await?)
            })
        })
        .await?;
    Ok(NewKeyAnswer {
        key: model,
        text,
        transaction,
    })
}

fn tail(text: &str) -> String {
    text[text.len() - 4..].to_owned()
}

fn check(now: Instant, new: &NewKey) -> Result<(), AccessError> {
    let invalid = |field, message: &str| {
        let message = message.to_owned();
        Err(AccessError::Invalid { field, message })
    };
    if new.name.trim().is_empty() || new.name.chars().count() > 255 || new.name.contains('\0') {
        return invalid("name", "must have 1 to 255 characters");
    }
    match new.kind {
        ApiKeyKind::Server if new.scopes.is_empty() => return invalid("scopes", "name at least one scope"),
        ApiKeyKind::Subject if !new.scopes.is_empty() => {
            return invalid("scopes", "a subject key has none: its tokens reach what is the visitor's own");
        }
        ApiKeyKind::Server | ApiKeyKind::Subject => {}
    }
    if new.origins.len() > origin::MAX_ORIGINS {
        return invalid("allowedOrigins", &format!("may hold {} origins", origin::MAX_ORIGINS));
    }
    if let Some(reason) = new.origins.iter().find_map(|text| origin::check(text).err()) {
        return invalid("allowedOrigins", &reason);
    }
    if new.expires_at.is_some_and(|at| at <= now) {
        return invalid("expiresAt", "must lie in the future");
    }
    Ok(())
}

/// Revokes a key for good. `None` as transaction: it was revoked before.
pub async fn revoke(
    store: &Store,
    now: Instant,
    actor: &Actor,
    id: &str,
) -> Result<(api_key::Model, Option<TransactionId>), AccessError> {
    store
        .transact(|tx, _| {
            let (id, actor, ids) = (id.to_owned(), actor.clone(), store.ids().clone());
            Box::pin(async move {
                let mut model = store::key_by_id(tx, &id).await?.ok_or(AccessError::NotFound)?;
                if model.revoked_at.is_some() {
                    return Ok((model, None));
                }
                store::set_revoked(tx, &id, now).await?;
                model.revoked_at = Some(now.micros());
                let object = format!("key:{id}");
                let transaction = record_deed(tx, &ids, now, &actor, "key.revoke", &object, serde_json::json!({})).await?;
                Ok((model, Some(transaction)))
            })
        })
        .await
}

/// Who holds a key or a token, and from which pages it may be used.
#[derive(Clone, Debug)]
pub struct Holder {
    pub principal: Principal,
    /// The id of the key, or of the key that signed the token. None: the preset key, which never ends.
    pub key: Option<String>,
    /// When the key or token ends by itself; none: never.
    pub ends: Option<Instant>,
    /// None: the key was made without a list and is no key of visitors, so nobody asks.
    origins: Option<String>,
}

impl Holder {
    /// Whether a page of this origin may use it.
    pub fn may_be_used_by(&self, origin: &str) -> bool {
        let Some(origins) = &self.origins else { return true };
        origins.split_whitespace().any(|allowed| allowed == origin)
    }

    /// Whether it speaks for single visitors.
    pub fn is_subject(&self) -> bool {
        matches!(self.principal, Principal::Subject(_))
    }
}

fn lives(key: &api_key::Model, now: Instant) -> bool {
    key.revoked_at.is_none() && key.expires_at.is_none_or(|at| at > now.micros())
}

/// An origin, and the instant at which the key that allows it ends.
type Allowed = (String, Option<i64>);

/// Recognises keys, remembering them for a few seconds.
#[derive(Clone, Debug)]
pub struct Keyring {
    store: Store,
    /// Digest of the preset admin key.
    preset: Option<[u8; 32]>,
    longest_token: Duration,
    known: moka::sync::Cache<String, Option<Arc<api_key::Model>>>,
    /// Origins of all keys that were not revoked, with the instant at which each key ends.
    origins: moka::sync::Cache<(), Arc<Vec<Allowed>>>,
    used: Arc<Mutex<HashSet<String>>>,
}

impl Keyring {
    pub fn new(store: Store, preset_admin_key: Option<&str>) -> Self {
        Self {
            store,
            preset: preset_admin_key.map(key::digest),
            longest_token: LONGEST_TOKEN,
            known: remembering(10_000, CACHED_FOR),
            origins: remembering(1, CACHED_FOR),
            used: Arc::default(),
        }
    }

    /// The same, remembering keys and origins for so long.
    pub fn remembering(mut self, time: Duration) -> Self {
        self.known = remembering(10_000, time);
        self.origins = remembering(1, time);
        self
    }

    /// The same, with another longest life of subject tokens.
    pub fn with_longest_token(mut self, longest: Duration) -> Self {
        self.longest_token = longest;
        self
    }

    /// Who holds this key or token? `None`: nobody, it is wrong, expired or revoked.
    pub async fn recognise(&self, text: &str, now: Instant) -> Result<Option<Holder>, StoreError> {
        if self.preset.is_some_and(|preset| key::matches(text, &preset)) {
            return Ok(Some(Holder {
                principal: Principal::admin(Actor::new("key:preset")),
                key: None,
                ends: None,
                origins: None,
            }));
        }
        if let Some(token) = Token::parse(text) {
            let Some(stored) = self.alive(&token.key_id, now).await? else {
                return Ok(None);
            };
            let Some(public_key) = &stored.public_key else {
                return Ok(None);
            };
            let Some(subject) = token.verify(public_key, now, self.longest_token) else {
                return Ok(None);
            };
            self.note_use(&stored.id);
            let key_ends = stored.expires_at.map(Instant::from_micros);
            return Ok(Some(Holder {
                principal: Principal::Subject(subject),
                key: Some(stored.id.clone()),
                ends: key_ends.into_iter().chain(token.ends()).min(),
                origins: Some(stored.origins.clone()),
            }));
        }
        let Some(id) = key::api_key_id(text) else { return Ok(None) };
        let Some(stored) = self.alive(id, now).await? else {
            return Ok(None);
        };
        if stored.kind != ApiKeyKind::Server || !key::matches(text, &stored.digest) {
            return Ok(None);
        }
        self.note_use(&stored.id);
        let scopes = stored.scopes.split(',').filter_map(Scope::parse).collect();
        Ok(Some(Holder {
            principal: Principal::Key {
                actor: Actor::new(format!("key:{}", stored.id)),
                scopes,
            },
            key: Some(stored.id.clone()),
            ends: stored.expires_at.map(Instant::from_micros),
            origins: Some(stored.origins.clone()).filter(|origins| !origins.is_empty()),
        }))
    }

    /// Whether any key that works now may be used from this origin: a browser asks before it sends the key.
    pub async fn allows_origin(&self, origin: &str, now: Instant) -> Result<bool, StoreError> {
        let listed = match self.origins.get(&()) {
            Some(listed) => listed,
            None => {
                let listed = Arc::new(store::origins(self.store.reader()).await?);
                self.origins.insert((), listed.clone());
                listed
            }
        };
        let lives = |ends: Option<i64>| ends.is_none_or(|at| at > now.micros());
        Ok(listed
            .iter()
            .any(|(origins, ends)| lives(*ends) && origins.split_whitespace().any(|allowed| allowed == origin)))
    }

    /// Which of these keys work no more. What is not remembered is read in one statement.
    pub async fn ended(&self, ids: &[String], now: Instant) -> Result<Vec<String>, StoreError> {
        let unknown: Vec<String> = ids.iter().filter(|id| !self.known.contains_key(*id)).cloned().collect();
        let mut fresh = HashMap::new();
        if !unknown.is_empty() {
            for key in store::keys_by_id(self.store.reader(), &unknown).await? {
                fresh.insert(key.id.clone(), Arc::new(key));
            }
            for id in unknown {
                let found = fresh.get(&id).cloned();
                self.known.insert(id, found);
            }
        }
        let is_alive = |id: &String| {
            let known = fresh.get(id).cloned().or_else(|| self.known.get(id).flatten());
            known.is_some_and(|key| lives(&key, now))
        };
        Ok(ids.iter().filter(|id| !is_alive(id)).cloned().collect())
    }

    async fn alive(&self, id: &str, now: Instant) -> Result<Option<Arc<api_key::Model>>, StoreError> {
        let stored = self.stored(id).await?;
        Ok(stored.filter(|key| lives(key, now)))
    }

    async fn stored(&self, id: &str) -> Result<Option<Arc<api_key::Model>>, StoreError> {
        if let Some(known) = self.known.get(id) {
            return Ok(known);
        }
        // What is no id of ours is not asked for, nor remembered: anybody can write anything into a token.
        if !key::is_id(id) {
            return Ok(None);
        }
        let found = store::key_by_id(self.store.reader(), id).await?.map(Arc::new);
        self.known.insert(id.to_owned(), found.clone());
        Ok(found)
    }

    fn note_use(&self, id: &str) {
        self.used
            .lock()
            .expect("no panic happens while it is held")
            .insert(id.to_owned());
    }

    /// After a change here: forget everything.
    pub fn forget(&self) {
        self.known.invalidate_all();
        self.origins.invalidate_all();
    }

    /// Saves which keys were used since the last time.
    pub async fn flush(&self, now: Instant) -> Result<(), StoreError> {
        let used: Vec<String> = std::mem::take(&mut *self.used.lock().expect("no panic happens while it is held"))
            .into_iter()
            .collect();
        if used.is_empty() {
            return Ok(());
        }
        store::set_last_used(self.store.writer(), used, now).await
    }
}
