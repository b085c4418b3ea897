//! The reports as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::measurement::Latency;
use crate::process::Memory;
use crate::report::{Table, latency_row, mebibytes, microseconds, optional};
use crate::tenants::canary::CanaryReport;
use crate::tenants::density::DensityReport;
use crate::tenants::identity::IdentityReport;
use crate::tenants::neighbours::{LoopStops, NeighbourReport, NeighboursReport};
use crate::tenants::verdict::{lines, median};

/// The table of `tenants neighbours`.
pub(crate) fn neighbours_table(report: &NeighboursReport) -> String {
    let mut text = format!(
        "{} rounds of {} s alone and beside, {} hostile clients at the lowest priority{}\n\n",
        report.rounds,
        report.seconds_per_round,
        report.hostile_clients,
        if report.measuring_priority_raised { ", the measuring client's raised" } else { "" },
    );
    let mut table = Table::new(&[
        "beside",
        "p50 alone",
        "p50",
        "p99 alone",
        "p99",
        "max alone",
        "max",
        "x p50",
        "x p99",
        "median of rounds",
        "failed",
        "calm after",
    ]);
    table.rows.extend(report.neighbours.iter().map(neighbour_row));
    text.push_str(&table.render());
    text.push('\n');
    for neighbour in &report.neighbours {
        let _ = writeln!(text, "{}: {}", name(neighbour), listed(&neighbour.hostile));
        for (kind, count) in neighbour.alone.errors.iter().chain(&neighbour.beside.errors) {
            let _ = writeln!(text, "  the good tenant failed: {count} x {kind}");
        }
    }
    for stops in &report.loop_stops {
        text.push_str(&stops_line(stops));
    }
    text.push('\n');
    text + &lines(&report.verdicts)
}

fn name(neighbour: &NeighbourReport) -> String {
    format!("{} {}/s, {}", neighbour.scenario.name(), neighbour.rate, neighbour.kind)
}

fn neighbour_row(neighbour: &NeighbourReport) -> Vec<String> {
    let (alone, beside) = (&neighbour.alone.latency, &neighbour.beside.latency);
    let times = [alone.p50_us, beside.p50_us, alone.p99_us, beside.p99_us, alone.max_us, beside.max_us];
    let mut row = vec![name(neighbour)];
    row.extend(times.map(microseconds));
    row.extend(
        [neighbour.ratio_p50, neighbour.ratio_p99].map(|ratio| optional(ratio, |r| format!("{r:.2}"))),
    );
    let of_rounds = &neighbour.ratio_p99_of_rounds;
    let least = of_rounds.iter().copied().reduce(f64::min);
    let most = of_rounds.iter().copied().reduce(f64::max);
    let spread = neighbour
        .ratio_p99_median
        .zip(least.zip(most))
        .map(|(middle, (least, most))| format!("{middle:.2} ({least:.2}-{most:.2})"));
    row.push(spread.unwrap_or_else(|| "-".to_owned()));
    row.push((neighbour.alone.error_count() + neighbour.beside.error_count()).to_string());
    row.push(format!("{:.0} ms", neighbour.calm_after_ms_max));
    row
}

fn stops_line(stops: &LoopStops) -> String {
    let most = stops.late_ms.iter().copied().reduce(f64::max);
    let shown = |value| optional(value, |ms: f64| format!("{ms:.1} ms"));
    let unexpected = if stops.unexpected.is_empty() {
        String::new()
    } else {
        format!("; not stopped: {}", listed(&stops.unexpected))
    };
    format!(
        "endless loops, {}: {} stopped after {} ms of CPU time and {} (median; longest {}){unexpected}\n",
        stops.host,
        stops.late_ms.len(),
        stops.request_cpu_ms_max,
        shown(median(&stops.late_ms)),
        shown(most),
    )
}

