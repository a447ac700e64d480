//! Golden values through GraphQL: where each comes from, what was overruled and why, in how many statements; and that only what a batch
//! touches is computed again.

use super::support::{TestApp, on_both};
use crate::support::app::ADMIN_KEY;
use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::{Value, json};
use std::sync::Arc;
use tributary::identity::Rules;
use tributary::pipeline::rebuild;
use tributary::store::Difference;

const ACCOUNT: &str =
    "name value source { key } observedAt rule alternatives { value source { key } observedAt overruledBecause }";

/// What a person says of themselves at a source, at an instant of the first of May.
fn says(user: &str, time: &str, traits: &Value) -> Value {
    json!({"type": "identify", "anonymousId": user, "messageId": format!("{user}-{time}-{traits}"), "timestamp": format!("2026-05-01T{time}:00Z"), "traits": traits})
}

async fn account(app: &TestApp, email: &str, name: &str) -> Value {
    let query = format!(
        "query($email: String!, $name: String!) {{ customerBy(identifier: {{kind: EMAIL, value: $email}}) {{ trait(name: $name) {{ {ACCOUNT} }} }} }}"
    );
    app.ask_with(&query, json!({"email": email, "name": name})).await["customerBy"]["trait"].clone()
}

async fn publish(app: &TestApp, golden: Value) {
    let query = "mutation($input: IdentityRulesInput!) { identityRulesPublish(input: $input) { userErrors { message } } }";
    let published = app
        .ask_with(
            query,
            json!({"input": {"rules": {"golden": golden}, "reason": "other values"}}),
        )
        .await;
    assert_eq!(published["identityRulesPublish"]["userErrors"], json!([]));
    app.run_due_jobs().await;
}

async fn assert_rebuilds(app: &TestApp) {
    let services = &app.server.services;
    let configured = Arc::new(Rules::parse(services.rules.configured()).unwrap());
    let mut found: Vec<Difference> = Vec::new();
    rebuild::check(
        &services.store,
        configured,
        (services.value.clone(), services.now()),
        &mut found,
    )
    .await
    .unwrap();
    assert!(found.is_empty(), "{found:#?}");
}

async fn text(app: &TestApp, sql: &str) -> String {
    let store = &app.server.services.store;
    let row = store
        .reader()
        .query_one_raw(Statement::from_string(store.backend(), sql))
        .await
        .expect(sql);
    row.expect("a row").try_get_by_index(0).expect("a text")
}

async fn run_sql(app: &TestApp, sql: &str) {
    app.server.services.store.writer().execute_unprepared(sql).await.expect(sql);
}

/// Ada, as the CRM and the shop know her.
async fn ada(app: &TestApp) -> (String, String) {
    let (crm, web) = (app.source("crm", "CRM").await, app.source("web", "WEB").await);
    app.batch(
        &crm,
        json!([says(
            "c1",
            "10:00",
            &json!({"email": "ada@x.test", "city": "Bonn", "address": {"city": "Bonn", "postalCode": "53111"}})
        )]),
    )
    .await;
    app.batch(
        &web,
        json!([says(
            "w1",
            "11:00",
            &json!({"email": "ada@x.test", "city": "Köln", "address": {"city": "Köln"}})
        )]),
    )
    .await;
    (crm, web)
}

