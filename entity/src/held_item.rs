//! What waits for somebody to look.

use crate::kinds::HoldReason;
use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "held_item")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub arrival: i64,
    pub reason: HoldReason,
    /// The record that caused it.
    pub record_id: Uuid,
    /// The other record of an alias.
    pub other_record_id: Option<Uuid>,
    /// The value it is about; null for an alias.
    pub identifier_id: Option<Uuid>,
    /// The decision that put it on hold.
    pub decision_id: Uuid,
    pub event_id: Option<Uuid>,
    /// Null while it waits.
    pub resolved_at: Option<i64>,
    pub resolved_by: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
