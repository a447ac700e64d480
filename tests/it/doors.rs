//! The doors as HTTP sees them: GraphQL over HTTP to the letter, the console, what is said where nothing is.

use super::support::app::ADMIN_KEY;
use super::support::clients::run_client_with;
use super::support::{Backend, TestApp, on_both};
use reqwest::header::{self, HeaderMap};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

const GRAPHQL_JSON: &str = "application/graphql-response+json";
const PLAIN_JSON: &str = "application/json";
const TYPENAME: &str = r#"{"query":"{__typename}"}"#;
const CREATES_A_SOURCE: &str =
    r#"mutation { sourceCreate(input: { key: "web", name: "Web", channel: WEB }) { userErrors { message } } }"#;

/// An answer, its body read as JSON, or as a text where it is none.
struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answered {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn code(&self) -> &Value {
        &self.body["errors"][0]["extensions"]["code"]
    }
}

async fn send(app: &TestApp, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Answered {
    let mut request = app.http.request(method, format!("{}{path}", app.base)).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    let text = answer.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answered { status, headers, body }
}

/// POST to `/graphql` with the admin key.
async fn post(app: &TestApp, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Answered {
    let key = format!("Bearer {ADMIN_KEY}");
    let headers = [headers, &[("authorization", key.as_str())]].concat();
    send(app, Method::POST, "/graphql", &headers, body).await
}

async fn get(app: &TestApp, path: &str) -> Answered {
    send(app, Method::GET, path, &[], "").await
}

on_both! {
    async fn the_status_of_an_answer_follows_its_media_type_and_how_far_it_got(app: TestApp) {
        // Document, then for each media type the status, and what is under `data` (nothing: there is no such key).
        let failed_field = r#"{ customer(id: "x") { id } }"#;
        let failed_everything = r#"{ customers(first: 1, after: "x") { nodes { id } } }"#;
        let cases = [
            ("{", 400, 200, None),
            ("{ nope }", 400, 200, None),
            ("query($id: ID!) { customer(id: $id) { id } }", 400, 200, None),
            ("{ __typename }", 200, 200, Some(json!({"__typename": "Query"}))),
            (failed_field, 200, 200, Some(json!({"customer": null}))),
            (failed_everything, 200, 200, Some(json!(null))),
        ];
        for (query, graphql_status, json_status, data) in cases {
            for (accept, status) in [(GRAPHQL_JSON, graphql_status), (PLAIN_JSON, json_status)] {
                let headers = [("accept", accept), ("content-type", PLAIN_JSON)];
                let answer = post(&app, &headers, json!({"query": query}).to_string()).await;
                assert_eq!(answer.status.as_u16(), status, "{accept} {query}: {}", answer.body);
                assert_eq!(answer.header("content-type"), format!("{accept}; charset=utf-8"));
                assert_eq!(answer.header("cache-control"), "no-store");
                assert_eq!(answer.body.get("data"), data.as_ref(), "{accept} {query}");
                assert_eq!(answer.body.get("errors").is_none(), query == "{ __typename }", "{query}");
            }
        }
        app.stop().await;
    }
}

#[tokio::test]
async fn an_answer_comes_in_the_media_type_that_is_wanted_most() {
    let app = TestApp::new(Backend::Sqlite).await;
    for (accept, expected) in [
        ("*/*", PLAIN_JSON),
        ("application/*", PLAIN_JSON),
        ("application/json;q=0.5, application/graphql-response+json", GRAPHQL_JSON),
        ("application/graphql-response+json;q=0.1, application/json", PLAIN_JSON),
        ("text/html, application/graphql-response+json", GRAPHQL_JSON),
    ] {
        let answer = post(&app, &[("accept", accept), ("content-type", PLAIN_JSON)], TYPENAME).await;
        assert_eq!(answer.status, StatusCode::OK, "{accept}");
        assert_eq!(
            answer.header("content-type"),
            format!("{expected}; charset=utf-8"),
            "{accept}"
        );
    }
    let answer = post(&app, &[("accept", "text/html"), ("content-type", PLAIN_JSON)], TYPENAME).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (406, &json!("NOT_ACCEPTABLE")));
    app.stop().await;
}

#[tokio::test]
async fn a_body_that_a_foreign_page_could_send_is_415_and_has_no_effect() {
    let app = TestApp::new(Backend::Sqlite).await;
    let body = json!({"query": CREATES_A_SOURCE}).to_string();
    for content_type in [
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data; boundary=x"),
        Some("application/json; charset=latin1"),
        Some("application/jsonp"),
        None,
    ] {
        let headers: Vec<_> = content_type.iter().map(|value| ("content-type", *value)).collect();
        let answer = post(&app, &headers, body.clone()).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type:?}");
        assert_eq!(answer.code(), "UNSUPPORTED_MEDIA_TYPE", "{content_type:?}");
    }
    assert_eq!(app.count("source").await, 0);
    let answer = post(&app, &[("content-type", "application/json; charset=UTF-8")], body).await;
    assert_eq!((answer.status, app.count("source").await), (StatusCode::OK, 1));
    app.stop().await;
}

