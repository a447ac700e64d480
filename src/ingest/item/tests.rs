use super::*;
use crate::base::SourceId;
use crate::base::money::Currency;
use crate::ingest::message::EventFlags;
use serde_json::json;

const NOW: &str = "2026-06-01T12:00:00Z";

fn at(text: &str) -> Instant {
    Instant::parse(text).expect(text)
}

fn an_item(key: &str) -> Item {
    Item {
        key: key.to_owned(),
        message_id: None,
        at: None,
        identifiers: Vec::new(),
        traits: None,
        events: Vec::new(),
        purchases: Vec::new(),
        consents: Vec::new(),
    }
}

fn an_event(name: &str) -> EventItem {
    EventItem {
        kind: EventKind::Track,
        name: Some(name.to_owned()),
        at: None,
        message_id: None,
        properties: None,
    }
}

fn a_purchase(order_id: &str) -> PurchaseItem {
    PurchaseItem {
        kind: OrderReportKind::Completed,
        order_id: order_id.to_owned(),
        at: None,
        message_id: None,
        amount: None,
        currency: None,
        lines: Vec::new(),
    }
}

fn an_identifier(kind: IdentifierKind, value: &str) -> Assertion {
    Assertion {
        kind,
        namespace: String::new(),
        value: value.to_owned(),
    }
}

const LIMITS: Limits = Limits {
    event_bytes: 1_000,
    events: 2_500,
};

fn read_all(items: Vec<Item>) -> Result<(Vec<Message>, Vec<RefusedItem>), BodyFault> {
    let protected = ["vip".to_owned()];
    let arrival = Arrival {
        source: SourceId(uuid::Uuid::from_u128(1)),
        received_at: at(NOW),
        protected_traits: &protected,
        is_internal_id: |text| text.starts_with("cus_"),
        address: None,
    };
    into_messages(items, LIMITS, &arrival, &HashKey::new([7; 32]))
}

fn read(item: Item) -> Vec<Message> {
    let (messages, refused) = read_all(vec![item]).expect("few enough");
    assert!(refused.is_empty(), "{refused:?}");
    messages
}

fn refusal(item: Item) -> (&'static str, Option<String>) {
    let (messages, mut refused) = read_all(vec![item]).expect("few enough");
    assert!(messages.is_empty());
    let refusal = refused.remove(0).refusal;
    (refusal.code, refusal.field)
}

fn ids(item: Item) -> Vec<String> {
    read(item).into_iter().map(|message| message.message_id).collect()
}

