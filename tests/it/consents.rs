//! What people answer to being spoken to: how messages, items and people say it, what it makes of a customer, and what it costs.

use super::support::{TestApp, on_both};
use crate::support::app::ADMIN_KEY;
use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tributary::identity::Rules;
use tributary::pipeline::rebuild;

const INGEST: &str = "mutation($input: RecordsIngestInput!) { recordsIngest(input: $input) {
    receipts { status record { id } customer { id } error { code field message } } transaction userErrors { field message } } }";
const RECORD: &str = "mutation($input: ConsentRecordInput!) { consentRecord(input: $input) {
    customer { id } consent { purpose channel state since evidence decidedBy { id } } transaction userErrors { code field message } } }";

async fn source(app: &TestApp, key: &str) -> String {
    app.source(key, "CRM").await;
    let data = app.ask("{ sources(first: 100) { nodes { id key } } }").await;
    let mut sources = data["sources"]["nodes"].as_array().unwrap().iter();
    let found = sources.find(|source| source["key"] == key).unwrap();
    found["id"].as_str().unwrap().to_owned()
}

async fn ingest(app: &TestApp, source: &str, items: Value) -> Vec<Value> {
    app.clock.advance(Duration::from_secs(1));
    let input = json!({"input": {"source": source, "items": items}});
    let data = app.ask_with(INGEST, input).await;
    assert_eq!(data["recordsIngest"]["userErrors"], json!([]));
    data["recordsIngest"]["receipts"].as_array().unwrap().clone()
}

async fn recorded(app: &TestApp, input: Value) -> Value {
    app.clock.advance(Duration::from_secs(1));
    app.ask_with(RECORD, json!({"input": input})).await["consentRecord"].clone()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}

/// `purpose channel state` of everything a customer answers, in the order of purposes and channels.
async fn states(app: &TestApp, customer: &str) -> Vec<String> {
    let data = app
        .ask_with(
            "query($id: ID!) { customer(id: $id) { consents { purpose channel state } } }",
            json!({"id": customer}),
        )
        .await;
    let mut states: Vec<String> = data["customer"]["consents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|consent| {
            format!(
                "{} {} {}",
                text(&consent["purpose"]),
                text(&consent["channel"]),
                text(&consent["state"])
            )
        })
        .collect();
    states.sort();
    states
}

async fn state(app: &TestApp, customer: &str, purpose: &str, channel: Option<&str>) -> String {
    let query = "query($id: ID!, $purpose: String!, $channel: String) { customer(id: $id) { consent(purpose: $purpose, channel: $channel) } }";
    let data = app
        .ask_with(query, json!({"id": customer, "purpose": purpose, "channel": channel}))
        .await;
    text(&data["customer"]["consent"])
}

async fn customer_by_user(app: &TestApp, user: &str) -> String {
    let query = "query($v: String!) { customerBy(identifier: {kind: USER_ID, value: $v}) { id } }";
    text(&app.ask_with(query, json!({"v": user})).await["customerBy"]["id"])
}

/// What the log tells of consent, in order: `cause purpose/channel before>after`.
async fn news(app: &TestApp) -> Vec<String> {
    let store = &app.server.services.store;
    let sql = if store.is_postgres() {
        "SELECT c.changed::text FROM change c JOIN change_tx t ON t.tx_id = c.tx_id WHERE c.topic = 3 ORDER BY t.ordinal, c.n"
    } else {
        "SELECT c.changed FROM change c JOIN change_tx t ON t.tx_id = c.tx_id WHERE c.topic = 3 ORDER BY t.ordinal, c.n"
    };
    let rows = store
        .reader()
        .query_all_raw(Statement::from_string(store.backend(), sql))
        .await
        .unwrap();
    let told = |row: &sea_orm::QueryResult| {
        let changed: Value = serde_json::from_str(&row.try_get_by_index::<String>(0).unwrap()).unwrap();
        let after = |name: &str| text(&changed[name][1]);
        format!(
            "{} {}/{} {}>{}",
            after("cause"),
            after("purpose"),
            after("channel"),
            text(&changed["state"][0]),
            after("state")
        )
    };
    rows.iter().map(told).collect()
}

