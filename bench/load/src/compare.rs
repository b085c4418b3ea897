//! Several targets in one run, interleaved round by round, so that what changes on the machine hits all alike.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::endpoint::Endpoint;
use crate::measurement::{Measurement, RunReport};
use crate::run::{RunConfig, measure};
use crate::scenario::Scenario;
use crate::scenario_file::ScenarioFile;
use crate::spawn::{Launch, Process};

/// The names under which the processes of a target are billed.
const SERVER: &str = "server";
const STORE: &str = "store";
const ROUNDS_MAX: u32 = 1_000;

/// What to compare; the shape of the TOML file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompareConfig {
    /// Each is run for every target.
    #[serde(default = "default_scenarios")]
    pub scenarios: Vec<Scenario>,
    /// Scenarios from files, measured after the others. Paths are relative to the folder the comparison is run in.
    #[serde(default)]
    pub scenario_files: Vec<PathBuf>,
    /// Closed-loop clients.
    #[serde(default = "default_clients")]
    pub clients: u32,
    /// Length of one round's window.
    #[serde(default = "default_seconds")]
    pub seconds: f64,
    /// Load without measuring before each round.
    #[serde(default = "default_warm_up_seconds")]
    pub warm_up_seconds: f64,
    /// How often each target has its turn.
    #[serde(default = "default_rounds")]
    pub rounds: u32,
    /// Turns in a conversation of `turn-history`.
    #[serde(default = "default_history")]
    pub history: u32,
    /// Turns before a client takes a new conversation.
    #[serde(default = "default_history")]
    pub turns_per_conversation: u32,
    /// Requests per second in an open loop, instead of as many as the clients can.
    #[serde(default)]
    pub rate: Option<f64>,
    /// Check that answers echo their input.
    #[serde(default)]
    pub expect_echo: bool,
    /// The target the ratios refer to; the first one if not given.
    #[serde(default)]
    pub baseline: Option<String>,
    /// Where the output of started processes goes; the system's directory for temporary files if not given.
    #[serde(default)]
    pub logs: Option<PathBuf>,
    /// Processes that targets need (the model, Redis), started first.
    #[serde(default, rename = "service")]
    pub services: Vec<ServiceConfig>,
    /// What is compared.
    #[serde(default, rename = "target")]
    pub targets: Vec<TargetConfig>,
}

/// A process that targets need.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceConfig {
    /// What targets call it in `stores`.
    pub name: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Added to the environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// `HOST:PORT` that accepts connections when it is ready.
    pub ready: String,
}

/// One thing to compare.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetConfig {
    /// As in the table.
    pub name: String,
    /// `http://HOST:PORT`.
    pub url: String,
    /// Program and arguments, when it is to be started; its CPU is billed.
    #[serde(default)]
    pub command: Vec<String>,
    /// Added to the environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Running processes whose trees are the server.
    #[serde(default)]
    pub pids: Vec<u32>,
    /// Running processes whose trees are its store.
    #[serde(default)]
    pub store_pids: Vec<u32>,
    /// Services that are its store.
    #[serde(default)]
    pub stores: Vec<String>,
    /// The names of the scenarios it takes part in; all of them if there are none.
    #[serde(default)]
    pub only: Vec<String>,
    /// Sent as `Authorization: Bearer KEY`.
    #[serde(default)]
    pub api_key: Option<String>,
    /// A file with the API keys of its tenants, for scenarios with many.
    #[serde(default)]
    pub keys: Option<PathBuf>,
    /// The model named in the requests.
    #[serde(default = "default_model")]
    pub model: String,
}

fn default_scenarios() -> Vec<Scenario> {
    vec![Scenario::Hello, Scenario::Turn]
}
fn default_clients() -> u32 {
    32
}
fn default_seconds() -> f64 {
    5.0
}
fn default_warm_up_seconds() -> f64 {
    1.0
}
fn default_rounds() -> u32 {
    3
}
fn default_history() -> u32 {
    10
}
fn default_model() -> String {
    "sim".to_owned()
}

