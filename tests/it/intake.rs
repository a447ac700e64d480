//! What intake stores: every good item once, every bad one listed with its reason, the catalogue, and the change log.

use super::support::{Backend, TestApp, on_both};
use reqwest::StatusCode;
use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::{Value, json};
use std::time::Duration;

fn track(user: &str, message: &str) -> Value {
    json!({"type": "track", "event": "Product Viewed", "userId": user, "messageId": message, "properties": {"product_id": "p-1"}})
}

on_both! {
    async fn of_a_mixed_batch_the_good_are_kept_the_bad_reported_and_a_resend_changes_nothing(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let batch: Vec<Value> = (0..500)
            .map(|n| if n % 10 == 3 { json!({"type": "track", "userId": format!("u{n}")}) } else { track(&format!("u{}", n % 50), &format!("m{n}")) })
            .collect();
        for _ in 0..2 {
            app.batch(&key, json!(batch)).await;
            assert_eq!((app.count("event").await, app.count("rejected_item").await), (450, 50));
        }
        let data = app.ask("{ rejectedItems(first: 100) { totalCount nodes { index code message field payload source { key } } } }").await;
        let items = data["rejectedItems"]["nodes"].as_array().unwrap();
        assert_eq!(data["rejectedItems"]["totalCount"], 50);
        let mut places: Vec<i64> = items.iter().map(|item| item["index"].as_i64().unwrap()).collect();
        places.sort_unstable();
        assert_eq!(places, (0..50).map(|n| 10 * n + 3).collect::<Vec<_>>());
        assert_eq!(items[0]["code"], "missing_event_name");
        assert_eq!(items[0]["field"], "event");
        assert_eq!(items[0]["source"]["key"], "web");
        assert_eq!(items[0]["payload"]["type"], "track");
        app.stop().await;
    }

    async fn horrors_are_refused_one_by_one_and_their_neighbours_are_kept(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let deep = format!("{}1{}", "[".repeat(1000), "]".repeat(1000));
        let overflow = r#"{"order_id":"o","products":[{"sku":"a","price":7.9e28},{"sku":"b","price":7.9e28}]}"#;
        let bad = |name: &str, properties: &str| format!(r#"{{"type":"track","event":"{name}","userId":"u","messageId":"{name}","properties":{properties}}}"#);
        let items = [
            track("u", "good-1").to_string(),
            bad("deep", &format!(r#"{{"x":{deep}}}"#)),
            bad("twice", r#"{"x":1,"x":2}"#),
            bad("number", r#"{"x":1e400}"#),
            bad("surrogate", r#"{"x":"\ud800"}"#),
            bad("nul", r#"{"x":"a\u0000b"}"#),
            bad("nulkey", r#"{"a\u0000b":1}"#),
            bad("money", "{}").replace("\"event\":\"money\"", "\"event\":\"Order Completed\"").replace("{}", r#"{"order_id":"o","revenue":"lots"}"#),
            bad("overflow", overflow).replace("\"event\":\"overflow\"", "\"event\":\"Order Completed\""),
            bad("large", &format!(r#"{{"x":"{}"}}"#, "y".repeat(40_000))),
            "7".to_owned(),
            "null".to_owned(),
            track("u", "good-2").to_string(),
        ];
        let (status, answer) = app.send_text(&key, "/v1/batch", format!(r#"{{"batch":[{}]}}"#, items.join(","))).await;
        assert_eq!((status, answer), (StatusCode::OK, json!({"success": true})));
        let data = app.ask("{ rejectedItems(first: 100) { nodes { index code field payload } } }").await;
        let mut refused: Vec<(i64, String, Value)> = data["rejectedItems"]["nodes"].as_array().unwrap().iter()
            .map(|item| (item["index"].as_i64().unwrap(), item["code"].as_str().unwrap().to_owned(), item["field"].clone())).collect();
        refused.sort_by_key(|item| item.0);
        let codes: Vec<(i64, &str, Value)> = refused.iter().map(|(index, code, field)| (*index, code.as_str(), field.clone())).collect();
        assert_eq!(codes.iter().map(|item| (item.0, item.1)).collect::<Vec<_>>(), [
            (1, "nested_too_deep"), (2, "duplicate_key"), (3, "number_out_of_range"), (4, "invalid_unicode"), (5, "nul_character"),
            (6, "nul_character"), (7, "invalid_amount"), (8, "invalid_amount"), (9, "event_too_large"), (10, "invalid_event"), (11, "invalid_event"),
        ]);
        assert_eq!(codes[1].2, "properties.x");
        assert_eq!(app.count("event").await, 2);
        app.stop().await;
    }

    async fn protected_traits_and_ids_of_this_server_are_refused_and_the_rest_is_kept(app: TestApp) {
        let key = app.source("web", "WEB").await;
        app.batch(&key, json!([track("victim", "m0")])).await;
        let victim = app.ask(r#"{ customerBy(identifier: {kind: USER_ID, value: "victim"}) { id } }"#).await["customerBy"]["id"].clone();
        app.batch(&key, json!([
            {"type": "identify", "userId": victim, "traits": {"email": "thief@example.test"}},
            {"type": "identify", "userId": "u", "traits": {"is_staff": true}},
            {"type": "identify", "userId": "u", "traits": {"consent.marketing": true}},
            track("u", "m1"),
        ])).await;
        let data = app.ask("{ rejectedItems(first: 10) { nodes { code field } } }").await;
        let mut codes: Vec<String> = data["rejectedItems"]["nodes"].as_array().unwrap().iter().map(Value::to_string).collect();
        codes.sort();
        assert_eq!(codes, [
            json!({"code": "internal_id", "field": "userId"}).to_string(),
            json!({"code": "protected_trait", "field": "traits.consent.marketing"}).to_string(),
            json!({"code": "protected_trait", "field": "traits.is_staff"}).to_string(),
        ]);
        assert_eq!(app.count("event").await, 2);
        app.stop().await;
    }

    async fn a_repeated_message_counts_once_within_a_batch_across_batches_and_at_the_same_time(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let mut first = track("u", "same");
        first["properties"] = json!({"which": "first"});
        let mut second = first.clone();
        second["properties"] = json!({"which": "second"});
        app.batch(&key, json!([first, second, track("u", "other")])).await;
        app.batch(&key, json!([second])).await;
        let concurrent = (0..20).map(|_| app.send(&key, "/v1/t", &first));
        for (status, _) in futures_util::future::join_all(concurrent).await {
            assert_eq!(status, StatusCode::OK);
        }
        let data = app.ask(r#"{ customerBy(identifier: {kind: USER_ID, value: "u"}) { timeline(first: 10, names: ["Product Viewed"]) { nodes { ... on Event { messageId properties } } } } }"#).await;
        let nodes = data["customerBy"]["timeline"]["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), 2, "{data}");
        assert!(nodes.iter().any(|node| node["messageId"] == "same" && node["properties"] == json!({"which": "first"})), "{data}");
        // One id under two records is two messages.
        app.batch(&key, json!([track("somebody else", "same")])).await;
        assert_eq!(app.count("event").await, 3);
        app.stop().await;
    }

    async fn the_last_value_by_event_time_stands_and_a_null_clears(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let said = |at: &str, traits: Value| json!({"type": "identify", "userId": "u", "timestamp": at, "messageId": at, "traits": traits});
        app.batch(&key, json!([said("2026-05-03T00:00:00Z", json!({"email": "new@example.test", "phone": null, "lastName": "Byron"}))])).await;
        app.batch(&key, json!([said("2026-05-01T00:00:00Z", json!({"email": "old@example.test", "phone": "+44 20 7946 0018", "firstName": "Ada"}))])).await;
        app.batch(&key, json!([said("2026-05-04T00:00:00Z", json!({"last_name": "Lovelace", "address": {"city": "London", "postalCode": "N1"}}))])).await;
        let data = app.ask(r#"{ customerBy(identifier: {kind: EMAIL, value: " NEW@Example.test"}) { displayName email phone city records { traits } } }"#).await;
        assert_eq!(data["customerBy"], json!({
            "displayName": "Ada Lovelace", "email": "new@example.test", "phone": null, "city": "London",
            "records": [{"traits": {"email": "new@example.test", "first_name": "Ada", "last_name": "Lovelace", "address": {"city": "London", "postal_code": "N1"}}}]
        }));
        app.stop().await;
    }

    async fn an_identifier_finds_the_record_that_showed_it_first(app: TestApp) {
        let web = app.source("web", "WEB").await;
        let crm = app.source("crm", "CRM").await;
        app.batch(&crm, json!([{"type": "identify", "userId": "7", "traits": {"email": "ada@example.test"}}])).await;
        app.batch(&web, json!([{"type": "identify", "userId": "u", "anonymousId": "A-1", "traits": {"email": "Ada@Example.test"}}])).await;
        let by = |kind: &str, value: &str| format!(r#"{{ customerBy(identifier: {{kind: {kind}, value: "{value}"}}) {{ records {{ source {{ key }} identifiers {{ kind value state }} }} }} }}"#);
        let data = app.ask(&by("EMAIL", "ADA@example.test")).await;
        assert_eq!(data["customerBy"]["records"][0]["source"]["key"], "crm");
        let data = app.ask(&by("ANONYMOUS_ID", "a-1")).await;
        assert_eq!(data["customerBy"]["records"][0], json!({"source": {"key": "web"}, "identifiers": [
            {"kind": "USER_ID", "value": "u", "state": "ACTIVE"},
            {"kind": "ANONYMOUS_ID", "value": "a-1", "state": "ACTIVE"},
            {"kind": "EMAIL", "value": "ada@example.test", "state": "ACTIVE"},
        ]}));
        assert_eq!(app.ask(&by("EMAIL", "nobody@example.test")).await["customerBy"], Value::Null);
        assert_eq!(app.ask(&by("EMAIL", "no address")).await["customerBy"], Value::Null);
        app.stop().await;
    }

    async fn times_are_corrected_for_the_senders_clock_and_kept_as_they_came(app: TestApp) {
        let key = app.source("web", "WEB").await;
        // The sender's clock is two hours ahead of noon.
        let body = json!({"sentAt": "2026-06-01T14:00:00Z", "batch": [
            {"type": "track", "event": "ahead", "userId": "u", "timestamp": "2026-06-01T13:59:00Z"},
            {"type": "track", "event": "unreadable", "userId": "u", "timestamp": "soon"},
            {"type": "track", "event": "sound", "userId": "u", "timestamp": "2026-06-01T11:00:00Z", "sentAt": "2026-06-01T12:00:01Z"},
            {"type": "track", "event": "future", "userId": "u", "timestamp": "2027-06-01T11:00:00Z", "sentAt": "2026-06-01T12:00:01Z"},
        ]});
        assert_eq!(app.send(&key, "/v1/batch", &body).await.0, StatusCode::OK);
        let data = app.ask(r#"{ customerBy(identifier: {kind: USER_ID, value: "u"}) { timeline(first: 10, order: OLDEST_FIRST) { nodes { occurredAt ... on Event { name receivedAt } } } } }"#).await;
        let mut times: Vec<(String, String)> = data["customerBy"]["timeline"]["nodes"].as_array().unwrap().iter()
            .map(|node| (node["name"].as_str().unwrap().to_owned(), node["occurredAt"].as_str().unwrap().to_owned())).collect();
        times.sort();
        let expected = [("ahead", "2026-06-01T11:59:00Z"), ("future", "2026-06-01T12:00:00Z"), ("sound", "2026-06-01T11:00:00Z"), ("unreadable", "2026-06-01T12:00:00Z")];
        assert_eq!(times, expected.map(|(name, time)| (name.to_owned(), time.to_owned())));
        assert_eq!(app.scalar("SELECT COUNT(*) FROM event WHERE original_at IS NULL").await, 1);
        assert_eq!(app.scalar("SELECT COUNT(*) FROM event WHERE flags > 0").await, 3);
        app.stop().await;
    }

    async fn the_catalogue_learns_names_and_types_and_counts_them(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let identify = |n: i64, traits: Value| json!({"type": "identify", "userId": format!("u{n}"), "messageId": format!("i{n}"), "traits": traits});
        app.batch(&key, json!([identify(1, json!({"age": 7, "vip": true})), identify(2, json!({"age": 7.5})), track("u", "m1")])).await;
        app.batch(&key, json!([identify(3, json!({"age": "old", "nothing": null})), track("u", "m2"), track("u", "m1")])).await;
        tributary::worker::run_once(&app.server.services).await;
        let data = app.ask("{ traitDefinitions { nodes { name valueType class count } } eventDefinitions { nodes { name kind count } } }").await;
        assert_eq!(data["traitDefinitions"]["nodes"], json!([
            {"name": "age", "valueType": "MIXED", "class": "PII", "count": 3},
            {"name": "vip", "valueType": "BOOLEAN", "class": "PII", "count": 1},
        ]));
        assert_eq!(data["eventDefinitions"]["nodes"], json!([{"name": "Product Viewed", "kind": "TRACK", "count": 2}]));
        app.stop().await;
    }

    async fn every_committed_change_is_in_the_log_with_its_transaction(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let before = app.count("change_tx").await;
        app.batch(&key, json!([
            {"type": "identify", "userId": "u", "messageId": "1", "traits": {"email": "a@example.test"}},
            track("u", "2"), track("v", "3"),
        ])).await;
        app.clock.advance(Duration::from_secs(1));
        app.batch(&key, json!([{"type": "identify", "userId": "u", "messageId": "4", "traits": {"email": "b@example.test"}}, track("u", "5")])).await;
        app.batch(&key, json!([track("v", "6"), track("v", "7")])).await;
        assert_eq!(app.count("change_tx").await - before, 3);
        let store = &app.server.services.store;
        let sql = "SELECT c.topic, c.op, c.changed, c.events, t.row_count, t.actor FROM change c JOIN change_tx t ON t.tx_id = c.tx_id ORDER BY t.ordinal, c.topic, c.n";
        let rows = store.reader().query_all_raw(Statement::from_string(store.backend(), sql)).await.unwrap();
        let mut seen: Vec<(i16, i16, Value, usize, i64, String)> = rows.iter().map(|row| {
            let changed: Option<Value> = row.try_get_by_index(2).unwrap();
            let events: Option<Vec<u8>> = row.try_get_by_index(3).unwrap();
            (row.try_get_by_index(0).unwrap(), row.try_get_by_index(1).unwrap(), changed.unwrap_or_default(),
             events.unwrap_or_default().len() / 16, row.try_get_by_index(4).unwrap(), row.try_get_by_index(5).unwrap())
        }).collect();
        seen[..2].sort_by_key(|row| row.3);
        let web = "source:web".to_owned();
        // Topics: 1 customer, 4 event. Operations: 1 created, 2 updated.
        assert_eq!(seen, [
            (1, 1, Value::Null, 1, 2, web.clone()),
            (1, 1, json!({"email": [null, "a@example.test"]}), 2, 2, web.clone()),
            (1, 2, json!({"email": ["a@example.test", "b@example.test"]}), 2, 1, web.clone()),
            (4, 1, Value::Null, 2, 1, web),
        ]);
        let ordinals = app.scalar("SELECT COUNT(DISTINCT ordinal) FROM change_tx").await;
        assert_eq!(ordinals, app.count("change_tx").await);
        app.stop().await;
    }

    async fn an_event_that_the_database_refuses_is_the_only_one_refused(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let store = &app.server.services.store;
        let obstacle = if store.is_postgres() {
            "ALTER TABLE event ADD CHECK (name <> 'Poison')"
        } else {
            "CREATE TRIGGER poison BEFORE INSERT ON event WHEN NEW.name = 'Poison' BEGIN SELECT RAISE(ABORT, 'poison'); END"
        };
        store.writer().execute_unprepared(obstacle).await.unwrap();
        let mut batch: Vec<Value> = (0..20).map(|n| track("u", &format!("m{n}"))).collect();
        batch.insert(3, json!({"type": "track"}));
        batch[7]["event"] = json!("Poison");
        let other: Vec<Value> = (0..5).map(|n| json!({"event": "E", "userId": "v", "messageId": format!("o{n}")})).collect();
        let others = other.iter().map(|message| app.send(&key, "/v1/t", message));
        let (_, others) = tokio::join!(app.batch(&key, json!(batch)), async { futures_util::future::join_all(others).await });
        assert!(others.iter().all(|(status, _)| *status == StatusCode::OK), "{others:?}");
        assert_eq!(app.count("event").await, 19 + 5);
        let data = app.ask("{ rejectedItems(first: 9) { nodes { id index code payload } } }").await;
        let mut refused: Vec<(i64, Value)> = data["rejectedItems"]["nodes"].as_array().unwrap().iter()
            .map(|item| (item["index"].as_i64().unwrap(), item["code"].clone())).collect();
        refused.sort_by_key(|item| item.0);
        assert_eq!(refused, [(3, json!("no_user_anon_id")), (7, json!("not_storable"))]);
        let item = data["rejectedItems"]["nodes"].as_array().unwrap().iter().find(|item| item["index"] == 7).unwrap();
        assert_eq!(item["payload"]["properties"], json!({"product_id": "p-1"}));
        let node = app.ask_with("query($id: ID!) { node(id: $id) { ... on RejectedItem { code } } }", json!({"id": item["id"]})).await;
        assert_eq!(node["node"]["code"], "not_storable");
        let (status, alone) = app.send(&key, "/v1/t", &json!({"event": "Poison", "userId": "v"})).await;
        assert_eq!((status, &alone["code"]), (StatusCode::BAD_REQUEST, &json!("not_storable")));
        app.stop().await;
    }

    async fn texts_that_look_like_sql_are_texts(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let odd = ["'; DROP TABLE event; --", "\"", "\\", "%", "_", "$1", "?", "/*", "{{x}}", "script::x", "💥", "a\u{0301}"];
        let batch: Vec<Value> = odd.iter().map(|text| json!({"type": "identify", "userId": text, "traits": {*text: text, "name": text}})).collect();
        app.batch(&key, json!(batch)).await;
        for text in odd {
            let data = app.ask_with("query($v: String!) { customerBy(identifier: {kind: USER_ID, value: $v}) { displayName records { traits } } }", json!({"v": text})).await;
            assert_eq!(data["customerBy"]["displayName"], *text);
            assert_eq!(data["customerBy"]["records"][0]["traits"][text], *text);
        }
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_may_have_limits_of_its_own() {
    let app = TestApp::new(Backend::Sqlite).await;
    let made = app.ask(r#"mutation { sourceCreate(input: {key: "big", name: "big", channel: APP, maxEventBytes: 1000000, maxBatchBytes: 2000000}) { writeKey source { maxEventBytes } } }"#).await;
    let key = made["sourceCreate"]["writeKey"].as_str().unwrap();
    let mut large = track("u", "m");
    large["properties"]["text"] = json!("x".repeat(900_000));
    app.batch(key, json!([large])).await;
    assert_eq!((app.count("event").await, app.count("rejected_item").await), (1, 0));
    app.stop().await;
}
