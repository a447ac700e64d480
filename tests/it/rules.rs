//! Other rules: what they would change is said without changing anything, and publishing them places everybody again.

use crate::support::{TestApp, on_both};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use tributary::identity::Rules;
use tributary::pipeline::rebuild;
use tributary::store::Difference;

const SIMULATE: &str = "query($rules: IdentityRulesInput!) { identitySimulate(rules: $rules) {
    records customersBefore customersAfter merges splits riskiest { isMerge customerCount parts records customers { id } } } }";
const PUBLISH: &str = "mutation($input: IdentityRulesInput!) { identityRulesPublish(input: $input) {
    version transaction job { id state } userErrors { code field message } } }";

/// Ada and Ben share a phone, each with a first name; Cleo and Dan share a mailbox that a shop's till sends; Eve has a placeholder.
async fn world(app: &TestApp) -> String {
    let key = app.source("web", "WEB").await;
    let identify = |user: &str, n: u32, traits: Value| json!({"type": "identify", "userId": user, "messageId": format!("{user}-{n}"), "traits": traits});
    let form =
        |device: &str, traits: Value| json!({"type": "identify", "anonymousId": device, "messageId": device, "traits": traits});
    app.batch(
        &key,
        json!([
            form("d1", json!({"phone": "+12025550101", "firstName": "Ada"})),
            form("d2", json!({"phone": "+12025550101", "firstName": "Ben"})),
            form("d3", json!({"email": "team@shop.example", "firstName": "Cleo"})),
            form("d4", json!({"email": "team@shop.example", "firstName": "Dan"})),
            form("d5", json!({"email": "noreply@shop.example"})),
            form("d6", json!({"email": "noreply@shop.example"})),
            identify("gus", 1, json!({"email": "gus@x.example"})),
        ]),
    )
    .await;
    key
}

/// Every table with its number of rows, and the last ordinal of the log.
async fn everything(app: &TestApp) -> Vec<i64> {
    let mut counts = Vec::new();
    for (table, _) in migration::DISTRIBUTION {
        counts.push(app.count(table).await);
    }
    counts.push(app.scalar("SELECT COALESCE(MAX(ordinal), 0) FROM change_tx").await);
    counts
}

/// Who shares a customer with whom, by their devices.
async fn partition(app: &TestApp) -> BTreeSet<Vec<String>> {
    let data = app
        .ask("{ customers(first: 50) { nodes { records { externalKey } } } }")
        .await;
    let nodes = data["customers"]["nodes"].as_array().unwrap();
    let keys = |node: &Value| {
        let mut keys: Vec<String> = node["records"]
            .as_array()
            .unwrap()
            .iter()
            .map(|record| record["externalKey"].as_str().unwrap().to_owned())
            .collect();
        keys.sort();
        keys
    };
    nodes.iter().map(keys).collect()
}

fn parts(expected: &[&[&str]]) -> BTreeSet<Vec<String>> {
    expected
        .iter()
        .map(|part| part.iter().map(|key| (*key).to_owned()).collect())
        .collect()
}

async fn assert_rebuilds(app: &TestApp) {
    let services = &app.server.services;
    let configured = Arc::new(Rules::parse(services.rules.configured()).unwrap());
    let mut found: Vec<Difference> = Vec::new();
    rebuild::check(
        &services.store,
        configured,
        (services.value.clone(), services.now()),
        &mut found,
    )
    .await
    .unwrap();
    assert!(found.is_empty(), "{found:#?}");
}

