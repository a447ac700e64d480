//! Documents made to hurt, sent through the real door: refused as a whole, at once, without a statement, without an echo.

use super::support::app::ADMIN_KEY;
use super::support::{Backend, TestApp, on_both};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What must never come back in a refusal.
const CANARY: &str = "ada.lovelace@example.com";

/// The gate takes microseconds; the rest is for a busy machine.
const AT_ONCE: Duration = Duration::from_secs(1);

fn repeated(text: &str, times: usize) -> String {
    text.repeat(times)
}

/// The text that many times, each `#` replaced by its number.
fn numbered(text: &str, times: usize) -> String {
    (0..times).map(|number| text.replace('#', &number.to_string())).collect()
}

fn nested(before: &str, inside: &str, after: &str, times: usize) -> String {
    format!("{}{inside}{}", repeated(before, times), repeated(after, times))
}

/// Documents and the code each is refused with.
pub fn hostile() -> Vec<(String, &'static str)> {
    let chain = numbered("fragment F# on Query { ...F@ ...F@ } ", 30);
    let chain = (0..30).fold(chain, |chain, number| {
        chain.replacen("F@ ...F@", &format!("F{0} ...F{0}", number + 1), 1)
    });
    let field = format!("customer(id: \"{CANARY}\") {{ id }} ");
    let source = format!("sourceCreate(input: {{ key: \"k#\", name: \"{CANARY}\", channel: WEB }}) {{ writeKey }} ");
    vec![
        // fifty levels through a cycle that the schema really has
        (
            format!(
                "{{ customer(id: \"{CANARY}\") {} }}",
                nested("{ records { customer ", "{ id }", " } }", 25)
            ),
            "QUERY_TOO_DEEP",
        ),
        (nested("{ a ", "{ b }", " }", 49), "QUERY_TOO_DEEP"),
        (
            format!("{{ __schema {{ types {} }} }}", nested("{ ofType ", "{ name }", " }", 20)),
            "QUERY_TOO_DEEP",
        ),
        (
            format!(
                "{{ customer(id: {}) {{ id }} }}",
                nested("[", &format!("\"{CANARY}\""), "]", 2_000)
            ),
            "QUERY_TOO_NESTED",
        ),
        (
            format!("{{ customer(id: {}) {{ id }} }}", repeated("[", 2_000)),
            "QUERY_TOO_NESTED",
        ),
        (
            format!("{{ customerBy(identifier: {}) {{ id }} }}", nested("{a:", "1", "}", 5_000)),
            "QUERY_TOO_NESTED",
        ),
        (
            format!("query($a: [Int] = {}) {{ __typename }}", nested("[", "1", "]", 2_000)),
            "QUERY_TOO_NESTED",
        ),
        (
            format!("{{ ...F0 }} {chain} fragment F30 on Query {{ __typename }}"),
            "FRAGMENTS_TOO_LARGE",
        ),
        (
            format!("{{ __typename }} {chain} fragment F30 on Query {{ __typename }}"),
            "FRAGMENTS_TOO_LARGE",
        ),
        (
            "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }".to_owned(),
            "FRAGMENT_CYCLE",
        ),
        ("{ __typename } fragment A on Query { ...A }".to_owned(), "FRAGMENT_CYCLE"),
        (format!("{{ {} }}", numbered("a#: __typename ", 1_000)), "TOO_MANY_ALIASES"),
        (
            format!("{{ __typename {} }}", repeated("@include(if: true) ", 33)),
            "TOO_MANY_DIRECTIVES",
        ),
        (
            format!("{{ {} }} fragment F on Query {{ __typename }}", repeated("...F ", 129)),
            "TOO_MANY_SPREADS",
        ),
        (
            format!("{{ __typename }} {}", numbered("fragment F# on Query { __typename } ", 33)),
            "TOO_MANY_FRAGMENTS",
        ),
        (
            format!("{{ customer(id: \"{CANARY}\") {{ {} }} }}", repeated("id ", 2_000)),
            "QUERY_TOO_MANY_TOKENS",
        ),
        (format!("{{ {} }}", repeated(&field, 21)), "TOO_MANY_ROOT_FIELDS"),
        (
            format!("mutation {{ {} }}", numbered(&source, 5)),
            "TOO_MANY_ROOT_MUTATION_FIELDS",
        ),
        (
            format!("mutation {{ ...F }} fragment F on Mutation {{ {} }}", numbered(&source, 5)),
            "TOO_MANY_ROOT_MUTATION_FIELDS",
        ),
        (
            format!("{{ customer(id: \"\"\"{CANARY}) {{ id }} }}"),
            "UNCLOSED_BLOCK_STRING",
        ),
        (
            format!("{{ __typename }} # {}{CANARY}", repeated("x", 64 * 1024)),
            "QUERY_TOO_LARGE",
        ),
    ]
}

