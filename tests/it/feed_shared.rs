//! Answers that readers of the change log share, and those that they do not.

use super::feed::{live, settle};
use super::support::listen::{EVERYTHING, admin, changes_of, door, key_with};
use super::support::{TestApp, on_both};
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::sync::Arc;
use tributary::access::{Principal, Scope};
use tributary::graphql::execute::Answer;
use tributary::graphql::{Door, RequestBody};

/// Two pages for each reader, so that one of them begins where another's page ended.
async fn texts(door: &Door, principal: Principal, query: &str) -> Vec<Arc<str>> {
    let body = RequestBody {
        query: query.to_owned(),
        operation_name: None,
        variables: serde_json::Map::new(),
    };
    let mut stream = door.stream(principal, body);
    let mut texts = Vec::new();
    loop {
        let emission = stream.next().await.expect("it goes on");
        let Answer::Shared(text) = emission.answer else {
            panic!("{:?}", emission.answer);
        };
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer["data"]["changes"]["cursor"].as_str(), emission.cursor.as_deref());
        texts.push(text);
        if answer["data"]["changes"]["caughtUp"] == true {
            return texts;
        }
    }
}

fn changes(texts: &[Arc<str>]) -> Vec<Value> {
    let batches = texts
        .iter()
        .map(|text| serde_json::from_str::<Value>(text).unwrap()["data"]["changes"].clone());
    changes_of(&batches.collect::<Vec<_>>())
}

on_both! {
    async fn readers_with_the_same_rights_share_answers_and_others_do_not(app: TestApp) {
        let key = app.source("web", "WEB").await;
        live(&app, &key).await;
        settle(&app).await;
        // Whoever reads alone shares nothing.
        let feed = &app.server.services.feed;
        let _others = (feed.heads(), feed.heads());
        let query = |size: usize| format!(
            "subscription {{ changes(start: {{ fromBeginning: true }}, filter: {{ {EVERYTHING} }}, batch: {size}) {{
                 cursor caughtUp changes {{ cursor topic entityId before after customer {{ email }} }} }} }}"
        );
        let (small, large) = (query(5), query(1000));
        let door = door(&app);
        let admins = [&small, &small, &small, &large];
        let readers = [&small, &small, &large, &large];
        let admins = join_all(admins.map(|query| texts(&door, admin(), query)));
        let readers = join_all(readers.map(|query| texts(&door, key_with(Scope::Read), query)));
        let (admins, readers) = futures_util::future::join(admins, readers).await;
        for (texts, is_clear) in [(&admins, true), (&readers, false)] {
            assert!(texts[0].len() > 1 && texts[3].len() < texts[0].len());
            assert!(Arc::ptr_eq(&texts[0][0], &texts[1][0]), "made once");
            let all: Vec<Vec<Value>> = texts.iter().map(|texts| changes(texts)).collect();
            assert!(all[0].len() > 10 && all.iter().all(|changes| *changes == all[0]), "each change once, in pages of any size");
            assert_eq!(json!(all[0]).to_string().contains("@example.com"), is_clear);
        }
        assert_eq!(changes(&admins[0]).len(), changes(&readers[0]).len());
        app.stop().await;
    }
}
