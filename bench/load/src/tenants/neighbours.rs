//! What a well-behaved tenant notices of a hostile one: alone, beside it, alone, beside it, and so on, so that what
//! changes on the machine hits both alike.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, timeout};

use crate::arrivals::Arrivals;
use crate::client::{Client, Failure};
use crate::compare::divided;
use crate::measurement::{Latency, Measurement, RunReport};
use crate::run::{RunConfig, measure};
use crate::scenario::{Call, Scenario};
use crate::tenants::files::{Guest, Issuer, Tenant};
use crate::tenants::hostile::{Hostile, bearer};
use crate::tenants::kind::{HOSTILE_ISSUER, Kind};
use crate::tenants::progress;
use crate::tenants::stage::{Server, Setup, Stage};
use crate::tenants::tokens::{Algorithm, Signer};
use crate::tenants::verdict::{Verdict, median};

/// p99 beside a hostile neighbour, as a ratio to p99 alone.
const P99_RATIO_MAX: f64 = 1.10;
/// An endless loop is stopped at most this long after its CPU time is used up, on an idle host.
const STOP_LATE_MS_MAX: f64 = 50.0;
/// How long after its CPU time an endless loop is waited for.
const STOP_PATIENCE: Duration = Duration::from_secs(120);
const LOOP: &str = "endless-loop";
/// The priority of the measuring client, where it may raise it: a client on another machine would not wait for this
/// machine's cores either.
const MEASURING_NICE: i32 = -10;
/// How much longer than the measurement the hostile clients go on; preparing conversations beside them takes a while.
const HOSTILE_EXTRA_SECONDS: f64 = 2.0;
/// The well-behaved tenant's conversations at the start of each window.
const GOOD_CONVERSATIONS: u32 = 32;

/// What to measure.
#[derive(Debug, Clone)]
pub(crate) struct NeighboursConfig {
    pub(crate) kinds: Vec<Kind>,
    pub(crate) passes: Vec<Pass>,
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
    /// From the start of the hostile clients until the measurement begins.
    pub(crate) ramp_seconds: f64,
    pub(crate) good_clients: u32,
    pub(crate) hostile_clients: u32,
    /// Lines of the hostile tenant's `[limits]`.
    pub(crate) hostile_limits: String,
    pub(crate) request_cpu_ms_max: u64,
    /// How many endless loops are timed, alone and beside a flood; 0 for none.
    pub(crate) loop_stops: u32,
}

/// What the well-behaved tenant does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pass {
    pub(crate) scenario: Scenario,
    /// Requests per second.
    pub(crate) rate: f64,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct NeighboursReport {
    pub(crate) rounds: u32,
    pub(crate) seconds_per_round: f64,
    pub(crate) hostile_clients: u32,
    pub(crate) hostile_limits: String,
    pub(crate) measuring_priority_raised: bool,
    pub(crate) neighbours: Vec<NeighbourReport>,
    pub(crate) loop_stops: Vec<LoopStops>,
    pub(crate) verdicts: Vec<Verdict>,
}

/// One pass beside one kind.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct NeighbourReport {
    pub(crate) scenario: Scenario,
    pub(crate) rate: f64,
    pub(crate) kind: String,
    pub(crate) is_control: bool,
    pub(crate) alone: RunReport,
    pub(crate) beside: RunReport,
    /// Of all rounds joined.
    pub(crate) ratio_p50: Option<f64>,
    pub(crate) ratio_p99: Option<f64>,
    /// Of each round, beside to the one alone just before it.
    pub(crate) ratio_p99_of_rounds: Vec<f64>,
    /// Their median, which the goal is judged by: one disturbed round does not decide.
    pub(crate) ratio_p99_median: Option<f64>,
    /// The hostile tenant's requests by their outcome.
    pub(crate) hostile: BTreeMap<String, u64>,
    /// The longest that the server went on after the hostile clients had gone.
    pub(crate) calm_after_ms_max: f64,
}

/// How late endless loops were stopped.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LoopStops {
    pub(crate) host: String,
    pub(crate) request_cpu_ms_max: u64,
    /// From sending to the answer, less the allowed CPU time.
    pub(crate) late_ms: Vec<f64>,
    /// Requests that were not answered by status 500.
    pub(crate) unexpected: BTreeMap<String, u64>,
}

