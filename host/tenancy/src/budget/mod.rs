//! Budgets: how many tokens, and how much money, a tenant and each of its users may use in a minute, a day, a month.
//!
//! A budget is kept in three steps. Before a call is made, [`Budget::reserve`] sets its estimate aside; while it goes on,
//! [`Reservation::note`] says what it has used so far; when it is over, [`Reservation::settle`] puts what it did use in
//! the place of the estimate. A call is admitted as long as something is left of each budget that it counts in, and
//! what others have set aside counts as gone. So a budget is overshot by one call at most, however many there are at once
//! and however many hosts share the store, as long as no call uses more than its estimate; one that does adds what it
//! used beyond it.
//!
//! **Windows** are those of the calendar in UTC. A call counts in the windows in which it began, even if it ends in the
//! next ones. A limit counts from when it is set. Of hosts that share a store, each goes by its own clock.
//!
//! **Where it is counted.** In the [`BudgetStore`], in one atomic step before a call (one round trip, where the store is a
//! server) and one after it, which nobody waits for. A host that is killed leaves the calls that it had under way
//! counted as they were estimated, and takes with it what it counted while the store was away, or in the last hundredth of a second. The
//! counters of a user are there only where a limit for users is set, and go away after their window.
//!
//! **When the store is away** calls go on: budgets must not take the service down. Each host then counts by itself, on
//! from what it last saw, and of users that it has no call of from nothing; so all hosts together use each budget at most
//! once more for each host. A call waits for the store 250 ms at most, and after the first failure none waits; every
//! second the store is tried again, and then learns what it missed. A step whose answer was lost may be counted twice.
//!
//! **`tokens_per_minute`** is looked at twice: as a rate at the door, by [`Meter`](crate::Meter), which turns requests away
//! before anything is spent and lets tokens come back bit by bit, and here, as a minute of the calendar, which bounds calls
//! that go on at once. Each counts a call once; whichever is used up refuses it.

mod kind;
mod ledger;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod window;

pub use kind::BudgetUnit;
pub use store::{BudgetStore, BudgetStoreFailure, Counted, CounterChange};
pub use table::{BudgetClock, Budgets};
pub use waggle_money::{MICROS_PER_UNIT, Money, MoneyError};

use crate::TenantId;
use arc_swap::ArcSwap;
use kind::{Plan, Slots};
use ledger::{Ledger, Step};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use table::Shared;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long a call waits for the store, milliseconds.
const STORE_WAIT_MS_MAX: u64 = 250;
/// The most of one call, in tokens or millionths: far from where sums of counters end.
const AMOUNT_MAX: u64 = 1 << 50;

/// What a call may use at most, as far as that is known before it is made: the tokens of its prompt and the most that its
/// answer may have, and what they cost. An estimate of 0 lets any number of calls go on at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Tokens.
    pub tokens: u64,
    /// Millionths of the operator's currency.
    pub cost_micros: u64,
}

impl Estimate {
    fn bounded(self) -> Self {
        Self { tokens: self.tokens.min(AMOUNT_MAX), cost_micros: self.cost_micros.min(AMOUNT_MAX) }
    }

    fn plus(self, other: Self) -> Self {
        let tokens = self.tokens.saturating_add(other.tokens);
        Self { tokens, cost_micros: self.cost_micros.saturating_add(other.cost_micros) }.bounded()
    }
}

/// A budget is used up. Its text is for the client, and says nothing of the amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverBudget {
    /// The field of [`Limits`](crate::Limits) it is, such as `tokens_per_day`. Where several are used up, one of those
    /// that last longest.
    pub limit: &'static str,
    /// When another attempt can succeed, seconds from now, at least 1.
    pub reset_seconds: u64,
    /// Whether it is the user's budget, not all of the tenant's.
    pub user: bool,
    /// Whether something is left, but calls of this host that are under way have set it aside.
    pub is_under_way: bool,
}

impl fmt::Display for OverBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, reset_seconds, user, is_under_way } = *self;
        let whose = if user { "This user's" } else { "The" };
        let words = kind::KINDS.iter().find(|kind| kind.limit == limit).map_or("", |kind| kind.words);
        let plural = if reset_seconds == 1 { "" } else { "s" };
        let state = if is_under_way { "is set aside for calls under way" } else { "is used up" };
        write!(f, "{whose} budget of {words} ({limit}) {state}; try again in {reset_seconds} second{plural}.")
    }
}

impl std::error::Error for OverBudget {}

/// One budget as it is now, for reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterState {
    /// The field of [`Limits`](crate::Limits) it is.
    pub limit: &'static str,
    /// What the numbers are.
    pub unit: BudgetUnit,
    /// Whether it is a user's.
    pub user: bool,
    /// The limit.
    pub allowed: u64,
    /// What is used in this window; what calls of other hosts that are under way have set aside as well.
    pub used: u64,
    /// What calls of this host that are under way have set aside.
    pub reserved: u64,
    /// In how many seconds the window ends.
    pub reset_seconds: u64,
}

