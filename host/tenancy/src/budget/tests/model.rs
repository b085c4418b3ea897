//! Budgets against a model: whatever calls do and whenever the store is away, what counts is what was used.

use super::*;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestRunner};
use std::time::Duration;

#[derive(Clone, Debug)]
enum Action {
    Reserve { user: Option<u8>, tokens: u64 },
    Note { call: usize, tokens: u64 },
    Settle { call: usize, tokens: u64 },
    Drop { call: usize },
    Cancel { call: usize },
    Spend { user: Option<u8>, tokens: u64 },
    Pass { seconds: u64 },
    Away(bool),
}

fn actions(store_fails: bool) -> impl Strategy<Value = Vec<Action>> {
    let user = || proptest::option::of(0_u8..3);
    let call = || any::<usize>();
    let one = prop_oneof![
        6 => (user(), 0_u64..50).prop_map(|(user, tokens)| Action::Reserve { user, tokens }),
        2 => (call(), 0_u64..40).prop_map(|(call, tokens)| Action::Note { call, tokens }),
        4 => (call(), 0_u64..80).prop_map(|(call, tokens)| Action::Settle { call, tokens }),
        1 => call().prop_map(|call| Action::Drop { call }),
        1 => call().prop_map(|call| Action::Cancel { call }),
        1 => (user(), 0_u64..20).prop_map(|(user, tokens)| Action::Spend { user, tokens }),
        2 => prop_oneof![0_u64..70, Just(80_000_u64), Just(2_500_000)].prop_map(|seconds| Action::Pass { seconds }),
        2 => any::<bool>().prop_map(move |is_away| Action::Away(is_away && store_fails)),
    ];
    vec(one, 0..120)
}

/// A call under way, in the model.
struct Call {
    counters: Vec<String>,
    held: u64,
    noted: u64,
}

/// What is used and held of each counter, by its key.
#[derive(Default)]
struct Model {
    used: BTreeMap<String, u64>,
    calls: Vec<(Call, Reservation)>,
}

/// The limits, with their keys: written out once more, by hand.
const ALLOWED: [(&str, u64); 5] = [
    ("tokens_per_minute", 100),
    ("tokens_per_day", 250),
    ("tokens_per_month", 700),
    ("user_tokens_per_minute", 60),
    ("user_tokens_per_day", 120),
];

impl Model {
    fn total(&self, key: &str) -> u64 {
        let held = self.calls.iter().filter(|(call, _)| call.counters.iter().any(|counter| counter == key));
        self.used.get(key).copied().unwrap_or_default() + held.map(|(call, _)| call.held).sum::<u64>()
    }

    fn end(&mut self, call: &Call, used: u64) {
        for key in &call.counters {
            *self.used.entry(key.clone()).or_default() += used;
        }
    }
}

/// The keys that a call counts in now, each with its limit.
async fn counters(budget: &Arc<Budget>, user: Option<&str>, now_s: u64) -> Vec<(String, u64)> {
    let plan = **budget.plan.load();
    let slots = Slots::of(&plan, user, now_s).unwrap();
    let names = slots.slots.iter().map(|slot| slot.kind().limit);
    let allowed = |name: &str| ALLOWED.iter().find(|(limit, _)| *limit == name).unwrap().1;
    let keys = slots.slots.iter().map(|slot| format!("acme/{}", slot.key(slots.user)));
    keys.zip(names.map(allowed)).collect()
}

