//! Readers of the change log: who holds which lease, and where named readers are.
//!
//! A lease is one instance's right to do something alone for a while. Its `fence` grows with every holder, and whatever the holder writes
//! asks for it, so that one who was away too long writes nothing. `value` is a number that the holder keeps under its fence: the last
//! position that was given (`stamper`), the last position whose changes are gone (`retention`).

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
                "CREATE TABLE lease (
                    name {text} NOT NULL PRIMARY KEY, holder {text} NOT NULL, fence {int} NOT NULL, until {int} NOT NULL,
                    value {int} NOT NULL){updated-keyed}",
                "CREATE TABLE consumer (
                    name {text} NOT NULL PRIMARY KEY, position {int} NOT NULL, n {int} NOT NULL, k {int} NOT NULL, tag {int} NOT NULL,
                    created_at {int} NOT NULL, updated_at {int} NOT NULL){updated-keyed}",
                "INSERT INTO lease (name, holder, fence, until, value)
                 SELECT 'stamper', '', 0, 0, COALESCE(MAX(position), 0) FROM change_tx",
                "INSERT INTO lease (name, holder, fence, until, value) VALUES ('retention', '', 0, 0, 0)",
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::drop(manager, &["lease", "consumer"]).await
    }
}
