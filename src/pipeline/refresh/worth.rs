//! The view of what customers are worth: what is known of a whole batch is loaded once, and everything that follows from it asks the same.
//!
//! In this order: the days of the roll-up that events were told of are counted again, what is known is loaded, then the facts follow
//! (`facts`), and the metrics with their histories (`histories`).

use super::{Batch, Nexts, View, facts, histories, join};
use crate::base::CustomerId;
use crate::due::Span;
use crate::feed::Log;
use crate::pipeline::Services;
use crate::store::StoreError;
use crate::value::activity::{self, Activity};
use crate::value::load::{self, Loaded};
use crate::value::rules::ValueRules;
use futures_util::future::BoxFuture;
use sea_orm::DatabaseTransaction;
use std::collections::HashMap;

/// What customers are worth.
pub struct Worth {
    services: Services,
}

impl Worth {
    pub fn new(services: &Services) -> Self {
        Self {
            services: services.clone(),
        }
    }

    async fn refresh_batch(&self, tx: &DatabaseTransaction, batch: &Batch, log: &mut Log) -> Result<Nexts, StoreError> {
        // Settled before the transaction, as far as anybody had bought anything; who buys first meanwhile is due again.
        let reporting = self.services.settled.remembered(&self.services.value);
        let standing: Vec<CustomerId> = batch.standing.iter().map(|due| due.customer).collect();
        let activity = follow_activity(tx, batch, &reporting.rules).await?;
        let loaded = match standing.is_empty() {
            true => Loaded::default(),
            false => load::loaded(tx, &reporting, &standing, activity).await?,
        };
        let mut nexts = facts::follow(tx, batch, &loaded, &reporting, log).await?;
        let in_force = self.services.models.in_force(tx).await?;
        let published = in_force.as_ref().map(|version| &version.published);
        let basis = (reporting.rules.as_ref(), published);
        join(&mut nexts, histories::follow(tx, batch, &loaded.known, basis, log).await?);
        Ok(nexts)
    }
}

impl View for Worth {
    fn refresh<'t>(
        &'t self,
        tx: &'t DatabaseTransaction,
        batch: &'t Batch,
        log: &'t mut Log,
    ) -> BoxFuture<'t, Result<Nexts, StoreError>> {
        Box::pin(self.refresh_batch(tx, batch, log))
    }
}

/// Counts again what was told of, writes what differs, and answers what is stored then. One statement; one more where events were told of,
/// two where their counts differ, and one where ids are no customers any more.
async fn follow_activity(
    tx: &DatabaseTransaction,
    batch: &Batch,
    rules: &ValueRules,
) -> Result<HashMap<CustomerId, Activity>, StoreError> {
    if !batch.gone.is_empty() {
        activity::delete(tx, batch.gone.iter().map(|(due, _)| due.customer)).await?;
    }
    if batch.standing.is_empty() {
        return Ok(HashMap::new());
    }
    let standing: Vec<CustomerId> = batch.standing.iter().map(|due| due.customer).collect();
    let mut stored = activity::stored(tx, &standing).await?;
    let told = batch.standing.iter().filter_map(|due| Some((due.customer, due.events?)));
    let told: Vec<(CustomerId, Span)> = told.collect();
    let mut counted = activity::counted(tx, rules, &told).await?;
    let mut changes = Vec::new();
    for (customer, span) in told {
        let counted = counted.remove(&customer).unwrap_or_default();
        changes.extend(activity::replace(
            (customer, span),
            rules,
            stored.entry(customer).or_default(),
            &counted,
        ));
    }
    activity::write(tx, &changes).await?;
    Ok(stored)
}
