//! A plain client of graphql-transport-ws, which does what it is told and nothing more.

use super::TestApp;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Response};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// Nothing in a test takes longer, on a busy machine either.
const LONG: Duration = Duration::from_secs(20);

pub struct Socket {
    pub stream: WebSocketStream<TcpStream>,
}

/// What the server answers instead of a socket.
#[derive(Debug)]
pub struct Refused {
    pub status: u16,
    pub body: Value,
    pub headers: Vec<(String, String)>,
}

impl Socket {
    pub async fn open(app: &TestApp) -> Self {
        Self::open_with(app, &[]).await.expect("a socket")
    }

    /// With further headers; one that is named again is replaced.
    pub async fn open_with(app: &TestApp, headers: &[(&'static str, &str)]) -> Result<Self, Refused> {
        Self::connect(&app.base, headers, None).await
    }

    /// `buffer`: how much the machine takes for the client before it is read.
    pub async fn connect(base: &str, headers: &[(&'static str, &str)], buffer: Option<u32>) -> Result<Self, Refused> {
        let address = base.strip_prefix("http://").expect("a URL");
        let mut request = format!("ws://{address}/graphql").into_client_request().expect("a request");
        let protocol = ("sec-websocket-protocol", "graphql-transport-ws");
        for (name, value) in std::iter::once(&protocol).chain(headers) {
            match value.is_empty() {
                true => request.headers_mut().remove(*name),
                false => request
                    .headers_mut()
                    .insert(*name, HeaderValue::from_str(value).expect("a header")),
            };
        }
        let socket = TcpSocket::new_v4().expect("a socket");
        if let Some(bytes) = buffer {
            socket.set_recv_buffer_size(bytes).expect("a buffer");
        }
        let stream = socket
            .connect(address.parse().expect("an address"))
            .await
            .expect("a connection");
        match client_async(request, stream).await {
            Ok((stream, _)) => Ok(Self { stream }),
            Err(Error::Http(answer)) => Err(refused(*answer)),
            // The client asks for a sub-protocol only when it is told to, and looks whether it was heard.
            Err(error) => panic!("{error}"),
        }
    }

    /// To a server that may just be dying; none when it does not take the connection.
    pub async fn try_connect(base: &str) -> Option<Self> {
        let address = base.strip_prefix("http://").expect("a URL");
        let mut request = format!("ws://{address}/graphql").into_client_request().expect("a request");
        let protocol = HeaderValue::from_static("graphql-transport-ws");
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let stream = TcpStream::connect(address).await.ok()?;
        let (stream, _) = client_async(request, stream).await.ok()?;
        Some(Self { stream })
    }

    /// Opened, and known by this key.
    pub async fn known(app: &TestApp, key: &str) -> Self {
        let mut socket = Self::open(app).await;
        socket.init(key).await;
        assert_eq!(socket.next().await, json!({"type": "connection_ack"}));
        socket
    }

    pub async fn init(&mut self, key: &str) {
        let payload = json!({"authorization": format!("Bearer {key}")});
        self.send(json!({"type": "connection_init", "payload": payload})).await;
    }

    pub async fn send(&mut self, message: Value) {
        self.send_text(message.to_string()).await;
    }

    pub async fn send_text(&mut self, text: String) {
        // The server may have hung up meanwhile: what it said is still to be read.
        let _ = self.stream.send(Message::text(text)).await;
    }

    pub async fn subscribe(&mut self, id: &str, query: &str) {
        self.send(json!({"type": "subscribe", "id": id, "payload": {"query": query}}))
            .await;
    }

    /// The next message. Pings are answered on the way.
    pub async fn next(&mut self) -> Value {
        loop {
            match self.message().await {
                Message::Text(text) => {
                    let message: Value = serde_json::from_str(text.as_str()).expect("JSON");
                    if message["type"] != "ping" {
                        return message;
                    }
                    self.send(json!({"type": "pong"})).await;
                }
                message => panic!("{message:?}"),
            }
        }
    }

    pub async fn message(&mut self) -> Message {
        let next = tokio::time::timeout(LONG, self.stream.next()).await;
        next.expect("something comes").expect("it is open").expect("it is sound")
    }

    /// The code and reason with which the server closes, whatever it says before.
    pub async fn closed(mut self) -> (u16, String) {
        loop {
            match self.message().await {
                Message::Close(Some(frame)) => return (frame.code.into(), frame.reason.as_str().to_owned()),
                Message::Close(None) => return (1005, String::new()),
                _ => {}
            }
        }
    }
}

fn refused(answer: Response<Option<Vec<u8>>>) -> Refused {
    let header = |(name, value): (&tokio_tungstenite::tungstenite::http::HeaderName, &HeaderValue)| {
        (name.to_string(), value.to_str().unwrap_or_default().to_owned())
    };
    Refused {
        status: answer.status().as_u16(),
        headers: answer.headers().iter().map(header).collect(),
        body: answer
            .body()
            .as_deref()
            .and_then(|body| serde_json::from_slice(body).ok())
            .unwrap_or_default(),
    }
}
