//! Everything derived follows from the recorded history: a world checks clean, and whatever is tampered with is named.

use super::support::{Backend, TestApp, on_both};
use sea_orm::{ActiveEnum as _, ConnectionTrait as _, Statement};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tributary::access::Actor;
use tributary::base::{CustomerId, DecisionId, RecordId};
use tributary::identity::Rules;
use tributary::identity::store::decisions;
use tributary::pipeline::mend::{self, Decided, Decision, Doer, MendError};
use tributary::pipeline::rebuild;
use tributary::store::Difference;
use uuid::Uuid;

/// Seeds of the random histories; each is a world of its own on each database.
const SEEDS: std::ops::Range<u64> = 0..6;
const MESSAGES: usize = 200;

async fn check(app: &TestApp) -> Vec<Difference> {
    let services = &app.server.services;
    // Whoever is due would not be compared.
    app.run_due_refresh().await;
    let rules = Rules::parse(services.rules.configured()).expect("sound rules");
    let mut found = Vec::new();
    let counts = rebuild::check(
        &services.store,
        Arc::new(rules),
        (services.value.clone(), services.now()),
        &mut found,
    )
    .await
    .expect("a check");
    assert_eq!(counts.differences, found.len());
    found
}

pub async fn assert_clean(app: &TestApp, when: &str) {
    let found: Vec<String> = check(app).await.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{when}:\n{}", found.join("\n"));
}

/// Publishes rules laid over the configured ones, before anybody is placed.
async fn publish(app: &TestApp, over: &Value) {
    let services = &app.server.services;
    let rules = entity::identity_rules::Model {
        version: 1,
        config: Rules::overlay(services.rules.configured(), over),
        arrival: 1,
        actor: "test".to_owned(),
    };
    decisions::insert_rules(services.store.writer(), &rules)
        .await
        .expect("written");
    services.rules.refresh(&services.store).await.expect("read");
}

pub async fn decide(app: &TestApp, decision: Decision) -> Result<Decided, MendError> {
    app.clock.advance(Duration::from_secs(1));
    let doer = Doer {
        actor: Actor::new("test"),
        reason: "because".to_owned(),
    };
    mend::decide(&app.server.services, &doer, &decision).await
}

async fn ids(app: &TestApp, sql: &str) -> Vec<Uuid> {
    let store = &app.server.services.store;
    let rows = store
        .reader()
        .query_all_raw(Statement::from_string(store.backend(), sql))
        .await
        .expect(sql);
    rows.iter().map(|row| row.try_get_by_index(0).expect("an id")).collect()
}

async fn record(app: &TestApp, key: &str) -> RecordId {
    RecordId(
        ids(
            app,
            &format!("SELECT id FROM record WHERE external_key = '{key}' ORDER BY arrival"),
        )
        .await[0],
    )
}

async fn customer(app: &TestApp, key: &str) -> CustomerId {
    CustomerId(
        ids(
            app,
            &format!("SELECT customer_id FROM record WHERE external_key = '{key}' ORDER BY arrival"),
        )
        .await[0],
    )
}

fn identify(user: &str, message: &str, traits: Value) -> Value {
    json!({"type": "identify", "userId": user, "messageId": message, "traits": traits})
}

fn login(user: &str, device: &str, message: &str) -> Value {
    json!({"type": "identify", "userId": user, "anonymousId": device, "messageId": message})
}

fn view(device: &str, message: &str) -> Value {
    json!({"type": "track", "event": "Product Viewed", "anonymousId": device, "messageId": message})
}

fn order(user: &str, event: &str, message: &str, properties: Value) -> Value {
    json!({"type": "track", "event": event, "userId": user, "messageId": message, "properties": properties})
}

