//! How much a tenant may store, and how much it is known to store at most.
//!
//! The estimate is never below what is stored: each write adds its keys and values before it is made, and nothing is
//! ever taken off for what it replaces, for deletes or for expiry, because that would mean to read old values. When
//! the estimate passes the limit, the tenant's part of the stores is counted and the estimate corrected.

use crate::{Error, Place, Store, TenantPart};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

/// Stands for "no limit".
const UNLIMITED: u64 = u64::MAX;
/// The estimate when nothing was measured: above every limit that means something, far from where sums overflow.
const UNKNOWN: u64 = 1 << 62;
/// How long a write waits for a measurement.
const WAIT_MS_MAX: u64 = 10_000;
/// The least time between two measurements where a server is asked, which has to look at the keys of everybody.
const SERVER_PAUSE_MS_MIN: u64 = 2_000;
/// Elsewhere the pause is as many times as long as the measurement before it.
const PAUSE_FACTOR: u32 = 20;
/// The most time between two measurements.
const PAUSE_MS_MAX: u64 = 5_000;

/// What one tenant may store, in all its labels and stores together; shared by their
/// [`QuotaStore`](crate::QuotaStore)s.
///
/// What is stored never exceeds the limit by more than one batch in flight per concurrent writer: a write is let
/// through when the estimate allows it (then it exceeds nothing), or when a measurement begun after the write came
/// says that what was stored then and this write are together within the limit. Lowering the limit deletes nothing.
///
/// Two hosts that share a server count each their own writes between measurements, so the bound holds per host.
pub struct StorageQuota {
    tenant: TenantPart,
    limit: AtomicU64,
    /// At least what is stored, and what is being written.
    estimate: AtomicU64,
    /// What is being written.
    in_flight: AtomicU64,
    /// Moved on whenever something may have become smaller.
    deletes: AtomicU64,
    /// Moved on by each write that needs a measurement.
    arrivals: AtomicU64,
    /// How often the estimate became worthless. Locked where the estimate goes down, so that a measurement sees it
    /// and what is in flight at one moment.
    resets: Mutex<u64>,
    is_measuring: AtomicBool,
    measurements: AtomicU64,
    last: watch::Sender<Measured>,
    /// One store for each place.
    stores: Mutex<Vec<Arc<dyn Store>>>,
}

/// What the last measurement found.
#[derive(Clone)]
struct Measured {
    used: Result<u64, Error>,
    /// The arrivals before it began.
    arrivals: u64,
    deletes: u64,
    resets: u64,
    next_at: Option<Instant>,
}

impl StorageQuota {
    /// `limit` is in bytes of keys and values as a guest sees them; `None`: no limit.
    pub fn new(tenant: TenantPart, limit: Option<u64>) -> Arc<Self> {
        let nothing = Measured { used: Ok(0), arrivals: 0, deletes: 0, resets: 0, next_at: None };
        Arc::new(Self {
            tenant,
            limit: AtomicU64::new(limit.unwrap_or(UNLIMITED)),
            estimate: AtomicU64::new(UNKNOWN),
            in_flight: AtomicU64::new(0),
            deletes: AtomicU64::new(0),
            arrivals: AtomicU64::new(0),
            resets: Mutex::new(0),
            is_measuring: AtomicBool::new(false),
            measurements: AtomicU64::new(0),
            last: watch::Sender::new(nothing),
            stores: Mutex::default(),
        })
    }

    /// The limit in bytes.
    pub fn limit(&self) -> Option<u64> {
        Some(self.limit.load(Ordering::Relaxed)).filter(|limit| *limit != UNLIMITED)
    }

    /// Changes the limit; it holds for the next write. Where there was none, the next write measures first.
    pub fn set_limit(&self, limit: Option<u64>) {
        let mut resets = self.lock_resets();
        if self.is_unlimited() {
            *resets += 1;
            self.estimate.fetch_max(UNKNOWN, Ordering::SeqCst);
        }
        self.limit.store(limit.unwrap_or(UNLIMITED), Ordering::SeqCst);
    }

    /// How often the tenant's part of the stores was counted; for metrics.
    pub fn measurements(&self) -> u64 {
        self.measurements.load(Ordering::Relaxed)
    }

    /// How many bytes the tenant stores, counted anew: at once, or up to 5 s after the last time if counting takes
    /// long.
    ///
    /// # Errors
    /// Those of [`Store::usage`]; [`Error::QuotaUnknown`] when it takes longer than 10 s. It then goes on in the
    /// background.
    pub async fn used(self: &Arc<Self>) -> Result<u64, Error> {
        let arrival = self.arrivals.fetch_add(1, Ordering::SeqCst) + 1;
        let mut last = self.last.subscribe();
        let measured = async {
            loop {
                {
                    let measured = last.borrow_and_update();
                    if measured.arrivals >= arrival {
                        return measured.used.clone();
                    }
                }
                self.start_measuring();
                if last.changed().await.is_err() {
                    return Err(Error::Closed);
                }
            }
        };
        timeout(Duration::from_millis(WAIT_MS_MAX), measured)
            .await
            .unwrap_or(Err(Error::QuotaUnknown { waited_ms: WAIT_MS_MAX }))
    }

    pub(crate) fn is_unlimited(&self) -> bool {
        self.limit.load(Ordering::Relaxed) == UNLIMITED
    }

