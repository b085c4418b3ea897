//! All pools, by tenant and function, with the account of each tenant; and what is done to many of them at once.

use crate::account::{Active, TenantAccount, TenantBounds};
use crate::pool::Pool;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use waggle_tenancy::TenantId;

/// The pools of one tenant.
struct TenantPools {
    account: Arc<TenantAccount>,
    by_function: HashMap<Arc<str>, Arc<Pool>>,
}

/// The pools of all tenants.
#[derive(Default)]
pub(crate) struct Pools {
    by_tenant: RwLock<HashMap<TenantId, TenantPools>>,
    /// Tenants that used CPU time lately.
    pub(crate) active: Arc<Active>,
    /// How often pools were closed: what was read of a tenant before may be out of date since.
    closings: AtomicU64,
}

impl Pools {
    pub(crate) fn get(&self, tenant: &TenantId, function: &str) -> Option<Arc<Pool>> {
        self.read().get(tenant)?.by_function.get(function).cloned()
    }

    /// To be asked before a world is made for [`Pools::get_or_make`].
    pub(crate) fn closings(&self) -> u64 {
        self.closings.load(SeqCst)
    }

    /// The pool of this tenant and function; `make` makes it, with the tenant's account, where there is none. The
    /// newest word on what the tenant may use together counts. None when pools were closed since `closings` was asked:
    /// the world may be one that is no longer in force.
    pub(crate) fn get_or_make(
        &self,
        tenant: &TenantId,
        function: &Arc<str>,
        bounds: TenantBounds,
        closings: u64,
        make: impl FnOnce(&Arc<TenantAccount>) -> Arc<Pool>,
    ) -> Option<Arc<Pool>> {
        let mut tenants = self.write();
        if closings != self.closings() {
            return None;
        }
        let pools = tenants.entry(tenant.clone()).or_insert_with(|| TenantPools {
            account: TenantAccount::new(&self.active),
            by_function: HashMap::new(),
        });
        pools.account.set_bounds(bounds);
        let account = Arc::clone(&pools.account);
        Some(Arc::clone(pools.by_function.entry(Arc::clone(function)).or_insert_with(|| make(&account))))
    }

    /// Closes all pools of `tenant`: their instances finish what they have, and the next request finds new ones. The
    /// account stays, because it counts what is still in use.
    pub(crate) fn close(&self, tenant: &TenantId) {
        let closed: Vec<Arc<Pool>> = {
            let mut tenants = self.write();
            self.closings.fetch_add(1, SeqCst);
            match tenants.get_mut(tenant) {
                Some(pools) => pools.by_function.drain().map(|(_function, pool)| pool).collect(),
                None => Vec::new(),
            }
        };
        closed.iter().for_each(|pool| pool.close());
    }

    /// The account of `tenant`, if it has one.
    pub(crate) fn account(&self, tenant: &TenantId) -> Option<Arc<TenantAccount>> {
        self.read().get(tenant).map(|pools| Arc::clone(&pools.account))
    }

    /// How many instances `tenant` has, those that are about to end included.
    pub(crate) fn instances(&self, tenant: &TenantId) -> u32 {
        self.read().get(tenant).map_or(0, |pools| pools.account.instances())
    }

    /// Linear memory of all instances of `tenant`, bytes.
    pub(crate) fn memory_bytes(&self, tenant: &TenantId) -> u64 {
        self.read().get(tenant).map_or(0, |pools| pools.account.memory_bytes())
    }

    /// Ends instances that have been idle for `timeout`, and forgets pools and tenants that have none.
    pub(crate) fn reap(&self, timeout: Duration) {
        let all: Vec<Arc<Pool>> =
            self.read().values().flat_map(|pools| pools.by_function.values()).cloned().collect();
        let empty = all.iter().filter(|pool| pool.end_idle(timeout)).count();
        drop(all);
        if empty > 0 || self.read().values().any(|pools| pools.by_function.is_empty()) {
            self.forget_unused();
        }
    }

    /// A pool that nothing but this map holds cannot be about to be used: whoever wants it must ask here first.
    fn forget_unused(&self) {
        self.write().retain(|_tenant, pools| {
            pools.by_function.retain(|_function, pool| Arc::strong_count(pool) > 1 || !pool.is_empty());
            !pools.by_function.is_empty() || Arc::strong_count(&pools.account) > 1
        });
    }

    /// Tells an idle instance of another pool than `asking` to end.
    pub(crate) fn give_up_idle(&self, asking: Option<&Pool>) -> bool {
        let tenants = self.read();
        tenants
            .values()
            .flat_map(|pools| pools.by_function.values())
            .filter(|pool| asking.is_none_or(|asking| !std::ptr::eq(&***pool, asking)))
            .any(|pool| pool.give_up_idle())
    }

    /// As [`Pools::give_up_idle`], within one tenant.
    pub(crate) fn give_up_idle_of(&self, asking: &Pool) -> bool {
        let tenants = self.read();
        tenants.get(&asking.world.tenant).is_some_and(|pools| {
            pools
                .by_function
                .values()
                .filter(|pool| !std::ptr::eq(&***pool, asking))
                .any(|pool| pool.give_up_idle())
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<TenantId, TenantPools>> {
        self.by_tenant.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<TenantId, TenantPools>> {
        self.by_tenant.write().unwrap_or_else(PoisonError::into_inner)
    }
}
