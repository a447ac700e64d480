//! The life cycle of customers: stages at their exact instants, with their causes, whoever merges and however late somebody looks.

use super::support::{TestApp, on_both};
use entity::change;
use sea_orm::{ConnectionTrait as _, FromQueryResult as _, Statement};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tributary::access::Actor;
use tributary::base::{CustomerId, Instant, RecordId};
use tributary::identity::Rules;
use tributary::pipeline::mend::{self, Decision, Doer};
use tributary::pipeline::rebuild;
use uuid::Uuid;

/// When every test begins.
const BEGIN: &str = "2026-06-01T12:00:00Z";

fn order(user: &str, at: &str, revenue: i64) -> Value {
    json!({"type": "track", "event": "Order Completed", "userId": user, "messageId": format!("{user}-{at}"), "timestamp": at,
        "properties": {"order_id": format!("{user}-{at}"), "revenue": revenue, "currency": "EUR"}})
}

fn record(app: &TestApp, user: &str) -> RecordId {
    let keys = app.server.services.store.hash_key();
    keys.record(keys.source("web"), &format!("u:{user}"))
}

fn move_to(app: &TestApp, at: &str) {
    let ahead = Instant::parse(at).unwrap().micros() - app.clock.now().micros();
    app.clock.advance(Duration::from_micros(u64::try_from(ahead).unwrap()));
}

async fn look_at(app: &TestApp, at: &str) {
    move_to(app, at);
    app.run_due_refresh().await;
}

