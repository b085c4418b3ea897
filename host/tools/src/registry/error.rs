//! Why something asked of the registry was not done.

use crate::{Mistake, StoreFailure};

/// Why something was not done; what was in force is still so.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No such tool.
    #[error("there is no tool `{0}`")]
    NotFound(String),
    /// Fields are not as they must be.
    #[error("{}", sentences(.0))]
    Invalid(Vec<Mistake>),
    /// The component, or the server, does not say what it can do; the sentence says why.
    #[error("{0}")]
    Refused(String),
    /// What would say what the tool can do cannot be asked at the moment; the sentence says why.
    #[error("{0}")]
    Unavailable(String),
    /// No version waits.
    #[error("no version of `{0}` waits to be accepted")]
    NothingPending(String),
    /// Another version waits than the one that was read.
    #[error(
        "another version of `{name}` waits by now ({digest}, revision {revision}); read it, then accept that one"
    )]
    OtherPending {
        /// The tool.
        name: String,
        /// The digest of what waits.
        digest: String,
        /// The revision of the record.
        revision: u64,
    },
    /// The tool is no MCP server, so there is nothing to list anew.
    #[error("`{0}` is no MCP server; add its new version instead")]
    NothingToList(String),
    /// The tenant has as much as it may.
    #[error("{0}")]
    TooMuch(String),
    /// Its record cannot be read, so that it cannot be changed, only removed.
    #[error("what is stored of `{0}` cannot be read; it can only be removed")]
    Unreadable(String),
    /// The component is not there: nobody uploaded it, or it was removed with the last tool that had it.
    #[error("there is no component {0}; upload it")]
    NoComponent(String),
    /// Others change the tenant's tools all the time.
    #[error("the tools of the tenant are being changed by others; try again")]
    Contended,
    /// The store did not do its part. A change may have been written nevertheless.
    #[error(transparent)]
    Store(#[from] StoreFailure),
}

impl From<super::Unlisted> for RegistryError {
    fn from(unlisted: super::Unlisted) -> Self {
        match unlisted {
            super::Unlisted::Refused(reason) => Self::Refused(reason),
            super::Unlisted::Unavailable(reason) => Self::Unavailable(reason),
        }
    }
}

fn sentences<T: ToString>(parts: &[T]) -> String {
    parts.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
