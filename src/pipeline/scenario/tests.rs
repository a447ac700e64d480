//! Files with mistakes are told where; differences are told in words. What scenarios end in is tested on real stores (`tests/it`).

use super::*;
use crate::identity::Rules;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

fn a_scenario() -> Value {
    json!({"id": "A", "title": "two", "steps": [
        {"op": "record", "record_id": "r1", "channel": "web", "ts": "2026-03-01T01:00:00Z",
            "identifiers": {"email": ["a@a.example", "b@a.example"], "wechat_openid": "o1", "phone": null, "user_id": " "}},
        {"op": "record", "record_id": "r2", "channel": "call", "ts": "2026-03-01T02:00:00Z", "attributes": {"city": "Bonn"}},
        {"op": "must_link", "a": "r1", "b": "r2", "note": "one person"},
        {"op": "block_value", "type": "email", "value": "a@a.example"},
        {"op": "record", "record_id": "r1", "channel": "crm", "ts": "2026-03-01T03:00:00Z",
            "consents": [{"purpose": " Ads ", "channel": "sms", "state": "DENIED"}]},
        {"op": "consent_record", "customer_of": "r2", "purpose": "A", "state": "GRANTED"}],
        "expected": {"partition": [["r1", "r2"]], "consents": [{"customer_of": "r2", "purpose": "A", "state": "UNKNOWN"}], "golden": {"r1": {"city": "Bonn"}},
            "redirects": [{"old_id_of": "r2", "resolves_to_customer_of": "r1"}],
            "lookup": [{"type": "email", "value": "b@a.example", "customer_of": "r1"}]}})
}

fn read_one(scenario: &Value) -> Result<Scenario, Fault> {
    let file = json!({"format": 1, "scenarios": [scenario]}).to_string();
    let mut scenarios = read(&file, &Rules::shop_json()).expect("a file");
    scenarios.pop().expect("one").scenario
}

#[test]
fn a_scenario_is_read_with_its_sources_and_without_blank_values() {
    let scenario = read_one(&a_scenario()).expect("sound");
    assert_eq!(scenario.rules, Rules::shop_json());
    assert_eq!(scenario.sources.keys().collect::<Vec<_>>(), ["call", "crm", "web"]);
    assert_eq!(scenario.sources["call"], entity::Channel::CallCentre);
    let Deed::Record { identifiers, .. } = &scenario.steps[0].deed else {
        panic!("{:?}", scenario.steps[0]);
    };
    let shown: Vec<(&str, &str)> = identifiers
        .iter()
        .map(|identifier| (identifier.namespace.as_str(), identifier.value.as_str()))
        .collect();
    assert_eq!(shown, [("", "a@a.example"), ("", "b@a.example"), ("wechat_openid", "o1")]);
    assert!(
        matches!(&scenario.steps[4].deed, Deed::Record { source, .. } if source == "web"),
        "a redelivery is one"
    );
    let Deed::Record { consents, .. } = &scenario.steps[4].deed else {
        panic!("{:?}", scenario.steps[4]);
    };
    let ads = Answer {
        purpose: "Ads".to_owned(),
        channel: "SMS".to_owned(),
        answer: entity::ConsentAnswer::Denied,
    };
    assert_eq!(consents, &[ads]);
    assert!(matches!(&scenario.steps[5].deed, Deed::Consent { said, .. } if said.channel == "ANY"));
    assert_eq!(
        (
            scenario.expected.consents[0].channel.as_str(),
            scenario.expected.consents[0].state
        ),
        ("ANY", None)
    );
}

