//! What makes this installation itself: secrets written at the first migration.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "installation")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    /// A secret as 64 hexadecimal digits.
    pub value: String,
}

impl ActiveModelBehavior for ActiveModel {}
