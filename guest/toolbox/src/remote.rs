//! MCP servers of others: called as they were accepted, or not at all. What a server lists is held against the registry
//! before a call, anew after a while, and a function whose definition is another is not called and is reported.

use crate::fetch::{HOST, TOOL_FIELD, fetch, post_json};
use crate::outcome::{Again, Done, Fault, Outcome};
use crate::problem::Problem;
use crate::service::Service;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use waggle_conversation::Store;
use waggle_mcp::client::{Bounds, Client, ClientFailure, Remembered, RemoteCall};
use waggle_mcp::pin::{Comparison, compare, functions};
use waggle_mcp::{Fetch, Progress};
use waggle_openai::error::echo;
use waggle_openai::{ApiError, json as json_out};
use waggle_platform::{Platform, Reply};
use waggle_tool::definition::{Function, Tool};
use waggle_tool::wire::CallError;

/// For how long a server is believed to list what it listed, in milliseconds.
const LISTED_MS: u64 = 60_000;
/// How many servers are remembered; of more, all are asked anew.
const SERVERS_MAX: usize = 256;
/// What is listened to of one answer at least, in bytes: lists are as long as they are.
const ANSWER_BYTES_MIN: u64 = 1 << 20;
/// How much longer an answer may be than what is taken out of it: the protocol says things twice.
const ANSWER_TIMES: u64 = 3;
/// How long a list may take, in milliseconds, where no tool says it.
const LIST_TIMEOUT_MS: u64 = 10_000;
/// How long a report to the host may take, in milliseconds.
const REPORT_TIMEOUT_MS: u64 = 2_000;
/// The longest answer to a report, in bytes.
const REPORT_BYTES_MAX: usize = 4 << 10;

/// What an instance knows of servers.
#[derive(Debug, Default)]
pub(crate) struct Servers(RefCell<BTreeMap<String, Known>>);

#[derive(Debug, Clone)]
struct Known {
    /// Of what was accepted when it was asked.
    digest: String,
    session: Option<Remembered>,
    listed_at_ms: u64,
    comparison: Rc<Comparison>,
}

impl Servers {
    fn get(&self, tool: &Tool) -> Option<Known> {
        self.0.borrow().get(&tool.name).filter(|known| known.digest == tool.digest).cloned()
    }

    fn put(&self, tool: &Tool, known: Known) {
        let mut servers = self.0.borrow_mut();
        if servers.len() >= SERVERS_MAX && !servers.contains_key(&tool.name) {
            servers.clear();
        }
        servers.insert(tool.name.clone(), known);
    }
}

/// A call of a server's tool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RemoteFunction<'a> {
    /// The server.
    pub(crate) tool: &'a Tool,
    /// Its address.
    pub(crate) url: &'a str,
    /// What is called of it.
    pub(crate) function: &'a Function,
    /// Whether the host keeps the tool's grants, and so is to be told whose request it is.
    pub(crate) under_grants: bool,
}

/// What the host asks before a server is accepted.
#[derive(Deserialize)]
struct ListRequest {
    name: String,
    url: String,
}

#[derive(Serialize)]
struct ListReply {
    functions: Vec<Function>,
    /// Tools of the server that cannot be used, and why.
    rejected: Vec<String>,
}

fn fields(tool: &str, under_grants: bool) -> Vec<(String, String)> {
    let field = under_grants.then(|| (TOOL_FIELD.to_owned(), tool.to_owned()));
    field.into_iter().collect()
}

impl<S: Store, F: Fetch, P: Platform> Service<S, F, P> {
    /// Makes one attempt at a call, within `time_ms` milliseconds.
    pub(crate) async fn run_remote<G: Progress>(
        &self,
        remote: RemoteFunction<'_>,
        arguments: &Map<String, Value>,
        time_ms: u64,
        progress: &mut G,
    ) -> Outcome {
        let RemoteFunction { tool, url, function, under_grants } = remote;
        let answer_bytes = tool.output_bytes_max.saturating_mul(ANSWER_TIMES).max(ANSWER_BYTES_MIN);
        let bounds = Bounds {
            timeout_ms: tool.time_ms_max,
            answer_bytes_max: usize::try_from(answer_bytes).unwrap_or(usize::MAX),
            ..Bounds::default()
        };
        let known = self.memory.servers.get(tool);
        let client =
            Client::new(&self.fetch, url).with_headers(fields(&tool.name, under_grants)).with_bounds(bounds);
        let mut client = client.with_session(known.as_ref().and_then(|known| known.session.clone()));
        let now_ms = self.platform.now_ms();
        let known = match known {
            Some(known) if now_ms.abs_diff(known.listed_at_ms) < LISTED_MS => known,
            _ => self.look(tool, &mut client, under_grants).await?,
        };
        if let Some(change) = known.comparison.of(&function.name) {
            let told = format!("This tool is blocked: {change}. It has to be accepted anew.");
            return Err(Fault::new(CallError::Unknown, told));
        }
        let arguments = RawValue::from_string(Value::Object(arguments.clone()).to_string());
        let arguments =
            arguments.map_err(|error| Fault::new(CallError::InvalidArguments, error.to_string()))?;
        let call = RemoteCall {
            name: function.remote_name.as_deref().unwrap_or(&function.name),
            arguments: &arguments,
            parameters: Some(&function.parameters),
            is_followed: true,
        };
        let called = client.call_tool(call, progress, self.platform.sleep(time_ms)).await;
        self.memory.servers.put(tool, Known { session: client.session().cloned(), ..known });
        let outcome = called.map_err(|failure| fault(&failure))?;
        if outcome.is_error {
            return Err(Fault::new(CallError::Failed, outcome.text));
        }
        let structured = outcome.structured.filter(|_| function.output.is_some());
        Ok(Done::of(structured.map_or(outcome.text, |structured| structured.get().to_owned())))
    }

