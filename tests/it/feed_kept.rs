//! What of the log is kept, which cursors are good, and who gives positions.

use super::feed::{settle, tamper, write};
use super::support::app::Backend;
use super::support::listen::{Listener, changes_of};
use super::support::{TestApp, on_both};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::time::Duration;
use tributary::feed::{Place, Retention, Stamper, Start, consumer, retention};

const DAY: Duration = Duration::from_secs(86_400);

async fn fill(app: &TestApp, count: i64) {
    for n in 0..count {
        write(&app.server.services.store, 1, n, false).await.unwrap();
    }
    settle(app).await;
}

async fn head(app: &TestApp) -> Place {
    app.server.services.feed.place_of(Start::FromNow).await.unwrap()
}

async fn floor(app: &TestApp) -> Place {
    app.server.services.feed.place_of(Start::FromBeginning).await.unwrap()
}

fn keep(hours: u64, rows: u64) -> Retention {
    Retention {
        age: Duration::from_secs(3600 * hours),
        rows,
    }
}

async fn prune(app: &TestApp, keep: Retention) -> u64 {
    let services = &app.server.services;
    retention::prune(&services.feed, "test", services.now(), keep).await.unwrap()
}

async fn refused(app: &TestApp, cursor: &str) -> (String, Value) {
    Listener::to(app, &format!(r#"after: "{cursor}""#), "", 10).refusal().await
}

on_both! {
    async fn a_cursor_that_was_changed_or_invented_is_refused_in_one_way(app: TestApp) {
        fill(&app, 3).await;
        let good = app.server.services.feed.text(head(&app).await);
        let mut bytes = URL_SAFE_NO_PAD.decode(&good).unwrap();
        bytes[3] ^= 1;
        for bad in ["", "nonsense", &good[1..], &URL_SAFE_NO_PAD.encode(&bytes)] {
            assert_eq!(refused(&app, bad).await.0, "CURSOR_INVALID", "{bad}");
            let query = format!(r#"{{ changes(start: {{ after: "{bad}" }}) {{ cursor }} }}"#);
            let (_, body) = app.graphql(crate::support::app::ADMIN_KEY, json!({"query": query})).await;
            assert_eq!(body["errors"][0]["extensions"]["code"], "CURSOR_INVALID");
        }
        app.stop().await;
    }

    async fn what_is_too_old_goes_and_the_floor_is_told(app: TestApp) {
        fill(&app, 20).await;
        let feed = app.server.services.feed.clone();
        let old = feed.text(feed.place_of(Start::FromBeginning).await.unwrap());
        let begun = head(&app).await;
        app.clock.advance(2 * DAY);
        app.source("later", "WEB").await;
        settle(&app).await;
        let last = head(&app).await;
        assert!(last > begun);
        // The writer's changes are of the past, and so older than any age kept.
        assert_eq!(prune(&app, keep(24, 1_000_000)).await, u64::try_from(begun.position).unwrap());
        assert_eq!(floor(&app).await, begun);
        assert_eq!(app.scalar("SELECT COUNT(*) FROM change_tx").await, last.position - begun.position + 1);
        assert_eq!(prune(&app, keep(24, 1_000_000)).await, 0);
        let (code, extensions) = refused(&app, &old).await;
        let bounds = app.ask("{ feedHead { floor head } }").await["feedHead"].clone();
        assert_eq!(code, "CURSOR_EXPIRED");
        assert_eq!((&extensions["floorCursor"], &extensions["headCursor"]), (&bounds["floor"], &bounds["head"]));
        assert_eq!(bounds["floor"], json!(feed.text(begun)));
        // At the floor itself nothing is missed.
        let cursor = bounds["floor"].as_str().unwrap();
        let batches = Listener::to(&app, &format!(r#"after: "{cursor}""#), "", 10).batches().await;
        assert_eq!(batches.last().unwrap()["cursor"], bounds["head"]);
        app.stop().await;
    }

    async fn what_is_too_much_goes_and_the_newest_transaction_stays(app: TestApp) {
        fill(&app, 30).await;
        let store = &app.server.services.store;
        let rows = app.count("change").await;
        let begun = head(&app).await;
        assert!(prune(&app, keep(1_000_000, 10)).await > 0);
        assert_eq!(app.count("change").await, rows.min(10));
        assert_eq!(floor(&app).await.position, begun.position - 10);
        assert!(prune(&app, keep(1_000_000, 0)).await > 0);
        assert_eq!((app.count("change").await, floor(&app).await.position), (1, begun.position - 1));
        // The next position follows the last, though all before it are gone.
        write(store, 1, 99, false).await.unwrap();
        settle(&app).await;
        assert_eq!(head(&app).await.position, begun.position + 1);
        app.stop().await;
    }

    async fn a_reader_under_way_is_told_when_the_log_was_cut_before_it(app: TestApp) {
        fill(&app, 30).await;
        let mut reader = Listener::to(&app, "fromBeginning: true", "topics: [ACCOUNT]", 1);
        reader.next().await;
        // More than the page it has in hand.
        let batches = reader.batches().await;
        assert_eq!(changes_of(&batches).len(), 29);
        let feed = &app.server.services.feed;
        let place = feed.place_of(Start::FromBeginning).await.unwrap();
        let mut late = tributary::feed::Reader::open(feed.clone(), place, tributary::feed::Filter::default()).await.unwrap();
        prune(&app, keep(1_000_000, 5)).await;
        assert!(matches!(late.next(10).await, Err(tributary::feed::FeedError::Expired { .. })));
        app.stop().await;
    }

    async fn a_named_reader_is_waited_for_thirty_days_and_no_longer(app: TestApp) {
        fill(&app, 30).await;
        let store = app.server.services.store.clone();
        let begun = head(&app).await;
        let place = Place { position: begun.position - 20, ..begun };
        assert_eq!(consumer::place_of(store.reader(), "crm").await.unwrap(), None);
        assert!(consumer::ack(store.writer(), "crm", place, app.clock.now()).await.unwrap());
        assert_eq!(consumer::place_of(store.reader(), "crm").await.unwrap(), Some(place));
        // A place moves forward only.
        let earlier = Place { position: place.position - 1, ..place };
        assert!(!consumer::ack(store.writer(), "crm", earlier, app.clock.now()).await.unwrap());
        assert!(!consumer::ack(store.writer(), "crm", place, app.clock.now()).await.unwrap());
        prune(&app, keep(1_000_000, 1)).await;
        assert_eq!(floor(&app).await.position, place.position);
        // In the middle of a transaction it still needs all of it.
        let inside = Place { position: place.position + 5, n: 0, k: 0, ..place };
        assert!(consumer::ack(store.writer(), "crm", inside, app.clock.now()).await.unwrap());
        prune(&app, keep(1_000_000, 1)).await;
        assert_eq!(floor(&app).await.position, inside.position - 1);
        app.clock.advance(29 * DAY);
        assert_eq!(prune(&app, keep(1_000_000, 1)).await, 0);
        app.clock.advance(2 * DAY);
        prune(&app, keep(1_000_000, 1)).await;
        assert_eq!(floor(&app).await.position, begun.position - 1);
        consumer::reset(store.writer(), "crm", earlier, app.clock.now()).await.unwrap();
        assert_eq!(consumer::place_of(store.reader(), "crm").await.unwrap(), Some(earlier));
        consumer::forget(store.writer(), "crm").await.unwrap();
        assert_eq!(consumer::place_of(store.reader(), "crm").await.unwrap(), None);
        app.stop().await;
    }

    async fn a_reader_far_behind_reads_everything_once_and_fast(app: TestApp) {
        const COUNT: i64 = 30_000;
        fill(&app, 1).await;
        let begun = head(&app).await;
        let store = &app.server.services.store;
        let (id, json) = match store.is_postgres() {
            true => ("lpad(to_hex(i), 32, '0')::uuid", "::jsonb"),
            false => ("unhex(printf('%032x', i))", ""),
        };
        let numbers = format!("WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {COUNT})");
        tamper(&app, &format!(
            "{numbers} INSERT INTO change (tx_id, n, topic, op, entity_id, rev, occurred_at, changed)
             SELECT {id}, 0, 12, 2, {id}, i, 0, '{{\"city\": [\"Oslo\", \"Rome\"], \"email\": [null, \"ada@example.com\"]}}'{json} FROM s"
        )).await;
        tamper(&app, &format!(
            "{numbers} INSERT INTO change_tx (tx_id, ordinal, position, row_count, recorded_at, actor)
             SELECT {id}, {0} + i, {0} + i, 1, 0, 'cli' FROM s", begun.position
        )).await;
        tamper(&app, &format!("UPDATE lease SET value = {} WHERE name = 'stamper'", begun.position + COUNT)).await;
        let feed = &app.server.services.feed;
        let mut reader = tributary::feed::Reader::open(feed.clone(), begun, tributary::feed::Filter::default()).await.unwrap();
        let watch = std::time::Instant::now();
        let mut expected = 1;
        while expected <= COUNT {
            for entry in reader.next(100).await.unwrap().entries {
                assert_eq!(entry.body().rev, expected);
                expected += 1;
            }
        }
        let rate = f64::from(i32::try_from(COUNT).unwrap()) / watch.elapsed().as_secs_f64();
        println!("{rate:.0} changes a second");
        assert!(rate > 2_000.0, "a debug build on a busy machine does {rate}");
        app.stop().await;
    }

    async fn after_a_restore_older_cursors_say_so(app: TestApp) {
        fill(&app, 5).await;
        let feed = app.server.services.feed.clone();
        let place = head(&app).await;
        let cursor = feed.text(place);
        // As a restored copy has it: the newest transactions are not in it.
        let position = place.position;
        tamper(&app, &format!("DELETE FROM change WHERE tx_id IN (SELECT tx_id FROM change_tx WHERE position >= {})", position - 1)).await;
        tamper(&app, &format!("DELETE FROM change_tx WHERE position >= {}", position - 1)).await;
        tamper(&app, &format!("UPDATE lease SET value = {} WHERE name = 'stamper'", position - 2)).await;
        assert_eq!(refused(&app, &cursor).await.0, "CURSOR_EPOCH");
        // And then others get their positions.
        for n in 10..15 {
            write(&app.server.services.store, 2, n, false).await.unwrap();
        }
        settle(&app).await;
        assert!(head(&app).await.position > position);
        assert_eq!(refused(&app, &cursor).await.0, "CURSOR_EPOCH");
        let sound = Place { position: position - 2, ..place };
        assert_ne!(feed.check(sound).await.map_err(|error| error.to_string()), Ok(()), "of another transaction");
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stamper_whose_lease_was_taken_over_stamps_nothing() {
    let app = TestApp::new(Backend::Postgres).await;
    let store = app.server.services.store.clone();
    fill(&app, 5).await;
    let begun = head(&app).await;
    // The server's own gives its place up to nobody while its lease runs.
    let mut first = Stamper::new(store.clone(), "first".to_owned());
    let mut now = app.clock.now();
    assert_eq!((first.run_once(now).await.unwrap(), first.is_holder()), (0, false));
    // It went to sleep, with everything it believed.
    tamper(&app, "UPDATE lease SET until = 0 WHERE name = 'stamper'").await;
    first.run_once(now).await.unwrap();
    assert!(first.is_holder());
    let mut second = Stamper::new(store.clone(), "second".to_owned());
    second.run_once(now).await.unwrap();
    assert!(!second.is_holder());
    now = now.plus(Duration::from_secs(6));
    second.run_once(now).await.unwrap();
    assert!(second.is_holder());
    for n in 5..9 {
        write(&store, 1, n, false).await.unwrap();
    }
    let unstamped = "SELECT COUNT(*) FROM change_tx WHERE position IS NULL";
    assert_eq!(
        app.scalar(unstamped).await,
        4,
        "the server's own stamper has lost its lease, too"
    );
    assert_eq!((first.run_once(now).await.unwrap(), first.is_holder()), (0, false));
    assert_eq!(app.scalar(unstamped).await, 4);
    assert_eq!((second.run_once(now).await.unwrap(), second.is_holder()), (4, true));
    assert_eq!(head(&app).await.position, begun.position + 4);
    let gaps = "SELECT MAX(position) - COUNT(*) FROM change_tx";
    assert_eq!(app.scalar(gaps).await, 0);
    // Given back, the lease is had at once: by the server's own.
    second.stop().await;
    write(&store, 1, 9, false).await.unwrap();
    settle(&app).await;
    assert_eq!(head(&app).await.position, begun.position + 5);
    app.stop().await;
}
