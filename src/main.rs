//! The binary: hands the command line to `tributary::cli`.

use clap::Parser as _;
use std::process::ExitCode;
use tributary::cli::{Cli, RowsRefused, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tributary: {error:#}");
            match error.is::<RowsRefused>() {
                true => ExitCode::from(3),
                false => ExitCode::FAILURE,
            }
        }
    }
}
