//! Timelines are found by their keys alone: the index of events says their kind, so that a page of page views passes over a profile's
//! updates without reading them, and decisions are found by the record and their arrival. A refund keeps the products that it named
//! without a price (`refund.pieces`), to be counted at the prices of the order.

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
                "DROP INDEX event_timeline",
                "CREATE INDEX event_timeline ON event (record_id, occurred_at, id, kind)",
                "CREATE INDEX decision_record_arrival ON decision_record (record_id, arrival, decision_id)",
                "ALTER TABLE refund ADD COLUMN pieces {json}",
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::run(
            manager,
            &[
                "ALTER TABLE refund DROP COLUMN pieces",
                "DROP INDEX decision_record_arrival",
                "DROP INDEX event_timeline",
                "CREATE INDEX event_timeline ON event (record_id, occurred_at, id)",
            ],
        )
        .await
    }
}
