//! Facts of a customer as of an instant, in the reporting currency.

use super::error;
use super::kinds::Channel;
use super::loaders::{KnownOf, ask};
use super::scalars::{Date, DateTime, MoneyValue};
use super::services;
use crate::base::money::Currency;
use crate::base::{CustomerId, Instant};
use crate::customer::money;
use crate::value::{Facts, Known};
use async_graphql::resolver_utils::parse_enum;
use async_graphql::{Context, Name, Object, Result, SimpleObject, Value};
use chrono::{Days, NaiveDate};
use std::sync::Arc;

/// The longest time that activity is listed over; a year and a leap day.
const MAX_DAYS: u64 = 366;
/// The time that activity is listed over when nobody says otherwise.
const USUAL_DAYS: u64 = 28;
/// Names asked for at once.
const MAX_NAMES: usize = 100;

/// What is known of a customer, and what of it had happened.
pub struct CustomerFacts {
    as_of: Instant,
    currency: Option<Currency>,
    known: Arc<Known>,
    facts: Facts,
}

/// In how many orders something was.
#[derive(SimpleObject)]
pub struct CategoryOrders {
    /// Category of a product, as the sources spell it.
    category: String,
    /// How many orders hold a product of it.
    orders: i64,
}

/// Through which channel how many orders came.
#[derive(SimpleObject)]
pub struct ChannelOrders {
    /// Channel of the source whose report of the order counts.
    channel: Channel,
    /// How many orders came through it.
    orders: i64,
}

/// The days on which a customer bought, as the models of buying and spending see them: purchases of one day are one, and a refund lowers the
/// day of its purchase.
#[derive(SimpleObject)]
pub struct PurchaseDays {
    /// How many days, since the data begin where the settings say so (`value.data_from`).
    count: i64,
    /// The first of them, in the deployment's zone; null without one.
    first: Option<Date>,
    /// The last of them; null without one.
    last: Option<Date>,
    /// How many days behind the first brought something after refunds.
    spend_days: i64,
    /// What those days brought together; null without one.
    spend: Option<MoneyValue>,
    /// Whether they bought before the data begin, so that nobody knows since when.
    began_before: bool,
}

/// How often an event of a name happened.
#[derive(SimpleObject)]
pub struct ActivityOfName {
    /// Name of the event.
    name: String,
    /// How often it happened in all of these days.
    count: i64,
    /// The days on which it happened, the first first.
    days: Vec<ActivityOfDay>,
}

/// How often an event happened on a day.
#[derive(SimpleObject)]
pub struct ActivityOfDay {
    /// A day of the deployment's zone.
    day: Date,
    /// How often, once or more.
    count: i64,
}

/// Facts of a customer; `None` for `as_of`: of now.
pub async fn facts(ctx: &Context<'_>, customer: CustomerId, as_of: Option<DateTime>) -> Result<CustomerFacts> {
    let services = services(ctx)?;
    let now = services.now();
    let as_of = as_of.map_or(now, |as_of| as_of.0);
    if as_of > now {
        return Err(error::bad_input("asOf", "must not lie in the future"));
    }
    let known = ask(ctx, KnownOf(customer)).await?.unwrap_or_default();
    // Settled when the answer was loaded.
    let reporting = services.settled.remembered(&services.value);
    Ok(CustomerFacts {
        as_of,
        currency: reporting.currency,
        facts: Facts::of(&known, &reporting.rules, as_of),
        known,
    })
}

fn date(day: NaiveDate) -> Date {
    Date(day.to_string())
}

/// What had happened up to an instant, of what is known today: orders each once however many sources reported them, money in the reporting
/// currency by the rate of each order's day, days in the deployment's zone.
#[Object]
impl CustomerFacts {
    /// The instant up to which things had happened.
    async fn as_of(&self) -> DateTime {
        DateTime(self.as_of)
    }

    /// The reporting currency, which all amounts here are in; null while nobody has bought anything and the settings name none.
    async fn currency(&self) -> Option<&str> {
        self.currency.as_ref().map(Currency::code)
    }

    /// How many orders were placed. One that is known by its refund alone is none.
    async fn orders(&self) -> i64 {
        self.facts.orders
    }

    /// The share of orders whose amount is known in the reporting currency, 0 to 1: the others named none, or there is no rate for their
    /// day. It is null without orders.
    async fn coverage(&self) -> Option<f64> {
        self.facts.coverage()
    }

    /// How many of the orders had been given back entirely.
    async fn returned(&self) -> i64 {
        self.facts.returned
    }

    /// What was paid, refunds not taken off; null while no amount is known, and beyond 64 bits.
    async fn revenue(&self) -> Option<MoneyValue> {
        self.money(self.facts.revenue)
    }

