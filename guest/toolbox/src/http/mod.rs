//! HTTP tools: a request from a template, under the grants of the tool, and what the server answered.

mod answer;
mod request;

use crate::fetch::{FetchError, TOOL_FIELD, fetch};
use crate::outcome::{Fault, Outcome};
use request::{TemplateError, make};
use serde_json::{Map, Value};
use waggle_mcp::Fetch;
use waggle_tool::definition::{Function, Tool};
use waggle_tool::wire::CallError;

/// A call of an HTTP tool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HttpCall<'a> {
    /// The tool.
    pub(crate) tool: &'a Tool,
    /// Where its paths begin.
    pub(crate) base_url: &'a str,
    /// What is called of it.
    pub(crate) function: &'a Function,
    /// What with; it fits the schema.
    pub(crate) arguments: &'a Map<String, Value>,
    /// The same for every attempt.
    pub(crate) key: &'a str,
    /// Whether the host keeps the tool's grants, and so is to be told whose request it is.
    pub(crate) under_grants: bool,
}

impl HttpCall<'_> {
    /// Makes one attempt.
    pub(crate) async fn run<F: Fetch>(self, over: &F) -> Outcome {
        let made = make(self.base_url, self.function, self.arguments, self.key, self.tool.time_ms_max);
        let mut request = made.map_err(|error| match error {
            TemplateError::Template(_) => {
                let log = format!("tool={} function={} {error}", self.tool.name, self.function.name);
                Fault::new(CallError::Failed, "The tool is not set up as it should be.").logged(log)
            }
            wrong => Fault::new(CallError::InvalidArguments, wrong.to_string()),
        })?;
        if self.under_grants {
            request.headers.push((TOOL_FIELD.to_owned(), self.tool.name.clone()));
        }
        let bytes_max = usize::try_from(self.tool.output_bytes_max).unwrap_or(usize::MAX);
        match fetch(over, request, bytes_max).await {
            Ok(answer) => answer::read(&answer),
            Err(FetchError::Transport(failure)) => Err(failure.into()),
            Err(long @ FetchError::TooLong(_)) => {
                let told = format!("The server's answer is not used: {long}.");
                Err(Fault { may_have_happened: true, ..Fault::new(CallError::InvalidOutput, told) })
            }
        }
    }
}
