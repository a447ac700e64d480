//! Every statement of `job`.
//!
//! All that a worker writes about a job asks for its lease: the job runs, and under the worker's own fence. Each such verb answers whether
//! the lease stood; if not, nothing was written.

use super::{Job, NewJob};
use crate::base::{Instant, JobId};
use crate::store::{Rows, StoreError, any_of, ids_value};
use entity::{JobState, job};
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ActiveEnum as _, ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait as _,
    FromQueryResult as _, IntoActiveModel as _, QueryFilter as _, Statement, UpdateMany,
};
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;

/// What a worker proves itself with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    pub id: JobId,
    pub fence: i64,
}

impl From<&Job> for Lease {
    fn from(job: &Job) -> Self {
        Self {
            id: job.id,
            fence: job.fence,
        }
    }
}

/// How far a job is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    pub done: i64,
    /// `None`: unknown.
    pub total: Option<i64>,
    /// Where another attempt would go on; `None` leaves the cursor as it is.
    pub cursor: Option<Value>,
}

/// Queues a job in the transaction that made it due. Nudge after the commit.
pub async fn enqueue(tx: &DatabaseTransaction, new: &NewJob) -> Result<JobId, StoreError> {
    let model = job::Model {
        id: new.id.0,
        kind: new.kind.clone(),
        state: JobState::Queued,
        input: new.input.clone(),
        done: 0,
        total: None,
        cursor: None,
        result: None,
        error: None,
        attempts: 0,
        available_at: new.available_at.micros(),
        claimed_until: None,
        fence: 0,
        created_at: new.created_at.micros(),
        started_at: None,
        finished_at: None,
        actor: new.actor.clone(),
    };
    model.into_active_model().reset_all().insert(tx).await?;
    Ok(new.id)
}

/// Queues a job, or has one of the same kind that waits and was never begun do its work, too: `widen` answers the input of both, or `None`
/// where they have nothing to do with each other. Nobody begins the one that waits before the commit.
pub async fn enqueue_with(
    tx: &DatabaseTransaction,
    new: &NewJob,
    widen: impl Fn(&Value, &Value) -> Option<Value>,
) -> Result<JobId, StoreError> {
    let backend = tx.get_database_backend();
    let locking = if backend == DbBackend::Postgres { "FOR UPDATE" } else { "" };
    let sql = format!(
        "SELECT * FROM job WHERE state = {} AND kind = $1 AND attempts = 0 ORDER BY available_at, id {locking}",
        JobState::Queued.to_value()
    );
    let waiting = job::Model::find_by_statement(Statement::from_sql_and_values(backend, sql, [new.kind.as_str().into()]));
    for waiting in waiting.all(tx).await? {
        if let Some(input) = widen(&waiting.input, &new.input) {
            let update = job::Entity::update_many().col_expr(job::Column::Input, Expr::value(input));
            update.filter(job::Column::Id.eq(waiting.id)).exec(tx).await?;
            return Ok(JobId(waiting.id));
        }
    }
    enqueue(tx, new).await
}

/// Takes the job of these kinds that has been due the longest, also one whose worker let its lease run out. `None`: none is due, or another
/// worker took the same one in this instant.
pub async fn claim(
    db: &impl ConnectionTrait,
    kinds: impl IntoIterator<Item = &str>,
    now: Instant,
    lease: Duration,
) -> Result<Option<Job>, StoreError> {
    let kinds = Rows::new().text("kind", kinds.into_iter().map(str::to_owned));
    if kinds.is_empty() {
        return Ok(None);
    }
    let backend = db.get_database_backend();
    let (kinds, mut values) = kinds.relation(backend);
    values.extend([now.micros().into(), now.plus(lease).micros().into()]);
    let (queued, running) = (JobState::Queued.to_value(), JobState::Running.to_value());
    // A claim leaves `available_at` alone, so a running job is behind the same index (`job_due`). Asked twice: on PostgreSQL the outer
    // question is asked again of a row that another worker has just changed.
    let due = format!("state IN ({queued}, {running}) AND available_at <= $2 AND (claimed_until IS NULL OR claimed_until <= $2)");
    let sql = format!(
        "UPDATE job SET state = {running}, attempts = attempts + 1, fence = fence + 1, claimed_until = $3,
                started_at = COALESCE(started_at, $2)
         WHERE id = (SELECT id FROM job WHERE {due} AND kind IN (SELECT kind FROM {kinds}) ORDER BY available_at, id LIMIT 1)
           AND {due}
         RETURNING *"
    );
    let statement = Statement::from_sql_and_values(backend, sql, values);
    // `all`, so that SQLite sees the statement to its end and commits it.
    let claimed = job::Model::find_by_statement(statement).all(db).await?;
    Ok(claimed.into_iter().next().map(Job::from))
}

