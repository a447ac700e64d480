//! A system that sends data.

use crate::kinds::Channel;
use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "source")]
pub struct Model {
    /// Keyed hash of `key`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The name by which people and configuration speak of it.
    pub key: String,
    pub name: String,
    pub channel: Channel,
    /// Higher wins where sources disagree and the rule asks for trust.
    pub trust: i64,
    pub enabled: bool,
    pub created_at: i64,
    /// BLAKE3 of the write key.
    pub write_key_digest: Vec<u8>,
    /// The key before the last rotation, while it still works.
    pub previous_key_digest: Option<Vec<u8>>,
    pub previous_key_until: Option<i64>,
    /// Limit of one event, decompressed; null: the configured default.
    pub max_event_bytes: Option<i64>,
    /// Limit of one request body, decompressed; null: the configured default.
    pub max_batch_bytes: Option<i64>,
    /// Its aliases wait for a person instead of joining two ids by themselves.
    pub review_aliases: bool,
}

impl ActiveModelBehavior for ActiveModel {}
