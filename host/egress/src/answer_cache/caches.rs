//! All tenants' shelves, and the bound over them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, TryLockError};

use tokio::time::Instant;

use super::ask::TenantAnswers;
use super::config::{AnswerCacheConfig, AnswerSettings};
use super::flight::Flight;
use super::kept::Kept;
use super::key::Key;
use super::locked;
use super::shelf::{Account, AnswerStats, Counters, Shelf};
use super::sweep::Sweeper;

/// How many shelves there may be before those are looked for that nobody needs any more.
const SHELVES_UNSWEPT: usize = 64;

/// The answer caches of all tenants. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct AnswerCaches(Arc<Host>);

/// What all handles share.
pub(crate) struct Host {
    account: Arc<Account>,
    tenant_bytes_max: u64,
    numbers: AtomicU64,
    shelves: Mutex<Shelves>,
    /// Held by whoever makes room.
    making_room: Mutex<()>,
    pub(crate) sweeper: Sweeper,
}

struct Shelves {
    by_tenant: HashMap<Box<str>, Arc<Shelf>>,
    /// At this many, those that are empty and that nobody holds are taken out.
    prune_at: usize,
}

impl Shelves {
    fn prune(&mut self) {
        // Another owner can only come from here, under this lock, or be a copy of another owner.
        self.by_tenant.retain(|_tenant, shelf| Arc::strong_count(shelf) > 1 || !shelf.is_empty());
        self.prune_at = SHELVES_UNSWEPT.max(2 * self.by_tenant.len());
    }
}

impl AnswerCaches {
    /// Makes empty caches. A tenant never has more than all tenants together.
    #[must_use]
    pub fn new(config: &AnswerCacheConfig) -> Self {
        let account =
            Account { bytes: AtomicU64::new(0), bytes_max: config.bytes_max, counters: Counters::default() };
        let shelves = Shelves { by_tenant: HashMap::new(), prune_at: SHELVES_UNSWEPT };
        Self(Arc::new(Host {
            account: Arc::new(account),
            tenant_bytes_max: config.tenant_bytes_max.min(config.bytes_max),
            numbers: AtomicU64::new(0),
            shelves: Mutex::new(shelves),
            making_room: Mutex::new(()),
            sweeper: Sweeper::default(),
        }))
    }

    /// The answers of `tenant`, for one who serves this tenant and no other. The settings hold at once for all who have a
    /// handle of the tenant; those that turn the cache off forget its answers.
    #[must_use]
    pub fn tenant(&self, tenant: &str, settings: AnswerSettings) -> TenantAnswers {
        let Some(time_to_live) = settings.time_to_live() else {
            self.forget(tenant);
            return TenantAnswers::off();
        };
        let mut shelves = locked(&self.0.shelves);
        let shelf = match shelves.by_tenant.get(tenant) {
            Some(shelf) => Arc::clone(shelf),
            None => {
                if shelves.by_tenant.len() >= shelves.prune_at {
                    shelves.prune();
                }
                let shelf = Arc::new(self.0.new_shelf());
                shelves.by_tenant.insert(tenant.into(), Arc::clone(&shelf));
                shelf
            }
        };
        shelf.set_time_to_live(time_to_live);
        TenantAnswers::new(Arc::clone(&self.0), shelf)
    }

    /// Makes all answers of `tenant` invalid, those that are under way included: they reach whoever has asked already, and
    /// nobody else.
    pub fn invalidate(&self, tenant: &str) {
        let shelf = locked(&self.0.shelves).by_tenant.get(tenant).cloned();
        if let Some(shelf) = shelf {
            shelf.clear();
        }
    }

    /// Forgets `tenant`. For those who still have a handle of it, the cache is off.
    pub fn forget(&self, tenant: &str) {
        let shelf = locked(&self.0.shelves).by_tenant.remove(tenant);
        if let Some(shelf) = shelf {
            shelf.close();
        }
    }

    /// Lets go of all answers that are too old. Nobody gets one of those anyway; this frees their memory. It happens by
    /// itself once a minute, as long as anything is kept.
    pub fn sweep(&self) {
        let now = Instant::now();
        for shelf in self.0.all_shelves() {
            shelf.sweep(now);
        }
        self.0.prune();
    }

