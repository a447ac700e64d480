//! The change log: the only carrier of news.
//!
//! Promises: whatever a transaction changed is in the log by the same commit; a transaction's rows are one block under its id, and its
//! `change_tx` row is the last statement before the commit, so that order of the log is order of cause. A reader that goes on from its
//! cursor sees every later change once.
//! Owns `change`, `change_tx`, `consumer`.
//!
//! `append` writes; `stamp` gives positions on PostgreSQL; `read` answers rows behind a place, of which `ring` keeps the latest; `reader`
//! is one reader on its way, with its filter, and `tail` one that stays; `cursor` is a place as clients keep it; `consumer` keeps places of named readers;
//! `retention` lets old rows go; `wake` passes the word between instances. The loops that run them are in `worker`.

mod append;
pub mod consumer;
pub mod cursor;
mod read;
mod reader;
mod redact;
pub mod retention;
mod ring;
mod row;
mod stamp;
mod tail;
mod wake;
mod within;

pub use append::{Change, Log, TransactionId};
pub use cursor::Place;
pub use read::{Bounds, Feed, FeedError, Start};
pub use reader::{Batch, EVENT_FIELDS, Entry, Filter, Follow, Reader};
pub use redact::{redact_all, redact_customers};
pub use retention::Retention;
pub use row::{Body, Row};
pub use stamp::Stamper;
pub use tail::Tail;
pub use wake::Wake;
pub use within::customers_of_transaction;
