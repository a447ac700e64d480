//! The reporting currency: the one that sums of money over several currencies are told in, and the models are fitted in.
//!
//! The settings name it. Where they leave it open it is the currency that most purchases are in when one is needed first; from then on
//! it is kept, since sums that change their currency by themselves would be news of everybody, and nobody's.

use super::rules::ValueRules;
use crate::base::money::Currency;
use crate::store::{Rows, Store, StoreError};
use sea_orm::{ConnectionTrait, Statement};
use std::sync::{Arc, OnceLock};

/// Under which it is kept in `installation`.
const NAME: &str = "reporting_currency";

/// The rules with what they leave open settled. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reporting {
    pub rules: Arc<ValueRules>,
    /// `None`: nobody has bought anything yet.
    pub currency: Option<Currency>,
}

/// Remembers what was settled. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Settled(Arc<OnceLock<Currency>>);

impl Settled {
    /// The rules with what was settled before, without asking anybody.
    pub fn remembered(&self, rules: &Arc<ValueRules>) -> Reporting {
        Reporting {
            rules: rules.clone(),
            currency: rules.currency.clone().or_else(|| self.0.get().cloned()),
        }
    }

    /// Settles the currency where it is open and somebody bought something. Two statements until then, one the first time after, and none
    /// from then on. Never within a transaction: it may write by itself.
    pub async fn reporting(&self, store: &Store, rules: &Arc<ValueRules>) -> Result<Reporting, StoreError> {
        let mut reporting = self.remembered(rules);
        if reporting.currency.is_none() {
            reporting.currency = settle(store).await?;
        }
        if let Some(currency) = &reporting.currency
            && rules.currency.is_none()
        {
            // Whoever was first remembered the same.
            let _ = self.0.set(currency.clone());
        }
        Ok(reporting)
    }
}

/// The same for who only reads: what is open stays so.
pub async fn settled(db: &impl ConnectionTrait, rules: &Arc<ValueRules>) -> Result<Reporting, StoreError> {
    let currency = match &rules.currency {
        Some(currency) => Some(currency.clone()),
        None => kept(db).await?,
    };
    Ok(Reporting {
        rules: rules.clone(),
        currency,
    })
}

async fn settle(store: &Store) -> Result<Option<Currency>, StoreError> {
    if let Some(kept) = kept(store.reader()).await? {
        return Ok(Some(kept));
    }
    let Some(most_used) = most_used(store.reader()).await? else {
        return Ok(None);
    };
    // Another instance may settle it in the same instant: the first one stands.
    Rows::new()
        .text("name", [NAME.to_owned()])
        .text("value", [most_used.code().to_owned()])
        .insert(store.writer(), "installation", "ON CONFLICT (name) DO NOTHING")
        .await?;
    kept(store.writer()).await
}

async fn kept(db: &impl ConnectionTrait) -> Result<Option<Currency>, StoreError> {
    one(db, "SELECT value FROM installation WHERE name = $1", vec![NAME.into()]).await
}

/// Of equals the first by its code. Reads all purchases, once in the life of an installation.
async fn most_used(db: &impl ConnectionTrait) -> Result<Option<Currency>, StoreError> {
    let sql =
        "SELECT currency FROM purchase WHERE amount_minor IS NOT NULL GROUP BY currency ORDER BY COUNT(*) DESC, currency LIMIT 1";
    one(db, sql, Vec::new()).await
}

async fn one(db: &impl ConnectionTrait, sql: &str, values: Vec<sea_orm::Value>) -> Result<Option<Currency>, StoreError> {
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    let row = db.query_one_raw(statement).await?;
    row.map(|row| Ok(Currency::stored(row.try_get_by_index(0)?))).transpose()
}
