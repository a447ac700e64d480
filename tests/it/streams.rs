//! GraphQL over server-sent events.

use super::frontends::{api_key, start, subject_key};
use super::sockets::{BEATS, hasty};
use super::support::app::ADMIN_KEY;
use super::support::{Backend, TestApp};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// An answer that is read event by event.
struct Events {
    answer: Response,
    text: String,
}

impl Events {
    async fn open(app: &TestApp, key: &str, query: &str) -> Self {
        let answer = ask(app, key, query, &[]).await;
        assert_eq!(answer.status(), StatusCode::OK);
        Self {
            answer,
            text: String::new(),
        }
    }

    /// The next event: its name and data; a comment is named by a colon. None: the answer is over.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                if block == ":" {
                    return Some((block, Value::Null));
                }
                let (name, data) = block.split_once('\n').unwrap_or_else(|| panic!("{block}"));
                let data = data.strip_prefix("data:").unwrap();
                let data = match data.trim() {
                    "" => Value::Null,
                    data => serde_json::from_str(data).unwrap(),
                };
                return Some((name.strip_prefix("event: ").unwrap().to_owned(), data));
            }
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.answer.chunk()).await;
            match chunk.expect("something comes").unwrap() {
                Some(bytes) => self.text.push_str(std::str::from_utf8(&bytes).unwrap()),
                None => {
                    assert_eq!(self.text, "");
                    return None;
                }
            }
        }
    }

    /// The next event that is no comment.
    async fn told(&mut self) -> Option<(String, Value)> {
        loop {
            let next = self.next().await?;
            if next.0 != ":" {
                return Some(next);
            }
        }
    }
}

