//! How many tenants one host holds warm: memory, mappings, and what a tenant's first request takes more than its next.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderValue};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::client::{Client, Failure};
use crate::measurement::{Latency, Tally};
use crate::process::{Memory, mappings_max, memory};
use crate::scenario::{Call, create_conversation, hello};
use crate::tenants::files::{Tenant, numbered_tenants, tenants_toml};
use crate::tenants::hostile::bearer;
use crate::tenants::progress;
use crate::tenants::stage::{Server, Setup, Stage};
use crate::tenants::verdict::Verdict;

/// Instances beyond one per tenant.
const INSTANCES_SPARE: u32 = 1_000;
/// The most instances that the program can be configured for.
const INSTANCES_MAX: u32 = 16_000;
/// Longer than any measurement, so that nothing is given back.
const NEVER_IDLE_MS: u64 = 86_400_000;
const PATIENCE: Duration = Duration::from_secs(30);
/// What the goals are.
const FIRST_EXTRA_MS_MAX: f64 = 1.0;
const RESIDENT_GIB_MAX: f64 = 8.0;
const CHANGE_MS_MAX: f64 = 1_000.0;
const GIBI: f64 = (1_u64 << 30) as f64;
const MEBI: u64 = 1 << 20;
/// How often it is looked whether something has happened.
const POLL_MS: u64 = 5;
const CHANGE_WAIT_MS_MAX: u64 = 60_000;
/// Memory is looked at this often, and given back when it has not fallen for this long.
const MEMORY_POLL_MS: u64 = 500;
const MEMORY_STILL_POLLS: u32 = 10;
/// How long past the idle time-out memory is waited for.
const GIVEN_BACK_WAIT_S_MAX: u64 = 120;
const CHANGES: usize = 5;

/// What the tenants ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Request {
    /// `GET /v1/models` of chat, which stores nothing.
    Models,
    /// `POST /v1/conversations` of chat: a durable write.
    Conversation,
    /// `GET /hello`.
    Hello,
}

impl Request {
    fn call(self, authorization: &HeaderValue) -> Call {
        let mut call = match self {
            Self::Models => Call::get("/v1/models"),
            Self::Conversation => create_conversation(),
            Self::Hello => hello(),
        };
        call.headers.insert(AUTHORIZATION, authorization.clone());
        call
    }
}

#[derive(Debug, Clone)]
pub(crate) struct DensityConfig {
    pub(crate) tenants: u32,
    pub(crate) request: Request,
    pub(crate) clients: u32,
    /// The idle time-out of the second phase, at least; 0 leaves that phase out.
    pub(crate) idle_seconds: u64,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct DensityReport {
    pub(crate) tenants: u32,
    pub(crate) request: Request,
    pub(crate) clients: u32,
    /// From the start of the process until it listened, with one tenant and with all.
    pub(crate) start_ms_with_one: f64,
    pub(crate) start_ms_with_all: f64,
    pub(crate) tenants_file_bytes: usize,
    /// Each tenant's first request.
    pub(crate) first: Latency,
    /// Each tenant's second one, right after the first.
    pub(crate) second: Latency,
    /// One more of each, when all are warm.
    pub(crate) warm: Latency,
    pub(crate) failures: std::collections::BTreeMap<String, u64>,
    pub(crate) memory_before: Memory,
    pub(crate) memory_warm: Memory,
    pub(crate) mappings_max: Option<u64>,
    /// From replacing tenants.toml until a tenant added there was served.
    pub(crate) added_after_ms: Vec<f64>,
    /// From replacing it until a tenant suspended there was refused.
    pub(crate) suspended_after_ms: Vec<f64>,
    pub(crate) idle: Option<IdleReport>,
    pub(crate) verdicts: Vec<Verdict>,
}

/// Another server, whose instances become idle.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct IdleReport {
    pub(crate) idle_instance_timeout_ms: u64,
    pub(crate) memory_before: Memory,
    pub(crate) memory_warm: Memory,
    pub(crate) memory_after: Memory,
    /// From the last request until memory no longer fell.
    pub(crate) given_back_after_ms: f64,
}

