//! The tables: one for a run, one per scenario for a comparison.

use std::fmt::Write as _;

use crate::arrivals::Arrivals;
use crate::compare::{Compared, Comparison};
use crate::idle::{Held, IdleReport};
use crate::measurement::{Latency, RunReport};
use crate::open_tally::OpenReport;
use crate::saturate::{Saturation, SaturationStop};

/// A table of cells; the first column stands left, the others right.
pub(crate) struct Table {
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    pub(crate) fn render(&self) -> String {
        const GAP: &str = "  ";
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|at| self.rows.iter().filter_map(|row| row.get(at)).map(|c| c.chars().count()).max())
            .map(|width| width.unwrap_or(0))
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .enumerate()
                .map(
                    |(at, (cell, width))| {
                        if at == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                    },
                )
                .collect();
            text.push_str(cells.join(GAP).trim_end());
            text.push('\n');
        }
        text
    }
}

pub(crate) fn microseconds(value: f64) -> String {
    match value {
        v if v < 1_000.0 => format!("{v:.0} µs"),
        v if v < 1_000_000.0 => format!("{:.2} ms", v / 1e3),
        v => format!("{:.2} s", v / 1e6),
    }
}

pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}

pub(crate) fn latency_row(name: &str, latency: &Latency) -> Vec<String> {
    let mut row = vec![name.to_owned()];
    let values =
        [latency.mean_us, latency.p50_us, latency.p90_us, latency.p99_us, latency.p999_us, latency.max_us];
    row.extend(values.map(microseconds));
    row
}

/// The table of one run.
pub(crate) fn run_table(report: &RunReport) -> String {
    let load = match &report.open {
        Some(open) => {
            format!("open loop, {} arrivals, {} connections", arrivals_name(open.arrivals), open.connections)
        }
        None => format!("{} clients", report.clients),
    };
    let mut text = format!(
        "{} at {}: {load}, {:.1} s\n{:.0} requests per second, {} good, {} failed, {} to prepare\n\n",
        report.scenario,
        report.url,
        report.seconds,
        report.requests_per_second,
        report.requests,
        report.error_count(),
        report.setup_requests,
    );
    let mut latencies = Table::new(&["", "mean", "p50", "p90", "p99", "p99.9", "max"]);
    latencies.rows.push(latency_row("whole answer", &report.latency));
    if let Some(first) = &report.first_delta {
        latencies.rows.push(latency_row("first delta", first));
    }
    if let Some(open) = &report.open {
        latencies.rows.push(latency_row("since it was sent", &open.service));
        latencies.rows.push(latency_row("due until sent", &open.send_lag));
    }
    text.push_str(&latencies.render());
    if let Some(open) = &report.open {
        text.push_str(&open_part(open));
    }
    if !report.servers.is_empty() {
        text.push_str(&costs(report));
    }
    let _ = writeln!(
        text,
        "\nthe load generator itself: {:.1} µs CPU per request",
        report.generator_cpu_us_per_request
    );
    for (kind, count) in &report.errors {
        let _ = writeln!(text, "failed: {count} x {kind}");
    }
    text
}

fn costs(report: &RunReport) -> String {
    let mut costs = Table::new(&["process", "CPU s", "CPU per request", "resident", "end to begin"]);
    costs.rows.extend(report.servers.iter().map(|server| {
        vec![
            format!("{} ({})", server.name, server.pid),
            format!("{:.2}", server.cpu_seconds),
            format!("{:.1} µs", server.cpu_us_per_request),
            mebibytes(server.rss_bytes),
            optional(server.rss_growth, |growth| format!("{growth:.3}")),
        ]
    }));
    format!("\n{}", costs.render())
}

/// The curve of a saturation.
pub(crate) fn saturation_table(saturation: &Saturation) -> String {
    let mut table = Table::new(&[
        "rate",
        "good per s",
        "bad",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "CPU/req",
        "resident",
        "generator/req",
    ]);
    for point in &saturation.points {
        let mut row = vec![format!("{:.0}", point.rate), format!("{:.0}", point.good_per_second)];
        row.push(point.bad.to_string());
        let latency = &point.latency;
        row.extend([latency.p50_us, latency.p90_us, latency.p99_us, latency.p999_us].map(microseconds));
        row.push(optional(point.cpu_us_per_request, |us| format!("{us:.1} µs")));
        row.push(mebibytes(point.rss_bytes));
        row.push(format!("{:.1} µs", point.generator_cpu_us_per_request));
        table.rows.push(row);
    }
    let why = match saturation.stop {
        SaturationStop::TooSlow => "then p99 was over its bound",
        SaturationStop::Errors => "then requests failed or could not be sent",
        SaturationStop::RateMax => "and no higher rate was to be tried",
    };
    format!(
        "{} at {}, p99 within {}\n\n{}\nkept: {} requests per second; {why}\n",
        saturation.scenario,
        saturation.url,
        microseconds(saturation.p99_us_max),
        table.render(),
        optional(saturation.rate_kept, |rate| format!("{rate:.0}"))
    )
}

