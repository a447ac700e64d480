//! What value is computed with besides orders: exchange rates of days (`exchange_rate`), and money spent to win and keep customers
//! (`spend`).
//!
//! A rate is decimal text, exactly as it was said; amounts are minor units with their currency. Days are their midnights UTC in
//! microseconds. The id of a spend row is a hash of its source, period, channel, campaign, purpose and number among its like, so a
//! corrected report replaces what it corrects.

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
                "CREATE TABLE exchange_rate (
                    day {int} NOT NULL, from_currency {text} NOT NULL, to_currency {text} NOT NULL, rate {text} NOT NULL,
                    source_id {id} NOT NULL, imported_at {int} NOT NULL,
                    PRIMARY KEY (from_currency, to_currency, day)){updated-keyed}",
                "CREATE TABLE spend (
                    id {id} NOT NULL PRIMARY KEY, source_id {id} NOT NULL, from_at {int} NOT NULL, until_at {int} NOT NULL,
                    channel {text}, campaign {text}, bought {text},
                    amount_minor {int} NOT NULL, currency {text} NOT NULL, imported_at {int} NOT NULL){updated-keyed}",
                "CREATE INDEX spend_from ON spend (from_at, id)",
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ddl::drop(manager, &["exchange_rate", "spend"]).await
    }
}
