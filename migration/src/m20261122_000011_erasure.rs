//! People who were erased: the ledger (`erasure`), what refuses their later messages (`suppression`), and the skeletons by which the
//! history can still be folded up to the step at which they went.
//!
//! Skeletons hold arrivals and keyed hashes. What they hold in clear, so that the job can find it elsewhere
//! (`erased_record.external_key`, `erased_link.raw`, `erased_value.value`), it nulls as its last step. A record may live several times
//! (a device that is used on): a skeleton for each life, `is_latest` marks the last. `erased_value.judged` lists the versions of the
//! rules by which the value could recognise people; `erased_statement.value_id` is a hash of what an attribute that rules compare was.

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
                // records, identifiers: ids of sixteen bytes each, one behind the other.
                "CREATE TABLE erasure (
                    id {id} NOT NULL PRIMARY KEY, arrival {int} NOT NULL, requested_at {int} NOT NULL, actor {text} NOT NULL,
                    customer_id {id} NOT NULL, decision_id {id} NOT NULL, job_id {id} NOT NULL, tx_id {id} NOT NULL,
                    records {bytes} NOT NULL, identifiers {bytes}, finished_at {int}){updated-keyed}",
                "CREATE TABLE suppression (
                    id {id} NOT NULL PRIMARY KEY, erasure_id {id} NOT NULL, since {int} NOT NULL){keyed}",
                "CREATE TABLE erased_record (
                    id {id} NOT NULL, arrival {int} NOT NULL, erasure_id {id} NOT NULL, erased_at {int} NOT NULL,
                    first_id {id}, siblings {int} NOT NULL, is_latest {bool} NOT NULL, is_pending {bool} NOT NULL,
                    external_key {text}, PRIMARY KEY (id, arrival)){updated-keyed}",
                "CREATE INDEX erased_record_erasure ON erased_record (erasure_id, id)",
                "CREATE TABLE erased_link (
                    record_id {id} NOT NULL, identifier_id {id} NOT NULL, event_id {id} NOT NULL, arrival {int} NOT NULL,
                    place {small} NOT NULL, is_usable {bool} NOT NULL, raw {text},
                    PRIMARY KEY (record_id, identifier_id, event_id, arrival)){updated-keyed}",
                "CREATE TABLE erased_value (
                    id {id} NOT NULL PRIMARY KEY, erasure_id {id} NOT NULL, kind {small} NOT NULL, namespace {text} NOT NULL,
                    value {text}, judged {json} NOT NULL){updated-keyed}",
                "CREATE TABLE erased_statement (
                    record_id {id} NOT NULL, event_id {id} NOT NULL, attribute {text} NOT NULL, arrival {int} NOT NULL,
                    occurred_at {int} NOT NULL, value_id {id}, PRIMARY KEY (record_id, event_id, attribute)){keyed}",
                "CREATE TABLE erased_event (
                    record_id {id} NOT NULL, id {id} NOT NULL, is_alias {bool} NOT NULL, PRIMARY KEY (record_id, id)){keyed}",
                "CREATE TABLE erased_product (id {id} NOT NULL PRIMARY KEY){keyed}",
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = [
            "erasure",
            "suppression",
            "erased_record",
            "erased_link",
            "erased_value",
            "erased_statement",
            "erased_event",
            "erased_product",
        ];
        ddl::drop(manager, &tables).await
    }
}