/// The budgets of one tenant and of its users. Made by [`Budgets::of`].
pub struct Budget {
    tenant: TenantId,
    shared: Arc<Shared>,
    plan: ArcSwap<Plan>,
    ledger: Mutex<Ledger>,
}

impl Budget {
    fn new(tenant: TenantId, shared: Arc<Shared>, plan: Plan) -> Self {
        let ledger = Mutex::new(Ledger::new(Arc::clone(&shared.unwritten_users)));
        Self { tenant, shared, plan: ArcSwap::from_pointee(plan), ledger }
    }

    /// Sets an estimate aside for a call that is about to be made. It waits for the store 250 ms at most; embedded, it
    /// does not wait. Dropping the future sets nothing aside.
    ///
    /// # Errors
    /// The budget of which nothing is left.
    pub async fn reserve(
        self: &Arc<Self>,
        user: Option<&str>,
        estimate: Estimate,
    ) -> Result<Reservation, OverBudget> {
        let now_s = self.shared.now_s();
        let slots = Slots::of(&self.plan.load(), user, now_s);
        let Some(slots) = slots else { return Ok(Reservation::default()) };
        let estimate = estimate.bounded();
        let step = {
            let mut ledger = self.ledger();
            if ledger.is_away {
                drop(ledger);
                return self.reserve_alone(slots, estimate, now_s);
            }
            ledger.ask(&slots, estimate)
        };
        match complete(Arc::clone(self).ask(step, estimate, now_s)).await {
            Some(Ok(decision)) => decision,
            Some(Err(_failure)) => self.reserve_alone(slots, estimate, now_s),
            None => {
                self.store_is_late();
                self.reserve_alone(slots, estimate, now_s)
            }
        }
    }

    /// Counts what was used without a reservation. It may be more than is left.
    pub fn spend(self: &Arc<Self>, user: Option<&str>, tokens: u64, cost_micros: u64) {
        let Some(slots) = Slots::of(&self.plan.load(), user, self.shared.now_s()) else { return };
        self.ledger().begin(&slots);
        self.close(slots, Estimate::default(), Estimate { tokens, cost_micros }.bounded());
    }

    /// All budgets that are limited, as they are now: the tenant's, and the user's if one is named. Asks the store; if that
    /// fails, what this host knows.
    pub async fn state(self: &Arc<Self>, user: Option<&str>) -> Vec<CounterState> {
        let now_s = self.shared.now_s();
        let Some(slots) = Slots::of(&self.plan.load(), user, now_s) else { return Vec::new() };
        let keys: Vec<String> = slots.slots.iter().map(|slot| slot.key(slots.user)).collect();
        let wait = Duration::from_millis(STORE_WAIT_MS_MAX);
        let is_away = self.ledger().is_away;
        let read =
            async { if is_away { None } else { self.shared.store.read(&self.tenant, &keys).await.ok() } };
        let read = timeout(wait, read).await.ok().flatten().filter(|totals| totals.len() == keys.len());
        let mut ledger = self.ledger();
        let counter = |(at, slot): (usize, &kind::Slot)| {
            let known = ledger.known(slots.user, slot);
            let said = read.as_ref().and_then(|totals| totals.get(at));
            let total = said.map_or(known.total, |total| total.saturating_add_signed(known.unwritten));
            CounterState {
                limit: slot.kind().limit,
                unit: slot.kind().unit,
                user: slot.is_users(),
                allowed: slot.allowed,
                used: total.saturating_sub(known.reserved),
                reserved: known.reserved,
                reset_seconds: slot.window.remaining_s(now_s),
            }
        };
        slots.slots.iter().enumerate().map(counter).collect()
    }

    /// Asks the store. What it answers counts even if nobody waits for it any more: a reservation that nobody takes is
    /// dropped, and so given back.
    async fn ask(
        self: Arc<Self>,
        step: Step,
        held: Estimate,
        now_s: u64,
    ) -> Result<Result<Reservation, OverBudget>, BudgetStoreFailure> {
        let counted = match self.shared.count(&self.tenant, &step).await {
            Ok(counted) => counted,
            Err(failure) => return Err(self.store_failed(&step, failure)),
        };
        let answer = self.ledger().answered(&step, &counted, now_s);
        Ok(answer.map(|()| Reservation::new(self, step.slots, held)))
    }

    fn reserve_alone(
        self: &Arc<Self>,
        slots: Slots,
        held: Estimate,
        now_s: u64,
    ) -> Result<Reservation, OverBudget> {
        self.ledger().decide_alone(&slots, held, now_s)?;
        Ok(Reservation::new(Arc::clone(self), slots, held))
    }

    /// Puts what a call has used in the place of what it held, and tells the store.
    fn close(self: &Arc<Self>, slots: Slots, held: Estimate, used: Estimate) {
        let step = self.ledger().settle(slots, held, used, self.shared.now_s());
        if let Some(step) = step {
            self.shared.in_background(Arc::clone(self).tell(step));
        }
    }

