//! What is asked of customers about value: what is known and stored of them, what is in force, and their metrics.

use super::{Answers, Questions};
use crate::base::paging::{Page, Slice};
use crate::base::{CustomerId, Instant};
use crate::pipeline::worth;
use crate::store::StoreError;
use crate::value::{self, Known, metric_store};
use async_graphql::dataloader::Loader;
use entity::metric_change;
use std::collections::HashMap;
use std::sync::Arc;

/// What is stored of this customer, as far as worth asks for it?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WorthOf(pub CustomerId);
/// What are values computed with?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InForce;
/// What discrete measures hold of this customer?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MetricsOf(pub CustomerId);
/// What discrete measures held of this customer at an instant?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MetricsAt(pub CustomerId, pub Instant);
/// Which page of the history of a discrete measure of this customer?
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MetricHistoryOf(pub CustomerId, pub &'static str, pub Page<metric_store::Place>);
/// What is known of this customer that value is computed from?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KnownOf(pub CustomerId);

impl Loader<WorthOf> for Questions {
    type Value = worth::Standing;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[WorthOf]) -> Answers<WorthOf, worth::Standing> {
        let asked: Vec<CustomerId> = keys.iter().map(|key| key.0).collect();
        let standings = worth::standings(&self.services, &asked).await?;
        Ok(standings
            .into_iter()
            .map(|(customer, standing)| (WorthOf(customer), standing))
            .collect())
    }
}

impl Loader<InForce> for Questions {
    type Value = worth::InForce;
    type Error = Arc<StoreError>;

    async fn load(&self, _: &[InForce]) -> Answers<InForce, worth::InForce> {
        Ok(HashMap::from([(InForce, worth::in_force(&self.services).await?)]))
    }
}

impl Loader<MetricsOf> for Questions {
    type Value = Arc<Vec<metric_change::Model>>;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[MetricsOf]) -> Answers<MetricsOf, Arc<Vec<metric_change::Model>>> {
        let asked: Vec<CustomerId> = keys.iter().map(|key| key.0).collect();
        let mut held: HashMap<CustomerId, Vec<metric_change::Model>> = HashMap::new();
        for row in metric_store::open(self.store.reader(), &asked).await? {
            held.entry(CustomerId(row.customer_id)).or_default().push(row);
        }
        Ok(held
            .into_iter()
            .map(|(customer, rows)| (MetricsOf(customer), Arc::new(rows)))
            .collect())
    }
}

impl Loader<MetricsAt> for Questions {
    type Value = Arc<HashMap<String, metric_change::Model>>;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[MetricsAt]) -> Answers<MetricsAt, Arc<HashMap<String, metric_change::Model>>> {
        // Aliases may ask about several instants; each is one statement for all customers that ask about it.
        let mut by_instant: HashMap<Instant, Vec<CustomerId>> = HashMap::new();
        for MetricsAt(customer, at) in keys {
            by_instant.entry(*at).or_default().push(*customer);
        }
        let mut answers = HashMap::with_capacity(keys.len());
        for (at, customers) in by_instant {
            let held = metric_store::as_of(self.store.reader(), &customers, at).await?;
            answers.extend(
                held.into_iter()
                    .map(|(customer, rows)| (MetricsAt(customer, at), Arc::new(rows))),
            );
        }
        Ok(answers)
    }
}

impl Loader<MetricHistoryOf> for Questions {
    type Value = Slice<metric_change::Model>;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[MetricHistoryOf]) -> Answers<MetricHistoryOf, Slice<metric_change::Model>> {
        // As with instants.
        let mut by_page: HashMap<(&'static str, &Page<metric_store::Place>), Vec<CustomerId>> = HashMap::new();
        for MetricHistoryOf(customer, metric, page) in keys {
            by_page.entry((metric, page)).or_default().push(*customer);
        }
        let mut answers = HashMap::with_capacity(keys.len());
        for ((metric, page), customers) in by_page {
            let histories = metric_store::histories(self.store.reader(), &customers, metric, page).await?;
            let keyed = |(customer, slice)| (MetricHistoryOf(customer, metric, page.clone()), slice);
            answers.extend(histories.into_iter().map(keyed));
        }
        Ok(answers)
    }
}

impl Loader<KnownOf> for Questions {
    type Value = Arc<Known>;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[KnownOf]) -> Answers<KnownOf, Arc<Known>> {
        let asked: Vec<CustomerId> = keys.iter().map(|key| key.0).collect();
        let reporting = self.services.reporting().await?;
        let known = value::load::known(self.store.reader(), &reporting, &asked).await?;
        Ok(known
            .into_iter()
            .map(|(customer, known)| (KnownOf(customer), Arc::new(known)))
            .collect())
    }
}
