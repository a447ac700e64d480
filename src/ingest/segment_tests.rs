use super::*;
use serde_json::json;

fn read(item: Value) -> Result<Message, Refusal> {
    let protected = ["is_staff".to_owned()];
    let around = Surroundings {
        source: SourceId(uuid::Uuid::nil()),
        received_at: Instant::parse("2026-06-01T12:00:00Z").expect("a time"),
        sent_at: None,
        kind: None,
        context: None,
        integrations: None,
        protected_traits: &protected,
        is_internal_id: |id| id == "cus_other",
        address: Some("203.0.113.9"),
    };
    message(item, &around, || "made".to_owned())
}

fn asserted(message: &Message) -> Vec<(IdentifierKind, &str, &str)> {
    message
        .identifiers
        .iter()
        .map(|found| (found.kind, found.namespace.as_str(), found.value.as_str()))
        .collect()
}

#[test]
fn a_message_belongs_to_its_user_and_else_to_its_device() {
    assert_eq!(
        read(json!({"type":"page","userId":7,"anonymousId":"a"}))
            .expect("accepted")
            .external_key,
        "u:7"
    );
    assert_eq!(
        read(json!({"type":"page","userId":null,"anonymousId":"a"}))
            .expect("accepted")
            .external_key,
        "a:a"
    );
    assert_eq!(
        read(json!({"type":"page","user_id":"x"})).expect("accepted").external_key,
        "u:x"
    );
    assert_eq!(
        read(json!({"type":"page","groupId":"g"})).expect_err("refused").code,
        "no_user_anon_id"
    );
}

#[test]
fn what_a_call_needs_is_asked_for_by_name() {
    for (item, code, field) in [
        (json!({"userId":"u"}), "missing_type", "type"),
        (json!({"type":"buy","userId":"u"}), "unknown_type", "type"),
        (json!({"type":"track","userId":"u"}), "missing_event_name", "event"),
        (
            json!({"type":"track","userId":"u","event":"  "}),
            "missing_event_name",
            "event",
        ),
        (json!({"type":"track","userId":"u","event":7}), "invalid_event_name", "event"),
        (json!({"type":"group","userId":"u"}), "missing_group_id", "groupId"),
        (json!({"type":"alias","userId":"u"}), "missing_previous_id", "previousId"),
        (
            json!({"type":"alias","anonymousId":"a","previousId":"p"}),
            "missing_user_id",
            "userId",
        ),
        (
            json!({"type":"track","userId":"u","event":"e","properties":[]}),
            "invalid_object",
            "properties",
        ),
        (json!({"type":"track","userId":{},"event":"e"}), "invalid_id", "userId"),
        (
            json!({"type":"track","userId":123456789012345678901.0,"event":"e"}),
            "invalid_id",
            "userId",
        ),
        (
            json!({"type":"identify","userId":"u","traits":{("x".repeat(300)): 1}}),
            "invalid_trait_name",
            "traits",
        ),
        (
            json!({"type":"page","userId":"u","context":{"externalIds":[{"id":"cus_other","type":"user_id"}]}}),
            "internal_id",
            "context",
        ),
        (
            json!({"type":"track","userId":"u","event":"e","messageId":"x".repeat(256)}),
            "id_too_long",
            "messageId",
        ),
        (
            json!({"type":"identify","userId":"u","traits":{"consent.marketing":true}}),
            "protected_trait",
            "traits.consent.marketing",
        ),
        (json!({"type":"identify","userId":"cus_other"}), "internal_id", "userId"),
        (
            json!({"type":"alias","userId":"u","previousId":"cus_other"}),
            "internal_id",
            "previousId",
        ),
        (
            json!({"type":"identify","userId":"u","traits":{"is_staff":true}}),
            "protected_trait",
            "traits.is_staff",
        ),
    ] {
        let refusal = read(item.clone()).expect_err("refused");
        assert_eq!((refusal.code, refusal.field.as_deref()), (code, Some(field)), "{item}");
    }
    assert_eq!(read(json!(7)).expect_err("refused").code, "invalid_event");
}

#[test]
fn identifiers_come_from_traits_and_context_and_never_from_properties() {
    let message = read(json!({
        "type":"track","event":"Invite Sent","anonymousId":"a","properties":{"email":"friend@example.test"},
        "context":{
            "traits":{"email":"ada@example.test"},
            "device":{"id":"D1","advertisingId":"AD1","adTrackingEnabled":false},
            "externalIds":[{"id":"w-1","type":"wechat_openid","collection":"users"},{"id":"acc","type":"crm","collection":"accounts"}]
        }
    }))
    .expect("accepted");
    assert_eq!(
        asserted(&message),
        [
            (IdentifierKind::AnonymousId, "", "a"),
            (IdentifierKind::Email, "", "ada@example.test"),
            (IdentifierKind::DeviceId, "", "D1"),
            (IdentifierKind::ExternalId, "wechat_openid", "w-1"),
        ]
    );
}

#[test]
fn traits_of_a_group_are_not_the_persons() {
    let message =
        read(json!({"type":"group","userId":"u","groupId":"g","traits":{"email":"info@example.test"}})).expect("accepted");
    assert_eq!(message.traits, []);
    assert_eq!(asserted(&message), [(IdentifierKind::UserId, "", "u")]);
    assert_eq!(message.context.get("groupId"), Some(&json!("g")));
}

#[test]
fn unknown_fields_are_kept_and_the_write_key_is_not() {
    let message = read(json!({"type":"page","userId":"u","writeKey":"secret","mood":"good","integrations":{"All":true}}))
        .expect("accepted");
    assert_eq!(
        Value::Object(message.context),
        json!({"mood":"good","integrations":{"All":true}})
    );
    assert_eq!((message.name.as_str(), message.message_id.as_str()), ("page", "made"));
}

#[test]
fn the_device_of_a_known_user_and_an_unreadable_time_are_kept() {
    let message =
        read(json!({"type":"page","userId":"u","anonymousId":"a","timestamp":"soon","originalTimestamp":"2026-06-01T11:00:00Z"}));
    let message = message.expect("accepted");
    assert_eq!(
        Value::Object(message.context),
        json!({"anonymousId":"a","timestamp":"soon","originalTimestamp":"2026-06-01T11:00:00Z"})
    );
    let message = read(json!({"type":"page","userId":"u","timestamp":"2026-06-01T11:00:00Z","sentAt":"2026-06-01T12:00:00Z"}));
    assert_eq!(message.expect("accepted").context, Map::new());
}

#[test]
fn the_address_is_kept_for_browsers_alone() {
    let browser = read(json!({"type":"page","userId":"u","context":{"direct":true}})).expect("accepted");
    assert_eq!(browser.context["context"]["ip"], "203.0.113.9");
    let server = read(json!({"type":"page","userId":"u","context":{"library":{}}})).expect("accepted");
    assert_eq!(server.context["context"].get("ip"), None);
}
