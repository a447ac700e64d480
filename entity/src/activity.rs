//! How often a customer did something on a day.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "activity")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub customer_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    /// Days since 1970-01-01, in the deployment's zone.
    #[sea_orm(primary_key, auto_increment = false)]
    pub day: i64,
    pub count: i64,
}

impl ActiveModelBehavior for ActiveModel {}
