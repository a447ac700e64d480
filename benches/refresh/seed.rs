//! Customers of two records, three orders of a product each and four events, one of ten of them a review, written straight into the tables.

use sea_orm::{ActiveEnum as _, ConnectionTrait as _, Statement};
use tributary::base::{CustomerId, Instant};
use tributary::due::{self, Mark, Span};
use tributary::store::{Rows, Store};
use uuid::Uuid;

/// Rows written together.
const CHUNK: usize = 5_000;
const ORDERS_EACH: usize = 3;
const EVENTS_EACH: usize = 4;
const PRODUCTS: usize = 200;
/// 1 May 2026.
const NOW: i64 = 1_777_593_600_000_000;
const DAY: i64 = 86_400_000_000;

/// Ids are hashes of numbers, so that people lie scattered over every index as they would in truth.
fn id(customer: usize, of: u64, n: usize) -> Uuid {
    let hash = (customer as u64 * 2_654_435_761) % 4_294_967_296;
    Uuid::from_u64_pair((hash << 32) | of, n as u64)
}

pub async fn seed(store: &Store, sources: &[Uuid], customers: usize) {
    let all: Vec<usize> = (0..customers).collect();
    let db = store.writer();
    Rows::new()
        .id("id", (0..PRODUCTS).map(|n| id(n, 9, 0)))
        .text("sku", (0..PRODUCTS).map(|n| format!("sku-{n}")))
        .text("category", (0..PRODUCTS).map(|n| format!("category {}", n % 12)))
        .int("name_at", (0..PRODUCTS).map(|_| NOW))
        .int("category_at", (0..PRODUCTS).map(|_| NOW))
        .insert(db, "product", "")
        .await
        .unwrap();
    for chunk in all.chunks(CHUNK) {
        let of = || chunk.iter().copied();
        Rows::new()
            .id("id", of().map(|n| id(n, 0, 0)))
            .int("created_at", of().map(|n| NOW - 700 * DAY + n as i64))
            .json("golden", of().map(|n| format!(r#"{{"name":"Customer {n}"}}"#)))
            .int("rev", of().map(|_| 1))
            .int("placed_at", of().map(|n| NOW - 700 * DAY + n as i64))
            .insert(db, "customer", "")
            .await
            .unwrap();
        let records = || of().flat_map(|n| [(n, 0), (n, 1)]);
        Rows::new()
            .id("id", records().map(|(n, k)| id(n, 0, k)))
            .id("source_id", records().map(|(_, k)| sources[k % sources.len()]))
            .text("external_key", records().map(|(n, k)| format!("u:{n}-{k}")))
            .id("customer_id", records().map(|(n, _)| id(n, 0, 0)))
            .int("arrival", records().map(|(n, k)| NOW - 700 * DAY + n as i64 + k as i64))
            .json("traits", records().map(|_| "{}".to_owned()))
            .int("rev", records().map(|_| 1))
            .int("siblings", records().map(|_| 0))
            .flag("was_customer", records().map(|(_, k)| k == 0))
            .insert(db, "record", "")
            .await
            .unwrap();
        let orders = || of().flat_map(|n| (0..ORDERS_EACH).map(move |p| (n, p)));
        let at = |n: usize, p: usize| NOW - ((n * 11 + p * 97) % 600) as i64 * DAY;
        Rows::new()
            .id("record_id", orders().map(|(n, p)| id(n, 0, p % 2)))
            .id("id", orders().map(|(n, p)| id(n, 5, p)))
            .text("order_namespace", orders().map(|_| String::new()))
            .text("order_id", orders().map(|(n, p)| format!("o-{n}-{p}")))
            .int("occurred_at", orders().map(|(n, p)| at(n, p)))
            .int("first_at", orders().map(|(n, p)| at(n, p)))
            .optional_int("placed_at", orders().map(|(n, p)| Some(at(n, p))))
            .text("currency", orders().map(|_| "EUR".to_owned()))
            .optional_int(
                "amount_minor",
                orders().map(|(n, p)| Some(1_000 + ((n * 13 + p * 17) % 20_000) as i64)),
            )
            .int("refunded_minor", orders().map(|_| 0))
            .int("rev", orders().map(|_| 1))
            .insert(db, "purchase", "")
            .await
            .unwrap();
        Rows::new()
            .id("record_id", orders().map(|(n, p)| id(n, 0, p % 2)))
            .id("purchase_id", orders().map(|(n, p)| id(n, 5, p)))
            .int("n", orders().map(|_| 0))
            .id("product_id", orders().map(|(n, p)| id((n * 7 + p) % PRODUCTS, 9, 0)))
            .int("quantity", orders().map(|_| 1))
            .insert(db, "purchase_line", "")
            .await
            .unwrap();
        let events = || of().flat_map(|n| (0..EVENTS_EACH).map(move |e| (n, e)));
        let name = |n: usize, e: usize| match (n + e) % 10 {
            0 => "Review Submitted",
            _ => "Product Viewed",
        };
        Rows::new()
            .id("record_id", events().map(|(n, e)| id(n, 0, e % 2)))
            .id("id", events().map(|(n, e)| id(n, 6, e)))
            .text("message_id", events().map(|(n, e)| format!("m-{n}-{e}")))
            .small("kind", events().map(|_| entity::EventKind::Track.to_value()))
            .text("name", events().map(|(n, e)| name(n, e).to_owned()))
            .int("occurred_at", events().map(|(n, e)| at(n, e)))
            .int("received_at", events().map(|(n, e)| at(n, e)))
            .int("arrival", events().map(|(n, e)| at(n, e)))
            .small("flags", events().map(|_| 0))
            .json("properties", events().map(|_| r#"{"rating": 4}"#.to_owned()))
            .json("context", events().map(|_| "{}".to_owned()))
            .insert(db, "event", "")
            .await
            .unwrap();
    }
    let sql = if store.is_postgres() { "VACUUM ANALYZE" } else { "ANALYZE" };
    db.execute_raw(Statement::from_string(store.backend(), sql)).await.unwrap();
}

/// Marks everybody; `events`: everything that they did is counted again.
pub async fn make_due(store: &Store, now: Instant, events: bool) {
    let rows = store
        .reader()
        .query_all_raw(Statement::from_string(store.backend(), "SELECT id FROM customer"));
    let all: Vec<Uuid> = rows
        .await
        .unwrap()
        .iter()
        .map(|row| row.try_get_by_index(0).unwrap())
        .collect();
    for chunk in all.chunks(CHUNK) {
        let marking = store.transact::<_, tributary::store::StoreError, _>(|tx, _| {
            let span = events.then_some(Span::EVERYTHING);
            let chunk = chunk.iter().map(|id| (CustomerId(*id), span)).collect();
            let mark = Mark {
                by: store.ids().time_ordered(now),
                at: now,
                class: entity::DueClass::Live,
            };
            Box::pin(async move { due::mark_with_events(tx, &chunk, mark).await })
        });
        marking.await.unwrap();
    }
}
