//! The tenant's tools, for MCP's clients. What a person has to approve is not among them, nor what needs a conversation:
//! there is nobody here who would be asked, and no conversation.

use crate::audit::Via;
use crate::built_in::BuiltIn;
use crate::call::Caller;
use crate::catalog::{catalog, name_of};
use crate::problem::Problem;
use crate::registry::{Snapshot, function};
use crate::service::Service;
use crate::settings::{listed, text};
use serde_json::value::RawValue;
use waggle_conversation::{Store, Viewer};
use waggle_mcp::server::{ServedResult, ServedTool, ServerFailure, ServerTools, ToolCall};
use waggle_mcp::{Fetch, Progress};
use waggle_openai::Nonce;
use waggle_openai::error::echo;
use waggle_platform::Platform;
use waggle_tool::wire::{BUILT_IN_LABEL, CallError, CallRequest, Offered, Selection};

/// How many tools are served at most.
const TOOLS_MAX: usize = 1024;
/// After how many seconds a client may come back that had to be refused.
const RETRY_AFTER_S: u32 = 1;

/// Which tools a caller is served: labels, or `LABEL.FUNCTION`.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    all: bool,
    entries: Vec<(String, Option<String>)>,
}

impl Served {
    /// `mcp_tools` for the tenant's services, everything unless it says otherwise; `mcp_user_tools` for its users, the
    /// built-in ones unless it does.
    ///
    /// # Errors
    /// 500: a variable cannot be read.
    pub(crate) async fn read<P: Platform>(platform: &P, viewer: &Viewer) -> Result<Self, Problem> {
        let (name, default) =
            if viewer.is_service() { ("mcp_tools", "*") } else { ("mcp_user_tools", BUILT_IN_LABEL) };
        let value = text(platform, name).await?;
        Ok(Self::of(if value.is_empty() { default } else { &value }))
    }

    fn of(value: &str) -> Self {
        let entries = listed(value).map(|entry| match entry.split_once('.') {
            Some((label, function)) => (label.to_owned(), Some(function.to_owned())),
            None => (entry.to_owned(), None),
        });
        Self { all: value == "*", entries: entries.collect() }
    }

    fn has(&self, label: &str, function: &str) -> bool {
        let named = |(of, only): &(String, Option<String>)| {
            of == label && only.as_deref().is_none_or(|only| only == function)
        };
        self.all || self.entries.iter().any(named)
    }

    /// All that is served, under the names by which clients call it.
    fn offered(&self, snapshot: &Snapshot) -> Vec<Offered> {
        let whole =
            |label: &str| Selection { label: Some(label.to_owned()), server_url: None, functions: None };
        let select: Vec<Selection> = if self.all {
            let others = snapshot.tools().iter().map(|tool| whole(&tool.name));
            std::iter::once(whole(BUILT_IN_LABEL)).chain(others).collect()
        } else {
            let named = self.entries.iter().map(|(label, function)| Selection {
                functions: function.clone().map(|function| vec![function]),
                ..whole(label)
            });
            named.collect()
        };
        let mut offered = catalog(snapshot, &select, TOOLS_MAX).tools;
        offered.retain(is_servable);
        offered
    }

    /// What a client means by a name.
    fn resolve(&self, snapshot: &Snapshot, name: &str) -> Option<Offered> {
        // Most names say what they mean, so that a thousand tools need not be gone through.
        let plain = BuiltIn::of(name).filter(|_| self.has(BUILT_IN_LABEL, name)).map(BuiltIn::offered);
        if let Some(offered) = plain.filter(is_servable) {
            return Some(offered);
        }
        let places =
            name.match_indices("__").filter_map(|(at, _)| Some((name.get(..at)?, name.get(at + 2..)?)));
        let meant: Vec<Selection> = places
            .filter(|(label, of)| {
                let known = snapshot.tool(label).is_some_and(|tool| function(tool, of).is_some());
                known && self.has(label, of) && name_of(label, of) == name
            })
            .map(|(label, of)| Selection {
                label: Some(label.to_owned()),
                server_url: None,
                functions: Some(vec![of.to_owned()]),
            })
            .collect();
        if let [_] = meant.as_slice() {
            let mut one = catalog(snapshot, &meant, 1).tools;
            one.retain(|offered| offered.name == name && is_servable(offered));
            if let Some(offered) = one.pop() {
                return Some(offered);
            }
        }
        self.offered(snapshot).into_iter().find(|offered| offered.name == name)
    }
}

fn is_servable(offered: &Offered) -> bool {
    let is_own = offered.label == BUILT_IN_LABEL;
    let needs_conversation =
        is_own && BuiltIn::of(&offered.function).is_some_and(BuiltIn::needs_conversation);
    !offered.needs_approval && !needs_conversation
}

/// The tools, for one caller.
#[derive(Debug)]
pub struct McpTools<S, F, P> {
    service: Service<S, F, P>,
    served: Served,
    user: Option<String>,
}

