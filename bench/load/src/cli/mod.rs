//! The command line: flags to configurations, reports to text and JSON.

mod compare;
mod cost;
mod keys;
mod plot;
mod run;
mod saturate;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

use crate::cli::compare::{CompareArguments, execute_compare};
use crate::cli::cost::{CostArguments, execute_cost};
use crate::cli::keys::{KeysArguments, execute_keys};
use crate::cli::plot::{PlotArguments, execute_plot};
use crate::cli::run::{RunArguments, execute_run};
use crate::cli::saturate::{SaturateArguments, execute_saturate};
use crate::tenants::arguments::{TenantsArguments, execute as execute_tenants, prepare};

/// Drives clients against a server and reports throughput, latency, errors, CPU and memory.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Subject,
}

#[derive(Debug, Subcommand)]
enum Subject {
    /// One server, one scenario
    Run(RunArguments),
    /// Several servers in turns, with ratios to a baseline
    Compare(CompareArguments),
    /// One server at higher and higher rates, until answers come too late or not at all
    Saturate(SaturateArguments),
    /// A report as a picture
    Plot(PlotArguments),
    /// From reports, what a number of people online would take
    Cost(CostArguments),
    /// API keys and the tenants.toml they belong to, for scenarios with many tenants
    Keys(KeysArguments),
    /// Tenants: what they notice of each other, how many fit, what recognising them costs
    Tenants(TenantsArguments),
}

#[derive(Debug, Args)]
struct Output {
    /// Write the report as JSON to this file, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Threads of the load generator; one leaves the other cores to the server
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// What is said alike of a run and of each round of a comparison.
#[derive(Debug, Args)]
struct CommonArguments {
    /// Closed-loop clients, each with a connection of its own [default: 32]
    #[arg(long)]
    clients: Option<u32>,
    /// Length of the measured window [default: 10; of a round in a comparison: 5]
    #[arg(long)]
    seconds: Option<f64>,
    /// Load without measuring before it [default: 2; before a round in a comparison: 1]
    #[arg(long)]
    warm_up_seconds: Option<f64>,
    /// Turns a conversation of turn-history holds beforehand [default: 10]
    #[arg(long)]
    history: Option<u32>,
    /// Turns in a conversation before a new one is taken [default: 10]
    #[arg(long)]
    turns_per_conversation: Option<u32>,
    /// Requests per second in an open loop, whatever the server answers; without it each client asks when it has its
    /// answer
    #[arg(long)]
    rate: Option<f64>,
    /// Check that each answer echoes its own input, as model-sim's do
    #[arg(long)]
    expect_echo: bool,
}

/// Does what the command line asks for and returns what is to be printed.
///
/// # Errors
/// What the run or the comparison could not do, or a JSON file that cannot be written.
pub fn execute(arguments: Arguments) -> anyhow::Result<String> {
    match arguments.command {
        Subject::Run(arguments) => execute_run(arguments),
        Subject::Compare(arguments) => execute_compare(arguments),
        Subject::Saturate(arguments) => execute_saturate(arguments),
        Subject::Plot(arguments) => execute_plot(&arguments),
        Subject::Cost(arguments) => execute_cost(&arguments),
        Subject::Keys(arguments) => execute_keys(&arguments),
        Subject::Tenants(arguments) => {
            prepare(&arguments);
            let told = runtime(1)?.block_on(execute_tenants(arguments))?;
            if let Some((path, report)) = &told.json {
                write_json(Some(path), report)?;
            }
            Ok(told.text)
        }
    }
}

/// How many tasks run before sockets and timers are looked at again: few, so that a request that is due does not wait
/// for the answers of many others to be read.
const TASKS_BETWEEN_POLLS: u32 = 16;

fn runtime(threads: usize) -> anyhow::Result<Runtime> {
    let mut builder = match threads {
        0 | 1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    let built = builder.enable_all().event_interval(TASKS_BETWEEN_POLLS).build();
    built.context("could not start the threads")
}

fn write_json(path: Option<&Path>, report: &impl serde::Serialize) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    let text = serde_json::to_string_pretty(report).context("the report does not fit JSON")?;
    std::fs::write(path, text + "\n").with_context(|| format!("could not write {}", path.display()))
}
