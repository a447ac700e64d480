//! Answers that several readers of the change log share: a thousand who ask for the same of the same changes are answered by one
//! execution.
//!
//! Promises: readers share an answer only when they are one principal with the same rights, asked with the same document and variables
//! (but for where to begin), and are given the very same changes; none is shared for longer than `MAX_AGE`, and none with an error in it.
//! Whoever comes first computes, the others wait; should the first give up, the next computes.

use super::execute::RequestBody;
use crate::access::Principal;
use crate::feed::{Batch, Place};
use async_graphql::parser::types::{OperationDefinition, Selection};
use async_graphql_value::Value;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;

/// Readers at the end of the log come for it within milliseconds. What an erasure takes away is not told for longer than the rows of the
/// log that are in memory.
const MAX_AGE: Duration = Duration::from_secs(1);
const MAX_ANSWERS: u64 = 32;

/// The JSON of an answer, once it is there.
type Slot = Arc<tokio::sync::Mutex<Option<Arc<str>>>>;

/// Who shares what: the audience, and the changes by their first, their end, the end of the log, and whether that is all.
type Key = ([u8; 32], Place, Place, Place, bool);

/// The latest answers of a server.
#[derive(Clone)]
pub struct Answers(moka::sync::Cache<Key, Slot>);

impl Answers {
    pub fn new() -> Self {
        let cache = moka::sync::Cache::builder()
            .max_capacity(MAX_ANSWERS)
            .time_to_live(MAX_AGE)
            .build();
        Self(cache)
    }

    /// One stream's way to them.
    pub fn of(&self, principal: &Principal, body: &RequestBody, operation: &OperationDefinition) -> Share {
        Share {
            answers: self.clone(),
            audience: audience(principal, body, operation),
            turn: Arc::default(),
        }
    }
}

/// What becomes of the answer in hand.
#[derive(Default)]
enum Turn {
    /// It is this stream's alone.
    #[default]
    Alone,
    /// Others may wait for it.
    Making(OwnedMutexGuard<Option<Arc<str>>>),
    /// Another stream has made it.
    Made(Arc<str>),
}

/// One stream's part in the answers that are shared.
#[derive(Clone)]
pub struct Share {
    answers: Answers,
    audience: [u8; 32],
    turn: Arc<Mutex<Turn>>,
}

impl Share {
    /// Asks for the answer to a batch, and waits while another stream makes it. True: it is there, and nothing needs to be computed.
    /// The batch must follow from where it begins and ends, and from the document and its variables.
    pub async fn find(&self, batch: &Batch) -> bool {
        let Some(first) = batch.entries.first() else {
            return false;
        };
        let key = (self.audience, first.place(), batch.place, batch.head, batch.caught_up);
        let slot = self.answers.0.get_with(key, Slot::default);
        let made = slot.lock_owned().await;
        let (turn, is_there) = match &*made {
            Some(text) => (Turn::Made(text.clone()), true),
            None => (Turn::Making(made), false),
        };
        *self.turn() = turn;
        is_there
    }

    /// The answer as it is to be sent, where streams share it. `make` is asked when it is this stream's part to make it; none: it is not
    /// for others.
    pub fn settle(&self, make: impl FnOnce() -> Option<Arc<str>>) -> Option<Arc<str>> {
        let turn = std::mem::take(&mut *self.turn());
        match turn {
            Turn::Alone => None,
            Turn::Made(text) => Some(text),
            Turn::Making(mut slot) => {
                slot.clone_from(&make());
                slot.clone()
            }
        }
    }

    fn turn(&self) -> std::sync::MutexGuard<'_, Turn> {
        self.turn.lock().expect("no panic happens while it is held")
    }
}

/// Everything that an answer depends on besides the changes.
fn audience(principal: &Principal, body: &RequestBody, operation: &OperationDefinition) -> [u8; 32] {
    let mut variables = body.variables.clone();
    for name in variables_of_start(operation) {
        // Where readers began is forgotten by the time they are given the same changes.
        if stands_once(&body.query, &name) {
            variables.remove(&name);
        }
    }
    // Texts are quoted in it, so that no two things have one.
    let whole = format!("{principal:?} {:?} {:?} {variables:?}", body.query, body.operation_name);
    *blake3::hash(whole.as_bytes()).as_bytes()
}

/// The variables in the argument `start` of the one field.
fn variables_of_start(operation: &OperationDefinition) -> Vec<String> {
    fn collect(value: &Value, names: &mut Vec<String>) {
        match value {
            Value::Variable(name) => names.push(name.to_string()),
            Value::List(values) => values.iter().for_each(|value| collect(value, names)),
            Value::Object(fields) => fields.values().for_each(|value| collect(value, names)),
            _ => {}
        }
    }
    let mut names = Vec::new();
    if let Some(Selection::Field(field)) = operation.selection_set.node.items.first().map(|item| &item.node)
        && let Some(start) = field.node.get_argument("start")
    {
        collect(&start.node, &mut names);
    }
    names
}