impl CompareConfig {
    fn check(&self) -> anyhow::Result<()> {
        if self.targets.is_empty() {
            bail!("there is no target; name at least one as [[target]] or --target NAME=URL");
        }
        if self.scenarios.is_empty() && self.scenario_files.is_empty() {
            bail!("there is no scenario");
        }
        if !(1..=ROUNDS_MAX).contains(&self.rounds) {
            bail!("{} rounds: from 1 to {ROUNDS_MAX} can be run", self.rounds);
        }
        for (at, target) in self.targets.iter().enumerate() {
            Endpoint::parse(&target.url).with_context(|| format!("target {}", target.name))?;
            if self.targets[..at].iter().any(|earlier| earlier.name == target.name) {
                bail!("two targets are named {}", target.name);
            }
            for store in &target.stores {
                if !self.services.iter().any(|service| service.name == *store) {
                    bail!("target {} names the store {store}, but there is no such [[service]]", target.name);
                }
            }
        }
        if let Some(baseline) = &self.baseline
            && !self.targets.iter().any(|target| target.name == *baseline)
        {
            bail!("the baseline {baseline} is none of the targets");
        }
        Ok(())
    }

    /// How long all windows and warm-ups last together.
    ///
    /// # Errors
    /// A scenario's file that is none.
    pub fn seconds_all(&self) -> anyhow::Result<f64> {
        let subjects = self.subjects()?;
        let runs = self.targets.iter().flat_map(|target| {
            let its = subjects.iter().filter(|subject| target.takes_part(subject.name()));
            its.filter_map(|subject| self.run_config(subject, target, Vec::new()).ok())
        });
        let each: f64 = runs.map(|run| run.window_seconds() + run.warm_up_seconds).sum();
        Ok(each * f64::from(self.rounds))
    }

    fn subjects(&self) -> anyhow::Result<Vec<Subject>> {
        let named = self.scenarios.iter().map(|scenario| Ok(Subject::Named(*scenario)));
        let files = self.scenario_files.iter().map(|path| {
            let file = ScenarioFile::read(path)?;
            if file.body.idle.is_some() {
                bail!(
                    "{} holds connections, which `waggle-bench run` measures, not a comparison",
                    path.display()
                );
            }
            Ok(Subject::File(Box::new(file)))
        });
        named.chain(files).collect()
    }

    fn run_config(
        &self,
        subject: &Subject,
        target: &TargetConfig,
        servers: Vec<(String, u32)>,
    ) -> anyhow::Result<RunConfig> {
        let run = match subject {
            Subject::Named(scenario) => RunConfig {
                clients: self.clients,
                seconds: self.seconds,
                warm_up_seconds: self.warm_up_seconds,
                history: self.history,
                turns_per_conversation: self.turns_per_conversation,
                rate: self.rate,
                ..RunConfig::new(*scenario, &target.url)
            },
            // What a comparison says of load is for the scenarios without a file.
            Subject::File(file) => file.run_config(&target.url, target.keys.as_deref())?,
        };
        Ok(RunConfig {
            model: target.model.clone(),
            api_key: target.api_key.clone(),
            expect_echo: self.expect_echo,
            servers,
            ..run
        })
    }
}

impl TargetConfig {
    fn takes_part(&self, scenario: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == scenario)
    }
}

/// A scenario of a comparison.
enum Subject {
    Named(Scenario),
    File(Box<ScenarioFile>),
}

impl Subject {
    fn name(&self) -> &str {
        match self {
            Self::Named(scenario) => scenario.name(),
            Self::File(file) => &file.name,
        }
    }
}

/// What came out: one entry per scenario and target.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Comparison {
    /// The target the ratios refer to.
    pub baseline: String,
    /// How often each target had its turn.
    pub rounds: u32,
    /// In the order of scenarios, then targets.
    pub results: Vec<Compared>,
}

/// One target in one scenario, all rounds joined.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Compared {
    /// The target.
    pub target: String,
    /// Its numbers.
    pub report: RunReport,
    /// CPU of the server's processes per good answer; `None` when no process is known.
    pub server_cpu_us: Option<f64>,
    /// CPU of the server's and its store's processes per good answer.
    pub total_cpu_us: Option<f64>,
    /// This target's number divided by the baseline's.
    pub ratio: Ratio,
}

