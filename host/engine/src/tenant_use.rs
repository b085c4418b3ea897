//! What is done for a tenant outside of its functions' instances, and yet at its expense: tools that the host runs count
//! among its instances, its memory and its CPU time like everything else.

use crate::account::{InstanceCount, TenantAccount};
use crate::engine::Engine;
use crate::error::Limit;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;

/// How long it takes at most until it is looked again whether there is room.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A tenant's account. Cheap to clone.
#[derive(Clone)]
pub struct TenantUse(Arc<TenantAccount>);

impl std::fmt::Debug for TenantUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TenantUse").field("instances", &self.0.instances()).finish_non_exhaustive()
    }
}

impl TenantUse {
    pub(crate) fn new(account: Arc<TenantAccount>) -> Self {
        Self(account)
    }

    /// Charges CPU time to the tenant.
    pub fn charge(&self, used: Duration) {
        self.0.charge(u64::try_from(used.as_nanos()).unwrap_or(u64::MAX));
    }

    /// How long what runs for the tenant has to wait, because the CPU time of this second is used up.
    #[must_use]
    pub fn pause(&self) -> Option<Duration> {
        self.0.pause()
    }

    /// Takes `bytes` of the tenant's memory, until the returned value is dropped; none when that is more than there is.
    #[must_use]
    pub fn memory(&self, bytes: u64) -> Option<MemoryUse> {
        self.0.take_memory(bytes).then(|| MemoryUse { account: Arc::clone(&self.0), bytes })
    }
}

/// Memory that counts as a tenant's.
pub struct MemoryUse {
    account: Arc<TenantAccount>,
    bytes: u64,
}

impl MemoryUse {
    /// Takes `more` bytes as well; false, and nothing is taken, when that is more than there is.
    pub fn grow(&mut self, more: u64) -> bool {
        let is_there = self.account.take_memory(more);
        if is_there {
            self.bytes += more;
        }
        is_there
    }
}

impl Drop for MemoryUse {
    fn drop(&mut self) {
        self.account.give_memory_back(self.bytes);
    }
}

/// A place for one instance that is no function's, of the host and of the tenant. Free again when it is dropped.
pub struct InstancePlace {
    engine: Engine,
    host: Option<OwnedSemaphorePermit>,
    tenant: Option<InstanceCount>,
}

impl Drop for InstancePlace {
    fn drop(&mut self) {
        // Before anybody is told, so that whoever looks then finds it free.
        drop((self.host.take(), self.tenant.take()));
        self.engine.shared().instance_released.notify_waiters();
    }
}

impl Engine {
    /// A place for one instance that is no function's and counts as `weight`: as many as it has linear memories. Where all
    /// are taken, an idle instance is told to end, and it is waited for a place until `until`. Without `tenant` it is the
    /// host's own.
    ///
    /// # Errors
    /// The limit that was met.
    pub async fn reserve_instance(
        &self,
        tenant: Option<&TenantUse>,
        weight: u32,
        until: Instant,
    ) -> Result<InstancePlace, Limit> {
        loop {
            // It is listened before the attempt, so that nothing is missed between it and the wait.
            let mut released = pin!(self.shared().instance_released.notified());
            released.as_mut().enable();
            let limit = match self.try_reserve(tenant, weight) {
                Ok(place) => return Ok(place),
                Err(limit) => limit,
            };
            if Instant::now() >= until {
                return Err(limit);
            }
            let again = (Instant::now() + LOOK_AGAIN).min(until);
            tokio::select! {
                () = released => {}
                () = tokio::time::sleep_until(again.into()) => {}
            }
        }
    }

    fn try_reserve(&self, tenant: Option<&TenantUse>, weight: u32) -> Result<InstancePlace, Limit> {
        let tenant = match tenant {
            None => None,
            Some(tenant) => {
                let counted = tenant.0.add_instance(weight);
                Some(counted.ok_or_else(|| Limit::TenantInstances(tenant.0.instances_max()))?)
            }
        };
        let host = self.shared().reserve_any(weight);
        let host = host.ok_or_else(|| Limit::HostInstances(self.shared().config.instances_max))?;
        Ok(InstancePlace { engine: self.clone(), host: Some(host), tenant })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::{Active, TenantBounds};
    use crate::config::EngineConfig;

    fn tenant(bounds: TenantBounds) -> TenantUse {
        let account = TenantAccount::new(&Arc::new(Active::default()));
        account.set_bounds(bounds);
        TenantUse::new(account)
    }

    fn engine(instances_max: u32) -> Engine {
        let config = EngineConfig { instances_max, ..EngineConfig::default() };
        Engine::new(config, None).unwrap()
    }

    #[tokio::test]
    async fn places_are_the_hosts_and_the_tenants_and_come_back() {
        let (engine, now) = (engine(2), Instant::now());
        let small = tenant(TenantBounds { instances_max: Some(1), ..TenantBounds::default() });
        let first = engine.reserve_instance(Some(&small), 1, now).await.unwrap();
        let refused = engine.reserve_instance(Some(&small), 1, now).await.err();
        assert_eq!(refused, Some(Limit::TenantInstances(1)));
        let second = engine.reserve_instance(None, 1, now).await.unwrap();
        drop(first);
        let third = engine.reserve_instance(Some(&small), 1, now).await.unwrap();
        let large = tenant(TenantBounds::default());
        let refused = engine.reserve_instance(Some(&large), 1, now).await.err();
        assert_eq!(refused, Some(Limit::HostInstances(2)));
        drop((second, third));
        assert!(engine.reserve_instance(Some(&large), 2, now).await.is_ok());
    }

    #[tokio::test]
    async fn who_waits_gets_the_place_that_becomes_free() {
        let engine = engine(1);
        let held = engine.reserve_instance(None, 1, Instant::now()).await.unwrap();
        let mut waiting =
            Box::pin(engine.reserve_instance(None, 1, Instant::now() + Duration::from_secs(3_600)));
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(held);
        assert!(waiting.await.is_ok());
    }

    #[test]
    fn memory_counts_until_it_is_dropped() {
        let tenant = tenant(TenantBounds { memory_bytes_max: Some(100), ..TenantBounds::default() });
        let mut taken = tenant.memory(60).unwrap();
        assert!(tenant.memory(41).is_none());
        assert!(taken.grow(40) && !taken.grow(1));
        drop(taken);
        assert!(tenant.memory(100).is_some());
    }
}