/// Holds the lease until then.
pub async fn renew(db: &impl ConnectionTrait, lease: Lease, until: Instant) -> Result<bool, StoreError> {
    let update = job::Entity::update_many().col_expr(job::Column::ClaimedUntil, Expr::value(until.micros()));
    under_lease(db, lease, update).await
}

/// Saves how far it is, and holds the lease until then.
pub async fn progress(db: &impl ConnectionTrait, lease: Lease, progress: Progress, until: Instant) -> Result<bool, StoreError> {
    let mut update = job::Entity::update_many()
        .col_expr(job::Column::Done, Expr::value(progress.done))
        .col_expr(job::Column::Total, Expr::value(progress.total))
        .col_expr(job::Column::ClaimedUntil, Expr::value(until.micros()));
    if let Some(cursor) = progress.cursor {
        update = update.col_expr(job::Column::Cursor, Expr::value(cursor));
    }
    under_lease(db, lease, update).await
}

/// It is done, and this is its answer.
pub async fn finish(db: &impl ConnectionTrait, lease: Lease, now: Instant, result: Value) -> Result<bool, StoreError> {
    let update = ended(JobState::Succeeded)
        .col_expr(job::Column::Result, Expr::value(result))
        .col_expr(job::Column::Error, Expr::value(None::<String>))
        .col_expr(job::Column::FinishedAt, Expr::value(now.micros()));
    under_lease(db, lease, update).await
}

/// The attempt failed and nobody will try again.
pub async fn fail(db: &impl ConnectionTrait, lease: Lease, now: Instant, error: &str) -> Result<bool, StoreError> {
    let update = ended(JobState::Failed)
        .col_expr(job::Column::Error, Expr::value(storable(error)))
        .col_expr(job::Column::FinishedAt, Expr::value(now.micros()));
    under_lease(db, lease, update).await
}

/// The attempt failed; the next may begin then.
pub async fn retry(db: &impl ConnectionTrait, lease: Lease, at: Instant, error: &str) -> Result<bool, StoreError> {
    let update = ended(JobState::Queued)
        .col_expr(job::Column::Error, Expr::value(storable(error)))
        .col_expr(job::Column::AvailableAt, Expr::value(at.micros()));
    under_lease(db, lease, update).await
}

/// The attempt was interrupted and does not count: anybody may go on at once.
pub async fn give_back(db: &impl ConnectionTrait, lease: Lease) -> Result<bool, StoreError> {
    let update = ended(JobState::Queued).col_expr(job::Column::Attempts, Expr::col(job::Column::Attempts).sub(1));
    under_lease(db, lease, update).await
}

/// Jobs by their ids, finished ones too.
pub async fn jobs(db: &impl ConnectionTrait, ids: &[JobId]) -> Result<HashMap<JobId, Job>, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!("SELECT * FROM job WHERE {}", any_of(backend, "id", 1));
    let statement = Statement::from_sql_and_values(backend, sql, [ids_value(backend, ids.iter().map(|id| id.0))]);
    let found = job::Model::find_by_statement(statement).all(db).await?;
    Ok(found.into_iter().map(Job::from).map(|job| (job.id, job)).collect())
}

/// The end of an attempt: no lease any more.
fn ended(state: JobState) -> UpdateMany<job::Entity> {
    job::Entity::update_many()
        .col_expr(job::Column::State, Expr::value(state.to_value()))
        .col_expr(job::Column::ClaimedUntil, Expr::value(None::<i64>))
}

async fn under_lease(db: &impl ConnectionTrait, lease: Lease, update: UpdateMany<job::Entity>) -> Result<bool, StoreError> {
    let update = update
        .filter(job::Column::Id.eq(lease.id.0))
        .filter(job::Column::State.eq(JobState::Running))
        .filter(job::Column::Fence.eq(lease.fence));
    Ok(update.exec(db).await?.rows_affected == 1)
}

/// Longer ones are cut, in characters: it is a message, not a log.
const MAX_ERROR: usize = 2_000;

/// PostgreSQL holds no NUL.
fn storable(error: &str) -> String {
    error.chars().filter(|char| *char != '\0').take(MAX_ERROR).collect()
}
