//! What the chat function and the tools function say to each other: `POST http://tools.spin.internal/v1/tools/catalog` and
//! `POST http://tools.spin.internal/v1/tools/call`. Neither has a public route.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The function that has them.
pub const FUNCTION: &str = "tools";
/// The path of a catalogue.
pub const CATALOG_PATH: &str = "/v1/tools/catalog";
/// The path of a call.
pub const CALL_PATH: &str = "/v1/tools/call";
/// What the built-in tools are called together.
pub const BUILT_IN_LABEL: &str = "waggle";
/// The most tools of one turn.
pub const OFFERED_MAX: usize = 128;

/// Asks for what a turn may use.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CatalogRequest {
    /// Which; each with at most 128 names.
    pub select: Vec<Selection>,
}

/// Some or all functions of one tool.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Selection {
    /// The tool's name in the registry, or [`BUILT_IN_LABEL`]. Absent: the one whose address is `server_url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The address of an MCP server of the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_url: Option<String>,
    /// The functions meant; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub functions: Option<Vec<String>>,
}

/// What there is of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Catalog {
    /// In the order of the selections, then of the tools' own.
    pub tools: Vec<Offered>,
    /// What was selected and is not there, each a sentence that names it.
    #[serde(default)]
    pub missing: Vec<String>,
}

/// One function that a model may be offered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Offered {
    /// What the model calls it by: `LABEL__FUNCTION`, of a built-in one `FUNCTION`; `^[a-zA-Z0-9_-]{1,64}$`, unique in the
    /// catalogue (a name that would be too long or stands there already ends in `_` and eight hexadecimal digits).
    pub name: String,
    /// The tool it belongs to.
    pub label: String,
    /// Its name there.
    pub function: String,
    /// For the model.
    pub description: String,
    /// The JSON Schema of its arguments.
    pub parameters: Box<RawValue>,
    /// Whether a call may change something outside.
    pub side_effects: bool,
    /// Whether the same call under the same key does no more than once.
    pub idempotent: bool,
    /// Whether a person approves each call. A caller may ask for approval where this does not, never the reverse.
    pub needs_approval: bool,
    /// What was accepted; a call under another digest is refused.
    pub digest: String,
}

/// Asks for one call.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CallRequest {
    /// The tool.
    pub label: String,
    /// The function of it.
    pub function: String,
    /// As the catalogue had it.
    pub digest: String,
    /// What the model wrote: to be a JSON object.
    pub arguments: String,
    /// The same for every attempt at this call, and for no other.
    pub idempotency_key: String,
    /// Whether a person has approved this very call.
    #[serde(default)]
    pub approved: bool,
    /// Whether this call may have been made before, by one that was interrupted.
    #[serde(default)]
    pub repeated: bool,
    /// The response it is made for (`resp_…`), for the audit log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<String>,
    /// The conversation it is made in (`conv_…`), for built-in tools and the audit log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
    /// The vector stores of the turn, for the built-in knowledge search.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vector_store_ids: Vec<String>,
}

/// What came of it. Whatever the tool did, this is a 200; other statuses say that the call was not made and why, in
/// OpenAI's shape.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CallReply {
    /// For the model, cleaned and within its bound; of an error, what went wrong.
    pub output: String,
    /// Whether it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<CallError>,
    /// How often it was tried.
    pub attempts: u32,
    /// How long all of it took, milliseconds.
    pub duration_ms: u64,
    /// Whether the conversation was handed to a person by it: the turn ends, and its bot is silent from now on.
    #[serde(default)]
    pub handed_over: bool,
}

/// How a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallError {
    /// There is no such tool, or it is not accepted, or it has changed since the catalogue was read.
    Unknown,
    /// The arguments are no JSON, or not as the schema says.
    InvalidArguments,
    /// A person would have to approve it.
    ApprovalRequired,
    /// It asked for what it was not granted.
    Denied,
    /// It took longer than it may.
    TimedOut,
    /// It used more memory or processor time than it may.
    OutOfBounds,
    /// Its answer is too long or not what it declared.
    InvalidOutput,
    /// Not now: the tenant's or the host's bound on calls at once, or the server said so.
    Unavailable,
    /// It was interrupted, may have happened, and is not safe to repeat.
    OutcomeUnknown,
    /// It failed.
    Failed,
}
