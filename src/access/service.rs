//! Making, revoking and recognising API keys.

use super::key::{self, KeyKind};
use super::{Actor, Principal, Scope, record_deed, store};
use crate::base::{Instant, Kind};
use crate::feed::TransactionId;
use crate::store::{Store, StoreError, Transient};
use entity::api_key;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A key revoked by another instance stops working after this long.
const CACHED_FOR: Duration = Duration::from_secs(5);

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
    pub name: String,
    pub scopes: Vec<Scope>,
    pub expires_at: Option<Instant>,
}

/// A stored key, and its text, which is in this answer and nowhere else.
#[derive(Clone, Debug)]
pub struct NewKeyAnswer {
    pub key: api_key::Model,
    pub text: String,
    pub transaction: TransactionId,
}

/// Makes a key.
pub async fn create(store: &Store, now: Instant, actor: &Actor, new: NewKey) -> Result<NewKeyAnswer, AccessError> {
    if new.name.trim().is_empty() || new.name.chars().count() > 255 || new.name.contains('\0') {
        return Err(AccessError::Invalid {
            field: "name",
            message: "must have 1 to 255 characters".to_owned(),
        });
    }
    if new.scopes.is_empty() {
        return Err(AccessError::Invalid {
            field: "scopes",
            message: "name at least one scope".to_owned(),
        });
    }
    if new.expires_at.is_some_and(|at| at <= now) {
        return Err(AccessError::Invalid {
            field: "expiresAt",
            message: "must lie in the future".to_owned(),
        });
    }
    let made = key::new_key(KeyKind::Api, store.ids());
    let scopes: Vec<_> = new.scopes.iter().map(|scope| scope.name()).collect();
    let model = api_key::Model {
        id: made.id,
        digest: key::digest(&made.text).to_vec(),
        name: new.name,
        scopes: scopes.join(","),
        last_four: made.text[made.text.len() - 4..].to_owned(),
        created_at: now.micros(),
        created_by: actor.to_string(),
        expires_at: new.expires_at.map(Instant::micros),
        revoked_at: None,
        last_used_at: None,
    };
    let transaction = store
        .transact::<_, AccessError, _>(|tx, _| {
            let (model, actor, ids) = (model.clone(), actor.clone(), store.ids().clone());
            Box::pin(async move {
                let object = format!("key:{}", model.id);
                let detail = serde_json::json!({"scopes": model.scopes});
                store::insert_key(tx, model).await?;
                Ok(record_deed(tx, &ids, now, &actor, "key.create", &object, detail).await?)
            })
        })
        .await?;
    Ok(NewKeyAnswer {
        key: model,
        text: made.text,
        transaction,
    })
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

/// Recognises keys, remembering them for a few seconds.
#[derive(Clone, Debug)]
pub struct Keyring {
    store: Store,
    /// Digest of the preset admin key.
    preset: Option<[u8; 32]>,
    known: moka::sync::Cache<String, Option<Arc<api_key::Model>>>,
    used: Arc<Mutex<HashSet<String>>>,
}

impl Keyring {
    pub fn new(store: Store, preset_admin_key: Option<&str>) -> Self {
        let known = moka::sync::Cache::builder()
            .max_capacity(10_000)
            .time_to_live(CACHED_FOR)
            .build();
        Self {
            store,
            preset: preset_admin_key.map(key::digest),
            known,
            used: Arc::default(),
        }
    }

    /// Who holds this key? `None`: nobody, it is wrong, expired or revoked.
    pub async fn recognise(&self, text: &str, now: Instant) -> Result<Option<Principal>, StoreError> {
        if self.preset.is_some_and(|preset| key::matches(text, &preset)) {
            return Ok(Some(Principal::admin(Actor::new("key:preset"))));
        }
        let Some(id) = key::api_key_id(text) else { return Ok(None) };
        let Some(stored) = self.stored(id).await? else {
            return Ok(None);
        };
        let alive = stored.revoked_at.is_none() && stored.expires_at.is_none_or(|at| at > now.micros());
        if !alive || !key::matches(text, &stored.digest) {
            return Ok(None);
        }
        self.used
            .lock()
            .expect("no panic happens while it is held")
            .insert(stored.id.clone());
        let scopes = stored.scopes.split(',').filter_map(Scope::parse).collect();
        Ok(Some(Principal::Key {
            actor: Actor::new(format!("key:{}", stored.id)),
            scopes,
        }))
    }

    async fn stored(&self, id: &str) -> Result<Option<Arc<api_key::Model>>, StoreError> {
        if let Some(known) = self.known.get(id) {
            return Ok(known);
        }
        let found = store::key_by_id(self.store.reader(), id).await?.map(Arc::new);
        self.known.insert(id.to_owned(), found.clone());
        Ok(found)
    }

    /// After a change here: forget everything.
    pub fn forget(&self) {
        self.known.invalidate_all();
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