pub(crate) async fn density(stage: &mut Stage, config: &DensityConfig) -> anyhow::Result<DensityReport> {
    if !(1..=INSTANCES_MAX - INSTANCES_SPARE).contains(&config.tenants) {
        bail!("there can be 1 to {} tenants", INSTANCES_MAX - INSTANCES_SPARE);
    }
    let tenants = numbered_tenants("t", config.tenants)?;
    let start_ms_with_one = time_start(stage, config, &tenants[..1]).await?;
    progress(&format!("starting with {} tenants", config.tenants));
    let server = start(stage, config, &tenants, NEVER_IDLE_MS).await?;
    let memory_before = memory_of(&server)?;
    progress("first requests");
    let warming = Instant::now();
    let mut found = Visits::new()?;
    found.add(&visit(&server, config, &tenants, true).await?)?;
    let warmed_in = warming.elapsed();
    progress("one more of each");
    found.add(&visit(&server, config, &tenants, false).await?)?;
    let memory_warm = memory_of(&server)?;
    progress("changing tenants.toml");
    let (added_after_ms, suspended_after_ms) = changes(&server, &tenants).await?;
    let start_ms_with_all = server.started_in.as_secs_f64() * 1e3;
    server.stop().await;
    let idle = match config.idle_seconds {
        0 => None,
        seconds => Some(become_idle(stage, config, &tenants, seconds, warmed_in).await?),
    };
    let mut report = DensityReport {
        tenants: config.tenants,
        request: config.request,
        clients: config.clients,
        start_ms_with_one,
        start_ms_with_all,
        tenants_file_bytes: tenants_toml(&tenants).len(),
        first: found.first.answer_times(),
        second: found.second.answer_times(),
        warm: found.warm.answer_times(),
        failures: found.failures()?,
        memory_before,
        memory_warm,
        mappings_max: mappings_max(),
        added_after_ms,
        suspended_after_ms,
        idle,
        verdicts: Vec::new(),
    };
    report.verdicts = judge(&report);
    Ok(report)
}

/// The first start compiles, so the second one is timed.
async fn time_start(stage: &mut Stage, config: &DensityConfig, tenants: &[Tenant]) -> anyhow::Result<f64> {
    start(stage, config, tenants, NEVER_IDLE_MS).await?.stop().await;
    let server = start(stage, config, tenants, NEVER_IDLE_MS).await?;
    let taken = server.started_in.as_secs_f64() * 1e3;
    server.stop().await;
    Ok(taken)
}

async fn start(
    stage: &mut Stage,
    config: &DensityConfig,
    tenants: &[Tenant],
    idle_ms: u64,
) -> anyhow::Result<Server> {
    let instances = config.tenants + INSTANCES_SPARE;
    let engine = format!("instances_max = {instances}\nidle_instance_timeout_ms = {idle_ms}");
    let setup = Setup { name: "density", tenants: Some(tenants), engine: &engine, ..Setup::default() };
    stage.start(setup).await
}

fn memory_of(server: &Server) -> anyhow::Result<Memory> {
    memory(server.pid).context("the server has ended")
}

/// How long requests took, by which of its tenant's they were.
struct Visits {
    first: Tally,
    second: Tally,
    warm: Tally,
}

impl Visits {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { first: Tally::new()?, second: Tally::new()?, warm: Tally::new()? })
    }

    fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.first.add(&other.first)?;
        self.second.add(&other.second)?;
        self.warm.add(&other.warm)
    }

    fn failures(&self) -> anyhow::Result<std::collections::BTreeMap<String, u64>> {
        let mut all = self.first.clone();
        all.add(&self.second)?;
        all.add(&self.warm)?;
        Ok(all.failures().clone())
    }
}

/// What the clients of a visit share.
struct Visit {
    credentials: Vec<HeaderValue>,
    next: AtomicUsize,
    request: Request,
    /// Two requests of each tenant that has had none; else one of each.
    is_first: bool,
}

