//! A value by which people are recognised, and the customer it belongs to.

use crate::kinds::{IdentifierKind, IdentifierState};
use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "identifier")]
pub struct Model {
    /// Keyed hash of (kind, namespace, value).
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub kind: IdentifierKind,
    pub namespace: String,
    /// Normalised.
    pub value: String,
    /// The record through which its customer of today owns it; null when nobody owns it.
    pub owner_id: Option<Uuid>,
    pub state: IdentifierState,
    pub arrival: i64,
    /// The arrival of what put it on hold; null when it is not, or was before this was written down.
    pub held_at: Option<i64>,
    pub rev: i64,
}

impl ActiveModelBehavior for ActiveModel {}
