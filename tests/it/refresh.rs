//! Whoever is due is looked at again: no mark is lost, nobody is looked at by two at once, and what time did meanwhile is told with its
//! true instants.

use super::support::app::eventually;
use super::support::{TestApp, on_both};
use entity::{ChangeOp, DueClass, Topic};
use futures_util::future::BoxFuture;
use sea_orm::{ActiveEnum as _, ConnectionTrait as _, DatabaseTransaction, Statement};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tributary::access::Actor;
use tributary::base::{CustomerId, Instant, RecordId};
use tributary::due::{self, Mark};
use tributary::due::{Judged, Measure, catch_up};
use tributary::feed::{Change, Log};
use tributary::pipeline::mend::{self, Decision, Doer};
use tributary::pipeline::refresh::{self, Batch, Nexts, Refresher, View};
use tributary::store::StoreError;
use tributary::worker::Refreshing;
use uuid::Uuid;

const DAY: Duration = Duration::from_secs(24 * 3600);
const LEASE: Duration = Duration::from_secs(30);

fn order(user: &str, order: &str, revenue: i64) -> Value {
    json!({"type": "track", "event": "Order Completed", "userId": user, "messageId": format!("{user}-{order}-{revenue}"),
        "timestamp": "2026-05-01T00:00:00Z", "properties": {"order_id": order, "revenue": revenue, "currency": "EUR"}})
}

fn record(app: &TestApp, user: &str) -> RecordId {
    let keys = app.server.services.store.hash_key();
    keys.record(keys.source("web"), &format!("u:{user}"))
}

async fn execute(app: &TestApp, sql: &str) {
    let store = &app.server.services.store;
    store.writer().execute_unprepared(sql).await.expect(sql);
}

/// The rows of a statement as JSON texts of their first column.
async fn texts(app: &TestApp, sql: &str) -> Vec<String> {
    let store = &app.server.services.store;
    let rows = store
        .reader()
        .query_all_raw(Statement::from_string(store.backend(), sql))
        .await
        .expect(sql);
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

/// Net revenue of everybody who bought something, by the customer's id.
async fn stored(app: &TestApp) -> BTreeMap<CustomerId, (i64, String)> {
    let store = &app.server.services.store;
    let rows = tributary::value::store::values_after(store.reader(), None).await.unwrap();
    rows.into_iter()
        .map(|row| {
            (
                CustomerId(row.customer_id),
                (
                    row.purchase_count,
                    row.totals["EUR"]["net"].as_str().unwrap_or("-").to_owned(),
                ),
            )
        })
        .collect()
}

/// What the log says of facts, in order: operation, instant, what changed, cause. Stages of the life cycle are left out.
async fn told(app: &TestApp) -> Vec<(ChangeOp, i64, Value, String)> {
    use entity::change;
    let store = &app.server.services.store;
    let sql = format!(
        "SELECT c.* FROM change c JOIN change_tx t ON t.tx_id = c.tx_id WHERE c.topic = {} ORDER BY t.ordinal, c.n",
        Topic::Metric.to_value()
    );
    use sea_orm::FromQueryResult as _;
    let rows = change::Model::find_by_statement(Statement::from_string(store.backend(), sql))
        .all(store.reader())
        .await
        .unwrap();
    rows.into_iter()
        .filter(|row| row.changed.as_ref().is_none_or(|changed| changed.get("lifecycle").is_none()))
        .map(|row| {
            (
                row.op,
                row.occurred_at,
                row.changed.unwrap_or_default(),
                row.cause.unwrap_or_default(),
            )
        })
        .collect()
}

async fn decide(app: &TestApp, decision: Decision) {
    app.clock.advance(Duration::from_secs(1));
    let doer = Doer {
        actor: Actor::new("test"),
        reason: "because".to_owned(),
    };
    mend::decide(&app.server.services, &doer, &decision).await.expect("decided");
}

async fn claim(app: &TestApp, limit: usize) -> Vec<due::Claim> {
    let store = &app.server.services.store;
    due::claim(store.writer(), DueClass::Live, app.clock.now(), LEASE, limit)
        .await
        .unwrap()
}

/// A view that says what it is asked about, and may be stopped in the middle.
#[derive(Default)]
struct Watching {
    seen: Mutex<Vec<CustomerId>>,
    is_gated: AtomicBool,
    reached: Notify,
    open: Notify,
    /// Whom it cannot look at.
    poison: Mutex<BTreeSet<CustomerId>>,
    panics: AtomicBool,
}

impl View for Watching {
    fn refresh<'t>(
        &'t self,
        _: &'t DatabaseTransaction,
        batch: &'t Batch,
        _: &'t mut Log,
    ) -> BoxFuture<'t, Result<Nexts, StoreError>> {
        Box::pin(async move {
            let poisoned = self.poison.lock().unwrap().clone();
            if batch.standing.iter().any(|due| poisoned.contains(&due.customer)) {
                assert!(!self.panics.load(Ordering::SeqCst), "a view that panics");
                return Err(StoreError::Corrupt("poison".to_owned()));
            }
            if self.is_gated.swap(false, Ordering::SeqCst) {
                self.reached.notify_one();
                self.open.notified().await;
            }
            self.seen
                .lock()
                .unwrap()
                .extend(batch.standing.iter().map(|due| due.customer));
            Ok(Nexts::new())
        })
    }
}

