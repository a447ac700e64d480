//! What a rebuild must know of the history and could not tell: the order in which a message gave its values (`link.place`), and the
//! arrival at which a value was held (`identifier.held_at`), whatever changed it since.

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
                "ALTER TABLE link ADD COLUMN place {small} NOT NULL DEFAULT 0",
                "ALTER TABLE identifier ADD COLUMN held_at {int}",
            ],
        )
        .await?;
        ddl::forget_defaults(manager, &[("link", "place")]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::run(
            manager,
            &[
                "ALTER TABLE identifier DROP COLUMN held_at",
                "ALTER TABLE link DROP COLUMN place",
            ],
        )
        .await
    }
}
