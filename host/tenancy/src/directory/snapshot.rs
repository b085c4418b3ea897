//! One state of the directory: never changed, only followed by the next.

use super::{Origin, TenantEntry};
use crate::TenantId;
use crate::api_key::KeyId;
use crate::jwt::IssuerEntry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What was in force at one moment.
#[derive(Clone, Default)]
pub(crate) struct Snapshot {
    /// Grows with each change.
    pub(crate) generation: u64,
    /// Whether there are tenants or have been.
    pub(crate) claimed: bool,
    pub(crate) by_id: HashMap<TenantId, Arc<TenantEntry>>,
    pub(crate) by_key: HashMap<KeyId, KeyPlace>,
}

/// Where a key is found: the tenant and the position among its keys.
#[derive(Clone)]
pub(crate) struct KeyPlace {
    pub(crate) entry: Arc<TenantEntry>,
    pub(crate) index: usize,
}

impl Snapshot {
    /// The next snapshot: with `fresh` entries, without those of `removed`.
    pub(super) fn with(&self, fresh: Vec<Arc<TenantEntry>>, removed: &[TenantId], claims: bool) -> Self {
        let mut next = self.clone();
        next.generation += 1;
        next.claimed |= claims;
        for id in removed.iter().chain(fresh.iter().map(|entry| &entry.tenant.id)) {
            if let Some(before) = next.by_id.remove(id) {
                for key in &before.keys {
                    next.by_key.remove(&key.id);
                }
            }
        }
        for entry in fresh {
            for (index, key) in entry.keys.iter().enumerate() {
                next.by_key.insert(key.id, KeyPlace { entry: Arc::clone(&entry), index });
            }
            next.by_id.insert(entry.tenant.id.clone(), entry);
        }
        next
    }

    /// The tenants of `origin` that are not `named`.
    pub(super) fn gone(&self, origin: Origin, named: &HashSet<&TenantId>) -> Vec<TenantId> {
        let is_gone = |entry: &&Arc<TenantEntry>| entry.origin == origin && !named.contains(&entry.tenant.id);
        self.by_id.values().filter(is_gone).map(|entry| entry.tenant.id.clone()).collect()
    }

    /// All issuers, ready to verify with.
    pub(super) fn issuers(&self) -> Vec<IssuerEntry> {
        self.by_id.values().flat_map(|entry| entry.issuers.iter().cloned()).collect()
    }
}
