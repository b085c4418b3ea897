//! What all WebSockets together may take: how many there are, and the memory they keep between requests. Both are bounded
//! for the host and for each tenant, so that no tenant can leave the others without.

use super::config::WebSocketConfig;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SetOnce};
use waggle_tenancy::TenantId;

/// Bytes of what arrives that are not counted.
const UNCOUNTED_BYTES: usize = 64 << 10;

/// All WebSockets of the host.
pub(crate) struct Sockets {
    places: Arc<Semaphore>,
    places_max: u32,
    per_tenant_max: usize,
    memory: Arc<Memory>,
    tenant_bytes_max: u64,
    tenants: Mutex<HashMap<TenantId, Arc<Memory>>>,
    stopping: SetOnce<()>,
}

/// Why there is no place for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The host has as many as it takes.
    Host,
    /// The tenant has as many as it may.
    Tenant,
}

impl Sockets {
    pub(crate) fn new(config: &WebSocketConfig) -> Arc<Self> {
        let places_max = u32::try_from(config.connections_max).unwrap_or(u32::MAX);
        Arc::new(Self {
            places: Arc::new(Semaphore::new(config.connections_max)),
            places_max,
            per_tenant_max: config.connections_per_tenant_max,
            memory: Memory::of(config.memory_bytes_max, None),
            tenant_bytes_max: config.memory_per_tenant_bytes_max,
            tenants: Mutex::default(),
            stopping: SetOnce::new(),
        })
    }

    /// A place for one more WebSocket of `tenant`.
    ///
    /// # Errors
    /// Which bound is reached.
    pub(crate) fn open(self: &Arc<Self>, tenant: &TenantId) -> Result<Place, Full> {
        let permit = Arc::clone(&self.places).try_acquire_owned().map_err(|_full| Full::Host)?;
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = match tenants.get(tenant) {
            Some(memory) => Arc::clone(memory),
            None => {
                let memory = Memory::of(self.tenant_bytes_max, Some(Arc::clone(&self.memory)));
                tenants.insert(tenant.clone(), Arc::clone(&memory));
                memory
            }
        };
        // Counted under the lock, as is the end of a place.
        if memory.sockets.load(Relaxed) >= self.per_tenant_max as u64 {
            return Err(Full::Tenant);
        }
        memory.sockets.fetch_add(1, Relaxed);
        drop(tenants);
        Ok(Place { sockets: Arc::clone(self), tenant: tenant.clone(), memory, _permit: permit })
    }

    /// Tells all of them that the host goes down: each finishes its turn and closes.
    pub(crate) fn stop(&self) {
        // It is told once; a second time changes nothing.
        let _ = self.stopping.set(());
    }

    /// Returns when the host goes down.
    pub(crate) async fn stopped(&self) {
        self.stopping.wait().await;
    }

    /// Returns when none is open any more.
    pub(crate) async fn all_closed(&self) {
        // The semaphore is never closed.
        let _ = self.places.acquire_many(self.places_max).await;
    }
}

/// A WebSocket's place, and what it may keep in memory.
pub(crate) struct Place {
    sockets: Arc<Sockets>,
    tenant: TenantId,
    memory: Arc<Memory>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// Those it belongs to.
    pub(crate) fn sockets(&self) -> &Arc<Sockets> {
        &self.sockets
    }

    /// Where its memory is counted.
    pub(crate) fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut tenants = self.sockets.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if self.memory.sockets.fetch_sub(1, Relaxed) == 1 {
            tenants.remove(&self.tenant);
        }
    }
}

/// Memory that is counted, a tenant's within the host's.
#[derive(Debug)]
pub(crate) struct Memory {
    used: AtomicU64,
    bytes_max: u64,
    within: Option<Arc<Memory>>,
    /// WebSockets that keep something in it.
    sockets: AtomicU64,
}

impl Memory {
    pub(crate) fn of(bytes_max: u64, within: Option<Arc<Memory>>) -> Arc<Self> {
        Arc::new(Self { used: AtomicU64::new(0), bytes_max, within, sockets: AtomicU64::new(0) })
    }

    fn take(&self, bytes: u64) -> bool {
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.bytes_max);
        if self.used.fetch_update(Relaxed, Relaxed, fits).is_err() {
            return false;
        }
        let taken = self.within.as_ref().is_none_or(|outer| outer.take(bytes));
        if !taken {
            self.used.fetch_sub(bytes, Relaxed);
        }
        taken
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Relaxed);
        if let Some(outer) = &self.within {
            outer.give_back(bytes);
        }
    }

    /// So many bytes, if there is room for them.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Reservation> {
        let mut reservation = Reservation { memory: Arc::clone(self), bytes: 0 };
        reservation.resize(bytes).then_some(reservation)
    }
}

