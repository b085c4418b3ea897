//! What two tenants cannot both have.

use super::{Origin, Snapshot};
use crate::api_key::KeyId;
use crate::{Tenant, TenantId};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

/// Two tenants that claim the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// What both claim.
    pub on: ConflictOn,
    /// Who has it, or was named first.
    pub first: (Origin, TenantId),
    /// Who wants it as well.
    pub second: (Origin, TenantId),
}

/// What can belong to one tenant only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConflictOn {
    /// The tenant's id itself.
    Id,
    /// The id of an API key.
    KeyId(String),
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |origin| match origin {
            Origin::File => "tenants.toml",
            Origin::Store => "the store",
        };
        let (first, second) = (place(self.first.0), place(self.second.0));
        match &self.on {
            ConflictOn::Id if self.first.0 == self.second.0 => {
                write!(f, "the tenant `{}` is in {first} twice; remove one", self.second.1)
            }
            ConflictOn::Id => {
                write!(f, "the tenant `{}` is in {first} and in {second}; remove one", self.second.1)
            }
            ConflictOn::KeyId(id) => write!(
                f,
                "the API key `wk_{id}` belongs to `{}` in {first} and to `{}` in {second}; revoke one",
                self.first.1, self.second.1
            ),
        }
    }
}

/// All that would be claimed twice, if `tenants` of `origin` were added to what is in force without those of `gone`.
pub(super) fn conflicts(
    current: &Snapshot,
    origin: Origin,
    tenants: &[Arc<Tenant>],
    gone: &[TenantId],
) -> Vec<Conflict> {
    let gone: HashSet<&TenantId> = gone.iter().collect();
    // Whose entry is about to be taken away or replaced claims nothing any more.
    let mut leaving = gone;
    leaving.extend(tenants.iter().map(|tenant| &tenant.id));
    let mut found = Vec::new();
    let mut ids = HashSet::new();
    let mut keys: HashMap<KeyId, &TenantId> = HashMap::new();
    for tenant in tenants {
        let mut conflict = |on, first: (Origin, &TenantId)| {
            let first = (first.0, first.1.clone());
            found.push(Conflict { on, first, second: (origin, tenant.id.clone()) });
        };
        match current.by_id.get(&tenant.id) {
            Some(entry) if entry.origin != origin => {
                conflict(ConflictOn::Id, (entry.origin, &entry.tenant.id));
            }
            _ if !ids.insert(&tenant.id) => conflict(ConflictOn::Id, (origin, &tenant.id)),
            _ => {}
        }
        for key in &tenant.settings.api_keys {
            let Some(id) = KeyId::new(&key.id) else { continue };
            let on = || ConflictOn::KeyId(key.id.clone());
            if let Some(other) = keys.insert(id, &tenant.id).filter(|other| **other != tenant.id) {
                conflict(on(), (origin, other));
            }
            let in_force = current.by_key.get(&id).map(|place| &place.entry);
            if let Some(entry) = in_force.filter(|entry| entry.tenant.id != tenant.id)
                && (entry.origin != origin || !leaving.contains(&entry.tenant.id))
            {
                conflict(on(), (entry.origin, &entry.tenant.id));
            }
        }
    }
    found
}
