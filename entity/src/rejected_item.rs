//! An item that was refused, with its reason; its batch went on.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "rejected_item")]
pub struct Model {
    /// Keyed hash of source, index, code and payload, so a resent batch is listed once.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub source_id: Uuid,
    pub received_at: i64,
    /// Place in its batch, from 0.
    pub item_index: i64,
    pub code: String,
    pub message: String,
    pub field: Option<String>,
    /// The text of the item as it came, cut at 32 KiB.
    pub payload: String,
}

impl ActiveModelBehavior for ActiveModel {}
