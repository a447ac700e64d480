//! GraphQL over server-sent events: the mode of distinct connections of
//! <https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md>, one POST for one operation.
//!
//! Promises: as on a socket, nothing is computed ahead of a client that does not read, and a client that reads nothing for
//! `sockets.slow_seconds` loses its subscription, told where to go on should it ever read again. An answer that ends without `complete` was
//! cut off, by a server that stops or by the network: clients of this protocol then ask again.

use super::Doors;
use super::graphql::{MediaType, respond};
use super::socket::{Badge, Counted, Seat, failure, full};
use crate::access::Holder;
use crate::graphql::{Emission, RequestBody, execute};
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::json;
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// What proxies and browsers see as life.
const COMMENT: &str = ":\n\n";
const COMPLETE: &str = "event: complete\ndata:\n\n";

/// Begins to answer an operation; a document that is refused is answered at once, as over plain HTTP.
pub async fn answer(doors: Arc<Doors>, holder: Holder, request: RequestBody) -> Response {
    let Some(seat) = doors.sockets.seat() else { return full() };
    let Some(badge) = doors.sockets.badge(&holder) else {
        let body = execute::refused("TOO_MANY_CONNECTIONS", "too many connections of this key: close some");
        let mut response = respond(MediaType::Json, StatusCode::TOO_MANY_REQUESTS, body.to_string());
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        return response;
    };
    let counted = Counted::new(request.is_subscription());
    let mut emissions = doors.graphql.stream(holder.principal.clone(), request).fuse();
    // A refusal takes no waiting. What does not come at once has begun to run.
    let first = emissions.next().now_or_never().flatten();
    if let Some(answer) = first.as_ref().map(|first| &first.answer).filter(|answer| answer.is_refusal()) {
        return respond(MediaType::Json, StatusCode::BAD_REQUEST, answer.to_json());
    }
    let (sender, receiver) = mpsc::channel(1);
    let farewell = Arc::new(OnceLock::new());
    let feeder = Feeder {
        doors,
        holder,
        badge,
        sender,
        farewell: farewell.clone(),
        cursor: None,
        _kept: (seat, counted),
    };
    tokio::spawn(feeder.run(stream::iter(first).chain(emissions).boxed()));
    let body = stream::unfold((receiver, farewell, false), |(mut receiver, farewell, is_over)| async move {
        if is_over {
            return None;
        }
        match receiver.recv().await {
            Some(event) => Some((event, (receiver, farewell, false))),
            None => {
                let last = farewell.get().cloned()?;
                Some((last, (receiver, farewell, true)))
            }
        }
    });
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream; charset=utf-8"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        // Some proxies keep an answer back until it is whole.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, Body::from_stream(body.map(Ok::<Bytes, Infallible>))).into_response()
}

/// What the stream of one answer is fed by, in a task of its own: see `socket::operation`.
struct Feeder {
    doors: Arc<Doors>,
    holder: Holder,
    badge: Badge,
    sender: mpsc::Sender<Bytes>,
    /// What is sent last, behind what the client has not taken yet.
    farewell: Arc<OnceLock<Bytes>>,
    cursor: Option<String>,
    _kept: (Seat, Counted),
}

enum Event {
    Came(Option<Emission>),
    Quiet,
    Stopping,
    KeyEnded,
    LookAtEnd,
    ClientGone,
}

impl Feeder {
    async fn run(mut self, mut emissions: BoxStream<'static, Emission>) {
        let options = *self.doors.sockets.options();
        let mut stopping = self.doors.sockets.stopping();
        // First of all, so that the client sees that it is answered.
        if self.sender.send(Bytes::from_static(COMMENT.as_bytes())).await.is_err() {
            return;
        }
        let mut quiet = Box::pin(sleep(options.comment));
        loop {
            // Nothing is asked for that there is no room for.
            let sender = self.sender.clone();
            let permit = tokio::select! {
                () = stopping.wait() => return,
                permit = timeout(options.slow, sender.reserve()) => match permit {
                    Ok(Ok(permit)) => permit,
                    Ok(Err(_)) => return,
                    Err(_) => return self.end_slow(),
                },
            };
            let look = self.holder.ends.map(|end| {
                let left = end.micros().saturating_sub(self.doors.services.now().micros());
                Duration::from_micros(u64::try_from(left).unwrap_or_default()).min(options.recheck)
            });
            let event = tokio::select! {
                biased;
                () = stopping.wait() => Event::Stopping,
                () = self.badge.ended() => Event::KeyEnded,
                () = self.sender.closed() => Event::ClientGone,
                emission = emissions.next() => Event::Came(emission),
                () = &mut quiet => Event::Quiet,
                () = sleep(look.unwrap_or(Duration::MAX)), if look.is_some() => Event::LookAtEnd,
            };
            match event {
                Event::Stopping | Event::ClientGone => return,
                Event::KeyEnded => return self.end_unauthenticated(),
                Event::LookAtEnd => {
                    if self.holder.ends.is_some_and(|end| self.doors.services.now() >= end) {
                        return self.end_unauthenticated();
                    }
                    continue;
                }
                Event::Quiet => permit.send(Bytes::from_static(COMMENT.as_bytes())),
                Event::Came(None) => {
                    permit.send(Bytes::from_static(COMPLETE.as_bytes()));
                    return;
                }
                Event::Came(Some(Emission { answer, cursor })) => {
                    if cursor.is_some() {
                        self.cursor = cursor;
                    }
                    permit.send(next(&answer.to_json()).into());
                }
            }
            quiet.set(sleep(options.comment));
        }
    }

    fn end_unauthenticated(&self) {
        self.end("UNAUTHENTICATED", "the key was revoked or has expired", None);
    }

    fn end_slow(&self) {
        metrics::counter!("tributary_subscriptions_slow_total").increment(1);
        let message = "nothing was read for too long: subscribe again, behind the cursor of the last batch that came";
        self.end("SLOW_CONSUMER", message, self.cursor.as_deref());
    }

    fn end(&self, code: &str, message: &str, cursor: Option<&str>) {
        let result = json!({"data": null, "errors": [failure(code, message, cursor)]});
        // Said once: the task ends with it.
        let _ = self.farewell.set((next(&result.to_string()) + COMPLETE).into());
    }
}

/// JSON has no line breaks of its own, so an event is one line of data.
fn next(result: &str) -> String {
    format!("event: next\ndata: {result}\n\n")
}