/// A little of everything that identity does.
async fn world(app: &TestApp) {
    publish(
        app,
        &json!({"shared_after": 4, "golden": {"city": {"strategy": "most_frequent"}}}),
    )
    .await;
    let key = app.source("web", "WEB").await;
    let send = async |messages: Value| {
        app.clock.advance(Duration::from_secs(1));
        app.batch(&key, messages).await;
    };
    // A shared device passes back and forth, and its visits with it.
    for (n, user) in ["ada", "bob", "ada", "bob"].iter().enumerate() {
        send(json!([
            login(user, "kiosk", &format!("login-{n}")),
            view("kiosk", &format!("seen-{n}"))
        ]))
        .await;
    }
    // Two of one household share a phone; a third is the first in truth.
    send(json!([identify(
        "ada",
        "i1",
        json!({"firstName": "Ada", "email": "ada@example.test", "phone": "+14155550101", "city": "Bonn"})
    )]))
    .await;
    send(json!([
        identify(
            "bob",
            "i2",
            json!({"firstName": "Bob", "phone": "+14155550101", "city": "Köln"})
        ),
        identify(
            "ada2",
            "i3",
            json!({"firstName": "ADA", "phone": "+14155550101", "city": "Köln"})
        ),
    ]))
    .await;
    // A visitor turns out to be somebody.
    send(json!([view("tablet", "t1")])).await;
    send(json!([login("ada", "tablet", "t2")])).await;
    // A mailbox for everybody.
    for n in 0..5 {
        send(json!([identify(
            &format!("shop-{n}"),
            &format!("q{n}"),
            json!({"email": "all@example.test", "firstName": n.to_string()})
        )]))
        .await;
    }
    send(json!([
        {"type": "alias", "userId": "ada", "previousId": "nobody-yet", "messageId": "al-1"},
        {"type": "alias", "userId": "bob", "previousId": "kiosk", "messageId": "al-2"},
        identify("null", "i9", json!({"email": "n/a", "phone": "12"})),
    ]))
    .await;
    let lines = json!([{"product_id": "p1", "name": "Pen", "price": 2.5, "quantity": 2}, {"product_id": "p2", "category": "Paper", "price": 1}]);
    send(json!([
        order(
            "ada",
            "Order Completed",
            "o1",
            json!({"order_id": "7", "revenue": 6, "currency": "EUR", "products": lines})
        ),
        order(
            "ada",
            "Order Updated",
            "o2",
            json!({"order_id": "7", "revenue": 5, "products": [{"product_id": "p3", "name": "Ink", "price": 5}]})
        ),
        order("ada", "Order Refunded", "o3", json!({"order_id": "7", "total": 2})),
        order("bob", "Order Cancelled", "o4", json!({"order_id": "8"})),
        order("ada", "Referral Converted", "o5", json!({})),
        order("bob", "Review Submitted", "o6", json!({"rating": 4})),
    ]))
    .await;
}

async fn decisions_of_every_kind(app: &TestApp) {
    let (ada, bob) = (customer(app, "u:ada").await, customer(app, "u:bob").await);
    let merge = decide(app, Decision::Merge { into: bob, from: ada }).await.expect("merged");
    assert_clean(app, "a merge").await;
    decide(
        app,
        Decision::Revoke {
            decision: merge.decision,
        },
    )
    .await
    .expect("revoked");
    assert_clean(app, "a merge taken back").await;
    let records = vec![record(app, "u:nobody-yet").await];
    let customer_id = customer(app, "u:nobody-yet").await;
    decide(
        app,
        Decision::Split {
            customer: customer_id,
            records,
        },
    )
    .await
    .expect("split");
    assert_clean(app, "a split").await;
    let (a, b) = (record(app, "u:shop-0").await, record(app, "u:shop-1").await);
    decide(app, Decision::Separate { a, b }).await.expect("parted");
    decide(app, Decision::Link { a, b }).await.expect("joined");
    assert_clean(app, "a pair parted and joined").await;
    let value = |value: &str| (entity::IdentifierKind::Email, String::new(), value.to_owned());
    let (kind, namespace, text) = value("all@example.test");
    decide(
        app,
        Decision::Release {
            kind,
            namespace,
            value: text,
        },
    )
    .await
    .expect("released");
    let (kind, namespace, text) = value("ada@example.test");
    decide(
        app,
        Decision::Block {
            kind,
            namespace,
            value: text,
        },
    )
    .await
    .expect("blocked");
    assert_clean(app, "a block and a release").await;
}

