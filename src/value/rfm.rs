//! Recency, frequency and money: three scores from 1 to 5 and the eight classes that follow from them. Pure.
//!
//! A score says which fifth of everybody somebody is in: 1 + min(4, floor(5 k / n)), k of n customers being strictly worse; equals share a
//! score. It is read from the cuts of a published version, which stand still: nobody's class moves because others bought. Whoever is better
//! than everybody of the version is scored as if they had been asked about then.
//!
//! Recency is calendar days of the deployment's zone since the last purchase day, frequency counts purchase days, and money is net revenue.

use super::days::{day_of, day_start, days_between, later};
use super::facts::Facts;
use super::known::Known;
use super::metric::{Basis, Held, Metric};
use super::published::RfmCuts;
use crate::base::Instant;
use crate::due::Judged;
use serde_json::{Value, json};

/// The three numbers of a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rfm {
    /// Since the last purchase day.
    pub recency_days: i64,
    pub purchase_days: i64,
    /// Minor units of the reporting currency.
    pub net_minor: i128,
}

/// From 1 to 5; 5 is best on every axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scores {
    pub recency: u8,
    pub frequency: u8,
    pub monetary: u8,
}

/// The eight conventional classes: high or low on R, F and M.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RfmClass {
    ImportantValue,
    ImportantDevelop,
    ImportantKeep,
    ImportantWinBack,
    GeneralValue,
    GeneralDevelop,
    GeneralKeep,
    GeneralWinBack,
}

/// Quintiles.
const SCORES: usize = 5;

impl RfmClass {
    pub const ALL: [Self; 8] = [
        Self::ImportantValue,
        Self::ImportantDevelop,
        Self::ImportantKeep,
        Self::ImportantWinBack,
        Self::GeneralValue,
        Self::GeneralDevelop,
        Self::GeneralKeep,
        Self::GeneralWinBack,
    ];

    /// The label of the history, as the enum of the schema says it.
    pub fn label(self) -> &'static str {
        match self {
            Self::ImportantValue => "IMPORTANT_VALUE",
            Self::ImportantDevelop => "IMPORTANT_DEVELOP",
            Self::ImportantKeep => "IMPORTANT_KEEP",
            Self::ImportantWinBack => "IMPORTANT_WIN_BACK",
            Self::GeneralValue => "GENERAL_VALUE",
            Self::GeneralDevelop => "GENERAL_DEVELOP",
            Self::GeneralKeep => "GENERAL_KEEP",
            Self::GeneralWinBack => "GENERAL_WIN_BACK",
        }
    }

    /// `None`: no class has this label.
    pub fn of_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.label() == label)
    }

    /// Important is who brings much; recent buyers are of value when they come often and to be developed when not, and others to be kept or
    /// won back.
    fn of([recent, frequent, much]: [bool; 3]) -> Self {
        match (much, recent, frequent) {
            (true, true, true) => Self::ImportantValue,
            (true, true, false) => Self::ImportantDevelop,
            (true, false, true) => Self::ImportantKeep,
            (true, false, false) => Self::ImportantWinBack,
            (false, true, true) => Self::GeneralValue,
            (false, true, false) => Self::GeneralDevelop,
            (false, false, true) => Self::GeneralKeep,
            (false, false, false) => Self::GeneralWinBack,
        }
    }
}

/// The cuts of a population of buyers: `(recency_days, purchase_days, net_minor)` of each. Scoring it by them gives exactly the scores of
/// the rule above. `None`: nobody bought.
pub fn cuts(population: impl Iterator<Item = (i64, i64, i128)>) -> Option<RfmCuts> {
    let all: Vec<Rfm> = population
        .map(|(recency_days, purchase_days, net_minor)| Rfm {
            recency_days,
            purchase_days,
            net_minor,
        })
        .collect();
    if all.is_empty() {
        return None;
    }
    // The largest number of days that so many customers pass is one less than theirs.
    let mut recency: Vec<i64> = all.iter().map(|one| one.recency_days).collect();
    recency.sort_unstable_by(|one, other| other.cmp(one));
    let mut frequency: Vec<i64> = all.iter().map(|one| one.purchase_days).collect();
    frequency.sort_unstable();
    let mut monetary: Vec<i128> = all.iter().map(|one| one.net_minor).collect();
    monetary.sort_unstable();
    let mut cuts = RfmCuts {
        recency: [4, 3, 2, 1].map(|worse| recency[last_worse(worse, all.len())].saturating_sub(1)),
        frequency: [1, 2, 3, 4].map(|worse| frequency[last_worse(worse, all.len())].saturating_add(1)),
        monetary: [1, 2, 3, 4].map(|worse| monetary[last_worse(worse, all.len())].saturating_add(1)),
        means: [0.0; 3],
    };
    let mut sums = [0_u64; 3];
    for one in &all {
        let scores = cuts.scores(one);
        for (sum, score) in sums.iter_mut().zip([scores.recency, scores.frequency, scores.monetary]) {
            *sum += u64::from(score);
        }
    }
    let means = sums.map(|sum| sum as f64 / all.len() as f64);
    cuts.means = means;
    Some(cuts)
}

