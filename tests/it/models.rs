//! Models of what customers are worth: fitted to purchases that came through the front door, published, taken back, and asked.

use super::support::app::ADMIN_KEY;
use super::support::{TestApp, on_both};
use chrono::{Days, NaiveDate};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tributary::access::Actor;
use tributary::base::money::Currency;
use tributary::base::{Instant, Money};
use tributary::ingest::file::SpendRow;
use tributary::value::inputs::{self, Input};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// The CDNOW calibration ends on the day on which tests begin.
const CALIBRATION_END: &str = "1997-09-30";
const TODAY: &str = "2026-06-01";

fn file(name: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/data/clv/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// Purchases of CDNOW, moved so that the calibration ends today.
fn cdnow() -> Vec<Value> {
    let shift = Days::new(u64::try_from((day(TODAY) - day(CALIBRATION_END)).num_days()).unwrap());
    let text = file("cdnow_transactions.csv");
    let rows = text.lines().skip(1).enumerate().filter_map(|(n, line)| {
        let fields: Vec<&str> = line.split(',').collect();
        let bought = day(fields[1]);
        let at = bought.checked_add_days(shift).unwrap();
        (bought <= day(CALIBRATION_END)).then(|| order(&format!("u{}", fields[0]), n, &at.to_string(), fields[3]))
    });
    rows.collect()
}

fn order(user: &str, n: usize, day: &str, revenue: &str) -> Value {
    json!({"type": "track", "event": "Order Completed", "userId": user, "messageId": format!("m{n}"), "timestamp": format!("{day}T09:00:00Z"),
        "properties": {"order_id": format!("o{n}"), "revenue": revenue, "currency": "USD"}})
}

async fn send(app: &TestApp, key: &str, orders: &[Value]) {
    for batch in orders.chunks(500) {
        app.batch(key, json!(batch)).await;
    }
}

async fn fit(app: &TestApp, input: &str) -> Value {
    let query = format!(
        "mutation {{ valueModelFit(input: {input}) {{ job {{ id }} transaction userErrors {{ code field message }} }} }}"
    );
    let asked = app.ask(&query).await["valueModelFit"].clone();
    if asked["job"].is_null() {
        return asked;
    }
    assert!(asked["transaction"].is_string());
    app.run_due_jobs().await;
    app.clock.advance(Duration::from_secs(5));
    app.run_due_refresh().await;
    let job = app
        .ask(&format!("{{ job(id: {}) {{ state result error }} }}", asked["job"]["id"]))
        .await["job"]
        .clone();
    assert_eq!(job["state"], "SUCCEEDED", "{job}");
    job["result"].clone()
}

const MODEL: &str = "version inForce chosen customers distinctHistories converged logLikelihood parameters { name value standardError } warnings reason
    backTest { calibrationEnd days reason parameters { name value } model { customers totalPredicted totalActual biasPercent rmse correlation deciles { label } } naiveRate { totalActual biasPercent } }";

async fn model(app: &TestApp, arguments: &str) -> Value {
    app.ask(&format!("{{ valueModel{arguments} {{ {MODEL} }} }}")).await["valueModel"].clone()
}

fn parameters(model: &Value) -> BTreeMap<String, f64> {
    let all = model["parameters"].as_array().unwrap().iter();
    all.map(|one| (one["name"].as_str().unwrap().to_owned(), one["value"].as_f64().unwrap()))
        .collect()
}

#[track_caller]
fn near(found: &Value, expected: f64, relative: f64, what: &str) {
    let found = found.as_f64().unwrap_or_else(|| panic!("{what} is {found}"));
    assert!(
        (found - expected).abs() <= relative * expected.abs(),
        "{what}: {found}, expected {expected}"
    );
}

const CLV: &str = "basis modelVersion coverage reasons probabilityAlive discountRate horizon total { decimal currency } predicted { decimal }
    historic { decimal } transaction { decimal } relationship { decimal } cost { decimal } acquisitionCost { decimal } expectedAverageValue { decimal }
    soon: expectedPurchases(within: \"P273D\") interval: expectedPurchasesInterval(within: \"P273D\") { low high }";

async fn clv(app: &TestApp, user: &str, arguments: &str) -> Value {
    let query = format!("{{ customerBy(identifier: {{kind: USER_ID, value: \"{user}\"}}) {{ clv{arguments} {{ {CLV} }} }} }}");
    app.ask(&query).await["customerBy"]["clv"].clone()
}

/// Money spent between two days, in cents.
async fn spend(app: &TestApp, channel: &str, bought: &str, (from, until): (&str, &str), amount_minor: i64) {
    let row = SpendRow {
        from: Instant::parse(from).unwrap(),
        until: Instant::parse(until).unwrap(),
        channel: Some(channel.to_owned()),
        campaign: None,
        bought: Some(bought.to_owned()),
        amount: Money {
            amount_minor,
            currency: Currency::parse("USD").unwrap(),
        },
    };
    let store = &app.server.services.store;
    let source = store.hash_key().source("shop");
    let rows = [Input::Spend(row, 1)];
    inputs::import(store, app.clock.now(), &Actor::new("test"), source, &rows, false)
        .await
        .unwrap();
}

async fn statements(app: &TestApp, query: &str) -> u64 {
    let before = app.server.services.store.statement_count();
    app.ask(query).await;
    app.server.services.store.statement_count() - before
}

on_both! {
    async fn cdnow_through_the_front_door_gives_the_models_and_values_of_the_reference(app: TestApp) {
        let key = app.source("shop", "WEB").await;
        send(&app, &key, &cdnow()).await;
        app.clock.advance(Duration::from_secs(5));
        app.run_due_refresh().await;
        let result = fit(&app, "{calibrationEnd: \"2026-02-01\"}").await;
        assert_eq!(
            (&result["version"], &result["published"], &result["buyers"]),
            (&json!(1), &json!(true), &json!(2357))
        );
        assert_eq!((&result["chosen"], &result["reasons"]), (&json!("MBG_NBD"), &json!([])));
        let expected: Value = serde_json::from_str(&file("expected.json")).unwrap();
        for (kind, name) in [("BG_NBD", "bg_nbd"), ("MBG_NBD", "mbg_nbd"), ("GAMMA_GAMMA", "gamma_gamma")] {
            let found = model(&app, &format!("(kind: {kind})")).await;
            let reference = &expected["fits"][name];
            assert_eq!(
                (&found["converged"], &found["inForce"]),
                (&json!(true), &json!(true)),
                "{found}"
            );
            for (parameter, value) in parameters(&found) {
                // Days for weeks, cents for dollars.
                let unit = match parameter.as_str() {
                    "alpha" => 7.0,
                    "v" => 100.0,
                    _ => 1.0,
                };
                near(
                    &json!(value),
                    reference["params"][&parameter].as_f64().unwrap() * unit,
                    1e-3,
                    &format!("{parameter} of {name}"),
                );
            }
        }
        let found = model(&app, "(kind: MBG_NBD)").await;
        assert_eq!(
            (&found["chosen"], &found["customers"], &found["distinctHistories"]),
            (&json!(true), &json!(2357), &json!(1016))
        );
        let backtest = &found["backTest"];
        assert_eq!(
            (&backtest["calibrationEnd"], &backtest["days"]),
            (&json!("2026-02-01"), &json!(120.0))
        );
        assert_eq!(backtest["model"]["totalActual"], backtest["naiveRate"]["totalActual"]);
        assert_eq!(backtest["model"]["deciles"].as_array().unwrap().len(), 10);
        let bias = |of: &str| backtest[of]["biasPercent"].as_f64().unwrap().abs();
        assert!(bias("model") < bias("naiveRate"), "{backtest}");
        for reference in expected["per_customer"].as_array().unwrap() {
            let user = format!("u{}", reference["customer_id"]);
            let found = clv(&app, &user, "").await;
            near(
                &found["probabilityAlive"],
                reference["palive_mbg"].as_f64().unwrap(),
                1e-3,
                &user,
            );
            near(&found["soon"], reference["cet39_mbg"].as_f64().unwrap(), 1e-3, &user);
            let spend: f64 = found["expectedAverageValue"]["decimal"].as_str().unwrap().parse().unwrap();
            near(&json!(spend), reference["expected_spend"].as_f64().unwrap(), 1e-3, &user);
            let (low, high) = (
                found["interval"]["low"].as_f64().unwrap(),
                found["interval"]["high"].as_f64().unwrap(),
            );
            assert!(
                low < found["soon"].as_f64().unwrap() && found["soon"].as_f64().unwrap() < high,
                "{found}"
            );
            assert_eq!(
                (&found["basis"], &found["total"]["currency"]),
                (&json!("BTYD_MODEL"), &json!("USD"))
            );
        }
        // Nobody is left without an answer, under either model.
        for family in ["MBG_NBD", "BG_NBD"] {
            if family == "BG_NBD" {
                assert_eq!(fit(&app, "{family: BG_NBD}").await["chosen"], "BG_NBD");
            }
            let (mut after, mut seen) = ("null".to_owned(), 0);
            loop {
                let query = format!(
                    "{{ customers(first: 100, after: {after}) {{ nodes {{ clv(horizon: \"P1Y\") {{ total {{ decimal }} historic {{ decimal }} probabilityAlive }} }} pageInfo {{ hasNextPage endCursor }} }} }}"
                );
                let page = app.ask(&query).await["customers"].clone();
                for node in page["nodes"].as_array().unwrap() {
                    let clv = &node["clv"];
                    assert!(
                        clv["total"].is_object() && clv["historic"].is_object() && clv["probabilityAlive"].is_number(),
                        "{clv}"
                    );
                    seen += 1;
                }
                if page["pageInfo"]["hasNextPage"] == json!(false) {
                    break;
                }
                after = page["pageInfo"]["endCursor"].to_string();
            }
            assert_eq!(seen, 2357, "{family}");
        }
        app.stop().await;
    }
}

/// Purchases of people who differ, so that models converge: `people` of them.
fn shop(people: usize) -> Vec<Value> {
    let begin = day("2025-06-01");
    let mut orders = Vec::new();
    for i in 0..people {
        let (first, gap) = (i * 37 % 150, 11 + i * 53 % 89);
        let count = [0, 0, 1, 0, 2, 0, 4, 1, 9, 0, 3, 0][i % 12];
        for n in 0..=count {
            let at = begin
                .checked_add_days(Days::new(u64::try_from(first + n * gap).unwrap()))
                .unwrap();
            if at < day(TODAY) {
                let revenue = format!("{}.{:02}", 5 + i * 97 % 19, n * 13 % 70);
                orders.push(order(&format!("u{i}"), orders.len(), &at.to_string(), &revenue));
            }
        }
    }
    orders
}

on_both! {
    async fn models_are_fitted_published_and_taken_back(app: TestApp) {
        let empty = fit(&app, "{}").await;
        assert_eq!((&empty["version"], &empty["published"]), (&json!(1), &json!(false)));
        assert!(empty["reasons"].to_string().contains("there is no customer"), "{empty}");
        assert_eq!(model(&app, "").await, Value::Null, "nothing is in force");
        assert_eq!(model(&app, "(version: 1)").await["reason"], "there is no customer");

        let key = app.source("shop", "WEB").await;
        send(&app, &key, &shop(240)).await;
        app.run_due_refresh().await;
        app.clock.advance(Duration::from_secs(5));
        app.run_due_refresh().await;
        let before = clv(&app, "u0", "").await;
        assert_eq!((&before["basis"], &before["total"], &before["modelVersion"]), (&json!("NONE"), &Value::Null, &Value::Null));
        assert_eq!(before["reasons"][0], "no model is published, and no retention is configured");
        assert!(before["historic"].is_object(), "{before}");

        let second = fit(&app, "{}").await;
        assert_eq!((&second["version"], &second["published"], &second["buyers"]), (&json!(2), &json!(true), &json!(240)));
        assert_eq!(second["chosen"], "MBG_NBD", "{second}");
        let classed = "SELECT COUNT(*) FROM metric_change WHERE metric = 'rfm' AND cause = 'model:2' AND model_version = 2";
        assert_eq!(app.scalar(classed).await, 240, "everybody has a class since the version is in force, and because of it");
        let third = fit(&app, "{publish: false, family: MBG_NBD, calibrationEnd: \"2026-01-01\"}").await;
        assert_eq!((&third["version"], &third["published"], &third["chosen"]), (&json!(3), &json!(false), &json!("MBG_NBD")));
        assert_eq!(model(&app, "(kind: RFM)").await["version"], 2);
        let tried = model(&app, "(kind: BG_NBD, version: 3)").await;
        assert_eq!((&tried["inForce"], &tried["backTest"]["calibrationEnd"]), (&json!(false), &json!("2026-01-01")));
        let found = clv(&app, "u8", "(horizon: \"P2Y\", discountRate: 0.2)").await;
        assert_eq!((&found["basis"], &found["modelVersion"]), (&json!("BTYD_MODEL"), &json!("2")));
        assert_eq!((&found["horizon"], &found["discountRate"]), (&json!("P2Y"), &json!(0.2)));
        assert_eq!(found["total"]["decimal"], found["transaction"]["decimal"], "nothing else is known");
        near(&found["coverage"], 0.6, 1e-9, "coverage");

        // Later ones are in force when they are published, and earlier ones again.
        let publish = async |version: i64| {
            let query = format!("mutation {{ valueModelPublish(input: {{version: {version}}}) {{ version transaction userErrors {{ code field message }} }} }}");
            app.ask(&query).await["valueModelPublish"].clone()
        };
        app.clock.advance(DAY);
        for (version, marks) in [(3, 240), (2, 240)] {
            let done = publish(version).await;
            assert_eq!((&done["version"], done["transaction"].is_string()), (&json!(version), true), "{done}");
            assert_eq!(clv(&app, "u8", "").await["modelVersion"], version.to_string());
            app.run_due_jobs().await;
            assert_eq!(app.scalar("SELECT COUNT(*) FROM due WHERE marked_at IS NOT NULL").await, marks, "everybody is looked at again");
            app.clock.advance(Duration::from_secs(5));
            app.run_due_refresh().await;
        }
        let again = publish(2).await;
        assert_eq!((&again["transaction"], &again["userErrors"]), (&Value::Null, &json!([])), "it was in force");
        let code = |refused: &Value| refused["userErrors"][0]["code"].clone();
        assert_eq!((code(&publish(9).await), code(&publish(1).await)), (json!("NOT_FOUND"), json!("CONFLICT")));
        let told = app.ask("{ changes(start: {fromBeginning: true}, filter: {topics: [METRIC], changed: [\"publishedVersion\"]}, first: 100) { changes { entityType op customer { id } before after } } }").await;
        let told: Vec<Value> = told["changes"]["changes"].as_array().unwrap().iter().filter(|change| change["entityType"] == "ValueModel").cloned().collect();
        let versions: Vec<&Value> = told.iter().map(|change| &change["after"]["publishedVersion"]).collect();
        assert_eq!(versions, [&json!(2), &json!(3), &json!(2)], "{told:?}");
        assert_eq!((&told[0]["op"], &told[0]["customer"], &told[2]["before"]["publishedVersion"]), (&json!("CREATED"), &Value::Null, &json!(3)));
        assert_eq!(app.scalar("SELECT COUNT(*) FROM audit WHERE action LIKE 'value_model.%'").await, 3 + 3 + 2, "asked for, fitted, published");

        // What customers cost and whom they bring.
        spend(&app, "web", "Clicks", ("2025-05-01", "2025-12-01"), 240_000).await;
        spend(&app, "hotline", "Customer service", ("2025-06-01", "2026-06-01"), 100_000).await;
        app.batch(&key, json!([{"type": "track", "event": "Referral Converted", "userId": "u8", "messageId": "r1", "timestamp": "2026-05-01T09:00:00Z"}])).await;
        app.run_due_refresh().await;
        assert_eq!(fit(&app, "{}").await["version"], 4);
        let found = clv(&app, "u8", "").await;
        let money = |name: &str| found[name]["decimal"].as_str().unwrap_or_else(|| panic!("{name}: {found}")).parse::<f64>().unwrap();
        near(&found["coverage"], 0.85, 1e-9, "all but the margin is known");
        near(&json!(money("acquisitionCost")), 10.0, 1e-9, "2,400 dollars for 240 customers");
        assert!(money("cost") > 0.0 && money("relationship") > 0.0, "{found}");
        let predicted = money("transaction") + money("relationship") - money("cost");
        assert!((money("predicted") - predicted).abs() < 0.03 && (money("total") - predicted + 10.0).abs() < 0.03, "{found}");
        assert_eq!(found["reasons"], json!(["no margin is configured: revenue is taken for it"]));
        let costs = app.ask("{ valueModel(kind: ECONOMICS) { detail customers } }").await["valueModel"].clone();
        assert_eq!((&costs["detail"]["referrals"], &costs["detail"]["warnings"]), (&json!(1), &json!([])));

        // What cannot be asked.
        for (input, field) in [("{asOf: \"2027-01-01T00:00:00Z\"}", "asOf"), ("{calibrationEnd: \"2026-06-02\"}", "calibrationEnd")] {
            assert_eq!(fit(&app, input).await["userErrors"][0]["field"], json!(["input", field]));
        }
        for arguments in ["(horizon: \"P0D\")", "(horizon: \"P51Y\")", "(discountRate: 1)", "(discountRate: -0.1)"] {
            let query = format!("{{ customers(first: 1) {{ nodes {{ clv{arguments} {{ basis }} }} }} }}");
            let (_, body) = app.graphql(ADMIN_KEY, json!({"query": query})).await;
            assert_eq!(body["errors"][0]["extensions"]["code"], "BAD_INPUT", "{arguments}: {body}");
        }
        // A page costs what one customer costs.
        let page = |first: usize| format!("{{ customers(first: {first}) {{ nodes {{ clv {{ {CLV} }} }} }} }}");
        statements(&app, &page(50)).await;
        assert_eq!(statements(&app, &page(50)).await, statements(&app, &page(1)).await);
        app.stop().await;
    }

    async fn a_fit_that_is_taken_back_leaves_nothing(app: TestApp) {
        let key = app.source("shop", "WEB").await;
        send(&app, &key, &shop(24)).await;
        let asked = app.ask("mutation { valueModelFit(input: {}) { job { id state } } }").await["valueModelFit"]["job"].clone();
        assert_eq!(asked["state"], "QUEUED");
        let query = format!("mutation {{ jobCancel(input: {{id: {}}}) {{ job {{ state }} userErrors {{ message }} }} }}", asked["id"]);
        let cancelled = app.ask(&query).await["jobCancel"].clone();
        assert_eq!((&cancelled["job"]["state"], &cancelled["userErrors"]), (&json!("CANCELLED"), &json!([])));
        app.run_due_jobs().await;
        assert_eq!(app.count("value_model").await, 0);
        // Whose lease is gone when it comes to writing writes nothing.
        let asked = app.ask("mutation { valueModelFit(input: {}) { job { id } } }").await["valueModelFit"]["job"].clone();
        let services = &app.server.services;
        let stolen = tributary::job::Runner::new(services.store.clone(), services.clock.clone(), services.jobs.clone());
        let stolen = stolen.on("value_model_fit", tributary::job::with(services, |services: tributary::pipeline::Services, job, now| async move {
            use sea_orm::ConnectionTrait as _;
            services.store.writer().execute_unprepared("UPDATE job SET fence = fence + 1 WHERE kind = 'value_model_fit'").await.unwrap();
            tributary::pipeline::models::fit(services, job, now).await
        }));
        assert!(stolen.run_once(app.clock.now()).await);
        assert_eq!(app.count("value_model").await, 0);
        // Another worker begins anew.
        app.clock.advance(DAY);
        app.run_due_jobs().await;
        let job = app.ask(&format!("{{ job(id: {}) {{ state progress }} }}", asked["id"])).await["job"].clone();
        assert_eq!((&job["state"], &job["progress"]), (&json!("SUCCEEDED"), &json!(1.0)));
        assert_eq!(app.scalar("SELECT COUNT(DISTINCT version) FROM value_model").await, 1);
        app.stop().await;
    }
}