pub(crate) async fn neighbours(
    stage: &mut Stage,
    config: &NeighboursConfig,
) -> anyhow::Result<NeighboursReport> {
    let mut guests: Vec<Guest> = config.kinds.iter().filter_map(Kind::guest).collect();
    if config.loop_stops > 0 {
        guests.push(Guest::new(LOOP));
    }
    stage.check(&guests)?;
    let mut report = NeighboursReport {
        rounds: config.rounds,
        seconds_per_round: config.seconds,
        hostile_clients: config.hostile_clients,
        hostile_limits: config.hostile_limits.clone(),
        measuring_priority_raised: RaisedPriority::new().is_raised,
        neighbours: Vec::new(),
        loop_stops: Vec::new(),
        verdicts: Vec::new(),
    };
    for pass in &config.passes {
        for kind in &config.kinds {
            report.neighbours.push(beside(stage, config, *pass, kind).await?);
        }
    }
    if config.loop_stops > 0 {
        report.loop_stops = time_loops(stage, config).await?;
    }
    report.verdicts = judge(&report);
    Ok(report)
}

/// The two tenants of a measurement.
fn tenants(config: &NeighboursConfig, kind: &Kind) -> anyhow::Result<Vec<Tenant>> {
    let good = Tenant::new("good")?;
    let mut hostile =
        Tenant::new("hostile")?.with_limits(&format!("{}{}", kind.limits(), config.hostile_limits));
    if *kind == Kind::BadTokens {
        let issuer = Signer::generate(Algorithm::Es256, HOSTILE_ISSUER)?.entry()?;
        hostile.issuers = vec![Issuer { name: HOSTILE_ISSUER.to_owned(), ..issuer }];
    }
    Ok(vec![good, hostile])
}

async fn start(
    stage: &mut Stage,
    config: &NeighboursConfig,
    tenants: &[Tenant],
    kind: &Kind,
) -> anyhow::Result<Server> {
    let guests: Vec<Guest> = kind.guest().into_iter().collect();
    let engine = format!("request_cpu_ms_max = {}", config.request_cpu_ms_max);
    let setup = Setup {
        name: "neighbours",
        tenants: Some(tenants),
        guests: &guests,
        engine: &engine,
        prints: kind.prints(),
    };
    stage.start(setup).await
}

async fn beside(
    stage: &mut Stage,
    config: &NeighboursConfig,
    pass: Pass,
    kind: &Kind,
) -> anyhow::Result<NeighbourReport> {
    let tenants = tenants(config, kind)?;
    let server = start(stage, config, &tenants, kind).await?;
    let mut rounds = Vec::new();
    let mut hostile = BTreeMap::new();
    let mut calm_after = Duration::ZERO;
    for round in 1..=config.rounds {
        progress(&format!("{} beside {kind}, round {round} of {}", pass.scenario.name(), config.rounds));
        let alone = measure_good(config, pass, &server, &tenants[0]).await?;
        let seconds = 2.0 * config.ramp_seconds + config.seconds + HOSTILE_EXTRA_SECONDS;
        let clients = config.hostile_clients;
        let process = Hostile::start(&server.url, kind, &tenants[1].key.text, clients, seconds)?;
        tokio::time::sleep(Duration::from_secs_f64(config.ramp_seconds)).await;
        let beside = measure_good(config, pass, &server, &tenants[0]).await?;
        for (outcome, count) in process.finish().await?.outcomes {
            *hostile.entry(outcome).or_insert(0) += count;
        }
        calm_after = calm_after.max(server.calm().await);
        rounds.push((alone, beside));
    }
    server.stop().await;
    conclude(pass, kind, &rounds, hostile, calm_after)
}

async fn measure_good(
    config: &NeighboursConfig,
    pass: Pass,
    server: &Server,
    good: &Tenant,
) -> anyhow::Result<Measurement> {
    let _raised = RaisedPriority::new();
    measure(RunConfig {
        clients: config.good_clients,
        seconds: config.seconds,
        warm_up_seconds: config.ramp_seconds,
        rate: Some(pass.rate),
        arrivals: Arrivals::Uniform,
        conversations: GOOD_CONVERSATIONS,
        api_key: Some(good.key.text.clone()),
        expect_echo: pass.scenario != Scenario::Hello,
        servers: vec![("server".to_owned(), server.pid)],
        ..RunConfig::new(pass.scenario, &server.url)
    })
    .await
}

