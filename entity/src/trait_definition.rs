//! The catalogue of traits: discovered at intake, widened, never narrowed.

use crate::kinds::{DataClass, ValueType};
use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "trait_definition")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    pub value_type: ValueType,
    pub class: DataClass,
    pub first_seen_at: i64,
    /// Saved every few seconds.
    pub last_seen_at: i64,
    /// Approximate: counted in memory and saved every few seconds.
    pub seen_count: i64,
}

impl ActiveModelBehavior for ActiveModel {}
