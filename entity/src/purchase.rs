//! One order as one record reported it.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "purchase")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub record_id: Uuid,
    /// Keyed hash of (order namespace, order id).
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub order_namespace: String,
    pub order_id: String,
    /// When the order was completed; else the first report of it.
    pub occurred_at: i64,
    /// Earliest report of any kind.
    pub first_at: i64,
    /// Earliest completion reported.
    pub placed_at: Option<i64>,
    pub currency: String,
    /// Null while no report named an amount.
    pub amount_minor: Option<i64>,
    pub refunded_minor: i64,
    /// Decimal text of the amount, and the report it comes from.
    pub amount: Option<String>,
    pub amount_currency: Option<String>,
    pub amount_kind: Option<i16>,
    pub amount_at: Option<i64>,
    pub amount_event: Option<Uuid>,
    /// The currency for an amount whose report named none.
    pub named_currency: Option<String>,
    pub named_kind: Option<i16>,
    pub named_at: Option<i64>,
    pub named_event: Option<Uuid>,
    /// The report whose lines are the order's.
    pub lines_kind: Option<i16>,
    pub lines_at: Option<i64>,
    pub lines_event: Option<Uuid>,
    pub rev: i64,
}

impl ActiveModelBehavior for ActiveModel {}