on_both! {
    async fn hostile_documents_are_refused_at_once_with_a_code_and_without_a_statement(app: TestApp) {
        app.ask("{ __typename }").await;
        let before = app.server.services.store.statement_count();
        for (query, code) in hostile() {
            for accept in ["application/graphql-response+json", "application/json"] {
                let begin = Instant::now();
                let request = app.http.post(format!("{}/graphql", app.base)).bearer_auth(ADMIN_KEY);
                let answer = request.header("accept", accept).json(&json!({"query": query})).send().await.unwrap();
                let status = answer.status();
                let text = answer.text().await.unwrap();
                let body: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(body["errors"][0]["extensions"]["code"], code, "{query:.80}");
                assert_eq!((status, body.get("data")), (StatusCode::BAD_REQUEST, None), "{query:.80}");
                assert_eq!(body["errors"].as_array().unwrap().len(), 1);
                assert!(begin.elapsed() < AT_ONCE, "{query:.80}: {:?}", begin.elapsed());
                assert!(!text.contains("ada") && !text.contains("example.com"), "{text}");
            }
        }
        assert_eq!(app.server.services.store.statement_count() - before, 0);
        // alive, and nothing was written
        assert_eq!(app.ask("{ __typename }").await, json!({"__typename": "Query"}));
        assert_eq!((app.count("source").await, app.count("audit").await), (0, 0));
        app.stop().await;
    }
}

#[tokio::test]
async fn documents_just_within_the_limits_are_answered() {
    let app = TestApp::new(Backend::Sqlite).await;
    for query in [
        format!("{{ {} }}", numbered("a#: __typename ", 20)),
        format!("{{ __typename {} }}", repeated("@include(if: true) ", 1)),
        format!("{{ {} }} fragment F on Query {{ __typename }}", repeated("...F ", 20)),
        format!("{{ __schema {{ queryType {} }} }}", nested("{ ofType ", "{ name }", " }", 17)),
        format!(
            "{{ customers(first: 1) {{ nodes {} }} }}",
            nested("{ records { customer ", "{ id }", " } }", 4)
        ),
        format!("{{ __typename }} # {}", repeated("x", 64 * 1024 - 17)),
    ] {
        let (status, body) = app.graphql(ADMIN_KEY, json!({"query": query})).await;
        assert!(
            status == StatusCode::OK && body.get("errors").is_none(),
            "{query:.80}: {body}"
        );
    }
    app.stop().await;
}

