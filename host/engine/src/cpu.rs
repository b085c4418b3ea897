//! CPU time of one instance: what its requests may use, what it has used, and the decision to stop it.
//!
//! Time is taken where the instance is polled, so waiting costs nothing; the epoch callback adds what a guest that
//! does not return has used so far. It is the time of the clock, which is cheap to read, unless that is so much that the
//! thread may have waited for a core: then its CPU time counts.

use crate::account::TenantAccount;
use crate::clock::{cpu_between, now_ns, refresh_cpu_reading, waits_for_cores};
use crate::lanes::Lane;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The account of one instance. Written by the thread that runs the instance, read by the one that dispatches.
pub(crate) struct CpuAccount {
    /// When the running stretch began; 0 while the instance is not running.
    entered_ns: AtomicU64,
    /// When it was last charged.
    charged_ns: AtomicU64,
    /// What the running stretch has been charged.
    stretch_ns: AtomicU64,
    /// What may still be used.
    remaining_ns: AtomicI64,
    allowance_ns: i64,
    /// Until when it counts as one that computes for long.
    long_until_ns: AtomicU64,
    tenant: Arc<TenantAccount>,
}

impl CpuAccount {
    /// An account that allows `allowance` for start-up and as much for every request. A new instance of a tenant of which
    /// one has just computed for long, or failed, begins behind.
    pub(crate) fn new(allowance: Duration, tenant: Arc<TenantAccount>) -> Self {
        let allowance_ns = i64::try_from(allowance.as_nanos()).unwrap_or(i64::MAX / 1_000_000);
        Self {
            entered_ns: AtomicU64::new(0),
            charged_ns: AtomicU64::new(0),
            stretch_ns: AtomicU64::new(0),
            remaining_ns: AtomicI64::new(allowance_ns),
            allowance_ns,
            long_until_ns: AtomicU64::new(if tenant.is_suspect() { now_ns() + LONG_NS } else { 0 }),
            tenant,
        }
    }

    /// The lane it belongs in from its next poll on.
    pub(crate) fn lane(&self) -> Lane {
        match Lane::until(self.long_until_ns.load(Relaxed).max(self.tenant.behind_until_ns())) {
            Lane::Back if self.tenant.has_neighbours() => Lane::Back,
            _ => Lane::Front,
        }
    }

    /// How long it has to wait before it may run again, because its tenant has used up its CPU time.
    pub(crate) fn pause(&self) -> Option<Duration> {
        self.tenant.pause()
    }

    /// A request begins beside `others` that are under way: what earlier requests left unused is not kept.
    pub(crate) fn request_starts(&self, others: u64) {
        let others = i64::try_from(others).unwrap_or(i64::MAX);
        let kept = self.remaining_ns.load(Relaxed).min(self.allowance_ns.saturating_mul(others));
        self.remaining_ns.store(kept.saturating_add(self.allowance_ns), Relaxed);
    }

    /// A request has ended, and `others` are under way: its allowance goes with it. What an instance does when it has no
    /// requests has the allowance of one.
    pub(crate) fn request_ends(&self, others: u64) {
        let others = i64::try_from(others.max(1)).unwrap_or(i64::MAX);
        self.remaining_ns.fetch_min(self.allowance_ns.saturating_mul(others), Relaxed);
    }

    /// The instance starts to run on this thread.
    pub(crate) fn enter(&self) {
        let now = now_ns();
        refresh_cpu_reading(now);
        self.charged_ns.store(now, Relaxed);
        self.stretch_ns.store(0, Relaxed);
        self.entered_ns.store(now, Relaxed);
    }

    /// The instance has stopped running.
    pub(crate) fn leave(&self) {
        self.charge();
        self.entered_ns.store(0, Relaxed);
    }

