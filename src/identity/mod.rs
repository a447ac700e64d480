//! Who is this? Records, the values by which people are recognised, and which record showed which value.
//!
//! Promises: records never move; an id once handed out resolves for ever; replay changes nothing. For now one record is one customer:
//! an identifier belongs to the customer of the record that showed it first.
//! Owns `record`, `identifier`, `link`. Leaves to others: which values survive (`customer`) and the commit (`pipeline`).

mod model;
pub mod normalise;
pub mod store;
mod traits;

pub use model::{Identifier, NewLink, NewRecord, Record};
pub use traits::{RecordTraits, Stated};
