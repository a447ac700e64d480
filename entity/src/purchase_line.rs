//! One product of an order.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "purchase_line")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub record_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub purchase_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub n: i64,
    pub product_id: Uuid,
    pub quantity: i64,
    /// Price of one as decimal text; null when the report named none.
    pub price: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
