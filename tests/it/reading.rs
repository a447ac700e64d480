//! Reading customers over GraphQL: nodes, pages, timelines, and how few statements that takes.

use super::support::{TestApp, on_both};
use serde_json::{Value, json};

async fn people(app: &TestApp, count: usize, events: usize) -> String {
    let key = app.source("web", "WEB").await;
    for person in 0..count {
        let mut batch = vec![
            json!({"type": "identify", "userId": format!("u{person:03}"), "messageId": format!("i{person}"), "timestamp": "2026-05-01T00:00:00Z", "traits": {"name": format!("Person {person}")}}),
        ];
        batch.extend((0..events).map(|n| {
            json!({"type": "track", "event": if n % 2 == 0 { "Even" } else { "Odd" }, "userId": format!("u{person:03}"),
            "messageId": format!("{person}-{n}"), "timestamp": format!("2026-05-02T00:{:02}:00Z", n / 3)})
        }));
        batch.push(json!({"type": "track", "event": "Order Completed", "userId": format!("u{person:03}"), "messageId": format!("o{person}"), "timestamp": "2026-05-03T00:00:00Z",
            "properties": {"order_id": format!("o{person}"), "revenue": person}}));
        app.batch(&key, json!(batch)).await;
    }
    key
}

fn next(page: &Value) -> Option<String> {
    page["pageInfo"]["hasNextPage"]
        .as_bool()
        .unwrap()
        .then(|| page["pageInfo"]["endCursor"].as_str().unwrap().to_owned())
}

