//! Files as a door: rows of CSV and NDJSON become the messages that `recordsIngest` or the tracking API would make of them. No
//! database; the only I/O is reading the stream that was handed in.
//!
//! Promises: memory does not grow with the file, whatever is in it; a bad row is refused with its line and never sinks its neighbours;
//! the same row of the same file makes the same message again, also when lines were added above it. Leaves to others: which file it is,
//! the commit, and what is told about it.
//!
//! `text` makes UTF-8 of a stream, `rows` cuts it, `recognise` guesses what the columns mean, `mapping` is the file in which that is
//! said, `plan` reads rows by it with the help of `cell` and `date`, `seen` counts how often a content came, `reader` puts them together.

mod cell;
mod date;
mod joined;
pub mod mapping;
mod plan;
pub mod reader;
mod recognise;
mod rows;
mod safe;
mod seen;
mod text;

pub use joined::joined;
pub use mapping::{FileKind, Mapping};
pub use plan::{RateRow, SpendRow};
pub use reader::{Entry, FileReader, Format, Opening, RowRefused};
pub use safe::{guarded, unguarded};
pub use seen::Seen;
pub use text::Encoding;

/// Why a whole file cannot be read: its form or its mapping, not one of its rows.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    #[error("{0}")]
    Invalid(String),
    #[error("reading the file")]
    Read(#[from] std::io::Error),
}

impl FileFault {
    fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }
}
