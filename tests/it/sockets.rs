//! GraphQL over WebSocket: what is said, who may stay, and what happens to who does not behave.

use super::frontends::{api_key, identify, start, subject_key};
use super::gate::hostile;
use super::support::app::{ADMIN_KEY, eventually};
use super::support::socket::Socket;
use super::support::{Backend, TestApp, on_both};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;
use tributary::cli::settings::Settings;

/// A batch every second, whether or not anything happens.
pub const BEATS: &str = "subscription { changes(start: { fromNow: true }, heartbeatSeconds: 1) { heartbeat caughtUp cursor } }";

/// Short enough to wait for in a test.
pub fn hasty(settings: &mut Settings) {
    settings.sockets.init_seconds = 1;
    settings.sockets.ping_seconds = 1;
    settings.sockets.recheck_seconds = 1;
    settings.sockets.comment_seconds = 1;
}

async fn hasty_app() -> TestApp {
    TestApp::with(Backend::Sqlite, hasty).await
}

fn code(message: &Value) -> &Value {
    &message["payload"][0]["extensions"]["code"]
}

async fn revoke(app: &TestApp, id: &str) {
    let query = format!(r#"mutation {{ apiKeyRevoke(input: {{ id: "{id}" }}) {{ userErrors {{ message }} }} }}"#);
    assert_eq!(app.ask(&query).await["apiKeyRevoke"]["userErrors"], json!([]));
}

on_both! {
    async fn subscriptions_queries_and_mutations_share_a_socket(app: TestApp) {
        let mut socket = Socket::known(&app, ADMIN_KEY).await;
        socket.subscribe("s", BEATS).await;
        let first = socket.next().await;
        assert_eq!((&first["id"], &first["type"]), (&json!("s"), &json!("next")), "{first}");
        assert!(first["payload"]["data"]["changes"]["cursor"].is_string(), "{first}");
        // One answer, then the end; the subscription goes on beside it.
        let mutation = r#"mutation { sourceCreate(input: { key: "web", name: "Web", channel: WEB }) { source { key } } }"#;
        let mut beats = 0;
        for (id, query, expected) in [
            ("q", "{ __typename }", json!({"__typename": "Query"})),
            ("m", mutation, json!({"sourceCreate": {"source": {"key": "web"}}})),
        ] {
            socket.subscribe(id, query).await;
            let mut told = Vec::new();
            while told.len() < 2 {
                let message = socket.next().await;
                if message["id"] == "s" {
                    beats += 1;
                    assert_eq!(message["type"], "next", "{message}");
                } else {
                    told.push(message);
                }
            }
            let expected = json!([
                {"id": id, "type": "next", "payload": {"data": expected}},
                {"id": id, "type": "complete"},
            ]);
            assert_eq!(Value::from(told), expected);
        }
        while beats < 3 {
            assert_eq!(socket.next().await["type"], "next");
            beats += 1;
        }
        // Ended by the client: nothing more of it, and the id is free.
        socket.send(json!({"type": "complete", "id": "s"})).await;
        socket.send(json!({"type": "ping", "payload": {"n": 1}})).await;
        loop {
            let message = socket.next().await;
            if message["type"] == "pong" {
                assert_eq!(message["payload"], json!({"n": 1}));
                break;
            }
            assert_eq!(message["id"], "s");
        }
        socket.subscribe("s", "{ __typename }").await;
        assert_eq!(socket.next().await["payload"]["data"], json!({"__typename": "Query"}));
        assert_eq!(socket.next().await, json!({"id": "s", "type": "complete"}));
        app.stop().await;
    }
}

#[tokio::test]
async fn a_revoked_key_and_an_ended_token_close_with_4401() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let app = TestApp::with(backend, |settings| settings.sockets.recheck_seconds = 1).await;
        let made = app
            .ask(r#"mutation { apiKeyCreate(input: { name: "k", scopes: [READ] }) { apiKey { id } secret } }"#)
            .await["apiKeyCreate"]
            .clone();
        let (id, secret) = (made["apiKey"]["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
        let (revoked, other) = (
            Socket::known(&app, secret).await,
            Socket::known(&app, &api_key(&app, "READ").await).await,
        );
        revoke(&app, id).await;
        assert_eq!(revoked.closed().await.0, 4401);
        // A token, at its end and a minute, which is how far two clocks may lie apart.
        let visitors = subject_key(&app, &[]).await;
        let (short, long) = (visitors.token(&json!({"sub": "u", "exp": start() + 60})), visitors.of("u"));
        let (short, long) = (Socket::known(&app, &short).await, Socket::known(&app, &long).await);
        app.clock.advance(Duration::from_secs(121));
        assert_eq!(short.closed().await.0, 4401);
        // All tokens of a key end with it; other keys are none the wiser.
        revoke(&app, &visitors.id).await;
        assert_eq!(long.closed().await.0, 4401);
        let mut other = other;
        other.subscribe("q", "{ __typename }").await;
        assert_eq!(other.next().await["type"], "next");
        app.stop().await;
    }
}

#[tokio::test]
async fn the_handshake_is_for_this_protocol_and_for_pages_that_a_key_lists() {
    let app = TestApp::new(Backend::Sqlite).await;
    for protocol in ["", "graphql-ws", "soap"] {
        let refused = Socket::open_with(&app, &[("sec-websocket-protocol", protocol)])
            .await
            .err()
            .unwrap();
        let message = refused.body["errors"][0]["message"].as_str().unwrap();
        assert_eq!(refused.status, 400, "{protocol}");
        assert!(message.contains("graphql-transport-ws"), "{message}");
    }
    assert!(
        Socket::open_with(&app, &[("sec-websocket-protocol", "soap, graphql-transport-ws")])
            .await
            .is_ok()
    );
    let refused = Socket::open_with(&app, &[("sec-websocket-version", "8")])
        .await
        .err()
        .unwrap();
    assert_eq!(refused.status, 426);
    assert!(
        refused
            .headers
            .contains(&("sec-websocket-version".to_owned(), "13".to_owned()))
    );
    // A GET that wants no socket is what it was.
    let answer = app
        .http
        .get(format!("{}/graphql?query={{__typename}}", app.base))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["allow"]),
        (405, &"POST".parse().unwrap())
    );

    let listed = subject_key(&app, &["https://shop.example"]).await;
    let unlisted = subject_key(&app, &["https://other.example"]).await;
    let own = app.base.clone();
    for foreign in ["https://evil.example", "null", "https://shop.example.evil.example"] {
        let refused = Socket::open_with(&app, &[("origin", foreign)]).await.err().unwrap();
        assert_eq!(refused.body["errors"][0]["extensions"]["code"], "ORIGIN_NOT_ALLOWED");
        assert_eq!(refused.status, 403);
    }
    for (origin, key, expected) in [
        ("https://shop.example", listed.of("u"), None),
        // Allowed by another key's list, not by this one's.
        ("https://shop.example", unlisted.of("u"), Some(4403)),
        // Our own pages, such as the console: for keys, not for visitors.
        (own.as_str(), ADMIN_KEY.to_owned(), None),
        (own.as_str(), listed.of("u"), Some(4403)),
    ] {
        let mut socket = Socket::open_with(&app, &[("origin", origin)]).await.unwrap();
        socket.init(&key).await;
        match expected {
            None => assert_eq!(socket.next().await["type"], "connection_ack", "{origin}"),
            Some(code) => assert_eq!(socket.closed().await.0, code, "{origin}"),
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn a_key_comes_in_the_payload_or_in_the_header() {
    let app = hasty_app().await;
    let write_key = app.source("web", "WEB").await;
    let init = |payload: Value| json!({"type": "connection_init", "payload": payload});
    let bearer = format!("Bearer {ADMIN_KEY}");
    for (headers, message) in [
        (vec![], init(json!({"authorization": bearer}))),
        (vec![], init(json!({"Authorization": bearer, "other": 1}))),
        (vec![], init(json!({"AUTHORIZATION": format!("bearer {ADMIN_KEY}")}))),
        (vec![("authorization", bearer.as_str())], json!({"type": "connection_init"})),
        (vec![("authorization", bearer.as_str())], init(json!({}))),
        (
            vec![("authorization", "Bearer nobody")],
            init(json!({"authorization": bearer})),
        ),
    ] {
        let mut socket = Socket::open_with(&app, &headers).await.unwrap();
        socket.send(message.clone()).await;
        assert_eq!(socket.next().await, json!({"type": "connection_ack"}), "{message}");
    }
    for (headers, message) in [
        (vec![], json!({"type": "connection_init"})),
        (vec![], init(json!({"authorization": ADMIN_KEY}))),
        (vec![], init(json!({"authorization": null}))),
        (vec![], init(json!({"authorization": ["Bearer x"]}))),
        (vec![], init(json!({"authorization": "Bearer nobody"}))),
        (vec![], init(json!({"authorization": format!("Bearer {write_key}")}))),
        // What is in the payload counts, so a page cannot be given another's right by a proxy's header.
        (
            vec![("authorization", bearer.as_str())],
            init(json!({"authorization": "Bearer nobody"})),
        ),
    ] {
        let mut socket = Socket::open_with(&app, &headers).await.unwrap();
        socket.send(message.clone()).await;
        assert_eq!(socket.closed().await, (4403, "Forbidden".to_owned()), "{message}");
    }
    app.stop().await;
}

#[tokio::test]
async fn every_fault_of_a_client_closes_with_its_code() {
    let app = TestApp::with(Backend::Sqlite, |settings| {
        hasty(settings);
        settings.sockets.max_message_bytes = 4096;
        settings.sockets.messages_per_second = 10;
    })
    .await;
    // Nobody says who they are. A ping is no excuse.
    let begin = Instant::now();
    let mut quiet = Socket::open(&app).await;
    quiet.send(json!({"type": "ping"})).await;
    assert_eq!(quiet.closed().await, (4408, "Connection initialisation timeout".to_owned()));
    assert!(begin.elapsed() >= Duration::from_millis(900), "{:?}", begin.elapsed());

    let mut early = Socket::open(&app).await;
    early.subscribe("1", BEATS).await;
    assert_eq!(early.closed().await, (4401, "Unauthorized".to_owned()));

    let mut twice = Socket::known(&app, ADMIN_KEY).await;
    twice.init(ADMIN_KEY).await;
    assert_eq!(twice.closed().await.0, 4429);
    // In one go, so that the second waits behind the look at the key.
    let mut at_once = Socket::open(&app).await;
    at_once.init(ADMIN_KEY).await;
    at_once.init(ADMIN_KEY).await;
    assert_eq!(at_once.closed().await, (4429, "Too many initialisation requests".to_owned()));

    let mut same = Socket::known(&app, ADMIN_KEY).await;
    same.subscribe("1", BEATS).await;
    same.subscribe("1", BEATS).await;
    assert_eq!(same.closed().await, (4409, "Subscriber for 1 already exists".to_owned()));

    for message in [
        json!({"type": "start", "id": "1"}),
        json!([]),
        json!({"type": "subscribe", "id": "1", "payload": {}}),
    ] {
        let mut wrong = Socket::known(&app, ADMIN_KEY).await;
        wrong.send(message.clone()).await;
        assert_eq!(wrong.closed().await.0, 4400, "{message}");
    }
    let mut binary = Socket::known(&app, ADMIN_KEY).await;
    futures_util::SinkExt::send(&mut binary.stream, Message::binary(vec![1, 2]))
        .await
        .unwrap();
    assert_eq!(binary.closed().await.0, 1003);

    for bytes in [4097, 1_000_000] {
        let mut large = Socket::known(&app, ADMIN_KEY).await;
        large
            .subscribe("1", &format!("{{ __typename }} # {}", "x".repeat(bytes)))
            .await;
        assert_eq!(large.closed().await.0, 1009, "{bytes}");
    }
    // A burst of four seconds' worth is welcome, a flood is not.
    let mut flood = Socket::known(&app, ADMIN_KEY).await;
    for _ in 0..35 {
        flood.send(json!({"type": "ping"})).await;
    }
    for _ in 0..35 {
        assert_eq!(flood.next().await["type"], "pong");
    }
    for _ in 0..60 {
        flood.send(json!({"type": "ping"})).await;
    }
    assert_eq!(flood.closed().await.0, 1008);

    // Nobody answers the server's pings.
    let begin = Instant::now();
    let silent = Socket::known(&app, ADMIN_KEY).await;
    assert_eq!(silent.closed().await, (4408, "Request timeout: no answer to ping".to_owned()));
    assert!(begin.elapsed() >= Duration::from_millis(2_500), "{:?}", begin.elapsed());
    app.stop().await;
}

#[tokio::test]
async fn a_client_that_answers_pings_stays() {
    let app = hasty_app().await;
    let mut socket = Socket::known(&app, ADMIN_KEY).await;
    for _ in 0..4 {
        assert_eq!(socket.message().await, Message::text(r#"{"type":"ping"}"#));
        socket.send(json!({"type": "pong"})).await;
    }
    socket.subscribe("q", "{ __typename }").await;
    assert_eq!(socket.next().await["type"], "next");
    app.stop().await;
}

#[tokio::test]
async fn there_are_so_many_operations_and_connections_and_no_more() {
    let app = TestApp::with(Backend::Sqlite, |settings| {
        settings.sockets.operations_per_socket = 3;
        settings.sockets.connections_per_key = 2;
        settings.sockets.connections_per_visitor = 1;
        settings.sockets.connections = 6;
    })
    .await;
    let mut socket = Socket::known(&app, ADMIN_KEY).await;
    for id in ["1", "2", "3", "4"] {
        socket.subscribe(id, BEATS).await;
    }
    let refused = loop {
        let message = socket.next().await;
        if message["type"] != "next" {
            break message;
        }
    };
    assert_eq!((&refused["id"], &refused["type"]), (&json!("4"), &json!("error")));
    assert_eq!(code(&refused), "TOO_MANY_SUBSCRIPTIONS");
    // A place that is given back can be taken.
    socket.send(json!({"type": "complete", "id": "1"})).await;
    socket.subscribe("4", BEATS).await;
    while socket.next().await["id"] != "4" {}

    let second = Socket::known(&app, ADMIN_KEY).await;
    let mut third = Socket::open(&app).await;
    third.init(ADMIN_KEY).await;
    assert_eq!(third.closed().await, (1013, "too many connections of this key".to_owned()));
    // A visitor's own share, beside those of others.
    let key = subject_key(&app, &[]).await;
    let (one, two) = (
        Socket::known(&app, &key.of("u-1")).await,
        Socket::known(&app, &key.of("u-2")).await,
    );
    let mut again = Socket::open(&app).await;
    again.init(&key.of("u-1")).await;
    assert_eq!(again.closed().await.0, 1013);
    // Closing takes a moment on the other side.
    eventually("the places are free again", || async {
        Socket::open_with(&app, &[]).await.is_ok()
    })
    .await;
    let (_fifth, _sixth) = (Socket::open(&app).await, Socket::open(&app).await);
    let refused = loop {
        // The one that looked may still count.
        match Socket::open_with(&app, &[]).await {
            Err(refused) => break refused,
            Ok(socket) => drop(socket),
        }
    };
    assert_eq!(
        (refused.status, &refused.body["errors"][0]["extensions"]["code"]),
        (503, &json!("OVERLOADED"))
    );
    drop((second, one, two));
    eventually("a key's places are free again", || async {
        let Ok(mut socket) = Socket::open_with(&app, &[]).await else {
            return false;
        };
        socket.init(ADMIN_KEY).await;
        matches!(socket.message().await, Message::Text(text) if text.as_str().contains("connection_ack"))
    })
    .await;
    app.stop().await;
}

#[tokio::test]
async fn hostile_documents_are_refused_as_over_http_and_the_socket_lives() {
    let app = TestApp::new(Backend::Sqlite).await;
    let mut socket = Socket::known(&app, ADMIN_KEY).await;
    let before = app.server.services.store.statement_count();
    for (number, (query, expected)) in hostile().into_iter().enumerate() {
        let id = number.to_string();
        let message = json!({"type": "subscribe", "id": id, "payload": {"query": query}}).to_string();
        if message.len() > 64 * 1024 {
            let mut large = Socket::known(&app, ADMIN_KEY).await;
            large.send_text(message).await;
            assert_eq!(large.closed().await.0, 1009);
            continue;
        }
        let begin = Instant::now();
        socket.send_text(message).await;
        let told = socket.next().await;
        assert_eq!(
            (&told["id"], &told["type"]),
            (&json!(id), &json!("error")),
            "{query:.80}: {told}"
        );
        assert_eq!(code(&told), expected, "{query:.80}");
        assert!(begin.elapsed() < Duration::from_secs(2), "{query:.80}: {:?}", begin.elapsed());
        assert!(!told.to_string().contains("ada") && !told.to_string().contains("example.com"));
    }
    // What does not parse, does not validate, or lacks a variable; and a page that is too large.
    for (query, expected) in [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { changes { cursor } }", "GRAPHQL_VALIDATION_FAILED"),
        ("query ($id: ID!) { customer(id: $id) { id } }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ customers(first: 101) { totalCount } }", "PAGE_SIZE_OUT_OF_RANGE"),
    ] {
        socket.subscribe("x", query).await;
        let told = socket.next().await;
        assert_eq!((&told["type"], code(&told)), (&json!("error"), &json!(expected)), "{query}");
    }
    assert_eq!(app.server.services.store.statement_count() - before, 0);
    app.stop().await;
}

#[tokio::test]
async fn visitors_and_keys_reach_over_a_socket_what_they_reach_over_http() {
    let app = TestApp::new(Backend::Sqlite).await;
    let write_key = app.source("web", "WEB").await;
    identify(
        &app,
        &write_key,
        "u-1",
        json!({"name": "Zoë Quill", "email": "zoe@example.test"}),
    )
    .await;
    let visitors = subject_key(&app, &[]).await;
    let reader = api_key(&app, "READ").await;
    let by_user = r#"{ customerBy(identifier: { kind: USER_ID, value: "u-1" }) { email } }"#;
    for (key, query) in [
        (visitors.of("u-1"), "{ me { displayName email } }"),
        (visitors.of("u-1"), "{ me { records { id } } }"),
        (visitors.of("u-1"), "{ customers(first: 1) { totalCount } }"),
        (visitors.of("u-1"), "{ __schema { queryType { name } } }"),
        (reader.clone(), by_user),
        (reader.clone(), "{ customers(first: 1) { nodes { displayName email } } }"),
        (
            reader.clone(),
            r#"mutation { sourceCreate(input: { key: "k", name: "k", channel: WEB }) { writeKey } }"#,
        ),
        (ADMIN_KEY.to_owned(), by_user),
    ] {
        let (_, over_http) = app.graphql(&key, json!({"query": query})).await;
        let mut socket = Socket::known(&app, &key).await;
        socket.subscribe("q", query).await;
        let told = socket.next().await;
        match told["type"].as_str() {
            Some("next") => assert_eq!(told["payload"], over_http, "{query}"),
            _ => assert_eq!(told["payload"], over_http["errors"], "{query}"),
        }
    }
    // The change log is not a visitor's.
    let mut socket = Socket::known(&app, &visitors.of("u-1")).await;
    socket.subscribe("s", BEATS).await;
    let told = socket.next().await;
    assert!(told.to_string().contains("FORBIDDEN"), "{told}");
    app.stop().await;
}
