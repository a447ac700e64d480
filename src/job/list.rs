//! Jobs page by page, the newest first.

use super::Job;
use crate::base::paging::{Page, Slice};
use crate::store::StoreError;
use entity::{JobState, job};
use sea_orm::{ActiveEnum as _, ConnectionTrait, FromQueryResult as _, Statement, Value};
use uuid::Uuid;

/// A page of jobs, in this state or any; ids are ordered by time.
pub async fn page_of_jobs(
    db: &impl ConnectionTrait,
    state: Option<JobState>,
    page: &Page<Uuid>,
) -> Result<Slice<Job>, StoreError> {
    let mut values: Vec<Value> = Vec::new();
    let mut conditions = vec![of_state(state)];
    if let Some(after) = page.after {
        values.push(after.into());
        conditions.push("id < $1".to_owned());
    }
    let sql = format!(
        "SELECT * FROM job WHERE {} ORDER BY id DESC LIMIT {}",
        conditions.join(" AND "),
        page.first + 1
    );
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    let rows = job::Model::find_by_statement(statement).all(db).await?;
    Ok(Slice::from_one_more(rows, page.first).map(Job::from))
}

/// How many there are, counted so far and no further.
pub async fn count_jobs(db: &impl ConnectionTrait, state: Option<JobState>, limit: u64) -> Result<u64, StoreError> {
    let sql = format!(
        "SELECT COUNT(*) FROM (SELECT 1 AS one FROM job WHERE {} LIMIT {limit}) AS counted",
        of_state(state)
    );
    let row = db
        .query_one_raw(Statement::from_string(db.get_database_backend(), sql))
        .await?;
    let count: i64 = row.map_or(Ok(0), |row| row.try_get_by_index(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

fn of_state(state: Option<JobState>) -> String {
    state.map_or_else(|| "1 = 1".to_owned(), |state| format!("state = {}", state.to_value()))
}

/// Whether a job of this kind waits or runs.
pub async fn is_any_unfinished(db: &impl ConnectionTrait, kind: &str) -> Result<bool, StoreError> {
    let (queued, running) = (JobState::Queued.to_value(), JobState::Running.to_value());
    let sql = format!("SELECT 1 FROM job WHERE state IN ({queued}, {running}) AND kind = $1 LIMIT 1");
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, [kind.into()]);
    Ok(db.query_one_raw(statement).await?.is_some())
}
