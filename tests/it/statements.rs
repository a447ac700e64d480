//! What intake costs the database, counted: statements by group, rows by event.

use super::support::{TestApp, on_both};
use serde_json::{Value, json};

const TABLES: [&str; 15] = [
    "record",
    "identifier",
    "link",
    "customer",
    "event",
    "purchase",
    "purchase_line",
    "refund",
    "product",
    "change",
    "change_tx",
    "rejected_item",
    "audit",
    "due",
    "customer_value",
];

async fn rows(app: &TestApp) -> i64 {
    let mut sum = 0;
    for table in TABLES {
        sum += app.count(table).await;
    }
    sum
}

fn views(users: usize, count: usize, series: &str) -> Value {
    json!((0..count).map(|n| json!({"type": "track", "event": "Product Viewed", "userId": format!("u{}", n % users), "messageId": format!("{series}-{n}")})).collect::<Vec<_>>())
}

on_both! {
    async fn a_group_takes_a_constant_number_of_statements(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let mut costs = Vec::new();
        for (users, count, series) in [(100, 100, "warm"), (1, 1, "one"), (100, 500, "many")] {
            let before = app.server.services.store.statement_count();
            app.batch(&key, views(users, count, series)).await;
            costs.push(app.server.services.store.statement_count() - before);
        }
        assert_eq!(costs[1], costs[2]);
        // Which records are known, the events, the change rows, the transaction.
        assert_eq!(costs[2], 4);
        app.stop().await;
    }

    async fn an_event_of_a_known_record_writes_its_row_and_a_share_of_one_change_row(app: TestApp) {
        let key = app.source("web", "WEB").await;
        app.batch(&key, views(1, 1, "warm")).await;
        let before = rows(&app).await;
        app.batch(&key, views(1, 100, "known")).await;
        // 100 events, one change row that lists them, one row of the transaction.
        assert_eq!(rows(&app).await - before, 102);
        app.stop().await;
    }

    async fn a_new_person_writes_at_most_eight_rows(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let before = rows(&app).await;
        app.batch(&key, json!([{"type": "identify", "userId": "u", "anonymousId": "a", "traits": {"name": "Ada"}}])).await;
        // Record, customer, two identifiers, two links, event, change; and the row of the transaction that the whole group shares.
        assert_eq!(rows(&app).await - before, 8 + 1);
        app.stop().await;
    }
}
