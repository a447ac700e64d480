//! What is said on a socket: the protocol graphql-transport-ws of <https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>.
//!
//! Pure: takes the texts that came in and says what is to be done; what it costs, how long it may take and who may is decided elsewhere.
//! Promises: whatever a client sends ends in a step; a message that the protocol does not know, or that comes out of turn, closes the
//! socket with the code that the protocol gives it.

use crate::graphql::RequestBody;
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::sync::Arc;

/// The sub-protocol, as it is named in the handshake.
pub const NAME: &str = "graphql-transport-ws";
/// Ids are mostly numbers or UUIDs; one that is longer is kept for nothing.
const MAX_ID_BYTES: usize = 128;

/// Why a socket is closed. The codes from 4000 on are the protocol's, the others those of RFC 6455.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    pub code: u16,
    /// At most 123 bytes: what a close frame has room for.
    pub reason: String,
}

impl Closing {
    fn new(code: u16, reason: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }

    /// The client closed, or is gone.
    pub fn normal() -> Self {
        Self::new(1000, "")
    }

    pub fn going_away() -> Self {
        Self::new(1001, "the server stops: connect again")
    }

    pub fn not_text() -> Self {
        Self::new(1003, "send texts: binary messages are not read")
    }

    /// The connection broke; nobody is told.
    pub fn broken() -> Self {
        Self::new(1006, "")
    }

    pub fn too_many_messages() -> Self {
        Self::new(1008, "too many messages a second")
    }

    pub fn too_large(limit: usize) -> Self {
        Self::new(1009, format!("a message may have {limit} bytes"))
    }

    pub fn try_again(reason: &str) -> Self {
        Self::new(1013, reason)
    }

    pub fn bad_message(reason: &str) -> Self {
        Self::new(4400, reason)
    }

    pub fn unauthorized(reason: &str) -> Self {
        Self::new(4401, reason)
    }

    /// As the protocol words it.
    pub fn forbidden() -> Self {
        Self::new(4403, "Forbidden")
    }

    pub fn origin_not_allowed() -> Self {
        Self::new(4403, "Forbidden: this key may not be used from pages of this origin")
    }

    pub fn init_timeout() -> Self {
        Self::new(4408, "Connection initialisation timeout")
    }

    pub fn silent() -> Self {
        Self::new(4408, "Request timeout: no answer to ping")
    }

    fn duplicate(id: &str) -> Self {
        // Other ids would not fit, and a reason that is cut might be no text any more.
        let reason = if id.len() <= 64 {
            format!("Subscriber for {id} already exists")
        } else {
            "Subscriber already exists".to_owned()
        };
        Self::new(4409, reason)
    }

    fn second_init() -> Self {
        Self::new(4429, "Too many initialisation requests")
    }
}

/// What a message asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Find out who this is, by the payload of `connection_init`, then [`Session::accept`] or close.
    Authenticate(Map<String, Value>),
    /// Run an operation and tell [`Session::ended`] when it is over.
    Start {
        id: Arc<str>,
        request: RequestBody,
    },
    /// An operation that cannot be run: nothing is running under its id, and this text says why.
    Refuse(String),
    /// End an operation; the client wants nothing more of it.
    Cancel(Arc<str>),
    /// Send this text.
    Reply(String),
    /// A sign of life.
    Nothing,
    Close(Closing),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No `connection_init` came.
    Fresh,
    /// It came, and was not answered.
    Asking,
    Accepted,
}

/// One socket's side of the conversation.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    running: HashSet<Arc<str>>,
    most: usize,
}

impl Session {
    /// `most`: operations that may run at once.
    pub fn new(most: usize) -> Self {
        Self {
            phase: Phase::Fresh,
            running: HashSet::new(),
            most,
        }
    }

    pub fn is_accepted(&self) -> bool {
        self.phase == Phase::Accepted
    }

    /// The client is known: the text that tells it.
    pub fn accept(&mut self) -> String {
        self.phase = Phase::Accepted;
        r#"{"type":"connection_ack"}"#.to_owned()
    }

    /// An operation is over, by whichever side. `false`: it was over before.
    pub fn ended(&mut self, id: &str) -> bool {
        self.running.remove(id)
    }

