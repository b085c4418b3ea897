//! The cost model: from what was measured, what a number of people online would take. Every figure is a measured part
//! times an assumption that is said; what was not measured is left out and told.

use serde::Serialize;
use serde_json::Value;

use crate::compare::Comparison;
use crate::idle::{Held, IdleReport};
use crate::measurement::RunReport;

const GIBI: f64 = (1_u64 << 30) as f64;
const SECONDS_PER_MINUTE: f64 = 60.0;

/// What is assumed of the people and the machines.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Assumptions {
    /// People who are online.
    pub(crate) users: f64,
    /// The share of them who are in a conversation at the moment.
    pub(crate) active_share: f64,
    /// Turns that each of those begins in a minute.
    pub(crate) turns_per_active_minute: f64,
    /// The share of the users online who hold a connection.
    pub(crate) connected_share: f64,
    /// How long the model streams its answer.
    pub(crate) answer_seconds: f64,
    /// Tenants with a warm instance on each machine.
    pub(crate) tenants: f64,
    /// Conversations kept for each user.
    pub(crate) conversations_per_user: f64,
    /// The part of a core's time that is planned for.
    pub(crate) utilisation: f64,
    /// Cores of a machine.
    pub(crate) machine_cores: f64,
    /// Memory of a machine that the program may use.
    pub(crate) machine_gib: f64,
}

/// What was measured; `None` where no report said.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Parts {
    /// CPU of a turn, of the program and its store.
    pub(crate) turn_cpu_us: Option<f64>,
    /// Resident memory under load, without what is counted below.
    pub(crate) base_bytes: Option<f64>,
    /// A tenant with a warm instance that does nothing.
    pub(crate) tenant_bytes: Option<f64>,
    /// A kept-alive connection.
    pub(crate) connection_bytes: Option<f64>,
    /// A stream between two tokens.
    pub(crate) stream_bytes: Option<f64>,
    /// A conversation on disk.
    pub(crate) conversation_bytes: Option<f64>,
}

/// What it would take.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CostReport {
    pub(crate) assumptions: Assumptions,
    pub(crate) parts: Parts,
    /// What one core can do, at full load.
    pub(crate) turns_per_core_second: Option<f64>,
    pub(crate) turns_per_second: f64,
    /// Answers that are being streamed at any moment (Little's law).
    pub(crate) open_streams: f64,
    /// Connections without a request.
    pub(crate) kept_alive: f64,
    pub(crate) cores: Option<f64>,
    /// Of everything that was measured but tenants and the base, which each machine has.
    pub(crate) memory_gib: f64,
    /// What each machine needs before it serves anybody.
    pub(crate) machine_base_gib: f64,
    pub(crate) disk_gib: Option<f64>,
    /// Machines, and what decides their number.
    pub(crate) machines: Option<f64>,
    pub(crate) machines_because: &'static str,
    /// Parts that were not measured and are missing in the sums.
    pub(crate) not_measured: Vec<&'static str>,
}

/// A report that says nothing of cost.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoPart {
    #[error("it is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("it is none of the reports of `run`, `compare` and `tenants density`")]
    Unknown,
    #[error("it has no target {0} that was measured in a scenario of turns with its process known")]
    NoTarget(String),
    #[error(
        "it names no process, so it does not say what a turn or a connection costs: measure with --server-pid"
    )]
    NoProcess,
}

impl Parts {
    /// Adds what a report says. `target` is looked for in comparisons.
    pub(crate) fn read(&mut self, text: &str, target: &str) -> Result<(), NoPart> {
        let value: Value = serde_json::from_str(text)?;
        if value.get("results").is_some() {
            self.comparison(&serde_json::from_value(value)?, target)
        } else if value.get("held").is_some() {
            self.idle(&serde_json::from_value(value)?)
        } else if value.get("memory_warm").is_some() {
            self.density(&value)
        } else if value.get("latency").is_some() {
            self.run(&serde_json::from_value(value)?)
        } else {
            Err(NoPart::Unknown)
        }
    }

    fn comparison(&mut self, comparison: &Comparison, target: &str) -> Result<(), NoPart> {
        let is_turn = |report: &RunReport| report.scenario.starts_with("turn");
        let found = comparison.results.iter().find(|of| of.target == target && is_turn(&of.report));
        let compared = found.filter(|of| of.total_cpu_us.is_some());
        self.run(&compared.ok_or_else(|| NoPart::NoTarget(target.to_owned()))?.report)
    }

    fn run(&mut self, report: &RunReport) -> Result<(), NoPart> {
        if report.servers.is_empty() || report.requests == 0 {
            return Err(NoPart::NoProcess);
        }
        self.turn_cpu_us = Some(report.servers.iter().map(|server| server.cpu_us_per_request).sum());
        self.base_bytes = Some(report.servers.iter().map(|server| server.rss_bytes as f64).sum());
        Ok(())
    }

    fn idle(&mut self, report: &IdleReport) -> Result<(), NoPart> {
        if report.servers.is_empty() || report.established == 0 {
            return Err(NoPart::NoProcess);
        }
        let bytes = report.servers.iter().map(|server| server.bytes_per_connection).sum();
        match report.held {
            Held::KeptAlive => self.connection_bytes = Some(bytes),
            Held::Stream => self.stream_bytes = Some(bytes),
        }
        Ok(())
    }

    fn density(&mut self, value: &Value) -> Result<(), NoPart> {
        let pss = |moment: &str| value.get(moment)?.get("pss_bytes")?.as_f64();
        let tenants = value.get("tenants").and_then(Value::as_f64).filter(|tenants| *tenants > 0.0);
        match (pss("memory_before"), pss("memory_warm"), tenants) {
            (Some(before), Some(warm), Some(tenants)) => {
                self.tenant_bytes = Some((warm - before).max(0.0) / tenants);
                Ok(())
            }
            _ => Err(NoPart::Unknown),
        }
    }

