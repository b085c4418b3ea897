//! What this host knows of a tenant's counters: what they are, what calls under way hold of them, and what the store has
//! yet to learn. No I/O: each change answers the step that the store has to make.
//!
//! A counter of the store holds what is used and what is held. So a host that ends without a word leaves the calls it had
//! under way counted as they were estimated, and hosts that share a store see each other's calls before they are over.

use super::kind::{BudgetUnit, Slot, Slots, TENANT_KINDS, USER_KINDS, UserKey};
use super::store::{Counted, CounterChange};
use super::window::Window;
use super::{Estimate, OverBudget};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Users, over all tenants, of whom this host remembers what the store has yet to learn. Some 100 MiB.
const UNWRITTEN_USERS_MAX: usize = 200_000;
/// Counters live this much longer than their window, seconds: for hosts whose clocks are behind.
const AFTER_WINDOW_S: u64 = 60;
/// When calls under way hold what is left, nobody knows when they end; this is what a client is told, seconds.
const UNDER_WAY_RETRY_S: u64 = 1;

/// One counter as this host knows it.
#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    /// None before it was first used.
    window: Option<Window>,
    /// What the store last said, and what this host has done since.
    total: u64,
    /// What calls of this host hold of it.
    reserved: u64,
    /// What the store has yet to learn; part of `total`.
    unwritten: i64,
}

impl Counter {
    /// The counter in this window. What belongs to another one is over.
    fn turn(&mut self, window: Window) {
        if self.window != Some(window) {
            *self = Self { window: Some(window), ..Self::default() };
        }
    }
}

/// A user's counters. They are in memory while calls are under way or something is unwritten.
#[derive(Debug, Default)]
struct User {
    counters: [Counter; USER_KINDS],
    /// Calls and steps under way.
    busy: u32,
    /// Whether it counts among the unwritten ones.
    is_unwritten: bool,
}

/// A step on its way to the store, and where its corrections came from.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) slots: Slots,
    pub(super) changes: Vec<CounterChange>,
}

/// What this host knows of one tenant.
#[derive(Debug)]
pub(super) struct Ledger {
    counters: [Counter; TENANT_KINDS],
    users: HashMap<UserKey, User>,
    /// Whether the store is taken to be away: nobody waits for it then.
    pub(super) is_away: bool,
    /// Unwritten users of all tenants.
    unwritten_users: Arc<AtomicUsize>,
    /// Users whose use was forgotten because there were too many.
    forgotten: u64,
}

impl Ledger {
    pub(super) fn new(unwritten_users: Arc<AtomicUsize>) -> Self {
        Self {
            counters: Default::default(),
            users: HashMap::new(),
            is_away: false,
            unwritten_users,
            forgotten: 0,
        }
    }

    /// Begins to ask for `estimate`: what the store has to do.
    pub(super) fn ask(&mut self, slots: &Slots, estimate: Estimate) -> Step {
        self.join(slots.user);
        let changes = slots.slots.iter().map(|slot| {
            let correction = self.at(slots.user, slot).map_or(0, |counter| {
                counter.turn(slot.window);
                std::mem::take(&mut counter.unwritten)
            });
            let charge = estimate.of(slot.kind().unit);
            CounterChange { below: Some(slot.allowed), ..change(slots.user, slot, correction, charge) }
        });
        let changes = changes.collect();
        Step { slots: slots.clone(), changes }
    }

    /// What the store has answered. If it has charged the estimate, the call holds it from now on.
    pub(super) fn answered(&mut self, step: &Step, counted: &Counted, now_s: u64) -> Result<(), OverBudget> {
        let user = step.slots.user;
        let mut over: Option<OverBudget> = None;
        for ((slot, change), total) in step.slots.slots.iter().zip(&step.changes).zip(&counted.totals) {
            let mut reserved = 0;
            if let Some(counter) = self.current(user, slot) {
                counter.total = total.saturating_add_signed(counter.unwritten);
                if counted.is_charged {
                    counter.reserved = counter.reserved.saturating_add(change.charge);
                }
                reserved = counter.reserved;
            }
            if !counted.is_charged && *total >= slot.allowed {
                over = later(over, refusal(slot, *total, reserved, now_s));
            }
        }
        if counted.is_charged {
            return Ok(());
        }
        self.leave(user);
        // A store that charges nothing has a reason; without one the call is refused for the first limit there is.
        let unexplained = || step.slots.slots.first().map(|slot| refusal(slot, 0, 0, now_s));
        over.or_else(unexplained).map_or(Ok(()), Err)
    }

