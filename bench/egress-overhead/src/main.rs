//! What the egress adds to a call of a model: the same call made directly and through each of its layers, to one simulated
//! model, in one run.
//!
//! The ways take turns in blocks (ABCD, BCDA, …), so that what changes on the machine in the course of a run meets all of them.
//! The model has a thread of its own, and the caller another: the CPU time told is the caller's alone.

mod measure;
mod report;
mod way;

use crate::measure::{Mode, Plan, measure};
use crate::report::Report;
use crate::way::Ways;
use anyhow::Context as _;
use clap::Parser;
use model_sim::{SimConfig, Simulator};
use std::io::Write as _;
use std::net::SocketAddr;
use std::thread;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

/// Measures what the egress adds to a call of a model.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Calls of each way and kind of answer
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    calls: u32,
    /// Calls of one way before the next one has its turn
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    block: u32,
    /// Bytes of text in the prompt
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    prompt_bytes: u32,
    /// Only these ways; all by default
    #[arg(long, value_delimiter = ',')]
    ways: Vec<way::Way>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let model = start_model()?;
    let plan = Plan {
        calls: arguments.calls,
        block: arguments.block,
        ways: if arguments.ways.is_empty() { way::Way::ALL.to_vec() } else { arguments.ways },
    };
    let ways = Ways::new(model, arguments.prompt_bytes as usize)?;
    let mut measured = Vec::new();
    for mode in Mode::ALL {
        measured.extend(runtime()?.block_on(measure(&ways, mode, &plan))?);
    }
    let report = Report::new(&plan, arguments.prompt_bytes, measured);
    let text = if arguments.json { serde_json::to_string_pretty(&report)? } else { report.table() };
    writeln!(std::io::stdout(), "{text}")?;
    Ok(())
}

/// All of it on one thread, so that its CPU time is that of the calls.
fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("no runtime")
}

/// Starts the simulated model in a thread of its own, which ends with the process.
fn start_model() -> anyhow::Result<SocketAddr> {
    let (tell, told) = oneshot::channel();
    let serve = move || -> anyhow::Result<()> {
        runtime()?.block_on(async {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
            let config = SimConfig { recorded_requests_max: 0, ..SimConfig::default() };
            // Nobody waits any more if the caller has gone.
            let _ = tell.send(listener.local_addr()?);
            Simulator::new(config).serve(listener, std::future::pending()).await;
            Ok(())
        })
    };
    thread::Builder::new().name("model".to_owned()).spawn(serve)?;
    told.blocking_recv().context("the simulated model did not start")
}
