//! The change log as its readers see it: replay and tail are one, a cursor is good wherever it was taken, nobody misses anything or sees
//! anything twice.

use super::support::listen::{CHANGE, EVERYTHING, Listener, admin, changes_of, key_with};
use super::support::{TestApp, on_both};
use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;
use tributary::access::Scope;
use tributary::base::CustomerId;
use tributary::feed::{Change, Filter, Log, Reader, Start, Tail};
use tributary::store::{Store, StoreError};
use uuid::Uuid;

fn person(n: usize, city: &str) -> Value {
    json!({"type": "identify", "userId": format!("u{n}"), "messageId": format!("i{n}-{city}"), "timestamp": "2026-05-01T10:00:00Z",
        "traits": {"email": format!("u{n}@example.com"), "city": city}})
}

fn view(n: usize, message: &str) -> Value {
    json!({"type": "track", "event": "Product Viewed", "userId": format!("u{n}"), "messageId": message,
        "timestamp": "2026-05-02T10:00:00Z", "properties": {"secret": "sauce"}})
}

fn order(n: usize, id: &str) -> Value {
    json!({"type": "track", "event": "Order Completed", "userId": format!("u{n}"), "messageId": format!("o{id}"),
        "timestamp": "2026-05-03T10:00:00Z", "properties": {"order_id": id, "total": "12.50", "currency": "EUR"}})
}