async fn customer(app: &TestApp, user: &str, fields: &str) -> Value {
    let query = format!(r#"{{ customerBy(identifier: {{kind: USER_ID, value: "{user}"}}) {{ {fields} }} }}"#);
    app.ask(&query).await["customerBy"].clone()
}

/// `GROWTH`, `DECLINE LOST`.
async fn stage(app: &TestApp, user: &str, arguments: &str) -> String {
    let found = customer(app, user, &format!("lifecycle{arguments} {{ stage subStage }}")).await["lifecycle"].clone();
    let sub = found["subStage"].as_str().map(|sub| format!(" {sub}"));
    format!("{}{}", found["stage"].as_str().unwrap(), sub.unwrap_or_default())
}

/// (value, from, until, kind of the cause, kind of what ended it), the oldest first.
async fn history(app: &TestApp, user: &str) -> Vec<[String; 5]> {
    let fields = r#"metricHistory(metric: "lifecycle", first: 100) { nodes { value from until cause ended } }"#;
    let found = customer(app, user, fields).await["metricHistory"]["nodes"].clone();
    let kind = |value: &Value| value.as_str().unwrap_or("-").split(':').next().unwrap().to_owned();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let rows = found.as_array().unwrap().iter();
    rows.map(|row| {
        [
            text(&row["value"]),
            text(&row["from"]),
            text(&row["until"]),
            kind(&row["cause"]),
            kind(&row["ended"]),
        ]
    })
    .collect()
}

/// What the log says of the stages of a user's own id, in order: [before, after], when, cause.
async fn logged(app: &TestApp, user: &str) -> Vec<(Value, String, String)> {
    let store = &app.server.services.store;
    let sql = "SELECT c.* FROM change c JOIN change_tx t ON t.tx_id = c.tx_id WHERE c.entity_id = $1 ORDER BY t.ordinal, c.n";
    let statement = Statement::from_sql_and_values(store.backend(), sql, [record(app, user).0.into()]);
    let rows = change::Model::find_by_statement(statement).all(store.reader()).await.unwrap();
    let told = rows.into_iter().filter_map(|row| {
        let changed = row.changed.unwrap_or_default();
        let at = Instant::from_micros(row.occurred_at).to_string();
        Some((changed.get("lifecycle")?.clone(), at, row.cause.unwrap_or_default()))
    });
    told.collect()
}

fn kinds(logged: &[(Value, String, String)]) -> Vec<(Value, &str, &str)> {
    let kind = |cause: &'_ str| cause.find(':').unwrap_or(cause.len());
    logged
        .iter()
        .map(|(pair, at, cause)| (pair.clone(), at.as_str(), &cause[..kind(cause)]))
        .collect()
}

/// Decides, and answers the transaction that whoever is marked by it is told of.
async fn decide(app: &TestApp, decision: Decision) -> String {
    let doer = Doer {
        actor: Actor::new("test"),
        reason: "because".to_owned(),
    };
    mend::decide(&app.server.services, &doer, &decision).await.expect("decided");
    let store = &app.server.services.store;
    let sql = "SELECT mark FROM due WHERE marked_at IS NOT NULL";
    let row = store
        .reader()
        .query_one_raw(Statement::from_string(store.backend(), sql))
        .await
        .unwrap();
    row.map(|row| row.try_get_by_index::<Uuid>(0).unwrap().to_string())
        .unwrap_or_default()
}

on_both! {
    async fn stages_change_at_their_instants_and_an_outage_loses_none(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let identify = |user: &str| json!({"type": "identify", "userId": user, "messageId": format!("i-{user}")});
        app.batch(&key, json!([identify("ada"), identify("bob"), identify("never")])).await;
        app.clock.advance(Duration::from_secs(3600));
        app.batch(&key, json!([order("ada", "2026-06-01T13:00:00Z", 10), order("bob", "2026-06-01T13:00:00Z", 10)])).await;
        assert_eq!(stage(&app, "ada", "").await, "POTENTIAL", "nobody has looked yet");
        app.run_due_refresh().await;
        let begun = customer(&app, "ada", "lifecycle { stage subStage winBack since cause nextCheckAt modelVersion }").await["lifecycle"].clone();
        let cause = begun["cause"].as_str().unwrap().to_owned();
        assert!(cause.starts_with("transaction:"), "{cause}");
        assert_eq!(begun, json!({"stage": "GROWTH", "subStage": null, "winBack": "NONE", "since": "2026-06-01T13:00:00Z", "cause": cause,
            "nextCheckAt": "2026-07-31T13:00:00Z", "modelVersion": null}));
        let known = async |user: &str| customer(&app, user, "createdAt").await["createdAt"].as_str().unwrap().to_owned();
        let since = known("never").await;
        let never = customer(&app, "never", r#"lifecycle { stage since cause nextCheckAt } metric(key: "lifecycle") { value since } rfm: metric(key: "rfm") { value }"#).await;
        assert_eq!(never, json!({"lifecycle": {"stage": "POTENTIAL", "since": since, "cause": "created", "nextCheckAt": null},
            "metric": {"value": "POTENTIAL", "since": since}, "rfm": null}));

        // Nothing at one microsecond before.
        look_at(&app, "2026-07-31T12:59:59.999999Z").await;
        assert_eq!((stage(&app, "ada", "").await.as_str(), logged(&app, "ada").await.len()), ("GROWTH", 1));
        look_at(&app, "2026-07-31T13:00:00Z").await;
        assert_eq!(stage(&app, "ada", "").await, "DECLINE");
        let late = customer(&app, "ada", "lifecycle { since cause nextCheckAt }").await["lifecycle"].clone();
        assert_eq!(late, json!({"since": "2026-07-31T13:00:00Z", "cause": "time", "nextCheckAt": "2026-09-29T13:00:00Z"}));

        // Bob orders just before; then nobody looks until both are lost, but for news of Bob in between.
        move_to(&app, "2026-11-01T00:00:00Z");
        app.batch(&key, json!([order("bob", "2026-11-01T00:00:00Z", 10)])).await;
        look_at(&app, "2027-06-01T00:00:00Z").await;
        assert_eq!(stage(&app, "bob", "").await, "DECLINE LOST");
        let told = logged(&app, "bob").await;
        assert_eq!(kinds(&told), [
            (json!(["POTENTIAL", "GROWTH"]), "2026-06-01T13:00:00Z", "transaction"),
            (json!(["GROWTH", "DECLINE"]), "2026-07-31T13:00:00Z", "time"),
            (json!(["DECLINE", "DECLINE"]), "2026-09-29T13:00:00Z", "time"),
            (json!(["DECLINE", "GROWTH"]), "2026-11-01T00:00:00Z", "transaction"),
            (json!(["GROWTH", "DECLINE"]), "2026-12-31T00:00:00Z", "time"),
            (json!(["DECLINE", "DECLINE"]), "2027-03-01T00:00:00Z", "time"),
        ]);
        let row = |row: [&str; 5]| row.map(str::to_owned);
        assert_eq!(history(&app, "bob").await, [
            row(["POTENTIAL", &known("bob").await, "2026-06-01T13:00:00Z", "created", "transaction"]),
            row(["GROWTH", "2026-06-01T13:00:00Z", "2026-07-31T13:00:00Z", "transaction", "time"]),
            row(["DECLINE", "2026-07-31T13:00:00Z", "2026-09-29T13:00:00Z", "time", "time"]),
            row(["DECLINE", "2026-09-29T13:00:00Z", "2026-11-01T00:00:00Z", "time", "transaction"]),
            row(["GROWTH", "2026-11-01T00:00:00Z", "2026-12-31T00:00:00Z", "transaction", "time"]),
            row(["DECLINE", "2026-12-31T00:00:00Z", "2027-03-01T00:00:00Z", "time", "time"]),
            row(["DECLINE", "2027-03-01T00:00:00Z", "-", "time", "-"]),
        ]);
        for (at, expected) in [
            ("2026-06-01T12:59:59.999999Z", "POTENTIAL"),
            ("2026-06-01T13:00:00Z", "GROWTH"),
            ("2026-09-29T12:59:59.999999Z", "DECLINE"),
            ("2026-09-29T13:00:00Z", "DECLINE LOST"),
            ("2026-12-30T00:00:00Z", "GROWTH"),
            ("2027-05-30T00:00:00Z", "DECLINE LOST"),
        ] {
            assert_eq!(stage(&app, "bob", &format!(r#"(asOf: "{at}")"#)).await, expected, "{at}");
        }

        // Pages hold each interval once.
        let (mut after, mut pages) = (Value::Null, Vec::new());
        loop {
            let query = r#"query($after: String) { customerBy(identifier: {kind: USER_ID, value: "bob"}) {
                metricHistory(metric: "lifecycle", first: 3, after: $after) { nodes { from } pageInfo { hasNextPage endCursor } } } }"#;
            let page = app.ask_with(query, json!({"after": after})).await["customerBy"]["metricHistory"].clone();
            pages.push(page["nodes"].as_array().unwrap().iter().map(|node| node["from"].as_str().unwrap().to_owned()).collect::<Vec<_>>());
            after = page["pageInfo"]["endCursor"].clone();
            if page["pageInfo"]["hasNextPage"] == json!(false) {
                break;
            }
        }
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 1]);
        let froms: Vec<String> = history(&app, "bob").await.into_iter().map(|[_, from, ..]| from).collect();
        assert_eq!(pages.concat(), froms);

        // A page of three costs as many statements as one of two, of whom one bought.
        let fields = r#"lifecycle { stage nextCheckAt } was: lifecycle(asOf: "2026-08-01T00:00:00Z") { stage } metricHistory(metric: "lifecycle", first: 2) { nodes { value } }"#;
        let mut costs = Vec::new();
        for first in [2, 3] {
            let before = app.server.services.store.statement_count();
            let found = app.ask(&format!("{{ customers(first: {first}) {{ nodes {{ {fields} }} }} }}")).await;
            assert_eq!(found["customers"]["nodes"].as_array().unwrap().len(), first);
            costs.push(app.server.services.store.statement_count() - before);
        }
        assert_eq!(costs[0], costs[1]);
        let (_, refused) = app.graphql(crate::support::app::ADMIN_KEY, json!({"query": r#"{ customers(first: 1) { nodes { metric(key: "mood") { value } } } }"#})).await;
        assert!(refused["errors"][0]["message"].as_str().unwrap().contains("is none of lifecycle, rfm"), "{refused}");
        app.stop().await;
    }

    async fn buyers_who_merge_have_one_life_cycle_and_both_histories(app: TestApp) {
        let key = app.source("web", "WEB").await;
        app.batch(&key, json!([order("ada", "2026-06-01T12:00:00Z", 10), order("eva", "2026-06-01T12:00:00Z", 10),
            {"type": "identify", "userId": "bob", "messageId": "b"}])).await;
        app.run_due_refresh().await;
        look_at(&app, "2026-07-01T12:00:00Z").await;
        app.batch(&key, json!([order("eva", "2026-07-01T12:00:00Z", 10)])).await;
        look_at(&app, "2026-08-01T12:00:00Z").await;
        assert_eq!([stage(&app, "ada", "").await, stage(&app, "eva", "").await], ["DECLINE", "GROWTH"]);
        let (ada, eva, bob) = (CustomerId(record(&app, "ada").0), CustomerId(record(&app, "eva").0), CustomerId(record(&app, "bob").0));

        let transaction = decide(&app, Decision::Merge { into: ada, from: eva }).await;
        app.run_due_refresh().await;
        assert_eq!(stage(&app, "eva", "").await, "GROWTH", "ada's last order is eva's");
        let told = logged(&app, "eva").await;
        assert_eq!(told[told.len() - 1], (json!(["GROWTH", null]), "2026-08-01T12:00:00Z".to_owned(), format!("merge:{transaction}")));
        let row = |row: [&str; 5]| row.map(str::to_owned);
        let merged = history(&app, "ada").await;
        assert_eq!(history(&app, "eva").await, merged);
        let decline = row(["DECLINE", "2026-07-31T12:00:00Z", "2026-08-01T12:00:00Z", "time", "transaction"]);
        let growths = [
            row(["GROWTH", BEGIN, "2026-07-31T12:00:00Z", "transaction", "time"]),
            row(["GROWTH", BEGIN, "2026-08-01T12:00:00Z", "transaction", "merge"]),
        ];
        assert_eq!(merged.len(), 4, "{merged:?}");
        assert!(growths.iter().all(|growth| merged[..2].contains(growth)), "{merged:?}");
        assert_eq!(merged[2..], [decline.clone(), row(["GROWTH", "2026-08-01T12:00:00Z", "-", "transaction", "-"])]);
        assert_eq!(stage(&app, "eva", r#"(asOf: "2026-07-31T18:00:00Z")"#).await, "DECLINE", "the id of today goes before the other");

        // Who never ordered brings nothing, and is nothing anew.
        let before = app.count("metric_change").await;
        decide(&app, Decision::Merge { into: ada, from: bob }).await;
        app.run_due_refresh().await;
        assert_eq!(app.count("metric_change").await, before);

        look_at(&app, "2026-08-11T12:00:00Z").await;
        decide(&app, Decision::Split { customer: ada, records: vec![record(&app, "eva")] }).await;
        app.run_due_refresh().await;
        assert_eq!([stage(&app, "ada", "").await, stage(&app, "eva", "").await], ["DECLINE", "GROWTH"]);
        assert_eq!(history(&app, "eva").await, [growths[1].clone(), row(["GROWTH", "2026-08-11T12:00:00Z", "-", "unmerge", "-"])]);
        assert_eq!(stage(&app, "eva", r#"(asOf: "2026-08-05T00:00:00Z")"#).await, "GROWTH", "what held when she became part of ada");
        look_at(&app, "2026-08-30T12:00:00Z").await;
        assert_eq!(stage(&app, "eva", "").await, "DECLINE");
        let mut found = Vec::new();
        let services = &app.server.services;
        let rules = Arc::new(Rules::parse(services.rules.configured()).unwrap());
        rebuild::check(&services.store, rules, (services.value.clone(), services.now()), &mut found).await.unwrap();
        assert_eq!(found, []);

        // Of who is erased nothing is left, under no id.
        let of_others = app.count("metric_change").await;
        app.batch(&key, json!([order("zoe", "2026-08-30T12:00:00Z", 10), order("ivy", "2026-08-30T12:00:00Z", 10)])).await;
        app.run_due_refresh().await;
        let (zoe, ivy) = (CustomerId(record(&app, "zoe").0), CustomerId(record(&app, "ivy").0));
        decide(&app, Decision::Merge { into: zoe, from: ivy }).await;
        app.run_due_refresh().await;
        assert_eq!(app.count("metric_change").await, of_others + 2);
        let query = "mutation($input: CustomerEraseInput!) { customerErase(input: $input) { userErrors { message } } }";
        let id = customer(&app, "zoe", "id").await["id"].clone();
        let erased = app.ask_with(query, json!({"input": {"id": id, "reason": "asked"}})).await;
        assert_eq!(erased["customerErase"]["userErrors"], json!([]));
        app.run_due_jobs().await;
        app.run_due_refresh().await;
        assert_eq!(app.count("metric_change").await, of_others);
        app.stop().await;
    }
}
