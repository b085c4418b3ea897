//! The reports as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::report::{Table, microseconds, optional};
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
        "rounds",
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
    let spread = least.zip(most).map(|(least, most)| format!("{least:.2}-{most:.2}"));
    row.push(spread.unwrap_or_else(|| "-".to_owned()));
    row.push((neighbour.alone.error_count() + neighbour.beside.error_count()).to_string());
    row.push(format!("{:.0} ms", neighbour.calm_after_ms_max));
    row
}

fn stops_line(stops: &LoopStops) -> String {
    let most = stops.late_ms.iter().copied().reduce(f64::max);
    let milliseconds = |value| optional(value, |ms: f64| format!("{ms:.1} ms"));
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
        milliseconds(median(&stops.late_ms)),
        milliseconds(most),
    )
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
