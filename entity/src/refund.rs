//! Money given back for an order, as one event reported it.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "refund")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub record_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub purchase_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub event_id: Uuid,
    pub occurred_at: i64,
    /// Decimal text; null: all that is left (a cancellation, or a refund without an amount).
    pub amount: Option<String>,
    pub currency: Option<String>,
    /// `[[product id, pieces], …]`: products given back without a price, beside the amount; null: none.
    pub pieces: Option<Json>,
}

impl ActiveModelBehavior for ActiveModel {}
