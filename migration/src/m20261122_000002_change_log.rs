//! The change log: what changed (`change`) and the transactions that changed it (`change_tx`).
//!
//! A row of `change` is about one thing: `topic`, `op`, `entity_id`. `changed` holds only the fields that differ, each with its value
//! before and after. `events` packs the ids (16 bytes each) of the events one record received in this transaction, so a thousand
//! events of one record cost one row; a reader expands it. `customer_id` and `record_id` are indexed so that an erasure redacts in
//! one statement. `change_tx.ordinal` is drawn by the last statement of the transaction from the only sequence of the product;
//! `position` is the place readers count by: written directly on SQLite (one writer), later by the stamper on PostgreSQL.

use crate::ddl;
use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::run(
            manager,
            &[
                "CREATE TABLE change (
                    tx_id {id} NOT NULL, n {int} NOT NULL,
                    topic {small} NOT NULL, op {small} NOT NULL,
                    entity_id {id} NOT NULL, record_id {id}, customer_id {id},
                    rev {int} NOT NULL, occurred_at {int} NOT NULL,
                    changed {json}, events {bytes}, cause {text},
                    PRIMARY KEY (tx_id, n)){keyed}",
                "CREATE INDEX change_customer ON change (customer_id)",
                "CREATE INDEX change_record ON change (record_id)",
                "CREATE TABLE change_tx (
                    tx_id {id} NOT NULL PRIMARY KEY, ordinal {int} NOT NULL, position {int},
                    row_count {int} NOT NULL, recorded_at {int} NOT NULL, actor {text} NOT NULL){keyed}",
                "CREATE INDEX change_tx_ordinal ON change_tx (ordinal)",
                "CREATE INDEX change_tx_position ON change_tx (position)",
            ],
        )
        .await?;
        if manager.get_database_backend() == DbBackend::Postgres {
            // Cache 1: a session that kept numbers back would draw one older than a transaction it waited for.
            ddl::run(
                manager,
                &[
                    "CREATE INDEX change_tx_unstamped ON change_tx (ordinal) WHERE position IS NULL",
                    "CREATE SEQUENCE change_ordinal CACHE 1",
                ],
            )
            .await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::drop(manager, &["change", "change_tx"]).await?;
        if manager.get_database_backend() == DbBackend::Postgres {
            ddl::run(manager, &["DROP SEQUENCE change_ordinal"]).await?;
        }
        Ok(())
    }
}