async fn assert_rebuilds(app: &TestApp) {
    let services = &app.server.services;
    let rules = Arc::new(Rules::parse(services.rules.configured()).unwrap());
    let mut found = Vec::new();
    rebuild::check(&services.store, rules, (services.value.clone(), services.now()), &mut found)
        .await
        .unwrap();
    assert!(found.is_empty(), "{found:?}");
}

fn view(user: &str, message: &str, at: &str, preferences: Value) -> Value {
    json!({"type": "track", "event": "Product Viewed", "userId": user, "messageId": message, "timestamp": at,
        "context": {"consent": {"categoryPreferences": preferences}}})
}

on_both! {
    async fn messages_answer_by_their_preferences_and_by_unsubscribing(app: TestApp) {
        let key = app.source("web", "WEB").await;
        app.batch(&key, json!([
            view("u", "m1", "2026-05-01T10:00:00Z", json!({"MARKETING": true, "Analytics": false})),
            {"type": "track", "event": "Unsubscribed", "userId": "u", "messageId": "m2", "timestamp": "2026-05-02T10:00:00Z", "properties": {"list": "news"}}])).await;
        let customer = customer_by_user(&app, "u").await;
        assert_eq!(states(&app, &customer).await, ["Analytics ANY DENIED", "MARKETING ANY GRANTED", "MARKETING EMAIL WITHDRAWN"]);
        for (purpose, channel, expected) in [
            ("MARKETING", Some("EMAIL"), "WITHDRAWN"), ("marketing", Some("email"), "WITHDRAWN"), ("MARKETING", Some("SMS"), "GRANTED"),
            ("MARKETING", None, "GRANTED"), ("analytics", Some("EMAIL"), "DENIED"), ("Research", None, "UNKNOWN"),
        ] {
            assert_eq!(state(&app, &customer, purpose, channel).await, expected, "{purpose} {channel:?}");
        }
        let data = app.ask_with("query($id: ID!) { customer(id: $id) {
            consents { purpose channel since evidence decidedBy { externalKey source { key } } }
            consentHistory(first: 2) { nodes { id purpose channel state origin occurredAt evidence actor event { name messageId } record { externalKey } } pageInfo { hasNextPage endCursor } }
            timeline(first: 9) { nodes { __typename occurredAt ... on ConsentChange { purpose state } } } } }", json!({"id": customer})).await;
        let customer_data = &data["customer"];
        let email = customer_data["consents"].as_array().unwrap().iter().find(|consent| consent["channel"] == "EMAIL").unwrap();
        assert_eq!(email, &json!({"purpose": "MARKETING", "channel": "EMAIL", "since": "2026-05-02T10:00:00Z",
            "evidence": {"event": "Unsubscribed", "messageId": "m2", "properties": {"list": "news"}},
            "decidedBy": {"externalKey": "u:u", "source": {"key": "web"}}}));
        let history = &customer_data["consentHistory"];
        let mut first = history["nodes"][0].clone();
        let id = first.as_object_mut().unwrap().remove("id").unwrap();
        assert_eq!(first, json!({"purpose": "MARKETING", "channel": "EMAIL", "state": "WITHDRAWN", "origin": "EVENT", "occurredAt": "2026-05-02T10:00:00Z",
            "evidence": {"event": "Unsubscribed", "messageId": "m2", "properties": {"list": "news"}}, "actor": "source:web",
            "event": {"name": "Unsubscribed", "messageId": "m2"}, "record": {"externalKey": "u:u"}}));
        assert_eq!(history["pageInfo"]["hasNextPage"], json!(true));
        let rest = app.ask_with("query($id: ID!, $after: String) { customer(id: $id) { consentHistory(first: 9, after: $after) { nodes { id } } } }",
            json!({"id": customer, "after": history["pageInfo"]["endCursor"]})).await;
        assert_eq!(rest["customer"]["consentHistory"]["nodes"].as_array().unwrap().len(), 1);
        let node = app.ask_with("query($id: ID!) { node(id: $id) { id ... on ConsentChange { channel } } }", json!({"id": id})).await;
        assert_eq!(node["node"], json!({"id": id, "channel": "EMAIL"}));
        let mut entries: Vec<String> = customer_data["timeline"]["nodes"].as_array().unwrap().iter().map(|entry| text(&entry["__typename"])).collect();
        entries.sort();
        assert_eq!(entries, ["ConsentChange", "ConsentChange", "ConsentChange", "Event", "Event"]);
        assert_eq!(news(&app).await, ["MESSAGE Analytics/ANY UNKNOWN>DENIED", "MESSAGE MARKETING/ANY UNKNOWN>GRANTED", "MESSAGE MARKETING/EMAIL UNKNOWN>WITHDRAWN"]);
        assert_rebuilds(&app).await;
        app.stop().await;
    }

    async fn repetitions_write_nothing_and_the_order_of_arrival_does_not_matter(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let said = |user: &str, day: usize, granted: bool| view(user, &format!("{user}-{day}"), &format!("2026-05-{day:02}T10:00:00Z"), json!({"ads": granted}));
        app.batch(&key, json!([said("a", 1, true)])).await;
        let rows = app.count("consent").await;
        let told = news(&app).await;
        app.batch(&key, json!([said("a", 1, true), said("a", 5, true), said("a", 6, true)])).await;
        assert_eq!((app.count("consent").await, news(&app).await), (rows, told), "nothing new was said");
        // Late, and between two that said the same.
        app.batch(&key, json!([said("a", 3, false)])).await;
        // All at once, and one by one backwards.
        let days = [(1, true), (3, false), (5, true), (6, true)];
        app.batch(&key, json!(days.map(|(day, granted)| said("b", day, granted)))).await;
        for (day, granted) in days.into_iter().rev() {
            app.batch(&key, json!([said("c", day, granted)])).await;
        }
        for user in ["a", "b", "c"] {
            let customer = customer_by_user(&app, user).await;
            let data = app.ask_with("query($id: ID!) { customer(id: $id) { consents { purpose state since } } }", json!({"id": customer})).await;
            assert_eq!(data["customer"]["consents"], json!([{"purpose": "ads", "state": "GRANTED", "since": "2026-05-05T10:00:00Z"}]), "{user}");
        }
        assert_eq!(app.scalar("SELECT COUNT(*) FROM consent c JOIN record r ON r.id = c.record_id WHERE r.external_key = 'u:a'").await, 3);
        assert_rebuilds(&app).await;
        app.stop().await;
    }

    async fn what_cannot_be_read_is_refused_with_its_field(app: TestApp) {
        let key = app.source("web", "WEB").await;
        app.batch(&key, json!([
            view("u", "m1", "2026-05-01T10:00:00Z", json!({"ads": "yes"})),
            {"type": "identify", "userId": "u", "messageId": "m2", "traits": {"consent.ads": true}},
            {"type": "identify", "userId": "u", "messageId": "m3", "traits": {"consent": {"ads": true}}},
            {"type": "page", "userId": "u", "messageId": "m4"}])).await;
        let data = app.ask("{ rejectedItems(first: 9) { nodes { code field } } }").await;
        let mut refused: Vec<String> = data["rejectedItems"]["nodes"].as_array().unwrap().iter().map(|item| format!("{} {}", text(&item["code"]), text(&item["field"]))).collect();
        refused.sort();
        assert_eq!(refused, ["invalid_consent context.consent.categoryPreferences.ads", "protected_trait traits.consent", "protected_trait traits.consent.ads"]);
        assert_eq!((app.count("event").await, app.count("consent").await), (1, 0));

        let crm = source(&app, "crm").await;
        let receipts = ingest(&app, &crm, json!([
            {"key": "1", "consents": [{"purpose": " ", "state": "GRANTED"}]},
            {"key": "2", "traits": {"consent.ads": true}},
            {"key": "3", "consents": [{"purpose": "ads", "channel": "", "state": "DENIED"}]}])).await;
        let errors: Vec<_> = receipts.iter().map(|receipt| (text(&receipt["error"]["code"]), receipt["error"]["field"].clone())).collect();
        assert_eq!(errors, [
            ("INVALID_CONSENT".to_owned(), json!(["items", "0", "consents", "0", "purpose"])),
            ("PROTECTED_TRAIT".to_owned(), json!(["items", "1", "traits", "consent", "ads"])),
            ("INVALID_CONSENT".to_owned(), json!(["items", "2", "consents", "0", "channel"])),
        ]);
        app.stop().await;
    }

    async fn items_bring_answers_with_evidence_once(app: TestApp) {
        let crm = source(&app, "crm").await;
        let item = json!({"key": "1", "at": "2026-05-01T10:00:00Z", "consents": [
            {"purpose": "MARKETING", "channel": "email", "state": "GRANTED", "evidence": {"form": "newsletter"}},
            {"purpose": "MARKETING", "channel": "EMAIL", "state": "WITHDRAWN", "at": "2026-04-01T10:00:00Z"}]});
        let receipts = ingest(&app, &crm, json!([item])).await;
        let customer = text(&receipts[0]["customer"]["id"]);
        let rows = (app.count("consent").await, app.count("change").await);
        let again = ingest(&app, &crm, json!([item])).await;
        assert_eq!((&receipts[0]["status"], &again[0]["status"]), (&json!("ACCEPTED"), &json!("DUPLICATE")));
        assert_eq!((app.count("consent").await, app.count("change").await), rows);
        let data = app.ask_with("query($id: ID!) { customer(id: $id) { consents { channel state since evidence } consentHistory(first: 9) { nodes { state origin evidence event { kind } } } } }", json!({"id": customer})).await;
        assert_eq!(data["customer"]["consents"], json!([{"channel": "EMAIL", "state": "GRANTED", "since": "2026-05-01T10:00:00Z", "evidence": {"form": "newsletter"}}]));
        assert_eq!(data["customer"]["consentHistory"]["nodes"], json!([
            {"state": "GRANTED", "origin": "RECORD", "evidence": {"form": "newsletter"}, "event": {"kind": "IDENTIFY"}},
            {"state": "WITHDRAWN", "origin": "RECORD", "evidence": null, "event": {"kind": "IDENTIFY"}}]));
        assert_rebuilds(&app).await;
        app.stop().await;
    }

    async fn a_merge_keeps_the_refusal_people_opt_in_again_and_a_split_keeps_it(app: TestApp) {
        let crm = source(&app, "crm").await;
        let answer = |state: &str| json!([{"purpose": "MARKETING", "channel": "EMAIL", "state": state}]);
        let receipts = ingest(&app, &crm, json!([
            {"key": "yes", "at": "2026-05-02T10:00:00Z", "consents": answer("GRANTED")},
            {"key": "no", "at": "2026-05-01T10:00:00Z", "consents": answer("DENIED")}])).await;
        let [yes, no] = [0, 1].map(|n| text(&receipts[n]["customer"]["id"]));
        let [yes_record, no_record] = [0, 1].map(|n| text(&receipts[n]["record"]["id"]));
        let before = news(&app).await.len();
        let merge = "mutation($input: CustomerMergeInput!) { customerMerge(input: $input) { decision { id } userErrors { message } } }";
        let merged = app.ask_with(merge, json!({"input": {"into": yes, "from": no, "reason": "one person"}})).await;
        assert_eq!(state(&app, &yes, "MARKETING", Some("EMAIL")).await, "DENIED");
        assert_eq!(news(&app).await[before..], ["MERGE MARKETING/EMAIL GRANTED>DENIED"]);

        // Taken back, each side answers as before.
        let revoke = "mutation($input: IdentityDecisionRevokeInput!) { identityDecisionRevoke(input: $input) { customers { id } userErrors { message } } }";
        let decision = &merged["customerMerge"]["decision"]["id"];
        app.ask_with(revoke, json!({"input": {"id": decision, "reason": "no"}})).await;
        assert_eq!((state(&app, &yes, "MARKETING", Some("EMAIL")).await, state(&app, &no, "MARKETING", Some("EMAIL")).await), ("GRANTED".to_owned(), "DENIED".to_owned()));
        let mut told = news(&app).await.split_off(before + 1);
        told.sort();
        assert_eq!(told, ["SPLIT MARKETING/EMAIL DENIED>GRANTED", "SPLIT MARKETING/EMAIL UNKNOWN>DENIED"]);

        // Again one, they opt in; both records know it, so a split keeps it.
        app.ask_with(merge, json!({"input": {"into": yes, "from": no, "reason": "one person after all"}})).await;
        let before = news(&app).await.len();
        let payload = recorded(&app, json!({"customer": no, "purpose": "MARKETING", "channel": "EMAIL", "state": "GRANTED", "evidence": {"call": 7}})).await;
        assert_eq!((&payload["userErrors"], &payload["customer"]["id"]), (&json!([]), &json!(yes)));
        assert_eq!((&payload["consent"]["state"], &payload["consent"]["evidence"]), (&json!("GRANTED"), &json!({"call": 7})));
        assert!(payload["transaction"].is_string());
        assert_eq!(news(&app).await[before..], ["RECORDED MARKETING/EMAIL DENIED>GRANTED"]);
        assert_eq!(app.scalar("SELECT COUNT(*) FROM audit WHERE action = 'consent.record'").await, 1);
        // Two rows, one answer.
        let page = "query($id: ID!, $after: String) { customer(id: $id) { consentHistory(first: 1, after: $after) { nodes { state origin actor event { id } } pageInfo { hasNextPage endCursor } } timeline(first: 50) { nodes { __typename } } } }";
        let (mut after, mut origins) = (Value::Null, Vec::new());
        loop {
            let data = app.ask_with(page, json!({"id": yes, "after": after})).await;
            let history = &data["customer"]["consentHistory"];
            origins.push(text(&history["nodes"][0]["origin"]));
            after = history["pageInfo"]["endCursor"].clone();
            if history["pageInfo"]["hasNextPage"] == json!(false) {
                let entries = data["customer"]["timeline"]["nodes"].as_array().unwrap().clone();
                assert_eq!(entries.iter().filter(|entry| entry["__typename"] == "ConsentChange").count(), 3);
                break;
            }
        }
        assert_eq!(origins, ["DEED", "RECORD", "RECORD"]);
        let split = "mutation($input: CustomerSplitInput!) { customerSplit(input: $input) { customers { id consent(purpose: \"MARKETING\", channel: \"EMAIL\") } userErrors { message } } }";
        let data = app.ask_with(split, json!({"input": {"customer": yes, "records": [no_record], "reason": "two after all"}})).await;
        let sides: Vec<&Value> = data["customerSplit"]["customers"].as_array().unwrap().iter().map(|customer| &customer["consent"]).collect();
        assert_eq!(sides, ["GRANTED", "GRANTED"]);
        assert_ne!(yes_record, no_record);
        assert_rebuilds(&app).await;
        app.stop().await;
    }

    async fn an_answer_that_cannot_be_recorded_is_refused(app: TestApp) {
        let crm = source(&app, "crm").await;
        let receipts = ingest(&app, &crm, json!([{"key": "1"}])).await;
        let customer = text(&receipts[0]["customer"]["id"]);
        let nobody = "cus_AAAAAAAAAAAAAAAAAAAAAA";
        let rows = app.count("change_tx").await;
        for (input, code, field) in [
            (json!({"customer": nobody, "purpose": "ads", "state": "GRANTED"}), "NOT_FOUND", "customer"),
            (json!({"customer": receipts[0]["record"]["id"], "purpose": "ads", "state": "GRANTED"}), "INVALID", "customer"),
            (json!({"customer": customer, "purpose": " ", "state": "GRANTED"}), "INVALID", "purpose"),
            (json!({"customer": customer, "purpose": "ads", "channel": "", "state": "GRANTED"}), "INVALID", "channel"),
            (json!({"customer": customer, "purpose": "ads", "state": "GRANTED", "occurredAt": "2126-01-01T00:00:00Z"}), "INVALID", "occurredAt"),
            (json!({"customer": customer, "purpose": "ads", "state": "GRANTED", "evidence": "x".repeat(40_000)}), "INVALID", "evidence"),
        ] {
            let payload = recorded(&app, input.clone()).await;
            assert_eq!((&payload["userErrors"][0]["code"], &payload["userErrors"][0]["field"]), (&json!(code), &json!(["input", field])), "{input}");
            assert_eq!((&payload["customer"], &payload["transaction"]), (&Value::Null, &Value::Null));
        }
        assert_eq!((app.count("consent").await, app.count("change_tx").await), (0, rows));
        let (_, body) = app.graphql(ADMIN_KEY, json!({"query": "{ customers(first: 1) { nodes { consentHistory(first: 1, after: \"x\") { nodes { id } } } } }"})).await;
        assert_eq!(body["errors"][0]["extensions"]["code"], "BAD_INPUT");
        app.stop().await;
    }

    async fn a_page_of_customers_with_their_consents_takes_a_constant_number_of_statements(app: TestApp) {
        let crm = source(&app, "crm").await;
        let items: Vec<Value> = (0..60).map(|n| json!({"key": n.to_string(), "consents": [{"purpose": "ads", "state": if n % 2 == 0 { "GRANTED" } else { "DENIED" }}]})).collect();
        ingest(&app, &crm, json!(items)).await;
        let mut costs = Vec::new();
        for first in [5, 50] {
            let before = app.server.services.store.statement_count();
            let data = app.ask(&format!("{{ customers(first: {first}) {{ nodes {{ consents {{ state }} consent(purpose: \"ads\", channel: \"EMAIL\") consentHistory(first: 3) {{ nodes {{ state }} }} }} }} }}")).await;
            assert_eq!(data["customers"]["nodes"].as_array().unwrap().len(), first);
            assert_eq!(data["customers"]["nodes"][0]["consent"], json!("DENIED"));
            costs.push(app.server.services.store.statement_count() - before);
        }
        assert_eq!(costs[0], costs[1]);
        // The page, the records of its customers (once for each list), their answers, the history.
        assert!(costs[1] <= 5, "{costs:?}");
        app.stop().await;
    }

    async fn many_answers_take_as_many_statements_as_one(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let said = |series: &str, count: usize, granted: bool| -> Value {
            json!((0..count).map(|n| json!({"type": "page", "userId": format!("u{n}"), "messageId": format!("{series}-{n}"),
                "context": {"consent": {"categoryPreferences": {"ads": granted}}}})).collect::<Vec<_>>())
        };
        app.batch(&key, said("warm", 100, true)).await;
        let mut costs = Vec::new();
        for (series, count, granted) in [("one", 1, true), ("many", 100, true), ("one no", 1, false), ("many no", 100, false)] {
            app.clock.advance(Duration::from_secs(1));
            let before = app.server.services.store.statement_count();
            app.batch(&key, said(series, count, granted)).await;
            costs.push(app.server.services.store.statement_count() - before);
        }
        assert_eq!((costs[0], costs[2]), (costs[1], costs[3]), "{costs:?}");
        assert_eq!(app.count("consent").await, 200);
        app.stop().await;
    }
}
