//! Several instances on one database, as processes: whoever of them dies or is rolled out anew, resumed readers see every committed change
//! once and in order, and what was due is done.
//!
//! About ten seconds of kills for each database; two minutes when TRIBUTARY_SOAK is set. Who dies when is drawn from a fixed seed.

use super::crash::{Random, add_source, assert_rebuilds, rows};
use super::support::app::{Backend, database, eventually};
use super::support::fleet::{Fleet, Heard, Readers, Seen, TOPICS, Writers, Written};
use super::support::servers;
use entity::{JobState, Topic, change};
use sea_orm::{ActiveEnum as _, DatabaseConnection, FromQueryResult as _, Statement, TransactionTrait as _};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tributary::base::{Clock, Ids};
use tributary::job::{NewJob, enqueue};
use tributary::pipeline::refresh;
use uuid::Uuid;

/// A claim of a worker that died in the middle of a batch ends after 10 seconds, one of a job after 15.
const SETTLE_LIMIT: Duration = Duration::from_secs(100);
const WRITERS: u64 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resumed_readers_of_three_instances_that_die_in_turn_see_every_change_once_and_in_order() {
    survive_kills(Backend::Postgres, 3, 21).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resumed_readers_of_one_instance_that_dies_again_and_again_see_every_change_once_and_in_order() {
    survive_kills(Backend::Sqlite, 1, 22).await;
}

async fn survive_kills(backend: Backend, size: usize, seed: u64) {
    let mut random = Random(seed);
    let (url, folder) = database(backend).await;
    add_source(&url);
    let mut fleet = start(size, &url, backend).await;
    let writers = Writers::start(WRITERS, &fleet.addresses, seed);
    let readers = Readers::start(&fleet.addresses, seed);
    let lasts = Duration::from_secs(if is_long() { 120 } else { 10 });
    let began = Instant::now();
    let mut kills = 0;
    while began.elapsed() < lasts {
        tokio::time::sleep(Duration::from_millis(500 + random.below(1000))).await;
        let drawn = usize::try_from(random.below(size as u64)).unwrap();
        // Now and then the one that the socket is at, or luck could spare it.
        let victim = readers.socket_is_at(&fleet).filter(|_| kills % 3 == 0).unwrap_or(drawn);
        fleet.kill(victim);
        kills += 1;
        // Past the servers, as one of them would have done before it died.
        if backend == Backend::Postgres {
            queue_job(&url).await;
        }
        tokio::time::sleep(Duration::from_millis(random.below(500))).await;
        fleet.restart(victim).await;
    }
    let written = writers.stop().await;
    println!("{backend:?}: {size} instances, {kills} kills, {written:?}");
    assert!(
        written.messages > 100 && written.orders > 20 && written.refused > 5,
        "{written:?}"
    );
    let db = sea_orm::Database::connect(&url).await.unwrap();
    assert_seen_once(&db, readers, &written).await;
    assert_done_once(&db, &written).await;
    db.close().await.unwrap();
    assert_rebuilds(&url);
    drop(fleet);
    let _ = std::fs::remove_dir_all(folder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_is_no_gap_for_a_subscriber_who_resumes() {
    let (url, folder) = database(Backend::Postgres).await;
    add_source(&url);
    let mut fleet = start(2, &url, Backend::Postgres).await;
    let writers = Writers::start(WRITERS, &fleet.addresses, 23);
    let readers = Readers::start(&fleet.addresses, 23);
    let rounds = if is_long() { 20 } else { 2 };
    let mut slowest = Duration::ZERO;
    for _ in 0..rounds {
        for index in [0, 1] {
            tokio::time::sleep(Duration::from_secs(1)).await;
            slowest = slowest.max(fleet.stop(index));
            fleet.restart(index).await;
        }
    }
    let written = writers.stop().await;
    println!("{rounds} rounds, slowest stop {slowest:?}, {written:?}");
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
    let db = sea_orm::Database::connect(&url).await.unwrap();
    let [_, by_socket] = assert_seen_once(&db, readers, &written).await;
    // It was always told: never broken off.
    assert_eq!(
        by_socket.closed.keys().copied().collect::<Vec<_>>(),
        [1001],
        "{:?}",
        by_socket.closed
    );
    assert!(by_socket.longest_gap < Duration::from_secs(7), "{:?}", by_socket.longest_gap);
    assert_done_once(&db, &written).await;
    db.close().await.unwrap();
    drop(fleet);
    let _ = std::fs::remove_dir_all(folder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_instance_held_is_taken_over_within_seconds() {
    let (url, folder) = database(Backend::Postgres).await;
    add_source(&url);
    let mut fleet = start(2, &url, Backend::Postgres).await;
    let db = sea_orm::Database::connect(&url).await.unwrap();
    let writers = Writers::start(2, &fleet.addresses, 24);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let stamper = stamping(&fleet).await.expect("one of two stamps");
    fleet.kill(stamper);
    let died = Instant::now();
    let before = number(&db, "SELECT fence FROM lease WHERE name = 'stamper'").await;
    eventually("another stamps", || async {
        number(&db, "SELECT fence FROM lease WHERE name = 'stamper'").await > before
    })
    .await;
    let stamped_after = died.elapsed();
    assert!(stamped_after < Duration::from_secs(7), "{stamped_after:?}");
    fleet.restart(stamper).await;
    writers.stop().await;
    wait_until_settled(&db).await;

    // What one leaves behind that died while it looked at customers and ran a job, with two seconds left of what it had claimed.
    let job = queue_job(&url).await;
    wait_until_settled(&db).await;
    let until = Clock::System.now().plus(Duration::from_secs(2));
    let left = Instant::now();
    let customers = "SELECT id FROM customer ORDER BY id LIMIT 20";
    let claim = format!(
        "INSERT INTO due (customer_id, due_at, marked_at, mark, class, claimed_until, fence, attempts)
         SELECT c.id, {1}, {1}, c.id, 1, {0}, 1, 0 FROM ({customers}) AS c
         ON CONFLICT (customer_id) DO UPDATE SET due_at = excluded.due_at, marked_at = excluded.marked_at, mark = excluded.mark,
             class = excluded.class, claimed_until = excluded.claimed_until, fence = due.fence + 1",
        until.micros(),
        Clock::System.now().micros()
    );
    execute(&db, &claim).await;
    let running = format!(
        "UPDATE job SET state = {}, attempts = 1, fence = fence + 1, claimed_until = {}, finished_at = NULL, result = NULL WHERE id = '{job}'",
        JobState::Running.to_value(),
        until.micros()
    );
    execute(&db, &running).await;
    let (mut refreshed, mut ran) = (None, None);
    while refreshed.is_none() || ran.is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if refreshed.is_none() && number(&db, "SELECT COUNT(*) FROM due WHERE marked_at IS NOT NULL").await == 0 {
            refreshed = Some(left.elapsed());
        }
        let succeeded = format!("SELECT COUNT(*) FROM job WHERE state = {}", JobState::Succeeded.to_value());
        if ran.is_none() && number(&db, &succeeded).await == 1 {
            ran = Some(left.elapsed());
        }
        assert!(
            left.elapsed() < Duration::from_secs(10),
            "refreshed {refreshed:?}, ran {ran:?}"
        );
    }
    println!("a dead stamper was followed after {stamped_after:?}; claims with 2 s left: customers {refreshed:?}, a job {ran:?}");
    let two = Duration::from_millis(1950);
    assert!(refreshed > Some(two) && ran > Some(two), "nobody takes what is still claimed");
    db.close().await.unwrap();
    drop(fleet);
    let _ = std::fs::remove_dir_all(folder);
}

fn is_long() -> bool {
    std::env::var_os("TRIBUTARY_SOAK").is_some()
}

async fn start(size: usize, url: &str, backend: Backend) -> Fleet {
    let redis = match backend {
        Backend::Postgres => tokio::task::spawn_blocking(|| servers::redis().url()).await.unwrap(),
        Backend::Sqlite => String::new(),
    };
    Fleet::start(size, url, &[("TRIBUTARY_REDIS__URL", &redis)]).await
}

/// Which instance says that it stamps.
async fn stamping(fleet: &Fleet) -> Option<usize> {
    for (index, server) in fleet.servers.iter().enumerate() {
        let page = reqwest::get(format!("{}/metrics", server.base))
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        if page.lines().any(|line| line == "tributary_feed_is_stamper 1") {
            return Some(index);
        }
    }
    None
}

/// A job that marks everybody who bought something.
async fn queue_job(url: &str) -> Uuid {
    let db = sea_orm::Database::connect(url).await.unwrap();
    let new = NewJob::new(&Ids::system(), Clock::System.now(), refresh::JOB_KIND, json!({}), "cli");
    let tx = db.begin().await.unwrap();
    let id = enqueue(&tx, &new).await.unwrap();
    tx.commit().await.unwrap();
    db.close().await.unwrap();
    id.0
}

async fn number(db: &DatabaseConnection, sql: &str) -> i64 {
    rows(db, sql).await[0].try_get_by_index(0).unwrap()
}

async fn execute(db: &DatabaseConnection, sql: &str) {
    use sea_orm::ConnectionTrait as _;
    db.execute_unprepared(sql).await.expect(sql);
}

/// Waits until nobody is due, no job waits or runs, and everything has its position.
async fn wait_until_settled(db: &DatabaseConnection) {
    let began = Instant::now();
    let jobs = format!(
        "SELECT COUNT(*) FROM job WHERE state IN ({}, {})",
        JobState::Queued.to_value(),
        JobState::Running.to_value()
    );
    loop {
        // In this order: jobs mark who is due, and who was due writes to the log.
        let left = [
            number(db, &jobs).await,
            number(db, "SELECT COUNT(*) FROM due WHERE marked_at IS NOT NULL").await,
            number(db, "SELECT COUNT(*) FROM change_tx WHERE position IS NULL").await,
        ];
        if left == [0, 0, 0] {
            println!("settled after {:?}", began.elapsed());
            return;
        }
        assert!(
            began.elapsed() < SETTLE_LIMIT,
            "left behind (jobs, customers, unstamped): {left:?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Both readers saw what is in the table, and the table has no gap.
async fn assert_seen_once(db: &DatabaseConnection, readers: Readers, written: &Written) -> [Heard; 2] {
    wait_until_settled(db).await;
    let positions: Vec<i64> = rows(db, "SELECT position FROM change_tx ORDER BY position")
        .await
        .into_iter()
        .map(|row| row.try_get_by_index(0).unwrap())
        .collect();
    assert_eq!(
        positions,
        (1..).take(positions.len()).collect::<Vec<i64>>(),
        "positions have no gap"
    );
    let expected = log(db).await;
    let events = expected.iter().filter(|(_, topic, _)| topic == "EVENT").count();
    assert_eq!(events, written.messages, "each message is one event");
    let heard = readers.all(expected.len()).await;
    for (name, heard) in ["by pages", "by socket"].into_iter().zip(&heard) {
        println!(
            "{name}: {} changes of {} transactions, resumed {} times, closed {:?}, longest gap {:?}",
            heard.seen.len(),
            positions.len(),
            heard.resumed,
            heard.closed,
            heard.longest_gap
        );
        assert_eq!(heard.seen.len(), expected.len(), "{name}");
        for (at, (seen, expected)) in heard.seen.iter().zip(&expected).enumerate() {
            let (_, transaction, topic, rev): &Seen = seen;
            assert_eq!((transaction, topic), (&expected.0, &expected.1), "{name}: change {at}");
            assert!(
                topic == "EVENT" || *rev == expected.2,
                "{name}: change {at}: {rev}, {}",
                expected.2
            );
        }
        let cursors: BTreeSet<&String> = heard.seen.iter().map(|seen| &seen.0).collect();
        assert_eq!(cursors.len(), heard.seen.len(), "{name}: each once");
    }
    assert!(heard[1].resumed > 0, "the socket was never interrupted");
    heard
}

/// The log as the table has it: transaction, topic and revision of each change.
async fn log(db: &DatabaseConnection) -> Vec<(String, String, i64)> {
    let mut all = Vec::new();
    for row in changes(db).await {
        // `Debug` of a topic of two words would need more.
        let topic = format!("{:?}", row.topic).to_uppercase();
        assert!(TOPICS.contains(&topic.as_str()), "{topic}");
        let transaction = row.tx_id.to_string();
        if row.topic != Topic::Event {
            all.push((transaction.clone(), topic, row.rev));
        }
        let events = row.events.unwrap_or_default().len() / 16;
        all.extend((0..events).map(|_| (transaction.clone(), "EVENT".to_owned(), 0)));
    }
    all
}

async fn changes(db: &DatabaseConnection) -> Vec<change::Model> {
    let sql = "SELECT c.* FROM change c JOIN change_tx t ON t.tx_id = c.tx_id ORDER BY t.position, c.n";
    let statement = Statement::from_string(db.get_database_backend(), sql);
    change::Model::find_by_statement(statement).all(db).await.unwrap()
}

/// What follows from the orders is there, and each difference of it was told once: what one change says was before, the one before it
/// said was after.
async fn assert_done_once(db: &DatabaseConnection, written: &Written) {
    let sum = "SELECT CAST(COALESCE(SUM(purchase_count), 0) AS BIGINT) FROM customer_value";
    let orders = i64::try_from(written.orders).unwrap();
    assert_eq!(number(db, sum).await, orders);
    let mut counts: BTreeMap<Uuid, i64> = BTreeMap::new();
    for row in changes(db).await {
        if row.topic != Topic::Metric {
            continue;
        }
        let changed = row.changed.unwrap_or_default();
        if let Some(count) = changed.get("purchaseCount") {
            let before = counts.insert(row.entity_id, count[1].as_i64().unwrap()).unwrap_or(0);
            assert_eq!(count[0].as_i64().unwrap_or(0), before, "{changed}");
        }
    }
    assert_eq!(counts.values().sum::<i64>(), orders, "told");
    let unfinished = format!(
        "SELECT COUNT(*) FROM job WHERE state <> {} OR fence <> attempts",
        JobState::Succeeded.to_value()
    );
    assert_eq!(number(db, &unfinished).await, 0);
    println!(
        "{} jobs in {} attempts",
        number(db, "SELECT COUNT(*) FROM job").await,
        number(db, "SELECT CAST(COALESCE(SUM(attempts), 0) AS BIGINT) FROM job").await
    );
}