    /// Charges what has passed since the last charge, and says what follows from it.
    pub(crate) fn charge(&self) -> Verdict {
        if !self.is_running() {
            return Verdict::GoOn;
        }
        let now = now_ns();
        let charged = self.charged_ns.swap(now, Relaxed);
        let mut used = cpu_between(charged, now);
        if waits_for_cores() {
            used = used.max(now.saturating_sub(charged) / STARVED_FACTOR);
        }
        let stretch = self.stretch_ns.fetch_add(used, Relaxed) + used;
        self.tenant.charge(used);
        let used = i64::try_from(used).unwrap_or(i64::MAX);
        let remaining = self.remaining_ns.fetch_sub(used, Relaxed).saturating_sub(used);
        if remaining <= 0 {
            Verdict::UsedUp
        } else if stretch > STRETCH_NS {
            self.long_until_ns.store(now + LONG_NS, Relaxed);
            self.tenant.suspect();
            Verdict::MakeWay
        } else {
            Verdict::GoOn
        }
    }

    /// Whether the instance is running on some thread now.
    pub(crate) fn is_running(&self) -> bool {
        self.entered_ns.load(Relaxed) != 0
    }
}

/// An instance that wants to run and gets no core is charged this part of the time, so that an endless loop ends on a busy
/// host, too: at the latest after so many times its allowance.
const STARVED_FACTOR: u64 = 4;

/// How long an instance may run before it lets other tasks of the thread have a turn, nanoseconds.
const STRETCH_NS: u64 = 2_000_000;

/// For how long an instance that ran longer than that is kept out of the way, nanoseconds.
const LONG_NS: u64 = 100_000_000;

/// What follows from the time used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It has only just begun to run.
    GoOn,
    /// It has run for a while: others get a turn first.
    MakeWay,
    /// Nothing remains: it is stopped.
    UsedUp,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Active;

    fn account(allowance: Duration) -> CpuAccount {
        CpuAccount::new(allowance, TenantAccount::new(&Arc::default()))
    }

    fn remaining(account: &CpuAccount) -> i64 {
        account.remaining_ns.load(Relaxed)
    }

    #[test]
    fn unused_time_is_not_saved_up() {
        let account = account(Duration::from_millis(5));
        for _ in 0..100 {
            account.request_starts(0);
        }
        assert_eq!(remaining(&account), 5_000_000);
    }

    #[test]
    fn concurrent_requests_add_their_allowances() {
        let account = account(Duration::from_millis(5));
        account.request_starts(0);
        account.request_starts(1);
        account.request_starts(2);
        assert_eq!(remaining(&account), 15_000_000);
    }

    #[test]
    fn an_allowance_ends_with_its_request() {
        let account = account(Duration::from_millis(5));
        (0..4).for_each(|others| account.request_starts(others));
        assert_eq!(remaining(&account), 20_000_000);
        account.request_ends(2);
        assert_eq!(remaining(&account), 10_000_000);
        account.request_ends(0);
        assert_eq!(remaining(&account), 5_000_000);
    }

    #[test]
    fn only_running_time_is_charged_and_an_empty_account_says_so() {
        let account = account(Duration::from_nanos(1));
        assert_eq!(account.charge(), Verdict::GoOn, "waiting must cost nothing");
        account.enter();
        while account.charge() != Verdict::UsedUp {
            std::hint::spin_loop();
        }
        assert!(remaining(&account) <= 0);
        account.leave();
        assert!(!account.is_running());
    }

    #[test]
    fn a_long_stretch_makes_way_for_others() {
        let active = Arc::<Active>::default();
        let account = CpuAccount::new(Duration::from_secs(3_600), TenantAccount::new(&active));
        account.enter();
        assert_eq!(account.charge(), Verdict::GoOn);
        assert_eq!(account.lane(), Lane::Front);
        while account.charge() == Verdict::GoOn {
            std::hint::spin_loop();
        }
        assert_eq!(account.charge(), Verdict::MakeWay);
        assert_eq!(account.lane(), Lane::Front, "it is alone");
        active.is_shared();
        assert_eq!(account.lane(), Lane::Back, "it goes on where it delays nobody");
    }
}
