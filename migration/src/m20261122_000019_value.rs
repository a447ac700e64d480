//! What a customer is worth: more facts of each (`customer_value`), what they did by day (`activity`), fitted models (`value_model`), and the
//! history of what is discrete about them (`metric_change`).
//!
//! A row of `metric_change` says what held of a customer from `from_at` until `until_at`; unset: it still holds. `value` is the label that
//! rules and reports compare (`GROWTH`, `IMPORTANT_VALUE`), `detail` what stands behind it, `cause` and `ended` what it came of and what
//! ended it. Rows keep the id under which they were made.
//!
//! A row of `due` says which span of events was told of (`events_from`, `events_until`), so that only the days it touches are counted again.

use crate::ddl;
use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub struct Migration;

/// What joins `customer_value`, with the constant that rows have until they are looked at again.
const FACTS: [(&str, &str); 14] = [
    ("currency", "{text}"),
    ("order_count", "{int} NOT NULL DEFAULT 0"),
    ("priced_count", "{int} NOT NULL DEFAULT 0"),
    ("net_minor", "{int}"),
    ("back_minor", "{int}"),
    ("day_count", "{int} NOT NULL DEFAULT 0"),
    ("first_day", "{int}"),
    ("last_day", "{int}"),
    ("earning_days", "{int} NOT NULL DEFAULT 0"),
    ("barren_days", "{int} NOT NULL DEFAULT 0"),
    ("spend_minor", "{int} NOT NULL DEFAULT 0"),
    ("began_before", "{bool} NOT NULL DEFAULT {false}"),
    ("referral_count", "{int} NOT NULL DEFAULT 0"),
    ("review_count", "{int} NOT NULL DEFAULT 0"),
];

/// What the job is asked to do: look at everybody.
const EVERYBODY: &str = r#"{"everybody": true}"#;

/// The id of the job that looks at everybody, and what its input is cast to.
fn job(manager: &SchemaManager<'_>) -> (&'static str, &'static str) {
    match manager.get_database_backend() == DbBackend::Postgres {
        true => ("'00000000-0000-7000-8000-000000000019'", "::jsonb"),
        false => ("X'00000000000070008000000000000019'", ""),
    }
}

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
                "ALTER TABLE due ADD COLUMN events_from {int}",
                "ALTER TABLE due ADD COLUMN events_until {int}",
            ],
        )
        .await?;
        for (column, kind) in FACTS {
            ddl::run(manager, &[&format!("ALTER TABLE customer_value ADD COLUMN {column} {kind}")]).await?;
        }
        let defaults = FACTS.iter().filter(|(_, kind)| kind.contains("DEFAULT"));
        let defaults: Vec<(&str, &str)> = defaults.map(|(column, _)| ("customer_value", *column)).collect();
        ddl::forget_defaults(manager, &defaults).await?;
        // Whoever did anything before is looked at once, by a job.
        let (id, cast) = job(manager);
        let sql = format!(
            "INSERT INTO job (id, kind, state, input, done, attempts, available_at, fence, created_at, actor)
             SELECT {id}, 'refresh_mark', 1, '{EVERYBODY}'{cast}, 0, 0, 0, 0, 0, 'migration' WHERE EXISTS (SELECT 1 FROM event)"
        );
        ddl::run(manager, &[&sql]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (column, _) in FACTS {
            ddl::run(manager, &[&format!("ALTER TABLE customer_value DROP COLUMN {column}")]).await?;
        }
        ddl::run(
            manager,
            &[
                &format!("DELETE FROM job WHERE id = {}", job(manager).0),
                "ALTER TABLE due DROP COLUMN events_from",
                "ALTER TABLE due DROP COLUMN events_until",
            ],
        )
        .await?;
        ddl::drop(manager, &["activity", "value_model", "metric_change"]).await
    }
}
