//! A record showed an identifier: when, by which event. Append-only.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "link")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub record_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub identifier_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub event_id: Uuid,
    pub arrival: i64,
    pub occurred_at: i64,
    /// Its place among the values of the message: of equals the first given is tried first.
    pub place: i16,
    /// The value as it was sent, where the spelling under which it is kept differs.
    pub raw: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
