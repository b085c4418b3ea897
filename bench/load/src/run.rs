//! One run: clients, warm-up, window, bill.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::arrivals::{Arrivals, Schedule, Step, check_steps, total_seconds};
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::files::allow_files;
use crate::keys::Keys;
use crate::measurement::{Measurement, OpenPart, RunReport, Served, Tally};
use crate::open::run_open;
use crate::process::{cpu_seconds_alone, is_alive, usage};
use crate::samples::sample;
use crate::scenario::Scenario;
use crate::supply::Supply;
use crate::worker::{Window, Worker};

/// The most clients of one run.
pub(crate) const CLIENTS_MAX: u32 = 4_096;
/// The longest run.
pub(crate) const SECONDS_MAX: f64 = 86_400.0;

/// The most connections of an open loop.
pub(crate) const CONNECTIONS_MAX: u32 = 200_000;
/// How often it is looked whether the servers rest after what was prepared, how long that is waited for at most, and how much
/// of a core they may use then.
const QUIET_LOOK: Duration = Duration::from_secs(1);
const QUIET_WITHIN: Duration = Duration::from_secs(600);
const QUIET_CORES_MAX: f64 = 0.1;

/// The most conversations that are prepared before a run.
pub(crate) const CONVERSATIONS_MAX: u32 = 10_000_000;
/// Conversations that an open loop begins with unless told otherwise.
const OPEN_CONVERSATIONS_MAX: u32 = 1_000;
/// The longest input of a turn.
pub(crate) const INPUT_BYTES_MAX: u32 = 64 << 20;
/// File descriptors that are needed for other things than connections.
const FILES_SPARE: u64 = 64;
/// Arrivals are the same in each run unless told otherwise, so that targets get the same load.
const SEED: u64 = 20_261_122;

/// What to run.
#[derive(Debug, Clone)]
pub struct RunConfig {
    /// What the report calls it; the scenario's own name unless it came from a file.
    pub name: String,
    /// What is measured.
    pub scenario: Scenario,
    /// The server, `http://HOST:PORT`.
    pub url: String,
    /// Closed-loop clients, each with a connection of its own.
    pub clients: u32,
    /// Length of the measured window; that of all steps, when there are steps.
    pub seconds: f64,
    /// Load without measuring before it.
    pub warm_up_seconds: f64,
    /// Turns a conversation holds before `turn-history` measures a turn in it.
    pub history: u32,
    /// Turns asked in a conversation before it is replaced by a new one.
    pub turns_per_conversation: u32,
    /// Conversations that exist before the load begins; turns go round over them. 0: one for each client and
    /// tenant, or for each connection of an open loop.
    pub conversations: u32,
    /// What is said in a turn is made this long.
    pub input_bytes: u32,
    /// Requests per second in an open loop; `None` for a closed one.
    pub rate: Option<f64>,
    /// A rate over time in an open loop, instead of `rate` and `seconds`.
    pub steps: Vec<Step>,
    /// How the arrivals of an open loop spread.
    pub arrivals: Arrivals,
    /// The most connections of an open loop.
    pub connections_max: u32,
    /// The model named in the requests.
    pub model: String,
    /// Sent as `Authorization: Bearer KEY`.
    pub api_key: Option<String>,
    /// The keys of many tenants, who take turns; instead of `api_key`.
    pub keys: Option<Arc<Keys>>,
    /// Check that each answer echoes its own input, as model-sim's do.
    pub expect_echo: bool,
    /// When a request counts as failed.
    pub request_timeout_ms: u64,
    /// Process trees whose CPU and memory are reported: a name and the root's pid.
    pub servers: Vec<(String, u32)>,
}

/// The open loop of a run.
#[derive(Debug, Clone)]
pub(crate) struct OpenLoop {
    pub(crate) steps: Vec<Step>,
    pub(crate) arrivals: Arrivals,
    pub(crate) connections_max: u32,
}

