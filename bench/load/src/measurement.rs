//! What was measured: tallies of clients, joined over clients and rounds, and the report made from them.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::arrivals::Arrivals;
use crate::client::Failure;
use crate::open_tally::{OpenReport, OpenTally};
use crate::process::Usage;
use crate::samples::{Sample, growth};

/// Latencies are kept to three digits up to this bound; longer ones count as this long.
const LATENCY_US_MAX: u64 = 600_000_000;
const LATENCY_START_US: u64 = 10_000;
const DIGITS: u8 = 3;
const NANOSECONDS: u64 = 1_000;

/// A distribution of times.
#[derive(Debug, Clone)]
pub(crate) struct Times {
    histogram: Histogram<u64>,
}

impl Times {
    pub(crate) fn new() -> anyhow::Result<Self> {
        // Nanoseconds, since the fastest answers take few microseconds. It grows with the latencies it holds, so
        // that thousands of clients stay small.
        let mut histogram = Histogram::new_with_bounds(NANOSECONDS, LATENCY_START_US * NANOSECONDS, DIGITS)?;
        histogram.auto(true);
        Ok(Self { histogram })
    }

    pub(crate) fn record(&mut self, taken: Duration) {
        let bound = LATENCY_US_MAX * NANOSECONDS;
        let nanoseconds = u64::try_from(taken.as_nanos()).unwrap_or(bound).min(bound);
        // A growing histogram takes every value under the bound.
        let _ = self.histogram.record(nanoseconds);
    }

    pub(crate) fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        Ok(self.histogram.add(&other.histogram)?)
    }

    pub(crate) fn count(&self) -> u64 {
        self.histogram.len()
    }

    pub(crate) fn latency(&self) -> Latency {
        let microseconds = |nanoseconds: u64| nanoseconds as f64 / NANOSECONDS as f64;
        let at = |quantile| microseconds(self.histogram.value_at_quantile(quantile));
        Latency {
            mean_us: self.histogram.mean() / NANOSECONDS as f64,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: microseconds(self.histogram.max()),
        }
    }
}

/// What one client counted.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    latencies: Times,
    first_deltas: Times,
    failures: BTreeMap<String, u64>,
    pub(crate) setup_requests: u64,
}

impl Tally {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            latencies: Times::new()?,
            first_deltas: Times::new()?,
            failures: BTreeMap::new(),
            setup_requests: 0,
        })
    }

    pub(crate) fn latency(&mut self, taken: Duration) {
        self.latencies.record(taken);
    }

    pub(crate) fn first_delta(&mut self, taken: Duration) {
        self.first_deltas.record(taken);
    }

    pub(crate) fn failure(&mut self, failure: &Failure) {
        *self.failures.entry(failure.to_string()).or_insert(0) += 1;
    }

    /// Good answers.
    pub(crate) fn good(&self) -> u64 {
        self.latencies.count()
    }

    /// Failed requests by kind.
    pub(crate) fn failures(&self) -> &BTreeMap<String, u64> {
        &self.failures
    }

    /// How long the good answers took.
    pub(crate) fn answer_times(&self) -> Latency {
        self.latencies.latency()
    }

    pub(crate) fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.latencies.add(&other.latencies)?;
        self.first_deltas.add(&other.first_deltas)?;
        for (kind, count) in &other.failures {
            *self.failures.entry(kind.clone()).or_insert(0) += count;
        }
        self.setup_requests += other.setup_requests;
        Ok(())
    }
}

/// A process tree that served, and what it used in the window.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) cpu_seconds: f64,
    pub(crate) rss_bytes: u64,
    /// Over time; of the last round.
    pub(crate) samples: Vec<Sample>,
}

impl Served {
    pub(crate) fn between(name: &str, pid: u32, before: Usage, after: Usage) -> Self {
        let cpu_seconds = (after.cpu_seconds - before.cpu_seconds).max(0.0);
        Self { name: name.to_owned(), pid, cpu_seconds, rss_bytes: after.rss_bytes, samples: Vec::new() }
    }
}

/// One run, or several of the same kind joined.
#[derive(Debug, Clone)]
pub(crate) struct Measurement {
    /// The scenario's name.
    pub(crate) scenario: String,
    pub(crate) url: String,
    pub(crate) clients: u32,
    pub(crate) seconds: f64,
    /// All steps together when the loop was open.
    pub(crate) tally: Tally,
    pub(crate) open: Option<OpenPart>,
    pub(crate) servers: Vec<Served>,
    pub(crate) generator_cpu_seconds: f64,
}

/// What only an open loop measures.
#[derive(Debug, Clone)]
pub(crate) struct OpenPart {
    pub(crate) arrivals: Arrivals,
    pub(crate) connections_max: u32,
    pub(crate) tally: OpenTally,
}

impl OpenPart {
    fn report(&self) -> OpenReport {
        self.tally.report(self.arrivals, self.connections_max)
    }
}