async fn run(actions: Vec<Action>, limits: &str, always_check: bool) {
    let world = World::new();
    let budget = world.budget(limits);
    let mut model = Model::default();
    let name = |user: Option<u8>| user.map(|user| format!("user {user}"));
    for action in actions {
        let now_s = world.now_s.load(Ordering::SeqCst);
        match action {
            Action::Reserve { user, tokens: estimate } => {
                let user = name(user);
                let counters = counters(&budget, user.as_deref(), now_s).await;
                let expected = counters.iter().all(|(key, allowed)| model.total(key) < *allowed);
                let outcome = budget.reserve(user.as_deref(), tokens(estimate)).await;
                assert_eq!(outcome.is_ok(), expected, "{outcome:?} {:?}", model.used);
                if let Ok(reservation) = outcome {
                    let counters = counters.into_iter().map(|(key, _)| key).collect();
                    model.calls.push((Call { counters, held: estimate, noted: 0 }, reservation));
                }
            }
            Action::Note { call, tokens } => {
                let among = model.calls.len().max(1);
                if let Some((call, reservation)) = model.calls.get_mut(call % among) {
                    call.noted += tokens;
                    reservation.note(tokens, 1);
                }
            }
            Action::Settle { call, tokens } => {
                if let Some((call, reservation)) = take(&mut model.calls, call) {
                    model.end(&call, tokens);
                    reservation.settle(tokens, 1);
                }
            }
            Action::Drop { call } => {
                if let Some((call, reservation)) = take(&mut model.calls, call) {
                    model.end(&call, call.noted);
                    drop(reservation);
                }
            }
            Action::Cancel { call } => {
                if let Some((_call, reservation)) = take(&mut model.calls, call) {
                    reservation.cancel();
                }
            }
            Action::Spend { user, tokens } => {
                let user = name(user);
                for (key, _) in counters(&budget, user.as_deref(), now_s).await {
                    *model.used.entry(key).or_default() += tokens;
                }
                budget.spend(user.as_deref(), tokens, 0);
            }
            Action::Pass { seconds } => world.pass(seconds),
            Action::Away(is_away) => {
                world.store.is_away.store(is_away, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
        }
        if always_check {
            check(&world, &budget, &model).await;
        }
    }
    world.store.is_away.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(2)).await;
    check(&world, &budget, &model).await;
    for (call, reservation) in std::mem::take(&mut model.calls) {
        model.end(&call, call.noted);
        drop(reservation);
    }
    check(&world, &budget, &model).await;
    assert!(budget.ledger().is_clean());
    assert_eq!(budget.shared.unwritten_users.load(Ordering::SeqCst), 0);
}

fn take(calls: &mut Vec<(Call, Reservation)>, at: usize) -> Option<(Call, Reservation)> {
    let among = calls.len().max(1);
    (!calls.is_empty()).then(|| calls.swap_remove(at % among))
}

/// Store, report and model say the same of every counter of this moment.
async fn check(world: &World, budget: &Arc<Budget>, model: &Model) {
    let now_s = world.now_s.load(Ordering::SeqCst);
    for user in ["user 0", "user 1", "user 2"] {
        let states = budget.state(Some(user)).await;
        for ((key, allowed), state) in counters(budget, Some(user), now_s).await.into_iter().zip(states) {
            let used = model.used.get(&key).copied().unwrap_or_default();
            assert_eq!(world.store.get(&key), model.total(&key), "{key}");
            assert_eq!((state.used, state.used + state.reserved), (used, model.total(&key)), "{key}");
            assert_eq!(state.allowed, allowed, "{key}");
        }
    }
}

fn check_all(store_fails: bool, limits: &'static str) {
    let config = Config { cases: 256, failure_persistence: None, ..Config::default() };
    let tested = TestRunner::new(config).run(&actions(store_fails), |actions| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.unwrap().block_on(run(actions, limits, !store_fails));
        Ok(())
    });
    tested.unwrap();
}

#[test]
fn whatever_calls_do_what_is_admitted_and_counted_is_what_the_model_says() {
    check_all(
        false,
        r#"{"tokens_per_minute": 100, "tokens_per_day": 250, "tokens_per_month": 700,
            "user_tokens_per_minute": 60, "user_tokens_per_day": 120}"#,
    );
}

/// Without limits of users: of these a host knows nothing while the store is away but what it counted itself.
#[test]
fn whenever_the_store_is_away_one_host_admits_and_counts_the_same() {
    check_all(true, r#"{"tokens_per_minute": 100, "tokens_per_day": 250, "tokens_per_month": 700}"#);
}
