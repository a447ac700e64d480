//! What people decide about who is who, through GraphQL: merging, splitting, taking back, blocking, resolving what is held, and asking
//! why.

use super::support::{TestApp, on_both};
use crate::support::app::ADMIN_KEY;
use entity::identity_rules;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tributary::identity::Rules;
use tributary::identity::store::decisions::insert_rules;

const DECISION: &str = "decision { id kind because reason actor evidence revokedBy { id } }";
const ERRORS: &str = "transaction userErrors { code field message }";

/// Makes a source; answers its id.
async fn source(app: &TestApp, key: &str) -> String {
    let input = json!({"key": key, "name": key, "channel": "CRM", "alias": "REVIEW"});
    let query = "mutation($input: SourceCreateInput!) { sourceCreate(input: $input) { source { id } } }";
    let data = app.ask_with(query, json!({"input": input})).await;
    text(&data["sourceCreate"]["source"]["id"])
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}

/// A record with the identifiers `KIND value`.
fn person(key: &str, identifiers: &[&str]) -> Value {
    let identifier = |said: &&str| {
        let (kind, value) = said.split_once(' ').unwrap();
        json!({"kind": kind, "value": value})
    };
    json!({"key": key, "traits": {"name": key}, "identifiers": identifiers.iter().map(identifier).collect::<Vec<_>>()})
}

/// Ingests records one after the other; answers (record, customer) of each.
async fn arrive(app: &TestApp, source: &str, people: &[Value]) -> Vec<(String, String)> {
    let query = "mutation($input: RecordsIngestInput!) { recordsIngest(input: $input) { receipts { record { id } customer { id } error { message } } } }";
    let mut arrived = Vec::new();
    for person in people {
        let data = app
            .ask_with(query, json!({"input": {"source": source, "items": [person]}}))
            .await;
        let receipt = &data["recordsIngest"]["receipts"][0];
        arrived.push((text(&receipt["record"]["id"]), text(&receipt["customer"]["id"])));
    }
    arrived
}

/// Calls a mutation of who is who; answers its payload.
async fn decide(app: &TestApp, mutation: &str, input: Value) -> Value {
    let (first, rest) = mutation.split_at(1);
    let input_type = format!("{}{rest}Input", first.to_uppercase());
    let customers = match mutation {
        "customerMerge" => "customer { id records { externalKey } }",
        "heldItemResolve" => "customers { id } heldItem { id resolvedBy }",
        _ => "customers { id records { externalKey } }",
    };
    let query =
        format!("mutation($input: {input_type}!) {{ answer: {mutation}(input: $input) {{ {customers} {DECISION} {ERRORS} }} }}");
    let answer = app.ask_with(&query, json!({"input": input})).await["answer"].clone();
    let is_refused = answer["userErrors"] != json!([]);
    assert_eq!(is_refused, answer["transaction"].is_null(), "{answer}");
    answer
}

/// The same, which must not be refused.
async fn decided(app: &TestApp, mutation: &str, input: Value) -> Value {
    let answer = decide(app, mutation, input).await;
    assert_eq!(answer["userErrors"], json!([]), "{mutation}");
    answer
}

/// The same, which must be refused: code, field and message.
async fn refused(app: &TestApp, mutation: &str, input: Value) -> (String, Value, String) {
    let decisions = app.count("identity_decision").await;
    let answer = decide(app, mutation, input).await;
    assert_eq!(app.count("identity_decision").await, decisions);
    let errors = answer["userErrors"].as_array().unwrap();
    assert_eq!(errors.len(), 1, "{answer}");
    (
        text(&errors[0]["code"]),
        errors[0]["field"].clone(),
        text(&errors[0]["message"]),
    )
}

/// Everybody: the keys of their records, by id, with what is known of them.
async fn everybody(app: &TestApp) -> BTreeMap<String, (Vec<String>, Value)> {
    let data = app
        .ask("{ customers(first: 100) { nodes { id displayName email phone createdAt records { externalKey } identifiers { kind value state } } } }")
        .await;
    let nodes = data["customers"]["nodes"].as_array().unwrap();
    let of = |node: &Value| {
        let mut rest = node.clone();
        let records = rest.as_object_mut().unwrap().remove("records").unwrap();
        (text(&node["id"]), (keys(&records), rest))
    };
    nodes.iter().map(of).collect()
}

fn keys(records: &Value) -> Vec<String> {
    let mut keys: Vec<String> = records
        .as_array()
        .unwrap()
        .iter()
        .map(|record| text(&record["externalKey"]))
        .collect();
    keys.sort();
    keys
}