/// Whether a variable is declared and used once and that is all. In doubt it is not.
fn stands_once(query: &str, name: &str) -> bool {
    let mut found = 0;
    for after in query.split('$').skip(1) {
        let end = after
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(after.len());
        if end == 0 {
            // A name may stand apart from its dollar.
            return false;
        }
        found += usize::from(&after[..end] == name);
    }
    found == 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Actor, Scope};
    use crate::base::Instant;
    use crate::feed::{Entry, Row};
    use async_graphql::parser::parse_query;
    use futures_util::FutureExt as _;
    use serde_json::{Value as Json, json};
    use uuid::Uuid;

    fn audience_of(scopes: &[Scope], query: &str, variables: &Json) -> [u8; 32] {
        let principal = Principal::Key {
            actor: Actor::new("key:test"),
            scopes: scopes.to_vec(),
        };
        let body = RequestBody {
            query: query.to_owned(),
            operation_name: None,
            variables: variables.as_object().unwrap().clone(),
        };
        let document = parse_query(query).unwrap();
        let (_, operation) = document.operations.iter().next().unwrap();
        audience(&principal, &body, &operation.node)
    }

    #[test]
    fn only_where_a_reader_begins_is_left_out_of_what_an_answer_depends_on() {
        let query = "subscription($s: FeedStart!, $n: Int) { changes(start: $s, batch: $n) { cursor } }";
        let of = |variables: Json| audience_of(&[Scope::Read], query, &variables);
        let whole = of(json!({"s": {"fromNow": true}, "n": 5}));
        assert_eq!(whole, of(json!({"s": {"after": "abc"}, "n": 5})));
        assert_ne!(whole, of(json!({"s": {"fromNow": true}, "n": 6})));
        assert_ne!(
            whole,
            audience_of(&[Scope::Admin], query, &json!({"s": {"fromNow": true}, "n": 5}))
        );
        assert_ne!(
            whole,
            audience_of(&[Scope::Read], &format!("{query} "), &json!({"s": {"fromNow": true}, "n": 5}))
        );
        // A part of it, and one that is used for something else too, however it is written.
        let part = "subscription($c: Cursor!) { changes(start: { after: $c }) { cursor } }";
        let of = |query: &str, c: &str| audience_of(&[Scope::Read], query, &json!({ "c": c }));
        assert_eq!(of(part, "a"), of(part, "b"));
        for again in ["$c", "$ c", "$\nc"] {
            let twice =
                format!("subscription($c: Cursor!) {{ changes(start: {{ after: $c }}) {{ changes {{ of(it: {again}) }} }} }}");
            if parse_query(&twice).is_ok() {
                assert_ne!(of(&twice, "a"), of(&twice, "b"), "{again:?}");
            }
        }
    }

    fn share(answers: &Answers, audience: u8) -> Share {
        Share {
            answers: answers.clone(),
            audience: [audience; 32],
            turn: Arc::default(),
        }
    }

    /// One change at this place in a transaction.
    fn batch(n: u32) -> Batch {
        let row = Row {
            position: 7,
            transaction: Uuid::from_u128(7),
            recorded_at: Instant::from_micros(0),
            actor: "cli".into(),
            n,
            count: 9,
            body: None,
            size: 0,
        };
        let entry = Entry {
            row: Arc::new(row),
            k: 0,
            event: None,
        };
        Batch {
            place: entry.place(),
            entries: vec![entry],
            head: Place::behind(7, Uuid::from_u128(7)),
            caught_up: false,
            waiting_since: None,
        }
    }

    #[tokio::test]
    async fn one_makes_an_answer_and_the_others_of_its_audience_have_it() {
        let answers = Answers::new();
        let (first, second, third, stranger) = (share(&answers, 1), share(&answers, 1), share(&answers, 1), share(&answers, 2));
        assert!(!first.find(&batch(0)).await);
        assert!(second.find(&batch(0)).now_or_never().is_none(), "it waits");
        // Another audience and other changes have nothing to wait for.
        assert!(!stranger.find(&batch(0)).await);
        assert!(!third.find(&batch(1)).await);
        assert_eq!(
            third.settle(|| Some("of another change".into())).as_deref(),
            Some("of another change")
        );
        // An answer with an error is nobody else's.
        assert_eq!(first.settle(|| None), None);
        assert!(!second.find(&batch(0)).await);
        // Nor has anybody an answer of whom the maker of it left.
        drop(second);
        assert!(!third.find(&batch(0)).await);
        assert_eq!(third.settle(|| Some("made".into())).as_deref(), Some("made"));
        assert!(first.find(&batch(0)).await);
        assert_eq!(first.settle(|| panic!("it is there")).as_deref(), Some("made"));
        assert_eq!(stranger.settle(|| Some("theirs".into())).as_deref(), Some("theirs"));
        assert_eq!(first.settle(|| panic!("nothing was asked for")), None);
    }
}
