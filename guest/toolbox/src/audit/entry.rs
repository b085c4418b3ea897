//! A call, as the audit log keeps it.

use crate::clean::{clean_text, cut};
use crate::mask::Mask;
use serde::{Deserialize, Serialize};
use waggle_openai::json;
use waggle_tool::wire::CallError;

/// How much of the arguments is kept, in bytes.
const ARGUMENTS_BYTES_MAX: usize = 4 << 10;
/// How much of what came back is.
const OUTPUT_BYTES_MAX: usize = 2 << 10;
/// The longest name of a tool, a function or a digest that is kept: callers may ask for what is none.
const NAME_BYTES_MAX: usize = 128;

/// By which way somebody asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Via {
    /// A turn of the agent, or another function.
    Agent,
    /// A client of `/mcp`.
    Mcp,
}

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// It was begun; what became of it, nobody has said.
    Begun,
    /// It gave something.
    Completed,
    /// It gave nothing.
    Failed,
    /// It was not made.
    Refused,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// When it was begun, milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// Who asked: a user; none is one of the tenant's services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// By which way.
    pub(crate) via: Via,
    /// For which response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) response: Option<String>,
    /// In which conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) conversation: Option<String>,
    /// The tool.
    pub(crate) tool: String,
    /// What of it.
    pub(crate) function: String,
    /// Of which version.
    pub(crate) digest: String,
    /// Whether it may change something.
    pub(crate) side_effects: bool,
    /// Whether a person had approved it.
    pub(crate) approved: bool,
    /// What with, masked and cut.
    pub(crate) arguments: String,
    /// How far it has come.
    pub(crate) status: Status,
    /// How it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<CallError>,
    /// What came back, masked and cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<String>,
    /// How often it was tried.
    pub(crate) attempts: u32,
    /// How long all of it took, milliseconds.
    pub(crate) duration_ms: u64,
}

impl Entry {
    /// The entry as it is stored: masked, cut, without what is not seen.
    pub(super) fn write(&self, mask: &Mask) -> Vec<u8> {
        let short = |text: &str, bytes_max| cut(&clean_text(text), bytes_max).into_owned();
        // Masked before it is cut: half a secret is one.
        let shown = |text: &str, bytes_max| short(&mask.apply(text), bytes_max);
        let written = Self {
            tool: short(&self.tool, NAME_BYTES_MAX),
            function: short(&self.function, NAME_BYTES_MAX),
            digest: short(&self.digest, NAME_BYTES_MAX),
            response: self.response.as_deref().map(|id| short(id, NAME_BYTES_MAX)),
            conversation: self.conversation.as_deref().map(|id| short(id, NAME_BYTES_MAX)),
            arguments: shown(&self.arguments, ARGUMENTS_BYTES_MAX),
            output: self.output.as_deref().map(|output| shown(output, OUTPUT_BYTES_MAX)),
            ..self.clone()
        };
        let mut out = Vec::with_capacity(512);
        json::push(&mut out, &written);
        out
    }

    pub(super) fn read(value: &[u8]) -> Option<Self> {
        serde_json::from_slice(value).ok()
    }
}
