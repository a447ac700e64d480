//! One person as a view over records: golden values and the current id.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "customer")]
pub struct Model {
    /// The id of one of its records.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_at: i64,
    /// Copied by refresh; never a change by itself.
    pub last_seen_at: Option<i64>,
    pub display_name: Option<String>,
    pub email: Option<String>,
    pub phone: Option<String>,
    /// `{"attribute": value}`
    pub golden: Json,
    pub rev: i64,
    /// Arrival of the last assertion or decision that changed whose records it has.
    pub placed_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
