//! The timeline of a customer over all records and features: whole, once, in both directions of time, and read from the keys alone.

use super::support::{TestApp, on_both};
use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tributary::base::CustomerId;
use tributary::base::paging::Page;
use tributary::customer::store::EventFilter;
use tributary::pipeline::timeline::{Asked, statement};
use tributary::store::walk::Window;

/// Something a browser did, known by the e-mail address of its reader.
fn view(browser: &str, email: &str, message: &str, at: &str) -> Value {
    json!({"type": "track", "event": "Product Viewed", "anonymousId": browser, "messageId": message, "timestamp": at,
        "context": {"traits": {"email": email}}})
}

struct Walk<'a> {
    app: &'a TestApp,
    order: &'a str,
    size: usize,
    after: Option<String>,
    more: bool,
}

impl<'a> Walk<'a> {
    fn new(app: &'a TestApp, order: &'a str, size: usize) -> Self {
        Self {
            app,
            order,
            size,
            after: None,
            more: true,
        }
    }

    /// The ids and kinds of the next page.
    async fn page(&mut self) -> Vec<(String, String, String)> {
        let query = format!(
            r#"query($a: String) {{ customerBy(identifier: {{kind: EMAIL, value: "ada@example.com"}}) {{
                timeline(first: {}, after: $a, order: {}) {{ pageInfo {{ hasNextPage endCursor }} nodes {{ id occurredAt __typename }} }} }} }}"#,
            self.size, self.order
        );
        let data = self.app.ask_with(&query, json!({"a": self.after})).await;
        let page = &data["customerBy"]["timeline"];
        self.more = page["pageInfo"]["hasNextPage"].as_bool().unwrap();
        self.after = page["pageInfo"]["endCursor"].as_str().map(str::to_owned);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let nodes = page["nodes"].as_array().unwrap().iter();
        nodes
            .map(|node| (text(&node["occurredAt"]), text(&node["id"]), text(&node["__typename"])))
            .collect()
    }

    async fn rest(&mut self) -> Vec<(String, String, String)> {
        let mut entries = Vec::new();
        while self.more {
            entries.extend(self.page().await);
        }
        entries
    }
}

/// Makes a customer out of one record with `events` events and `records` more records with one event each; answers their id.
async fn heavy(app: &TestApp, events: usize, records: usize) -> CustomerId {
    let key = app.source("web", "WEB").await;
    app.batch(&key, json!([view("b", "ada@example.com", "m", "2026-01-01T00:00:00Z")]))
        .await;
    let store = &app.server.services.store;
    let hash = |text: &str| match store.is_postgres() {
        true => format!("CAST(md5({text}) AS uuid)"),
        false => "randomblob(16)".to_owned(),
    };
    let series = |count: usize| format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})");
    let event = "message_id, kind, name, occurred_at, received_at, arrival, flags, properties, context";
    let of_e = event
        .split(", ")
        .map(|column| format!("e.{column}"))
        .collect::<Vec<_>>()
        .join(", ");
    let sql = [
        format!(
            "{} INSERT INTO record (id, source_id, external_key, customer_id, arrival, traits, rev, siblings, was_customer)
             SELECT {}, source_id, 'more-' || n.i, customer_id, arrival, traits, rev, siblings, was_customer FROM record, n",
            series(records),
            hash("'r' || n.i")
        ),
        format!(
            "INSERT INTO event (record_id, id, {event}) SELECT r.id, e.id, {of_e} FROM record r, event e WHERE r.external_key LIKE 'more-%'"
        ),
        format!(
            "{} INSERT INTO event (record_id, id, {event}) SELECT e.record_id, {}, {} FROM event e, record r, n
             WHERE r.id = e.record_id AND r.external_key NOT LIKE 'more-%'",
            series(events),
            hash("'e' || n.i"),
            of_e.replace("e.occurred_at", "e.occurred_at + n.i * 1000")
        ),
    ];
    for sql in sql {
        store.writer().execute_unprepared(&sql).await.unwrap();
    }
    // As the statistics of a database in use would be.
    store.writer().execute_unprepared("ANALYZE").await.unwrap();
    let row = store
        .reader()
        .query_one_raw(Statement::from_string(store.backend(), "SELECT id FROM customer"))
        .await;
    CustomerId(row.unwrap().expect("the customer").try_get_by_index(0).unwrap())
}

