//! Scenarios: small histories of records and decisions, with the customers they must end in. How a company tests its rules.
//!
//! `format` reads a file of them, `run` drives one through the same verbs as the doors of a server, `compare` names the differences.
//! Promises: no rule of its own, so whatever a scenario shows a server does too; a mistake in one scenario is said with its path and
//! leaves the others alone. Leaves to others: the empty store each scenario runs on.
//!
//! Stories are the second format (`story`): given, when, then, with `steps` and `checks` that are added word by word (`feed_steps` are those
//! that read the change log); `play` plays them. A story with a word that this version does not know is not played.

mod checks;
mod compare;
mod consents;
mod feed_steps;
mod fields;
mod format;
mod play;
mod run;
mod stages;
mod steps;
mod story;

pub use compare::{Answers, differences};
pub use consents::{Answer, Asked, state_name};
pub use fields::Fault;
pub use format::{Deed, Expected, Lookup, Read, Redirect, Scenario, Step, read};
pub use play::play;
pub use run::{moment, run, start};
pub use story::{ReadStory, STORIES, Story, Unread, is_of_stories, read_stories};

#[cfg(test)]
mod tests;
