//! What operators hold in their hands: the binary as a process of its own, its health, its log, its end, and its commands.

use super::support::app::{ADMIN_KEY, database};
use super::support::process::{Process, command};
use super::support::servers::{free_port, postgres};
use super::support::{Backend, app::eventually};
use reqwest::StatusCode;
use sea_orm::{ConnectionTrait as _, Database, Statement};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How many migrations this version has.
fn migrations() -> usize {
    use migration::MigratorTrait as _;
    migration::Migrator::migrations().len()
}

/// Standard output, standard error, exit code.
fn told(output: Output) -> (String, String, Option<i32>) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code())
}

/// Runs a command on a database with the settings as they come.
fn run(url: &str, arguments: &[&str]) -> (String, String, Option<i32>) {
    told(command(arguments, &[("TRIBUTARY_DATABASE__URL", url)]))
}

/// A database without a schema, and the folder to remove.
async fn empty_database(backend: Backend) -> (String, PathBuf) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::SeqCst);
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("empty-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let url = match backend {
        Backend::Sqlite => format!("sqlite://{}", directory.join("new.db").display()),
        Backend::Postgres => {
            let server = tokio::task::spawn_blocking(postgres).await.unwrap();
            execute(&server.admin_url(), &format!("CREATE DATABASE empty_{number}")).await;
            server.url(&format!("empty_{number}"))
        }
    };
    (url, directory)
}

async fn execute(url: &str, sql: &str) {
    let connection = Database::connect(url).await.unwrap();
    connection.execute_unprepared(sql).await.expect(sql);
    connection.close().await.unwrap();
}

async fn texts(url: &str, sql: &str) -> Vec<String> {
    let connection = Database::connect(url).await.unwrap();
    let rows = connection
        .query_all_raw(Statement::from_string(connection.get_database_backend(), sql))
        .await
        .expect(sql);
    let texts = rows.iter().map(|row| row.try_get_by_index::<String>(0).unwrap()).collect();
    connection.close().await.unwrap();
    texts
}

