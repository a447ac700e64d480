//! What one source knows about one person under its own key. Records never move: merging changes `customer_id` and nothing else.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "record")]
pub struct Model {
    /// Keyed hash of (source, external key).
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub source_id: Uuid,
    pub external_key: String,
    pub customer_id: Uuid,
    /// Order of arrival, microseconds.
    pub arrival: i64,
    /// `{"name": [value, at, message]}`; an explicit null stays as null, so that an older value cannot return.
    pub traits: Json,
    pub rev: i64,
}

impl ActiveModelBehavior for ActiveModel {}
