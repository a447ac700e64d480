//! RFM, churn and early warnings of customers, with their histories, and how everybody moved.

use super::support::app::ADMIN_KEY;
use super::support::{TestApp, on_both};
use entity::{ValueModelKind, change, metric_change, value_model};
use sea_orm::{FromQueryResult as _, Statement, TransactionTrait as _};
use serde_json::{Value, json};
use std::time::Duration;
use tributary::base::Instant;
use tributary::value::models::store as models;

const HOUR: Duration = Duration::from_secs(3600);
const MICRO: Duration = Duration::from_micros(1);

fn track(user: &str, event: &str, at: &str, properties: Value) -> Value {
    json!({"type": "track", "event": event, "userId": user, "messageId": format!("{user}-{event}-{at}"), "timestamp": at, "properties": properties})
}

fn order(user: &str, at: &str, revenue: i64) -> Value {
    track(
        user,
        "Order Completed",
        at,
        json!({"order_id": format!("{user}-{at}"), "revenue": revenue, "currency": "EUR"}),
    )
}

fn row(version: i64, kind: ValueModelKind, model: Value) -> value_model::Model {
    value_model::Model {
        version,
        kind,
        fitted_at: 0,
        as_of: 0,
        published_at: None,
        chosen: true,
        customers: 100,
        model,
        job_id: None,
    }
}

/// Puts a version in force: BG/NBD of CDNOW in days, and cuts after 9, 19, 39 and 59 days, at 2 to 5 purchase days, and at 10, 15, 20 and 90
/// euros, where high is a score above 2.5, 1.5 and 2.5.
async fn publish(app: &TestApp, version: i64, recency: [i64; 4]) {
    let parameters = json!({"r": 0.242594522, "alpha": 30.895214133, "a": 0.792922017, "b": 2.425906777});
    let buying = json!({"parameters": parameters, "logLikelihood": -9582.4, "converged": true, "iterations": 9, "gradientNorm": 0.0,
        "customers": 100, "different": 50, "warnings": []});
    let monetary = ["1000", "1500", "2000", "9000"];
    let cuts = json!({"recency": recency, "frequency": [2, 3, 4, 5], "monetary": monetary, "means": [2.5, 1.5, 2.5]});
    let rows = [
        row(version, ValueModelKind::BgNbd, buying),
        row(version, ValueModelKind::Rfm, cuts),
        row(version, ValueModelKind::Gaps, json!({"gapDays": {}})),
    ];
    let tx = app.server.services.store.writer().begin().await.unwrap();
    models::insert(&tx, &rows).await.unwrap();
    tx.commit().await.unwrap();
    let published = app
        .ask(&format!(
            "mutation {{ valueModelPublish(input: {{version: {version}}}) {{ version userErrors {{ message }} }} }}"
        ))
        .await;
    assert_eq!(published["valueModelPublish"], json!({"version": version, "userErrors": []}));
    app.run_due_jobs().await;
    // Marks of many are spread over some seconds; what they tell holds since they were made.
    app.clock.advance(Duration::from_secs(5));
    app.run_due_refresh().await;
}

/// Moves the clock to an instant and looks at whoever is due.
async fn look_at(app: &TestApp, at: &str) {
    let to = Instant::parse(at).unwrap().micros() - app.clock.now().micros();
    app.clock.advance(Duration::from_micros(u64::try_from(to).unwrap()));
    app.run_due_refresh().await;
}

/// Looks a microsecond before an instant, when nothing may be told yet, and at it.
async fn look_around(app: &TestApp, at: &str) {
    let before = Instant::parse(at).unwrap().minus(MICRO).to_string();
    let rows = app.count("metric_change").await;
    look_at(app, &before).await;
    assert_eq!(app.count("metric_change").await, rows, "nothing changes before {at}");
    look_at(app, at).await;
}