/// Ratios to the baseline: above 1 is more of it. `None` where one of the two has no number.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Ratio {
    /// Good answers per second.
    pub throughput: Option<f64>,
    /// Good answers per second of the server's CPU.
    pub per_cpu_second: Option<f64>,
    /// Good answers per second of the CPU of the server and its store.
    pub per_total_cpu_second: Option<f64>,
    /// Median latency (below 1 is faster).
    pub p50: Option<f64>,
    /// 99th percentile (below 1 is faster).
    pub p99: Option<f64>,
}

/// Starts what is to be started, measures all, stops what was started.
///
/// # Errors
/// A configuration that makes no sense, or a process that does not start.
pub async fn compare(config: &CompareConfig) -> anyhow::Result<Comparison> {
    config.check()?;
    // A mistake in a scenario is told before anything is started.
    for target in &config.targets {
        let subjects = config.subjects()?;
        if let Some(name) = target.only.iter().find(|name| subjects.iter().all(|of| of.name() != **name)) {
            bail!("target {} is only for {name}, which is none of the scenarios", target.name);
        }
        for subject in subjects.into_iter().filter(|subject| target.takes_part(subject.name())) {
            config.run_config(&subject, target, Vec::new())?;
        }
    }
    let mut started = Started::default();
    // A signal ends the comparison but not before what it started has been stopped.
    let outcome = tokio::select! {
        outcome = start_and_measure(config, &mut started) => outcome,
        () = interrupted() => Err(anyhow::anyhow!("interrupted")),
    };
    started.stop().await;
    outcome
}

/// Waits for SIGINT or SIGTERM.
pub(crate) async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        },
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

#[derive(Default)]
struct Started {
    services: Vec<(String, Process)>,
    targets: Vec<(String, Process)>,
}

impl Started {
    async fn stop(self) {
        for (_, process) in self.targets.into_iter().chain(self.services) {
            process.stop().await;
        }
    }

    /// The process trees to bill for a target.
    fn bill(&self, target: &TargetConfig) -> Vec<(String, u32)> {
        let own = self.targets.iter().filter(|(name, _)| *name == target.name).map(|(_, p)| p.pid);
        let stores =
            self.services.iter().filter(|(name, _)| target.stores.contains(name)).map(|(_, p)| p.pid);
        let servers = own.chain(target.pids.iter().copied()).map(|pid| (SERVER.to_owned(), pid));
        let stores = stores.chain(target.store_pids.iter().copied()).map(|pid| (STORE.to_owned(), pid));
        servers.chain(stores).collect()
    }
}

async fn start_and_measure(config: &CompareConfig, started: &mut Started) -> anyhow::Result<Comparison> {
    let logs = match &config.logs {
        Some(path) => path.clone(),
        None => std::env::temp_dir().join(format!("waggle-bench-{}", std::process::id())),
    };
    std::fs::create_dir_all(&logs).with_context(|| format!("could not make {}", logs.display()))?;
    for service in &config.services {
        let launch = Launch {
            name: &service.name,
            command: &service.command,
            environment: &service.env,
            ready: &service.ready,
        };
        started.services.push((service.name.clone(), Process::start(launch, &logs).await?));
    }
    for target in config.targets.iter().filter(|target| !target.command.is_empty()) {
        let ready = Endpoint::parse(&target.url)?.address.to_string();
        let launch =
            Launch { name: &target.name, command: &target.command, environment: &target.env, ready: &ready };
        started.targets.push((target.name.clone(), Process::start(launch, &logs).await?));
    }
    let subjects = config.subjects()?;
    let mut joined: Vec<Option<Measurement>> = vec![None; subjects.len() * config.targets.len()];
    for _ in 0..config.rounds {
        for (subject_at, subject) in subjects.iter().enumerate() {
            for (target_at, target) in config.targets.iter().enumerate() {
                if !target.takes_part(subject.name()) {
                    continue;
                }
                let measured = measure(config.run_config(subject, target, started.bill(target))?).await?;
                match &mut joined[subject_at * config.targets.len() + target_at] {
                    Some(sum) => sum.add(&measured)?,
                    empty => *empty = Some(measured),
                }
            }
        }
    }
    Ok(conclude(config, &joined))
}