on_both! {
    async fn a_golden_value_tells_where_it_comes_from_and_why_others_were_overruled(app: TestApp) {
        let (crm, _) = ada(&app).await;
        assert_eq!(account(&app, "ada@x.test", "city").await, json!({
            "name": "city", "value": "Köln", "source": {"key": "web"}, "observedAt": "2026-05-01T11:00:00Z", "rule": "most recent",
            "alternatives": [{"value": "Bonn", "source": {"key": "crm"}, "observedAt": "2026-05-01T10:00:00Z",
                "overruledBecause": "older: of 2026-05-01T10:00:00Z, stated otherwise 2026-05-01T11:00:00Z"}]}));
        // Inside an object, in either spelling of its keys.
        let inside = account(&app, "ada@x.test", "address.city").await;
        assert_eq!((&inside["value"], &inside["alternatives"][0]["value"]), (&json!("Köln"), &json!("Bonn")));
        let inside = account(&app, "ada@x.test", "address.postalCode").await;
        assert_eq!((&inside["value"], &inside["alternatives"][0]["value"]), (&Value::Null, &json!("53111")), "the surviving address has none");
        for nothing in ["address.street", "shoe_size", "shoe.size", "city.name"] {
            assert_eq!(account(&app, "ada@x.test", nothing).await, Value::Null, "{nothing}");
        }
        // Under other rules another value survives, and says so.
        publish(&app, json!({"city": {"strategy": "source_priority", "sources": ["crm", "web"]}})).await;
        let city = account(&app, "ada@x.test", "city").await;
        assert_eq!((&city["value"], &city["rule"]), (&json!("Bonn"), &json!("source priority: crm, web")));
        assert_eq!(city["alternatives"][0]["overruledBecause"], "source ranks lower: web is number 2, crm is number 1");
        // The value that survived goes, and the answer is another.
        app.batch(&crm, json!([says("c1", "12:00", &json!({"city": null}))])).await;
        let city = account(&app, "ada@x.test", "city").await;
        assert_eq!((&city["value"], &city["source"]["key"]), (&json!("Köln"), &json!("web")));
        assert_eq!(city["alternatives"][0]["overruledBecause"], "cleared: the record took its own value back");
        // Where the most recent counts, a null clears for all.
        publish(&app, json!({"city": null})).await;
        let city = account(&app, "ada@x.test", "city").await;
        assert_eq!((&city["value"], &city["source"]["key"]), (&Value::Null, &json!("crm")));
        assert_rebuilds(&app).await;
        app.stop().await;
    }

    async fn all_golden_values_come_by_name_and_odd_names_are_names(app: TestApp) {
        ada(&app).await;
        let odd = r#"a "quoted" \ name"#;
        let pos = app.source("pos", "POS").await;
        app.batch(&pos, json!([says("p1", "12:00", &json!({"email": "ada@x.test", odd: "x", "a.b": 1, "firstName": "小明", "lastName": "王", "birthDate": "1815-12-10", "gender": "f", "language": "zh", "timeZone": "Asia/Shanghai", "country": "CN"}))])).await;
        app.batch(&pos, json!([says("p1", "13:00", &json!({odd: "y"}))])).await;
        let query = format!("query($names: [String!]) {{ customerBy(identifier: {{kind: EMAIL, value: \"ada@x.test\"}}) {{
            displayName firstName lastName birthDate gender city country language timeZone traits(names: $names) {{ {ACCOUNT} }} }} }}");
        let all = app.ask_with(&query, json!({})).await["customerBy"].clone();
        let names: Vec<&str> = all["traits"].as_array().unwrap().iter().map(|told| told["name"].as_str().unwrap()).collect();
        assert_eq!(names, [odd, "a.b", "address", "birthday", "city", "country", "email", "first_name", "gender", "language", "last_name", "timezone"]);
        let typed = ["displayName", "firstName", "lastName", "birthDate", "gender", "city", "country", "language", "timeZone"].map(|name| all[name].clone());
        assert_eq!(json!(typed), json!(["王小明", "小明", "王", "1815-12-10", "f", "Köln", "CN", "zh", "Asia/Shanghai"]));
        let some = app.ask_with(&query, json!({"names": ["firstName", "nothing", "a.b", odd]})).await["customerBy"]["traits"].clone();
        let told: Vec<(&Value, &Value)> = some.as_array().unwrap().iter().map(|told| (&told["name"], &told["value"])).collect();
        assert_eq!(told, [(&json!("firstName"), &json!("小明")), (&json!("a.b"), &json!(1)), (&json!(odd), &json!("y"))]);
        let many: Vec<String> = (0..101).map(|n| n.to_string()).collect();
        let (_, refused) = app.graphql(ADMIN_KEY, json!({"query": query, "variables": {"names": many}})).await;
        assert_eq!(refused["errors"][0]["extensions"]["code"], "BAD_INPUT");
        assert_rebuilds(&app).await;
        app.stop().await;
    }

    async fn golden_values_of_a_page_of_customers_take_a_constant_number_of_statements(app: TestApp) {
        let key = app.source("web", "WEB").await;
        app.batch(&key, json!((0..40).map(|n| says(&format!("u{n}"), "10:00", &json!({"name": format!("Person {n}"), "city": "Bonn"}))).collect::<Vec<_>>())).await;
        let statements = |first: u32| {
            let app = &app;
            async move {
                let query = format!("{{ customers(first: {first}) {{ nodes {{ city: trait(name: \"city\") {{ {ACCOUNT} }} trait(name: \"name\") {{ {ACCOUNT} }} traits(names: [\"city\", \"name\"]) {{ {ACCOUNT} }} }} }} }}");
                let before = app.server.services.store.statement_count();
                let data = app.ask(&query).await;
                let nodes = data["customers"]["nodes"].as_array().unwrap();
                assert_eq!(nodes.len(), first as usize);
                assert!(nodes.iter().all(|node| node["city"]["value"] == "Bonn" && node["traits"].as_array().unwrap().len() == 2), "{data}");
                app.server.services.store.statement_count() - before
            }
        };
        statements(1).await;
        let (few, many) = (statements(2).await, statements(40).await);
        assert_eq!(few, many);
        // The page, what its records say, their sources; and whose key it is.
        assert!(many <= 4, "{many}");
        app.stop().await;
    }

    async fn a_row_goes_when_its_customer_is_absorbed_and_returns_with_its_values_when_it_is_split_off(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let by = |user: &str| format!("SELECT CAST(c.golden AS text) FROM record r JOIN customer c ON c.id = r.customer_id WHERE r.external_key = 'a:{user}'");
        let golden = |user: &'static str| {
            let app = &app;
            async move { text(app, &by(user)).await.parse::<Value>().unwrap() }
        };
        app.batch(&key, json!([says("u1", "10:00", &json!({"name": "Ada", "city": "Bonn", "mail": "a"})), says("u2", "11:00", &json!({"city": "Köln", "pet": "cat"}))])).await;
        let (one, two) = (golden("u1").await, golden("u2").await);
        assert_eq!(app.count("customer").await, 2);
        let ids = app.ask("{ one: customerBy(identifier: {kind: ANONYMOUS_ID, value: \"u1\"}) { id } two: customerBy(identifier: {kind: ANONYMOUS_ID, value: \"u2\"}) { id records { id } } }").await;
        let input = json!({"into": ids["one"]["id"], "from": ids["two"]["id"], "reason": "r"});
        app.ask_with("mutation($input: CustomerMergeInput!) { customerMerge(input: $input) { userErrors { message } } }", json!({"input": input})).await;
        assert_eq!(app.count("customer").await, 1);
        assert_eq!(golden("u1").await, json!({"name": "Ada", "city": "Köln", "mail": "a", "pet": "cat"}));
        assert_rebuilds(&app).await;
        let input = json!({"customer": ids["one"]["id"], "records": [ids["two"]["records"][0]["id"]], "reason": "r"});
        app.ask_with("mutation($input: CustomerSplitInput!) { customerSplit(input: $input) { userErrors { message } } }", json!({"input": input})).await;
        assert_eq!((golden("u1").await, golden("u2").await), (one, two));
        assert_eq!(app.count("customer").await, 2);
        assert_rebuilds(&app).await;
        app.stop().await;
    }

    async fn only_the_attributes_that_a_batch_touched_are_computed_again(app: TestApp) {
        let key = app.source("web", "WEB").await;
        app.batch(&key, json!([says("u1", "10:00", &json!({"email": "a@x.test", "name": "Ada", "city": "Bonn"})), says("u2", "10:00", &json!({"email": "a@x.test"}))])).await;
        // A mark that a computation would wipe away.
        let mark = |golden: &str| format!("UPDATE customer SET golden = '{golden}'");
        run_sql(&app, &mark(r#"{"email": "a@x.test", "name": "MARK", "city": "MARK"}"#)).await;
        app.batch(&key, json!([says("u2", "11:00", &json!({"city": "Köln"}))])).await;
        let golden = text(&app, "SELECT CAST(golden AS text) FROM customer").await.parse::<Value>().unwrap();
        assert_eq!(golden, json!({"email": "a@x.test", "name": "MARK", "city": "Köln"}));
        // A record that joins touches what it says and nothing else.
        app.batch(&key, json!([says("u3", "12:00", &json!({"email": "a@x.test", "pet": "cat"}))])).await;
        let golden = text(&app, "SELECT CAST(golden AS text) FROM customer").await.parse::<Value>().unwrap();
        assert_eq!(golden, json!({"email": "a@x.test", "name": "MARK", "city": "Köln", "pet": "cat"}));
        app.stop().await;
    }

    async fn a_customer_of_many_records_is_the_same_however_little_of_it_is_read(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let limit = json!({"identifiers": {"device_id": {"limit": 3, "on_conflict": "keep"}, "anonymous_id": {"limit": null}}});
        app.ask_with("mutation($input: IdentityRulesInput!) { identityRulesPublish(input: $input) { userErrors { message } } }", json!({"input": {"rules": limit, "reason": "r"}})).await;
        app.run_due_jobs().await;
        let many: Vec<Value> = (0..60).map(|n| says(&format!("u{n}"), "10:00", &json!({"email": "a@x.test", "city": format!("town {n}")}))).collect();
        for some in many.chunks(20) {
            app.batch(&key, json!(some)).await;
        }
        assert_eq!(app.count("customer").await, 1);
        let shows = |user: usize, device: usize| json!({"type": "track", "event": "Visit", "anonymousId": format!("u{user}"), "messageId": format!("d{user}-{device}"), "timestamp": "2026-05-01T12:00:00Z",
            "context": {"device": {"id": format!("device-{device}"), "type": "ios"}}});
        // Each a batch of its own: the customer's other records and devices are only counted.
        for device in 0..5 {
            app.batch(&key, json!([shows(7 * device, device)])).await;
        }
        assert_eq!(app.count("customer").await, 1);
        let owned = app.scalar("SELECT COUNT(*) FROM identifier WHERE owner_id IS NOT NULL AND value LIKE 'device-%'").await;
        assert_eq!(owned, 3, "the limit counts devices that other records showed");
        assert_rebuilds(&app).await;
        app.stop().await;
    }
}
