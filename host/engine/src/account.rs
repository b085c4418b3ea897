//! What one tenant's instances use together: how many there are, their memory, their CPU time with that of its
//! connections. Shared by the pools of all its functions.

use crate::clock::now_ns;
use crate::failures::FailureBudget;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// What a tenant's instances may use together. An absent field is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantBounds {
    /// Instances alive at once, over all functions.
    pub instances_max: Option<u32>,
    /// Bytes of linear memory of all of them.
    pub memory_bytes_max: Option<u64>,
    /// CPU time in a second, milliseconds; over it they pause.
    pub cpu_ms_per_second: Option<u32>,
}

/// One tenant's account.
pub(crate) struct TenantAccount {
    instances: AtomicU32,
    instances_max: AtomicU32,
    memory_bytes: AtomicU64,
    memory_bytes_max: AtomicU64,
    /// CPU time since [`Active::drain`] last looked.
    used_ns: AtomicU64,
    /// Whether it is in the list of active ones.
    listed: AtomicBool,
    /// Until when its instances stay behind, because it used more than its share while others wanted theirs.
    behind_until_ns: AtomicU64,
    /// Until when a new instance of it is expected to compute for long or to fail, because one did.
    suspect_until_ns: AtomicU64,
    budget: CpuBudget,
    /// Lines of the log about its failures.
    pub(crate) failures: FailureBudget,
    active: Weak<Active>,
    /// See [`Active::shared_until_ns`].
    shared_until_ns: Arc<AtomicU64>,
}

impl TenantAccount {
    pub(crate) fn new(active: &Arc<Active>) -> Arc<Self> {
        Arc::new(Self {
            instances: AtomicU32::new(0),
            instances_max: AtomicU32::new(u32::MAX),
            memory_bytes: AtomicU64::new(0),
            memory_bytes_max: AtomicU64::new(u64::MAX),
            used_ns: AtomicU64::new(0),
            listed: AtomicBool::new(false),
            behind_until_ns: AtomicU64::new(0),
            suspect_until_ns: AtomicU64::new(0),
            budget: CpuBudget::default(),
            failures: FailureBudget::default(),
            active: Arc::downgrade(active),
            shared_until_ns: Arc::clone(&active.shared_until_ns),
        })
    }

    /// Puts bounds in force; what is in use already stays.
    pub(crate) fn set_bounds(&self, bounds: TenantBounds) {
        self.instances_max.store(bounds.instances_max.unwrap_or(u32::MAX), Relaxed);
        self.memory_bytes_max.store(bounds.memory_bytes_max.unwrap_or(u64::MAX), Relaxed);
        self.budget.set_rate(bounds.cpu_ms_per_second);
    }

    /// One more instance, which counts as `weight`, if the tenant may have it. Counted until the returned value is dropped.
    pub(crate) fn add_instance(self: &Arc<Self>, weight: u32) -> Option<InstanceCount> {
        let most = self.instances_max.load(Relaxed);
        let more = |count: u32| count.checked_add(weight).filter(|sum| *sum <= most);
        self.instances.fetch_update(SeqCst, SeqCst, more).ok()?;
        Some(InstanceCount { account: Arc::clone(self), weight })
    }

    /// Instances alive.
    pub(crate) fn instances(&self) -> u32 {
        self.instances.load(SeqCst)
    }

    /// Takes `bytes` of memory; false when that is more than the tenant may have.
    pub(crate) fn take_memory(&self, bytes: u64) -> bool {
        let most = self.memory_bytes_max.load(Relaxed);
        let more = |taken: u64| taken.checked_add(bytes).filter(|sum| *sum <= most);
        self.memory_bytes.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    /// Memory taken.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Relaxed)
    }

    pub(crate) fn give_memory_back(&self, bytes: u64) {
        self.memory_bytes.fetch_sub(bytes, Relaxed);
    }

    pub(crate) fn memory_bytes_max(&self) -> u64 {
        self.memory_bytes_max.load(Relaxed)
    }

    /// CPU time that one of its instances has used.
    pub(crate) fn charge(self: &Arc<Self>, used_ns: u64) {
        self.budget.charge(used_ns);
        self.charge_connection(used_ns);
    }

    /// CPU time that one of its connections has used: part of its share, and not of what its functions may use.
    pub(crate) fn charge_connection(self: &Arc<Self>, used_ns: u64) {
        self.used_ns.fetch_add(used_ns, Relaxed);
        if !self.listed.load(Relaxed)
            && !self.listed.swap(true, SeqCst)
            && let Some(active) = self.active.upgrade()
        {
            active.lock().push(Arc::clone(self));
        }
    }

