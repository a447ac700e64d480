//! How personal a trait is: what nobody has said something about is personal.

use super::store;
use super::traits::canonical_name;
use crate::access::{Actor, record_deed};
use crate::base::{Instant, Kind};
use crate::feed::TransactionId;
use crate::store::{Store, StoreError, Transient};
use entity::{DataClass, trait_definition};

#[derive(Debug, thiserror::Error)]
pub enum ClassifyError {
    #[error("no source has sent a trait of this name")]
    NotFound,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Transient for ClassifyError {
    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::NotFound => None,
        }
    }
}

impl ClassifyError {
    pub fn kind(&self) -> Kind {
        match self {
            Self::NotFound => Kind::NotFound,
            Self::Store(error) => error.kind(),
        }
    }
}

/// Says how personal a trait is, by its name in any spelling of the tracking API. `None` as transaction: it was of this class before.
pub async fn classify(
    store: &Store,
    now: Instant,
    actor: &Actor,
    name: &str,
    class: DataClass,
) -> Result<(trait_definition::Model, Option<TransactionId>), ClassifyError> {
    let name = canonical_name(name);
    store
        .transact(|tx, _| {
            let (name, actor, ids) = (name.to_owned(), actor.clone(), store.ids().clone());
            Box::pin(async move {
                let mut definition = store::trait_definition(tx, &name).await?.ok_or(ClassifyError::NotFound)?;
                if definition.class == class {
                    return Ok((definition, None));
                }
                store::set_class(tx, &name, class).await?;
                let detail = serde_json::json!({"before": format!("{:?}", definition.class), "after": format!("{class:?}")});
                definition.class = class;
                let transaction = record_deed(tx, &ids, now, &actor, "trait.classify", &name, detail).await?;
                Ok((definition, Some(transaction)))
            })
        })
        .await
}
