//! What customers are worth: facts and the roll-up of what they did, as they are stored against orders and events.
//!
//! Orders and events are compared by themselves, so what is added up here are the stored ones. Whoever is due is not compared: it is known
//! that what is stored of them is old. The same goes for everybody while a job marks them.

use super::{Checking, RebuildError};
use crate::base::CustomerId;
use crate::customer::store::standing::summaries;
use crate::due::{self, Span};
use crate::job;
use crate::pipeline::refresh;
use crate::store::{Columns, Difference, StoreError, compare};
use crate::value::activity::{self, Activity};
use crate::value::reporting::settled;
use crate::value::store::{self, Stored};
use crate::value::told::{Standing, Told};
use crate::value::{Facts, load};
use entity::customer_value;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap};

impl Checking<'_> {
    /// Whether nobody is being marked just now.
    pub(super) async fn are_facts_settled(&self) -> Result<bool, StoreError> {
        Ok(!job::is_any_unfinished(&self.db, refresh::JOB_KIND).await?)
    }

    pub(super) async fn compare_facts(&mut self, customers: &[CustomerId]) -> Result<(), RebuildError> {
        let due = due::outdated_among(&self.db, customers.iter().copied(), self.now).await?;
        let fresh: Vec<CustomerId> = customers.iter().copied().filter(|customer| !due.contains(customer)).collect();
        if fresh.is_empty() {
            return Ok(());
        }
        let reporting = settled(&self.db, &self.value).await?;
        let everything: Vec<(CustomerId, Span)> = fresh.iter().map(|customer| (*customer, Span::EVERYTHING)).collect();
        let did = activity::counted(&self.db, &self.value, &everything).await?;
        let rolled_up = activity::stored(&self.db, &fresh).await?;
        let found = compare("activity", activity_columns(&rolled_up), activity_columns(&did));
        self.report(found);
        let stored = store::stored_values(&self.db, &fresh).await?;
        let loaded = load::loaded(&self.db, &reporting, &fresh, did).await?;
        self.compare_metrics(&fresh, &loaded.known, &reporting.rules).await?;
        // By another way than the refresh takes.
        let mut bought = summaries(&self.db, &fresh).await?;
        let mut expected = BTreeMap::new();
        for (customer, known) in loaded.known {
            let purchases = bought.remove(&customer).unwrap_or_default();
            let facts = Facts::of(&known, &reporting.rules, self.now);
            let standing = Standing::of(&facts, reporting.currency.as_ref());
            let told = Told { purchases, standing };
            if !told.is_nothing() {
                expected.extend([columns(&store::row_of(customer, &Stored { told, rev: 0 }))]);
            }
        }
        let found = compare("customer_value", stored.iter().map(columns).collect(), expected);
        self.report(found);
        Ok(())
    }

    /// Rows of whoever is no customer, and is not due to be found out.
    pub(super) async fn compare_facts_of_nobody(&mut self, is_customer: impl Fn(CustomerId) -> bool) -> Result<(), RebuildError> {
        let mut last = None;
        loop {
            let page = store::values_after(&self.db, last.as_ref()).await?;
            let ids = page
                .iter()
                .map(|row| (CustomerId(row.customer_id), row.customer_id.to_string()));
            self.report_nobodys("customer_value", ids, &is_customer).await?;
            last = page.into_iter().next_back();
            if last.is_none() {
                break;
            }
        }
        let mut last = None;
        loop {
            let page = activity::rows_after(&self.db, last.as_ref()).await?;
            let ids = page.iter().map(|row| {
                let customer = CustomerId(row.customer_id);
                (customer, key_text(customer, &row.name, row.day))
            });
            self.report_nobodys("activity", ids, &is_customer).await?;
            last = page.into_iter().next_back();
            if last.is_none() {
                break;
            }
        }
        self.compare_metrics_of_nobody(is_customer).await
    }

    pub(super) async fn report_nobodys(
        &mut self,
        table: &'static str,
        rows: impl Iterator<Item = (CustomerId, String)>,
        is_customer: impl Fn(CustomerId) -> bool,
    ) -> Result<(), StoreError> {
        let nobodys: Vec<(CustomerId, String)> = rows.filter(|(id, _)| !is_customer(*id)).collect();
        let nobody: BTreeSet<CustomerId> = nobodys.iter().map(|(id, _)| *id).collect();
        let due = due::marked_among(&self.db, nobody.into_iter(), true).await?;
        let superfluous = nobodys.into_iter().filter(|(id, _)| !due.contains(id));
        self.report(superfluous.map(|(_, key)| Difference::of_row(table, key, true)));
        Ok(())
    }
}

fn key_text(customer: CustomerId, name: &str, day: i64) -> String {
    format!("{customer}/{name}/{day}")
}

fn activity_columns(activity: &HashMap<CustomerId, Activity>) -> BTreeMap<String, Columns> {
    let mut rows = BTreeMap::new();
    for (customer, activity) in activity {
        for (name, days) in activity {
            for (day, count) in days {
                let key = key_text(*customer, name, activity::number(*day));
                rows.insert(key, Columns::from([("count", json!(count))]));
            }
        }
    }
    rows
}

fn columns(row: &customer_value::Model) -> (String, Columns) {
    let columns = Columns::from([
        ("purchase_count", json!(row.purchase_count)),
        ("unknown_count", json!(row.unknown_count)),
        ("returned_count", json!(row.returned_count)),
        ("first_purchase_at", json!(row.first_purchase_at)),
        ("last_purchase_at", json!(row.last_purchase_at)),
        ("totals", row.totals.clone()),
        ("currency", json!(row.currency)),
        ("order_count", json!(row.order_count)),
        ("priced_count", json!(row.priced_count)),
        ("net_minor", json!(row.net_minor)),
        ("back_minor", json!(row.back_minor)),
        ("day_count", json!(row.day_count)),
        ("first_day", json!(row.first_day)),
        ("last_day", json!(row.last_day)),
        ("earning_days", json!(row.earning_days)),
        ("barren_days", json!(row.barren_days)),
        ("spend_minor", json!(row.spend_minor)),
        ("began_before", json!(row.began_before)),
        ("referral_count", json!(row.referral_count)),
        ("review_count", json!(row.review_count)),
    ]);
    (row.customer_id.to_string(), columns)
}
