//! What the server answers, as far as it is read here.

use crate::{HASH_ATTRIBUTE, PATH_ATTRIBUTE};
use serde::Deserialize;
use serde_json::{Map, Value};

/// How many files of a vector store are where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct FileCounts {
    /// They wait, or are being taken in.
    pub in_progress: u64,
    /// They are found.
    pub completed: u64,
    /// They could not be taken in.
    pub failed: u64,
    /// Nobody wanted them any more.
    pub cancelled: u64,
    /// All of them.
    pub total: u64,
}

/// A vector store.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Store {
    /// `vs_…`
    pub id: String,
    /// May be empty, and need not be unique.
    #[serde(default)]
    pub name: String,
    /// `completed`, `in_progress` or `expired`.
    pub status: String,
    /// Its files.
    #[serde(default)]
    pub file_counts: FileCounts,
    /// About how many bytes its chunks and vectors take.
    #[serde(default)]
    pub usage_bytes: u64,
    /// `hybrid`, or `lexical` where there is no embedding model.
    #[serde(default)]
    pub waggle_search: Option<String>,
}

/// Why a file was not taken in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LastError {
    /// `unsupported_file`, `invalid_file` or `server_error`.
    pub code: String,
    /// The reason.
    pub message: String,
}

/// A file in a vector store.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Member {
    /// `file-…`
    pub id: String,
    /// `in_progress`, `completed`, `failed` or `cancelled`.
    pub status: String,
    /// Of one that failed.
    #[serde(default)]
    pub last_error: Option<LastError>,
    /// Whatever was given to it.
    #[serde(default)]
    pub attributes: Option<Map<String, Value>>,
    /// About how many bytes its chunks take.
    #[serde(default)]
    pub usage_bytes: u64,
}

impl Member {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.as_ref()?.get(name)?.as_str()
    }

    /// What the file is called, where this client has added it.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.attribute(PATH_ATTRIBUTE)
    }

    /// The hash of its content, where this client has added it.
    #[must_use]
    pub fn hash(&self) -> Option<&str> {
        self.attribute(HASH_ATTRIBUTE)
    }
}

/// A part of a file that a search has found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The file it is of.
    pub file_id: String,
    /// What the file is called: its path, or the name under which it was uploaded.
    pub file: String,
    /// The headings it stands under; may be empty.
    pub heading: String,
    /// From 0 to 1.
    pub score: f64,
    /// What it says.
    pub text: String,
}

#[derive(Deserialize)]
pub(crate) struct FoundEntry {
    file_id: String,
    filename: String,
    score: f64,
    #[serde(default)]
    attributes: Option<Map<String, Value>>,
    content: Vec<FoundContent>,
    #[serde(default)]
    waggle_heading: String,
}

#[derive(Deserialize)]
struct FoundContent {
    #[serde(default)]
    text: String,
}

impl From<FoundEntry> for Hit {
    fn from(found: FoundEntry) -> Self {
        let path = found.attributes.as_ref().and_then(|all| all.get(PATH_ATTRIBUTE)).and_then(Value::as_str);
        let texts: Vec<String> = found.content.into_iter().map(|content| content.text).collect();
        Self {
            file: path.map_or(found.filename, str::to_owned),
            file_id: found.file_id,
            heading: found.waggle_heading,
            score: found.score,
            text: texts.join("\n"),
        }
    }
}

/// A page of a list.
#[derive(Deserialize)]
pub(crate) struct Page<T> {
    pub(crate) data: Vec<T>,
    #[serde(default)]
    pub(crate) has_more: bool,
    #[serde(default)]
    pub(crate) last_id: Option<String>,
}

/// What was made or found, by its id.
#[derive(Deserialize)]
pub(crate) struct Named {
    pub(crate) id: String,
}