    /// It used more than its share.
    pub(crate) fn is_over_share(&self) {
        self.behind_until_ns.store(now_ns() + BEHIND_NS, Relaxed);
    }

    /// Until when its instances stay behind; 0 if they never had to.
    pub(crate) fn behind_until_ns(&self) -> u64 {
        self.behind_until_ns.load(Relaxed)
    }

    /// Whether another tenant used the processor lately. Who is alone delays nobody, and pays for changes of lanes.
    pub(crate) fn has_neighbours(&self) -> bool {
        now_ns() < self.shared_until_ns.load(Relaxed)
    }

    /// One of its instances computed for long, or failed.
    pub(crate) fn suspect(&self) {
        self.suspect_until_ns.store(now_ns() + BEHIND_NS, Relaxed);
    }

    /// Whether one did lately.
    pub(crate) fn is_suspect(&self) -> bool {
        let until = self.suspect_until_ns.load(Relaxed);
        until != 0 && now_ns() < until
    }

    /// How long its instances pause, when they have used up the CPU time of this second.
    pub(crate) fn pause(&self) -> Option<Duration> {
        self.budget.pause(now_ns)
    }
}

/// For how long a tenant is remembered for what it did, nanoseconds. Longer than the look at who uses what takes, so that
/// who is behind does not come forward between two looks.
const BEHIND_NS: u64 = 1_000_000_000;

/// Counts an instance among its tenant's.
pub(crate) struct InstanceCount {
    account: Arc<TenantAccount>,
    weight: u32,
}

impl Drop for InstanceCount {
    fn drop(&mut self) {
        self.account.instances.fetch_sub(self.weight, SeqCst);
    }
}

/// The accounts that used CPU time lately, so that balancing looks at these and not at all tenants.
#[derive(Default)]
pub(crate) struct Active {
    accounts: Mutex<Vec<Arc<TenantAccount>>>,
    /// Until when the processor counts as shared by several tenants, because it was.
    shared_until_ns: Arc<AtomicU64>,
}

/// For how long it counts as shared, nanoseconds: a tenant that asks now and then has neighbours all the time.
const SHARED_NS: u64 = 60_000_000_000;

impl Active {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<TenantAccount>>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Several tenants use the processor.
    pub(crate) fn is_shared(&self) {
        self.shared_until_ns.store(now_ns() + SHARED_NS, Relaxed);
    }

    /// The active accounts with what they used since the last call. Those that used nothing leave the list.
    pub(crate) fn drain(&self) -> Vec<(Arc<TenantAccount>, u64)> {
        let mut used = Vec::new();
        self.lock().retain(|account| {
            let used_ns = account.used_ns.swap(0, Relaxed);
            if used_ns == 0 {
                account.listed.store(false, SeqCst);
                return false;
            }
            used.push((Arc::clone(account), used_ns));
            true
        });
        used
    }
}

/// CPU time in a second: a bucket that fills with time and that use may overdraw.
#[derive(Default)]
struct CpuBudget {
    /// Nanoseconds of CPU time for each second; 0: no limit.
    rate_ns: AtomicU64,
    credit_ns: AtomicI64,
    filled_ns: AtomicU64,
}

impl CpuBudget {
    fn set_rate(&self, cpu_ms_per_second: Option<u32>) {
        let rate = cpu_ms_per_second.map_or(0, |ms| u64::from(ms) * 1_000_000);
        if self.rate_ns.swap(rate, Relaxed) != rate {
            self.credit_ns.store(i64::try_from(rate).unwrap_or(i64::MAX), Relaxed);
            self.filled_ns.store(now_ns(), Relaxed);
        }
    }

    fn charge(&self, used_ns: u64) {
        if self.rate_ns.load(Relaxed) != 0 {
            self.credit_ns.fetch_sub(i64::try_from(used_ns).unwrap_or(i64::MAX), Relaxed);
        }
    }

