//! Every accepted message. The key (record, hash of the message id) is the deduplication.

use crate::kinds::EventKind;
use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "event")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub record_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub message_id: String,
    pub kind: EventKind,
    pub name: String,
    /// Corrected event time.
    pub occurred_at: i64,
    pub received_at: i64,
    pub arrival: i64,
    /// The time the client stated.
    pub original_at: Option<i64>,
    /// The time the client sent it, by its own clock.
    pub sent_at: Option<i64>,
    /// Bits of `EventFlags`.
    pub flags: i16,
    /// Properties of a track, page or screen; traits of an identify or group.
    pub properties: Json,
    /// `context` and every other field of the message.
    pub context: Json,
}

impl ActiveModelBehavior for ActiveModel {}