async fn customer(app: &TestApp, user: &str, fields: &str) -> Value {
    let query = format!(r#"{{ customerBy(identifier: {{kind: USER_ID, value: "{user}"}}) {{ {fields} }} }}"#);
    app.ask(&query).await["customerBy"].clone()
}

const RFM: &str = "rfm { class recencyDays frequency monetary { decimal currency } recencyScore frequencyScore monetaryScore since modelVersion }";

/// The history of a metric of a user, the oldest first: value, since when, of what kind the cause is, model version.
async fn history(app: &TestApp, user: &str, metric: &str) -> Vec<(String, String, String, Option<i64>)> {
    let store = &app.server.services.store;
    let keys = store.hash_key();
    let record = keys.record(keys.source("web"), &format!("u:{user}"));
    let sql = "SELECT m.* FROM metric_change m JOIN record r ON r.customer_id = m.customer_id WHERE r.id = $1 AND m.metric = $2 ORDER BY m.rev";
    let statement = Statement::from_sql_and_values(store.backend(), sql, [record.0.into(), metric.into()]);
    let rows = metric_change::Model::find_by_statement(statement)
        .all(store.reader())
        .await
        .unwrap();
    let kind = |cause: &str| cause.split(':').next().unwrap_or_default().to_owned();
    let told = rows.into_iter();
    told.map(|row| {
        (
            row.value,
            Instant::from_micros(row.from_at).to_string(),
            kind(&row.cause),
            row.model_version,
        )
    })
    .collect()
}

fn told(rows: &[(&str, &str, &str, Option<i64>)]) -> Vec<(String, String, String, Option<i64>)> {
    let owned = |row: &(&str, &str, &str, Option<i64>)| (row.0.to_owned(), row.1.to_owned(), row.2.to_owned(), row.3);
    rows.iter().map(owned).collect()
}

/// What the log says of a metric of a user, in order: before and after, when, of what kind the cause is, model versions.
async fn logged(app: &TestApp, user: &str, metric: &str) -> Vec<(Value, String, String, Value)> {
    let store = &app.server.services.store;
    let keys = store.hash_key();
    let record = keys.record(keys.source("web"), &format!("u:{user}"));
    let sql = "SELECT c.* FROM change c JOIN change_tx t ON t.tx_id = c.tx_id JOIN record r ON r.customer_id = c.customer_id
               WHERE r.id = $1 ORDER BY t.ordinal, c.n";
    let statement = Statement::from_sql_and_values(store.backend(), sql, [record.0.into()]);
    let rows = change::Model::find_by_statement(statement).all(store.reader()).await.unwrap();
    let told = rows.into_iter().filter_map(|row| {
        let changed = row.changed.unwrap_or_default();
        let cause = row.cause.unwrap_or_default().split(':').next().unwrap_or_default().to_owned();
        let at = Instant::from_micros(row.occurred_at).to_string();
        let versions = changed.get(format!("{metric}.modelVersion")).cloned().unwrap_or_default();
        Some((changed.get(metric)?.clone(), at, cause, versions))
    });
    told.collect()
}

on_both! {
    async fn classes_bands_and_warnings_change_at_their_instants_and_say_of_what(app: TestApp) {
        let key = app.source("web", "WEB").await;
        app.batch(&key, json!([
            order("a", "2026-06-01T10:00:00Z", 12),
            track("c", "Page Seen", "2026-06-01T10:00:00Z", json!({})),
        ])).await;
        app.run_due_refresh().await;
        let unknown = customer(&app, "a", "rfm { class } churn { probability horizonDays band since reasons modelVersion } warnings { kind }").await;
        let nothing = json!({"probability": null, "horizonDays": null, "band": null, "since": null, "modelVersion": null,
            "reasons": ["no model of buying is published"]});
        assert_eq!(unknown, json!({"rfm": null, "churn": nothing, "warnings": []}));

        // A version is published: everybody who bought has a class and a band.
        app.clock.advance(HOUR);
        publish(&app, 1, [9, 19, 39, 59]).await;
        assert_eq!(customer(&app, "a", RFM).await["rfm"], json!({
            "class": "GENERAL_DEVELOP", "recencyDays": 0, "frequency": 1, "monetary": {"decimal": "12.00", "currency": "EUR"},
            "recencyScore": 5, "frequencyScore": 1, "monetaryScore": 2, "since": "2026-06-01T13:00:00Z", "modelVersion": 1}));
        let churn = customer(&app, "a", "churn { probability horizonDays band since reasons modelVersion asOf }").await["churn"].clone();
        assert!((churn["probability"].as_f64().unwrap() - 0.848_221_637_289_779_5).abs() < 1e-6, "{churn}");
        assert_eq!(churn["reasons"], json!(["they bought on one day only, 2026-06-01"]));
        assert_eq!((&churn["band"], &churn["horizonDays"], &churn["modelVersion"]), (&json!("HIGH"), &json!(30), &json!(1)));
        assert_eq!((&churn["since"], &churn["asOf"]), (&json!("2026-06-01T13:00:00Z"), &json!("2026-06-01T13:00:05Z")));
        assert_eq!(customer(&app, "c", "rfm { class } churn { probability reasons }").await,
            json!({"rfm": null, "churn": {"probability": null, "reasons": ["nothing was bought since the data begin"]}}));

        // They buy again; then somebody else buys much, which changes nothing for them.
        look_at(&app, "2026-06-02T12:00:00Z").await;
        app.batch(&key, json!([order("a", "2026-06-02T12:00:00Z", 30)])).await;
        app.run_due_refresh().await;
        let second = ("IMPORTANT_VALUE", "2026-06-02T12:00:00Z", "transaction", Some(1));
        let first = ("GENERAL_DEVELOP", "2026-06-01T13:00:00Z", "model", Some(1));
        assert_eq!(history(&app, "a", "rfm").await, told(&[first, second]));
        let bands = [("HIGH", "2026-06-01T13:00:00Z", "model", Some(1)), ("MEDIUM", "2026-06-02T12:00:00Z", "transaction", Some(1))];
        assert_eq!(history(&app, "a", "churn").await, told(&bands));
        app.batch(&key, json!((27..32).map(|day| order("b", &format!("2026-05-{day}T10:00:00Z"), 100)).collect::<Vec<_>>())).await;
        app.run_due_refresh().await;
        assert_eq!(history(&app, "a", "rfm").await.len(), 2);
        assert_eq!(customer(&app, "b", "rfm { class }").await["rfm"], json!({"class": "IMPORTANT_VALUE"}));

        // Midnights, and nothing before: b's recency falls on the tenth day, a's two days later.
        look_at(&app, "2026-06-10T12:00:00Z").await;
        look_around(&app, "2026-06-12T00:00:00Z").await;
        let third = ("IMPORTANT_VALUE", "2026-06-12T00:00:00Z", "time", Some(1));
        assert_eq!(history(&app, "a", "rfm").await, told(&[first, second, third]));
        let rfm = customer(&app, "a", RFM).await["rfm"].clone();
        assert_eq!((&rfm["recencyScore"], &rfm["recencyDays"], &rfm["since"]), (&json!(4), &json!(10), &json!("2026-06-12T00:00:00Z")));
        look_around(&app, "2026-06-18T00:00:00Z").await;
        let high = ("HIGH", "2026-06-18T00:00:00Z", "time", Some(1));
        assert_eq!(history(&app, "a", "churn").await, told(&[bands[0], bands[1], high]), "at 17 days of age the probability passes 0.7");

        // An outage until they are late: what was missed has its true instants.
        look_at(&app, "2026-08-01T11:59:59.999999Z").await;
        assert_eq!(history(&app, "a", "rfm").await[3..], told(&[
            ("IMPORTANT_VALUE", "2026-06-22T00:00:00Z", "time", Some(1)),
            ("IMPORTANT_KEEP", "2026-07-12T00:00:00Z", "time", Some(1)),
            ("IMPORTANT_KEEP", "2026-08-01T00:00:00Z", "time", Some(1)),
        ]));
        assert!(history(&app, "a", "warning.gap").await.is_empty());
        look_at(&app, "2026-08-01T12:00:00Z").await;
        assert_eq!(history(&app, "a", "warning.gap").await, told(&[("ON", "2026-08-01T12:00:00Z", "time", None)]));
        app.batch(&key, json!([
            track("a", "Survey Answered", "2026-08-01T12:00:00Z", json!({"kind": "NPS", "score": 3})),
            track("a", "Subscription Cancelled", "2026-08-01T12:00:00Z", json!({})),
            order("d", "2026-08-01T12:00:00Z", 5),
        ])).await;
        app.run_due_refresh().await;
        let late = json!({"lastOrderAt": "2026-06-02T12:00:00Z", "usualGapDays": 30.0});
        let since = json!("2026-08-01T12:00:00Z");
        let warnings = customer(&app, "a", "warnings { kind since detail }").await["warnings"].clone();
        assert_eq!(warnings, json!([
            {"kind": "CONTRACT", "since": since, "detail": {"cancelledAt": since}},
            {"kind": "GAP", "since": since, "detail": late},
            {"kind": "RECOMMENDATION", "since": since, "detail": {"answeredAt": since, "score": 3}},
        ]));
        let reasons = customer(&app, "a", "churn { reasons }").await["churn"]["reasons"].clone();
        assert_eq!(reasons[0], json!("they cancelled their subscription on 2026-08-01 and did not start it again"), "{reasons}");
        assert_eq!(reasons[1], json!("no order for 60 days, 2 times the usual gap of 30 days"), "{reasons}");

        // How everybody moved.
        let report = app.ask(r#"{
            rfmMatrix(since: "2026-06-10T12:00:00Z") { modelVersion cells { class customers netRevenue { decimal } } movement { from to customers } }
            plain: rfmMatrix { movement { customers } }
            lifecycleFunnel(from: "2026-06-01T12:30:00Z") { to stages { stage atFrom atTo } transitions { from to customers } }
        }"#).await;
        let filled: Vec<&Value> = report["rfmMatrix"]["cells"].as_array().unwrap().iter().filter(|cell| cell["customers"] != json!(0)).collect();
        assert_eq!(report["rfmMatrix"]["cells"].as_array().unwrap().len(), 8);
        assert_eq!(json!(filled), json!([
            {"class": "IMPORTANT_KEEP", "customers": 2, "netRevenue": {"decimal": "542.00"}},
            {"class": "GENERAL_DEVELOP", "customers": 1, "netRevenue": {"decimal": "5.00"}},
        ]));
        assert_eq!(report["rfmMatrix"]["movement"], json!([
            {"from": null, "to": "GENERAL_DEVELOP", "customers": 1},
            {"from": "IMPORTANT_VALUE", "to": "IMPORTANT_KEEP", "customers": 2},
        ]));
        assert_eq!((&report["plain"]["movement"], &report["rfmMatrix"]["modelVersion"]), (&Value::Null, &json!(1)));
        assert_eq!(report["lifecycleFunnel"], json!({
            "to": since,
            "stages": [
                {"stage": "POTENTIAL", "atFrom": 1, "atTo": 1}, {"stage": "GROWTH", "atFrom": 1, "atTo": 1},
                {"stage": "MATURE", "atFrom": 0, "atTo": 0}, {"stage": "DECLINE", "atFrom": 0, "atTo": 2},
            ],
            "transitions": [
                {"from": null, "to": "DECLINE", "customers": 1}, {"from": null, "to": "GROWTH", "customers": 1},
                {"from": "GROWTH", "to": "DECLINE", "customers": 1}, {"from": "POTENTIAL", "to": "POTENTIAL", "customers": 1},
            ],
        }));
        let backwards = json!({"query": r#"{ lifecycleFunnel(from: "2026-06-02T00:00:00Z", to: "2026-06-01T00:00:00Z") { to } }"#});
        let (_, refused) = app.graphql(ADMIN_KEY, backwards).await;
        assert_eq!(refused["errors"][0]["extensions"]["code"], json!("BAD_INPUT"), "{refused}");

        // Another version with other cuts moves them, and says so.
        app.clock.advance(HOUR);
        publish(&app, 2, [9, 19, 60, 90]).await;
        let last = history(&app, "a", "rfm").await.pop().unwrap();
        assert_eq!(last, told(&[("IMPORTANT_VALUE", "2026-08-01T13:00:00Z", "model", Some(2))])[0]);

        // A page of many customers costs no more statements than one of few.
        let page = format!("{{ customers(first: 50) {{ nodes {{ {RFM} churn {{ probability reasons band }} warnings {{ kind }} }} }} }}");
        let mut costs = Vec::new();
        for series in 0..3 {
            let more = (0..series * 10).map(|n| order(&format!("more{series}-{n}"), "2026-08-01T12:30:00Z", 20));
            app.batch(&key, more.chain([order("d", &format!("2026-08-01T12:3{series}:00Z"), 1)]).collect()).await;
            app.run_due_refresh().await;
            let before = app.server.services.store.statement_count();
            app.ask(&page).await;
            costs.push(app.server.services.store.statement_count() - before);
        }
        assert_eq!((costs[1], costs[2]), (costs[0], costs[0]));

        // All of it is in the log, with its cause and the version that had a say.
        let in_log = |metric: &'static str| logged(&app, "a", metric);
        let row = |pair: Value, at: &str, cause: &str, versions: Value| (pair, at.to_owned(), cause.to_owned(), versions);
        assert_eq!(in_log("churn").await[..3], [
            row(json!([null, "HIGH"]), "2026-06-01T13:00:00Z", "model", json!([null, 1])),
            row(json!(["HIGH", "MEDIUM"]), "2026-06-02T12:00:00Z", "transaction", json!([1, 1])),
            row(json!(["MEDIUM", "HIGH"]), "2026-06-18T00:00:00Z", "time", json!([1, 1])),
        ]);
        assert_eq!(in_log("warning.gap").await, [row(json!([null, "ON"]), "2026-08-01T12:00:00Z", "time", Value::Null)]);
        let classes = in_log("rfm").await;
        assert_eq!(classes.len(), 7);
        assert_eq!(classes[6], row(json!(["IMPORTANT_KEEP", "IMPORTANT_VALUE"]), "2026-08-01T13:00:00Z", "model", json!([1, 2])));
        app.stop().await;
    }
}
