//! Why an operation on an index, or opening the folder of all, did not succeed.

use std::{io, path::PathBuf};

/// An index did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VectorError {
    /// There is no index of this name.
    #[error("there is no such index")]
    NoSuchIndex,
    /// There is no such group, or no such version of it.
    #[error("there is no such group, or no such version of it")]
    NoSuchGroup,
    /// What was given is against a bound or a rule of the interface; the text names which.
    #[error("{0}")]
    Invalid(String),
    /// All that the tenant may store is stored; the text says how much that is.
    #[error("{0}")]
    Full(String),
    /// Not now: the text says why. The same call may succeed later.
    #[error("{0}")]
    Unavailable(String),
    /// What is stored cannot be read; the text says where.
    #[error("the index is damaged: {0}")]
    Damaged(String),
    /// Anything else, for the operator.
    #[error("{0}")]
    Other(String),
}

impl VectorError {
    /// A word for what went wrong, for metrics and spans.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoSuchIndex => "no_such_index",
            Self::NoSuchGroup => "no_such_group",
            Self::Invalid(_) => "invalid",
            Self::Full(_) => "full",
            Self::Unavailable(_) => "unavailable",
            Self::Damaged(_) => "damaged",
            Self::Other(_) => "other",
        }
    }

    /// A file could not be read or written.
    pub(crate) fn io(what: &str, error: &io::Error) -> Self {
        match error.kind() {
            // Functions read this text, so it names no file.
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                tracing::error!(what, %error, "there is no room for indexes");
                Self::Unavailable("the disk of the host is full".into())
            }
            _ => Self::Other(format!("{what}: {error}")),
        }
    }
}

/// The folder of all indexes cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or folder cannot be read or made.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("{path} is in use by another process")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
}