/// Where, in `count` customers from the worst on, the last stands who must be worse for so many fifths to be: the k-th, with 5 k at least
/// `fifths` times the count.
fn last_worse(fifths: usize, count: usize) -> usize {
    (fifths * count).div_ceil(SCORES) - 1
}

impl RfmCuts {
    pub fn scores(&self, rfm: &Rfm) -> Scores {
        let score = |passed: usize| 1 + u8::try_from(passed).expect("four cuts");
        Scores {
            recency: score(self.recency.iter().filter(|cut| rfm.recency_days <= **cut).count()),
            frequency: score(self.frequency.iter().filter(|cut| rfm.purchase_days >= **cut).count()),
            monetary: score(self.monetary.iter().filter(|cut| rfm.net_minor >= **cut).count()),
        }
    }

    /// High is strictly above the mean score of the version.
    pub fn class(&self, scores: Scores) -> RfmClass {
        let scores = [scores.recency, scores.frequency, scores.monetary];
        RfmClass::of(std::array::from_fn(|axis| f64::from(scores[axis]) > self.means[axis]))
    }

    /// Days since the last purchase day from which on the recency score is a lower one than it is after `recency_days`; `None`: it is 1.
    fn falls_after(&self, recency_days: i64) -> Option<i64> {
        let next = self.recency.iter().copied().filter(|cut| *cut >= recency_days).min()?;
        Some(next.saturating_add(1))
    }
}

impl Rfm {
    /// At an instant; `None`: no purchase by then, or of none is the amount known.
    pub fn of(basis: Basis<'_>, at: Instant) -> Option<Self> {
        let facts = Facts::of(basis.known, basis.rules, at);
        let last = facts.days.last.filter(|_| facts.priced > 0)?;
        Some(Self {
            recency_days: days_between(last, day_of(basis.rules.zone, at)),
            purchase_days: facts.days.count,
            net_minor: facts.net(),
        })
    }
}

impl Scores {
    /// As the history keeps them.
    fn detail(self) -> Value {
        json!({"recency": self.recency, "frequency": self.frequency, "monetary": self.monetary})
    }

    /// What [`Scores::detail`] wrote; `None`: somebody else did.
    pub fn of_detail(detail: &Value) -> Option<Self> {
        let score = |name: &str| detail.get(name)?.as_u64()?.try_into().ok();
        Some(Self {
            recency: score("recency")?,
            frequency: score("frequency")?,
            monetary: score("monetary")?,
        })
    }
}

/// The first order or refund behind an instant.
pub(super) fn next_deal(known: &Known, at: Instant) -> Option<Instant> {
    let orders = known.orders.iter().map(|order| order.at);
    let refunds = known.orders.iter().flat_map(|order| &order.refunds).map(|refund| refund.at);
    orders.chain(refunds).filter(|deal| *deal > at).min()
}

/// The class, with the scores behind it.
#[derive(Clone, Copy, Debug)]
pub struct RfmMetric;

impl Metric for RfmMetric {
    fn key(&self) -> &'static str {
        "rfm"
    }

    fn evaluate(&self, basis: Basis<'_>, at: Instant) -> Judged<Option<Held>> {
        let deal = next_deal(basis.known, at);
        let Some(cuts) = basis.published.and_then(|published| published.rfm.as_ref()) else {
            return Judged { value: None, next: None };
        };
        let Some(rfm) = Rfm::of(basis, at) else {
            return Judged { value: None, next: deal };
        };
        let scores = cuts.scores(&rfm);
        let zone = basis.rules.zone;
        let falls = cuts.falls_after(rfm.recency_days).map(|days| {
            let last = later(day_of(zone, at), -rfm.recency_days);
            day_start(zone, later(last, days))
        });
        Judged {
            value: Some(Held {
                value: cuts.class(scores).label().to_owned(),
                detail: scores.detail(),
                by_model: true,
            }),
            next: falls.into_iter().chain(deal).min(),
        }
    }
}

#[cfg(test)]
#[path = "rfm_tests.rs"]
mod tests;
