//! Who may do what: keys and their lives, what is stored of them, what every deed leaves behind, and that no field stands open.

use super::support::app::{ADMIN_KEY, START};
use super::support::{Backend, TestApp, on_both};
use entity::{audit, change_tx, source};
use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use sea_orm::{ConnectionTrait as _, DbBackend, EntityTrait as _, QueryOrder as _, Statement};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tributary::access::{Actor, Principal, Scope};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Sends a harmless query with this `Authorization`, and answers status, challenge and body.
async fn knock(app: &TestApp, authorization: Option<HeaderValue>) -> (StatusCode, String, Value) {
    let mut request = app
        .http
        .post(format!("{}/graphql", app.base))
        .json(&json!({"query": "{ __typename }"}));
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    let answer = request.send().await.unwrap();
    let challenge = answer
        .headers()
        .get("www-authenticate")
        .map_or("", |value| value.to_str().unwrap())
        .to_owned();
    (answer.status(), challenge, answer.json().await.unwrap())
}

async fn status_of(app: &TestApp, key: &str) -> StatusCode {
    app.graphql(key, json!({"query": "{ __typename }"})).await.0
}

/// Makes a key with these scopes; answers its id and its text.
async fn a_key(app: &TestApp, scopes: &str) -> (String, String) {
    let query = format!(
        r#"mutation {{ apiKeyCreate(input: {{ name: "k", scopes: [{scopes}] }}) {{ apiKey {{ id }} secret userErrors {{ message }} }} }}"#
    );
    let made = app.ask(&query).await["apiKeyCreate"].clone();
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
    (text(&made["apiKey"]["id"]), text(&made["secret"]))
}

async fn source_id(app: &TestApp, key: &str) -> String {
    let data = app.ask("{ sources(first: 100) { nodes { id key } } }").await;
    let sources = data["sources"]["nodes"].as_array().unwrap();
    let found = sources.iter().find(|source| source["key"] == key).unwrap();
    found["id"].as_str().unwrap().to_owned()
}

async fn track(app: &TestApp, write_key: &str) -> (StatusCode, Value) {
    let message = json!({"event": "Visited", "userId": "u-1"});
    app.send(write_key, "/v1/track", &message).await
}

/// The same text with one character changed.
fn altered(key: &str, at: usize) -> String {
    let mut bytes = key.as_bytes().to_vec();
    bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
    String::from_utf8(bytes).unwrap()
}