fn conclude(
    pass: Pass,
    kind: &Kind,
    rounds: &[(Measurement, Measurement)],
    hostile: BTreeMap<String, u64>,
    calm_after: Duration,
) -> anyhow::Result<NeighbourReport> {
    let joined = |side: fn(&(Measurement, Measurement)) -> &Measurement| {
        let mut all = rounds.iter().map(side);
        let mut sum = all.next().cloned().ok_or_else(|| anyhow::anyhow!("no rounds"))?;
        for round in all {
            sum.add(round)?;
        }
        anyhow::Ok(sum.report())
    };
    let (alone, beside) = (joined(|round| &round.0)?, joined(|round| &round.1)?);
    let ratio_p99_of_rounds: Vec<f64> = rounds
        .iter()
        .filter_map(|(alone, beside)| ratio(&alone.report(), &beside.report(), |latency| latency.p99_us))
        .collect();
    // A round without answers is none to leave out.
    let is_whole = ratio_p99_of_rounds.len() == rounds.len();
    Ok(NeighbourReport {
        ratio_p99_median: median(&ratio_p99_of_rounds).filter(|_| is_whole),
        ratio_p99_of_rounds,
        scenario: pass.scenario,
        rate: pass.rate,
        kind: kind.to_string(),
        is_control: kind.is_control(),
        ratio_p50: ratio(&alone, &beside, |latency| latency.p50_us),
        ratio_p99: ratio(&alone, &beside, |latency| latency.p99_us),
        alone,
        beside,
        hostile,
        calm_after_ms_max: calm_after.as_secs_f64() * 1e3,
    })
}

/// No ratio where one side has no good answer.
fn ratio(alone: &RunReport, beside: &RunReport, of: fn(&Latency) -> f64) -> Option<f64> {
    let known = |report: &RunReport| (report.requests > 0).then(|| of(&report.latency));
    divided(known(beside), known(alone))
}

fn judge(report: &NeighboursReport) -> Vec<Verdict> {
    let errors = |neighbour: &NeighbourReport| neighbour.alone.error_count() + neighbour.beside.error_count();
    let all_errors: u64 = report.neighbours.iter().map(errors).sum();
    let mut verdicts = vec![Verdict::at_most("errors of the good tenant", Some(all_errors as f64), 0.0)];
    for neighbour in report.neighbours.iter().filter(|neighbour| !neighbour.is_control) {
        let what = format!(
            "p99 of {} beside {}, as a ratio (median of the rounds)",
            neighbour.scenario.name(),
            neighbour.kind
        );
        verdicts.push(Verdict::at_most(what, neighbour.ratio_p99_median, P99_RATIO_MAX));
    }
    for stops in &report.loop_stops {
        if stops.host == IDLE {
            let what = "ms until an endless loop is stopped, past its CPU time (median, idle host)";
            verdicts.push(Verdict::at_most(what, median(&stops.late_ms), STOP_LATE_MS_MAX));
            let unexpected = stops.unexpected.values().sum::<u64>() as f64;
            verdicts.push(Verdict::at_most("loops that were not stopped", Some(unexpected), 0.0));
        }
    }
    verdicts
}

const IDLE: &str = "idle";

/// Endless loops of one tenant, one after the other: on an idle host, then beside another tenant's flood.
async fn time_loops(stage: &mut Stage, config: &NeighboursConfig) -> anyhow::Result<Vec<LoopStops>> {
    let guest = Kind::Guest(LOOP.to_owned());
    let tenants = tenants(config, &guest)?;
    let server = start(stage, config, &tenants, &guest).await?;
    progress("timing endless loops on an idle host");
    let idle = stops(&server, config, &tenants[1], IDLE).await?;
    progress("timing endless loops beside a flood");
    // Under the flood a loop has less than a core, so that its CPU time takes longer.
    let seconds = f64::from(config.loop_stops) * config.request_cpu_ms_max as f64 / 1e3 * 2.0;
    let flood = Hostile::start(
        &server.url,
        &Kind::FloodHello,
        &tenants[0].key.text,
        config.hostile_clients,
        seconds + config.ramp_seconds,
    )?;
    tokio::time::sleep(Duration::from_secs_f64(config.ramp_seconds)).await;
    let flooded = stops(&server, config, &tenants[1], "beside flood-hello").await?;
    drop(flood);
    server.stop().await;
    Ok(vec![idle, flooded])
}

async fn stops(
    server: &Server,
    config: &NeighboursConfig,
    tenant: &Tenant,
    host: &str,
) -> anyhow::Result<LoopStops> {
    let _raised = RaisedPriority::new();
    let allowed_ms = config.request_cpu_ms_max as f64;
    let mut found = LoopStops {
        host: host.to_owned(),
        request_cpu_ms_max: config.request_cpu_ms_max,
        late_ms: Vec::new(),
        unexpected: BTreeMap::new(),
    };
    let mut client =
        Client::new(&server.endpoint, None).ok_or_else(|| anyhow::anyhow!("the host is no header value"))?;
    // The first one also pays for compiling nothing twice, connecting and the first instance; it is not counted.
    for number in 0..=config.loop_stops {
        let mut call = Call::get(format!("/{LOOP}/?now"));
        call.headers.insert(hyper::header::AUTHORIZATION, bearer(&tenant.key.text)?);
        let began = Instant::now();
        let outcome = timeout(STOP_PATIENCE, client.send(call)).await.unwrap_or(Err(Failure::Timeout));
        let taken_ms = began.elapsed().as_secs_f64() * 1e3;
        match outcome {
            Err(Failure::Status(500)) if number > 0 => found.late_ms.push(taken_ms - allowed_ms),
            Err(Failure::Status(500)) => {}
            Err(failure) => *found.unexpected.entry(failure.to_string()).or_insert(0) += 1,
            Ok(_) => *found.unexpected.entry("status 200".to_owned()).or_insert(0) += 1,
        }
    }
    Ok(found)
}

