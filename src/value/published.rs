//! The models in force: everything of one published version that values are computed with.

use super::fit::{FittedBuying, FittedSpending};
use crate::base::Instant;
use std::collections::BTreeMap;

/// A published version.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    pub version: i64,
    /// Up to when purchases were looked at.
    pub as_of: Instant,
    /// The chosen model of buying, in days; `None`: there was too little to fit.
    pub buying: Option<FittedBuying>,
    /// Of spend on a purchase day, in minor units of the reporting currency.
    pub spending: Option<FittedSpending>,
    /// `None`: nobody had bought.
    pub rfm: Option<RfmCuts>,
    /// Median days between orders of customers with three orders or more, by the category that they bought most often.
    pub gap_days: BTreeMap<String, f64>,
}

/// What RFM scores are read from: frozen, so that nobody's class moves because others bought.
#[derive(Clone, Debug, PartialEq)]
pub struct RfmCuts {
    /// Days since the last purchase day up to which the score is 5, 4, 3, 2; beyond the last it is 1.
    pub recency: [i64; 4],
    /// Purchase days from which on the score is 2, 3, 4, 5.
    pub frequency: [i64; 4],
    /// Net revenue in minor units from which on the score is 2, 3, 4, 5.
    pub monetary: [i128; 4],
    /// Mean score of everybody, by axis: R, F, M. High is strictly above.
    pub means: [f64; 3],
}