/// The records of each customer of an answer.
fn sides(answer: &Value) -> Vec<Vec<String>> {
    let mut sides: Vec<Vec<String>> = answer["customers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|customer| keys(&customer["records"]))
        .collect();
    sides.sort();
    sides
}

async fn customer_by(app: &TestApp, said: &str) -> Value {
    let (kind, value) = said.split_once(' ').unwrap();
    let query = "query($by: IdentifierInput!) { customerBy(identifier: $by) { id } }";
    let data = app.ask_with(query, json!({"by": {"kind": kind, "value": value}})).await;
    data["customerBy"]["id"].clone()
}

async fn held(app: &TestApp) -> Vec<Value> {
    let data = app
        .ask(
            "{ heldItems(first: 100) { totalCount nodes { id reason heldAt record { id externalKey } otherRecord { externalKey }
               identifier { value state } decision { kind because } resolvedAt } } }",
        )
        .await;
    let nodes = data["heldItems"]["nodes"].as_array().unwrap().clone();
    assert_eq!(data["heldItems"]["totalCount"], json!(nodes.len()));
    nodes
}

async fn explain(app: &TestApp, a: &str, b: &str) -> Value {
    let query = "query($a: ID!, $b: ID!) { identityExplain(a: $a, b: $b) { customer { id } steps {
        from { externalKey } to { externalKey } identifier { kind value } decision { kind reason } at because } } }";
    app.ask_with(query, json!({"a": a, "b": b})).await["identityExplain"].clone()
}

