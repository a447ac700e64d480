//! Work that outlives a request: what is to be done, how far it is, who may write about it.

use crate::kinds::JobState;
use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "job")]
pub struct Model {
    /// Ordered by time.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Which handler runs it.
    pub kind: String,
    pub state: JobState,
    /// Ids and choices, no data: a handler reads the state of the moment.
    pub input: Json,
    /// Units of work done, of `total`.
    pub done: i64,
    /// Unset while nobody knows how much there is.
    pub total: Option<i64>,
    /// Where the next attempt goes on.
    pub cursor: Option<Json>,
    pub result: Option<Json>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// Claims so far; those that a stop interrupted are given back.
    pub attempts: i64,
    /// The earliest next claim.
    pub available_at: i64,
    /// Until when the lease of the running attempt lasts.
    pub claimed_until: Option<i64>,
    /// Raised by each claim; writes with an older one are refused.
    pub fence: i64,
    pub created_at: i64,
    /// The first claim.
    pub started_at: Option<i64>,
    pub finished_at: Option<i64>,
    pub actor: String,
}

impl ActiveModelBehavior for ActiveModel {}