    /// Whether the task runs that sweeps.
    #[cfg(test)]
    pub(super) fn is_swept(&self) -> bool {
        self.0.sweeper.is_running()
    }

    /// How many tenants have a shelf.
    #[cfg(test)]
    pub(super) fn tenants(&self) -> usize {
        locked(&self.0.shelves).by_tenant.len()
    }

    /// What has been done for all tenants, and what is held.
    #[must_use]
    pub fn stats(&self) -> AnswerStats {
        let shelves = self.0.all_shelves();
        let held = shelves.iter().map(|shelf| shelf.stats());
        let (answers, calls) = held.fold((0, 0), |sum, one| (sum.0 + one.answers, sum.1 + one.calls));
        let bytes = self.0.account.bytes.load(Relaxed);
        AnswerStats { answers, calls, bytes, ..self.0.account.counters.stats() }
    }
}

impl Host {
    fn new_shelf(&self) -> Shelf {
        let number = self.numbers.fetch_add(1, Relaxed);
        Shelf::new(number, self.tenant_bytes_max, Arc::clone(&self.account))
    }

    pub(crate) fn all_shelves(&self) -> Vec<Arc<Shelf>> {
        locked(&self.shelves).by_tenant.values().cloned().collect()
    }

    /// Keeps an answer, and lets go of others for it where that must be.
    pub(crate) fn keep(self: &Arc<Self>, shelf: &Shelf, key: Key, flight: &Arc<Flight>, kept: Kept) {
        let weight = kept.weight();
        let fits = self.account.take(weight) || {
            self.make_room(weight);
            self.account.take(weight)
        };
        if fits {
            shelf.keep(key, flight, kept);
            self.sweeper.start(self);
        } else {
            shelf.detach(&key, flight);
        }
    }

    /// Takes out shelves that nobody needs any more.
    pub(crate) fn prune(&self) {
        locked(&self.shelves).prune();
    }

    /// Whether nothing is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.account.bytes.load(Relaxed) == 0
    }

    /// Makes room for `bytes` and an eighth of the bound, so that this is done seldom: first lets go of what is too old,
    /// then of what the tenants have who have most.
    fn make_room(&self, bytes: u64) {
        let _held = match self.making_room.try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Somebody else is at it. An answer that is not kept costs a call, a thread that waits costs all of them.
            Err(TryLockError::WouldBlock) => return,
        };
        let now = Instant::now();
        let shelves = self.all_shelves();
        let weights = shelves.iter().map(|shelf| shelf.sweep(now)).collect();
        let bytes_max = self.account.bytes_max;
        let level = level(weights, (bytes_max - bytes_max / 8).saturating_sub(bytes));
        for shelf in shelves {
            shelf.cut(level);
        }
    }
}

/// The highest level such that `weights`, each cut to it, are `target` together at most.
fn level(mut weights: Vec<u64>, target: u64) -> u64 {
    weights.sort_unstable();
    let mut left = target;
    let mut others = weights.len() as u64;
    for weight in weights {
        let share = left / others;
        if weight > share {
            return share;
        }
        left -= weight;
        others -= 1;
    }
    u64::MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn who_has_most_gives_first() {
        fn check(weights: &[u64], target: u64, expected: u64) {
            assert_eq!(level(weights.to_vec(), target), expected, "{weights:?} to {target}");
        }
        check(&[], 0, u64::MAX);
        check(&[1, 2, 3], 6, u64::MAX);
        check(&[1, 2, 9], 6, 3);
        check(&[9, 9], 6, 3);
        check(&[5], 0, 0);
    }

    proptest! {
        #[test]
        fn the_level_is_the_highest_that_is_low_enough(
            weights in proptest::collection::vec(0u64..1000, 0..20),
            target in 0u64..8000,
        ) {
            let sum = |level: u64| weights.iter().map(|weight| *weight.min(&level)).sum::<u64>();
            let found = level(weights.clone(), target);
            prop_assert!(sum(found) <= target);
            prop_assert!(found == u64::MAX || sum(found + 1) > target);
        }
    }
}
