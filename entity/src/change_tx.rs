//! One row for each committed transaction that wrote something; written as its last statement.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "change_tx")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tx_id: Uuid,
    /// From the only sequence of the product.
    pub ordinal: i64,
    /// The place readers count by; null on PostgreSQL until it is stamped.
    pub position: Option<i64>,
    /// How many rows of `change` it has.
    pub row_count: i64,
    /// Microseconds UTC.
    pub recorded_at: i64,
    /// Who did it: `source:<key>`, `intake` for several sources at once, `key:<id>`, `cli`.
    pub actor: String,
}

impl ActiveModelBehavior for ActiveModel {}
