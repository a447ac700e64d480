//! Who may do what: keys with scopes, and a record of who did what.
//!
//! Promises: only digests of keys are stored; a key is compared without telling by the time it takes how much of it was right; every
//! deed is written to `audit` in its own transaction. Owns `api_key` and `audit`.

mod audit;
pub mod key;
mod principal;
mod service;
mod store;

pub use audit::{note_deed, record_deed, redact_deeds};
pub use principal::{Actor, Principal, Scope};
pub use service::{AccessError, Keyring, NewKey, NewKeyAnswer, create, revoke};
pub use store::keys;
