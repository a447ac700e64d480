//! Fitted models as they are kept: a version holds a row for each kind, and the highest version that is published is in force.
//!
//! Promises: a version never changes, but for whether it is published; what is read is of one version; a model of buying or spending that
//! did not converge is kept with its reasons, and nothing is computed with it. Owns `value_model`.
//! Leaves to others: fitting as a job and publishing (`pipeline::models`), and what values come of it (`worth`, and the metrics).
//!
//! `sample` gathers what a fit needs of all customers, page by page, and fits; `stored` is the JSON of a row; `store` holds the statements.

mod sample;
pub mod store;
pub mod stored;

pub use sample::{Chosen, Found, Sample, Terms};

use super::economics::Economics;
use super::published::Published;
use crate::base::money::Currency;
use crate::store::{StoreError, remembering};
use sea_orm::ConnectionTrait;
use std::sync::Arc;
use std::time::Duration;

/// A version, with everything that values are computed with.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    pub published: Published,
    /// Of its money; `None`: nobody's amounts were known.
    pub currency: Option<Currency>,
    pub economics: Economics,
    /// Why there is no model of buying, or of spending, to compute with; `None`: there is one.
    pub no_buying: Option<String>,
    pub no_spending: Option<String>,
}

/// Versions that were read. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Versions(moka::sync::Cache<i64, Arc<Version>>);

/// More are not in use at once, also while somebody goes back and forth.
const KEPT: u64 = 8;
/// A version never changes; it is forgotten to give the memory back.
const KEPT_FOR: Duration = Duration::from_secs(3600);

impl Default for Versions {
    fn default() -> Self {
        Self(remembering(KEPT, KEPT_FOR))
    }
}

impl Versions {
    /// What is in force, also inside a transaction; `None`: nothing was published. One statement, and one more when a version is read for
    /// the first time.
    pub async fn in_force(&self, db: &impl ConnectionTrait) -> Result<Option<Arc<Version>>, StoreError> {
        let Some(version) = store::in_force(db).await? else {
            return Ok(None);
        };
        if let Some(known) = self.0.get(&version) {
            return Ok(Some(known));
        }
        let read = Arc::new(stored::version(store::rows(db, version).await?)?);
        self.0.insert(version, read.clone());
        Ok(Some(read))
    }
}
