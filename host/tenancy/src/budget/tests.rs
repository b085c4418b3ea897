//! What budgets promise, over a store in memory that fails and hangs when it is told to.

mod away;
mod model;

use super::*;
use crate::Limits;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Notify;

/// 2026-05-01T12:34:10Z, a Friday.
const START_S: u64 = 1_777_638_850;

/// A store in memory.
#[derive(Default)]
pub(super) struct MemoryStore {
    counters: Mutex<BTreeMap<String, u64>>,
    pub(super) is_away: AtomicBool,
    /// Answers come when this is set back.
    pub(super) hangs: AtomicBool,
    pub(super) answers: Notify,
    pub(super) steps: AtomicU64,
}

impl MemoryStore {
    pub(super) fn get(&self, key: &str) -> u64 {
        self.counters.lock().unwrap().get(key).copied().unwrap_or_default()
    }

    pub(super) fn counters(&self) -> BTreeMap<String, u64> {
        self.counters.lock().unwrap().clone()
    }

    async fn wait(&self) -> Result<(), BudgetStoreFailure> {
        loop {
            let answers = self.answers.notified();
            if !self.hangs.load(Ordering::SeqCst) {
                break;
            }
            answers.await;
        }
        let is_away = self.is_away.load(Ordering::SeqCst);
        if is_away { Err(BudgetStoreFailure::new("it is away")) } else { Ok(()) }
    }
}

#[async_trait::async_trait]
impl BudgetStore for MemoryStore {
    async fn count(
        &self,
        tenant: &TenantId,
        changes: &[CounterChange],
    ) -> Result<Counted, BudgetStoreFailure> {
        self.wait().await?;
        self.steps.fetch_add(1, Ordering::SeqCst);
        let mut counters = self.counters.lock().unwrap();
        let key = |change: &CounterChange| format!("{tenant}/{}", change.key);
        let corrected = |change: &CounterChange| {
            let before = counters.get(&key(change)).copied().unwrap_or_default();
            before.saturating_add_signed(change.correction)
        };
        let mut totals: Vec<u64> = changes.iter().map(corrected).collect();
        let is_charged =
            totals.iter().zip(changes).all(|(total, change)| change.below.is_none_or(|below| *total < below));
        for (total, change) in totals.iter_mut().zip(changes) {
            *total += if is_charged { change.charge } else { 0 };
            counters.insert(key(change), *total);
        }
        Ok(Counted { is_charged, totals })
    }

    async fn read(&self, tenant: &TenantId, keys: &[String]) -> Result<Vec<u64>, BudgetStoreFailure> {
        self.wait().await?;
        Ok(keys.iter().map(|key| self.get(&format!("{tenant}/{key}"))).collect())
    }
}

/// A host's budgets, over a store and a clock that the test holds.
pub(super) struct World {
    pub(super) store: Arc<MemoryStore>,
    now_s: Arc<AtomicU64>,
    pub(super) budgets: Budgets,
}

impl World {
    pub(super) fn new() -> Self {
        Self::on(Arc::default(), Arc::new(AtomicU64::new(START_S)))
    }

    /// Another host.
    pub(super) fn on(store: Arc<MemoryStore>, now_s: Arc<AtomicU64>) -> Self {
        let clock = Arc::clone(&now_s);
        let clock: BudgetClock = Arc::new(move || clock.load(Ordering::SeqCst));
        let budgets = Budgets::with_clock(Arc::clone(&store) as _, clock);
        Self { store, now_s, budgets }
    }

    pub(super) fn second(&self) -> Self {
        Self::on(Arc::clone(&self.store), Arc::clone(&self.now_s))
    }

    pub(super) fn budget(&self, limits: &str) -> Arc<Budget> {
        self.budgets.of(&TenantId::new("acme").unwrap(), &limits_of(limits)).unwrap()
    }

    pub(super) fn pass(&self, seconds: u64) {
        self.now_s.fetch_add(seconds, Ordering::SeqCst);
    }
}

pub(super) fn limits_of(json: &str) -> Limits {
    serde_json::from_str(json).unwrap()
}

