//! GraphQL over WebSocket: the handshake. What is said afterwards is `protocol`'s, who may stay is `seats`', the rest is `drive`.

mod drive;
mod operation;
mod progress;
mod protocol;
#[cfg(test)]
mod protocol_tests;
mod rate;
mod seats;

pub use operation::Counted;
pub use protocol::failure;
pub use seats::{Badge, Seat, SocketOptions, Sockets};

use super::{Doors, cors, graphql};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use drive::Visitor;
use hyper::upgrade::OnUpgrade;
use std::sync::Arc;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Takes a client over to a socket. A GET that wants nothing of the kind is answered as before.
pub async fn upgrade(State(doors): State<Arc<Doors>>, mut request: Request) -> Response {
    let headers = request.headers();
    let wants_socket = names(headers, header::CONNECTION, "upgrade") && names(headers, header::UPGRADE, "websocket");
    if !wants_socket {
        return graphql::method_not_allowed().await;
    }
    if !names(headers, header::SEC_WEBSOCKET_VERSION, "13") {
        let mut response = refuse(
            StatusCode::UPGRADE_REQUIRED,
            "WEBSOCKET_VERSION",
            "speak version 13 of WebSocket",
        );
        let version = (header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        response.headers_mut().extend([version]);
        return response;
    }
    if !names(headers, header::SEC_WEBSOCKET_PROTOCOL, protocol::NAME) {
        let message = "name the sub-protocol graphql-transport-ws in Sec-WebSocket-Protocol: no other is spoken here";
        return refuse(StatusCode::BAD_REQUEST, "SUBPROTOCOL_NOT_ACCEPTABLE", message);
    }
    let Some(accept) = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .map(|key| derive_accept_key(key.as_bytes()))
    else {
        return refuse(StatusCode::BAD_REQUEST, "BAD_REQUEST", "Sec-WebSocket-Key is missing");
    };
    let origin = cors::origin(headers).map(str::to_owned);
    let is_own_page = origin.as_deref().is_some_and(|origin| cors::is_own(headers, origin));
    if let Some(origin) = &origin
        && !is_own_page
        && !cors::is_allowed(&doors, origin).await
    {
        let message = "pages of this origin may not ask: list it in allowedOrigins of a key";
        return refuse(StatusCode::FORBIDDEN, "ORIGIN_NOT_ALLOWED", message);
    }
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let visitor = Visitor {
        authorization: authorization.map(str::to_owned),
        origin,
        is_own_page,
    };
    let Some(on_upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
        return refuse(
            StatusCode::BAD_REQUEST,
            "BAD_REQUEST",
            "this connection cannot become a socket",
        );
    };
    let Some(seat) = doors.sockets.seat() else {
        return full();
    };
    tokio::spawn(async move {
        match on_upgrade.await {
            Ok(upgraded) => drive::drive(upgraded, doors, seat, visitor).await,
            Err(error) => tracing::debug!(%error, "a handshake was broken off"),
        }
    });
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let accept = HeaderValue::from_str(&accept).expect("base64 is a header's value");
    response.headers_mut().extend([
        (header::CONNECTION, HeaderValue::from_static("upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
        (header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol::NAME)),
    ]);
    response
}

/// All places are taken, or the server stops.
pub fn full() -> Response {
    let message = "too many open connections, or the server stops: try again";
    let mut response = refuse(StatusCode::SERVICE_UNAVAILABLE, "OVERLOADED", message);
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    response
}

fn refuse(status: StatusCode, code: &str, message: &str) -> Response {
    graphql::refuse(graphql::MediaType::Json, status, code, message)
}

/// Whether a header that is a list names this, in any letter case.
fn names(headers: &HeaderMap, header: HeaderName, wanted: &str) -> bool {
    let values = headers.get_all(header).into_iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|name| name.trim().eq_ignore_ascii_case(wanted))
}
