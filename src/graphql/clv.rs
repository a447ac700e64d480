//! What a customer is worth, computed at the moment it is asked for.

use super::duration::Duration;
use super::error;
use super::kinds::ClvBasis;
use super::loaders::{InForce, WorthOf, ask};
use super::scalars::{DateTime, MoneyValue};
use super::services;
use crate::base::money::Currency;
use crate::base::{CustomerId, Instant, Money};
use crate::pipeline::worth::{self, Valued};
use crate::value::worth::{Asked, Form, Worth, purchases_within};
use async_graphql::{Context, Object, Result, SimpleObject};

/// Longer than anybody plans.
const LONGEST_YEARS: f64 = 50.0;

/// A lifetime value.
pub struct LifetimeValue {
    worth: Worth,
    valued: Valued,
    horizon: Duration,
    discount: f64,
    as_of: Instant,
}

/// What a customer is worth: total = the sum over the periods of the horizon of what purchases and referrals bring less what keeping the
/// customer costs, discounted, less what winning them cost. Every amount is in the reporting currency. What is not known is null with a
/// reason; it lowers the coverage, and is never taken for nothing.
#[Object]
impl LifetimeValue {
    /// What is still to come less what winning them cost; null when it cannot be known, and below the configured coverage.
    async fn total(&self) -> Option<MoneyValue> {
        self.money(self.worth.total)
    }

    /// What they brought so far: margin on what they paid and did not take back, and their part of what those brought whom they referred,
    /// less what they cost as far as that is known; null when no order has a known amount.
    async fn historic(&self) -> Option<MoneyValue> {
        self.money(self.worth.historic)
    }

    /// What is still to come within the horizon: transaction + relationship - cost; null when it cannot be known, and below the configured
    /// coverage.
    async fn predicted(&self) -> Option<MoneyValue> {
        self.money(self.worth.predicted)
    }

    /// Discounted margin on the purchases to come; null when purchases or their amounts cannot be foretold.
    async fn transaction(&self) -> Option<MoneyValue> {
        self.money(self.worth.transaction)
    }

    /// Their discounted part of what those will bring whom they refer; null while nobody's referrals are told.
    async fn relationship(&self) -> Option<MoneyValue> {
        self.money(self.worth.relationship)
    }

    /// What keeping them will cost, discounted; null while no such spend is told.
    async fn cost(&self) -> Option<MoneyValue> {
        self.money(self.worth.cost)
    }

    /// What winning them cost; null when no spend is told of the time and channel of their first order.
    async fn acquisition_cost(&self) -> Option<MoneyValue> {
        self.money(self.worth.acquisition)
    }

    /// The probability that they will buy again at some time; null without a model of buying, and for who has bought nothing. BG/NBD says
    /// 1 of everybody who bought once.
    async fn probability_alive(&self) -> Option<f64> {
        self.worth.probability_alive
    }

    /// On how many days they will buy; null without a model of buying, and for who has bought nothing.
    async fn expected_purchases(
        &self,
        #[graphql(desc = "How far ahead, from now; at most 50 years.")] within: Duration,
    ) -> Option<Result<f64>> {
        self.purchases(&within)
            .map(|found| found.map(|(expected, _)| expected))
            .transpose()
    }

    /// The range in which that number lies with 90 %, as far as the parameters of the model are unsure; the purchases themselves vary by
    /// chance as well; null where the number is, and where the model has no standard errors.
    async fn expected_purchases_interval(
        &self,
        #[graphql(desc = "How far ahead, from now; at most 50 years.")] within: Duration,
    ) -> Option<Result<ExpectedInterval>> {
        let found = self.purchases(&within).map(|found| found.and_then(|(_, interval)| interval));
        let interval = found.transpose()?;
        Some(interval.map(|(low, high)| ExpectedInterval { low, high }))
    }

