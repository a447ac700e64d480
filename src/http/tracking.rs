//! The Segment tracking API on the wire, which RudderStack's clients speak too.
//!
//! Promises: exactly 200 on success, after the events are durable; every refusal is a JSON object with `code` and `message`, with CORS
//! headers; the content type is not looked at.

use super::Doors;
use super::body::{self, BodyError};
use crate::base::{Kind, SourceId};
use crate::graphql::is_node_id;
use crate::ingest::message::Refusal;
use crate::ingest::source::{MAX_LIMIT_BYTES, own_limit};
use crate::ingest::{Arrival, Body, BodyFault, Limits, Message, RefusedItem};
use crate::pipeline::intake::{Delivery, Outcome};
use crate::pipeline::queue::{IntakeError, Receipt};
use axum::Router;
use axum::body::Body as HttpBody;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use entity::{EventKind, source};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;

/// Before the source is known, nothing larger than any source may send is read.
const LARGEST_BODY: usize = MAX_LIMIT_BYTES;
/// Seconds after which a client that was turned away may try again.
const RETRY_AFTER: &str = "1";

/// Paths of one message each, and its kind.
const SINGLE_PATHS: [(&str, EventKind); 12] = [
    ("i", EventKind::Identify),
    ("t", EventKind::Track),
    ("p", EventKind::Page),
    ("s", EventKind::Screen),
    ("g", EventKind::Group),
    ("a", EventKind::Alias),
    ("identify", EventKind::Identify),
    ("track", EventKind::Track),
    ("page", EventKind::Page),
    ("screen", EventKind::Screen),
    ("group", EventKind::Group),
    ("alias", EventKind::Alias),
];

pub fn routes() -> Router<Arc<Doors>> {
    let mut router = Router::new();
    for path in ["batch", "b", "import"] {
        for path in [format!("/{path}"), format!("/{path}/")] {
            router = router.route(&path, post(batch).fallback(method_not_allowed));
        }
    }
    for (path, kind) in SINGLE_PATHS {
        for path in [format!("/{path}"), format!("/{path}/")] {
            let handler = move |state, address, headers, body| single(kind, state, address, headers, body);
            router = router.route(&path, post(handler).fallback(method_not_allowed));
        }
    }
    router
        .route("/projects/{write_key}/settings", get(settings).fallback(settings_take_get))
        .fallback(no_such_endpoint)
        .layer(middleware::from_fn(cors))
}

/// A refusal of a whole request.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry: bool,
}

impl Refused {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            retry: false,
        }
    }

    fn into_response(self) -> Response {
        let body = json!({"success": false, "code": self.code, "message": self.message});
        let mut response = json_response(self.status, &body);
        if self.retry {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
        }
        response
    }
}

impl From<BodyFault> for Refused {
    fn from(fault: BodyFault) -> Self {
        Self::new(StatusCode::BAD_REQUEST, fault.code, fault.message)
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let message = match &refusal.field {
            Some(field) => format!("{field}: {}", refusal.message),
            None => refusal.message,
        };
        Self::new(StatusCode::BAD_REQUEST, refusal.code, message)
    }
}

impl From<BodyError> for Refused {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge { limit } => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                format!("a request may have {limit} bytes: split it"),
            ),
            BodyError::Interrupted => Self::new(StatusCode::BAD_REQUEST, "body_interrupted", "the body ended too early"),
            BodyError::BrokenGzip => Self::new(
                StatusCode::BAD_REQUEST,
                "invalid_gzip",
                "the body is not the gzip it says it is",
            ),
        }
    }
}

impl From<IntakeError> for Refused {
    fn from(error: IntakeError) -> Self {
        match error.kind() {
            Kind::Overloaded => Self {
                retry: true,
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "overloaded", error.to_string())
            },
            Kind::Internal => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "internal error"),
            _ => Self {
                retry: true,
                ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.to_string())
            },
        }
    }
}

/// A request whose sender is known and whose body is unpacked.
struct Received {
    source: Arc<source::Model>,
    bytes: Vec<u8>,
    limits: Limits,
    address: String,
}

async fn batch(
    State(doors): State<Arc<Doors>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: HttpBody,
) -> Response {
    answer(accept_batch(&doors, address, &headers, body).await)
}

