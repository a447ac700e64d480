//! What a person answered, as a record says, to being spoken to for a purpose through a channel.

use crate::kinds::{ConsentAnswer, ConsentOrigin};
use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "consent")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub record_id: Uuid,
    /// An answer given for a customer has one id under each of their records.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// As it was said; compared without regard to case.
    pub purpose: String,
    /// In capitals: EMAIL, SMS …; ANY: all of them.
    pub channel: String,
    pub answer: ConsentAnswer,
    pub origin: ConsentOrigin,
    pub evidence: Option<Json>,
    pub occurred_at: i64,
    pub arrival: i64,
    /// The message that said it; null when somebody recorded it.
    pub event_id: Option<Uuid>,
    /// Who recorded it; null for a message, which is its source's word.
    pub actor: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