on_both! {
    async fn a_world_of_guards_and_decisions_checks_clean(app: TestApp) {
        world(&app).await;
        assert_clean(&app, "messages alone").await;
        assert!(app.scalar("SELECT COUNT(*) FROM held_item").await > 0, "something was quarantined");
        assert!(app.scalar("SELECT COUNT(*) FROM record WHERE siblings > 0").await > 0, "the device passed on");
        assert!(app.scalar("SELECT COUNT(*) FROM identity_decision WHERE kind = 11").await > 0, "something was set aside");
        decisions_of_every_kind(&app).await;
        app.stop().await;
    }

    async fn every_tampered_row_is_named(app: TestApp) {
        world(&app).await;
        decisions_of_every_kind(&app).await;
        app.run_due_refresh().await;
        for tampering in TAMPERINGS {
            tamper(&app, tampering).await;
        }
        assert_clean(&app, "after everything was put right again").await;
        app.stop().await;
    }
}

/// A column is given another value, and what the check must say of it.
struct Tampering {
    table: &'static str,
    /// Which row, and how the check names it: the first column of the answer.
    row: &'static str,
    column: &'static str,
    /// An SQL expression.
    wrong: &'static str,
}

const fn tampering(table: &'static str, row: &'static str, column: &'static str, wrong: &'static str) -> Tampering {
    Tampering {
        table,
        row,
        column,
        wrong,
    }
}

const SOME_RECORD: &str = "SELECT id FROM record WHERE external_key = 'u:bob'";
const SOME_PURCHASE: &str = "SELECT record_id, id FROM purchase WHERE order_id = '7'";
/// Named so, since a tampering looks for `customer_id` under the name `id`.
const SOME_VALUE: &str = "SELECT customer_value.customer_id FROM customer_value WHERE totals <> '{}'";
const SOME_STAGE: &str =
    "SELECT metric_change.customer_id, metric FROM metric_change WHERE until_at IS NULL AND metric = 'lifecycle'";