/// The plan of a timeline's page.
async fn plan(app: &TestApp, asked: &Asked, customer: CustomerId) -> Vec<String> {
    let store = &app.server.services.store;
    let mut statement = statement(store.backend(), &[customer], asked);
    let explain = if store.is_postgres() {
        "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF)"
    } else {
        "EXPLAIN QUERY PLAN"
    };
    statement.sql = format!("{explain} {}", statement.sql);
    let rows = store.reader().query_all_raw(statement).await.unwrap();
    let column = if store.is_postgres() { 0 } else { 3 };
    rows.iter().map(|row| row.try_get_by_index(column).unwrap()).collect()
}

/// How many rows the scans of a table met, in a plan of PostgreSQL that was run.
fn rows_met(plan: &[String], table: &str) -> f64 {
    let number = |line: &str, name: &str| -> Option<f64> {
        let rest = line.split_once(name)?.1;
        rest.split(|c: char| !c.is_ascii_digit() && c != '.').next()?.parse().ok()
    };
    let mut met = 0.0;
    let mut loops = None;
    for line in plan {
        if line.contains("(actual") || line.contains("never executed") {
            let scans = line.contains(&format!(" on {table} ")) && line.contains("Scan");
            loops = scans.then(|| number(line, "loops=").unwrap_or(0.0));
            met += loops.unwrap_or(0.0) * number(line, "rows=").unwrap_or(0.0);
        } else if let Some(loops) = loops {
            met += loops * number(line, "Rows Removed by Filter: ").unwrap_or(0.0);
        }
    }
    met
}

