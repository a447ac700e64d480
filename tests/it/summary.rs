//! What a customer bought, added up: every order once over all sources, exactly, and never more than is known.

use super::support::{TestApp, on_both};
use serde_json::{Value, json};

/// `u…` are people by their account, others browsers: a person has one account.
fn told(event: &str, user: &str, at: &str, message: &str, properties: Value) -> Value {
    let known_by = if user.starts_with('u') { "userId" } else { "anonymousId" };
    json!({"type": "track", "event": event, known_by: user, "timestamp": format!("2026-05-{at}T00:00:00Z"), "messageId": message, "properties": properties,
        "context": {"traits": {"email": "ada@example.com"}}})
}

const SUMMARY: &str =
    "count unknownAmounts coverage returned netRevenue { decimal currency } refunds { decimal } firstPurchaseAt lastPurchaseAt
    totals { currency count revenue { decimal } refunds { decimal } netRevenue { decimal } }";

async fn summary(app: &TestApp) -> Value {
    customer(app, &format!("purchaseSummary {{ {SUMMARY} }}")).await["purchaseSummary"].clone()
}

async fn customer(app: &TestApp, fields: &str) -> Value {
    let query = format!(r#"{{ customerBy(identifier: {{kind: EMAIL, value: "ada@example.com"}}) {{ {fields} }} }}"#);
    app.ask(&query).await["customerBy"].clone()
}

/// (source, order, counted, amount, refunded) of every purchase, sorted.
async fn purchases(app: &TestApp) -> Vec<(String, String, bool, Option<String>, String)> {
    let data = customer(
        app,
        "purchases(first: 100) { nodes { orderId counted amount { decimal } refunded { decimal } record { source { key } } } }",
    )
    .await;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let nodes = data["purchases"]["nodes"].as_array().unwrap().iter();
    let mut told: Vec<_> = nodes
        .map(|node| {
            (
                text(&node["record"]["source"]["key"]).unwrap(),
                text(&node["orderId"]).unwrap(),
                node["counted"].as_bool().unwrap(),
                text(&node["amount"]["decimal"]),
                text(&node["refunded"]["decimal"]).unwrap(),
            )
        })
        .collect();
    told.sort();
    told
}

fn line(
    source: &str,
    order: &str,
    counted: bool,
    amount: Option<&str>,
    refunded: &str,
) -> (String, String, bool, Option<String>, String) {
    (
        source.to_owned(),
        order.to_owned(),
        counted,
        amount.map(str::to_owned),
        refunded.to_owned(),
    )
}

async fn trust(app: &TestApp, source: &str, trust: i32) {
    let sources = app.ask("{ sources { nodes { id key } } }").await;
    let found = sources["sources"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|node| node["key"] == source)
        .unwrap()["id"]
        .clone();
    app.ask_with(
        "mutation($id: ID!, $trust: Int!) { sourceUpdate(input: {id: $id, trust: $trust}) { userErrors { message } } }",
        json!({"id": found, "trust": trust}),
    )
    .await;
}

on_both! {
    async fn an_order_that_two_sources_report_counts_once_and_again_twice_after_a_split(app: TestApp) {
        let (web, books) = (app.source("web", "WEB").await, app.source("books", "CRM").await);
        app.batch(&web, json!([
            told("Order Completed", "u", "01", "1", json!({"order_id": "A", "revenue": 100, "currency": "EUR"})),
            told("Order Completed", "u", "03", "2", json!({"order_id": "B", "revenue": 40, "currency": "EUR"})),
        ])).await;
        let mut report = told("Order Completed", "k-9", "02", "1", json!({"order_id": "A", "revenue": 95, "currency": "EUR"}));
        report.as_object_mut().unwrap().remove("context");
        app.batch(&books, json!([report])).await;
        assert_eq!(summary(&app).await["netRevenue"]["decimal"], "140.00", "the books speak of somebody else");
        // Now they speak of the same person.
        app.batch(&books, json!([{"type": "identify", "anonymousId": "k-9", "messageId": "2", "traits": {"email": "ada@example.com"}}])).await;
        assert_eq!(purchases(&app).await, [
            line("books", "A", true, Some("95.00"), "0.00"),
            line("web", "A", false, Some("100.00"), "0.00"),
            line("web", "B", true, Some("40.00"), "0.00"),
        ], "equal trust: the later report");
        assert_eq!(summary(&app).await, json!({"count": 2, "unknownAmounts": 0, "coverage": 1.0, "returned": 0,
            "netRevenue": {"decimal": "135.00", "currency": "EUR"}, "refunds": {"decimal": "0.00"},
            "firstPurchaseAt": "2026-05-02T00:00:00Z", "lastPurchaseAt": "2026-05-03T00:00:00Z",
            "totals": [{"currency": "EUR", "count": 2, "revenue": {"decimal": "135.00"}, "refunds": {"decimal": "0.00"}, "netRevenue": {"decimal": "135.00"}}]}));
        trust(&app, "web", 90).await;
        assert_eq!(summary(&app).await["netRevenue"]["decimal"], "140.00", "the shop is trusted more");
        assert_eq!(purchases(&app).await[0], line("books", "A", false, Some("95.00"), "0.00"));
        // They were two after all.
        let data = customer(&app, "id records { id source { key } }").await;
        let theirs = data["records"].as_array().unwrap().iter().find(|record| record["source"]["key"] == "books").unwrap()["id"].clone();
        let split = app.ask_with("mutation($c: ID!, $r: ID!) { customerSplit(input: {customer: $c, records: [$r], reason: \"two people\"}) { userErrors { message } } }", json!({"c": data["id"], "r": theirs})).await;
        assert_eq!(split["customerSplit"]["userErrors"], json!([]));
        let sides = app.ask(&format!("{{ customers(first: 9) {{ nodes {{ purchaseSummary {{ {SUMMARY} }} purchases(first: 9) {{ nodes {{ counted }} }} }} }} }}")).await;
        let mut sums: Vec<&str> = sides["customers"]["nodes"].as_array().unwrap().iter().map(|node| node["purchaseSummary"]["netRevenue"]["decimal"].as_str().unwrap()).collect();
        sums.sort_unstable();
        assert_eq!(sums, ["140.00", "95.00"], "each side has its own report again");
        assert!(!sides.to_string().contains("\"counted\":false"));
        app.stop().await;
    }

    async fn a_refund_counts_whichever_source_tells_of_it(app: TestApp) {
        let (web, books, till) = (app.source("web", "WEB").await, app.source("books", "CRM").await, app.source("till", "POS").await);
        trust(&app, "books", 90).await;
        app.batch(&books, json!([
            told("Order Refunded", "k", "05", "1", json!({"order_id": "A", "total": 30})),
            told("Order Refunded", "k", "05", "2", json!({"order_id": "C", "products": [{"product_id": "pot", "quantity": 2}]})),
            told("Order Cancelled", "k", "05", "3", json!({"order_id": "E"})),
        ])).await;
        app.batch(&till, json!([told("Order Refunded", "t", "06", "1", json!({"order_id": "A", "total": 99}))])).await;
        app.batch(&web, json!([
            told("Order Completed", "u", "01", "1", json!({"order_id": "A", "revenue": 100, "currency": "EUR"})),
            told("Order Completed", "u", "02", "2", json!({"order_id": "B", "revenue": 10, "currency": "EUR"})),
            told("Order Refunded", "u", "03", "3", json!({"order_id": "B", "total": 12})),
            told("Order Completed", "u", "04", "4", json!({"order_id": "C", "revenue": 50, "currency": "EUR", "products": [{"product_id": "pot", "price": 15, "quantity": 3}, {"product_id": "lid", "price": 5}]})),
            told("Order Completed", "u", "04", "5", json!({"order_id": "E", "revenue": 7, "currency": "EUR"})),
        ])).await;
        assert_eq!(purchases(&app).await, [
            line("books", "A", false, None, "0.00"),
            line("books", "C", false, None, "0.00"),
            line("books", "E", false, None, "0.00"),
            line("till", "A", false, None, "0.00"),
            line("web", "A", true, Some("100.00"), "30.00"),
            line("web", "B", true, Some("10.00"), "10.00"),
            line("web", "C", true, Some("50.00"), "30.00"),
            line("web", "E", true, Some("7.00"), "7.00"),
        ], "by the books, who are trusted more than the till");
        let summary = summary(&app).await;
        assert_eq!((&summary["count"], &summary["returned"], &summary["unknownAmounts"]), (&json!(4), &json!(2), &json!(0)));
        assert_eq!((&summary["refunds"]["decimal"], &summary["netRevenue"]["decimal"]), (&json!("77.00"), &json!("90.00")));
        assert_eq!((&summary["firstPurchaseAt"], &summary["lastPurchaseAt"]), (&json!("2026-05-01T00:00:00Z"), &json!("2026-05-04T00:00:00Z")));
        app.stop().await;
    }

    async fn products_that_come_back_without_a_price_cost_what_the_order_says_in_whatever_order(app: TestApp) {
        let reports = [
            told("Order Completed", "u", "01", "1", json!({"order_id": "A", "revenue": 50, "currency": "EUR", "products": [{"sku": "pot", "price": 15, "quantity": 3}, {"sku": "lid", "price": 5}]})),
            told("Order Refunded", "u", "02", "2", json!({"order_id": "A", "products": [{"sku": "pot", "quantity": 1}, {"sku": "lid", "quantity": 1}]})),
            told("Order Updated", "u", "03", "3", json!({"order_id": "A", "revenue": 48, "currency": "EUR", "products": [{"sku": "pot", "price": 14, "quantity": 3}, {"sku": "lid", "price": 6}]})),
            told("Order Refunded", "u", "04", "4", json!({"order_id": "A", "products": [{"sku": "pot", "price": 10, "quantity": 1}]})),
        ];
        for (n, turn) in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2]].into_iter().enumerate() {
            let key = app.source(&format!("web-{n}"), "WEB").await;
            for i in turn {
                let mut report = reports[i].clone();
                report["userId"] = json!(format!("u{n}"));
                report["context"] = json!({"traits": {"email": format!("ada{n}@example.com")}});
                app.batch(&key, json!([report])).await;
            }
            let query = format!(r#"{{ customerBy(identifier: {{kind: EMAIL, value: "ada{n}@example.com"}}) {{ purchases(first: 9) {{ nodes {{ amount {{ decimal }} refunded {{ decimal }} }} }} }} }}"#);
            let orders = app.ask(&query).await["customerBy"]["purchases"]["nodes"].clone();
            assert_eq!(orders, json!([{"amount": {"decimal": "48.00"}, "refunded": {"decimal": "30.00"}}]), "14 and 6 at the prices of the update, 10 as said");
        }
        app.stop().await;
    }

    async fn sums_are_kept_apart_by_currency_and_unknown_amounts_are_counted_apart(app: TestApp) {
        let web = app.source("web", "WEB").await;
        assert_eq!(app.ask("{ customers(first: 1) { nodes { id } } }").await["customers"]["nodes"], json!([]));
        app.batch(&web, json!([told("Signed In", "u", "01", "0", json!({}))])).await;
        assert_eq!(summary(&app).await, json!({"count": 0, "unknownAmounts": 0, "coverage": null, "returned": 0, "netRevenue": null, "refunds": null,
            "firstPurchaseAt": null, "lastPurchaseAt": null, "totals": []}), "nothing is known of no order");
        app.batch(&web, json!([
            told("Order Completed", "u", "01", "1", json!({"order_id": "A", "revenue": 10.5, "currency": "EUR"})),
            told("Order Completed", "u", "02", "2", json!({"order_id": "B", "revenue": 1999, "currency": "JPY"})),
            told("Order Refunded", "u", "03", "3", json!({"order_id": "B", "total": 999, "currency": "JPY"})),
            told("Order Completed", "u", "04", "4", json!({"order_id": "C"})),
            told("Order Refunded", "u", "09", "5", json!({"order_id": "D", "total": 3})),
        ])).await;
        assert_eq!(summary(&app).await, json!({"count": 4, "unknownAmounts": 2, "coverage": 0.5, "returned": 0, "netRevenue": null, "refunds": null,
            "firstPurchaseAt": "2026-05-01T00:00:00Z", "lastPurchaseAt": "2026-05-04T00:00:00Z",
            "totals": [
                {"currency": "EUR", "count": 1, "revenue": {"decimal": "10.50"}, "refunds": {"decimal": "0.00"}, "netRevenue": {"decimal": "10.50"}},
                {"currency": "JPY", "count": 1, "revenue": {"decimal": "1999"}, "refunds": {"decimal": "999"}, "netRevenue": {"decimal": "1000"}},
            ]}));
        app.stop().await;
    }

    async fn sums_of_64_bit_amounts_are_exact_or_unknown(app: TestApp) {
        let web = app.source("web", "WEB").await;
        let most = "92233720368547758.07";
        app.batch(&web, json!([
            told("Order Completed", "u", "01", "1", json!({"order_id": "A", "revenue": most, "currency": "EUR"})),
            told("Order Completed", "u", "02", "2", json!({"order_id": "B", "revenue": "-92233720368547757.07", "currency": "EUR"})),
        ])).await;
        assert_eq!(summary(&app).await["netRevenue"]["decimal"], "1.00");
        app.batch(&web, json!([told("Order Completed", "u", "03", "3", json!({"order_id": "C", "revenue": most, "currency": "EUR"}))])).await;
        assert_eq!(summary(&app).await["netRevenue"]["decimal"], Value::Null);
        app.stop().await;
    }

    async fn a_page_of_customers_takes_a_constant_number_of_statements(app: TestApp) {
        let (web, books) = (app.source("web", "WEB").await, app.source("books", "CRM").await);
        for (source, user) in [(&web, "u"), (&books, "k")] {
            let orders: Vec<Value> = (0..60).map(|n| {
                let mut order = told(if n % 3 == 2 { "Order Refunded" } else { "Order Completed" }, &format!("{user}{}", n / 3), "01", &format!("{n}"), json!({"order_id": format!("o{}", n / 3), "revenue": 1 + n, "currency": "EUR"}));
                order["context"]["traits"]["email"] = json!(format!("p{}@example.com", n / 3));
                order
            }).collect();
            app.batch(source, json!(orders)).await;
        }
        let statements = |first: usize| {
            let app = &app;
            async move {
                let query = format!("{{ customers(first: {first}) {{ nodes {{ timeline(first: 5) {{ nodes {{ id }} }} purchases(first: 3) {{ nodes {{ counted refunded {{ decimal }} }} }} purchaseSummary {{ {SUMMARY} }} }} }} }}");
                app.ask("{ sources { nodes { id } } }").await;
                let before = app.server.services.store.statement_count();
                let data = app.ask(&query).await;
                let nodes = data["customers"]["nodes"].as_array().unwrap();
                assert_eq!(nodes.len(), first);
                assert!(nodes.iter().all(|node| node["purchaseSummary"]["count"] == 1 && node["purchases"]["nodes"].as_array().unwrap().len() == 2), "{data}");
                app.server.services.store.statement_count() - before
            }
        };
        let (few, many) = (statements(2).await, statements(20).await);
        assert_eq!(few, many);
        // The customers; one for the timelines and one for the purchases; two for what counts of these; the sums, and of orders that two
        // sources tell of refunds: which they are, all their reports, the refunds.
        assert_eq!(many, 9);
        app.stop().await;
    }
}
