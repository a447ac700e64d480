//! The doors of data: which sources there are, how each channel's format becomes one shape, what was refused, which names were seen.
//!
//! Promises: a bad item never sinks its batch; what is refused is listed with its reason and its field; nothing the sender said is lost.
//! Owns `source`, `rejected_item`, `trait_definition`, `event_definition`. Leaves to others: whose record it is (`identity`), events and
//! purchases (`customer`), the commit (`pipeline::intake`).

pub mod body;
pub mod catalogue;
pub mod classify;
mod commerce;
pub mod consent;
pub mod file;
pub mod item;
pub mod json;
pub mod message;
pub mod prune;
pub mod reserved;
pub mod segment;
pub mod source;
pub mod store;
mod time;
pub mod traits;

pub use body::{Arrival, Body, BodyFault, Limits, RefusedItem};
pub use catalogue::{Catalogue, Sightings};
pub use commerce::order_report;
pub use item::Item;
pub use message::Message;
pub use source::SourceDirectory;
pub use store::{Rejection, insert_rejected};

/// Parses an item's stored text as strictly as intake does; `None` when it could not be read then either.
pub fn readable_payload(text: &str) -> Option<serde_json::Value> {
    json::parse(text).ok()
}