const SOME_ACTIVITY: &str = "SELECT activity.customer_id, name, day FROM activity WHERE name = 'Review Submitted'";
const TAMPERINGS: &[Tampering] = &[
    tampering(
        "record",
        SOME_RECORD,
        "customer_id",
        "(SELECT id FROM record WHERE external_key = 'u:ada')",
    ),
    tampering("record", SOME_RECORD, "traits", "'{}'"),
    tampering("record", SOME_RECORD, "siblings", "3"),
    tampering(
        "record",
        "SELECT id FROM record WHERE external_key = 'u:shop-4'",
        "was_customer",
        "(1 = 0)",
    ),
    tampering(
        "identifier",
        "SELECT id FROM identifier WHERE value = 'bob'",
        "owner_id",
        "(SELECT id FROM record WHERE external_key = 'u:shop-4')",
    ),
    tampering("identifier", "SELECT id FROM identifier WHERE value = 'bob'", "state", "2"),
    tampering(
        "customer",
        "SELECT customer_id FROM record WHERE external_key = 'u:bob'",
        "created_at",
        "7",
    ),
    tampering(
        "customer",
        "SELECT customer_id FROM record WHERE external_key = 'u:bob'",
        "golden",
        "'{\"city\":\"Rom\"}'",
    ),
    tampering(
        "customer",
        "SELECT customer_id FROM record WHERE external_key = 'u:bob'",
        "display_name",
        "'Eve'",
    ),
    tampering(
        "customer",
        "SELECT customer_id FROM record WHERE external_key = 'u:bob'",
        "email",
        "'eve@example.test'",
    ),
    tampering(
        "customer",
        "SELECT customer_id FROM record WHERE external_key = 'u:bob'",
        "phone",
        "'1'",
    ),
    tampering(
        "customer",
        "SELECT customer_id FROM record WHERE external_key = 'u:bob'",
        "name_folded",
        "'eve'",
    ),
    tampering(
        "customer",
        "SELECT customer_id FROM record WHERE external_key = 'u:bob'",
        "email_folded",
        "'eve'",
    ),
    tampering(
        "customer",
        "SELECT customer_id FROM record WHERE external_key = 'u:bob'",
        "phone_folded",
        "'eve'",
    ),
    tampering(
        "identity_decision",
        "SELECT id FROM identity_decision WHERE revoked_by IS NOT NULL",
        "revoked_by",
        "NULL",
    ),
    tampering(
        "decision_record",
        "SELECT record_id, decision_id FROM decision_record WHERE NOT stands ORDER BY record_id LIMIT 1",
        "stands",
        "(1 = 1)",
    ),
    tampering("purchase", SOME_PURCHASE, "amount_minor", "1"),
    tampering("purchase", SOME_PURCHASE, "refunded_minor", "1"),
    tampering("purchase", SOME_PURCHASE, "lines_at", "1"),
    tampering(
        "purchase_line",
        "SELECT record_id, purchase_id, n FROM purchase_line",
        "quantity",
        "9",
    ),
    tampering(
        "refund",
        "SELECT record_id, purchase_id, event_id FROM refund WHERE amount IS NOT NULL",
        "amount",
        "'3'",
    ),
    tampering("product", "SELECT id FROM product WHERE sku = 'p1'", "name", "'Pencil'"),
    tampering("customer_value", SOME_VALUE, "purchase_count", "9"),
    tampering("customer_value", SOME_VALUE, "unknown_count", "9"),
    tampering("customer_value", SOME_VALUE, "returned_count", "9"),
    tampering("customer_value", SOME_VALUE, "first_purchase_at", "9"),
    tampering("customer_value", SOME_VALUE, "last_purchase_at", "9"),
    tampering("customer_value", SOME_VALUE, "totals", "'{}'"),
    tampering("metric_change", SOME_STAGE, "value", "'MATURE'"),
    tampering("metric_change", SOME_STAGE, "detail", r#"'{"subStage": "LOST"}'"#),
    tampering("customer_value", SOME_VALUE, "currency", "'USD'"),
    tampering("customer_value", SOME_VALUE, "order_count", "9"),
    tampering("customer_value", SOME_VALUE, "priced_count", "9"),
    tampering("customer_value", SOME_VALUE, "net_minor", "9"),
    tampering("customer_value", SOME_VALUE, "back_minor", "9"),
    tampering("customer_value", SOME_VALUE, "day_count", "9"),
    tampering("customer_value", SOME_VALUE, "first_day", "9"),
    tampering("customer_value", SOME_VALUE, "last_day", "9"),
    tampering("customer_value", SOME_VALUE, "earning_days", "9"),
    tampering("customer_value", SOME_VALUE, "barren_days", "9"),
    tampering("customer_value", SOME_VALUE, "spend_minor", "9"),
    tampering("customer_value", SOME_VALUE, "began_before", "(1 = 1)"),
    tampering("customer_value", SOME_VALUE, "referral_count", "9"),
    tampering("customer_value", SOME_VALUE, "review_count", "9"),
    tampering("activity", SOME_ACTIVITY, "count", "9"),
];

/// Changes one row, checks that the check names it, and puts it right.
async fn tamper(app: &TestApp, tampering: &Tampering) {
    let Tampering {
        table,
        row,
        column,
        wrong,
    } = tampering;
    let store = &app.server.services.store;
    let run = async |sql: String, values: Vec<sea_orm::Value>| {
        let statement = Statement::from_sql_and_values(store.backend(), &sql, values);
        store
            .writer()
            .execute_raw(statement)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
            .rows_affected()
    };
    let names: Vec<&str> = row
        .trim_start_matches("SELECT ")
        .split(" FROM ")
        .next()
        .unwrap()
        .split(", ")
        .collect();
    let found = store
        .reader()
        .query_one_raw(Statement::from_string(store.backend(), *row))
        .await
        .unwrap()
        .expect(row);
    let mut key = Vec::new();
    let mut values: Vec<sea_orm::Value> = Vec::new();
    for (i, name) in names.iter().enumerate() {
        if matches!(*name, "n" | "day") {
            let n: i64 = found.try_get_by_index(i).unwrap();
            key.push(n.to_string());
            values.push(n.into());
        } else if matches!(*name, "metric" | "name") {
            let name: String = found.try_get_by_index(i).unwrap();
            key.push(name.clone());
            values.push(name.into());
        } else {
            let id: Uuid = found.try_get_by_index(i).unwrap();
            key.push(id.to_string());
            values.push(id.into());
        }
    }
    let columns: Vec<String> = names
        .iter()
        .map(|name| if *name == "customer_id" { "id" } else { name })
        .enumerate()
        .map(|(i, name)| format!("{name} = ${}", i + 1))
        .collect();
    let condition = columns.join(" AND ");
    run(
        format!("CREATE TABLE kept AS SELECT {column} AS it FROM {table} WHERE {condition}"),
        values.clone(),
    )
    .await;
    assert_eq!(
        run(
            format!("UPDATE {table} SET {column} = {wrong} WHERE {condition}"),
            values.clone()
        )
        .await,
        1,
        "{table}.{column}"
    );
    let named = format!("{table}.{column} {}: ", key.join("/"));
    let said: Vec<String> = check(app).await.iter().map(ToString::to_string).collect();
    assert!(
        said.iter().any(|line| line.starts_with(&named)),
        "{named} is not among:\n{}",
        said.join("\n")
    );
    assert_eq!(
        run(
            format!("UPDATE {table} SET {column} = (SELECT it FROM kept) WHERE {condition}"),
            values
        )
        .await,
        1
    );
    run("DROP TABLE kept".to_owned(), Vec::new()).await;
}

on_both! {
    async fn rows_that_are_missing_or_made_up_are_named(app: TestApp) {
        world(&app).await;
        decisions_of_every_kind(&app).await;
        app.run_due_refresh().await;
        for (table, row) in [
            ("customer", "id IN (SELECT customer_id FROM record WHERE external_key = 'u:bob')"),
            ("identity_decision", "kind = 11 AND identifier_id IS NOT NULL"),
            ("identity_decision", "kind = 1"),
            ("held_item", "identifier_id IS NOT NULL"),
            ("purchase", "order_id = '7'"),
            ("purchase_line", "n = 0"),
            ("refund", "amount IS NOT NULL"),
            ("customer_value", "purchase_count > 0"),
            ("metric_change", "until_at IS NULL AND metric = 'lifecycle'"),
            ("activity", "name = 'Referral Converted'"),
            ("product", "sku = 'p2'"),
            ("event_definition", "name = 'Product Viewed'"),
            ("trait_definition", "name = 'city'"),
        ] {
            let store = &app.server.services.store;
            let run = async |sql: String| store.writer().execute_unprepared(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")).rows_affected();
            run(format!("CREATE TABLE kept AS SELECT * FROM {table} WHERE {row}")).await;
            assert!(run(format!("DELETE FROM {table} WHERE {row}")).await > 0, "{table} {row}");
            let found = check(&app).await;
            let is_missing = |found: &Difference| found.table == table && found.column.is_none() && found.stored.is_none();
            assert!(found.iter().any(is_missing), "{table}: {found:?}");
            run(format!("INSERT INTO {table} SELECT * FROM kept")).await;
            run("DROP TABLE kept".to_owned()).await;
        }
        assert_clean(&app, "after everything was put back").await;
        app.stop().await;
    }
}

/// Enough of a random generator: the worlds must be the same on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n as u64).unwrap()
    }

    fn hits(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }
}

