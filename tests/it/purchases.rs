//! Orders out of events: money exactly, once, in whatever order the reports arrive.

use super::support::{TestApp, on_both};
use serde_json::{Value, json};

fn order(event: &str, at: &str, message: &str, properties: Value) -> Value {
    json!({"type": "track", "event": event, "userId": "u", "timestamp": at, "messageId": message, "properties": properties})
}

async fn purchases(app: &TestApp) -> Value {
    let query = r#"{ customerBy(identifier: {kind: USER_ID, value: "u"}) { purchases(first: 100) { nodes {
        orderId occurredAt amount { amountMinor currency decimal } refunded { decimal } counted lines { quantity price { decimal } product { sku name category } } } } } }"#;
    app.ask(query).await["customerBy"]["purchases"]["nodes"].clone()
}

on_both! {
    async fn an_order_has_its_lines_and_counts_once_however_often_it_is_reported(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let properties = json!({"order_id": "o-1", "revenue": 45, "total": 52.5, "currency": "EUR", "products": [
            {"product_id": "p-1", "price": "19.99", "quantity": 2, "name": "Pot", "category": "Pots"}, {"sku": "p-2", "price": 5.02}]});
        app.batch(&key, json!([order("Order Completed", "2026-05-01T00:00:00Z", "1", properties.clone())])).await;
        app.batch(&key, json!([order("Order Completed", "2026-05-01T00:00:00Z", "2", properties)])).await;
        assert_eq!(purchases(&app).await, json!([{
            "orderId": "o-1", "occurredAt": "2026-05-01T00:00:00Z", "counted": true,
            "amount": {"amountMinor": 4500, "currency": "EUR", "decimal": "45.00"}, "refunded": {"decimal": "0.00"},
            "lines": [
                {"quantity": 2, "price": {"decimal": "19.99"}, "product": {"sku": "p-1", "name": "Pot", "category": "Pots"}},
                {"quantity": 1, "price": {"decimal": "5.02"}, "product": {"sku": "p-2", "name": null, "category": null}},
            ]
        }]));
        app.stop().await;
    }

    async fn updates_replace_refunds_subtract_and_the_order_of_arrival_does_not_matter(app: TestApp) {
        let told = [
            order("Order Completed", "2026-05-01T00:00:00Z", "1", json!({"order_id": "o", "revenue": 100, "currency": "EUR", "products": [{"sku": "a", "price": 100}]})),
            order("Order Updated", "2026-05-02T00:00:00Z", "2", json!({"order_id": "o", "revenue": "80.10", "currency": "EUR", "products": [{"sku": "b", "price": "80.10"}]})),
            order("Order Refunded", "2026-05-03T00:00:00Z", "3", json!({"order_id": "o", "total": 10.05})),
            order("Order Refunded", "2026-05-04T00:00:00Z", "4", json!({"order_id": "o", "total": 20, "currency": "EUR"})),
        ];
        let mut seen = Vec::new();
        for (n, turn) in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]].into_iter().enumerate() {
            let key = app.source(&format!("web-{n}"), "WEB").await;
            for i in turn {
                let mut message = told[i].clone();
                message["userId"] = json!(format!("u{n}"));
                app.batch(&key, json!([message])).await;
            }
            let query = format!(r#"{{ customerBy(identifier: {{kind: USER_ID, value: "u{n}"}}) {{ purchases(first: 9) {{ nodes {{ occurredAt amount {{ decimal currency }} refunded {{ decimal }} lines {{ product {{ sku }} }} }} }} }} }}"#);
            seen.push(app.ask(&query).await["customerBy"]["purchases"]["nodes"].clone());
        }
        let expected = json!([{"occurredAt": "2026-05-01T00:00:00Z", "amount": {"decimal": "80.10", "currency": "EUR"}, "refunded": {"decimal": "30.05"}, "lines": [{"product": {"sku": "b"}}]}]);
        assert_eq!(seen, [expected.clone(), expected.clone(), expected]);
        app.stop().await;
    }

    async fn a_cancelled_order_gives_everything_back_and_an_unknown_amount_is_not_zero(app: TestApp) {
        let key = app.source("web", "WEB").await;
        app.batch(&key, json!([
            order("Order Completed", "2026-05-01T00:00:00Z", "1", json!({"order_id": "a", "revenue": 10, "currency": "GBP"})),
            order("Order Cancelled", "2026-05-02T00:00:00Z", "2", json!({"order_id": "a"})),
            order("Order Completed", "2026-05-03T00:00:00Z", "3", json!({"order_id": "b"})),
            order("Order Completed", "2026-05-04T00:00:00Z", "4", json!({"order_id": "c", "revenue": 12.5, "currency": "points"})),
            order("Order Completed", "2026-05-05T00:00:00Z", "5", json!({"order_id": "d", "revenue": 1999, "currency": "JPY"})),
            order("Order Completed", "2026-05-06T00:00:00Z", "6", json!({"order_id": "e", "revenue": 0.30000000000000004})),
        ])).await;
        let orders = purchases(&app).await;
        let told: Vec<(Value, Value, Value, Value)> = orders.as_array().unwrap().iter().map(|order| {
            (order["orderId"].clone(), order["amount"]["decimal"].clone(), order["amount"]["currency"].clone(), order["refunded"]["decimal"].clone())
        }).collect();
        assert_eq!(told, [
            (json!("e"), json!("0.30"), json!("USD"), json!("0.00")),
            (json!("d"), json!("1999"), json!("JPY"), json!("0")),
            (json!("c"), json!("12.50"), json!("POINTS"), json!("0.00")),
            (json!("b"), Value::Null, Value::Null, json!("0.00")),
            (json!("a"), json!("10.00"), json!("GBP"), json!("10.00")),
        ]);
        app.stop().await;
    }
}
