//! Who may do what: keys with scopes, and a record of who did what.
//!
//! Promises: only digests of keys and public halves of pairs are stored; a key is compared without telling by the time it takes how much of it was right; every
//! deed is written to `audit` in its own transaction. Owns `api_key` and `audit`.

mod audit;
pub mod key;
pub mod mask;
mod origin;
mod principal;
mod service;
mod store;
pub mod token;

pub use audit::{note_deed, note_deeds, record_deed, redact_deeds};
pub use principal::{Actor, Principal, Scope, Subject};
pub use service::{AccessError, Holder, Keyring, NewKey, NewKeyAnswer, create, revoke};
pub use store::{deeds, keys};
