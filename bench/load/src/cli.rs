//! The command line: flags to configurations, reports to text and JSON.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

use crate::compare::{CompareConfig, TargetConfig, compare};
use crate::report::{comparison_table, run_table};
use crate::run::{RunConfig, run};
use crate::scenario::Scenario;
use crate::tenants::arguments::{TenantsArguments, execute as execute_tenants, prepare};

/// Drives clients against a server and reports throughput, latency, errors, CPU and memory.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Subject,
}

#[derive(Debug, Subcommand)]
enum Subject {
    /// One server, one scenario
    Run(RunArguments),
    /// Several servers in turns, with ratios to a baseline
    Compare(CompareArguments),
    /// Tenants: what they notice of each other, how many fit, what recognising them costs
    Tenants(TenantsArguments),
}

#[derive(Debug, Args)]
struct RunArguments {
    /// What is measured
    #[arg(long, value_enum)]
    scenario: Scenario,
    /// The server; on this machine or a private network
    #[arg(long, default_value = "http://127.0.0.1:3000")]
    url: String,
    /// Closed-loop clients, each with a connection of its own
    #[arg(long, default_value_t = 32)]
    clients: u32,
    /// Length of the measured window
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Load without measuring before it
    #[arg(long, default_value_t = 2.0)]
    warm_up_seconds: f64,
    /// Turns a conversation of turn-history holds beforehand
    #[arg(long, default_value_t = 10)]
    history: u32,
    /// Turns before a client takes a new conversation
    #[arg(long, default_value_t = 10)]
    turns_per_conversation: u32,
    /// Requests per second of all clients together, instead of as many as they can
    #[arg(long)]
    rate: Option<f64>,
    /// The model named in the requests
    #[arg(long, default_value = "sim")]
    model: String,
    /// Sent as `Authorization: Bearer KEY`
    #[arg(long, env = "WAGGLE_BENCH_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// Check that each answer echoes its own input, as model-sim's do
    #[arg(long)]
    expect_echo: bool,
    /// When a request counts as failed, in milliseconds
    #[arg(long, default_value_t = 10_000)]
    request_timeout_ms: u64,
    /// A process whose CPU and memory (children included) are reported; may be repeated
    #[arg(long = "server-pid")]
    server_pids: Vec<u32>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct CompareArguments {
    /// The comparison as a TOML file; flags overrule and add to it
    #[arg(long)]
    config: Option<PathBuf>,
    /// A target that runs already: NAME=URL; may be repeated
    #[arg(long = "target", value_name = "NAME=URL", value_parser = pair)]
    targets: Vec<(String, String)>,
    /// A process of a target's server: NAME=PID; may be repeated
    #[arg(long = "target-pid", value_name = "NAME=PID", value_parser = pid_pair)]
    target_pids: Vec<(String, u32)>,
    /// A process of a target's store: NAME=PID; may be repeated
    #[arg(long = "store-pid", value_name = "NAME=PID", value_parser = pid_pair)]
    store_pids: Vec<(String, u32)>,
    /// What is measured, in this order
    #[arg(long = "scenario", value_enum, value_delimiter = ',')]
    scenarios: Vec<Scenario>,
    /// The target the ratios refer to
    #[arg(long)]
    baseline: Option<String>,
    /// Closed-loop clients
    #[arg(long)]
    clients: Option<u32>,
    /// Length of one round's window
    #[arg(long)]
    seconds: Option<f64>,
    /// Load without measuring before each round
    #[arg(long)]
    warm_up_seconds: Option<f64>,
    /// How often each target has its turn
    #[arg(long)]
    rounds: Option<u32>,
    /// Turns a conversation of turn-history holds beforehand
    #[arg(long)]
    history: Option<u32>,
    /// Requests per second of all clients together, instead of as many as they can
    #[arg(long)]
    rate: Option<f64>,
    /// Check that each answer echoes its own input
    #[arg(long)]
    expect_echo: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct Output {
    /// Write the report as JSON to this file, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Threads of the load generator; one leaves the other cores to the server
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

fn pid_pair(text: &str) -> Result<(String, u32), String> {
    let (name, pid) = pair(text)?;
    let pid = pid.parse().map_err(|_| format!("`{pid}` is not a process id"))?;
    Ok((name, pid))
}

/// Does what the command line asks for and returns what is to be printed.
///
/// # Errors
/// What the run or the comparison could not do, or a JSON file that cannot be written.
pub fn execute(arguments: Arguments) -> anyhow::Result<String> {
    match arguments.command {
        Subject::Run(arguments) => execute_run(arguments),
        Subject::Compare(arguments) => execute_compare(arguments),
        Subject::Tenants(arguments) => {
            prepare(&arguments);
            let told = runtime(1)?.block_on(execute_tenants(arguments))?;
            if let Some((path, report)) = &told.json {
                write_json(Some(path), report)?;
            }
            Ok(told.text)
        }
    }
}

fn execute_run(arguments: RunArguments) -> anyhow::Result<String> {
    let output = arguments.output;
    let config = RunConfig {
        scenario: arguments.scenario,
        url: arguments.url,
        clients: arguments.clients,
        seconds: arguments.seconds,
        warm_up_seconds: arguments.warm_up_seconds,
        history: arguments.history,
        turns_per_conversation: arguments.turns_per_conversation,
        rate: arguments.rate,
        model: arguments.model,
        api_key: arguments.api_key,
        expect_echo: arguments.expect_echo,
        request_timeout_ms: arguments.request_timeout_ms,
        servers: arguments.server_pids.iter().map(|pid| ("pid".to_owned(), *pid)).collect(),
    };
    let report = runtime(output.threads)?.block_on(run(config))?;
    write_json(output.json.as_deref(), &report)?;
    Ok(run_table(&report))
}

fn execute_compare(arguments: CompareArguments) -> anyhow::Result<String> {
    let config = compare_config(&arguments)?;
    if std::io::stderr().is_terminal() {
        let each = config.seconds + config.warm_up_seconds;
        let runs = config.scenarios.len() * config.targets.len() * config.rounds as usize;
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "comparing for about {:.0} s", each * runs as f64);
    }
    let comparison = runtime(arguments.output.threads)?.block_on(compare(&config))?;
    write_json(arguments.output.json.as_deref(), &comparison)?;
    Ok(comparison_table(&comparison))
}

fn compare_config(arguments: &CompareArguments) -> anyhow::Result<CompareConfig> {
    let text = match &arguments.config {
        Some(path) => {
            std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?
        }
        None => String::new(),
    };
    let mut config: CompareConfig = toml::from_str(&text).with_context(|| match &arguments.config {
        Some(path) => format!("{} is not a comparison", path.display()),
        None => "the flags do not make a comparison".to_owned(),
    })?;
    for (name, url) in &arguments.targets {
        config.targets.push(running_target(name, url));
    }
    for (name, pid) in &arguments.target_pids {
        target_named(&mut config, name)?.pids.push(*pid);
    }
    for (name, pid) in &arguments.store_pids {
        target_named(&mut config, name)?.store_pids.push(*pid);
    }
    if !arguments.scenarios.is_empty() {
        config.scenarios.clone_from(&arguments.scenarios);
    }
    config.baseline = arguments.baseline.clone().or(config.baseline);
    config.clients = arguments.clients.unwrap_or(config.clients);
    config.seconds = arguments.seconds.unwrap_or(config.seconds);
    config.warm_up_seconds = arguments.warm_up_seconds.unwrap_or(config.warm_up_seconds);
    config.rounds = arguments.rounds.unwrap_or(config.rounds);
    config.history = arguments.history.unwrap_or(config.history);
    config.rate = arguments.rate.or(config.rate);
    config.expect_echo |= arguments.expect_echo;
    Ok(config)
}

fn running_target(name: &str, url: &str) -> TargetConfig {
    TargetConfig {
        name: name.to_owned(),
        url: url.to_owned(),
        command: Vec::new(),
        env: std::collections::BTreeMap::new(),
        pids: Vec::new(),
        store_pids: Vec::new(),
        stores: Vec::new(),
        api_key: None,
        model: "sim".to_owned(),
    }
}

fn target_named<'c>(config: &'c mut CompareConfig, name: &str) -> anyhow::Result<&'c mut TargetConfig> {
    let found = config.targets.iter_mut().find(|target| target.name == name);
    found.with_context(|| format!("a process is given for {name}, which is none of the targets"))
}

