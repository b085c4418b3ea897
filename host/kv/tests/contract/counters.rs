//! What counters promise over every store, run by `main.rs`.

use crate::{DEADLINE, Fixture, TIME_TO_LIVE, all_keys, value};
use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_oneof},
    test_runner::{Config, TestRunner},
};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};
use waggle_kv::{
    BudgetRecords, COUNTER_MAX, COUNTERS_PER_STEP_MAX, Counted, CounterChange, Error, Partition, TenantPart,
};

/// A moment that neither clock reaches.
const FAR_MS: u64 = 4_000_000_000_000;

fn change(key: &str, correction: i64, charge: u64, below: Option<u64>) -> CounterChange {
    CounterChange { key: key.to_owned(), correction, charge, below, expires_ms: FAR_MS }
}

fn charged(totals: &[u64]) -> Counted {
    Counted::Charged { totals: totals.to_vec() }
}

fn refused(first: usize, totals: &[u64]) -> Counted {
    Counted::Refused { first, totals: totals.to_vec() }
}

pub(crate) async fn counters_are_charged_together_or_not_at_all(fixture: Fixture) {
    let records = BudgetRecords::new(fixture.store.clone());
    let check = async |changes: &[CounterChange], expected: Counted| {
        assert_eq!(records.count("acme", changes).await.unwrap(), expected, "{changes:?}");
        let keys: Vec<String> = changes.iter().map(|change| change.key.clone()).collect();
        assert_eq!(records.read("acme", &keys).await.unwrap(), expected.totals());
    };
    check(&[change("a", 0, 7, Some(10)), change("b", 0, 3, None)], charged(&[7, 3])).await;
    check(&[change("a", 0, 7, Some(10)), change("b", 0, 4, Some(4))], charged(&[14, 7])).await;
    check(&[change("b", 0, 1, Some(8)), change("a", 0, 1, Some(10))], refused(1, &[7, 14])).await;
    check(&[change("b", -2, 1, Some(8)), change("a", 1, 1, Some(10))], refused(1, &[5, 15])).await;
    check(&[change("a", -6, 4, Some(10)), change("c", -1, 0, None)], charged(&[13, 0])).await;
    check(&[change("a", i64::MIN, 0, None)], charged(&[0])).await;
    check(&[change("a", i64::MAX, u64::MAX, Some(u64::MAX))], charged(&[COUNTER_MAX])).await;
    check(&[], charged(&[])).await;
    // The other host sees the same counters, another tenant has its own.
    let other = BudgetRecords::new(fixture.second.clone());
    let b = vec!["b".to_owned()];
    assert_eq!(other.read("acme", &b).await.unwrap(), [5]);
    assert_eq!(other.read("shop", &b).await.unwrap(), [0]);
    let mut keys = other.keys("acme").await.unwrap();
    keys.sort();
    assert_eq!(keys, ["a", "b"], "a counter that was never above 0 has no key");
}

pub(crate) async fn counters_follow_the_model_whatever_is_done(fixture: Fixture) {
    let number = || prop_oneof![0_u64..20, Just(COUNTER_MAX), any::<u64>()];
    let correction = prop_oneof![-20_i64..20, any::<i64>()];
    let one = (0_usize..4, correction, number(), proptest::option::of(number()));
    let steps = vec(vec(one, 0..4), 1..30).prop_map(|steps| {
        let step = |changes: Vec<(usize, i64, u64, Option<u64>)>| {
            let by_key: BTreeMap<usize, _> = changes.into_iter().map(|one| (one.0, one)).collect();
            let named = |(key, correction, charge, below)| {
                change(["a", "b", "c", "d"][key], correction, charge, below)
            };
            by_key.into_values().map(named).collect::<Vec<_>>()
        };
        steps.into_iter().map(step).collect::<Vec<_>>()
    });
    let records = BudgetRecords::new(fixture.store.clone());
    let runs = AtomicU64::new(0);
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    let tested = tokio::task::block_in_place(|| {
        TestRunner::new(config).run(&steps, |steps| {
            let tenant = format!("t{}", runs.fetch_add(1, Ordering::Relaxed));
            let mut model = BTreeMap::<String, u64>::new();
            for changes in steps {
                let counted = tokio::runtime::Handle::current().block_on(records.count(&tenant, &changes));
                assert_eq!(counted.unwrap(), expected(&mut model, &changes), "{changes:?}");
            }
            Ok(())
        })
    });
    tested.unwrap();
}

/// The step once more, by hand.
fn expected(model: &mut BTreeMap<String, u64>, changes: &[CounterChange]) -> Counted {
    let most = i128::from(COUNTER_MAX);
    let mut first = None;
    for (i, change) in changes.iter().enumerate() {
        let counter = model.entry(change.key.clone()).or_default();
        *counter = (i128::from(*counter) + i128::from(change.correction)).clamp(0, most) as u64;
        if change.below.is_some_and(|below| *counter >= below) {
            first = first.or(Some(i));
        }
    }
    if first.is_none() {
        for change in changes {
            let counter = model.entry(change.key.clone()).or_default();
            *counter = (i128::from(*counter) + i128::from(change.charge)).min(most) as u64;
        }
    }
    let totals = changes.iter().map(|change| model[&change.key]).collect();
    first.map_or(Counted::Charged { totals: Vec::clone(&totals) }, |first| Counted::Refused { first, totals })
}