    /// What they will spend on a day on which they buy, refunds taken off; null without a model of spending.
    async fn expected_average_value(&self) -> Option<MoneyValue> {
        self.money(self.worth.average)
    }

    /// What the future is told by.
    async fn basis(&self) -> ClvBasis {
        match self.worth.form {
            Form::Model => ClvBasis::BtydModel,
            Form::Retention => ClvBasis::RetentionForm,
            Form::None => ClvBasis::None,
        }
    }

    /// How far ahead is looked.
    async fn horizon(&self) -> &Duration {
        &self.horizon
    }

    /// What waiting for a year costs: 0.1 is ten per cent.
    async fn discount_rate(&self) -> f64 {
        self.discount
    }

    /// When it was computed.
    async fn as_of(&self) -> DateTime {
        DateTime(self.as_of)
    }

    /// The version of the models in force; null while none is.
    async fn model_version(&self) -> Option<String> {
        let version = self.valued.version.as_ref();
        version.map(|version| version.published.version.to_string())
    }

    /// How much of what it is computed from is known, from 0 to 1: purchases and their model 0.6 (times the share of orders with a known
    /// amount), margin 0.15, cost of keeping 0.1, cost of winning 0.1, referrals 0.05.
    async fn coverage(&self) -> f64 {
        self.worth.coverage
    }

    /// What is not known or was assumed, in words; empty when everything is known.
    async fn reasons(&self) -> &[String] {
        &self.worth.reasons
    }
}

/// A range.
#[derive(SimpleObject)]
pub struct ExpectedInterval {
    /// Its lower end.
    low: f64,
    /// Its upper end.
    high: f64,
}

impl LifetimeValue {
    fn money(&self, minor: Option<f64>) -> Option<MoneyValue> {
        let currency: &Currency = self.valued.currency.as_ref()?;
        #[expect(clippy::cast_possible_truncation, reason = "within 2^53")]
        let amount_minor = minor?.round() as i64;
        let money = Money {
            amount_minor,
            currency: currency.clone(),
        };
        Some(money.into())
    }

    #[expect(clippy::type_complexity, reason = "a number and its range")]
    fn purchases(&self, within: &Duration) -> Result<Option<(f64, Option<(f64, f64)>)>> {
        check("within", within)?;
        let found = || {
            let buying = self.valued.version.as_ref()?.published.buying.as_ref()?;
            purchases_within(buying, self.valued.subject.history.as_ref()?, within.days)
        };
        Ok(found())
    }
}

fn check(argument: &str, length: &Duration) -> Result<()> {
    if length.days > 0.0 && length.in_years() <= LONGEST_YEARS {
        return Ok(());
    }
    Err(error::bad_input(
        argument,
        "must be longer than nothing and at most fifty years: P50Y",
    ))
}

/// What a customer is worth.
pub async fn clv(
    ctx: &Context<'_>,
    customer: CustomerId,
    horizon: Duration,
    discount_rate: Option<f64>,
) -> Result<LifetimeValue> {
    check("horizon", &horizon)?;
    if discount_rate.is_some_and(|rate| !(0.0..1.0).contains(&rate)) {
        return Err(error::bad_input(
            "discountRate",
            "must be 0 or more and below 1: 0.1 is ten per cent a year",
        ));
    }
    let services = services(ctx)?;
    let in_force = ask(ctx, InForce).await?;
    let in_force = in_force.ok_or_else(|| error::internal("nothing is known of models"))?;
    let standing = ask(ctx, WorthOf(customer)).await?.unwrap_or_default();
    let now = services.now();
    let valued = worth::valued(&services.value, &in_force, &standing, now);
    let discount = discount_rate.unwrap_or(services.value.worth.annual_discount);
    let asked = Asked {
        years: horizon.in_years(),
        annual_discount: discount,
    };
    Ok(LifetimeValue {
        worth: valued.worth(&services.value, asked),
        valued,
        horizon,
        discount,
        as_of: now,
    })
}
