//! CPU time of one instance: what its requests may use, what it has used, and the decision to stop it.
//!
//! Time is taken where the instance is polled, so waiting costs nothing; the epoch callback adds what a guest that
//! does not return has used so far. In the lane of low priority (see [`crate::lanes`]) that is the CPU time of the thread,
//! which often waits there; in front it is the time of the clock, which is cheaper to read and nearly the same.

use crate::account::TenantAccount;
use crate::clock::{now_ns, running_ns, thread_cpu_ns};
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
    /// What may still be used.
    remaining_ns: AtomicI64,
    allowance_ns: i64,
    /// The thread's CPU time when a stretch was first found to be long; 0 before that.
    suspected_ns: AtomicU64,
    /// Until when it counts as one that computes for long.
    long_until_ns: AtomicU64,
    tenant: Arc<TenantAccount>,
}

impl CpuAccount {
    /// An account that allows `allowance` for start-up and as much for every request.
    pub(crate) fn new(allowance: Duration, tenant: Arc<TenantAccount>) -> Self {
        let allowance_ns = i64::try_from(allowance.as_nanos()).unwrap_or(i64::MAX / 1_000_000);
        Self {
            entered_ns: AtomicU64::new(0),
            charged_ns: AtomicU64::new(0),
            remaining_ns: AtomicI64::new(allowance_ns),
            allowance_ns,
            suspected_ns: AtomicU64::new(0),
            long_until_ns: AtomicU64::new(0),
            tenant,
        }
    }

    /// The lane it belongs in from its next poll on.
    pub(crate) fn lane(&self) -> Lane {
        let until = self.long_until_ns.load(Relaxed);
        if self.tenant.over_share.load(Relaxed) || (until != 0 && now_ns() < until) {
            Lane::Back
        } else {
            Lane::Front
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

    /// The instance starts to run on this thread.
    pub(crate) fn enter(&self) {
        let now = running_ns();
        self.charged_ns.store(now, Relaxed);
        self.suspected_ns.store(0, Relaxed);
        self.entered_ns.store(now, Relaxed);
    }

    /// The instance has stopped running.
    pub(crate) fn leave(&self) {
        self.charge();
        self.entered_ns.store(0, Relaxed);
    }

    /// Charges what has passed since the last charge, and says what follows from it.
    pub(crate) fn charge(&self) -> Verdict {
        let entered = self.entered_ns.load(Relaxed);
        if entered == 0 {
            return Verdict::GoOn;
        }
        let now = running_ns();
        let used = now.saturating_sub(self.charged_ns.swap(now, Relaxed));
        self.tenant.charge(used);
        let used = i64::try_from(used).unwrap_or(i64::MAX);
        let remaining = self.remaining_ns.load(Relaxed).saturating_sub(used);
        self.remaining_ns.store(remaining, Relaxed);
        if remaining <= 0 {
            Verdict::UsedUp
        } else if now.saturating_sub(entered) > STRETCH_NS && self.is_long() {
            self.long_until_ns.store(now_ns() + LONG_NS, Relaxed);
            Verdict::MakeWay
        } else {
            Verdict::GoOn
        }
    }

    /// Whether a stretch that seems long is: the thread may have waited for a core meanwhile. The first look notes the
    /// thread's CPU time, a later one compares.
    fn is_long(&self) -> bool {
        let now = thread_cpu_ns();
        match self.suspected_ns.load(Relaxed) {
            0 => {
                self.suspected_ns.store(now, Relaxed);
                false
            }
            suspected => now.saturating_sub(suspected) > STRETCH_NS / 2,
        }
    }

    /// Whether the instance is running on some thread now.
    pub(crate) fn is_running(&self) -> bool {
        self.entered_ns.load(Relaxed) != 0
    }
}

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
        let account = account(Duration::from_secs(3_600));
        account.enter();
        assert_eq!(account.charge(), Verdict::GoOn);
        assert_eq!(account.lane(), Lane::Front);
        while account.charge() == Verdict::GoOn {
            std::hint::spin_loop();
        }
        assert_eq!(account.charge(), Verdict::MakeWay);
        assert_eq!(account.lane(), Lane::Back, "it goes on where it delays nobody");
    }
}