    fn pause(&self, now: impl FnOnce() -> u64) -> Option<Duration> {
        let rate = self.rate_ns.load(Relaxed);
        if rate == 0 {
            return None;
        }
        let now = now();
        let filled = self.filled_ns.load(Relaxed);
        if self.filled_ns.compare_exchange(filled, now, Relaxed, Relaxed).is_ok() {
            let credit = self.credit_ns.load(Relaxed);
            self.credit_ns.fetch_add(refill(credit, rate, now.saturating_sub(filled)), Relaxed);
        }
        let credit = self.credit_ns.load(Relaxed);
        (credit <= 0).then(|| until_positive(credit, rate))
    }
}

/// What `elapsed_ns` adds to a bucket that holds `credit_ns` and gets `rate_ns` a second, a second's worth at most.
fn refill(credit_ns: i64, rate_ns: u64, elapsed_ns: u64) -> i64 {
    let earned = u128::from(rate_ns) * u128::from(elapsed_ns) / 1_000_000_000;
    let room = i128::from(rate_ns) - i128::from(credit_ns);
    i64::try_from(i128::try_from(earned).unwrap_or(i128::MAX).min(room.max(0))).unwrap_or(i64::MAX)
}

/// How long until an overdrawn bucket holds something again, at least a millisecond.
fn until_positive(credit_ns: i64, rate_ns: u64) -> Duration {
    let missing = u128::from(credit_ns.unsigned_abs()) + 1;
    let wait_ns = missing * 1_000_000_000 / u128::from(rate_ns.max(1));
    Duration::from_nanos(u64::try_from(wait_ns).unwrap_or(u64::MAX)).clamp(PAUSE_MIN, PAUSE_MAX)
}

const PAUSE_MIN: Duration = Duration::from_millis(1);
/// After this long it is looked at again, so that a raised limit is soon felt.
const PAUSE_MAX: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> (Arc<Active>, Arc<TenantAccount>) {
        let active = Arc::new(Active::default());
        let account = TenantAccount::new(&active);
        (active, account)
    }

    #[test]
    fn instances_over_the_bound_are_refused_until_one_ends() {
        let (_active, account) = account();
        account.set_bounds(TenantBounds { instances_max: Some(2), ..TenantBounds::default() });
        let first = account.add_instance(1).unwrap();
        let _second = account.add_instance(1).unwrap();
        assert!(account.add_instance(1).is_none());
        drop(first);
        assert!(account.add_instance(1).is_some());
    }

    #[test]
    fn memory_is_taken_to_the_last_byte_and_no_further() {
        let (_active, account) = account();
        account.set_bounds(TenantBounds { memory_bytes_max: Some(100), ..TenantBounds::default() });
        assert!(account.take_memory(60));
        assert!(!account.take_memory(41));
        assert!(account.take_memory(40));
        account.give_memory_back(60);
        assert!(account.take_memory(60));
    }

    #[test]
    fn the_active_are_those_that_used_something_since_the_last_look() {
        let (active, account) = account();
        account.charge(5);
        account.charge(7);
        let used = |active: &Active| active.drain().iter().map(|(_, used)| *used).collect::<Vec<_>>();
        assert_eq!(used(&active), [12]);
        assert_eq!(used(&active), [0_u64; 0]);
        account.charge(1);
        assert_eq!(used(&active), [1], "it is listed again after it had left");
        account.charge_connection(3);
        assert_eq!(used(&active), [3], "who only sends requests is active, too");
    }

    #[test]
    fn an_overdrawn_budget_pauses_for_as_long_as_it_takes_to_fill() {
        let check = |credit_ms: i64, rate_ms: u64, expected_ms: u64| {
            let wait = until_positive(credit_ms * 1_000_000, rate_ms * 1_000_000);
            assert_eq!(wait.as_millis(), u128::from(expected_ms), "{credit_ms} at {rate_ms}");
        };
        check(-100, 500, 200);
        check(0, 500, 1);
        check(-10_000, 100, 500);
        assert_eq!(refill(0, 500_000_000, 100_000_000), 50_000_000);
        assert_eq!(refill(490_000_000, 500_000_000, 100_000_000), 10_000_000, "a second's worth at most");
    }

    #[test]
    fn without_a_rate_there_is_no_pause() {
        let (_active, account) = account();
        account.charge(u64::MAX / 4);
        assert_eq!(account.pause(), None);
        account.set_bounds(TenantBounds { cpu_ms_per_second: Some(10), ..TenantBounds::default() });
        assert_eq!(account.pause(), None);
        account.charge_connection(50_000_000);
        assert_eq!(account.pause(), None, "what connections use is not held against its functions");
        account.charge(50_000_000);
        assert!(account.pause().is_some());
    }
}