pub(crate) async fn concurrent_charges_never_pass_a_bound_by_more_than_one(fixture: Fixture) {
    const BOUND: u64 = 1_000;
    const CHARGE: u64 = 7;
    let stores = [fixture.store.clone(), fixture.second.clone()];
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let records = BudgetRecords::new(stores[task % 2].clone());
            tokio::spawn(async move {
                let mut sum = 0;
                let changes = [change("a", 0, CHARGE, Some(BOUND)), change("b", 0, 1, None)];
                while let Counted::Charged { .. } = records.count("acme", &changes).await.unwrap() {
                    sum += CHARGE;
                }
                sum
            })
        })
        .collect();
    let mut sum = 0;
    for task in tasks {
        sum += task.await.unwrap();
    }
    let keys = ["a", "b"].map(str::to_owned);
    let totals = BudgetRecords::new(fixture.second.clone()).read("acme", &keys).await.unwrap();
    assert_eq!(totals, [sum, sum / CHARGE]);
    assert!((BOUND..BOUND + CHARGE).contains(&sum), "{sum}");
}

pub(crate) async fn counters_go_away_at_their_time(fixture: Fixture) {
    let records = BudgetRecords::new(fixture.store.clone());
    let now_ms = if fixture.is_embedded {
        waggle_kv::Clock::now_ms(&*fixture.clock)
    } else {
        SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64
    };
    let until = |ms: u64| CounterChange { expires_ms: now_ms + ms, ..change("a", 0, 1, None) };
    let read = async || records.read("acme", &["a".to_owned()]).await.unwrap();
    records.count("acme", &[until(TIME_TO_LIVE.as_millis() as u64)]).await.unwrap();
    assert_eq!(read().await, [1], "the store's own time to live does not count");
    fixture.pass(TIME_TO_LIVE).await;
    let deadline = std::time::Instant::now() + DEADLINE;
    while read().await != [0] {
        assert!(std::time::Instant::now() < deadline, "still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    records.count("acme", &[CounterChange { expires_ms: 1, ..change("a", 0, 1, None) }]).await.unwrap();
    assert_eq!(read().await, [0], "a counter whose time is over is not kept");
    assert_eq!(records.keys("acme").await.unwrap(), Vec::<String>::new());
}

pub(crate) async fn counters_are_erased_with_their_tenant_and_no_store_leads_to_them(fixture: Fixture) {
    let records = BudgetRecords::new(fixture.store.clone());
    for tenant in ["acme", "acme2"] {
        records.count(tenant, &[change("a", 0, 5, None)]).await.unwrap();
    }
    for label in ["budget", "\0", "\u{6}budget", "\0\u{6}budget"] {
        let at = Partition::new("acme", label).unwrap();
        assert_eq!(all_keys(&*fixture.store, &at, "", 100).await, Vec::<String>::new(), "{label:?}");
    }
    let erased = fixture.store.erase(&TenantPart::new("acme").unwrap()).await.unwrap();
    assert_eq!((erased.keys, erased.remaining), (1, 0));
    let a = ["a".to_owned()];
    assert_eq!(records.read("acme", &a).await.unwrap(), [0]);
    assert_eq!(records.read("acme2", &a).await.unwrap(), [5]);
}

pub(crate) async fn counting_refuses_what_is_no_counter(fixture: Fixture) {
    let records = BudgetRecords::new(fixture.store.clone());
    let at = Partition::host_of("acme", "budget").unwrap();
    for wrong in ["x", "-1", "1.0", "9007199254740992", ""] {
        let _ = fixture.store.set(&at, "wrong", value(wrong)).await.unwrap();
        let changes = [change("right", 0, 1, None), change("wrong", 0, 1, None)];
        for error in [
            records.count("acme", &changes).await.unwrap_err(),
            records.read("acme", &["wrong".to_owned()]).await.unwrap_err(),
        ] {
            assert!(matches!(&error, Error::NotANumber { key } if key == "wrong"), "{wrong:?}: {error}");
        }
        assert_eq!(records.read("acme", &["right".to_owned()]).await.unwrap(), [0]);
    }
    let many: Vec<_> = (0..=COUNTERS_PER_STEP_MAX).map(|i| change(&i.to_string(), 0, 1, None)).collect();
    let error = records.count("acme", &many).await.unwrap_err();
    assert!(matches!(error, Error::BatchTooLong { .. }), "{error}");
    records.count("acme", &many[1..]).await.unwrap();
    fixture.store.close().await.unwrap();
    let error = records.count("acme", &[change("a", 0, 1, None)]).await.unwrap_err();
    assert!(matches!(error, Error::Closed), "{error}");
}
