//! Lists of customers: who is in them, in which order, and who may ask.

use super::support::{TestApp, on_both};
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use std::time::Duration;
use tributary::pipeline::lists;

/// What people type who try what a database does with it, and names that look like it.
const NASTY: [&str; 9] = [
    "'; DROP TABLE customer; --",
    "%",
    "_",
    "\\",
    "100%_off\\",
    "\"quoted\" 'twice'",
    "$1",
    "王%",
    "*",
];

/// Sends one person each: (key, traits).
async fn arrive(app: &TestApp, write_key: &str, people: &[(&str, Value)]) {
    for (user, traits) in people {
        app.clock.advance(Duration::from_secs(1));
        let message = json!({"type": "identify", "userId": user, "messageId": format!("i-{user}"), "traits": traits,
            "timestamp": "2026-05-01T00:00:00Z"});
        app.batch(write_key, json!([message])).await;
    }
}

/// The display names that a list answers, page by page.
async fn names(app: &TestApp, filter: Value, order: &str, first: usize) -> Vec<String> {
    let query = "query($f: CustomerFilter, $o: CustomerOrder, $n: Int!, $a: String) { customers(filter: $f, orderBy: $o, first: $n, after: $a) {
        totalCount pageInfo { hasNextPage endCursor } nodes { displayName } } }";
    let (mut after, mut seen) = (Value::Null, Vec::new());
    loop {
        let variables = json!({"f": filter, "o": order, "n": first, "a": after});
        let page = app.ask_with(query, variables).await["customers"].take();
        let nodes = page["nodes"].as_array().unwrap();
        seen.extend(
            nodes
                .iter()
                .map(|node| node["displayName"].as_str().unwrap_or("-").to_owned()),
        );
        if page["pageInfo"]["hasNextPage"] == json!(false) {
            assert_eq!(page["totalCount"], json!(seen.len()), "{filter} {order}");
            return seen;
        }
        assert_eq!(nodes.len(), first, "{filter} {order}");
        after = page["pageInfo"]["endCursor"].clone();
    }
}

async fn found(app: &TestApp, filter: Value) -> Vec<String> {
    names(app, filter, "OLDEST", 50).await
}

