//! The example page, as its readers would run it: types from the schema, a back end that signs, and a real browser.

use super::support::clients::{example_web, run_for};
use super::support::packages::{find_or_install, on_path};
use super::support::process::Process;
use super::support::servers::free_port;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const ADMIN_KEY: &str = super::support::app::ADMIN_KEY;
/// A page is shown within a second or two; the first start of a browser on a busy machine takes longer.
const BROWSER_LIMIT: Duration = Duration::from_secs(120);

/// The back end of the example, ended with the test.
struct BackEnd {
    child: Child,
    origin: String,
}

impl Drop for BackEnd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn back_end(port: u16, server: &str, key: &Value) -> BackEnd {
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{key}")).to_owned();
    let child = Command::new("node")
        .arg("server.mjs")
        .current_dir(example_web())
        .env("TRIBUTARY_URL", server)
        .env("KEY_ID", text(&key["apiKey"]["id"]))
        .env("PRIVATE_KEY", text(&key["secret"]))
        .env("SIGNED_IN", "u-1")
        .env("PORT", port.to_string())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let back_end = BackEnd {
        child,
        origin: format!("http://127.0.0.1:{port}"),
    };
    for _ in 0..400 {
        if reqwest::get(&back_end.origin)
            .await
            .is_ok_and(|answer| answer.status().is_success())
        {
            return back_end;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the back end never answered");
}

fn chromium() -> PathBuf {
    let find = || on_path("chromium").or_else(|| on_path("chromium-browser"));
    find_or_install("Chromium", &["chromium"], find).unwrap_or_else(|error| panic!("{error}"))
}

/// What a page shows when it has come to rest.
async fn shown(page: &str) -> String {
    let profile = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("chromium-{}", free_port()));
    let mut command = Command::new(chromium());
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
        ])
        .args(["--disable-extensions", "--disable-background-networking", "--no-proxy-server"])
        .args(["--virtual-time-budget=20000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(page);
    let ended = tokio::task::spawn_blocking(move || run_for(BROWSER_LIMIT, &mut command))
        .await
        .unwrap();
    let _ = std::fs::remove_dir_all(&profile);
    let ended = ended.unwrap();
    assert!(ended.success, "{}\n{}", ended.stdout, ended.stderr);
    ended.stdout
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_page_shows_a_visitor_who_they_are_and_a_foreign_page_nothing() {
    tokio::task::spawn_blocking(|| (example_web(), chromium())).await.unwrap();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("web-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let server = Process::start(&format!("sqlite://{}", folder.join("web.db").display()), &[]).await;
    let http = reqwest::Client::new();
    let ask = async |query: &str, variables: Value| {
        let request = http.post(format!("{}/graphql", server.base)).bearer_auth(ADMIN_KEY);
        let answer = request
            .json(&json!({"query": query, "variables": variables}))
            .send()
            .await
            .unwrap();
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body.get("errors"), None, "{query}: {body}");
        body["data"].clone()
    };
    let source = ask(
        r#"mutation { sourceCreate(input: { key: "web", name: "Web", channel: WEB }) { source { id } } }"#,
        json!({}),
    )
    .await;
    let item = json!({
        "key": "u-1", "identifiers": [{"kind": "USER_ID", "value": "u-1"}], "traits": {"name": "Zoë Quill", "email": "zoe@example.test"},
        "purchases": [{"orderId": "o-77", "amount": "45.00", "currency": "EUR"}],
    });
    let input = json!({"input": {"source": source["sourceCreate"]["source"]["id"], "items": [item]}});
    let sent = ask(
        "mutation ($input: RecordsIngestInput!) { recordsIngest(input: $input) { receipts { status } } }",
        input,
    )
    .await;
    assert_eq!(sent["recordsIngest"]["receipts"], json!([{"status": "ACCEPTED"}]));

    let (own, foreign) = (free_port(), free_port());
    let create = "mutation ($origin: String!) { apiKeyCreate(input: { kind: SUBJECT, name: \"page\", allowedOrigins: [$origin] }) { apiKey { id } secret } }";
    let key = ask(create, json!({"origin": format!("http://127.0.0.1:{own}")})).await["apiKeyCreate"].clone();
    let (own, foreign) = (
        back_end(own, &server.base, &key).await,
        back_end(foreign, &server.base, &key).await,
    );

    let page = shown(&own.origin).await;
    assert!(page.contains("<h1 id=\"greeting\">Hello, Zoë Quill</h1>"), "{page}");
    assert!(
        page.contains("<p id=\"email\">zoe@example.test</p>") && page.contains("<li>o-77: 45.00 EUR</li>"),
        "{page}"
    );
    // The same page with a good token, on an origin that the key does not list: the browser keeps the answer from it.
    let page = shown(&foreign.origin).await;
    assert!(page.contains("Your data cannot be shown"), "{page}");
    assert!(
        !page.contains("Quill") && !page.contains("zoe@") && !page.contains("o-77"),
        "{page}"
    );
    drop(server);
    let _ = std::fs::remove_dir_all(&folder);
}
