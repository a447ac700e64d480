//! Two instances on one PostgreSQL: what one commits, readers of the other see; with Redis at once, without it all the same.

use super::feed::write;
use super::support::app::{Backend, TestApp, database, test_settings};
use super::support::servers;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tributary::base::{Clock, Ids};
use tributary::cli::server::{Server, open_store};
use tributary::feed::{Batch, Filter, Reader, Start, Tail};
use uuid::Uuid;

/// A Redis that may be stopped and started again on its port.
struct Redis {
    port: u16,
    folder: PathBuf,
    process: Option<Child>,
}

impl Redis {
    fn start() -> Self {
        // The scratch server of all tests says that the program is there.
        let _ = servers::redis().url();
        let folder =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("redis-{}-{}", std::process::id(), servers::free_port()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut redis = Self {
            port: servers::free_port(),
            folder,
            process: None,
        };
        redis.begin();
        redis
    }

    fn begin(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--save", "", "--bind", "127.0.0.1", "--dir"]);
        command.arg(&self.folder).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(command.spawn().unwrap());
    }

    fn signal(&self, signal: &str) {
        let id = self.process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    fn end(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.end();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn instance(url: &str, redis: &str, seed: u64) -> Server {
    let mut settings = test_settings(url);
    redis.clone_into(&mut settings.redis.url);
    let store = open_store(&settings, Ids::seeded(seed)).await.unwrap();
    Server::start(&settings, store, Clock::System).await.unwrap()
}

async fn tail(server: &Server) -> Tail {
    let feed = server.services.feed.clone();
    let heads = feed.heads();
    let place = feed.place_of(Start::FromNow).await.unwrap();
    let mut tail = Tail::new(
        Reader::open(feed, place, Filter::default()).await.unwrap(),
        heads,
        100,
        Duration::from_secs(30),
    );
    // The first batch comes at once, and is empty.
    assert!(tail.next().await.unwrap().entries.is_empty());
    tail
}

/// How long it took from the commit on one instance until a reader of the other had it. It is the next change, and it comes once.
async fn latency(from: &Server, reader: &mut Tail, n: i64) -> Duration {
    let began = Instant::now();
    let transaction = write(&from.services.store, 1, n, false).await.unwrap();
    let batch: Batch = tokio::time::timeout(Duration::from_secs(20), reader.next())
        .await
        .expect("in time")
        .unwrap();
    let seen: Vec<Uuid> = batch.entries.iter().map(|entry| entry.row.transaction).collect();
    assert_eq!(seen, [transaction]);
    began.elapsed()
}

/// The middle of some.
async fn usual(from: &Server, reader: &mut Tail, n: &mut i64) -> Duration {
    let mut all = Vec::new();
    for _ in 0..9 {
        *n += 1;
        all.push(latency(from, reader, *n).await);
    }
    all.sort();
    assert!(all[8] < Duration::from_secs(2), "{all:?}");
    all[4]
}

const AT_ONCE: Duration = Duration::from_millis(150);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_makes_instances_quick_and_nothing_depends_on_it() {
    let (url, folder) = database(Backend::Postgres).await;
    let mut redis = Redis::start();
    let redis_url = format!("redis://127.0.0.1:{}", redis.port);
    let one = instance(&url, &redis_url, 1).await;
    let two = instance(&url, &redis_url, 2).await;
    let (mut on_one, mut on_two) = (tail(&one).await, tail(&two).await);
    let mut n = 0;
    let both = async |on_one: &mut Tail, on_two: &mut Tail, n: &mut i64| {
        let there = usual(&one, on_two, n).await;
        skip(on_one, 9).await;
        let back = usual(&two, on_one, n).await;
        skip(on_two, 9).await;
        there.max(back)
    };
    // Both directions: one of them stamps, the other is told.
    let mut quick = Duration::MAX;
    for _ in 0..20 {
        quick = both(&mut on_one, &mut on_two, &mut n).await;
        if quick < AT_ONCE {
            break;
        }
    }
    assert!(quick < AT_ONCE, "{quick:?}");
    redis.signal("-STOP");
    let hung = both(&mut on_one, &mut on_two, &mut n).await;
    redis.signal("-CONT");
    redis.end();
    let gone = both(&mut on_one, &mut on_two, &mut n).await;
    redis.begin();
    let mut again = Duration::MAX;
    for _ in 0..20 {
        again = both(&mut on_one, &mut on_two, &mut n).await;
        if again < AT_ONCE {
            break;
        }
    }
    assert!(again < AT_ONCE, "{again:?}");
    println!("quick {quick:?}, hung {hung:?}, gone {gone:?}, again {again:?}");
    // The one that stamps goes; the other takes over, and its readers miss nothing.
    one.stop().await.unwrap();
    n += 1;
    let taken_over = latency(&two, &mut on_two, n).await;
    assert!(taken_over < Duration::from_secs(7), "{taken_over:?}");
    two.stop().await.unwrap();
    let _ = std::fs::remove_dir_all(folder);
}

/// Reads so many changes.
async fn skip(reader: &mut Tail, count: usize) {
    let mut seen = 0;
    while seen < count {
        seen += reader.next().await.unwrap().entries.len();
    }
    assert_eq!(seen, count);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_instance_alone_needs_no_redis_to_be_quick() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let app = TestApp::new(backend).await;
        let mut reader = tail(&app.server).await;
        let mut all = Vec::new();
        for n in 0..50 {
            all.push(latency(&app.server, &mut reader, n).await);
        }
        all.sort();
        println!("{backend:?}: median {:?}, 95% {:?}, worst {:?}", all[25], all[47], all[49]);
        assert!(all[25] < Duration::from_millis(100), "{backend:?} {all:?}");
        app.stop().await;
    }
}
