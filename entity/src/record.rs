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
    /// How many records `#1`, `#2` … were opened beside this anonymous one when its id passed to somebody else.
    pub siblings: i64,
    /// Its own id was once the id of a customer.
    pub was_customer: bool,
}

impl ActiveModelBehavior for ActiveModel {}
