//! What still holds of the metrics of customers, against what they say now: of whoever is not due, it is the same as at the last look.

use super::{Checking, RebuildError};
use crate::base::CustomerId;
use crate::store::{Columns, Difference, compare};
use crate::value::metric::Basis;
use crate::value::metrics::{self, Told};
use crate::value::models::{store as model_store, stored};
use crate::value::rules::ValueRules;
use crate::value::{Known, metric_store};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};

impl Checking<'_> {
    pub(super) async fn compare_metrics(
        &mut self,
        customers: &[CustomerId],
        known: &HashMap<CustomerId, Known>,
        rules: &ValueRules,
    ) -> Result<(), RebuildError> {
        let published = match model_store::in_force(&self.db).await? {
            Some(version) => Some(stored::version(model_store::rows(&self.db, version).await?)?.published),
            None => None,
        };
        let mut stored = BTreeMap::new();
        let mut twice = Vec::new();
        for row in metric_store::open(&self.db, customers).await? {
            let key = key_text(CustomerId(row.customer_id), &row.metric);
            let otherwise = metrics::named(&row.metric).and_then(|metric| metric.otherwise());
            let said = columns(&row.value, &row.detail);
            // What is said of everybody else has a row only where something else held before.
            if otherwise != Some(row.value.as_str()) && stored.insert(key.clone(), said).is_some() {
                twice.push(Difference::of_row("metric_change", key, true));
            }
        }
        self.report(twice);
        let mut expected = BTreeMap::new();
        for customer in customers {
            let Some(known) = known.get(customer) else { continue };
            let basis = Basis {
                known,
                rules,
                published: published.as_ref(),
            };
            for metric in metrics::ALL {
                if let Some(Told { value, detail, .. }) = metrics::told(metric, basis, self.now).value {
                    expected.insert(key_text(*customer, metric.key()), columns(&value, &detail));
                }
            }
        }
        let found = compare("metric_change", stored, expected);
        self.report(found);
        Ok(())
    }

    /// Intervals that have not ended of whoever is no customer, and is not due to be found out.
    pub(super) async fn compare_metrics_of_nobody(
        &mut self,
        is_customer: impl Fn(CustomerId) -> bool,
    ) -> Result<(), RebuildError> {
        let mut last = None;
        loop {
            let page = metric_store::changes_after(&self.db, last.as_ref()).await?;
            let open = page.iter().filter(|row| row.until_at.is_none());
            let ids = open.map(|row| {
                let customer = CustomerId(row.customer_id);
                (customer, key_text(customer, &row.metric))
            });
            self.report_nobodys("metric_change", ids, &is_customer).await?;
            last = page.into_iter().next_back();
            if last.is_none() {
                return Ok(());
            }
        }
    }
}

fn key_text(customer: CustomerId, metric: &str) -> String {
    format!("{customer}/{metric}")
}

fn columns(value: &str, detail: &serde_json::Value) -> Columns {
    Columns::from([("value", json!(value)), ("detail", detail.clone())])
}
