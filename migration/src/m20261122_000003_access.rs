//! Who may do what (`api_key`, digests only) and who did what (`audit`, append-only).

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
                "CREATE TABLE api_key (
                    id {text} NOT NULL PRIMARY KEY, digest {bytes} NOT NULL, name {text} NOT NULL, scopes {text} NOT NULL,
                    last_four {text} NOT NULL, created_at {int} NOT NULL, created_by {text} NOT NULL,
                    expires_at {int}, revoked_at {int}, last_used_at {int}){updated-keyed}",
                "CREATE TABLE audit (
                    id {id} NOT NULL PRIMARY KEY, at {int} NOT NULL, actor {text} NOT NULL, action {text} NOT NULL,
                    object {text} NOT NULL, detail {json} NOT NULL){keyed}",
                "CREATE INDEX audit_at ON audit (at, id)",
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::drop(manager, &["api_key", "audit"]).await
    }
}
