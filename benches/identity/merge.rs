//! Merges of customers with long histories beside such with short ones.

use crate::people::{mail, shows};
use crate::world::World;
use crate::{Scale, at, times};
use entity::IdentifierKind;
use serde_json::{Value, json};
use std::time::{Duration, Instant as Watch};
use tributary::access::Actor;
use tributary::base::CustomerId;
use tributary::pipeline::intake::Outcome;
use tributary::pipeline::mend::{Decision, Doer, decide};

const SHORT: usize = 10;
/// Times each pair is merged by hand and taken apart again.
const ROUNDS: usize = 30;
/// Pairs of each length that a message makes one; it does so only once.
const JOINED: usize = 4;

pub async fn measure(database: &str, world: &World, scale: Scale) -> Vec<Value> {
    // Far beyond whoever else is known.
    let first = 20 * scale.customers;
    let couples = |length: usize| move |n: usize| first + 1000 * length + 2 * n;
    let (long, short) = (couples(scale.history), couples(SHORT));
    for (couple, events) in [(&long, scale.history), (&short, SHORT)] {
        let people = (0..=JOINED).flat_map(|n| [couple(n), couple(n) + 1]);
        world
            .write(people.clone().map(|person| world.saying.introductions(person)))
            .await;
        for person in people {
            world.write_history(person, events).await;
        }
    }
    world.settle().await;

    let mut results = by_hand(database, world, [long(0), short(0)]).await;
    let mut joined: [Vec<Duration>; 2] = Default::default();
    for n in 1..=JOINED {
        for (couple, joined) in [long(n), short(n)].into_iter().zip(&mut joined) {
            let shown = vec![shows(IdentifierKind::Email, mail(couple + 1))];
            let (time, delivered) = world
                .deliver(world.saying.visit(&format!("join-{couple}"), couple, shown))
                .await;
            assert_eq!(delivered.receipts, [Ok(Outcome::Accepted)]);
            joined.push(time);
        }
    }
    results.extend(compared(database, "made one by a message", &joined));
    results
}

async fn by_hand(database: &str, world: &World, couples: [usize; 2]) -> Vec<Value> {
    let services = &world.server.services;
    let keys = services.store.hash_key();
    let doer = Doer {
        actor: Actor::new("bench"),
        reason: "measured".to_owned(),
    };
    let customer = |person: usize| {
        let [site, _] = world.saying.introductions(person);
        CustomerId(keys.record(site.source, &site.external_key).0)
    };
    let (mut merged, mut revoked): ([Vec<Duration>; 2], [Vec<Duration>; 2]) = Default::default();
    for round in 0..=ROUNDS {
        for (i, couple) in couples.into_iter().enumerate() {
            let merge = Decision::Merge {
                into: customer(couple),
                from: customer(couple + 1),
            };
            let watch = Watch::now();
            let decided = decide(services, &doer, &merge).await.unwrap();
            let merge_time = watch.elapsed();
            let revoke = Decision::Revoke {
                decision: decided.decision,
            };
            let watch = Watch::now();
            decide(services, &doer, &revoke).await.unwrap();
            // The first round fills caches.
            if round > 0 {
                merged[i].push(merge_time);
                revoked[i].push(watch.elapsed());
            }
        }
    }
    let mut results = compared(database, "merged by hand", &merged);
    results.extend(compared(database, "taken apart again", &revoked));
    results
}

/// Of long histories, and of short ones.
fn compared(database: &str, what: &str, [long, short]: &[Vec<Duration>; 2]) -> Vec<Value> {
    let ratio = (at(long, 0.5) / at(short, 0.5) * 100.0).round() / 100.0;
    vec![
        times(database, &format!("two customers of {SHORT} events each, {what}"), short),
        times(database, &format!("two customers with long histories, {what}"), long),
        json!({"database": database, "case": format!("long over short, {what}"), "ratio": ratio}),
    ]
}
