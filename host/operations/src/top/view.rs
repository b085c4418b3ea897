//! What two scrapes say of the time between them: rates per second, shares, quantiles, and the levels at its end. Pure.

use crate::scrape::{Sample, Scrape};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

const REQUESTS: &str = "waggle_http_requests_total";
const DURATIONS: &str = "waggle_http_request_duration_seconds";
const TOKENS: &str = "waggle_model_tokens_total";
const COST: &str = "waggle_model_cost_total";
const REFUSALS: &str = "waggle_admission_refusals_total";
const BREAKER: &str = "waggle_upstream_breaker_state";
const FIRST_BYTE: &str = "waggle_upstream_first_byte_seconds";
const OPERATIONS: &str = "waggle_kv_operations_total";
const SYNC: &str = "waggle_kv_sync_duration_seconds";
const STARTED: &str = "process_start_time_seconds";

/// The classes of status that are somebody's fault: the caller's, and the host's or the function's.
const CLIENT_ERRORS: [(&str, &str); 1] = [("status", "4xx")];
const SERVER_ERRORS: [(&str, &str); 1] = [("status", "5xx")];
const INPUT: [(&str, &str); 1] = [("direction", "input")];
const OUTPUT: [(&str, &str); 1] = [("direction", "output")];
/// The endings of instances that nobody wished for.
const BAD_ENDINGS: [&str; 3] = ["trapped", "cpu_time", "not_instantiated"];
const SECONDS_PER_HOUR: f64 = 3_600.0;
/// Two scrapes within less are taken to be so far apart, so that no rate is infinite.
const SECONDS_MIN: f64 = 0.001;

/// One scrape, and when it was begun.
#[derive(Clone, Debug)]
pub struct Reading {
    pub scrape: Scrape,
    /// By a clock that never jumps.
    pub taken: Instant,
    /// By the clock on the wall.
    pub taken_at: SystemTime,
}

/// What a host did between two scrapes. Rates are per second, shares parts of 1 (none where nothing happened that could have
/// a share), quantiles in seconds (none without observations), and levels those of the later scrape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    pub host: Host,
    /// By name, as all that follow.
    pub tenants: Vec<Tenant>,
    pub functions: Vec<Function>,
    pub upstreams: Vec<Upstream>,
    pub stores: Vec<Store>,
}

/// The whole host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    pub version: Option<String>,
    pub up_for: Option<Duration>,
    pub requests: Requests,
    pub latency: Latency,
    pub in_flight: Option<f64>,
    pub connections: Option<f64>,
    pub refusals: f64,
    /// The reason of most of them.
    pub refused_for: Option<String>,
    pub fallbacks: f64,
    pub model_use: ModelUse,
    /// Of the calls that the answer cache could have answered, those that it did, or that shared the answer of another.
    pub answer_cache_hits: Option<f64>,
    pub instances: Option<f64>,
    pub memory_bytes: Option<f64>,
    /// Of one core, so that it can be above 1.
    pub cpu: Option<f64>,
    pub files: Option<f64>,
    pub files_max: Option<f64>,
    /// Series that had no room in the later scrape: above 0, the view is not whole.
    pub series_left_out: f64,
}

/// Answers to clients.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Requests {
    pub rate: f64,
    pub client_errors: Option<f64>,
    pub server_errors: Option<f64>,
}

/// Quantiles, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Latency {
    pub p50: Option<f64>,
    pub p99: Option<f64>,
}

/// What models were used for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ModelUse {
    /// Tokens per second.
    pub input: f64,
    /// Tokens per second.
    pub output: f64,
    /// In the unit of the configured prices, per hour.
    pub cost_per_hour: f64,
}

/// A tenant that has series of its own, or all `other`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tenant {
    pub name: String,
    pub requests: Requests,
    pub model_use: ModelUse,
}

