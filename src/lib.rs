//! Tributary: an open-source customer-data platform. Many channels flow in; one customer flows out, over GraphQL.
//!
//! The flow, in the order of the modules. A channel sends messages to a door of `http`. `ingest` knows the sources, reads each item
//! strictly and turns it into one shape; what it refuses is listed with its reason. `pipeline::queue` groups what arrives together, and
//! `pipeline::intake` stores a group in one transaction: deduplicated events, records and their identifiers (`identity`), golden
//! values and purchases (`customer`), and the change log (`feed`), the only carrier of news. After the commit the senders are answered.
//! `value` is the statistics of what customers are worth, so far for the command line only. Whoever reads asks `graphql`, with a key that
//! `access` knows. `store` opens SQLite or PostgreSQL and makes them alike; `base` holds the words everyone speaks: instants, ids, money,
//! pages. Whoever has changed is `due`, and `pipeline::refresh` looks at them again. Work that outlives a request is a row of `job`; `worker` runs what nobody waits for, `cli` puts everything together.
//!
//! A module uses lower ranks only; `tests/it/layers.rs` is the diagram.

pub mod base;
pub mod store;

pub mod access;
pub mod due;
pub mod feed;
pub mod job;

pub mod ingest;

pub mod identity;

pub mod customer;

pub mod value;

pub mod pipeline;

pub mod graphql;

pub mod http;
pub mod worker;

pub mod cli;
