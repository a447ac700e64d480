//! Taking a job back.

use crate::base::{Instant, JobId};
use crate::store::StoreError;
use entity::JobState;
use sea_orm::{ActiveEnum as _, ConnectionTrait, Statement};

/// Takes a job back that waits or runs. The fence of one that runs moves, so that its worker can write nothing more about it and learns of it
/// at its next renewal or step, wherever it runs. `false`: it had ended.
pub async fn cancel(db: &impl ConnectionTrait, id: JobId, now: Instant) -> Result<bool, StoreError> {
    let sql = format!(
        "UPDATE job SET state = {}, fence = fence + 1, claimed_until = NULL, finished_at = $2 WHERE id = $1 AND state IN ({}, {})",
        JobState::Cancelled.to_value(),
        JobState::Queued.to_value(),
        JobState::Running.to_value()
    );
    let values = [id.0.into(), now.micros().into()];
    let done = db
        .execute_raw(Statement::from_sql_and_values(db.get_database_backend(), sql, values))
        .await?;
    Ok(done.rows_affected() == 1)
}
