//! What was fitted to the deployment's purchases: a row for each model of a version.

use crate::kinds::ValueModelKind;
use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "value_model")]
pub struct Model {
    /// From 1; the highest that is published is in force.
    #[sea_orm(primary_key, auto_increment = false)]
    pub version: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: ValueModelKind,
    pub fitted_at: i64,
    /// Up to when purchases were looked at.
    pub as_of: i64,
    /// Null: fitted and not in force.
    pub published_at: Option<i64>,
    /// Whether values are computed with it: of several models of buying one is.
    pub chosen: bool,
    pub customers: i64,
    /// Parameters, likelihood, standard errors, warnings, back-test; by kind.
    pub model: Json,
    pub job_id: Option<Uuid>,
}

impl ActiveModelBehavior for ActiveModel {}
