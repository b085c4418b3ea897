//! Canaries: each request leaves its tenant's mark in everything an instance can remember, and reports the marks it
//! found. A mark of another tenant is a violation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::client::Failure;
use crate::measurement::Latency;
use crate::scenario::Call;
use crate::tenants::files::{Guest, Tenant, numbered_tenants};
use crate::tenants::hostile::bearer;
use crate::tenants::progress;
use crate::tenants::stage::{Setup, Stage};
use crate::tenants::traffic::{Drive, Source, outcomes};
use crate::tenants::verdict::Verdict;

const GUEST: &str = "canary";
const HEADER: HeaderName = HeaderName::from_static("x-canary");
const PATIENCE: Duration = Duration::from_secs(60);
/// Where the guest keeps what it is sent: the first three are memory of the instance, the last is its tenant's store.
const PLACES: [&str; 4] = ["static", "thread_local", "buffer", "kv"];
const MEMORY_PLACES: usize = 3;
/// How many violations are shown.
const EXAMPLES_MAX: usize = 10;

/// What separates two requests of one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Isolation {
    /// They may share an instance.
    Tenant,
    /// Each has an instance of its own.
    Request,
}

#[derive(Debug, Clone)]
pub(crate) struct CanaryConfig {
    pub(crate) requests: u64,
    pub(crate) tenants: u32,
    pub(crate) clients_per_tenant: u32,
    pub(crate) isolation: Isolation,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct CanaryReport {
    pub(crate) tenants: u32,
    pub(crate) clients: u32,
    pub(crate) isolation: Isolation,
    pub(crate) seconds: f64,
    pub(crate) outcomes: BTreeMap<String, u64>,
    pub(crate) latency: Latency,
    /// Answers by an instance that had answered before.
    pub(crate) by_reused_instances: u64,
    /// Answers by an instance that had not.
    pub(crate) by_fresh_instances: u64,
    /// By place: how often it held a mark of the same tenant.
    pub(crate) own_marks: BTreeMap<String, u64>,
    /// Marks that must not have been there.
    pub(crate) violations: u64,
    pub(crate) examples: Vec<String>,
    pub(crate) verdicts: Vec<Verdict>,
}

/// What one answer says.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    /// Whether each place held a mark, in the order of [`PLACES`].
    marked: [bool; PLACES.len()],
    /// The places with a mark that must not be there.
    violations: Vec<(&'static str, String)>,
}

/// Judges an answer to that tenant; `None` if it is none.
fn judge(tenant: &str, isolation: Isolation, body: &[u8]) -> Option<Found> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let mut found = Found { marked: [false; PLACES.len()], violations: Vec::new() };
    for (at, place) in PLACES.into_iter().enumerate() {
        let mark = match answer.get(place)? {
            Value::Null => continue,
            Value::String(mark) => mark,
            _ => return None,
        };
        found.marked[at] = true;
        let is_own = mark.strip_prefix(tenant).is_some_and(|rest| rest.starts_with('.'));
        let may_be = isolation == Isolation::Tenant || at >= MEMORY_PLACES;
        if !is_own || !may_be {
            found.violations.push((place, mark.clone()));
        }
    }
    Some(found)
}

struct Canaries {
    tenants: Vec<(String, HeaderValue)>,
    isolation: Isolation,
    clients_per_tenant: u32,
    sent: AtomicU64,
    requests: u64,
    marks: [AtomicU64; PLACES.len()],
    fresh: AtomicU64,
    reused: AtomicU64,
    violations: AtomicU64,
    examples: std::sync::Mutex<Vec<String>>,
}

impl Canaries {
    fn new(config: &CanaryConfig, tenants: &[Tenant]) -> anyhow::Result<Self> {
        let known = tenants.iter().map(|tenant| anyhow::Ok((tenant.id.clone(), bearer(&tenant.key.text)?)));
        Ok(Self {
            tenants: known.collect::<Result<_, _>>()?,
            isolation: config.isolation,
            clients_per_tenant: config.clients_per_tenant.max(1),
            sent: AtomicU64::new(0),
            requests: config.requests,
            marks: Default::default(),
            fresh: AtomicU64::new(0),
            reused: AtomicU64::new(0),
            violations: AtomicU64::new(0),
            examples: std::sync::Mutex::default(),
        })
    }

    fn tenant(&self, client: u32) -> Option<&(String, HeaderValue)> {
        self.tenants.get((client / self.clients_per_tenant) as usize)
    }

    fn violation(&self, tenant: &str, place: &str, mark: &str) {
        self.violations.fetch_add(1, Relaxed);
        let Ok(mut examples) = self.examples.lock() else { return };
        if examples.len() < EXAMPLES_MAX {
            examples.push(format!("{tenant} found {mark} in {place}"));
        }
    }
}

impl Source for Canaries {
    fn next(&self, client: u32) -> Option<Call> {
        let number = self.sent.fetch_add(1, Relaxed);
        let (tenant, authorization) = self.tenant(client).filter(|_| number < self.requests)?;
        let mut call = Call::get(format!("/{GUEST}/"));
        call.headers.insert(AUTHORIZATION, authorization.clone());
        call.headers.insert(HEADER, HeaderValue::from_str(&format!("{tenant}.{number}")).ok()?);
        Some(call)
    }

    fn check(&self, client: u32, body: &Bytes) -> Result<(), Failure> {
        let (tenant, _) = self.tenant(client).ok_or(Failure::Build)?;
        let found = judge(tenant, self.isolation, body).ok_or(Failure::Shape)?;
        for (place, mark) in &found.violations {
            self.violation(tenant, place, mark);
        }
        for (count, marked) in self.marks.iter().zip(found.marked) {
            count.fetch_add(u64::from(marked), Relaxed);
        }
        let in_memory = found.marked[..MEMORY_PLACES].contains(&true);
        if in_memory { &self.reused } else { &self.fresh }.fetch_add(1, Relaxed);
        Ok(())
    }
}

