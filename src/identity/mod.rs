//! Who is this? Records, the values by which people are recognised, and which record showed which value.
//!
//! Promises: records never move; replay changes nothing; a value belongs to at most one customer at a time; every merge has a recorded
//! reason and can be taken back; an id once handed out resolves for ever.
//! `rules` says which values recognise people and how; `place` decides, as a pure function, which records are one customer; `scene` is
//! the shell around it, which locks and loads what a batch can touch and answers what placing changed; `decision` is what is recorded.
//! Owns `record`, `identifier`, `link`, `identity_decision`, `decision_record`, `held_item`, `identity_rules`. Leaves to others: which
//! values survive (`customer`) and the commit (`pipeline`).

pub mod because;
pub mod decision;
mod directory;
pub mod explain;
mod model;
mod normalise;
pub mod place;
pub mod rules;
pub mod scene;
pub mod store;
mod traits;

pub use directory::{RulesDirectory, StandingRules};
pub use model::{Identifier, NewLink, NewRecord, Record, Shown};
pub use normalise::folded;
pub use rules::{Rules, Verdict};
pub use scene::{Difference, Scene, Seeds};
pub use traits::{RecordTraits, Stated, says_nothing};
