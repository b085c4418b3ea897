//! What is served, as whoever serves it says it. [`crate::server`] writes it as each revision wants it.

use serde_json::value::RawValue;

/// A tool.
#[derive(Debug, Clone)]
pub struct ServedTool {
    /// What clients call it by; 1 to 128 of `[A-Za-z0-9_.-]`, unique.
    pub name: String,
    /// For people, where that is another.
    pub title: Option<String>,
    /// For models.
    pub description: String,
    /// The JSON Schema of its arguments, an object.
    pub input_schema: Box<RawValue>,
    /// The JSON Schema of its structured result. A tool that has one gives [`ServedResult::structured`] whenever it does
    /// not fail: clients refuse results without it.
    pub output_schema: Option<Box<RawValue>>,
    /// Whether a call changes nothing.
    pub read_only: bool,
    /// Whether the same call made twice does no more than made once.
    pub idempotent: bool,
}

/// What a call gave.
#[derive(Debug, Clone)]
pub struct ServedResult {
    /// For the model; of an error, what went wrong.
    pub text: String,
    /// The same as JSON, of a tool with an output schema.
    pub structured: Option<Box<RawValue>>,
    /// Whether it failed.
    pub is_error: bool,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// At most [`PAGE_ENTRIES`](crate::server::PAGE_ENTRIES).
    pub entries: Vec<T>,
    /// What asks for the next; `None` at the end.
    pub next: Option<String>,
}

/// A resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedResource {
    /// Its address.
    pub uri: String,
    /// What it is called.
    pub name: String,
    /// What it is, if that is known.
    pub description: Option<String>,
    /// Its media type, if that is known.
    pub mime_type: Option<String>,
    /// How long it is, bytes.
    pub size: Option<u64>,
}

/// A kind of address by which resources are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedTemplate {
    /// The template, RFC 6570.
    pub uri_template: String,
    /// What it is called.
    pub name: String,
    /// What is read by it.
    pub description: Option<String>,
    /// The media type of all that is, where it is one.
    pub mime_type: Option<String>,
}

/// What a resource holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contents {
    /// Text.
    Text {
        /// Its address.
        uri: String,
        /// Its media type, if that is known.
        mime_type: Option<String>,
        /// The text.
        text: String,
    },
    /// Anything else; clients get it in base64.
    Bytes {
        /// Its address.
        uri: String,
        /// Its media type, if that is known.
        mime_type: Option<String>,
        /// The bytes.
        bytes: Vec<u8>,
    },
}

/// A prompt: a text with gaps that a person picks and fills in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedPrompt {
    /// What clients ask for it by, unique.
    pub name: String,
    /// For people, where that is another.
    pub title: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Its gaps.
    pub arguments: Vec<PromptArgument>,
}

/// A gap in a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptArgument {
    /// Its name.
    pub name: String,
    /// What goes there.
    pub description: Option<String>,
    /// Whether it has to be filled in.
    pub required: bool,
}

/// A prompt, filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptText {
    /// What it is for.
    pub description: Option<String>,
    /// What it says.
    pub messages: Vec<PromptMessage>,
}

/// One message of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptMessage {
    /// Whether the assistant says it, not the user.
    pub by_assistant: bool,
    /// What.
    pub text: String,
}
