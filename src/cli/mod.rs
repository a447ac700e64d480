//! The command line: one binary, many roles.

mod commands;
mod demo;
pub mod server;
pub mod settings;
mod telemetry;

pub use commands::{Cli, run};