async fn graphql(process: &Process, key: &str, query: &str) -> (StatusCode, Value) {
    let request = reqwest::Client::new()
        .post(format!("{}/graphql", process.base))
        .bearer_auth(key);
    let answer = request.json(&json!({"query": query})).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

/// Makes a source over GraphQL; answers its write key.
async fn a_source(process: &Process) -> String {
    let query = r#"mutation { sourceCreate(input: { key: "web", name: "Web", channel: WEB }) { writeKey } }"#;
    let (_, body) = graphql(process, ADMIN_KEY, query).await;
    body["data"]["sourceCreate"]["writeKey"].as_str().unwrap().to_owned()
}

async fn page(process: &Process, path: &str) -> (StatusCode, String, String) {
    let answer = reqwest::get(format!("{}{path}", process.base)).await.unwrap();
    let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
    (answer.status(), content_type, answer.text().await.unwrap())
}

/// The same as `on_both!`, for tests that start the binary themselves.
macro_rules! on_both_databases {
    ($(async fn $name:ident($backend:ident: Backend) $body:block)+) => {$(
        mod $name {
            use super::*;

            async fn run_on($backend: Backend) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                run_on(Backend::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                run_on(Backend::Postgres).await;
            }
        }
    )+};
}

#[tokio::test]
async fn health_readiness_and_metrics_tell_what_goes_on_and_name_nobody() {
    let (url, directory) = database(Backend::Sqlite).await;
    let process = Process::start(&url, &[]).await;
    let write_key = a_source(&process).await;
    let json_type = "application/json".to_owned();
    let (status, content_type, body) = page(&process, "/healthz").await;
    assert_eq!(
        (status, content_type, body.as_str()),
        (StatusCode::OK, json_type.clone(), r#"{"status":"ok"}"#)
    );
    let (status, content_type, body) = page(&process, "/readyz").await;
    let ready = json!({"status": "ready", "database": true, "stopping": false});
    assert_eq!(
        (status, content_type, serde_json::from_str(&body).ok()),
        (StatusCode::OK, json_type, Some(ready))
    );

    let client = reqwest::Client::new();
    let good = json!({"type": "track", "event": "Visited", "userId": "ada@example.com"});
    let bad = json!({"type": "track", "userId": "ada@example.com"});
    let batch = json!({"batch": [good, good, bad]});
    let request = client
        .post(format!("{}/v1/batch", process.base))
        .basic_auth(&write_key, Some(""));
    assert_eq!(request.json(&batch).send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(
        page(&process, &format!("/v1/projects/{write_key}/settings")).await.0,
        StatusCode::OK
    );
    assert_eq!(page(&process, "/ada@example.com").await.0, StatusCode::NOT_FOUND);

    let (status, content_type, metrics) = page(&process, "/metrics").await;
    assert_eq!(
        (status, content_type.as_str()),
        (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8")
    );
    let lines: HashSet<&str> = metrics.lines().collect();
    for line in [
        "tributary_events_accepted_total 2",
        "tributary_events_rejected_total 1",
        r#"tributary_http_requests_total{route="/graphql",status="200"} 1"#,
        r#"tributary_http_requests_total{route="/v1/batch",status="200"} 1"#,
        r#"tributary_http_requests_total{route="/v1/projects/{write_key}/settings",status="200"} 1"#,
        r#"tributary_http_requests_total{route="unmatched",status="404"} 1"#,
        r#"tributary_http_request_seconds_count{route="/v1/batch"} 1"#,
        "# TYPE tributary_http_request_seconds histogram",
        "# TYPE tributary_sql_statements_total counter",
    ] {
        assert!(lines.contains(line), "{line} in\n{metrics}");
    }
    let statements = lines
        .iter()
        .find_map(|line| line.strip_prefix("tributary_sql_statements_total{origin=\"request\"} "));
    assert!(statements.unwrap().parse::<u64>().unwrap() > 0);
    assert!(!metrics.contains("ada@") && !metrics.contains(&write_key));
    drop(process);
    std::fs::remove_dir_all(directory).unwrap();
}

on_both_databases! {
    async fn the_log_names_requests_and_never_a_person_or_a_key(backend: Backend) {
        for level in ["info", "debug", "trace"] {
            let (url, directory) = database(backend).await;
            let process = Process::start(&url, &[("TRIBUTARY_LOG__LEVEL", level)]).await;
            let write_key = a_source(&process).await;
            let (email, phone, name) = ("canary.ada@example.com", "+447700900123", "Canarina Lovelace");
            let wrong_key = "tributary_api_canary0123456789_canarycanary";
            let client = reqwest::Client::new();
            let post = |path: &str| client.post(format!("{}{path}", process.base));
            let person = json!({"userId": "canary-user", "traits": {"email": email, "phone": phone, "name": name}});
            let message = |kind: &str| json!({"type": kind, "userId": "canary-user", "event": "Canary Event", "messageId": "canary-message",
                "traits": {"email": email}, "properties": {"phone": phone}});

            // What succeeds, what is refused, and what is broken.
            let identify = post("/v1/identify").basic_auth(&write_key, Some("")).header("x-request-id", "a-request-of-the-test");
            assert_eq!(identify.json(&person).send().await.unwrap().status(), StatusCode::OK);
            let batch = json!({"batch": [message("track"), message("nonsense"), {"type": "track", "userId": email}, email]});
            let batch = post("/v1/batch").basic_auth(&write_key, Some("")).json(&batch).send().await.unwrap();
            assert_eq!(batch.status(), StatusCode::OK);
            let nul = format!(r#"{{"userId":"canary-user","event":"Canary","properties":{{"a":"{email}\u0000"}}}}"#);
            for body in [nul, format!(r#"{{"userId":"{email}","#), format!("{email}{phone}")] {
                post("/v1/track").basic_auth(&write_key, Some("")).body(body).send().await.unwrap();
            }
            let refused = post("/v1/identify").basic_auth(wrong_key, Some("")).json(&person).send().await.unwrap();
            assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
            let settings = reqwest::get(format!("{}/v1/projects/{write_key}/settings?email={email}", process.base)).await.unwrap();
            assert_eq!(settings.status(), StatusCode::OK);
            let found = format!(r#"{{ customerBy(identifier: {{ kind: EMAIL, value: "{email}" }}) {{ email phone displayName }} }}"#);
            let (_, body) = graphql(&process, ADMIN_KEY, &found).await;
            assert_eq!(body["data"]["customerBy"], json!({"email": email, "phone": phone, "displayName": name}));
            assert_eq!(graphql(&process, wrong_key, &found).await.0, StatusCode::UNAUTHORIZED);
            assert_eq!(graphql(&process, &write_key, &found).await.0, StatusCode::FORBIDDEN);
            for query in [format!("{{ customer(id: \"{email}\") {{ id }} }}"), format!("{{ {email} }}"), format!("{{ customer(id: {email}")] {
                graphql(&process, ADMIN_KEY, &query).await;
            }
            process.signal("TERM");
            let (code, log) = process.finished();
            assert_eq!(code, Some(0), "{log}");

            let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
            assert!(lines.iter().any(|line| line["fields"]["message"] == "stopped"));
            let own = lines.iter().find(|line| line["span"]["request.id"] == "a-request-of-the-test");
            if level == "info" {
                assert_eq!(own, None, "a request that succeeds is no news");
            } else {
                let own = own.unwrap();
                assert_eq!((&own["fields"]["message"], &own["fields"]["http.status"]), (&json!("request answered"), &json!(200)));
                assert_eq!((&own["span"]["http.route"], &own["span"]["http.method"]), (&json!("/v1/identify"), &json!("POST")));
            }
            let secret = write_key.rsplit('_').next().unwrap();
            for canary in ["canary", "Canar", phone, "447700900123", ADMIN_KEY, secret, "Lovelace"] {
                let line = log.lines().find(|line| line.contains(canary));
                assert_eq!(line, None, "{canary} is in the log at {level}");
            }
            std::fs::remove_dir_all(directory).unwrap();
        }
    }

    async fn a_stop_in_the_middle_of_load_loses_nothing_that_was_acknowledged(backend: Backend) {
        let (url, directory) = database(backend).await;
        let process = Process::start(&url, &[]).await;
        let write_key = a_source(&process).await;
        let acknowledged = Arc::new(AtomicU32::new(0));
        let senders: Vec<_> = (0..8)
            .map(|sender| {
                let (base, write_key, acknowledged) = (process.base.clone(), write_key.clone(), acknowledged.clone());
                tokio::spawn(async move {
                    let client = reqwest::Client::new();
                    let mut kept = Vec::new();
                    for number in 0.. {
                        let ids: Vec<String> = (0..5).map(|item| format!("m-{sender}-{number}-{item}")).collect();
                        let messages = ids.iter().map(|id| json!({"type": "track", "event": "Sent", "userId": format!("u-{sender}"), "messageId": id}));
                        let batch = json!({"batch": messages.collect::<Vec<_>>()});
                        let request = client.post(format!("{base}/v1/batch")).basic_auth(&write_key, Some("")).json(&batch);
                        match request.send().await {
                            Ok(answer) if answer.status() == StatusCode::OK => {
                                kept.extend(ids);
                                acknowledged.fetch_add(1, Ordering::SeqCst);
                            }
                            _ => break,
                        }
                    }
                    kept
                })
            })
            .collect();
        eventually("the load flows", || async { acknowledged.load(Ordering::SeqCst) > 40 }).await;
        process.signal("TERM");
        let mut kept = Vec::new();
        for sender in senders {
            kept.extend(sender.await.unwrap());
        }
        let (code, log) = tokio::task::spawn_blocking(|| process.finished()).await.unwrap();
        assert_eq!(code, Some(0), "{log}");
        let stored = texts(&url, "SELECT message_id FROM event").await;
        let distinct: HashSet<&String> = stored.iter().collect();
        assert_eq!(distinct.len(), stored.len(), "each once");
        let lost: Vec<_> = kept.iter().filter(|id| !distinct.contains(id)).collect();
        assert!(lost.is_empty() && kept.len() > 200, "of {} acknowledged are lost: {lost:?}", kept.len());
        std::fs::remove_dir_all(directory).unwrap();
    }

    async fn the_commands_set_a_server_up(backend: Backend) {
        let (url, directory) = empty_database(backend).await;
        let all = migrations();

        let (out, err, code) = run(&url, &["migrate", "--check"]);
        assert_eq!((out.as_str(), code), ("", Some(1)));
        if backend == Backend::Sqlite {
            assert!(err.starts_with("tributary: to be applied: everything, there is no database at sqlite://"), "{err}");
            let (out, _, code) = run(&url, &["doctor"]);
            assert!(code == Some(0) && out.starts_with("ok      there is no database at sqlite://"), "{out}");
            let file = url.strip_prefix("sqlite://").unwrap();
            assert!(!std::path::Path::new(file).exists(), "looking makes no file");
            std::fs::write(file, "").unwrap();
        }
        let (_, err, _) = run(&url, &["migrate", "--check"]);
        assert!(err.starts_with("tributary: to be applied: m20261122_000001_installation, "), "{err}");
        let (out, _, code) = run(&url, &["doctor"]);
        if backend == Backend::Postgres {
            assert_eq!(code, Some(1));
            assert!(out.contains(&format!("PROBLEM schema is {all} migrations behind: run `tributary migrate`")), "{out}");
        } else {
            assert_eq!(code, Some(0));
            assert!(out.contains(&format!("ok      schema: `serve` will apply {all} migrations")), "{out}");
        }
        let (out, err, code) = run(&url, &["migrate"]);
        assert!(out.starts_with(&format!("applied {all} migrations: m20261122_000001_installation, ")), "{out}{err}");
        assert_eq!(code, Some(0));
        for arguments in [&["migrate"][..], &["migrate", "--check"]] {
            assert_eq!(run(&url, arguments), ("the schema is up to date\n".to_owned(), String::new(), Some(0)));
        }

        let (out, _, code) = run(&url, &["source", "add", "--key", "web", "--name", "Web shop", "--channel", "web", "--trust", "7"]);
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!((code, lines.len(), lines[0], lines[2]), (Some(0), 3, "source    web", "Keep the write key: it is not shown again."));
        let write_key = lines[1].strip_prefix("write key ").unwrap().to_owned();
        let own = "a-key-the-tills-have";
        let (out, _, _) = run(&url, &["source", "add", "--key", "till", "--channel", "POS", "--write-key", own]);
        assert_eq!(out.lines().nth(1), Some("write key a-key-the-tills-have"));
        let (out, err, code) = run(&url, &["source", "add", "--key", "web", "--channel", "web"]);
        assert_eq!((out.as_str(), err.as_str(), code), ("", "tributary: a source with the key \"web\" exists already\n", Some(1)));
        let (_, err, code) = run(&url, &["source", "add", "--key", "fax", "--channel", "fax"]);
        assert!(err.contains("use web, app, pos, crm, email, call-centre, social, import or other"), "{err}");
        assert_eq!(code, Some(2));
        let rows = |out: &str| -> Vec<String> {
            out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
        };
        let (out, _, _) = run(&url, &["source", "list"]);
        assert_eq!(rows(&out), ["key channel trust state name", "till Pos 0 enabled till", "web Web 7 enabled Web shop"]);

        let made = |arguments: &[&str]| {
            let (out, err, code) = run(&url, &[&["key", "create"], arguments].concat());
            assert_eq!(code, Some(0), "{err}");
            let mut lines = out.lines();
            let id = lines.next().unwrap().strip_prefix("id  ").unwrap().to_owned();
            let key = lines.next().unwrap().strip_prefix("key ").unwrap().to_owned();
            assert_eq!(lines.next(), Some("Keep the key: it is not shown again."));
            (id, key)
        };
        let (id, key) = made(&["--name", "back office", "--scope", "read", "--scope", "read:pii", "--expires", "2999-01-01"]);
        let (admin_id, admin) = made(&["--name", "first admin", "--scope", "admin"]);
        let (_, err, code) = run(&url, &["key", "create", "--name", "late", "--scope", "read", "--expires", "2020-01-01"]);
        assert_eq!((err.as_str(), code), ("tributary: expiresAt: must lie in the future\n", Some(1)));

        let (out, _, code) = run(&url, &["doctor"]);
        assert_eq!(code, Some(0), "{out}");
        for line in ["schema is up to date", "sources are set up", "a key is set up"] {
            assert!(out.lines().any(|own| own == format!("ok      {line}")), "{out}");
        }
        let durable = if backend == Backend::Postgres { "ok      fsync = on" } else { "ok      synchronous = 2" };
        assert!(out.contains(durable), "{out}");

        // What the commands made works in a server without any other key.
        let process = Process::start(&url, &[("TRIBUTARY_AUTH__ADMIN_KEY", ""), ("TRIBUTARY_DATABASE__MIGRATE", "never")]).await;
        let (status, body) = graphql(&process, &key, "{ sources { nodes { key trust channel } } }").await;
        let expected = json!([{"key": "till", "trust": 0, "channel": "POS"}, {"key": "web", "trust": 7, "channel": "WEB"}]);
        assert_eq!((status, &body["data"]["sources"]["nodes"]), (StatusCode::OK, &expected));
        assert_eq!(graphql(&process, &admin, "{ apiKeys { nodes { id } } }").await.1["errors"], Value::Null);
        for key in [write_key.as_str(), own] {
            let request = reqwest::Client::new().post(format!("{}/v1/track", process.base)).basic_auth(key, Some(""));
            let answer = request.json(&json!({"event": "Visited", "userId": "u"})).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
        }
        drop(process);

        assert_eq!(run(&url, &["key", "revoke", &id]), (format!("revoked {id}\n"), String::new(), Some(0)));
        assert_eq!(run(&url, &["key", "revoke", &id]).0, format!("{id} was revoked before\n"));
        let (_, err, code) = run(&url, &["key", "revoke", "nobody"]);
        assert_eq!((err.as_str(), code), ("tributary: there is no such key\n", Some(1)));
        let mut expected = [
            format!("{id} …{} read,read:pii revoked back office", &key[key.len() - 4..]),
            format!("{admin_id} …{} admin active first admin", &admin[admin.len() - 4..]),
        ];
        expected.sort();
        let listed = rows(&run(&url, &["key", "list"]).0);
        assert_eq!((listed[0].as_str(), &listed[1..]), ("id ends scopes state name", &expected[..]));
        std::fs::remove_dir_all(directory).unwrap();
    }

    async fn a_database_of_a_newer_version_is_left_alone(backend: Backend) {
        let (url, directory) = empty_database(backend).await;
        assert_eq!(run(&url, &["migrate"]).2, Some(0));
        execute(&url, "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m29990101_000001_tomorrow', 0)").await;
        let complaint = "the database belongs to a newer version of tributary (it has the migration m29990101_000001_tomorrow): use that version";
        for arguments in [&["serve", "--bind", "127.0.0.1:0"][..], &["migrate"], &["migrate", "--check"], &["source", "list"], &["key", "list"]] {
            let (out, err, code) = run(&url, arguments);
            assert_eq!((out.as_str(), err, code), ("", format!("tributary: {complaint}\n"), Some(1)), "{arguments:?}");
        }
        let (out, _, code) = run(&url, &["doctor"]);
        assert!(code == Some(1) && out.contains(&format!("PROBLEM {complaint}")), "{out}");
        std::fs::remove_dir_all(directory).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_the_server_at_once() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (url, directory) = database(Backend::Sqlite).await;
    let process = Process::start(&url, &[]).await;
    let address = process.base.strip_prefix("http://").unwrap().to_owned();
    // A request whose body does not end holds the server for the half minute it is allowed.
    let mut held = tokio::net::TcpStream::connect(&address).await.unwrap();
    let head = "POST /v1/track HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 1000\r\n\r\n";
    held.write_all(head.as_bytes()).await.unwrap();
    let mut begun = [0; 12];
    held.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 100", "the server reads the body");
    process.signal("TERM");
    eventually("the port is closed", || async {
        tokio::net::TcpStream::connect(&address).await.is_err()
    })
    .await;
    let alive = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
    assert!(!alive.contains(") Z "), "it waits for the request");
    let begin = Instant::now();
    process.signal("TERM");
    let (code, log) = tokio::task::spawn_blocking(|| process.finished()).await.unwrap();
    assert_eq!(code, Some(1));
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert!(log.ends_with("tributary: stopped at once by a second signal\n"), "{log}");
    drop(held);
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_under_way_is_answered_before_the_server_stops() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (url, directory) = database(Backend::Sqlite).await;
    let process = Process::start(&url, &[]).await;
    let write_key = a_source(&process).await;
    let address = process.base.strip_prefix("http://").unwrap().to_owned();
    let body = json!({"writeKey": write_key, "event": "Late", "userId": "u", "messageId": "the-late-one"}).to_string();
    let mut held = tokio::net::TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "POST /v1/track HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    held.write_all(head.as_bytes()).await.unwrap();
    let mut begun = [0; 25];
    held.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 100 Continue\r\n\r\n");
    process.signal("TERM");
    eventually("the port is closed", || async {
        tokio::net::TcpStream::connect(&address).await.is_err()
    })
    .await;
    held.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    held.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with(r#"{"success":true}"#),
        "{answer}"
    );
    let (code, log) = tokio::task::spawn_blocking(|| process.finished()).await.unwrap();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(texts(&url, "SELECT message_id FROM event").await, ["the-late-one"]);
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_is_migrated_when_its_operator_says_so() {
    let (url, directory) = empty_database(Backend::Postgres).await;
    let behind = format!(
        "tributary: the database's schema is {} migrations behind this version: run `tributary migrate` first\n",
        migrations()
    );
    for arguments in [&["serve", "--bind", "127.0.0.1:0"][..], &["source", "list"], &["key", "list"]] {
        assert_eq!(
            run(&url, arguments),
            (String::new(), behind.clone(), Some(1)),
            "{arguments:?}"
        );
    }
    let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(texts(&url, tables).await, Vec::<String>::new(), "nothing was touched");
    assert_eq!(run(&url, &["migrate"]).2, Some(0));
    let process = Process::start(&url, &[("TRIBUTARY_DATABASE__MIGRATE", "embedded")]).await;
    assert_eq!(page(&process, "/readyz").await.0, StatusCode::OK);
    drop(process);
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_cannot_be_had_is_named_with_the_reason_and_without_its_password() {
    let server = tokio::task::spawn_blocking(postgres).await.unwrap();
    let nobody = format!("127.0.0.1:{}/shop", free_port());
    let url = format!("postgres://ada:secret-word@{nobody}?sslmode=disable");
    let variables = [
        ("TRIBUTARY_DATABASE__URL", url.as_str()),
        ("TRIBUTARY_DATABASE__ACQUIRE_TIMEOUT_MS", "300"),
    ];
    for arguments in [
        &["serve", "--bind", "127.0.0.1:0"][..],
        &["doctor"],
        &["migrate"],
        &["source", "list"],
    ] {
        let (out, err, code) = told(command(arguments, &variables));
        let expected = format!(
            "tributary: cannot open the database postgres://{nobody}: the database does not answer: \
             Connection Error: no connection within 300 ms: is it running there, and has it connections to spare?\n"
        );
        assert_eq!((out.as_str(), err, code), ("", expected, Some(1)), "{arguments:?}");
    }

    let (_, err, code) = run(&server.url("no_such_database"), &["doctor"]);
    let place = server.url("no_such_database").replace("postgres@", "");
    assert_eq!(code, Some(1));
    assert!(
        err.starts_with(&format!("tributary: cannot open the database {place}: ")),
        "{err}"
    );
    assert_eq!(
        err.matches("database \"no_such_database\" does not exist").count(),
        1,
        "{err}"
    );

    let (_, err, code) = run("sqlite:///no/such/folder/tributary.db", &["doctor"]);
    assert_eq!(code, Some(1));
    assert!(
        err.starts_with("tributary: cannot open the database sqlite:///no/such/folder/tributary.db: "),
        "{err}"
    );
    assert_eq!(err.matches("unable to open database file").count(), 1, "{err}");
}

#[test]
fn everything_wrong_with_the_settings_is_told_at_once() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("settings-{}.toml", std::process::id()));
    std::fs::write(
        &file,
        "[server]\nprot = 8080\n[databse]\nurl = \"sqlite::memory:\"\n[log]\nlevel = 7\n",
    )
    .unwrap();
    let name = file.display();
    let output = command(
        &["serve", "--bind", "nowhere", "--config", file.to_str().unwrap()],
        &[
            ("TRIBUTARY_SERVER__PORT", "8080"),
            ("TRIBUTARY_INGEST__COMMITTERS", "many"),
            ("TRIBUTARY_DATABASE__URL", "mysql://ada:secret-word@db/shop"),
            ("TRIBUTARY_AUTH__ADMIN_KEY", "secret-but-short"),
        ],
    );
    let (out, err, code) = told(output);
    assert_eq!((out.as_str(), code), ("", Some(1)));
    let mut lines: Vec<&str> = err.lines().collect();
    assert_eq!(lines.remove(0), "tributary: the settings are not sound:");
    lines.sort_unstable();
    let early = [
        "  - TRIBUTARY_INGEST__COMMITTERS: ingest.committers must be a whole number".to_owned(),
        "  - TRIBUTARY_SERVER__PORT: there is no setting server.port; config/default.toml lists them all".to_owned(),
        format!("  - {name}: log.level has another type than its default"),
        format!("  - {name}: there is no section [databse]"),
        format!("  - {name}: there is no setting server.prot"),
    ];
    let mut expected: Vec<String> = early.to_vec();
    expected.sort_unstable();
    assert_eq!(lines, expected);
    assert!(!err.contains("secret"), "{err}");

    // Where every value has its type, the values are looked at as well.
    let output = command(
        &["serve", "--bind", "nowhere"],
        &[
            ("TRIBUTARY_SERVER__PORT", "8080"),
            ("TRIBUTARY_DATABASE__URL", "mysql://ada:secret-word@db/shop"),
            ("TRIBUTARY_AUTH__ADMIN_KEY", "secret-but-short"),
            ("TRIBUTARY_LOG__FORMAT", "xml"),
        ],
    );
    let (out, err, code) = told(output);
    assert_eq!((out.as_str(), code), ("", Some(1)));
    let expected = "tributary: the settings are not sound:
  - TRIBUTARY_SERVER__PORT: there is no setting server.port; config/default.toml lists them all
  - server.bind must be an address and a port such as 127.0.0.1:8080
  - auth.admin_key must have 32 characters or more
  - log.format must be json or text
  - database.url must begin with sqlite: or postgres://
";
    assert_eq!(err, expected);
    let (_, err, code) = told(command(&["doctor", "--config", "/no/such/file.toml"], &[]));
    assert!(code == Some(1) && err.contains("/no/such/file.toml: No such file"), "{err}");
    std::fs::remove_file(file).unwrap();
}

#[test]
fn the_schema_is_printed_without_a_database() {
    let output = command(&["schema"], &[("TRIBUTARY_DATABASE__URL", "mysql://nonsense")]);
    let checked_in = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("schema.graphql")).unwrap();
    assert_eq!(told(output), (checked_in, String::new(), Some(0)));
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let (out, _, code) = told(command(&["--help"], &[]));
    assert_eq!(code, Some(0));
    for line in [
        "serve Run the server",
        "demo Load an invented company into the database, or write it into files",
        "migrate Bring the database's schema up to date",
        "schema Print the GraphQL schema",
        "source The systems that send data",
        "key Keys of servers and operators",
        "erasures The ledger of who was erased: written out, and carried out again on a restored database",
        "doctor Is this installation sound? Exit status 1 when it is not",
    ] {
        let is_there = |own: &str| own.split_whitespace().eq(line.split(' '));
        assert!(out.lines().any(is_there), "{line} in\n{out}");
    }
    let commands = "serve|demo|migrate|schema|doctor|source add|source list|key create|key list|key revoke|erasures export|erasures replay|erasures vacuum";
    for name in commands.split('|') {
        let arguments: Vec<&str> = name.split(' ').chain(["--help"]).collect();
        let (out, _, code) = told(command(&arguments, &[]));
        assert_eq!(code, Some(0), "{name}");
        assert!(out.contains(&format!("Usage: tributary {name}")), "{out}");
        let examples = out.split("Example").nth(1).unwrap_or_else(|| panic!("{name} has no example"));
        assert!(examples.contains(&format!("  tributary {name}")), "{out}");
    }
    let (_, err, code) = told(command(&["sing"], &[]));
    assert!(code == Some(2) && err.contains("unrecognized subcommand 'sing'"), "{err}");
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (url, directory) = database(Backend::Sqlite).await;
    let address = taken.local_addr().unwrap().to_string();
    let (out, err, code) = run(&url, &["serve", "--bind", &address]);
    assert_eq!((out.as_str(), code), ("", Some(1)));
    assert!(
        err.contains(&format!(
            "tributary: cannot listen on {address}: another program listens there; choose another port"
        )),
        "{err}"
    );
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_and_started_again_goes_on_where_it_was() {
    let (url, directory) = database(Backend::Sqlite).await;
    let mut process = Process::start(&url, &[]).await;
    let write_key = a_source(&process).await;
    for id in ["first", "second"] {
        let request = reqwest::Client::new()
            .post(format!("{}/v1/track", process.base))
            .basic_auth(&write_key, Some(""));
        let message = json!({"event": "Visited", "userId": "u", "messageId": id});
        assert_eq!(request.json(&message).send().await.unwrap().status(), StatusCode::OK);
        process.kill();
        process.restart().await;
    }
    process.kill();
    let mut stored = texts(&url, "SELECT message_id FROM event").await;
    stored.sort();
    assert_eq!(stored, ["first", "second"]);
    std::fs::remove_dir_all(directory).unwrap();
}
