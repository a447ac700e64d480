//! Is it alive, and should it get traffic?

use super::Doors;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A database that takes longer for one row is no place to send traffic to.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the server wants traffic; set to no when it begins to stop.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    stopping: Arc<AtomicBool>,
}

impl Readiness {
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }
}

/// The process answers.
pub async fn healthz() -> Response {
    (
        StatusCode::OK,
        [(header::CONTENT_TYPE, "application/json")],
        json!({"status": "ok"}).to_string(),
    )
        .into_response()
}

/// The process can do its work.
pub async fn readyz(State(doors): State<Arc<Doors>>) -> Response {
    let store = &doors.services.store;
    let ping = store
        .reader()
        .query_one_raw(Statement::from_string(store.backend(), "SELECT 1 AS one"));
    let database = matches!(tokio::time::timeout(PATIENCE, ping).await, Ok(Ok(_)));
    let stopping = doors.readiness.stopping.load(Ordering::SeqCst);
    let ready = database && !stopping;
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = json!({"status": if ready { "ready" } else { "not ready" }, "database": database, "stopping": stopping});
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
