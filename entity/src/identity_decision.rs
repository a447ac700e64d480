//! What was decided about who is who: by whom, why, in which order.

use crate::kinds::IdentityDecisionKind;
use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "identity_decision")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Order of arrival among assertions and decisions, microseconds.
    pub arrival: i64,
    pub kind: IdentityDecisionKind,
    pub actor: String,
    /// What the actor said; null for what happened by itself.
    pub reason: Option<String>,
    /// Of the rules that stood.
    pub rules_version: i64,
    /// The record whose message caused it.
    pub record_id: Option<Uuid>,
    /// The value it is about.
    pub identifier_id: Option<Uuid>,
    /// The message that caused it, of `record_id`.
    pub event_id: Option<Uuid>,
    pub evidence: Json,
    /// The decision that this one takes back.
    pub revokes_id: Option<Uuid>,
    /// The decision that took this one back.
    pub revoked_by: Option<Uuid>,
}

impl ActiveModelBehavior for ActiveModel {}