#[tokio::test]
async fn every_method_but_post_is_405_and_has_no_effect() {
    let app = TestApp::new(Backend::Sqlite).await;
    let key = format!("Bearer {ADMIN_KEY}");
    let headers = [
        ("authorization", key.as_str()),
        ("accept", GRAPHQL_JSON),
        ("content-type", PLAIN_JSON),
    ];
    let mut address = reqwest::Url::parse("http://host/graphql").unwrap();
    for query in ["{ __typename }", CREATES_A_SOURCE] {
        address.query_pairs_mut().clear().append_pair("query", query);
        let path = format!("/graphql?{}", address.query().unwrap());
        let body = json!({"query": query}).to_string();
        for method in [Method::GET, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
            let answer = send(&app, method.clone(), &path, &headers, body.clone()).await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {query}");
            assert_eq!(
                (answer.header("allow"), answer.code()),
                ("POST", &json!("METHOD_NOT_ALLOWED")),
                "{method}"
            );
        }
    }
    assert_eq!(app.count("source").await, 0);
    app.stop().await;
}

#[tokio::test]
async fn a_body_that_is_not_one_operation_is_400_in_every_media_type() {
    let app = TestApp::new(Backend::Sqlite).await;
    let bodies = [
        "",
        "{",
        "{\"query\":\"{__typename}\"} {}",
        "\u{feff}{\"query\":\"{__typename}\"}",
        "7",
        "null",
        "{}",
        r#"[{"query":"{__typename}"},{"query":"{__typename}"}]"#,
        "[]",
        r#"{"query":null}"#,
        r#"{"query":["{__typename}"]}"#,
        r#"{"query":"{__typename}","variables":"{}"}"#,
        r#"{"query":"{__typename}","variables":[]}"#,
        r#"{"query":"{__typename}","operationName":7}"#,
        r#"{"query":"{__typename}","extensions":7}"#,
    ];
    for body in bodies {
        for accept in [GRAPHQL_JSON, PLAIN_JSON] {
            let answer = post(&app, &[("accept", accept), ("content-type", PLAIN_JSON)], body).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
            assert_eq!(
                (answer.code(), answer.body.get("data")),
                (&json!("BAD_REQUEST"), None),
                "{body}"
            );
        }
    }
    let batch = post(&app, &[("content-type", PLAIN_JSON)], bodies[7]).await;
    assert_eq!(
        batch.body["errors"][0]["message"],
        "batches are not answered: send one operation a request"
    );
    app.stop().await;
}

#[tokio::test]
async fn ten_megabytes_of_query_or_of_variables_are_413_whatever_they_say() {
    let app = TestApp::new(Backend::Sqlite).await;
    let ten_megabytes = "a ".repeat(5_000_000);
    for body in [
        json!({"query": format!("{{ {ten_megabytes} }}")}).to_string(),
        json!({"query": "query($id: ID!) { customer(id: $id) { id } }", "variables": {"id": ten_megabytes}}).to_string(),
        ten_megabytes.clone(),
    ] {
        for accept in [GRAPHQL_JSON, PLAIN_JSON] {
            let answer = post(&app, &[("accept", accept), ("content-type", PLAIN_JSON)], body.clone()).await;
            assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
            assert_eq!(answer.code(), "BODY_TOO_LARGE");
            assert_eq!(answer.body["errors"][0]["message"], "a request may have 1048576 bytes");
        }
    }
    let answer = post(&app, &[("content-type", PLAIN_JSON)], TYPENAME).await;
    assert_eq!(answer.body, json!({"data": {"__typename": "Query"}}));
    app.stop().await;
}