    fn not_measured(&self) -> Vec<&'static str> {
        [
            ("a turn", self.turn_cpu_us),
            ("an idle tenant", self.tenant_bytes),
            ("a kept-alive connection", self.connection_bytes),
            ("an open stream", self.stream_bytes),
            ("a conversation on disk", self.conversation_bytes),
        ]
        .into_iter()
        .filter_map(|(name, part)| part.is_none().then_some(name))
        .collect()
    }
}

/// The sums.
pub(crate) fn cost(parts: Parts, assumed: Assumptions) -> CostReport {
    let turns_per_second =
        assumed.users * assumed.active_share * assumed.turns_per_active_minute / SECONDS_PER_MINUTE;
    let open_streams = turns_per_second * assumed.answer_seconds;
    let kept_alive = (assumed.users * assumed.connected_share - open_streams).max(0.0);
    let of = |part: Option<f64>, count: f64| part.unwrap_or(0.0) * count / GIBI;
    let memory_gib = of(parts.stream_bytes, open_streams) + of(parts.connection_bytes, kept_alive);
    let machine_base_gib = of(parts.base_bytes, 1.0) + of(parts.tenant_bytes, assumed.tenants);
    let cores = parts.turn_cpu_us.map(|us| turns_per_second * us / 1e6 / assumed.utilisation);
    let by_cores = cores.map(|cores| cores / assumed.machine_cores);
    let room_gib = assumed.machine_gib - machine_base_gib;
    let by_memory = memory_gib / room_gib;
    let (machines, machines_because) = match by_cores {
        _ if room_gib <= 0.0 => (None, "the tenants alone do not fit into a machine's memory"),
        Some(by_cores) if by_cores >= by_memory => (Some(by_cores.ceil().max(1.0)), "cores decide"),
        _ => (Some(by_memory.ceil().max(1.0)), "memory decides"),
    };
    CostReport {
        turns_per_core_second: parts.turn_cpu_us.map(|us| 1e6 / us),
        turns_per_second,
        open_streams,
        kept_alive,
        cores,
        memory_gib,
        machine_base_gib,
        disk_gib: parts
            .conversation_bytes
            .map(|bytes| bytes * assumed.users * assumed.conversations_per_user / GIBI),
        machines,
        machines_because,
        not_measured: parts.not_measured(),
        assumptions: assumed,
        parts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assumed() -> Assumptions {
        Assumptions {
            users: 1e6,
            active_share: 0.1,
            turns_per_active_minute: 3.0,
            connected_share: 1.0,
            answer_seconds: 4.0,
            tenants: 100.0,
            conversations_per_user: 2.0,
            utilisation: 0.5,
            machine_cores: 4.0,
            machine_gib: 8.0,
        }
    }

    fn near(found: f64, expected: f64) {
        assert!((found / expected - 1.0).abs() < 1e-9, "{found} instead of {expected}");
    }

    #[test]
    fn the_sums_follow_from_parts_and_assumptions() {
        let mebi = 1_048_576.0;
        let parts = Parts {
            turn_cpu_us: Some(200.0),
            base_bytes: Some(GIBI),
            tenant_bytes: Some(10.24 * mebi),
            connection_bytes: Some(mebi / 100.0),
            stream_bytes: Some(mebi / 20.0),
            conversation_bytes: Some(1_024.0),
        };
        let report = cost(parts, assumed());
        near(report.turns_per_second, 5_000.0);
        near(report.open_streams, 20_000.0);
        near(report.kept_alive, 980_000.0);
        near(report.turns_per_core_second.unwrap(), 5_000.0);
        near(report.cores.unwrap(), 2.0);
        near(report.machine_base_gib, 2.0);
        near(report.memory_gib, (1_000.0 + 9_800.0) / 1_024.0);
        near(report.disk_gib.unwrap(), 2e6 / 1_048_576.0);
        assert_eq!((report.machines, report.machines_because), (Some(2.0), "memory decides"));
        assert!(report.not_measured.is_empty());
    }

    #[test]
    fn what_was_not_measured_is_told_and_not_guessed() {
        let report = cost(Parts { turn_cpu_us: Some(200.0), ..Parts::default() }, assumed());
        assert_eq!(report.not_measured.len(), 4);
        assert_eq!((report.machines, report.disk_gib), (Some(1.0), None));
        let none = cost(Parts::default(), assumed());
        assert_eq!((none.cores, none.turns_per_core_second), (None, None));
    }

    #[test]
    fn tenants_beyond_a_machine_are_told() {
        let report = cost(Parts { tenant_bytes: Some(GIBI), ..Parts::default() }, assumed());
        assert_eq!(report.machines, None);
        assert!(report.machines_because.contains("do not fit"));
    }

    #[test]
    fn parts_are_read_from_the_reports_that_have_them() {
        let mut parts = Parts::default();
        let density = r#"{"tenants":10,"memory_before":{"pss_bytes":100},"memory_warm":{"pss_bytes":600}}"#;
        parts.read(density, "").unwrap();
        assert_eq!(parts.tenant_bytes, Some(50.0));
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../results");
        let comparison = std::fs::read_to_string(folder.join("2026-11-21.json")).unwrap();
        parts.read(&comparison, "native").unwrap();
        assert!(parts.turn_cpu_us.is_some_and(|us| us > 1.0));
        let error = parts.read(&comparison, "nobody").unwrap_err().to_string();
        assert!(error.contains("no target nobody"), "{error}");
        assert!(parts.read("{}", "").unwrap_err().to_string().contains("none of the reports"));
    }
}
