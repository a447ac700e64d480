//! Every statement of customers, events, purchases and products.

mod customers;
mod events;
pub mod listing;
pub mod parts;
mod purchases;
pub mod whole;
mod window;

pub use customers::{customer_ids_after, customers, delete_customers, insert_customers, stored_customers, update_customers};
pub use events::{EventFilter, NewEvent, events, insert_events, seen, stored_events, timeline_events};
pub(super) use purchases::{
    LineRow, ProductRow, PurchaseRow, insert_refunds, purchase_rows, refunds, replace_lines, upsert_products, upsert_purchases,
};
pub use purchases::{lines, products, purchases, timeline_purchases};
pub use window::{TimelineKey, TimelineWindow};

use crate::store::Rows;
use sea_orm::{DbBackend, Value};
use uuid::Uuid;

/// Keys of (record, id) as a table `v` to join with, and its parameters.
fn pairs(backend: DbBackend, keys: impl Iterator<Item = (Uuid, Uuid)>) -> (String, Vec<Value>) {
    let (records, ids): (Vec<_>, Vec<_>) = keys.unzip();
    Rows::new().id("record_id", records).id("id", ids).relation(backend)
}
