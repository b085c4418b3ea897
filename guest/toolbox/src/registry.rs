//! Which tools the tenant has, as the host says: asked at each request, sent anew only when something has changed, and
//! kept in the instance, which serves one tenant for its whole life.

use crate::fetch::{FetchError, HOST, fetch, get_json};
use crate::problem::{Problem, internal, no_registry};
use crate::remote::Servers;
use crate::settings;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use waggle_mcp::Fetch;
use waggle_model::transport::TransportFailure;
use waggle_platform::Platform;
use waggle_tool::definition::{Function, Kind, Registry, Tool};

/// The longest registry, in bytes.
const REGISTRY_BYTES_MAX: usize = 64 << 20;
/// How long the host may take to say what there is, in milliseconds.
const TIMEOUT_MS: u64 = 5_000;
/// For how long a host that keeps no registry is not asked again, in milliseconds.
const ABSENT_MS: u64 = 10_000;
/// The variable that stands in for it then.
const VARIABLE: &str = "tools_registry";

/// All tools of a tenant, found by their names.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    tools: Vec<Tool>,
    by_name: HashMap<String, usize>,
    by_url: HashMap<String, usize>,
    /// Whether it is the host's: then calls go out under the grants that it keeps, and else under the manifest's list.
    pub(crate) is_hosts: bool,
}

/// An address as it is compared: how it ends means nothing.
fn plain_url(url: &str) -> &str {
    url.trim().trim_end_matches('/')
}

impl Snapshot {
    pub(crate) fn new(registry: Registry, is_hosts: bool) -> Self {
        let tools = registry.data;
        let by_name = tools.iter().enumerate().map(|(index, tool)| (tool.name.clone(), index)).collect();
        let urls = tools.iter().enumerate().filter_map(|(index, tool)| match &tool.kind {
            Kind::Mcp { url } => Some((plain_url(url).to_owned(), index)),
            Kind::Component | Kind::Http { .. } => None,
        });
        let by_url = urls.collect();
        Self { tools, by_name, by_url, is_hosts }
    }

    /// All of them, in the order of their names.
    pub(crate) fn tools(&self) -> &[Tool] {
        &self.tools
    }

    /// The tool of this name.
    pub(crate) fn tool(&self, name: &str) -> Option<&Tool> {
        self.tools.get(*self.by_name.get(name)?)
    }

    /// The MCP server at this address.
    pub(crate) fn server(&self, url: &str) -> Option<&Tool> {
        self.tools.get(*self.by_url.get(plain_url(url))?)
    }
}

/// The function of this name of a tool; there are few.
pub(crate) fn function<'t>(tool: &'t Tool, name: &str) -> Option<&'t Function> {
    tool.functions.iter().find(|function| function.name == name)
}

/// What an instance remembers from one request to the next. It holds nothing of a user's.
#[derive(Debug, Default)]
pub struct Memory {
    registry: RefCell<Known>,
    /// What is known of MCP servers.
    pub(crate) servers: Servers,
    /// The intents, and the vectors of their examples.
    pub(crate) intents: waggle_intent::Memory,
}

#[derive(Debug, Default)]
struct Known {
    snapshot: Option<Rc<Snapshot>>,
    etag: Option<String>,
    /// Until when the host is known to keep none.
    absent_until_ms: u64,
    /// What the variable said, from which the snapshot was made.
    variable: Option<String>,
}

/// What the host says.
enum Told {
    /// Nothing has changed.
    Same,
    /// This is what there is now.
    Changed(Registry, Option<String>),
    /// It keeps no registry.
    Absent,
}

impl Memory {
    /// What there is now.
    ///
    /// # Errors
    /// 503: the host does not say; 500: what it or the variable says is no registry.
    pub(crate) async fn registry<F: Fetch, P: Platform>(
        &self,
        fetch: &F,
        platform: &P,
    ) -> Result<Rc<Snapshot>, Problem> {
        if platform.now_ms() >= self.registry.borrow().absent_until_ms {
            match self.ask(fetch).await? {
                Told::Changed(registry, etag) => {
                    let snapshot = Rc::new(Snapshot::new(registry, true));
                    let known = Known { snapshot: Some(Rc::clone(&snapshot)), etag, ..Known::default() };
                    self.registry.replace(known);
                    return Ok(snapshot);
                }
                Told::Same => {
                    let snapshot = self.registry.borrow().snapshot.clone();
                    return snapshot
                        .ok_or_else(|| no_registry("it says that nothing it never said has changed".into()));
                }
                Told::Absent => {
                    let absent_until_ms = platform.now_ms().saturating_add(ABSENT_MS);
                    self.registry.replace(Known { absent_until_ms, ..Known::default() });
                }
            }
        }
        self.of_variable(platform).await
    }

    async fn ask<F: Fetch>(&self, over: &F) -> Result<Told, Problem> {
        let mut request = get_json(format!("{HOST}/v1/tools"), TIMEOUT_MS);
        if let Some(etag) = self.registry.borrow().etag.clone() {
            request.headers.push(("if-none-match".to_owned(), etag));
        }
        let answer = match fetch(over, request, REGISTRY_BYTES_MAX).await {
            Ok(answer) => answer,
            // Nobody is there, or the manifest does not let this function go there: a host without a registry.
            Err(FetchError::Transport(TransportFailure::Denied(_) | TransportFailure::Unreachable(_))) => {
                return Ok(Told::Absent);
            }
            Err(failure) => return Err(no_registry(failure.to_string())),
        };
        match answer.status {
            304 => Ok(Told::Same),
            200 => {
                let registry = serde_json::from_slice(&answer.body);
                let registry =
                    registry.map_err(|error| no_registry(format!("it cannot be read: {error}")))?;
                Ok(Told::Changed(registry, answer.header("etag").map(str::to_owned)))
            }
            status => Err(no_registry(format!("it answered {status}"))),
        }
    }

    async fn of_variable<P: Platform>(&self, platform: &P) -> Result<Rc<Snapshot>, Problem> {
        let value = settings::text(platform, VARIABLE).await?;
        {
            let known = self.registry.borrow();
            if let Some(snapshot) =
                known.snapshot.as_ref().filter(|_| known.variable.as_ref() == Some(&value))
            {
                return Ok(Rc::clone(snapshot));
            }
        }
        let snapshot = Rc::new(Snapshot::new(read_variable(&value)?, false));
        let mut known = self.registry.borrow_mut();
        known.snapshot = Some(Rc::clone(&snapshot));
        known.variable = Some(value);
        Ok(snapshot)
    }
}

/// Reads what the variable says: a registry, or the array of its tools.
fn read_variable(value: &str) -> Result<Registry, Problem> {
    let read = match value.bytes().next() {
        None => Ok(Vec::new()),
        Some(b'[') => serde_json::from_str::<Vec<Tool>>(value),
        Some(_) => serde_json::from_str::<Registry>(value).map(|registry| registry.data),
    };
    let wrong =
        |reason: String| internal(format!("the variable '{VARIABLE}' is no registry of tools: {reason}"));
    let data = read.map_err(|error| wrong(error.to_string()))?;
    match data.iter().find(|tool| matches!(tool.kind, Kind::Component)) {
        Some(tool) => Err(wrong(format!("'{}' is a component, and nobody here runs those", tool.name))),
        None => Ok(Registry { revision: String::new(), data }),
    }
}