    /// Has this store's place measured too.
    pub(crate) fn add_store(&self, store: &Arc<dyn Store>) {
        let place = store.place();
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        if !stores.iter().any(|known| known.place() == place) {
            stores.push(store.clone());
            drop(stores);
            let mut resets = self.lock_resets();
            *resets += 1;
            self.estimate.fetch_max(UNKNOWN, Ordering::SeqCst);
        }
    }

    /// Something may have become smaller: what was refused may fit now.
    pub(crate) fn note_delete(&self) {
        self.deletes.fetch_add(1, Ordering::SeqCst);
    }

    /// Makes room for a write, or says that there is none.
    pub(crate) async fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation<'_>, Error> {
        // In this order, and read the other way round by a measurement: what it sees in the estimate but not in
        // flight has been written.
        self.in_flight.fetch_add(bytes, Ordering::SeqCst);
        let estimate = self.estimate.fetch_add(bytes, Ordering::SeqCst).wrapping_add(bytes);
        let reservation = Reservation { quota: self, bytes };
        if estimate <= self.limit.load(Ordering::Relaxed) {
            return Ok(reservation);
        }
        match self.admit(bytes).await {
            Ok(()) => Ok(reservation),
            Err(error) => {
                reservation.give_back();
                Err(error)
            }
        }
    }

    /// Decides by what is really used.
    async fn admit(self: &Arc<Self>, bytes: u64) -> Result<(), Error> {
        let used = match self.refused_lately(bytes) {
            Some(used) => used,
            None => self.used().await?,
        };
        let allowed = self.limit.load(Ordering::Relaxed);
        if used.saturating_add(bytes) <= allowed {
            Ok(())
        } else {
            Err(Error::QuotaExceeded { used, allowed })
        }
    }

    /// What is used, if the last measurement still speaks against such a write: nothing was deleted since, and it is
    /// not yet time for another one.
    fn refused_lately(&self, bytes: u64) -> Option<u64> {
        let last = self.last.borrow();
        let used = *last.used.as_ref().ok()?;
        let is_recent = last.next_at.is_some_and(|next| Instant::now() < next)
            && last.deletes == self.deletes.load(Ordering::SeqCst)
            && last.resets == *self.lock_resets();
        (is_recent && used.saturating_add(bytes) > self.limit.load(Ordering::Relaxed)).then_some(used)
    }

    /// Measures in the background, unless somebody does already: whoever waits may go away, what was begun counts.
    fn start_measuring(self: &Arc<Self>) {
        if self.is_measuring.swap(true, Ordering::SeqCst) {
            return;
        }
        let quota = Measuring(self.clone());
        tokio::spawn(async move {
            let next_at = quota.0.last.borrow().next_at;
            if let Some(next_at) = next_at {
                sleep_until(next_at).await;
            }
            let measured = quota.0.measure().await;
            let last = quota.0.last.clone();
            // First let go, then tell: who is told too early starts the next one.
            drop(quota);
            last.send_replace(measured);
        });
    }

    async fn measure(&self) -> Measured {
        let began = Instant::now();
        let arrivals = self.arrivals.load(Ordering::SeqCst);
        let deletes = self.deletes.load(Ordering::SeqCst);
        let (resets, estimate, in_flight) = {
            let resets = self.lock_resets();
            (*resets, self.estimate.load(Ordering::SeqCst), self.in_flight.load(Ordering::SeqCst))
        };
        let stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let used = self.count(&stores).await;
        self.measurements.fetch_add(1, Ordering::Relaxed);
        if let Ok(used) = used {
            let now = self.lock_resets();
            if *now == resets {
                let corrected = used.saturating_add(in_flight);
                self.estimate.fetch_add(corrected.wrapping_sub(estimate), Ordering::SeqCst);
            }
        }
        let has_server = stores.iter().any(|store| matches!(store.place(), Place::Server(_)));
        let least = Duration::from_millis(if has_server { SERVER_PAUSE_MS_MIN } else { 0 });
        let most = Duration::from_millis(PAUSE_MS_MAX);
        let pause = began.elapsed().saturating_mul(PAUSE_FACTOR).clamp(least, most);
        Measured { used, arrivals, deletes, resets, next_at: Some(Instant::now() + pause) }
    }

    async fn count(&self, stores: &[Arc<dyn Store>]) -> Result<u64, Error> {
        let mut used = 0_u64;
        for store in stores {
            used = used.saturating_add(store.usage(&self.tenant).await?.bytes);
        }
        Ok(used)
    }

    fn lock_resets(&self) -> MutexGuard<'_, u64> {
        self.resets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one measurement under way.
struct Measuring(Arc<StorageQuota>);

impl Drop for Measuring {
    fn drop(&mut self) {
        self.0.is_measuring.store(false, Ordering::SeqCst);
    }
}

/// Room for a write that is being made. Dropping it says that the write is over and may have been applied.
pub(crate) struct Reservation<'q> {
    quota: &'q StorageQuota,
    bytes: u64,
}

impl Reservation<'_> {
    /// The write was not applied.
    pub(crate) fn give_back(self) {
        let _guard = self.quota.lock_resets();
        self.quota.estimate.fetch_sub(self.bytes, Ordering::SeqCst);
        // Before the guard, so that a measurement sees both or neither.
        drop(self);
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.quota.in_flight.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}
