//! One customer in few statements: they say what the questions one by one would say, and cost as little as promised.

use super::support::{Backend, TestApp, on_both};
use reqwest::StatusCode;
use serde_json::{Value, json};

/// People with several records, sources and orders, one of them merged.
async fn people(app: &TestApp) {
    let (web, shop) = (app.source("web", "WEB").await, app.source("app", "APP").await);
    for person in 0..6 {
        let email = format!("p{person}@example.test");
        let mut batch = vec![
            json!({"type": "identify", "userId": format!("u{person}"), "messageId": format!("i{person}"), "timestamp": "2026-05-01T00:00:00Z",
            "traits": {"name": format!("Person {person}"), "email": email, "phone": format!("+1415555010{person}"), "city": "Bonn"}}),
        ];
        batch.extend((0..person * 4).map(|n| {
            json!({"type": if n % 3 == 0 { "page" } else { "track" }, "event": "Seen", "name": "Seen", "userId": format!("u{person}"), "messageId": format!("{person}-{n}"),
            "timestamp": format!("2026-05-02T00:{:02}:00Z", n / 2), "properties": {"n": n, "\"": "ü"}, "context": {"ip": "192.0.2.1"}})
        }));
        app.batch(&web, json!(batch)).await;
        let mut batch = vec![
            json!({"type": "identify", "anonymousId": format!("a{person}"), "messageId": format!("j{person}"), "timestamp": "2026-05-01T01:00:00Z", "traits": {"email": email}}),
        ];
        batch.extend((0..person).map(|n| {
            json!({"type": "track", "event": "Order Completed", "anonymousId": format!("a{person}"), "messageId": format!("o{person}-{n}"),
            "timestamp": format!("2026-05-03T00:00:{:02}Z", n / 2), "properties": {"order_id": format!("{person}-{n}"), "revenue": n, "currency": "EUR"}})
        }));
        app.batch(&shop, json!(batch)).await;
    }
}

const FIELDS: [&str; 9] = [
    "id displayName email city createdAt",
    "identifiers { kind value state firstSeenAt lastSeenAt sources { key } }",
    "records { id externalKey traits source { key channel } firstSeenAt lastSeenAt identifiers { value } customer { id } }",
    "timeline(first: 5) { totalCount pageInfo { hasNextPage endCursor } nodes { __typename id occurredAt ... on Event { name channel kind properties context record { id } } ... on Purchase { orderId amount { amountMinor currency } lines { quantity } } } }",
    "timeline(first: 100) { nodes { id ... on Event { messageId receivedAt } } }",
    "a: timeline(first: 2) { edges { cursor node { id } } } b: timeline(first: 7) { edges { cursor node { id ... on Event { properties } } } }",
    "purchases(first: 3) { pageInfo { hasNextPage } nodes { id orderId occurredAt amount { amountMinor } refunded { currency } record { externalKey } } } timeline(first: 4, kinds: [PAGE]) { nodes { id } }",
    "lastSeenAt previousIds identityHistory(first: 3) { nodes { kind } }",
    "... on Customer { timeline(first: 3) { ...T } } purchases(first: 1) { nodes { record { customer { timeline(first: 3) { nodes { ... on Event { context } } } } } } }",
];

fn with_fragments(query: &str) -> String {
    if query.contains("...T") {
        format!("{query} fragment T on TimelineEntryConnection {{ nodes {{ id occurredAt }} }}")
    } else {
        query.to_owned()
    }
}