    async fn tell(self: Arc<Self>, step: Step) {
        // A failure is told by then, and what the step was to say is said later.
        let _outcome = self.write(&step).await;
    }

    async fn write(&self, step: &Step) -> Result<(), BudgetStoreFailure> {
        match self.shared.count(&self.tenant, step).await {
            Ok(_counted) => {
                self.ledger().written(step);
                Ok(())
            }
            Err(failure) => Err(self.store_failed(step, failure)),
        }
    }

    /// From now on nobody waits for the store, until it answers again.
    fn store_failed(&self, step: &Step, failure: BudgetStoreFailure) -> BudgetStoreFailure {
        let was_away = self.ledger().failed(step);
        self.shared.went_away(&self.tenant, &failure, was_away);
        failure
    }

    /// The same of a store whose answer may still come.
    fn store_is_late(&self) {
        let was_away = std::mem::replace(&mut self.ledger().is_away, true);
        let late = BudgetStoreFailure::new(format!("no answer within {STORE_WAIT_MS_MAX} ms"));
        self.shared.went_away(&self.tenant, &late, was_away);
    }

    /// Tells the store what it missed. When that succeeds, it is asked again from now on.
    async fn catch_up(&self) -> Result<(), BudgetStoreFailure> {
        let steps = self.ledger().take_unwritten(self.shared.now_s());
        if steps.is_empty() {
            self.shared.store.read(&self.tenant, &[PROBE.to_owned()]).await?;
        }
        let mut outcome = Ok(());
        for step in steps {
            match &outcome {
                Ok(()) => outcome = self.write(&step).await,
                Err(_) => {
                    self.ledger().failed(&step);
                }
            }
        }
        outcome?;
        self.come_back().await
    }

    /// What came to be unwritten meanwhile is written before anybody else may ask.
    async fn come_back(&self) -> Result<(), BudgetStoreFailure> {
        let (steps, forgotten) = {
            let mut ledger = self.ledger();
            ledger.is_away = false;
            (ledger.take_unwritten(self.shared.now_s()), ledger.take_forgotten())
        };
        if forgotten > 0 {
            tracing::warn!(tenant = %self.tenant, users = forgotten, "budgets: the use of too many users to remember is not counted");
        }
        for step in steps {
            self.write(&step).await?;
        }
        Ok(())
    }

    fn is_away(&self) -> bool {
        self.ledger().is_away
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("tenant", &self.tenant)
            .field("plan", &self.plan.load())
            .finish_non_exhaustive()
    }
}

/// A counter that there never is, to see whether the store answers.
const PROBE: &str = "probe";

/// What is set aside for one call. Dropped, it is settled with what was noted.
#[derive(Debug, Default)]
#[must_use = "what is set aside is given back when this is dropped"]
pub struct Reservation {
    /// None where nothing limits the call.
    open: Option<(Arc<Budget>, Slots, Estimate)>,
    noted: Estimate,
}

impl Reservation {
    fn new(budget: Arc<Budget>, slots: Slots, held: Estimate) -> Self {
        Self { open: Some((budget, slots, held)), noted: Estimate::default() }
    }

    /// Adds to what the call has used so far, which counts if it is never settled: the prompt when it has been sent, then
    /// each piece of the answer. It touches nothing that is shared.
    pub fn note(&mut self, tokens: u64, cost_micros: u64) {
        self.noted = self.noted.plus(Estimate { tokens, cost_micros });
    }

    /// What was noted.
    #[must_use]
    pub fn noted(&self) -> Estimate {
        self.noted
    }

    /// The call is over and has used this, whatever was noted.
    pub fn settle(mut self, tokens: u64, cost_micros: u64) {
        self.close(Estimate { tokens, cost_micros });
    }

    /// The call was not made: nothing of it reached an upstream.
    pub fn cancel(mut self) {
        self.close(Estimate::default());
    }

    fn close(&mut self, used: Estimate) {
        if let Some((budget, slots, held)) = self.open.take() {
            budget.close(slots, held, used.bounded());
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.close(self.noted);
    }
}

/// Completes `work`, here if it need not wait, else in a task of its own, so that it is completed even if this future is
/// dropped. None if it takes too long.
async fn complete<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Option<T> {
    let mut work = Box::pin(work);
    let first = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
    if let Poll::Ready(done) = first {
        return Some(done);
    }
    let (tell, told) = oneshot::channel();
    tokio::spawn(async move {
        // Who has gone away does not need it: it is dropped, which gives back what it holds.
        let _unclaimed = tell.send(work.await);
    });
    timeout(Duration::from_millis(STORE_WAIT_MS_MAX), told).await.ok()?.ok()
}

/// Polls once without a task: embedded stores are done then.
fn poll_once(work: &mut Pin<Box<impl Future<Output = ()>>>) -> Poll<()> {
    work.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}
