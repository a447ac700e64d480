//! What customers bought, added up: each order once; and what their worth is computed from. Nobody without an order, a referral or a review
//! has a row.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "customer_value")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub customer_id: Uuid,
    pub purchase_count: i64,
    /// Of these, those whose amount nobody named.
    pub unknown_count: i64,
    /// Of these, those that were given back entirely.
    pub returned_count: i64,
    pub first_purchase_at: Option<i64>,
    pub last_purchase_at: Option<i64>,
    /// By currency: `count`, and in minor units as texts, since they may pass 64 bits, `revenue`, `refunds`, `net`.
    pub totals: Json,
    /// Grows with every change, also when the row went in between.
    pub rev: i64,
    /// The reporting currency, which the following sums are in; unset: there was none yet.
    pub currency: Option<String>,
    /// Orders that were placed by the instant of the last look; so what follows.
    pub order_count: i64,
    /// Of these, those whose amount is known in the reporting currency.
    pub priced_count: i64,
    /// What was paid and not given back; unset beyond 64 bits.
    pub net_minor: Option<i64>,
    /// What was given back; unset beyond 64 bits.
    pub back_minor: Option<i64>,
    /// Days with a purchase since the data begin, the first and the last of them: days since 1970-01-01 in the deployment's zone.
    pub day_count: i64,
    pub first_day: Option<i64>,
    pub last_day: Option<i64>,
    /// Days behind the first that brought something, and those that did not.
    pub earning_days: i64,
    pub barren_days: i64,
    /// What the earning days brought.
    pub spend_minor: i64,
    /// Bought before the data begin.
    pub began_before: bool,
    pub referral_count: i64,
    pub review_count: i64,
}

impl ActiveModelBehavior for ActiveModel {}
