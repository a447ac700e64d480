//! Background jobs: how far they are, how they ended, and how they are taken back.

use super::error::{self, UserError};
use super::guard::Needs;
use super::kinds::JobState;
use super::loaders::forget;
use super::node_id::{self, NodeId};
use super::scalars::DateTime;
use super::{principal, services};
use crate::access::Scope;
use crate::job::Job;
use crate::pipeline::jobs;
use async_graphql::{Context, ID, InputObject, Json, Object, Result, SimpleObject};
use serde_json::Value;

/// Work in the background.
#[derive(Clone, Debug)]
pub struct JobNode(pub Job);

/// Work that goes on after the request that asked for it was answered.
#[Object(name = "Job")]
impl JobNode {
    /// Its global id.
    pub async fn id(&self) -> ID {
        NodeId::Job(self.0.id).to_id()
    }

    /// What is done.
    async fn kind(&self) -> &str {
        &self.0.kind
    }

    /// How it stands.
    async fn state(&self) -> JobState {
        self.0.state.into()
    }

    /// How much of it is done, from 0 to 1; null while it is unknown how much there is.
    async fn progress(&self) -> Option<f64> {
        self.0.progress()
    }

    /// When it was asked for.
    async fn created_at(&self) -> DateTime {
        DateTime(self.0.created_at)
    }

    /// When its first attempt began; null before.
    async fn started_at(&self) -> Option<DateTime> {
        self.0.started_at.map(DateTime)
    }

    /// When it succeeded, was given up or was taken back; null before.
    async fn finished_at(&self) -> Option<DateTime> {
        self.0.finished_at.map(DateTime)
    }

    /// What came of it; null until it succeeded.
    async fn result(&self) -> Option<Json<Value>> {
        self.0.result.clone().map(Json)
    }

    /// Why its last attempt failed, for people; null when none has failed or a later one succeeded.
    async fn error(&self) -> Option<&str> {
        self.0.error.as_deref()
    }
}

/// Which job to take back.
#[derive(Clone, Debug, InputObject)]
pub struct JobCancelInput {
    /// The job.
    id: ID,
}

/// The answer to `jobCancel`.
#[derive(Default, SimpleObject)]
pub struct JobCancelPayload {
    /// The job; null when it was refused.
    job: Option<JobNode>,
    /// The transaction; null when nothing was committed.
    transaction: Option<ID>,
    /// Why it was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

/// Mutations of background jobs.
#[derive(Default)]
pub struct Cancelling;

#[Object]
impl Cancelling {
    /// Takes a job back: one that waits is never run, one that runs is ended, on another server after some seconds. What it has done
    /// already stays: of `identity_rules_publish`, everybody whom it has placed again; whoever is left is placed when rules are published the
    /// next time. Erasures are carried through, and a job that has ended
    /// stays as it ended: both are a CONFLICT. Needs the scope `admin`.
    #[graphql(guard = "Needs(Scope::Admin)")]
    async fn job_cancel(&self, ctx: &Context<'_>, #[graphql(desc = "Which.")] input: JobCancelInput) -> Result<JobCancelPayload> {
        let refused = |user_error| JobCancelPayload {
            user_errors: vec![user_error],
            ..JobCancelPayload::default()
        };
        let id = match node_id::job_id(&input.id) {
            Ok(id) => id,
            Err(reason) => return Ok(refused(error::invalid("id", reason))),
        };
        let cancelled = jobs::cancel(services(ctx)?, &principal(ctx)?.actor(), id).await;
        forget(ctx)?;
        Ok(match cancelled {
            Ok((job, transaction)) => JobCancelPayload {
                job: Some(JobNode(job)),
                transaction: Some(transaction.into()),
                user_errors: Vec::new(),
            },
            Err(cause) => refused(error::user_error(cause.kind(), "id", &cause)?),
        })
    }
}
