//! Unchanged client libraries, run against a running server.

use super::support::clients::run_client;
use super::support::{Backend, TestApp};
use serde_json::json;

/// Script, the names its people go by, and how many messages it sends.
const CLIENTS: [(&str, &[&str], u64); 5] = [
    ("segment-node.mjs", &["segment-node"], 6),
    ("segment-browser.mjs", &["segment-browser", "segment-browser-batching"], 12),
    ("rudder-node.mjs", &["rudder-node"], 6),
    ("segment_python.py", &["segment-python", "segment-python-gzip"], 12),
    ("rudder_python.py", &["rudder-python"], 6),
];

async fn libraries_deliver_everything(backend: Backend) {
    let app = TestApp::new(backend).await;
    let key = app.source("shop", "WEB").await;
    for (script, names, messages) in CLIENTS {
        let before = app.count("event").await;
        let (host, write_key) = (app.base.clone(), key.clone());
        let report = tokio::task::spawn_blocking(move || run_client(script, &host, &write_key))
            .await
            .unwrap();
        assert_eq!(
            (&report["sent"], &report["failures"]),
            (&json!(messages), &json!([])),
            "{script} {report}"
        );
        assert_eq!(
            app.count("event").await - before,
            i64::try_from(messages).unwrap(),
            "{script}"
        );
        for name in names {
            let query = format!(
                r#"{{ customerBy(identifier: {{kind: USER_ID, value: "{name}-user"}}) {{ email firstName city
                    purchases(first: 5) {{ nodes {{ orderId occurredAt amount {{ decimal currency }} lines {{ quantity product {{ sku }} }} }} }} }} }}"#
            );
            let expected = json!({
                "email": format!("{name}@example.test"), "firstName": "Ada", "city": "Exampleton",
                "purchases": {"nodes": [{"orderId": format!("{name}-order"), "occurredAt": "2026-01-02T03:04:05.678Z",
                    "amount": {"decimal": "45.00", "currency": "EUR"}, "lines": [{"quantity": 1, "product": {"sku": "p-1"}}]}]}
            });
            let mut seen = app.ask(&query).await["customerBy"].clone();
            let time = &mut seen["purchases"]["nodes"][0]["occurredAt"];
            // The libraries' clocks are the machine's, the server's stands still: the correction moves the time by their difference.
            *time = json!("2026-01-02T03:04:05.678Z");
            assert_eq!(seen, expected, "{name}");
        }
    }
    assert_eq!(app.count("rejected_item").await, 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_libraries_deliver_everything_to_sqlite() {
    libraries_deliver_everything(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_libraries_deliver_everything_to_postgres() {
    libraries_deliver_everything(Backend::Postgres).await;
}
