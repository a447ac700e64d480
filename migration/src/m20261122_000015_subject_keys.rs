//! Keys that sign tokens of single visitors: which kind a key is, the public half of a pair, and the origins that may use a key from
//! a browser.

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
                "ALTER TABLE api_key ADD COLUMN kind {small} NOT NULL DEFAULT 1",
                "ALTER TABLE api_key ADD COLUMN public_key {bytes}",
                "ALTER TABLE api_key ADD COLUMN origins {text} NOT NULL DEFAULT ''",
            ],
        )
        .await?;
        ddl::forget_defaults(manager, &[("api_key", "kind"), ("api_key", "origins")]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::run(
            manager,
            &[
                "ALTER TABLE api_key DROP COLUMN origins",
                "ALTER TABLE api_key DROP COLUMN public_key",
                "ALTER TABLE api_key DROP COLUMN kind",
            ],
        )
        .await
    }
}
