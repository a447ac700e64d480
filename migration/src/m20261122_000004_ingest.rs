//! Where data comes from (`source`), what was refused (`rejected_item`), and which names were seen (the catalogue).

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
                "CREATE TABLE source (
                    id {id} NOT NULL PRIMARY KEY, key {text} NOT NULL UNIQUE, name {text} NOT NULL, channel {small} NOT NULL,
                    trust {int} NOT NULL, enabled {bool} NOT NULL, created_at {int} NOT NULL,
                    write_key_digest {bytes} NOT NULL UNIQUE, previous_key_digest {bytes}, previous_key_until {int},
                    max_event_bytes {int}, max_batch_bytes {int}){updated-keyed}",
                // payload is text, not JSON: what was refused may be no valid JSON for the database (NUL, depth, lone surrogates).
                "CREATE TABLE rejected_item (
                    id {id} NOT NULL PRIMARY KEY, source_id {id} NOT NULL, received_at {int} NOT NULL, item_index {int} NOT NULL,
                    code {text} NOT NULL, message {text} NOT NULL, field {text}, payload {text} NOT NULL){keyed}",
                "CREATE INDEX rejected_item_received ON rejected_item (received_at, id)",
                "CREATE TABLE trait_definition (
                    name {text} NOT NULL PRIMARY KEY, value_type {small} NOT NULL, class {small} NOT NULL,
                    first_seen_at {int} NOT NULL, last_seen_at {int} NOT NULL, seen_count {int} NOT NULL){updated-keyed}",
                "CREATE TABLE event_definition (
                    name {text} NOT NULL, kind {small} NOT NULL,
                    first_seen_at {int} NOT NULL, last_seen_at {int} NOT NULL, seen_count {int} NOT NULL,
                    PRIMARY KEY (name, kind)){updated-keyed}",
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::drop(manager, &["source", "rejected_item", "trait_definition", "event_definition"]).await
    }
}
