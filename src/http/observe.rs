//! What operators see of requests: an id on each, counters, times, and a line in the log. Never a key, a query or a body.

use super::Doors;
use crate::base::Stopwatch;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde_json::json;
use std::sync::{Arc, OnceLock};
use tracing::Instrument as _;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longer ones are replaced: they end up in every line of the log.
const MAX_REQUEST_ID: usize = 100;
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

const MESSAGES: [f64; 8] = [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 2500.0];

/// Makes this process's metrics, once.
pub fn install_metrics() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let builder = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
                .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_messages".to_owned()), &MESSAGES))
                .expect("the buckets are not empty");
            let handle = builder
                .install_recorder()
                .expect("no other recorder is installed in this process");
            metrics::describe_counter!(
                "tributary_events_accepted_total",
                "Events that were stored, repetitions included."
            );
            metrics::describe_counter!("tributary_events_rejected_total", "Items of batches that were refused.");
            metrics::describe_counter!(
                "tributary_transaction_retries_total",
                "Transactions tried again after a lost race."
            );
            metrics::describe_counter!("tributary_http_requests_total", "Requests by route and status.");
            metrics::describe_histogram!("tributary_http_request_seconds", "Time to answer by route.");
            metrics::describe_histogram!("tributary_intake_group_messages", "Messages that shared one commit.");
            metrics::describe_gauge!("tributary_sockets_open", "Open sockets.");
            metrics::describe_gauge!(
                "tributary_subscriptions_open",
                "Open subscriptions, on sockets and as event streams."
            );
            metrics::describe_counter!(
                "tributary_sockets_closed_total",
                "Sockets closed, by the code of their close frame; client: by the client; broken: without one."
            );
            metrics::describe_counter!(
                "tributary_subscriptions_slow_total",
                "Subscriptions ended because nothing was read."
            );
            metrics::describe_gauge!(
                "tributary_dispatcher_lag_seconds",
                "How long the oldest change that was not handed to who acts on changes has waited."
            );
            metrics::describe_counter!(
                "tributary_dispatcher_failures_total",
                "Batches of changes that were refused, and tried again."
            );
            metrics::describe_counter!(
                "tributary_dispatcher_resets_total",
                "Times that the log no longer had what was to be handed over, by reason."
            );
            handle
        })
        .clone()
}

/// Prometheus text.
pub async fn metrics_page(State(doors): State<Arc<Doors>>) -> Response {
    doors.metrics.run_upkeep();
    let mut text = doors.metrics.render();
    let store = &doors.services.store;
    text += "# TYPE tributary_sql_statements_total counter\n";
    text += &format!(
        "tributary_sql_statements_total{{origin=\"request\"}} {}\n",
        store.statement_count()
    );
    let background = store.background_statement_count();
    text += &format!("tributary_sql_statements_total{{origin=\"background\"}} {background}\n");
    (
        StatusCode::OK,
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text,
    )
        .into_response()
}

/// Wraps every request.
pub async fn observe(State(doors): State<Arc<Doors>>, request: Request, next: Next) -> Response {
    let given = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    let well_formed = |id: &&str| {
        !id.is_empty()
            && id.len() <= MAX_REQUEST_ID
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let id = match given.filter(well_formed) {
        Some(id) => id.to_owned(),
        None => doors
            .services
            .store
            .ids()
            .time_ordered(doors.services.now())
            .simple()
            .to_string(),
    };
    // The route and not the path: a path may hold a write key.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unmatched", MatchedPath::as_str)
        .to_owned();
    let method = request.method().clone();
    let span = tracing::info_span!("request", request.id = %id, http.method = %method, http.route = %route);
    let watch = Stopwatch::start();
    let mut response = next.run(request).instrument(span.clone()).await;
    let (status, seconds) = (response.status(), watch.seconds());
    span.in_scope(|| {
        if status.is_server_error() {
            tracing::warn!(http.status = status.as_u16(), elapsed_ms = seconds * 1000.0, "request failed");
        } else {
            tracing::debug!(
                http.status = status.as_u16(),
                elapsed_ms = seconds * 1000.0,
                "request answered"
            );
        }
    });
    metrics::counter!("tributary_http_requests_total", "route" => route.clone(), "status" => status.as_str().to_owned())
        .increment(1);
    metrics::histogram!("tributary_http_request_seconds", "route" => route).record(seconds);
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
        .headers_mut()
        .insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

pub async fn not_found() -> Response {
    let body = json!({"success": false, "code": "not_found", "message": "there is nothing here: try /graphql, /v1/batch, /console or /healthz"});
    (
        StatusCode::NOT_FOUND,
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}