/// The measuring thread's priority, higher for as long as this lives.
struct RaisedPriority {
    is_raised: bool,
}

impl RaisedPriority {
    fn new() -> Self {
        Self { is_raised: rustix::process::setpriority_process(None, MEASURING_NICE).is_ok() }
    }
}

impl Drop for RaisedPriority {
    fn drop(&mut self) {
        if self.is_raised {
            // Lowering is always allowed.
            let _ = rustix::process::setpriority_process(None, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measurement::Tally;

    const PASS: Pass = Pass { scenario: Scenario::Hello, rate: 100.0 };

    fn measured(milliseconds: &[u64], failures: u64) -> Measurement {
        let mut tally = Tally::new().unwrap();
        milliseconds.iter().for_each(|ms| tally.latency(Duration::from_millis(*ms)));
        (0..failures).for_each(|_| tally.failure(&Failure::Timeout));
        Measurement {
            scenario: "hello".to_owned(),
            url: String::new(),
            clients: 1,
            seconds: 1.0,
            tally,
            open: None,
            servers: Vec::new(),
            generator_cpu_seconds: 0.0,
        }
    }

    fn concluded(kind: &Kind, rounds: &[(Measurement, Measurement)]) -> NeighboursReport {
        let neighbour = conclude(PASS, kind, rounds, BTreeMap::new(), Duration::from_millis(3)).unwrap();
        let mut report = NeighboursReport {
            rounds: 2,
            seconds_per_round: 1.0,
            hostile_clients: 1,
            hostile_limits: String::new(),
            measuring_priority_raised: false,
            neighbours: vec![neighbour],
            loop_stops: Vec::new(),
            verdicts: Vec::new(),
        };
        report.verdicts = judge(&report);
        report
    }

    #[test]
    fn ratios_are_those_of_all_rounds_and_of_each() {
        let rounds = [(measured(&[10], 0), measured(&[10], 0)), (measured(&[20], 0), measured(&[40], 0))];
        let report = concluded(&Kind::FloodHello, &rounds);
        let neighbour = &report.neighbours[0];
        assert!((neighbour.ratio_p99.unwrap() - 2.0).abs() < 0.01, "{neighbour:?}");
        assert_eq!(neighbour.alone.requests, 2);
        let of_rounds: Vec<_> = neighbour.ratio_p99_of_rounds.iter().map(|ratio| ratio.round()).collect();
        assert_eq!(of_rounds, [1.0, 2.0]);
        assert!((neighbour.ratio_p99_median.unwrap() - 1.5).abs() < 0.01);
        let met: Vec<_> = report.verdicts.iter().map(|verdict| verdict.met).collect();
        assert_eq!(met, [true, false]);
    }

    #[test]
    fn one_error_of_the_good_tenant_misses_the_goal_and_controls_have_no_other() {
        let report = concluded(&Kind::Nobody, &[(measured(&[10], 0), measured(&[30], 1))]);
        let met: Vec<_> = report.verdicts.iter().map(|verdict| verdict.met).collect();
        assert_eq!(met, [false]);
    }

    #[test]
    fn a_round_without_answers_leaves_no_ratio_to_judge() {
        let good = (measured(&[10], 0), measured(&[10], 0));
        let report = concluded(&Kind::FloodHello, &[good, (measured(&[10], 0), measured(&[], 5))]);
        assert_eq!(report.neighbours[0].ratio_p99_median, None);
        assert!(!report.verdicts[1].met);
    }

    #[test]
    fn loops_on_an_idle_host_are_judged_by_their_median() {
        let stops = LoopStops {
            host: IDLE.to_owned(),
            request_cpu_ms_max: 1_000,
            late_ms: vec![10.0, 20.0, 500.0],
            unexpected: BTreeMap::new(),
        };
        let mut report = concluded(&Kind::Nobody, &[(measured(&[1], 0), measured(&[1], 0))]);
        report.loop_stops = vec![stops.clone(), LoopStops { host: "busy".to_owned(), ..stops }];
        let verdicts = judge(&report);
        assert_eq!(verdicts.len(), 3, "the busy host has no goal");
        assert_eq!((verdicts[1].found, verdicts[1].met), (Some(20.0), true));
    }
}
