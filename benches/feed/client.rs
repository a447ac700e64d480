//! A subscriber on a socket of its own, as cheap as can be, and a sender of one request after the other.

use crate::load::read_answer;
use crate::server::{ADMIN_KEY, Server};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// What clients ask for that act on changes.
const FIELDS: &str = "cursor caughtUp changes { topic op entityId rev recordedAt }";

pub struct Subscriber(WebSocketStream<TcpStream>);

impl Subscriber {
    /// Subscribes to everybody's events, with these further arguments. `n`: which of many; one address has too few ports for all.
    pub async fn open(server: &Server, n: usize, arguments: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("127.0.0.{}:0", 1 + n % 8).parse().unwrap()).unwrap();
        let stream = socket.connect(server.address.parse().unwrap()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut request = format!("ws://{}/graphql", server.address).into_client_request().unwrap();
        let protocol = HeaderValue::from_static("graphql-transport-ws");
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
        let (stream, _) = client_async_with_config(request, stream, Some(config)).await.unwrap();
        let mut subscriber = Self(stream);
        let payload = json!({"authorization": format!("Bearer {ADMIN_KEY}")});
        subscriber
            .say(&json!({"type": "connection_init", "payload": payload}).to_string())
            .await;
        let answer = subscriber.text().await;
        assert_eq!(answer.as_str(), r#"{"type":"connection_ack"}"#);
        let query = format!("subscription {{ changes({arguments}, filter: {{ topics: [EVENT] }}) {{ {FIELDS} }} }}");
        let subscribe = json!({"type": "subscribe", "id": "1", "payload": {"query": query}});
        subscriber.say(&subscribe.to_string()).await;
        subscriber
    }

    async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    async fn text(&mut self) -> Utf8Bytes {
        loop {
            match self.0.next().await.unwrap().unwrap() {
                Message::Text(text) => return text,
                message => assert!(!message.is_close(), "{message:?}"),
            }
        }
    }

    /// The next batch, heartbeats too. Pings are answered on the way.
    pub async fn batch(&mut self) -> Utf8Bytes {
        loop {
            let text = self.text().await;
            if text.as_str() == r#"{"type":"ping"}"# {
                self.say(r#"{"type":"pong"}"#).await;
                continue;
            }
            let head = &text.as_str()[..text.len().min(60)];
            assert!(head.contains(r#""next""#) && !head.contains(r#""errors""#), "{text}");
            return text;
        }
    }
}

/// Changes in a batch.
pub fn changes_in(batch: &str) -> usize {
    batch.matches(r#""entityId""#).count()
}

/// One connection that stays open.
pub struct Sender {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Sender {
    pub async fn to(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            answer: vec![0; 4096],
        }
    }

    /// Sends a request and waits for its answer: what it said is committed.
    pub async fn send(&mut self, request: &[u8]) {
        self.stream.write_all(request).await.unwrap();
        let length = read_answer(&mut self.stream, &mut self.answer).await;
        let text = String::from_utf8_lossy(&self.answer[..length]);
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    }
}
