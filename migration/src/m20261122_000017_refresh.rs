//! Who is to be looked at again, and when (`due`), and what that writes first: the facts of what customers bought (`customer_value`).
//!
//! A row of `due` is one customer, however often they change before somebody comes. `due_at` is the earliest instant at which something
//! about them may have changed, `marked_at` the earliest change that was told of and is not looked at yet (unset: only time passes),
//! `mark` the transaction that told of it last, `class` who goes first. A worker holds a row until `claimed_until` under its `fence`;
//! after a failure nobody takes it before then. `quarantined_at`: given up until somebody drives it again.
//! `SELECT customer_id, due_at, attempts, error FROM due WHERE error IS NOT NULL` tells an operator what fails.

use crate::ddl;
use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let of_postgres = manager.get_database_backend() == DbBackend::Postgres;
        let job = match of_postgres {
            true => "'00000000-0000-7000-8000-000000000017', 'refresh_mark', 1, '{}'::jsonb",
            false => "X'00000000000070008000000000000017', 'refresh_mark', 1, '{}'",
        };
        ddl::run(
            manager,
            &[
                "CREATE TABLE due (
                    customer_id {id} NOT NULL PRIMARY KEY, due_at {int} NOT NULL, marked_at {int}, mark {id} NOT NULL,
                    class {small} NOT NULL, claimed_until {int}, fence {int} NOT NULL,
                    attempts {int} NOT NULL, error {text}, quarantined_at {int}){updated-keyed}",
                "CREATE INDEX due_next ON due (class, due_at) WHERE quarantined_at IS NULL",
                "CREATE INDEX due_quarantined ON due (quarantined_at, customer_id) WHERE quarantined_at IS NOT NULL",
                "CREATE TABLE customer_value (
                    customer_id {id} NOT NULL PRIMARY KEY, purchase_count {int} NOT NULL, unknown_count {int} NOT NULL,
                    returned_count {int} NOT NULL, first_purchase_at {int}, last_purchase_at {int},
                    totals {json} NOT NULL, rev {int} NOT NULL){updated-keyed}",
                // Whoever bought before there was this table is looked at once, by a job.
                &format!(
                    "INSERT INTO job (id, kind, state, input, done, attempts, available_at, fence, created_at, actor)
                     SELECT {job}, 0, 0, 0, 0, 0, 'migration' WHERE EXISTS (SELECT 1 FROM purchase)"
                ),
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::run(manager, &["DELETE FROM job WHERE kind = 'refresh_mark'"]).await?;
        ddl::drop(manager, &["due", "customer_value"]).await
    }
}