on_both! {
    async fn one_customer_is_told_as_a_list_tells_them(app: TestApp) {
        people(&app).await;
        for fields in FIELDS {
            let list = app.ask(&with_fragments(&format!("{{ customers(first: 50) {{ nodes {{ key: id {fields} }} }} }}"))).await;
            let nodes = list["customers"]["nodes"].as_array().unwrap();
            assert_eq!(nodes.len(), 6);
            for expected in nodes {
                let one = app.ask_with(&with_fragments(&format!("query($id: ID!) {{ customer(id: $id) {{ key: id {fields} }} }}")), json!({"id": expected["key"]})).await;
                assert_eq!(&one["customer"], expected, "{fields}");
            }
        }
        let by = app.ask(r#"{ customerBy(identifier: {kind: EMAIL, value: "p3@example.test"}) { displayName records { externalKey } } nobody: customerBy(identifier: {kind: EMAIL, value: "x@example.test"}) { id } }"#).await;
        assert_eq!(by, json!({"customerBy": {"displayName": "Person 3", "records": [{"externalKey": by["customerBy"]["records"][0]["externalKey"]}, {"externalKey": by["customerBy"]["records"][1]["externalKey"]}]}, "nobody": null}));
        app.stop().await;
    }

    async fn the_view_of_one_customer_is_three_statements_and_a_page_of_them_four(app: TestApp) {
        people(&app).await;
        let list = app.ask("{ customers(first: 1) { nodes { id } } }").await;
        let id = &list["customers"]["nodes"][0]["id"];
        let view = "query($id: ID!) { customer(id: $id) { id displayName identifiers { value sources { key } } records { externalKey traits source { key } }
            timeline(first: 20) { nodes { id ... on Event { name channel properties } ... on Purchase { orderId } } } purchases(first: 5) { nodes { orderId } } } }";
        let page = "query { customers(first: 50) { nodes { id displayName identifiers { value sources { key } } records { externalKey source { key } } timeline(first: 20) { nodes { id ... on Event { name channel } } } } } }";
        for (query, variables, limit) in [(view, json!({"id": id}), 3), (page, json!({}), 4)] {
            // Who asks and which sources there are is remembered.
            app.ask_with(query, variables.clone()).await;
            let before = app.server.services.store.statement_count();
            app.ask_with(query, variables).await;
            assert_eq!(app.server.services.store.statement_count() - before, limit, "{query}");
        }
        app.stop().await;
    }

    async fn a_known_document_is_still_checked_against_its_variables(app: TestApp) {
        people(&app).await;
        let query = "query($id: ID!, $n: Int!, $names: [String!]) { customer(id: $id) { timeline(first: $n, names: $names) { nodes { id } } } }";
        let list = app.ask("{ customers(first: 1) { nodes { id } } }").await;
        let id = &list["customers"]["nodes"][0]["id"];
        let ask = async |variables: Value| app.graphql(crate::support::app::ADMIN_KEY, json!({"query": query, "variables": variables})).await;
        for _ in 0..2 {
            let (status, body) = ask(json!({"id": id, "n": 2})).await;
            assert_eq!((status, body["data"]["customer"]["timeline"]["nodes"].as_array().unwrap().len()), (StatusCode::OK, 2));
            for wrong in [json!({"id": id, "n": "2"}), json!({"id": {"a": 1}, "n": 2}), json!({"id": id}), json!({"id": id, "n": null}), json!({"id": id, "n": 2, "names": [1]}), json!({"id": id, "n": 4_000_000_000_u64})] {
                let (status, body) = ask(wrong.clone()).await;
                assert_eq!(status, StatusCode::BAD_REQUEST, "{wrong} {body}");
                assert!(body.get("data").is_none_or(Value::is_null), "{wrong} {body}");
            }
        }
        app.stop().await;
    }
}

/// The total is counted by the query itself, the lists are loaded beside it, and there is one connection for both.
#[tokio::test]
async fn a_query_never_waits_for_a_connection_that_it_holds_itself() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let app = TestApp::with(backend, |settings| settings.database.query_connections = 1).await;
        people(&app).await;
        let page = "{ customers(first: 50) { totalCount nodes { lastSeenAt records { source { key } } timeline(first: 3) { nodes { id ... on Event { channel } } } } } }";
        let answers = futures_util::future::join_all((0..8).map(|_| app.ask(page))).await;
        for answer in answers {
            assert_eq!(answer["customers"]["totalCount"], 6);
        }
        app.stop().await;
    }
}
