//! What customers are worth, from the bottom: facts in the reporting currency, days of the deployment's zone, and what they did by day.

use super::rebuild::{assert_clean, decide};
use super::support::app::ADMIN_KEY;
use super::support::{Backend, TestApp, on_both};
use serde_json::{Value, json};
use std::time::Duration;
use tributary::access::Actor;
use tributary::base::money::Currency;
use tributary::base::{CustomerId, Instant, RecordId};
use tributary::cli::settings::Settings;
use tributary::graphql::NodeId;
use tributary::ingest::file::RateRow;
use tributary::pipeline::jobs;
use tributary::pipeline::mend::Decision;
use tributary::pipeline::refresh::{self, Refresher};
use tributary::value::inputs::{self, Input};
use tributary::value::rules::ValueRules;

fn track(user: &str, event: &str, at: &str, message: &str, properties: Value) -> Value {
    json!({"type": "track", "event": event, "userId": user, "messageId": message, "timestamp": at, "properties": properties})
}

fn order(user: &str, id: &str, at: &str, amount: &str, currency: &str) -> Value {
    let properties = json!({"order_id": id, "revenue": amount, "currency": currency,
        "products": [{"product_id": format!("p-{currency}"), "category": format!("from {currency}"), "price": 1}]});
    track(user, "Order Completed", at, &format!("{user}-{id}"), properties)
}

async fn rates(app: &TestApp, rows: &[(&str, &str, &str, &str)]) {
    let services = &app.server.services;
    let currency = |code: &str| Currency::parse(code).unwrap();
    let rows: Vec<Input> = rows
        .iter()
        .map(|(day, from, to, rate)| {
            Input::Rate(RateRow {
                day: Instant::parse(day).unwrap(),
                from: currency(from),
                to: currency(to),
                rate: rate.parse().unwrap(),
            })
        })
        .collect();
    let source = services.store.hash_key().source("web");
    inputs::import(&services.store, services.now(), &Actor::new("test"), source, &rows, false)
        .await
        .unwrap();
}

fn record(app: &TestApp, user: &str) -> RecordId {
    let keys = app.server.services.store.hash_key();
    keys.record(keys.source("web"), &format!("u:{user}"))
}

/// Of the customer who has the id of this record.
fn id_of(record: RecordId) -> String {
    NodeId::Customer(CustomerId(record.0)).to_id().to_string()
}

const FACTS: &str =
    "currency orders coverage returned revenue { decimal } refunds { decimal } netRevenue { decimal } firstPurchaseAt
    lastPurchaseAt cadenceDays categories { category orders } channels { channel orders } referrals reviews
    purchaseDays { count first last spendDays spend { decimal } beganBefore }";

