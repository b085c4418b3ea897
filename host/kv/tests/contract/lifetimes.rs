//! What every store promises of ends: a key's, when its time is over, and its own, when it is closed, run by `main.rs`.

use crate::{DEADLINE, Fixture, TIME_TO_LIVE, all_keys, home, names, value};
use std::time::{Duration, Instant};
use waggle_kv::{Error, Swap};

pub(crate) async fn a_closed_store_refuses_writes(fixture: Fixture) {
    let (store, at) = (fixture.store, home());
    let commit = store.set(&at, "k", value("v")).await.unwrap();
    store.close().await.unwrap();
    assert!(commit.is_durable());
    store.close().await.unwrap();
    let check = |error: Error| assert!(matches!(error, Error::Closed), "{error}");
    check(store.set(&at, "k", value("w")).await.unwrap_err());
    check(store.delete(&at, "k").await.unwrap_err());
    check(store.set_many(&at, vec![("k".into(), value("w"))]).await.unwrap_err());
    check(store.delete_many(&at, vec!["k".into()]).await.unwrap_err());
    check(store.increment(&at, "n", 1).await.unwrap_err());
    check(store.compare_and_swap(&at, "k", None, value("w")).await.unwrap_err());
    assert_eq!(store.get(&at, "k").await.unwrap(), Some(value("v")));
}

pub(crate) async fn an_expired_key_is_gone_for_every_read(fixture: Fixture) {
    let (store, at) = (fixture.store.clone(), home());
    let _ = store.set_many(&at, vec![("a".into(), value("1")), ("b".into(), value("2"))]).await.unwrap();
    assert_eq!(store.get(&at, "a").await.unwrap(), Some(value("1")));
    fixture.pass(TIME_TO_LIVE).await;
    let deadline = Instant::now() + DEADLINE;
    while !fixture.is_embedded && store.exists(&at, "b").await.unwrap() {
        assert!(Instant::now() < deadline, "the key did not expire");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(store.get(&at, "a").await.unwrap(), None);
    assert!(!store.exists(&at, "a").await.unwrap());
    assert_eq!(store.get_many(&at, &names(&["a", "b"])).await.unwrap(), [None, None]);
    assert_eq!(all_keys(&*store, &at, "", 10).await, Vec::<String>::new());
    assert_eq!(store.increment(&at, "a", 5).await.unwrap().0, 5);
    let swap = store.compare_and_swap(&at, "b", None, value("new")).await.unwrap();
    assert!(matches!(swap, Swap::Done(_)), "{swap:?}");
    assert_eq!(all_keys(&*store, &at, "", 10).await.len(), 2);
}

pub(crate) async fn every_kind_of_write_starts_the_time_anew(fixture: Fixture) {
    let (store, at) = (fixture.store.clone(), home());
    let keys = names(&["set", "many", "sum", "swap"]);
    for key in &keys {
        let _ = store.set(&at, key, value("1")).await.unwrap();
    }
    // More than half of the time, twice: only a key whose time began anew in between is there afterwards.
    fixture.pass(TIME_TO_LIVE * 6 / 10).await;
    let _ = store.set(&at, "set", value("2")).await.unwrap();
    let _ = store.set_many(&at, vec![("many".into(), value("2"))]).await.unwrap();
    let _ = store.increment(&at, "sum", 1).await.unwrap();
    let swap = store.compare_and_swap(&at, "swap", Some(&value("1")), value("2")).await.unwrap();
    assert!(matches!(swap, Swap::Done(_)), "{swap:?}");
    fixture.pass(TIME_TO_LIVE * 6 / 10).await;
    assert_eq!(store.get_many(&at, &keys).await.unwrap(), vec![Some(value("2")); 4]);
}
