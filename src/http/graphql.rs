//! GraphQL over HTTP: POST with JSON, two answer media types, statuses as the specification says; a third is `sse`.
//!
//! With `application/graphql-response+json` a document that does not parse or validate is 400; with `application/json` it is 200, for
//! older clients. A request that passes a limit is 4xx in both.

use super::Doors;
use super::body::{self, BodyError};
use super::cors;
use super::sse;
use crate::access::Holder;
use crate::graphql::{Answer, RequestBody, execute};
use crate::store::StoreError;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use std::sync::Arc;

const GRAPHQL_JSON: &str = "application/graphql-response+json";
const PLAIN_JSON: &str = "application/json";
/// Variables included.
const MAX_BODY_BYTES: usize = 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    GraphqlResponse,
    Json,
}

pub async fn post(State(doors): State<Arc<Doors>>, headers: HeaderMap, body: Body) -> Response {
    let response = answer(doors.clone(), &headers, body).await;
    cors::readable(&doors, &headers, response).await
}

async fn answer(doors: Arc<Doors>, headers: &HeaderMap, body: Body) -> Response {
    let accepted = accepted(headers);
    let takes_events = takes_events(headers);
    if accepted.is_none() && !takes_events {
        return refuse(
            MediaType::Json,
            StatusCode::NOT_ACCEPTABLE,
            "NOT_ACCEPTABLE",
            "answers are application/graphql-response+json, application/json or text/event-stream",
        );
    }
    let media_type = accepted.unwrap_or(MediaType::Json);
    let bytes = match body::read(body, MAX_BODY_BYTES).await {
        Ok(bytes) => bytes,
        Err(BodyError::TooLarge { limit }) => {
            return refuse(
                media_type,
                StatusCode::PAYLOAD_TOO_LARGE,
                "BODY_TOO_LARGE",
                &format!("a request may have {limit} bytes"),
            );
        }
        Err(_) => {
            return refuse(
                media_type,
                StatusCode::BAD_REQUEST,
                "BODY_INTERRUPTED",
                "the body ended too early",
            );
        }
    };
    if !sends_json(headers) {
        return refuse(
            media_type,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UNSUPPORTED_MEDIA_TYPE",
            "send content-type: application/json",
        );
    }
    let authorization = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let holder = match caller(&doors, authorization).await {
        Ok(Caller::Nobody) => {
            let mut response = refuse(
                media_type,
                StatusCode::UNAUTHORIZED,
                "UNAUTHENTICATED",
                "send a key as authorization: Bearer <key>",
            );
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return response;
        }
        Ok(Caller::WriteKey) => {
            return refuse(
                media_type,
                StatusCode::FORBIDDEN,
                "FORBIDDEN",
                "a write key can only send events: use an API key",
            );
        }
        Ok(Caller::Holder(holder)) => match cors::origin(headers) {
            Some(origin) if !holder.may_be_used_by(origin) && (holder.is_subject() || !cors::is_own(headers, origin)) => {
                return refuse(
                    media_type,
                    StatusCode::FORBIDDEN,
                    "ORIGIN_NOT_ALLOWED",
                    "this key may not be used from pages of this origin: list it in allowedOrigins of a key",
                );
            }
            _ => holder,
        },
        Err(error) => {
            tracing::warn!(%error, "the database did not answer for a key");
            return refuse(
                media_type,
                StatusCode::SERVICE_UNAVAILABLE,
                "UNAVAILABLE",
                "the database does not answer: try again",
            );
        }
    };
    let request = match read_request(&bytes) {
        Ok(request) => request,
        Err(reason) => return refuse(media_type, StatusCode::BAD_REQUEST, "BAD_REQUEST", reason),
    };
    // Clients that name both mean events for what has more than one answer.
    if takes_events && (accepted.is_none() || request.is_subscription()) {
        return sse::answer(doors, holder, request).await;
    }
    let answer = doors.graphql.execute(holder.principal, request).await;
    let status = match (&answer, media_type) {
        (Answer::Refused(_), _) | (Answer::Invalid(_), MediaType::GraphqlResponse) => StatusCode::BAD_REQUEST,
        (Answer::Invalid(_), MediaType::Json) | (Answer::Executed { .. } | Answer::Shared(_), _) => StatusCode::OK,
    };
    respond(media_type, status, answer.to_json())
}

/// Everything but POST, and GET for a socket: queries by GET would put personal data into addresses and logs.
pub async fn method_not_allowed() -> Response {
    let mut response = refuse(
        MediaType::Json,
        StatusCode::METHOD_NOT_ALLOWED,
        "METHOD_NOT_ALLOWED",
        "send GraphQL requests by POST",
    );
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    response
}

/// Who sent a request.
pub enum Caller {
    /// Without a key or token that works.
    Nobody,
    /// With a source's write key, which can only send.
    WriteKey,
    Holder(Holder),
}