fn random_message(dice: &mut Dice, n: usize) -> Value {
    let at = format!("2026-05-{:02}T{:02}:00:00Z", 1 + dice.below(28), dice.below(24));
    let mut message = json!({"messageId": format!("m{n}"), "timestamp": at});
    if dice.hits(2) {
        message["userId"] = format!("user{}", dice.below(12)).into();
    }
    if message.get("userId").is_none() || dice.hits(2) {
        message["anonymousId"] = format!("device{}", dice.below(8)).into();
    }
    if dice.hits(12) && message.get("userId").is_some() {
        message["type"] = "alias".into();
        message["previousId"] = format!("{}{}", dice.of(&["user", "device", "ghost"]), dice.below(8)).into();
        return message;
    }
    if dice.hits(4) {
        message["type"] = "track".into();
        message["event"] = dice
            .of(&["Order Completed", "Order Updated", "Order Refunded", "Product Viewed"])
            .into();
        message["properties"] = json!({"order_id": dice.below(6).to_string(), "revenue": dice.below(50), "currency": "EUR",
            "products": [{"product_id": format!("p{}", dice.below(4)), "name": format!("name {n}"), "price": dice.below(9)}]});
        return message;
    }
    let mut traits = json!({});
    if dice.hits(2) {
        traits["email"] = format!("{}@example.test", dice.below(9)).into();
    }
    if dice.hits(3) {
        traits["phone"] = format!("+1415555010{}", dice.below(5)).into();
    }
    if dice.hits(2) {
        traits["firstName"] = dice.of(&[json!("Ada"), json!("Bob"), json!("ada "), json!("n/a"), Value::Null]);
    }
    message["type"] = "identify".into();
    message["traits"] = traits;
    message
}

