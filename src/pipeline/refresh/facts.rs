//! The first view: what customers bought, added up (`customer_value`). It changes by what is told alone, never by time.

use super::{Batch, Nexts, View};
use crate::base::{CustomerId, Instant};
use crate::customer::PurchaseSummary;
use crate::customer::store::standing::summaries;
use crate::due::{CaughtUp, Due, Judged, Measure, catch_up};
use crate::feed::{Change, Log};
use crate::store::StoreError;
use crate::value::store::{self, Stored};
use crate::value::told::differences;
use entity::{ChangeOp, Topic};
use futures_util::future::BoxFuture;
use sea_orm::DatabaseTransaction;
use std::collections::HashMap;

/// What customers bought.
pub struct Facts;

impl Measure for Facts {
    type Facts = PurchaseSummary;
    type Value = PurchaseSummary;

    fn evaluate(&self, purchases: &PurchaseSummary, _: Instant) -> Judged<PurchaseSummary> {
        Judged {
            value: purchases.clone(),
            next: None,
        }
    }
}

impl View for Facts {
    fn refresh<'t>(
        &'t self,
        tx: &'t DatabaseTransaction,
        batch: &'t Batch,
        log: &'t mut Log,
    ) -> BoxFuture<'t, Result<Nexts, StoreError>> {
        Box::pin(self.refresh_batch(tx, batch, log))
    }
}

/// What is written of a batch.
#[derive(Default)]
struct Written {
    written: Vec<(CustomerId, Stored)>,
    deleted: Vec<CustomerId>,
}

impl Facts {
    async fn refresh_batch(&self, tx: &DatabaseTransaction, batch: &Batch, log: &mut Log) -> Result<Nexts, StoreError> {
        let standing: Vec<CustomerId> = batch.standing.iter().map(|due| due.customer).collect();
        let gone = batch.gone.iter().map(|(due, _)| due.customer);
        let all: Vec<CustomerId> = standing.iter().copied().chain(gone).collect();
        let stored = store::values(tx, &all).await?;
        let mut bought = match standing.is_empty() {
            true => HashMap::new(),
            false => summaries(tx, &standing).await?,
        };
        let mut written = Written::default();
        for due in &batch.standing {
            let bought = bought.remove(&due.customer).unwrap_or_default();
            self.follow(
                due,
                due.customer,
                stored.get(&due.customer),
                &bought,
                (batch.now, log),
                &mut written,
            )?;
        }
        let nothing = PurchaseSummary::default();
        for (due, now_of) in &batch.gone {
            let told_of = now_of.unwrap_or(due.customer);
            self.follow(
                due,
                told_of,
                stored.get(&due.customer),
                &nothing,
                (batch.now, log),
                &mut written,
            )?;
        }
        if !written.deleted.is_empty() {
            store::delete(tx, written.deleted.iter().copied()).await?;
        }
        store::write(tx, &written.written).await?;
        Ok(Nexts::new())
    }

    fn follow(
        &self,
        due: &Due,
        told_of: CustomerId,
        stored: Option<&Stored>,
        bought: &PurchaseSummary,
        (now, log): (Instant, &mut Log),
        written: &mut Written,
    ) -> Result<(), StoreError> {
        let nothing = PurchaseSummary::default();
        let mut before = stored.map_or(&nothing, |stored| &stored.purchases);
        let CaughtUp { changes, .. } =
            catch_up(self, bought, before, due.told_at(), now).map_err(|stuck| StoreError::Corrupt(stuck.to_string()))?;
        let mut rev = stored.map_or(0, |stored| stored.rev);
        for (at, after) in &changes {
            // Above every version it had, also before it went.
            rev = now.micros().max(rev + 1);
            let op = match (*before == nothing, *after == nothing) {
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
                changed: differences(before, after),
                events: Vec::new(),
            };
            log.note_because(change, due.cause());
            before = after;
        }
        match changes.into_iter().next_back() {
            Some((_, purchases)) if purchases != nothing => {
                written.written.push((due.customer, Stored { purchases, rev }));
            }
            Some(_) => written.deleted.push(due.customer),
            None => {}
        }
        Ok(())
    }
}