async fn single(
    kind: EventKind,
    State(doors): State<Arc<Doors>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: HttpBody,
) -> Response {
    answer(accept_single(&doors, kind, address, &headers, body).await)
}

fn answer(accepted: Result<(), Refused>) -> Response {
    match accepted {
        Ok(()) => json_response(StatusCode::OK, &json!({"success": true})),
        Err(refused) => refused.into_response(),
    }
}

async fn accept_batch(doors: &Doors, address: SocketAddr, headers: &HeaderMap, body: HttpBody) -> Result<(), Refused> {
    let received = receive(doors, address, headers, body, |bytes| {
        Ok(Body::batch(bytes)?.write_key().map(str::to_owned))
    })
    .await?;
    let body = Body::batch(&received.bytes)?;
    let arrival = received.arrival(doors);
    let (messages, refused) = body.into_messages(received.limits, &arrival, doors.services.store.ids())?;
    deliver(doors, &received, &arrival, messages, refused).await.map(|_| ())
}

async fn accept_single(
    doors: &Doors,
    kind: EventKind,
    address: SocketAddr,
    headers: &HeaderMap,
    body: HttpBody,
) -> Result<(), Refused> {
    let received = receive(doors, address, headers, body, |bytes| {
        Ok(Body::single(bytes)?.write_key().map(str::to_owned))
    })
    .await?;
    let arrival = received.arrival(doors);
    let message =
        Body::single(&received.bytes)?.into_message(Some(kind), received.limits, &arrival, doors.services.store.ids())?;
    let receipts = deliver(doors, &received, &arrival, vec![message], Vec::new()).await?;
    receipts
        .into_iter()
        .try_for_each(|receipt| receipt.map(|_| ()).map_err(Refused::from))
}

async fn deliver(
    doors: &Doors,
    received: &Received,
    arrival: &Arrival<'_>,
    messages: Vec<Message>,
    refused: Vec<RefusedItem>,
) -> Result<Vec<Receipt>, Refused> {
    if messages.is_empty() && refused.is_empty() {
        return Ok(Vec::new());
    }
    let refused_before = refused.len();
    let delivery = Delivery {
        source_id: arrival.source,
        source_key: received.source.key.clone(),
        reviews_aliases: received.source.review_aliases,
        received_at: arrival.received_at,
        messages,
        refused,
        is_bulk: false,
    };
    let receipts = doors.intake.deliver(delivery).await?.receipts;
    // Who sends is not told that somebody was erased: what is dropped is answered like what is kept.
    let is_kept = |receipt: &&Receipt| matches!(receipt, Ok(outcome) if *outcome != Outcome::Suppressed);
    let accepted = receipts.iter().filter(is_kept).count();
    metrics::counter!("tributary_events_accepted_total").increment(accepted as u64);
    metrics::counter!("tributary_events_rejected_total").increment((refused_before + receipts.len() - accepted) as u64);
    Ok(receipts)
}

impl Received {
    fn arrival<'a>(&'a self, doors: &'a Doors) -> Arrival<'a> {
        Arrival {
            source: SourceId(self.source.id),
            received_at: doors.services.now(),
            protected_traits: &doors.tracking.protected_traits,
            is_internal_id: is_node_id,
            address: Some(&self.address),
        }
    }
}

/// Reads the body, finds the sender by header or else by the key in the body, and holds the body to the sender's limits.
async fn receive(
    doors: &Doors,
    address: SocketAddr,
    headers: &HeaderMap,
    http_body: HttpBody,
    key_in_body: impl Fn(&[u8]) -> Result<Option<String>, Refused>,
) -> Result<Received, Refused> {
    let bytes = body::read(http_body, LARGEST_BODY).await?;
    let bytes = unpack(headers, bytes)?;
    let write_key = match key_in_header(headers) {
        Some(write_key) => write_key,
        None => key_in_body(&bytes)?.ok_or_else(|| {
            let message = "needs the source's write key: as the user name of Basic authentication, or as writeKey in the body";
            Refused::new(StatusCode::UNAUTHORIZED, "missing_write_key", message)
        })?,
    };
    let source = source_of(doors, &write_key).await?;
    let limits = doors.tracking.limits.of_source(&source);
    let max_batch_bytes = own_limit(source.max_batch_bytes, doors.tracking.max_batch_bytes);
    if bytes.len() > max_batch_bytes {
        return Err(BodyError::TooLarge { limit: max_batch_bytes }.into());
    }
    Ok(Received {
        source,
        bytes,
        limits,
        address: address.ip().to_string(),
    })
}

