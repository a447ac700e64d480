//! The example of a subscriber, as its readers would run it: killed, started again, and left without its server, it misses no change.

use super::support::Backend;
use super::support::app::{ADMIN_KEY, database};
use super::support::clients::{example_subscriber, run_for};
use super::support::process::Process;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const PEOPLE: usize = 7;
const WRITES: usize = 400;

/// What a test needs of a server, also while it is away.
#[derive(Clone)]
struct Api {
    http: reqwest::Client,
    base: String,
    write_key: String,
}

impl Api {
    async fn of(server: &Process) -> Self {
        let mut api = Self {
            http: reqwest::Client::new(),
            base: server.base.clone(),
            write_key: String::new(),
        };
        let made = api
            .ask(r#"mutation { sourceCreate(input: { key: "web", name: "Web", channel: WEB }) { writeKey } }"#)
            .await;
        api.write_key = text(&made["sourceCreate"]["writeKey"]);
        api
    }

    async fn ask(&self, query: &str) -> Value {
        let body = self.answer(query).await;
        assert_eq!(body.get("errors"), None, "{query}: {body}");
        body["data"].clone()
    }

    async fn answer(&self, query: &str) -> Value {
        let request = self.http.post(format!("{}/graphql", self.base)).bearer_auth(ADMIN_KEY);
        let answer = request.json(&json!({"query": query})).send().await.unwrap();
        answer.json().await.unwrap()
    }

    async fn read_key(&self) -> String {
        let made = self
            .ask(r#"mutation { apiKeyCreate(input: { name: "subscriber", scopes: [READ, READ_PII] }) { secret } }"#)
            .await;
        text(&made["apiKeyCreate"]["secret"])
    }

    /// Says something new of somebody, again and again until a server has it.
    async fn write(&self, n: usize) {
        let message = json!({"userId": format!("u{}", n % PEOPLE), "messageId": format!("m{n}"), "traits": {"n": n}});
        for _ in 0..600 {
            let request = self.http.post(format!("{}/v1/identify", self.base));
            let request = request.basic_auth(&self.write_key, Some("")).json(&message);
            if request.send().await.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("message {n} was never taken");
    }

    /// New people at once.
    async fn people(&self, numbers: std::ops::Range<usize>) {
        let person =
            |n: usize| json!({"type": "identify", "userId": format!("p{n}"), "messageId": format!("p{n}"), "traits": {"n": n}});
        let batch = json!({"batch": numbers.map(person).collect::<Vec<_>>()});
        let request = self.http.post(format!("{}/v1/batch", self.base));
        let answer = request
            .basic_auth(&self.write_key, Some(""))
            .json(&batch)
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }

    async fn head(&self) -> String {
        text(&self.ask("{ feedHead { head } }").await["feedHead"]["head"])
    }

    /// The log behind a cursor, as far as it goes now.
    async fn log(&self, mut after: String) -> Vec<Value> {
        let mut log = Vec::new();
        loop {
            let query = format!(
                r#"{{ changes(start: {{ after: "{after}" }}, first: 100) {{ cursor caughtUp changes {{ cursor entityId rev after }} }} }}"#
            );
            let page = self.ask(&query).await["changes"].clone();
            log.extend(page["changes"].as_array().unwrap().iter().cloned());
            after = text(&page["cursor"]);
            if page["caughtUp"] == true {
                return log;
            }
        }
    }
}

/// Waits until something holds; at most a minute, since the program pauses up to ten seconds between its attempts.
async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    for _ in 0..1_200 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never happened: {what}");
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// The program with its folder: the cursor, and what each of its lives has printed.
struct Subscriber {
    folder: PathBuf,
    environment: Vec<(String, String)>,
    lives: usize,
    child: Option<Child>,
}

impl Subscriber {
    fn new(folder: &Path, base: &str, key: &str) -> Self {
        let named = |name: &str, value: String| (name.to_owned(), value);
        Self {
            folder: folder.to_owned(),
            environment: vec![
                named("TRIBUTARY_URL", base.to_owned()),
                named("TRIBUTARY_KEY", key.to_owned()),
                named("CURSOR_FILE", folder.join("cursor.txt").display().to_string()),
                named("NO_PROXY", "*".to_owned()),
            ],
            lives: 0,
            child: None,
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("node");
        let environment = self.environment.iter().map(|(name, value)| (name, value));
        command
            .arg("dist/main.js")
            .current_dir(example_subscriber())
            .envs(environment);
        command
    }

    fn start(&mut self) {
        self.lives += 1;
        let file = |kind: &str| File::create(self.folder.join(format!("{kind}{}", self.lives))).unwrap();
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err"));
        self.child = Some(command.spawn().unwrap());
    }

    /// SIGKILL.
    fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// What all its lives printed, in order. Of a line that a kill cut off the next life prints the whole.
    fn lines(&self) -> Vec<Value> {
        let outputs = (1..=self.lives).map(|life| fs::read_to_string(self.folder.join(format!("out{life}"))).unwrap());
        let whole = |output: String| -> Vec<Value> {
            let lines = output.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            lines.map(|line| serde_json::from_str(line).expect(line)).collect()
        };
        outputs.flat_map(whole).collect()
    }

    fn changes(&self) -> Vec<Value> {
        let lines = self.lines().into_iter();
        lines.filter_map(|line| line.get("change").cloned()).collect()
    }

    fn has_printed(&self, n: usize) -> bool {
        self.changes().iter().any(|change| change["after"]["n"] == n)
    }

    fn complaints(&self) -> String {
        let told = (1..=self.lives).map(|life| fs::read_to_string(self.folder.join(format!("err{life}"))).unwrap());
        told.collect()
    }

    fn cursor(&self) -> String {
        fs::read_to_string(self.folder.join("cursor.txt")).unwrap_or_default()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("subscriber-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

async fn built() {
    tokio::task::spawn_blocking(example_subscriber).await.unwrap();
}

async fn survives(backend: Backend) {
    built().await;
    let folder = folder(&format!("{backend:?}"));
    let (url, _directory) = match backend {
        Backend::Sqlite => (format!("sqlite://{}", folder.join("log.db").display()), None),
        Backend::Postgres => {
            let (url, directory) = database(backend).await;
            (url, Some(directory))
        }
    };
    let mut server = Process::start(&url, &[]).await;
    let api = Api::of(&server).await;
    let mut subscriber = Subscriber::new(&folder, &server.base, &api.read_key().await);
    let begin = api.head().await;
    subscriber.start();
    eventually("the first cursor is kept", || async { !subscriber.cursor().is_empty() }).await;

    let written = Arc::new(AtomicUsize::new(0));
    let writer = tokio::spawn({
        let (api, written) = (api.clone(), written.clone());
        async move {
            for n in 0..WRITES {
                api.write(n).await;
                written.store(n + 1, Ordering::SeqCst);
            }
        }
    });
    let reached = async |count: usize| {
        while written.load(Ordering::SeqCst) < count {
            assert!(!writer.is_finished(), "the writer has ended");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    // The program alone, the server alone, both at once.
    reached(60).await;
    subscriber.kill();
    reached(120).await;
    subscriber.start();
    eventually("it caught up", || async { subscriber.has_printed(119) }).await;
    reached(180).await;
    server.kill();
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.restart_in_place(&[]).await;
    reached(260).await;
    subscriber.kill();
    server.kill();
    server.restart_in_place(&[]).await;
    reached(300).await;
    subscriber.start();
    writer.await.unwrap();

    eventually("the last change is in the log", || async {
        let log = api.log(begin.clone()).await;
        log.iter().any(|change| change["after"]["n"] == WRITES - 1)
    })
    .await;
    eventually("it printed the last change", || async { subscriber.has_printed(WRITES - 1) }).await;
    let log = api.log(begin).await;
    eventually("it stands at the end", || async {
        subscriber.changes().last().map(|last| &last["cursor"]) == log.last().map(|last| &last["cursor"])
    })
    .await;
    subscriber.kill();

    assert!(log.len() >= WRITES, "{}", log.len());
    let printed = subscriber.changes();
    let mut seen = BTreeSet::new();
    let first_times: Vec<&Value> = printed.iter().filter(|change| seen.insert(text(&change["cursor"]))).collect();
    let known = |change: &Value| json!([change["cursor"], change["entityId"], change["rev"], change["after"]]);
    let got: Vec<Value> = first_times.into_iter().map(known).collect();
    let wanted: Vec<Value> = log.iter().map(known).collect();
    assert_eq!(
        got,
        wanted,
        "each change once, in the order of the log\n{}",
        subscriber.complaints()
    );
    let revisions: BTreeSet<String> = log
        .iter()
        .map(|change| format!("{}/{}", change["entityId"], change["rev"]))
        .collect();
    assert_eq!(revisions.len(), log.len(), "an entity has each revision once");
    // A kill between printing and keeping the cursor brings that batch twice, and nothing else does.
    assert!(printed.len() - log.len() <= 2 * 100, "{} of {}", printed.len(), log.len());
    let numbers: BTreeSet<u64> = log.iter().filter_map(|change| change["after"]["n"].as_u64()).collect();
    assert_eq!(numbers.len(), WRITES);
    assert!(subscriber.complaints().contains("again in "), "it lost its server meanwhile");
    assert!(
        !printed.is_empty() && subscriber.lines().iter().all(|line| line.get("customer").is_none()),
        "it never began anew"
    );
    drop(server);
    let _ = fs::remove_dir_all(&folder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_without_its_server_it_prints_every_change_on_sqlite() {
    survives(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_without_its_server_it_prints_every_change_on_postgresql() {
    survives(Backend::Postgres).await;
}

/// A database whose server was killed.
fn copy(from: &Path, to: &Path) {
    for end in ["", "-wal"] {
        let name = |path: &Path| PathBuf::from(format!("{}{end}", path.display()));
        let _ = fs::remove_file(name(to));
        if name(from).exists() {
            fs::copy(name(from), name(to)).unwrap();
        }
    }
    let _ = fs::remove_file(format!("{}-shm", to.display()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_its_cursor_is_no_longer_good_it_reads_everybody_and_goes_on() {
    built().await;
    let folder = folder("anew");
    let (place, backup) = (folder.join("log.db"), folder.join("backup.db"));
    let mut server = Process::start(&format!("sqlite://{}", place.display()), &[]).await;
    let api = Api::of(&server).await;
    let mut subscriber = Subscriber::new(&folder, &server.base, &api.read_key().await);
    subscriber.start();
    eventually("the first cursor is kept", || async { !subscriber.cursor().is_empty() }).await;
    let customers = |subscriber: &Subscriber| -> Vec<String> {
        let lines = subscriber.lines().into_iter();
        lines
            .filter_map(|line| line.get("customer").map(|customer| text(&customer["id"])))
            .collect()
    };
    let everybody = async || -> usize {
        let found = api.ask("{ customers(first: 1) { totalCount } }").await;
        usize::try_from(found["customers"]["totalCount"].as_u64().unwrap()).unwrap()
    };
    let distinct = |customers: &[String]| customers.iter().collect::<BTreeSet<_>>().len();

    // An older state is restored, and goes another way from there.
    for n in 0..3 {
        api.write(n).await;
    }
    eventually("it printed what was written", || async { subscriber.has_printed(2) }).await;
    server.kill();
    copy(&place, &backup);
    server.restart_in_place(&[]).await;
    for n in 3..6 {
        api.write(n).await;
    }
    eventually("it printed what was written", || async { subscriber.has_printed(5) }).await;
    assert_eq!(customers(&subscriber), [""; 0]);
    server.kill();
    copy(&backup, &place);
    server.restart_in_place(&[]).await;
    eventually("it read everybody", || async { customers(&subscriber).len() == 3 }).await;
    assert!(
        subscriber.complaints().contains("CURSOR_EPOCH"),
        "{}",
        subscriber.complaints()
    );
    assert_eq!((distinct(&customers(&subscriber)), everybody().await), (3, 3));
    api.write(10).await;
    eventually("it goes on", || async { subscriber.has_printed(10) }).await;
    assert!(!subscriber.complaints().contains("CURSOR_EXPIRED"));

    // It was away for longer than changes are kept: of these 1,200 the log keeps the last 1,000 or so.
    subscriber.kill();
    api.write(11).await;
    for batch in 0..4 {
        api.people(1_000 * batch..1_000 * batch + 300).await;
    }
    let before = customers(&subscriber).len();
    server.kill();
    server.restart_in_place(&[("TRIBUTARY_FEED__RETENTION_ROWS", "1000")]).await;
    let cursor = subscriber.cursor();
    eventually("its cursor is too old", || async {
        let query = format!(r#"{{ changes(start: {{ after: "{cursor}" }}, first: 1) {{ cursor }} }}"#);
        api.answer(&query).await["errors"][0]["extensions"]["code"] == "CURSOR_EXPIRED"
    })
    .await;
    subscriber.start();
    let people = everybody().await;
    assert!(people > 1_200, "{people}");
    eventually("it read everybody", || async {
        customers(&subscriber).len() == before + people
    })
    .await;
    assert!(
        subscriber.complaints().contains("CURSOR_EXPIRED"),
        "{}",
        subscriber.complaints()
    );
    assert_eq!(distinct(&customers(&subscriber)[before..]), people);
    api.write(20).await;
    eventually("it goes on", || async { subscriber.has_printed(20) }).await;
    assert!(
        !subscriber.has_printed(11),
        "what it read as a list does not come as a change, too"
    );
    drop(server);
    let _ = fs::remove_dir_all(&folder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_wrong_key_it_ends_and_says_so() {
    built().await;
    let folder = folder("key");
    let server = Process::start(&format!("sqlite://{}", folder.join("log.db").display()), &[]).await;
    let api = Api::of(&server).await;
    let cursor = api.head().await;
    // With a cursor it is the socket that is refused, without one the query before.
    for kept in ["", &cursor] {
        fs::write(folder.join("cursor.txt"), kept).unwrap();
        let mut command = Subscriber::new(&folder, &server.base, "wrong").command();
        let ended = tokio::task::spawn_blocking(move || run_for(Duration::from_secs(60), &mut command));
        let ended = ended.await.unwrap().unwrap();
        assert!(!ended.success && ended.stdout.is_empty(), "{}", ended.stdout);
        let expected = if kept.is_empty() {
            "UNAUTHENTICATED"
        } else {
            "closed with 4403"
        };
        assert!(
            ended.stderr.contains(expected) && !ended.stderr.contains("again in"),
            "{}",
            ended.stderr
        );
    }
    drop(server);
    let _ = fs::remove_dir_all(&folder);
}
