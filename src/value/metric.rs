//! What is discrete about a customer and has a history: a stage, a class, a band, a warning. Each is a pure function of what is known, the
//! rules, the published models and an instant, and names the next instant at which time alone may change it.

use super::known::Known;
use super::published::Published;
use super::rules::ValueRules;
use crate::base::Instant;
use crate::due::Judged;
use serde_json::Value;

/// What a metric is judged by, besides the instant.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    pub known: &'a Known,
    pub rules: &'a ValueRules,
    /// `None`: no model is published.
    pub published: Option<&'a Published>,
}

/// What holds of a customer.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// The label that rules and reports compare: `GROWTH`.
    pub value: String,
    /// What stands behind it, as far as a change of it is news: scores, a sub-stage. Nothing that moves with every look.
    pub detail: Value,
    /// Whether a published model had a say.
    pub by_model: bool,
}

/// One metric.
pub trait Metric: Send + Sync {
    /// Its name in the history, in the log and in rules: `lifecycle`.
    fn key(&self) -> &'static str;

    /// What it is called when nothing holds: of whom nothing was ever written this is said, and a history that comes back to it has a row
    /// of it. `None`: it has no name, and a history has gaps.
    fn otherwise(&self) -> Option<&'static str> {
        None
    }

    /// What holds at an instant (`None`: nothing, which is no row of the history), and when that may next change by itself: the first
    /// instant, to the microsecond, at which something else holds. Facts later than `at` do not count yet, and are such instants.
    fn evaluate(&self, basis: Basis<'_>, at: Instant) -> Judged<Option<Held>>;
}