/// Every tenant once, by few clients.
async fn visit(
    server: &Server,
    config: &DensityConfig,
    tenants: &[Tenant],
    is_first: bool,
) -> anyhow::Result<Visits> {
    let credentials = tenants.iter().map(|tenant| bearer(&tenant.key.text)).collect::<Result<_, _>>()?;
    let visit = Arc::new(Visit { credentials, next: AtomicUsize::new(0), request: config.request, is_first });
    let mut clients = JoinSet::new();
    for _ in 0..config.clients.max(1) {
        let client = Client::new(&server.endpoint, None).context("the host is no header value")?;
        clients.spawn(visit_tenants(Arc::clone(&visit), client, Visits::new()?));
    }
    let mut all = Visits::new()?;
    while let Some(finished) = clients.join_next().await {
        all.add(&finished.context("a client ended early")?)?;
    }
    Ok(all)
}

async fn visit_tenants(visit: Arc<Visit>, mut client: Client, mut found: Visits) -> Visits {
    while let Some(authorization) = visit.credentials.get(visit.next.fetch_add(1, Relaxed)) {
        let call = || visit.request.call(authorization);
        if visit.is_first {
            timed(&mut client, call(), &mut found.first).await;
            timed(&mut client, call(), &mut found.second).await;
        } else {
            timed(&mut client, call(), &mut found.warm).await;
        }
    }
    found
}

async fn timed(client: &mut Client, call: Call, tally: &mut Tally) {
    let began = Instant::now();
    match asked(client, call).await {
        Ok(_) => tally.latency(began.elapsed()),
        Err(failure) => tally.failure(&failure),
    }
}

async fn asked(client: &mut Client, call: Call) -> Result<Bytes, Failure> {
    let exchange = async {
        let response = client.send(call).await?;
        client.read(response).await
    };
    let outcome = timeout(PATIENCE, exchange).await;
    outcome.unwrap_or_else(|_| {
        client.disconnect();
        Err(Failure::Timeout)
    })
}

/// How long changes of the file take until they are in force.
async fn changes(server: &Server, tenants: &[Tenant]) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
    let mut client = Client::new(&server.endpoint, None).context("the host is no header value")?;
    let (mut added, mut suspended) = (Vec::new(), Vec::new());
    for number in 0..CHANGES {
        let mut newcomer = Tenant::new(format!("newcomer-{number}"))?;
        server.replace_tenants(tenants.iter().chain([&newcomer]))?;
        added.push(until(&mut client, &newcomer, |outcome| outcome.is_ok()).await?);
        newcomer.suspended = true;
        server.replace_tenants(tenants.iter().chain([&newcomer]))?;
        let refused = |outcome: &Result<Bytes, Failure>| matches!(outcome, Err(Failure::Status(401 | 403)));
        suspended.push(until(&mut client, &newcomer, refused).await?);
    }
    Ok((added, suspended))
}

/// Milliseconds until the tenant's requests end as they should.
async fn until(
    client: &mut Client,
    tenant: &Tenant,
    is_so: impl Fn(&Result<Bytes, Failure>) -> bool,
) -> anyhow::Result<f64> {
    let began = Instant::now();
    let authorization = bearer(&tenant.key.text)?;
    loop {
        let outcome = asked(client, Request::Hello.call(&authorization)).await;
        if is_so(&outcome) {
            return Ok(began.elapsed().as_secs_f64() * 1e3);
        }
        if began.elapsed() > Duration::from_millis(CHANGE_WAIT_MS_MAX) {
            bail!("a change of tenants.toml is not in force after {CHANGE_WAIT_MS_MAX} ms: {outcome:?}");
        }
        sleep(Duration::from_millis(POLL_MS)).await;
    }
}

