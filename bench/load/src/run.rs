//! One run: clients, warm-up, window, bill.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::measurement::{Measurement, RunReport, Served, Tally};
use crate::process::{cpu_seconds_alone, is_alive, usage};
use crate::scenario::Scenario;
use crate::worker::{Window, Worker};

/// The most clients of one run.
pub(crate) const CLIENTS_MAX: u32 = 4_096;
/// The longest run.
pub(crate) const SECONDS_MAX: f64 = 86_400.0;

/// What to run.
#[derive(Debug, Clone)]
pub struct RunConfig {
    /// What is measured.
    pub scenario: Scenario,
    /// The server, `http://HOST:PORT`.
    pub url: String,
    /// Closed-loop clients, each with a connection of its own.
    pub clients: u32,
    /// Length of the measured window.
    pub seconds: f64,
    /// Load without measuring before it.
    pub warm_up_seconds: f64,
    /// Turns a conversation holds before `turn-history` measures a turn in it.
    pub history: u32,
    /// Turns a client has in a conversation before it takes a new one.
    pub turns_per_conversation: u32,
    /// Requests per second of all clients together; `None` for as many as they can.
    pub rate: Option<f64>,
    /// The model named in the requests.
    pub model: String,
    /// Sent as `Authorization: Bearer KEY`.
    pub api_key: Option<String>,
    /// Check that each answer echoes its own input, as model-sim's do.
    pub expect_echo: bool,
    /// When a request counts as failed.
    pub request_timeout_ms: u64,
    /// Process trees whose CPU and memory are reported: a name and the root's pid.
    pub servers: Vec<(String, u32)>,
}

impl RunConfig {
    /// The usual run of a scenario: 32 clients, 10 s after 2 s of warm-up.
    #[must_use]
    pub fn new(scenario: Scenario, url: impl Into<String>) -> Self {
        Self {
            scenario,
            url: url.into(),
            clients: 32,
            seconds: 10.0,
            warm_up_seconds: 2.0,
            history: 10,
            turns_per_conversation: 10,
            rate: None,
            model: "sim".to_owned(),
            api_key: None,
            expect_echo: false,
            request_timeout_ms: 10_000,
            servers: Vec::new(),
        }
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// The time between two requests of one client, when the rate is fixed.
    pub(crate) fn interval(&self) -> Option<Duration> {
        self.rate.map(|rate| Duration::from_secs_f64(f64::from(self.clients) / rate))
    }

    fn check(&self) -> anyhow::Result<()> {
        if !(1..=CLIENTS_MAX).contains(&self.clients) {
            bail!("{} clients: from 1 to {CLIENTS_MAX} can be run", self.clients);
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
        if self.turns_per_conversation == 0 {
            bail!("a conversation has at least one turn");
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
    let config = Arc::new(config);
    let from = Instant::now() + Duration::from_secs_f64(config.warm_up_seconds);
    let window = Window { from, to: from + Duration::from_secs_f64(config.seconds) };
    let mut workers = JoinSet::new();
    for number in 0..config.clients {
        let client = Client::new(&endpoint, config.api_key.as_deref())
            .context("the API key or the host holds characters that headers cannot")?;
        workers.spawn(Worker::new(number, Arc::clone(&config), client, Tally::new()?).run(window));
    }
    let own_pid = std::process::id();
    sleep_until(window.from).await;
    let own_before = cpu_seconds_alone(own_pid);
    let before: Vec<_> = config.servers.iter().map(|(_, pid)| usage(*pid)).collect();
    sleep_until(window.to).await;
    let servers: Vec<_> = config
        .servers
        .iter()
        .zip(before)
        .map(|((name, pid), before)| Served::between(name, *pid, before, usage(*pid)))
        .collect();
    let generator_cpu_seconds = cpu_seconds_alone(own_pid) - own_before;
    let mut tally = Tally::new()?;
    while let Some(finished) = workers.join_next().await {
        tally.add(&finished.context("a client ended early")?)?;
    }
    Ok(Measurement {
        scenario: config.scenario,
        url: config.url.clone(),
        clients: config.clients,
        seconds: config.seconds,
        tally,
        servers,
        generator_cpu_seconds,
    })
}