/// A function, on all its routes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Function {
    pub name: String,
    pub requests: Requests,
    pub latency: Latency,
    pub instances: Option<f64>,
    pub waiting: Option<f64>,
    pub starts: f64,
    /// Until an instance was ready.
    pub start_p99: Option<f64>,
    /// Instances that trapped, were out of CPU time or never came to be.
    pub crashes: f64,
}

/// An upstream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Upstream {
    pub name: String,
    /// Of the upstream as a whole.
    pub breaker: Option<Breaker>,
    pub endpoints: usize,
    /// Those whose breaker is closed.
    pub endpoints_closed: usize,
    pub calls: f64,
    /// Of the attempts, those that failed or broke off.
    pub failures: Option<f64>,
    /// Retries and hedges.
    pub repeats: f64,
    pub refusals: f64,
    pub in_flight: Option<f64>,
    pub limit: Option<f64>,
    pub waiting: Option<f64>,
    /// Until an answer began: of recent streamed answers, or of whole ones where none is streamed.
    pub first_byte: Latency,
}

/// The state of a breaker, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Breaker {
    Closed,
    HalfOpen,
    Open,
}

/// A store, by its label.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Store {
    pub name: String,
    pub operations: f64,
    pub failures: Option<f64>,
    /// Until an operation was applied.
    pub latency: Latency,
    /// Flushes to the device.
    pub syncs: f64,
    pub sync_p99: Option<f64>,
}

impl View {
    /// What happened between `before` and `after`. Of a host that started again in between, what it did since.
    #[must_use]
    pub fn between(before: &Reading, after: &Reading) -> Self {
        let started = |reading: &Reading| reading.scrape.sum(STARTED, &[]);
        let change = Change {
            before: (started(before) == started(after)).then_some(&before.scrape),
            after: &after.scrape,
            seconds: after.taken.saturating_duration_since(before.taken).as_secs_f64().max(SECONDS_MIN),
        };
        Self {
            host: change.host(after.taken_at),
            tenants: change.tenants(),
            functions: change.functions(),
            upstreams: change.upstreams(),
            stores: change.stores(),
        }
    }
}

struct Change<'a> {
    /// None if the counters of `after` began after it.
    before: Option<&'a Scrape>,
    after: &'a Scrape,
    seconds: f64,
}

impl<'a> Change<'a> {
    fn level(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.after.sum(name, labels)
    }

    /// How much a sum of counters grew per second.
    fn rate(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let sum = |scrape: &Scrape| scrape.sum(name, labels).unwrap_or(0.0);
        self.per_second(self.before.map_or(0.0, sum), sum(self.after))
    }

