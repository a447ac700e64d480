//! One message at a time, of four kinds in turns, about people spread over the whole store.

use crate::people::{has_user_id, mail, shows};
use crate::world::World;
use crate::{Scale, times};
use entity::IdentifierKind;
use serde_json::Value;
use std::time::Duration;
use tributary::ingest::Message;
use tributary::pipeline::intake::Outcome;

const KINDS: [&str; 4] = [
    "a message of a known person that says nothing new",
    "a new e-mail address of a known person",
    "a message that makes two customers one",
    "the first message of an unknown person",
];
/// A prime, so that neighbours in time are strangers to each other.
const STRIDE: usize = 104_729;

pub async fn measure(database: &str, world: &World, scale: Scale) -> Vec<Value> {
    let warming = scale.messages / 10;
    let mut measured: [Vec<Duration>; 4] = Default::default();
    let before = world.count("customer").await;
    let mut statements = [0; 4];
    for n in 0..scale.messages + warming {
        for (kind, measured) in measured.iter_mut().enumerate() {
            let counted = world.server.services.store.statement_count();
            let (time, delivered) = world.deliver(message(world, scale, kind, n)).await;
            assert_eq!(delivered.receipts, [Ok(Outcome::Accepted)], "{}", KINDS[kind]);
            if n >= warming {
                measured.push(time);
                statements[kind] = world.server.services.store.statement_count() - counted;
            }
        }
    }
    // As many unknown people came as pairs became one.
    assert_eq!(world.count("customer").await, before);
    let result = |(kind, measured): (usize, &Vec<Duration>)| {
        let mut result = times(database, KINDS[kind], measured);
        result["statements"] = statements[kind].into();
        if database == "sqlite" {
            result["targetP99Ms"] = 5.into();
            result["met"] = (result["p99Ms"].as_f64() < Some(5.0)).into();
        }
        result
    };
    measured.iter().enumerate().map(result).collect()
}

fn message(world: &World, scale: Scale, kind: usize, n: usize) -> Message {
    let pair = (n * KINDS.len() + kind) * STRIDE % (scale.customers / 2);
    let (known, other) = (pair * 2, pair * 2 + 1);
    assert!(has_user_id(known) && !has_user_id(other));
    let id = format!("resolve-{kind}-{n}");
    let email = |address: String| vec![shows(IdentifierKind::Email, address)];
    let saying = &world.saying;
    match kind {
        0 => saying.visit(&id, known, Vec::new()),
        1 => saying.visit(&id, known, email(format!("new{n}@example.test"))),
        2 => saying.visit(&id, known, email(mail(other))),
        _ => {
            // An even number beyond everybody stored.
            let stranger = 2 * (scale.customers + n);
            saying.visit(&id, stranger, email(mail(stranger)))
        }
    }
}