/// The table of `tenants density`.
pub(crate) fn density_table(report: &DensityReport) -> String {
    let mut text = format!(
        "{} tenants, {} at once; started in {:.0} ms with one tenant, {:.0} ms with all (a file of {})\n\n",
        report.tenants,
        report.clients,
        report.start_ms_with_one,
        report.start_ms_with_all,
        mebibytes(report.tenants_file_bytes as u64),
    );
    let times: [(&str, &Latency); 3] = [
        ("first of a tenant", &report.first),
        ("second, right after", &report.second),
        ("one more, when all are warm", &report.warm),
    ];
    let mut latencies = Table::new(&["request", "mean", "p50", "p90", "p99", "p99.9", "max"]);
    latencies.rows.extend(times.map(|(name, latency)| latency_row(name, latency)));
    text.push_str(&latencies.render());
    let mut memories = Table::new(&["memory", "resident", "proportional", "lazily freed", "mappings"]);
    memories.rows.push(memory_row("before the first request", &report.memory_before));
    memories.rows.push(memory_row("all tenants warm", &report.memory_warm));
    if let Some(idle) = &report.idle {
        memories.rows.push(memory_row("second server, before", &idle.memory_before));
        memories.rows.push(memory_row("second server, all warm", &idle.memory_warm));
        memories.rows.push(memory_row("second server, idle again", &idle.memory_after));
    }
    let _ = writeln!(text, "\n{}", memories.render().trim_end());
    let grown = report.memory_warm.rss_bytes.saturating_sub(report.memory_before.rss_bytes);
    let per_tenant = grown / u64::from(report.tenants.max(1)) / 1_024;
    let _ = writeln!(text, "{per_tenant} KiB resident per warm tenant");
    let _ = writeln!(
        text,
        "the kernel allows {} mappings",
        report.mappings_max.map_or_else(|| "an unknown number of".to_owned(), |most| most.to_string())
    );
    if let Some(idle) = &report.idle {
        let _ = writeln!(
            text,
            "idle time-out {} ms; memory fell until {:.0} ms after the last request",
            idle.idle_instance_timeout_ms, idle.given_back_after_ms
        );
    }
    let _ = writeln!(
        text,
        "a change of tenants.toml: added {}, suspended {}",
        milliseconds(&report.added_after_ms),
        milliseconds(&report.suspended_after_ms)
    );
    if !report.failures.is_empty() {
        let _ = writeln!(text, "failed: {}", listed(&report.failures));
    }
    text.push('\n');
    text + &lines(&report.verdicts)
}

fn memory_row(name: &str, memory: &Memory) -> Vec<String> {
    let mut row = vec![name.to_owned()];
    row.extend([memory.rss_bytes, memory.pss_bytes, memory.lazy_free_bytes].map(mebibytes));
    row.push(memory.mappings.to_string());
    row
}

fn milliseconds(values: &[f64]) -> String {
    let all: Vec<String> = values.iter().map(|value| format!("{value:.0}")).collect();
    format!("{} ms", all.join(", "))
}

/// The table of `tenants canary`.
pub(crate) fn canary_table(report: &CanaryReport) -> String {
    let isolation = format!("{:?}", report.isolation).to_lowercase();
    let mut text = format!(
        "{} tenants, {} clients, isolation by {isolation}, {:.1} s: {}\n",
        report.tenants,
        report.clients,
        report.seconds,
        listed(&report.outcomes),
    );
    let _ = writeln!(
        text,
        "answered by instances that had answered before: {}, by fresh ones: {}",
        report.by_reused_instances, report.by_fresh_instances
    );
    let _ = writeln!(
        text,
        "marks found: {} own, {} unreadable; {} where none may be\n",
        report.own_marks, report.unreadable_marks, report.violations
    );
    let mut latencies = Table::new(&["", "mean", "p50", "p90", "p99", "p99.9", "max"]);
    latencies.rows.push(latency_row("whole answer", &report.latency));
    text.push_str(&latencies.render());
    text.push('\n');
    for example in &report.examples {
        let _ = writeln!(text, "VIOLATION: {example}");
    }
    text + &lines(&report.verdicts)
}

/// The table of `tenants identity`.
pub(crate) fn identity_table(report: &IdentityReport) -> String {
    let mut text = format!(
        "hello, {} rounds, {} clients, {} other tenants\n\n",
        report.rounds, report.clients, report.other_tenants
    );
    let mut table = Table::new(&["credential", "answers", "failed", "CPU/req", "more", "p50", "p99"]);
    table.rows.extend(report.results.iter().map(|result| {
        vec![
            result.credential.clone(),
            result.requests.to_string(),
            result.failed.to_string(),
            format!("{:.1} µs", result.cpu_us_per_request),
            format!("{:+.1} µs", result.extra_cpu_us),
            microseconds(result.latency.p50_us),
            microseconds(result.latency.p99_us),
        ]
    }));
    text.push_str(&table.render());
    text
}

/// `12 x status 500, 3 x timeout`
fn listed(outcomes: &BTreeMap<String, u64>) -> String {
    let all: Vec<String> = outcomes.iter().map(|(outcome, count)| format!("{count} x {outcome}")).collect();
    if all.is_empty() { "no outcomes".to_owned() } else { all.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_listed_by_kind() {
        assert_eq!(listed(&BTreeMap::new()), "no outcomes");
        let outcomes = BTreeMap::from([("status 429".to_owned(), 3), ("timeout".to_owned(), 1)]);
        assert_eq!(listed(&outcomes), "3 x status 429, 1 x timeout");
    }
}