on_both! {
    async fn people_are_found_by_the_beginning_of_name_address_and_number(app: TestApp) {
        let key = app.source("web", "WEB").await;
        arrive(&app, &key, &[
            ("u1", json!({"name": "José García", "email": "Jose@Example.test", "phone": "+49 (151) 2000-0001"})),
            ("u2", json!({"firstName": "Joseph", "lastName": "Ga", "email": "joseph@example.test"})),
            ("u3", json!({"name": "王小明", "phone": "+86 138 0000 0002"})),
            ("u4", json!({"email": "only@example.test"})),
        ]).await;
        for (filter, expected) in [
            (json!({"namePrefix": "JOSE"}), vec!["José García", "Joseph Ga"]),
            (json!({"namePrefix": "jose "}), vec!["José García"]),
            (json!({"namePrefix": "josé ga"}), vec!["José García"]),
            (json!({"namePrefix": "王"}), vec!["王小明"]),
            (json!({"namePrefix": "小"}), vec![]),
            (json!({"namePrefix": "only@"}), vec!["only@example.test"]),
            (json!({"namePrefix": ""}), vec!["José García", "Joseph Ga", "王小明", "only@example.test"]),
            (json!({"emailPrefix": "JOSE@"}), vec!["José García"]),
            (json!({"emailPrefix": "jose"}), vec!["José García", "Joseph Ga"]),
            (json!({"phonePrefix": "+49151 2"}), vec!["José García"]),
            (json!({"phonePrefix": "+86-138"}), vec!["王小明"]),
            (json!({"phonePrefix": "by post"}), vec![]),
            (json!({"namePrefix": "jose", "emailPrefix": "joseph"}), vec!["Joseph Ga"]),
            (json!({"namePrefix": "王", "emailPrefix": "j"}), vec![]),
        ] {
            assert_eq!(found(&app, filter.clone()).await, expected, "{filter}");
        }
        // A value that is corrected is found by what it is now.
        arrive(&app, &key, &[("u3", json!({"name": "李雷"}))]).await;
        app.batch(&key, json!([{"type": "identify", "userId": "u3", "messageId": "renamed", "traits": {"name": "李雷"}, "timestamp": "2026-05-02T00:00:00Z"}])).await;
        assert_eq!(found(&app, json!({"namePrefix": "李"})).await, ["李雷"]);
        assert_eq!(found(&app, json!({"namePrefix": "王"})).await, Vec::<String>::new());
        app.stop().await;
    }

    async fn people_are_found_by_identifier_source_channel_kind_period_and_trait(app: TestApp) {
        let (web, till) = (app.source("web", "WEB").await, app.source("till", "POS").await);
        arrive(&app, &web, &[("u1", json!({"name": "Ada", "email": "ada@example.test", "city": "Bonn"})), ("u2", json!({"name": "Bob", "city": "Köln"}))]).await;
        arrive(&app, &till, &[("u3", json!({"name": "Cleo", "phone": "+14155550103"}))]).await;
        app.batch(&web, json!([
            {"type": "track", "event": "Seen", "userId": "u2", "messageId": "s", "timestamp": "2026-05-20T00:00:00Z"},
            {"type": "track", "event": "Order Completed", "userId": "u1", "messageId": "o", "timestamp": "2026-05-10T00:00:00Z", "properties": {"order_id": "o1", "revenue": 5}},
        ])).await;
        let sources = app.ask("{ sources { nodes { id key } } }").await;
        let source = |key: &str| sources["sources"]["nodes"].as_array().unwrap().iter().find(|source| source["key"] == key).unwrap()["id"].clone();
        for (filter, expected) in [
            (json!({}), vec!["Ada", "Bob", "Cleo"]),
            (json!({"identifier": {"kind": "EMAIL", "value": " ADA@example.test"}}), vec!["Ada"]),
            (json!({"identifier": {"kind": "EMAIL", "value": "ada@example.tes"}}), vec![]),
            (json!({"identifier": {"kind": "EMAIL", "value": "no address"}}), vec![]),
            (json!({"identifier": {"kind": "USER_ID", "value": "u2"}, "channel": "POS"}), vec![]),
            (json!({"source": source("till")}), vec!["Cleo"]),
            (json!({"source": source("web")}), vec!["Ada", "Bob"]),
            (json!({"channel": "POS"}), vec!["Cleo"]),
            (json!({"channel": "SOCIAL"}), vec![]),
            (json!({"hasIdentifier": "PHONE"}), vec!["Cleo"]),
            (json!({"hasIdentifier": "USER_ID"}), vec!["Ada", "Bob", "Cleo"]),
            (json!({"seenSince": "2026-05-10T00:00:00Z"}), vec!["Ada", "Bob"]),
            (json!({"seenSince": "2026-05-20T00:00:00Z"}), vec!["Bob"]),
            (json!({"seenSince": "2026-05-20T00:00:00.000001Z"}), vec![]),
            (json!({"purchasedSince": "2026-05-10T00:00:00Z"}), vec!["Ada"]),
            (json!({"purchasedSince": "2026-05-11T00:00:00Z"}), vec![]),
            (json!({"traitEquals": {"name": "city", "value": "Bonn"}}), vec!["Ada"]),
            (json!({"traitEquals": {"name": "city", "value": "bonn"}}), vec![]),
            (json!({"traitEquals": {"name": "city", "value": null}}), vec!["Cleo"]),
        ] {
            assert_eq!(found(&app, filter.clone()).await, expected, "{filter}");
        }
        app.stop().await;
    }

    async fn traits_compare_by_value(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let values = [
            json!(1), json!(1.5), json!("1"), json!(true), json!(false), json!("true"), json!([1, 2]), json!([2, 1]), json!({"a": 1, "b": [true, "x"]}), json!({"a": 1}), json!(9_007_199_254_740_993_i64),
        ];
        let people: Vec<(String, Value)> = values.iter().enumerate().map(|(n, value)| (format!("u{n}"), json!({"name": format!("p{n}"), "it": value}))).collect();
        let people: Vec<(&str, Value)> = people.iter().map(|(user, traits)| (user.as_str(), traits.clone())).collect();
        arrive(&app, &key, &people).await;
        for (wanted, expected) in [
            ("1", vec!["p0"]), ("1.0", vec!["p0"]), ("1.5", vec!["p1"]), ("\"1\"", vec!["p2"]), ("true", vec!["p3"]), ("false", vec!["p4"]), ("\"true\"", vec!["p5"]),
            ("[1, 2]", vec!["p6"]), ("[1.0, 2]", vec!["p6"]), ("[2, 1]", vec!["p7"]), ("[1]", vec![]), ("[]", vec![]),
            (r#"{"b": [true, "x"], "a": 1.0}"#, vec!["p8"]), (r#"{"a": 1}"#, vec!["p9"]), (r#"{"a": true}"#, vec![]), ("9007199254740993", vec!["p10"]), ("9007199254740992", vec![]),
        ] {
            let value: Value = serde_json::from_str(wanted).unwrap();
            assert_eq!(found(&app, json!({"traitEquals": {"name": "it", "value": value}})).await, expected, "{wanted}");
        }
        app.stop().await;
    }

    async fn what_is_typed_means_nothing_but_itself(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let people: Vec<(String, Value)> = NASTY.iter().enumerate().map(|(n, name)| (format!("u{n}"), json!({"name": name, "email": format!("{name}@x.test"), "it": name, "in": {"x": name}}))).collect();
        let people: Vec<(&str, Value)> = people.iter().map(|(user, traits)| (user.as_str(), traits.clone())).collect();
        arrive(&app, &key, &people).await;
        for name in NASTY {
            let expected: Vec<&str> = NASTY.into_iter().filter(|other| other.starts_with(name)).collect();
            assert_eq!(found(&app, json!({"namePrefix": name})).await, expected, "{name}");
            assert_eq!(found(&app, json!({"emailPrefix": name})).await, expected, "{name}");
            assert_eq!(found(&app, json!({"traitEquals": {"name": "it", "value": name}})).await, [name]);
            assert_eq!(found(&app, json!({"traitEquals": {"name": "in", "value": {"x": name}}})).await, [name]);
            for filter in [json!({"phonePrefix": name}), json!({"traitEquals": {"name": name, "value": "x"}}), json!({"identifier": {"kind": "USER_ID", "value": name}})] {
                assert_eq!(found(&app, filter.clone()).await, Vec::<String>::new(), "{filter}");
            }
        }
        for filter in [
            json!({"namePrefix": "a\u{0}"}), json!({"emailPrefix": "\u{0}"}), json!({"phonePrefix": "\u{0}"}), json!({"identifier": {"kind": "USER_ID", "value": "u\u{0}"}}),
            json!({"traitEquals": {"name": "it\u{0}", "value": "x"}}), json!({"traitEquals": {"name": "it", "value": "\u{0}"}}), json!({"traitEquals": {"name": "it", "value": {"\u{0}": 1}}}),
        ] {
            assert_eq!(found(&app, filter.clone()).await, Vec::<String>::new(), "{filter:?}");
        }
        assert_eq!(app.count("customer").await, i64::try_from(NASTY.len()).unwrap());
        app.stop().await;
    }

    async fn each_order_pages_without_repeating_or_skipping_and_the_unknown_is_last(app: TestApp) {
        let key = app.source("web", "WEB").await;
        arrive(&app, &key, &[
            ("u1", json!({"name": "cleo"})), ("u2", json!({"name": "Ada"})), ("u3", json!({})), ("u4", json!({"name": "Östen"})), ("u5", json!({"name": "ada"})), ("u6", json!({})), ("u7", json!({"name": "Bob"})),
        ]).await;
        // Seen at different instants, two at the same one; one whose events nobody has looked at yet.
        for (n, at) in [(2, 9), (4, 7), (5, 7), (7, 8)] {
            app.batch(&key, json!([{"type": "track", "event": "Seen", "userId": format!("u{n}"), "messageId": format!("s{n}"), "timestamp": format!("2026-05-0{at}T00:00:00Z")}])).await;
        }
        assert_eq!(lists::copy_last_seen(&app.server.services).await.unwrap(), 7);
        assert_eq!(lists::copy_last_seen(&app.server.services).await.unwrap(), 0);
        arrive(&app, &key, &[("u8", json!({"name": "Zoe"}))]).await;
        for first in [1, 2, 3, 50] {
            assert_eq!(names(&app, json!({}), "OLDEST", first).await, ["cleo", "Ada", "-", "Östen", "ada", "-", "Bob", "Zoe"]);
            let mut newest = names(&app, json!({}), "NEWEST", first).await;
            newest.reverse();
            assert_eq!(newest, names(&app, json!({}), "OLDEST", first).await);
            let by_name = names(&app, json!({}), "NAME", first).await;
            assert_eq!(by_name.iter().map(|name| name.to_lowercase()).collect::<Vec<_>>(), ["ada", "ada", "bob", "cleo", "östen", "zoe", "-", "-"]);
            let seen = names(&app, json!({}), "LAST_SEEN", first).await;
            assert_eq!(seen[..2], ["Ada", "Bob"]);
            assert_eq!(seen[2..4].iter().collect::<std::collections::BTreeSet<_>>(), ["Östen", "ada"].map(String::from).iter().collect());
            assert_eq!(seen.last().unwrap(), "Zoe");
            assert_eq!(seen.len(), 8);
        }
        // Whoever arrives between two pages does not move the others.
        let page = "query($a: String) { customers(orderBy: NAME, first: 3, after: $a) { pageInfo { endCursor } nodes { displayName } } }";
        let one = app.ask(&page.replace("($a: String)", "").replace(", after: $a", "")).await;
        arrive(&app, &key, &[("u9", json!({"name": "Abel"})), ("u10", json!({"name": "Dora"}))]).await;
        let two = app.ask_with(page, json!({"a": one["customers"]["pageInfo"]["endCursor"]})).await;
        assert_eq!(two["customers"]["nodes"], json!([{"displayName": "cleo"}, {"displayName": "Dora"}, {"displayName": "Östen"}]));
        let wrong = json!({"query": "query($a: String) { customers(first: 3, after: $a) { nodes { id } } }", "variables": {"a": one["customers"]["pageInfo"]["endCursor"]}});
        let (_, refused) = app.graphql(crate::support::app::ADMIN_KEY, wrong).await;
        assert_eq!(refused["errors"][0]["message"], "after: is no cursor of this list");
        app.stop().await;
    }

    async fn personal_filters_and_orders_need_the_right_to_read_personal_data(app: TestApp) {
        let key = app.source("web", "WEB").await;
        arrive(&app, &key, &[("u1", json!({"name": "Ada", "city": "Bonn"}))]).await;
        let made = app.ask(r#"mutation { apiKeyCreate(input: { name: "k", scopes: [READ] }) { secret userErrors { message } } }"#).await;
        let reader = made["apiKeyCreate"]["secret"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
        for (arguments, is_allowed) in [
            ("", true), (", orderBy: OLDEST", true), (", orderBy: LAST_SEEN", true), (", filter: {channel: WEB}", true), (", filter: {seenSince: \"2026-01-01T00:00:00Z\"}", true),
            (", orderBy: NAME", false), (", filter: {namePrefix: \"a\"}", false), (", filter: {namePrefix: \"\"}", false), (", filter: {emailPrefix: \"a\"}", false), (", filter: {phonePrefix: \"1\"}", false),
            (", filter: {identifier: {kind: EMAIL, value: \"a@b.c\"}}", false), (", filter: {traitEquals: {name: \"city\", value: \"Bonn\"}}", false),
        ] {
            let (_, answer) = app.graphql(&reader, json!({"query": format!("{{ customers(first: 5{arguments}) {{ nodes {{ id }} }} }}")})).await;
            match is_allowed {
                true => assert_eq!(answer["data"]["customers"]["nodes"].as_array().unwrap().len(), 1, "{arguments} {answer}"),
                false => assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "{arguments} {answer}"),
            }
        }
        app.stop().await;
    }

    async fn customers_of_before_are_folded_when_the_server_starts(app: TestApp) {
        let key = app.source("web", "WEB").await;
        arrive(&app, &key, &[("u1", json!({"name": "José", "email": "J@Example.test", "phone": "+1 415 555 0101"})), ("u2", json!({}))]).await;
        app.server.services.store.writer().execute_unprepared("UPDATE customer SET name_folded = NULL, email_folded = NULL, phone_folded = NULL").await.unwrap();
        assert_eq!(found(&app, json!({"namePrefix": "jose"})).await, Vec::<String>::new());
        assert_eq!(lists::fill_folded(&app.server.services).await.unwrap(), 1);
        assert_eq!(lists::fill_folded(&app.server.services).await.unwrap(), 0);
        assert_eq!(found(&app, json!({"namePrefix": "jose", "emailPrefix": "j@", "phonePrefix": "+1415"})).await, ["José"]);
        app.stop().await;
    }
}
