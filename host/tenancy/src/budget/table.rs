//! The budgets of all tenants, the store they are counted in, and the task that catches up when it was away.

use super::kind::Plan;
use super::ledger::Step;
use super::{Budget, BudgetStore, BudgetStoreFailure, Counted, poll_once};
use crate::{Limits, TenantId};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

/// Tenants whose budgets are remembered; some 1 KiB each. Beyond that those at rest are forgotten, which costs nothing:
/// the store knows them.
const TENANTS_MAX: usize = 100_000;
/// How often a store that was away is tried again, milliseconds.
const RETRY_MS: u64 = 1_000;
/// Tenants that may fail in one such try before it ends: more than those whose own records are the trouble.
const FAILURES_PER_TRY_MAX: usize = 3;
/// How long [`Budgets::close`] waits, milliseconds.
const CLOSE_MS_MAX: u64 = 5_000;

/// Tells the time in seconds since 1970.
pub type BudgetClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The budgets of all tenants.
pub struct Budgets {
    inner: Arc<Inner>,
    keeper: JoinHandle<()>,
}

struct Inner {
    shared: Arc<Shared>,
    budgets: Mutex<HashMap<TenantId, Arc<Budget>>>,
    /// Where the next try begins, so that a tenant whose records are the trouble does not keep the others waiting.
    next: AtomicUsize,
}

/// What all budgets share.
pub(super) struct Shared {
    pub(super) store: Arc<dyn BudgetStore>,
    clock: BudgetClock,
    runtime: Handle,
    /// Wakes the task that tries the store again.
    away: Arc<Notify>,
    /// Steps that nobody waits for.
    under_way: AtomicUsize,
    at_rest: Notify,
    pub(super) unwritten_users: Arc<AtomicUsize>,
}

impl Budgets {
    /// Budgets that are counted in `store`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(store: Arc<dyn BudgetStore>) -> Self {
        let system = || SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
        Self::with_clock(store, Arc::new(system))
    }

    /// The same, by another clock.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn with_clock(store: Arc<dyn BudgetStore>, clock: BudgetClock) -> Self {
        let shared = Shared {
            store,
            clock,
            runtime: Handle::current(),
            away: Arc::default(),
            under_way: AtomicUsize::new(0),
            at_rest: Notify::new(),
            unwritten_users: Arc::default(),
        };
        let away = Arc::clone(&shared.away);
        let inner = Inner { shared: Arc::new(shared), budgets: Mutex::default(), next: AtomicUsize::new(0) };
        let inner = Arc::new(inner);
        let keeper = tokio::spawn(keep(Arc::downgrade(&inner), away));
        Self { inner, keeper }
    }

    /// The budgets of a tenant that has these limits from now on; none if none of them is a budget. Cheap enough for each
    /// request, but meant for each change of a tenant: whoever makes calls for it keeps the answer.
    pub fn of(&self, tenant: &TenantId, limits: &Limits) -> Option<Arc<Budget>> {
        let plan = Plan::new(limits);
        let mut budgets = self.inner.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(budget) = budgets.get(tenant) {
            if **budget.plan.load() != plan {
                budget.plan.store(Arc::new(plan));
            }
            return (!plan.is_empty()).then(|| Arc::clone(budget));
        }
        if plan.is_empty() {
            return None;
        }
        if budgets.len() >= TENANTS_MAX {
            budgets.retain(|_, budget| Arc::strong_count(budget) > 1 || !budget.ledger().is_clean());
        }
        let budget = Arc::new(Budget::new(tenant.clone(), Arc::clone(&self.inner.shared), plan));
        if budgets.len() < TENANTS_MAX {
            budgets.insert(tenant.clone(), Arc::clone(&budget));
        }
        Some(budget)
    }

    /// Forgets what is known of a tenant's budgets, because it is gone or erased. Its counters in the store are erased with
    /// all else that is the tenant's.
    pub fn forget(&self, tenant: &TenantId) {
        // Whoever still has it may go on with it, for the store is where things are counted.
        let _forgotten = self.inner.budgets.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }

    /// Tells the store what it does not know yet, and waits for that 5 s at most; for the end of the host.
    pub async fn close(&self) {
        let deadline = Instant::now() + Duration::from_millis(CLOSE_MS_MAX);
        for budget in self.inner.all() {
            if !budget.ledger().is_clean() {
                let caught_up = timeout_at(deadline, budget.catch_up()).await;
                if !matches!(caught_up, Ok(Ok(()))) {
                    tracing::warn!(tenant = %budget.tenant, "budgets: some of what was used is not counted in the store");
                }
            }
        }
        let shared = &self.inner.shared;
        let rest = async {
            loop {
                let at_rest = shared.at_rest.notified();
                if shared.under_way.load(Ordering::Acquire) == 0 {
                    return;
                }
                at_rest.await;
            }
        };
        if timeout_at(deadline, rest).await.is_err() {
            tracing::warn!(
                "budgets: the store does not answer; some of what was used may not be counted there"
            );
        }
    }
}

