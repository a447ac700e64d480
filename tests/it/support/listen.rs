//! Subscriptions inside the process, without a socket: a stream of answers as a door of the server gives it.

use super::TestApp;
use super::app::test_settings;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use serde_json::{Value, json};
use std::time::Duration;
use tributary::access::{Actor, Principal, Scope};
use tributary::cli::server::records_door;
use tributary::graphql::{Door, Emission, GraphqlOptions, RequestBody};

/// Everything of a change that does not depend on when it is read.
pub const CHANGE: &str =
    "cursor topic op entityType entityId rev actor cause transaction occurredAt recordedAt changed before after redacted";

pub struct Listener(BoxStream<'static, Emission>);

pub fn admin() -> Principal {
    Principal::admin(Actor::new("key:test"))
}

pub fn key_with(scope: Scope) -> Principal {
    Principal::Key {
        actor: Actor::new("key:test"),
        scopes: vec![scope],
    }
}

pub fn door(app: &TestApp) -> Door {
    let records = records_door(&test_settings("sqlite://unused.db"), app.server.intake.clone());
    Door::new(app.server.services.clone(), records, GraphqlOptions { introspection: true })
}

impl Listener {
    pub fn new(app: &TestApp, principal: Principal, query: &str, variables: Value) -> Self {
        let body = RequestBody {
            query: query.to_owned(),
            operation_name: None,
            variables: variables.as_object().unwrap().clone(),
        };
        Self(door(app).stream(principal, body))
    }

    /// To the whole log from the beginning on, events too.
    pub fn to_all(app: &TestApp, batch: usize) -> Self {
        Self::to(app, "fromBeginning: true", EVERYTHING, batch)
    }

    /// As admin, from a start on, with a filter.
    pub fn to(app: &TestApp, start: &str, filter: &str, batch: usize) -> Self {
        let query = format!(
            "subscription {{ changes(start: {{ {start} }}, filter: {{ {filter} }}, batch: {batch}, heartbeatSeconds: 1) {{
                 cursor head caughtUp heartbeat lagSeconds changes {{ {CHANGE} }} }} }}"
        );
        Self::new(app, admin(), &query, json!({}))
    }

    /// The next answer, whatever it is, with its cursor; none when the stream has ended.
    pub async fn emission(&mut self) -> Option<(Value, Option<String>)> {
        let next = tokio::time::timeout(Duration::from_secs(20), self.0.next());
        let emission = next.await.expect("an answer in time")?;
        Some((serde_json::from_str(&emission.answer.to_json()).unwrap(), emission.cursor))
    }

    /// The field of the next answer; there must be no errors.
    pub async fn next(&mut self) -> Value {
        let (answer, cursor) = self.emission().await.expect("the stream goes on");
        assert!(answer.get("errors").is_none(), "{answer}");
        let field = answer["data"].as_object().unwrap().values().next().unwrap().clone();
        if let Some(told) = field.get("cursor") {
            assert_eq!(told.as_str(), cursor.as_deref());
        }
        field
    }

    /// The code of the error that the next answer is, and its extensions.
    pub async fn refusal(&mut self) -> (String, Value) {
        let (answer, _) = self.emission().await.expect("a refusal");
        let extensions = answer["errors"][0]["extensions"].clone();
        assert!(self.emission().await.is_none(), "it ends");
        (
            extensions["code"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned(),
            extensions,
        )
    }

    /// The batches up to the end of the log.
    pub async fn batches(&mut self) -> Vec<Value> {
        let mut batches = Vec::new();
        loop {
            let batch = self.next().await;
            let done = batch["caughtUp"] == true;
            batches.push(batch);
            if done {
                return batches;
            }
        }
    }

    /// The changes up to the end of the log.
    pub async fn changes(&mut self) -> Vec<Value> {
        changes_of(&self.batches().await)
    }

    /// Changes until there are so many of them.
    pub async fn until(&mut self, count: usize) -> Vec<Value> {
        let mut changes = Vec::new();
        while changes.len() < count {
            changes.extend(changes_of(&[self.next().await]));
        }
        changes
    }
}

pub const EVERYTHING: &str = "topics: [CUSTOMER, IDENTITY, CONSENT, EVENT, PURCHASE]";

pub fn changes_of(batches: &[Value]) -> Vec<Value> {
    batches
        .iter()
        .flat_map(|batch| batch["changes"].as_array().unwrap().clone())
        .collect()
}
