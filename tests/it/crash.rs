//! What a crash may cost: the answer to a request, never an event. The server is killed while many senders talk to it, started again on
//! the same files, and at the end the database is read past the server and held against what the senders know.
//!
//! Five crashes for each database; fifty when TRIBUTARY_SOAK is set. When the server dies is drawn from a fixed seed, what it is doing
//! at that moment is not.

use crate::support::app::{Backend, database};
use crate::support::process::{Process, command};
use reqwest::StatusCode;
use sea_orm::{AccessMode, ConnectionTrait, DatabaseConnection, IsolationLevel, Statement, TransactionTrait as _};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use uuid::Uuid;

pub const WRITE_KEY: &str = "write-key-of-the-crash-tests-0001";
const SENDERS: u64 = 8;
/// Few, so that senders meet at the same records.
const PEOPLE: u64 = 40;
/// From the start of the process to its first answer on `/readyz`.
const RESTART_LIMIT: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_event_survives_kills_of_a_server_on_sqlite() {
    survive_kills(Backend::Sqlite, 11).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_event_survives_kills_of_a_server_on_postgres() {
    survive_kills(Backend::Postgres, 12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_outlives_the_loss_of_all_its_database_connections_and_loses_no_event() {
    let mut random = Random(13);
    let (url, directory) = database(Backend::Postgres).await;
    let server = server_with_source(&url).await;
    let mut senders = Senders::start(&server.base, 13);
    let db = sea_orm::Database::connect(&url).await.unwrap();
    for _ in 0..rounds() {
        tokio::time::sleep(Duration::from_millis(100 + random.below(500))).await;
        let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let ended = rows(&db, terminate).await.len();
        assert!(ended > 0, "the server holds connections");
        let answered = senders.acknowledged();
        senders.wait_for_more_than(answered).await;
    }
    let told = senders.stop().await;
    let answers: BTreeSet<u16> = told.answers.keys().copied().collect();
    assert!(
        answers.is_subset(&BTreeSet::from([200, 503])),
        "only success or 'try again': {:?}",
        told.answers
    );
    println!("connections lost {} times, answers {:?}", rounds(), told.answers);
    assert_complete(&db, &told).await;
    assert_rebuilds(&url);
    drop(server);
    let _ = std::fs::remove_dir_all(directory);
}

/// Whatever the kills interrupted, what is derived is what the recorded history comes to.
pub fn assert_rebuilds(url: &str) {
    let output = command(&["rebuild", "--check", "--database-url", url], &[]);
    let differences = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{}",
        differences.lines().take(20).collect::<Vec<_>>().join("\n")
    );
}

async fn survive_kills(backend: Backend, seed: u64) {
    let mut random = Random(seed);
    let (url, directory) = database(backend).await;
    let mut server = server_with_source(&url).await;
    let mut senders = Senders::start(&server.base, seed);
    let mut slowest = Duration::ZERO;
    let mut stored_unanswered = 0;
    for _ in 0..rounds() {
        let answered = senders.acknowledged();
        senders.wait_for_more_than(answered).await;
        tokio::time::sleep(Duration::from_millis(random.below(900))).await;
        server.kill();
        let acknowledged = senders.told().acknowledged;
        let watch = Instant::now();
        server.restart().await;
        slowest = slowest.max(watch.elapsed());
        // Past the server, yet only now: on SQLite whoever opens the file first recovers it, and that shall be the server.
        let db = sea_orm::Database::connect(&url).await.unwrap();
        let stored: HashSet<String> = stored_events(&db).await.into_iter().map(|event| event.message_id).collect();
        let lost: Vec<&String> = acknowledged.iter().filter(|id| !stored.contains(*id)).collect();
        assert!(lost.is_empty(), "acknowledged before the crash and gone after it: {lost:?}");
        stored_unanswered += stored.len() - acknowledged.len();
        db.close().await.unwrap();
        senders.talk_to(&server.base);
    }
    let told = senders.stop().await;
    let answers: BTreeSet<u16> = told.answers.keys().copied().collect();
    assert!(
        answers.is_subset(&BTreeSet::from([NOBODY_THERE, BROKEN_OFF, 200])),
        "an answer is a success or none came: {:?}",
        told.answers
    );
    assert!(told.answers.contains_key(&BROKEN_OFF), "no kill hit a request");
    println!(
        "{backend:?}: {} kills, {} events ({stored_unanswered} stored but unanswered when a kill came), answers {:?}, slowest restart to ready {} ms",
        rounds(),
        told.sent.len(),
        told.answers,
        slowest.as_millis()
    );
    assert!(slowest < RESTART_LIMIT, "a restart took {slowest:?}");
    let db = sea_orm::Database::connect(&url).await.unwrap();
    assert_complete(&db, &told).await;
    if backend == Backend::Sqlite {
        let positions: Vec<i64> = column(&db, "SELECT position FROM change_tx ORDER BY position").await;
        assert_eq!(
            positions,
            (1..).take(positions.len()).collect::<Vec<i64>>(),
            "positions have no gap"
        );
    }
    drop(server);
    let _ = std::fs::remove_dir_all(directory);
}

fn rounds() -> u64 {
    if std::env::var_os("TRIBUTARY_SOAK").is_some() { 50 } else { 5 }
}

/// Puts the senders' source into a database.
pub fn add_source(url: &str) {
    let add = ["source", "add", "--key", "shop", "--channel", "web", "--write-key", WRITE_KEY];
    let added = command(&add, &[("TRIBUTARY_DATABASE__URL", url)]);
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
}

async fn server_with_source(url: &str) -> Process {
    add_source(url);
    Process::start(url, &[]).await
}

/// Marsaglia's xorshift: the same moments in every run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// How exchanges without an answer are counted: nobody listened, or the server broke off in the middle.
const NOBODY_THERE: u16 = 0;
const BROKEN_OFF: u16 = 1;

/// What the senders know: whose event each message is, which ones were answered with 200, and how often each answer came.
#[derive(Clone, Debug, Default)]
struct Told {
    sent: HashMap<String, String>,
    acknowledged: HashSet<String>,
    answers: BTreeMap<u16, u64>,
}

/// Clients of the tracking API that repeat a request until it is answered with 200, as the published libraries do.
struct Senders {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

struct Shared {
    base: RwLock<String>,
    told: Mutex<Told>,
    stopping: AtomicBool,
    http: reqwest::Client,
}

impl Senders {
    fn start(base: &str, seed: u64) -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
        let shared = Arc::new(Shared {
            base: RwLock::new(base.to_owned()),
            told: Mutex::default(),
            stopping: AtomicBool::new(false),
            http,
        });
        let sender = |number| tokio::spawn(shared.clone().send_all(number, Random(seed * 1000 + number + 1)));
        let tasks = (0..SENDERS).map(sender).collect();
        Self { shared, tasks }
    }

    fn talk_to(&self, base: &str) {
        base.clone_into(&mut self.shared.base.write().unwrap());
    }

    fn told(&self) -> Told {
        self.shared.told.lock().unwrap().clone()
    }

    fn acknowledged(&self) -> usize {
        self.shared.told.lock().unwrap().acknowledged.len()
    }

    async fn wait_for_more_than(&mut self, acknowledged: usize) {
        for _ in 0..1000 {
            if self.acknowledged() > acknowledged {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the server stores nothing any more: {:?}", self.told().answers);
    }

    /// Lets each sender finish what it began; then everything sent is acknowledged.
    async fn stop(self) -> Told {
        self.shared.stopping.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
        let told = self.shared.told.lock().unwrap().clone();
        assert_eq!(told.sent.len(), told.acknowledged.len());
        told
    }
}

impl Shared {
    async fn send_all(self: Arc<Self>, sender: u64, mut random: Random) {
        let mut made = 0;
        while !self.stopping.load(Ordering::SeqCst) {
            let messages = some_messages(sender, &mut made, &mut random);
            let ids = messages.iter().map(|message| text(&message["messageId"]));
            let owners = messages.iter().map(|message| format!("u:{}", text(&message["userId"])));
            let sent: Vec<(String, String)> = ids.zip(owners).collect();
            self.told.lock().unwrap().sent.extend(sent.clone());
            let (path, body) = request(messages, &mut random);
            // An impatient client sends again while its first try is still under way.
            let impatient = random.below(8) == 0;
            while !self.exchange(path, &body, impatient).await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            self.told
                .lock()
                .unwrap()
                .acknowledged
                .extend(sent.into_iter().map(|(id, _)| id));
        }
    }

    /// Whether the request was answered with 200.
    async fn exchange(&self, path: &str, body: &str, twice: bool) -> bool {
        if twice {
            let (first, second) = tokio::join!(self.post(path, body), self.post(path, body));
            first || second
        } else {
            self.post(path, body).await
        }
    }

    async fn post(&self, path: &str, body: &str) -> bool {
        let url = format!("{}{path}", self.base.read().unwrap());
        let request = self.http.post(url).basic_auth(WRITE_KEY, Some("")).body(body.to_owned());
        let status = match request.send().await {
            Ok(answer) => answer.status().as_u16(),
            Err(error) if error.is_connect() => NOBODY_THERE,
            Err(_) => BROKEN_OFF,
        };
        *self.told.lock().unwrap().answers.entry(status).or_default() += 1;
        status == StatusCode::OK.as_u16()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// One message or a few, about known people or new ones.
fn some_messages(sender: u64, made: &mut u64, random: &mut Random) -> Vec<Value> {
    let count = if random.below(2) == 0 { 1 } else { 1 + random.below(30) };
    let mut message = || {
        *made += 1;
        let person = random.below(PEOPLE);
        let mut message = json!({"messageId": format!("{sender}-{made}"), "userId": format!("person-{person}")});
        // Couples share a device, and one of them writes the other's address now and then.
        if random.below(3) == 0 {
            message["anonymousId"] = format!("device-{}", person / 2).into();
        }
        match random.below(9) {
            8 => {
                message["type"] = "alias".into();
                message["previousId"] = format!("device-{}", person / 2).into();
            }
            0 => {
                message["type"] = "identify".into();
                message["traits"] = json!({"email": format!("person-{}@example.test", person ^ random.below(2)), "visits": made});
            }
            1 => {
                message["type"] = "track".into();
                message["event"] = "Order Completed".into();
                message["properties"] = json!({"order_id": format!("o-{}", random.below(50)), "total": 12.5, "currency": "EUR"});
            }
            _ => {
                message["type"] = "track".into();
                message["event"] = "Product Viewed".into();
                message["properties"] = json!({"product_id": format!("tea-{}", random.below(20)), "price": 8.9});
            }
        }
        message
    };
    (0..count).map(|_| message()).collect()
}

/// The path and the body that carry these messages. A batch may hold its first message twice.
fn request(mut messages: Vec<Value>, random: &mut Random) -> (&'static str, String) {
    if messages.len() == 1 && random.below(4) > 0 {
        let path = if messages[0]["type"] == "identify" { "/v1/i" } else { "/v1/t" };
        return (path, messages.remove(0).to_string());
    }
    if random.below(4) == 0 {
        messages.push(messages[0].clone());
    }
    ("/v1/batch", json!({"batch": messages}).to_string())
}

struct StoredEvent {
    message_id: String,
    /// None when the event's record is missing.
    owner: Option<String>,
    key: (Uuid, Uuid),
}

async fn stored_events(db: &DatabaseConnection) -> Vec<StoredEvent> {
    let sql = "SELECT e.message_id, r.external_key, e.record_id, e.id FROM event e LEFT JOIN record r ON r.id = e.record_id";
    let event = |row: sea_orm::QueryResult| StoredEvent {
        message_id: row.try_get_by_index(0).unwrap(),
        owner: row.try_get_by_index(1).unwrap(),
        key: (row.try_get_by_index(2).unwrap(), row.try_get_by_index(3).unwrap()),
    };
    rows(db, sql).await.into_iter().map(event).collect()
}

/// Holds the database against what the senders know: each event once, with its record, and once in the log.
async fn assert_complete(db: &DatabaseConnection, told: &Told) {
    let stored = stored_events(db).await;
    let mut copies: HashMap<&str, u32> = HashMap::new();
    for event in &stored {
        *copies.entry(&event.message_id).or_default() += 1;
        assert_eq!(event.owner.as_ref(), told.sent.get(&event.message_id), "{}", event.message_id);
    }
    for id in &told.acknowledged {
        assert_eq!(copies.get(id.as_str()), Some(&1), "copies of the acknowledged message {id}");
    }
    assert_eq!(stored.len(), told.sent.len(), "nothing is stored that was not sent");

    let mut expected: BTreeMap<&str, i64> = BTreeMap::new();
    for owner in told.sent.values() {
        *expected.entry(owner).or_default() += 1;
    }
    let counts = rows(
        db,
        // Aliases make records of users who have said nothing yet.
        "SELECT r.external_key, COUNT(e.id) FROM record r LEFT JOIN event e ON e.record_id = r.id
         WHERE r.external_key NOT LIKE 'u:device-%' GROUP BY r.id",
    )
    .await;
    let counts: Vec<(String, i64)> = counts
        .into_iter()
        .map(|row| (row.try_get_by_index(0).unwrap(), row.try_get_by_index(1).unwrap()))
        .collect();
    assert_eq!(counts.len(), expected.len(), "each record once");
    for (owner, count) in &counts {
        assert_eq!(Some(count), expected.get(owner.as_str()), "events of {owner}");
    }
    assert_log_complete(db, &stored).await;
}

async fn assert_log_complete(db: &DatabaseConnection, stored: &[StoredEvent]) {
    // As of one instant: the server runs on, and its refresh writes to the log between two statements.
    let snapshot = db.begin_with_config(Some(IsolationLevel::RepeatableRead), Some(AccessMode::ReadOnly));
    let db = &snapshot.await.unwrap();
    let mut numbers: HashMap<Uuid, Vec<i64>> = HashMap::new();
    let mut listed: HashMap<(Uuid, Uuid), u32> = HashMap::new();
    for row in rows(db, "SELECT tx_id, n, record_id, events FROM change ORDER BY tx_id, n").await {
        numbers
            .entry(row.try_get_by_index(0).unwrap())
            .or_default()
            .push(row.try_get_by_index(1).unwrap());
        let Some(events) = row.try_get_by_index::<Option<Vec<u8>>>(3).unwrap() else {
            continue;
        };
        let record: Uuid = row.try_get_by_index(2).unwrap();
        let (ids, rest) = events.as_chunks::<16>();
        assert!(rest.is_empty() && !ids.is_empty(), "sixteen bytes for each event");
        for id in ids {
            *listed.entry((record, Uuid::from_bytes(*id))).or_default() += 1;
        }
    }
    let mut ordinals = HashSet::new();
    for row in rows(db, "SELECT tx_id, ordinal, row_count FROM change_tx").await {
        let (tx, ordinal, row_count): (Uuid, i64, i64) = (
            row.try_get_by_index(0).unwrap(),
            row.try_get_by_index(1).unwrap(),
            row.try_get_by_index(2).unwrap(),
        );
        assert!(ordinals.insert(ordinal), "the ordinal {ordinal} was given twice");
        let numbers = numbers.remove(&tx).unwrap_or_default();
        assert_eq!(numbers, (0..row_count).collect::<Vec<i64>>(), "rows of transaction {tx}");
    }
    assert!(numbers.is_empty(), "changes without a transaction: {numbers:?}");
    for event in stored {
        assert_eq!(
            listed.get(&event.key),
            Some(&1),
            "places of event {} in the log",
            event.message_id
        );
    }
    assert_eq!(listed.len(), stored.len(), "the log lists no event that is not stored");
}

pub async fn rows(db: &impl ConnectionTrait, sql: &str) -> Vec<sea_orm::QueryResult> {
    let statement = Statement::from_string(db.get_database_backend(), sql);
    db.query_all_raw(statement).await.expect(sql)
}

async fn column(db: &DatabaseConnection, sql: &str) -> Vec<i64> {
    rows(db, sql)
        .await
        .into_iter()
        .map(|row| row.try_get_by_index(0).unwrap())
        .collect()
}
