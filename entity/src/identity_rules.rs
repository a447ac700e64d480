//! Published rule sets; the one with the highest version stands.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "identity_rules")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub version: i64,
    /// Complete: defaults included.
    pub config: Json,
    pub arrival: i64,
    pub actor: String,
}

impl ActiveModelBehavior for ActiveModel {}