on_both! {
    async fn without_a_right_key_every_request_is_401_and_says_how_to_do_better(app: TestApp) {
        let (_, key) = a_key(&app, "ADMIN").await;
        let mut wrong: Vec<Option<Vec<u8>>> = vec![None];
        for text in ["", "Bearer", "Bearer ", "Basic YTpi", "Token x", &key, ADMIN_KEY, "Bearer tributary_api_"] {
            wrong.push(Some(text.as_bytes().to_vec()));
        }
        for key in [key.as_str(), ADMIN_KEY] {
            let mut variants = vec![
                key.to_uppercase(),
                key[..key.len() - 1].to_owned(),
                format!("{key}0"),
                // HTTP cuts blanks off the end of a header, so a blank can only be inside.
                format!(" {key}"),
                format!("{key} {key}"),
                format!("{key},{key}"),
                key.replacen("api", "write", 1).replacen("admin", "write", 1),
            ];
            variants.extend([0, key.len() / 4, key.len() / 2, key.len() - 9, key.len() - 1].map(|at| altered(key, at)));
            wrong.extend(variants.iter().map(|text| Some(format!("Bearer {text}").into_bytes())));
            // a non-breaking blank, and a byte that is no text
            wrong.push(Some([b"Bearer ", key.as_bytes(), b"\xa0"].concat()));
        }
        for authorization in wrong {
            let value = authorization.as_deref().map(|bytes| HeaderValue::from_bytes(bytes).unwrap());
            let (status, challenge, body) = knock(&app, value).await;
            let shown = authorization.as_deref().map(String::from_utf8_lossy);
            assert_eq!((status, challenge.as_str()), (StatusCode::UNAUTHORIZED, "Bearer"), "{shown:?}");
            let expected = json!({"errors": [{
                "message": "send a key as authorization: Bearer <key>",
                "extensions": {"code": "UNAUTHENTICATED"},
            }]});
            assert_eq!(body, expected, "{shown:?}");
        }
        assert_eq!((status_of(&app, &key).await, status_of(&app, ADMIN_KEY).await), (StatusCode::OK, StatusCode::OK));
        app.stop().await;
    }

    async fn a_write_key_sends_and_does_nothing_else(app: TestApp) {
        let write_key = app.source("web", "WEB").await;
        let (_, api_key) = a_key(&app, "WRITE").await;
        assert_eq!(track(&app, &write_key).await.0, StatusCode::OK);
        for query in [
            "{ __typename }",
            "{ customers(first: 1) { nodes { id } } }",
            "{ __schema { queryType { name } } }",
            r#"mutation { sourceCreate(input: { key: "x", name: "x", channel: WEB }) { writeKey } }"#,
        ] {
            let (status, body) = app.graphql(&write_key, json!({"query": query})).await;
            assert_eq!((status, body.get("data")), (StatusCode::FORBIDDEN, None), "{query}");
            assert_eq!(body["errors"][0]["extensions"]["code"], "FORBIDDEN", "{query}");
        }
        assert_eq!(app.count("source").await, 1);

        // And the other way round: no API key sends, nor a write key that is not quite right.
        let blank_behind = format!("{write_key} ");
        let wrong = [ADMIN_KEY, &api_key, &blank_behind, &write_key.to_uppercase(), &altered(&write_key, 40), " "];
        for key in wrong {
            let (status, body) = track(&app, key).await;
            assert_eq!((status, &body["code"]), (StatusCode::UNAUTHORIZED, &json!("invalid_write_key")), "{key:?}");
        }
        assert_eq!(app.count("event").await, 1);
        app.stop().await;
    }

    async fn a_key_without_the_scope_is_refused_before_anything_happens(app: TestApp) {
        app.source("web", "WEB").await;
        let (victim, victim_key) = a_key(&app, "READ").await;
        let id = source_id(&app, "web").await;
        let weak = [a_key(&app, "READ").await.1, a_key(&app, "READ_PII").await.1, a_key(&app, "READ, READ_PII, WRITE").await.1];
        let world = || async {
            let sources = source::Entity::find().all(app.server.services.store.reader()).await.unwrap();
            let mut counts = Vec::new();
            for table in ["source", "api_key", "audit", "change_tx", "change"] {
                counts.push(app.count(table).await);
            }
            (sources, counts, app.scalar("SELECT COUNT(*) FROM api_key WHERE revoked_at IS NOT NULL").await)
        };
        let before = world().await;
        let mutations = [
            ("sourceCreate", r#"(input: { key: "x", name: "x", channel: WEB }) { writeKey }"#.to_owned()),
            ("sourceUpdate", format!(r#"(input: {{ id: "{id}", name: "taken over", rotateWriteKey: true }}) {{ writeKey }}"#)),
            ("apiKeyCreate", r#"(input: { name: "x", scopes: [ADMIN] }) { secret }"#.to_owned()),
            ("apiKeyRevoke", format!(r#"(input: {{ id: "{victim}" }}) {{ apiKey {{ id }} }}"#)),
        ];
        for key in &weak {
            for (field, rest) in &mutations {
                let (status, body) = app.graphql(key, json!({"query": format!("mutation {{ {field}{rest} }}")})).await;
                let expected = json!([{
                    "message": "this key lacks the scope admin",
                    "locations": [{"line": 1, "column": 12}],
                    "path": [field],
                    "extensions": {"code": "FORBIDDEN"},
                }]);
                assert_eq!((status, &body["errors"], &body["data"]), (StatusCode::OK, &expected, &Value::Null));
            }
            let (_, body) = app.graphql(key, json!({"query": "{ apiKeys { nodes { id name } } }"})).await;
            assert_eq!((&body["errors"][0]["extensions"]["code"], &body["data"]), (&json!("FORBIDDEN"), &Value::Null));
        }
        assert_eq!(world().await, before);
        assert_eq!(status_of(&app, &victim_key).await, StatusCode::OK);
        app.stop().await;
    }

    async fn a_key_works_from_its_making_until_it_is_revoked(app: TestApp) {
        let (id, key) = a_key(&app, "READ").await;
        assert_eq!(status_of(&app, &key).await, StatusCode::OK);
        tributary::worker::run_once(&app.server.services).await;
        let listed = app.ask("{ apiKeys { nodes { id name scopes lastFour createdAt expiresAt revokedAt lastUsedAt } } }").await;
        let expected = json!({
            "id": id, "name": "k", "scopes": ["READ"], "lastFour": &key[key.len() - 4..],
            "createdAt": "2026-06-01T12:00:00Z", "expiresAt": null, "revokedAt": null, "lastUsedAt": "2026-06-01T12:00:00Z",
        });
        assert_eq!(listed["apiKeys"]["nodes"], json!([expected]));

        app.clock.advance(DAY);
        let revoke = format!(
            r#"mutation {{ apiKeyRevoke(input: {{ id: "{id}" }}) {{ apiKey {{ id revokedAt }} transaction userErrors {{ message }} }} }}"#
        );
        let revoked = app.ask(&revoke).await["apiKeyRevoke"].clone();
        assert_eq!(revoked["apiKey"], json!({"id": id, "revokedAt": "2026-06-02T12:00:00Z"}));
        assert!(revoked["transaction"].is_string(), "{revoked}");
        assert_eq!(status_of(&app, &key).await, StatusCode::UNAUTHORIZED);

        app.clock.advance(DAY);
        let again = app.ask(&revoke).await["apiKeyRevoke"].clone();
        let expected = json!({"apiKey": {"id": id, "revokedAt": "2026-06-02T12:00:00Z"}, "transaction": null, "userErrors": []});
        assert_eq!(again, expected);
        assert_eq!(status_of(&app, &key).await, StatusCode::UNAUTHORIZED);
        app.stop().await;
    }

    async fn a_key_stops_working_at_the_instant_it_expires(app: TestApp) {
        let made = app
            .ask(r#"mutation { apiKeyCreate(input: { name: "k", scopes: [READ], expiresAt: "2026-06-01T14:00:00+01:00" }) { secret apiKey { expiresAt } } }"#)
            .await;
        assert_eq!(made["apiKeyCreate"]["apiKey"]["expiresAt"], "2026-06-01T13:00:00Z");
        let key = made["apiKeyCreate"]["secret"].as_str().unwrap();
        app.clock.advance(Duration::from_secs(3599));
        assert_eq!(status_of(&app, key).await, StatusCode::OK);
        app.clock.advance(Duration::from_secs(1));
        assert_eq!(status_of(&app, key).await, StatusCode::UNAUTHORIZED);
        app.stop().await;
    }

    async fn only_digests_of_keys_are_stored(app: TestApp) {
        let written = app.source("web", "WEB").await;
        let own = "key-that-the-tills-have-already";
        app.ask(&format!(
            r#"mutation {{ sourceCreate(input: {{ key: "till", name: "tills-by-name", channel: POS, writeKey: "{own}" }}) {{ writeKey }} }}"#
        )).await;
        let id = source_id(&app, "web").await;
        let rotated = app
            .ask(&format!(r#"mutation {{ sourceUpdate(input: {{ id: "{id}", rotateWriteKey: true }}) {{ writeKey }} }}"#))
            .await;
        let rotated = rotated["sourceUpdate"]["writeKey"].as_str().unwrap();
        let (key_id, key) = a_key(&app, "READ").await;
        assert_eq!((status_of(&app, &key).await, track(&app, rotated).await.0), (StatusCode::OK, StatusCode::OK));
        tributary::worker::run_once(&app.server.services).await;

        let everything = everything_stored(&app).await;
        for found in ["tills-by-name", &key_id, "source.update"] {
            assert!(everything.contains(found), "the search sees {found}");
        }
        let secret = |key: &str| key.rsplit_once('_').map_or(key, |(_, secret)| secret).to_owned();
        for key in [&written, own, rotated, &key, ADMIN_KEY] {
            // Binary columns are searched as they are and in hexadecimal.
            let secret = secret(key);
            let hexadecimal: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
            assert!(!everything.contains(&secret), "{secret} is stored");
            assert!(!everything.to_lowercase().contains(&hexadecimal), "{secret} is stored in hexadecimal");
        }
        app.stop().await;
    }

    async fn every_deed_names_its_doer_and_its_transaction(app: TestApp) {
        let (boss, boss_key) = a_key(&app, "ADMIN").await;
        let act = async |mutation: String, field: &str| {
            let (_, body) = app.graphql(&boss_key, json!({"query": format!("mutation {{ {mutation} }}")})).await;
            let payload = body["data"][field].clone();
            assert_eq!(payload["userErrors"], json!([]), "{body}");
            payload
        };
        let created = act(
            r#"sourceCreate(input: { key: "web", name: "Web", channel: WEB }) { transaction source { id } userErrors { message } }"#.to_owned(),
            "sourceCreate",
        ).await;
        let id = created["source"]["id"].as_str().unwrap();
        let updated = act(
            format!(r#"sourceUpdate(input: {{ id: "{id}", name: "Shop", trust: 3, enabled: false }}) {{ transaction userErrors {{ message }} }}"#),
            "sourceUpdate",
        ).await;
        let made = act(
            r#"apiKeyCreate(input: { name: "x", scopes: [READ, WRITE] }) { transaction apiKey { id } userErrors { message } }"#.to_owned(),
            "apiKeyCreate",
        ).await;
        let made_id = made["apiKey"]["id"].as_str().unwrap();
        let revoked = act(
            format!(r#"apiKeyRevoke(input: {{ id: "{made_id}" }}) {{ transaction userErrors {{ message }} }}"#),
            "apiKeyRevoke",
        ).await;

        let db = app.server.services.store.reader();
        let transactions = change_tx::Entity::find().order_by_asc(change_tx::Column::Ordinal).all(db).await.unwrap();
        let told: Vec<String> = [&created, &updated, &made, &revoked]
            .iter()
            .map(|payload| payload["transaction"].as_str().unwrap().to_owned())
            .collect();
        let actor = format!("key:{boss}");
        let stored: Vec<_> = transactions.iter().map(|tx| (tx.tx_id.to_string(), tx.actor.as_str(), tx.row_count)).collect();
        assert_eq!(stored[0].1, "key:preset");
        let expected: Vec<_> = told.iter().map(|id| (id.clone(), actor.as_str(), 0)).collect();
        assert_eq!(stored[1..], expected);

        let mut deeds = audit::Entity::find().order_by_asc(audit::Column::Id).all(db).await.unwrap();
        deeds.sort_by_key(|deed| deed.id);
        let start = tributary::base::Instant::parse(START).unwrap().micros();
        assert!(deeds.iter().all(|deed| deed.at == start));
        let deeds: Vec<_> = deeds.iter().map(|deed| (&*deed.actor, &*deed.action, &*deed.object, deed.detail.clone())).collect();
        let (boss_object, made_object) = (format!("key:{boss}"), format!("key:{made_id}"));
        let update = json!({"name": "Shop", "trust": 3, "enabled": false, "rotated": false, "maxEventBytes": null, "maxBatchBytes": null, "reviewAliases": null});
        let expected = [
            ("key:preset", "key.create", &*boss_object, json!({"scopes": "admin"})),
            (&actor, "source.create", "web", json!({})),
            (&actor, "source.update", "web", update),
            (&actor, "key.create", &made_object, json!({"scopes": "read,write"})),
            (&actor, "key.revoke", &made_object, json!({})),
        ];
        let sorted = |mut deeds: Vec<(&str, &str, &str, Value)>| {
            deeds.sort_by_key(|(actor, action, object, _)| format!("{actor} {action} {object}"));
            deeds.into_iter().map(|(a, b, c, detail)| format!("{a} {b} {c} {detail}")).collect::<Vec<_>>()
        };
        assert_eq!(sorted(deeds), sorted(expected.to_vec()));
        app.stop().await;
    }

    async fn an_expected_refusal_names_the_field_and_changes_nothing(app: TestApp) {
        app.ask(r#"mutation { sourceCreate(input: { key: "web", name: "Web", channel: WEB, writeKey: "a-key-of-sixteen-or-more" }) { writeKey } }"#).await;
        let id = source_id(&app, "web").await;
        let unknown = "src_AAAAAAAAAAAAAAAAAAAAAA";
        let before = (app.count("audit").await, app.count("change_tx").await);
        let source = |fields: &str| format!("sourceCreate(input: {{ channel: WEB, {fields} }})");
        let update = |id: &str, fields: &str| format!(r#"sourceUpdate(input: {{ id: "{id}", {fields} }})"#);
        let long = "x".repeat(256);
        let cases = [
            (source(r#"key: "", name: "n""#), "INVALID", "key"),
            (source(r#"key: "Web Shop", name: "n""#), "INVALID", "key"),
            (source(&format!(r#"key: "{}", name: "n""#, "x".repeat(65))), "INVALID", "key"),
            (source(r#"key: "a", name: "  ""#), "INVALID", "name"),
            (source(&format!(r#"key: "a", name: "{long}""#)), "INVALID", "name"),
            (source(r#"key: "a", name: "\u0000""#), "INVALID", "name"),
            (source(r#"key: "a", name: "n", maxEventBytes: 1023"#), "INVALID", "maxEventBytes"),
            (source(r#"key: "a", name: "n", maxEventBytes: 4194305"#), "INVALID", "maxEventBytes"),
            (source(r#"key: "a", name: "n", maxBatchBytes: -1"#), "INVALID", "maxBatchBytes"),
            (source(r#"key: "a", name: "n", writeKey: "too-short""#), "INVALID", "writeKey"),
            (source(r#"key: "a", name: "n", writeKey: "with:a:colon:in:it""#), "INVALID", "writeKey"),
            (source(r#"key: "a", name: "n", writeKey: "with a blank inside it""#), "INVALID", "writeKey"),
            (source(r#"key: "web", name: "n""#), "CONFLICT", "key"),
            (source(r#"key: "a", name: "n", writeKey: "a-key-of-sixteen-or-more""#), "CONFLICT", "writeKey"),
            (update(&id, r#"name: """#), "INVALID", "name"),
            (update(&id, "maxEventBytes: 0"), "INVALID", "maxEventBytes"),
            (update(&id, "maxBatchBytes: 999999999"), "INVALID", "maxBatchBytes"),
            (update(unknown, "trust: 1"), "NOT_FOUND", "id"),
            (r#"apiKeyCreate(input: { name: "", scopes: [READ] })"#.to_owned(), "INVALID", "name"),
            (r#"apiKeyCreate(input: { name: "n", scopes: [] })"#.to_owned(), "INVALID", "scopes"),
            (r#"apiKeyCreate(input: { name: "n", scopes: [READ], expiresAt: "2026-06-01T12:00:00Z" })"#.to_owned(), "INVALID", "expiresAt"),
            (r#"apiKeyRevoke(input: { id: "nobody" })"#.to_owned(), "NOT_FOUND", "id"),
        ];
        for (mutation, code, field) in cases {
            let data = app.ask(&format!("mutation {{ it: {mutation} {{ transaction userErrors {{ code field message }} }} }}")).await;
            let message = data["it"]["userErrors"][0]["message"].clone();
            assert!(message.as_str().is_some_and(|message| message.len() > 10), "{mutation}: {data}");
            let expected = json!({"it": {
                "transaction": null,
                "userErrors": [{"code": code, "field": ["input", field], "message": message}],
            }});
            assert_eq!(data, expected, "{mutation}");
        }
        assert_eq!((app.count("audit").await, app.count("change_tx").await), before);
        assert_eq!((app.count("source").await, app.count("api_key").await), (1, 0));

        // An id of another kind is the caller's mistake, not a refusal of ours.
        let (_, body) = app.graphql(ADMIN_KEY, json!({"query": format!("mutation {{ {} {{ transaction }} }}", update(&id.replace("src_", "cus_"), "trust: 1"))})).await;
        assert_eq!(body["errors"][0]["message"], "input.id: expected the id of a Source, this is the id of a Customer");
        app.stop().await;
    }

    async fn after_a_rotation_the_old_write_key_works_for_a_day_more(app: TestApp) {
        let first = app.source("web", "WEB").await;
        let id = source_id(&app, "web").await;
        let rotate = format!(r#"mutation {{ sourceUpdate(input: {{ id: "{id}", rotateWriteKey: true }}) {{ writeKey }} }}"#);
        let rotated = app.ask(&rotate).await;
        let second = rotated["sourceUpdate"]["writeKey"].as_str().unwrap();
        assert_ne!(second, first);
        let works = async |key: &str| {
            // Keys are remembered for five seconds of real time, which the clock of the test does not move.
            app.server.services.sources.forget();
            track(&app, key).await.0 == StatusCode::OK
        };
        assert!(works(&first).await && works(second).await);
        app.clock.advance(DAY - Duration::from_secs(1));
        assert!(works(&first).await && works(second).await);
        app.clock.advance(Duration::from_secs(1));
        assert!(!works(&first).await && works(second).await);

        // A second rotation within the day ends the first key at once: there are two keys, never three.
        let third = app.ask(&rotate).await;
        let third = third["sourceUpdate"]["writeKey"].as_str().unwrap();
        let fourth = app.ask(&rotate).await;
        let fourth = fourth["sourceUpdate"]["writeKey"].as_str().unwrap();
        assert!(!works(second).await && works(third).await && works(fourth).await);
        app.stop().await;
    }

    async fn a_disabled_source_sends_nothing_until_it_is_enabled_again(app: TestApp) {
        let write_key = app.source("web", "WEB").await;
        let id = source_id(&app, "web").await;
        assert_eq!(track(&app, &write_key).await.0, StatusCode::OK);
        let enable = |enabled: bool| format!("mutation {{ sourceUpdate(input: {{ id: \"{id}\", enabled: {enabled} }}) {{ source {{ enabled }} }} }}");
        assert_eq!(app.ask(&enable(false)).await["sourceUpdate"]["source"]["enabled"], false);
        let settings = format!("{}/v1/projects/{write_key}/settings", app.base);
        let (status, body) = track(&app, &write_key).await;
        let expected = json!({"success": false, "code": "source_disabled", "message": "this source is disabled"});
        assert_eq!((status, body), (StatusCode::NOT_FOUND, expected));
        assert_eq!(app.http.get(&settings).send().await.unwrap().status(), StatusCode::NOT_FOUND);
        assert_eq!(status_of(&app, &write_key).await, StatusCode::FORBIDDEN);
        assert_eq!(app.count("event").await, 1);
        app.ask(&enable(true)).await;
        assert_eq!(track(&app, &write_key).await.0, StatusCode::OK);
        assert_eq!(app.http.get(&settings).send().await.unwrap().status(), StatusCode::OK);
        app.stop().await;
    }
}

/// Every row of every table as text; for SQLite the bytes of its files, free pages and log included.
pub async fn everything_stored(app: &TestApp) -> String {
    let db = app.server.services.store.reader();
    let texts = async |sql: String| {
        let rows = db
            .query_all_raw(Statement::from_string(db.get_database_backend(), sql))
            .await
            .unwrap();
        rows.iter()
            .map(|row| row.try_get_by_index::<String>(0).unwrap())
            .collect::<Vec<_>>()
    };
    if db.get_database_backend() == DbBackend::Sqlite {
        let file = texts("SELECT file FROM pragma_database_list WHERE name = 'main'".to_owned())
            .await
            .remove(0);
        let read = |suffix: &str| std::fs::read(format!("{file}{suffix}")).unwrap_or_default();
        return String::from_utf8_lossy(&[read(""), read("-wal")].concat()).into_owned();
    }
    let mut everything = String::new();
    for table in texts("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'".to_owned()).await {
        everything += &texts(format!("SELECT t::text FROM \"{table}\" t")).await.join("\n");
    }
    everything
}

/// `Query` and `Mutation` with the scope of each root field, as the sources say it.
fn guards() -> BTreeMap<String, Scope> {
    let mut guards = BTreeMap::new();
    let roots = [
        ("query", "\nimpl Query {"),
        ("mutation", "\nimpl Administration {"),
        ("ingest", "\nimpl Ingestion {"),
        ("identity", "\nimpl Mending {"),
        ("rules", "\nimpl Ruling {"),
        ("consent", "\nimpl Consenting {"),
        ("classify", "\nimpl Classifying {"),
        ("erasure", "\nimpl Erasing {"),
        ("job", "\nimpl Cancelling {"),
        ("refresh", "\nimpl Redriving {"),
        ("value_model", "\nimpl Modelling {"),
    ];
    for (file, begin) in roots {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/graphql/{file}.rs"));
        let text = std::fs::read_to_string(path).unwrap();
        let body = text.split(begin).nth(1).unwrap().split("\n}\n").next().unwrap();
        let mut before = "";
        for (number, part) in body.split("async fn ").enumerate() {
            if number > 0 {
                let name = part.split('(').next().unwrap();
                // From the end of the field before it, so that one guard never counts for two.
                let attributes = before.rsplit("\n    }\n").next().unwrap();
                // It asks for a token and no key has one: see `frontends`.
                if name == "me" && attributes.contains("guard = \"OfSubject\"") {
                    before = part;
                    continue;
                }
                let scope = attributes
                    .split("guard = \"Needs(Scope::")
                    .nth(1)
                    .and_then(|rest| rest.split(')').next());
                let scope = Scope::ALL
                    .into_iter()
                    .find(|own| Some(format!("{own:?}")) == scope.map(str::to_owned));
                let scope = scope.unwrap_or_else(|| panic!("{file}.rs: {name} has no guard"));
                guards.insert(camel_case(name), scope);
            }
            before = part;
        }
    }
    guards
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap().to_owned();
    first + &words.map(|word| word[..1].to_uppercase() + &word[1..]).collect::<String>()
}

/// A root field as the schema tells it: its name, whether it changes anything, and an operation that asks for it.
pub struct RootField {
    pub name: String,
    is_mutation: bool,
    pub operation: String,
}

pub async fn root_fields() -> Vec<RootField> {
    let of_type = "kind name ofType { kind name ofType { kind name } }";
    let input = format!("name defaultValue type {{ {of_type} }}");
    let query = format!(
        "{{ __schema {{ types {{ kind name inputFields {{ {input} }} enumValues {{ name }}
             fields {{ name args {{ {input} }} type {{ {of_type} }} }} }} }} }}"
    );
    let data = tributary::graphql::schema(None)
        .execute(query)
        .await
        .data
        .into_json()
        .unwrap();
    let types = data["__schema"]["types"].as_array().unwrap();
    let mut fields = Vec::new();
    for (root, keyword) in [("Query", "query"), ("Mutation", "mutation")] {
        let root = types.iter().find(|ty| ty["name"] == root).unwrap();
        for field in root["fields"].as_array().unwrap() {
            let arguments = required(&field["args"], types).join(", ");
            let arguments = if arguments.is_empty() {
                arguments
            } else {
                format!("({arguments})")
            };
            let name = field["name"].as_str().unwrap().to_owned();
            fields.push(RootField {
                operation: format!("{keyword} {{ {name}{arguments} {{ __typename }} }}"),
                is_mutation: keyword == "mutation",
                name,
            });
        }
    }
    fields
}

/// `name: value` for each argument or input field that must be given.
fn required(inputs: &Value, types: &[Value]) -> Vec<String> {
    let wanted = inputs.as_array().unwrap().iter();
    let wanted = wanted.filter(|input| input["type"]["kind"] == "NON_NULL" && input["defaultValue"].is_null());
    wanted
        .map(|input| {
            format!(
                "{}: {}",
                input["name"].as_str().unwrap(),
                literal(&input["type"]["ofType"], types)
            )
        })
        .collect()
}

fn literal(ty: &Value, types: &[Value]) -> String {
    let name = ty["name"].as_str().unwrap_or_default();
    let definition = types.iter().find(|own| own["name"] == name);
    match (ty["kind"].as_str().unwrap(), name) {
        ("LIST", _) => "[]".to_owned(),
        ("ENUM", _) => definition.unwrap()["enumValues"][0]["name"].as_str().unwrap().to_owned(),
        // One of its fields must be given.
        ("INPUT_OBJECT", "FeedStart") => "{ fromNow: true }".to_owned(),
        ("INPUT_OBJECT", _) => format!("{{ {} }}", required(&definition.unwrap()["inputFields"], types).join(", ")),
        (_, "Int") => "1".to_owned(),
        (_, "JSON") => "{}".to_owned(),
        (_, "String" | "ID") => "\"x\"".to_owned(),
        (_, "DateTime") => "\"2026-01-01T00:00:00Z\"".to_owned(),
        other => panic!("no literal of {other:?}"),
    }
}

#[tokio::test]
async fn every_root_field_has_a_guard_and_only_a_fitting_scope_passes_it() {
    let app = TestApp::new(Backend::Sqlite).await;
    let guards = guards();
    let fields = root_fields().await;
    let fields: Vec<_> = fields.into_iter().filter(|field| field.name != "me").collect();
    let mut names: Vec<_> = fields.iter().map(|field| field.name.clone()).collect();
    names.sort();
    assert_eq!(guards.keys().cloned().collect::<Vec<_>>(), names);
    assert!(names.len() >= 12, "the sources are read");

    let schema = tributary::graphql::schema(Some(app.server.services.clone()));
    let holder = |scope| Principal::Key {
        actor: Actor::new("key:test"),
        scopes: vec![scope],
    };
    let everybody = [
        Principal::Anonymous,
        Principal::Ingest,
        holder(Scope::Read),
        holder(Scope::ReadPii),
        holder(Scope::Write),
    ];
    let before = app.server.services.store.statement_count();
    for field in &fields {
        let wanted = guards[&field.name];
        assert!(
            !field.is_mutation || matches!(wanted, Scope::Write | Scope::Admin),
            "{} changes things",
            field.name
        );
        for principal in everybody.iter().filter(|principal| !principal.may(wanted)) {
            let request = async_graphql::Request::new(&field.operation).data(principal.clone());
            let answer = schema.execute(request).await;
            let refusals: Vec<_> = answer.errors.iter().map(|error| error.message.as_str()).collect();
            let expected = format!("this key lacks the scope {}", wanted.name());
            assert_eq!(refusals, [expected], "{} by {principal:?}", field.operation);
        }
        // A request that came past the door without a principal is our fault, and refused all the same.
        let answer = schema.execute(field.operation.as_str()).await;
        assert_eq!(answer.errors[0].message, "internal error", "{}", field.operation);
    }
    assert_eq!(app.server.services.store.statement_count() - before, 0);

    // Over the door as well, for what a key that only reads lacks.
    let (_, reader) = a_key(&app, "READ").await;
    for field in fields.iter().filter(|field| guards[&field.name] != Scope::Read) {
        let (_, body) = app.graphql(&reader, json!({"query": field.operation})).await;
        assert_eq!(body["errors"][0]["extensions"]["code"], "FORBIDDEN", "{}", field.operation);
    }
    app.stop().await;
}
