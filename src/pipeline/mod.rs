//! The story across features, and the only place that calls several of them.
//!
//! `intake` turns accepted messages into records, events, purchases and customers in one commit; `queue` groups what arrives together
//! into one such commit; `records` takes what servers send of many people at once; `mend` carries out what people decide
//! about who is who; `unify` lets customers follow their records, and `golden` knows which of their values that touches;
//! `consents` keeps what people answered to being spoken to;
//! `erase` lets a person go, and the history of the others stay;
//! `rules` publishes other rules and says beforehand what they would change; `scenario` plays small histories through these verbs and compares what became of them, for who tests rules;
//! `refresh` looks again at whoever is due, and marks who is;
//! `dispatch` hands every change to whoever acts on it;
//! `rebuild` folds all of it again and compares;
//! `changes` tells readers of the log who a customer is today;
//! `timeline` puts what the features know of a customer into one list; `jobs` names what is done in the background.

pub mod changes;
pub mod consents;
pub mod dispatch;
pub mod erase;
mod golden;
pub mod import;
pub mod intake;
pub mod jobs;
pub mod lists;
pub mod mend;
pub mod models;
pub mod preview;
pub mod queue;
pub mod rebuild;
pub mod records;
pub mod refresh;
pub mod rules;
pub mod scenario;
mod services;
pub mod timeline;
pub mod unify;
pub mod view;
pub mod worth;

pub use services::Services;