fn runtime(threads: usize) -> anyhow::Result<Runtime> {
    let built = match threads {
        0 | 1 => Builder::new_current_thread().enable_all().build(),
        _ => Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    };
    built.context("could not start the threads")
}

fn write_json(path: Option<&Path>, report: &impl serde::Serialize) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    let text = serde_json::to_string_pretty(report).context("the report does not fit JSON")?;
    std::fs::write(path, text + "\n").with_context(|| format!("could not write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare_arguments(words: &[&str]) -> CompareArguments {
        match Arguments::parse_from(["waggle-bench", "compare"].iter().chain(words)).command {
            Subject::Compare(arguments) => arguments,
            _ => panic!("not a comparison"),
        }
    }

    #[test]
    fn flags_add_to_the_file_and_overrule_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("compare.toml");
        std::fs::write(
            &path,
            "clients = 4\nrounds = 9\n[[target]]\nname = \"a\"\nurl = \"http://127.0.0.1:1\"\n",
        )
        .unwrap();
        let config = compare_config(&compare_arguments(&[
            "--config",
            path.to_str().unwrap(),
            "--target",
            "b=http://127.0.0.1:2",
            "--target-pid",
            "a=7",
            "--store-pid",
            "b=8",
            "--rounds",
            "2",
            "--scenario",
            "hello,turn-stream",
        ]))
        .unwrap();
        assert_eq!((config.clients, config.rounds), (4, 2));
        assert_eq!(config.scenarios, [Scenario::Hello, Scenario::TurnStream]);
        assert_eq!(config.targets[0].pids, [7]);
        assert_eq!((config.targets[1].name.as_str(), &config.targets[1].store_pids), ("b", &vec![8]));
    }

    #[test]
    fn a_process_of_an_unknown_target_is_refused() {
        let error = compare_config(&compare_arguments(&["--target-pid", "x=7"])).unwrap_err();
        assert!(error.to_string().contains("which is none of the targets"), "{error}");
    }
}