    /// Has the server list its tools, and holds them against what was accepted.
    async fn look(&self, tool: &Tool, client: &mut Client<&F>, under_grants: bool) -> Result<Known, Fault> {
        // Nothing has been called yet, whatever becomes of this.
        let unlisted = |failure: ClientFailure| Fault { may_have_happened: false, ..fault(&failure) };
        let listing = client.list_tools().await.map_err(unlisted)?;
        let comparison = compare(&tool.functions, &listing);
        let known = Known {
            digest: tool.digest.clone(),
            session: client.session().cloned(),
            listed_at_ms: self.platform.now_ms(),
            comparison: Rc::new(comparison),
        };
        self.memory.servers.put(tool, known.clone());
        if !known.comparison.changed.is_empty() {
            self.report(tool, &known.comparison, under_grants).await;
        }
        Ok(known)
    }

    /// Tells the operator and the host that a server says something else than was accepted.
    async fn report(&self, tool: &Tool, comparison: &Comparison, under_grants: bool) {
        let changes: Vec<String> = comparison.changed.iter().map(ToString::to_string).collect();
        self.platform.log(&format!("tool={} definition_changed {}", tool.name, changes.join("; ")));
        if !under_grants {
            return;
        }
        let body =
            json!({"what": "definition_changed", "detail": {"changed": changes, "added": comparison.added}});
        let url = format!("{HOST}/v1/tools/{}/report", tool.name);
        let request = post_json(url, body.to_string().into_bytes(), REPORT_TIMEOUT_MS);
        match fetch(&self.fetch, request, REPORT_BYTES_MAX).await {
            Ok(answer) if (200..300).contains(&answer.status) => {}
            Ok(answer) => {
                self.platform.log(&format!("tool={} the report was answered {}", tool.name, answer.status))
            }
            Err(error) => self.platform.log(&format!("tool={} the report was not taken: {error}", tool.name)),
        }
    }

    /// What a server lists, for the host, before anything of it is accepted.
    ///
    /// # Errors
    /// 400: it is not asked as it should be; 502: the server lists nothing that can be used, and the message says why.
    pub(crate) async fn list_remote(&self, body: &[u8]) -> Result<Reply, Problem> {
        let ListRequest { name, url } = serde_json::from_slice(body)
            .map_err(|error| ApiError::invalid(format!("The request body is not as expected: {error}.")))?;
        let bounds = Bounds { timeout_ms: LIST_TIMEOUT_MS, ..Bounds::default() };
        let mut client = Client::new(&self.fetch, url).with_headers(fields(&name, true)).with_bounds(bounds);
        let unusable = |told: String| {
            let message = format!("The server's tools cannot be used: {}.", echo(&told));
            ApiError::server(502, "mcp_server_unusable", message)
        };
        let listing = client.list_tools().await.map_err(|failure| Problem {
            error: Box::new(unusable(failure.to_string())),
            log: Some(format!("tool={name} tools/list: {failure}")),
        })?;
        let functions = functions(&listing).map_err(|error| unusable(error.to_string()))?;
        let mut out = Vec::with_capacity(4 << 10);
        json_out::push(&mut out, &ListReply { functions, rejected: listing.rejected });
        Ok(Reply::json(out))
    }
}

/// What a failure means for a call.
fn fault(failure: &ClientFailure) -> Fault {
    let told = |error| Fault::new(error, format!("The tool's server cannot be used: {failure}."));
    let fault = match failure {
        ClientFailure::Transport(failure) => return Fault::from(failure.clone()),
        ClientFailure::TimedOut => {
            Fault::passing(CallError::TimedOut, "The tool's server did not answer in time.")
        }
        ClientFailure::Busy { retry_after } => {
            let seconds = retry_after.as_deref().and_then(|seconds| seconds.trim().parse::<u64>().ok());
            let again =
                seconds.and_then(|seconds| seconds.checked_mul(1000)).map_or(Again::Later, Again::After);
            Fault { again, ..told(CallError::Unavailable) }
        }
        ClientFailure::SessionOver => Fault { again: Again::Later, ..told(CallError::Unavailable) },
        ClientFailure::Status(500..) => Fault { again: Again::Later, ..told(CallError::Failed) },
        ClientFailure::TooMuch(_) => told(CallError::InvalidOutput),
        ClientFailure::Rpc { message, .. } => Fault::new(CallError::Failed, message.clone()),
        ClientFailure::Redirected(_)
        | ClientFailure::Unauthorized(_)
        | ClientFailure::Status(_)
        | ClientFailure::Protocol(_)
        | ClientFailure::Version(_)
        | ClientFailure::InputRequired(_) => told(CallError::Failed),
    };
    // An error that the server has answered with is its last word.
    let is_said = matches!(failure, ClientFailure::Rpc { .. });
    let may_have_happened = !is_said && !failure.is_before_call();
    Fault { may_have_happened, ..fault.logged(failure.to_string()) }
}
