//! What was bought, as the latest report described it.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "product")]
pub struct Model {
    /// Keyed hash of the sku.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub sku: String,
    pub name: Option<String>,
    /// Event time of the report that named it.
    pub name_at: i64,
    pub category: Option<String>,
    pub category_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
