//! One person as a view over records: golden values and the current id.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "customer")]
pub struct Model {
    /// The id of one of its records.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_at: i64,
    /// Copied in the background from its events; never a change by itself. Null until then.
    pub last_seen_at: Option<i64>,
    pub display_name: Option<String>,
    pub email: Option<String>,
    pub phone: Option<String>,
    /// `{"attribute": value}`
    pub golden: Json,
    pub rev: i64,
    /// Arrival of the last assertion or decision that changed whose records it has.
    pub placed_at: i64,
    /// The display name, the e-mail address and the telephone number as they compare; null where nothing is left to compare.
    pub name_folded: Option<String>,
    pub email_folded: Option<String>,
    pub phone_folded: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
