//! What a customer is worth: the statistics of lifetime value, and the facts of what was bought. Pure; nothing here but `inputs`, `load`,
//! `activity`, `rates`, `reporting` and `store` knows of a server, a database or a clock.
//!
//! A [`History`] says when somebody bought, in three numbers; [`ledger()`] makes histories out of single purchases. [`fit_buying`] fits
//! BG/NBD or MBG/NBD to many of them: who still buys, and how often. [`fit_spending`] fits Gamma-Gamma: how much they spend. Both by
//! maximum likelihood, with derivatives by formula, standard errors, and in words what to be careful about. A [`Scorer`] asks the
//! fitted models about one customer: alive, purchases to come, spend, lifetime value. [`accuracy`] holds predictions against what
//! happened.
//!
//! Promises: a number or a reason why there is none; the same numbers whatever the order of the customers, the unit of time, or the
//! currency; twelve digits of every function, also for thousands of purchases, for customers of today and for a = 1, where the formulas
//! of the papers fail. Sources: Fader, Hardie and Lee 2005 (BG/NBD); Batislam, Denizel and Filiztekin 2007 (MBG/NBD); Fader and Hardie
//! 2013, note 025 (Gamma-Gamma). What is computed otherwise than there is said in `beta`, `likelihood` and `spending`.
//!
//! `load` reads what is [`known`] of customers, with money in the reporting currency (`rates`, `reporting`) and what they did by day
//! (`activity`); `facts` is what had happened up to an instant; `told` is what is stored and told of it, and `store` keeps it. `inputs`
//! keeps what value is computed with besides orders, exchange rates and spend. Owns `exchange_rate`, `spend`, `activity` and
//! `customer_value`.
//! Leaves to others: where purchases come from, and where values go.

pub mod activity;
mod backtest;
mod beta;
mod buying;
pub mod churn;
pub mod days;
pub mod economics;
pub mod facts;
mod fit;
mod history;
pub mod inputs;
pub mod known;
mod ledger;
pub mod lifecycle;
mod likelihood;
pub mod load;
mod maximise;
pub mod metric;
pub mod metric_store;
pub mod metrics;
pub mod models;
pub mod movement;
pub mod published;
pub mod rates;
pub mod reporting;
pub mod rfm;
pub mod rhythm;
pub mod rules;
mod score;
mod special;
mod spending;
pub mod store;
pub mod told;
pub mod warnings;
pub mod worth;

#[cfg(test)]
mod edge_tests;
#[cfg(test)]
mod looks;
#[cfg(test)]
mod reference_tests;

pub use backtest::{Accuracy, Class, Foretold, MOST_FREQUENT, accuracy, naive_rate};
pub use buying::{Buying, Family};
pub use economics::{Economics, Winning};
pub use facts::{Facts, PurchaseDays};
pub use fit::{
    Fit, Fitted, FittedBuying, FittedSpending, Unfit, Warning, fit_all, fit_buying, fit_spending, fit_tally, likeliest,
    spend_with_frequency,
};
pub use history::{History, HistoryError, Spend};
pub use known::Known;
pub use ledger::{Customer, Ledger, Purchase, Unit, Window, ledger};
pub use likelihood::Tally;
pub use score::{Score, Scorer, Terms, Unknown};
pub use spending::Spending;
