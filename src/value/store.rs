//! Every statement of `customer_value`.

use super::activity::{day_of, number};
use super::facts::PurchaseDays;
use super::told::{Standing, Told, totals_json, totals_of};
use crate::base::money::Currency;
use crate::base::{CustomerId, Instant};
use crate::customer::PurchaseSummary;
use crate::store::{Rows, StoreError, any_of, ids_value, sweep};
use entity::customer_value;
use sea_orm::{ConnectionTrait, DatabaseTransaction, FromQueryResult as _, Statement};
use std::collections::HashMap;

/// The facts of a customer as they are stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub told: Told,
    pub rev: i64,
}

impl TryFrom<customer_value::Model> for Stored {
    type Error = StoreError;

    fn try_from(row: customer_value::Model) -> Result<Self, StoreError> {
        let totals = totals_of(&row.totals);
        let totals = totals.ok_or_else(|| StoreError::Corrupt(format!("customer_value.totals of {}", row.customer_id)))?;
        let purchases = PurchaseSummary {
            count: row.purchase_count,
            unknown: row.unknown_count,
            returned: row.returned_count,
            first_at: row.first_purchase_at.map(Instant::from_micros),
            last_at: row.last_purchase_at.map(Instant::from_micros),
            totals,
        };
        let standing = Standing {
            currency: row.currency.map(Currency::stored),
            orders: row.order_count,
            priced: row.priced_count,
            net: row.net_minor,
            refunds: row.back_minor,
            days: PurchaseDays {
                count: row.day_count,
                first: row.first_day.map(day_of),
                last: row.last_day.map(day_of),
                earning: row.earning_days,
                barren: row.barren_days,
                spend: row.spend_minor,
                began_before: row.began_before,
            },
            referrals: row.referral_count,
            reviews: row.review_count,
        };
        Ok(Self {
            told: Told { purchases, standing },
            rev: row.rev,
        })
    }
}

/// The rows of these customers, whatever they hold; who bought and did nothing has none.
pub async fn stored_values(
    db: &impl ConnectionTrait,
    customers: &[CustomerId],
) -> Result<Vec<customer_value::Model>, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!("SELECT * FROM customer_value WHERE {}", any_of(backend, "customer_id", 1));
    let values = [ids_value(backend, customers.iter().map(|customer| customer.0))];
    let statement = Statement::from_sql_and_values(backend, sql, values);
    Ok(customer_value::Model::find_by_statement(statement).all(db).await?)
}

/// The facts of these customers as of the last look at each; who bought and did nothing is missing.
pub async fn values(db: &impl ConnectionTrait, customers: &[CustomerId]) -> Result<HashMap<CustomerId, Stored>, StoreError> {
    let rows = stored_values(db, customers).await?;
    rows.into_iter()
        .map(|row| Ok((CustomerId(row.customer_id), row.try_into()?)))
        .collect()
}

/// The columns of facts, for writing and for comparing.
pub fn row_of(customer: CustomerId, stored: &Stored) -> customer_value::Model {
    let Told { purchases, standing } = &stored.told;
    customer_value::Model {
        customer_id: customer.0,
        purchase_count: purchases.count,
        unknown_count: purchases.unknown,
        returned_count: purchases.returned,
        first_purchase_at: purchases.first_at.map(Instant::micros),
        last_purchase_at: purchases.last_at.map(Instant::micros),
        totals: totals_json(purchases),
        rev: stored.rev,
        currency: standing.currency.as_ref().map(|currency| currency.code().to_owned()),
        order_count: standing.orders,
        priced_count: standing.priced,
        net_minor: standing.net,
        back_minor: standing.refunds,
        day_count: standing.days.count,
        first_day: standing.days.first.map(number),
        last_day: standing.days.last.map(number),
        earning_days: standing.days.earning,
        barren_days: standing.days.barren,
        spend_minor: standing.days.spend,
        began_before: standing.days.began_before,
        referral_count: standing.referrals,
        review_count: standing.reviews,
    }
}

/// Writes facts, also over older ones.
pub async fn write(tx: &DatabaseTransaction, facts: &[(CustomerId, Stored)]) -> Result<(), StoreError> {
    let rows: Vec<customer_value::Model> = facts.iter().map(|(customer, stored)| row_of(*customer, stored)).collect();
    Rows::new()
        .id("customer_id", rows.iter().map(|row| row.customer_id))
        .int("purchase_count", rows.iter().map(|row| row.purchase_count))
        .int("unknown_count", rows.iter().map(|row| row.unknown_count))
        .int("returned_count", rows.iter().map(|row| row.returned_count))
        .optional_int("first_purchase_at", rows.iter().map(|row| row.first_purchase_at))
        .optional_int("last_purchase_at", rows.iter().map(|row| row.last_purchase_at))
        .json("totals", rows.iter().map(|row| row.totals.to_string()))
        .int("rev", rows.iter().map(|row| row.rev))
        .optional_text("currency", rows.iter().map(|row| row.currency.clone()))
        .int("order_count", rows.iter().map(|row| row.order_count))
        .int("priced_count", rows.iter().map(|row| row.priced_count))
        .optional_int("net_minor", rows.iter().map(|row| row.net_minor))
        .optional_int("back_minor", rows.iter().map(|row| row.back_minor))
        .int("day_count", rows.iter().map(|row| row.day_count))
        .optional_int("first_day", rows.iter().map(|row| row.first_day))
        .optional_int("last_day", rows.iter().map(|row| row.last_day))
        .int("earning_days", rows.iter().map(|row| row.earning_days))
        .int("barren_days", rows.iter().map(|row| row.barren_days))
        .int("spend_minor", rows.iter().map(|row| row.spend_minor))
        .flag("began_before", rows.iter().map(|row| row.began_before))
        .int("referral_count", rows.iter().map(|row| row.referral_count))
        .int("review_count", rows.iter().map(|row| row.review_count))
        .insert(
            tx,
            "customer_value",
            "ON CONFLICT (customer_id) DO UPDATE SET purchase_count = excluded.purchase_count,
                 unknown_count = excluded.unknown_count, returned_count = excluded.returned_count,
                 first_purchase_at = excluded.first_purchase_at, last_purchase_at = excluded.last_purchase_at,
                 totals = excluded.totals, rev = excluded.rev, currency = excluded.currency,
                 order_count = excluded.order_count, priced_count = excluded.priced_count, net_minor = excluded.net_minor,
                 back_minor = excluded.back_minor, day_count = excluded.day_count, first_day = excluded.first_day,
                 last_day = excluded.last_day, earning_days = excluded.earning_days, barren_days = excluded.barren_days,
                 spend_minor = excluded.spend_minor, began_before = excluded.began_before,
                 referral_count = excluded.referral_count, review_count = excluded.review_count",
        )
        .await?;
    Ok(())
}

/// Takes the rows of customers away who are gone, or bought nothing after all.
pub async fn delete(tx: &DatabaseTransaction, customers: impl Iterator<Item = CustomerId>) -> Result<u64, StoreError> {
    let backend = tx.get_database_backend();
    let sql = format!("DELETE FROM customer_value WHERE {}", any_of(backend, "customer_id", 1));
    let values = [ids_value(backend, customers.map(|customer| customer.0))];
    let done = tx.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Ok(done.rows_affected())
}

sweep!(
    /// The next rows behind this one.
    values_after, customer_value, [customer_id]
);