on_both! {
    async fn a_simulation_says_what_would_change_and_writes_nothing(app: TestApp) {
        world(&app).await;
        let before = everything(&app).await;
        let rules = json!({"rules": {
            "identifiers": {"phone": {"requires_agreement": []}},
            "blocked": {"email": {"exact": ["team@shop.example"], "regex": []}},
        }});
        let data = app.ask_with(SIMULATE, json!({"rules": rules})).await;
        let simulation = &data["identitySimulate"];
        // The phone joins Ada and Ben; the mailbox no longer joins Cleo and Dan; the placeholder, no longer blocked, joins its two.
        assert_eq!(
            json!([simulation["records"], simulation["customersBefore"], simulation["customersAfter"], simulation["merges"], simulation["splits"]]),
            json!([7, 6, 5, 2, 1]),
            "{simulation}"
        );
        let risks: Vec<(bool, i64)> = simulation["riskiest"].as_array().unwrap().iter()
            .map(|risk| (risk["isMerge"].as_bool().unwrap(), risk["records"].as_i64().unwrap())).collect();
        assert_eq!(risks.len(), 3);
        assert_eq!(risks.iter().filter(|(is_merge, _)| *is_merge).count(), 2);
        assert_eq!(everything(&app).await, before);

        let (_, answer) = app.graphql(crate::support::app::ADMIN_KEY, json!({"query": SIMULATE, "variables": {"rules": {"rules": {"identifiers": {"phone": {"limit": "many"}}}}}})).await;
        let message = answer["errors"][0]["message"].as_str().unwrap();
        assert!(message.starts_with("rules.identifiers.phone: "), "{message}");
        app.stop().await;
    }

    async fn published_rules_place_everybody_again_in_the_background(app: TestApp) {
        let key = world(&app).await;
        assert_eq!(partition(&app).await, parts(&[&["a:d1"], &["a:d2"], &["a:d3", "a:d4"], &["a:d5"], &["a:d6"], &["u:gus"]]));
        let rules = json!({
            "identifiers": {"phone": {"requires_agreement": []}},
            "blocked": {"email": {"exact": ["team@shop.example"], "regex": []}},
            "golden": {"first_name": {"strategy": "longest"}},
        });
        let published = app.ask_with(PUBLISH, json!({"input": {"rules": rules, "reason": "couples share phones"}})).await;
        let published = &published["identityRulesPublish"];
        assert_eq!(json!([published["version"], published["userErrors"], published["job"]["state"]]), json!([1, [], "QUEUED"]), "{published}");
        // They stand for what comes now, before anybody is placed again.
        app.batch(&key, json!([{"type": "identify", "anonymousId": "d7", "messageId": "d7", "traits": {"email": "team@shop.example", "firstName": "Fay"}}])).await;
        app.run_due_jobs().await;
        let job = app.ask_with("query($id: ID!) { job(id: $id) { state progress result error } }", json!({"id": published["job"]["id"]})).await;
        assert_eq!(job["job"]["state"], "SUCCEEDED", "{job}");
        let expected = parts(&[&["a:d1", "a:d2"], &["a:d3"], &["a:d4"], &["a:d5", "a:d6"], &["a:d7"], &["u:gus"]]);
        assert_eq!(partition(&app).await, expected);
        let ada = app.ask(r#"{ customerBy(identifier: {kind: PHONE, value: "+12025550101"}) { firstName identityHistory(first: 5) { nodes { kind reason } } } }"#).await;
        assert_eq!(ada["customerBy"]["firstName"], "Ben", "of two equally long the later: {ada}");
        let kinds: Vec<&Value> = ada["customerBy"]["identityHistory"]["nodes"].as_array().unwrap().iter().map(|node| &node["kind"]).collect();
        assert!(kinds.contains(&&json!("RULES")), "{ada}");
        let nobody = app.ask(r#"{ customerBy(identifier: {kind: EMAIL, value: "team@shop.example"}) { id } identityRules { version } }"#).await;
        assert_eq!(nobody, json!({"customerBy": null, "identityRules": {"version": 1}}));
        assert_rebuilds(&app).await;

        // Published again, they change nothing; the old ones bring the old customers back, under their old ids.
        let again = app.ask_with(PUBLISH, json!({"input": {"rules": {}, "reason": "once more"}})).await;
        assert_eq!(again["identityRulesPublish"]["version"], 2);
        app.run_due_jobs().await;
        assert_eq!(partition(&app).await, expected);
        let back = app.ask_with(PUBLISH, json!({"input": {"rules": {}, "base": "DEFAULTS", "reason": "back"}})).await;
        assert_eq!(back["identityRulesPublish"]["version"], 3);
        app.run_due_jobs().await;
        assert_eq!(partition(&app).await, parts(&[&["a:d1"], &["a:d2"], &["a:d3", "a:d4", "a:d7"], &["a:d5"], &["a:d6"], &["u:gus"]]));
        assert_rebuilds(&app).await;
        app.stop().await;
    }

    async fn a_value_that_suddenly_joins_too_many_people_is_held_and_listed(app: TestApp) {
        let key = app.source("web", "WEB").await;
        app.ask_with(PUBLISH, json!({"input": {"rules": {"over_merge_alarm": {"joins": 3, "hours": 24}}, "reason": "a small shop"}})).await;
        app.run_due_jobs().await;
        // Nine people known by their devices, then all of them write from the team's address.
        for n in 0..9 {
            app.batch(&key, json!([{"type": "identify", "anonymousId": format!("d{n}"), "messageId": format!("own{n}"), "traits": {"first_name": format!("P{n}")}}])).await;
        }
        for n in 0..9 {
            app.batch(&key, json!([{"type": "identify", "anonymousId": format!("d{n}"), "messageId": format!("team{n}"), "traits": {"email": "team@x.example"}}])).await;
        }
        let held = app.ask("{ heldItems(first: 5) { nodes { reason identifier { value state } decision { kind because } } } }").await;
        let nodes = held["heldItems"]["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), 1, "{held}");
        assert_eq!(json!([nodes[0]["reason"], nodes[0]["identifier"], nodes[0]["decision"]["kind"]]),
            json!(["TOO_MANY_JOINS", {"value": "team@x.example", "state": "HELD"}, "HOLD"]), "{held}");
        // What it joined before stays joined, and nobody else was.
        let joined: Vec<usize> = partition(&app).await.iter().map(Vec::len).filter(|records| *records > 1).collect();
        assert_eq!(joined, [4]);
        assert_rebuilds(&app).await;
        app.stop().await;
    }

    async fn rules_that_are_not_sound_are_refused_with_their_path(app: TestApp) {
        let refused = |data: Value| data["identityRulesPublish"]["userErrors"][0]["field"].clone();
        for (input, field) in [
            (json!({"rules": {"phone_region": "Mars"}, "reason": "x"}), json!(["input", "rules", "phone_region"])),
            (json!({"rules": {"golden": {"city": {"strategy": "best"}}}, "reason": "x"}), json!(["input", "rules", "golden", "city", "strategy"])),
            (json!({"rules": {}}), json!(["input", "reason"])),
        ] {
            assert_eq!(refused(app.ask_with(PUBLISH, json!({"input": input})).await), field);
        }
        assert_eq!(app.count("identity_rules").await, 0);
        assert_eq!(app.count("job").await, 0);
        app.stop().await;
    }
}
