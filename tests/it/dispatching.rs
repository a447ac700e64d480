//! Changes are handed over to whoever acts on them: once each, in order, whoever dies meanwhile.

use super::feed::{settle, tamper, write};
use super::support::app::eventually;
use super::support::{TestApp, on_both};
use entity::{ChangeOp, Topic};
use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait as _, DatabaseTransaction, Statement};
use serde_json::Map;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tributary::base::CustomerId;
use tributary::feed::{Change, Entry, Log, Place, Retention, Start, consumer, retention};
use tributary::pipeline::dispatch::{Dispatcher, Handler, NAME};
use tributary::store::StoreError;
use tributary::worker::Dispatching;
use uuid::Uuid;

/// Writes a row for each change, with what came before it, and fails on wish in the middle.
#[derive(Default)]
struct Named {
    /// Refuses the change with the revision 7.
    refuses: AtomicBool,
    panics: AtomicBool,
    /// Takes its time between two writes.
    is_slow: bool,
    /// Tells of each change of an account.
    tells: bool,
}

impl Handler for Named {
    fn take<'t>(
        &'t self,
        tx: &'t DatabaseTransaction,
        changes: &'t [Entry],
        log: &'t mut Log,
    ) -> BoxFuture<'t, Result<(), StoreError>> {
        Box::pin(async move {
            for entry in changes {
                let body = entry.body();
                if body.rev == 7 && self.refuses.load(Ordering::SeqCst) {
                    return Err(StoreError::Corrupt("on purpose".to_owned()));
                }
                assert!(body.rev != 7 || !self.panics.load(Ordering::SeqCst), "on purpose");
                let sql = "INSERT INTO effect (place, tx_id, n, rev) SELECT COALESCE(MAX(place), 0) + 1, $1, $2, $3 FROM effect";
                let values = [
                    entry.row.transaction.to_string().into(),
                    i64::from(entry.row.n).into(),
                    body.rev.into(),
                ];
                tx.execute_raw(Statement::from_sql_and_values(tx.get_database_backend(), sql, values))
                    .await?;
                if self.is_slow {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                if self.tells && body.topic == Topic::Account {
                    log.note(Change {
                        topic: Topic::JourneyEnrolment,
                        op: ChangeOp::Created,
                        entity: Uuid::from_u128(99),
                        record: None,
                        customer: Some(CustomerId(Uuid::from_u128(1))),
                        rev: 1000 + body.rev,
                        occurred_at: body.occurred_at,
                        changed: Map::new(),
                        events: Vec::new(),
                    });
                }
            }
            Ok(())
        })
    }
}

/// The table of the effects: none of a change twice.
async fn prepare(app: &TestApp) {
    tamper(
        app,
        "CREATE TABLE effect (place BIGINT NOT NULL, tx_id TEXT NOT NULL, n BIGINT NOT NULL, rev BIGINT NOT NULL, PRIMARY KEY (tx_id, n))",
    )
    .await;
}

fn dispatcher(app: &TestApp, handler: &Arc<Named>) -> Dispatcher {
    Dispatcher::new(&app.server.services).with(handler.clone()).taking(7)
}

async fn fill(app: &TestApp, revisions: std::ops::Range<i64>) {
    for n in revisions {
        write(&app.server.services.store, 1, n, false).await.unwrap();
    }
    settle(app).await;
}

/// The effects in their order.
async fn effects(app: &TestApp) -> Vec<(String, i64)> {
    listed(app, "SELECT tx_id, n FROM effect ORDER BY place").await
}

async fn listed(app: &TestApp, sql: &str) -> Vec<(String, i64)> {
    let store = &app.server.services.store;
    let rows = store
        .reader()
        .query_all_raw(Statement::from_string(store.backend(), sql))
        .await
        .unwrap();
    let text = |row: &sea_orm::QueryResult| {
        row.try_get_by_index::<String>(0)
            .unwrap_or_else(|_| row.try_get_by_index::<Uuid>(0).unwrap().to_string())
    };
    rows.iter().map(|row| (text(row), row.try_get_by_index(1).unwrap())).collect()
}

/// The log behind the place where the first dispatcher began.
async fn changes(app: &TestApp, behind: Place) -> Vec<(String, i64)> {
    let sql = format!(
        "SELECT c.tx_id, c.n FROM change c JOIN change_tx t ON t.tx_id = c.tx_id WHERE t.position > {} ORDER BY t.position, c.n",
        behind.position
    );
    listed(app, &sql).await
}

