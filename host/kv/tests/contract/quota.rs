//! What a quota promises over every store, run by `main.rs`.

use crate::{Fixture, value};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use waggle_kv::{Error, Partition, QuotaStore, StorageQuota, Store, Swap, TenantPart};

fn at(label: &str) -> Partition {
    Partition::new("acme", label).unwrap()
}

fn tenant() -> TenantPart {
    TenantPart::new("acme").unwrap()
}

fn limited(fixture: &Fixture, limit: Option<u64>) -> (Arc<dyn Store>, Arc<StorageQuota>) {
    let quota = StorageQuota::new(tenant(), limit);
    (QuotaStore::new(fixture.store.clone(), quota.clone()), quota)
}

fn assert_refused<T: std::fmt::Debug>(outcome: Result<T, Error>, expected: (u64, u64)) {
    match outcome {
        Err(Error::QuotaExceeded { used, allowed }) => assert_eq!((used, allowed), expected),
        other => panic!("{other:?} instead of a refusal with {expected:?}"),
    }
}

pub(crate) async fn a_write_beyond_the_quota_is_refused_and_deleting_makes_room(fixture: Fixture) {
    let (store, quota) = limited(&fixture, Some(100));
    // The same place again, which must not count twice.
    let other_label = QuotaStore::new(fixture.second.clone(), quota.clone());
    let _ = store.set(&at("default"), "k1", value("x".repeat(48))).await.unwrap();
    let _ = other_label.set(&at("other"), "k2", value("x".repeat(48))).await.unwrap();
    assert_refused(store.set(&at("default"), "k", value("")).await, (100, 100));
    assert_refused(other_label.set(&at("other"), "k2", value("x".repeat(99))).await, (100, 100));
    assert_eq!(store.get(&at("default"), "k").await.unwrap(), None);
    assert_eq!(store.get(&at("other"), "k2").await.unwrap(), Some(value("x".repeat(48))));
    let before = quota.measurements();
    for _ in 0..100 {
        assert_refused(store.set(&at("default"), "k", value("")).await, (100, 100));
    }
    let measured = quota.measurements() - before;
    assert!(fixture.is_embedded || measured <= 1, "{measured} measurements for 100 refusals");
    let _ = store.delete(&at("default"), "k1").await.unwrap();
    let _ = store.set(&at("default"), "k3", value("x".repeat(48))).await.unwrap();
    assert_eq!(fixture.store.usage(&tenant()).await.unwrap().bytes, 100);
    assert_eq!(quota.used().await.unwrap(), 100);
    store.erase(&tenant()).await.unwrap();
    let _ = store.set(&at("default"), "k4", value("x".repeat(98))).await.unwrap();
}

pub(crate) async fn overwriting_within_the_quota_is_never_refused(fixture: Fixture) {
    const LIMIT: u64 = 10_000;
    let (store, quota) = limited(&fixture, Some(LIMIT));
    let rounds = if fixture.is_embedded { 200 } else { 20 };
    for _ in 0..rounds {
        let _ = store.set(&at("default"), "key", value("x".repeat(997))).await.unwrap();
    }
    // Written were twenty times the limit (or twice); measured once in ten writes.
    let measured = quota.measurements();
    assert!(measured <= 1 + rounds / 8, "{measured} measurements");
    assert_eq!(quota.used().await.unwrap(), 1_000);
}

pub(crate) async fn what_was_stored_before_the_start_counts(fixture: Fixture) {
    let _ = fixture.store.set(&at("default"), "old", value("x".repeat(87))).await.unwrap();
    let (store, _) = limited(&fixture, Some(100));
    assert_refused(store.set(&at("default"), "new", value("x".repeat(8))).await, (90, 100));
    let _ = store.set(&at("default"), "new", value("x".repeat(7))).await.unwrap();
}

