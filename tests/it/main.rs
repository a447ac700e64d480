//! All integration tests, in one binary; a module per capability.
#![expect(clippy::disallowed_methods, reason = "tests measure and wait in real time")]
#![expect(clippy::unwrap_used, reason = "a test may")]

mod access;
mod clients;
mod consents;
mod crash;
mod crowd;
mod ddl;
mod decisions;
mod demo;
mod doors;
mod erasure;
mod files;
mod frontends;
mod gate;
mod golden;
mod histories;
mod intake;
mod jobs;
mod layers;
mod lists;
mod operations;
mod precision;
mod pressure;
mod purchases;
mod reading;
mod rebuild;
mod records;
mod rules;
mod scenarios;
mod schema;
mod semantics;
mod sockets;
mod statements;
mod streams;
mod summary;
mod support;
mod timeline;
mod tracking;
mod view;
mod web;
