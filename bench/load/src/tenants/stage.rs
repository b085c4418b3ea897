//! Where a measurement takes place: a folder for everything that is written, the simulated model, and servers, each
//! with a state of its own. All of it is gone at the end.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::endpoint::Endpoint;
use crate::process::usage;
use crate::spawn::{Launch, Process};
use crate::tenants::files::{Guest, Tenant, manifest, tenants_toml};
use crate::tenants::template::{Places, Template};

/// Ports are taken from below the range that the kernel gives to outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..30_000;
/// A server is calm when it used less than this share of one core for a while.
const CALM_SHARE: f64 = 0.05;
const CALM_LOOK_MS: u64 = 250;
const CALM_WAIT_MS_MAX: u64 = 120_000;

/// How things are started.
#[derive(Debug, Clone)]
pub(crate) struct StageConfig {
    pub(crate) server: Template,
    pub(crate) model: Template,
    /// The application's spin.toml.
    pub(crate) application: PathBuf,
    /// Where the components of tests/guests are.
    pub(crate) guests: PathBuf,
}

/// What one server is started with.
#[derive(Clone, Copy, Default)]
pub(crate) struct Setup<'a> {
    pub(crate) name: &'a str,
    /// `None` starts it open, for everybody on this machine.
    pub(crate) tenants: Option<&'a [Tenant]>,
    pub(crate) guests: &'a [Guest],
    /// Lines of `[engine]`.
    pub(crate) engine: &'a str,
    /// Whether what functions print is logged.
    pub(crate) prints: bool,
}

pub(crate) struct Stage {
    config: StageConfig,
    folder: TempDir,
    model: Option<(Process, String)>,
    servers: u32,
}

/// A signal ended the measurement.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;

/// A running server.
pub(crate) struct Server {
    process: Process,
    pub(crate) pid: u32,
    pub(crate) url: String,
    pub(crate) endpoint: Endpoint,
    pub(crate) tenants_file: PathBuf,
    /// From the start of the process until it accepted connections.
    pub(crate) started_in: Duration,
}

impl Stage {
    pub(crate) fn new(config: StageConfig) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("waggle-bench-")
            .tempdir()
            .context("could not make a folder for temporary files")?;
        fs::create_dir(folder.path().join("compiled")).context("could not write temporary files")?;
        Ok(Self { config, folder, model: None, servers: 0 })
    }

    /// Whether the application and these guests have been built: better known now than in half an hour.
    pub(crate) fn check(&self, guests: &[Guest]) -> anyhow::Result<()> {
        manifest(&self.config.application, &self.config.guests, guests).map(drop)
    }

    /// Starts a server; the simulated model before it, unless that runs.
    pub(crate) async fn start(&mut self, setup: Setup<'_>) -> anyhow::Result<Server> {
        let model_url = self.model_url().await?;
        self.servers += 1;
        let home = self.folder.path().join(format!("{}-{}", self.servers, setup.name));
        let state = home.join("state");
        fs::create_dir_all(&state).with_context(|| format!("could not make {}", state.display()))?;
        // Components are compiled once, not once per server.
        symlink(self.folder.path().join("compiled"), state.join("compiled"))?;
        let manifest_file = home.join("spin.toml");
        fs::write(&manifest_file, manifest(&self.config.application, &self.config.guests, setup.guests)?)?;
        let config_file = home.join("runtime-config.toml");
        fs::write(&config_file, runtime_config(setup.engine))?;
        let tenants_file = home.join("tenants.toml");
        if let Some(tenants) = setup.tenants {
            fs::write(&tenants_file, tenants_toml(tenants))?;
        }
        let port = free_port()?;
        let template =
            if setup.prints { self.config.server.without("--quiet") } else { self.config.server.clone() };
        let command = template.fill(Places {
            port,
            manifest: &manifest_file,
            tenants: setup.tenants.map(|_| tenants_file.as_path()),
            state: &state,
            config: &config_file,
            model_url: &model_url,
        });
        let began = Instant::now();
        let ready = format!("127.0.0.1:{port}");
        let launch = Launch {
            name: setup.name,
            command: &command,
            environment: &BTreeMap::from([("NO_COLOR".to_owned(), "1".to_owned())]),
            ready: &ready,
        };
        let process = Process::start(launch, &home).await?;
        let url = format!("http://{ready}");
        let endpoint = Endpoint::parse(&url)?;
        Ok(Server { pid: process.pid, process, url, endpoint, tenants_file, started_in: began.elapsed() })
    }

    async fn model_url(&mut self) -> anyhow::Result<String> {
        if let Some((_, url)) = &self.model {
            return Ok(url.clone());
        }
        let port = free_port()?;
        let folder = self.folder.path();
        let places =
            Places { port, manifest: folder, tenants: None, state: folder, config: folder, model_url: "" };
        let command = self.config.model.fill(places);
        let ready = format!("127.0.0.1:{port}");
        let launch =
            Launch { name: "model-sim", command: &command, environment: &BTreeMap::new(), ready: &ready };
        let process = Process::start(launch, folder).await?;
        let url = format!("http://{ready}");
        self.model = Some((process, url.clone()));
        Ok(url)
    }

    /// Ends the model; keeps the folder, and says where it is, if the measurement failed.
    pub(crate) async fn close<T>(self, outcome: anyhow::Result<T>) -> anyhow::Result<T> {
        if let Some((process, _)) = self.model {
            process.stop().await;
        }
        outcome.map_err(|error| {
            if error.is::<Interrupted>() {
                return error;
            }
            let kept = self.folder.keep();
            error.context(format!("the logs are kept in {}", kept.display()))
        })
    }
}