pub(crate) async fn a_limit_changes_in_place(fixture: Fixture) {
    let (store, quota) = limited(&fixture, None);
    let _ = store.set(&at("default"), "a", value("x".repeat(499))).await.unwrap();
    assert_eq!((quota.measurements(), quota.limit()), (0, None));
    quota.set_limit(Some(100));
    assert_refused(store.set(&at("default"), "b", value("")).await, (500, 100));
    quota.set_limit(Some(600));
    let _ = store.set(&at("default"), "b", value("x".repeat(99))).await.unwrap();
    assert_refused(store.set(&at("default"), "c", value("")).await, (600, 600));
    quota.set_limit(None);
    let _ = store.set(&at("default"), "c", value("x".repeat(399))).await.unwrap();
    quota.set_limit(Some(1_000));
    assert_refused(store.set(&at("default"), "d", value("")).await, (1_000, 1_000));
}

pub(crate) async fn all_kinds_of_writes_count(fixture: Fixture) {
    let (store, _) = limited(&fixture, Some(100));
    let at = at("default");
    let _ = store.set(&at, "k", value("x".repeat(89))).await.unwrap();
    let big = || value("x".repeat(20));
    let many = vec![("a".to_owned(), value("x".repeat(9))), ("b".to_owned(), value(""))];
    assert_refused(store.set_many(&at, many.clone()).await, (90, 100));
    assert_refused(store.increment(&at, "n", 1).await, (90, 100));
    assert_refused(store.compare_and_swap(&at, "c", None, big()).await, (90, 100));
    let swap = vec![("d".to_owned(), Some(big())), ("k".to_owned(), None)];
    assert_refused(store.swap_many(&at, vec![], swap).await, (90, 100));
    let changed = store.compare_and_swap(&at, "c", Some(&value("other")), value("x")).await.unwrap();
    assert!(matches!(changed, Swap::Changed(None)), "{changed:?}");
    let commit = store.delete_many(&at, vec!["k".to_owned()]).await.unwrap();
    commit.durable().await.unwrap();
    let _ = store.set_many(&at, many).await.unwrap();
    assert_eq!(store.increment(&at, "n", 1).await.unwrap().0, 1);
    let swap = store.compare_and_swap(&at, "c", None, big()).await.unwrap();
    assert!(matches!(swap, Swap::Done(_)), "{swap:?}");
    assert_eq!(store.get(&at, "c").await.unwrap(), Some(big()));
}

pub(crate) async fn concurrent_writers_exceed_the_quota_by_a_batch_each_at_most(fixture: Fixture) {
    const WRITERS: u64 = 4;
    const LIMIT: u64 = 20_000;
    const VALUE_BYTES: usize = 497;
    const BATCH_BYTES: u64 = 500;
    let (store, _) = limited(&fixture, Some(LIMIT));
    let rounds = if fixture.is_embedded { 300 } else { 60 };
    let done = Arc::new(AtomicBool::new(false));
    let observer = tokio::spawn({
        let (store, done) = (fixture.store.clone(), done.clone());
        async move {
            let mut most = 0;
            while !done.load(Ordering::Acquire) {
                most = store.usage(&tenant()).await.unwrap().bytes.max(most);
                tokio::task::yield_now().await;
            }
            most
        }
    });
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut refused = 0;
                for round in 0..rounds {
                    let key = format!("{writer}{:02}", round % 40);
                    match store.set(&at("default"), &key, value("x".repeat(VALUE_BYTES))).await {
                        Ok(_) => {}
                        Err(Error::QuotaExceeded { used, allowed }) => {
                            assert!(used + BATCH_BYTES > allowed, "{used} of {allowed} are used");
                            refused += 1;
                        }
                        Err(error) => panic!("{error}"),
                    }
                    if round % 50 == 49 {
                        let keys = (0..20).map(|i| format!("{writer}{i:02}")).collect();
                        let _ = store.delete_many(&at("default"), keys).await.unwrap();
                    }
                }
                refused
            })
        })
        .collect();
    let mut refused = 0;
    for writer in writers {
        refused += writer.await.unwrap();
    }
    done.store(true, Ordering::Release);
    let most = observer.await.unwrap();
    assert!(refused > 0 && most > LIMIT / 2, "{refused} refused, {most} bytes at most");
    assert!(most <= LIMIT + WRITERS * BATCH_BYTES, "{most} bytes at most");
}
