//! The command line: one binary, many roles.

/// Prints a line. Unlike `println!` it does not panic when nobody reads any more: `tributary key create | head -1` has made its key.
macro_rules! say {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($argument)*);
    }};
}
/// The same for standard error.
macro_rules! complain {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($argument)*);
    }};
}
mod backup;
mod commands;
pub mod demo;
mod doctor;
mod erasures;
mod export;
mod import;
mod keys;
mod rebuild;
mod rules;
mod scratch;
pub mod server;
pub mod settings;
mod sources;
mod telemetry;
mod test;
mod value;
mod worth;

pub use commands::{Cli, run};
pub use import::RowsRefused;