/// An item of a system that knows several values of one kind: which is tried first matters.
fn random_item(dice: &mut Dice, n: usize) -> Value {
    let mut identifiers: Vec<Value> = Vec::new();
    for _ in 0..1 + dice.below(3) {
        let address = format!("{}@example.test", dice.below(9));
        if !identifiers.iter().any(|known| known["value"] == address) {
            identifiers.push(json!({"kind": "EMAIL", "value": address}));
        }
    }
    if dice.hits(2) {
        identifiers.push(json!({"kind": "LOYALTY_ID", "value": format!("card{}", dice.below(5))}));
    }
    json!({"key": format!("crm{}", dice.below(10)), "messageId": format!("item{n}"), "identifiers": identifiers,
        "traits": {"firstName": dice.of(&["Ada", "Bob"])}})
}

async fn ingest(app: &TestApp, source: &str, item: Value) {
    let sql = "mutation($input: RecordsIngestInput!) { recordsIngest(input: $input) { receipts { status error { message } } userErrors { message } } }";
    let data = app.ask_with(sql, json!({"input": {"source": source, "items": [item]}})).await;
    assert_ne!(data["recordsIngest"]["receipts"][0]["status"], "REJECTED", "{data}");
}

async fn random_decision(app: &TestApp, dice: &mut Dice) {
    let records: Vec<RecordId> = ids(app, "SELECT id FROM record ORDER BY id")
        .await
        .into_iter()
        .map(RecordId)
        .collect();
    let customers: Vec<CustomerId> = ids(app, "SELECT id FROM customer ORDER BY id")
        .await
        .into_iter()
        .map(CustomerId)
        .collect();
    let value = || (entity::IdentifierKind::Email, String::new());
    let decision = match dice.below(8) {
        0 | 1 => Decision::Merge {
            into: dice.of(&customers),
            from: dice.of(&customers),
        },
        2 => {
            let customer = ids(
                app,
                "SELECT customer_id FROM record GROUP BY customer_id HAVING COUNT(*) > 1 ORDER BY COUNT(*) DESC, customer_id",
            )
            .await;
            let Some(customer) = customer.first().map(|id| CustomerId(*id)) else {
                return;
            };
            let store = &app.server.services.store;
            let sql = "SELECT id FROM record WHERE customer_id = $1 ORDER BY id";
            let statement = Statement::from_sql_and_values(store.backend(), sql, [customer.0.into()]);
            let rows = store.reader().query_all_raw(statement).await.unwrap();
            let mut side: Vec<RecordId> = rows.iter().map(|row| RecordId(row.try_get_by_index(0).unwrap())).collect();
            side.retain(|_| dice.hits(2));
            Decision::Split { customer, records: side }
        }
        3 => Decision::Link {
            a: dice.of(&records),
            b: dice.of(&records),
        },
        4 => Decision::Separate {
            a: dice.of(&records),
            b: dice.of(&records),
        },
        5 | 6 => {
            let sql = format!(
                "SELECT id FROM identity_decision WHERE revoked_by IS NULL AND kind IN ({}, {}) ORDER BY arrival",
                entity::IdentityDecisionKind::Merge.to_value(),
                entity::IdentityDecisionKind::Split.to_value()
            );
            let standing = ids(app, &sql).await;
            if standing.is_empty() {
                return;
            }
            Decision::Revoke {
                decision: DecisionId(dice.of(&standing)),
            }
        }
        _ => {
            let ((kind, namespace), text) = (value(), format!("{}@example.test", dice.below(9)));
            if dice.hits(2) {
                Decision::Block {
                    kind,
                    namespace,
                    value: text,
                }
            } else {
                Decision::Release {
                    kind,
                    namespace,
                    value: text,
                }
            }
        }
    };
    // What cannot be done is refused, and changes nothing.
    if let Err(MendError::Store(error)) = decide(app, decision).await {
        panic!("{error}");
    }
}

