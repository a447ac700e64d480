//! Background jobs: how far they are, and how they ended.

use super::kinds::JobState;
use super::node_id::NodeId;
use super::scalars::DateTime;
use crate::job::Job;
use async_graphql::{ID, Json, Object};
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

    /// When it succeeded or was given up; null before.
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