on_both! {
    async fn pages_of_customers_neither_repeat_nor_skip(app: TestApp) {
        people(&app, 23, 0).await;
        let (mut after, mut seen) = (None, Vec::new());
        loop {
            let data = app.ask_with(
                "query($a: String) { customers(first: 5, after: $a) { totalCount pageInfo { hasNextPage hasPreviousPage endCursor } edges { cursor node { displayName } } } }",
                json!({"a": after}),
            ).await;
            let page = &data["customers"];
            assert_eq!(page["totalCount"], 23);
            assert_eq!(page["pageInfo"]["hasPreviousPage"], json!(after.is_some()));
            seen.extend(page["edges"].as_array().unwrap().iter().map(|edge| edge["node"]["displayName"].as_str().unwrap().to_owned()));
            after = next(page);
            if after.is_none() { break; }
        }
        assert_eq!(seen, (0..23).rev().map(|n| format!("Person {n}")).collect::<Vec<_>>(), "the newest first");
        let data = app.graphql(crate::support::app::ADMIN_KEY, json!({"query": r#"{ customers(first: 5, after: "x") { nodes { id } } }"#})).await;
        assert_eq!(data.1["errors"][0]["extensions"]["code"], "BAD_INPUT");
        app.stop().await;
    }

    async fn a_timeline_pages_in_both_directions_of_time_with_equal_instants(app: TestApp) {
        people(&app, 1, 20).await;
        let mut directions = Vec::new();
        for order in ["NEWEST_FIRST", "OLDEST_FIRST"] {
            let (mut after, mut seen) = (None, Vec::new());
            loop {
                let query = format!(r#"query($a: String) {{ customerBy(identifier: {{kind: USER_ID, value: "u000"}}) {{ timeline(first: 4, after: $a, order: {order}) {{
                    pageInfo {{ hasNextPage endCursor }} nodes {{ id occurredAt __typename }} }} }} }}"#);
                let data = app.ask_with(&query, json!({"a": after})).await;
                let page = &data["customerBy"]["timeline"];
                seen.extend(page["nodes"].as_array().unwrap().iter().cloned());
                after = next(page);
                if after.is_none() { break; }
            }
            assert_eq!(seen.len(), 22, "20 events, an order event and its purchase");
            assert_eq!(seen.iter().filter(|node| node["__typename"] == "Purchase").count(), 1);
            directions.push(seen);
        }
        let backwards: Vec<Value> = directions[1].iter().rev().cloned().collect();
        assert_eq!(directions[0], backwards);
        let times: Vec<&str> = directions[1].iter().map(|node| node["occurredAt"].as_str().unwrap()).collect();
        assert!(times.is_sorted());
        app.stop().await;
    }

    async fn a_timeline_is_filtered_by_kind_name_channel_and_period(app: TestApp) {
        people(&app, 1, 6).await;
        let timeline = |arguments: &str| format!(r#"{{ customerBy(identifier: {{kind: USER_ID, value: "u000"}}) {{ timeline(first: 50{arguments}) {{ nodes {{ __typename ... on Event {{ name }} }} }} }} }}"#);
        for (arguments, expected) in [
            ("", 8),
            (", names: [\"Even\"]", 3),
            (", kinds: [IDENTIFY]", 1),
            (", kinds: []", 0),
            (", kinds: [TRACK], names: [\"Odd\", \"Nothing\"]", 3),
            (", channels: [WEB]", 8),
            (", channels: [POS]", 0),
            (", from: \"2026-05-03T00:00:00Z\"", 2),
            (", to: \"2026-05-02T00:01:00Z\"", 3),
        ] {
            let data = app.ask(&timeline(arguments)).await;
            assert_eq!(data["customerBy"]["timeline"]["nodes"].as_array().unwrap().len(), expected, "{arguments} {data}");
        }
        app.stop().await;
    }

    async fn everything_with_an_id_is_a_node_and_the_wrong_kind_is_refused_by_name(app: TestApp) {
        people(&app, 1, 1).await;
        let data = app.ask(r#"{ customerBy(identifier: {kind: USER_ID, value: "u000"}) { id records { id source { id } customer { id } firstSeenAt lastSeenAt }
            timeline(first: 9) { nodes { __typename id } } purchases(first: 1) { nodes { record { id } } } } }"#).await;
        let customer = &data["customerBy"];
        let record = &customer["records"][0];
        assert_eq!(record["customer"]["id"], customer["id"]);
        assert_eq!((&record["firstSeenAt"], &record["lastSeenAt"]), (&json!("2026-05-01T00:00:00Z"), &json!("2026-05-03T00:00:00Z")));
        assert_eq!(customer["purchases"]["nodes"][0]["record"]["id"], record["id"]);
        let mut ids = vec![("Customer", customer["id"].clone()), ("Record", record["id"].clone()), ("Source", record["source"]["id"].clone())];
        ids.extend(customer["timeline"]["nodes"].as_array().unwrap().iter().map(|node| (if node["__typename"] == "Event" { "Event" } else { "Purchase" }, node["id"].clone())));
        for (name, id) in &ids {
            let data = app.ask_with("query($id: ID!) { node(id: $id) { __typename id } }", json!({"id": id})).await;
            assert_eq!(data["node"], json!({"__typename": name, "id": id}));
        }
        let wrong = app.graphql(crate::support::app::ADMIN_KEY, json!({"query": "query($id: ID!) { customer(id: $id) { id } }", "variables": {"id": record["id"]}})).await;
        assert_eq!(wrong.1["errors"][0]["message"], "id: expected the id of a Customer, this is the id of a Record");
        assert_eq!(wrong.1["data"], json!({"customer": null}));
        app.stop().await;
    }

    async fn a_page_of_customers_with_nested_lists_takes_a_constant_number_of_statements(app: TestApp) {
        people(&app, 40, 3).await;
        let statements = |first: u32| {
            let app = &app;
            async move {
                let query = format!("{{ customers(first: {first}) {{ nodes {{ id lastSeenAt identifiers {{ value sources {{ key }} }} records {{ source {{ key }} firstSeenAt }}
                    timeline(first: 3, channels: [WEB, APP]) {{ nodes {{ id ... on Event {{ channel }} ... on Purchase {{ lines {{ quantity product {{ sku }} }} }} }} }} purchases(first: 2) {{ nodes {{ orderId record {{ id }} }} }} }} }} }}");
                app.ask("{ sources { nodes { id } } }").await;
                let before = app.server.services.store.statement_count();
                let data = app.ask(&query).await;
                assert_eq!(data["customers"]["nodes"].as_array().unwrap().len(), first as usize);
                app.server.services.store.statement_count() - before
            }
        };
        let (few, many) = (statements(2).await, statements(40).await);
        assert_eq!(few, many);
        assert!(many <= 12, "{many}");
        app.stop().await;
    }
}