fn conclude(config: &CompareConfig, joined: &[Option<Measurement>]) -> Comparison {
    let names: Vec<&str> = config.targets.iter().map(|target| target.name.as_str()).collect();
    let baseline = config.baseline.as_deref().unwrap_or(names[0]);
    let baseline_at = names.iter().position(|name| *name == baseline).unwrap_or(0);
    let mut results = Vec::new();
    for of_scenario in joined.chunks(names.len()) {
        let costs: Vec<_> = of_scenario.iter().map(|of| of.as_ref().map(|m| Cost::of(m.report()))).collect();
        let base = costs.get(baseline_at).and_then(Option::as_ref);
        for (name, cost) in names.iter().zip(&costs) {
            let Some(cost) = cost else { continue };
            results.push(Compared {
                target: (*name).to_owned(),
                report: cost.report.clone(),
                server_cpu_us: cost.server_us,
                total_cpu_us: cost.total_us,
                ratio: cost.ratio_to(base),
            });
        }
    }
    Comparison { baseline: baseline.to_owned(), rounds: config.rounds, results }
}

struct Cost {
    report: RunReport,
    server_us: Option<f64>,
    total_us: Option<f64>,
}

impl Cost {
    fn of(report: RunReport) -> Self {
        let sum = |wanted: &dyn Fn(&str) -> bool| -> f64 {
            report.servers.iter().filter(|s| wanted(&s.name)).map(|s| s.cpu_us_per_request).sum()
        };
        let known = report.servers.iter().any(|server| server.name == SERVER) && report.requests > 0;
        let server_us = known.then(|| sum(&|name| name == SERVER));
        let total_us = known.then(|| sum(&|_| true));
        Self { report, server_us, total_us }
    }

    /// `base` is missing when the baseline did not take part in the scenario.
    fn ratio_to(&self, base: Option<&Self>) -> Ratio {
        let Some(base) = base else { return Ratio::default() };
        let (mine, theirs) = (&self.report, &base.report);
        Ratio {
            throughput: divided(Some(mine.requests_per_second), Some(theirs.requests_per_second)),
            // Answers per CPU second are the inverse of CPU per answer.
            per_cpu_second: divided(base.server_us, self.server_us),
            per_total_cpu_second: divided(base.total_us, self.total_us),
            p50: divided(Some(mine.latency.p50_us), Some(theirs.latency.p50_us)),
            p99: divided(Some(mine.latency.p99_us), Some(theirs.latency.p99_us)),
        }
    }
}

/// A ratio, where there is one.
pub(crate) fn divided(upper: Option<f64>, lower: Option<f64>) -> Option<f64> {
    match (upper, lower) {
        (Some(upper), Some(lower)) if lower > 0.0 => Some(upper / lower),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_that_makes_no_sense_is_explained() {
        fn check(text: &str, expected: &str) {
            let error = match toml::from_str::<CompareConfig>(text) {
                Ok(config) => format!("{:#}", config.check().unwrap_err()),
                Err(error) => error.to_string(),
            };
            assert!(error.contains(expected), "{error}");
        }
        const A: &str = "[[target]]\nname = \"a\"\nurl = \"http://127.0.0.1:1\"\n";
        check("", "there is no target");
        check("clints = 3", "unknown field `clints`");
        check(&format!("{A}{A}"), "two targets are named a");
        check(&format!("baseline = \"b\"\n{A}"), "the baseline b is none");
        check(&format!("{A}stores = [\"redis\"]"), "there is no such [[service]]");
        check(&format!("rounds = 0\n{A}"), "from 1 to 1000");
        check("[[target]]\nname = \"a\"\nurl = \"https://x\"", "target a: `https://x` is not of the form");
    }

    #[test]
    fn a_ratio_without_a_number_is_left_out() {
        assert_eq!(divided(Some(3.0), Some(2.0)), Some(1.5));
        assert_eq!(divided(Some(3.0), Some(0.0)), None);
        assert_eq!(divided(None, Some(2.0)), None);
    }
}
