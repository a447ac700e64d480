//! One customer: golden values, what they did and what they bought.
//!
//! Promises: golden values are a pure function of records; events and purchases hang off the record for ever; an order's money is
//! counted once however often it is reported, in whatever order the reports arrive.
//! Owns `customer`, `consent`, `event`, `purchase`, `purchase_line`, `refund`, `product`.

pub mod consent;
pub mod folding;
mod golden;
pub mod listing;
mod model;
mod names;
mod order;
pub mod purchases;
pub mod recount;
mod standing;
pub mod store;
mod summary;
mod survive;

pub use golden::{Golden, changes};
pub use model::{Customer, Event, EventKey, Product, Purchase, PurchaseKey, PurchaseLine};
pub use summary::{PurchaseSummary, Totals, money};
pub use survive::{Account, Alternative, Spoken, Survivor, Survivorship};
