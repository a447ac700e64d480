//! The rules that stand: what was published last, else what the configuration says.

use super::rules::RulesError;
use super::{Rules, store::decisions};
use crate::store::{Store, StoreError};
use serde_json::Value;
use std::sync::{Arc, PoisonError, RwLock};

/// Rules and the version under which decisions name them; 0 while none were published.
#[derive(Clone, Debug)]
pub struct StandingRules {
    pub version: i64,
    pub rules: Arc<Rules>,
}

/// The rules of this process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RulesDirectory {
    configured: Arc<Value>,
    standing: Arc<RwLock<StandingRules>>,
}

impl RulesDirectory {
    /// `configured`: what stands while nothing was published.
    pub fn new(configured: Value) -> Result<Self, RulesError> {
        let rules = Arc::new(Rules::parse(&configured)?);
        Ok(Self {
            configured: Arc::new(configured),
            standing: Arc::new(RwLock::new(StandingRules { version: 0, rules })),
        })
    }

    pub fn standing(&self) -> StandingRules {
        self.standing.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What stands while nothing was published.
    pub fn configured(&self) -> &Value {
        &self.configured
    }

    /// The standing rule set as JSON, to be laid over.
    pub async fn config(&self, store: &Store) -> Result<Value, StoreError> {
        let published = decisions::standing_rules(store.reader()).await?;
        Ok(published.map_or_else(|| self.configured.as_ref().clone(), |rules| rules.config))
    }

    /// Reads what was published last; another instance may have done so.
    pub async fn refresh(&self, store: &Store) -> Result<(), StoreError> {
        let Some(published) = decisions::standing_rules(store.reader()).await? else {
            return Ok(());
        };
        if published.version == self.standing().version {
            return Ok(());
        }
        let rules = Rules::parse(&published.config).map_err(|error| StoreError::Corrupt(format!("identity_rules: {error}")))?;
        let standing = StandingRules {
            version: published.version,
            rules: Arc::new(rules),
        };
        *self.standing.write().unwrap_or_else(PoisonError::into_inner) = standing;
        Ok(())
    }
}
