//! The response object.

use crate::file_search::ToolsJson;
use crate::id::ResponseId;
use crate::item::RawItem;
use crate::json;
use crate::parameters::Parameters;
use crate::request::Continues;
use serde::Serialize;

/// About what a response has besides the texts of its output, in bytes.
const OBJECT_BYTES: usize = 1024;

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

/// A JSON object that is being written. Its names hold nothing that needs an escape, so they are not looked at: there are
/// more bytes of them in a response than of all else but texts.
struct ObjectWriter(Vec<u8>);

impl ObjectWriter {
    fn put<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) {
        self.0.extend_from_slice(if self.0.is_empty() { b"{\"" } else { b",\"" });
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
        json::push(&mut self.0, value);
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }
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

    fn error(&self) -> Option<&ResponseError> {
        if let Self::Failed(error) = self { Some(error) } else { None }
    }

    fn incomplete_details(&self) -> Option<ReasonJson> {
        if let Self::Incomplete(reason) = self { Some(ReasonJson { reason }) } else { None }
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
        let texts: usize = output.iter().map(|item| item.get().len()).sum();
        let mut object = ObjectWriter(Vec::with_capacity(texts + OBJECT_BYTES));
        object.put("id", &self.id);
        object.put("object", "response");
        object.put("created_at", &self.created_at);
        object.put("completed_at", &ended_at.filter(|_| *status == Status::Completed));
        object.put("status", status.name());
        object.put("background", &self.background);
        object.put("error", &status.error());
        object.put("incomplete_details", &status.incomplete_details());
        object.put("instructions", &parameters.instructions);
        object.put("max_output_tokens", &parameters.max_output_tokens);
        object.put("max_tool_calls", &parameters.max_tool_calls);
        object.put("model", &self.model);
        object.put("output", output);
        object.put("presence_penalty", &parameters.presence_penalty.unwrap_or(0.0));
        object.put("frequency_penalty", &parameters.frequency_penalty.unwrap_or(0.0));
        object.put("parallel_tool_calls", &parameters.parallel_tool_calls.unwrap_or(true));
        object.put("previous_response_id", &self.continues.response());
        object.put("conversation", &self.continues.conversation().map(|id| IdJson { id }));
        object.put("prompt_cache_key", &parameters.prompt_cache_key);
        object.put("reasoning", &parameters.reasoning);
        object.put("safety_identifier", &parameters.safety_identifier);
        object.put("service_tier", parameters.service_tier.as_deref().unwrap_or("default"));
        object.put("store", &parameters.store);
        object.put("temperature", &parameters.temperature.unwrap_or(1.0));
        object.put("text", &parameters.text);
        object.put("tool_choice", &parameters.tool_choice);
        let (functions, file_search) = (&parameters.tools, parameters.file_search.as_ref());
        object.put("tools", &ToolsJson { functions, file_search, mcp: &parameters.mcp });
        object.put("top_logprobs", &parameters.top_logprobs.unwrap_or(0));
        object.put("top_p", &parameters.top_p.unwrap_or(1.0));
        object.put("truncation", parameters.truncation.as_deref().unwrap_or("disabled"));
        object.put("usage", &usage);
        object.put("user", &parameters.user);
        object.put("metadata", &parameters.metadata);
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Nonce;
    use crate::request::CreateResponse;
    use serde_json::Value;

    const NAMES: [&str; 33] = [
        "id",
        "object",
        "created_at",
        "completed_at",
        "status",
        "background",
        "error",
        "incomplete_details",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "model",
        "output",
        "presence_penalty",
        "frequency_penalty",
        "parallel_tool_calls",
        "previous_response_id",
        "conversation",
        "prompt_cache_key",
        "reasoning",
        "safety_identifier",
        "service_tier",
        "store",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "truncation",
        "usage",
        "user",
        "metadata",
    ];

    #[test]
    fn every_member_is_there_in_its_order_and_values_are_escaped() {
        let request = CreateResponse::read(br#"{"input":"x","instructions":"say \"hi\""}"#).unwrap();
        let head = ResponseHead {
            id: ResponseId(Nonce::mint(1, 2)),
            created_at: 3,
            background: false,
            model: "a\"b".to_owned(),
            continues: Continues::Nothing,
            parameters: request.parameters,
        };
        let text = String::from_utf8(head.to_json_at(&Status::Completed, &[], None, Some(4))).unwrap();
        let mut rest = text.as_str();
        for name in NAMES {
            rest = rest.split_once(&format!("\"{name}\":")).unwrap_or_else(|| panic!("{name} in {text}")).1;
        }
        let object: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(object.as_object().unwrap().len(), NAMES.len());
        assert_eq!((&object["model"], &object["completed_at"]), (&"a\"b".into(), &4.into()));
        assert_eq!((&object["instructions"], &object["usage"]), (&"say \"hi\"".into(), &Value::Null));
    }
}
