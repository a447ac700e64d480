//! All integration tests, in one binary; a module per capability.
#![expect(clippy::disallowed_methods, reason = "tests measure and wait in real time")]
#![expect(clippy::unwrap_used, reason = "a test may")]

mod clients;
mod ddl;
mod intake;
mod layers;
mod purchases;
mod reading;
mod semantics;
mod statements;
mod support;
mod tracking;
