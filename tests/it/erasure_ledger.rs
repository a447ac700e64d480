//! A backup brings people back who were erased since; the ledger takes them out again. And what the files of PostgreSQL keep.

use super::erasure::{assert_clean, customer_by, erase, identify, is_in, mentioning, mutate, send, text, texts};
use super::support::app::{Backend, TestApp};
use super::support::process::command;
use super::support::servers;
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The binary on a database, with PostgreSQL's programs within reach.
fn tributary(url: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let path = format!(
        "{}:{}",
        servers::postgres_programs().display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let output = command(arguments, &[("TRIBUTARY_DATABASE__URL", url), ("PATH", &path)]);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn sound(url: &str, arguments: &[&str]) -> String {
    let (code, out, err) = tributary(url, arguments);
    assert_eq!(code, Some(0), "{arguments:?}\n{out}{err}");
    out
}

async fn url_of(app: &TestApp) -> String {
    match app.server.services.store.is_postgres() {
        true => servers::postgres().url(&texts(app, "SELECT current_database()::text").await[0]),
        false => {
            let file = texts(app, "SELECT file FROM pragma_database_list WHERE name = 'main'").await;
            format!("sqlite://{}", file[0])
        }
    }
}

/// As docs/backup.md says.
async fn restore(app: &TestApp, backup: &Path) -> String {
    if !app.server.services.store.is_postgres() {
        let place = backup.with_extension("restored");
        std::fs::copy(backup, &place).unwrap();
        return format!("sqlite://{}", place.display());
    }
    let name = format!("{}_restored", texts(app, "SELECT current_database()::text").await[0]);
    let writer = app.server.services.store.writer();
    writer.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
    let url = servers::postgres().url(&name);
    let mut restore = Command::new(servers::postgres_programs().join("pg_restore"));
    restore.args(["--no-owner", "--exit-on-error", "--dbname", &url]).arg(backup);
    let output = restore.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    url
}

fn folder(backend: Backend) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("ledger-{}-{backend:?}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

async fn a_restored_backup_forgets_again_whom_the_ledger_names(backend: Backend) {
    let app = TestApp::new(backend).await;
    let (folder, url) = (folder(backend), url_of(&app).await);
    let key = app.source("web", "WEB").await;
    let id = async |app: &TestApp, user: &str| customer_by(app, "USER_ID", user).await;
    send(
        &app,
        &key,
        json!([identify(
            "ada-1",
            "a1",
            json!({"email": "ada@example.test", "note": "canary-ada"})
        )]),
    )
    .await;
    send(
        &app,
        &key,
        json!([identify(
            "eve-1",
            "e1",
            json!({"email": "eve@example.test", "note": "canary-eve"})
        )]),
    )
    .await;
    // Bob and Carol were taken for one person when the backup was made.
    send(
        &app,
        &key,
        json!([identify(
            "carol-1",
            "c1",
            json!({"email": "carol@example.test", "note": "of carol"})
        )]),
    )
    .await;
    send(
        &app,
        &key,
        json!([identify(
            "bob-1",
            "b1",
            json!({"email": "bob@example.test", "note": "canary-bob"})
        )]),
    )
    .await;
    let (bob, carol) = (id(&app, "bob-1").await.unwrap(), id(&app, "carol-1").await.unwrap());
    let merged = mutate(
        &app,
        "customerMerge",
        json!({"into": carol, "from": bob, "reason": "one"}),
        "decision { id }",
    )
    .await;
    let backup = folder.join("backup");
    sound(&url, &["backup", "--out", backup.to_str().unwrap()]);

    let revoked = json!({"id": merged["decision"]["id"], "reason": "two"});
    assert_eq!(
        mutate(&app, "identityDecisionRevoke", revoked, "transaction").await["userErrors"],
        json!([])
    );
    // Dan came after the backup. Eve went, and came back.
    send(
        &app,
        &key,
        json!([identify("dan-1", "d1", json!({"email": "dan@example.test"}))]),
    )
    .await;
    for user in ["ada-1", "bob-1", "dan-1", "eve-1"] {
        let customer = id(&app, user).await.unwrap();
        erase(&app, &customer).await;
    }
    app.run_due_jobs().await;
    let lifted = json!({"identifier": {"kind": "EMAIL", "value": "eve@example.test"}, "reason": "asked"});
    assert_eq!(
        mutate(&app, "suppressionLift", lifted, "transaction").await["userErrors"],
        json!([])
    );
    let ledger = folder.join("ledger.ndjson");
    let written = sound(&url, &["erasures", "export"]);
    assert_eq!(written.lines().count(), 6, "{written}");
    for word in ["ada", "bob", "dan", "eve", "example.test"] {
        assert!(
            !written.contains(&format!("\"{word}-")) && !written.contains(&format!("{word}@")),
            "{written}"
        );
    }
    std::fs::write(&ledger, &written).unwrap();
    let suppressed = app.count("suppression").await;
    let ledger = ledger.to_str().unwrap();

    let restored = restore(&app, &backup).await;
    let out = sound(&restored, &["erasures", "replay", ledger]);
    assert!(
        out.starts_with(
            "4 erasures in the ledger: 0 were known here, 4 carried out again (3 customers, 3 records); 0 suppressions"
        ),
        "{out}"
    );
    let again = sound(&restored, &["erasures", "replay", ledger]);
    assert!(
        again.starts_with("4 erasures in the ledger: 4 were known here, 0 carried out again"),
        "{again}"
    );
    sound(&restored, &["rebuild", "--check"]);
    let mut same = sound(&restored, &["erasures", "export"]);
    let bare = |text: &str| -> Vec<Value> {
        text.lines()
            .skip(1)
            .map(|line| {
                let mut line: Value = serde_json::from_str(line).unwrap();
                line["finishedAt"] = Value::Null;
                line
            })
            .collect()
    };
    assert_eq!(bare(&same), bare(&written), "the ledger is what it was");

    // Files that are no ledger of this installation change nothing.
    let other = TestApp::new(Backend::Sqlite).await;
    let sql = "UPDATE installation SET value = REPLACE(value, '1', '2') WHERE name = 'id_key'";
    other.server.services.store.writer().execute_unprepared(sql).await.unwrap();
    let (code, _, err) = tributary(&url_of(&other).await, &["erasures", "replay", ledger]);
    assert!(code == Some(1) && err.contains("belongs to another installation"), "{err}");
    assert_eq!(other.count("erasure").await, 0);
    other.stop().await;
    same.truncate(same.trim_end().rfind('\n').unwrap());
    let cut = folder.join("cut.ndjson");
    std::fs::write(&cut, same).unwrap();
    let (code, _, err) = tributary(&restored, &["erasures", "replay", cut.to_str().unwrap()]);
    assert!(code == Some(1) && err.contains("ends early, after 4 erasures"), "{err}");

    let now = TestApp::with(backend, |settings| settings.database.url = restored).await;
    // The commands went by the clock of this machine.
    now.clock.advance(std::time::Duration::from_secs(86_400 * 10_000));
    assert_clean(&now, "restored").await;
    for word in ["canary-ada", "canary-bob", "canary-eve", "ada@", "bob@", "eve@"] {
        assert_eq!(mentioning(&now, word).await, BTreeSet::new(), "{word}");
    }
    assert_eq!(now.count("suppression").await, suppressed);
    assert!(id(&now, "carol-1").await.is_some(), "who was not erased is there");
    assert_eq!(now.count("customer").await, 1);
    let jobs = now.ask(r#"{ customers(first: 5) { nodes { records { traits } } } }"#).await;
    assert!(jobs.to_string().contains("of carol"), "{jobs}");
    let receipts = texts(
        &now,
        "SELECT CAST(result AS TEXT) FROM job WHERE kind = 'customer_erase' AND state = 3",
    )
    .await;
    assert_eq!(receipts.len(), 4, "{receipts:?}");
    for receipt in receipts {
        let receipt: Value = serde_json::from_str(&receipt).unwrap();
        assert_eq!(
            (&receipt["reason"], &receipt["replayed"]),
            (&json!("request 4711"), &json!(true)),
            "{receipt}"
        );
    }
    for user in ["ada-1", "bob-1", "dan-1"] {
        send(
            &now,
            &key,
            json!([identify(user, &format!("late-{user}"), json!({"note": "late"}))]),
        )
        .await;
        assert_eq!(id(&now, user).await, None, "{user}");
    }
    send(
        &now,
        &key,
        json!([{"type": "identify", "anonymousId": "tab", "messageId": "back", "traits": {"email": "eve@example.test"}}]),
    )
    .await;
    assert!(
        customer_by(&now, "EMAIL", "eve@example.test").await.is_some(),
        "what was lifted stays lifted"
    );
    assert_clean(&now, "and goes on").await;
    now.stop().await;
    app.stop().await;
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_file_forgets_again_whom_the_ledger_names() {
    a_restored_backup_forgets_again_whom_the_ledger_names(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_dump_forgets_again_whom_the_ledger_names() {
    a_restored_backup_forgets_again_whom_the_ledger_names(Backend::Postgres).await;
}

/// The files of this database of the server, without the write-ahead log, which is elsewhere.
async fn files_of_postgres(app: &TestApp) -> Vec<u8> {
    // Over a connection of its own: the server under test waits for no statement as long as a checkpoint of a busy machine may take.
    let checkpointing = sea_orm::Database::connect(servers::postgres().admin_url()).await.unwrap();
    checkpointing.execute_unprepared("CHECKPOINT").await.unwrap();
    checkpointing.close().await.unwrap();
    let folder = texts(app, "SELECT current_setting('data_directory')").await.remove(0);
    let oid = texts(app, "SELECT oid::text FROM pg_database WHERE datname = current_database()")
        .await
        .remove(0);
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(format!("{folder}/base/{oid}")).unwrap() {
        let path = entry.unwrap().path();
        bytes.extend(std::fs::read(&path).unwrap_or_default());
        bytes.push(0);
    }
    bytes.make_ascii_lowercase();
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_written_anew_hold_nothing_of_who_was_erased() {
    let app = TestApp::new(Backend::Postgres).await;
    let key = app.source("web", "WEB").await;
    let canary = "canary7391@example.test";
    send(&app, &key, json!([identify("user-canary7391", "a1", json!({"email": canary, "firstName": "canary7391"})),
        {"type": "track", "event": "canary7391", "userId": "user-canary7391", "messageId": "a2", "properties": {"x": "canary7391"}}])).await;
    send(
        &app,
        &key,
        json!([identify("bob", "b1", json!({"email": "bob@example.test"}))]),
    )
    .await;
    app.server
        .services
        .store
        .writer()
        .execute_unprepared("ANALYZE")
        .await
        .unwrap();
    let id = text(&json!(customer_by(&app, "EMAIL", canary).await.unwrap()));
    assert!(is_in(&files_of_postgres(&app).await, "canary7391"), "the files are read");
    erase(&app, &id).await;
    app.run_due_jobs().await;
    assert_eq!(mentioning(&app, "canary7391").await, BTreeSet::new());
    sound(&url_of(&app).await, &["erasures", "vacuum"]);
    let bytes = files_of_postgres(&app).await;
    assert!(is_in(&bytes, "bob@example.test"), "the files are read");
    assert!(!is_in(&bytes, "canary7391"), "nothing in the files");
    assert_clean(&app, "afterwards").await;
    app.stop().await;
}
