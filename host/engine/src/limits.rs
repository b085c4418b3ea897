//! The bounds of one instance's memory and tables, as wasmtime asks for them.

use crate::account::TenantAccount;
use crate::error::Limit;
use std::sync::Arc;
use wasmtime::ResourceLimiter;

/// Refuses growth over the bounds. A guest sees `memory.grow` fail with -1; Rust guests then abort, which ends in a
/// trap of that instance only.
pub(crate) struct InstanceLimits {
    memory_bytes_max: usize,
    table_elements_max: usize,
    tenant: Arc<TenantAccount>,
    /// What this instance has taken of its tenant's memory.
    taken_bytes: u64,
    /// Set once growth was refused, so that the trap that follows can be explained.
    pub(crate) refused: Option<Refused>,
}

/// Growth that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// What was asked for, in the unit of the limit.
    asked: u64,
    /// What it was over.
    pub(crate) limit: Limit,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "it asked for {}, over the limit of {}", self.asked, self.limit)
    }
}

impl InstanceLimits {
    /// Nothing taken yet.
    pub(crate) fn new(
        memory_bytes_max: usize,
        table_elements_max: usize,
        tenant: Arc<TenantAccount>,
    ) -> Self {
        Self { memory_bytes_max, table_elements_max, tenant, taken_bytes: 0, refused: None }
    }
}

impl Drop for InstanceLimits {
    fn drop(&mut self) {
        self.tenant.give_memory_back(self.taken_bytes);
    }
}

/// Core instances, memories and tables in one component instance: composed components have a few of each.
const PARTS_MAX: usize = 64;

impl ResourceLimiter for InstanceLimits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > self.memory_bytes_max || maximum.is_some_and(|most| desired > most) {
            let limit = Limit::InstanceMemory(self.memory_bytes_max as u64);
            self.refused = Some(Refused { asked: desired as u64, limit });
            return Ok(false);
        }
        let more = desired.saturating_sub(current) as u64;
        if !self.tenant.take_memory(more) {
            let limit = Limit::TenantMemory(self.tenant.memory_bytes_max());
            self.refused = Some(Refused { asked: more, limit });
            return Ok(false);
        }
        self.taken_bytes += more;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = desired <= self.table_elements_max && maximum.is_none_or(|most| desired <= most);
        if !allowed {
            let limit = Limit::InstanceTable(self.table_elements_max as u64);
            self.refused = Some(Refused { asked: desired as u64, limit });
        }
        Ok(allowed)
    }

    fn instances(&self) -> usize {
        PARTS_MAX
    }

    fn tables(&self) -> usize {
        PARTS_MAX
    }

    fn memories(&self) -> usize {
        PARTS_MAX
    }
}
