//! Work that outlives a request (`job`), and how far it is.
//!
//! A row is put there by the transaction that made the work due, and claimed by raising `fence` under a lease: whoever holds an older
//! fence writes nothing any more. Times are microseconds. `SELECT id, kind, state, done, total, attempts, error FROM job` tells an
//! operator everything.

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
                "CREATE TABLE job (
                    id {id} NOT NULL PRIMARY KEY, kind {text} NOT NULL, state {small} NOT NULL, input {json} NOT NULL,
                    done {int} NOT NULL, total {int}, cursor {json}, result {json}, error {text},
                    attempts {int} NOT NULL, available_at {int} NOT NULL, claimed_until {int}, fence {int} NOT NULL,
                    created_at {int} NOT NULL, started_at {int}, finished_at {int}, actor {text} NOT NULL){updated}",
                "CREATE INDEX job_due ON job (state, available_at, id)",
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::drop(manager, &["job"]).await
    }
}