/// `value`: as in the header `Authorization`.
pub async fn caller(doors: &Doors, value: &str) -> Result<Caller, StoreError> {
    let Some(key) = value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("bearer ")) else {
        return Ok(Caller::Nobody);
    };
    let now = doors.services.now();
    if let Some(holder) = doors.services.keyring.recognise(key, now).await? {
        return Ok(Caller::Holder(holder));
    }
    let is_write_key = doors.services.sources.find(key, now).await?.is_some();
    Ok(if is_write_key { Caller::WriteKey } else { Caller::Nobody })
}

fn sends_json(headers: &HeaderMap) -> bool {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let mut parts = value.split(';').map(|part| part.trim().to_ascii_lowercase());
    let essence = parts.next().unwrap_or_default();
    let utf8 = parts
        .filter_map(|part| {
            part.strip_prefix("charset=")
                .map(|charset| charset.trim_matches('"').to_owned())
        })
        .all(|charset| charset == "utf-8");
    utf8 && (essence == PLAIN_JSON || essence == GRAPHQL_JSON)
}

/// The answer's media type by `Accept`; `None` when neither is wanted. Without a preference `application/json`.
fn accepted(headers: &HeaderMap) -> Option<MediaType> {
    let accept: Vec<&str> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    if accept.is_empty() {
        return Some(MediaType::Json);
    }
    let mut best: Option<(f32, MediaType)> = None;
    for range in accept.iter().flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let media_type = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            GRAPHQL_JSON => MediaType::GraphqlResponse,
            PLAIN_JSON | "application/*" | "*/*" => MediaType::Json,
            _ => continue,
        };
        let quality = parts
            .find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok())
            .unwrap_or(1.0);
        let better = best.is_none_or(|(standing, _)| quality > standing);
        if quality > 0.0 && better {
            best = Some((quality, media_type));
        }
    }
    best.map(|(_, media_type)| media_type)
}

/// Whether an answer may be a stream of events, which has to be asked for by name.
fn takes_events(headers: &HeaderMap) -> bool {
    let ranges = headers
        .get_all(header::ACCEPT)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    ranges.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("text/event-stream"));
        named && !parts.any(|part| part.strip_prefix("q=").is_some_and(|quality| quality.parse() == Ok(0.0)))
    })
}

fn read_request(bytes: &[u8]) -> Result<RequestBody, &'static str> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(fields)) => RequestBody::read(fields),
        Ok(Value::Array(_)) => Err("batches are not answered: send one operation a request"),
        Ok(_) => Err("the body must be a JSON object with \"query\""),
        Err(_) => Err("the body is not valid JSON"),
    }
}

pub fn refuse(media_type: MediaType, status: StatusCode, code: &str, message: &str) -> Response {
    respond(media_type, status, execute::refused(code, message).to_string())
}

pub fn respond(media_type: MediaType, status: StatusCode, body: String) -> Response {
    let content_type = match media_type {
        MediaType::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
        MediaType::Json => "application/json; charset=utf-8",
    };
    (
        status,
        [(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-store")],
        body,
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn accept(value: &str) -> Option<MediaType> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_str(value).expect("a header"));
        accepted(&headers)
    }

    #[test]
    fn the_answers_media_type_is_negotiated() {
        assert_eq!(accepted(&HeaderMap::new()), Some(MediaType::Json));
        assert_eq!(accept("*/*"), Some(MediaType::Json));
        assert_eq!(accept("application/graphql-response+json"), Some(MediaType::GraphqlResponse));
        assert_eq!(
            accept("application/graphql-response+json, application/json;q=0.9"),
            Some(MediaType::GraphqlResponse)
        );
        assert_eq!(
            accept("application/json, application/graphql-response+json;q=0.5"),
            Some(MediaType::Json)
        );
        assert_eq!(
            accept("application/graphql-response+json; charset=utf-8"),
            Some(MediaType::GraphqlResponse)
        );
        assert_eq!(accept("text/html"), None);
        assert_eq!(accept("application/json;q=0"), None);
    }

    #[test]
    fn only_json_is_taken() {
        for (value, expected) in [
            ("application/json", true),
            ("application/json; charset=utf-8", true),
            ("APPLICATION/JSON", true),
            ("application/graphql-response+json", true),
            ("application/json; charset=latin1", false),
            ("text/plain", false),
            ("multipart/form-data; boundary=x", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
            assert_eq!(sends_json(&headers), expected, "{value}");
        }
        assert!(!sends_json(&HeaderMap::new()));
    }

    #[test]
    fn the_body_is_one_operation() {
        assert!(read_request(br#"{"query":"{a}","variables":null,"operationName":null,"extensions":{}}"#).is_ok());
        for body in [
            r#"[{"query":"{a}"}]"#,
            r"7",
            r"{",
            r"{}",
            r#"{"query":1}"#,
            r#"{"query":"{a}","variables":[]}"#,
            r#"{"query":"{a}","operationName":1}"#,
        ] {
            assert!(read_request(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn refusals_carry_a_code() {
        assert_eq!(
            execute::refused("CODE", "why"),
            json!({"errors":[{"message":"why","extensions":{"code":"CODE"}}]})
        );
    }
}