async fn facts(app: &TestApp, user: &str, fields: &str) -> Value {
    let id = id_of(record(app, user));
    let data = app.ask(&format!(r#"{{ customer(id: "{id}") {{ {fields} }} }}"#)).await;
    data["customer"].clone()
}

async fn in_shanghai(backend: Backend) -> TestApp {
    let change = |settings: &mut Settings| {
        settings.value.zone = "Asia/Shanghai".to_owned();
        settings.value.data_from = "2026-01-01".to_owned();
        settings.value.activity = vec!["Signed In".to_owned()];
    };
    TestApp::with(backend, change).await
}

async fn facts_are_exact_in_the_reporting_currency_and_in_days_of_the_zone(backend: Backend) {
    let app = in_shanghai(backend).await;
    let key = app.source("web", "WEB").await;
    rates(
        &app,
        &[
            ("2026-05-03", "USD", "EUR", "0.9"),
            ("2026-05-03", "EUR", "USD", "4"),
            ("2026-05-04", "EUR", "CHF", "0.96"),
        ],
    )
    .await;
    app.batch(
        &key,
        json!([
            order("ada", "0", "2025-12-31T15:59:59Z", "7", "EUR"),
            // A second before midnight in Shanghai, and midnight.
            order("ada", "1", "2026-05-01T15:59:59Z", "100", "EUR"),
            order("ada", "2", "2026-05-01T16:00:00Z", "50", "EUR"),
            order("ada", "3", "2026-05-02T20:00:00Z", "45", "USD"),
            order("ada", "4", "2026-05-04T00:00:00Z", "20", "CHF"),
            order("ada", "5", "2026-05-05T00:00:00Z", "10", "NOK"),
            order("ada", "6", "2026-05-06T00:00:00Z", "90071992547409.93", "EUR"),
            track(
                "ada",
                "Order Refunded",
                "2026-05-10T00:00:00Z",
                "r1",
                json!({"order_id": "2", "total": 30})
            ),
            track(
                "ada",
                "Order Refunded",
                "2026-05-12T00:00:00Z",
                "r2",
                json!({"order_id": "2", "total": 80})
            ),
            track(
                "ada",
                "Order Refunded",
                "2026-05-12T00:00:00Z",
                "r3",
                json!({"order_id": "3", "total": 1.03})
            ),
            track("ada", "Signed In", "2026-05-01T15:00:00Z", "s1", json!({})),
            track("ada", "Signed In", "2026-05-01T16:00:00Z", "s2", json!({})),
            track("ada", "Signed In", "2026-05-01T17:00:00Z", "s3", json!({})),
            track("ada", "Opened", "2026-05-01T17:00:00Z", "s4", json!({})),
            track("ada", "Referral Converted", "2026-05-08T00:00:00Z", "f1", json!({})),
            track("ada", "Review Submitted", "2026-05-09T00:00:00Z", "f2", json!({"rating": 5})),
        ]),
    )
    .await;
    app.run_due_jobs().await;
    app.run_due_refresh().await;
    let all = format!(
        r#"facts {{ {FACTS} }} before: facts(asOf: "2026-05-11T00:00:00Z") {{ orders netRevenue {{ decimal }} refunds {{ decimal }} purchaseDays {{ spend {{ decimal }} }} }}
        nothing: facts(asOf: "2025-12-31T15:59:58.999999Z") {{ {FACTS} }}
        did: facts(asOf: "2026-05-20T00:00:00Z") {{ activity(from: "2026-05-01") {{ name count days {{ day count }} }} }}
        some: facts {{ activity(names: ["Signed In"], from: "2026-05-02", to: "2026-05-02") {{ name count }} }}"#
    );
    let found = facts(&app, "ada", &all).await;
    // 7 + 100 + 50 + 40.50 + 20.83; the refund of the second is over its price, the other 0.927 of 45 dollars.
    assert_eq!(
        found["facts"],
        json!({"currency": "EUR", "orders": 7, "coverage": 5.0 / 7.0, "returned": 1, "revenue": {"decimal": "218.33"},
            "refunds": {"decimal": "50.93"}, "netRevenue": {"decimal": "167.40"},
            "firstPurchaseAt": "2025-12-31T15:59:59Z", "lastPurchaseAt": "2026-05-06T00:00:00Z", "cadenceDays": found["facts"]["cadenceDays"],
            "categories": [{"category": "from EUR", "orders": 4}, {"category": "from CHF", "orders": 1}, {"category": "from NOK", "orders": 1}, {"category": "from USD", "orders": 1}],
            "channels": [{"channel": "WEB", "orders": 7}], "referrals": 1, "reviews": 1,
            "purchaseDays": {"count": 6, "first": "2026-05-01", "last": "2026-05-06", "spendDays": 2, "spend": {"decimal": "60.40"}, "beganBefore": true}})
    );
    assert_eq!(
        found["before"],
        json!({"orders": 7, "netRevenue": {"decimal": "188.33"}, "refunds": {"decimal": "30.00"}, "purchaseDays": {"spend": {"decimal": "81.33"}}})
    );
    assert_eq!(
        (
            &found["nothing"]["orders"],
            &found["nothing"]["netRevenue"],
            &found["nothing"]["coverage"]
        ),
        (&json!(0), &Value::Null, &Value::Null)
    );
    assert_eq!(
        found["did"]["activity"],
        json!([{"name": "Referral Converted", "count": 1, "days": [{"day": "2026-05-08", "count": 1}]},
            {"name": "Review Submitted", "count": 1, "days": [{"day": "2026-05-09", "count": 1}]},
            {"name": "Signed In", "count": 3, "days": [{"day": "2026-05-01", "count": 1}, {"day": "2026-05-02", "count": 2}]}])
    );
    assert_eq!(found["some"]["activity"], json!([{"name": "Signed In", "count": 2}]));
    assert_clean(&app, "everything as it was told").await;

    // A rate for the kroner, and another one for the dollars: whoever bought by them is looked at again, and nobody else.
    app.batch(&key, json!([order("bob", "9", "2026-05-05T00:00:00Z", "1", "EUR")]))
        .await;
    app.run_due_refresh().await;
    let told = app.count("change").await;
    rates(&app, &[("2026-05-05", "NOK", "EUR", "0.1")]).await;
    rates(&app, &[("2026-05-03", "USD", "EUR", "1")]).await;
    assert_eq!(
        app.scalar("SELECT COUNT(*) FROM job WHERE kind = 'refresh_mark'").await,
        1,
        "one for all of them"
    );
    app.clock.advance(Duration::from_secs(11));
    app.run_due_jobs().await;
    assert_eq!(app.marked().await, 1, "who bought in the reporting currency needs no rate");
    app.clock.advance(Duration::from_secs(3));
    app.run_due_refresh().await;
    assert!(app.count("change").await > told);
    let found = facts(&app, "ada", "facts { coverage netRevenue { decimal } }").await;
    assert_eq!(
        found["facts"],
        json!({"coverage": 6.0 / 7.0, "netRevenue": {"decimal": "172.80"}}),
        "1.00 more, and 4.50 less 0.10"
    );
    let stored = "SELECT net_minor FROM customer_value WHERE order_count = 7";
    assert_eq!(app.scalar(stored).await, 17_280);
    assert_clean(&app, "other rates").await;

    // However many buy in dollars from now on, sums stay in euros.
    app.batch(
        &key,
        json!(
            (0..20)
                .map(|n| order("eva", &format!("d{n}"), "2026-05-03T00:00:00Z", "1", "USD"))
                .collect::<Vec<_>>()
        ),
    )
    .await;
    app.run_due_refresh().await;
    assert_eq!(
        facts(&app, "eva", "facts { currency }").await["facts"]["currency"],
        json!("EUR")
    );
    assert_eq!(
        app.scalar("SELECT COUNT(*) FROM installation WHERE name = 'reporting_currency' AND value = 'EUR'")
            .await,
        1
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_are_exact_on_sqlite() {
    facts_are_exact_in_the_reporting_currency_and_in_days_of_the_zone(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_are_exact_on_postgres() {
    facts_are_exact_in_the_reporting_currency_and_in_days_of_the_zone(Backend::Postgres).await;
}

async fn stored(app: &TestApp, sql: &str) -> Vec<i64> {
    use sea_orm::{ConnectionTrait as _, Statement};
    let store = &app.server.services.store;
    let rows = store
        .reader()
        .query_all_raw(Statement::from_string(store.backend(), sql))
        .await
        .expect(sql);
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

on_both! {
    async fn facts_and_activity_move_with_their_records_and_go_with_the_person(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let review = |user: &str, at: &str, n: &str| track(user, "Review Submitted", at, &format!("{user}-{n}"), json!({"rating": 5}));
        app.batch(&key, json!([order("ada", "1", "2026-05-01T00:00:00Z", "100", "EUR"), review("ada", "2026-05-01T00:00:00Z", "a")])).await;
        app.batch(&key, json!([order("eva", "2", "2026-05-02T00:00:00Z", "20", "EUR"), review("eva", "2026-05-01T09:00:00Z", "a")])).await;
        app.batch(&key, json!([{"type": "identify", "userId": "bob", "messageId": "b"}])).await;
        app.run_due_refresh().await;
        let (ada, eva, bob) = (record(&app, "ada"), record(&app, "eva"), record(&app, "bob"));
        // Told of, and merged before somebody comes.
        app.batch(&key, json!([review("eva", "2026-05-03T00:00:00Z", "b")])).await;
        decide(&app, Decision::Merge { into: CustomerId(ada.0), from: CustomerId(eva.0) }).await.expect("merged");
        app.run_due_refresh().await;
        assert_eq!(stored(&app, "SELECT review_count FROM customer_value").await, [3]);
        assert_eq!(stored(&app, "SELECT net_minor FROM customer_value").await, [12_000]);
        assert_eq!(stored(&app, "SELECT day_count FROM customer_value").await, [2]);
        assert_eq!(stored(&app, "SELECT count FROM activity ORDER BY day").await, [2, 1], "two of one day, of either record");
        assert_clean(&app, "a merge").await;
        decide(&app, Decision::Merge { into: CustomerId(ada.0), from: CustomerId(bob.0) }).await.expect("merged");
        assert_eq!(app.marked().await, 0, "who did nothing brings nothing");
        // An event of the day before is told, and the record parted before somebody comes.
        app.batch(&key, json!([review("eva", "2026-04-30T00:00:00Z", "c")])).await;
        decide(&app, Decision::Split { customer: CustomerId(ada.0), records: vec![eva] }).await.expect("split");
        app.run_due_refresh().await;
        assert_eq!(stored(&app, "SELECT review_count FROM customer_value ORDER BY net_minor").await, [3, 1]);
        assert_eq!(stored(&app, "SELECT net_minor FROM customer_value ORDER BY net_minor").await, [2_000, 10_000]);
        assert_eq!(app.count("activity").await, 4);
        assert_clean(&app, "a split").await;
        let data = app.ask(&format!(r#"mutation {{ customerErase(input: {{ id: "{}", reason: "asked" }}) {{ userErrors {{ message }} }} }}"#,
            id_of(eva))).await;
        assert_eq!(data["customerErase"]["userErrors"], json!([]));
        assert_eq!((app.count("activity").await, app.count("customer_value").await), (1, 1), "at once");
        app.stop().await;
    }

    async fn what_lies_ahead_is_looked_at_when_it_comes(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let ahead = "2026-06-01T13:00:00.000001Z";
        app.batch(&key, json!([order("ada", "1", ahead, "100", "EUR")])).await;
        app.run_due_refresh().await;
        let due = Instant::parse(ahead).unwrap().micros();
        assert_eq!((stored(&app, "SELECT order_count FROM customer_value").await, stored(&app, "SELECT due_at FROM due").await), (vec![0], vec![due]));
        app.clock.advance(Duration::from_secs(3600));
        app.run_due_refresh().await;
        assert_eq!(stored(&app, "SELECT order_count FROM customer_value").await, [0], "one microsecond before");
        assert_eq!(facts(&app, "ada", "facts { orders }").await["facts"]["orders"], json!(0));
        app.clock.advance(Duration::from_micros(1));
        app.run_due_refresh().await;
        assert_eq!((stored(&app, "SELECT order_count FROM customer_value").await, app.marked().await), (vec![1], 0));
        assert_eq!(facts(&app, "ada", "facts { orders }").await["facts"]["orders"], json!(1));
        let (_, refused) = app.graphql(ADMIN_KEY, json!({"query":
            format!(r#"{{ customer(id: "{}") {{ facts(asOf: "2026-06-02T00:00:00Z") {{ orders }} }} }}"#, id_of(record(&app, "ada")))})).await;
        assert_eq!(refused["errors"][0]["message"], json!("asOf: must not lie in the future"));
        app.stop().await;
    }

    async fn another_zone_has_everybody_looked_at_again(app: TestApp) {
        let key = app.source("web", "WEB").await;
        app.batch(&key, json!([order("ada", "1", "2026-05-01T20:00:00Z", "100", "EUR"), track("ada", "Signed In", "2026-05-01T20:00:00Z", "s", json!({}))])).await;
        app.run_due_refresh().await;
        assert_eq!((stored(&app, "SELECT first_day FROM customer_value").await, app.count("activity").await), (vec![20_574], 0));
        let services = &app.server.services;
        assert!(!refresh::follow_rules(services).await.unwrap(), "nothing is other than when the server started");
        let other = ValueRules { zone: chrono_tz::Tz::Asia__Shanghai, activity: vec!["Signed In".to_owned()], ..ValueRules::default() };
        let other = services.clone().valuing(other);
        assert!(refresh::follow_rules(&other).await.unwrap() && !refresh::follow_rules(&other).await.unwrap());
        app.run_due_jobs_of(&jobs::runner(&other)).await;
        app.clock.advance(Duration::from_secs(3));
        app.run_due_refresh_of(&Refresher::new(&other)).await;
        assert_eq!(stored(&app, "SELECT first_day FROM customer_value").await, [20_575], "the next day in Shanghai");
        assert_eq!(stored(&app, "SELECT day FROM activity").await, [20_575], "and what nobody asked about before is counted");
        app.stop().await;
    }

    async fn a_page_of_facts_and_a_group_of_events_cost_what_one_does(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let store = app.server.services.store.clone();
        let mut of_intake = Vec::new();
        for (count, series) in [(50, "warm"), (1, "one"), (50, "many")] {
            let reviews = (0..count).map(|n| track(&format!("u{n}"), "Review Submitted", "2026-05-01T00:00:00Z", &format!("{series}-{n}"), json!({"rating": 4})));
            let before = store.statement_count();
            app.batch(&key, json!(reviews.collect::<Vec<_>>())).await;
            of_intake.push(store.statement_count() - before);
            let orders = (0..count).map(|n| order(&format!("u{n}"), series, "2026-05-02T00:00:00Z", "5", "EUR"));
            app.batch(&key, json!(orders.collect::<Vec<_>>())).await;
            app.run_due_refresh().await;
        }
        assert_eq!(of_intake[1], of_intake[2]);
        let mut costs = Vec::new();
        for first in [1, 50] {
            let before = store.statement_count();
            let data = app.ask(&format!("{{ customers(first: {first}) {{ nodes {{ facts {{ {FACTS} activity(from: \"2026-05-01\") {{ name count }} }} }} }} }}")).await;
            costs.push(store.statement_count() - before);
            let nodes = data["customers"]["nodes"].as_array().unwrap();
            assert_eq!(nodes.len(), first);
            assert!(nodes.iter().all(|node| node["facts"]["reviews"].as_i64() >= Some(2) && node["facts"]["orders"].as_i64() >= Some(2)), "{data}");
        }
        // The customers, and at most: activity, orders, what was bought, single events.
        assert_eq!(costs, [5, 5]);
        app.stop().await;
    }
}
