//! What happens when the store fails, hangs, or answers too late.

use super::*;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Longer than the store is left alone.
const RETRIED: Duration = Duration::from_secs(3);

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_counted_on_for_and_learns_what_it_missed() {
    let world = World::new();
    let budget = world.budget(r#"{"tokens_per_day": 110, "user_tokens_per_day": 60}"#);
    budget.reserve(Some("ann"), tokens(30)).await.unwrap().settle(30, 0);
    let before = budget.reserve(Some("ann"), tokens(20)).await.unwrap();
    world.store.is_away.store(true, Ordering::SeqCst);
    before.settle(10, 0);
    budget.reserve(Some("bob"), tokens(40)).await.unwrap().settle(35, 0);
    assert_eq!(used(&budget, None).await, (75, 0), "what this host knows");
    let open = budget.reserve(Some("bob"), tokens(25)).await.unwrap();
    let over = budget.reserve(Some("bob"), tokens(1)).await.unwrap_err();
    assert!(over.is_under_way && over.limit == "user_tokens_per_day", "{over:?}");
    budget.reserve(None, tokens(10)).await.unwrap().settle(10, 0);
    let over = budget.reserve(None, tokens(1)).await.unwrap_err();
    assert!(over.is_under_way && over.limit == "tokens_per_day", "{over:?}");
    assert_eq!(world.store.get("acme/tokens/day/2026-05-01"), 50, "nothing has reached it");
    world.store.is_away.store(false, Ordering::SeqCst);
    sleep(RETRIED).await;
    assert!(!budget.is_away());
    assert_eq!(world.store.get("acme/tokens/day/2026-05-01"), 110);
    open.settle(5, 0);
    assert_eq!(world.store.get("acme/tokens/day/2026-05-01"), 90);
    let bob = budget.state(Some("bob")).await;
    assert_eq!((bob[0].used, bob[1].used), (90, 40));
    assert_eq!(budget.state(Some("ann")).await[1].used, 40);
    assert!(budget.ledger().is_clean());
    let second = world.second().budget(r#"{"tokens_per_day": 100}"#);
    assert_eq!(used(&second, None).await, (90, 0));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_long_for_a_store_that_hangs_and_only_the_first_waits_at_all() {
    let world = World::new();
    let budget = world.budget(r#"{"tokens_per_day": 100}"#);
    world.store.hangs.store(true, Ordering::SeqCst);
    let check = async |expected_ms: u64| {
        let began = Instant::now();
        budget.reserve(None, tokens(10)).await.unwrap().settle(4, 0);
        let took = began.elapsed().as_millis() as u64;
        assert!((expected_ms..expected_ms + 5).contains(&took), "{took} ms instead of {expected_ms}");
    };
    check(STORE_WAIT_MS_MAX).await;
    check(0).await;
    sleep(RETRIED).await;
    check(0).await;
    world.store.hangs.store(false, Ordering::SeqCst);
    world.store.answers.notify_waiters();
    sleep(RETRIED).await;
    assert!(!budget.is_away());
    assert_eq!(used(&budget, None).await, (12, 0), "the late answer's estimate was given back");
    assert_eq!(world.store.get("acme/tokens/day/2026-05-01"), 12);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_while_it_waits_holds_nothing() {
    let world = World::new();
    let budget = world.budget(r#"{"tokens_per_day": 100, "user_tokens_per_day": 100}"#);
    for waited_ms in [0, 1, 100] {
        world.store.hangs.store(true, Ordering::SeqCst);
        let reserving = budget.reserve(Some("ann"), tokens(10));
        let gone = timeout(Duration::from_millis(waited_ms), reserving).await;
        assert!(gone.is_err());
        world.store.hangs.store(false, Ordering::SeqCst);
        world.store.answers.notify_waiters();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(used(&budget, Some("ann")).await, (0, 0), "after {waited_ms} ms");
        assert_eq!(world.store.get("acme/tokens/day/2026-05-01"), 0);
        assert!(!budget.is_away() && budget.ledger().is_clean());
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_whose_records_are_the_trouble_does_not_keep_the_others_waiting() {
    let world = World::new();
    let limits = limits_of(r#"{"tokens_per_day": 100}"#);
    let of = |tenant: &str| world.budgets.of(&TenantId::new(tenant).unwrap(), &limits).unwrap();
    let budgets: Vec<_> = (0..20).map(|at| of(&format!("t{at}"))).collect();
    world.store.is_away.store(true, Ordering::SeqCst);
    for budget in &budgets {
        budget.reserve(None, tokens(1)).await.unwrap().settle(1, 0);
        assert!(budget.is_away());
    }
    world.store.is_away.store(false, Ordering::SeqCst);
    sleep(RETRIED).await;
    for (at, budget) in budgets.iter().enumerate() {
        assert!(!budget.is_away(), "t{at}");
        assert_eq!(world.store.get(&format!("t{at}/tokens/day/2026-05-01")), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_ends_with_its_window_is_not_written_any_more() {
    let world = World::new();
    let budget =
        world.budget(r#"{"tokens_per_minute": 100, "tokens_per_month": 100, "user_tokens_per_minute": 9}"#);
    world.store.is_away.store(true, Ordering::SeqCst);
    budget.reserve(Some("ann"), tokens(10)).await.unwrap().settle(10, 0);
    world.pass(3_600);
    budget.reserve(None, tokens(1)).await.unwrap().settle(1, 0);
    world.store.is_away.store(false, Ordering::SeqCst);
    sleep(RETRIED).await;
    let expected = [("acme/tokens/minute/2026-05-01T13:34", 1), ("acme/tokens/month/2026-05", 11)];
    let expected: BTreeMap<String, u64> = expected.map(|(key, total)| (key.to_owned(), total)).into();
    assert_eq!(world.store.counters(), expected);
    assert!(budget.ledger().is_clean());
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_what_is_under_way_and_writes_the_rest() {
    let world = World::new();
    let budget = world.budget(r#"{"tokens_per_day": 100}"#);
    let reservation = budget.reserve(None, tokens(10)).await.unwrap();
    world.store.hangs.store(true, Ordering::SeqCst);
    reservation.settle(3, 0);
    let store = Arc::clone(&world.store);
    tokio::spawn(async move {
        sleep(Duration::from_millis(700)).await;
        store.hangs.store(false, Ordering::SeqCst);
        store.answers.notify_waiters();
    });
    let began = Instant::now();
    world.budgets.close().await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(world.store.get("acme/tokens/day/2026-05-01"), 3);
    world.store.is_away.store(true, Ordering::SeqCst);
    budget.reserve(None, tokens(10)).await.unwrap().settle(4, 0);
    world.store.is_away.store(false, Ordering::SeqCst);
    world.budgets.close().await;
    assert_eq!(world.store.get("acme/tokens/day/2026-05-01"), 7);
    world.store.hangs.store(true, Ordering::SeqCst);
    budget.spend(None, 1, 0);
    let began = Instant::now();
    world.budgets.close().await;
    assert_eq!(began.elapsed().as_secs(), 5, "a store that hangs does not keep the host from ending");
}

#[test]
fn a_reservation_may_end_where_there_is_no_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (world, reservation) = runtime.block_on(async {
        let world = World::new();
        let budget = world.budget(r#"{"tokens_per_day": 100}"#);
        let reservation = budget.reserve(None, tokens(10)).await.unwrap();
        (world, reservation)
    });
    world.store.hangs.store(true, Ordering::SeqCst);
    std::thread::spawn(move || drop(reservation)).join().unwrap();
    world.store.hangs.store(false, Ordering::SeqCst);
    world.store.answers.notify_waiters();
    runtime.block_on(world.budgets.close());
    assert_eq!(world.store.get("acme/tokens/day/2026-05-01"), 0);
}

#[tokio::test]
async fn users_that_the_store_has_yet_to_learn_of_are_bounded() {
    let world = World::new();
    let budget = world.budget(r#"{"user_tokens_per_day": 100}"#);
    world.store.is_away.store(true, Ordering::SeqCst);
    budget.reserve(Some("first"), tokens(1)).await.unwrap().settle(1, 0);
    let unwritten = &budget.shared.unwritten_users;
    assert_eq!(unwritten.load(Ordering::SeqCst), 1);
    // As if other tenants had all the others.
    unwritten.store(usize::MAX / 2, Ordering::SeqCst);
    for user in 0..100 {
        budget.reserve(Some(&user.to_string()), tokens(1)).await.unwrap().settle(1, 0);
    }
    assert_eq!(unwritten.load(Ordering::SeqCst), usize::MAX / 2);
    assert_eq!(budget.ledger().take_forgotten(), 100);
    assert_eq!(used(&budget, Some("first")).await, (1, 0), "those that were there first stay");
    assert_eq!(used(&budget, Some("7")).await, (0, 0));
}
