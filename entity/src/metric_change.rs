//! What is discrete about a customer, with its history: a row for each interval in which one value held.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "metric_change")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub customer_id: Uuid,
    /// `lifecycle`, `rfm`, `churn`, `warning.gap` …
    #[sea_orm(primary_key, auto_increment = false)]
    pub metric: String,
    /// Grows with every change of the metric, also when the customer went in between.
    #[sea_orm(primary_key, auto_increment = false)]
    pub rev: i64,
    pub from_at: i64,
    /// Null: it still holds.
    pub until_at: Option<i64>,
    /// The label that rules and reports compare.
    pub value: String,
    /// What stands behind it.
    pub detail: Json,
    /// What it came of: `transaction:…`, `model:…`, `unmerge:…`, or `time`.
    pub cause: String,
    /// What ended it: as `cause`, or `merge:…`. Null: it still holds.
    pub ended: Option<String>,
    /// Of the models that it was computed with; null where none was.
    pub model_version: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}