#[tokio::test]
async fn of_several_operations_the_named_one_runs() {
    let app = TestApp::new(Backend::Sqlite).await;
    let several = "query A { a: __typename } query B($unused: ID!) { customer(id: $unused) { id } } mutation C { c: __typename }";
    let cases = [
        (several, json!("A"), 200, json!({"a": "Query"})),
        (several, json!("C"), 200, json!({"c": "Mutation"})),
        (several, json!("D"), 400, Value::Null),
        (several, json!(""), 400, Value::Null),
        (several, Value::Null, 400, Value::Null),
        ("query A { a: __typename }", Value::Null, 200, json!({"a": "Query"})),
        ("query A { a: __typename }", json!("A"), 200, json!({"a": "Query"})),
        ("{ a: __typename }", json!("A"), 400, Value::Null),
    ];
    for (query, name, status, data) in cases {
        let (answered, body) = app.graphql(ADMIN_KEY, json!({"query": query, "operationName": name})).await;
        assert_eq!(
            (answered.as_u16(), &body["data"]),
            (status, &data),
            "{name} of {query}: {body}"
        );
    }
    app.stop().await;
}

#[tokio::test]
async fn a_page_size_belongs_to_the_operation_that_runs() {
    let app = TestApp::new(Backend::Sqlite).await;
    let query = "query A($n: Int! = 5) { sources(first: $n) { nodes { id } } } query B($n: Int! = 500) { sources(first: $n) { nodes { id } } }";
    let (status, body) = app.graphql(ADMIN_KEY, json!({"query": query, "operationName": "A"})).await;
    assert_eq!((status.as_u16(), body), (200, json!({"data": {"sources": {"nodes": []}}})));
    let (status, body) = app.graphql(ADMIN_KEY, json!({"query": query, "operationName": "B"})).await;
    assert_eq!(
        (status.as_u16(), &body["errors"][0]["extensions"]["code"]),
        (400, &json!("PAGE_SIZE_OUT_OF_RANGE"))
    );
    app.stop().await;
}

#[tokio::test]
async fn a_request_id_is_answered_as_it_was_given_or_else_made() {
    let app = TestApp::new(Backend::Sqlite).await;
    for path in ["/graphql", "/v1/batch", "/healthz", "/nowhere"] {
        let answer = send(&app, Method::GET, path, &[("x-request-id", "trace-1.a_B")], "").await;
        assert_eq!(answer.header("x-request-id"), "trace-1.a_B", "{path}");
    }
    let too_long = "a".repeat(101);
    let mut made = Vec::new();
    for given in [None, Some(""), Some("two words"), Some("a\"b"), Some(too_long.as_str())] {
        let headers: Vec<_> = given.iter().map(|value| ("x-request-id", *value)).collect();
        let answer = send(&app, Method::GET, "/healthz", &headers, "").await;
        let id = answer.header("x-request-id").to_owned();
        assert!(
            id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{given:?}: {id}"
        );
        made.push(id);
    }
    made.sort();
    made.dedup();
    assert_eq!(made.len(), 5, "each request has an id of its own");
    app.stop().await;
}

