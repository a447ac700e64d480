//! Who is who, decided: `identity_decision` says what was decided, by whom and why; `decision_record` says about which records, so that
//! a record finds the decisions that bind it and a customer its history; `held_item` lists what waits for somebody to look;
//! `identity_rules` keeps every published rule set.
//!
//! An identifier is owned through a record (`owner_id`), whose customer of today is its owner: a merge then relinks records and
//! nothing else. `link.raw` is the value as it was sent where its kept spelling differs, so that other rules can judge it anew.
//! `record.siblings` counts the records `#1`, `#2` … opened beside an anonymous one when its id passed to somebody else.
//! `record.was_customer`: its own id was once the id of a customer. `customer.placed_at` is the arrival of the last decision or
//! assertion that changed whose records it has; later ones arrive later.

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
                "ALTER TABLE identifier RENAME COLUMN customer_id TO owner_id",
                "ALTER TABLE link ADD COLUMN raw {text}",
                "ALTER TABLE record ADD COLUMN siblings {int} NOT NULL DEFAULT 0",
                "ALTER TABLE record ADD COLUMN was_customer {bool} NOT NULL DEFAULT {true}",
                "ALTER TABLE customer ADD COLUMN placed_at {int} NOT NULL DEFAULT 0",
                "ALTER TABLE source ADD COLUMN review_aliases {bool} NOT NULL DEFAULT {false}",
                "CREATE TABLE identity_decision (
                    id {id} NOT NULL PRIMARY KEY, arrival {int} NOT NULL, kind {small} NOT NULL, actor {text} NOT NULL,
                    reason {text}, rules_version {int} NOT NULL, record_id {id}, identifier_id {id}, event_id {id},
                    evidence {json} NOT NULL, revokes_id {id}, revoked_by {id}){updated}",
                "CREATE INDEX identity_decision_arrival ON identity_decision (arrival, id)",
                "CREATE INDEX identity_decision_identifier ON identity_decision (identifier_id, arrival)",
                // effect: 0 only concerned, 1 together, 2 apart.
                "CREATE TABLE decision_record (
                    record_id {id} NOT NULL, decision_id {id} NOT NULL, arrival {int} NOT NULL, effect {small} NOT NULL,
                    side {small} NOT NULL, is_pair {bool} NOT NULL, names_survivor {bool} NOT NULL, stands {bool} NOT NULL,
                    PRIMARY KEY (record_id, decision_id)){updated-keyed}",
                "CREATE INDEX decision_record_decision ON decision_record (decision_id, record_id)",
                "CREATE TABLE held_item (
                    id {id} NOT NULL PRIMARY KEY, arrival {int} NOT NULL, reason {small} NOT NULL, record_id {id} NOT NULL,
                    other_record_id {id}, identifier_id {id}, decision_id {id} NOT NULL, event_id {id},
                    resolved_at {int}, resolved_by {text}){updated}",
                "CREATE INDEX held_item_arrival ON held_item (arrival, id)",
                "CREATE INDEX held_item_identifier ON held_item (identifier_id)",
                "CREATE TABLE identity_rules (
                    version {int} NOT NULL PRIMARY KEY, config {json} NOT NULL, arrival {int} NOT NULL, actor {text} NOT NULL){table}",
            ],
        )
        .await?;
        let added = [
            ("record", "siblings"),
            ("record", "was_customer"),
            ("customer", "placed_at"),
            ("source", "review_aliases"),
        ];
        ddl::forget_defaults(manager, &added).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::drop(
            manager,
            &["identity_decision", "decision_record", "held_item", "identity_rules"],
        )
        .await?;
        ddl::run(
            manager,
            &[
                "ALTER TABLE source DROP COLUMN review_aliases",
                "ALTER TABLE customer DROP COLUMN placed_at",
                "ALTER TABLE record DROP COLUMN was_customer",
                "ALTER TABLE record DROP COLUMN siblings",
                "ALTER TABLE link DROP COLUMN raw",
                "ALTER TABLE identifier RENAME COLUMN owner_id TO customer_id",
            ],
        )
        .await
    }
}
