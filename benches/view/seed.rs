//! A company's customers, written straight into the tables: as many rows as years of intake would leave, in minutes.
//!
//! Ids are the hash of a number, so that people lie scattered over every index as they would in truth, and so that pgbench can make them
//! too. The last two customers are the heavy ones: one of many events, one of many records.

use sea_orm::{ConnectionTrait as _, Statement};
use std::collections::HashMap;
use tributary::store::{Rows, Store};
use uuid::Uuid;

/// Rows written together.
const CHUNK: usize = 5_000;
const EVENTS_EACH: usize = 10;
const PURCHASES_EACH: usize = 3;
const HEAVY_EVENTS: usize = 100_000;
const HEAVY_RECORDS: usize = 1_000;
/// 1 May 2026.
const NOW: i64 = 1_777_593_600_000_000;
const DAY: i64 = 86_400_000_000;

/// The first half of the ids of a customer's rows; bijective, so nobody shares theirs.
pub fn hash(customer: usize) -> u32 {
    let product = (customer as u64 * 2_654_435_761) % 4_294_967_296;
    u32::try_from(product).expect("less than two to the 32nd")
}

/// The id of a customer, which is that of the first of its records.
pub fn customer_id(customer: usize) -> Uuid {
    id(customer, 0, 0)
}

fn id(customer: usize, of: u64, n: usize) -> Uuid {
    Uuid::from_u64_pair((u64::from(hash(customer)) << 32) | of, n as u64)
}

/// Customer, how many records and events.
type Person = (usize, usize, usize);

pub struct Seeded {
    pub customers: usize,
    /// One of 100,000 events over 20 records.
    pub busy: Uuid,
    /// One of 1,000 records.
    pub crowded: Uuid,
}

/// Writes them; `sources`: ids of sources that are there.
pub async fn seed(store: &Store, sources: &[Uuid], customers: usize) -> Seeded {
    let mut people: Vec<Person> = (1..=customers).map(|n| (n, 1 + n % 4, EVENTS_EACH)).collect();
    people.push((customers + 1, 20, HEAVY_EVENTS));
    people.push((customers + 2, HEAVY_RECORDS, 2 * HEAVY_RECORDS));
    let db = store.writer();
    for chunk in people.chunks(CHUNK) {
        customer_rows(chunk).insert(db, "customer", "").await.unwrap();
        let records: Vec<(usize, usize)> = each(chunk, |person| person.1);
        for records in records.chunks(CHUNK) {
            record_rows(records, sources).insert(db, "record", "").await.unwrap();
            let (identifiers, links) = shown_rows(records);
            identifiers.insert(db, "identifier", "").await.unwrap();
            links.insert(db, "link", "").await.unwrap();
        }
        let widths: HashMap<usize, usize> = chunk.iter().map(|person| (person.0, person.1)).collect();
        for events in each(chunk, |person| person.2).chunks(CHUNK) {
            event_rows(events, &widths).insert(db, "event", "").await.unwrap();
        }
        for purchases in each(chunk, |_| PURCHASES_EACH).chunks(CHUNK) {
            purchase_rows(purchases, &widths).insert(db, "purchase", "").await.unwrap();
        }
    }
    let sql = if store.is_postgres() { "VACUUM ANALYZE" } else { "ANALYZE" };
    db.execute_raw(Statement::from_string(store.backend(), sql)).await.unwrap();
    Seeded {
        customers,
        busy: customer_id(customers + 1),
        crowded: customer_id(customers + 2),
    }
}

/// (customer, n) for as many n as each has.
fn each(people: &[Person], count: impl Fn(&Person) -> usize) -> Vec<(usize, usize)> {
    people
        .iter()
        .flat_map(|person| (0..count(person)).map(|n| (person.0, n)))
        .collect()
}

fn customer_rows(people: &[Person]) -> Rows {
    let name = |n: usize| format!("Customer {n}");
    let golden = |n: usize| {
        format!(
            r#"{{"city":"City {}","country":"DE","email":"c{n}@example.test","name":"Customer {n}","phone":"+49151{n:08}"}}"#,
            n % 500
        )
    };
    let numbers = || people.iter().map(|person| person.0);
    Rows::new()
        .id("id", numbers().map(customer_id))
        .int("created_at", numbers().map(|n| NOW - 700 * DAY + n as i64))
        .optional_text("display_name", numbers().map(|n| Some(name(n))))
        .optional_text("email", numbers().map(|n| Some(format!("c{n}@example.test"))))
        .optional_text("phone", numbers().map(|n| Some(format!("+49151{n:08}"))))
        .optional_text("name_folded", numbers().map(|n| Some(name(n).to_lowercase())))
        .optional_text("email_folded", numbers().map(|n| Some(format!("c{n}@example.test"))))
        .optional_text("phone_folded", numbers().map(|n| Some(format!("+49151{n:08}"))))
        .json("golden", numbers().map(golden))
        .int("rev", numbers().map(|_| 1))
        .int("placed_at", numbers().map(|n| NOW - 700 * DAY + n as i64))
}

