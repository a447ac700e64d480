use super::protocol::{Closing, Session, Step, complete, error, failed, next};
use crate::graphql::RequestBody;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const INIT: &str = r#"{"type":"connection_init"}"#;

fn accepted(most: usize) -> Session {
    let mut session = Session::new(most);
    assert_eq!(session.received(INIT), Step::Authenticate(Map::new()));
    assert_eq!(session.accept(), r#"{"type":"connection_ack"}"#);
    session
}

fn subscribe(id: &str) -> String {
    json!({"type": "subscribe", "id": id, "payload": {"query": "{ a }"}}).to_string()
}

fn code(step: Step) -> u16 {
    match step {
        Step::Close(Closing { code, reason }) => {
            assert!(reason.len() <= 123, "{reason} does not fit into a close frame");
            code
        }
        step => panic!("{step:?}"),
    }
}

#[test]
fn a_conversation_goes_its_way() {
    let mut session = Session::new(2);
    let init = json!({"type": "connection_init", "payload": {"Authorization": "Bearer k"}}).to_string();
    let Step::Authenticate(payload) = session.received(&init) else {
        panic!("an init")
    };
    assert_eq!(payload["Authorization"], "Bearer k");
    assert!(!session.is_accepted());
    session.accept();
    assert!(session.is_accepted());
    let asked = json!({"type": "subscribe", "id": "1", "payload": {
        "query": "subscription S { a }", "operationName": "S", "variables": {"x": 1}, "extensions": {}}});
    let Step::Start { id, request } = session.received(&asked.to_string()) else {
        panic!("a start")
    };
    assert_eq!(&*id, "1");
    let RequestBody {
        query,
        operation_name,
        variables,
    } = request;
    assert_eq!(
        (query.as_str(), operation_name.as_deref()),
        ("subscription S { a }", Some("S"))
    );
    assert_eq!(Value::from(variables), json!({"x": 1}));
    assert_eq!(session.received(r#"{"type":"complete","id":"1"}"#), Step::Cancel("1".into()));
    // Both ended it at once; and the id is free again.
    assert_eq!(session.received(r#"{"type":"complete","id":"1"}"#), Step::Nothing);
    assert!(matches!(session.received(&subscribe("1")), Step::Start { .. }));
    assert!(session.ended("1") && !session.ended("1"));
    assert!(matches!(session.received(&subscribe("1")), Step::Start { .. }));
}

#[test]
fn pings_are_answered_at_any_time() {
    for mut session in [Session::new(1), accepted(1)] {
        assert_eq!(
            session.received(r#"{"type":"ping"}"#),
            Step::Reply(r#"{"type":"pong"}"#.to_owned())
        );
        assert_eq!(session.received(r#"{"type":"pong","payload":{}}"#), Step::Nothing);
        let Step::Reply(pong) = session.received(r#"{"type":"ping","payload":{"at":5}}"#) else {
            panic!("a pong")
        };
        let pong: Value = serde_json::from_str(&pong).expect("JSON");
        assert_eq!(pong, json!({"type": "pong", "payload": {"at": 5}}));
    }
}

#[test]
fn what_comes_out_of_turn_closes_with_the_protocols_code() {
    assert_eq!(code(Session::new(1).received(&subscribe("1"))), 4401);
    // Not yet acknowledged.
    let mut asking = Session::new(1);
    asking.received(INIT);
    assert_eq!(code(asking.received(&subscribe("1"))), 4401);
    let mut asking = Session::new(1);
    asking.received(INIT);
    assert_eq!(code(asking.received(INIT)), 4429);
    assert_eq!(code(accepted(1).received(INIT)), 4429);
    let mut session = accepted(2);
    session.received(&subscribe("1"));
    assert_eq!(
        session.received(&subscribe("1")),
        Step::Close(Closing {
            code: 4409,
            reason: "Subscriber for 1 already exists".to_owned()
        })
    );
    let mut session = accepted(2);
    let long = "王".repeat(42);
    session.received(&subscribe(&long));
    assert_eq!(code(session.received(&subscribe(&long))), 4409);
}

#[test]
fn messages_that_are_none_close_with_4400() {
    for text in [
        "",
        "no JSON",
        "[]",
        "7",
        "null",
        "{}",
        r#"{"type":7}"#,
        r#"{"type":"start","id":"1","payload":{"query":"{a}"}}"#,
        r#"{"type":"next","id":"1","payload":{}}"#,
        r#"{"type":"connection_ack"}"#,
        r#"{"type":"ping","payload":"x"}"#,
        r#"{"type":"subscribe","payload":{"query":"{a}"}}"#,
        r#"{"type":"subscribe","id":"","payload":{"query":"{a}"}}"#,
        r#"{"type":"subscribe","id":1,"payload":{"query":"{a}"}}"#,
        r#"{"type":"subscribe","id":"1"}"#,
        r#"{"type":"subscribe","id":"1","payload":{}}"#,
        r#"{"type":"subscribe","id":"1","payload":{"query":1}}"#,
        r#"{"type":"subscribe","id":"1","payload":{"query":"{a}","variables":[]}}"#,
        r#"{"type":"subscribe","id":"1","payload":{"query":"{a}","operationName":1}}"#,
        r#"{"type":"subscribe","id":"1","payload":{"query":"{a}","extensions":1}}"#,
        r#"{"type":"complete"}"#,
        r#"{"type":"complete","id":null}"#,
    ] {
        assert_eq!(code(accepted(1).received(text)), 4400, "{text}");
    }
    assert_eq!(
        code(Session::new(1).received(r#"{"type":"connection_init","payload":"key"}"#)),
        4400
    );
    assert_eq!(code(accepted(1).received(&subscribe(&"x".repeat(129)))), 4400);
    // Deep nesting is no way to the stack.
    let deep = format!(
        r#"{{"type":"ping","payload":{{"a":{}1{}}}}}"#,
        "[".repeat(30_000),
        "]".repeat(30_000)
    );
    assert_eq!(code(accepted(1).received(&deep)), 4400);
}

#[test]
fn one_operation_too_many_is_refused_and_the_others_go_on() {
    let mut session = accepted(2);
    assert!(matches!(session.received(&subscribe("1")), Step::Start { .. }));
    assert!(matches!(session.received(&subscribe("2")), Step::Start { .. }));
    let Step::Refuse(text) = session.received(&subscribe("3")) else {
        panic!("a refusal")
    };
    let told: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&told["id"], &told["type"]), (&json!("3"), &json!("error")));
    assert_eq!(told["payload"][0]["extensions"], json!({"code": "TOO_MANY_SUBSCRIPTIONS"}));
    // It is none, so it cannot be ended, and leaves no trace.
    assert_eq!(session.received(r#"{"type":"complete","id":"3"}"#), Step::Nothing);
    assert!(session.ended("2"));
    assert!(matches!(session.received(&subscribe("3")), Step::Start { .. }));
}

#[test]
fn what_is_told_is_json_whatever_the_id() {
    let id = "a\"b\\\n\u{2028}王";
    for (text, expected) in [
        (
            next(id, r#"{"data":null}"#),
            json!({"id": id, "type": "next", "payload": {"data": null}}),
        ),
        (error(id, "[]"), json!({"id": id, "type": "error", "payload": []})),
        (complete(id), json!({"id": id, "type": "complete"})),
        (
            failed(id, "SLOW_CONSUMER", "why", Some("c\"1")),
            json!({"id": id, "type": "error", "payload": [{"message": "why", "extensions": {"code": "SLOW_CONSUMER", "cursor": "c\"1"}}]}),
        ),
    ] {
        let told: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(told, expected);
    }
}

proptest! {
    /// No order of messages, sensible or not, gets an operation to run for somebody who is not known, twice under one id, or beyond the
    /// limit.
    #[test]
    fn no_order_of_messages_gets_around_the_rules(
        messages in proptest::collection::vec((0_usize..7, 0_usize..4), 0..60),
    ) {
        let mut session = Session::new(3);
        let mut running = std::collections::BTreeSet::new();
        for (kind, id) in messages {
            let id = ["a", "b", "c", "d"][id];
            let text = match kind {
                0 => INIT.to_owned(),
                1 | 2 => subscribe(id),
                3 => json!({"type": "complete", "id": id}).to_string(),
                4 => r#"{"type":"ping"}"#.to_owned(),
                5 => {
                    prop_assert_eq!(session.ended(id), running.remove(id));
                    continue;
                }
                _ => "{".to_owned(),
            };
            match session.received(&text) {
                Step::Authenticate(_) => {
                    prop_assert!(!session.is_accepted());
                    session.accept();
                }
                Step::Start { id, .. } => {
                    prop_assert!(session.is_accepted() && running.len() < 3);
                    prop_assert!(running.insert(id.to_string()), "twice");
                }
                Step::Cancel(id) => prop_assert!(running.remove(&*id)),
                Step::Refuse(_) => prop_assert_eq!(running.len(), 3),
                Step::Close(_) => break,
                Step::Reply(_) | Step::Nothing => {}
            }
        }
    }
}