async fn customer(app: &TestApp, n: usize) -> String {
    let query = format!(r#"{{ customerBy(identifier: {{ kind: EMAIL, value: "u{n}@example.com" }}) {{ id }} }}"#);
    app.ask(&query).await["customerBy"]["id"].as_str().unwrap().to_owned()
}

async fn merge(app: &TestApp, into: &str, from: &str) -> String {
    let query = "mutation($input: CustomerMergeInput!) { customerMerge(input: $input) { transaction userErrors { message } } }";
    let input = json!({"into": into, "from": from, "reason": "they said so"});
    let answer = app.ask_with(query, json!({"input": input})).await["customerMerge"].clone();
    assert_eq!(answer["userErrors"], json!([]));
    answer["transaction"].as_str().unwrap().to_owned()
}

/// Some of everything: new people, other values, events, orders, a merge, a consent.
pub async fn live(app: &TestApp, key: &str) {
    app.batch(key, json!([person(1, "Oslo"), person(2, "Rome")])).await;
    app.batch(key, (0..7).map(|i| view(1, &format!("v{i}"))).collect()).await;
    app.batch(key, json!([person(1, "Bergen"), view(1, "w"), view(2, "x"), order(2, "A1")]))
        .await;
    app.batch(
        key,
        json!([
            person(3, "Paris"),
            person(4, "Paris"),
            person(5, "Paris"),
            person(6, "Paris"),
            view(6, "y")
        ]),
    )
    .await;
    merge(app, &customer(app, 1).await, &customer(app, 2).await).await;
    let query = "mutation($input: ConsentRecordInput!) { consentRecord(input: $input) { userErrors { message } } }";
    let input = json!({"customer": customer(app, 3).await, "purpose": "MARKETING", "channel": "EMAIL", "state": "GRANTED"});
    app.ask_with(query, json!({"input": input})).await;
}

/// The whole log by the query, page by page.
async fn paged(app: &TestApp, size: usize) -> Vec<Value> {
    let mut start = "fromBeginning: true".to_owned();
    let mut all = Vec::new();
    loop {
        let query = format!(
            "{{ changes(start: {{ {start} }}, filter: {{ {EVERYTHING} }}, first: {size}) {{ cursor caughtUp changes {{ {CHANGE} }} }} }}"
        );
        let page = app.ask(&query).await["changes"].clone();
        all.extend(changes_of(std::slice::from_ref(&page)));
        if page["caughtUp"] == true {
            return all;
        }
        start = format!("after: {}", page["cursor"]);
    }
}

/// Waits until everything committed can be read: on PostgreSQL positions come a moment later.
pub async fn settle(app: &TestApp) {
    super::support::app::eventually("everything has its position", || async {
        app.scalar("SELECT COUNT(*) FROM change_tx WHERE position IS NULL").await == 0
    })
    .await;
}

on_both! {
    async fn what_is_read_while_it_happens_is_what_is_read_later_in_pages_of_any_size(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let mut live_reader = Listener::to_all(&app, 5);
        let first = live_reader.next().await;
        assert_eq!(first["heartbeat"], first["changes"].as_array().unwrap().is_empty());
        live(&app, &key).await;
        settle(&app).await;
        let later = paged(&app, 100).await;
        assert!(later.len() > 20, "{}", later.len());
        let mut seen = changes_of(&[first]);
        seen.extend(live_reader.until(later.len() - seen.len()).await);
        assert_eq!(seen, later);
        for size in [1, 2, 3, 7] {
            assert_eq!(paged(&app, size).await, later, "pages of {size}");
            let mut replay = Listener::to_all(&app, size);
            assert_eq!(replay.changes().await, later, "batches of {size}");
        }
        let topics: BTreeSet<&str> = later.iter().map(|change| change["topic"].as_str().unwrap()).collect();
        assert_eq!(topics, BTreeSet::from(["CONSENT", "CUSTOMER", "EVENT", "IDENTITY", "PURCHASE"]));
        let events: Vec<&Value> = later.iter().filter(|change| change["topic"] == "EVENT").collect();
        assert_eq!(i64::try_from(events.len()).unwrap(), app.count("event").await);
        let of_view = events.iter().find(|change| change["after"]["name"] == "Product Viewed").unwrap();
        assert_eq!(of_view["after"]["properties"], json!({"secret": "sauce"}));
        assert_eq!(of_view["occurredAt"], "2026-05-02T10:00:00Z");
        app.stop().await;
    }

    async fn a_reader_goes_on_from_any_cursor_also_inside_a_row_and_inside_a_transaction(app: TestApp) {
        let key = app.source("web", "WEB").await;
        live(&app, &key).await;
        settle(&app).await;
        let all = paged(&app, 100).await;
        let cursors: BTreeSet<&str> = all.iter().map(|change| change["cursor"].as_str().unwrap()).collect();
        assert_eq!(cursors.len(), all.len(), "each has its own");
        for (i, change) in all.iter().enumerate() {
            let mut reader = Listener::to(&app, &format!("after: {}", change["cursor"]), EVERYTHING, 4);
            assert_eq!(reader.changes().await, all[i + 1..], "after {i}");
        }
        // The cursors of batches, too.
        let batches = Listener::to_all(&app, 3).batches().await;
        let mut seen = 0;
        for batch in &batches {
            seen += batch["changes"].as_array().unwrap().len();
            let mut reader = Listener::to(&app, &format!("after: {}", batch["cursor"]), EVERYTHING, 100);
            assert_eq!(reader.changes().await, all[seen..]);
        }
        app.stop().await;
    }

    async fn a_transaction_is_divided_only_when_it_is_larger_than_a_batch(app: TestApp) {
        let key = app.source("web", "WEB").await;
        live(&app, &key).await;
        settle(&app).await;
        let all = paged(&app, 100).await;
        let mut sizes: HashMap<&str, usize> = HashMap::new();
        for change in &all {
            *sizes.entry(change["transaction"].as_str().unwrap()).or_default() += 1;
        }
        assert!(sizes.values().any(|size| *size > 4) && sizes.values().any(|size| *size < 4), "{sizes:?}");
        for size in [1, 2, 4, 6] {
            let mut homes: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
            for (i, batch) in Listener::to_all(&app, size).batches().await.iter().enumerate() {
                let changes = batch["changes"].as_array().unwrap();
                assert!(changes.len() <= size);
                for change in changes {
                    homes.entry(change["transaction"].as_str().unwrap().to_owned()).or_default().insert(i);
                }
            }
            for (transaction, homes) in homes {
                let is_large = sizes[transaction.as_str()] > size;
                assert!(homes.len() == 1 || is_large, "{transaction} in batches of {size}: {homes:?}");
            }
        }
        app.stop().await;
    }

    async fn a_filter_leaves_out_what_it_does_not_want_and_the_cursor_moves_over_it(app: TestApp) {
        let key = app.source("web", "WEB").await;
        live(&app, &key).await;
        settle(&app).await;
        let all = paged(&app, 100).await;
        let wanted = |wants: &dyn Fn(&Value) -> bool| all.iter().filter(|change| wants(change)).cloned().collect::<Vec<_>>();
        let topic = |name: &'static str| move |change: &Value| change["topic"] == name;
        for (filter, expected) in [
            ("topics: [PURCHASE]", wanted(&topic("PURCHASE"))),
            ("topics: [IDENTITY, EVENT]", wanted(&|change| topic("IDENTITY")(change) || topic("EVENT")(change))),
            ("", wanted(&|change| !topic("EVENT")(change))),
            (r#"changed: ["city"]"#, wanted(&|change| change["changed"].as_array().unwrap().contains(&json!("city")))),
            (r#"topics: [CUSTOMER], changed: ["mergedInto"]"#, wanted(&|change| change["op"] == "DELETED")),
        ] {
            assert!(!expected.is_empty(), "{filter}");
            let batches = Listener::to(&app, "fromBeginning: true", filter, 2).batches().await;
            assert_eq!(changes_of(&batches), expected, "{filter}");
            let last = batches.last().unwrap();
            assert_eq!(last["cursor"], last["head"], "{filter}");
        }
        // Whoever was merged is asked for by the one they became, and the other way round.
        let merged = wanted(&|change| change["op"] == "DELETED")[0].clone();
        let (gone, stays) = (&merged["entityId"], &merged["after"]["mergedInto"]);
        let of_both = |id: &Value| Listener::to(&app, "fromBeginning: true", &format!("customers: [{id}]"), 50);
        let theirs = of_both(gone).changes().await;
        assert_eq!(theirs, of_both(stays).changes().await);
        assert!(theirs.contains(&merged));
        let of_gone = theirs.iter().filter(|change| change["entityId"] == *gone).count();
        assert!(of_gone > 1 && theirs.len() > of_gone && theirs.len() < all.len(), "{of_gone} of {}", theirs.len());
        app.stop().await;
    }

    async fn a_heartbeat_carries_a_cursor_that_moves_over_what_nobody_wants(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let mut reader = Listener::to(&app, "fromNow: true", "topics: [ACCOUNT]", 10);
        let first = reader.next().await;
        assert_eq!((&first["heartbeat"], &first["caughtUp"], &first["lagSeconds"]), (&json!(true), &json!(true), &json!(0.0)));
        live(&app, &key).await;
        settle(&app).await;
        let head = app.ask("{ feedHead { head } }").await["feedHead"]["head"].clone();
        let mut last = reader.next().await;
        while last["cursor"] != head {
            assert_eq!(last["heartbeat"], true);
            last = reader.next().await;
        }
        assert_ne!(last["cursor"], first["cursor"]);
        assert_eq!((&last["heartbeat"], &last["caughtUp"], &last["head"]), (&json!(true), &json!(true), &head));
        app.stop().await;
    }

    async fn a_reader_that_begins_behind_a_quiet_time_is_not_told_that_there_is_nothing(app: TestApp) {
        let store = &app.server.services.store;
        for n in 0..40 {
            write(store, 1, n, false).await.unwrap();
            settle(&app).await;
            let written = usize::try_from(n + 1).unwrap();
            assert_eq!(Listener::to(&app, "fromBeginning: true", "topics: [ACCOUNT]", 100).changes().await.len(), written);
        }
        app.stop().await;
    }

    async fn what_waits_is_told_by_its_age(app: TestApp) {
        let key = app.source("web", "WEB").await;
        live(&app, &key).await;
        settle(&app).await;
        app.clock.advance(Duration::from_secs(90));
        let batches = Listener::to_all(&app, 2).batches().await;
        assert!(batches.len() > 3);
        for batch in &batches {
            let expected = if batch["caughtUp"] == true { 0.0 } else { 90.0 };
            assert_eq!(batch["lagSeconds"], json!(expected));
        }
        app.stop().await;
    }

    async fn reading_begins_now_at_an_instant_or_at_the_beginning(app: TestApp) {
        let key = app.source("web", "WEB").await;
        app.batch(&key, json!([person(1, "Oslo")])).await;
        app.clock.advance(Duration::from_secs(60));
        app.batch(&key, json!([person(2, "Rome")])).await;
        app.clock.advance(Duration::from_secs(60));
        app.batch(&key, json!([person(3, "Paris")])).await;
        settle(&app).await;
        let cities = async |start: &str| {
            let changes = Listener::to(&app, start, "", 50).changes().await;
            changes.iter().map(|change| change["after"]["city"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(cities("fromBeginning: true").await, ["Oslo", "Rome", "Paris"]);
        assert_eq!(cities(r#"at: "2026-06-01T12:00:00Z""#).await, ["Oslo", "Rome", "Paris"]);
        assert_eq!(cities(r#"at: "2026-06-01T12:00:01Z""#).await, ["Rome", "Paris"]);
        assert_eq!(cities(r#"at: "2026-06-01T12:01:00Z""#).await, ["Rome", "Paris"]);
        assert_eq!(cities(r#"at: "2026-06-01T12:01:00.000001Z""#).await, ["Paris"]);
        assert!(cities(r#"at: "2030-01-01T00:00:00Z""#).await.is_empty());
        assert!(cities("fromNow: true").await.is_empty());
        app.stop().await;
    }

    async fn keys_see_as_much_of_a_change_as_of_what_changed(app: TestApp) {
        let key = app.source("web", "WEB").await;
        live(&app, &key).await;
        settle(&app).await;
        let query = format!(
            "subscription {{ changes(start: {{ fromBeginning: true }}, filter: {{ {EVERYTHING} }}) {{ cursor caughtUp changes {{ {CHANGE} customer {{ email }} }} }} }}"
        );
        let seen_by = async |principal| Listener::new(&app, principal, &query, json!({})).changes().await;
        let (clear, masked) = (seen_by(admin()).await, seen_by(key_with(Scope::Read)).await);
        assert_eq!(clear, seen_by(key_with(Scope::ReadPii)).await);
        assert_eq!(clear.len(), masked.len());
        let mut compared = 0;
        for (clear, masked) in clear.iter().zip(&masked) {
            assert_eq!(clear["cursor"], masked["cursor"]);
            assert_eq!(clear["changed"], masked["changed"]);
            if clear["after"].get("email").is_some_and(Value::is_string) {
                assert!(clear["after"]["email"].as_str().unwrap().ends_with("@example.com"));
                assert_eq!(masked["after"]["email"], "u***@e***.com");
                assert_eq!(masked["after"]["city"], "***");
                assert_eq!(masked["customer"]["email"], "u***@e***.com");
                compared += 1;
            }
            if clear["after"]["name"] == "Product Viewed" {
                assert_eq!(masked["after"]["properties"], json!({"secret": "***"}));
                compared += 1;
            }
        }
        assert!(compared > 10 && !masked.iter().any(|change| change.to_string().contains("@example.com")), "{compared}");
        // A key that can only write has `read`; a sender's has not.
        let mut refused = Listener::new(&app, tributary::access::Principal::Ingest, &query, json!({}));
        assert_eq!(refused.refusal().await.0, "FORBIDDEN");
        app.stop().await;
    }

    async fn of_who_was_erased_it_says_that_something_changed_and_no_more(app: TestApp) {
        let key = app.source("web", "WEB").await;
        app.batch(&key, json!([person(1, "Oslo"), view(1, "v"), order(1, "A1"), person(2, "Rome")])).await;
        let (gone, stays) = (customer(&app, 1).await, customer(&app, 2).await);
        let query = "mutation($input: CustomerEraseInput!) { customerErase(input: $input) { userErrors { message } } }";
        let answer = app.ask_with(query, json!({"input": {"id": gone, "reason": "they asked"}})).await;
        assert_eq!(answer["customerErase"]["userErrors"], json!([]));
        app.run_due_jobs().await;
        settle(&app).await;
        let all = paged(&app, 100).await;
        assert!(!json!(all).to_string().contains("u1@example.com"));
        let redacted: Vec<&Value> = all.iter().filter(|change| change["redacted"] == true).collect();
        let topics: BTreeSet<&str> = redacted.iter().map(|change| change["topic"].as_str().unwrap()).collect();
        assert_eq!(topics, BTreeSet::from(["CUSTOMER", "EVENT", "PURCHASE"]));
        for change in redacted {
            assert_eq!((&change["before"], &change["after"]), (&Value::Null, &Value::Null), "{change}");
        }
        let of_other = all.iter().find(|change| change["entityId"] == json!(stays)).unwrap();
        assert_eq!((&of_other["redacted"], &of_other["after"]["city"]), (&json!(false), &json!("Rome")));
        app.stop().await;
    }

    async fn a_subscription_asks_for_one_field_and_within_bounds(app: TestApp) {
        for (query, code) in [
            ("subscription { a: changes(start: {fromNow: true}) { cursor } b: changes(start: {fromNow: true}) { cursor } }", None),
            ("subscription { changes(start: {fromNow: true}, batch: 0) { cursor } }", Some("BAD_INPUT")),
            ("subscription { changes(start: {fromNow: true}, batch: 1001) { cursor } }", Some("BAD_INPUT")),
            ("subscription { changes(start: {fromNow: true}, heartbeatSeconds: 0) { cursor } }", Some("BAD_INPUT")),
            ("subscription { changes(start: {fromNow: false}) { cursor } }", Some("BAD_INPUT")),
            ("subscription { changes(start: {fromNow: true}, filter: {customers: [\"x\"]}) { cursor } }", Some("BAD_INPUT")),
            ("subscription { nothing }", Some("GRAPHQL_VALIDATION_FAILED")),
            ("subscription {", Some("GRAPHQL_PARSE_FAILED")),
        ] {
            let refused = Listener::new(&app, admin(), query, json!({})).refusal().await.0;
            assert_eq!(refused, code.unwrap_or("GRAPHQL_VALIDATION_FAILED"), "{query}");
        }
        // What is no subscription is answered once.
        let mut once = Listener::new(&app, admin(), "{ feedHead { floor } }", json!({}));
        assert!(once.next().await["floor"].is_string());
        assert!(once.emission().await.is_none());
        app.stop().await;
    }

    async fn a_query_can_wait_for_a_transaction(app: TestApp) {
        let key = app.source("web", "WEB").await;
        app.batch(&key, json!([person(1, "Oslo"), person(2, "Rome")])).await;
        let (into, from) = (customer(&app, 1).await, customer(&app, 2).await);
        let transaction = merge(&app, &into, &from).await;
        let query = format!(r#"{{ customer(id: "{from}", atLeast: "{transaction}") {{ id }} customerBy(identifier: {{kind: EMAIL, value: "u2@example.com"}}, atLeast: "{transaction}") {{ id }} customers(first: 5, atLeast: "{transaction}") {{ nodes {{ id }} }} }}"#);
        let seen = app.ask(&query).await;
        assert_eq!((&seen["customer"]["id"], &seen["customerBy"]["id"]), (&json!(into), &json!(into)));
        assert_eq!(seen["customers"]["nodes"], json!([{"id": into}]));
        let code = async |transaction: &str| {
            let query = format!(r#"{{ customer(id: "{into}", atLeast: "{transaction}") {{ id }} }}"#);
            app.graphql(crate::support::app::ADMIN_KEY, json!({"query": query})).await.1["errors"][0]["extensions"]["code"].clone()
        };
        let began = std::time::Instant::now();
        assert_eq!(code(&Uuid::from_u128(7).to_string()).await, "NOT_YET");
        let waited = began.elapsed();
        assert!(waited > Duration::from_secs(4) && waited < Duration::from_secs(9), "{waited:?}");
        assert_eq!(code("yesterday").await, "BAD_INPUT");
        app.stop().await;
    }

    async fn every_reader_sees_what_many_writers_committed_once_and_in_order(app: TestApp) {
        const WRITERS: usize = 32;
        const EACH: i64 = 40;
        let feed = app.server.services.feed.clone();
        let store = app.server.services.store.clone();
        let tail = |size: usize| {
            let feed = feed.clone();
            async move {
                let heads = feed.heads();
                let place = feed.place_of(Start::FromNow).await.unwrap();
                Tail::new(Reader::open(feed, place, Filter::default()).await.unwrap(), heads, size, Duration::from_secs(5))
            }
        };
        let mut tails = vec![tail(1).await, tail(7).await, tail(1000).await];
        let from = feed.place_of(Start::FromNow).await.unwrap();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let store = store.clone();
                tokio::spawn(async move {
                    for n in 0..EACH {
                        let _ = write(&store, writer, n, n % 10 == 3).await;
                    }
                })
            })
            .collect();
        let kept = WRITERS * usize::try_from(EACH - EACH / 10).unwrap();
        let readers: Vec<_> = tails
            .drain(..)
            .map(|mut tail| {
                tokio::spawn(async move {
                    let mut seen = Vec::new();
                    while seen.len() < kept {
                        seen.extend(tail.next().await.unwrap().entries);
                    }
                    seen.iter().map(|entry| (entry.row.position, entry.body().entity.as_u128(), entry.body().rev)).collect::<Vec<_>>()
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        let mut orders = Vec::new();
        for reader in readers {
            orders.push(tokio::time::timeout(Duration::from_secs(60), reader).await.unwrap().unwrap());
        }
        let mut replay = Reader::open(feed, from, Filter::default()).await.unwrap();
        let later = replay.next(10_000).await.unwrap().entries;
        let later: Vec<_> = later.iter().map(|entry| (entry.row.position, entry.body().entity.as_u128(), entry.body().rev)).collect();
        for order in &orders {
            assert_eq!(*order, later);
        }
        assert_eq!(later.len(), kept);
        assert!(later.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1), "no gaps");
        for writer in 0..WRITERS {
            let own: Vec<i64> = later.iter().filter(|change| change.1 == writer as u128 + 1).map(|change| change.2).collect();
            let expected: Vec<i64> = (0..EACH).filter(|n| n % 10 != 3).collect();
            assert_eq!(own, expected, "cause before effect");
        }
        app.stop().await;
    }
}

/// A transaction with one change; rolled back on wish.
pub async fn write(store: &Store, writer: usize, n: i64, roll_back: bool) -> Result<Uuid, StoreError> {
    let now = tributary::base::Instant::from_micros(1_780_000_000_000_000 + n);
    store
        .transact(|tx, _| {
            Box::pin(async move {
                let mut log = Log::new(store.ids(), now, "cli");
                log.note(Change {
                    topic: entity::Topic::Account,
                    op: entity::ChangeOp::Updated,
                    entity: Uuid::from_u128(writer as u128 + 1),
                    record: None,
                    customer: Some(CustomerId(Uuid::from_u128(writer as u128 + 1))),
                    rev: n,
                    occurred_at: now,
                    changed: Map::from_iter([("n".to_owned(), json!([null, n]))]),
                    events: Vec::new(),
                });
                let id = log.write(tx, now).await?;
                match roll_back {
                    true => Err(StoreError::Corrupt("on purpose".to_owned())),
                    false => Ok(id),
                }
            })
        })
        .await
}

/// Runs a statement behind the server's back.
pub async fn tamper(app: &TestApp, sql: &str) {
    let store = &app.server.services.store;
    store
        .writer()
        .execute_raw(Statement::from_string(store.backend(), sql))
        .await
        .expect(sql);
}
