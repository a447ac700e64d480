//! The tracking API on the wire: what real client libraries send, and every answer they rely on.

use super::support::{Backend, TestApp, on_both};
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::io::Write as _;

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// The exchanges of a recorded library, without those that only fetch settings.
fn captured(name: &str) -> Vec<Value> {
    let path = format!("{}/tests/data/captures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let capture: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let exchanges = capture["exchanges"].as_array().unwrap().clone();
    exchanges
        .into_iter()
        .filter(|exchange| exchange["request"]["method"] == "POST")
        .collect()
}

const CAPTURES: [&str; 8] = [
    "segment-analytics-node-batch",
    "segment-analytics-node-retry",
    "segment-analytics-next-single",
    "segment-analytics-next-batching",
    "segment-analytics-python-batch",
    "segment-analytics-python-batch-gzip",
    "rudder-sdk-node-batch-gzip",
    "rudder-sdk-python-batch-gzip",
];

/// Sends a recorded request as it was recorded: path, headers, compression, only with this source's key.
async fn replay(app: &TestApp, write_key: &str, request: &Value) -> (StatusCode, Value) {
    let body = request["body"].to_string();
    let mut sent = app.http.post(format!("{}{}", app.base, request["path"].as_str().unwrap()));
    let headers = request["headers"].as_object().unwrap();
    for (name, value) in headers {
        if !matches!(
            name.as_str(),
            "content-length" | "authorization" | "accept-encoding" | "host" | "connection"
        ) {
            sent = sent.header(name, value.as_str().unwrap());
        }
    }
    let is_packed = headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip");
    let sent = sent
        .basic_auth(write_key, Some(""))
        .body(if is_packed { gzip(&body) } else { body.into_bytes() });
    let answer = sent.send().await.unwrap();
    let status = answer.status();
    (status, answer.json().await.unwrap())
}

fn message_ids(request: &Value) -> Vec<String> {
    let body = &request["body"];
    let messages = body["batch"].as_array().cloned().unwrap_or_else(|| vec![body.clone()]);
    messages
        .iter()
        .map(|message| message["messageId"].as_str().unwrap().to_owned())
        .collect()
}

on_both! {
    async fn recorded_requests_of_real_libraries_are_accepted_and_their_repetition_changes_nothing(app: TestApp) {
        let mut expected = std::collections::BTreeSet::new();
        for capture in CAPTURES {
            let write_key = app.source(capture, "WEB").await;
            for exchange in captured(capture) {
                for _ in 0..2 {
                    let answer = replay(&app, &write_key, &exchange["request"]).await;
                    assert_eq!(answer, (StatusCode::OK, json!({"success": true})), "{capture}");
                }
                expected.extend(message_ids(&exchange["request"]).into_iter().map(|id| (capture, id)));
            }
        }
        assert!(expected.len() > 40, "{}", expected.len());
        assert_eq!(app.count("event").await, i64::try_from(expected.len()).unwrap());
        assert_eq!(app.count("rejected_item").await, 0);
        // Each library identified the same made-up person; each source has records of its own about them, and all are one customer.
        let data = app.ask("{ customers(first: 100) { nodes { email firstName city records { source { key } externalKey } } } }").await;
        let people: Vec<&Value> = data["customers"]["nodes"].as_array().unwrap().iter().filter(|customer| customer["email"] == "ada@example.test").collect();
        assert_eq!(people.len(), 1, "{data}");
        let spoken_by: std::collections::BTreeSet<&str> =
            people[0]["records"].as_array().unwrap().iter().map(|record| record["source"]["key"].as_str().unwrap()).collect();
        assert_eq!(spoken_by.len(), 8, "{data}");
        let orders = app.scalar("SELECT COUNT(*) FROM purchase WHERE amount_minor = 4500").await;
        assert_eq!(orders, 5, "one for each library that sent an order");
        app.stop().await;
    }

    async fn every_path_of_the_api_takes_its_kind_of_message(app: TestApp) {
        let key = app.source("web", "WEB").await;
        for (path, expected) in [
            ("i", "IDENTIFY"), ("t", "TRACK"), ("p", "PAGE"), ("s", "SCREEN"), ("g", "GROUP"), ("a", "ALIAS"),
            ("identify", "IDENTIFY"), ("track", "TRACK"), ("page", "PAGE"), ("screen", "SCREEN"), ("group", "GROUP"), ("alias", "ALIAS"),
            ("track/", "TRACK"),
        ] {
            let message = json!({"userId": path, "event": "E", "groupId": "g", "previousId": format!("before {path}"), "messageId": path});
            let (status, body) = app.send(&key, &format!("/v1/{path}"), &message).await;
            assert_eq!((status, &body), (StatusCode::OK, &json!({"success": true})), "{path}");
            let data = app.ask_with(
                "query($u: String!) { customerBy(identifier: {kind: USER_ID, value: $u}) {
                    timeline(first: 5, kinds: [TRACK, PAGE, SCREEN, IDENTIFY, GROUP, ALIAS]) { nodes { ... on Event { kind } } } } }",
                json!({"u": path}),
            ).await;
            assert_eq!(data["customerBy"]["timeline"]["nodes"], json!([{"kind": expected}]), "{path}");
        }
        for path in ["batch", "b", "import", "batch/"] {
            let body = json!({"batch": [{"type": "track", "event": "E", "userId": "x", "messageId": path}]});
            assert_eq!(app.send(&key, &format!("/v1/{path}"), &body).await.0, StatusCode::OK, "{path}");
        }
        assert_eq!(app.send(&key, "/v1/nothing", &json!({})).await.1["code"], "not_found");
        app.stop().await;
    }

    async fn a_request_is_refused_with_a_code_and_a_message_and_nothing_is_stored(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let huge = json!({"batch": [{"type": "track", "event": "E", "userId": "u", "properties": {"x": "y".repeat(600_000)}}]});
        let many = json!({"batch": vec![json!({}); 2501]});
        let cases: Vec<(&str, Vec<u8>, StatusCode, &str)> = vec![
            ("/v1/batch", b"{".to_vec(), StatusCode::BAD_REQUEST, "invalid_json"),
            ("/v1/batch", b"[]".to_vec(), StatusCode::BAD_REQUEST, "invalid_batch"),
            (
                "/v1/batch",
                br#"[[{"type": "track", "event": "E", "userId": "u"}]]"#.to_vec(),
                StatusCode::BAD_REQUEST,
                "invalid_batch",
            ),
            ("/v1/batch", b"{}".to_vec(), StatusCode::BAD_REQUEST, "invalid_batch"),
            ("/v1/batch", br#"{"batch": {}}"#.to_vec(), StatusCode::BAD_REQUEST, "invalid_batch"),
            ("/v1/batch", br#"{"batch": [], "context": 7}"#.to_vec(), StatusCode::BAD_REQUEST, "invalid_batch"),
            ("/v1/batch", b"{\"batch\": [\"\xff\"]}".to_vec(), StatusCode::BAD_REQUEST, "invalid_utf8"),
            ("/v1/batch", huge.to_string().into_bytes(), StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            ("/v1/batch", vec![b' '; 5_000_000], StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            ("/v1/batch", many.to_string().into_bytes(), StatusCode::BAD_REQUEST, "too_many_events"),
            ("/v1/track", br#"{"event": "E"}"#.to_vec(), StatusCode::BAD_REQUEST, "no_user_anon_id"),
            ("/v1/track", br#"{"userId": "u"}"#.to_vec(), StatusCode::BAD_REQUEST, "missing_event_name"),
            ("/v1/track", br#"{"userId": "u", "event": "E", "type": "buy"}"#.to_vec(), StatusCode::BAD_REQUEST, "unknown_type"),
            ("/v1/track", br#"{"userId": "u", "userId": "v", "event": "E"}"#.to_vec(), StatusCode::BAD_REQUEST, "duplicate_key"),
            ("/v1/track", br#"[1]"#.to_vec(), StatusCode::BAD_REQUEST, "invalid_batch"),
        ];
        for (path, body, status, code) in cases {
            let begin = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            let (answered, answer) = app.send_text(&key, path, body).await;
            assert_eq!((answered, answer["code"].as_str()), (status, Some(code)), "{path} {begin} {answer}");
            assert!(answer["message"].as_str().is_some_and(|message| !message.is_empty()));
        }
        let broken = app.http.post(format!("{}/v1/batch", app.base)).basic_auth(&key, Some("")).header("content-encoding", "gzip").body("no gzip");
        let answer = broken.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], "invalid_gzip");
        assert_eq!((app.count("event").await, app.count("rejected_item").await), (0, 0));
        app.stop().await;
    }

    async fn a_source_is_recognised_by_header_or_body_and_an_unknown_key_is_refused(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let post = |path: &str| app.http.post(format!("{}{path}", app.base));
        let event = json!({"type": "track", "event": "E", "userId": "u"});
        let batch = json!({"batch": [event]}).to_string();
        let with_key = json!({"batch": [event], "writeKey": key}).to_string();
        let single = json!({"event": "E", "userId": "u", "writeKey": key}).to_string();
        for (request, status, code) in [
            (post("/v1/batch").basic_auth(&key, Some("")).body(batch.clone()), 200, Value::Null),
            (post("/v1/batch").basic_auth(&key, None::<&str>).body(batch.clone()), 200, Value::Null),
            (post("/v1/batch").header("x-write-key", &key).body(batch.clone()), 200, Value::Null),
            (post("/v1/batch").body(with_key.clone()), 200, Value::Null),
            (post("/v1/batch").bearer_auth("an oauth token").body(with_key), 200, Value::Null),
            (post("/v1/t").header("content-type", "text/plain").body(single), 200, Value::Null),
            (post("/v1/batch").header("content-type", "application/x-www-form-urlencoded").header("content-encoding", "gzip").basic_auth(&key, Some("")).body(gzip(&batch)), 200, Value::Null),
            (post("/v1/batch").body(batch.clone()), 401, json!("missing_write_key")),
            (post("/v1/batch").basic_auth("wrong", Some("")).body(batch.clone()), 401, json!("invalid_write_key")),
            (post("/v1/batch").basic_auth(key.to_uppercase(), Some("")).body(batch), 401, json!("invalid_write_key")),
        ] {
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status().as_u16(), status);
            assert_eq!(answer.headers()["access-control-allow-origin"], "*");
            assert_eq!(answer.json::<Value>().await.unwrap()["code"], code);
        }
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_get_their_preflight_and_their_settings() {
    let app = TestApp::new(Backend::Sqlite).await;
    let key = app.source("web", "WEB").await;
    let preflight = app
        .http
        .request(reqwest::Method::OPTIONS, format!("{}/v1/t", app.base))
        .header("origin", "https://shop.example.test");
    let answer = preflight.send().await.unwrap();
    assert!(answer.status().is_success());
    let allowed = answer.headers()["access-control-allow-headers"].to_str().unwrap();
    for header in ["authorization", "content-type", "x-retry-count", "anonymousid"] {
        assert!(allowed.contains(header), "{allowed}");
    }
    assert_eq!(answer.headers()["access-control-allow-methods"], "GET, POST, OPTIONS");
    assert_eq!(answer.headers()["access-control-max-age"], "86400");

    let settings = app
        .http
        .get(format!("{}/v1/projects/{key}/settings", app.base))
        .send()
        .await
        .unwrap();
    assert_eq!(settings.headers()["access-control-allow-origin"], "*");
    let settings: Value = settings.json().await.unwrap();
    assert_eq!(
        settings["integrations"],
        json!({"Segment.io": {"apiKey": key, "unbundledIntegrations": [], "addBundledMetadata": true}})
    );
    assert_eq!(settings["metrics"]["sampleRate"], 0);
    let unknown = app
        .http
        .get(format!("{}/v1/projects/nobody/settings", app.base))
        .send()
        .await
        .unwrap();
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    let wrong_method = app.http.get(format!("{}/v1/batch", app.base)).send().await.unwrap();
    assert_eq!(wrong_method.status(), StatusCode::METHOD_NOT_ALLOWED);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_bomb_is_refused_at_the_limit() {
    let app = TestApp::new(Backend::Sqlite).await;
    let key = app.source("web", "WEB").await;
    let bomb = gzip(&" ".repeat(50_000_000));
    let request = app
        .http
        .post(format!("{}/v1/batch", app.base))
        .basic_auth(&key, Some(""))
        .header("content-encoding", "gzip")
        .body(bomb);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let (status, body) = app.send_text(&key, "/v1/batch", vec![b'['; 50_000_000]).await;
    assert_eq!(
        (status, body["code"].as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, Some("body_too_large"))
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_are_told_to_slow_down_when_too_much_is_waiting() {
    let app = TestApp::with(Backend::Sqlite, |settings| settings.ingest.queue_events = 10).await;
    let key = app.source("web", "WEB").await;
    // Hold the only writing connection, so that what is handed in has to wait.
    let held = sea_orm::TransactionTrait::begin(app.server.services.store.writer())
        .await
        .unwrap();
    let event = |n: usize| json!({"batch": (0..10).map(|i| json!({"type": "track", "event": "E", "userId": "u", "messageId": format!("{n}-{i}")})).collect::<Vec<_>>()});
    let url = format!("{}/v1/batch", app.base);
    let send = |n: usize| {
        let request = app.http.post(&url).basic_auth(&key, Some("")).body(event(n).to_string());
        tokio::spawn(async move {
            let answer = request.send().await.unwrap();
            (
                answer.status().as_u16(),
                answer
                    .headers()
                    .get("retry-after")
                    .map(|value| value.to_str().unwrap().to_owned()),
            )
        })
    };
    let senders = [send(1), send(2)];
    crate::support::app::eventually("one of two is turned away", || async {
        senders.iter().any(|sender| sender.is_finished())
    })
    .await;
    assert!(senders.iter().any(|sender| !sender.is_finished()), "the other waits");
    held.rollback().await.unwrap();
    let mut answers = Vec::new();
    for sender in senders {
        answers.push(sender.await.unwrap());
    }
    answers.sort();
    assert_eq!(answers, [(200, None), (429, Some("1".to_owned()))]);
    app.stop().await;
}