    /// What had been given back, each refund from its own instant on; null when `revenue` is.
    async fn refunds(&self) -> Option<MoneyValue> {
        self.money(self.facts.refunds)
    }

    /// What was paid and not given back; null when `revenue` is.
    async fn net_revenue(&self) -> Option<MoneyValue> {
        self.money(self.facts.net())
    }

    /// When the first order was placed; null without one.
    async fn first_purchase_at(&self) -> Option<DateTime> {
        self.facts.first_at.map(DateTime)
    }

    /// When the last order was placed; null without one.
    async fn last_purchase_at(&self) -> Option<DateTime> {
        self.facts.last_at.map(DateTime)
    }

    /// How many days usually pass between orders of different days: the median. It is null with fewer than two such days.
    async fn cadence_days(&self) -> Option<f64> {
        self.facts.cadence_days
    }

    /// What the orders held, the most frequent category first. A product whose category nobody named is in none.
    async fn categories(&self) -> Vec<CategoryOrders> {
        let each = self.facts.categories.iter().cloned();
        each.map(|(category, orders)| CategoryOrders { category, orders }).collect()
    }

    /// Through which channels the orders came, the most frequent first.
    async fn channels(&self) -> Vec<ChannelOrders> {
        let each = self.facts.channels.iter();
        each.filter_map(|(name, orders)| {
            let channel = parse_enum(Value::Enum(Name::new(name))).ok()?;
            Some(ChannelOrders {
                channel,
                orders: *orders,
            })
        })
        .collect()
    }

    /// How many people they brought: events `Referral Converted`.
    async fn referrals(&self) -> i64 {
        self.facts.referrals
    }

    /// How many reviews they wrote: events `Review Submitted`.
    async fn reviews(&self) -> i64 {
        self.facts.reviews
    }

    /// The days on which they bought, as models see them.
    async fn purchase_days(&self) -> PurchaseDays {
        let days = &self.facts.days;
        PurchaseDays {
            count: days.count,
            first: days.first.map(date),
            last: days.last.map(date),
            spend_days: days.earning,
            spend: self.money(i128::from(days.spend)).filter(|_| days.earning > 0),
            began_before: days.began_before,
        }
    }

    /// How often they did things, by name of the event and day of the deployment's zone, in the order of the names; names that did not occur
    /// are left out. Counted are events that measures ask about, and those named by the settings (`value.activity`,
    /// `churn.usage_events`). A day is counted whole, that of `asOf` too.
    async fn activity(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only events of these names, at most 100; by default all that are counted.")] names: Option<Vec<String>>,
        #[graphql(desc = "The first day; by default 27 days before the last.")] from: Option<Date>,
        #[graphql(desc = "The last day, at most 365 behind the first; by default, and at the latest, that of `asOf`.")]
        to: Option<Date>,
    ) -> Result<Vec<ActivityOfName>> {
        if names.as_ref().is_some_and(|names| names.len() > MAX_NAMES) {
            return Err(error::bad_input("names", format!("may hold {MAX_NAMES} names")));
        }
        let today = services(ctx)?.value.day(self.as_of);
        let day = |date: Date| date.0.parse::<NaiveDate>().ok();
        let to = to.and_then(day).unwrap_or(today).min(today);
        let from = from
            .and_then(day)
            .or_else(|| to.checked_sub_days(Days::new(USUAL_DAYS - 1)))
            .unwrap_or(to);
        if from > to {
            return Err(error::bad_input("from", "must not lie behind the last day"));
        }
        if from.checked_add_days(Days::new(MAX_DAYS)).is_some_and(|end| end <= to) {
            return Err(error::bad_input(
                "from",
                format!("may lie {} days before the last day", MAX_DAYS - 1),
            ));
        }
        let asked = |name: &str| names.as_ref().is_none_or(|names| names.iter().any(|asked| asked == name));
        let mut found = Vec::new();
        for (name, days) in self.known.activity.iter().filter(|(name, _)| asked(name)) {
            let days = days.range(from..=to).map(|(day, count)| ActivityOfDay {
                day: date(*day),
                count: *count,
            });
            let days: Vec<ActivityOfDay> = days.collect();
            if !days.is_empty() {
                found.push(ActivityOfName {
                    name: name.clone(),
                    count: days.iter().map(|day| day.count).sum(),
                    days,
                });
            }
        }
        Ok(found)
    }
}

impl CustomerFacts {
    fn money(&self, minor: i128) -> Option<MoneyValue> {
        let known = self.currency.as_ref().filter(|_| self.facts.priced > 0);
        known.and_then(|currency| money(minor, currency)).map(MoneyValue::from)
    }
}