fn unpack(headers: &HeaderMap, bytes: Vec<u8>) -> Result<Vec<u8>, Refused> {
    let encoding = headers
        .get(header::CONTENT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("identity")
        .trim()
        .to_ascii_lowercase();
    match encoding.as_str() {
        "gzip" | "x-gzip" => Ok(body::gunzip(&bytes, LARGEST_BODY)?),
        "identity" | "" => Ok(bytes),
        _ => Err(Refused::new(
            StatusCode::BAD_REQUEST,
            "unsupported_encoding",
            "Content-Encoding must be gzip or none",
        )),
    }
}

fn key_in_header(headers: &HeaderMap) -> Option<String> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(encoded) =
        text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Basic ").or_else(|| value.strip_prefix("basic ")))
    {
        let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
        let user = decoded.split_once(':').map_or(decoded.as_str(), |(user, _)| user);
        return (!user.is_empty()).then(|| user.to_owned());
    }
    text(HeaderName::from_static("x-write-key")).map(|key| key.split(':').next().unwrap_or(key).to_owned())
}

async fn source_of(doors: &Doors, write_key: &str) -> Result<Arc<source::Model>, Refused> {
    let found = doors
        .services
        .sources
        .find(write_key, doors.services.now())
        .await
        .map_err(|error| {
            tracing::warn!(%error, "the database did not answer for a write key");
            Refused {
                retry: true,
                ..Refused::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the database does not answer")
            }
        })?;
    let Some(source) = found else {
        return Err(Refused::new(
            StatusCode::UNAUTHORIZED,
            "invalid_write_key",
            "no source has this write key",
        ));
    };
    if !source.enabled {
        return Err(Refused::new(
            StatusCode::NOT_FOUND,
            "source_disabled",
            "this source is disabled",
        ));
    }
    Ok(source)
}

/// What the browser library asks for when it starts: no integration but this one, and no metrics of its own.
async fn settings(State(doors): State<Arc<Doors>>, Path(write_key): Path<String>) -> Response {
    if let Err(refused) = source_of(&doors, &write_key).await {
        let refused = if refused.status == StatusCode::UNAUTHORIZED {
            Refused {
                status: StatusCode::NOT_FOUND,
                ..refused
            }
        } else {
            refused
        };
        return refused.into_response();
    }
    let settings = json!({
        "integrations": {"Segment.io": {"apiKey": write_key, "unbundledIntegrations": [], "addBundledMetadata": true}},
        "plan": {"track": {"__default": {"enabled": true, "integrations": {}}}},
        "metrics": {"sampleRate": 0}
    });
    json_response(StatusCode::OK, &settings)
}

async fn method_not_allowed() -> Response {
    Refused::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this endpoint takes POST",
    )
    .into_response()
}

async fn settings_take_get() -> Response {
    Refused::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this endpoint takes GET",
    )
    .into_response()
}

async fn no_such_endpoint() -> Response {
    let message = "no such endpoint: send to /v1/batch, or to /v1/track, page, screen, identify, group or alias";
    Refused::new(StatusCode::NOT_FOUND, "not_found", message).into_response()
}

/// Browsers send a preflight, since their library sets `Authorization`; `*` does not cover that header, so it is named.
async fn cors(request: axum::extract::Request, next: Next) -> Response {
    const PREFLIGHT: [(HeaderName, &str); 3] = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-type, content-encoding, x-retry-count, x-write-key, anonymousid",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ];
    let is_preflight = request.method() == Method::OPTIONS;
    let mut response = if is_preflight {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("retry-after, x-request-id"),
    );
    if is_preflight {
        for (name, value) in PREFLIGHT {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    response
}

fn json_response(status: StatusCode, body: &serde_json::Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