impl<S, F, P> McpTools<S, F, P> {
    pub(crate) fn new(service: Service<S, F, P>, served: Served, user: Option<String>) -> Self {
        Self { service, served, user }
    }
}

impl<S: Store, F: Fetch, P: Platform> McpTools<S, F, P> {
    fn failed(&self, problem: &Problem) -> ServerFailure {
        if let Some(line) = &problem.log {
            self.service.platform.log(&format!("status={} mcp {line}", problem.error.status));
        }
        match problem.error.status {
            429 | 503 => ServerFailure::Busy(problem.error.retry_after_s.unwrap_or(RETRY_AFTER_S)),
            _ => ServerFailure::Failed(problem.error.message.clone()),
        }
    }

    async fn snapshot(&self) -> Result<std::rc::Rc<Snapshot>, ServerFailure> {
        self.service.registry().await.map_err(|problem| self.failed(&problem))
    }
}

/// The schema of what a function gives, if it has one.
fn output_of<'s>(snapshot: &'s Snapshot, offered: &Offered) -> Option<&'s RawValue> {
    let tool = snapshot.tool(&offered.label).filter(|_| offered.label != BUILT_IN_LABEL)?;
    function(tool, &offered.function)?.output.as_deref()
}

impl<S: Store, F: Fetch, P: Platform> ServerTools for McpTools<S, F, P> {
    async fn tools(&self) -> Result<Vec<ServedTool>, ServerFailure> {
        let snapshot = self.snapshot().await?;
        let offered = self.served.offered(&snapshot).into_iter();
        let served = offered.map(|offered| ServedTool {
            output_schema: output_of(&snapshot, &offered).map(ToOwned::to_owned),
            name: offered.name,
            title: None,
            description: offered.description,
            input_schema: offered.parameters,
            read_only: !offered.side_effects,
            idempotent: offered.idempotent,
        });
        Ok(served.collect())
    }

    async fn call<G: Progress>(
        &self,
        call: ToolCall<'_>,
        progress: &mut G,
    ) -> Result<ServedResult, ServerFailure> {
        let snapshot = self.snapshot().await?;
        let unknown = || ServerFailure::Unknown(format!("There is no tool '{}'.", echo(call.name)));
        let offered = self.served.resolve(&snapshot, call.name).ok_or_else(unknown)?;
        let gives_json = output_of(&snapshot, &offered).is_some();
        let platform = &self.service.platform;
        let request = CallRequest {
            label: offered.label,
            function: offered.function,
            digest: offered.digest,
            arguments: call.arguments.get().to_owned(),
            idempotency_key: Nonce::mint(platform.now_ms(), platform.random()).to_string(),
            approved: false,
            repeated: false,
            response: None,
            conversation: None,
            vector_store_ids: Vec::new(),
        };
        let caller = Caller { user: self.user.clone(), via: Via::Mcp };
        let called = self.service.call(&request, &caller, progress).await;
        let reply = called.map_err(|problem| self.failed(&problem))?;
        if reply.error == Some(CallError::Unknown) {
            return Err(ServerFailure::Unknown(reply.output));
        }
        let is_error = reply.error.is_some();
        let structured =
            (gives_json && !is_error).then(|| RawValue::from_string(reply.output.clone()).ok()).flatten();
        Ok(ServedResult { text: reply.output, structured, is_error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{registry, tool_json};
    use serde_json::json;

    fn names(served: &str, snapshot: &Snapshot) -> Vec<String> {
        Served::of(served).offered(snapshot).into_iter().map(|offered| offered.name).collect()
    }

    #[test]
    fn a_caller_is_served_what_is_listed_and_needs_nobody() {
        let mut crm = tool_json("crm", &["find", "note"]);
        crm["functions"][1]["needs_approval"] = json!(true);
        let snapshot = registry(&json!([crm, tool_json("orders", &["get", "list"])]));
        let all =
            ["search_knowledge", "current_time", "calculator", "crm__find", "orders__get", "orders__list"];
        assert_eq!(names("*", &snapshot), all);
        assert_eq!(
            names("orders.list, waggle.calculator, crm.note, gone", &snapshot),
            ["orders__list", "calculator"]
        );
        assert!(names("", &snapshot).is_empty());
    }

    #[test]
    fn every_name_that_is_listed_means_what_it_was_listed_for() {
        let long = "f".repeat(48);
        let snapshot = registry(&json!([
            tool_json("a", &["b__c", "d"]),
            tool_json("a__b", &["c", "d"]),
            tool_json(&"l".repeat(32), &[&long, "g"]),
        ]));
        for served in ["*", "a__b,a.d,waggle"] {
            let served = Served::of(served);
            for offered in served.offered(&snapshot) {
                let found = served.resolve(&snapshot, &offered.name).unwrap();
                assert_eq!(
                    (found.label, found.function),
                    (offered.label, offered.function),
                    "{}",
                    offered.name
                );
            }
        }
        let only = Served::of("a.d");
        for name in ["a__b__c", "calculator", "hand_over", "a__", "__", ""] {
            assert!(only.resolve(&snapshot, name).is_none(), "{name}");
        }
    }
}