pub(crate) async fn canary(stage: &mut Stage, config: &CanaryConfig) -> anyhow::Result<CanaryReport> {
    let tenants = numbered_tenants("t", config.tenants)?;
    let isolation = match config.isolation {
        Isolation::Tenant => "isolation = \"tenant\"",
        Isolation::Request => "isolation = \"request\"",
    };
    let setup = Setup {
        name: GUEST,
        tenants: Some(&tenants),
        guests: &[Guest::new(GUEST).with_stores()],
        engine: isolation,
        prints: false,
    };
    let server = stage.start(setup).await?;
    let clients = config.tenants * config.clients_per_tenant.max(1);
    progress(&format!("{} requests of {} tenants", config.requests, config.tenants));
    let canaries = Arc::new(Canaries::new(config, &tenants)?);
    let drive = Drive { endpoint: server.endpoint.clone(), clients, until: None, patience: PATIENCE };
    let began = Instant::now();
    let tally = drive.run(Arc::clone(&canaries) as Arc<dyn Source>).await?;
    let seconds = began.elapsed().as_secs_f64();
    server.stop().await;
    let marks = PLACES.iter().zip(&canaries.marks);
    let examples = canaries.examples.lock().map(|examples| examples.clone()).unwrap_or_default();
    let mut report = CanaryReport {
        tenants: config.tenants,
        clients,
        isolation: config.isolation,
        seconds,
        outcomes: outcomes(&tally),
        latency: tally.answer_times(),
        by_reused_instances: canaries.reused.load(Relaxed),
        by_fresh_instances: canaries.fresh.load(Relaxed),
        own_marks: marks.map(|(place, count)| ((*place).to_owned(), count.load(Relaxed))).collect(),
        violations: canaries.violations.load(Relaxed),
        examples,
        verdicts: Vec::new(),
    };
    report.verdicts = verdicts(&report, config.requests);
    Ok(report)
}

/// A measurement that saw no reuse, or no answers, has shown nothing.
fn verdicts(report: &CanaryReport, requests: u64) -> Vec<Verdict> {
    let answered = report.by_fresh_instances + report.by_reused_instances;
    let mut verdicts = vec![
        Verdict::at_most("marks that must not have been found", Some(report.violations as f64), 0.0),
        Verdict::at_most(
            "requests without a good answer",
            Some((requests - answered.min(requests)) as f64),
            0.0,
        ),
    ];
    if report.isolation == Isolation::Tenant {
        let share = report.by_fresh_instances as f64 / answered.max(1) as f64;
        verdicts.push(Verdict::at_most("share of answers by fresh instances", Some(share), 0.5));
    }
    verdicts
}

/// For the message when the guest is missing.
pub(crate) fn checked(config: &CanaryConfig) -> anyhow::Result<()> {
    let clients = config.tenants.checked_mul(config.clients_per_tenant.max(1));
    clients
        .filter(|clients| (1..=crate::run::CLIENTS_MAX).contains(clients))
        .map(drop)
        .with_context(|| format!("there can be 1 to {} clients", crate::run::CLIENTS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(value: &str) -> String {
        format!(r#"{{"static":{value},"thread_local":null,"buffer":null,"kv":"t-1.4"}}"#)
    }

    #[test]
    fn a_mark_of_another_tenant_is_a_violation() {
        fn check(isolation: Isolation, body: &str, expected: Option<&[&str]>) {
            let found = judge("t-1", isolation, body.as_bytes());
            let places =
                found.map(|found| found.violations.iter().map(|(place, _)| *place).collect::<Vec<_>>());
            assert_eq!(places.as_deref(), expected, "{body}");
        }
        check(Isolation::Tenant, &answer("null"), Some(&[]));
        check(Isolation::Tenant, &answer("\"t-1.7\""), Some(&[]));
        check(Isolation::Tenant, &answer("\"t-2.7\""), Some(&["static"]));
        check(Isolation::Tenant, &answer("\"t-10.7\""), Some(&["static"]));
        check(Isolation::Request, &answer("\"t-1.7\""), Some(&["static"]));
        check(Isolation::Request, &answer("null"), Some(&[]));
        check(Isolation::Tenant, &answer("7"), None);
        check(Isolation::Tenant, "{}", None);
        check(Isolation::Tenant, "fine", None);
    }

    #[test]
    fn marks_are_counted_and_the_requests_end() {
        let config =
            CanaryConfig { requests: 2, tenants: 2, clients_per_tenant: 2, isolation: Isolation::Tenant };
        let canaries = Canaries::new(&config, &numbered_tenants("t", 2).unwrap()).unwrap();
        let call = canaries.next(3).unwrap();
        assert_eq!(call.headers[HEADER], "t-00001.0");
        assert!(canaries.next(0).is_some() && canaries.next(0).is_none());
        canaries.check(0, &Bytes::from(answer("null").replace("t-1", "t-00000"))).unwrap();
        canaries.check(0, &Bytes::from(answer("\"t-00001.3\""))).unwrap();
        assert_eq!((canaries.fresh.load(Relaxed), canaries.reused.load(Relaxed)), (1, 1));
        assert_eq!(canaries.violations.load(Relaxed), 2);
        assert_eq!(canaries.examples.lock().unwrap()[0], "t-00000 found t-00001.3 in static");
        assert_eq!(canaries.check(0, &Bytes::from_static(b"fine")), Err(Failure::Shape));
    }
}