impl Measurement {
    /// Joins another round of the same target and scenario.
    pub(crate) fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.seconds += other.seconds;
        self.tally.add(&other.tally)?;
        if let (Some(mine), Some(theirs)) = (&mut self.open, &other.open) {
            mine.tally.add(&theirs.tally)?;
        }
        self.generator_cpu_seconds += other.generator_cpu_seconds;
        for (mine, theirs) in self.servers.iter_mut().zip(&other.servers) {
            mine.cpu_seconds += theirs.cpu_seconds;
            mine.rss_bytes = mine.rss_bytes.max(theirs.rss_bytes);
            mine.samples.clone_from(&theirs.samples);
        }
        Ok(())
    }

    pub(crate) fn report(&self) -> RunReport {
        let requests = self.tally.good();
        let per_request = |cpu_seconds: f64| cpu_seconds * 1e6 / requests.max(1) as f64;
        let servers = self.servers.iter().map(|server| ServerCost {
            name: server.name.clone(),
            pid: server.pid,
            cpu_seconds: server.cpu_seconds,
            cpu_us_per_request: per_request(server.cpu_seconds),
            rss_bytes: server.rss_bytes,
            rss_growth: growth(&server.samples),
            samples: server.samples.clone(),
        });
        RunReport {
            scenario: self.scenario.clone(),
            url: self.url.clone(),
            clients: self.clients,
            seconds: self.seconds,
            requests,
            errors: self.tally.failures.clone(),
            setup_requests: self.tally.setup_requests,
            requests_per_second: requests as f64 / self.seconds,
            latency: self.tally.answer_times(),
            first_delta: (self.tally.first_deltas.count() > 0).then(|| self.tally.first_deltas.latency()),
            open: self.open.as_ref().map(OpenPart::report),
            servers: servers.collect(),
            generator_cpu_us_per_request: per_request(self.generator_cpu_seconds),
        }
    }
}

/// The report of one run: what the table shows and the JSON holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunReport {
    /// What was measured: the name of the scenario.
    pub scenario: String,
    /// Where.
    pub url: String,
    /// Clients at once of a closed loop.
    pub clients: u32,
    /// Length of the measured window, without the warm-up.
    pub seconds: f64,
    /// Good answers in the window.
    pub requests: u64,
    /// Failed requests in the window, by kind.
    pub errors: BTreeMap<String, u64>,
    /// Requests that prepared conversations in the window. They are not in the latencies, but in the CPU.
    pub setup_requests: u64,
    /// Good answers per second.
    pub requests_per_second: f64,
    /// From sending to the last byte (streams: to `response.completed`); in an open loop from when it was due.
    pub latency: Latency,
    /// From then to the first delta; streams only.
    pub first_delta: Option<Latency>,
    /// Arrivals, their steps, and what was not corrected for waiting; open loops only.
    #[serde(default)]
    pub open: Option<OpenReport>,
    /// What each process tree given used.
    pub servers: Vec<ServerCost>,
    /// What the load generator itself used.
    pub generator_cpu_us_per_request: f64,
}

impl RunReport {
    /// Failed requests of all kinds.
    #[must_use]
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// A distribution of times, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// The mean.
    pub mean_us: f64,
    /// The median.
    pub p50_us: f64,
    /// Nine of ten were faster.
    pub p90_us: f64,
    /// 99 of 100 were faster.
    pub p99_us: f64,
    /// 999 of 1,000 were faster.
    #[serde(default)]
    pub p999_us: f64,
    /// The slowest.
    pub max_us: f64,
}

/// What a server process and its children used.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServerCost {
    /// `server` or `store` for compared targets, else `pid N`.
    pub name: String,
    /// The root of the process tree.
    pub pid: u32,
    /// User and system time in the window.
    pub cpu_seconds: f64,
    /// CPU divided by good answers.
    pub cpu_us_per_request: f64,
    /// Resident memory at the end of the window (the largest over all rounds).
    pub rss_bytes: u64,
    /// Resident memory in the last tenth of the window as a share of that in the first; windows of 20 s and more.
    #[serde(default)]
    pub rss_growth: Option<f64>,
    /// CPU and memory over time, of the last round.
    #[serde(default)]
    pub samples: Vec<Sample>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_join_to_one_distribution_and_one_bill() {
        let round = |milliseconds: u64| {
            let mut tally = Tally::new().unwrap();
            tally.latency(Duration::from_millis(milliseconds));
            tally.failure(&Failure::Status(503));
            let usage = |cpu_seconds| Usage { cpu_seconds, rss_bytes: 5 };
            Measurement {
                scenario: "turn".to_owned(),
                url: "http://127.0.0.1:1".to_owned(),
                clients: 1,
                seconds: 2.0,
                tally,
                open: None,
                servers: vec![Served::between("server", 7, usage(1.0), usage(1.5))],
                generator_cpu_seconds: 0.1,
            }
        };
        let mut joined = round(1);
        joined.add(&round(3)).unwrap();
        let report = joined.report();
        assert_eq!((report.requests, report.error_count()), (2, 2));
        assert_eq!(report.errors["status 503"], 2);
        assert!((report.requests_per_second - 0.5).abs() < 1e-9);
        assert!((report.servers[0].cpu_us_per_request - 500_000.0).abs() < 1e-6);
        assert!((report.latency.max_us - 3_000.0).abs() < 10.0, "{:?}", report.latency);
    }
}
