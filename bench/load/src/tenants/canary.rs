//! Canaries: each request leaves its tenant's mark in everything an instance can remember, and reports the marks it
//! found. A mark of another tenant is a violation.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::bail;
use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderValue};
use serde::Serialize;
use tokio::time::Instant;

use crate::client::Failure;
use crate::compare::divided;
use crate::measurement::Latency;
use crate::scenario::Call;
use crate::tenants::files::{Guest, Tenant, numbered_tenants};
use crate::tenants::hostile::bearer;
use crate::tenants::progress;
use crate::tenants::stage::{Setup, Stage};
use crate::tenants::traffic::{Drive, Source, outcomes};
use crate::tenants::verdict::Verdict;

const GUEST: &str = "canary";
const PATIENCE: Duration = Duration::from_secs(60);
/// What every mark begins with; the guest looks for it in its memory and shows 24 bytes from there.
const SONG: &str = "canary-";
/// Digits of the tenant in a mark, before a hyphen and those of the request.
const TENANT_DIGITS: usize = 5;
/// What fits into these digits.
const TENANTS_MAX: u32 = 100_000;
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
    /// Each goes from tenant to tenant, so that neighbours in time are different tenants.
    pub(crate) clients: u32,
    /// Fewer than tenants make instances end all the time, and others get their memory.
    pub(crate) instances_max: Option<u32>,
    pub(crate) isolation: Isolation,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct CanaryReport {
    pub(crate) tenants: u32,
    pub(crate) clients: u32,
    pub(crate) instances_max: Option<u32>,
    pub(crate) isolation: Isolation,
    pub(crate) seconds: f64,
    pub(crate) outcomes: BTreeMap<String, u64>,
    pub(crate) latency: Latency,
    /// Answers by an instance that had answered before.
    pub(crate) by_reused_instances: u64,
    /// Answers by an instance that had not: so many instances there were.
    pub(crate) by_fresh_instances: u64,
    /// Marks of the same tenant that were found.
    pub(crate) own_marks: u64,
    /// Marks of which the beginning is no longer readable, as the memory was used meanwhile.
    pub(crate) unreadable_marks: u64,
    /// Marks of other tenants, and by request also any in memory.
    pub(crate) violations: u64,
    pub(crate) examples: Vec<String>,
    pub(crate) verdicts: Vec<Verdict>,
}

/// What one answer says: how many requests the instance has served, then the marks it found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    served: u64,
    own: u64,
    unreadable: u64,
    /// What must not be there.
    violations: Vec<String>,
}

/// 24 bytes, as the guest takes them.
fn mark(tenant: u32, number: u64) -> String {
    format!("{SONG}{tenant:05}-{number:011}")
}

/// Judges an answer to that tenant; `None` if it is none.
fn judge(tenant: u32, isolation: Isolation, body: &str) -> Option<Found> {
    let (served, rest) = body.split_once(' ').unwrap_or((body, ""));
    let mut found = Found { served: served.trim().parse().ok()?, ..Found::default() };
    for (at, _) in rest.match_indices(SONG) {
        let bytes = rest.as_bytes().get(at + SONG.len()..).unwrap_or_default();
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(TENANT_DIGITS + 12)]).into_owned();
        match bytes.get(..=TENANT_DIGITS).and_then(tenant_in) {
            Some(owner) if owner == tenant => found.own += 1,
            Some(_) => found.violations.push(format!("found {SONG}{shown}")),
            None => found.unreadable += 1,
        }
    }
    if isolation == Isolation::Request {
        // The store outlives the instance, so that one mark may be there.
        if found.served != 1 {
            found.violations.push(format!("got an instance that had served {} before", found.served - 1));
        }
        if found.own + found.unreadable > 1 {
            found.violations.push(format!("found {} marks", found.own + found.unreadable));
        }
    }
    Some(found)
}

