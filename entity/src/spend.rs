//! Money spent to win and keep customers.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "spend")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub source_id: Uuid,
    /// Midnight UTC of the first day, and of the day behind the last.
    pub from_at: i64,
    pub until_at: i64,
    pub channel: Option<String>,
    pub campaign: Option<String>,
    /// What it bought.
    pub bought: Option<String>,
    pub amount_minor: i64,
    pub currency: String,
    pub imported_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
