//! The door for frontends: tokens of single visitors and what they reach, pages of other origins, and what a key without `read:pii`
//! gets to see of anybody.

use super::access::{everything_stored, root_fields};
use super::support::app::{ADMIN_KEY, START};
use super::support::{Backend, TestApp, on_both};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::{Method, StatusCode};
use ring::signature::Ed25519KeyPair;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tributary::base::Instant;

/// A subject key as it was answered.
pub struct SubjectKey {
    pub id: String,
    pub private_pem: String,
}

pub async fn subject_key(app: &TestApp, origins: &[&str]) -> SubjectKey {
    let query = "mutation ($origins: [String!]!) {
        apiKeyCreate(input: { kind: SUBJECT, name: \"shop\", allowedOrigins: $origins }) { apiKey { id } secret userErrors { message } } }";
    let made = app.ask_with(query, json!({"origins": origins})).await["apiKeyCreate"].clone();
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
    SubjectKey {
        id: text(&made["apiKey"]["id"]),
        private_pem: text(&made["secret"]),
    }
}

impl SubjectKey {
    fn der(&self) -> Vec<u8> {
        STANDARD.decode(self.private_pem.lines().nth(1).unwrap()).unwrap()
    }

    fn signed(&self, header: &Value, claims: &Value) -> String {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&self.der()).unwrap();
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let text = format!("{}.{}", part(header), part(claims));
        let signature = pair.sign(text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    pub fn token(&self, claims: &Value) -> String {
        self.signed(&json!({"alg": "EdDSA", "typ": "JWT", "kid": self.id}), claims)
    }

    /// A token for a user, ten minutes from the beginning of the test.
    pub fn of(&self, user: &str) -> String {
        self.token(&json!({"sub": user, "exp": start() + 600}))
    }
}

/// In seconds, as tokens count.
pub fn start() -> i64 {
    Instant::parse(START).unwrap().micros() / 1_000_000
}

pub async fn api_key(app: &TestApp, scopes: &str) -> String {
    let query = format!(r#"mutation {{ apiKeyCreate(input: {{ name: "k", scopes: [{scopes}] }}) {{ secret }} }}"#);
    app.ask(&query).await["apiKeyCreate"]["secret"].as_str().unwrap().to_owned()
}

/// What a token gets of `me`, which must be answered without an error.
async fn me(app: &TestApp, token: &str) -> Value {
    let (status, body) = app.graphql(token, json!({"query": "{ me { displayName email } }"})).await;
    assert_eq!((status, body.get("errors")), (StatusCode::OK, None), "{body}");
    body["data"]["me"].clone()
}

pub async fn identify(app: &TestApp, write_key: &str, user: &str, traits: Value) {
    let message = json!({"userId": user, "traits": traits, "timestamp": START});
    let (status, body) = app.send(write_key, "/v1/identify", &message).await;
    assert_eq!(status, StatusCode::OK, "{body}");
}

on_both! {
    async fn a_token_shows_visitors_their_own_customer_unmasked(app: TestApp) {
        let write_key = app.source("web", "WEB").await;
        identify(&app, &write_key, "u-1", json!({"name": "Zoë Quill", "email": "Zoe@Example.test", "phone": "+14155550142"})).await;
        identify(&app, &write_key, "u-2", json!({"name": "Another", "email": "other@example.test"})).await;
        let key = subject_key(&app, &[]).await;
        let zoe = json!({"displayName": "Zoë Quill", "email": "Zoe@Example.test"});
        assert_eq!(me(&app, &key.of("u-1")).await, zoe);
        assert_eq!(me(&app, &key.of("u-2")).await["displayName"], "Another");
        // Other kinds of values, in whatever spelling.
        let soon = start() + 600;
        for claims in [
            json!({"sub": " ZOE@example.TEST ", "kind": "EMAIL", "exp": soon}),
            json!({"sub": "(415) 555-0142", "kind": "PHONE", "exp": soon}),
        ] {
            assert_eq!(me(&app, &key.token(&claims)).await, zoe, "{claims}");
        }
        // Nobody has the value; it is a placeholder; it was blocked.
        assert_eq!(me(&app, &key.of("u-3")).await, Value::Null);
        assert_eq!(me(&app, &key.of("null")).await, Value::Null);
        app.ask(r#"mutation { identifierBlock(input: { identifier: { kind: EMAIL, value: "zoe@example.test" }, reason: "shared" }) { transaction } }"#).await;
        let by_mail = key.token(&json!({"sub": "zoe@example.test", "kind": "EMAIL", "exp": soon}));
        assert_eq!(me(&app, &by_mail).await, Value::Null);
        app.stop().await;
    }

    async fn a_token_that_does_not_hold_is_401_and_says_nothing_more(app: TestApp) {
        let write_key = app.source("web", "WEB").await;
        identify(&app, &write_key, "u-1", json!({"name": "Zoë Quill"})).await;
        let (key, other) = (subject_key(&app, &[]).await, subject_key(&app, &[]).await);
        let claims = json!({"sub": "u-1", "exp": start() + 600});
        let header = |alg: &str, kid: &str| json!({"alg": alg, "kid": kid});
        let good = key.of("u-1");
        let (_, signature) = good.rsplit_once('.').unwrap();
        let unsigned = format!("{}.{}.", URL_SAFE_NO_PAD.encode(header("none", &key.id).to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        // A server's key has no public half, so nothing can be signed in its name.
        let server_id = app
            .ask(r#"mutation { apiKeyCreate(input: { name: "k", scopes: [READ] }) { apiKey { id } } }"#)
            .await["apiKeyCreate"]["apiKey"]["id"].as_str().unwrap().to_owned();
        let wrong = [
            key.token(&json!({"sub": "u-1"})),
            key.token(&json!({"sub": "u-1", "exp": start() - 61})),
            key.token(&json!({"sub": "u-1", "exp": start() + 25 * 3600})),
            key.token(&json!({"sub": "u-1", "exp": start() + 600, "nbf": start() + 120})),
            key.token(&json!({"sub": "u-1", "exp": start() + 600, "iat": start() + 120})),
            key.signed(&header("HS256", &key.id), &claims),
            key.signed(&header("none", &key.id), &claims),
            key.signed(&header("EdDSA", &other.id), &claims),
            key.signed(&header("EdDSA", "000000000000"), &claims),
            key.signed(&header("EdDSA", "no such id, nor the form of one"), &claims),
            key.signed(&header("EdDSA", &server_id), &claims),
            key.signed(&json!({"alg": "EdDSA"}), &claims),
            unsigned.clone(),
            format!("{unsigned}{signature}"),
            key.id.clone(),
            key.private_pem.lines().nth(1).unwrap().to_owned(),
        ];
        for token in wrong {
            let (status, body) = app.graphql(&token, json!({"query": "{ me { displayName } }"})).await;
            let expected = json!({"errors": [{"message": "send a key as authorization: Bearer <key>", "extensions": {"code": "UNAUTHENTICATED"}}]});
            assert_eq!((status, body), (StatusCode::UNAUTHORIZED, expected), "{token}");
        }
        assert_eq!(me(&app, &good).await["displayName"], "Zoë Quill");
        app.clock.advance(Duration::from_secs(659));
        assert_eq!(me(&app, &good).await["displayName"], "Zoë Quill");
        app.clock.advance(Duration::from_secs(1));
        assert_eq!(app.graphql(&good, json!({"query": "{ me { id } }"})).await.0, StatusCode::UNAUTHORIZED);
        // With its key go all tokens.
        let later = key.token(&json!({"sub": "u-1", "exp": start() + 3600}));
        assert_eq!(me(&app, &later).await["displayName"], "Zoë Quill");
        app.ask(&format!(r#"mutation {{ apiKeyRevoke(input: {{ id: "{}" }}) {{ transaction }} }}"#, key.id)).await;
        assert_eq!(app.graphql(&later, json!({"query": "{ me { id } }"})).await.0, StatusCode::UNAUTHORIZED);
        app.stop().await;
    }

    async fn of_a_subject_key_the_public_half_is_stored_and_the_private_one_is_not(app: TestApp) {
        let made = app
            .ask(r#"mutation { apiKeyCreate(input: { kind: SUBJECT, name: "shop", allowedOrigins: ["https://shop.example"] }) {
                secret transaction apiKey { id kind scopes allowedOrigins publicKey lastFour } userErrors { message } } }"#)
            .await["apiKeyCreate"].clone();
        let key = SubjectKey {
            id: made["apiKey"]["id"].as_str().unwrap().to_owned(),
            private_pem: made["secret"].as_str().unwrap().to_owned(),
        };
        assert!(key.private_pem.starts_with("-----BEGIN PRIVATE KEY-----\n") && key.private_pem.ends_with("\n-----END PRIVATE KEY-----\n"));
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&key.der()).unwrap();
        let public = ring::signature::KeyPair::public_key(&pair).as_ref().to_vec();
        let spki = [b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00".as_slice(), &public].concat();
        let encoded = URL_SAFE_NO_PAD.encode(&public);
        assert_eq!(made["apiKey"], json!({
            "id": key.id, "kind": "SUBJECT", "scopes": [], "allowedOrigins": ["https://shop.example"], "lastFour": &encoded[encoded.len() - 4..],
            "publicKey": format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(spki)),
        }));
        assert_eq!(me(&app, &key.of("u-1")).await, Value::Null);
        tributary::worker::run_once(&app.server.services).await;
        let listed = app.ask("{ apiKeys { nodes { id lastUsedAt } } }").await;
        assert_eq!(listed["apiKeys"]["nodes"], json!([{"id": key.id, "lastUsedAt": START}]));

        let everything = everything_stored(&app).await;
        assert!(everything.contains("https://shop.example"), "the search sees what is stored");
        let seed = key.der()[16..].to_vec();
        let hexadecimal: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
        for secret in [STANDARD.encode(&seed), URL_SAFE_NO_PAD.encode(&seed), STANDARD.encode(key.der()), String::from_utf8_lossy(&seed).into_owned()] {
            assert!(!everything.contains(&secret), "{secret} is stored");
        }
        assert!(!everything.to_lowercase().contains(&hexadecimal), "the seed is stored in hexadecimal");

        for (fields, field) in [
            (r#"kind: SUBJECT, scopes: [READ]"#, "scopes"),
            (r#"kind: SERVER"#, "scopes"),
            (r#"kind: SUBJECT, allowedOrigins: ["*"]"#, "allowedOrigins"),
            (r#"kind: SUBJECT, allowedOrigins: ["https://shop.example/"]"#, "allowedOrigins"),
            (r#"scopes: [READ], allowedOrigins: ["null"]"#, "allowedOrigins"),
        ] {
            let refused = app.ask(&format!(r#"mutation {{ apiKeyCreate(input: {{ name: "n", {fields} }}) {{ secret userErrors {{ code field }} }} }}"#)).await;
            let expected = json!({"secret": null, "userErrors": [{"code": "INVALID", "field": ["input", field]}]});
            assert_eq!(refused["apiKeyCreate"], expected, "{fields}");
        }
        app.stop().await;
    }

    async fn a_key_without_read_pii_sees_no_word_of_a_person(app: TestApp) {
        let world = a_canary(&app).await;
        let (_, clear) = app.graphql(ADMIN_KEY, world.query.clone()).await;
        for canary in CANARIES {
            assert!(clear.to_string().contains(canary), "the query reaches {canary}: {clear}");
        }
        for scopes in ["READ", "WRITE"] {
            let key = api_key(&app, scopes).await;
            let (status, masked) = app.graphql(&key, world.query.clone()).await;
            assert_eq!((status, masked.get("errors")), (StatusCode::OK, None), "{masked}");
            let text = masked.to_string().to_lowercase();
            for canary in CANARIES {
                assert!(!text.contains(&canary.to_lowercase()), "{canary} with {scopes}: {masked}");
            }
            let customer = &masked["data"]["customer"];
            let expected = json!({
                "displayName": "***", "email": "z***@q***.test", "phone": "***42", "firstName": "***", "lastName": "***", "birthDate": null,
                "gender": "***", "city": "***", "country": "***", "language": "***", "timeZone": "***",
            });
            for (field, value) in expected.as_object().unwrap() {
                assert_eq!(&customer[field], value, "{field}");
            }
            // What nobody can be found by stays as it is: purchases, and when things happened.
            let amounts = customer["purchases"]["nodes"].clone();
            assert_eq!(amounts, json!([{"orderId": "o-1", "amount": {"decimal": "45.00"}, "lines": [{"product": {"sku": "p-1", "name": "Kettle"}}]}]));
            let identifiers: BTreeSet<String> = customer["identifiers"].as_array().unwrap().iter().map(|it| format!("{} {}", it["kind"], it["value"])).collect();
            let expected = [r#""EMAIL" "z***@q***.test""#, r#""PHONE" "***42""#, r#""USER_ID" "***""#];
            assert_eq!(identifiers, expected.map(str::to_owned).into());
        }
        let key = api_key(&app, "READ_PII").await;
        let (_, seen) = app.graphql(&key, world.query).await;
        assert_eq!(seen["data"], clear["data"]);
        app.stop().await;
    }

    async fn a_key_without_read_pii_finds_nobody_by_personal_data(app: TestApp) {
        let write_key = app.source("web", "WEB").await;
        identify(&app, &write_key, "u-1", json!({"email": "zoe@quillcanary.test", "phone": "+14155550142"})).await;
        identify(&app, &write_key, "zoe@quillcanary.test", json!({})).await;
        let lookup = |kind: &str, value: &str| json!({"query": format!(r#"{{ customerBy(identifier: {{ kind: {kind}, value: "{value}" }}) {{ id }} }}"#)});
        let (reader, seer) = (api_key(&app, "READ").await, api_key(&app, "READ_PII").await);
        for (kind, value) in [
            ("EMAIL", "zoe@quillcanary.test"),
            ("EMAIL", "nobody@quillcanary.test"),
            ("PHONE", "+14155550142"),
            ("USER_ID", "zoe@quillcanary.test"),
        ] {
            let (_, body) = app.graphql(&reader, lookup(kind, value)).await;
            assert_eq!(body["data"], json!({"customerBy": null}), "{kind} {value}");
            let error = &body["errors"][0];
            assert_eq!(error["extensions"]["code"], "FORBIDDEN", "{kind} {value}");
            assert_eq!(error["message"], "identifier: this key lacks the scope read:pii, which asking by personal data needs");
            assert!(!body.to_string().contains("quillcanary"), "{body}");
            let (_, body) = app.graphql(&seer, lookup(kind, value)).await;
            assert_eq!(body["data"]["customerBy"].is_null(), value.starts_with("nobody"), "{kind} {value}");
        }
        let (_, body) = app.graphql(&reader, lookup("USER_ID", "u-1")).await;
        assert!(body["data"]["customerBy"]["id"].is_string(), "{body}");
        app.stop().await;
    }

    async fn a_trait_is_as_personal_as_the_catalogue_says(app: TestApp) {
        let write_key = app.source("web", "WEB").await;
        identify(&app, &write_key, "u-1", json!({"city": "Quillcanaryton", "plan": "gold", "score": 7, "email": "zoe@quillcanary.test"})).await;
        let reader = api_key(&app, "READ").await;
        let query = json!({"query": r#"{ customerBy(identifier: { kind: USER_ID, value: "u-1" }) { city records { traits }
            timeline(first: 5, kinds: [IDENTIFY]) { nodes { ... on Event { properties } } } } }"#});
        let masked = json!({"city": "***", "plan": "***", "score": "***", "email": "z***@q***.test"});
        let (_, body) = app.graphql(&reader, query.clone()).await;
        assert_eq!(body["data"]["customerBy"], json!({
            "city": "***", "records": [{"traits": masked}], "timeline": {"nodes": [{"properties": masked}]},
        }));
        for (name, class) in [("city", "PUBLIC"), ("plan", "INTERNAL"), ("score", "SENSITIVE")] {
            let changed = app.ask(&format!(
                r#"mutation {{ traitDefinitionUpdate(input: {{ name: "{name}", class: {class} }}) {{ traitDefinition {{ name class }} userErrors {{ message }} }} }}"#
            )).await;
            let expected = json!({"traitDefinition": {"name": name, "class": class}, "userErrors": []});
            assert_eq!(changed["traitDefinitionUpdate"], expected);
        }
        let masked = json!({"city": "Quillcanaryton", "plan": "gold", "score": "***", "email": "z***@q***.test"});
        let (_, body) = app.graphql(&reader, query).await;
        assert_eq!(body["data"]["customerBy"], json!({
            "city": "Quillcanaryton", "records": [{"traits": masked}], "timeline": {"nodes": [{"properties": masked}]},
        }));
        let unknown = app.ask(r#"mutation { traitDefinitionUpdate(input: { name: "nope", class: PUBLIC }) { transaction userErrors { code field } } }"#).await;
        let expected = json!({"transaction": null, "userErrors": [{"code": "NOT_FOUND", "field": ["input", "name"]}]});
        assert_eq!(unknown["traitDefinitionUpdate"], expected);
        app.stop().await;
    }
}

/// Words of one person that stand nowhere else.
const CANARIES: [&str; 9] = [
    "Zoecanary",
    "Quillcanary",
    "415555",
    "1987",
    "Canaryton",
    "Canaryland",
    "canarywhisper",
    "canary-account",
    "canaryreason",
];

struct Canary {
    query: Value,
}

/// A person with everything that is told of people, and a query that looks at all of it.
async fn a_canary(app: &TestApp) -> Canary {
    let write_key = app.source("web", "WEB").await;
    app.batch(
        &write_key,
        json!([
            {"type": "identify", "userId": "canary-account", "traits": {
                "firstName": "Zoecanary", "lastName": "Quillcanary", "email": "zoecanary@quillcanary.test", "phone": "+14155550142",
                "birthday": "1987-06-05", "gender": "canarywhisper", "city": "Canaryton", "country": "Canaryland", "language": "zoecanary-1",
                "timezone": "Canaryland/Canaryton", "note": {"deep": ["canarywhisper"]}, "address": {"street": "Canaryton 1"}}},
            {"type": "track", "userId": "canary-account", "event": "Written", "properties": {"text": "canarywhisper", "email": "zoecanary@quillcanary.test"},
                "context": {"page": {"url": "https://shop.example/?q=canarywhisper"}, "ip": "4155550142"}},
            {"type": "track", "userId": "canary-account", "event": "Order Completed", "properties": {"order_id": "o-1", "revenue": 45, "currency": "EUR",
                "products": [{"product_id": "p-1", "sku": "p-1", "name": "Kettle", "price": 45, "quantity": 1}], "to": "Zoecanary"}},
            {"type": "track", "userId": "canary-account", "properties": {"text": "canarywhisper"}},
        ]),
    )
    .await;
    // A second record, joined by the address, so that there is a chain of evidence and a decision about a value.
    identify(app, &write_key, "canary-account-2", json!({"name": "Zoecanary Quillcanary"})).await;
    let id = async |user: &str| {
        let query = format!(r#"{{ customerBy(identifier: {{ kind: USER_ID, value: "{user}" }}) {{ id records {{ id }} }} }}"#);
        let found = app.ask(&query).await["customerBy"].clone();
        (
            found["id"].as_str().unwrap().to_owned(),
            found["records"][0]["id"].as_str().unwrap().to_owned(),
        )
    };
    let ((customer, record), (_, other)) = (id("canary-account").await, id("canary-account-2").await);
    identify(
        app,
        &write_key,
        "canary-account-2",
        json!({"email": "zoecanary@quillcanary.test"}),
    )
    .await;
    app.ask(
        r#"mutation { identifierBlock(input: { identifier: { kind: PHONE, value: "+1 415 555 0143" }, reason: "canaryreason" }) { transaction } }"#,
    )
    .await;
    app.ask(&format!(
        r#"mutation {{ recordsLink(input: {{ a: "{record}", b: "{other}", reason: "canaryreason" }}) {{ userErrors {{ message }} }} }}"#
    ))
    .await;
    // An event as the sender of a link by an address sees it.
    let event = "... on Event { id name properties context }";
    let query = format!(
        r#"query Everything($customer: ID!, $a: ID!, $b: ID!) {{
            customer(id: $customer) {{ ...Person identityHistory(first: 20) {{ nodes {{ ...Decision }} }} previousIds
                purchases(first: 5) {{ nodes {{ orderId amount {{ decimal }} lines {{ product {{ sku name }} }} }} }} }}
            node(id: $customer) {{ ... on Customer {{ ...Person }} }}
            record: node(id: $a) {{ ... on Record {{ externalKey traits identifiers {{ value }} customer {{ displayName }} }} }}
            customers(first: 10) {{ nodes {{ displayName email phone }} edges {{ cursor }} }}
            rejectedItems(first: 10) {{ nodes {{ code message field payload }} }}
            heldItems(first: 10) {{ nodes {{ reason identifier {{ value }} decision {{ ...Decision }} resolvedBy }} }}
            identityExplain(a: $a, b: $b) {{ customer {{ displayName }} steps {{ because identifier {{ value }} decision {{ ...Decision }} from {{ traits }} to {{ traits }} }} }}
            traitDefinitions(first: 50) {{ nodes {{ name class }} }}
            eventDefinitions(first: 50) {{ nodes {{ name }} }}
        }}
        fragment Person on Customer {{
            displayName email phone firstName lastName birthDate gender city country language timeZone
            identifiers {{ kind namespace value }}
            records {{ externalKey traits identifiers {{ value }} }}
            timeline(first: 50, kinds: [TRACK, IDENTIFY]) {{ nodes {{ {event} }} }}
        }}
        fragment Decision on IdentityDecision {{ kind because evidence actor reason }}"#
    );
    Canary {
        query: json!({"query": query, "variables": {"customer": customer, "a": record, "b": other}}),
    }
}

#[tokio::test]
async fn a_token_reaches_me_and_no_other_root_field() {
    let app = TestApp::new(Backend::Sqlite).await;
    let token = subject_key(&app, &[]).await.of("u-1");
    me(&app, &token).await;
    let before = app.server.services.store.statement_count();
    let fields = root_fields().await;
    assert!(fields.len() > 25, "the schema is walked");
    for field in fields.iter().filter(|field| field.name != "me") {
        let (status, body) = app.graphql(&token, json!({"query": field.operation})).await;
        assert_eq!(
            (status, &body["errors"][0]["extensions"]["code"]),
            (StatusCode::OK, &json!("FORBIDDEN")),
            "{}: {body}",
            field.operation
        );
        assert_eq!(body["errors"].as_array().unwrap().len(), 1, "{body}");
    }
    // Its shape is told to nobody either.
    let (_, body) = app
        .graphql(&token, json!({"query": "{ __schema { queryType { name } } }"}))
        .await;
    assert_eq!(body["data"]["__schema"], Value::Null, "{body}");
    assert_eq!(app.server.services.store.statement_count() - before, 0);
    // And a key has no visitor to speak for.
    let (_, body) = app.graphql(ADMIN_KEY, json!({"query": "{ me { id } }"})).await;
    assert_eq!(
        (&body["errors"][0]["extensions"]["code"], &body["data"]),
        (&json!("FORBIDDEN"), &Value::Null)
    );
    app.stop().await;
}

/// The fields of these types that a token may ask for; every other one is closed, and so is what joins tomorrow.
fn open_fields() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let words = |text: &'static str| text.split_whitespace().collect();
    BTreeMap::from([
        (
            "Customer",
            words(
                "id displayName email phone firstName lastName birthDate gender city country language timeZone createdAt lastSeenAt
                 identifiers timeline purchases purchaseSummary consents consent consentHistory",
            ),
        ),
        ("Identifier", words("kind namespace value firstSeenAt lastSeenAt")),
        ("Event", words("id kind name channel occurredAt")),
        ("Purchase", words("id orderId occurredAt amount refunded lines counted")),
    ])
}

#[tokio::test]
async fn of_themselves_visitors_see_what_is_theirs_and_nothing_internal() {
    let app = TestApp::new(Backend::Sqlite).await;
    a_canary(&app).await;
    let key = subject_key(&app, &[]).await;
    let token = key.of("canary-account");
    let paths = [
        ("Customer", "me { FIELD }"),
        ("Identifier", "me { identifiers { FIELD } }"),
        ("Event", "me { timeline(first: 5) { nodes { ... on Event { FIELD } } } }"),
        ("Purchase", "me { purchases(first: 5) { edges { node { FIELD } } } }"),
    ];
    let types = tributary::graphql::schema(None)
        .execute("{ __schema { types { name fields { name args { name } type { kind ofType { kind ofType { kind ofType { kind } } } } } } } }")
        .await
        .data
        .into_json()
        .unwrap();
    let open = open_fields();
    for (name, path) in paths {
        let ty = types["__schema"]["types"]
            .as_array()
            .unwrap()
            .iter()
            .find(|ty| ty["name"] == name)
            .unwrap();
        let mut answered = BTreeSet::new();
        for field in ty["fields"].as_array().unwrap() {
            let name = field["name"].as_str().unwrap();
            let is_object = ["OBJECT", "INTERFACE", "UNION"]
                .iter()
                .any(|kind| field["type"].to_string().contains(kind));
            let has = |argument: &str| field["args"].as_array().unwrap().iter().any(|own| own["name"] == argument);
            let needed = [
                ("first", "1"),
                ("name", "\"x\""),
                ("purpose", "\"x\""),
                ("key", "\"rfm\""),
                ("metric", "\"rfm\""),
            ];
            let given = needed.iter().filter(|(argument, _)| has(argument));
            let given: Vec<String> = given.map(|(argument, value)| format!("{argument}: {value}")).collect();
            let arguments = match given.is_empty() {
                true => String::new(),
                false => format!("({})", given.join(", ")),
            };
            let selection = if is_object { " { __typename }" } else { "" };
            let query = format!("{{ {} }}", path.replace("FIELD", &format!("{name}{arguments}{selection}")));
            let before = app.server.services.store.statement_count();
            let (_, body) = app.graphql(&token, json!({"query": query})).await;
            if body.get("errors").is_none() {
                answered.insert(name);
                assert!(
                    app.server.services.store.statement_count() > before && !body["data"]["me"].is_null(),
                    "{query}: {body}"
                );
                continue;
            }
            assert_eq!(body["errors"][0]["extensions"]["code"], "FORBIDDEN", "{query}: {body}");
            assert_eq!(body["data"], json!({"me": null}), "{query}");
        }
        assert_eq!(answered, open[name], "{name}");
    }
    // Fragments and other names are no way around.
    for query in [
        "{ me { ...F } } fragment F on Customer { email: records { traits } }",
        "{ me { timeline(first: 9) { nodes { id occurredAt ... on Event { id: messageId } } } } }",
        "{ me { timeline(first: 9, kinds: [IDENTIFY]) { nodes { ... on Event { name: properties } } } } }",
        "{ me { purchases(first: 9) { nodes { record { customer { email } } } } } }",
        "{ me { identifiers { value: sources { name: trust } } } }",
    ] {
        let (_, body) = app.graphql(&token, json!({"query": query})).await;
        assert_eq!(
            (&body["errors"][0]["extensions"]["code"], &body["data"]["me"]),
            (&json!("FORBIDDEN"), &Value::Null),
            "{query}: {body}"
        );
    }
    app.stop().await;
}

const SHOP: &str = "https://shop.example";
const OTHER: &str = "https://other.example";

struct Answered {
    status: StatusCode,
    allowed: Option<String>,
    vary: String,
    headers: reqwest::header::HeaderMap,
    body: String,
}

async fn ask_from(app: &TestApp, method: Method, origin: &str, more: &[(&str, &str)]) -> Answered {
    let mut request = app
        .http
        .request(method.clone(), format!("{}/graphql", app.base))
        .header("origin", origin);
    for (name, value) in more {
        request = request.header(*name, *value);
    }
    if method == Method::POST {
        request = request.json(&json!({"query": "{ __typename }"}));
    }
    let answer = request.send().await.unwrap();
    let headers = answer.headers().clone();
    let all = |name: &str| {
        headers
            .get_all(name)
            .iter()
            .map(|value| value.to_str().unwrap())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let allowed = Some(all("access-control-allow-origin")).filter(|text| !text.is_empty());
    let vary = all("vary");
    Answered {
        status: answer.status(),
        allowed,
        vary,
        headers,
        body: answer.text().await.unwrap(),
    }
}

const PREFLIGHT: [(&str, &str); 2] = [
    ("access-control-request-method", "POST"),
    ("access-control-request-headers", "authorization,content-type"),
];

on_both! {
    async fn a_page_is_answered_by_its_exact_origin_when_the_key_lists_it(app: TestApp) {
        let preflight = async |origin: &str| ask_from(&app, Method::OPTIONS, origin, &PREFLIGHT).await;
        // Before any key lists it, no page is let in.
        assert_eq!(preflight(SHOP).await.status, StatusCode::FORBIDDEN);
        let shop = subject_key(&app, &[SHOP, "http://localhost:5173"]).await;
        let other = subject_key(&app, &[OTHER]).await;
        let appless = subject_key(&app, &[]).await;

        for origin in [SHOP, "http://localhost:5173", OTHER] {
            let answer = preflight(origin).await;
            assert_eq!((answer.status, answer.allowed.as_deref()), (StatusCode::NO_CONTENT, Some(origin)));
            assert_eq!(answer.vary, "origin, access-control-request-method, access-control-request-headers");
            assert_eq!(answer.headers["access-control-allow-methods"], "POST");
            assert_eq!(answer.headers["access-control-allow-headers"], "accept, authorization, content-type");
            assert_eq!(answer.headers["access-control-max-age"], "600");
            assert!(!answer.headers.contains_key("access-control-allow-credentials") && answer.body.is_empty());
        }
        for origin in ["https://evil.example", "http://shop.example", "https://shop.example:8443", "https://shop.example.evil.example", "null", "*"] {
            let answer = preflight(origin).await;
            assert_eq!((answer.status, answer.allowed), (StatusCode::FORBIDDEN, None), "{origin}");
            assert!(!answer.headers.contains_key("access-control-allow-methods"), "{origin}");
        }
        // Without the question it is a method that we do not have.
        assert_eq!(ask_from(&app, Method::OPTIONS, SHOP, &[]).await.status, StatusCode::METHOD_NOT_ALLOWED);

        let post = async |origin: &str, key: &str| {
            let authorization = format!("Bearer {key}");
            ask_from(&app, Method::POST, origin, &[("authorization", &authorization)]).await
        };
        let answer = post(SHOP, &shop.of("u")).await;
        assert_eq!((answer.status, answer.allowed.as_deref(), answer.vary.as_str()), (StatusCode::OK, Some(SHOP), "origin"));
        assert!(!answer.headers.contains_key("access-control-allow-credentials"));
        // Another key's page may read that it was refused, and a page of nobody's may not.
        for (origin, token, readable) in [
            (OTHER, shop.of("u"), true),
            (SHOP, other.of("u"), true),
            (SHOP, appless.of("u"), true),
            ("https://evil.example", shop.of("u"), false),
            ("null", shop.of("u"), false),
            // Nor does the server's own name let a visitor's token in.
            (app.base.as_str(), shop.of("u"), false),
        ] {
            let answer = post(origin, &token).await;
            assert_eq!((answer.status, answer.allowed.is_some()), (StatusCode::FORBIDDEN, readable), "{origin}");
            assert!(answer.body.contains("ORIGIN_NOT_ALLOWED") && !answer.body.contains("data"), "{}", answer.body);
        }
        // A page that comes with an outworn token can read that.
        let answer = post(SHOP, "outworn").await;
        assert_eq!((answer.status, answer.allowed.as_deref()), (StatusCode::UNAUTHORIZED, Some(SHOP)));
        // Apps send no origin; a server's key without a list is not asked for one, and no page can read what it gets.
        assert_eq!(me(&app, &appless.of("u")).await, Value::Null);
        let answer = post("https://evil.example", ADMIN_KEY).await;
        assert_eq!((answer.status, answer.allowed), (StatusCode::OK, None));
        // With a list it is, but for the server's own pages.
        let tool = app.ask(r#"mutation { apiKeyCreate(input: { name: "tool", scopes: [READ], allowedOrigins: ["https://tool.example"] }) { secret } }"#).await;
        let tool = tool["apiKeyCreate"]["secret"].as_str().unwrap();
        for (origin, status) in [("https://tool.example", StatusCode::OK), (SHOP, StatusCode::FORBIDDEN), (app.base.as_str(), StatusCode::OK)] {
            assert_eq!(post(origin, tool).await.status, status, "{origin}");
        }

        app.ask(&format!(r#"mutation {{ apiKeyRevoke(input: {{ id: "{}" }}) {{ transaction }} }}"#, other.id)).await;
        assert_eq!(preflight(OTHER).await.status, StatusCode::FORBIDDEN);
        assert_eq!(preflight(SHOP).await.status, StatusCode::NO_CONTENT);
        app.stop().await;
    }
}
