//! Who is to be looked at again, and when: at most one row for a customer.

use crate::kinds::DueClass;
use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "due")]
pub struct Model {
    /// May be an id that belongs to another customer by now.
    #[sea_orm(primary_key, auto_increment = false)]
    pub customer_id: Uuid,
    /// The earliest instant at which something about the customer may have changed.
    pub due_at: i64,
    /// The earliest change that was told of; unset while only time passes.
    pub marked_at: Option<i64>,
    /// The transaction that told of the latest.
    pub mark: Uuid,
    pub class: DueClass,
    /// Until when nobody else takes it: a worker's lease, or the pause after a failure.
    pub claimed_until: Option<i64>,
    /// Raised by each claim; writes with an older one are refused.
    pub fence: i64,
    /// Failures in a row.
    pub attempts: i64,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// Since when nobody tries any more.
    pub quarantined_at: Option<i64>,
    /// When the events happened that were told of and are not counted yet, both included; unset: none were.
    pub events_from: Option<i64>,
    pub events_until: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}
