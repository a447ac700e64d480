//! What customers bought, added up: as it is stored against the orders.
//!
//! Orders are compared by themselves, so what is added up here are the stored ones. Whoever is due is not compared: it is known that what is
//! stored of them is old. The same goes for everybody while a job marks them.

use super::{Checking, RebuildError};
use crate::base::CustomerId;
use crate::customer::PurchaseSummary;
use crate::customer::store::standing::summaries;
use crate::due;
use crate::job;
use crate::pipeline::refresh;
use crate::store::{Columns, Difference, StoreError, compare};
use crate::value::store::{self, Stored};
use entity::customer_value;
use serde_json::json;
use std::collections::BTreeSet;

impl Checking<'_> {
    /// Whether nobody is being marked just now.
    pub(super) async fn are_facts_settled(&self) -> Result<bool, StoreError> {
        Ok(!job::is_any_unfinished(&self.db, refresh::JOB_KIND).await?)
    }

    pub(super) async fn compare_facts(&mut self, customers: &[CustomerId]) -> Result<(), RebuildError> {
        let due = due::marked_among(&self.db, customers.iter().copied(), true).await?;
        let fresh: Vec<CustomerId> = customers.iter().copied().filter(|customer| !due.contains(customer)).collect();
        if fresh.is_empty() {
            return Ok(());
        }
        let stored = store::stored_values(&self.db, &fresh).await?;
        let bought = summaries(&self.db, &fresh).await?;
        let expected = bought
            .into_iter()
            .filter(|(_, purchases)| *purchases != PurchaseSummary::default());
        let expected = expected.map(|(customer, purchases)| columns(&store::row_of(customer, &Stored { purchases, rev: 0 })));
        let found = compare("customer_value", stored.iter().map(columns).collect(), expected.collect());
        self.report(found);
        Ok(())
    }

    /// Rows of whoever is no customer, and is not due to be found out.
    pub(super) async fn compare_facts_of_nobody(&mut self, is_customer: impl Fn(CustomerId) -> bool) -> Result<(), RebuildError> {
        let mut last = None;
        loop {
            let page = store::values_after(&self.db, last.as_ref()).await?;
            let nobody = page
                .iter()
                .map(|row| CustomerId(row.customer_id))
                .filter(|id| !is_customer(*id));
            let nobody: BTreeSet<CustomerId> = nobody.collect();
            let due = due::marked_among(&self.db, nobody.iter().copied(), true).await?;
            let superfluous = nobody
                .difference(&due.into_iter().collect())
                .map(ToString::to_string)
                .collect::<Vec<_>>();
            self.report(
                superfluous
                    .into_iter()
                    .map(|id| Difference::of_row("customer_value", id, true)),
            );
            last = page.into_iter().next_back();
            if last.is_none() {
                return Ok(());
            }
        }
    }
}

fn columns(row: &customer_value::Model) -> (String, Columns) {
    let columns = Columns::from([
        ("purchase_count", json!(row.purchase_count)),
        ("unknown_count", json!(row.unknown_count)),
        ("returned_count", json!(row.returned_count)),
        ("first_purchase_at", json!(row.first_purchase_at)),
        ("last_purchase_at", json!(row.last_purchase_at)),
        ("totals", row.totals.clone()),
    ]);
    (row.customer_id.to_string(), columns)
}