    /// The rate of each text of a label. Asked for all at once, since there may be a thousand of them.
    fn rates(
        &self,
        name: &str,
        label: &str,
        labels: &'static [(&'static str, &'static str)],
    ) -> BTreeMap<&'a str, f64> {
        let before = self.before.map(|one| one.sums_by(name, label, labels)).unwrap_or_default();
        let after = self.after.sums_by(name, label, labels);
        let rate = |(text, value): (&'a str, f64)| {
            (text, self.per_second(before.get(text).copied().unwrap_or(0.0), value))
        };
        after.into_iter().map(rate).collect()
    }

    fn per_second(&self, before: f64, after: f64) -> f64 {
        // A counter that is lower than before has begun anew.
        let growth = if after >= before { after - before } else { after };
        growth.max(0.0) / self.seconds
    }

    fn quantile(&self, name: &str, labels: &[(&str, &str)], quantile: f64) -> Option<f64> {
        self.after.quantile(self.before, name, labels, quantile)
    }

    fn latency(&self, name: &str, labels: &[(&str, &str)]) -> Latency {
        Latency { p50: self.quantile(name, labels, 0.5), p99: self.quantile(name, labels, 0.99) }
    }

    /// The texts that a label has in any series of these names, sorted.
    fn texts(&self, names: &[&str], label: &str) -> BTreeSet<&'a str> {
        let samples = names.iter().flat_map(|name| self.after.samples(name, &[]));
        samples.filter_map(|sample| sample.label(label)).collect()
    }

    fn host(&self, now: SystemTime) -> Host {
        let refusals = self.rates(REFUSALS, "reason", &[]);
        let most =
            refusals.iter().filter(|(_, rate)| **rate > 0.0).max_by(|one, other| one.1.total_cmp(other.1));
        let rate = |name| self.rate(name, &[]);
        let hits = rate("waggle_answer_cache_hits_total") + rate("waggle_answer_cache_shared_total");
        let info = self.after.samples("waggle_build_info", &[]).next();
        Host {
            version: info.and_then(|info| info.label("version")).map(str::to_owned),
            up_for: self.level(STARTED, &[]).and_then(|started| since(started, now)),
            requests: Requests {
                rate: rate(REQUESTS),
                client_errors: share(self.rate(REQUESTS, &CLIENT_ERRORS), rate(REQUESTS)),
                server_errors: share(self.rate(REQUESTS, &SERVER_ERRORS), rate(REQUESTS)),
            },
            latency: self.latency(DURATIONS, &[]),
            in_flight: self.level("waggle_http_requests_in_flight", &[]),
            connections: self.level("waggle_connections", &[]),
            refusals: rate(REFUSALS),
            refused_for: most.map(|(reason, _)| (*reason).to_owned()),
            fallbacks: rate("waggle_fallbacks_total"),
            model_use: ModelUse {
                input: self.rate(TOKENS, &INPUT),
                output: self.rate(TOKENS, &OUTPUT),
                cost_per_hour: rate(COST) * SECONDS_PER_HOUR,
            },
            answer_cache_hits: share(hits, hits + rate("waggle_answer_cache_misses_total")),
            instances: self.level("waggle_instances", &[]),
            memory_bytes: self.level("process_resident_memory_bytes", &[]),
            cpu: self
                .level("process_cpu_seconds_total", &[])
                .map(|_present| rate("process_cpu_seconds_total")),
            files: self.level("process_open_fds", &[]),
            files_max: self.level("process_max_fds", &[]),
            series_left_out: self.level("waggle_metrics_series_left_out", &[]).unwrap_or(0.0),
        }
    }

    /// The answers by a label, as a function of its text.
    fn requests_by(&self, label: &str) -> impl Fn(&str) -> Requests + use<'a> {
        let all = self.rates(REQUESTS, label, &[]);
        let client_errors = self.rates(REQUESTS, label, &CLIENT_ERRORS);
        let server_errors = self.rates(REQUESTS, label, &SERVER_ERRORS);
        move |text| {
            let rate = of(&all, text);
            Requests {
                rate,
                client_errors: share(of(&client_errors, text), rate),
                server_errors: share(of(&server_errors, text), rate),
            }
        }
    }

    fn tenants(&self) -> Vec<Tenant> {
        let requests = self.requests_by("tenant");
        let input = self.rates(TOKENS, "tenant", &INPUT);
        let output = self.rates(TOKENS, "tenant", &OUTPUT);
        let cost = self.rates(COST, "tenant", &[]);
        let tenant = |name: &str| Tenant {
            name: name.to_owned(),
            requests: requests(name),
            model_use: ModelUse {
                input: of(&input, name),
                output: of(&output, name),
                cost_per_hour: of(&cost, name) * SECONDS_PER_HOUR,
            },
        };
        self.texts(&[REQUESTS, TOKENS], "tenant").into_iter().map(tenant).collect()
    }

    fn functions(&self) -> Vec<Function> {
        let requests = self.requests_by("function");
        let function = |name: &str| {
            let labels: &[(&str, &str)] = &[("function", name)];
            let ended =
                |reason| self.rate("waggle_instances_ended_total", &[("function", name), ("reason", reason)]);
            Function {
                name: name.to_owned(),
                requests: requests(name),
                latency: self.latency(DURATIONS, labels),
                instances: self.level("waggle_instances", labels),
                waiting: self.level("waggle_instance_waiting_requests", labels),
                starts: self.rate("waggle_instances_created_total", labels),
                start_p99: self.quantile("waggle_instance_start_duration_seconds", labels, 0.99),
                crashes: BAD_ENDINGS.into_iter().map(ended).sum(),
            }
        };
        self.texts(&["waggle_instances", REQUESTS], "function").into_iter().map(function).collect()
    }

    fn upstreams(&self) -> Vec<Upstream> {
        let names = self.texts(&["waggle_upstream_calls_total", BREAKER], "upstream");
        names.into_iter().map(|name| self.upstream(name)).collect()
    }

    fn upstream(&self, name: &str) -> Upstream {
        let labels: &[(&str, &str)] = &[("upstream", name)];
        let rate = |name| self.rate(name, labels);
        let first_byte = |answer, percentile| {
            let labels = [("upstream", name), ("answer", answer), ("percentile", percentile)];
            self.level(FIRST_BYTE, &labels)
        };
        let answer = if first_byte("streamed", "50").is_some() { "streamed" } else { "whole" };
        let is_of_all = |sample: &&Sample| sample.label("endpoint") == Some("all");
        let (all, endpoints): (Vec<_>, Vec<_>) = self.after.samples(BREAKER, labels).partition(is_of_all);
        let failed = rate("waggle_upstream_failures_total") + rate("waggle_upstream_cut_total");
        Upstream {
            name: name.to_owned(),
            breaker: all.first().map(|sample| breaker(sample.value)),
            endpoints: endpoints.len(),
            endpoints_closed: endpoints
                .iter()
                .filter(|sample| breaker(sample.value) == Breaker::Closed)
                .count(),
            calls: rate("waggle_upstream_calls_total"),
            failures: share(failed, rate("waggle_upstream_attempts_total")),
            repeats: rate("waggle_upstream_retries_total") + rate("waggle_upstream_hedges_total"),
            refusals: rate("waggle_upstream_refused_total"),
            in_flight: self.level("waggle_upstream_in_flight", labels),
            limit: self.level("waggle_upstream_limit", labels),
            waiting: self.level("waggle_upstream_waiting", labels),
            first_byte: Latency { p50: first_byte(answer, "50"), p99: first_byte(answer, "99") },
        }
    }

    fn stores(&self) -> Vec<Store> {
        let store = |name: &str| {
            let labels: &[(&str, &str)] = &[("store", name)];
            let operations = self.rate(OPERATIONS, labels);
            let failed = self.rate(OPERATIONS, &[("store", name), ("outcome", "failed")]);
            Store {
                name: name.to_owned(),
                operations,
                failures: share(failed, operations),
                latency: self.latency("waggle_kv_operation_duration_seconds", labels),
                syncs: self.rate(&format!("{SYNC}_count"), labels),
                sync_p99: self.quantile(SYNC, labels, 0.99),
            }
        };
        self.texts(&[OPERATIONS, &format!("{SYNC}_count")], "store").into_iter().map(store).collect()
    }
}

fn of(rates: &BTreeMap<&str, f64>, text: &str) -> f64 {
    rates.get(text).copied().unwrap_or(0.0)
}

/// A part of a whole; none of nothing. An attempt may have begun before the interval in which it fails, so the part can be
/// the larger.
fn share(part: f64, whole: f64) -> Option<f64> {
    (part > 0.0 || whole > 0.0).then(|| (part / whole).clamp(0.0, 1.0))
}

fn breaker(value: f64) -> Breaker {
    match value {
        value if value <= 0.0 => Breaker::Closed,
        value if value < 2.0 => Breaker::HalfOpen,
        _ => Breaker::Open,
    }
}

/// The time from a moment, in seconds since 1970, to now.
fn since(moment: f64, now: SystemTime) -> Option<Duration> {
    let moment = Duration::try_from_secs_f64(moment).ok()?;
    now.duration_since(SystemTime::UNIX_EPOCH).ok()?.checked_sub(moment)
}

#[cfg(test)]
mod tests;
