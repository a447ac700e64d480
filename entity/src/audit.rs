//! Who did what; append-only, written in the transaction of the deed.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "audit")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub at: i64,
    pub actor: String,
    /// The mutation or command.
    pub action: String,
    pub object: String,
    pub detail: Json,
}

impl ActiveModelBehavior for ActiveModel {}
