//! The change log: one thing that changed in one transaction. Never updated except by erasure.

use crate::kinds::{ChangeOp, Topic};
use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "change")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tx_id: Uuid,
    /// Place inside the transaction, from 0.
    #[sea_orm(primary_key, auto_increment = false)]
    pub n: i64,
    pub topic: Topic,
    pub op: ChangeOp,
    /// The customer, record, purchase … that changed, by topic.
    pub entity_id: Uuid,
    pub record_id: Option<Uuid>,
    pub customer_id: Option<Uuid>,
    /// Grows with every change of the entity.
    pub rev: i64,
    /// Microseconds UTC: when it happened in life.
    pub occurred_at: i64,
    /// `{"field": [before, after]}` of the fields that differ.
    pub changed: Option<Json>,
    /// Ids of the events one record received, 16 bytes each; a reader expands them.
    pub events: Option<Vec<u8>>,
    pub cause: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
