//! People are erased while messages of theirs, and of people who are one customer with them, go on arriving.

use super::erasure::{assert_clean, customer_by, erase, identify, mentioning, mutate, send, text};
use super::support::{TestApp, on_both};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tributary::pipeline::jobs;

const PEOPLE: u64 = 24;
const CLIENTS: u64 = 4;
const STEPS: u64 = 120;

struct Client {
    http: reqwest::Client,
    base: String,
    key: String,
    dice: u64,
    number: u64,
    /// Whose erasure was asked for: what is sent from now on is not what must vanish.
    asked: Arc<Vec<AtomicBool>>,
}

impl Client {
    fn roll(&mut self, sides: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice % sides
    }

    async fn run(mut self) {
        for n in 0..STEPS {
            let person = self.roll(PEOPLE);
            let is_asked = self.asked[usize::try_from(person).unwrap()].load(Ordering::SeqCst);
            let word = canary(person, is_asked);
            let (user, id) = (format!("person-{person}"), format!("{}-{n}", self.number));
            let (email, partner) = (format!("mail{person}@x.example"), format!("mail{}@x.example", person ^ 1));
            let message = match self.roll(8) {
                0 | 1 => json!({"type": "track", "event": "Seen", "userId": user, "messageId": id, "properties": {"word": word}}),
                // Two are one customer from here on.
                2 => identify(&user, &id, json!({"email": partner, "note": word})),
                3 => json!({"type": "track", "event": "Order Completed", "userId": user, "messageId": id,
                    "properties": {"order_id": format!("{word}-{id}"), "total": 3, "currency": "EUR"}}),
                // Refused: the event has no name.
                4 => json!({"type": "track", "event": "", "userId": user, "messageId": id, "properties": {"word": word}}),
                5 => json!({"type": "track", "event": "Seen", "anonymousId": format!("device-{}", person / 2), "messageId": id}),
                _ => identify(&user, &id, json!({"email": email, "note": word, "city": id})),
            };
            let request = self
                .http
                .post(format!("{}/v1/batch", self.base))
                .basic_auth(&self.key, Some(""));
            let answer = request.json(&json!({"batch": [message]})).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 200, "{message}");
        }
    }
}

fn canary(person: u64, is_asked: bool) -> String {
    let when = if is_asked { "after" } else { "before" };
    format!("{when}-{person}-word")
}