fn watched(app: &TestApp) -> (Arc<Watching>, Refresher) {
    let view = Arc::new(Watching::default());
    (view.clone(), Refresher::new(&app.server.services).with(view))
}

/// Whether a customer bought within the last ten days: it changes by itself, and by orders that are told late.
struct Active;

impl Measure for Active {
    type Facts = [Instant];
    type Value = bool;

    fn evaluate(&self, bought: &[Instant], at: Instant) -> Judged<bool> {
        let last = bought.iter().filter(|when| **when <= at).max();
        let ends = last.map(|last| last.plus(DAY * 10)).filter(|end| *end > at);
        let later = bought.iter().copied().filter(|when| *when > at);
        Judged {
            value: ends.is_some(),
            next: later.chain(ends).min(),
        }
    }
}

/// Keeps the measure in a table of the test's own.
struct Activity;

impl View for Activity {
    fn refresh<'t>(
        &'t self,
        tx: &'t DatabaseTransaction,
        batch: &'t Batch,
        log: &'t mut Log,
    ) -> BoxFuture<'t, Result<Nexts, StoreError>> {
        Box::pin(async move {
            let mut nexts = Nexts::new();
            let backend = tx.get_database_backend();
            for due in &batch.standing {
                let own = [due.customer.0.into()];
                let sql = "SELECT p.occurred_at FROM purchase p JOIN record r ON r.id = p.record_id WHERE r.customer_id = $1";
                let rows = tx
                    .query_all_raw(Statement::from_sql_and_values(backend, sql, own.clone()))
                    .await?;
                let bought: Vec<Instant> = rows
                    .iter()
                    .map(|row| Instant::from_micros(row.try_get_by_index(0).unwrap()))
                    .collect();
                let sql = "SELECT 1 FROM test_active WHERE id = $1";
                let was = tx
                    .query_one_raw(Statement::from_sql_and_values(backend, sql, own.clone()))
                    .await?
                    .is_some();
                let caught_up = catch_up(&Active, &bought, &was, due.due_at, batch.now).unwrap();
                for (at, is) in &caught_up.changes {
                    let changed = Map::from_iter([("active".to_owned(), json!([!is, is]))]);
                    let change = Change {
                        topic: Topic::Metric,
                        op: ChangeOp::Updated,
                        entity: due.customer.0,
                        record: None,
                        customer: Some(due.customer),
                        rev: 1,
                        occurred_at: *at,
                        changed,
                        events: Vec::new(),
                    };
                    log.note_because(change, due.cause());
                    let sql = if *is {
                        "INSERT INTO test_active VALUES ($1)"
                    } else {
                        "DELETE FROM test_active WHERE id = $1"
                    };
                    tx.execute_raw(Statement::from_sql_and_values(backend, sql, own.clone()))
                        .await?;
                }
                nexts.extend(caught_up.next.map(|next| (due.customer, next)));
            }
            Ok(nexts)
        })
    }
}