    /// Takes a message.
    pub fn received(&mut self, text: &str) -> Step {
        let Ok(Value::Object(mut message)) = serde_json::from_str(text) else {
            return Step::Close(Closing::bad_message("Invalid message: send a JSON object"));
        };
        let payload = match message.remove("payload") {
            None | Some(Value::Null) => None,
            Some(Value::Object(payload)) => Some(payload),
            Some(_) => return Step::Close(Closing::bad_message("Invalid message: payload must be an object")),
        };
        let id = match message.remove("id") {
            None => None,
            Some(Value::String(id)) if !id.is_empty() && id.len() <= MAX_ID_BYTES => Some(id),
            Some(_) => {
                return Step::Close(Closing::bad_message("Invalid message: id must be a text of 1 to 128 bytes"));
            }
        };
        let Some(Value::String(kind)) = message.get("type") else {
            return Step::Close(Closing::bad_message("Invalid message: type must be a text"));
        };
        match (kind.as_str(), id) {
            ("connection_init", _) => self.init(payload),
            ("ping", _) => Step::Reply(pong(payload)),
            ("pong", _) => Step::Nothing,
            ("subscribe", Some(id)) => self.subscribe(&id, payload),
            ("complete", Some(id)) => match self.running.take(id.as_str()) {
                Some(id) => Step::Cancel(id),
                // Both sides may end it at the same time.
                None => Step::Nothing,
            },
            ("subscribe" | "complete", None) => Step::Close(Closing::bad_message("Invalid message: id is missing")),
            _ => Step::Close(Closing::bad_message("Invalid message: its type is unknown")),
        }
    }

    fn init(&mut self, payload: Option<Map<String, Value>>) -> Step {
        if self.phase != Phase::Fresh {
            return Step::Close(Closing::second_init());
        }
        self.phase = Phase::Asking;
        Step::Authenticate(payload.unwrap_or_default())
    }

    fn subscribe(&mut self, id: &str, payload: Option<Map<String, Value>>) -> Step {
        if self.phase != Phase::Accepted {
            return Step::Close(Closing::unauthorized("Unauthorized"));
        }
        if self.running.contains(id) {
            return Step::Close(Closing::duplicate(id));
        }
        let Some(payload) = payload else {
            return Step::Close(Closing::bad_message("Invalid message: payload is missing"));
        };
        let request = match RequestBody::read(payload) {
            Ok(request) => request,
            Err(reason) => return Step::Close(Closing::bad_message(&format!("Invalid message: {reason}"))),
        };
        if self.running.len() >= self.most {
            let message = format!(
                "{} operations run on this socket already: end one, or open another socket",
                self.most
            );
            return Step::Refuse(failed(id, "TOO_MANY_SUBSCRIPTIONS", &message, None));
        }
        let id: Arc<str> = id.into();
        self.running.insert(id.clone());
        Step::Start { id, request }
    }
}

/// What keeps proxies from cutting a quiet socket, and finds out whether anybody is there.
pub const PING: &str = r#"{"type":"ping"}"#;

fn pong(payload: Option<Map<String, Value>>) -> String {
    match payload {
        // The protocol lets the answer carry anything; what was asked with is what clients measure by.
        Some(payload) => serde_json::json!({"type": "pong", "payload": payload}).to_string(),
        None => r#"{"type":"pong"}"#.to_owned(),
    }
}

/// `result`: the JSON of an answer, as it is.
pub fn next(id: &str, result: &str) -> String {
    format!(r#"{{"id":{},"type":"next","payload":{result}}}"#, quoted(id))
}

/// `errors`: a JSON list, as it is. Nothing follows under this id.
pub fn error(id: &str, errors: &str) -> String {
    format!(r#"{{"id":{},"type":"error","payload":{errors}}}"#, quoted(id))
}

pub fn complete(id: &str) -> String {
    format!(r#"{{"id":{},"type":"complete"}}"#, quoted(id))
}

/// An error of ours. `cursor`: where to continue, where that is known.
pub fn failed(id: &str, code: &str, message: &str, cursor: Option<&str>) -> String {
    error(id, &Value::from(vec![failure(code, message, cursor)]).to_string())
}

/// One error of a list.
pub fn failure(code: &str, message: &str, cursor: Option<&str>) -> Value {
    let mut extensions = Map::from_iter([("code".to_owned(), Value::from(code))]);
    extensions.extend(cursor.map(|cursor| ("cursor".to_owned(), cursor.into())));
    serde_json::json!({"message": message, "extensions": extensions})
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
