//! Why something was not done, for the person who asked for it.

use std::path::PathBuf;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum KnowledgeError {
    /// The URL is no origin.
    #[error("`{url}` is no URL of a server; expected http://HOST:PORT or https://HOST")]
    Url {
        /// As it was given.
        url: String,
    },
    /// The key cannot be sent.
    #[error("the API key has characters that no header field can hold")]
    KeyShape,
    /// No connection.
    #[error("nobody answers at {origin} ({reason}); does the server run? `waggle up` starts it")]
    Unreachable {
        /// The server.
        origin: String,
        /// What happened.
        reason: String,
    },
    /// A connection, but no answer of this API.
    #[error("the server at {origin} {reason}")]
    Answer {
        /// The server.
        origin: String,
        /// What it did, as the rest of a sentence.
        reason: String,
    },
    /// The server refused: OpenAI's error object, or RFC 9457 problem details.
    #[error("{message}")]
    Refused {
        /// The status.
        status: u16,
        /// What programs tell refusals by.
        code: Option<String>,
        /// For people.
        message: String,
        /// In how many seconds it may be tried again.
        retry_after_s: Option<u64>,
    },
    /// There is no vector store of that name or id.
    #[error("there is no vector store `{name}`; `waggle kb list` shows those there are")]
    NoStore {
        /// As it was given.
        name: String,
    },
    /// Names of vector stores need not be unique.
    #[error("several vector stores are called `{name}`; say which one by its id: {}", ids.join(", "))]
    SeveralStores {
        /// As it was given.
        name: String,
        /// Those that are called so.
        ids: Vec<String>,
    },
    /// Something on this machine cannot be read.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// More than are taken at once.
    #[error("there are more than {files_max} files; name fewer folders at once")]
    TooManyFiles {
        /// The bound.
        files_max: usize,
    },
    /// More than are asked ahead at once.
    #[error("there are more than {questions_max} questions; ask fewer at once")]
    TooManyQuestions {
        /// The bound.
        questions_max: usize,
    },
    /// Two files would go by one name.
    #[error("{} and {} would both be called `{label}`; name a folder that holds both", first.display(), second.display())]
    SameName {
        /// What both would be called.
        label: String,
        /// The one.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// Files that should be removed are not there.
    #[error("`{name}` is no file of the vector store `{store}`")]
    NoFile {
        /// As it was given.
        name: String,
        /// The vector store's name.
        store: String,
    },
}

impl KnowledgeError {
    /// Whether the next request would fare no better, so that whoever has many of them gives up.
    #[must_use]
    pub fn is_of_all(&self) -> bool {
        match self {
            Self::Refused { status: 401 | 403, .. } => true,
            Self::Refused { .. } => self.is_over_budget(),
            Self::Url { .. } | Self::KeyShape | Self::Unreachable { .. } => true,
            _ => false,
        }
    }

    /// Whether what may be spent is spent, for longer than anybody waits.
    pub(crate) fn is_over_budget(&self) -> bool {
        matches!(self, Self::Refused { code: Some(code), .. } if code == "budget_exceeded")
    }

    /// Whether the server has never heard of what was asked for.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }
}
