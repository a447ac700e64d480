//! What a customer is worth: more facts of each (`customer_value`), what they did by day (`activity`), fitted models (`value_model`), and the
//! history of what is discrete about them (`metric_change`).
//!
//! A row of `metric_change` says what held of a customer from `from_at` until `until_at`; unset: it still holds. `value` is the label that
//! rules and reports compare (`GROWTH`, `IMPORTANT_VALUE`), `detail` what stands behind it, `cause` and `ended` what it came of and what
//! ended it. Rows keep the id under which they were made.

use crate::ddl;
use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::run(
            manager,
            &[
                "CREATE TABLE activity (
                    customer_id {id} NOT NULL, name {text} NOT NULL, day {int} NOT NULL, count {int} NOT NULL,
                    PRIMARY KEY (customer_id, name, day)){updated-keyed}",
                "CREATE TABLE value_model (
                    version {int} NOT NULL, kind {small} NOT NULL, fitted_at {int} NOT NULL, as_of {int} NOT NULL,
                    published_at {int}, chosen {bool} NOT NULL, customers {int} NOT NULL, model {json} NOT NULL,
                    job_id {id}, PRIMARY KEY (version, kind)){keyed}",
                "CREATE TABLE metric_change (
                    customer_id {id} NOT NULL, metric {text} NOT NULL, rev {int} NOT NULL, from_at {int} NOT NULL, until_at {int},
                    value {text} NOT NULL, detail {json} NOT NULL, cause {text} NOT NULL, ended {text}, model_version {int},
                    PRIMARY KEY (customer_id, metric, rev)){updated-keyed}",
                "CREATE INDEX metric_change_open ON metric_change (metric, value, customer_id) WHERE until_at IS NULL",
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::drop(manager, &["activity", "value_model", "metric_change"]).await
    }
}
