//! What lists of customers are searched and ordered by: name, e-mail address and telephone number as they compare (`*_folded`), and when
//! somebody was last heard of.
//!
//! Folding is done in Rust, so rows that are there get theirs when the server starts (`pipeline::lists`); until then their columns are
//! null and prefixes do not find them.

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
                "ALTER TABLE customer ADD COLUMN name_folded {text}",
                "ALTER TABLE customer ADD COLUMN email_folded {text}",
                "ALTER TABLE customer ADD COLUMN phone_folded {text}",
                "CREATE INDEX customer_name ON customer (name_folded, id)",
                "CREATE INDEX customer_email ON customer (email_folded, id)",
                "CREATE INDEX customer_phone ON customer (phone_folded, id)",
                "CREATE INDEX customer_seen ON customer (last_seen_at, id)",
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::run(
            manager,
            &[
                "DROP INDEX customer_seen",
                "DROP INDEX customer_phone",
                "DROP INDEX customer_email",
                "DROP INDEX customer_name",
                "ALTER TABLE customer DROP COLUMN phone_folded",
                "ALTER TABLE customer DROP COLUMN email_folded",
                "ALTER TABLE customer DROP COLUMN name_folded",
            ],
        )
        .await
    }
}