    /// Decides without the store, by what this host knows.
    pub(super) fn decide_alone(
        &mut self,
        slots: &Slots,
        estimate: Estimate,
        now_s: u64,
    ) -> Result<(), OverBudget> {
        self.join(slots.user);
        let mut over: Option<OverBudget> = None;
        for slot in &slots.slots {
            let Some(counter) = self.at(slots.user, slot) else { continue };
            counter.turn(slot.window);
            if counter.total >= slot.allowed {
                over = later(over, refusal(slot, counter.total, counter.reserved, now_s));
            }
        }
        if let Some(over) = over {
            self.leave(slots.user);
            return Err(over);
        }
        for slot in &slots.slots {
            let held = estimate.of(slot.kind().unit);
            if let Some(counter) = self.current(slots.user, slot) {
                counter.add(signed(held));
                counter.reserved = counter.reserved.saturating_add(held);
            }
        }
        Ok(())
    }

    /// A call that held `held` has ended and used `used`. Answers what the store has to be told, if it is to be told now.
    pub(super) fn settle(
        &mut self,
        slots: Slots,
        held: Estimate,
        used: Estimate,
        now_s: u64,
    ) -> Option<Step> {
        let is_away = self.is_away;
        let mut step = Step { changes: Vec::new(), slots: Slots { user: slots.user, slots: Vec::new() } };
        for slot in slots.slots {
            let unit = slot.kind().unit;
            let (held, used) = (held.of(unit), used.of(unit));
            let mut correction = signed(used) - signed(held);
            if let Some(counter) = self.current(slots.user, &slot) {
                counter.reserved = counter.reserved.saturating_sub(held);
                counter.add(correction);
                correction = if is_away { 0 } else { std::mem::take(&mut counter.unwritten) };
            }
            if correction != 0 && !is_away && now_s < slot.window.end_s() + AFTER_WINDOW_S {
                step.changes.push(change(slots.user, &slot, correction, 0));
                step.slots.slots.push(slot);
            }
        }
        if step.changes.is_empty() {
            self.leave(slots.user);
            return None;
        }
        Some(step)
    }

    /// Begins a call that holds nothing, so that it can be settled.
    pub(super) fn begin(&mut self, slots: &Slots) {
        self.join(slots.user);
        for slot in &slots.slots {
            if let Some(counter) = self.at(slots.user, slot) {
                counter.turn(slot.window);
            }
        }
    }

    /// One call or step more is under way.
    fn join(&mut self, user: Option<UserKey>) {
        if let Some(user) = user {
            self.users.entry(user).or_default().busy += 1;
        }
    }

    /// The store has made the step.
    pub(super) fn written(&mut self, step: &Step) {
        self.leave(step.slots.user);
    }

    /// The store has failed: it has yet to learn what the step was to tell it. From now on nobody waits for it. Whether
    /// that was so before.
    pub(super) fn failed(&mut self, step: &Step) -> bool {
        let was_away = std::mem::replace(&mut self.is_away, true);
        for (slot, change) in step.slots.slots.iter().zip(&step.changes) {
            if let Some(counter) = self.current(step.slots.user, slot) {
                counter.unwritten = counter.unwritten.saturating_add(change.correction);
            }
        }
        self.leave(step.slots.user);
        was_away
    }

    /// Takes what the store has yet to learn, as steps; of windows that are over nothing is told any more.
    pub(super) fn take_unwritten(&mut self, now_s: u64) -> Vec<Step> {
        let mut steps: Vec<Step> = take_of(None, 0, &mut self.counters, now_s).into_iter().collect();
        let unwritten: Vec<UserKey> =
            self.users.iter().filter(|(_, user)| user.is_unwritten).map(|(key, _)| *key).collect();
        for key in unwritten {
            self.join(Some(key));
            let user = self.users.get_mut(&key);
            match user.and_then(|user| take_of(Some(key), TENANT_KINDS, &mut user.counters, now_s)) {
                Some(step) => steps.push(step),
                None => self.leave(Some(key)),
            }
        }
        steps
    }

    /// Whether the store knows everything.
    pub(super) fn is_clean(&self) -> bool {
        self.users.is_empty()
            && self.counters.iter().all(|counter| counter.unwritten == 0 && counter.reserved == 0)
    }

    /// What a counter is by what this host knows: its total, and how much of that calls of this host hold.
    pub(super) fn known(&mut self, user: Option<UserKey>, slot: &Slot) -> Known {
        let counter = self.current(user, slot).copied().unwrap_or_default();
        Known { total: counter.total, reserved: counter.reserved, unwritten: counter.unwritten }
    }

