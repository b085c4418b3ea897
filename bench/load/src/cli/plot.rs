//! `waggle-bench plot`: a report to a picture.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::plot::Report;

#[derive(Debug, Args)]
pub(super) struct PlotArguments {
    /// A report in JSON, of `run`, `compare` or `saturate`
    report: PathBuf,
    /// Where the picture is written; the report's name with `.svg` unless given
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

pub(super) fn execute_plot(arguments: &PlotArguments) -> anyhow::Result<String> {
    let path = &arguments.report;
    let text = std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
    let report = Report::parse(&text).with_context(|| format!("{} cannot be drawn", path.display()))?;
    let svg = arguments.svg.clone().unwrap_or_else(|| path.with_extension("svg"));
    std::fs::write(&svg, report.draw()).with_context(|| format!("could not write {}", svg.display()))?;
    Ok(format!("{}\n", svg.display()))
}