impl Server {
    pub(crate) async fn stop(self) {
        self.process.stop().await;
    }

    /// Waits until it has done what it was still doing, within bounds, and returns how long that took.
    pub(crate) async fn calm(&self) -> Duration {
        let began = Instant::now();
        loop {
            let before = usage(self.pid).cpu_seconds;
            let looked = Instant::now();
            sleep(Duration::from_millis(CALM_LOOK_MS)).await;
            let share = (usage(self.pid).cpu_seconds - before) / looked.elapsed().as_secs_f64();
            if share < CALM_SHARE || began.elapsed() > Duration::from_millis(CALM_WAIT_MS_MAX) {
                return began.elapsed();
            }
        }
    }

    /// Puts another tenants.toml in the place of the one there is, as editors do.
    pub(crate) fn replace_tenants<'a>(
        &self,
        tenants: impl IntoIterator<Item = &'a Tenant>,
    ) -> anyhow::Result<()> {
        let written = self.tenants_file.with_extension("new");
        fs::write(&written, tenants_toml(tenants))?;
        fs::rename(&written, &self.tenants_file).context("could not replace tenants.toml")
    }
}

/// The runtime configuration. A server that is asked to end cuts off what hangs.
fn runtime_config(engine: &str) -> String {
    format!("[engine]\n{engine}\n[gateway]\ndrain_timeout_ms = 500\n")
}

fn free_port() -> anyhow::Result<u16> {
    let start = u32::from_le_bytes(crate::tenants::api_key::random()?);
    let count = u32::from(PORTS.end - PORTS.start);
    let candidates = (0..count).filter_map(|step| u16::try_from(start.wrapping_add(step) % count).ok());
    candidates
        .map(|offset| PORTS.start + offset)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .context("no port is free")
}

/// Whether a path is there, for messages before anything is started.
pub(crate) fn checked_file(path: &Path, what: &str) -> anyhow::Result<()> {
    if path.exists() { Ok(()) } else { bail!("{what} is not at {}", path.display()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_taken_from_the_range() {
        assert!(PORTS.contains(&free_port().unwrap()));
    }

    #[test]
    fn a_runtime_configuration_is_toml() {
        let parsed: toml::Table = runtime_config("instances_max = 7\n").parse().unwrap();
        assert_eq!(parsed["engine"]["instances_max"].as_integer(), Some(7));
    }
}
