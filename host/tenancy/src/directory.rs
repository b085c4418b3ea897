//! All tenants in force, from both sources, looked up without a lock.

use crate::Tenant;

/// A tenant in force.
pub struct TenantEntry {
    /// What was configured.
    pub tenant: Tenant,
}
