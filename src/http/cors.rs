//! Which pages of other origins may ask `/graphql` and read what it answers (Cross-Origin Resource Sharing, in the Fetch standard).
//!
//! Promises: an origin is answered by its own name and only when a key that works lists it; never a wildcard, never credentials, which
//! are cookies and there are none; an answer says that it depends on the origin. A browser asks first, without the key, whether it may
//! send; so that question is answered for all keys together, and the request itself for the key that it brings.

use super::{Doors, graphql};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use std::sync::Arc;

/// How long a browser may remember the answer, in seconds: as long as a new list of origins may take to be felt.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
const METHODS: HeaderValue = HeaderValue::from_static("POST");
const HEADERS: HeaderValue = HeaderValue::from_static("accept, authorization, content-type");

/// The origin of the page that asks; `None` when it is no browser that asks.
pub fn origin(headers: &HeaderMap) -> Option<&str> {
    // A text that is no text is some origin, and none that a key lists.
    headers.get(header::ORIGIN).map(|value| value.to_str().unwrap_or("null"))
}

/// Whether the page was served under the name that the request is sent to, such as the console's.
pub fn is_own(headers: &HeaderMap, origin: &str) -> bool {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_some() && authority == host
}

/// A browser asks whether a page may send its request. Anything else that is sent with OPTIONS is a method we do not have.
pub async fn preflight(State(doors): State<Arc<Doors>>, headers: HeaderMap) -> Response {
    let wanted = headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let Some(origin) = origin(&headers).filter(|_| wanted) else {
        return graphql::method_not_allowed().await;
    };
    let status = if is_allowed(&doors, origin).await {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::FORBIDDEN
    };
    let mut response = readable(&doors, &headers, status.into_response()).await;
    let answer = response.headers_mut();
    for name in ["access-control-request-method", "access-control-request-headers"] {
        answer.append(header::VARY, HeaderValue::from_static(name));
    }
    if answer.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
        answer.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
    response
}

/// Lets the page that asked read the answer, a refusal too, when a key lists its origin.
pub async fn readable(doors: &Doors, headers: &HeaderMap, mut response: Response) -> Response {
    response
        .headers_mut()
        .append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin(headers)
        && is_allowed(doors, origin).await
        && let Ok(origin) = HeaderValue::from_str(origin)
    {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    response
}

/// Whether a key that works lists this origin.
pub async fn is_allowed(doors: &Doors, origin: &str) -> bool {
    match doors.services.keyring.allows_origin(origin, doors.services.now()).await {
        Ok(allowed) => allowed,
        Err(error) => {
            tracing::warn!(%error, "the database did not answer for an origin");
            false
        }
    }
}
