//! How many calls of tools there are at once: of the host, of a tenant, and of a tool. Nobody waits here: a call that finds no
//! place was not made, and whoever asked may ask again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use waggle_tenancy::TenantId;

/// All places. Counts are kept only of tenants and tools that have calls under way, so there are no more than calls.
pub(crate) struct Places {
    host_max: u32,
    tenant_max: u32,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    host: u32,
    tenants: HashMap<TenantId, OfTenant>,
}

#[derive(Default)]
struct OfTenant {
    all: u32,
    tools: HashMap<Arc<str>, u32>,
}

/// Whose bound there is no place under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    #[error("the host has as many calls of tools under way as it can take (concurrent_calls_max)")]
    Host,
    #[error("the tenant has as many calls of tools under way as it may have (tenant_concurrent_calls_max)")]
    Tenant,
    #[error("the tool has as many calls under way as it may have (concurrent_calls_max of its limits)")]
    Tool,
}

/// A call under way; it counts until this is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    tenant: TenantId,
    tool: Arc<str>,
}

impl Places {
    pub(crate) fn new(host_max: u32, tenant_max: u32) -> Arc<Self> {
        Arc::new(Self { host_max, tenant_max, taken: Mutex::default() })
    }

    /// A place for a call of `tool`, which may have `tool_max`.
    ///
    /// # Errors
    /// Whose bound was met.
    pub(crate) fn enter(
        self: &Arc<Self>,
        tenant: &TenantId,
        tool: &Arc<str>,
        tool_max: u32,
    ) -> Result<Place, Full> {
        let mut taken = self.lock();
        if taken.host >= self.host_max {
            return Err(Full::Host);
        }
        let of_tenant = taken.tenants.get(tenant);
        if of_tenant.is_some_and(|of| of.all >= self.tenant_max) {
            return Err(Full::Tenant);
        }
        if of_tenant.and_then(|of| of.tools.get(tool)).copied().unwrap_or_default() >= tool_max {
            return Err(Full::Tool);
        }
        taken.host += 1;
        let of_tenant = taken.tenants.entry(tenant.clone()).or_default();
        of_tenant.all += 1;
        *of_tenant.tools.entry(Arc::clone(tool)).or_default() += 1;
        drop(taken);
        Ok(Place { places: Arc::clone(self), tenant: tenant.clone(), tool: Arc::clone(tool) })
    }

    /// Calls under way.
    pub(crate) fn taken(&self) -> u32 {
        self.lock().host
    }

    /// Calls under way of one tenant.
    pub(crate) fn taken_by(&self, tenant: &TenantId) -> u32 {
        self.lock().tenants.get(tenant).map_or(0, |of| of.all)
    }

    fn leave(&self, tenant: &TenantId, tool: &Arc<str>) {
        let mut taken = self.lock();
        taken.host = taken.host.saturating_sub(1);
        let Some(of_tenant) = taken.tenants.get_mut(tenant) else { return };
        of_tenant.all = of_tenant.all.saturating_sub(1);
        if let Some(count) = of_tenant.tools.get_mut(tool) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                of_tenant.tools.remove(tool);
            }
        }
        if of_tenant.all == 0 {
            taken.tenants.remove(tenant);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.leave(&self.tenant, &self.tool);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_is_met_by_itself_and_left_again() {
        let places = Places::new(4, 3);
        let (bank, shop): (TenantId, TenantId) = ("bank".parse().unwrap(), "shop".parse().unwrap());
        let (orders, stock): (Arc<str>, Arc<str>) = ("orders".into(), "stock".into());
        let enter = |tenant: &TenantId, tool: &Arc<str>| places.enter(tenant, tool, 2);
        let first = enter(&bank, &orders).unwrap();
        let _second = enter(&bank, &orders).unwrap();
        assert_eq!(enter(&bank, &orders).err(), Some(Full::Tool));
        let _third = enter(&bank, &stock).unwrap();
        assert_eq!(enter(&bank, &stock).err(), Some(Full::Tenant));
        let _fourth = enter(&shop, &orders).unwrap();
        assert_eq!(enter(&shop, &stock).err(), Some(Full::Host));
        assert_eq!((places.taken(), places.taken_by(&bank)), (4, 3));
        drop(first);
        assert!(enter(&bank, &orders).is_ok());
    }

    #[test]
    fn nothing_is_remembered_of_calls_that_are_over() {
        let places = Places::new(10, 10);
        let tenant: TenantId = "bank".parse().unwrap();
        let tools: Vec<Arc<str>> = (0..5).map(|number| format!("tool-{number}").into()).collect();
        let held: Vec<_> = tools.iter().map(|tool| places.enter(&tenant, tool, 1).unwrap()).collect();
        assert_eq!(places.lock().tenants[&tenant].tools.len(), 5);
        drop(held);
        assert_eq!((places.taken(), places.lock().tenants.len()), (0, 0));
    }
}