async fn ask(app: &TestApp, key: &str, query: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = app
        .http
        .post(format!("{}/graphql", app.base))
        .bearer_auth(key)
        .json(&json!({"query": query}));
    if !headers.iter().any(|(name, _)| *name == "accept") {
        request = request.header("accept", "text/event-stream");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

#[tokio::test]
async fn a_subscription_is_a_stream_of_events_and_a_query_one_event() {
    let app = TestApp::with(Backend::Sqlite, hasty).await;
    let mut events = Events::open(&app, ADMIN_KEY, BEATS).await;
    for (name, value) in [
        ("content-type", "text/event-stream; charset=utf-8"),
        ("cache-control", "no-cache"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(events.answer.headers()[name], value);
    }
    assert_eq!(events.next().await, Some((":".to_owned(), Value::Null)), "at once");
    for _ in 0..2 {
        let (name, result) = events.told().await.unwrap();
        assert_eq!(name, "next");
        assert!(result["data"]["changes"]["cursor"].is_string(), "{result}");
    }
    // Quiet, it is kept alive.
    let slow = BEATS.replace("heartbeatSeconds: 1", "heartbeatSeconds: 60");
    let mut quiet = Events::open(&app, ADMIN_KEY, &slow).await;
    let mut comments = 0;
    while comments < 3 {
        comments += u32::from(quiet.next().await.unwrap().0 == ":");
    }
    let mut once = Events::open(&app, ADMIN_KEY, "{ __typename }").await;
    assert_eq!(
        once.told().await,
        Some(("next".to_owned(), json!({"data": {"__typename": "Query"}})))
    );
    assert_eq!(once.told().await, Some(("complete".to_owned(), Value::Null)));
    assert_eq!(once.told().await, None);
    app.stop().await;
}

#[tokio::test]
async fn what_is_refused_is_refused_as_over_plain_http() {
    let app = TestApp::with(Backend::Sqlite, |settings| settings.sockets.connections_per_key = 1).await;
    for query in [
        "{ nothing }",
        "{",
        "subscription { nothing }",
        "{ customers(first: 101) { totalCount } }",
    ] {
        let answer = ask(&app, ADMIN_KEY, query, &[]).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{query}");
        assert!(
            answer.json::<Value>().await.unwrap()["errors"][0]["extensions"]["code"].is_string(),
            "{query}"
        );
    }
    let nested = format!("{{ customer(id: {}) {{ id }} }}", "[".repeat(2_000));
    let answer = ask(&app, ADMIN_KEY, &nested, &[]).await.json::<Value>().await.unwrap();
    assert_eq!(answer["errors"][0]["extensions"]["code"], "QUERY_TOO_NESTED");
    assert_eq!(ask(&app, "nobody", BEATS, &[]).await.status(), StatusCode::UNAUTHORIZED);
    // Asked for by name only, and for subscriptions even behind JSON.
    let accept = |text| [("accept", text)];
    for (query, text, expected) in [
        ("{ __typename }", "*/*", "application/json"),
        ("{ __typename }", "text/event-stream, application/json", "application/json"),
        ("{ __typename }", "application/json, text/event-stream", "application/json"),
        (BEATS, "application/json, text/event-stream", "text/event-stream"),
        (BEATS, "application/json, text/event-stream;q=0", "application/json"),
        (BEATS, "application/json", "application/json"),
    ] {
        let answer = ask(&app, ADMIN_KEY, query, &accept(text)).await;
        let given = answer.headers()["content-type"].to_str().unwrap();
        assert!(given.starts_with(expected), "{query} {text}: {given}");
    }
    // One of a key at once, and a place is free again when its holder goes.
    super::support::app::eventually("the stream above has ended", || async {
        ask(&app, ADMIN_KEY, BEATS, &[]).await.status() == StatusCode::OK
    })
    .await;
    let held = loop {
        let answer = ask(&app, ADMIN_KEY, BEATS, &[]).await;
        if answer.status() == StatusCode::OK {
            break answer;
        }
    };
    let answer = ask(&app, ADMIN_KEY, BEATS, &[]).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(answer.headers().contains_key("retry-after"));
    drop(held);
    app.stop().await;
}

#[tokio::test]
async fn pages_may_listen_as_they_may_ask() {
    let app = TestApp::new(Backend::Sqlite).await;
    let key = subject_key(&app, &["https://shop.example"]).await;
    let token = key.of("u");
    let answer = ask(&app, &token, "{ me { displayName } }", &[("origin", "https://shop.example")]).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://shop.example");
    assert!(answer.text().await.unwrap().contains("event: complete"));
    let answer = ask(&app, &token, "{ me { displayName } }", &[("origin", "https://evil.example")]).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    app.stop().await;
}

#[tokio::test]
async fn a_key_that_ends_ends_the_stream_with_the_reason() {
    let app = TestApp::with(Backend::Sqlite, hasty).await;
    let made = app
        .ask(r#"mutation { apiKeyCreate(input: { name: "k", scopes: [READ] }) { apiKey { id } secret } }"#)
        .await["apiKeyCreate"]
        .clone();
    let mut revoked = Events::open(&app, made["secret"].as_str().unwrap(), BEATS).await;
    let mut other = Events::open(&app, &api_key(&app, "READ").await, BEATS).await;
    app.ask(&format!(
        r#"mutation {{ apiKeyRevoke(input: {{ id: "{}" }}) {{ transaction }} }}"#,
        made["apiKey"]["id"].as_str().unwrap()
    ))
    .await;
    let visitors = subject_key(&app, &[]).await;
    // A query that takes its time would do as well; there is none, so the token's end is looked for where nothing else happens.
    let mut last = json!(null);
    while let Some((name, data)) = revoked.told().await {
        if name == "complete" {
            break;
        }
        last = data;
    }
    assert_eq!(last["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{last}");
    assert_eq!(revoked.told().await, None);
    assert_eq!(other.told().await.unwrap().0, "next");
    // An API key with an end of its own.
    let ends = tributary::base::Instant::parse(super::support::app::START)
        .unwrap()
        .plus(Duration::from_secs(60));
    let made = app
        .ask_with(
            "mutation ($at: DateTime!) { apiKeyCreate(input: { name: \"k\", scopes: [READ], expiresAt: $at }) { secret } }",
            json!({"at": ends.to_string()}),
        )
        .await["apiKeyCreate"]["secret"]
        .clone();
    let mut short = Events::open(&app, made.as_str().unwrap(), BEATS).await;
    app.clock.advance(Duration::from_secs(61));
    loop {
        let (name, data) = short.told().await.unwrap();
        assert_eq!(name, "next");
        if data.get("errors").is_some() {
            assert_eq!(data["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
            break;
        }
    }
    assert_eq!(short.told().await.unwrap().0, "complete");
    // A token that has ended begins nothing.
    let token = visitors.token(&json!({"sub": "u", "exp": start() - 61}));
    assert_eq!(ask(&app, &token, BEATS, &[]).await.status(), StatusCode::UNAUTHORIZED);
    app.stop().await;
}

#[tokio::test]
async fn a_server_that_stops_breaks_the_stream_off_and_waits_for_nobody() {
    let app = TestApp::new(Backend::Sqlite).await;
    let mut events = Events::open(&app, ADMIN_KEY, BEATS).await;
    assert_eq!(events.told().await.unwrap().0, "next");
    let begin = Instant::now();
    let stopping = tokio::spawn(app.stop());
    // No `complete`, so that the client asks again.
    while let Some((name, _)) = events.told().await {
        assert_eq!(name, "next");
    }
    stopping.await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
}
