//! All integration tests, in one binary; a module per capability.
#![expect(clippy::disallowed_methods, reason = "tests measure and wait in real time")]
#![expect(clippy::unwrap_used, reason = "a test may")]

mod layers;
mod semantics;
mod support;
