//! Scenarios as files: a request, how much of it and over what state, in TOML. What a file leaves out has the default of
//! a run; what the command line says goes before the file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use crate::arrivals::{Arrivals, Step};
use crate::keys::{KEYS_MAX, Keys};
use crate::run::RunConfig;
use crate::scenario::Scenario;

/// A scenario as it was written.
#[derive(Debug, Clone)]
pub struct ScenarioFile {
    /// The name of the file without `.toml`.
    pub name: String,
    path: PathBuf,
    /// What it holds.
    pub body: ScenarioBody,
}

/// The keys of a scenario file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioBody {
    /// What it is for, for people.
    #[serde(default)]
    pub about: Option<String>,
    /// The request that is measured.
    pub request: Scenario,
    /// Items a conversation holds before the first measured turn in it; `turn-history` only.
    #[serde(default)]
    pub history_items: Option<u32>,
    /// Conversations that exist before the load; turns go round over them.
    #[serde(default)]
    pub conversations: Option<u32>,
    /// Turns in a conversation before it is replaced by a new one.
    #[serde(default)]
    pub turns_per_conversation: Option<u32>,
    /// Length of what is said.
    #[serde(default)]
    pub input_bytes: Option<u32>,
    /// Tenants who take turns; their keys come from `--keys`.
    #[serde(default)]
    pub tenants: Option<u32>,
    /// Each request is the first of its tenant; the run ends its load when all have been asked.
    #[serde(default)]
    pub each_tenant_once: bool,
    /// Clients of the closed loop.
    #[serde(default)]
    pub clients: Option<u32>,
    /// Length of the measured window.
    #[serde(default)]
    pub seconds: Option<f64>,
    /// Load without measuring before it.
    #[serde(default)]
    pub warm_up_seconds: Option<f64>,
    /// When a request counts as failed.
    #[serde(default)]
    pub request_timeout_ms: Option<u64>,
    /// An open loop instead of the closed one.
    #[serde(default)]
    pub open: Option<OpenBody>,
    /// Connections that are held without a request, instead of a loop.
    #[serde(default)]
    pub idle: Option<IdleBody>,
}

/// The open loop of a scenario file: `rate`, or `steps`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenBody {
    /// Requests per second.
    #[serde(default)]
    pub rate: Option<f64>,
    /// A rate over time.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// How arrivals spread.
    #[serde(default)]
    pub arrivals: Arrivals,
    /// The most connections.
    #[serde(default)]
    pub connections_max: Option<u32>,
}

/// Connections that are held: with `hello` kept alive after an answer, with `turn-stream` in the middle of a stream.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdleBody {
    /// How many.
    pub connections: u32,
    /// How many are made in a second.
    #[serde(default = "default_connections_per_second")]
    pub connections_per_second: f64,
    /// How long all of them are held.
    #[serde(default = "default_hold_seconds")]
    pub hold_seconds: f64,
}

fn default_connections_per_second() -> f64 {
    2_000.0
}
fn default_hold_seconds() -> f64 {
    10.0
}

/// Why a file is no scenario.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioFileError {
    /// It cannot be read.
    #[error("could not read {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, a value of another type.
    #[error("{path}:{line}: {message}")]
    Malformed {
        /// The file.
        path: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// The scenario has tenants but nobody gave their keys.
    #[error(
        "{path} has {tenants} tenants: give their API keys with --keys FILE (in a comparison: `keys` of the target); \
         `waggle-bench keys` makes both the keys and the server's tenants.toml"
    )]
    NoKeys {
        /// The file.
        path: String,
        /// How many.
        tenants: u32,
    },
}

impl ScenarioFile {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// What is wrong with it, with file and line.
    pub fn read(path: &Path) -> Result<Self, ScenarioFileError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| ScenarioFileError::Unreadable { path: shown.clone(), source })?;
        let malformed = |(line, message)| ScenarioFileError::Malformed { path: shown.clone(), line, message };
        let body = parse(&text).map_err(malformed)?;
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { name, path: path.to_owned(), body })
    }

    /// The run that the file describes.
    ///
    /// # Errors
    /// Tenants without keys, or fewer keys than tenants.
    pub fn run_config(&self, url: &str, keys: Option<&Path>) -> anyhow::Result<RunConfig> {
        let body = &self.body;
        let mut config = RunConfig::new(body.request, url);
        config.name.clone_from(&self.name);
        if let Some(items) = body.history_items {
            config.history = items / 2;
        }
        set(&mut config.conversations, body.conversations);
        set(&mut config.turns_per_conversation, body.turns_per_conversation);
        set(&mut config.input_bytes, body.input_bytes);
        set(&mut config.clients, body.clients);
        set(&mut config.seconds, body.seconds);
        set(&mut config.warm_up_seconds, body.warm_up_seconds);
        set(&mut config.request_timeout_ms, body.request_timeout_ms);
        if let Some(open) = &body.open {
            config.rate = open.rate;
            config.steps.clone_from(&open.steps);
            config.arrivals = open.arrivals;
            set(&mut config.connections_max, open.connections_max);
        }
        if let Some(tenants) = body.tenants {
            let path = keys.ok_or_else(|| ScenarioFileError::NoKeys {
                path: self.path.display().to_string(),
                tenants,
            })?;
            let keys = Keys::read(path, tenants as usize)?;
            config.keys = Some(Arc::new(if body.each_tenant_once { keys.each_once() } else { keys }));
        }
        Ok(config)
    }
}

/// What is said goes before what is there.
pub(crate) fn set<T: Copy>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn parse(text: &str) -> Result<ScenarioBody, (usize, String)> {
    let body: ScenarioBody = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
        (line, error.message().to_owned())
    })?;
    match mistake(&body) {
        Some((key, message)) => Err((line_of(text, key), format!("`{key}`: {message}"))),
        None => Ok(body),
    }
}

