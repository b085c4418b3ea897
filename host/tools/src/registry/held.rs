//! What a host holds in memory of one tenant's tools.

use super::RegistryError;
use crate::head::Head;
use crate::{Digest, Kind, Snapshot, Tool, Version};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The tools of a tenant as they were at one writing of its head.
pub(super) struct Held {
    /// As the list of tenants said it last; 0 where that is not known.
    pub(super) listed: u64,
    pub(super) head: Head,
    /// As it stands in the store; none if nothing stands there.
    pub(super) written: Option<Bytes>,
    /// Those whose records can be read.
    pub(super) tools: BTreeMap<String, Arc<Tool>>,
    pub(super) snapshot: Arc<Snapshot>,
}

impl Held {
    pub(super) fn new(
        listed: u64,
        head: Head,
        written: Option<Bytes>,
        tools: BTreeMap<String, Arc<Tool>>,
    ) -> Self {
        let snapshot = Arc::new(Snapshot::new(tools.values().map(|tool| &**tool)));
        Self { listed, head, written, tools, snapshot }
    }

    /// That of a tenant without any.
    pub(super) fn none() -> Self {
        Self::new(0, Head::default(), None, BTreeMap::new())
    }

    /// The same at another place of the list.
    pub(super) fn listed_at(&self, listed: u64) -> Self {
        Self {
            listed,
            head: self.head.clone(),
            written: self.written.clone(),
            tools: self.tools.clone(),
            snapshot: Arc::clone(&self.snapshot),
        }
    }

    pub(super) fn tool(&self, name: &str) -> Result<&Arc<Tool>, RegistryError> {
        match self.tools.get(name) {
            Some(tool) => Ok(tool),
            None if self.head.tools.contains_key(name) => Err(RegistryError::Unreadable(name.to_owned())),
            None => Err(RegistryError::NotFound(name.to_owned())),
        }
    }

    /// Whether the bytes of a version are there, if it has some.
    pub(super) fn has_component(&self, version: &Version) -> Result<(), RegistryError> {
        match component_of(version) {
            Some(hex) if !self.head.components.contains_key(&hex) => {
                Err(RegistryError::NoComponent(version.digest.clone()))
            }
            _ => Ok(()),
        }
    }
}

/// The digits of the components that a tool is, or may become.
pub(super) fn components_of(tool: &Tool) -> Vec<String> {
    let versions = tool.accepted.iter().chain(tool.pending.as_ref().map(|pending| &pending.version));
    let mut all: Vec<String> = versions.filter_map(component_of).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn component_of(version: &Version) -> Option<String> {
    let digest = version.digest.parse::<Digest>().ok()?;
    (version.kind == Kind::Component).then(|| digest.hex())
}
