//! Sockets under pressure: clients that do not read, a server that stops, many that only wait, and what the published clients make of it.

use super::sockets::BEATS;
use super::support::app::{ADMIN_KEY, eventually};
use super::support::clients::run_client_with;
use super::support::process::Process;
use super::support::socket::Socket;
use super::support::{Backend, TestApp};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio_tungstenite::tungstenite::Message;

/// Some 300 KB an answer: what a schema has to say of itself, a few times over.
fn large() -> String {
    let part = "types { name description fields { name description args { name description } } }";
    let parts: String = ["a", "b"].map(|name| format!("{name}: __schema {{ {part} }} ")).concat();
    format!("{{ {parts} }}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_nothing_loses_the_subscription_and_is_told_where_to_go_on() {
    let app = TestApp::with(Backend::Sqlite, |settings| {
        settings.sockets.slow_seconds = 2;
        settings.sockets.operations_per_socket = 200;
        settings.sockets.messages_per_second = 200;
    })
    .await;
    let small = Some(16 * 1024);
    let mut socket = Socket::connect(&app.base, &[], small).await.unwrap();
    socket.init(ADMIN_KEY).await;
    assert_eq!(socket.next().await["type"], "connection_ack");
    socket.subscribe("s", BEATS).await;
    let beat = socket.next().await;
    let mut cursor = beat["payload"]["data"]["changes"]["cursor"].clone();
    // More than the machine keeps for the two of them, so the server has to wait.
    for number in 0..60 {
        socket.subscribe(&number.to_string(), &large()).await;
    }
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    // Others are not kept waiting by it.
    let mut other = Socket::known(&app, ADMIN_KEY).await;
    other.subscribe("q", "{ __typename }").await;
    assert_eq!(other.next().await["type"], "next");
    // It reads again: everything that was asked for comes, and that the subscription is over.
    let (mut answers, mut ended) = (0, None);
    while answers < 60 || ended.is_none() {
        let message = socket.next().await;
        match (message["id"].as_str(), message["type"].as_str()) {
            (Some("s"), Some("next")) => {
                assert_eq!(ended, None, "nothing comes after the end");
                cursor = message["payload"]["data"]["changes"]["cursor"].clone();
            }
            (Some("s"), _) => ended = Some(message),
            (_, Some("complete")) => answers += 1,
            _ => assert_eq!(message["type"], "next", "{message}"),
        }
    }
    let ended = ended.unwrap();
    assert_eq!(ended["type"], "error", "{ended}");
    assert_eq!(
        ended["payload"][0]["extensions"],
        json!({"code": "SLOW_CONSUMER", "cursor": cursor})
    );
    // The socket is as good as new.
    socket.subscribe("s", BEATS).await;
    assert_eq!(socket.next().await["type"], "next");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_reads_again_is_cut_off() {
    let app = TestApp::with(Backend::Sqlite, |settings| {
        settings.sockets.slow_seconds = 1;
        settings.sockets.operations_per_socket = 200;
        settings.sockets.messages_per_second = 200;
        settings.sockets.connections_per_key = 1;
    })
    .await;
    let mut socket = Socket::connect(&app.base, &[], Some(16 * 1024)).await.unwrap();
    socket.init(ADMIN_KEY).await;
    assert_eq!(socket.next().await["type"], "connection_ack");
    for number in 0..60 {
        socket.subscribe(&number.to_string(), &large()).await;
    }
    // Its place is free again, though it never hung up.
    eventually("it is cut off", || async {
        let mut next = Socket::open(&app).await;
        next.init(ADMIN_KEY).await;
        matches!(next.message().await, Message::Text(text) if text.as_str().contains("connection_ack"))
    })
    .await;
    drop(socket);
    app.stop().await;
}

#[tokio::test]
async fn a_server_that_stops_sends_everybody_away_and_waits_for_nobody() {
    let app = TestApp::new(Backend::Sqlite).await;
    let mut socket = Socket::known(&app, ADMIN_KEY).await;
    socket.subscribe("s", BEATS).await;
    assert_eq!(socket.next().await["type"], "next");
    let unknown = Socket::open(&app).await;
    let base = app.base.clone();
    let begin = Instant::now();
    let stopping = tokio::spawn(app.stop());
    // No `complete`: to a client that would be the end, and it would not subscribe again.
    let end = loop {
        match socket.message().await {
            Message::Text(text) => assert!(!text.as_str().contains("complete"), "{text}"),
            message => break message,
        }
    };
    let Message::Close(Some(frame)) = end else { panic!("{end:?}") };
    assert_eq!(u16::from(frame.code), 1001);
    assert_eq!(unknown.closed().await.0, 1001);
    stopping.await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    let address = base.strip_prefix("http://").unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn operators_see_how_many_there_are_and_how_they_end() {
    let app = TestApp::new(Backend::Sqlite).await;
    let mut socket = Socket::known(&app, ADMIN_KEY).await;
    socket.subscribe("s", BEATS).await;
    socket.next().await;
    socket.send(json!({"type": "nonsense"})).await;
    let page = async || {
        app.http
            .get(format!("{}/metrics", app.base))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    };
    let shown = page().await;
    for name in ["tributary_sockets_open", "tributary_subscriptions_open"] {
        assert!(shown.contains(&format!("# TYPE {name} gauge")), "{shown}");
    }
    assert_eq!(socket.closed().await.0, 4400);
    eventually("it is counted by its code", || async {
        page().await.contains(r#"tributary_sockets_closed_total{code="4400"}"#)
    })
    .await;
    assert!(!page().await.contains(ADMIN_KEY));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_published_clients_of_both_protocols_understand_us() {
    let app = TestApp::new(Backend::Sqlite).await;
    let host = app.base.clone();
    let told = tokio::task::spawn_blocking(move || {
        run_client_with("subscribe.mjs", &[("TRIBUTARY_HOST", &host), ("TRIBUTARY_KEY", ADMIN_KEY)])
    })
    .await
    .unwrap();
    for client in ["ws", "sse"] {
        let told = &told[client];
        assert_eq!(
            told["once"],
            json!([{"data": {"__typename": "Query", "customers": {"totalCount": 0}}}]),
            "{told}"
        );
        let batches = told["batches"].as_array().unwrap();
        assert_eq!(batches.len(), 3, "{told}");
        for batch in batches {
            assert!(batch["data"]["changes"]["cursor"].is_string(), "{batch}");
        }
    }
    assert_eq!(
        told["ws"]["refused"]["errors"][0]["extensions"]["code"],
        "GRAPHQL_VALIDATION_FAILED"
    );
    assert_eq!(told["ws"]["stranger"]["code"], 4403);
    assert_eq!(
        (&told["sse"]["refused"]["status"], &told["sse"]["stranger"]["status"]),
        (&json!(400), &json!(401))
    );
    app.stop().await;
}

/// Resident memory of a process, in bytes.
fn memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_only_waits_costs_little() {
    const SOCKETS: usize = 600;
    let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("idle-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let server = Process::start(&format!("sqlite://{}", folder.join("idle.db").display()), &[]).await;
    let quiet = BEATS.replace("heartbeatSeconds: 1", "heartbeatSeconds: 600");
    let open = async |number: usize| {
        let mut sockets = Vec::new();
        for _ in 0..number {
            let mut socket = Socket::connect(&server.base, &[], None).await.unwrap();
            socket.init(ADMIN_KEY).await;
            assert_eq!(socket.next().await["type"], "connection_ack");
            socket.subscribe("s", &quiet).await;
            // Answered after it has begun.
            socket.subscribe("q", "{ __typename }").await;
            while socket.next().await != json!({"id": "q", "type": "complete"}) {}
            sockets.push(socket);
        }
        sockets
    };
    let warm = open(50).await;
    let before = memory(server.id());
    let sockets = open(SOCKETS).await;
    let each = memory(server.id()).saturating_sub(before) / SOCKETS as u64;
    println!("{each} bytes a socket with a subscription");
    // With the library's own buffers it would be 128 KiB and more.
    assert!(each < 40_000, "{each} bytes each");
    drop((warm, sockets, server));
    let _ = std::fs::remove_dir_all(&folder);
}

/// Answers of some size: every change says the same fifty times, under long names.
fn wordy() -> String {
    let words: String = (0..50).map(|n| format!("{}{n}: transaction ", "a".repeat(80))).collect();
    format!("subscription {{ changes(start: {{ fromBeginning: true }}, batch: 100) {{ cursor changes {{ {words} }} }} }}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_an_event_stream_is_told_where_to_go_on_when_they_do() {
    let app = TestApp::with(Backend::Sqlite, |settings| {
        settings.sockets.slow_seconds = 1;
    })
    .await;
    let key = app.source("web", "WEB").await;
    for batch in 0..5 {
        let said = |n: i32| json!({"type": "identify", "userId": format!("u-{batch}-{n}"), "traits": {"city": "Graz"}});
        app.batch(&key, (0..500).map(said).collect()).await;
    }
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let address = app.base.strip_prefix("http://").unwrap().parse().unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let body = json!({"query": wordy()}).to_string();
    // Without chunks, so that the text can be read as it is.
    let head = format!(
        "POST /graphql HTTP/1.0\r\nauthorization: Bearer {ADMIN_KEY}\r\naccept: text/event-stream\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await.unwrap();
    // More than the machine keeps for the two of them lies ready. Below, the connection itself is patient for twice as long.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let events: Vec<Value> = text
        .split("\n\n")
        .filter_map(|event| event.strip_prefix("event: next\ndata: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let (last, before) = events.split_last().unwrap_or_else(|| panic!("{text}"));
    let cursor = &before.last().expect("a batch")["data"]["changes"]["cursor"];
    assert_eq!(
        last["errors"][0]["extensions"],
        json!({"code": "SLOW_CONSUMER", "cursor": cursor})
    );
    assert!(text.ends_with("event: complete\ndata:\n\n"), "nothing comes behind it");
    let told: usize = before
        .iter()
        .map(|event| event["data"]["changes"]["changes"].as_array().unwrap().len())
        .sum();
    assert!(told < 2_500, "not everything was kept for it");
    app.stop().await;
}
