//! `waggle-bench cost`: reports and assumptions to a bill.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::cli::write_json;
use crate::cost::{Assumptions, CostReport, Parts, cost};
use crate::report::{Table, optional};

const KIBI: f64 = 1_024.0;

#[derive(Debug, Args)]
pub(super) struct CostArguments {
    /// A report in JSON, of `run`, `compare` or `tenants density`; may be repeated
    #[arg(long = "report", value_name = "FILE", required = true)]
    reports: Vec<PathBuf>,
    /// The target of a comparison
    #[arg(long, default_value = "waggle")]
    target: String,
    /// Bytes that a conversation takes on disk: the size of the state folder divided by its conversations
    #[arg(long)]
    conversation_bytes: Option<f64>,
    /// People online
    #[arg(long, default_value_t = 1e6)]
    users: f64,
    /// The share of them in a conversation at the moment
    #[arg(long, default_value_t = 0.1)]
    active_share: f64,
    /// Turns that each of those begins in a minute
    #[arg(long, default_value_t = 2.0)]
    turns_per_active_minute: f64,
    /// The share of the users online who hold a connection
    #[arg(long, default_value_t = 1.0)]
    connected_share: f64,
    /// How long the model streams an answer
    #[arg(long, default_value_t = 5.0)]
    answer_seconds: f64,
    /// Tenants with a warm instance on each machine
    #[arg(long, default_value_t = 1_000.0)]
    tenants: f64,
    /// Conversations kept for each user
    #[arg(long, default_value_t = 5.0)]
    conversations_per_user: f64,
    /// The part of a core's time that is planned for
    #[arg(long, default_value_t = 0.6)]
    utilisation: f64,
    /// Cores of a machine
    #[arg(long, default_value_t = 8.0)]
    machine_cores: f64,
    /// Memory of a machine that the program may use
    #[arg(long, default_value_t = 24.0)]
    machine_gib: f64,
    /// Write the report as JSON to this file, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl CostArguments {
    fn assumptions(&self) -> anyhow::Result<Assumptions> {
        let positive = [
            ("--users", self.users),
            ("--utilisation", self.utilisation),
            ("--machine-cores", self.machine_cores),
            ("--machine-gib", self.machine_gib),
        ];
        for (flag, value) in positive {
            anyhow::ensure!(value.is_finite() && value > 0.0, "{flag} {value}: it is above 0");
        }
        let shares = [
            ("--active-share", self.active_share),
            ("--connected-share", self.connected_share),
            ("--utilisation", self.utilisation),
        ];
        for (flag, value) in shares {
            anyhow::ensure!((0.0..=1.0).contains(&value), "{flag} {value}: it is from 0 to 1");
        }
        Ok(Assumptions {
            users: self.users,
            active_share: self.active_share,
            turns_per_active_minute: self.turns_per_active_minute,
            connected_share: self.connected_share,
            answer_seconds: self.answer_seconds,
            tenants: self.tenants,
            conversations_per_user: self.conversations_per_user,
            utilisation: self.utilisation,
            machine_cores: self.machine_cores,
            machine_gib: self.machine_gib,
        })
    }
}

pub(super) fn execute_cost(arguments: &CostArguments) -> anyhow::Result<String> {
    let mut parts = Parts { conversation_bytes: arguments.conversation_bytes, ..Parts::default() };
    for path in &arguments.reports {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
        parts.read(&text, &arguments.target).with_context(|| path.display().to_string())?;
    }
    let report = cost(parts, arguments.assumptions()?);
    write_json(arguments.json.as_deref(), &report)?;
    Ok(cost_table(&report))
}

fn cost_table(report: &CostReport) -> String {
    let mut table = Table::new(&["measured", ""]);
    let mut row = |name: &str, value: String| table.rows.push(vec![name.to_owned(), value]);
    let kibi = |bytes: f64| format!("{:.1} KiB", bytes / KIBI);
    let parts = &report.parts;
    row("CPU of a turn, with its store", optional(parts.turn_cpu_us, |us| format!("{us:.1} µs")));
    row("turns per core and second", optional(report.turns_per_core_second, |turns| format!("{turns:.0}")));
    row("an idle tenant", optional(parts.tenant_bytes, kibi));
    row("a kept-alive connection", optional(parts.connection_bytes, kibi));
    row("an open stream", optional(parts.stream_bytes, kibi));
    row("a conversation on disk", optional(parts.conversation_bytes, kibi));
    let measured = table.render();
    let assumed = &report.assumptions;
    let mut table = Table::new(&[&format!("{:.0} users online", assumed.users), ""]);
    let mut row = |name: &str, value: String| table.rows.push(vec![name.to_owned(), value]);
    let gib = |gib: f64| format!("{gib:.1} GiB");
    row("turns per second", format!("{:.0}", report.turns_per_second));
    row("answers being streamed", format!("{:.0}", report.open_streams));
    row("connections without a request", format!("{:.0}", report.kept_alive));
    row("cores", optional(report.cores, |cores| format!("{cores:.1}")));
    row("memory of streams and connections", gib(report.memory_gib));
    row("memory of each machine before that", gib(report.machine_base_gib));
    row("disk for conversations", optional(report.disk_gib, gib));
    let machines = format!("machines of {} cores and {} GiB", assumed.machine_cores, assumed.machine_gib);
    row(&machines, optional(report.machines, |machines| format!("{machines:.0}")));
    let mut text = format!("{measured}\n{}\n{}\n", table.render(), report.machines_because);
    if !report.not_measured.is_empty() {
        text.push_str(&format!("not measured, and missing above: {}\n", report.not_measured.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: CostArguments,
    }

    fn executed(words: &[&str]) -> anyhow::Result<String> {
        let results = concat!(env!("CARGO_MANIFEST_DIR"), "/../results/2026-11-21.json");
        let words =
            ["cost", "--report", results, "--target", "native"].into_iter().chain(words.iter().copied());
        execute_cost(&Line::parse_from(words).arguments)
    }

    #[test]
    fn the_bill_says_what_is_missing() {
        let text = executed(&["--users", "60000", "--conversation-bytes", "2048"]).unwrap();
        assert!(text.contains("60000 users online") && text.contains("2.0 KiB"), "{text}");
        assert!(
            text.contains("missing above: an idle tenant, a kept-alive connection, an open stream"),
            "{text}"
        );
    }

    #[test]
    fn assumptions_out_of_bounds_are_refused() {
        for (words, expected) in [
            (["--users", "0"], "--users 0: it is above 0"),
            (["--active-share", "1.5"], "--active-share 1.5: it is from 0 to 1"),
        ] {
            assert_eq!(executed(&words).unwrap_err().to_string(), expected);
        }
    }
}
