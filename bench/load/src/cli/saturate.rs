//! `waggle-bench saturate`: the rates, and the curve as a table.

use std::io::Write as _;

use clap::Args;

use crate::cli::run::LoadArguments;
use crate::cli::{Output, runtime, write_json};
use crate::report::{mebibytes, microseconds, optional, saturation_table};
use crate::saturate::{SaturateConfig, SaturationPoint, saturate};

const MILLISECOND_US: f64 = 1_000.0;

#[derive(Debug, Args)]
pub(super) struct SaturateArguments {
    #[command(flatten)]
    load: LoadArguments,
    /// The first rate, in requests per second
    #[arg(long, default_value_t = 100.0)]
    rate_from: f64,
    /// Each rate is this many times the one before
    #[arg(long, default_value_t = 1.5)]
    factor: f64,
    /// No rate above this is tried
    #[arg(long, default_value_t = 200_000.0)]
    rate_max: f64,
    /// The server is saturated when the 99th percentile is over this, in milliseconds
    #[arg(long, default_value_t = 50.0)]
    p99_ms_max: f64,
    #[command(flatten)]
    output: Output,
}

pub(super) fn execute_saturate(arguments: SaturateArguments) -> anyhow::Result<String> {
    let SaturateArguments { load, rate_from, factor, rate_max, p99_ms_max, output } = arguments;
    let run = load.config(load.file()?.as_ref())?;
    let config = SaturateConfig { run, rate_from, factor, rate_max, p99_us_max: p99_ms_max * MILLISECOND_US };
    let saturation = runtime(output.threads)?.block_on(saturate(&config, tell))?;
    write_json(output.json.as_deref(), &saturation)?;
    Ok(saturation_table(&saturation))
}

/// Says how far it is, for people who wait.
fn tell(point: &SaturationPoint) {
    let _ = writeln!(
        std::io::stderr(),
        "{:.0} per second: p50 {}, p99 {}, {} bad, CPU per request {}, {}",
        point.rate,
        microseconds(point.latency.p50_us),
        microseconds(point.latency.p99_us),
        point.bad,
        optional(point.cpu_us_per_request, microseconds),
        mebibytes(point.rss_bytes)
    );
}