async fn place(app: &TestApp) -> Place {
    consumer::place_of(app.server.services.store.reader(), NAME)
        .await
        .unwrap()
        .unwrap()
}

/// Until there is nothing more, in this instance's view.
async fn hand_over(dispatcher: &mut Dispatcher, app: &TestApp) -> Result<(), StoreError> {
    while dispatcher.run_once(app.clock.now()).await? {}
    Ok(())
}

on_both! {
    async fn two_loops_at_once_that_lose_their_leases_hand_every_change_over_once_and_in_order(app: TestApp) {
        prepare(&app).await;
        let handler = Arc::new(Named::default());
        let services = app.server.services.clone();
        let mut first = dispatcher(&app, &handler);
        assert!(!first.run_once(app.clock.now()).await.unwrap());
        let begun = place(&app).await;
        first.stop().await;
        let loops: Vec<_> = (0..2).map(|_| Dispatching::start(services.clone(), dispatcher(&app, &handler)).unwrap()).collect();
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let store = services.store.clone();
                tokio::spawn(async move {
                    for n in 0..30 {
                        let _ = write(&store, writer, n, n % 10 == 3).await;
                    }
                })
            })
            .collect();
        for _ in 0..30 {
            // Longer than a lease: whoever looks first has it.
            app.clock.advance(Duration::from_secs(6));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for writer in writers {
            writer.await.unwrap();
        }
        eventually("all are handed over", || async { app.count("effect").await == 4 * 27 }).await;
        // One goes, and the other goes on at once.
        let mut loops = loops.into_iter();
        loops.next().unwrap().stop().await;
        fill(&app, 40..45).await;
        eventually("the other goes on", || async { app.count("effect").await == 4 * 27 + 5 }).await;
        loops.next().unwrap().stop().await;
        assert_eq!(effects(&app).await, changes(&app, begun).await);
        assert_eq!(app.scalar("SELECT COUNT(*) FROM lease WHERE name = 'dispatcher' AND until = 0").await, 1, "given back");
        app.stop().await;
    }

    async fn whoever_is_killed_between_two_writes_loses_nothing_and_does_nothing_twice(app: TestApp) {
        prepare(&app).await;
        let handler = Arc::new(Named { is_slow: true, ..Named::default() });
        hand_over(&mut dispatcher(&app, &handler), &app).await.unwrap();
        let begun = place(&app).await;
        app.clock.advance(Duration::from_secs(6));
        fill(&app, 0..60).await;
        let mut killed = 0;
        for n in 0..200_u64 {
            let (mut dispatcher, now) = (dispatcher(&app, &handler), app.clock.now());
            let task = tokio::spawn(async move { while dispatcher.run_once(now).await.unwrap() {} });
            tokio::time::sleep(Duration::from_millis(5 + n * 7 % 60)).await;
            if task.is_finished() {
                break;
            }
            task.abort();
            killed += u32::from(task.await.is_err());
            app.clock.advance(Duration::from_secs(6));
        }
        println!("killed {killed} times");
        assert!(killed > 2);
        hand_over(&mut dispatcher(&app, &handler), &app).await.unwrap();
        app.clock.advance(Duration::from_secs(6));
        hand_over(&mut dispatcher(&app, &handler), &app).await.unwrap();
        assert_eq!(effects(&app).await, changes(&app, begun).await);
        assert_eq!(app.count("effect").await, 60);
        app.stop().await;
    }

    async fn a_change_that_is_refused_is_tried_again_later_and_never_passed_over(app: TestApp) {
        prepare(&app).await;
        let handler = Arc::new(Named::default());
        let mut dispatcher = dispatcher(&app, &handler);
        hand_over(&mut dispatcher, &app).await.unwrap();
        let begun = place(&app).await;
        fill(&app, 1..20).await;
        handler.refuses.store(true, Ordering::SeqCst);
        assert!(dispatcher.run_once(app.clock.now()).await.is_err());
        assert_eq!((app.count("effect").await, place(&app).await), (0, begun), "nothing of the batch");
        // Not at once: after half a second, then after one.
        for pause in [500, 1000] {
            app.clock.advance(Duration::from_millis(pause - 1));
            assert!(!dispatcher.run_once(app.clock.now()).await.unwrap(), "{pause}");
            app.clock.advance(Duration::from_millis(1));
            assert!(dispatcher.run_once(app.clock.now()).await.is_err(), "{pause}");
        }
        // A panic is a refusal.
        handler.refuses.store(false, Ordering::SeqCst);
        handler.panics.store(true, Ordering::SeqCst);
        app.clock.advance(Duration::from_secs(2));
        assert!(dispatcher.run_once(app.clock.now()).await.is_err());
        assert_eq!(app.count("effect").await, 0);
        handler.panics.store(false, Ordering::SeqCst);
        app.clock.advance(Duration::from_secs(4));
        hand_over(&mut dispatcher, &app).await.unwrap();
        assert_eq!(effects(&app).await, changes(&app, begun).await);
        assert_eq!(app.count("effect").await, 19);
        app.stop().await;
    }

    async fn what_a_handler_tells_is_in_the_log_with_what_it_did(app: TestApp) {
        prepare(&app).await;
        let handler = Arc::new(Named { tells: true, ..Named::default() });
        let mut dispatcher = dispatcher(&app, &handler);
        hand_over(&mut dispatcher, &app).await.unwrap();
        let begun = place(&app).await;
        fill(&app, 0..10).await;
        // What it tells comes back to it, behind what it tells of; on PostgreSQL when it has its position.
        for _ in 0..100 {
            hand_over(&mut dispatcher, &app).await.unwrap();
            if app.count("effect").await == 20 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(effects(&app).await, changes(&app, begun).await);
        let told = "SELECT COUNT(*) FROM change c JOIN change_tx t ON t.tx_id = c.tx_id WHERE t.actor = 'dispatcher' AND c.rev >= 1000";
        assert_eq!((app.scalar(told).await, app.count("effect").await), (10, 20));
        app.stop().await;
    }

    async fn when_the_log_was_cut_or_restored_it_begins_anew_with_what_is_kept(app: TestApp) {
        prepare(&app).await;
        let services = app.server.services.clone();
        let handler = Arc::new(Named::default());
        let mut dispatcher = dispatcher(&app, &handler);
        hand_over(&mut dispatcher, &app).await.unwrap();
        fill(&app, 0..5).await;
        hand_over(&mut dispatcher, &app).await.unwrap();
        assert_eq!(app.count("effect").await, 5);
        dispatcher.stop().await;
        // Nobody handed anything over for longer than the log is held for a named reader.
        fill(&app, 10..20).await;
        app.clock.advance(Duration::from_secs(31 * 86_400));
        let keep = Retention { age: Duration::from_secs(365 * 86_400), rows: 4 };
        assert!(retention::prune(&services.feed, "test", services.now(), keep).await.unwrap() > 0);
        let floor = services.feed.place_of(Start::FromBeginning).await.unwrap();
        assert!(place(&app).await.position < floor.position);
        let mut dispatcher = self::dispatcher(&app, &handler);
        hand_over(&mut dispatcher, &app).await.unwrap();
        let kept = changes(&app, floor).await;
        assert_eq!(kept.len(), 4);
        assert_eq!(effects(&app).await[5..], kept);
        // A restored log, in which another transaction has its place.
        dispatcher.stop().await;
        tamper(&app, "DELETE FROM effect").await;
        tamper(&app, "UPDATE consumer SET tag = (tag + 1) % 4294967296 WHERE name = 'dispatcher'").await;
        let mut dispatcher = self::dispatcher(&app, &handler);
        hand_over(&mut dispatcher, &app).await.unwrap();
        assert_eq!(effects(&app).await, kept);
        let page = app.http.get(format!("{}/metrics", app.base)).send().await.unwrap().text().await.unwrap();
        for expected in [r#"tributary_dispatcher_resets_total{reason="expired"}"#, r#"tributary_dispatcher_resets_total{reason="epoch"}"#, "tributary_dispatcher_lag_seconds"] {
            assert!(page.contains(expected), "{expected}");
        }
        app.stop().await;
    }

    async fn where_nobody_acts_on_changes_nothing_runs(app: TestApp) {
        let services = app.server.services.clone();
        fill(&app, 0..3).await;
        assert!(Dispatching::start(services.clone(), Dispatcher::new(&services)).is_none());
        let before = services.store.statement_count();
        assert!(!Dispatcher::new(&services).run_once(app.clock.now()).await.unwrap());
        assert_eq!(services.store.statement_count(), before);
        assert_eq!(app.scalar("SELECT COUNT(*) FROM consumer").await + app.scalar("SELECT COUNT(*) FROM lease WHERE name = 'dispatcher'").await, 0);
        app.stop().await;
    }
}
