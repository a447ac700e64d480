//! The customer as a view (`customer`), what people did (`event`) and bought (`purchase` with its lines and refunds, `product`).
//!
//! Events and purchases hang off the record and never move. The key of `event` is the deduplication; its second index is the
//! timeline; there is no third, since random-key index pages are the real price of ingest. SQLite keeps `event` and `purchase` with a
//! rowid: the timeline reads keys first and rows second.

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
                "CREATE TABLE customer (
                    id {id} NOT NULL PRIMARY KEY, created_at {int} NOT NULL, last_seen_at {int},
                    display_name {text}, email {text}, phone {text}, golden {json} NOT NULL, rev {int} NOT NULL){updated}",
                "CREATE INDEX customer_created ON customer (created_at, id)",
                "CREATE TABLE event (
                    record_id {id} NOT NULL, id {id} NOT NULL, message_id {text} NOT NULL, kind {small} NOT NULL, name {text} NOT NULL,
                    occurred_at {int} NOT NULL, received_at {int} NOT NULL, arrival {int} NOT NULL,
                    original_at {int}, sent_at {int}, flags {small} NOT NULL,
                    properties {json} NOT NULL, context {json} NOT NULL, PRIMARY KEY (record_id, id)){table}",
                "CREATE INDEX event_timeline ON event (record_id, occurred_at, id)",
                // amount_minor is null while no report of the order named an amount: unknown is not zero. The *_kind, *_at and *_event
                // say which report each part comes from, so that reports may arrive in any order.
                "CREATE TABLE purchase (
                    record_id {id} NOT NULL, id {id} NOT NULL, order_namespace {text} NOT NULL, order_id {text} NOT NULL,
                    occurred_at {int} NOT NULL, first_at {int} NOT NULL, placed_at {int},
                    currency {text} NOT NULL, amount_minor {int}, refunded_minor {int} NOT NULL,
                    amount {text}, amount_currency {text}, amount_kind {small}, amount_at {int}, amount_event {id},
                    named_currency {text}, named_kind {small}, named_at {int}, named_event {id},
                    lines_kind {small}, lines_at {int}, lines_event {id}, rev {int} NOT NULL,
                    PRIMARY KEY (record_id, id)){updated}",
                "CREATE INDEX purchase_timeline ON purchase (record_id, occurred_at, id)",
                // price is decimal text: it becomes minor units in the order's currency when it is read.
                "CREATE TABLE purchase_line (
                    record_id {id} NOT NULL, purchase_id {id} NOT NULL, n {int} NOT NULL, product_id {id} NOT NULL,
                    quantity {int} NOT NULL, price {text}, PRIMARY KEY (record_id, purchase_id, n)){keyed}",
                // amount is the decimal text of the report, null for 'all of it'; it becomes minor units when the order is known.
                "CREATE TABLE refund (
                    record_id {id} NOT NULL, purchase_id {id} NOT NULL, event_id {id} NOT NULL, occurred_at {int} NOT NULL,
                    amount {text}, currency {text}, PRIMARY KEY (record_id, purchase_id, event_id)){keyed}",
                "CREATE TABLE product (
                    id {id} NOT NULL PRIMARY KEY, sku {text} NOT NULL, name {text}, name_at {int} NOT NULL,
                    category {text}, category_at {int} NOT NULL){updated-keyed}",
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::drop(
            manager,
            &["customer", "event", "purchase", "purchase_line", "refund", "product"],
        )
        .await
    }
}
