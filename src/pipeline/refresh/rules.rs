//! What is stored of customers' worth follows the settings: when the zone, the currency or what is rolled up is another than before, a job
//! has everybody looked at again.

use super::JOB_KIND;
use crate::access::Actor;
use crate::job::{self, NewJob};
use crate::pipeline::Services;
use crate::store::{Rows, StoreError};
use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::json;

/// Under which it is kept in `installation` what was last computed by.
const NAME: &str = "value_foundation";

/// Compares with what was computed by last, once when a server starts. Answers whether everybody will be looked at again.
pub async fn follow_rules(services: &Services) -> Result<bool, StoreError> {
    let foundation = services.value.foundation();
    let now = services.now();
    let again = services
        .store
        .transact::<_, StoreError, _>(|tx, _| {
            let foundation = foundation.clone();
            Box::pin(async move {
                let sql = "SELECT value FROM installation WHERE name = $1";
                let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, [NAME.into()]);
                let before = tx.query_one_raw(statement).await?;
                let before = before.map(|row| row.try_get_by_index::<String>(0)).transpose()?;
                if before.as_ref() == Some(&foundation) {
                    return Ok(false);
                }
                Rows::new()
                    .text("name", [NAME.to_owned()])
                    .text("value", [foundation])
                    .insert(tx, "installation", "ON CONFLICT (name) DO UPDATE SET value = excluded.value")
                    .await?;
                // The first time nothing was computed by other rules.
                if before.is_none() {
                    return Ok(false);
                }
                let input = json!({"everybody": true});
                let job = NewJob::new(services.store.ids(), now, JOB_KIND, input, Actor::new("settings").to_string());
                job::enqueue(tx, &job).await?;
                Ok(true)
            })
        })
        .await?;
    if again {
        services.jobs.nudge();
    }
    Ok(again)
}