/// The table of held connections.
pub(crate) fn idle_table(report: &IdleReport) -> String {
    let what = match report.held {
        Held::KeptAlive => "kept-alive connections",
        Held::Stream => "open streams",
    };
    let mut text = format!(
        "{} at {}: {} {what} wanted, {} held for {:.0} s, {} there in the end\nmade in {:.1} s\n\n",
        report.scenario,
        report.url,
        report.wanted,
        report.established,
        report.hold_seconds,
        report.alive,
        report.connect_seconds
    );
    let mut latencies = Table::new(&["", "mean", "p50", "p90", "p99", "p99.9", "max"]);
    latencies.rows.push(latency_row("first answer", &report.first_answer));
    latencies.rows.push(latency_row("hello before", &report.beside_before));
    latencies.rows.push(latency_row("hello beside", &report.beside_held));
    text.push_str(&latencies.render());
    if !report.servers.is_empty() {
        let mut costs = Table::new(&["process", "before", "held", "after", "per connection", "CPU s held"]);
        costs.rows.extend(report.servers.iter().map(|server| {
            let mut row = vec![format!("{} ({})", server.name, server.pid)];
            let memory = [server.rss_bytes_before, server.rss_bytes_held, server.rss_bytes_after];
            row.extend(memory.map(mebibytes));
            row.push(format!("{:.1} KiB", server.bytes_per_connection / 1_024.0));
            row.push(format!("{:.2}", server.cpu_seconds_held));
            row
        }));
        let _ = write!(text, "\n{}", costs.render());
    }
    for (kind, count) in &report.errors {
        let _ = writeln!(text, "failed: {count} x {kind}");
    }
    text
}

fn arrivals_name(arrivals: Arrivals) -> &'static str {
    match arrivals {
        Arrivals::Uniform => "uniform",
        Arrivals::Poisson => "poisson",
    }
}

/// What was due and did not go out in time, and the steps if there are several.
fn open_part(open: &OpenReport) -> String {
    let mut text = format!(
        "\n{} were due: {} not sent, {} sent more than 1 ms late\n",
        open.offered, open.not_sent, open.sent_late
    );
    if open.steps.len() < 2 {
        return text;
    }
    let header = [
        "step", "per s", "seconds", "due", "good", "failed", "not sent", "p50", "p90", "p99", "p99.9", "max",
    ];
    let mut table = Table::new(&header);
    for (at, step) in open.steps.iter().enumerate() {
        let mut row = vec![(at + 1).to_string(), format!("{:.0}", step.rate), format!("{:.1}", step.seconds)];
        row.extend([step.offered, step.good, step.failed, step.not_sent].map(|count| count.to_string()));
        let latency = &step.latency;
        let times = [latency.p50_us, latency.p90_us, latency.p99_us, latency.p999_us, latency.max_us];
        row.extend(times.map(microseconds));
        table.rows.push(row);
    }
    let _ = write!(text, "\n{}", table.render());
    text
}

/// The tables of a comparison, a block per scenario.
pub(crate) fn comparison_table(comparison: &Comparison) -> String {
    let mut text = String::new();
    let mut rest = comparison.results.as_slice();
    while let Some(first) = rest.first() {
        let scenario = &first.report.scenario;
        let end = rest.iter().position(|r| r.report.scenario != *scenario).unwrap_or(rest.len());
        let (block, after) = rest.split_at(end);
        let _ = writeln!(
            text,
            "{}: {}, {} rounds, {:.0} s each target; ratios to {}",
            scenario,
            match &first.report.open {
                Some(open) => format!("open loop, {} arrivals", arrivals_name(open.arrivals)),
                None => format!("{} clients", first.report.clients),
            },
            comparison.rounds,
            first.report.seconds,
            comparison.baseline
        );
        text.push_str(&scenario_table(block));
        text.push('\n');
        rest = after;
    }
    text
}

fn scenario_table(block: &[Compared]) -> String {
    let streams = block.iter().any(|compared| compared.report.first_delta.is_some());
    let mut header = vec!["target", "per s", "p50", "p90", "p99", "p99.9"];
    if streams {
        header.extend(["first p50", "first p99"]);
    }
    header.extend([
        "failed",
        "CPU/req",
        "+store",
        "resident",
        "x per s",
        "x per CPU s",
        "x +store",
        "x p50",
        "x p99",
    ]);
    let mut table = Table::new(&header);
    for compared in block {
        let report = &compared.report;
        let mut row = vec![compared.target.clone(), format!("{:.0}", report.requests_per_second)];
        let latency = &report.latency;
        row.extend([latency.p50_us, latency.p90_us, latency.p99_us, latency.p999_us].map(microseconds));
        if streams {
            let first = report.first_delta;
            row.push(optional(first.map(|f| f.p50_us), microseconds));
            row.push(optional(first.map(|f| f.p99_us), microseconds));
        }
        // What was due and never sent has failed, too.
        let not_sent = report.open.as_ref().map_or(0, |open| open.not_sent);
        row.push((report.error_count() + not_sent).to_string());
        row.push(optional(compared.server_cpu_us, |us| format!("{us:.1} µs")));
        row.push(optional(compared.total_cpu_us, |us| format!("{us:.1} µs")));
        row.push(mebibytes(report.servers.iter().filter(|s| s.name == "server").map(|s| s.rss_bytes).sum()));
        let ratio = &compared.ratio;
        let ratios =
            [ratio.throughput, ratio.per_cpu_second, ratio.per_total_cpu_second, ratio.p50, ratio.p99];
        row.extend(ratios.map(|ratio| optional(ratio, |r| format!("{r:.2}"))));
        table.rows.push(row);
    }
    let mut text = table.render();
    for compared in block {
        for (kind, count) in &compared.report.errors {
            let _ = writeln!(text, "{} failed: {count} x {kind}", compared.target);
        }
    }
    text
}

pub(crate) fn optional(value: Option<f64>, show: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_their_names() {
        let mut table = Table::new(&["a", "long"]);
        table.rows.push(vec!["µs".to_owned(), "1".to_owned()]);
        assert_eq!(table.render(), "a   long\nµs     1\n");
    }

    #[test]
    fn times_are_shown_in_the_unit_that_fits() {
        for (value, expected) in [(1.2, "1 µs"), (1_500.0, "1.50 ms"), (2_000_000.0, "2.00 s")] {
            assert_eq!(microseconds(value), expected);
        }
    }
}
