//! Loads what is known of customers: a constant number of statements, however many there are.

use super::activity::{self, Activity, What};
use super::known::{Known, Order, Returned};
use super::rates::Rates;
use super::reporting::Reporting;
use crate::base::{CustomerId, Money};
use crate::customer::PurchaseSummary;
use crate::customer::store::orders::{self, CountedOrder};
use crate::store::StoreError;
use entity::Channel;
use sea_orm::ConnectionTrait;
use std::collections::HashMap;

/// What is known of customers, and what they bought by currency, of the same orders. Every customer who was asked about is in both.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    pub known: HashMap<CustomerId, Known>,
    pub purchases: HashMap<CustomerId, PurchaseSummary>,
}

/// What is known of each of these customers: two statements where nobody bought or did anything, at most seven. Of whoever is due the
/// activity is that of the last look.
pub async fn known(
    db: &impl ConnectionTrait,
    reporting: &Reporting,
    customers: &[CustomerId],
) -> Result<HashMap<CustomerId, Known>, StoreError> {
    let activity = activity::stored(db, customers).await?;
    Ok(loaded(db, reporting, customers, activity).await?.known)
}

/// The same with an activity that was read already.
pub async fn loaded(
    db: &impl ConnectionTrait,
    reporting: &Reporting,
    customers: &[CustomerId],
    mut activity: HashMap<CustomerId, Activity>,
) -> Result<Loaded, StoreError> {
    let rules = &reporting.rules;
    let mut all_orders = orders::orders(db, customers).await?;
    let placed = all_orders.values().flatten();
    let priced = placed.filter_map(|order| Some((order.amount.as_ref()?.currency.clone(), rules.day(order.placed_at?))));
    let rates = Rates::load(db, reporting.currency.as_ref(), priced).await?;
    let mut singles = activity::singles(db, rules, &activity).await?;
    let mut found = Loaded::default();
    for customer in customers {
        let orders = all_orders.remove(customer).unwrap_or_default();
        let mut known = Known {
            activity: activity.remove(customer).unwrap_or_default(),
            orders: orders
                .iter()
                .filter_map(|order| in_reporting(order, reporting, &rates))
                .collect(),
            ..Known::default()
        };
        for single in singles.remove(customer).unwrap_or_default() {
            match single.what {
                What::Referral => known.referrals.push(single.at),
                What::Review => known.reviews.push(single.at),
                What::Subscription(step) => known.subscriptions.push((single.at, step)),
                What::Recommendation(score) => known.recommendations.push((single.at, score)),
            }
        }
        found.purchases.insert(*customer, orders::added_up(&orders));
        found.known.insert(*customer, known);
    }
    Ok(found)
}

/// `None`: it was never placed, as far as anybody told.
fn in_reporting(order: &CountedOrder, reporting: &Reporting, rates: &Rates) -> Option<Order> {
    let at = order.placed_at?;
    let day = reporting.rules.day(at);
    let amount = order.amount.as_ref().and_then(|amount| rates.convert(amount, day));
    let (mut refunds, mut told, mut before) = (Vec::new(), 0, 0);
    // Each sum is converted and not each part, so that the parts are together what all is, and all of it the amount.
    for (when, back) in order.given_back.iter().take_while(|_| amount.is_some()) {
        told += back;
        let money = Money {
            amount_minor: told,
            currency: order.refunded.currency.clone(),
        };
        let sum = rates.convert(&money, day).unwrap_or(before);
        if sum > before {
            refunds.push(Returned {
                at: *when,
                day: reporting.rules.day(*when),
                amount: sum - before,
            });
            before = sum;
        }
    }
    Some(Order {
        at,
        day,
        amount,
        refunds,
        categories: order.categories.clone(),
        channel: channel(order.channel).to_owned(),
    })
}

/// As the schema says it.
fn channel(channel: Channel) -> &'static str {
    match channel {
        Channel::Web => "WEB",
        Channel::App => "APP",
        Channel::Pos => "POS",
        Channel::Crm => "CRM",
        Channel::Email => "EMAIL",
        Channel::CallCentre => "CALL_CENTRE",
        Channel::Social => "SOCIAL",
        Channel::Import => "IMPORT",
        Channel::Other => "OTHER",
    }
}
