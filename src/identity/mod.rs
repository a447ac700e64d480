//! Who is this? Records, the values by which people are recognised, and which record showed which value.
//!
//! Promises: records never move; an id once handed out resolves for ever; replay changes nothing. For now one record is one customer:
//! an identifier belongs to the customer of the record that showed it first.
//! `rules` says which values recognise people and how; `place` decides, as a pure function, which records are one customer. Intake uses
//! the rules today; placing joins it with the identity shell.
//! Owns `record`, `identifier`, `link`. Leaves to others: which values survive (`customer`) and the commit (`pipeline`).

mod model;
mod normalise;
pub mod place;
pub mod rules;
pub mod store;
mod traits;

pub use model::{Identifier, NewLink, NewRecord, Record};
pub use rules::{Rules, Verdict};
pub use traits::{RecordTraits, Stated};