/// The tenant in `00012-`.
fn tenant_in(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.strip_suffix(b"-")?;
    digits.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

struct Canaries {
    authorizations: Vec<HeaderValue>,
    isolation: Isolation,
    requests: u64,
    sent: AtomicU64,
    /// The tenant for which each client is asking.
    asking: Vec<AtomicU32>,
    found: Mutex<Sum>,
}

/// Over all answers.
#[derive(Debug, Default, Clone)]
struct Sum {
    fresh: u64,
    reused: u64,
    own: u64,
    unreadable: u64,
    violations: u64,
    examples: Vec<String>,
}

impl Canaries {
    fn new(config: &CanaryConfig, tenants: &[Tenant]) -> anyhow::Result<Self> {
        let authorizations =
            tenants.iter().map(|tenant| bearer(&tenant.key.text)).collect::<Result<_, _>>()?;
        Ok(Self {
            authorizations,
            isolation: config.isolation,
            requests: config.requests,
            sent: AtomicU64::new(0),
            asking: (0..config.clients).map(|_| AtomicU32::new(0)).collect(),
            found: Mutex::default(),
        })
    }

    fn sum(&self) -> Sum {
        self.found.lock().map_or_else(|poisoned| poisoned.into_inner().clone(), |sum| sum.clone())
    }
}

impl Source for Canaries {
    fn next(&self, client: u32) -> Option<Call> {
        let number = self.sent.fetch_add(1, Relaxed);
        if number >= self.requests {
            return None;
        }
        let tenant = u32::try_from(number % self.authorizations.len() as u64).ok()?;
        self.asking.get(client as usize)?.store(tenant, Relaxed);
        let mut call = Call::get(format!("/{GUEST}/?canary={}", mark(tenant, number)));
        call.headers.insert(AUTHORIZATION, self.authorizations.get(tenant as usize)?.clone());
        Some(call)
    }

    fn check(&self, client: u32, body: &Bytes) -> Result<(), Failure> {
        let tenant = self.asking.get(client as usize).ok_or(Failure::Build)?.load(Relaxed);
        let text = String::from_utf8_lossy(body);
        let found = judge(tenant, self.isolation, &text).ok_or(Failure::Shape)?;
        let Ok(mut sum) = self.found.lock() else { return Err(Failure::Build) };
        *if found.served > 1 { &mut sum.reused } else { &mut sum.fresh } += 1;
        sum.own += found.own;
        sum.unreadable += found.unreadable;
        sum.violations += found.violations.len() as u64;
        let room = EXAMPLES_MAX - sum.examples.len();
        sum.examples.extend(
            found.violations.iter().take(room).map(|violation| format!("tenant {tenant:05} {violation}")),
        );
        Ok(())
    }
}

pub(crate) async fn canary(stage: &mut Stage, config: &CanaryConfig) -> anyhow::Result<CanaryReport> {
    let tenants = numbered_tenants("t", config.tenants)?;
    let mut engine = match config.isolation {
        Isolation::Tenant => "isolation = \"tenant\"\n".to_owned(),
        Isolation::Request => "isolation = \"request\"\n".to_owned(),
    };
    if let Some(instances) = config.instances_max {
        engine.push_str(&format!("instances_max = {instances}\n"));
    }
    let guests = [Guest::new(GUEST)];
    let setup =
        Setup { name: GUEST, tenants: Some(&tenants), guests: &guests, engine: &engine, prints: false };
    let server = stage.start(setup).await?;
    progress(&format!("{} requests of {} tenants", config.requests, config.tenants));
    let canaries = Arc::new(Canaries::new(config, &tenants)?);
    let drive =
        Drive { endpoint: server.endpoint.clone(), clients: config.clients, until: None, patience: PATIENCE };
    let began = Instant::now();
    let tally = drive.run(Arc::clone(&canaries) as Arc<dyn Source>).await?;
    let seconds = began.elapsed().as_secs_f64();
    server.stop().await;
    let sum = canaries.sum();
    let mut report = CanaryReport {
        tenants: config.tenants,
        clients: config.clients,
        instances_max: config.instances_max,
        isolation: config.isolation,
        seconds,
        outcomes: outcomes(&tally),
        latency: tally.answer_times(),
        by_reused_instances: sum.reused,
        by_fresh_instances: sum.fresh,
        own_marks: sum.own,
        unreadable_marks: sum.unreadable,
        violations: sum.violations,
        examples: sum.examples,
        verdicts: Vec::new(),
    };
    report.verdicts = verdicts(&report, config.requests);
    Ok(report)
}

/// A measurement that saw no reuse, no marks or no answers has shown nothing.
fn verdicts(report: &CanaryReport, requests: u64) -> Vec<Verdict> {
    let answered = report.by_fresh_instances + report.by_reused_instances;
    let unanswered = requests.saturating_sub(answered);
    let mut verdicts = vec![
        Verdict::at_most("marks where none may be", Some(report.violations as f64), 0.0),
        Verdict::at_most("requests without a good answer", Some(unanswered as f64), 0.0),
    ];
    if report.isolation == Isolation::Tenant {
        let share = divided(Some(report.by_fresh_instances as f64), Some(answered as f64));
        verdicts.push(Verdict::at_most("answers by fresh instances, as a share", share, 0.9));
        let per_mark = divided(Some(answered as f64), Some(report.own_marks as f64));
        verdicts.push(Verdict::at_most("answers per own mark that was found", per_mark, 1.1));
    }
    verdicts
}

/// Before anything is started.
pub(crate) fn checked(config: &CanaryConfig) -> anyhow::Result<()> {
    if !(1..=crate::run::CLIENTS_MAX).contains(&config.clients) {
        bail!("there can be 1 to {} clients", crate::run::CLIENTS_MAX);
    }
    if !(1..TENANTS_MAX).contains(&config.tenants) {
        bail!("there can be 1 to {TENANTS_MAX} tenants");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_has_the_length_that_the_guest_shows() {
        assert_eq!(mark(12, 345), "canary-00012-00000000345");
        assert_eq!(mark(12, 345).len(), 24);
    }

    #[test]
    fn a_mark_of_another_tenant_is_a_violation() {
        fn check(isolation: Isolation, body: &str, expected: Option<(u64, u64, u64, &[&str])>) {
            let found = judge(1, isolation, body);
            let found = found.as_ref().map(|found| {
                let violations: Vec<_> = found.violations.iter().map(String::as_str).collect();
                (found.served, found.own, found.unreadable, violations)
            });
            let expected =
                expected.map(|(served, own, unreadable, all)| (served, own, unreadable, all.to_vec()));
            assert_eq!(found, expected, "{body}");
        }
        let (own, other) = (mark(1, 7), mark(11, 8));
        let foreign = format!("found {other}");
        check(Isolation::Tenant, "1 ", Some((1, 0, 0, &[])));
        check(Isolation::Tenant, &format!("2 {own} {own}"), Some((2, 2, 0, &[])));
        check(Isolation::Tenant, &format!("2 {own} {other}"), Some((2, 1, 0, &[&foreign])));
        check(Isolation::Tenant, "2 canary-000\u{fffd}\u{fffd} canary-", Some((2, 0, 2, &[])));
        check(Isolation::Request, "1 ", Some((1, 0, 0, &[])));
        check(Isolation::Request, &format!("1 {own}"), Some((1, 1, 0, &[])));
        check(Isolation::Request, &format!("1 {own} {own}"), Some((1, 2, 0, &["found 2 marks"])));
        check(Isolation::Request, "2 ", Some((2, 0, 0, &["got an instance that had served 1 before"])));
        check(Isolation::Tenant, "fine", None);
        check(Isolation::Tenant, "", None);
    }

    #[test]
    fn tenants_take_turns_and_what_they_find_is_counted() {
        let config = CanaryConfig {
            requests: 3,
            tenants: 2,
            clients: 2,
            instances_max: None,
            isolation: Isolation::Tenant,
        };
        let canaries = Canaries::new(&config, &numbered_tenants("t", 2).unwrap()).unwrap();
        assert!(canaries.next(0).unwrap().path.ends_with("=canary-00000-00000000000"));
        assert!(canaries.next(1).unwrap().path.ends_with("=canary-00001-00000000001"));
        canaries.check(0, &Bytes::from(format!("1 {}", mark(1, 1)))).unwrap();
        canaries.check(1, &Bytes::from(format!("9 {}", mark(1, 1)))).unwrap();
        let sum = canaries.sum();
        assert_eq!((sum.fresh, sum.reused, sum.own, sum.violations), (1, 1, 1, 1));
        assert_eq!(sum.examples, ["tenant 00000 found canary-00001-00000000001"]);
        assert_eq!(canaries.check(0, &Bytes::from_static(b"fine")), Err(Failure::Shape));
        assert!(canaries.next(0).is_some() && canaries.next(0).is_none());
    }
}
