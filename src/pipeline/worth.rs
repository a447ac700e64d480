//! What customers are worth at the moment somebody asks: stored facts under the models in force.
//!
//! Promises: a constant number of statements for any number of customers; nothing is read of single orders, unless what winning a customer
//! cost depends on the channel of their first one.

use crate::base::money::Currency;
use crate::base::{CustomerId, Instant};
use crate::pipeline::Services;
use crate::store::StoreError;
use crate::value::load;
use crate::value::models::Version;
use crate::value::reporting::Reporting;
use crate::value::rules::ValueRules;
use crate::value::store::{self, Stored};
use crate::value::worth::{Asked, DAYS_A_YEAR, Models, Subject, Worth, worth};
use std::collections::HashMap;
use std::sync::Arc;

/// What values are computed with, of everybody.
#[derive(Clone, Debug)]
pub struct InForce {
    /// `None`: nothing is published.
    pub version: Option<Arc<Version>>,
    pub reporting: Reporting,
}

/// What is stored of a customer, as far as worth asks for it.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// `None`: they bought and did nothing, as of the last look.
    pub stored: Option<Stored>,
    /// Channel of the first order; `None`: nobody asks for it.
    pub channel: Option<String>,
}

/// A customer who can be valued.
#[derive(Clone, Debug)]
pub struct Valued {
    pub subject: Subject,
    pub version: Option<Arc<Version>>,
    /// Of all money; `None`: nobody has bought anything.
    pub currency: Option<Currency>,
}

const MICROS_A_DAY: f64 = 86_400e6;

/// What is in force. Two statements, and one more when a version is read for the first time.
pub async fn in_force(services: &Services) -> Result<InForce, StoreError> {
    Ok(InForce {
        version: services.models.in_force(services.store.reader()).await?,
        reporting: services.reporting().await?,
    })
}

/// What is stored of each of these customers.
pub async fn standings(services: &Services, customers: &[CustomerId]) -> Result<HashMap<CustomerId, Standing>, StoreError> {
    let db = services.store.reader();
    let mut stored = store::values(db, customers).await?;
    let version = services.models.in_force(db).await?;
    let asks_for_channels = version.is_some_and(|version| version.economics.winning.iter().any(|row| row.channel.is_some()));
    let mut channels = HashMap::new();
    if asks_for_channels {
        for (customer, known) in load::known(db, &services.reporting().await?, customers).await? {
            channels.extend(known.orders.into_iter().next().map(|first| (customer, first.channel)));
        }
    }
    let standing = |customer: &CustomerId| {
        let standing = Standing {
            stored: stored.remove(customer),
            channel: channels.remove(customer),
        };
        (*customer, standing)
    };
    Ok(customers.iter().map(standing).collect())
}

/// A customer as worth asks about them, at an instant.
pub fn valued(rules: &ValueRules, in_force: &InForce, standing: &Standing, now: Instant) -> Valued {
    Valued {
        subject: standing
            .stored
            .as_ref()
            .map(|stored| subject(rules, in_force, (stored, standing), now))
            .unwrap_or_default(),
        version: in_force.version.clone(),
        currency: in_force.reporting.currency.clone(),
    }
}

fn subject(rules: &ValueRules, in_force: &InForce, (stored, standing): (&Stored, &Standing), now: Instant) -> Subject {
    let facts = &stored.told.standing;
    // Another currency was settled, and nobody has looked at them since.
    let is_priced = facts.priced > 0 && facts.currency == in_force.reporting.currency;
    let first = stored.told.purchases.first_at.filter(|first| *first <= now);
    let days = first.map_or(0.0, |first| (now.micros() - first.micros()) as f64 / MICROS_A_DAY);
    Subject {
        history: facts.days.history(rules.day(now)),
        spend: facts.days.spend().filter(|_| is_priced),
        net: facts.net.filter(|_| is_priced).map(|net| net as f64),
        known: facts.coverage().filter(|_| is_priced).unwrap_or(0.0),
        years: days / DAYS_A_YEAR,
        referrals: u64::try_from(facts.referrals).unwrap_or(0),
        first: first.map(|first| (first, standing.channel.clone().unwrap_or_default())),
    }
}

impl Valued {
    /// What they are worth.
    pub fn worth(&self, rules: &ValueRules, asked: Asked) -> Worth {
        let nothing = || "no model is published".to_owned();
        let version = self.version.as_deref();
        let buying = version.ok_or_else(nothing).and_then(|version| {
            let why_not = || version.no_buying.clone().unwrap_or_default();
            version.published.buying.as_ref().ok_or_else(why_not)
        });
        // Money of another currency means nothing here.
        let same = |version: &&Version| version.currency == self.currency;
        let spending = version.ok_or_else(nothing).and_then(|version| {
            if !same(&version) {
                return Err("the published models were fitted in another currency: fit again".to_owned());
            }
            let why_not = || version.no_spending.clone().unwrap_or_default();
            version.published.spending.as_ref().ok_or_else(why_not)
        });
        let models = Models {
            buying,
            spending,
            economics: version.filter(same).map(|version| &version.economics),
        };
        worth(&rules.worth, &models, &self.subject, asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::PurchaseDays;
    use crate::value::told;

    #[test]
    fn money_of_another_currency_is_not_taken_for_ours() {
        let euro = Currency::stored("EUR".to_owned());
        let day = |text: &str| text.parse().ok();
        let days = PurchaseDays {
            count: 2,
            first: day("2026-01-01"),
            last: day("2026-01-11"),
            earning: 1,
            spend: 500,
            ..PurchaseDays::default()
        };
        let facts = told::Standing {
            currency: Some(euro.clone()),
            orders: 2,
            priced: 2,
            net: Some(900),
            days,
            ..told::Standing::default()
        };
        let stored = Stored {
            told: told::Told {
                standing: facts,
                ..told::Told::default()
            },
            rev: 1,
        };
        let standing = Standing {
            stored: Some(stored),
            channel: None,
        };
        let now = Instant::parse("2026-01-31T12:00:00Z").unwrap();
        let rules = Arc::new(ValueRules::default());
        let subject_in = |currency: Currency| {
            let in_force = InForce {
                version: None,
                reporting: Reporting {
                    rules: rules.clone(),
                    currency: Some(currency),
                },
            };
            valued(&rules, &in_force, &standing, now).subject
        };
        let ours = subject_in(euro);
        assert_eq!(
            (ours.net, ours.known, ours.spend.map(|spend| spend.mean())),
            (Some(900.0), 1.0, Some(500.0))
        );
        let history = ours.history.unwrap();
        assert_eq!((history.repeats(), history.recency(), history.age()), (1, 10.0, 30.0));
        let other = subject_in(Currency::stored("USD".to_owned()));
        assert_eq!(
            (other.net, other.known, other.spend, other.history),
            (None, 0.0, None, ours.history)
        );
    }
}