fn at(text: &str) -> i64 {
    Instant::parse(text).unwrap().micros()
}

on_both! {
    async fn what_a_customer_bought_is_kept_and_every_difference_told(app: TestApp) {
        let key = app.source("web", "WEB").await;
        app.batch(&key, json!([order("ada", "1", 100), order("ada", "2", 20), {"type": "identify", "userId": "bob", "messageId": "b"}])).await;
        assert_eq!(app.marked().await, 1, "who buys is due, once, and nobody else is");
        assert_eq!(app.count("customer_value").await, 0);
        app.clock.advance(DAY);
        app.run_due_refresh().await;
        let ada = CustomerId(record(&app, "ada").0);
        assert_eq!(stored(&app).await, BTreeMap::from([(ada, (2, "12000".to_owned()))]));
        assert_eq!((app.marked().await, told(&app).await.len()), (0, 1));
        let (op, occurred_at, changed, cause) = told(&app).await.remove(0);
        assert_eq!((op, occurred_at), (ChangeOp::Created, at("2026-06-01T12:00:00Z")), "when it was told, and not when somebody looked");
        assert!(cause.starts_with("transaction:"), "{cause}");
        assert_eq!(changed, json!({"purchaseCount": [0, 2], "firstPurchaseAt": [null, "2026-05-01T00:00:00Z"],
            "lastPurchaseAt": [null, "2026-05-01T00:00:00Z"], "netRevenueMinor": [{}, {"EUR": "12000"}], "refundsMinor": [{}, {"EUR": "0"}],
            "reportingCurrency": [null, "EUR"], "reportingNetMinor": [null, "12000"], "reportingRefundsMinor": [null, "0"], "purchaseDays": [0, 1]}));
        let refund = json!([{"type": "track", "event": "Order Refunded", "userId": "ada", "messageId": "r", "properties": {"order_id": "1", "total": 30}}]);
        app.batch(&key, refund.clone()).await;
        app.run_due_refresh().await;
        assert_eq!(told(&app).await[1].2, json!({"netRevenueMinor": [{"EUR": "12000"}, {"EUR": "9000"}], "refundsMinor": [{"EUR": "0"}, {"EUR": "3000"}],
            "reportingNetMinor": ["12000", "9000"], "reportingRefundsMinor": ["0", "3000"]}));
        app.batch(&key, refund).await;
        assert_eq!(app.marked().await, 0, "what was told before concerns nobody");
        app.stop().await;
    }

    async fn a_busy_customer_costs_one_row_and_one_look(app: TestApp) {
        let key = app.source("web", "WEB").await;
        for n in 0..5 {
            app.batch(&key, json!([order("ada", &n.to_string(), 1)])).await;
            app.clock.advance(Duration::from_secs(1));
        }
        async fn first_mark(app: &TestApp) -> Uuid {
            let store = &app.server.services.store;
            let row = store.reader().query_one_raw(Statement::from_string(store.backend(), "SELECT mark FROM due")).await.unwrap().unwrap();
            row.try_get_by_index(0).unwrap()
        }
        let first = first_mark(&app).await;
        app.batch(&key, json!([order("ada", "9", 1)])).await;
        assert_eq!(first_mark(&app).await, first, "whoever is due already is not written again");
        assert_eq!(app.scalar("SELECT due_at FROM due").await, at("2026-06-01T12:00:00Z"));
        let (view, refresher) = watched(&app);
        app.run_due_refresh_of(&refresher).await;
        assert_eq!(view.seen.lock().unwrap().len(), 1);
        app.stop().await;
    }

    async fn a_merge_takes_the_absorbed_facts_along_and_a_split_brings_them_back(app: TestApp) {
        let key = app.source("web", "WEB").await;
        app.batch(&key, json!([order("ada", "1", 100), order("eva", "2", 20), {"type": "identify", "userId": "bob", "messageId": "b"}])).await;
        app.run_due_refresh().await;
        let (ada, eva, bob) = (CustomerId(record(&app, "ada").0), CustomerId(record(&app, "eva").0), CustomerId(record(&app, "bob").0));
        // Marked, and merged before somebody comes: the row carries an old id.
        app.batch(&key, json!([order("eva", "3", 5)])).await;
        decide(&app, Decision::Merge { into: ada, from: eva }).await;
        app.run_due_refresh().await;
        assert_eq!(stored(&app).await, BTreeMap::from([(ada, (3, "12500".to_owned()))]));
        let last: Vec<_> = told(&app).await.into_iter().skip(2).map(|(op, _, changed, _)| (op, changed["purchaseCount"].clone())).collect();
        assert_eq!(last, [(ChangeOp::Updated, json!([1, 3])), (ChangeOp::Deleted, json!([1, 0]))]);
        decide(&app, Decision::Merge { into: ada, from: bob }).await;
        assert_eq!(app.marked().await, 0, "who bought nothing brings nothing");
        // Marked under the one id, split before somebody comes.
        app.batch(&key, json!([order("eva", "4", 1)])).await;
        decide(&app, Decision::Split { customer: ada, records: vec![record(&app, "eva")] }).await;
        app.run_due_refresh().await;
        assert_eq!(stored(&app).await, BTreeMap::from([(ada, (1, "10000".to_owned())), (eva, (3, "2600".to_owned()))]));
        assert_eq!(app.marked().await, 0);
        app.stop().await;
    }

    async fn a_merge_and_a_split_while_somebody_holds_the_claim_lose_nothing(app: TestApp) {
        let key = app.source("web", "WEB").await;
        app.batch(&key, json!([order("ada", "1", 100), order("eva", "2", 20)])).await;
        let (ada, eva) = (CustomerId(record(&app, "ada").0), CustomerId(record(&app, "eva").0));
        let claims = claim(&app, 10).await;
        assert_eq!(claims.len(), 2);
        decide(&app, Decision::Merge { into: ada, from: eva }).await;
        // The holder dies. Its claims are taken over when the lease has run out, and not before.
        let (view, refresher) = watched(&app);
        app.run_due_refresh_of(&refresher).await;
        assert!(view.seen.lock().unwrap().is_empty());
        app.clock.advance(LEASE);
        app.run_due_refresh_of(&refresher).await;
        assert_eq!(*view.seen.lock().unwrap(), [ada]);
        assert_eq!(stored(&app).await, BTreeMap::from([(ada, (2, "12000".to_owned()))]));
        // The dead one comes back: its claims are nobody's.
        let held = due::held(app.server.services.store.reader(), &claims).await.unwrap();
        assert_eq!(held, []);
        app.stop().await;
    }

    async fn a_message_that_arrives_during_a_refresh_is_looked_at_too(app: TestApp) {
        let key = app.source("web", "WEB").await;
        app.batch(&key, json!([order("ada", "1", 100)])).await;
        let ada = CustomerId(record(&app, "ada").0);
        let store = app.server.services.store.clone();
        // Claimed, and then marked: the mark that was read is another by then, or the row stays.
        let claims = claim(&app, 10).await;
        app.batch(&key, json!([order("ada", "2", 20)])).await;
        let held = due::held(store.reader(), &claims).await.unwrap();
        app.clock.advance(Duration::from_secs(1));
        app.batch(&key, json!([order("ada", "3", 3)])).await;
        let finished = store.transact(|tx, _| {
            let (held, now) = (held.clone(), app.clock.now());
            Box::pin(async move { due::finish(tx, &[(held[0], None)], now).await })
        });
        assert_eq!(finished.await.unwrap(), 1, "the claim stood");
        assert_eq!(app.scalar("SELECT COUNT(*) FROM due WHERE claimed_until IS NULL").await, 1, "and the customer is due all the same");
        assert!(!refresh::are_settled(&store, &[ada].into()).await.unwrap());
        app.run_due_refresh().await;
        assert!(refresh::are_settled(&store, &[ada].into()).await.unwrap());
        assert_eq!(stored(&app).await, BTreeMap::from([(ada, (3, "12300".to_owned()))]));
        app.stop().await;
    }

    async fn marks_and_refreshes_at_once_leave_nobody_behind(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let services = app.server.services.clone();
        let loops: Vec<_> = (0..2).map(|_| Refreshing::start(services.clone(), Refresher::new(&services).taking(3))).collect();
        let mut senders = Vec::new();
        let app = Arc::new(app);
        for sender in 0..4 {
            let (app, key) = (app.clone(), key.clone());
            senders.push(tokio::spawn(async move {
                for n in 0..15 {
                    app.batch(&key, json!([order(&format!("u{}", (sender + n) % 5), &format!("{sender}-{n}"), 1)])).await;
                }
            }));
        }
        for sender in senders {
            sender.await.unwrap();
        }
        eventually("nobody is due", || async { app.marked().await == 0 }).await;
        for refreshing in loops {
            refreshing.stop().await;
        }
        let sum: i64 = stored(&app).await.values().map(|(count, _)| count).sum();
        assert_eq!(sum, 60);
        // Every difference was told, and the last one of each is what is stored.
        let mut counts: BTreeMap<i64, i64> = BTreeMap::new();
        for (_, _, changed, _) in told(&app).await {
            *counts.entry(0).or_default() += changed["purchaseCount"][1].as_i64().unwrap() - changed["purchaseCount"][0].as_i64().unwrap();
        }
        assert_eq!(counts[&0], 60);
        Arc::into_inner(app).unwrap().stop().await;
    }

    async fn two_workers_share_the_customers_and_each_is_looked_at_once(app: TestApp) {
        let key = app.source("web", "WEB").await;
        app.batch(&key, json!((0..40).map(|n| order(&format!("u{n}"), "1", n)).collect::<Vec<_>>())).await;
        let (view, refresher) = watched(&app);
        let refresher = refresher.taking(4);
        let now = app.clock.now();
        let worker = |refresher: Refresher| tokio::spawn(async move { while refresher.run_once(now).await.unwrap() > 0 {} });
        for worker in [worker(refresher.clone()), worker(refresher)] {
            worker.await.unwrap();
        }
        let seen = std::mem::take(&mut *view.seen.lock().unwrap());
        assert_eq!((seen.len(), seen.iter().collect::<BTreeSet<_>>().len()), (40, 40));
        assert_eq!((app.marked().await, app.count("customer_value").await), (0, 40));
        app.stop().await;
    }

    async fn a_batch_takes_a_constant_number_of_statements(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let store = app.server.services.store.clone();
        let mut costs = Vec::new();
        // The first time the reporting currency is settled.
        for count in [2, 1, 60] {
            app.batch(&key, json!((0..count).map(|n| order(&format!("u{count}-{n}"), "1", 1)).collect::<Vec<_>>())).await;
            let before = store.statement_count();
            assert_eq!(Refresher::new(&app.server.services).run_once(app.clock.now()).await.unwrap(), count);
            costs.push(store.statement_count() - before);
        }
        // Who is due, two claims; whose they are, the locks, whose they are now, the marks; what they did by day, their orders, what those
        // held; the facts stored, and written; the models in force; the metrics stored, and begun; done; the changes and the transaction.
        assert_eq!(costs[1..], [18, 18]);
        app.stop().await;
    }

    async fn live_goes_first_and_bulk_is_taken_with_what_room_is_left(app: TestApp) {
        let key = app.source("web", "WEB").await;
        app.batch(&key, json!([order("a", "1", 1), order("b", "1", 1), order("c", "1", 1)])).await;
        execute(&app, "UPDATE due SET class = 2, due_at = due_at - 5").await;
        app.batch(&key, json!([order("d", "1", 1)])).await;
        let (view, refresher) = watched(&app);
        let refresher = refresher.taking(1);
        refresher.run_once(app.clock.now()).await.unwrap();
        assert_eq!(*view.seen.lock().unwrap(), [CustomerId(record(&app, "d").0)]);
        app.run_due_refresh_of(&refresher).await;
        assert_eq!(view.seen.lock().unwrap().len(), 4);
        // A LIVE mark raises a BULK row.
        let store = app.server.services.store.clone();
        let now = app.clock.now();
        for class in [DueClass::Bulk, DueClass::Live, DueClass::Bulk] {
            store.transact(|tx, _| Box::pin(async move {
                due::mark(tx, &[CustomerId(Uuid::nil())].into(), Mark { by: Uuid::from_u128(7), at: now, class }).await
            })).await.unwrap();
        }
        assert_eq!(app.scalar("SELECT COUNT(*) FROM due WHERE class = 1").await, 1);
        app.stop().await;
    }

    async fn an_interval_that_opened_and_closed_while_nobody_looked_has_its_true_instants(app: TestApp) {
        execute(&app, if app.server.services.store.is_postgres() { "CREATE TABLE test_active (id uuid)" } else { "CREATE TABLE test_active (id BLOB)" }).await;
        let key = app.source("web", "WEB").await;
        let refresher = Refresher::new(&app.server.services).with(Arc::new(Activity));
        let bought = |order: &str, day: &str| json!([{"type": "track", "event": "Order Completed", "userId": "ada", "messageId": order,
            "timestamp": format!("{day}T00:00:00Z"), "properties": {"order_id": order, "revenue": 1, "currency": "EUR"}}]);
        app.batch(&key, bought("1", "2026-06-01")).await;
        app.run_due_refresh_of(&refresher).await;
        assert_eq!(app.scalar("SELECT due_at FROM due").await, at("2026-06-11T00:00:00Z"), "due again when it may end by itself");
        // Nobody looks for a hundred days. Meanwhile it ended, began again and ended.
        app.clock.advance(DAY * 20);
        app.batch(&key, bought("2", "2026-06-20")).await;
        app.clock.advance(DAY * 80);
        app.run_due_refresh_of(&refresher).await;
        let active: Vec<(i64, bool, bool)> = told(&app).await.into_iter().filter(|(_, _, changed, _)| changed.get("active").is_some())
            .map(|(_, when, changed, cause)| (when, changed["active"][1].as_bool().unwrap(), cause == "time")).collect();
        assert_eq!(active, [
            (at("2026-06-01T12:00:00Z"), true, false),
            (at("2026-06-11T00:00:00Z"), false, false),
            (at("2026-06-20T00:00:00Z"), true, false),
            (at("2026-06-30T00:00:00Z"), false, false),
        ]);
        let counted: Vec<i64> = told(&app).await.into_iter().filter(|(_, _, changed, _)| changed.get("purchaseCount").is_some()).map(|(_, when, ..)| when).collect();
        assert_eq!(counted, [at("2026-06-01T12:00:00Z"), at("2026-06-21T12:00:00Z")], "what time does not change has the instant at which it was told");
        assert_eq!(app.marked().await, 0);
        // By time alone.
        app.batch(&key, bought("3", "2026-09-09")).await;
        app.run_due_refresh_of(&refresher).await;
        app.clock.advance(DAY * 30);
        app.run_due_refresh_of(&refresher).await;
        let last = told(&app).await.pop().unwrap();
        assert_eq!((last.1, last.3.as_str()), (at("2026-09-19T00:00:00Z"), "time"));
        app.stop().await;
    }

    async fn a_customer_whose_refresh_fails_is_taken_out_alone_and_driven_again_by_hand(app: TestApp) {
        let key = app.source("web", "WEB").await;
        app.batch(&key, json!((0..20).map(|n| order(&format!("u{n}"), "1", 1)).collect::<Vec<_>>())).await;
        let (view, refresher) = watched(&app);
        let poison = CustomerId(record(&app, "u7").0);
        view.poison.lock().unwrap().insert(poison);
        app.run_due_refresh_of(&refresher).await;
        let seen = view.seen.lock().unwrap().len();
        assert_eq!((seen, app.count("customer_value").await), (19, 19), "the others go on");
        const FAILURES: &str = "{ refreshFailures(first: 5) { totalCount nodes { customerId customer { id } error attempts since dueSince } } }";
        for pause in [5, 20, 80, 320] {
            assert_eq!(app.ask(FAILURES).await["refreshFailures"]["totalCount"], 0, "it is tried again");
            assert_eq!(texts(&app, "SELECT error FROM due WHERE error IS NOT NULL").await.len(), 1);
            app.run_due_refresh_of(&refresher).await;
            view.panics.store(pause == 320, Ordering::SeqCst);
            app.clock.advance(Duration::from_secs(pause));
            app.run_due_refresh_of(&refresher).await;
        }
        assert_eq!(app.scalar("SELECT MAX(attempts) FROM due").await, 5);
        app.clock.advance(DAY);
        app.batch(&key, json!([order("u7", "2", 1)])).await;
        app.run_due_refresh_of(&refresher).await;
        assert_eq!(app.scalar("SELECT MAX(attempts) FROM due").await, 5, "given up");
        app.batch(&key, json!([order("u3", "2", 1), order("u4", "2", 1)])).await;
        claim(&app, 1).await;
        app.clock.advance(Duration::from_secs(7));
        let backlog = due::backlog(app.server.services.store.reader(), app.clock.now()).await.unwrap();
        assert_eq!((backlog.due, backlog.claimed, backlog.quarantined), (1, 1, 1));
        assert_eq!(backlog.oldest_live, Some(app.clock.now().minus(Duration::from_secs(7))));
        refresher.report(app.clock.now()).await.unwrap();
        app.clock.advance(LEASE);
        app.run_due_refresh_of(&refresher).await;
        let failures = app.ask(FAILURES).await["refreshFailures"].clone();
        assert_eq!(failures["totalCount"], 1);
        let failure = &failures["nodes"][0];
        assert_eq!(failure["customerId"], failure["customer"]["id"]);
        assert_eq!((&failure["attempts"], &failure["dueSince"]), (&json!(5), &json!("2026-06-01T12:00:00Z")));
        assert_eq!(failure["error"], "a view panicked; the server's log knows more");
        assert!(refresh::are_settled(&app.server.services.store, &[poison].into()).await.unwrap(), "nobody waits for who was given up");

        view.poison.lock().unwrap().clear();
        const RETRY: &str = "mutation($id: ID!) { customerRefreshRetry(input: {id: $id}) { customer { id } transaction userErrors { code field } } }";
        let driven = app.ask_with(RETRY, json!({"id": failure["customerId"]})).await["customerRefreshRetry"].clone();
        assert_eq!((&driven["customer"]["id"], &driven["userErrors"]), (&failure["customerId"], &json!([])));
        assert!(driven["transaction"].is_string());
        app.run_due_refresh_of(&refresher).await;
        assert_eq!((app.marked().await, app.count("customer_value").await), (0, 20));
        let again = app.ask_with(RETRY, json!({"id": failure["customerId"]})).await["customerRefreshRetry"].clone();
        assert_eq!(again, json!({"customer": null, "transaction": null, "userErrors": [{"code": "NOT_FOUND", "field": ["input", "id"]}]}));
        app.stop().await;
    }

    async fn a_source_that_is_trusted_otherwise_makes_its_buyers_due(app: TestApp) {
        let (web, books) = (app.source("web", "WEB").await, app.source("books", "CRM").await);
        let with_email = |mut message: Value, revenue: i64| {
            message["context"] = json!({"traits": {"email": "ada@example.com"}});
            message["properties"]["revenue"] = revenue.into();
            message
        };
        app.batch(&web, json!([with_email(order("ada", "1", 1), 100), order("bob", "2", 7)])).await;
        // An account would be another person's.
        let mut visitor = with_email(order("ada-9", "1", 1), 95);
        visitor["anonymousId"] = visitor.as_object_mut().unwrap().remove("userId").unwrap();
        app.batch(&books, json!([visitor])).await;
        app.run_due_refresh().await;
        let net = |facts: BTreeMap<CustomerId, (i64, String)>| facts.into_values().map(|(_, net)| net).collect::<BTreeSet<_>>();
        let before = net(stored(&app).await);
        assert_eq!(before.len(), 2);
        let sources = app.ask("{ sources { nodes { id key } } }").await;
        let trust = async |key: &str| {
            let source = sources["sources"]["nodes"].as_array().unwrap().iter().find(|node| node["key"] == key).unwrap();
            app.ask_with("mutation($id: ID!) { sourceUpdate(input: {id: $id, trust: 90}) { userErrors { message } } }", json!({"id": source["id"]})).await;
        };
        let changed_by = if before.contains("10000") { "books" } else { "web" };
        trust(changed_by).await;
        app.run_due_jobs().await;
        let due = if changed_by == "books" { 1 } else { 2 };
        assert_eq!(app.scalar("SELECT COUNT(*) FROM due WHERE class = 2 AND marked_at IS NOT NULL").await, due);
        app.clock.advance(Duration::from_secs(2));
        app.run_due_refresh().await;
        assert_ne!(net(stored(&app).await), before);
        trust(changed_by).await;
        assert_eq!(app.scalar("SELECT COUNT(*) FROM job").await, 1, "the same trust again changes nothing");
        app.stop().await;
    }

    async fn a_transaction_is_settled_when_its_customers_have_been_looked_at(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let services = app.server.services.clone();
        app.batch(&key, json!([order("ada", "1", 1)])).await;
        let sql = "SELECT tx_id FROM change_tx ORDER BY ordinal DESC LIMIT 1";
        let row = services.store.reader().query_one_raw(Statement::from_string(services.store.backend(), sql)).await.unwrap().unwrap();
        let transaction: Uuid = row.try_get_by_index(0).unwrap();
        assert!(!refresh::is_settled(&services.store, transaction).await.unwrap());
        // Also when the customer has another id by then.
        app.batch(&key, json!([order("eva", "2", 1)])).await;
        decide(&app, Decision::Merge { into: CustomerId(record(&app, "eva").0), from: CustomerId(record(&app, "ada").0) }).await;
        assert!(!refresh::is_settled(&services.store, transaction).await.unwrap());
        app.run_due_refresh().await;
        assert!(refresh::is_settled(&services.store, transaction).await.unwrap());
        assert!(refresh::is_settled(&services.store, Uuid::from_u128(1)).await.unwrap(), "who is unknown changed nobody");
        app.stop().await;
    }

    async fn an_erased_person_leaves_no_facts_and_no_mark(app: TestApp) {
        let key = app.source("web", "WEB").await;
        app.batch(&key, json!([order("ada", "1", 1), order("eva", "2", 2)])).await;
        app.run_due_refresh().await;
        app.batch(&key, json!([order("ada", "3", 1)])).await;
        let ada = app.ask("{ customers(first: 5) { nodes { id records { externalKey } } } }").await["customers"]["nodes"].as_array().unwrap().iter()
            .find(|node| node["records"][0]["externalKey"] == "u:ada").unwrap()["id"].clone();
        let claims = claim(&app, 5).await;
        app.ask_with("mutation($id: ID!) { customerErase(input: {id: $id, reason: \"they asked\"}) { userErrors { message } } }", json!({"id": ada})).await;
        assert_eq!((app.marked().await, app.count("customer_value").await), (0, 1));
        assert_eq!(due::held(app.server.services.store.reader(), &claims).await.unwrap(), []);
        app.run_due_jobs().await;
        app.run_due_refresh().await;
        assert_eq!(stored(&app).await.into_values().collect::<Vec<_>>(), [(1, "200".to_owned())]);
        app.stop().await;
    }

    async fn a_server_looks_by_itself_soon_after_the_commit_and_stops_at_the_end_of_a_batch(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let services = app.server.services.clone();
        let (view, refresher) = watched(&app);
        let refreshing = Refreshing::start(services.clone(), refresher);
        app.batch(&key, json!([order("ada", "1", 1)])).await;
        eventually("it was looked at", || async { app.count("customer_value").await == 1 }).await;
        view.is_gated.store(true, Ordering::SeqCst);
        app.batch(&key, json!([order("eva", "1", 1)])).await;
        view.reached.notified().await;
        let stopping = tokio::spawn(refreshing.stop());
        tokio::task::yield_now().await;
        view.open.notify_one();
        tokio::time::timeout(Duration::from_secs(10), stopping).await.expect("it stops").unwrap();
        assert_eq!((app.count("customer_value").await, app.marked().await), (2, 0), "the batch under way was finished");
        app.stop().await;
    }
}