#[tokio::test]
async fn only_admin_keys_may_send_long_documents() {
    let app = TestApp::new(Backend::Sqlite).await;
    let made = app
        .ask(r#"mutation { apiKeyCreate(input: { name: "frontend", scopes: [READ] }) { secret } }"#)
        .await;
    let key = made["apiKeyCreate"]["secret"].as_str().unwrap();
    let long = |bytes: usize| json!({"query": format!("{{ __typename }} #{}", repeated("x", bytes - 16))});
    assert_eq!(app.graphql(key, long(16 * 1024)).await.0, StatusCode::OK);
    let (status, body) = app.graphql(key, long(16 * 1024 + 1)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(body["errors"][0]["extensions"]["code"], "QUERY_TOO_LARGE");
    assert_eq!(
        body["errors"][0]["message"],
        "the document has 16385 bytes, the limit is 16384: pass long values as variables"
    );
    assert_eq!(app.graphql(ADMIN_KEY, long(16 * 1024 + 1)).await.0, StatusCode::OK);
    app.stop().await;
}

/// Every list: a document with `{}` where its arguments go, and its field.
const LISTS: [(&str, &str); 8] = [
    ("{ customers{} { nodes { id } } }", "customers"),
    ("{ rejectedItems{} { nodes { id } } }", "rejectedItems"),
    ("{ sources{} { nodes { id } } }", "sources"),
    ("{ traitDefinitions{} { nodes { name } } }", "traitDefinitions"),
    ("{ eventDefinitions{} { nodes { name } } }", "eventDefinitions"),
    ("{ apiKeys{} { nodes { id } } }", "apiKeys"),
    (
        "{ customers(first: 1) { nodes { timeline{} { nodes { id } } } } }",
        "timeline",
    ),
    (
        "{ customers(first: 1) { nodes { purchases{} { nodes { id } } } } }",
        "purchases",
    ),
];

async fn assert_refused_for_its_page_size(app: &TestApp, query: &str, variables: Value, field: &str) {
    for accept in ["application/graphql-response+json", "application/json"] {
        let request = app.http.post(format!("{}/graphql", app.base)).bearer_auth(ADMIN_KEY);
        let body = json!({"query": query, "variables": variables});
        let answer = request.header("accept", accept).json(&body).send().await.unwrap();
        let status = answer.status();
        let body: Value = answer.json().await.unwrap();
        let expected = json!({
            "message": format!("{field}: first must lie between 1 and 100"),
            "locations": body["errors"][0]["locations"],
            "extensions": {"code": "PAGE_SIZE_OUT_OF_RANGE"},
        });
        assert_eq!(
            (status, &body),
            (StatusCode::BAD_REQUEST, &json!({"errors": [expected]})),
            "{query} {variables}"
        );
    }
}

on_both! {
    async fn a_list_answers_one_to_a_hundred_items_a_page_and_says_which_field_asked_for_more(app: TestApp) {
        app.ask("{ __typename }").await;
        let before = app.server.services.store.statement_count();
        for (list, field) in LISTS {
            for size in ["0", "-1", "101", "2147483648", "-2147483649", "99999999999999999999", "1.5", "null"] {
                let literal = list.replace("{}", &format!("(first: {size})"));
                assert_refused_for_its_page_size(&app, &literal, json!({}), field).await;
            }
            for size in [json!(0), json!(-1), json!(101), json!(2_147_483_648_u64), json!(1e300), json!(null)] {
                let variable = format!("query($n: Int!) {}", list.replace("{}", "(first: $n)"));
                assert_refused_for_its_page_size(&app, &variable, json!({"n": size}), field).await;
            }
            let by_default = format!("query($n: Int = 101) {}", list.replace("{}", "(first: $n)"));
            assert_refused_for_its_page_size(&app, &by_default, json!({}), field).await;
            for missing in ["$n: Int!", "$n: Int"] {
                let missing = format!("query({missing}) {}", list.replace("{}", "(first: $n)"));
                assert_refused_for_its_page_size(&app, &missing, json!({}), field).await;
            }
            let inline = list.replace("{}", "(first: 101)").replacen('{', "{ ... { ... on Query {", 1) + "}}";
            assert_refused_for_its_page_size(&app, &inline, json!({}), field).await;
            let named = format!("query Q($n: Int!) {{ ...A }} fragment B on Query {}", list.replace("{}", "(first: $n)"));
            let named = format!("{named} fragment A on Query {{ ... {{ ...B }} }}");
            assert_refused_for_its_page_size(&app, &named, json!({"n": 101}), field).await;
            let renamed = list.replace("{}", "(first: 101)").replacen(field, &format!("harmless: {field}"), 1);
            assert_refused_for_its_page_size(&app, &renamed, json!({}), field).await;
        }
        assert_eq!(app.server.services.store.statement_count() - before, 0);

        for (list, _) in LISTS {
            for size in [1, 100] {
                app.ask(&list.replace("{}", &format!("(first: {size})"))).await;
                let variable = format!("query($n: Int!) {}", list.replace("{}", "(first: $n)"));
                app.ask_with(&variable, json!({"n": size})).await;
            }
        }
        app.stop().await;
    }
}

#[tokio::test]
async fn a_list_without_a_page_size_is_refused_by_name_unless_it_has_a_default() {
    let app = TestApp::new(Backend::Sqlite).await;
    for (list, field) in LISTS {
        let (status, body) = app.graphql(ADMIN_KEY, json!({"query": list.replace("{}", "")})).await;
        if matches!(field, "sources" | "traitDefinitions" | "eventDefinitions" | "apiKeys") {
            assert!(status == StatusCode::OK && body.get("errors").is_none(), "{list}: {body}");
        } else {
            assert_eq!(status, StatusCode::BAD_REQUEST, "{list}");
            let message = body["errors"][0]["message"].as_str().unwrap();
            assert!(message.contains(field) && message.contains("first"), "{message}");
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn a_required_variable_without_a_value_is_refused_before_anything_runs() {
    let app = TestApp::new(Backend::Sqlite).await;
    app.ask("{ __typename }").await;
    let before = app.server.services.store.statement_count();
    let query = "query($id: ID!) { sources { nodes { id } } customer(id: $id) { id } }";
    for variables in [json!({}), json!({"id": null}), json!({"ID": "x"})] {
        let (status, body) = app.graphql(ADMIN_KEY, json!({"query": query, "variables": variables})).await;
        assert_eq!((status, body.get("data")), (StatusCode::BAD_REQUEST, None), "{variables}");
    }
    let (_, body) = app.graphql(ADMIN_KEY, json!({"query": query})).await;
    assert_eq!(
        body["errors"],
        json!([{
            "message": "Variable \"$id\" of type \"ID!\" needs a value.",
            "locations": [{"line": 1, "column": 7}],
            "extensions": {"code": "GRAPHQL_VALIDATION_FAILED"},
        }])
    );
    assert_eq!(app.server.services.store.statement_count() - before, 0);
    app.stop().await;
}

#[tokio::test]
async fn the_name_of_an_operation_opens_no_door() {
    let app = TestApp::new(Backend::Sqlite).await;
    for query in [
        "query IntrospectionQuery { customers(first: 1) { nodes { id email } } }",
        "query IntrospectionQuery { __schema { queryType { name } } }",
    ] {
        let request = app.http.post(format!("{}/graphql", app.base));
        let body = json!({"query": query, "operationName": "IntrospectionQuery"});
        let answer = request.json(&body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{query}");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(
            (&body["errors"][0]["extensions"]["code"], body.get("data")),
            (&json!("UNAUTHENTICATED"), None)
        );
    }
    app.stop().await;
}

#[tokio::test]
async fn introspection_can_be_kept_to_admin_keys() {
    let app = TestApp::with(Backend::Sqlite, |settings| settings.graphql.introspection = false).await;
    let made = app
        .ask(r#"mutation { apiKeyCreate(input: { name: "frontend", scopes: [READ, WRITE] }) { secret } }"#)
        .await;
    let key = made["apiKeyCreate"]["secret"].as_str().unwrap();
    for (query, field) in [
        ("{ __schema { queryType { name } } }", "__schema"),
        ("{ __type(name: \"Customer\") { name } }", "__type"),
        (
            "{ ... { ...F } } fragment F on Query { __schema { queryType { name } } }",
            "__schema",
        ),
    ] {
        let (_, body) = app.graphql(key, json!({"query": query})).await;
        assert_eq!(body["data"], json!({field: null}), "{query}");
    }
    assert_eq!(app.graphql(key, json!({"query": "{ __typename }"})).await.0, StatusCode::OK);
    assert_eq!(
        app.ask("{ __schema { queryType { name } } }").await,
        json!({"__schema": {"queryType": {"name": "Query"}}})
    );
    app.stop().await;
}

#[tokio::test]
async fn a_syntax_error_says_where_and_what_was_expected_and_repeats_nothing() {
    let app = TestApp::new(Backend::Sqlite).await;
    let query = format!("{{\n  customer(id: {CANARY}) {{ id }}\n}}");
    let (status, body) = app.graphql(ADMIN_KEY, json!({"query": query})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(
        body,
        json!({"errors": [{
            "message": "syntax error: expected name",
            "locations": [{"line": 2, "column": 19}],
            "extensions": {"code": "GRAPHQL_PARSE_FAILED"},
        }]})
    );
    app.stop().await;
}

#[tokio::test]
async fn no_answer_lists_more_than_twenty_errors() {
    let app = TestApp::new(Backend::Sqlite).await;
    let (_, body) = app
        .graphql(
            ADMIN_KEY,
            json!({"query": format!("{{ customers(first: 1) {{ {} }} }}", numbered("no# ", 60))}),
        )
        .await;
    assert_eq!(body["errors"].as_array().unwrap().len(), 20);
    app.stop().await;
}
