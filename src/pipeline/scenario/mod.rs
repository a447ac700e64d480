//! Scenarios: small histories of records and decisions, with the customers they must end in. How a company tests its rules.
//!
//! `format` reads a file of them, `run` drives one through the same verbs as the doors of a server, `compare` names the differences.
//! Promises: no rule of its own, so whatever a scenario shows a server does too; a mistake in one scenario is said with its path and
//! leaves the others alone. Leaves to others: the empty store each scenario runs on.

mod compare;
mod consents;
mod fields;
mod format;
mod run;

pub use compare::{Answers, differences};
pub use consents::{Answer, Asked, state_name};
pub use fields::Fault;
pub use format::{Deed, Expected, Lookup, Read, Redirect, Scenario, Step, read};
pub use run::{moment, run, start};

#[cfg(test)]
mod tests;
