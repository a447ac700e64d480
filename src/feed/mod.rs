//! The change log: the only carrier of news.
//!
//! Promises: whatever a transaction changed is in the log by the same commit; a transaction's rows are one block under its id, and its
//! `change_tx` row is the last statement before the commit, so that order of the log is order of cause.
//! Readers, wake-ups and retention are to come; whoever writes is unaffected by them.

mod append;
mod redact;
mod within;

pub use append::{Change, Log, TransactionId};
pub use redact::{redact_all, redact_customers};
pub use within::customers_of_transaction;
