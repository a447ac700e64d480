//! Which records a decision is about. What binds a record is found by the record.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "decision_record")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub record_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub decision_id: Uuid,
    /// Of the decision.
    pub arrival: i64,
    /// 0: only concerned; 1: together with the other side; 2: apart from it.
    pub effect: i16,
    /// 0 or 1.
    pub side: i16,
    /// The decision is about two records and nobody else.
    pub is_pair: bool,
    /// The merge names this record's own id as the one that stays.
    pub names_survivor: bool,
    /// It has not been revoked.
    pub stands: bool,
}

impl ActiveModelBehavior for ActiveModel {}