impl RunConfig {
    /// The usual run of a scenario: a closed loop of 32 clients, 10 s after 2 s of warm-up.
    #[must_use]
    pub fn new(scenario: Scenario, url: impl Into<String>) -> Self {
        Self {
            name: scenario.name().to_owned(),
            scenario,
            url: url.into(),
            clients: 32,
            seconds: 10.0,
            warm_up_seconds: 2.0,
            history: 10,
            turns_per_conversation: 10,
            conversations: 0,
            input_bytes: 0,
            rate: None,
            steps: Vec::new(),
            arrivals: Arrivals::default(),
            connections_max: 1_000,
            model: "sim".to_owned(),
            api_key: None,
            keys: None,
            expect_echo: false,
            request_timeout_ms: 10_000,
            servers: Vec::new(),
        }
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// The open loop, if the run has a rate.
    pub(crate) fn open_loop(&self) -> Option<OpenLoop> {
        let steps = match self.rate {
            _ if !self.steps.is_empty() => self.steps.clone(),
            Some(rate) => vec![Step { rate, seconds: self.seconds }],
            None => return None,
        };
        Some(OpenLoop { steps, arrivals: self.arrivals, connections_max: self.connections_max })
    }

    /// Length of the measured window.
    pub(crate) fn window_seconds(&self) -> f64 {
        if self.steps.is_empty() { self.seconds } else { total_seconds(&self.steps) }
    }

    /// How many conversations are made before the load begins.
    pub(crate) fn conversations_at_start(&self) -> usize {
        let tenants = self.keys.as_ref().map_or(1, |keys| keys.count());
        match self.conversations {
            _ if !self.scenario.needs_conversation() => 0,
            // In an open loop, as many may be in use at once as there are connections.
            0 if self.open_loop().is_some() => {
                tenants.max(self.connections_max.min(OPEN_CONVERSATIONS_MAX) as usize)
            }
            0 => tenants.max(self.clients as usize),
            wanted => wanted as usize,
        }
    }

    fn check(&self) -> anyhow::Result<()> {
        if !(1..=CLIENTS_MAX).contains(&self.clients) {
            bail!("{} clients: from 1 to {CLIENTS_MAX} can be run", self.clients);
        }
        if !(1..=CONNECTIONS_MAX).contains(&self.connections_max) {
            bail!("{} connections: from 1 to {CONNECTIONS_MAX} can be made", self.connections_max);
        }
        if !(self.seconds > 0.0 && self.seconds <= SECONDS_MAX) {
            bail!("{} seconds: a run is longer than 0 and at most {SECONDS_MAX} seconds", self.seconds);
        }
        if !(0.0..=SECONDS_MAX).contains(&self.warm_up_seconds) {
            bail!("{} seconds of warm-up: from 0 to {SECONDS_MAX}", self.warm_up_seconds);
        }
        if self.rate.is_some_and(|rate| !(rate.is_finite() && rate >= 0.01)) {
            bail!("the rate is at least 0.01 requests per second");
        }
        if let Some(open) = self.open_loop() {
            check_steps(&open.steps, SECONDS_MAX)?;
        }
        if self.turns_per_conversation == 0 {
            bail!("a conversation has at least one turn");
        }
        if self.conversations > CONVERSATIONS_MAX {
            bail!("{} conversations: at most {CONVERSATIONS_MAX} are prepared", self.conversations);
        }
        if self.input_bytes > INPUT_BYTES_MAX {
            bail!("an input of {} bytes: at most {INPUT_BYTES_MAX}", self.input_bytes);
        }
        if self.model.contains(['"', '\\']) || self.model.contains(char::is_control) {
            bail!("the model name must do without quotes, backslashes and control characters");
        }
        for (name, pid) in &self.servers {
            if !is_alive(*pid) {
                bail!("there is no process {pid} ({name})");
            }
        }
        Ok(())
    }
}

/// Runs, and reports what the table shows.
///
/// # Errors
/// A configuration out of bounds, a URL that may not be loaded, a process to bill that does not run. Failing
/// requests are no error: they are counted.
pub async fn run(config: RunConfig) -> anyhow::Result<RunReport> {
    Ok(measure(config).await?.report())
}

pub(crate) async fn measure(config: RunConfig) -> anyhow::Result<Measurement> {
    config.check()?;
    let endpoint = Endpoint::parse(&config.url)?;
    let open = config.open_loop();
    let connections = open.as_ref().map_or(config.clients, |open| open.connections_max);
    allow_files(u64::from(connections) + FILES_SPARE)?;
    let api_key = config.api_key.clone();
    let client = move || Client::new(&endpoint, api_key.as_deref());
    let supply = Arc::new(Supply::new(config));
    supply.fill(&client).await;
    if supply.setup_requests() > 0 {
        let processes: Vec<u32> = supply.config.servers.iter().map(|(_, pid)| *pid).collect();
        quiet(&processes).await;
    }
    let from = Instant::now() + Duration::from_secs_f64(supply.config.warm_up_seconds);
    let window = Window { from, to: from + Duration::from_secs_f64(supply.config.window_seconds()) };
    let (bill, load) = match &open {
        Some(open) => {
            let (bill, tally) =
                tokio::join!(Bill::of(&supply, window), open_load(&supply, client, open, window));
            (bill, tally?)
        }
        None => {
            let workers = closed_load(&supply, client, window)?;
            (Bill::of(&supply, window).await, join_all(workers).await?)
        }
    };
    let Load { mut tally, open } = load;
    tally.setup_requests = bill.setup_requests;
    Ok(Measurement {
        scenario: supply.config.name.clone(),
        url: supply.config.url.clone(),
        clients: supply.config.clients,
        seconds: supply.config.window_seconds(),
        tally,
        open,
        servers: bill.servers,
        generator_cpu_seconds: bill.generator_cpu_seconds,
    })
}

/// Returns when these processes rest: what they still do about the conversations that were prepared, such as bringing their
/// stores in order, is no part of what is measured.
async fn quiet(processes: &[u32]) {
    let used = || processes.iter().map(|pid| usage(*pid).cpu_seconds).sum::<f64>();
    let until = Instant::now() + QUIET_WITHIN;
    let mut before = used();
    while !processes.is_empty() && Instant::now() < until {
        sleep(QUIET_LOOK).await;
        let now = used();
        if now - before <= QUIET_LOOK.as_secs_f64() * QUIET_CORES_MAX {
            return;
        }
        before = now;
    }
}

struct Load {
    tally: Tally,
    open: Option<OpenPart>,
}

async fn open_load(
    supply: &Arc<Supply>,
    client: impl Fn() -> Option<Client>,
    open: &OpenLoop,
    window: Window,
) -> anyhow::Result<Load> {
    let warm_up_seconds = supply.config.warm_up_seconds;
    let schedule = Schedule::new(&open.steps, warm_up_seconds, open.arrivals, SEED);
    let begin = window.from - Duration::from_secs_f64(warm_up_seconds);
    let tally = run_open(Arc::clone(supply), client, open, schedule, begin).await?;
    let part = OpenPart { arrivals: open.arrivals, connections_max: open.connections_max, tally };
    Ok(Load { tally: part.tally.joined()?, open: Some(part) })
}

fn closed_load(
    supply: &Arc<Supply>,
    client: impl Fn() -> Option<Client>,
    window: Window,
) -> anyhow::Result<JoinSet<Tally>> {
    let mut workers = JoinSet::new();
    for number in 0..supply.config.clients {
        let client = client().context("the API key or the host holds characters that headers cannot")?;
        workers.spawn(Worker::new(number, Arc::clone(supply), client).run(window, Tally::new()?));
    }
    Ok(workers)
}

async fn join_all(mut workers: JoinSet<Tally>) -> anyhow::Result<Load> {
    let mut tally = Tally::new()?;
    while let Some(finished) = workers.join_next().await {
        tally.add(&finished.context("a client ended early")?)?;
    }
    Ok(Load { tally, open: None })
}

/// What the window cost.
struct Bill {
    servers: Vec<Served>,
    generator_cpu_seconds: f64,
    setup_requests: u64,
}

impl Bill {
    async fn of(supply: &Supply, window: Window) -> Self {
        let own_pid = std::process::id();
        sleep_until(window.from).await;
        let setup_before = supply.setup_requests();
        let own_before = cpu_seconds_alone(own_pid);
        let servers = &supply.config.servers;
        let before: Vec<_> = servers.iter().map(|(_, pid)| usage(*pid)).collect();
        let mut sampling: JoinSet<_> = servers
            .iter()
            .enumerate()
            .map(|(at, (_, pid))| {
                let pid = *pid;
                async move { (at, sample(pid, window.from, window.to).await) }
            })
            .collect();
        sleep_until(window.to).await;
        let mut served: Vec<_> = servers
            .iter()
            .zip(before)
            .map(|((name, pid), before)| Served::between(name, *pid, before, usage(*pid)))
            .collect();
        while let Some(sampled) = sampling.join_next().await {
            // A sampler that ended early leaves its process without samples, not the run without a report.
            if let Ok((at, samples)) = sampled
                && let Some(server) = served.get_mut(at)
            {
                server.samples = samples;
            }
        }
        Self {
            servers: served,
            generator_cpu_seconds: cpu_seconds_alone(own_pid) - own_before,
            setup_requests: supply.setup_requests() - setup_before,
        }
    }
}