/// Bytes of memory, counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    memory: Arc<Memory>,
    bytes: u64,
}

impl Reservation {
    /// Takes more, or gives some back; false when there is no room for more, and nothing has changed.
    pub(crate) fn resize(&mut self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        if bytes > self.bytes && !self.memory.take(bytes - self.bytes) {
            return false;
        }
        if bytes < self.bytes {
            self.memory.give_back(self.bytes - bytes);
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory.give_back(self.bytes);
    }
}

/// Something that comes in pieces: its bytes are counted from [`UNCOUNTED_BYTES`] on, so that what is small costs nothing.
#[derive(Debug)]
pub(crate) struct Arriving {
    memory: Arc<Memory>,
    room: Option<Reservation>,
}

impl Arriving {
    /// Nothing has come yet.
    pub(crate) fn new(memory: &Arc<Memory>) -> Self {
        Self { memory: Arc::clone(memory), room: None }
    }

    /// So many bytes of it are kept from now on, instead of what was. False when there is no room for more.
    pub(crate) fn keeps(&mut self, bytes: usize) -> bool {
        if bytes <= UNCOUNTED_BYTES {
            self.room = None;
            return true;
        }
        match &mut self.room {
            Some(room) => room.resize(bytes),
            None => {
                self.room = self.memory.reserve(bytes);
                self.room.is_some()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(connections: usize, per_tenant: usize) -> Arc<Sockets> {
        Sockets::new(&WebSocketConfig {
            connections_max: connections,
            connections_per_tenant_max: per_tenant,
            memory_bytes_max: 100,
            memory_per_tenant_bytes_max: 60,
            ..WebSocketConfig::default()
        })
    }

    fn tenant(id: &str) -> TenantId {
        id.parse().unwrap()
    }

    #[test]
    fn places_are_bounded_for_a_tenant_and_for_the_host() {
        let sockets = sockets(3, 2);
        let (bank, shop) = (tenant("bank"), tenant("shop"));
        let first = sockets.open(&bank).unwrap();
        let _second = sockets.open(&bank).unwrap();
        assert_eq!(sockets.open(&bank).err(), Some(Full::Tenant));
        let third = sockets.open(&shop).unwrap();
        assert_eq!(sockets.open(&shop).err(), Some(Full::Host));
        drop(first);
        let _again = sockets.open(&bank).unwrap();
        drop(third);
        assert_eq!(sockets.tenants.lock().unwrap().len(), 1, "a tenant without any is forgotten");
    }

    #[test]
    fn memory_is_bounded_for_a_tenant_and_for_the_host() {
        let sockets = sockets(9, 9);
        let (bank, shop) = (sockets.open(&tenant("bank")).unwrap(), sockets.open(&tenant("shop")).unwrap());
        let mut first = bank.memory().reserve(60).unwrap();
        assert!(bank.memory().reserve(1).is_none(), "the tenant's bound");
        assert!(shop.memory().reserve(41).is_none(), "the host's bound");
        let _second = shop.memory().reserve(40).unwrap();
        assert!(first.resize(10));
        assert!(shop.memory().reserve(20).is_some());
        assert!(!first.resize(61));
        drop(first);
        assert!(bank.memory().reserve(60).is_some());
    }

    #[test]
    fn what_is_small_is_not_counted() {
        let memory = Memory::of(UNCOUNTED_BYTES as u64 + 10, None);
        let mut arriving = Arriving::new(&memory);
        let check = |arriving: &mut Arriving, bytes: usize, expected: bool, left: usize| {
            assert_eq!(arriving.keeps(bytes), expected, "{bytes}");
            assert!(memory.reserve(left).is_some() && memory.reserve(left + 1).is_none(), "{bytes}");
        };
        check(&mut arriving, UNCOUNTED_BYTES, true, UNCOUNTED_BYTES + 10);
        check(&mut arriving, UNCOUNTED_BYTES + 7, true, 3);
        check(&mut arriving, UNCOUNTED_BYTES + 11, false, 3);
        check(&mut arriving, UNCOUNTED_BYTES + 10, true, 0);
        check(&mut arriving, 1, true, UNCOUNTED_BYTES + 10);
    }

    #[tokio::test]
    async fn the_host_waits_for_all_of_them() {
        let sockets = sockets(2, 2);
        let place = sockets.open(&tenant("bank")).unwrap();
        let mut closed = Box::pin(sockets.all_closed());
        assert!(futures::poll!(&mut closed).is_pending());
        drop(place);
        closed.await;
    }
}