/// All tenants warm at once, then idle for longer than the time-out.
async fn become_idle(
    stage: &mut Stage,
    config: &DensityConfig,
    tenants: &[Tenant],
    seconds: u64,
    warmed_in: Duration,
) -> anyhow::Result<IdleReport> {
    // The first instance must still be there when the last one comes.
    let idle_ms = (seconds * 1_000).max(u64::try_from(warmed_in.as_millis())? * 2);
    progress(&format!("warming again, with an idle time-out of {idle_ms} ms"));
    let server = start(stage, config, tenants, idle_ms).await?;
    let memory_before = memory_of(&server)?;
    visit(&server, config, tenants, true).await?;
    let memory_warm = memory_of(&server)?;
    let (memory_after, given_back_after) = given_back(&server, idle_ms).await?;
    server.stop().await;
    Ok(IdleReport {
        idle_instance_timeout_ms: idle_ms,
        memory_before,
        memory_warm,
        memory_after,
        given_back_after_ms: given_back_after.as_secs_f64() * 1e3,
    })
}

/// Waits until the time-out is over and memory no longer falls.
async fn given_back(server: &Server, idle_ms: u64) -> anyhow::Result<(Memory, Duration)> {
    let began = Instant::now();
    let timeout = Duration::from_millis(idle_ms);
    let deadline = timeout + Duration::from_secs(GIVEN_BACK_WAIT_S_MAX);
    let mut least = memory_of(server)?;
    let mut fell_last = Duration::ZERO;
    let mut still = 0;
    while began.elapsed() < deadline && (began.elapsed() < timeout || still < MEMORY_STILL_POLLS) {
        sleep(Duration::from_millis(MEMORY_POLL_MS)).await;
        let now = memory_of(server)?;
        if now.rss_bytes + MEBI < least.rss_bytes {
            (least, fell_last, still) = (now, began.elapsed(), 0);
        } else {
            still += 1;
        }
    }
    Ok((memory_of(server)?, fell_last))
}

fn judge(report: &DensityReport) -> Vec<Verdict> {
    let most = |values: &[f64]| values.iter().copied().reduce(f64::max);
    let extra_ms = (report.first.p99_us - report.second.p99_us) / 1e3;
    let resident = report.memory_warm.rss_bytes as f64 / GIBI;
    let failures: u64 = report.failures.values().sum();
    vec![
        Verdict::at_most("failed requests", Some(failures as f64), 0.0),
        Verdict::at_most("extra ms of a tenant's first request, at p99", Some(extra_ms), FIRST_EXTRA_MS_MAX),
        Verdict::at_most(
            format!("GiB resident with {} warm tenants", report.tenants),
            Some(resident),
            RESIDENT_GIB_MAX,
        ),
        Verdict::at_most("ms until an added tenant is served", most(&report.added_after_ms), CHANGE_MS_MAX),
        Verdict::at_most(
            "ms until a suspended tenant is refused",
            most(&report.suspended_after_ms),
            CHANGE_MS_MAX,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_requests_are_compared_with_second_ones() {
        let times = |milliseconds: u64| {
            let mut tally = Tally::new().unwrap();
            tally.latency(Duration::from_millis(milliseconds));
            tally.answer_times()
        };
        let report = DensityReport {
            tenants: 2,
            request: Request::Models,
            clients: 1,
            start_ms_with_one: 1.0,
            start_ms_with_all: 2.0,
            tenants_file_bytes: 9,
            first: times(30),
            second: times(10),
            warm: times(11),
            failures: std::collections::BTreeMap::new(),
            memory_before: Memory::default(),
            memory_warm: Memory { rss_bytes: 9 << 30, ..Memory::default() },
            mappings_max: None,
            added_after_ms: vec![300.0, 900.0],
            suspended_after_ms: Vec::new(),
            idle: None,
            verdicts: Vec::new(),
        };
        let verdicts = judge(&report);
        assert!((verdicts[1].found.unwrap() - 20.0).abs() < 0.1, "{verdicts:?}");
        let met: Vec<_> = verdicts.iter().map(|verdict| verdict.met).collect();
        assert_eq!(met, [true, false, false, true, false]);
    }

    #[test]
    fn a_request_carries_its_tenants_credential() {
        let value = HeaderValue::from_static("Bearer k");
        for (request, path) in [
            (Request::Models, "/v1/models"),
            (Request::Conversation, "/v1/conversations"),
            (Request::Hello, "/hello"),
        ] {
            let call = request.call(&value);
            assert_eq!((call.path.as_str(), &call.headers[AUTHORIZATION]), (path, &value));
        }
    }
}