#[tokio::test]
async fn the_console_comes_from_this_server_alone() {
    let app = TestApp::new(Backend::Sqlite).await;
    let page = get(&app, "/console").await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (StatusCode::OK, "text/html; charset=utf-8")
    );
    let html = page.body.as_str().unwrap();

    let mut addresses: Vec<&str> = ["src=\"", "href=\""]
        .iter()
        .flat_map(|attribute| html.split(attribute).skip(1).map(|rest| rest.split('"').next().unwrap()))
        .filter(|address| !address.starts_with("data:"))
        .collect();
    addresses.sort_unstable();
    let files = [
        ("/console/THIRD_PARTY.txt", "text/plain; charset=utf-8"),
        ("/console/console.css", "text/css; charset=utf-8"),
        ("/console/console.js", "text/javascript; charset=utf-8"),
        ("/console/graphiql.min.css", "text/css; charset=utf-8"),
        ("/console/graphiql.min.js", "text/javascript; charset=utf-8"),
    ];
    assert_eq!(addresses, files.map(|(path, _)| path));
    // The name of a vocabulary, which nobody fetches.
    let without_names = html.replace("http://www.w3.org/2000/svg", "");
    assert!(!without_names.contains("//"), "a foreign host in the page");
    assert!(
        !html.contains("<style") && !html.contains(" on"),
        "nothing inline, which the policy would block"
    );

    for (path, content_type) in files.iter().chain(&[("/console", "text/html; charset=utf-8")]) {
        let file = get(&app, path).await;
        assert_eq!(
            (file.status, file.header("content-type")),
            (StatusCode::OK, *content_type),
            "{path}"
        );
        let policy = file.header(header::CONTENT_SECURITY_POLICY.as_str());
        for rule in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        ] {
            assert!(policy.split("; ").any(|own| own == rule), "{path}: {rule} in {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        assert_eq!(
            (file.header("x-content-type-options"), file.header("referrer-policy")),
            ("nosniff", "no-referrer")
        );
    }
    assert_eq!(get(&app, "/console/../Cargo.toml").await.status, StatusCode::NOT_FOUND);
    assert_eq!(get(&app, "/console/%2e%2e%2fCargo.toml").await.status, StatusCode::NOT_FOUND);
    app.stop().await;

    let without = TestApp::with(Backend::Sqlite, |settings| settings.server.console = false).await;
    for path in ["/console", "/console/console.js"] {
        assert_eq!(get(&without, path).await.status, StatusCode::NOT_FOUND);
    }
    without.stop().await;
}

#[tokio::test]
async fn where_nothing_is_a_json_answer_says_so_and_where_to_go() {
    let app = TestApp::new(Backend::Sqlite).await;
    for path in [
        "/",
        "/graphql/",
        "/nowhere?email=ada@example.com",
        "/console/nope.js",
        "/v1/nope",
        "/v2/batch",
    ] {
        let answer = get(&app, path).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (StatusCode::NOT_FOUND, PLAIN_JSON),
            "{path}"
        );
        assert_eq!(
            (&answer.body["code"], &answer.body["success"]),
            (&json!("not_found"), &json!(false)),
            "{path}"
        );
        let message = answer.body["message"].as_str().unwrap();
        assert!(message.contains("/v1/") && !message.contains("ada@"), "{path}: {message}");
    }
    app.stop().await;
}

/// What the audit may find, and why that is right. Queries by GET would put personal data into addresses and logs.
const ACCEPTED_OF_THE_AUDIT: [&str; 3] = ["5A70", "6A70", "D6D5"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_published_audit_of_graphql_over_http_passes() {
    let app = TestApp::new(Backend::Sqlite).await;
    let base = app.base.clone();
    let run = move || {
        let variables = [("TRIBUTARY_HOST", base.as_str()), ("TRIBUTARY_KEY", ADMIN_KEY)];
        run_client_with("graphql-http-audit.mjs", &variables)
    };
    let report = tokio::task::spawn_blocking(run).await.unwrap();
    assert_eq!(report["audits"], 61, "the audits of graphql-http 1.23.1");
    assert_eq!(report["failures"]["MUST"], json!([]));
    assert_eq!(report["failures"]["SHOULD"], json!([]));
    let mut optional: Vec<&str> = report["failures"]["MAY"]
        .as_array()
        .unwrap()
        .iter()
        .map(|failure| failure["id"].as_str().unwrap())
        .collect();
    optional.sort_unstable();
    assert_eq!(optional, ACCEPTED_OF_THE_AUDIT, "{report}");
    app.stop().await;
}

#[tokio::test]
async fn a_sender_that_breaks_off_leaves_the_server_as_it_was() {
    use tokio::io::AsyncWriteExt as _;
    let app = TestApp::new(Backend::Sqlite).await;
    for _ in 0..20 {
        let mut connection = tokio::net::TcpStream::connect(app.server.address).await.unwrap();
        let head =
            "POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{\"query\":";
        connection.write_all(head.as_bytes()).await.unwrap();
    }
    let answer = tokio::time::timeout(Duration::from_secs(5), post(&app, &[("content-type", PLAIN_JSON)], TYPENAME)).await;
    assert_eq!(answer.unwrap().body, json!({"data": {"__typename": "Query"}}));
    app.stop().await;
}
