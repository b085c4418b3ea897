//! One call of a tool, through the tools function, and what is told of it.

use super::failure::message;
use super::toolbox::{Pending, Tool};
use crate::platform::{NeighbourAnswer, NeighbourCall, Platform};
use waggle_agent::recorded::OUTCOME_UNKNOWN;
use waggle_model::failure::excerpt;
use waggle_model::transport::TransportFailure;
use waggle_openai::item::mcp::{McpFailure, Outcome};
use waggle_openai::json;
use waggle_tool::wire::{CALL_PATH, CallError, CallReply, CallRequest, FUNCTION};

/// JSON-RPC's codes: for a call that is not as it should be, which MCP has for an unknown tool as well, and for one that
/// failed on its way.
const INVALID_PARAMS: i32 = -32602;
const INTERNAL_ERROR: i32 = -32603;
/// The least time that a call is given, in milliseconds, and the most.
const TIMEOUT_MS_MIN: u64 = 1_000;
const TIMEOUT_MS_MAX: u64 = 300_000;

/// What calls of one turn have in common.
#[derive(Debug, Clone)]
pub(crate) struct CallContext {
    /// `resp_…`
    pub(crate) response: String,
    /// `conv_…`
    pub(crate) conversation: Option<String>,
    /// The vector stores of the turn.
    pub(crate) vector_store_ids: Vec<String>,
}

/// What did not come to a call, for the model.
pub(crate) fn not_made(words: String) -> CallReply {
    reply(words, CallError::InvalidArguments)
}

/// A call of what does not exist.
pub(crate) fn unknown(tool: &Tool) -> CallReply {
    let name = &tool.offered.name;
    reply(format!("There is no tool '{name}'. Call only those you were told of."), CallError::Unknown)
}

/// A call whose outcome nobody knows.
pub(crate) fn outcome_unknown() -> CallReply {
    reply(OUTCOME_UNKNOWN.to_owned(), CallError::OutcomeUnknown)
}

fn reply(output: String, error: CallError) -> CallReply {
    CallReply { output, error: Some(error), attempts: 0, duration_ms: 0, handed_over: false }
}

/// The arguments as they are sent: some models say nothing where a function takes none.
fn sent(arguments: &str) -> &str {
    if arguments.trim().is_empty() { "{}" } else { arguments }
}

/// What is told of it, in OpenAI's shape. Of a call that was not made, the words are this server's own, which a model may take
/// as such; all others may be a tool's.
pub(crate) fn outcome(reply: &CallReply) -> Outcome<'_> {
    let code = match reply.error {
        None => return Outcome::Completed(&reply.output),
        Some(_) if reply.attempts > 0 => return Outcome::Failed(McpFailure::Execution(&reply.output)),
        Some(CallError::Unknown | CallError::InvalidArguments | CallError::ApprovalRequired) => {
            INVALID_PARAMS
        }
        Some(_) => INTERNAL_ERROR,
    };
    Outcome::Failed(McpFailure::Protocol(code, &reply.output))
}

/// Makes a call. Whatever comes of it is an answer to the model.
pub(crate) async fn make<P: Platform>(
    platform: &P,
    context: &CallContext,
    pending: &Pending,
    (idempotency_key, repeated): (String, bool),
    time_left_ms: u64,
) -> CallReply {
    let offered = &pending.tool.offered;
    let request = CallRequest {
        label: offered.label.clone(),
        function: offered.function.clone(),
        digest: offered.digest.clone(),
        arguments: sent(&pending.arguments).to_owned(),
        idempotency_key,
        approved: pending.approved.is_some(),
        repeated,
        response: Some(context.response.clone()),
        conversation: context.conversation.clone(),
        vector_store_ids: context.vector_store_ids.clone(),
    };
    let mut body = Vec::with_capacity(request.arguments.len() + 512);
    json::push(&mut body, &request);
    let timeout_ms = time_left_ms.clamp(TIMEOUT_MS_MIN, TIMEOUT_MS_MAX);
    let call = NeighbourCall::post(FUNCTION, CALL_PATH, body, timeout_ms);
    match platform.call_neighbour(call).await {
        Ok(answer) if answer.status == 200 => read(platform, &pending.tool, &answer),
        Ok(answer) => refused(platform, &answer),
        Err(failure) => {
            platform.log(&format!("tool={}.{} {failure}", offered.label, offered.function));
            cut_off(&pending.tool, &failure)
        }
    }
}

fn read<P: Platform>(platform: &P, tool: &Tool, answer: &NeighbourAnswer) -> CallReply {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| {
        platform
            .log(&format!("tools: a call's answer cannot be read: {error}, in '{}'", excerpt(&answer.body)));
        // It was made, and what came of it is lost.
        if tool.is_repeatable() {
            reply("The tool's answer could not be read.".to_owned(), CallError::InvalidOutput)
        } else {
            outcome_unknown()
        }
    })
}

/// The tools function says that the call was not made.
fn refused<P: Platform>(platform: &P, answer: &NeighbourAnswer) -> CallReply {
    platform.log(&format!("tools: a call was answered {}: '{}'", answer.status, excerpt(&answer.body)));
    let (error, words) = match answer.status {
        404 => (CallError::Unknown, "There is no such tool any more."),
        400 | 413 | 422 => (CallError::InvalidArguments, "The call was refused."),
        401 | 403 => (CallError::Denied, "The call is not allowed."),
        429 | 503 => (CallError::Unavailable, "The tool is busy. Try it later, or do without."),
        _ => (CallError::Failed, "The tool failed."),
    };
    let told = message(&answer.body);
    reply(if told.is_empty() { words.to_owned() } else { told }, error)
}

fn cut_off(tool: &Tool, failure: &TransportFailure) -> CallReply {
    match failure {
        TransportFailure::Unreachable(_) | TransportFailure::Denied(_) | TransportFailure::Busy(_) => {
            reply("The tool cannot be reached at the moment.".to_owned(), CallError::Unavailable)
        }
        _ if !tool.is_repeatable() => outcome_unknown(),
        TransportFailure::TimedOut(_) => {
            reply("The tool did not answer in time.".to_owned(), CallError::TimedOut)
        }
        TransportFailure::Cut(_) | TransportFailure::Ended(_) => {
            reply("The tool's answer was cut off.".to_owned(), CallError::Failed)
        }
    }
}
