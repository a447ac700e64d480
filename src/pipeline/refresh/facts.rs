//! The facts of customers (`customer_value`): what they bought by currency, and in the reporting currency as of now. They change by what is
//! told, and by time alone where something was told that lies ahead.

use super::{Batch, Nexts};
use crate::base::{CustomerId, Instant};
use crate::customer::PurchaseSummary;
use crate::due::{CaughtUp, Due, Judged, Measure, catch_up};
use crate::feed::{Change, Log};
use crate::store::StoreError;
use crate::value::load::Loaded;
use crate::value::reporting::Reporting;
use crate::value::store::{self, Stored};
use crate::value::told::{Standing, Told, differences};
use crate::value::{Facts, Known};
use entity::{ChangeOp, Topic};
use sea_orm::DatabaseTransaction;

/// What facts are judged by.
struct Basis<'b> {
    known: &'b Known,
    purchases: &'b PurchaseSummary,
    reporting: &'b Reporting,
}

/// What is told and stored.
struct Telling<'b>(std::marker::PhantomData<&'b ()>);

impl<'b> Measure for Telling<'b> {
    type Facts = Basis<'b>;
    type Value = Told;

    fn evaluate(&self, basis: &Basis<'b>, at: Instant) -> Judged<Told> {
        let facts = Facts::of(basis.known, &basis.reporting.rules, at);
        let told = Told {
            purchases: basis.purchases.clone(),
            standing: Standing::of(&facts, basis.reporting.currency.as_ref()),
        };
        Judged {
            value: told,
            next: next_after(basis.known, at),
        }
    }
}

/// The first instant behind `at` at which something happened that facts are made of.
fn next_after(known: &Known, at: Instant) -> Option<Instant> {
    let placed = known.orders.get(known.orders_until(at).len()).map(|order| order.at);
    let refunds = known.orders.iter().flat_map(|order| &order.refunds).map(|refund| refund.at);
    let besides = known.referrals.iter().chain(&known.reviews).copied();
    let later = refunds.chain(besides).filter(|when| *when > at);
    later.chain(placed).min()
}

/// What is written of a batch.
#[derive(Default)]
struct Written {
    written: Vec<(CustomerId, Stored)>,
    deleted: Vec<CustomerId>,
}

/// Writes what differs of the facts of a batch, and notes every difference.
pub(super) async fn follow(
    tx: &DatabaseTransaction,
    batch: &Batch,
    loaded: &Loaded,
    reporting: &Reporting,
    log: &mut Log,
) -> Result<Nexts, StoreError> {
    let standing = batch.standing.iter().map(|due| due.customer);
    let gone = batch.gone.iter().map(|(due, _)| due.customer);
    let all: Vec<CustomerId> = standing.chain(gone).collect();
    let stored = store::values(tx, &all).await?;
    let (mut written, mut nexts) = (Written::default(), Nexts::new());
    let (nobody, nothing) = (Known::default(), PurchaseSummary::default());
    for due in &batch.standing {
        let basis = Basis {
            known: loaded.known.get(&due.customer).unwrap_or(&nobody),
            purchases: loaded.purchases.get(&due.customer).unwrap_or(&nothing),
            reporting,
        };
        let about = (due, due.customer);
        let next = follow_one(about, stored.get(&due.customer), &basis, (batch.now, log), &mut written)?;
        nexts.extend(next.map(|next| (due.customer, next)));
    }
    for (due, now_of) in &batch.gone {
        let basis = Basis {
            known: &nobody,
            purchases: &nothing,
            reporting,
        };
        let about = (due, now_of.unwrap_or(due.customer));
        follow_one(about, stored.get(&due.customer), &basis, (batch.now, log), &mut written)?;
    }
    if !written.deleted.is_empty() {
        store::delete(tx, written.deleted.iter().copied()).await?;
    }
    store::write(tx, &written.written).await?;
    Ok(nexts)
}

fn follow_one(
    (due, told_of): (&Due, CustomerId),
    stored: Option<&Stored>,
    basis: &Basis<'_>,
    (now, log): (Instant, &mut Log),
    written: &mut Written,
) -> Result<Option<Instant>, StoreError> {
    let nothing = Told::default();
    let mut before = stored.map_or(&nothing, |stored| &stored.told);
    let telling = Telling(std::marker::PhantomData);
    let CaughtUp { changes, next } =
        catch_up(&telling, basis, before, due.told_at(), now).map_err(|stuck| StoreError::Corrupt(stuck.to_string()))?;
    let mut rev = stored.map_or(0, |stored| stored.rev);
    for (at, after) in &changes {
        let changed = differences(before, after);
        // What only the models see of a day is no news.
        if !changed.is_empty() {
            // Above every version it had, also before it went.
            rev = now.micros().max(rev + 1);
            let op = match (before.is_nothing(), after.is_nothing()) {
                (true, _) => ChangeOp::Created,
                (false, true) => ChangeOp::Deleted,
                (false, false) => ChangeOp::Updated,
            };
            let change = Change {
                topic: Topic::Metric,
                op,
                entity: due.customer.0,
                record: None,
                customer: Some(told_of),
                rev,
                occurred_at: *at,
                changed,
                events: Vec::new(),
            };
            log.note_because(change, due.cause());
        }
        before = after;
    }
    match changes.into_iter().next_back() {
        Some((_, told)) if !told.is_nothing() => written.written.push((due.customer, Stored { told, rev })),
        Some(_) if stored.is_some() => written.deleted.push(due.customer),
        _ => {}
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::known::{Order, Returned};
    use std::sync::Arc;

    fn at(micros: i64) -> Instant {
        Instant::from_micros(micros)
    }

    #[test]
    fn what_lies_ahead_is_an_instant_and_changes_nothing_before_it() {
        let day = "1970-01-01".parse().unwrap();
        let known = Known {
            orders: vec![Order {
                at: at(10),
                day,
                amount: Some(500),
                refunds: vec![Returned {
                    at: at(30),
                    day,
                    amount: 500,
                }],
                categories: Vec::new(),
                channel: "WEB".to_owned(),
            }],
            referrals: vec![at(20)],
            ..Known::default()
        };
        let reporting = Reporting {
            rules: Arc::default(),
            currency: None,
        };
        let basis = Basis {
            known: &known,
            purchases: &PurchaseSummary::default(),
            reporting: &reporting,
        };
        let telling = Telling(std::marker::PhantomData);
        let caught_up = catch_up(&telling, &basis, &Told::default(), at(9), at(25)).unwrap();
        let told: Vec<(i64, i64, i64)> = caught_up
            .changes
            .iter()
            .map(|(at, told)| (at.micros(), told.standing.orders, told.standing.referrals))
            .collect();
        assert_eq!((told, caught_up.next), (vec![(10, 1, 0), (20, 1, 1)], Some(at(30))));
        let nothing = catch_up(&telling, &basis, &Told::default(), at(5), at(9)).unwrap();
        assert_eq!(
            (nothing.changes.len(), nothing.next),
            (0, Some(at(10))),
            "nothing one microsecond before"
        );
    }
}