on_both! {
    async fn pages_of_any_size_hold_every_entry_once_in_both_directions(app: TestApp) {
        let (web, shop) = (app.source("web", "WEB").await, app.source("shop", "POS").await);
        // Thirty browsers at one instant: ties across records, more records than a page holds.
        let views: Vec<Value> = (0..30).map(|n| view(&format!("b{n}"), "ada@example.com", "same", "2026-05-01T10:00:00Z")).collect();
        app.batch(&web, json!(views)).await;
        let more: Vec<Value> = (0..20).map(|n| view(&format!("b{}", n % 4), "ada@example.com", &format!("m{n}"), &format!("2026-05-0{}T10:00:00Z", 1 + n % 3))).collect();
        app.batch(&web, json!(more)).await;
        // Another customer, who turns out to be the same.
        app.batch(&shop, json!([
            {"type": "track", "event": "Order Completed", "userId": "u", "messageId": "o", "timestamp": "2026-05-02T10:00:00Z", "properties": {"order_id": "1", "revenue": 5}},
            {"type": "identify", "userId": "u", "messageId": "i", "timestamp": "2026-05-03T10:00:00Z", "traits": {"email": "ada@example.com"}},
        ])).await;
        let whole = Walk::new(&app, "NEWEST_FIRST", 100).rest().await;
        let of_kind = |kind: &str| whole.iter().filter(|entry| entry.2 == kind).count();
        assert_eq!((of_kind("Event"), of_kind("Purchase")), (51, 1));
        assert_eq!(of_kind("IdentityDecision"), 1, "the two became one, said once however many records it is about");
        let times: Vec<&String> = whole.iter().rev().map(|entry| &entry.0).collect();
        assert!(times.is_sorted());
        let mut backwards = whole.clone();
        backwards.reverse();
        for size in [1, 2, 7, 29] {
            assert_eq!(Walk::new(&app, "NEWEST_FIRST", size).rest().await, whole, "{size}");
            assert_eq!(Walk::new(&app, "OLDEST_FIRST", size).rest().await, backwards, "{size}");
        }
        app.stop().await;
    }

    async fn a_walk_repeats_and_skips_nothing_while_entries_arrive_and_customers_merge(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let early: Vec<Value> = (0..9).map(|n| view("b", "ada@example.com", &format!("m{n}"), &format!("2026-05-01T10:0{n}:00Z"))).collect();
        app.batch(&key, json!(early)).await;
        let other: Vec<Value> = (0..9).map(|n| view("c", "countess@example.com", &format!("n{n}"), &format!("2026-05-01T10:0{n}:30Z"))).collect();
        app.batch(&key, json!(other)).await;
        for order in ["NEWEST_FIRST", "OLDEST_FIRST"] {
            let before = Walk::new(&app, order, 100).rest().await;
            let mut walk = Walk::new(&app, order, 4);
            let mut seen = walk.page().await;
            app.batch(&key, json!([view("b", "ada@example.com", &format!("new-{order}"), "2026-05-01T10:04:15Z")])).await;
            seen.extend(walk.page().await);
            if order == "OLDEST_FIRST" {
                // From here on they are one.
                app.batch(&key, json!([{"type": "identify", "anonymousId": "c", "messageId": "one", "timestamp": "2026-05-01T09:00:00Z", "traits": {"email": "ada@example.com"}}])).await;
            }
            seen.extend(walk.rest().await);
            let once: BTreeSet<&(String, String, String)> = seen.iter().collect();
            assert_eq!(once.len(), seen.len(), "nothing twice");
            assert!(before.iter().all(|entry| once.contains(entry)), "nothing is missing");
            let mut sorted = seen.clone();
            sorted.sort_unstable();
            if order == "NEWEST_FIRST" { sorted.reverse(); }
            let times = |entries: &[(String, String, String)]| entries.iter().map(|entry| entry.0.clone()).collect::<Vec<_>>();
            assert_eq!(times(&seen), times(&sorted));
        }
        let all = Walk::new(&app, "NEWEST_FIRST", 100).rest().await;
        assert_eq!(all.iter().filter(|entry| entry.2 == "Event").count(), 20, "the events of both");
        app.stop().await;
    }

    async fn decisions_are_left_out_where_events_or_channels_are_named(app: TestApp) {
        let (web, shop) = (app.source("web", "WEB").await, app.source("shop", "POS").await);
        app.batch(&web, json!([view("b", "ada@example.com", "1", "2026-05-01T10:00:00Z")])).await;
        app.batch(&shop, json!([
            {"type": "track", "event": "Order Completed", "userId": "u", "messageId": "o", "timestamp": "2026-05-02T10:00:00Z", "properties": {"order_id": "1", "revenue": 5}},
            {"type": "identify", "userId": "u", "messageId": "i", "timestamp": "2026-05-03T10:00:00Z", "traits": {"email": "ada@example.com"}},
        ])).await;
        for (arguments, expected) in [
            ("", vec!["IdentityDecision", "Event", "Purchase", "Event"]),
            (", channels: [POS]", vec!["Event", "Purchase"]),
            (", channels: [WEB, APP]", vec!["Event"]),
            (", channels: []", vec![]),
            (", kinds: [IDENTIFY]", vec!["Event"]),
            (", names: [\"Product Viewed\"]", vec!["Event"]),
            (", from: \"2026-05-02T10:00:00Z\", to: \"2026-05-04T00:00:00Z\"", vec!["Event", "Purchase"]),
        ] {
            let data = app.ask(&format!(r#"{{ customerBy(identifier: {{kind: EMAIL, value: "ada@example.com"}}) {{ timeline(first: 9{arguments}) {{ nodes {{ __typename
                ... on IdentityDecision {{ kind because }} }} }} }} }}"#)).await;
            let mut names: Vec<&str> = data["customerBy"]["timeline"]["nodes"].as_array().unwrap().iter().map(|node| node["__typename"].as_str().unwrap()).collect();
            let mut expected = expected;
            // The event and the purchase of one report share the instant and stand by their ids.
            names.sort_unstable();
            expected.sort_unstable();
            assert_eq!(names, expected, "{arguments} {data}");
        }
        app.stop().await;
    }

    async fn a_page_is_found_in_the_index_however_many_events_and_records_there_are(app: TestApp) {
        let customer = heavy(&app, 20_000, 300).await;
        let store = &app.server.services.store;
        let after = Some((1_767_225_610_000_000, uuid::Uuid::nil(), uuid::Uuid::nil()));
        for (oldest_first, after) in [(false, None), (true, None), (false, after), (true, after)] {
            let kinds = vec![entity::EventKind::Track, entity::EventKind::Page, entity::EventKind::Screen];
            let window = Window { oldest_first, ..Window::newest(Page { first: 20, after }) };
            let asked = Asked { window, events: Some(EventFilter { kinds, names: None }), purchases: true, consents: true, decisions: true, channels: None };
            let plan = plan(&app, &asked, customer).await;
            let text = plan.join("\n");
            if store.is_postgres() {
                // One key of each record, a page of keys of the records that stand first, and the rows of the page. 20,000 if it read all.
                let met = rows_met(&plan, "event");
                assert!(met > 0.0 && met < f64::from(301 + 21 * 21 + 21 + 50), "{met} rows\n{text}");
                assert!(!text.contains("Seq Scan on event"), "{text}");
            } else {
                assert!(!text.contains("SCAN k") && !text.contains("SCAN x") && !text.contains("SCAN l0"), "{text}");
                let walks = plan.iter().filter(|line| line.starts_with("SEARCH k USING COVERING INDEX event_timeline"));
                assert_eq!(walks.count(), 2, "the first key of each record, the first keys of a page of records\n{text}");
                // What was found there is read by its rowid, not along the timeline again.
                let again = |line: &&String| line.starts_with("SEARCH x") && (line.contains("event_timeline") || line.contains("purchase_timeline"));
                assert_eq!(plan.iter().find(again), None, "{text}");
            }
        }
        app.stop().await;
    }
}
