//! Which tools and components a tenant has: the one record that every change swaps, so that of two changes at the same time
//! one is worked out anew.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The record under the key `head` (kv-schemas/host-tool-head.json).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Head {
    /// Counts the changes.
    pub(crate) revision: u64,
    /// By their names.
    pub(crate) tools: BTreeMap<String, ToolEntry>,
    /// By the hexadecimal digits of their digests.
    pub(crate) components: BTreeMap<String, ComponentEntry>,
}

/// What the head says of a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToolEntry {
    /// Of its record.
    pub(crate) revision: u64,
    /// Bytes of its record.
    pub(crate) bytes: u64,
    /// The digits of the components that it is, or may become.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) components: Vec<String>,
}

/// What the head says of a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ComponentEntry {
    /// How many it has.
    pub(crate) bytes: u64,
    /// When it was last uploaded, seconds since 1970.
    pub(crate) uploaded_at: u64,
}

impl Head {
    /// Whether a tool is that component, or may become it.
    pub(crate) fn uses(&self, hex: &str) -> bool {
        self.tools.values().any(|tool| tool.components.iter().any(|used| used == hex))
    }

    /// Bytes of all records of tools.
    pub(crate) fn record_bytes(&self) -> u64 {
        self.tools.values().map(|tool| tool.bytes).sum()
    }

    /// Bytes of all components.
    pub(crate) fn component_bytes(&self) -> u64 {
        self.components.values().map(|component| component.bytes).sum()
    }

    /// The components that no tool has and that were uploaded before `before`, seconds since 1970.
    pub(crate) fn unused(&self, before: u64) -> Vec<String> {
        let old = self.components.iter().filter(|(_, entry)| entry.uploaded_at < before);
        old.map(|(hex, _)| hex).filter(|hex| !self.uses(hex)).cloned().collect()
    }
}
