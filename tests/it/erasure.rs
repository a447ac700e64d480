//! Erasure: reads stop at once, nothing of the person is left in any table or file, later messages are refused, and the history of
//! everybody else stays as it was.

use super::support::app::{Backend, eventually};
use super::support::{TestApp, on_both};
use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tributary::identity::Rules;
use tributary::pipeline::erase::tables::TABLES;
use tributary::pipeline::{jobs, rebuild};

pub async fn assert_clean(app: &TestApp, when: &str) {
    let services = &app.server.services;
    let rules = Rules::parse(services.rules.configured()).unwrap();
    let mut found = Vec::new();
    rebuild::check(
        &services.store,
        Arc::new(rules),
        (services.value.clone(), services.now()),
        &mut found,
    )
    .await
    .unwrap();
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{when}:\n{}", found.join("\n"));
}

pub async fn texts(app: &TestApp, sql: &str) -> Vec<String> {
    let store = &app.server.services.store;
    let rows = store
        .reader()
        .query_all_raw(Statement::from_string(store.backend(), sql))
        .await
        .expect(sql);
    rows.iter().map(|row| row.try_get_by_index(0).expect(sql)).collect()
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}

pub async fn customer_by(app: &TestApp, kind: &str, value: &str) -> Option<String> {
    let query = format!(r#"{{ customerBy(identifier: {{ kind: {kind}, value: "{value}" }}) {{ id }} }}"#);
    app.ask(&query).await["customerBy"]["id"].as_str().map(str::to_owned)
}

pub async fn erase_with(app: &TestApp, id: &str, reason: &str) -> Value {
    app.clock.advance(Duration::from_secs(1));
    let query = "mutation($input: CustomerEraseInput!) { customerErase(input: $input) { job { id state } transaction userErrors { code field message } } }";
    app.ask_with(query, json!({"input": {"id": id, "reason": reason}})).await["customerErase"].clone()
}

/// Erases, which must not be refused; answers the job's id.
pub async fn erase(app: &TestApp, id: &str) -> String {
    let answer = erase_with(app, id, "request 4711").await;
    assert_eq!(answer["userErrors"], json!([]), "{answer}");
    text(&answer["job"]["id"])
}

pub async fn receipt(app: &TestApp, job: &str) -> BTreeMap<String, i64> {
    let job = app.ask(&format!(r#"{{ job(id: "{job}") {{ state result error }} }}"#)).await["job"].clone();
    assert_eq!(job["state"], "SUCCEEDED", "{job}");
    let tables = job["result"]["tables"].as_array().unwrap();
    let names: Vec<String> = tables.iter().map(|table| text(&table["table"])).collect();
    assert_eq!(
        names,
        TABLES.iter().map(|table| table.name).collect::<Vec<_>>(),
        "every table, in order"
    );
    tables
        .iter()
        .map(|table| (text(&table["table"]), table["rows"].as_i64().unwrap()))
        .collect()
}

pub async fn mutate(app: &TestApp, name: &str, input: Value, fields: &str) -> Value {
    app.clock.advance(Duration::from_secs(1));
    let (first, rest) = name.split_at(1);
    let query = format!(
        "mutation($input: {}{rest}Input!) {{ {name}(input: $input) {{ {fields} userErrors {{ code message }} }} }}",
        first.to_uppercase()
    );
    app.ask_with(&query, json!({"input": input})).await[name].clone()
}

/// Sends a batch a second later.
pub async fn send(app: &TestApp, key: &str, messages: Value) {
    app.clock.advance(Duration::from_secs(1));
    app.batch(key, messages).await;
}

pub fn identify(user: &str, message: &str, traits: Value) -> Value {
    json!({"type": "identify", "userId": user, "messageId": message, "traits": traits})
}

/// Every row of every table as text.
async fn dump(app: &TestApp) -> Vec<(String, String)> {
    let mut dump = Vec::new();
    for table in TABLES {
        let sql = match app.server.services.store.is_postgres() {
            true => format!("SELECT t::text FROM {} t", table.name),
            false => {
                let columns = texts(app, &format!("SELECT name FROM pragma_table_info('{}')", table.name)).await;
                let columns: Vec<String> = columns
                    .iter()
                    .map(|column| format!("COALESCE(CAST({column} AS TEXT), '')"))
                    .collect();
                format!("SELECT CAST({} AS BLOB) FROM {}", columns.join(" || '|' || "), table.name)
            }
        };
        let store = &app.server.services.store;
        for row in store
            .reader()
            .query_all_raw(Statement::from_string(store.backend(), &sql))
            .await
            .expect(&sql)
        {
            let row = match store.is_postgres() {
                true => row.try_get_by_index::<String>(0).unwrap(),
                false => String::from_utf8_lossy(&row.try_get_by_index::<Vec<u8>>(0).unwrap()).into_owned(),
            };
            dump.push((table.name.to_owned(), row));
        }
    }
    dump.sort();
    dump
}

pub async fn mentioning(app: &TestApp, canary: &str) -> BTreeSet<String> {
    let rows = dump(app).await.into_iter();
    rows.filter(|(_, row)| row.to_lowercase().contains(canary))
        .map(|(table, _)| table)
        .collect()
}

/// The files of an SQLite database, as they are.
async fn files(app: &TestApp) -> Vec<u8> {
    let path = texts(app, "SELECT file FROM pragma_database_list WHERE name = 'main'")
        .await
        .remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend(std::fs::read(format!("{path}-wal")).unwrap_or_default());
    bytes.to_ascii_lowercase()
}

pub fn is_in(bytes: &[u8], canary: &str) -> bool {
    bytes.windows(canary.len()).any(|window| window == canary.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_and_every_column_that_can_hold_a_text_is_listed_with_what_erasure_does_there() {
    let app = TestApp::new(Backend::Postgres).await;
    let sql = "SELECT table_name || '.' || column_name FROM information_schema.columns
        WHERE table_schema = 'public' AND data_type NOT IN ('uuid', 'bigint', 'smallint', 'integer', 'boolean')";
    let stored: BTreeSet<String> = texts(&app, sql).await.into_iter().collect();
    let listed = TABLES
        .iter()
        .flat_map(|table| table.columns.iter().map(|(column, _)| format!("{}.{column}", table.name)));
    assert_eq!(listed.collect::<BTreeSet<_>>(), stored);
    let sql = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'";
    let stored: BTreeSet<String> = texts(&app, sql).await.into_iter().collect();
    assert_eq!(
        TABLES.iter().map(|table| table.name.to_owned()).collect::<BTreeSet<_>>(),
        stored
    );
    // What is deleted by record has a record in each row.
    for table in TABLES
        .iter()
        .filter(|table| table.fate == tributary::pipeline::erase::tables::Fate::DeleteByRecord)
    {
        let sql = format!(
            "SELECT COUNT(*) FROM information_schema.columns WHERE table_name = '{}' AND column_name = 'record_id'",
            table.name
        );
        assert_eq!(app.scalar(&sql).await, 1, "{}", table.name);
    }
    app.stop().await;
}

const CANARY: &str = "canary7391";

/// The canary through every door there is.
async fn sing(app: &TestApp) -> (String, String) {
    let key = app.source("web", "WEB").await;
    let c = CANARY;
    send(app, &key, json!([
        {"type": "page", "name": format!("Page {c}"), "anonymousId": format!("anon-{c}"), "messageId": "m0",
         "context": {"page": {"url": format!("https://shop.test/?u={c}")}}},
        {"type": "identify", "userId": format!("user-{c}"), "anonymousId": format!("anon-{c}"), "messageId": format!("m1-{c}"),
         "traits": {"email": format!("  {c}@Example.TEST "), "phone": "+1 415 555 0199", "firstName": format!("First {c}"),
                    "note": {"deep": [c]}, format!("trait_{c}"): 1}},
        {"type": "track", "event": format!("Event {c}"), "userId": format!("user-{c}"), "messageId": "m2", "properties": {"x": c}},
        {"type": "group", "groupId": format!("group-{c}"), "userId": format!("user-{c}"), "messageId": "m3", "traits": {"name": c}},
        {"type": "alias", "previousId": format!("old-{c}"), "userId": format!("user-{c}"), "messageId": "m4"},
        {"type": "track", "event": "Order Completed", "userId": format!("user-{c}"), "messageId": "m5",
         "properties": {"order_id": format!("order-{c}"), "revenue": 10, "currency": "EUR",
                        "products": [{"product_id": format!("sku-{c}"), "name": format!("Album for {c}"), "price": 10}]}},
        {"type": "track", "event": "Order Refunded", "userId": format!("user-{c}"), "messageId": "m6",
         "properties": {"order_id": format!("order-{c}"), "total": 3}},
    ])).await;
    // An earlier value, overwritten.
    send(
        app,
        &key,
        json!([identify(
            &format!("user-{c}"),
            "m7",
            json!({"firstName": "Ada", "note": "short"})
        )]),
    )
    .await;
    // Refused, and listed with its text.
    app.send(
        &key,
        "/v1/batch",
        &json!({"batch": [
            {"type": "track", "userId": format!("user-{c}"), "messageId": "m8", "properties": {"why": format!("no name, {c}")}},
            {"type": "track", "event": "", "userId": format!("user-{c}")},
        ]}),
    )
    .await;
    let crm = mutate(
        app,
        "sourceCreate",
        json!({"key": "crm", "name": "CRM", "channel": "CRM"}),
        "source { id }",
    )
    .await;
    let crm = text(&crm["source"]["id"]);
    let items = json!([{"key": format!("crm-{c}"), "identifiers": [{"kind": "EMAIL", "value": format!("{c}@example.test")}],
        "traits": {"city": format!("{c} city")}, "events": [{"name": format!("Called {c}"), "properties": {"said": c}}],
        "purchases": [{"kind": "COMPLETED", "orderId": format!("till-{c}"), "amount": "5.00", "currency": "EUR",
                       "lines": [{"sku": format!("sku2-{c}"), "name": c, "quantity": 1, "price": "5.00"}]}]}]);
    let ingested = mutate(
        app,
        "recordsIngest",
        json!({"source": crm, "items": items}),
        "receipts { status customer { id } error { message } }",
    )
    .await;
    assert_eq!(ingested["receipts"][0]["status"], "ACCEPTED", "{ingested}");
    (key, crm)
}

on_both! {
    async fn a_canary_sent_through_every_door_is_found_nowhere_afterwards(app: TestApp) {
        let c = CANARY;
        let (key, _) = sing(&app).await;
        send(&app, &key, json!([identify("bob", "b1", json!({"email": "bob@example.test", "firstName": "Bob"})),
            json!({"type": "track", "event": "Product Viewed", "userId": "bob", "messageId": "b2"})])).await;
        let id = customer_by(&app, "EMAIL", &format!("{c}@example.test")).await.unwrap();
        let bob = customer_by(&app, "EMAIL", "bob@example.test").await.unwrap();
        // Decisions whose reasons name the person; one that put them together with somebody else for a while.
        let merged = mutate(&app, "customerMerge", json!({"into": bob, "from": id, "reason": format!("{c} is Bob")}), "decision { id }").await;
        let revoked = json!({"id": merged["decision"]["id"], "reason": format!("{c} is not Bob")});
        mutate(&app, "identityDecisionRevoke", revoked, "transaction").await;
        let phone = json!({"kind": "PHONE", "value": "+14155550199"});
        mutate(&app, "identifierBlock", json!({"identifier": phone, "reason": format!("the phone of {c}")}), "transaction").await;
        assert_clean(&app, "before").await;
        let before = mentioning(&app, c).await;
        for table in ["audit", "change", "customer", "event", "event_definition", "identifier", "identity_decision", "product", "purchase",
                      "record", "rejected_item", "trait_definition"] {
            assert!(before.contains(table), "the canary was in {table}: {before:?}");
        }
        let answer = erase_with(&app, &id, &format!("{c}@example.test wrote to us")).await;
        let job = text(&answer["job"]["id"]);
        assert_clean(&app, "before the job").await;
        app.run_due_jobs().await;
        let rows = receipt(&app, &job).await;
        for table in ["customer", "record", "link", "identifier", "event", "purchase", "purchase_line", "refund", "product", "change",
                      "rejected_item", "identity_decision", "event_definition", "trait_definition"] {
            assert!(rows[table] > 0, "{table}: {rows:?}");
        }
        assert_eq!(mentioning(&app, c).await, BTreeSet::new());
        assert_eq!(mentioning(&app, "4155550199").await, BTreeSet::new());
        app.server.services.catalogue.flush(&app.server.services.store).await.unwrap();
        assert_eq!(mentioning(&app, c).await, BTreeSet::new(), "nor does a later flush bring it back");
        if !app.server.services.store.is_postgres() {
            let bytes = files(&app).await;
            assert!(is_in(&bytes, "bob@example.test"), "the files are read");
            assert!(!is_in(&bytes, c), "nothing in the files");
            assert!(!is_in(&bytes, "4155550199"));
        }
        assert_clean(&app, "after the job").await;
        let names: Value = app.ask(&format!(r#"{{ customer(id: "{bob}") {{ displayName email }} }}"#)).await["customer"].clone();
        assert_eq!(names, json!({"displayName": "Bob", "email": "bob@example.test"}));
        app.stop().await;
    }

    async fn reads_stop_with_the_mutation_by_whatever_id(app: TestApp) {
        let key = app.source("web", "WEB").await;
        send(&app, &key, json!([identify("ada", "a1", json!({"email": "ada@example.test"}))])).await;
        send(&app, &key, json!([identify("ada2", "a2", json!({"firstName": "Ada"})),
            json!({"type": "track", "event": "Order Completed", "userId": "ada2", "messageId": "a3", "properties": {"order_id": "1", "revenue": 2}})])).await;
        send(&app, &key, json!([identify("bob", "b1", json!({"firstName": "Bob"}))])).await;
        let (one, two) = (customer_by(&app, "USER_ID", "ada").await.unwrap(), customer_by(&app, "USER_ID", "ada2").await.unwrap());
        mutate(&app, "customerMerge", json!({"into": one, "from": two, "reason": "one"}), "transaction").await;
        let data = app.ask(&format!(r#"{{ customer(id: "{two}") {{ records {{ id }} timeline(first: 10) {{ nodes {{ id }} }} }} }}"#)).await;
        let mut ids = vec![one.clone(), two.clone()];
        for list in [&data["customer"]["records"], &data["customer"]["timeline"]["nodes"]] {
            ids.extend(list.as_array().unwrap().iter().map(|node| text(&node["id"])));
        }
        assert!(ids.len() > 5, "{ids:?}");
        // By the id that was absorbed; both are gone.
        let job = erase(&app, &two).await;
        for id in &ids {
            let node = app.ask(&format!(r#"{{ node(id: "{id}") {{ id ... on IdentityDecision {{ reason }} }} }}"#)).await;
            // That something was decided stays told, in ids and codes.
            let left = if id.starts_with("dec_") { json!({"id": id, "reason": null}) } else { Value::Null };
            assert_eq!(node["node"], left, "{id}");
        }
        for id in [&one, &two] {
            assert_eq!(app.ask(&format!(r#"{{ customer(id: "{id}") {{ id }} }}"#)).await["customer"], Value::Null);
        }
        assert_eq!(customer_by(&app, "EMAIL", "ada@example.test").await, None);
        assert_eq!(customer_by(&app, "USER_ID", "ada").await, None);
        let all = app.ask("{ customers(first: 10) { totalCount nodes { displayName } } }").await;
        assert_eq!(all["customers"], json!({"totalCount": 1, "nodes": [{"displayName": "Bob"}]}));
        // Again, before and after the job, by either id: the same job and nothing new.
        let again = erase_with(&app, &one, "again").await;
        assert_eq!((text(&again["job"]["id"]), &again["transaction"], &again["userErrors"]), (job.clone(), &Value::Null, &json!([])));
        assert_clean(&app, "before the job").await;
        app.run_due_jobs().await;
        assert_eq!(text(&erase_with(&app, &two, "again").await["job"]["id"]), job);
        assert_eq!(app.count("erasure").await, 1);
        let rows = receipt(&app, &job).await;
        assert_eq!((rows["record"], rows["event"], rows["purchase"], rows["customer"]), (2, 3, 1, 1));
        assert_clean(&app, "after the job").await;
        // Whoever never was is refused, and so is a decision about those who are gone.
        let unknown = text(&erase_with(&app, "cus_AAAAAAAAAAAAAAAAAAAAAA", "who").await["userErrors"][0]["code"]);
        assert_eq!(unknown, "NOT_FOUND");
        let bob = customer_by(&app, "USER_ID", "bob").await.unwrap();
        let refused = mutate(&app, "customerMerge", json!({"into": bob, "from": one, "reason": "x"}), "transaction").await;
        assert_eq!(refused["userErrors"][0]["code"], "NOT_FOUND");
        app.stop().await;
    }

    async fn later_messages_of_the_person_are_dropped_and_listed_without_a_word_of_them(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let crm = mutate(&app, "sourceCreate", json!({"key": "crm", "name": "CRM", "channel": "CRM"}), "source { id }").await;
        let crm = text(&crm["source"]["id"]);
        let old = json!({"type": "identify", "userId": "ada", "anonymousId": "tablet", "messageId": "a1",
            "traits": {"email": "ada@example.test", "firstName": "Ada"}});
        let visit = json!({"type": "track", "event": "Seen", "anonymousId": "tablet", "messageId": "a2"});
        send(&app, &key, json!([old, visit])).await;
        let item = json!({"key": "77", "messageId": "i1", "traits": {"email": "ada@example.test", "city": "Bonn"},
            "events": [{"name": "Called"}]});
        mutate(&app, "recordsIngest", json!({"source": crm, "items": [item]}), "receipts { status }").await;
        let id = customer_by(&app, "USER_ID", "ada").await.unwrap();
        let job = erase(&app, &id).await;
        app.run_due_jobs().await;
        receipt(&app, &job).await;
        let tables = ["record", "customer", "event", "link", "identifier"];
        for table in tables {
            assert_eq!(app.count(table).await, 0, "{table}");
        }
        let mut new = old.clone();
        new["messageId"] = json!("a9");
        // The same message, one with another id, another value of the same person, alone; an old visit.
        let others = json!([old, new, identify("somebody-else", "a10", json!({"firstName": "X"})), visit]);
        send(&app, &key, others).await;
        let (status, _) = app.send(&key, "/v1/identify", &json!({"anonymousId": "phone", "messageId": "a11", "traits": {"email": "ADA@example.test"}})).await;
        assert_eq!(status.as_u16(), 200, "who sends is told nothing");
        let alone = json!({"key": "77", "messageId": "i2", "traits": {"city": "Rom"}});
        let receipts = mutate(&app, "recordsIngest", json!({"source": crm, "items": [item, alone]}),
            "transaction receipts { status record { id } error { code } }").await;
        let refused = json!({"status": "REJECTED", "record": null, "error": {"code": "SUPPRESSED"}});
        assert_eq!(receipts["receipts"], json!([refused, refused]));
        assert_eq!(receipts["transaction"], Value::Null);
        assert_eq!(texts(&app, "SELECT external_key FROM record").await, ["u:somebody-else"]);
        assert_eq!(app.count("customer").await, 1);
        assert_eq!(app.count("event").await, 1);
        assert_eq!(app.scalar("SELECT COUNT(*) FROM rejected_item WHERE code = 'suppressed'").await, 6);
        let listed = app.ask("{ rejectedItems(first: 10) { totalCount nodes { code payload } } }").await;
        assert_eq!(listed["rejectedItems"]["nodes"][0]["code"], "suppressed");
        for word in ["ada", "bonn", "rom", "tablet"] {
            assert!(!listed.to_string().to_lowercase().contains(&format!("\"{word}")), "{listed}");
        }
        // A repetition is listed once.
        send(&app, &key, json!([old, new])).await;
        assert_eq!(app.scalar("SELECT COUNT(*) FROM rejected_item WHERE code = 'suppressed'").await, 6);
        // The device goes on, as a visitor of its own; with a value that is not suppressed it is somebody new.
        send(&app, &key, json!([{"type": "track", "event": "Seen", "anonymousId": "tablet", "messageId": "v1"}])).await;
        assert_eq!(app.count("customer").await, 2);
        assert_clean(&app, "a visitor comes again").await;
        send(&app, &key, json!([{"type": "identify", "userId": "eve", "anonymousId": "tablet", "messageId": "e1"}])).await;
        assert_clean(&app, "and is somebody else").await;
        // They ask to come back.
        let value = json!({"identifier": {"kind": "EMAIL", "value": "Ada@example.test"}, "reason": "signed up again"});
        assert_eq!(mutate(&app, "suppressionLift", value.clone(), "transaction").await["userErrors"], json!([]));
        assert_eq!(mutate(&app, "suppressionLift", value, "transaction").await["userErrors"][0]["code"], "NOT_FOUND");
        let again = json!({"key": "77", "messageId": "i3", "traits": {"email": "ada@example.test", "city": "Rom"}, "events": [{"name": "Called"}]});
        let receipts = mutate(&app, "recordsIngest", json!({"source": crm, "items": [again]}), "receipts { status }").await;
        assert_eq!(receipts["receipts"][0]["status"], "ACCEPTED");
        assert!(customer_by(&app, "EMAIL", "ada@example.test").await.is_some());
        assert_clean(&app, "who came back").await;
        // And go again.
        let id = customer_by(&app, "EMAIL", "ada@example.test").await.unwrap();
        let job = erase(&app, &id).await;
        app.run_due_jobs().await;
        receipt(&app, &job).await;
        assert_eq!(app.count("erasure").await, 2);
        assert_clean(&app, "who went twice").await;
        app.stop().await;
    }

    async fn the_history_of_everybody_else_stays(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let phone = "+14155550101";
        // Ada and Bob share a telephone and differ in name: only that keeps them apart. A third agrees with Bob.
        send(&app, &key, json!([identify("ada", "a1", json!({"firstName": "Ada", "phone": phone, "email": "ada@example.test"}))])).await;
        send(&app, &key, json!([identify("bob", "b1", json!({"firstName": "Bob", "phone": phone}))])).await;
        send(&app, &key, json!([{"type": "identify", "userId": "ada", "anonymousId": "kiosk", "messageId": "k1"}])).await;
        send(&app, &key, json!([{"type": "identify", "userId": "bob", "anonymousId": "kiosk", "messageId": "k2"}])).await;
        send(&app, &key, json!([{"type": "track", "event": "Seen", "anonymousId": "kiosk", "messageId": "k3"}])).await;
        // Everybody's mailbox is held.
        for n in 0..21 {
            send(&app, &key, json!([identify(&format!("shop-{n}"), &format!("s{n}"), json!({"email": "all@example.test"}))])).await;
        }
        send(&app, &key, json!([identify("ada", "a2", json!({"email": "all@example.test"})),
            identify("ada-old", "a3", json!({"email": "ada@example.test"}))])).await;
        let id = async |user: &str| customer_by(&app, "USER_ID", user).await.unwrap();
        let (ada, bob, shop) = (id("ada").await, id("bob").await, id("shop-3").await);
        let merged = mutate(&app, "customerMerge", json!({"into": ada, "from": shop, "reason": "one"}), "decision { id }").await;
        let merge = text(&merged["decision"]["id"]);
        let record = async |user: &str| text(&app.ask(&format!(r#"{{ customerBy(identifier: {{ kind: USER_ID, value: "{user}" }}) {{ records {{ id externalKey }} }} }}"#))
            .await["customerBy"]["records"].as_array().unwrap().iter().find(|record| record["externalKey"] == format!("u:{user}")).unwrap()["id"]);
        let (of_shop, of_bob) = (record("shop-3").await, record("bob").await);
        let apart = mutate(&app, "recordsSeparate", json!({"a": of_shop, "b": of_bob, "reason": "two"}), "decision { id }").await;
        let apart = text(&apart["decision"]["id"]);
        assert_clean(&app, "before").await;
        let owners = "SELECT COUNT(*) FROM identifier WHERE owner_id IS NOT NULL";
        let before = (app.count("customer").await, app.scalar(owners).await);
        let job = erase(&app, &ada).await;
        assert_clean(&app, "before the job").await;
        app.run_due_jobs().await;
        receipt(&app, &job).await;
        assert_clean(&app, "after the job").await;
        assert_eq!(app.count("customer").await, before.0 - 1);
        assert_eq!(customer_by(&app, "USER_ID", "shop-3").await, None, "who was merged is gone too");
        assert_eq!(id("bob").await, bob);
        // What others show too is theirs, and is not suppressed; what is held stays held.
        assert_eq!(texts(&app, &format!("SELECT value FROM identifier WHERE value IN ('{phone}', 'all@example.test', 'kiosk') ORDER BY value")).await,
            [phone, "all@example.test", "kiosk"]);
        assert_eq!(app.scalar("SELECT COUNT(*) FROM suppression").await, 2, "ada and shop-3: a second user has shown the address too");
        send(&app, &key, json!([{"type": "track", "event": "Called", "anonymousId": "x", "messageId": "p1",
            "context": {"traits": {"phone": phone, "firstName": "Bob"}}}])).await;
        assert!(customer_by(&app, "PHONE", phone).await.is_some());
        assert_clean(&app, "a shared value is shown again").await;
        // Decisions about those who are gone bind nobody, and are refused by name.
        let refused = mutate(&app, "identityDecisionRevoke", json!({"id": merge, "reason": "x"}), "transaction").await;
        assert_eq!(refused["userErrors"][0]["message"], "everybody it was about was erased");
        let revoked = mutate(&app, "identityDecisionRevoke", json!({"id": apart, "reason": "x"}), "transaction").await;
        assert_eq!(revoked["userErrors"], json!([]), "Bob is still there");
        assert_clean(&app, "a decision is taken back").await;
        app.stop().await;
    }

    async fn an_erasure_that_is_interrupted_goes_on_and_ends_the_same(app: TestApp) {
        let key = app.source("web", "WEB").await;
        for chunk in 0..8 {
            let events: Vec<Value> = (0..500).map(|n| json!({"type": "track", "event": "Seen", "userId": "ada", "messageId": format!("m{chunk}-{n}"),
                "properties": {"what": CANARY}})).collect();
            app.batch(&key, Value::Array(events)).await;
        }
        let id = customer_by(&app, "USER_ID", "ada").await.unwrap();
        let job = erase(&app, &id).await;
        let runner = Arc::new(jobs::runner(&app.server.services));
        let (beside, now) = (runner.clone(), app.clock.now());
        let task = tokio::spawn(async move { beside.run_once(now).await });
        eventually("a chunk is gone", || async { app.count("event").await < 4_000 }).await;
        runner.stop();
        task.await.unwrap();
        let left = app.count("event").await;
        let state = app.ask(&format!(r#"{{ job(id: "{job}") {{ state progress }} }}"#)).await["job"].clone();
        assert!(left > 0 && state["state"] == "QUEUED", "it was in the middle: {left} {state}");
        assert_clean(&app, "in the middle").await;
        // Nothing opens a record again while its erasure is under way.
        send(&app, &key, json!([{"type": "track", "event": "Seen", "userId": "ada", "messageId": "late"}])).await;
        assert_eq!(app.count("record").await, 0);
        app.run_due_jobs().await;
        assert_eq!(receipt(&app, &job).await["event"], 4_000);
        assert_eq!(mentioning(&app, CANARY).await, BTreeSet::new());
        // A worker that died after its last commit: the job runs once more.
        let again = "UPDATE job SET state = 1, cursor = NULL, result = NULL, finished_at = NULL";
        app.server.services.store.writer().execute_unprepared(again).await.unwrap();
        let before = dump(&app).await.into_iter().filter(|(table, _)| table != "job").collect::<Vec<_>>();
        app.run_due_jobs().await;
        receipt(&app, &job).await;
        assert_eq!(dump(&app).await.into_iter().filter(|(table, _)| table != "job").collect::<Vec<_>>(), before);
        assert_clean(&app, "at the end").await;
        app.stop().await;
    }
}
