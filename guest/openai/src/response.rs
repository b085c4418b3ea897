//! The response object.

use crate::file_search::ToolsJson;
use crate::id::{ConversationId, ResponseId};
use crate::item::RawItem;
use crate::json;
use crate::metadata::Metadata;
use crate::parameters::{Parameters, Reasoning, TextOptions};
use crate::request::Continues;
use crate::tool::ToolChoice;
use serde::Serialize;

/// What a response repeats of its request, fixed when the turn begins.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    /// Its id.
    pub id: ResponseId,
    /// When the turn began, in seconds since 1970.
    pub created_at: u64,
    /// Whether it is made in the background.
    pub background: bool,
    /// The model that answers.
    pub model: String,
    /// What it continues.
    pub continues: Continues,
    /// The settings of the turn.
    pub parameters: Parameters,
}

/// How far a response has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It waits for its turn, in the background.
    Queued,
    /// The model is answering.
    InProgress,
    /// The model has said all it wanted.
    Completed,
    /// The model was stopped, for this reason (`max_output_tokens`, `content_filter`).
    Incomplete(&'static str),
    /// The model call failed, or what it said could not be kept.
    Failed(ResponseError),
    /// The client went away, or it was cancelled in the background.
    Cancelled,
}

/// The `error` of a failed response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResponseError {
    /// One of OpenAI's codes, as `server_error` or `rate_limit_exceeded`.
    pub code: &'static str,
    /// For the caller.
    pub message: String,
}

/// Tokens counted for a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// All that the model read.
    pub input_tokens: u64,
    /// The part of it that came from the model's cache.
    pub cached_tokens: u64,
    /// All that the model wrote.
    pub output_tokens: u64,
    /// The part of it that was reasoning.
    pub reasoning_tokens: u64,
}

#[derive(Serialize)]
struct UsageJson {
    input_tokens: u64,
    input_tokens_details: CachedTokens,
    output_tokens: u64,
    output_tokens_details: ReasoningTokens,
    total_tokens: u64,
}

#[derive(Serialize)]
struct CachedTokens {
    cached_tokens: u64,
    /// Chat Completions does not report it; newer SDKs expect it.
    cache_write_tokens: u64,
}

#[derive(Serialize)]
struct ReasoningTokens {
    reasoning_tokens: u64,
}

impl Serialize for Usage {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        UsageJson {
            input_tokens: self.input_tokens,
            input_tokens_details: CachedTokens { cached_tokens: self.cached_tokens, cache_write_tokens: 0 },
            output_tokens: self.output_tokens,
            output_tokens_details: ReasoningTokens { reasoning_tokens: self.reasoning_tokens },
            total_tokens: self.input_tokens.saturating_add(self.output_tokens),
        }
        .serialize(serializer)
    }
}

#[derive(Serialize)]
struct IdJson<T> {
    id: T,
}

#[derive(Serialize)]
struct ReasonJson {
    reason: &'static str,
}

#[derive(Serialize)]
struct ResponseJson<'a> {
    id: ResponseId,
    object: &'static str,
    created_at: u64,
    completed_at: Option<u64>,
    status: &'static str,
    background: bool,
    error: Option<&'a ResponseError>,
    incomplete_details: Option<ReasonJson>,
    instructions: Option<&'a str>,
    max_output_tokens: Option<u64>,
    max_tool_calls: Option<u64>,
    model: &'a str,
    output: &'a [RawItem],
    presence_penalty: f64,
    frequency_penalty: f64,
    parallel_tool_calls: bool,
    previous_response_id: Option<ResponseId>,
    conversation: Option<IdJson<ConversationId>>,
    prompt_cache_key: Option<&'a str>,
    reasoning: &'a Reasoning,
    safety_identifier: Option<&'a str>,
    service_tier: &'a str,
    store: bool,
    temperature: f64,
    text: &'a TextOptions,
    tool_choice: &'a ToolChoice,
    tools: ToolsJson<'a>,
    top_logprobs: u8,
    top_p: f64,
    truncation: &'a str,
    usage: Option<Usage>,
    user: Option<&'a str>,
    metadata: &'a Metadata,
}

impl Status {
    fn name(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete(_) => "incomplete",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl ResponseHead {
    /// The whole object, as JSON, of a response that is under way.
    pub fn to_json(&self, status: &Status, output: &[RawItem], usage: Option<Usage>) -> Vec<u8> {
        self.to_json_at(status, output, usage, None)
    }

    /// The whole object, as JSON, of a response that ended at `ended_at`, in seconds since 1970. Only one that is
    /// completed says when.
    pub fn to_json_at(
        &self,
        status: &Status,
        output: &[RawItem],
        usage: Option<Usage>,
        ended_at: Option<u64>,
    ) -> Vec<u8> {
        let parameters = &self.parameters;
        let object = ResponseJson {
            id: self.id,
            object: "response",
            created_at: self.created_at,
            completed_at: ended_at.filter(|_| *status == Status::Completed),
            status: status.name(),
            background: self.background,
            error: if let Status::Failed(error) = status { Some(error) } else { None },
            incomplete_details: match status {
                Status::Incomplete(reason) => Some(ReasonJson { reason }),
                _ => None,
            },
            instructions: parameters.instructions.as_deref(),
            max_output_tokens: parameters.max_output_tokens,
            max_tool_calls: parameters.max_tool_calls,
            model: &self.model,
            output,
            presence_penalty: parameters.presence_penalty.unwrap_or(0.0),
            frequency_penalty: parameters.frequency_penalty.unwrap_or(0.0),
            parallel_tool_calls: parameters.parallel_tool_calls.unwrap_or(true),
            previous_response_id: match self.continues {
                Continues::Response(id) => Some(id),
                _ => None,
            },
            conversation: match self.continues {
                Continues::Conversation(id) => Some(IdJson { id }),
                _ => None,
            },
            prompt_cache_key: parameters.prompt_cache_key.as_deref(),
            reasoning: &parameters.reasoning,
            safety_identifier: parameters.safety_identifier.as_deref(),
            service_tier: parameters.service_tier.as_deref().unwrap_or("default"),
            store: parameters.store,
            temperature: parameters.temperature.unwrap_or(1.0),
            text: &parameters.text,
            tool_choice: &parameters.tool_choice,
            tools: ToolsJson {
                functions: &parameters.tools,
                file_search: parameters.file_search.as_ref(),
                mcp: &parameters.mcp,
            },
            top_logprobs: parameters.top_logprobs.unwrap_or(0),
            top_p: parameters.top_p.unwrap_or(1.0),
            truncation: parameters.truncation.as_deref().unwrap_or("disabled"),
            usage,
            user: parameters.user.as_deref(),
            metadata: &parameters.metadata,
        };
        let texts: usize = output.iter().map(|item| item.get().len()).sum();
        let mut out = Vec::with_capacity(texts + 1024);
        json::push(&mut out, &object);
        out
    }
}