fn record_rows(records: &[(usize, usize)], sources: &[Uuid]) -> Rows {
    let traits = |n: usize, k: usize| {
        let at = NOW - 600 * DAY;
        let event = id(n, 2, k).simple();
        format!(
            r#"{{"name":["Customer {n}",{at},"{event}",{at}],"email":["c{n}@example.test",{at},"{event}",{at}],"city":["City {}",{at},"{event}",{at}]}}"#,
            n % 500
        )
    };
    let of = || records.iter().copied();
    Rows::new()
        .id("id", of().map(|(n, k)| id(n, 0, k)))
        .id("source_id", of().map(|(_, k)| sources[k % sources.len()]))
        .text("external_key", of().map(|(n, k)| format!("u:{n}-{k}")))
        .id("customer_id", of().map(|(n, _)| customer_id(n)))
        .int("arrival", of().map(|(n, k)| NOW - 700 * DAY + n as i64 + k as i64))
        .json("traits", of().map(|(n, k)| traits(n, k)))
        .int("rev", of().map(|_| 1))
        .int("siblings", of().map(|_| 0))
        .flag("was_customer", of().map(|(_, k)| k == 0))
}

/// Each record shows a user id; the first an e-mail address too.
fn shown_rows(records: &[(usize, usize)]) -> (Rows, Rows) {
    let shown: Vec<(usize, usize, bool)> = records
        .iter()
        .flat_map(|(n, k)| std::iter::once((*n, *k, false)).chain((*k == 0).then_some((*n, *k, true))))
        .collect();
    let value_id = |n: usize, k: usize, is_email: bool| id(n, 3 + u64::from(is_email), k);
    let of = || shown.iter().copied();
    let identifiers = Rows::new()
        .id("id", of().map(|(n, k, email)| value_id(n, k, email)))
        .small("kind", of().map(|(_, _, email)| if email { 3 } else { 1 }))
        .text("namespace", of().map(|_| String::new()))
        .text(
            "value",
            of().map(|(n, k, email)| {
                if email {
                    format!("c{n}@example.test")
                } else {
                    format!("{n}-{k}")
                }
            }),
        )
        .optional_id("owner_id", of().map(|(n, k, _)| Some(id(n, 0, k))))
        .small("state", of().map(|_| 1))
        .int("arrival", of().map(|(n, k, _)| NOW - 700 * DAY + n as i64 + k as i64))
        .int("rev", of().map(|_| 1));
    let links = Rows::new()
        .id("record_id", of().map(|(n, k, _)| id(n, 0, k)))
        .id("identifier_id", of().map(|(n, k, email)| value_id(n, k, email)))
        .id("event_id", of().map(|(n, k, _)| id(n, 2, k)))
        .int("arrival", of().map(|(n, k, _)| NOW - 700 * DAY + n as i64 + k as i64))
        .int("occurred_at", of().map(|_| NOW - 600 * DAY))
        .small("place", of().map(|(_, _, email)| i16::from(email)));
    (identifiers, links)
}

fn event_rows(events: &[(usize, usize)], widths: &HashMap<usize, usize>) -> Rows {
    const NAMES: [&str; 4] = ["Product Viewed", "Product Added", "Cart Viewed", "Article Read"];
    let at = |n: usize, e: usize| NOW - ((n * 7 + e * 131) % 600) as i64 * DAY - e as i64 * 1_000_000;
    let of = || events.iter().copied();
    Rows::new()
        .id("record_id", of().map(|(n, e)| id(n, 0, e % widths[&n])))
        .id("id", of().map(|(n, e)| id(n, 2, e)))
        .text("message_id", of().map(|(n, e)| format!("m-{n}-{e}")))
        .small("kind", of().map(|_| 1))
        .text("name", of().map(|(_, e)| NAMES[e % 4].to_owned()))
        .int("occurred_at", of().map(|(n, e)| at(n, e)))
        .int("received_at", of().map(|(n, e)| at(n, e) + 1_000))
        .int("arrival", of().map(|(n, e)| at(n, e) + 1_000))
        .small("flags", of().map(|_| 0))
        .json("properties", of().map(|(n, e)| format!(r#"{{"category":"shoes","price":{}.5,"product_id":"p{}"}}"#, e % 90, n % 1000)))
        .json(
            "context",
            of().map(|_| r#"{"ip":"192.0.2.7","library":{"name":"analytics.js","version":"2.1.0"},"page":{"path":"/shoes","referrer":"","title":"Shoes","url":"https://shop.example.test/shoes"},"userAgent":"Mozilla/5.0 (X11; Linux x86_64)"}"#.to_owned()),
        )
}

fn purchase_rows(purchases: &[(usize, usize)], widths: &HashMap<usize, usize>) -> Rows {
    let at = |n: usize, p: usize| NOW - ((n * 11 + p * 97) % 600) as i64 * DAY;
    let of = || purchases.iter().copied();
    Rows::new()
        .id("record_id", of().map(|(n, p)| id(n, 0, p % widths[&n])))
        .id("id", of().map(|(n, p)| id(n, 5, p)))
        .text("order_namespace", of().map(|_| String::new()))
        .text("order_id", of().map(|(n, p)| format!("o-{n}-{p}")))
        .int("occurred_at", of().map(|(n, p)| at(n, p)))
        .int("first_at", of().map(|(n, p)| at(n, p)))
        .optional_int("placed_at", of().map(|(n, p)| Some(at(n, p))))
        .text("currency", of().map(|_| "EUR".to_owned()))
        .optional_int(
            "amount_minor",
            of().map(|(n, p)| Some(1_000 + ((n * 13 + p * 17) % 20_000) as i64)),
        )
        .int("refunded_minor", of().map(|_| 0))
        .int("rev", of().map(|_| 1))
}
