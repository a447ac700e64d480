//! Every metric, and what became of one since somebody looked. Pure.

use super::churn::ChurnMetric;
use super::known::Known;
use super::lifecycle::Lifecycle;
use super::metric::{Basis, Held, Metric};
use super::rfm::RfmMetric;
use super::warnings::EarlyWarning;
use crate::base::Instant;
use crate::due::{CaughtUp, Judged, Measure, Stuck, catch_up};
use serde_json::Value;

/// Every metric that is kept with its history. Another one joins here.
pub static ALL: [&dyn Metric; 7] = [
    &Lifecycle,
    &RfmMetric,
    &ChurnMetric,
    &EarlyWarning::Gap,
    &EarlyWarning::Usage,
    &EarlyWarning::Recommendation,
    &EarlyWarning::Contract,
];

/// The metric of a name.
pub fn named(key: &str) -> Option<&'static dyn Metric> {
    ALL.into_iter().find(|metric| metric.key() == key)
}

/// What is told of a metric: its label, what stands behind it, and the version of the models that had a say.
#[derive(Clone, Debug)]
pub struct Told {
    pub value: String,
    pub detail: Value,
    pub model_version: Option<i64>,
}

impl PartialEq for Told {
    /// Another version that says the same is no news.
    fn eq(&self, other: &Self) -> bool {
        (&self.value, &self.detail) == (&other.value, &other.detail)
    }
}

impl Told {
    fn new(held: Held, basis: Basis<'_>) -> Self {
        let version = basis.published.map(|published| published.version);
        Self {
            value: held.value,
            detail: held.detail,
            model_version: version.filter(|_| held.by_model),
        }
    }
}

/// What holds at an instant; `None`: nothing.
pub fn told(metric: &dyn Metric, basis: Basis<'_>, at: Instant) -> Judged<Option<Told>> {
    let Judged { value, next } = metric.evaluate(basis, at);
    Judged {
        value: value.map(|held| Told::new(held, basis)),
        next,
    }
}

struct Following<'b>(&'b dyn Metric, Basis<'b>);

impl Measure for Following<'_> {
    type Facts = ();
    type Value = Option<Told>;

    fn evaluate(&self, (): &(), at: Instant) -> Judged<Option<Told>> {
        told(self.0, self.1, at)
    }
}

/// When somebody looks.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The earliest instant at which something may have changed.
    pub due_at: Instant,
    /// When the earliest news came; `None`: only time has passed.
    pub told_at: Option<Instant>,
    pub now: Instant,
}

/// What became of a metric until now. `stored`: what is written of it. What time did before news came is told with its own instants; what
/// the news says otherwise of the time before holds from when it came.
pub fn follow(metric: &dyn Metric, basis: Basis<'_>, stored: &Option<Told>, look: Look) -> Result<CaughtUp<Option<Told>>, Stuck> {
    let following = Following(metric, basis);
    let mut from = look.told_at.map_or(look.due_at, |told_at| told_at.min(look.due_at));
    if let Some(told_at) = look.told_at.filter(|told_at| *told_at > from) {
        let just_before = Instant::from_micros(from.micros().saturating_sub(1));
        if following.evaluate(&(), just_before).value != *stored {
            from = told_at;
        }
    }
    catch_up(&following, &(), stored, from, look.now)
}

/// Whether something that is known happened at this very instant: then what changes at it comes of that, and not of time.
pub fn happened(known: &Known, at: Instant) -> bool {
    let orders = known.orders.iter().flat_map(|order| {
        let refunds = order.refunds.iter().map(|refund| refund.at);
        std::iter::once(order.at).chain(refunds)
    });
    let steps = known.subscriptions.iter().map(|(step, _)| *step);
    let answers = known.recommendations.iter().map(|(answer, _)| *answer);
    let others = known.referrals.iter().chain(&known.reviews).copied();
    orders.chain(steps).chain(answers).chain(others).any(|fact| fact == at)
}

#[cfg(test)]
mod tests {
    use super::super::known::Order;
    use super::super::rules::ValueRules;
    use super::*;
    use std::collections::BTreeSet;
    use std::time::Duration;

    const DAY: Duration = Duration::from_secs(86_400);

    fn order(at: Instant) -> Order {
        Order {
            at,
            day: chrono::DateTime::from_timestamp_micros(at.micros()).unwrap().date_naive(),
            amount: None,
            refunds: Vec::new(),
            categories: Vec::new(),
            channel: "WEB".to_owned(),
        }
    }

    #[test]
    fn each_name_is_used_once_and_found() {
        let names: BTreeSet<&str> = ALL.iter().map(|metric| metric.key()).collect();
        assert_eq!(names.len(), ALL.len());
        assert!(names.iter().all(|name| named(name).is_some()));
        assert!(named("lifecycles").is_none());
    }

    /// The changes after an outage: an order on day 0, its decline on day 60 missed, another order told on day 70, a look on day 80.
    fn after_an_outage(second: u32) -> Vec<(Instant, Option<String>)> {
        let at = |day: u32| Instant::from_micros(0).plus(DAY * day);
        let known = Known {
            orders: vec![order(at(0)), order(at(second))],
            ..Known::default()
        };
        let rules = ValueRules::default();
        let basis = Basis {
            known: &known,
            rules: &rules,
            published: None,
        };
        let stored = told(&Lifecycle, basis, at(0)).value;
        let look = Look {
            due_at: at(60),
            told_at: Some(at(70)),
            now: at(80),
        };
        let caught_up = follow(&Lifecycle, basis, &stored, look).unwrap();
        let changes = caught_up.changes.into_iter();
        changes.map(|(at, told)| (at, told.map(|told| told.value))).collect()
    }

    #[test]
    fn what_time_did_before_news_came_is_told_unless_the_news_denies_it() {
        let at = |day: u32| Instant::from_micros(0).plus(DAY * day);
        let (decline, growth) = (Some("DECLINE".to_owned()), Some("GROWTH".to_owned()));
        assert_eq!(after_an_outage(70), [(at(60), decline), (at(70), growth)]);
        assert_eq!(
            after_an_outage(40),
            [],
            "they had ordered in time, and nobody ever said otherwise"
        );
    }

    #[test]
    fn another_version_that_says_the_same_is_no_news() {
        let told = |version| Told {
            value: "HIGH".to_owned(),
            detail: Value::Null,
            model_version: version,
        };
        assert_eq!(told(Some(1)), told(Some(2)));
    }
}
