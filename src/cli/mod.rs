//! The command line: one binary, many roles.

/// Prints a line. Unlike `println!` it does not panic when nobody reads any more: `tributary key create | head -1` has made its key.
macro_rules! say {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($argument)*);
    }};
}
mod commands;
mod demo;
mod rebuild;
mod rules;
mod scratch;
pub mod server;
pub mod settings;
mod telemetry;
mod test;

pub use commands::{Cli, run};
