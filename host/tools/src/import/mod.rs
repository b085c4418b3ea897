//! HTTP tools out of what is there already: an OpenAPI document, or one request in a line. What comes out is checked like any
//! other when it is added; nothing here reads files or the network.

mod openapi;
mod parameters;
mod reference;
mod request;
#[cfg(test)]
mod tests;

pub use request::{Argument, declared};

use crate::{Function, Grants, Kind, Limits, NewTool};
use serde_json::Value;
use std::collections::BTreeMap;

/// Bytes of a document.
pub const DOCUMENT_BYTES_MAX: usize = 16 << 20;
/// Names that an error lists, so that it can be read.
const LISTED_MAX: usize = 40;

/// What is to be taken out of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Operations, each by its `operationId` or as `METHOD /path`. None: all, if they are not too many.
    pub operations: Vec<String>,
    /// Where the server is, if it is not where the document says.
    pub base_url: Option<String>,
}

/// What was taken out of a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The document's title.
    pub title: String,
    /// The document's version.
    pub version: String,
    /// Where the server is.
    pub base_url: String,
    /// In the order they were asked for, and else in that of the document.
    pub functions: Vec<Function>,
    /// What whoever imports has to know or to do, a sentence each: which credentials the server wants, what was left out.
    pub notes: Vec<String>,
}

impl Imported {
    /// The tool of this name, without grants.
    #[must_use]
    pub fn into_tool(self, name: String) -> NewTool {
        NewTool {
            name,
            description: self.title,
            version: self.version,
            kind: Kind::Http { base_url: self.base_url },
            digest: None,
            functions: self.functions,
            only: None,
            overrides: BTreeMap::new(),
            grants: Grants::default(),
            limits: Limits::default(),
            accept: false,
        }
    }
}

/// Why a document, or a line, gives no tool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// It is too long.
    #[error("the document has {0} bytes; at most {DOCUMENT_BYTES_MAX} are read")]
    TooLarge(usize),
    /// It is neither JSON nor YAML.
    #[error("the document is neither JSON nor YAML: {0}")]
    Syntax(String),
    /// It is no OpenAPI document of a version that is known.
    #[error("the document is no OpenAPI 3.0 or 3.1: {0}")]
    Version(String),
    /// What was asked for is not in it.
    #[error("the document has no operation `{asked}`; it has {known}")]
    NoOperation {
        /// As it was asked for.
        asked: String,
        /// Those there are.
        known: String,
    },
    /// More than a tool can have.
    #[error(
        "the document has {count} operations, a tool has at most {most}; choose some with --operation: {known}"
    )]
    TooMany {
        /// How many there are.
        count: usize,
        /// How many there may be.
        most: usize,
        /// Their names.
        known: String,
    },
    /// An operation cannot be called by what a tool can do.
    #[error("{operation}: {reason}")]
    Operation {
        /// Which.
        operation: String,
        /// Why not.
        reason: String,
    },
    /// Nobody says where the server is.
    #[error("{0}; say where the server is with --base-url")]
    Server(String),
    /// A reference that leads nowhere, or out of the document.
    #[error("the reference `{0}` leads nowhere in the document; only references within it are followed")]
    Reference(String),
    /// A document that unfolds without end.
    #[error(
        "the document's schemas unfold to more than {0} values; choose fewer operations, or simplify them"
    )]
    Unfolds(usize),
    /// A line that is no request.
    #[error(
        "`{line}` is no request: {reason}; expected a method and an address, such as `GET https://api.example.com/orders/{{id}}`"
    )]
    Line {
        /// The line.
        line: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The document that `bytes` are, JSON or YAML.
///
/// # Errors
/// [`ImportError::TooLarge`], [`ImportError::Syntax`].
pub fn read(bytes: &[u8]) -> Result<Value, ImportError> {
    if bytes.len() > DOCUMENT_BYTES_MAX {
        return Err(ImportError::TooLarge(bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| ImportError::Syntax(error.to_string()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // JSON is YAML as well, but its parser says better what is wrong with it.
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| ImportError::Syntax(error.to_string()));
    }
    serde_saphyr::from_str(text).map_err(|error| {
        let place = error.location().map(|at| format!("line {}, column {}", at.line(), at.column()));
        ImportError::Syntax(place.unwrap_or_else(|| "it ends too early".to_owned()))
    })
}

/// The operations of `document` that are wanted, as functions of an HTTP tool.
///
/// # Errors
/// Every [`ImportError`] but [`ImportError::Line`].
pub fn openapi(document: &Value, wanted: &Wanted) -> Result<Imported, ImportError> {
    openapi::import(document, wanted)
}

/// Names as an error lists them.
fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    let count = names.len();
    let mut text = names.take(LISTED_MAX).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if count > LISTED_MAX {
        text.push_str(&format!(" and {} more", count - LISTED_MAX));
    }
    if text.is_empty() { "none".to_owned() } else { text }
}

/// A name that a function may have, made of a text: what may not stand in one becomes `_`.
fn function_name(text: &str) -> String {
    let mut name = String::new();
    for character in text.chars() {
        let fits = character.is_ascii_alphanumeric() || character == '-';
        if fits {
            name.push(character);
        } else if !name.ends_with('_') {
            name.push('_');
        }
    }
    let trimmed = name.trim_matches('_');
    let mut name = if trimmed.is_empty() { "call".to_owned() } else { trimmed.to_owned() };
    name.truncate(crate::check::FUNCTION_NAME_BYTES_MAX);
    name
}

/// A description: within its bound, without control characters but line ends.
fn description(text: &str) -> String {
    let mut out = String::new();
    for character in text.trim().chars().filter(|one| !one.is_control() || *one == '\n') {
        if out.len() + character.len_utf8() > crate::check::DESCRIPTION_BYTES_MAX {
            break;
        }
        out.push(character);
    }
    out
}
