//! What people answered to being spoken to (`consent`): by purpose and channel, with evidence, append-only.
//!
//! Answers hang off the record and never move. SQLite keeps a rowid: the timeline reads keys first and rows second.

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
                // An answer given for a customer has one id and a row under each record; event_id is null for it, actor for a message.
                "CREATE TABLE consent (
                    record_id {id} NOT NULL, id {id} NOT NULL, purpose {text} NOT NULL, channel {text} NOT NULL,
                    answer {small} NOT NULL, origin {small} NOT NULL, evidence {json}, occurred_at {int} NOT NULL, arrival {int} NOT NULL,
                    event_id {id}, actor {text}, PRIMARY KEY (record_id, id)){table}",
                "CREATE INDEX consent_timeline ON consent (record_id, occurred_at, id)",
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::drop(manager, &["consent"]).await
    }
}