impl Drop for Budgets {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Inner {
    fn all(&self) -> Vec<Arc<Budget>> {
        self.budgets.lock().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect()
    }

    /// Tries the store again. Whether it has learnt everything.
    async fn catch_up(&self) -> bool {
        let mut away = self.all();
        away.retain(|budget| budget.is_away());
        let first = self.next.fetch_add(1, Ordering::Relaxed) % away.len().max(1);
        away.rotate_left(first);
        let mut failures = 0;
        for budget in &away {
            match budget.catch_up().await {
                Ok(()) => tracing::info!(tenant = %budget.tenant, "budgets: the store answers again"),
                Err(failure) => {
                    tracing::debug!(tenant = %budget.tenant, %failure, "budgets: the store is still away");
                    failures += 1;
                }
            }
            if failures == FAILURES_PER_TRY_MAX {
                break;
            }
        }
        failures == 0
    }
}

/// Holds nothing of the store while it waits: whoever drops the budgets has it back.
async fn keep(inner: Weak<Inner>, away: Arc<Notify>) {
    loop {
        away.notified().await;
        loop {
            sleep(Duration::from_millis(RETRY_MS)).await;
            let Some(inner) = inner.upgrade() else { return };
            if inner.catch_up().await {
                break;
            }
        }
    }
}

impl Shared {
    pub(super) fn now_s(&self) -> u64 {
        (self.clock)()
    }

    pub(super) async fn count(&self, tenant: &TenantId, step: &Step) -> Result<Counted, BudgetStoreFailure> {
        let counted = self.store.count(tenant, &step.changes).await?;
        if counted.totals.len() != step.changes.len() {
            return Err(BudgetStoreFailure::new("it answered for other counters than it was asked for"));
        }
        Ok(counted)
    }

    pub(super) fn went_away(&self, tenant: &TenantId, failure: &BudgetStoreFailure, was_away: bool) {
        if !was_away {
            tracing::warn!(%tenant, %failure, "budgets are counted by this host alone until the store answers again");
        }
        self.away.notify_one();
    }

    /// Does what nobody waits for: here and now if it need not wait, else in a task.
    pub(super) fn in_background(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) {
        self.under_way.fetch_add(1, Ordering::AcqRel);
        let under_way = UnderWay(Arc::clone(self));
        let mut work = Box::pin(async move {
            work.await;
            drop(under_way);
        });
        // A reservation may be dropped by a thread that belongs to no runtime.
        let _runtime = self.runtime.enter();
        if poll_once(&mut work).is_pending() {
            self.runtime.spawn(work);
        }
    }
}

/// A step that nobody waits for.
struct UnderWay(Arc<Shared>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.0.under_way.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.at_rest.notify_waiters();
        }
    }
}
