//! One customer on a screen: the view again whenever anything of theirs has changed.

use super::feed::settle;
use super::support::listen::{Listener, admin, key_with};
use super::support::{TestApp, on_both};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tributary::access::{Actor, Principal, Scope, Subject};

const WATCH: &str = "subscription($id: ID!, $start: FeedStart) { customerChanged(id: $id, start: $start) {
    cursor changed caughtUp heartbeat customer { id email city } } }";

/// Says who somebody is; a message with a higher number says it later.
fn person(user: &str, city: &str, message: usize) -> Value {
    json!({"type": "identify", "userId": user, "messageId": format!("m{message}"), "timestamp": format!("2026-05-01T10:00:{message:02}Z"),
        "traits": {"email": format!("{user}@example.com"), "city": city}})
}

async fn customer(app: &TestApp, user: &str) -> String {
    let query = format!(r#"{{ customerBy(identifier: {{ kind: EMAIL, value: "{user}@example.com" }}) {{ id }} }}"#);
    app.ask(&query).await["customerBy"]["id"].as_str().unwrap().to_owned()
}

async fn merge(app: &TestApp, into: &str, from: &str) {
    let query = "mutation($input: CustomerMergeInput!) { customerMerge(input: $input) { userErrors { message } } }";
    let answer = app
        .ask_with(query, json!({"input": {"into": into, "from": from, "reason": "r"}}))
        .await;
    assert_eq!(answer["customerMerge"]["userErrors"], json!([]));
}

fn watch(app: &TestApp, principal: Principal, id: &str) -> Listener {
    Listener::new(app, principal, WATCH, json!({"id": id}))
}

fn visitor(user: &str) -> Principal {
    Principal::Subject(Subject {
        actor: Actor::new("key:visitors"),
        kind: entity::IdentifierKind::Email,
        namespace: String::new(),
        value: format!("{user}@example.com"),
    })
}

/// The next view that is no heartbeat.
async fn next(listener: &mut Listener) -> Value {
    loop {
        let change = listener.next().await;
        if change["heartbeat"] == false {
            return change;
        }
        assert_eq!(change["customer"], Value::Null);
    }
}

on_both! {
    async fn the_view_comes_at_once_and_again_with_every_change_and_follows_merges(app: TestApp) {
        let key = app.source("web", "WEB").await;
        app.batch(&key, json!([person("ada", "Oslo", 1), person("zoe", "Rome", 2), person("bob", "Paris", 3)])).await;
        let (ada, zoe) = (customer(&app, "ada").await, customer(&app, "zoe").await);
        settle(&app).await;
        let mut listener = watch(&app, admin(), &zoe);
        let first = next(&mut listener).await;
        assert_eq!((&first["changed"], &first["customer"]["city"]), (&json!([]), &json!("Rome")));
        app.batch(&key, json!([person("bob", "Lyon", 4)])).await;
        app.batch(&key, json!([person("zoe", "Milan", 5)])).await;
        let second = next(&mut listener).await;
        assert_eq!((&second["changed"], &second["customer"]["city"]), (&json!(["city", "timeline"]), &json!("Milan")));
        merge(&app, &ada, &zoe).await;
        let mut merged = next(&mut listener).await;
        let mut changed = merged["changed"].as_array().unwrap().clone();
        while merged["customer"]["id"] != json!(ada) {
            merged = next(&mut listener).await;
            changed.extend(merged["changed"].as_array().unwrap().clone());
        }
        assert!(changed.contains(&json!("identity")), "{changed:?}");
        // Of the record that came along, and of those that were there.
        for (n, user) in ["zoe", "ada"].into_iter().enumerate() {
            let track = json!({"type": "track", "event": "Visited", "userId": user, "messageId": format!("t{n}"),
                "timestamp": "2026-05-02T10:00:00Z"});
            app.batch(&key, json!([track])).await;
            let visited = next(&mut listener).await;
            assert_eq!((&visited["changed"], &visited["customer"]["id"]), (&json!(["timeline"]), &json!(ada)));
        }
        // Whoever kept the cursor of the first view hears of all that once more, in one view.
        let start = json!({"id": zoe, "start": {"after": first["cursor"]}});
        let again = next(&mut Listener::new(&app, admin(), WATCH, start)).await;
        let again = again["changed"].as_array().unwrap().clone();
        assert!(again.contains(&json!("city")) && again.contains(&json!("identity")), "{again:?}");
        app.stop().await;
    }

    async fn there_are_at_most_four_views_a_second_and_the_last_has_everything(app: TestApp) {
        let key = app.source("web", "WEB").await;
        app.batch(&key, json!([person("ada", "Oslo", 1)])).await;
        let id = customer(&app, "ada").await;
        settle(&app).await;
        let mut listener = watch(&app, admin(), &id);
        next(&mut listener).await;
        let began = Instant::now();
        let writing = async {
            for n in 0..30 {
                app.batch(&key, json!([person("ada", &format!("City {n}"), n + 10)])).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let watching = async {
            let mut views = 0;
            loop {
                let change = next(&mut listener).await;
                views += 1;
                if change["customer"]["city"] == "City 29" {
                    return views;
                }
            }
        };
        let ((), views) = tokio::join!(writing, watching);
        let most = began.elapsed().as_secs_f64() * 4.0 + 1.0;
        assert!(views >= 2 && f64::from(views) <= most, "{views} views in {:?}", began.elapsed());
        app.stop().await;
    }

    async fn a_visitor_watches_themselves_and_nobody_else(app: TestApp) {
        let key = app.source("web", "WEB").await;
        app.batch(&key, json!([person("ada", "Oslo", 1), person("zoe", "Rome", 2)])).await;
        let (ada, zoe) = (customer(&app, "ada").await, customer(&app, "zoe").await);
        settle(&app).await;
        let mut own = watch(&app, visitor("zoe"), &zoe);
        assert_eq!(next(&mut own).await["customer"]["email"], "zoe@example.com");
        assert_eq!(watch(&app, visitor("zoe"), &ada).refusal().await.0, "FORBIDDEN");
        assert_eq!(watch(&app, visitor("nobody"), &ada).refusal().await.0, "FORBIDDEN");
        assert_eq!(watch(&app, Principal::Anonymous, &ada).refusal().await.0, "FORBIDDEN");
        let changes = "subscription { changes(start: {fromNow: true}) { cursor } }";
        assert_eq!(Listener::new(&app, visitor("zoe"), changes, json!({})).refusal().await.0, "FORBIDDEN");
        let closed = "subscription($id: ID!) { customerChanged(id: $id) { cursor customer { records { id } } } }";
        let (answer, _) = Listener::new(&app, visitor("zoe"), closed, json!({"id": zoe})).emission().await.unwrap();
        assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "{answer}");
        // A merge makes them one with somebody, and they see who they are since.
        merge(&app, &ada, &zoe).await;
        let merged = next(&mut own).await;
        assert_eq!(merged["customer"]["id"], json!(ada));
        // Those who may not see personal data see masks here, too.
        let masked = next(&mut watch(&app, key_with(Scope::Read), &ada)).await;
        assert!(masked["customer"]["email"].as_str().unwrap().ends_with("***@e***.com"), "{masked}");
        app.stop().await;
    }
}
