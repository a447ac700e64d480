//! The doors: `/graphql` (plain, as a socket, as a stream of events), the tracking API under `/v1`, health, metrics, the console. Reads and writes HTTP, decides nothing.

mod body;
mod console;
mod cors;
mod graphql;
mod health;
mod observe;
mod socket;
mod sse;
mod stall;
mod tracking;

pub use health::Readiness;
pub use observe::install_metrics;
pub use socket::{SocketOptions, Sockets};
pub use stall::Patient;

use crate::graphql::Door;
use crate::ingest::Limits;
use crate::pipeline::Services;
use crate::pipeline::queue::Intake;
use axum::Router;
use axum::middleware;
use axum::routing::{get, post};
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;

/// What the doors are made of. Shared as a whole: the router clones its state several times for each request, and these parts one by
/// one are some forty counters.
pub struct Doors {
    pub services: Services,
    pub intake: Intake,
    pub graphql: Door,
    pub tracking: TrackingOptions,
    pub readiness: Readiness,
    pub sockets: Sockets,
    pub metrics: PrometheusHandle,
    /// Whether `/console` is served.
    pub console: bool,
}

/// The configuration's section `ingest`, as far as the doors need it.
#[derive(Clone, Debug)]
pub struct TrackingOptions {
    pub limits: Limits,
    pub max_batch_bytes: usize,
    pub protected_traits: Arc<[String]>,
}

/// All routes.
pub fn router(doors: Doors) -> Router {
    let doors = Arc::new(doors);
    let mut router = Router::new()
        .route(
            "/graphql",
            post(graphql::post)
                .get(socket::upgrade)
                .options(cors::preflight)
                .fallback(graphql::method_not_allowed),
        )
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(observe::metrics_page))
        .nest("/v1", tracking::routes());
    if doors.console {
        router = router
            .route("/console", get(console::index))
            .route("/console/{file}", get(console::file));
    }
    router
        .fallback(observe::not_found)
        .layer(middleware::from_fn_with_state(doors.clone(), observe::observe))
        .with_state(doors)
}
