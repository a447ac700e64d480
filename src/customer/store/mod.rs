//! Every statement of customers, events, purchases and products.

mod buyers;
mod consents;
mod customers;
pub mod erased;
mod events;
pub mod listing;
pub mod orders;
mod products;
mod purchases;
mod refunds;
pub mod standing;
pub mod whole;

pub use buyers::{Bought, buyers_among, count_all, first_order_at, records_that_bought};
pub use consents::{consent_lane, consents, consents_of, insert_consents, preferences_since, read_consent};
pub use customers::{customer_ids_after, customers, delete_customers, insert_customers, stored_customers, update_customers};
pub use events::{EventFilter, NewEvent, event_lane, events, insert_events, read_event, seen, stored_events};
pub use products::products;
pub(super) use products::{ProductRow, upsert_products};
pub(super) use purchases::{LineRow, PurchaseRow, prices, prices_of, purchase_rows, replace_lines, upsert_purchases};
pub use purchases::{lines, purchase_lane, purchases, read_purchase};
pub(super) use refunds::{insert_refunds, pieces_json, refunds};

use crate::store::Rows;
use sea_orm::{DbBackend, Value};
use uuid::Uuid;

/// Keys of (record, id) as a table `v` to join with, and its parameters.
fn pairs(backend: DbBackend, keys: impl Iterator<Item = (Uuid, Uuid)>) -> (String, Vec<Value>) {
    let (records, ids): (Vec<_>, Vec<_>) = keys.unzip();
    Rows::new().id("record_id", records).id("id", ids).relation(backend)
}