pub(super) fn tokens(tokens: u64) -> Estimate {
    Estimate { tokens, cost_micros: 0 }
}

/// Used and reserved, of the first budget.
pub(super) async fn used(budget: &Arc<Budget>, user: Option<&str>) -> (u64, u64) {
    let state = budget.state(user).await;
    (state[0].used, state[0].reserved)
}

#[tokio::test]
async fn a_call_is_admitted_while_something_is_left_and_no_longer() {
    let world = World::new();
    let budget = world.budget(r#"{"tokens_per_day": 100}"#);
    budget.reserve(None, tokens(60)).await.unwrap().settle(60, 0);
    let last = budget.reserve(None, tokens(60)).await.unwrap();
    assert_eq!(used(&budget, None).await, (60, 60));
    let over = budget.reserve(None, tokens(1)).await.unwrap_err();
    assert_eq!((over.limit, over.reset_seconds, over.is_under_way), ("tokens_per_day", 1, true));
    last.settle(39, 0);
    assert_eq!(used(&budget, None).await, (99, 0));
    budget.reserve(None, tokens(60)).await.unwrap().settle(60, 0);
    let over = budget.reserve(None, tokens(0)).await.unwrap_err();
    assert_eq!((over.limit, over.is_under_way, over.user), ("tokens_per_day", false, false));
    assert_eq!(over.reset_seconds, 86_400 - (12 * 3_600 + 34 * 60 + 10));
    assert_eq!(used(&budget, None).await, (159, 0), "over by less than one call");
}

#[tokio::test]
async fn what_counts_is_what_was_settled_else_what_was_noted() {
    let world = World::new();
    let budget = world.budget(r#"{"tokens_per_minute": 1000, "cost_per_minute": "1"}"#);
    let estimate = Estimate { tokens: 100, cost_micros: 50 };
    let check = async |end: fn(Reservation), expected: (u64, u64)| {
        let before = budget.state(None).await;
        let mut reservation = budget.reserve(None, estimate).await.unwrap();
        reservation.note(10, 4);
        reservation.note(2, 1);
        assert_eq!(reservation.noted(), Estimate { tokens: 12, cost_micros: 5 });
        assert_eq!(budget.state(None).await[0].reserved, 100);
        end(reservation);
        let after = budget.state(None).await;
        let grown = |at: usize| after[at].used - before[at].used;
        assert_eq!((grown(0), grown(1)), expected);
        assert_eq!((after[0].reserved, after[1].reserved), (0, 0));
    };
    check(|reservation| reservation.settle(77, 7), (77, 7)).await;
    check(|reservation| reservation.settle(0, 0), (0, 0)).await;
    check(|reservation| reservation.settle(150, 60), (150, 60)).await;
    check(drop, (12, 5)).await;
    check(Reservation::cancel, (0, 0)).await;
    budget.spend(None, 5, 1);
    assert_eq!(used(&budget, None).await, (77 + 150 + 12 + 5, 0));
}

#[tokio::test]
async fn a_window_begins_with_the_calendars_and_a_call_counts_where_it_began() {
    let world = World::new();
    let limits = r#"{"tokens_per_minute": 10, "tokens_per_day": 20, "cost_per_month": "0.00003"}"#;
    let budget = world.budget(limits);
    let call = Estimate { tokens: 10, cost_micros: 10 };
    let used = async || {
        let states = budget.state(None).await;
        states.iter().map(|state| state.used + state.reserved).collect::<Vec<_>>()
    };
    let check = async |expected: Result<[u64; 3], (&str, u64)>| match budget.reserve(None, call).await {
        Ok(reservation) => {
            reservation.settle(10, 10);
            assert_eq!(used().await, expected.unwrap());
        }
        Err(over) => assert_eq!((over.limit, over.reset_seconds), expected.unwrap_err()),
    };
    check(Ok([10, 10, 10])).await;
    check(Err(("tokens_per_minute", 50))).await;
    world.pass(49);
    check(Err(("tokens_per_minute", 1))).await;
    world.pass(1);
    let over_midnight = budget.reserve(None, call).await.unwrap();
    assert_eq!(used().await, [10, 20, 20]);
    world.pass(11 * 3_600 + 25 * 60);
    assert_eq!(used().await, [0, 0, 20], "2026-05-02T00:00:00Z");
    over_midnight.settle(3, 4);
    assert_eq!(used().await, [0, 0, 14]);
    check(Ok([10, 10, 24])).await;
    world.pass(60);
    check(Ok([10, 20, 34])).await;
    world.pass(60);
    check(Err(("cost_per_month", 30 * 86_400 - 120))).await;
    world.pass(30 * 86_400);
    check(Ok([10, 10, 10])).await;
    assert_eq!(world.store.get("acme/tokens/minute/2026-05-01T12:34"), 10);
    assert_eq!(world.store.get("acme/tokens/day/2026-05-01"), 10 + 3, "the day in which it began");
    assert_eq!(world.store.get("acme/cost/month/2026-05"), 34);
}

#[tokio::test]
async fn each_user_has_budgets_of_its_own() {
    let world = World::new();
    let budget = world.budget(r#"{"tokens_per_day": 100, "user_tokens_per_day": 10}"#);
    budget.reserve(Some("ann"), tokens(10)).await.unwrap().settle(10, 0);
    let over = budget.reserve(Some("ann"), tokens(1)).await.unwrap_err();
    assert_eq!((over.limit, over.user), ("user_tokens_per_day", true));
    budget.reserve(Some("bob"), tokens(10)).await.unwrap().settle(10, 0);
    budget.reserve(None, tokens(70)).await.unwrap().settle(80, 0);
    assert_eq!(budget.reserve(Some("eve"), tokens(1)).await.unwrap_err().limit, "tokens_per_day");
    let states = budget.state(Some("ann")).await;
    let shown: Vec<_> =
        states.iter().map(|state| (state.limit, state.user, state.allowed, state.used)).collect();
    assert_eq!(shown, [("tokens_per_day", false, 100, 100), ("user_tokens_per_day", true, 10, 10)]);
    assert_eq!(budget.state(None).await.len(), 1);
    assert!(budget.ledger().is_clean(), "a user without calls is not kept in memory");
    let keys = world.store.counters();
    assert!(!keys.keys().any(|key| key.contains("ann") || key.contains("bob")), "{keys:?}");
}

#[tokio::test]
async fn of_several_budgets_that_are_used_up_the_one_that_lasts_longest_is_named() {
    let world = World::new();
    let limits = r#"{"tokens_per_minute": 5, "user_tokens_per_month": 5, "tokens_per_day": 5}"#;
    let budget = world.budget(limits);
    budget.reserve(Some("ann"), tokens(5)).await.unwrap().settle(5, 0);
    let named = async |user| budget.reserve(user, tokens(5)).await.unwrap_err().limit;
    assert_eq!(named(Some("ann")).await, "user_tokens_per_month");
    assert_eq!(named(Some("bob")).await, "tokens_per_day");
    assert_eq!(named(None).await, "tokens_per_day");
}

#[test]
fn the_text_says_whose_budget_it_is_and_how_long_to_wait() {
    let check = |over: OverBudget, expected: &str| assert_eq!(over.to_string(), expected);
    let over = OverBudget { limit: "tokens_per_day", reset_seconds: 60, user: false, is_under_way: false };
    check(over, "The budget of tokens per day (tokens_per_day) is used up; try again in 60 seconds.");
    check(
        OverBudget { limit: "user_cost_per_month", reset_seconds: 1, user: true, is_under_way: true },
        "This user's budget of cost per month (user_cost_per_month) is set aside for calls under way; try again in 1 \
         second.",
    );
}

#[tokio::test]
async fn a_tenant_without_budgets_costs_nothing_and_limits_change_in_place() {
    let world = World::new();
    let tenant = TenantId::new("acme").unwrap();
    let of = |limits: &str| world.budgets.of(&tenant, &limits_of(limits));
    assert!(of(r#"{"requests_per_second": 1}"#).is_none());
    let budget = of(r#"{"tokens_per_day": 10}"#).unwrap();
    let open = budget.reserve(None, tokens(10)).await.unwrap();
    let same = of(r#"{"tokens_per_day": 15}"#).unwrap();
    assert!(Arc::ptr_eq(&budget, &same));
    assert_eq!(used(&budget, None).await, (0, 10));
    budget.reserve(None, tokens(5)).await.unwrap().settle(5, 0);
    assert!(of("{}").is_none());
    let unlimited = budget.reserve(None, tokens(1_000)).await.unwrap();
    assert!(budget.state(None).await.is_empty());
    drop(unlimited);
    open.settle(9, 0);
    let budget = of(r#"{"tokens_per_day": 15}"#).unwrap();
    assert_eq!(used(&budget, None).await, (14, 0), "what was counted before still counts");
    world.budgets.forget(&tenant);
    let budget = of(r#"{"tokens_per_day": 15}"#).unwrap();
    assert_eq!(used(&budget, None).await, (14, 0), "the store knows it");
}

#[tokio::test]
async fn counters_survive_the_host_and_calls_under_way_count_as_estimated() {
    let world = World::new();
    let limits = r#"{"tokens_per_day": 100, "user_tokens_per_month": 50}"#;
    let budget = world.budget(limits);
    budget.reserve(Some("ann"), tokens(10)).await.unwrap().settle(7, 0);
    let killed = budget.reserve(Some("ann"), tokens(30)).await.unwrap();
    std::mem::forget(killed);
    let again = world.second().budget(limits);
    let states = again.state(Some("ann")).await;
    assert_eq!(states.iter().map(|state| state.used).collect::<Vec<_>>(), [37, 37]);
}

#[tokio::test]
async fn a_huge_amount_counts_and_overflows_nothing() {
    let world = World::new();
    let budget = world.budget(r#"{"tokens_per_month": 1000000000000}"#);
    let huge = Estimate { tokens: u64::MAX, cost_micros: u64::MAX };
    let mut reservation = budget.reserve(None, huge).await.unwrap();
    reservation.note(u64::MAX, u64::MAX);
    reservation.note(u64::MAX, u64::MAX);
    drop(reservation);
    budget.spend(None, u64::MAX, u64::MAX);
    assert_eq!(budget.reserve(None, tokens(1)).await.unwrap_err().limit, "tokens_per_month");
    assert_eq!(used(&budget, None).await, (2 * AMOUNT_MAX, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_at_once_on_two_hosts_overshoot_by_one_at_most() {
    const LIMIT: u64 = 2_000;
    const MOST: u64 = 37;
    let world = World::new();
    let other = world.second();
    let limits = r#"{"tokens_per_day": 2000, "user_tokens_per_day": 2000}"#;
    let hosts = [world.budget(limits), other.budget(limits)];
    let tasks: Vec<_> = (0..16_u64)
        .map(|task| {
            let budget = Arc::clone(&hosts[task as usize % 2]);
            tokio::spawn(async move {
                let mut sum = 0;
                for call in 0..400 {
                    let estimate = 1 + (task * 7 + call * 13) % MOST;
                    let Ok(mut reservation) = budget.reserve(Some("ann"), tokens(estimate)).await else {
                        continue;
                    };
                    tokio::task::yield_now().await;
                    match call % 4 {
                        0 => reservation.cancel(),
                        1 => {
                            reservation.note(estimate / 2, 0);
                            sum += estimate / 2;
                        }
                        _ => {
                            reservation.settle(estimate, 0);
                            sum += estimate;
                        }
                    }
                }
                sum
            })
        })
        .collect();
    let mut sum = 0;
    for task in tasks {
        sum += task.await.unwrap();
    }
    // The last ones may have given back what others were refused for.
    while let Ok(reservation) = hosts[0].reserve(Some("ann"), tokens(MOST)).await {
        reservation.settle(MOST, 0);
        sum += MOST;
    }
    assert!((LIMIT..LIMIT + MOST).contains(&sum), "{sum}");
    for budget in &hosts {
        let states = budget.state(Some("ann")).await;
        assert!(states.iter().all(|state| (state.used, state.reserved) == (sum, 0)), "{sum} {states:?}");
        assert!(budget.ledger().is_clean());
    }
}