#[test]
fn an_item_is_one_identify_and_a_message_for_each_event_and_purchase() {
    let item = Item {
        message_id: Some("m".to_owned()),
        at: Some(at("2026-05-01T00:00:00Z")),
        identifiers: vec![an_identifier(IdentifierKind::LoyaltyId, " L-1 ")],
        traits: Some(json!({"firstName": "Ada", "vat": null})),
        events: vec![
            an_event("Signed Up"),
            EventItem {
                kind: EventKind::Page,
                name: None,
                at: Some(at("2026-05-02T00:00:00Z")),
                message_id: Some("p".to_owned()),
                properties: Some(json!({"path": "/"})),
            },
        ],
        purchases: vec![PurchaseItem {
            amount: Some("19.99".to_owned()),
            currency: Some("eur".to_owned()),
            ..a_purchase(" o-1 ")
        }],
        ..an_item(" crm 1 ")
    };
    let messages = read(item);
    let told: Vec<_> = messages
        .iter()
        .map(|message| {
            (
                message.kind,
                message.name.as_str(),
                message.message_id.as_str(),
                message.occurred_at.to_string(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (EventKind::Identify, "identify", "m", "2026-05-01T00:00:00Z".to_owned()),
            (EventKind::Track, "Signed Up", "m/event/0", "2026-05-01T00:00:00Z".to_owned()),
            (EventKind::Page, "page", "p", "2026-05-02T00:00:00Z".to_owned()),
            (
                EventKind::Track,
                "Order Completed",
                "m/purchase/0",
                "2026-05-01T00:00:00Z".to_owned()
            ),
        ]
    );
    assert!(
        messages
            .iter()
            .all(|message| message.external_key == " crm 1 " && message.place == 0)
    );
    let identify = &messages[0];
    assert_eq!(
        identify.traits,
        [("vat".to_owned(), Value::Null), ("first_name".to_owned(), json!("Ada"))]
    );
    assert_eq!(identify.identifiers, [an_identifier(IdentifierKind::LoyaltyId, "L-1")]);
    assert_eq!(
        Value::Object(identify.properties.clone()),
        json!({"firstName": "Ada", "vat": null})
    );
    assert_eq!(
        Value::Object(identify.context.clone()),
        json!({"identifiers": [{"kind": "LOYALTY_ID", "value": " L-1 "}]})
    );
    assert!(
        messages[1..]
            .iter()
            .all(|message| message.identifiers.is_empty() && message.traits.is_empty())
    );
    let order = messages[3].order.as_ref().expect("an order");
    assert_eq!((order.order_id.as_str(), order.kind), ("o-1", OrderReportKind::Completed));
    assert_eq!(order.amount.map(|amount| amount.to_string()).as_deref(), Some("19.99"));
    assert_eq!(order.currency.as_ref().map(Currency::code), Some("EUR"));
}

#[test]
fn a_record_may_exist_without_anything() {
    let messages = read(an_item("k"));
    assert_eq!(messages.len(), 1);
    assert_eq!((messages[0].kind, messages[0].occurred_at), (EventKind::Identify, at(NOW)));
    assert!(messages[0].properties.is_empty() && messages[0].context.is_empty());
}

#[test]
fn mail_and_telephone_in_traits_are_asserted_once() {
    let item = Item {
        identifiers: vec![
            an_identifier(IdentifierKind::Email, " ada@x.test"),
            an_identifier(IdentifierKind::Email, "ada@x.test"),
        ],
        traits: Some(json!({"email": "ada@x.test ", "phone": "+44 1", "name": "ada@y.test"})),
        ..an_item("k")
    };
    assert_eq!(
        read(item)[0].identifiers,
        [
            an_identifier(IdentifierKind::Email, "ada@x.test"),
            an_identifier(IdentifierKind::Phone, "+44 1")
        ]
    );
}

#[test]
fn the_same_content_has_the_same_id_and_any_other_another() {
    let with = |traits: Value| Item {
        traits: Some(traits),
        ..an_item("k")
    };
    let first = ids(with(json!({"a": 1, "b": {"c": 1, "d": 2}})));
    assert_eq!(first, ids(with(json!({"b": {"d": 2, "c": 1}, "a": 1}))));
    assert!(first[0].starts_with("item-"));
    let others = [
        with(json!({"a": 1, "b": {"c": 1, "d": 3}})),
        with(json!({"a": 1})),
        Item {
            at: Some(at(NOW)),
            ..with(json!({"a": 1, "b": {"c": 1, "d": 2}}))
        },
        Item {
            key: "l".to_owned(),
            ..with(json!({"a": 1, "b": {"c": 1, "d": 2}}))
        },
        an_item("k"),
        Item {
            purchases: vec![a_purchase("o")],
            ..an_item("k")
        },
        Item {
            events: vec![an_event("o")],
            ..an_item("k")
        },
    ];
    let mut seen: HashSet<String> = HashSet::from([first[0].clone()]);
    for other in others {
        assert!(seen.insert(ids(other.clone()).remove(0)), "{other:?}");
    }
    let named = |traits: Value| Item {
        message_id: Some(" m ".to_owned()),
        ..with(traits)
    };
    assert_eq!(ids(named(json!({"a": 1}))), ids(named(json!({"a": 2}))));
}

#[test]
fn a_purchase_is_the_order_event_it_would_have_been() {
    let line = LineItem {
        sku: "tea".to_owned(),
        name: Some("Tea".to_owned()),
        category: None,
        quantity: 3,
        price: Some("2.50".to_owned()),
    };
    for (kind, name) in [
        (OrderReportKind::Completed, "Order Completed"),
        (OrderReportKind::Updated, "Order Updated"),
        (OrderReportKind::Refunded, "Order Refunded"),
        (OrderReportKind::Cancelled, "Order Cancelled"),
    ] {
        let item = Item {
            purchases: vec![PurchaseItem {
                kind,
                lines: vec![line.clone()],
                ..a_purchase("o")
            }],
            ..an_item("k")
        };
        let message = read(item).remove(1);
        assert_eq!((message.kind, message.name.as_str()), (EventKind::Track, name));
        assert_eq!(
            Value::Object(message.properties.clone()),
            json!({"order_id": "o", "products": [{"sku": "tea", "name": "Tea", "quantity": 3, "price": "2.50"}]})
        );
        let order = message.order.expect("an order");
        assert_eq!(order.kind, kind);
        let sum = (kind != OrderReportKind::Cancelled).then(|| "7.50".to_owned());
        assert_eq!(order.amount.map(|amount| amount.to_string()), sum);
        // What went back is an amount; only pieces without a price stay pieces.
        let pieces: Vec<_> = order.lines.iter().map(|line| (line.sku.as_str(), line.quantity)).collect();
        let stays = matches!(kind, OrderReportKind::Completed | OrderReportKind::Updated);
        let kept = if stays { vec![("tea", 3)] } else { vec![] };
        assert_eq!(pieces, kept);
    }
}

#[test]
fn an_instant_in_the_far_future_becomes_that_of_receipt() {
    let item = Item {
        at: Some(at("2026-06-03T12:00:00Z")),
        events: vec![EventItem {
            at: Some(at("2026-06-02T11:00:00Z")),
            ..an_event("e")
        }],
        ..an_item("k")
    };
    let messages = read(item);
    assert_eq!(
        (messages[0].occurred_at, messages[0].flags.0),
        (at(NOW), EventFlags::TIME_IN_FUTURE)
    );
    assert_eq!(
        (messages[1].occurred_at, messages[1].flags.0),
        (at("2026-06-02T11:00:00Z"), 0)
    );
}

#[test]
fn what_is_wrong_is_named_by_its_path() {
    let long = "x".repeat(256);
    let key = |key: &str| an_item(key);
    let identifier = |assertion: Assertion| Item {
        identifiers: vec![an_identifier(IdentifierKind::UserId, "fine"), assertion],
        ..an_item("k")
    };
    let of_traits = |traits: Value| Item {
        traits: Some(traits),
        ..an_item("k")
    };
    let event = |event: EventItem| Item {
        events: vec![an_event("fine"), event],
        ..an_item("k")
    };
    let purchase = |purchase: PurchaseItem| Item {
        purchases: vec![a_purchase("fine"), purchase],
        ..an_item("k")
    };
    let line = |sku: &str, price: &str| LineItem {
        sku: sku.to_owned(),
        name: None,
        category: None,
        quantity: 1,
        price: Some(price.to_owned()),
    };
    let deep = (0..64).fold(json!(1), |inner, _| json!([inner]));
    let cases = [
        (key(" "), "invalid_id", "key"),
        (key(&long), "id_too_long", "key"),
        (key("cus_1"), "internal_id", "key"),
        (key("a\0b"), "nul_character", "key"),
        (
            Item {
                message_id: Some(long.clone()),
                ..an_item("k")
            },
            "id_too_long",
            "messageId",
        ),
        (
            identifier(an_identifier(IdentifierKind::Email, " ")),
            "invalid_id",
            "identifiers.1.value",
        ),
        (
            identifier(an_identifier(IdentifierKind::Email, &long)),
            "id_too_long",
            "identifiers.1.value",
        ),
        (
            identifier(an_identifier(IdentifierKind::UserId, "cus_1")),
            "internal_id",
            "identifiers.1.value",
        ),
        (
            identifier(an_identifier(IdentifierKind::ExternalId, "1")),
            "missing_namespace",
            "identifiers.1.namespace",
        ),
        (of_traits(json!([1])), "invalid_object", "traits"),
        (of_traits(json!({"vip": true})), "protected_trait", "traits.vip"),
        (
            of_traits(json!({"consent.mail": true})),
            "protected_trait",
            "traits.consent.mail",
        ),
        (of_traits(json!({"": 1})), "invalid_trait_name", "traits"),
        (of_traits(json!({"email": "cus_1"})), "internal_id", "traits.email"),
        (of_traits(json!({"a": ["b", "\0"]})), "nul_character", "traits.a.1"),
        (event(an_event(" ")), "missing_event_name", "events.1.name"),
        (event(an_event(&long)), "event_name_too_long", "events.1.name"),
        (
            event(EventItem {
                properties: Some(json!("x")),
                ..an_event("e")
            }),
            "invalid_object",
            "events.1.properties",
        ),
        (
            event(EventItem {
                properties: Some(json!({"x": "y".repeat(1_000)})),
                ..an_event("e")
            }),
            "event_too_large",
            "events.1",
        ),
        (
            event(EventItem {
                properties: Some(json!({"revenue": "lots", "order_id": "o"})),
                ..an_event("Order Completed")
            }),
            "invalid_amount",
            "events.1.properties.revenue",
        ),
        (
            event(EventItem {
                message_id: Some("m".to_owned()),
                ..an_event("e")
            })
            .with_id("m"),
            "duplicate_message_id",
            "events.1.messageId",
        ),
        (
            purchase(PurchaseItem {
                message_id: Some("m".to_owned()),
                ..a_purchase("o")
            })
            .with_id("m"),
            "duplicate_message_id",
            "purchases.1.messageId",
        ),
        (purchase(a_purchase(" ")), "missing_order_id", "purchases.1.orderId"),
        (
            purchase(PurchaseItem {
                amount: Some("lots".to_owned()),
                ..a_purchase("o")
            }),
            "invalid_amount",
            "purchases.1.amount",
        ),
        (
            purchase(PurchaseItem {
                currency: Some("€".to_owned()),
                ..a_purchase("o")
            }),
            "invalid_currency",
            "purchases.1.currency",
        ),
        (
            purchase(PurchaseItem {
                lines: vec![line("a", "1"), line("b", "dear")],
                ..a_purchase("o")
            }),
            "invalid_amount",
            "purchases.1.lines.1.price",
        ),
        (
            purchase(PurchaseItem {
                lines: vec![
                    line("a", "79000000000000000000000000000"),
                    line("b", "79000000000000000000000000000"),
                ],
                ..a_purchase("o")
            }),
            "invalid_amount",
            "purchases.1.lines",
        ),
        (
            purchase(PurchaseItem {
                lines: vec![line(" ", "1")],
                ..a_purchase("o")
            }),
            "invalid_products",
            "purchases.1.lines.0.sku",
        ),
    ];
    for (item, code, field) in cases {
        assert_eq!(refusal(item.clone()), (code, Some(field.to_owned())), "{item:?}");
    }
    assert_eq!(refusal(of_traits(json!({"x": deep}))).0, "nested_too_deep");
    assert_eq!(refusal(of_traits(json!({"x": "y".repeat(1_000)}))), ("event_too_large", None));
}

impl Item {
    fn with_id(self, id: &str) -> Self {
        Self {
            message_id: Some(id.to_owned()),
            ..self
        }
    }
}

#[test]
fn a_refused_item_is_listed_as_it_was_sent_and_its_neighbours_are_read() {
    let bad = Item {
        at: Some(at(NOW)),
        events: vec![EventItem {
            kind: EventKind::Screen,
            ..an_event("s")
        }],
        purchases: vec![PurchaseItem {
            kind: OrderReportKind::Refunded,
            ..a_purchase("")
        }],
        ..an_item("bad")
    };
    let (messages, refused) = read_all(vec![an_item("a"), bad, an_item("b")]).expect("few enough");
    let places: Vec<_> = messages
        .iter()
        .map(|message| (message.place, message.external_key.as_str()))
        .collect();
    assert_eq!(places, [(0, "a"), (2, "b")]);
    assert_eq!(refused[0].index, 1);
    let payload: Value = serde_json::from_str(&refused[0].payload).expect("JSON");
    assert_eq!(
        payload,
        json!({"key": "bad", "at": NOW, "events": [{"kind": "SCREEN", "name": "s"}], "purchases": [{"kind": "REFUNDED", "orderId": ""}]})
    );
}

#[test]
fn a_call_holds_one_to_five_hundred_items_and_a_batch_of_messages() {
    let code = |items: Vec<Item>| {
        read_all(items)
            .map(|(messages, _)| messages.len())
            .map_err(|fault| fault.code)
    };
    assert_eq!(code(Vec::new()), Err("too_many_items"));
    assert_eq!(code(vec![an_item("k"); 500]), Ok(500));
    assert_eq!(code(vec![an_item("k"); 501]), Err("too_many_items"));
    let large = |events: usize| Item {
        events: vec![an_event("e"); events],
        ..an_item("k")
    };
    assert_eq!(code(vec![large(2_499)]), Ok(2_500));
    assert_eq!(code(vec![large(2_499), an_item("k")]), Err("too_many_events"));
}
