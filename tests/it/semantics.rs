//! What we rely on from the GraphQL library, held fast: newer releases of it break each of these in turn.

use async_graphql::{EmptyMutation, EmptySubscription, Object, Result, Schema};
use std::time::Duration;

struct Query;

#[Object]
impl Query {
    async fn a(&self) -> Inner {
        Inner
    }
}

struct Inner;

#[Object]
impl Inner {
    async fn slow(&self) -> i32 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        1
    }

    async fn fast(&self) -> i32 {
        2
    }

    async fn nullable(&self) -> Option<Result<i32>> {
        Some(Err("this one fails".into()))
    }

    async fn required(&self) -> Result<i32> {
        Err("this one fails".into())
    }

    async fn inner(&self) -> Option<Inner> {
        Some(Inner)
    }
}

async fn run(query: &str) -> (String, usize) {
    let schema = Schema::new(Query, EmptyMutation, EmptySubscription);
    let response = schema.execute(query).await;
    (serde_json::to_string(&response.data).unwrap(), response.errors.len())
}

#[tokio::test]
async fn fields_come_in_the_order_they_were_asked_for() {
    assert_eq!(
        run("{ a { slow fast } }").await,
        (r#"{"a":{"slow":1,"fast":2}}"#.to_owned(), 0)
    );
}

#[tokio::test]
async fn a_failed_nullable_field_is_null_and_its_siblings_stay() {
    assert_eq!(
        run("{ a { fast nullable } }").await,
        (r#"{"a":{"fast":2,"nullable":null}}"#.to_owned(), 1)
    );
}

#[tokio::test]
async fn a_failed_required_field_nulls_its_nearest_nullable_parent() {
    assert_eq!(
        run("{ a { fast inner { fast required } } }").await,
        (r#"{"a":{"fast":2,"inner":null}}"#.to_owned(), 1)
    );
}

#[test]
fn fallible_nullable_fields_are_written_as_option_of_result() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/graphql");
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        // Only methods (`&self`) are fields; helpers may return what they like.
        for method in text.split("async fn ").skip(1) {
            let signature = method.split('{').next().unwrap_or_default();
            let is_field = signature.contains("&self") && !signature.contains("Answers<");
            assert!(
                !(is_field && signature.contains("-> Result<Option<")),
                "{}: async fn {signature}",
                path.display()
            );
        }
    }
}
