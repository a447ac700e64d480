//! What each source knows about a person (`record`), by which values people are recognised (`identifier`), and which record showed
//! which value when (`link`, append-only).
//!
//! Ids are keyed hashes of natural keys: of (source, external key) for a record and of (kind, namespace, value) for an identifier, so
//! the primary key is the promise of uniqueness on one server and on many.

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
                "CREATE TABLE record (
                    id {id} NOT NULL PRIMARY KEY, source_id {id} NOT NULL, external_key {text} NOT NULL, customer_id {id} NOT NULL,
                    arrival {int} NOT NULL, traits {json} NOT NULL, rev {int} NOT NULL){updated}",
                "CREATE INDEX record_customer ON record (customer_id, arrival, id)",
                "CREATE TABLE identifier (
                    id {id} NOT NULL PRIMARY KEY, kind {small} NOT NULL, namespace {text} NOT NULL, value {text} NOT NULL,
                    customer_id {id}, state {small} NOT NULL, arrival {int} NOT NULL,
                    rev {int} NOT NULL){updated-keyed}",
                "CREATE TABLE link (
                    record_id {id} NOT NULL, identifier_id {id} NOT NULL, event_id {id} NOT NULL, arrival {int} NOT NULL,
                    occurred_at {int} NOT NULL, PRIMARY KEY (record_id, identifier_id, event_id)){keyed}",
                "CREATE INDEX link_identifier ON link (identifier_id, arrival)",
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::drop(manager, &["record", "identifier", "link"]).await
    }
}