on_both! {
    async fn a_merge_keeps_one_id_and_the_other_resolves_to_it(app: TestApp) {
        let crm = source(&app, "crm").await;
        let people = [person("k1", &["EMAIL a@x.test"]), person("k2", &["EMAIL b@x.test"])];
        let arrived = arrive(&app, &crm, &people).await;
        let [(_, old), (_, new)] = &arrived[..] else { panic!() };
        let events = app.count("event").await;
        let answer = decided(&app, "customerMerge", json!({"into": new, "from": old, "reason": " She said so. "})).await;
        assert_eq!((&answer["customer"]["id"], keys(&answer["customer"]["records"])), (&json!(new), vec!["k1".to_owned(), "k2".to_owned()]));
        assert_eq!(app.count("event").await, events);

        let data = app.ask_with("query($id: ID!) { customer(id: $id) { id previousIds timeline(first: 9, kinds: [IDENTIFY]) { nodes { id } }
            identityHistory(first: 1) { nodes { id kind because reason actor occurredAt evidence revokedBy { id } } pageInfo { hasNextPage } } } }", json!({"id": old})).await;
        let customer = &data["customer"];
        assert_eq!((&customer["id"], &customer["previousIds"]), (&json!(new), &json!([old])));
        assert_eq!(customer["timeline"]["nodes"].as_array().unwrap().len(), 2);
        let history = &customer["identityHistory"];
        assert_eq!(history["pageInfo"]["hasNextPage"], false);
        let decision = &history["nodes"][0];
        assert_eq!((&decision["id"], &decision["kind"], &decision["reason"]), (&answer["decision"]["id"], &json!("MERGE"), &json!("She said so.")));
        assert_eq!(decision["evidence"], json!({"into": new, "absorbed": old}));
        assert_eq!(decision["actor"], "key:preset");
        assert_eq!(decision["because"], "Key:preset merged two customers: She said so.");
        let node = app.ask_with("query($id: ID!) { node(id: $id) { __typename id ... on IdentityDecision { kind } } }", json!({"id": decision["id"]})).await;
        assert_eq!(node["node"], json!({"__typename": "IdentityDecision", "id": decision["id"], "kind": "MERGE"}));
        assert_eq!((customer_by(&app, "EMAIL a@x.test").await, customer_by(&app, "EMAIL b@x.test").await), (json!(new), json!(new)));
        app.stop().await;
    }

    async fn what_cannot_be_decided_is_refused_with_a_reason(app: TestApp) {
        let crm = source(&app, "crm").await;
        let people = [person("k1", &["EMAIL a@x.test"]), person("k2", &["EMAIL a@x.test"]), person("k3", &[])];
        let arrived = arrive(&app, &crm, &people).await;
        let (one, other) = (&arrived[0].1, &arrived[2].1);
        let input = |field: &str| json!(["input", field]);
        let conflict = "CONFLICT".to_owned();
        let split = decided(&app, "customerSplit", json!({"customer": one, "records": [arrived[1].0], "reason": "r"})).await;
        let (kept, parted) = (&split["customers"][0]["id"], &split["customers"][1]["id"]);
        let (code, field, message) = refused(&app, "customerMerge", json!({"into": kept, "from": parted, "reason": "r"})).await;
        let decision = text(&split["decision"]["id"]);
        assert!(decision.starts_with("dec_"));
        assert_eq!((code, field), (conflict.clone(), input("from")));
        assert_eq!(message, format!("the decision {decision} keeps records of the two apart: revoke it first (identityDecisionRevoke), if it is wrong"));

        decided(&app, "customerMerge", json!({"into": one, "from": other, "reason": "r"})).await;
        for (into, from) in [(one, other), (one, one)] {
            let (code, field, message) = refused(&app, "customerMerge", json!({"into": into, "from": from, "reason": "r"})).await;
            assert_eq!((code, field, message.as_str()), (conflict.clone(), input("from"), "both ids are one customer already"));
        }
        let nobody = "cus_AAAAAAAAAAAAAAAAAAAAAA";
        let cases = [
            ("customerMerge", json!({"into": nobody, "from": one, "reason": "r"}), "NOT_FOUND", input("into"), "there is no such customer"),
            ("customerMerge", json!({"into": one, "from": arrived[0].0, "reason": "r"}), "INVALID", input("from"), "expected the id of a Customer, this is the id of a Record"),
            ("customerMerge", json!({"into": one, "from": other, "reason": " "}), "INVALID", input("reason"), "say why, in 1 to 1000 characters: whoever asks later reads it"),
            ("customerSplit", json!({"customer": one, "records": [], "reason": "r"}), "INVALID", input("records"), "name the records that are another person"),
            ("customerSplit", json!({"customer": one, "records": [arrived[0].0, arrived[2].0], "reason": "r"}), "INVALID", input("records"), "these are all records of the customer: leave one that stays"),
            ("recordsLink", json!({"a": arrived[0].0, "b": arrived[0].0, "reason": "r"}), "INVALID", input("b"), "this is the same record twice"),
            ("recordsSeparate", json!({"a": one, "b": arrived[0].0, "reason": "r"}), "INVALID", input("a"), "expected the id of a Record, this is the id of a Customer"),
            ("identityDecisionRevoke", json!({"id": "dec_AAAAAAAAAAAAAAAAAAAAAA", "reason": "r"}), "NOT_FOUND", input("id"), "there is no such decision"),
            ("identityDecisionRevoke", json!({"id": one, "reason": "r"}), "INVALID", input("id"), "expected the id of a IdentityDecision, this is the id of a Customer"),
            ("heldItemResolve", json!({"id": "hld_AAAAAAAAAAAAAAAAAAAAAA", "action": "DISMISS", "reason": "r"}), "NOT_FOUND", input("id"), "there is no such item on hold"),
            ("identifierBlock", json!({"identifier": {"kind": "EXTERNAL_ID", "value": "1"}, "reason": "r"}), "INVALID", json!(["input", "identifier", "namespace"]), "EXTERNAL_ID needs the namespace it is unique in"),
        ];
        for (mutation, sent, code, field, message) in cases {
            assert_eq!(refused(&app, mutation, sent).await, (code.to_owned(), field, message.to_owned()), "{mutation}");
        }
        let stranger = arrived[1].0.clone();
        let (code, field, message) = refused(&app, "customerSplit", json!({"customer": one, "records": [stranger], "reason": "r"})).await;
        assert_eq!((code, field, message), (conflict, input("records"), format!("the record {stranger} does not belong to this customer")));
        app.stop().await;
    }

    async fn it_needs_the_scope_write(app: TestApp) {
        let made = app.ask(r#"mutation { apiKeyCreate(input: {name: "k", scopes: [READ, READ_PII]}) { secret } }"#).await;
        let key = text(&made["apiKeyCreate"]["secret"]);
        let calls = [
            "customerMerge(input: {into: \"a\", from: \"b\", reason: \"r\"})", "customerSplit(input: {customer: \"a\", records: [], reason: \"r\"})",
            "recordsLink(input: {a: \"a\", b: \"b\", reason: \"r\"})", "recordsSeparate(input: {a: \"a\", b: \"b\", reason: \"r\"})",
            "identityDecisionRevoke(input: {id: \"a\", reason: \"r\"})", "identifierBlock(input: {identifier: {kind: EMAIL, value: \"a@x.test\"}, reason: \"r\"})",
            "identifierRelease(input: {identifier: {kind: EMAIL, value: \"a@x.test\"}, reason: \"r\"})", "heldItemResolve(input: {id: \"a\", action: ACCEPT, reason: \"r\"})",
        ];
        for call in calls {
            let (_, answer) = app.graphql(&key, json!({"query": format!("mutation {{ {call} {{ transaction }} }}")})).await;
            assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "{call}: {answer}");
        }
        let (_, answer) = app.graphql(ADMIN_KEY, json!({"query": format!("mutation {{ {} {{ transaction }} }}", calls[0])})).await;
        assert_eq!(answer["data"]["customerMerge"]["transaction"], Value::Null);
        app.stop().await;
    }

    async fn a_split_stands_against_the_same_evidence_until_it_is_taken_back(app: TestApp) {
        let crm = source(&app, "crm").await;
        let people = [person("k1", &["EMAIL e@x.test"]), person("k2", &["EMAIL e@x.test", "LOYALTY_ID L"]), person("k3", &["EMAIL e@x.test"])];
        let arrived = arrive(&app, &crm, &people).await;
        let ada = &arrived[0].1;
        let before = everybody(&app).await;
        let split = decided(&app, "customerSplit", json!({"customer": ada, "records": [arrived[2].0], "reason": "a twin"})).await;
        assert_eq!(sides(&split), [vec!["k1", "k2"], vec!["k3"]]);
        assert_eq!(split["decision"]["because"], "Key:preset said that one record of a customer is another person than the rest: a twin.");
        assert_eq!(customer_by(&app, "EMAIL e@x.test").await, json!(ada));
        // The same evidence again, and more of it.
        let again = arrive(&app, &crm, &[person("k3", &["EMAIL e@x.test", "LOYALTY_ID L"]), person("k4", &["EMAIL e@x.test"])]).await;
        assert_ne!(&again[0].1, ada);
        assert_eq!(&again[1].1, ada);
        assert_eq!(app.count("customer").await, 2);

        let revoked = decided(&app, "identityDecisionRevoke", json!({"id": split["decision"]["id"], "reason": "no twin"})).await;
        assert_eq!(sides(&revoked), [vec!["k1", "k2", "k3", "k4"]]);
        assert_eq!(revoked["decision"]["because"], "Key:preset took a split back: no twin.");
        let history = app.ask_with("query($id: ID!) { customer(id: $id) { id previousIds identityHistory(first: 2) { nodes { kind revokedBy { id } } } } }", json!({"id": again[0].1})).await;
        assert_eq!(history["customer"]["id"], json!(ada));
        assert_eq!(history["customer"]["previousIds"], json!([again[0].1]));
        assert!(history["customer"]["identityHistory"]["nodes"].as_array().unwrap().iter().any(|node| node["kind"] == "REVOKE"));
        let after = everybody(&app).await;
        assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
        app.stop().await;
    }

    async fn a_side_of_a_split_may_become_several_customers(app: TestApp) {
        let crm = source(&app, "crm").await;
        let people = [person("k1", &["EMAIL a@x.test", "EMAIL b@x.test"]), person("k2", &["EMAIL a@x.test"]), person("k3", &["EMAIL b@x.test"])];
        let arrived = arrive(&app, &crm, &people).await;
        let split = decided(&app, "customerSplit", json!({"customer": arrived[0].1, "records": [arrived[1].0, arrived[2].0], "reason": "r"})).await;
        assert_eq!(sides(&split), [["k1"], ["k2"], ["k3"]]);
        app.stop().await;
    }

    async fn taking_a_decision_back_restores_people_ids_and_golden_values(app: TestApp) {
        let crm = source(&app, "crm").await;
        let people = [
            person("k1", &["EMAIL a@x.test", "PHONE +12015550101"]), person("k2", &["EMAIL a@x.test"]),
            person("k3", &["EMAIL b@x.test"]), person("k4", &["EMAIL b@x.test", "DEVICE_ID d"]),
        ];
        let arrived = arrive(&app, &crm, &people).await;
        let before = everybody(&app).await;
        assert_eq!(before.len(), 2);
        let (one, other) = (&arrived[0].1, &arrived[2].1);
        for (mutation, input) in [
            ("customerMerge", json!({"into": other, "from": one, "reason": "r"})),
            ("customerMerge", json!({"into": one, "from": other, "reason": "r"})),
            ("customerSplit", json!({"customer": one, "records": [arrived[0].0], "reason": "r"})),
            ("customerSplit", json!({"customer": other, "records": [arrived[3].0], "reason": "r"})),
            ("recordsLink", json!({"a": arrived[1].0, "b": arrived[2].0, "reason": "r"})),
            ("recordsSeparate", json!({"a": arrived[0].0, "b": arrived[1].0, "reason": "r"})),
        ] {
            let decision = decided(&app, mutation, input).await["decision"]["id"].clone();
            assert_ne!(everybody(&app).await, before, "{mutation}");
            decided(&app, "identityDecisionRevoke", json!({"id": decision, "reason": "back"})).await;
            assert_eq!(everybody(&app).await, before, "{mutation}");
            let node = app.ask_with("query($id: ID!) { node(id: $id) { ... on IdentityDecision { revokedBy { id kind reason } } } }", json!({"id": decision})).await;
            let by = &node["node"]["revokedBy"];
            assert_eq!((&by["kind"], &by["reason"]), (&json!("REVOKE"), &json!("back")));
            let (code, field, message) = refused(&app, "identityDecisionRevoke", json!({"id": decision, "reason": "r"})).await;
            assert_eq!((code.as_str(), field, message), ("CONFLICT", json!(["input", "id"]), format!("the decision {} has taken it back already", text(&by["id"]))));
        }
        app.stop().await;
    }

    async fn an_automatic_link_is_undone_by_a_split_and_says_so(app: TestApp) {
        let crm = source(&app, "crm").await;
        let people = [person("k1", &["EMAIL a@x.test"]), person("k2", &["EMAIL b@x.test"]), person("k3", &["EMAIL a@x.test", "EMAIL b@x.test"])];
        let arrived = arrive(&app, &crm, &people).await;
        let data = app.ask_with("query($id: ID!) { customer(id: $id) { previousIds identityHistory(first: 9) { nodes { id kind because actor reason } } } }", json!({"id": arrived[2].1})).await;
        assert_eq!(data["customer"]["previousIds"], json!([arrived[1].1]));
        let link = &data["customer"]["identityHistory"]["nodes"][0];
        assert_eq!((&link["kind"], &link["actor"], &link["reason"]), (&json!("LINK"), &json!("source:crm"), &Value::Null));
        assert_eq!(link["because"], "Two customers became one, since both showed the e-mail address b@x.test.");
        let (code, field, message) = refused(&app, "identityDecisionRevoke", json!({"id": link["id"], "reason": "r"})).await;
        assert_eq!((code.as_str(), field, message.as_str()), ("INVALID", json!(["input", "id"]), "an automatic link is undone by customerSplit or recordsSeparate"));
        app.stop().await;
    }

    async fn a_link_by_hand_stands_above_the_limits_and_the_last_word_on_a_pair_counts(app: TestApp) {
        let crm = source(&app, "crm").await;
        let arrived = arrive(&app, &crm, &[person("k1", &["USER_ID 11"]), person("k2", &["USER_ID 22"])]).await;
        let pair = json!({"a": arrived[0].0, "b": arrived[1].0, "reason": "r"});
        for _ in 0..2 {
            let linked = decided(&app, "recordsLink", pair.clone()).await;
            assert_eq!(sides(&linked), [["k1", "k2"]]);
            assert_eq!(customer_by(&app, "USER_ID 22").await, json!(arrived[0].1));
            let parted = decided(&app, "recordsSeparate", pair.clone()).await;
            assert_eq!(sides(&parted), [["k1"], ["k2"]]);
            assert_eq!(customer_by(&app, "USER_ID 22").await, json!(arrived[1].1));
        }
        app.stop().await;
    }

    async fn a_blocked_value_recognises_nobody_until_it_is_released(app: TestApp) {
        let crm = source(&app, "crm").await;
        let people = [person("k1", &["EMAIL e@x.test", "LOYALTY_ID L1"]), person("k2", &["EMAIL e@x.test"])];
        let arrived = arrive(&app, &crm, &people).await;
        let identifier = json!({"kind": "EMAIL", "value": " E@x.test "});
        let blocked = decided(&app, "identifierBlock", json!({"identifier": identifier, "reason": "a shared mailbox"})).await;
        assert_eq!(sides(&blocked), [["k1"], ["k2"]]);
        assert_eq!(blocked["decision"]["because"], "Key:preset said that the e-mail address e@x.test recognises nobody: a shared mailbox.");
        assert_eq!((customer_by(&app, "EMAIL e@x.test").await, customer_by(&app, "LOYALTY_ID L1").await), (Value::Null, json!(arrived[0].1)));
        arrive(&app, &crm, &[person("k3", &["EMAIL e@x.test"])]).await;
        assert_eq!(app.count("customer").await, 3);
        for value in ["e@x.test", "test@test.com", "no address"] {
            let (code, field, message) = refused(&app, "identifierBlock", json!({"identifier": {"kind": "EMAIL", "value": value}, "reason": "r"})).await;
            assert_eq!((code.as_str(), field, message.as_str()), ("CONFLICT", json!(["input", "identifier", "value"]), "this value recognises nobody as it is"));
        }
        let (_, _, message) = refused(&app, "identifierRelease", json!({"identifier": {"kind": "EMAIL", "value": "test@test.com"}, "reason": "r"})).await;
        assert!(message.contains("identityRulesPublish"), "{message}");

        let released = decided(&app, "identifierRelease", json!({"identifier": identifier, "reason": "it was hers"})).await;
        assert_eq!((sides(&released).len(), customer_by(&app, "EMAIL e@x.test").await), (0, Value::Null));
        let (_, _, message) = refused(&app, "identifierRelease", json!({"identifier": identifier, "reason": "r"})).await;
        assert_eq!(message, "this value is neither blocked nor held");
        let again = arrive(&app, &crm, &[person("k4", &["EMAIL e@x.test"]), person("k5", &["EMAIL e@x.test"])]).await;
        assert_eq!(again[0].1, again[1].1);
        assert_eq!(customer_by(&app, "EMAIL e@x.test").await, json!(again[0].1));
        // A value that nobody has shown yet.
        let early = json!({"kind": "EMAIL", "value": "early@x.test"});
        assert_eq!(sides(&decided(&app, "identifierBlock", json!({"identifier": early, "reason": "r"})).await).len(), 0);
        let late = arrive(&app, &crm, &[person("k6", &["EMAIL early@x.test"]), person("k7", &["EMAIL early@x.test"])]).await;
        assert_ne!(late[0].1, late[1].1);
        app.stop().await;
    }

    async fn a_value_on_hold_is_released_or_stays_as_it_is(app: TestApp) {
        let crm = source(&app, "crm").await;
        for device in ["kiosk", "till"] {
            let people: Vec<Value> = (0..20).map(|n| person(&format!("{device}-{n}"), &[&format!("USER_ID {device}-{n}"), &format!("DEVICE_ID {device}")])).collect();
            let arrived = arrive(&app, &crm, &people).await;
            let items = held(&app).await;
            assert_eq!(items.len(), 1);
            assert_eq!((&items[0]["reason"], &items[0]["identifier"]), (&json!("SHARED"), &json!({"value": device, "state": "HELD"})));
            assert_eq!((&items[0]["record"]["id"], &items[0]["otherRecord"]), (&json!(arrived[19].0), &Value::Null));
            assert_eq!(items[0]["decision"]["because"], format!("The device {device} recognises nobody for now, since 20 customers have shown it."));
            assert_eq!(customer_by(&app, &format!("DEVICE_ID {device}")).await, Value::Null);
            let is_accepted = device == "kiosk";
            let input = json!({"id": items[0]["id"], "action": if is_accepted { "ACCEPT" } else { "DISMISS" }, "reason": "seen"});
            let answer = decided(&app, "heldItemResolve", input.clone()).await;
            assert_eq!(answer["heldItem"], json!({"id": items[0]["id"], "resolvedBy": "key:preset"}));
            assert_eq!(held(&app).await, Vec::<Value>::new());
            let (code, field, message) = refused(&app, "heldItemResolve", input).await;
            assert_eq!((code.as_str(), field, message.as_str()), ("CONFLICT", json!(["input", "id"]), "somebody has looked at it already"));
            let again = json!({"key": format!("{device}-3"), "messageId": "again", "identifiers": [{"kind": "DEVICE_ID", "value": device}]});
            arrive(&app, &crm, &[again]).await;
            if is_accepted {
                assert_eq!(answer["decision"]["kind"], "RELEASE");
                assert_eq!(customer_by(&app, "DEVICE_ID kiosk").await, json!(arrived[3].1));
            } else {
                assert_eq!(answer["decision"], Value::Null);
                assert_eq!(customer_by(&app, "DEVICE_ID till").await, Value::Null);
            }
        }
        app.stop().await;
    }

    async fn an_alias_under_review_waits_for_a_person(app: TestApp) {
        source(&app, "web").await;
        let sources = app.ask("{ sources { nodes { id } } }").await;
        let rotated = app.ask_with("mutation($id: ID!) { sourceUpdate(input: {id: $id, rotateWriteKey: true}) { writeKey } }", json!({"id": sources["sources"]["nodes"][0]["id"]})).await;
        let key = text(&rotated["sourceUpdate"]["writeKey"]);
        app.batch(&key, json!([
            {"type": "track", "event": "Seen", "anonymousId": "visitor", "messageId": "1"},
            {"type": "identify", "userId": "ada", "messageId": "2"},
            {"type": "alias", "userId": "ada", "previousId": "visitor", "messageId": "3"},
            {"type": "identify", "userId": "ben", "messageId": "4"},
            {"type": "alias", "userId": "ben", "previousId": "other", "messageId": "5"},
        ])).await;
        let items = held(&app).await;
        let told: Vec<_> = items.iter().map(|item| (text(&item["reason"]), text(&item["record"]["externalKey"]), text(&item["otherRecord"]["externalKey"]))).collect();
        assert_eq!(told, [("ALIAS", "u:ada", "a:visitor"), ("ALIAS", "u:ben", "u:other")].map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())));
        assert_eq!(items[0]["decision"]["because"], "The source web says that two of its ids are one person, and its aliases wait for a person.");
        assert_ne!(customer_by(&app, "USER_ID ada").await, customer_by(&app, "ANONYMOUS_ID visitor").await);
        let accepted = decided(&app, "heldItemResolve", json!({"id": items[0]["id"], "action": "ACCEPT", "reason": "r"})).await;
        assert_eq!((&accepted["decision"]["kind"], accepted["customers"].as_array().unwrap().len()), (&json!("MERGE"), 1));
        assert_eq!(customer_by(&app, "USER_ID ada").await, customer_by(&app, "ANONYMOUS_ID visitor").await);
        let dismissed = decided(&app, "heldItemResolve", json!({"id": items[1]["id"], "action": "DISMISS", "reason": "r"})).await;
        assert_eq!((&dismissed["decision"], &dismissed["customers"]), (&Value::Null, &json!([])));
        assert_ne!(customer_by(&app, "USER_ID ben").await, customer_by(&app, "USER_ID other").await);
        assert_eq!(held(&app).await.len(), 0);
        app.stop().await;
    }

    async fn a_full_customer_takes_somebody_in_by_a_merge_only(app: TestApp) {
        let mut config = Rules::shop_json();
        config["max_records"] = json!(2);
        let services = &app.server.services;
        let rules = identity_rules::Model { version: 1, config, arrival: 1, actor: "test".to_owned() };
        insert_rules(services.store.writer(), &rules).await.unwrap();
        services.rules.refresh(&services.store).await.unwrap();
        let crm = source(&app, "crm").await;
        let people: Vec<Value> = ["k1", "k2", "k3"].map(|key| person(key, &["EMAIL e@x.test"])).into();
        let arrived = arrive(&app, &crm, &people).await;
        assert_ne!(arrived[0].1, arrived[2].1);
        let items = held(&app).await;
        assert_eq!(items[0]["reason"], "TOO_MANY_RECORDS");
        let (code, field, message) = refused(&app, "heldItemResolve", json!({"id": items[0]["id"], "action": "ACCEPT", "reason": "r"})).await;
        assert_eq!((code.as_str(), field), ("CONFLICT", json!(["input", "action"])));
        assert!(message.contains("customerMerge"), "{message}");
        assert_eq!(held(&app).await.len(), 1, "a refusal resolves nothing");
        decided(&app, "customerMerge", json!({"into": arrived[0].1, "from": arrived[2].1, "reason": "r"})).await;
        decided(&app, "heldItemResolve", json!({"id": items[0]["id"], "action": "DISMISS", "reason": "r"})).await;
        assert_eq!(app.count("customer").await, 1);
        app.stop().await;
    }

    async fn every_id_ever_handed_out_resolves_whatever_is_decided(app: TestApp) {
        let crm = source(&app, "crm").await;
        let people: Vec<Value> = (0..12).map(|n| person(&format!("k{n:02}"), &[&format!("EMAIL e{}@x.test", n / 3), &format!("DEVICE_ID d{}", n % 5)])).collect();
        let arrived = arrive(&app, &crm, &people).await;
        let records: Vec<&String> = arrived.iter().map(|(record, _)| record).collect();
        let mut handed_out: Vec<String> = arrived.iter().map(|(_, customer)| customer.clone()).collect();
        let mut standing: Vec<Value> = Vec::new();
        let mut state = 20_260_601_u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below
        };
        let (mut done, mut turned_down) = (0, 0);
        for _ in 0..40 {
            let choice = random(4);
            let answer = match choice {
                0 => {
                    let (into, from) = (random(handed_out.len()), random(handed_out.len()));
                    decide(&app, "customerMerge", json!({"into": handed_out[into], "from": handed_out[from], "reason": "r"})).await
                }
                1 => {
                    let (a, b) = (records[random(12)], records[random(12)]);
                    decide(&app, ["recordsLink", "recordsSeparate"][random(2)], json!({"a": a, "b": b, "reason": "r"})).await
                }
                2 => {
                    let customer = app.ask_with("query($id: ID!) { customer(id: $id) { id records { id } } }", json!({"id": handed_out[random(handed_out.len())]})).await["customer"].clone();
                    let own = customer["records"].as_array().unwrap();
                    let count = 1 + random(own.len());
                    let side: Vec<&Value> = own.iter().rev().take(count).map(|record| &record["id"]).collect();
                    decide(&app, "customerSplit", json!({"customer": customer["id"], "records": side, "reason": "r"})).await
                }
                _ if standing.is_empty() => continue,
                _ => {
                    let decision = standing.swap_remove(random(standing.len()));
                    decided(&app, "identityDecisionRevoke", json!({"id": decision, "reason": "r"})).await
                }
            };
            if answer["userErrors"] == json!([]) {
                done += 1;
                if choice < 3 {
                    standing.push(answer["decision"]["id"].clone());
                }
            } else {
                turned_down += 1;
            }
            let everybody = everybody(&app).await;
            handed_out.extend(everybody.keys().filter(|id| !handed_out.contains(id)).cloned().collect::<Vec<_>>());
            let of_all: usize = everybody.values().map(|(keys, _)| keys.len()).sum();
            assert_eq!(of_all, 12);
            let ask: String = (0..).zip(&handed_out).map(|(n, id): (usize, &String)| format!("c{n}: customer(id: \"{id}\") {{ id previousIds }} ")).collect();
            let data = app.ask(&format!("{{ {ask} }}")).await;
            for (n, id) in handed_out.iter().enumerate() {
                let found = &data[format!("c{n}")];
                let today = text(&found["id"]);
                assert!(everybody.contains_key(&today), "{id}");
                let is_known = today == *id || found["previousIds"].as_array().unwrap().contains(&json!(id));
                assert!(is_known, "{id} resolves to {found}");
            }
        }
        assert!(done > 15 && turned_down > 2, "{done} {turned_down}");
        app.stop().await;
    }

    async fn a_chain_of_records_explains_why_two_are_one(app: TestApp) {
        let crm = source(&app, "crm").await;
        let people = [person("k1", &["EMAIL a@x.test"]), person("k2", &["EMAIL a@x.test", "LOYALTY_ID L"]), person("k3", &["LOYALTY_ID L"]), person("k4", &["EMAIL z@x.test"])];
        let arrived = arrive(&app, &crm, &people).await;
        let path = explain(&app, &arrived[0].0, &arrived[2].0).await;
        assert_eq!(path["customer"]["id"], json!(arrived[0].1));
        let steps: Vec<Value> = path["steps"].as_array().unwrap().iter().map(|step| {
            assert!(text(&step["at"]).starts_with("2026-06-01T12:00:00"));
            json!([step["from"]["externalKey"], step["to"]["externalKey"], step["identifier"]["value"], step["decision"], step["because"]])
        }).collect();
        assert_eq!(steps, [
            json!(["k1", "k2", "a@x.test", null, "Both records showed the e-mail address a@x.test."]),
            json!(["k2", "k3", "L", null, "Both records showed the loyalty card L."]),
        ]);
        assert_eq!(explain(&app, &arrived[0].0, &arrived[3].0).await, Value::Null);
        assert_eq!(explain(&app, &arrived[3].0, &arrived[3].1).await, json!({"customer": {"id": arrived[3].1}, "steps": []}));
        assert_eq!(explain(&app, &arrived[3].0, "cus_AAAAAAAAAAAAAAAAAAAAAA").await, Value::Null);

        // What was two customers, by any id: the decision that made them one.
        decided(&app, "customerMerge", json!({"into": arrived[3].1, "from": arrived[0].1, "reason": "she said so"})).await;
        let path = explain(&app, &arrived[2].0, &arrived[3].1).await;
        let last = &path["steps"][2];
        assert_eq!((&last["from"]["externalKey"], &last["to"]["externalKey"], &last["identifier"]), (&json!("k1"), &json!("k4"), &Value::Null));
        assert_eq!(last["decision"], json!({"kind": "MERGE", "reason": "she said so"}));
        // Without the value of the middle step, they are one no more.
        decided(&app, "identifierBlock", json!({"identifier": {"kind": "LOYALTY_ID", "value": "L"}, "reason": "r"})).await;
        assert_eq!(explain(&app, &arrived[0].0, &arrived[2].0).await, Value::Null);
        app.stop().await;
    }

    async fn a_thousand_records_are_explained_in_as_many_statements_as_two(app: TestApp) {
        let crm = source(&app, "crm").await;
        let query = "mutation($input: RecordsIngestInput!) { recordsIngest(input: $input) { receipts { status record { id } } } }";
        let mut first_and_last = Vec::new();
        for half in 0..2 {
            let items: Vec<Value> = (0..500).map(|n| person(&format!("{half}-{n}"), &["EMAIL e@x.test"])).collect();
            let data = app.ask_with(query, json!({"input": {"source": crm, "items": items}})).await;
            let receipts = data["recordsIngest"]["receipts"].as_array().unwrap().clone();
            first_and_last.push(text(&receipts[if half == 0 { 0 } else { 499 }]["record"]["id"]));
        }
        let few = arrive(&app, &crm, &[person("few-1", &["EMAIL f@x.test"]), person("few-2", &["EMAIL f@x.test"])]).await;
        let mut costs = Vec::new();
        for (a, b) in [(&few[0].0, &few[1].0), (&first_and_last[0], &first_and_last[1])] {
            let before = app.server.services.store.statement_count();
            let begun = std::time::Instant::now();
            let path = explain(&app, a, b).await;
            println!("explained in {:?}", begun.elapsed());
            assert_eq!(path["steps"].as_array().unwrap().len(), 1);
            costs.push(app.server.services.store.statement_count() - before);
        }
        assert_eq!(costs[0], costs[1]);
        assert!(costs[0] <= 12, "{costs:?}");
        app.stop().await;
    }

    async fn a_merge_takes_as_many_statements_whatever_the_customers_have(app: TestApp) {
        let crm = source(&app, "crm").await;
        let mut costs = Vec::new();
        for count in [1, 1, 5] {
            let mut pair = Vec::new();
            for side in ["a", "b"] {
                let people: Vec<Value> = (0..count).map(|n| person(&format!("{}{side}{n}", costs.len()), &[&format!("EMAIL {side}{}@x.test", costs.len())])).collect();
                pair.push(arrive(&app, &crm, &people).await[0].1.clone());
            }
            let before = app.server.services.store.statement_count();
            decided(&app, "customerMerge", json!({"into": pair[0], "from": pair[1], "reason": "r"})).await;
            costs.push(app.server.services.store.statement_count() - before);
        }
        assert_eq!(costs[1], costs[2]);
        app.stop().await;
    }

    async fn histories_of_a_page_of_customers_take_one_round(app: TestApp) {
        let crm = source(&app, "crm").await;
        let mut costs = Vec::new();
        for n in 0..3 {
            let people: Vec<Value> = (0..2).map(|m| person(&format!("{n}-{m}"), &[])).collect();
            let arrived = arrive(&app, &crm, &people).await;
            decided(&app, "customerMerge", json!({"into": arrived[0].1, "from": arrived[1].1, "reason": "r"})).await;
            let pair = json!({"a": arrived[0].0, "b": arrived[1].0, "reason": "again"});
            decided(&app, "recordsLink", pair).await;
            let before = app.server.services.store.statement_count();
            let data = app.ask("{ customers(first: 9) { nodes { previousIds identityHistory(first: 1) { nodes { because reason revokedBy { id } } pageInfo { hasNextPage endCursor } } } } }").await;
            costs.push(app.server.services.store.statement_count() - before);
            let nodes = data["customers"]["nodes"].as_array().unwrap();
            assert_eq!(nodes.len(), n + 1);
            for node in nodes {
                let history = &node["identityHistory"];
                assert_eq!((&history["nodes"][0]["reason"], &history["pageInfo"]["hasNextPage"]), (&json!("again"), &json!(true)));
                assert_eq!(node["previousIds"].as_array().unwrap().len(), 1);
            }
            let after = text(&nodes[0]["identityHistory"]["pageInfo"]["endCursor"]);
            let data = app.ask_with("query($id: ID!, $after: String) { customer(id: $id) { identityHistory(first: 9, after: $after) { nodes { kind reason } } } }", json!({"id": arrived[0].1, "after": after})).await;
            assert_eq!(data["customer"]["identityHistory"]["nodes"], json!([{"kind": "MERGE", "reason": "r"}]));
        }
        assert_eq!(costs[0], costs[2]);
        app.stop().await;
    }
}