/// Where a key stands. It does stand there: only keys that were read are asked for.
fn line_of(text: &str, key: &str) -> usize {
    let is_key = |line: &str| {
        let rest = line.trim_start_matches(['[', ' ']).strip_prefix(key);
        rest.is_some_and(|rest| rest.trim_start().starts_with(['=', ']']))
    };
    text.lines().position(is_key).map_or(1, |at| at + 1)
}

/// The first key whose value does not go with the others.
fn mistake(body: &ScenarioBody) -> Option<(&'static str, String)> {
    if let Some(items) = body.history_items {
        if body.request != Scenario::TurnHistory {
            return Some(("history_items", "only the request `turn-history` has a history".to_owned()));
        }
        if !items.is_multiple_of(2) {
            return Some(("history_items", format!("{items} is odd, and a turn has two items")));
        }
    }
    if body.tenants.is_some_and(|tenants| tenants == 0 || tenants as usize > KEYS_MAX) {
        return Some(("tenants", format!("from 1 to {KEYS_MAX} are possible")));
    }
    if body.each_tenant_once {
        if body.tenants.is_none() {
            return Some(("each_tenant_once", "there are no `tenants`".to_owned()));
        }
        if body.request.needs_conversation() {
            let message = "a turn is not its tenant's first request, that is to make the conversation; take \
                           `hello`, `chat` or `conversation`";
            return Some(("each_tenant_once", message.to_owned()));
        }
    }
    match (&body.open, &body.idle) {
        (Some(_), Some(_)) => Some(("idle", "a scenario has [open] or [idle], not both".to_owned())),
        (Some(open), None) => open_mistake(open),
        (None, Some(idle)) => idle_mistake(body.request, idle),
        (None, None) => None,
    }
}

fn open_mistake(open: &OpenBody) -> Option<(&'static str, String)> {
    match (open.rate, open.steps.is_empty()) {
        (None, true) => Some(("open", "it has a `rate` or `steps`".to_owned())),
        (Some(_), false) => Some(("rate", "there are `steps` already".to_owned())),
        _ => None,
    }
}

fn idle_mistake(request: Scenario, idle: &IdleBody) -> Option<(&'static str, String)> {
    if !matches!(request, Scenario::Hello | Scenario::TurnStream) {
        return Some(("request", "connections are held after `hello` or within a `turn-stream`".to_owned()));
    }
    if !(1.0..=1e6).contains(&idle.connections_per_second) {
        return Some(("connections_per_second", "from 1 to 1000000 are possible".to_owned()));
    }
    if !(0.0..=86_400.0).contains(&idle.hold_seconds) {
        return Some(("hold_seconds", "from 0 to 86400 are possible".to_owned()));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some-name.toml");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn what_a_file_says_is_in_the_run_and_the_rest_is_the_default() {
        let text = "about = \"x\"\nrequest = \"turn-history\"\nhistory_items = 1000\nconversations = 7\n\
                    [open]\narrivals = \"uniform\"\nsteps = [{ rate = 5, seconds = 2 }, { rate = 75, seconds = 1 }]\n";
        let (_folder, path) = written(text);
        let config = ScenarioFile::read(&path).unwrap().run_config("http://127.0.0.1:1", None).unwrap();
        assert_eq!((config.name.as_str(), config.scenario), ("some-name", Scenario::TurnHistory));
        assert_eq!((config.history, config.conversations, config.clients), (500, 7, 32));
        assert_eq!((config.steps.len(), config.arrivals), (2, Arrivals::Uniform));
    }

    #[test]
    fn a_mistake_is_told_with_file_and_line() {
        fn check(text: &str, line: usize, expected: &str) {
            let (_folder, path) = written(text);
            let error = ScenarioFile::read(&path).unwrap_err().to_string();
            assert!(error.contains(&format!("some-name.toml:{line}: ")), "{error}");
            assert!(error.contains(expected), "{error}");
        }
        check("request = \"hello\"\nclints = 3\n", 2, "unknown field `clints`");
        check("request = \"hallo\"\n", 1, "unknown variant `hallo`");
        check("request = \"hello\"\n\n[open]\nrat = 3\n", 4, "unknown field `rat`");
        check("clients = 3\n", 1, "missing field `request`");
        check("request = \"turn\"\nhistory_items = 4\n", 2, "only the request `turn-history`");
        check("request = \"turn-history\"\nhistory_items = 5\n", 2, "5 is odd");
        check("request = \"hello\"\neach_tenant_once = true\n", 2, "there are no `tenants`");
        check("request = \"turn\"\ntenants = 2\neach_tenant_once = true\n", 3, "first request");
        check("request = \"hello\"\n[open]\n", 2, "it has a `rate` or `steps`");
        check(
            "request = \"hello\"\n[open]\nrate = 1\nsteps = [{rate = 1, seconds = 1}]\n",
            3,
            "`steps` already",
        );
        check("request = \"chat\"\n[idle]\nconnections = 3\n", 1, "held after `hello`");
    }

    #[test]
    fn tenants_need_keys() {
        let (_folder, path) = written("request = \"hello\"\ntenants = 2\n");
        let file = ScenarioFile::read(&path).unwrap();
        let error = file.run_config("http://127.0.0.1:1", None).unwrap_err().to_string();
        assert!(error.contains("has 2 tenants: give their API keys"), "{error}");
    }

    #[test]
    fn every_scenario_of_the_project_is_one() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let file = ScenarioFile::read(&entry.unwrap().path()).unwrap();
            assert!(file.body.about.is_some(), "{} says not what it is for", file.name);
            count += 1;
        }
        assert!(count >= 10, "{count}");
    }
}
