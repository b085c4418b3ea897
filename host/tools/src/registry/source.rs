//! What the registry asks of those who know tools: what a component can do, what an MCP server lists.

use crate::{Function, Grants, Limits};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeSet;

/// What says what a tool can do.
#[async_trait]
pub trait ToolSource: Send + Sync {
    /// What a component can do: as it describes itself, or by the types of what it exports. It runs without any grants.
    ///
    /// # Errors
    /// [`Unlisted::Refused`] says what is wrong with it: what it exports and what was expected, what it imports and may not.
    async fn inspect(&self, component: Bytes) -> Result<Vec<Function>, Unlisted>;

    /// What the MCP server at `url` can do, asked under `grants` and `limits` for this once: the tool `name` of `tenant` need
    /// not be accepted.
    ///
    /// # Errors
    /// [`Unlisted::Refused`] says what is wrong with what it lists; [`Unlisted::Unavailable`], that it cannot be reached.
    async fn list_remote(
        &self,
        tenant: &str,
        name: &str,
        url: &str,
        grants: &Grants,
        limits: &Limits,
    ) -> Result<Vec<Function>, Unlisted>;

    /// The labels of stores that can be granted.
    fn stores(&self) -> BTreeSet<String>;
}

/// Why it is not known what a tool can do. Each is a sentence for the one who adds it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unlisted {
    /// It is not as it must be.
    #[error("{0}")]
    Refused(String),
    /// It cannot be asked at the moment.
    #[error("{0}")]
    Unavailable(String),
}
