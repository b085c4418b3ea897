//! The command line of the load generator: parse, run, print.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use waggle_bench::cli::{Arguments, execute};

fn main() -> ExitCode {
    match execute(Arguments::parse()) {
        Ok(output) => {
            // A closed pipe (`| head`) is no failure of the measurement.
            let _ = io::stdout().write_all(output.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "waggle-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