on_both! {
    async fn nothing_sent_before_an_erasure_outlives_it_whatever_arrives_meanwhile(app: TestApp) {
        let key = app.source("web", "WEB").await;
        for person in 0..PEOPLE {
            let traits = json!({"email": format!("mail{person}@x.example"), "note": canary(person, false)});
            send(&app, &key, json!([identify(&format!("person-{person}"), &format!("first-{person}"), traits)])).await;
        }
        let asked: Arc<Vec<AtomicBool>> = Arc::new((0..PEOPLE).map(|_| AtomicBool::new(false)).collect());
        let mut clients = tokio::task::JoinSet::new();
        for number in 1..=CLIENTS {
            let client = Client { http: app.http.clone(), base: app.base.clone(), key: key.clone(),
                dice: 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(number), number, asked: asked.clone() };
            clients.spawn(client.run());
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let working = tokio::spawn({
            let (runner, clock, is_over) = (jobs::runner(&app.server.services), app.clock.clone(), is_over.clone());
            async move {
                while !is_over.load(Ordering::SeqCst) {
                    if !runner.run_once(clock.now()).await {
                        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                    }
                }
            }
        });
        let mut erased = BTreeSet::new();
        for person in (0..PEOPLE).step_by(3) {
            let Some(id) = customer_by(&app, "USER_ID", &format!("person-{person}")).await else { continue };
            asked[usize::try_from(person).unwrap()].store(true, Ordering::SeqCst);
            erase(&app, &id).await;
            erased.insert(person);
        }
        assert!(erased.len() >= 4, "{erased:?}");
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
        is_over.store(true, Ordering::SeqCst);
        working.await.unwrap();
        // A job that somebody's reading was in the way of is tried again later.
        app.clock.advance(std::time::Duration::from_secs(86_400));
        app.run_due_jobs().await;
        app.server.services.catalogue.flush(&app.server.services.store).await.unwrap();
        for person in &erased {
            assert_eq!(mentioning(&app, &canary(*person, false)).await, BTreeSet::new(), "{person}");
            // Under their own key nobody is opened again: it was theirs alone.
            assert_eq!(customer_by(&app, "USER_ID", &format!("person-{person}")).await, None);
        }
        assert_eq!(app.scalar("SELECT COUNT(*) FROM erasure WHERE finished_at IS NULL").await, 0);
        assert_clean(&app, "when all is over").await;
        // They are dropped, and a partner who was not one customer with them goes on.
        let person = *erased.first().unwrap();
        send(&app, &key, json!([identify(&format!("person-{person}"), "late", json!({"note": "late"}))])).await;
        assert_eq!(customer_by(&app, "USER_ID", &format!("person-{person}")).await, None);
        assert_clean(&app, "after another message").await;
        app.stop().await;
    }

    async fn who_agrees_again_is_heard_again(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let crm = mutate(&app, "sourceCreate", json!({"key": "crm", "name": "CRM", "channel": "CRM"}), "source { id }").await;
        let crm = text(&crm["source"]["id"]);
        let ingest = async |item: Value| {
            let answer = mutate(&app, "recordsIngest", json!({"source": crm, "items": [item]}), "receipts { status error { code } }").await;
            text(&answer["receipts"][0]["status"])
        };
        let agreed = json!({"type": "track", "event": "Segment Consent Preference Updated", "userId": "ada", "messageId": "g1",
            "context": {"consent": {"categoryPreferences": {"Advertising": true}}}});
        send(&app, &key, json!([identify("ada", "a1", json!({"email": "ada@example.test"})), agreed])).await;
        assert_eq!(ingest(json!({"key": "77", "messageId": "i1", "traits": {"email": "ada@example.test"}})).await, "ACCEPTED");
        let id = customer_by(&app, "USER_ID", "ada").await.unwrap();
        erase(&app, &id).await;
        app.run_due_jobs().await;
        let suppressed = async || app.count("suppression").await;
        assert_eq!((suppressed().await, app.count("record").await), (2, 0));
        let stamped = json!({"type": "page", "name": "Home", "userId": "ada", "messageId": "p1",
            "context": {"consent": {"categoryPreferences": {"Advertising": true}}}});
        let mut old = agreed.clone();
        old["messageId"] = json!("g2");
        old["timestamp"] = json!("2026-01-01T00:00:00Z");
        let mut half = agreed.clone();
        half["messageId"] = json!("g3");
        half["context"]["consent"]["categoryPreferences"] = json!({"Functional": true, "Advertising": false});
        // A stamp, the grant of before, an old one, and one that refuses too: none of them asks to be heard.
        send(&app, &key, json!([stamped, agreed, old, half])).await;
        let before = json!({"key": "77", "messageId": "i2", "consents": [{"purpose": "MARKETING", "state": "GRANTED", "at": "2026-01-01T00:00:00Z"}]});
        assert_eq!(ingest(before).await, "REJECTED");
        assert_eq!((suppressed().await, app.count("record").await), (2, 0));
        assert_clean(&app, "nobody agreed").await;
        // In one batch: what comes before the grant is dropped, what follows it is heard.
        let mut anew = agreed.clone();
        anew["messageId"] = json!("g4");
        let seen = |id: &str| json!({"type": "track", "event": "Seen", "userId": "ada", "messageId": id});
        send(&app, &key, json!([seen("s1"), anew, seen("s2")])).await;
        assert_eq!((suppressed().await, app.count("event").await), (1, 2), "her address is still suppressed: she did not show it");
        assert!(customer_by(&app, "USER_ID", "ada").await.is_some());
        assert_eq!(app.scalar("SELECT COUNT(*) FROM audit WHERE action = 'suppression.lift' AND actor = 'source:web'").await, 1);
        assert_clean(&app, "by an event").await;
        // A record of a sender's own key, by an item that says nothing else; then its address.
        let grant = |id: &str, email: Option<&str>| {
            let identifiers: Vec<Value> = email.iter().map(|email| json!({"kind": "EMAIL", "value": email})).collect();
            json!({"key": "77", "messageId": id, "identifiers": identifiers, "consents": [{"purpose": "MARKETING", "state": "GRANTED"}]})
        };
        assert_eq!(ingest(grant("i3", None)).await, "ACCEPTED");
        assert_eq!(suppressed().await, 1);
        assert_eq!(ingest(grant("i4", Some("ada@example.test"))).await, "ACCEPTED");
        assert_eq!(suppressed().await, 0);
        assert!(customer_by(&app, "EMAIL", "ada@example.test").await.is_some());
        assert_clean(&app, "by items").await;
        app.stop().await;
    }

    async fn what_is_refused_of_erased_people_is_listed_without_their_words(app: TestApp) {
        let key = app.source("web", "WEB").await;
        send(&app, &key, json!([identify("ada-lovelace", "a1", json!({"email": "ada@example.test", "phone": "+14155550101"}))])).await;
        send(&app, &key, json!([identify("bob", "b1", json!({"email": "bob@example.test"}))])).await;
        let refused = |fields: Value| {
            let mut item = json!({"type": "track", "event": "", "properties": {"secret": "canary"}});
            item.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            item
        };
        let id = customer_by(&app, "USER_ID", "ada-lovelace").await.unwrap();
        erase(&app, &id).await;
        let sent = json!({"batch": [
            refused(json!({"userId": "ada-lovelace"})),
            refused(json!({"anonymousId": "x1", "context": {"traits": {"email": "ADA@example.test"}}})),
            refused(json!({"anonymousId": "x2", "properties": {"secret": "canary", "note": "call +1 (415) 555-0101"}, "context": {"traits": {"phone": "+1 (415) 555-0101"}}})),
            refused(json!({"anonymousId": "x3", "properties": {"secret": "canary", "note": "she is ada@example.test."}})),
            refused(json!({"userId": "bob", "properties": {"secret": "of bob"}})),
        ]});
        for _ in 0..2 {
            app.send(&key, "/v1/batch", &sent).await;
        }
        let listed = app.ask("{ rejectedItems(first: 10) { nodes { code message payload } } }").await["rejectedItems"]["nodes"].clone();
        assert_eq!(listed.as_array().unwrap().len(), 5, "{listed}");
        let bare = listed.as_array().unwrap().iter().filter(|item| text(&item["message"]).contains("nothing of it is kept"));
        assert_eq!(bare.count(), 4, "{listed}");
        assert_eq!(mentioning(&app, "canary").await, BTreeSet::new());
        assert!(listed.to_string().contains("of bob"), "everybody else's are listed whole: {listed}");
        app.run_due_jobs().await;
        assert_eq!(mentioning(&app, "ada@").await, BTreeSet::new());
        assert_clean(&app, "afterwards").await;
        app.stop().await;
    }
    async fn a_receipt_names_the_rules_that_name_the_person(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let publish = "mutation($input: IdentityRulesInput!) { identityRulesPublish(input: $input) { version userErrors { message } } }";
        let blocking = |exact: Value| json!({"blocked": {"email": {"exact": exact, "regex": []}}});
        for rules in [blocking(json!(["ada@example.test"])), blocking(json!([]))] {
            let published = app.ask_with(publish, json!({"input": {"rules": rules, "reason": "tried"}})).await;
            assert_eq!(published["identityRulesPublish"]["userErrors"], json!([]), "{published}");
        }
        app.run_due_jobs().await;
        send(&app, &key, json!([identify("ada-1", "a1", json!({"email": "ada@example.test"}))])).await;
        let id = customer_by(&app, "USER_ID", "ada-1").await.unwrap();
        let job = erase(&app, &id).await;
        app.run_due_jobs().await;
        let job = app.ask(&format!(r#"{{ job(id: "{job}") {{ result }} }}"#)).await["job"].clone();
        assert_eq!(job["result"]["namedByRules"], json!([1]), "{job}");
        assert_clean(&app, "afterwards").await;
        app.stop().await;
    }
}
