//! `waggle-bench compare`: flags and the file to a configuration.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::cli::{CommonArguments, Output, runtime, write_json};
use crate::compare::{CompareConfig, TargetConfig, compare};
use crate::report::comparison_table;
use crate::scenario::Scenario;
use crate::scenario_file::set;

#[derive(Debug, Args)]
pub(super) struct CompareArguments {
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
    /// A scenario as a file, measured after the others; may be repeated
    #[arg(long = "scenario-file", value_name = "FILE")]
    scenario_files: Vec<PathBuf>,
    /// The target the ratios refer to
    #[arg(long)]
    baseline: Option<String>,
    /// How often each target has its turn
    #[arg(long)]
    rounds: Option<u32>,
    #[command(flatten)]
    common: CommonArguments,
    #[command(flatten)]
    output: Output,
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

pub(super) fn execute_compare(arguments: CompareArguments) -> anyhow::Result<String> {
    let config = compare_config(&arguments)?;
    if std::io::stderr().is_terminal() {
        let _ = writeln!(std::io::stderr(), "comparing for about {:.0} s", config.seconds_all()?);
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
    if !(arguments.scenarios.is_empty() && arguments.scenario_files.is_empty()) {
        config.scenarios.clone_from(&arguments.scenarios);
        config.scenario_files.clone_from(&arguments.scenario_files);
    }
    config.baseline = arguments.baseline.clone().or(config.baseline);
    set(&mut config.rounds, arguments.rounds);
    let common = &arguments.common;
    set(&mut config.clients, common.clients);
    set(&mut config.seconds, common.seconds);
    set(&mut config.warm_up_seconds, common.warm_up_seconds);
    set(&mut config.history, common.history);
    set(&mut config.turns_per_conversation, common.turns_per_conversation);
    config.rate = common.rate.or(config.rate);
    config.expect_echo |= common.expect_echo;
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
        only: Vec::new(),
        keys: None,
        api_key: None,
        model: "sim".to_owned(),
    }
}

fn target_named<'c>(config: &'c mut CompareConfig, name: &str) -> anyhow::Result<&'c mut TargetConfig> {
    let found = config.targets.iter_mut().find(|target| target.name == name);
    found.with_context(|| format!("a process is given for {name}, which is none of the targets"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: CompareArguments,
    }

    fn compare_arguments(words: &[&str]) -> CompareArguments {
        use clap::Parser as _;
        Line::parse_from(["compare"].iter().chain(words)).arguments
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
            "--turns-per-conversation",
            "7",
            "--scenario",
            "hello,turn-stream",
        ]))
        .unwrap();
        assert_eq!((config.clients, config.rounds, config.turns_per_conversation), (4, 2, 7));
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