#[test]
fn a_mistake_is_told_with_its_path() {
    for (pointer, wrong, expected) in [
        ("/steps/0/op", json!("recrod"), r#"steps[0].op: there is no step "recrod""#),
        ("/steps/0/ts", json!("yesterday"), r#"steps[0].ts: "yesterday" is no time"#),
        ("/steps/1/ts", Value::Null, "steps[1].ts: is missing"),
        (
            "/steps/0/channel",
            json!(7),
            "steps[0].channel: must be a text, this is a number",
        ),
        (
            "/steps/0/channel",
            json!("web shop"),
            "steps[0].channel: no source can have this name",
        ),
        ("/steps/0/record_id", json!(" "), "steps[0].record_id: must not be empty"),
        (
            "/steps/0/identifiers/phone",
            json!(49),
            "steps[0].identifiers.phone: must be a text, this is a number",
        ),
        (
            "/steps/0/identifiers/email/1",
            json!({}),
            "steps[0].identifiers.email[1]: must be a text, this is an object",
        ),
        (
            "/steps/1/attributes",
            json!([]),
            "steps[1].attributes: must be an object, this is a list",
        ),
        (
            "/steps/2/b",
            json!("r9"),
            r#"steps[2].b: no step before brings a record "r9""#,
        ),
        (
            "/steps/2/c",
            json!("r1"),
            "steps[2].c: is not known here: there are op, ts, a, b",
        ),
        (
            "/steps/4/consents/0/state",
            json!("granted"),
            r#"steps[4].consents[0].state: "granted" is no state"#,
        ),
        (
            "/steps/4/consents/0/channel",
            json!(" "),
            "steps[4].consents[0].channel: must have 1 to 255 characters",
        ),
        (
            "/steps/4/consents/0/at",
            json!("now"),
            "steps[4].consents[0].at: is not known here",
        ),
        ("/steps/5/state", json!("UNKNOWN"), "steps[5].state: nobody answers UNKNOWN"),
        ("/steps/5/purpose", Value::Null, "steps[5].purpose: is missing"),
        (
            "/steps/5/customer_of",
            json!("r3"),
            "steps[5].customer_of: no step before brings",
        ),
        (
            "/expected/consents/0/state",
            Value::Null,
            "expected.consents[0].state: is missing",
        ),
        ("/steps/3/value", Value::Null, "steps[3].value: is missing"),
        ("/steps", json!({}), "steps: must be a list, this is an object"),
        ("/expected", Value::Null, "expected: is missing"),
        ("/expected/partition", Value::Null, "expected.partition: is missing"),
        (
            "/expected/partition/0/1",
            json!("r3"),
            "expected.partition[0][1]: no step before brings",
        ),
        (
            "/expected/partition/0/1",
            json!("r1"),
            r#"expected.partition[0][1]: "r1" stands here twice"#,
        ),
        ("/expected/partition/0", json!([]), "expected.partition[0]: is empty"),
        ("/expected/lokup", json!([]), "expected.lokup: is not known here"),
        ("/expected/golden/r1", json!("Bonn"), "expected.golden.r1: must be an object"),
        ("/expected/golden/r3", json!({}), "expected.golden.r3: no step before brings"),
        (
            "/expected/redirects/0/old_id_of",
            json!("r3"),
            "expected.redirects[0].old_id_of: no step",
        ),
        (
            "/expected/lookup/0/customer_of",
            json!("r3"),
            "expected.lookup[0].customer_of: no step",
        ),
        ("/confg", json!({}), "confg: is not known here"),
        ("/id", Value::Null, "id: is missing"),
        ("/config", json!([]), "config: must be an object"),
        ("/config", json!({"colour": 1}), "config: unknown field `colour`"),
        (
            "/config",
            json!({"identifiers": {"email": {"limit": "5"}}}),
            "config.identifiers.email: invalid type",
        ),
        (
            "/config",
            json!({"phone_region": "Mars"}),
            "config.phone_region: Mars is no region",
        ),
        (
            "/config",
            json!({"blocked": {"email": {"regex": ["("]}}}),
            "config.blocked.email.regex: ",
        ),
        (
            "/config",
            json!({"golden": {"city": {"strategy": "newest"}}}),
            "config.golden.city.strategy: ",
        ),
    ] {
        let mut scenario = a_scenario();
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        match scenario.pointer_mut(parent).expect(pointer) {
            Value::Array(items) => items[key.parse::<usize>().expect("a place")] = wrong,
            parent => parent[key] = wrong,
        }
        let fault = read_one(&scenario).expect_err(pointer).to_string();
        assert!(fault.starts_with(expected), "{pointer}: {fault}");
    }
}

#[test]
fn a_lookup_says_nobody_in_so_many_words() {
    let mut scenario = a_scenario();
    scenario["expected"]["lookup"][0]["customer_of"] = Value::Null;
    assert_eq!(read_one(&scenario).expect("sound").expected.lookup[0].customer_of, None);
    let lookup = scenario["expected"]["lookup"][0].as_object_mut().expect("an object");
    lookup.remove("customer_of");
    let fault = read_one(&scenario).expect_err("missing").to_string();
    assert!(fault.starts_with("expected.lookup[0]: customer_of is missing"), "{fault}");
}

#[test]
fn a_file_that_cannot_be_cut_into_scenarios_says_why() {
    let read = |text: &str| read(text, &Rules::shop_json());
    for (text, expected) in [
        ("{\n \"scenarios\": oops", "expected value at line 2"),
        (r#"{"format": 1}"#, "missing field `scenarios`"),
        (r#"{"format": 2, "scenarios": [{}]}"#, "format: is 2"),
        (r#"{"scenarios": []}"#, "scenarios: is empty"),
        (r#"{"scenarios": [{}], "defaults": {}}"#, "unknown field `defaults`"),
        (
            r#"{"scenarios": [{}], "default_config": {"phone_region": "US"}}"#,
            "default_config: missing field `identifiers`",
        ),
    ] {
        let fault = read(text).expect_err(text).to_string();
        assert!(fault.contains(expected), "{text}: {fault}");
    }
    let twice = json!({"scenarios": [a_scenario(), a_scenario(), {"title": "nameless"}]}).to_string();
    let scenarios = read(&twice).expect("a file");
    let ids: Vec<&str> = scenarios.iter().map(|read| read.id.as_str()).collect();
    assert_eq!(ids, ["A", "A", "scenarios[2]"]);
    assert!(scenarios[0].scenario.is_ok(), "the others still run");
    let fault = scenarios[1].scenario.clone().expect_err("the second A").to_string();
    assert!(fault.contains("another scenario of this file is called A"), "{fault}");
    let repeated = r#"{"scenarios": [{"id": "A", "steps": [{"op": "record", "op": "record"}]}]}"#;
    let fault = read(repeated).expect("a file")[0]
        .scenario
        .clone()
        .expect_err("a key twice")
        .path;
    assert_eq!(fault, "steps.0.op");
}

#[test]
fn differences_are_told_in_words() {
    let scenario = read_one(&a_scenario()).expect("sound");
    let text = str::to_owned;
    let mut answers = Answers {
        customers: BTreeMap::from([(text("r1"), text("x")), (text("r2"), text("x"))]),
        golden: BTreeMap::from([(text("r1"), Map::from_iter([(text("city"), json!("Bonn"))]))]),
        redirects: BTreeMap::from([(text("r2"), Some(text("x")))]),
        lookup: vec![Some(text("x"))],
        consents: vec![None],
    };
    assert_eq!(differences(&scenario.expected, &answers), [""; 0]);
    answers.customers.insert(text("r2"), text("y"));
    answers.golden.clear();
    answers.redirects.insert(text("r2"), Some(text("y")));
    answers.lookup = vec![None];
    answers.consents = vec![Some(entity::ConsentAnswer::Granted)];
    assert_eq!(
        differences(&scenario.expected, &answers),
        [
            "partition: there are {r1} and {r2}, expected {r1, r2}",
            "golden of r1: city is null, expected \"Bonn\"",
            "redirect: the id first given to r2 finds the customer of {r2}, expected the customer of {r1}",
            "lookup of email \"b@a.example\" finds nobody, expected the customer of {r1}",
            "consent of r2 to A on ANY: GRANTED, expected UNKNOWN",
        ]
    );
}
