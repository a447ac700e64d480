//! One of a currency in another, on a day.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "exchange_rate")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub from_currency: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub to_currency: String,
    /// Its midnight, UTC.
    #[sea_orm(primary_key, auto_increment = false)]
    pub day: i64,
    /// Decimal text.
    pub rate: String,
    pub source_id: Uuid,
    pub imported_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
