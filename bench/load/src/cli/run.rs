//! `waggle-bench run`: one server, one scenario. Flags go before the scenario's file, that before the defaults.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use crate::arrivals::Arrivals;
use crate::cli::{CommonArguments, Output, runtime, write_json};
use crate::idle::hold;
use crate::report::{idle_table, run_table};
use crate::run::{RunConfig, run};
use crate::scenario::Scenario;
use crate::scenario_file::{IdleBody, ScenarioFile, set};

#[derive(Debug, Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    pub(super) load: LoadArguments,
    #[command(flatten)]
    output: Output,
}

/// What is asked of one server.
#[derive(Debug, Args)]
pub(super) struct LoadArguments {
    /// What is measured
    #[arg(long, value_enum, required_unless_present = "scenario_file")]
    scenario: Option<Scenario>,
    /// What is measured, as a file such as those in bench/scenarios
    #[arg(long, value_name = "FILE", conflicts_with = "scenario")]
    scenario_file: Option<PathBuf>,
    /// The server; on this machine or a private network
    #[arg(long, default_value = "http://127.0.0.1:3000")]
    url: String,
    #[command(flatten)]
    common: CommonArguments,
    /// Conversations that exist before the load begins [default: one for each client or tenant]
    #[arg(long)]
    conversations: Option<u32>,
    /// Make what is said in a turn this long
    #[arg(long)]
    input_bytes: Option<u32>,
    /// Multiply all rates of the scenario's file by this
    #[arg(long, value_name = "FACTOR")]
    rate_scale: Option<f64>,
    /// How the arrivals of an open loop spread [default: poisson]
    #[arg(long, value_enum)]
    arrivals: Option<Arrivals>,
    /// The most connections of an open loop [default: 1000]
    #[arg(long)]
    connections_max: Option<u32>,
    /// Connections that an [idle] scenario holds, instead of as many as its file says
    #[arg(long)]
    connections: Option<u32>,
    /// The model named in the requests [default: sim]
    #[arg(long)]
    model: Option<String>,
    /// Sent as `Authorization: Bearer KEY`
    #[arg(long, env = "WAGGLE_BENCH_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// A file with the API keys of the scenario's tenants, one per line
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// When a request counts as failed, in milliseconds [default: 10000]
    #[arg(long)]
    request_timeout_ms: Option<u64>,
    /// A process whose CPU and memory (children included) are reported; may be repeated
    #[arg(long = "server-pid")]
    server_pids: Vec<u32>,
}

impl LoadArguments {
    /// The scenario's file, if it comes from one.
    pub(super) fn file(&self) -> anyhow::Result<Option<ScenarioFile>> {
        Ok(self.scenario_file.as_deref().map(ScenarioFile::read).transpose()?)
    }

    /// The run that flags and file describe.
    pub(super) fn config(&self, file: Option<&ScenarioFile>) -> anyhow::Result<RunConfig> {
        let mut config = match (file, self.scenario) {
            (Some(file), _) => file.run_config(&self.url, self.keys.as_deref())?,
            (None, Some(scenario)) => RunConfig::new(scenario, &self.url),
            (None, None) => bail!("there is no scenario: --scenario NAME or --scenario-file FILE"),
        };
        let common = &self.common;
        set(&mut config.clients, common.clients);
        set(&mut config.seconds, common.seconds);
        set(&mut config.warm_up_seconds, common.warm_up_seconds);
        set(&mut config.history, common.history);
        set(&mut config.turns_per_conversation, common.turns_per_conversation);
        set(&mut config.conversations, self.conversations);
        set(&mut config.input_bytes, self.input_bytes);
        set(&mut config.connections_max, self.connections_max);
        set(&mut config.request_timeout_ms, self.request_timeout_ms);
        set(&mut config.arrivals, self.arrivals);
        if let Some(rate) = common.rate {
            config.rate = Some(rate);
            config.steps.clear();
        }
        if let Some(factor) = self.rate_scale {
            config.steps.iter_mut().for_each(|step| step.rate *= factor);
            config.rate = config.rate.map(|rate| rate * factor);
        }
        if let Some(model) = &self.model {
            config.model.clone_from(model);
        }
        config.api_key.clone_from(&self.api_key);
        config.expect_echo = common.expect_echo;
        config.servers = self.server_pids.iter().map(|pid| ("pid".to_owned(), *pid)).collect();
        Ok(config)
    }
}

pub(super) fn execute_run(arguments: RunArguments) -> anyhow::Result<String> {
    let RunArguments { load, output } = arguments;
    let file = load.file()?;
    let config = load.config(file.as_ref())?;
    if let Some(idle) = file.and_then(|file| file.body.idle) {
        let idle = IdleBody { connections: load.connections.unwrap_or(idle.connections), ..idle };
        let report = runtime(output.threads)?.block_on(hold(config, &idle))?;
        write_json(output.json.as_deref(), &report)?;
        return Ok(idle_table(&report));
    }
    let report = runtime(output.threads)?.block_on(run(config))?;
    write_json(output.json.as_deref(), &report)?;
    Ok(run_table(&report))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        load: LoadArguments,
    }

    fn config(words: &[&str]) -> RunConfig {
        let load = Line::parse_from(["run"].iter().chain(words)).load;
        load.config(load.file().unwrap().as_ref()).unwrap()
    }

    #[test]
    fn flags_go_before_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        std::fs::write(
            &path,
            "request = \"hello\"\nclients = 3\nseconds = 9\n[open]\nsteps = [{ rate = 2, seconds = 1 }]\n",
        )
        .unwrap();
        let file = ["--scenario-file", path.to_str().unwrap()];
        let of_file = config(&[&file[..], &["--clients", "5", "--rate-scale", "10"]].concat());
        assert_eq!((of_file.clients, of_file.seconds, of_file.steps[0].rate), (5, 9.0, 20.0));
        let rated = config(&[&file[..], &["--rate", "7"]].concat());
        assert_eq!((rated.rate, rated.steps.len()), (Some(7.0), 0));
        assert_eq!(config(&["--scenario", "turn"]).clients, 32);
        assert!(Line::try_parse_from(["run"]).is_err());
    }
}
