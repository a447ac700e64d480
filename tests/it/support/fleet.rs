//! Several instances as processes on one database, and clients that go on whichever of them lives: writers over HTTP that repeat until they
//! are answered, and two resumed readers of the change log, one by pages of the query, one by a socket.

use super::app::ADMIN_KEY;
use super::process::Process;
use super::socket::Socket;
use crate::crash::{Random, WRITE_KEY};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

/// Every topic that these writers can bring about.
pub const TOPICS: [&str; 6] = ["CUSTOMER", "IDENTITY", "CONSENT", "EVENT", "PURCHASE", "METRIC"];
const CHANGES: &str = "cursor caughtUp changes { cursor transaction topic rev }";
/// Few, so that writers of several instances meet at the same people; and now and then somebody new.
const PEOPLE: u64 = 30;
/// How many changes there are while the writers write.
const NOT_KNOWN: usize = usize::MAX;

/// Where the live instances are.
#[derive(Clone)]
pub struct Addresses {
    live: Arc<RwLock<Vec<Option<String>>>>,
    http: reqwest::Client,
}

impl Addresses {
    fn any(&self, random: &mut Random) -> Option<String> {
        let live: Vec<String> = self.live.read().unwrap().iter().flatten().cloned().collect();
        (!live.is_empty()).then(|| live[usize::try_from(random.below(live.len() as u64)).unwrap()].clone())
    }

    pub async fn graphql(&self, base: &str, body: Value) -> Option<Value> {
        let request = self.http.post(format!("{base}/graphql")).bearer_auth(ADMIN_KEY).json(&body);
        request.send().await.ok()?.json().await.ok()
    }
}

pub struct Fleet {
    pub servers: Vec<Process>,
    pub addresses: Addresses,
}

impl Fleet {
    pub async fn start(size: usize, database_url: &str, environment: &[(&str, &str)]) -> Self {
        let mut servers = Vec::new();
        for _ in 0..size {
            servers.push(Process::start(database_url, environment).await);
        }
        let live = servers.iter().map(|server| Some(server.base.clone())).collect();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().unwrap();
        let addresses = Addresses {
            live: Arc::new(RwLock::new(live)),
            http,
        };
        Self { servers, addresses }
    }

    /// Clients find out by themselves.
    pub fn kill(&mut self, index: usize) {
        self.servers[index].kill();
        self.addresses.live.write().unwrap()[index] = None;
    }

    /// As a roll-out does: it is told to go, and waited for.
    pub fn stop(&mut self, index: usize) -> Duration {
        let watch = std::time::Instant::now();
        self.servers[index].signal("TERM");
        self.addresses.live.write().unwrap()[index] = None;
        self.servers[index].wait();
        watch.elapsed()
    }

    pub async fn restart(&mut self, index: usize) {
        self.servers[index].restart().await;
        self.addresses.live.write().unwrap()[index] = Some(self.servers[index].base.clone());
    }
}

/// What the writers know.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// Messages, each answered with 200 at last.
    pub messages: usize,
    pub orders: usize,
    /// Requests that were refused, and never stored.
    pub refused: usize,
    /// Exchanges that were broken off or found nobody.
    pub repeated: usize,
}

pub struct Writers {
    stopping: Arc<AtomicBool>,
    written: Arc<Mutex<Written>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Writers {
    pub fn start(count: u64, addresses: &Addresses, seed: u64) -> Self {
        let (stopping, written) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Written::default())));
        let writer = |number| {
            let random = Random(seed * 1000 + number + 1);
            tokio::spawn(write(number, addresses.clone(), random, stopping.clone(), written.clone()))
        };
        Self {
            tasks: (0..count).map(writer).collect(),
            stopping,
            written,
        }
    }

    /// Lets each finish what it began.
    pub async fn stop(self) -> Written {
        self.stopping.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.written.lock().unwrap().clone()
    }
}

