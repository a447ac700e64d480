//! What customers bought, added up: each order once. Nobody without an order has a row.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "customer_value")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub customer_id: Uuid,
    pub purchase_count: i64,
    /// Of these, those whose amount nobody named.
    pub unknown_count: i64,
    /// Of these, those that were given back entirely.
    pub returned_count: i64,
    pub first_purchase_at: Option<i64>,
    pub last_purchase_at: Option<i64>,
    /// By currency: `count`, and in minor units as texts, since they may pass 64 bits, `revenue`, `refunds`, `net`.
    pub totals: Json,
    /// Grows with every change, also when the row went in between.
    pub rev: i64,
}

impl ActiveModelBehavior for ActiveModel {}
