//! Tributary's tables as sea-orm entities, and the closed sets stored in them. No queries, no GraphQL.
//!
//! Instants are microseconds since 1970 UTC, money is minor units, JSON columns are read by value. A test holds every entity
//! against the migrated schema of both databases.

pub mod kinds;

pub mod activity;
pub mod api_key;
pub mod audit;
pub mod change;
pub mod change_tx;
pub mod consent;
pub mod customer;
pub mod customer_value;
pub mod decision_record;
pub mod due;
pub mod event;
pub mod event_definition;
pub mod exchange_rate;
pub mod held_item;
pub mod identifier;
pub mod identity_decision;
pub mod identity_rules;
pub mod installation;
pub mod job;
pub mod link;
pub mod metric_change;
pub mod product;
pub mod purchase;
pub mod purchase_line;
pub mod record;
pub mod refund;
pub mod rejected_item;
pub mod source;
pub mod spend;
pub mod trait_definition;
pub mod value_model;

pub use kinds::*;