async fn random_histories_check_clean(backend: Backend) {
    let mut kinds = std::collections::BTreeSet::new();
    let mut opened = 0;
    for seed in SEEDS {
        let app = TestApp::new(backend).await;
        let shared_after = [3, 5, 20][usize::try_from(seed % 3).unwrap()];
        publish(
            &app,
            &json!({"shared_after": shared_after, "over_merge_alarm": {"joins": 3, "hours": 24}, "max_records": 12, "identifiers": {"email": {"limit": 3, "on_conflict": "latest"}}}),
        )
        .await;
        let key = app.source("web", "WEB").await;
        let data = app.ask("{ sources(first: 1) { nodes { id } } }").await;
        let source = data["sources"]["nodes"][0]["id"].as_str().unwrap().to_owned();
        let mut dice = Dice(seed);
        let mut sent = 0;
        while sent < MESSAGES {
            let count = 1 + dice.below(6);
            let messages: Vec<Value> = (sent..sent + count).map(|n| random_message(&mut dice, n)).collect();
            sent += count;
            app.clock.advance(Duration::from_secs(1));
            app.batch(&key, json!(messages)).await;
            if dice.hits(2) {
                ingest(&app, &source, random_item(&mut dice, sent)).await;
            }
            if dice.hits(3) {
                random_decision(&app, &mut dice).await;
            }
            if dice.hits(8) {
                assert_clean(&app, &format!("seed {seed} after {sent} messages")).await;
            }
        }
        assert_clean(&app, &format!("seed {seed}, all of it")).await;
        for kind in 1..=12 {
            if app
                .scalar(&format!("SELECT COUNT(*) FROM identity_decision WHERE kind = {kind}"))
                .await
                > 0
            {
                kinds.insert(kind);
            }
        }
        opened += app.scalar("SELECT COUNT(*) FROM record WHERE siblings > 0").await;
        app.stop().await;
    }
    let all = [1, 2, 3, 4, 5, 6, 7, 11, 12];
    assert!(
        kinds.into_iter().eq(all) && opened > 0,
        "the histories hold every kind of decision"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_histories_check_clean_on_sqlite() {
    random_histories_check_clean(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_histories_check_clean_on_postgres() {
    random_histories_check_clean(Backend::Postgres).await;
}