async fn write(writer: u64, addresses: Addresses, mut random: Random, stopping: Arc<AtomicBool>, written: Arc<Mutex<Written>>) {
    let mut made = 0;
    while !stopping.load(Ordering::SeqCst) {
        let is_refused = random.below(10) == 0;
        let (mut messages, mut orders) = (Vec::new(), 0);
        for _ in 0..=random.below(4) {
            made += 1;
            let person = match random.below(5) {
                0 => format!("new-{writer}-{made}"),
                _ => format!("person-{}", random.below(PEOPLE)),
            };
            let mut message = json!({"messageId": format!("{writer}-{made}"), "userId": person});
            match random.below(3) {
                0 => {
                    message["type"] = "identify".into();
                    message["traits"] = json!({"email": format!("{person}@example.test"), "visits": made});
                }
                1 => {
                    orders += 1;
                    message["type"] = "track".into();
                    message["event"] = "Order Completed".into();
                    message["properties"] = json!({"order_id": format!("{writer}-{made}"), "total": 12.5, "currency": "EUR"});
                }
                _ => {
                    message["type"] = "track".into();
                    message["event"] = "Product Viewed".into();
                }
            }
            messages.push(message);
        }
        let count = messages.len();
        let mut body = json!({"batch": messages}).to_string();
        if is_refused {
            // Cut off on its way.
            body.truncate(body.len() - 2);
        }
        let mut repeated = 0;
        loop {
            let status = match addresses.any(&mut random) {
                Some(base) => {
                    let request = addresses
                        .http
                        .post(format!("{base}/v1/batch"))
                        .basic_auth(WRITE_KEY, Some(""));
                    request
                        .body(body.clone())
                        .send()
                        .await
                        .ok()
                        .map(|answer| answer.status().as_u16())
                }
                None => None,
            };
            match status {
                Some(200) if !is_refused => break,
                Some(400) if is_refused => break,
                // A server that stops says so.
                None | Some(503) => {
                    repeated += 1;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                other => panic!("{other:?}, refused: {is_refused}"),
            }
        }
        let mut written = written.lock().unwrap();
        written.repeated += repeated;
        match is_refused {
            true => written.refused += 1,
            false => {
                written.messages += count;
                written.orders += orders;
            }
        }
    }
}

/// A change as a reader got it: its cursor, the transaction, the topic, the revision.
pub type Seen = (String, String, String, i64);

#[derive(Clone, Debug, Default)]
pub struct Heard {
    pub seen: Vec<Seen>,
    /// How often it went on somewhere else.
    pub resumed: usize,
    /// How sockets were closed; 0: they broke off.
    pub closed: BTreeMap<u16, usize>,
    /// The longest time without a word, from the end of one socket to the first batch of the next.
    pub longest_gap: Duration,
}

/// Readers that go on until they have seen so many changes and no more come.
pub struct Readers {
    total: Arc<AtomicUsize>,
    /// The instance that the socket leads to.
    at: Arc<Mutex<String>>,
    tasks: [JoinHandle<Heard>; 2],
}

impl Readers {
    pub fn start(addresses: &Addresses, seed: u64) -> Self {
        let (total, at) = (Arc::new(AtomicUsize::new(NOT_KNOWN)), Arc::new(Mutex::new(String::new())));
        Self {
            tasks: [
                tokio::spawn(turn_pages(addresses.clone(), Random(seed * 7 + 1), total.clone())),
                tokio::spawn(listen(addresses.clone(), Random(seed * 7 + 2), total.clone(), at.clone())),
            ],
            total,
            at,
        }
    }

    /// Which instance the socket leads to, or led to last.
    pub fn socket_is_at(&self, fleet: &Fleet) -> Option<usize> {
        let at = self.at.lock().unwrap();
        fleet.servers.iter().position(|server| server.base == *at)
    }

    /// What each has seen, by pages and by socket, when there are so many changes in all.
    pub async fn all(self, total: usize) -> [Heard; 2] {
        self.total.store(total, Ordering::SeqCst);
        let mut heard = Vec::new();
        for task in self.tasks {
            let ended = tokio::time::timeout(Duration::from_secs(60), task).await;
            heard.push(ended.expect("the readers see everything").unwrap());
        }
        heard.try_into().unwrap()
    }
}

fn start_after(cursor: Option<&str>) -> Value {
    cursor.map_or(json!({"fromBeginning": true}), |cursor| json!({"after": cursor}))
}

fn take(batch: &Value, heard: &mut Heard, cursor: &mut Option<String>) {
    for change in batch["changes"].as_array().unwrap() {
        let text = |name: &str| change[name].as_str().unwrap_or_else(|| panic!("{change}")).to_owned();
        let rev = change["rev"]
            .as_i64()
            .or_else(|| change["rev"].as_str()?.parse().ok())
            .unwrap();
        heard.seen.push((text("cursor"), text("transaction"), text("topic"), rev));
    }
    *cursor = Some(batch["cursor"].as_str().unwrap().to_owned());
}

/// Each page from another instance.
async fn turn_pages(addresses: Addresses, mut random: Random, total: Arc<AtomicUsize>) -> Heard {
    let (mut heard, mut cursor) = (Heard::default(), None);
    let topics = TOPICS.join(", ");
    let query = format!(
        "query ($start: FeedStart!) {{ changes(start: $start, filter: {{ topics: [{topics}] }}, first: 97) {{ {CHANGES} }} }}"
    );
    loop {
        let is_over = heard.seen.len() >= total.load(Ordering::SeqCst);
        let answer = match addresses.any(&mut random) {
            Some(base) => {
                let body = json!({"query": query, "variables": {"start": start_after(cursor.as_deref())}});
                addresses.graphql(&base, body).await
            }
            None => None,
        };
        let Some(answer) = answer else {
            heard.resumed += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        if let Some(errors) = answer.get("errors") {
            // A dying server may not reach its database any more. A cursor that is refused would be for good.
            let code = errors[0]["extensions"]["code"].as_str().unwrap_or_default();
            assert!(!code.starts_with("CURSOR"), "{answer}");
            continue;
        }
        let batch = &answer["data"]["changes"];
        take(batch, &mut heard, &mut cursor);
        if batch["caughtUp"] == true {
            if is_over {
                return heard;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// One instance until it ends, then another.
async fn listen(addresses: Addresses, mut random: Random, total: Arc<AtomicUsize>, at: Arc<Mutex<String>>) -> Heard {
    let (mut heard, mut cursor) = (Heard::default(), None);
    let topics = TOPICS.join(", ");
    let query = format!(
        "subscription ($start: FeedStart!) {{
            changes(start: $start, filter: {{ topics: [{topics}] }}, batch: 61, heartbeatSeconds: 1) {{ heartbeat {CHANGES} }} }}"
    );
    let mut silent_since = std::time::Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let Some(base) = addresses.any(&mut random) else { continue };
        let Some(mut socket) = Socket::try_connect(&base).await else {
            continue;
        };
        socket.init(ADMIN_KEY).await;
        *at.lock().unwrap() = base;
        let payload = json!({"query": query, "variables": {"start": start_after(cursor.as_deref())}});
        let subscribe = json!({"type": "subscribe", "id": "1", "payload": payload});
        let mut is_first = true;
        let code = loop {
            let message = match tokio::time::timeout(Duration::from_secs(20), socket.stream.next())
                .await
                .expect("a heartbeat")
            {
                Some(Ok(Message::Text(text))) => serde_json::from_str::<Value>(text.as_str()).unwrap(),
                Some(Ok(Message::Close(frame))) => break frame.map_or(1005, |frame| frame.code.into()),
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => break 0,
            };
            match message["type"].as_str().unwrap() {
                "connection_ack" => socket.send(subscribe.clone()).await,
                "ping" => socket.send(json!({"type": "pong"})).await,
                "next" => {
                    if std::mem::take(&mut is_first) {
                        heard.longest_gap = heard.longest_gap.max(silent_since.elapsed());
                    }
                    let batch = &message["payload"]["data"]["changes"];
                    assert!(batch.is_object(), "{message}");
                    let is_over = heard.seen.len() >= total.load(Ordering::SeqCst);
                    take(batch, &mut heard, &mut cursor);
                    if is_over && batch["heartbeat"] == true {
                        return heard;
                    }
                }
                _ => panic!("{message}"),
            }
        };
        *heard.closed.entry(code).or_default() += 1;
        heard.resumed += 1;
        silent_since = std::time::Instant::now();
    }
}
