//! Which counters there are, and which of them a call counts in.

use super::window::{Period, Window};
use crate::limits::Limits;
use ring::digest;

/// What a budget counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetUnit {
    /// Tokens of models.
    Tokens,
    /// Millionths of the operator's currency.
    Micros,
}

/// A budget by the name of its limit.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) limit: &'static str,
    /// What it is called in a sentence.
    pub(super) words: &'static str,
    pub(super) unit: BudgetUnit,
    pub(super) period: Period,
}

/// All budgets: first those of the tenant, then those of each user.
pub(super) const KINDS: [Kind; 11] = [
    kind("tokens_per_minute", "tokens per minute", BudgetUnit::Tokens, Period::Minute),
    kind("tokens_per_day", "tokens per day", BudgetUnit::Tokens, Period::Day),
    kind("tokens_per_month", "tokens per month", BudgetUnit::Tokens, Period::Month),
    kind("cost_per_minute", "cost per minute", BudgetUnit::Micros, Period::Minute),
    kind("cost_per_day", "cost per day", BudgetUnit::Micros, Period::Day),
    kind("cost_per_month", "cost per month", BudgetUnit::Micros, Period::Month),
    kind("user_tokens_per_minute", "tokens per minute", BudgetUnit::Tokens, Period::Minute),
    kind("user_tokens_per_day", "tokens per day", BudgetUnit::Tokens, Period::Day),
    kind("user_tokens_per_month", "tokens per month", BudgetUnit::Tokens, Period::Month),
    kind("user_cost_per_day", "cost per day", BudgetUnit::Micros, Period::Day),
    kind("user_cost_per_month", "cost per month", BudgetUnit::Micros, Period::Month),
];
/// How many of them are the tenant's.
pub(super) const TENANT_KINDS: usize = 6;
/// How many are each user's.
pub(super) const USER_KINDS: usize = KINDS.len() - TENANT_KINDS;

const fn kind(limit: &'static str, words: &'static str, unit: BudgetUnit, period: Period) -> Kind {
    Kind { limit, words, unit, period }
}

impl Kind {
    /// The key of its counter. The name of a user is not in it: ids of users can say who somebody is.
    pub(super) fn key(&self, window: Window, user: Option<UserKey>) -> String {
        let unit = match self.unit {
            BudgetUnit::Tokens => "tokens",
            BudgetUnit::Micros => "cost",
        };
        match user {
            None => format!("{unit}/{window}"),
            Some(user) => format!("user/{:032x}/{unit}/{window}", user.0),
        }
    }
}

/// The limits, made ready: one for each of [`KINDS`], in units of its counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) allowed: [Option<u64>; KINDS.len()],
}

impl Plan {
    pub(super) fn new(limits: &Limits) -> Self {
        let micros = |money: Option<super::Money>| money.map(super::Money::micros);
        Self {
            allowed: [
                limits.tokens_per_minute,
                limits.tokens_per_day,
                limits.tokens_per_month,
                micros(limits.cost_per_minute),
                micros(limits.cost_per_day),
                micros(limits.cost_per_month),
                limits.user_tokens_per_minute,
                limits.user_tokens_per_day,
                limits.user_tokens_per_month,
                micros(limits.user_cost_per_day),
                micros(limits.user_cost_per_month),
            ],
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.allowed.iter().all(Option::is_none)
    }

    fn has_users(&self) -> bool {
        self.allowed.iter().skip(TENANT_KINDS).any(Option::is_some)
    }
}

/// Stands for a user: half of the SHA-256 of the id, so that nobody finds two users who share a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct UserKey(u128);

impl UserKey {
    fn of(user: &str) -> Self {
        let hash = digest::digest(&digest::SHA256, user.as_bytes());
        Self(hash.as_ref().first_chunk().map_or(0, |half| u128::from_be_bytes(*half)))
    }
}

/// One counter, in its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// Its place in [`KINDS`].
    pub(super) kind: usize,
    pub(super) window: Window,
    /// The bound that was in force when the call began.
    pub(super) allowed: u64,
}

/// The counters that a call counts in: those of the windows in which it begins, whenever it ends.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    pub(super) user: Option<UserKey>,
    pub(super) slots: Vec<Slot>,
}

impl Slots {
    /// None if nothing limits the call.
    pub(super) fn of(plan: &Plan, user: Option<&str>, now_s: u64) -> Option<Self> {
        let user = user.filter(|_| plan.has_users()).map(UserKey::of);
        let kinds = if user.is_some() { KINDS.len() } else { TENANT_KINDS };
        let slot = |(kind, allowed): (usize, &Option<u64>)| {
            let window = Window::at(KINDS.get(kind)?.period, now_s);
            Some(Slot { kind, window, allowed: (*allowed)? })
        };
        let slots: Vec<Slot> = plan.allowed.iter().enumerate().take(kinds).filter_map(slot).collect();
        (!slots.is_empty()).then_some(Self { user, slots })
    }
}

impl Slot {
    pub(super) fn kind(&self) -> &'static Kind {
        KINDS.get(self.kind).unwrap_or(&KINDS[0])
    }

    pub(super) fn is_users(&self) -> bool {
        self.kind >= TENANT_KINDS
    }

    /// The key of its counter.
    pub(super) fn key(&self, user: Option<UserKey>) -> String {
        self.kind().key(self.window, user.filter(|_| self.is_users()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_budget_is_a_limit_of_its_name_and_no_two_share_a_counter() {
        let mut keys = std::collections::HashSet::new();
        for (at, kind) in KINDS.iter().enumerate() {
            let limits: Limits = serde_json::from_str(&format!("{{\"{}\": 7}}", kind.limit)).unwrap();
            let allowed = if kind.unit == BudgetUnit::Tokens { 7 } else { 7_000_000 };
            let plan = Plan::new(&limits);
            assert_eq!(plan.allowed.iter().position(|limit| *limit == Some(allowed)), Some(at), "{kind:?}");
            assert_eq!(plan.allowed.iter().flatten().count(), 1, "{kind:?}");
            assert_eq!(kind.limit.starts_with("user_"), at >= TENANT_KINDS, "{kind:?}");
            let slots = Slots::of(&plan, Some("ann"), 0).unwrap();
            assert!(keys.insert(slots.slots[0].key(slots.user)), "{kind:?}");
            assert_eq!(Slots::of(&plan, None, 0).is_none(), at >= TENANT_KINDS, "{kind:?}");
        }
        assert!(Plan::new(&Limits::default()).is_empty());
    }

    #[test]
    fn a_key_names_its_window_and_no_user() {
        let check = |user: Option<&str>, kind: usize, expected: &str| {
            let slot = Slot { kind, window: Window::at(KINDS[kind].period, 1_798_761_599), allowed: 1 };
            assert_eq!(slot.key(user.map(UserKey::of)), expected);
        };
        check(None, 0, "tokens/minute/2026-12-31T23:59");
        check(Some("ann@example.com"), 5, "cost/month/2026-12");
        // The first half of `printf ann@example.com | sha256sum`.
        check(Some("ann@example.com"), 9, "user/71d4f55f72fa128dfb468a1a3901507c/cost/day/2026-12-31");
    }
}
