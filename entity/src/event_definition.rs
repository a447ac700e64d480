//! The catalogue of event names.

use crate::kinds::EventKind;
use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "event_definition")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: EventKind,
    pub first_seen_at: i64,
    /// Saved every few seconds.
    pub last_seen_at: i64,
    /// Approximate: counted in memory and saved every few seconds.
    pub seen_count: i64,
}

impl ActiveModelBehavior for ActiveModel {}
