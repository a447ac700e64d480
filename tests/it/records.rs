//! `recordsIngest`: receipts for each item, redeliveries, refusals, and what it costs.

use super::support::{TestApp, on_both};
use crate::support::app::ADMIN_KEY;
use reqwest::StatusCode;
use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::{Value, json};

const INGEST: &str = "mutation($input: RecordsIngestInput!) { recordsIngest(input: $input) {
    receipts { index status record { id externalKey source { key } identifiers { kind namespace value } traits }
        customer { id displayName email } error { code field message } }
    transaction userErrors { code field message } } }";

/// Makes a source; answers its id.
async fn source(app: &TestApp, key: &str) -> String {
    app.source(key, "CRM").await;
    let data = app.ask("{ sources(first: 100) { nodes { id key } } }").await;
    let mut sources = data["sources"]["nodes"].as_array().unwrap().iter();
    sources.find(|source| source["key"] == key).unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn ingest(app: &TestApp, source: &str, items: Value) -> Value {
    let data = app
        .ask_with(INGEST, json!({"input": {"source": source, "items": items}}))
        .await;
    data["recordsIngest"].clone()
}

/// The statuses of a call of which nothing as a whole was refused.
fn statuses(payload: &Value) -> Vec<&str> {
    assert_eq!(payload["userErrors"], json!([]));
    let receipts = payload["receipts"].as_array().unwrap();
    receipts.iter().map(|receipt| receipt["status"].as_str().unwrap()).collect()
}

async fn last_transaction(app: &TestApp) -> String {
    let store = &app.server.services.store;
    let sql = "SELECT tx_id FROM change_tx ORDER BY ordinal DESC LIMIT 1";
    let row = store
        .reader()
        .query_one_raw(Statement::from_string(store.backend(), sql))
        .await
        .unwrap()
        .unwrap();
    row.try_get_by_index::<sea_orm::prelude::Uuid>(0).unwrap().to_string()
}

fn ada() -> Value {
    json!({"key": "crm-1", "messageId": "ada-1", "at": "2026-05-01T10:00:00Z",
        "identifiers": [{"kind": "LOYALTY_ID", "value": "L-1"}, {"kind": "EXTERNAL_ID", "namespace": "erp", "value": "77"}],
        "traits": {"firstName": "Ada", "lastName": "King", "email": "Ada@Example.test", "vat": null},
        "events": [
            {"name": "Signed Up", "properties": {"plan": "pro"}},
            {"name": "Home", "kind": "PAGE", "at": "2026-05-02T10:00:00Z", "messageId": "page-1"}],
        "purchases": [
            {"orderId": "A-1", "at": "2026-05-03T10:00:00Z", "amount": "45.00", "currency": "EUR",
                "lines": [{"sku": "tea", "name": "Tea", "category": "Drinks", "quantity": 3, "price": "15.00"}]},
            {"orderId": "A-1", "at": "2026-05-04T10:00:00Z", "amount": "5.00", "currency": "EUR", "kind": "REFUNDED"}]})
}

on_both! {
    async fn items_become_records_with_traits_identifiers_events_and_purchases(app: TestApp) {
        let source = source(&app, "crm").await;
        let payload = ingest(&app, &source, json!([ada(), {"key": "crm-2"}])).await;
        assert_eq!(statuses(&payload), ["ACCEPTED", "ACCEPTED"]);
        assert_eq!(payload["transaction"], json!(last_transaction(&app).await));
        let (first, second) = (&payload["receipts"][0], &payload["receipts"][1]);
        assert_eq!((&first["index"], &second["index"], &first["error"]), (&json!(0), &json!(1), &Value::Null));
        assert_eq!((&first["record"]["externalKey"], &first["record"]["source"]["key"]), (&json!("crm-1"), &json!("crm")));
        assert_eq!(first["record"]["traits"], json!({"first_name": "Ada", "last_name": "King", "email": "Ada@Example.test"}));
        let mut shown: Vec<String> = first["record"]["identifiers"].as_array().unwrap().iter().map(|identifier| identifier.to_string()).collect();
        shown.sort();
        assert_eq!(shown, [
            r#"{"kind":"EMAIL","namespace":"","value":"ada@example.test"}"#,
            r#"{"kind":"EXTERNAL_ID","namespace":"erp","value":"77"}"#,
            r#"{"kind":"LOYALTY_ID","namespace":"","value":"L-1"}"#,
        ]);
        assert_eq!((&first["customer"]["displayName"], &first["customer"]["email"]), (&json!("Ada King"), &json!("Ada@Example.test")));
        assert_eq!((&second["record"]["traits"], &second["customer"]["displayName"]), (&json!({}), &Value::Null));
        assert_ne!(first["customer"]["id"], second["customer"]["id"]);

        let data = app.ask(r#"{ customerBy(identifier: {kind: LOYALTY_ID, value: "L-1"}) { id
            timeline(first: 9, order: OLDEST_FIRST, kinds: [TRACK, PAGE, IDENTIFY]) { nodes { ... on Event { kind name messageId occurredAt properties } } }
            purchases(first: 9) { nodes { orderId occurredAt amount { decimal currency } refunded { decimal } lines { quantity price { decimal } product { sku name category } } } } } }"#).await;
        let customer = &data["customerBy"];
        assert_eq!(customer["id"], first["customer"]["id"]);
        let mut told: Vec<(&str, &str, &str, &str)> = customer["timeline"]["nodes"].as_array().unwrap().iter().map(|event| {
            let text = |name: &str| event[name].as_str().unwrap();
            (text("occurredAt"), text("kind"), text("name"), text("messageId"))
        }).collect();
        told.sort_unstable();
        assert_eq!(told, [
            ("2026-05-01T10:00:00Z", "IDENTIFY", "identify", "ada-1"),
            ("2026-05-01T10:00:00Z", "TRACK", "Signed Up", "ada-1/event/0"),
            ("2026-05-02T10:00:00Z", "PAGE", "Home", "page-1"),
            ("2026-05-03T10:00:00Z", "TRACK", "Order Completed", "ada-1/purchase/0"),
            ("2026-05-04T10:00:00Z", "TRACK", "Order Refunded", "ada-1/purchase/1"),
        ]);
        assert_eq!(customer["purchases"]["nodes"], json!([{"orderId": "A-1", "occurredAt": "2026-05-03T10:00:00Z",
            "amount": {"decimal": "45.00", "currency": "EUR"}, "refunded": {"decimal": "5.00"},
            "lines": [{"quantity": 3, "price": {"decimal": "15.00"}, "product": {"sku": "tea", "name": "Tea", "category": "Drinks"}}]}]));
        app.stop().await;
    }

    async fn a_redelivery_changes_nothing_by_its_id_or_by_its_content(app: TestApp) {
        let source = source(&app, "crm").await;
        let nameless = json!({"key": "crm-2", "at": "2026-05-01T10:00:00Z", "traits": {"city": "Bonn", "name": "Ben"}, "events": [{"name": "Called"}]});
        let payload = ingest(&app, &source, json!([ada(), nameless, nameless])).await;
        assert_eq!(statuses(&payload), ["ACCEPTED", "ACCEPTED", "DUPLICATE"]);
        let rows = async || {
            let mut rows = Vec::new();
            for table in ["event", "record", "link", "purchase", "refund", "change", "change_tx", "rejected_item"] {
                rows.push(app.count(table).await);
            }
            rows
        };
        let before = rows().await;
        let reordered = json!({"traits": {"name": "Ben", "city": "Bonn"}, "events": [{"name": "Called"}], "at": "2026-05-01T12:00:00+02:00", "key": "crm-2"});
        let again = ingest(&app, &source, json!([ada(), nameless, reordered])).await;
        assert_eq!(statuses(&again), ["DUPLICATE", "DUPLICATE", "DUPLICATE"]);
        assert_eq!(again["transaction"], Value::Null);
        assert_eq!(again["receipts"][0]["record"], payload["receipts"][0]["record"]);
        assert_eq!(again["receipts"][0]["customer"], payload["receipts"][0]["customer"]);
        assert_eq!(rows().await, before);

        // The same id with other traits is the same item; a further event makes it partly new; another instant makes another item.
        let mut renamed = ada();
        renamed["traits"]["firstName"] = json!("Augusta");
        let mut more = ada();
        more["events"].as_array_mut().unwrap().push(json!({"name": "Called"}));
        let mut later = nameless.clone();
        later["at"] = json!("2026-05-02T10:00:00Z");
        let changed = ingest(&app, &source, json!([renamed, more, later])).await;
        assert_eq!(statuses(&changed), ["DUPLICATE", "ACCEPTED", "ACCEPTED"]);
        assert_eq!(changed["receipts"][0]["record"]["traits"]["first_name"], "Ada");
        assert_eq!(changed["transaction"], json!(last_transaction(&app).await));
        assert_eq!(app.count("event").await, before[0] + 3);
        app.stop().await;
    }

    async fn a_bad_item_is_rejected_by_itself_with_its_path_and_listed(app: TestApp) {
        let source = source(&app, "crm").await;
        let bad = json!({"key": "bad", "identifiers": [{"kind": "EMAIL", "value": " "}]});
        let payload = ingest(&app, &source, json!([{"key": "a"}, {"key": "b", "traits": {"name": "Ben"}}, {"key": "c"}, bad, {"key": "d"},
            {"key": "e", "purchases": [{"orderId": "o", "lines": [{"sku": "a", "price": "dear"}]}]}])).await;
        assert_eq!(statuses(&payload), ["ACCEPTED", "ACCEPTED", "ACCEPTED", "REJECTED", "ACCEPTED", "REJECTED"]);
        assert_eq!(payload["receipts"][3], json!({"index": 3, "status": "REJECTED", "record": null, "customer": null, "error": {
            "code": "INVALID_ID", "field": ["items", "3", "identifiers", "0", "value"],
            "message": "must not be empty: leave out an identifier that is not known"}}));
        assert_eq!(payload["receipts"][5]["error"]["code"], "INVALID_AMOUNT");
        assert_eq!(payload["receipts"][5]["error"]["field"], json!(["items", "5", "purchases", "0", "lines", "0", "price"]));
        assert_eq!((app.count("record").await, app.count("event").await), (4, 4));
        let data = app.ask("{ rejectedItems(first: 9) { nodes { index code field message payload source { id } } } }").await;
        let listed = data["rejectedItems"]["nodes"].as_array().unwrap();
        assert_eq!(listed.len(), 2);
        let item = listed.iter().find(|item| item["index"] == 3).unwrap();
        assert_eq!(item, &json!({"index": 3, "code": "invalid_id", "field": "identifiers.0.value", "payload": bad,
            "message": "must not be empty: leave out an identifier that is not known", "source": {"id": source}}));

        let alone = ingest(&app, &source, json!([bad])).await;
        assert_eq!((statuses(&alone), &alone["transaction"]), (vec!["REJECTED"], &Value::Null));
        app.stop().await;
    }

    async fn every_reason_to_reject_has_a_code_of_its_own(app: TestApp) {
        let source = source(&app, "crm").await;
        let long = "x".repeat(256);
        let event = |event: Value| json!({"key": "k", "events": [event]});
        let purchase = |purchase: Value| json!({"key": "k", "purchases": [purchase]});
        let deep = (0..64).fold(json!(1), |inner, _| json!([inner]));
        let many: serde_json::Map<String, Value> = (0..1001).map(|n| (format!("t{n}"), json!(n))).collect();
        let cases = [
            ("ID_TOO_LONG", json!({"key": long})),
            ("INTERNAL_ID", json!({"key": "k", "identifiers": [{"kind": "USER_ID", "value": source}]})),
            ("MISSING_NAMESPACE", json!({"key": "k", "identifiers": [{"kind": "EXTERNAL_ID", "value": "1"}]})),
            ("DUPLICATE_MESSAGE_ID", json!({"key": "k", "messageId": "m", "events": [{"name": "e", "messageId": "m"}]})),
            ("INVALID_OBJECT", json!({"key": "k", "traits": [1]})),
            ("PROTECTED_TRAIT", json!({"key": "k", "traits": {"consent.mail": true}})),
            ("INVALID_TRAIT_NAME", json!({"key": "k", "traits": {"": true}})),
            ("TOO_MANY_TRAITS", json!({"key": "k", "traits": many})),
            ("MISSING_EVENT_NAME", event(json!({}))),
            ("EVENT_NAME_TOO_LONG", event(json!({"name": long}))),
            ("EVENT_TOO_LARGE", event(json!({"name": "e", "properties": {"x": "y".repeat(40_000)}}))),
            ("MISSING_ORDER_ID", purchase(json!({"orderId": ""}))),
            ("INVALID_AMOUNT", purchase(json!({"orderId": "o", "amount": "lots"}))),
            ("INVALID_CURRENCY", purchase(json!({"orderId": "o", "currency": "?"}))),
            ("INVALID_PRODUCTS", purchase(json!({"orderId": "o", "lines": [{"sku": ""}]}))),
            ("NUL_CHARACTER", json!({"key": "k", "traits": {"a": "b\0"}})),
            ("NESTED_TOO_DEEP", json!({"key": "k", "traits": {"a": deep}})),
        ];
        let items: Vec<&Value> = cases.iter().map(|(_, item)| item).collect();
        let payload = ingest(&app, &source, json!(items)).await;
        let receipts = payload["receipts"].as_array().unwrap();
        let codes: Vec<&str> = receipts.iter().map(|receipt| receipt["error"]["code"].as_str().unwrap()).collect();
        assert_eq!(codes, cases.iter().map(|(code, _)| *code).collect::<Vec<_>>());
        assert_eq!((app.count("rejected_item").await, app.count("event").await), (17, 0));
        app.stop().await;
    }

    async fn an_item_that_the_database_refuses_says_so_and_its_neighbours_are_kept(app: TestApp) {
        let source = source(&app, "crm").await;
        let store = &app.server.services.store;
        let obstacle = if store.is_postgres() {
            "ALTER TABLE event ADD CHECK (name <> 'Poison')"
        } else {
            "CREATE TRIGGER poison BEFORE INSERT ON event WHEN NEW.name = 'Poison' BEGIN SELECT RAISE(ABORT, 'poison'); END"
        };
        store.writer().execute_unprepared(obstacle).await.unwrap();
        let item = |n: usize| json!({"key": format!("k{n}"), "events": [{"name": if n == 2 { "Poison" } else { "Fine" }}]});
        let payload = ingest(&app, &source, json!((0..5).map(item).collect::<Vec<_>>())).await;
        assert_eq!(statuses(&payload), ["ACCEPTED", "ACCEPTED", "REJECTED", "ACCEPTED", "ACCEPTED"]);
        assert_eq!(payload["receipts"][2]["error"]["code"], "NOT_STORABLE");
        assert_eq!(payload["receipts"][2]["error"]["field"], json!(["items", "2"]));
        // Taken apart, it was several transactions: the last one that brought something new is told.
        assert_eq!(payload["transaction"], json!(last_transaction(&app).await));
        assert_eq!(app.scalar("SELECT item_index FROM rejected_item").await, 2);
        app.stop().await;
    }

    async fn limits_and_sources_are_checked_before_anything_is_stored(app: TestApp) {
        let source = source(&app, "crm").await;
        let items = |count: usize| json!((0..count).map(|n| json!({"key": format!("k{n}")})).collect::<Vec<_>>());
        let events = json!([{"key": "k", "events": vec![json!({"name": "e"}); 2500]}]);
        for (items, message) in [
            (items(0), "a call may hold 1 to 500 items, this one has 0"),
            (items(501), "a call may hold 1 to 500 items, this one has 501"),
            (events, "items, their events and their purchases may be 2500 together, these are 2501: split the call"),
        ] {
            let payload = ingest(&app, &source, items).await;
            assert_eq!(payload, json!({"receipts": [], "transaction": null,
                "userErrors": [{"code": "INVALID", "field": ["input", "items"], "message": message}]}));
        }
        let nobody = "src_AAAAAAAAAAAAAAAAAAAAAA";
        for (id, code, message) in [
            (nobody, "NOT_FOUND", "there is no such source"),
            ("crm", "INVALID", "this is no id of this server: use an id as it was answered"),
            ("rec_AAAAAAAAAAAAAAAAAAAAAA", "INVALID", "expected the id of a Source, this is the id of a Record"),
        ] {
            let payload = ingest(&app, id, items(1)).await;
            assert_eq!(payload["userErrors"], json!([{"code": code, "field": ["input", "source"], "message": message}]));
        }
        app.ask_with("mutation($id: ID!) { sourceUpdate(input: {id: $id, enabled: false}) { source { enabled } } }", json!({"id": source})).await;
        let payload = ingest(&app, &source, items(1)).await;
        assert_eq!(payload["userErrors"], json!([{"code": "CONFLICT", "field": ["input", "source"],
            "message": "this source is disabled: enable it with sourceUpdate"}]));
        assert_eq!((app.count("event").await, app.count("rejected_item").await), (0, 0));
        app.ask_with("mutation($id: ID!) { sourceUpdate(input: {id: $id, enabled: true}) { source { enabled } } }", json!({"id": source})).await;
        assert_eq!(statuses(&ingest(&app, &source, items(500)).await), vec!["ACCEPTED"; 500]);
        app.stop().await;
    }

    async fn it_needs_the_scope_write(app: TestApp) {
        let source = source(&app, "crm").await;
        let body = json!({"query": INGEST, "variables": {"input": {"source": source, "items": [{"key": "k"}]}}});
        for (scopes, allowed) in [("READ, READ_PII", false), ("WRITE", true)] {
            let made = app.ask(&format!(r#"mutation {{ apiKeyCreate(input: {{name: "k", scopes: [{scopes}]}}) {{ secret }} }}"#)).await;
            let key = made["apiKeyCreate"]["secret"].as_str().unwrap();
            let (status, answer) = app.graphql(key, body.clone()).await;
            assert_eq!(status, StatusCode::OK);
            if allowed {
                assert_eq!(answer["data"]["recordsIngest"]["receipts"][0]["status"], "ACCEPTED");
            } else {
                assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN");
                assert_eq!(app.count("event").await, 0);
            }
        }
        app.stop().await;
    }

    async fn a_call_takes_as_many_statements_for_a_hundred_items_as_for_ten(app: TestApp) {
        let source = source(&app, "crm").await;
        let items = |series: &str, count: usize| json!((0..count).map(|n| json!({"key": format!("{series}-{n}"), "traits": {"name": "Ada", "email": format!("{series}{n}@x.test")},
            "events": [{"name": "Called"}], "purchases": [{"orderId": format!("{series}-{n}"), "amount": "5", "lines": [{"sku": "tea"}]}]})).collect::<Vec<_>>());
        ingest(&app, &source, items("warm", 1)).await;
        let mut costs = Vec::new();
        for (series, count) in [("few", 10), ("many", 100)] {
            let before = app.server.services.store.statement_count();
            assert_eq!(statuses(&ingest(&app, &source, items(series, count)).await), vec!["ACCEPTED"; count]);
            costs.push(app.server.services.store.statement_count() - before);
        }
        assert_eq!(costs[0], costs[1]);
        assert!(costs[0] <= 25, "{costs:?}");
        app.stop().await;
    }

    async fn two_calls_of_one_document_answer_what_each_of_them_left(app: TestApp) {
        let source = source(&app, "crm").await;
        let call = |name: &str, day: &str| format!(r#"{name}: recordsIngest(input: {{source: "{source}", items: [{{key: "k", at: "2026-05-{day}T00:00:00Z", traits: {{name: "{name}"}}}}]}}) {{
            receipts {{ status record {{ traits lastSeenAt }} customer {{ displayName records {{ traits }} }} }} }}"#);
        let data = app.ask(&format!("mutation {{ {} {} }}", call("first", "01"), call("second", "02"))).await;
        for (name, day) in [("first", "01"), ("second", "02")] {
            assert_eq!(data[name]["receipts"][0], json!({"status": "ACCEPTED",
                "record": {"traits": {"name": name}, "lastSeenAt": format!("2026-05-{day}T00:00:00Z")},
                "customer": {"displayName": name, "records": [{"traits": {"name": name}}]}}));
        }
        app.stop().await;
    }

    async fn a_record_of_the_tracking_api_can_be_added_to_under_its_own_key(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let data = app.ask("{ sources { nodes { id } } }").await;
        let source = data["sources"]["nodes"][0]["id"].as_str().unwrap();
        let payload = ingest(&app, source, json!([{"key": "u:ada", "identifiers": [{"kind": "USER_ID", "value": "ada"}], "traits": {"name": "Ada"}}])).await;
        assert_eq!(statuses(&payload), ["ACCEPTED"]);
        app.batch(&key, json!([{"type": "track", "event": "Called", "userId": "ada", "messageId": "1"}])).await;
        let data = app.ask(r#"{ customerBy(identifier: {kind: USER_ID, value: "ada"}) { displayName timeline(first: 9) { nodes { ... on Event { name } } } } }"#).await;
        assert_eq!(data["customerBy"], json!({"displayName": "Ada", "timeline": {"nodes": [{"name": "Called"}]}}));
        assert_eq!(app.count("record").await, 1);
        app.stop().await;
    }

    async fn a_server_that_stops_takes_nothing_more(app: TestApp) {
        let source = source(&app, "crm").await;
        app.server.intake.close();
        let body = json!({"query": INGEST, "variables": {"input": {"source": source, "items": [{"key": "k"}]}}});
        let (_, answer) = app.graphql(ADMIN_KEY, body).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "UNAVAILABLE");
        assert_eq!(answer["errors"][0]["message"], "the server is shutting down");
        app.stop().await;
    }
}