    /// Users whose use was forgotten since this was last asked, because too many were unwritten.
    pub(super) fn take_forgotten(&mut self) -> u64 {
        std::mem::take(&mut self.forgotten)
    }

    /// A call or step is over. A user without any is forgotten, unless the store has yet to learn of it.
    fn leave(&mut self, user: Option<UserKey>) {
        let Some(key) = user else { return };
        let Some(user) = self.users.get_mut(&key) else { return };
        user.busy = user.busy.saturating_sub(1);
        if user.busy > 0 {
            return;
        }
        let is_unwritten = user.counters.iter().any(|counter| counter.unwritten != 0);
        if is_unwritten && !user.is_unwritten {
            let before = self.unwritten_users.fetch_add(1, Ordering::Relaxed);
            user.is_unwritten = true;
            if before < UNWRITTEN_USERS_MAX {
                return;
            }
            self.forgotten += 1;
        } else if is_unwritten {
            return;
        }
        if let Some(user) = self.users.remove(&key)
            && user.is_unwritten
        {
            self.unwritten_users.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A counter, whatever window it is in.
    fn at(&mut self, user: Option<UserKey>, slot: &Slot) -> Option<&mut Counter> {
        match slot.kind.checked_sub(TENANT_KINDS) {
            None => self.counters.get_mut(slot.kind),
            Some(at) => self.users.get_mut(&user?)?.counters.get_mut(at),
        }
    }

    /// A counter, if it is still in the window of `slot`.
    fn current(&mut self, user: Option<UserKey>, slot: &Slot) -> Option<&mut Counter> {
        self.at(user, slot).filter(|counter| counter.window == Some(slot.window))
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let unwritten = self.users.values().filter(|user| user.is_unwritten).count();
        self.unwritten_users.fetch_sub(unwritten, Ordering::Relaxed);
    }
}

impl Counter {
    fn add(&mut self, delta: i64) {
        self.total = self.total.saturating_add_signed(delta);
        self.unwritten = self.unwritten.saturating_add(delta);
    }
}

/// What this host knows of a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) total: u64,
    pub(super) reserved: u64,
    pub(super) unwritten: i64,
}

/// What the store has yet to learn of some counters, the first of which is of `first_kind`.
fn take_of(user: Option<UserKey>, first_kind: usize, counters: &mut [Counter], now_s: u64) -> Option<Step> {
    let mut step = Step { changes: Vec::new(), slots: Slots { user, slots: Vec::new() } };
    for (at, counter) in counters.iter_mut().enumerate() {
        let correction = std::mem::take(&mut counter.unwritten);
        let Some(window) = counter.window.filter(|window| now_s < window.end_s() + AFTER_WINDOW_S) else {
            continue;
        };
        if correction != 0 {
            let slot = Slot { kind: first_kind + at, window, allowed: 0 };
            step.changes.push(change(user, &slot, correction, 0));
            step.slots.slots.push(slot);
        }
    }
    (!step.changes.is_empty()).then_some(step)
}

fn change(user: Option<UserKey>, slot: &Slot, correction: i64, charge: u64) -> CounterChange {
    let expires_ms = (slot.window.end_s() + AFTER_WINDOW_S) * 1_000;
    CounterChange { key: slot.key(user), correction, charge, below: None, expires_ms }
}

fn refusal(slot: &Slot, total: u64, reserved: u64, now_s: u64) -> OverBudget {
    let is_under_way = total.saturating_sub(reserved) < slot.allowed;
    let reset_seconds = if is_under_way { UNDER_WAY_RETRY_S } else { slot.window.remaining_s(now_s) };
    OverBudget { limit: slot.kind().limit, reset_seconds, user: slot.is_users(), is_under_way }
}

/// The one of two that lasts longer: a client that waited for the other would be refused again.
fn later(one: Option<OverBudget>, other: OverBudget) -> Option<OverBudget> {
    Some(one.filter(|one| one.reset_seconds >= other.reset_seconds).unwrap_or(other))
}

/// Amounts are bounded far below the end of `i64`, see [`Estimate::bounded`].
fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

impl Estimate {
    /// What it comes to in this unit.
    pub(super) fn of(self, unit: BudgetUnit) -> u64 {
        match unit {
            BudgetUnit::Tokens => self.tokens,
            BudgetUnit::Micros => self.cost_micros,
        }
    }
}
