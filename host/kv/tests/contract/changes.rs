//! What every store promises of changes that depend on what is there: swaps and increments, run by `main.rs`.

use crate::{Fixture, home, value};
use bytes::Bytes;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use waggle_kv::{Error, Partition, Store, Swap};

pub(crate) async fn swaps_compare_the_whole_value(fixture: Fixture) {
    let (store, at) = (fixture.store, home());
    let check = async |expected: Option<&[u8]>, new: &'static [u8], outcome: Result<(), Option<&[u8]>>| {
        let expected = expected.map(Bytes::copy_from_slice);
        let swap =
            store.compare_and_swap(&at, "k", expected.as_ref(), Bytes::from_static(new)).await.unwrap();
        match (swap, outcome) {
            (Swap::Done(commit), Ok(())) => {
                commit.durable().await.unwrap();
                assert_eq!(store.get(&at, "k").await.unwrap().as_deref(), Some(new));
            }
            (Swap::Changed(found), Err(current)) => assert_eq!(found.as_deref(), current),
            (swap, outcome) => panic!("{swap:?} instead of {outcome:?}"),
        }
    };
    check(Some(b""), b"x", Err(None)).await;
    check(None, b"", Ok(())).await;
    check(None, b"x", Err(Some(b""))).await;
    check(Some(b""), b"\xff\x00", Ok(())).await;
    check(Some(b"\xff"), b"x", Err(Some(b"\xff\x00"))).await;
    check(Some(b"\xff\x00"), b"\xff\x00", Ok(())).await;
    check(Some(b"\xff\x00\x00"), b"x", Err(Some(b"\xff\x00"))).await;
}

pub(crate) async fn contended_swaps_and_increments_lose_nothing(fixture: Fixture) {
    const TASKS: usize = 8;
    const ROUNDS: usize = 40;
    let (store, at) = (fixture.store, home());
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (store, at) = (store.clone(), at.clone());
            tokio::spawn(async move {
                for _ in 0..ROUNDS {
                    let _ = store.increment(&at, "n", task as i64 + 1).await.unwrap();
                    add_by_swap(&*store, &at, "n", 1).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let by_increment: usize = (1..=TASKS).sum::<usize>() * ROUNDS;
    let expected = by_increment + TASKS * ROUNDS;
    assert_eq!(store.get(&at, "n").await.unwrap(), Some(value(expected.to_string())));
}

async fn add_by_swap(store: &dyn Store, at: &Partition, key: &str, delta: i64) {
    let mut current = store.get(at, key).await.unwrap();
    loop {
        let number: i64 = current.as_ref().map_or(0, |text| String::from_utf8_lossy(text).parse().unwrap());
        let new = value((number + delta).to_string());
        match store.compare_and_swap(at, key, current.as_ref(), new).await.unwrap() {
            Swap::Done(_) => return,
            Swap::Changed(found) => current = found,
        }
    }
}

/// One task sets the key to numbers of its own; others add by swap. A swap that overwrote a set it had not seen
/// would bring back a number below the last one set.
pub(crate) async fn plain_writes_and_swaps_of_a_key_come_one_after_another(fixture: Fixture) {
    const ROUNDS: i64 = 3_000;
    const SWAPPERS: usize = 2;
    const STEP: i64 = 1_000_000;
    let (store, at, done) = (fixture.store, home(), Arc::new(AtomicBool::new(false)));
    let swap = |(store, at, done): (Arc<dyn Store>, Partition, Arc<AtomicBool>)| async move {
        while !done.load(Ordering::Acquire) {
            add_by_swap(&*store, &at, "n", 1).await;
            tokio::task::yield_now().await;
        }
    };
    let swappers: Vec<_> =
        (0..SWAPPERS).map(|_| tokio::spawn(swap((store.clone(), at.clone(), done.clone())))).collect();
    for round in 1..=ROUNDS {
        let set = value((round * STEP).to_string());
        if round % 2 == 0 {
            let _ = store.set(&at, "n", set).await.unwrap();
        } else {
            let _ = store.set_many(&at, vec![("other".into(), value("")), ("n".into(), set)]).await.unwrap();
        }
        let (sum, _) = store.increment(&at, "n", 0).await.unwrap();
        assert!((round * STEP..(round + 1) * STEP).contains(&sum), "round {round} was overwritten: {sum}");
    }
    done.store(true, Ordering::Release);
    for swapper in swappers {
        swapper.await.unwrap();
    }
}

pub(crate) async fn increments_refuse_what_is_no_number(fixture: Fixture) {
    let (store, at) = (fixture.store, home());
    for text in ["", "x", "1.5", " 1", "01", "+1", "9223372036854775808"] {
        let _ = store.set(&at, "k", value(text)).await.unwrap();
        let error = store.increment(&at, "k", 1).await.unwrap_err();
        assert!(matches!(&error, Error::NotANumber { key } if key == "k"), "{text:?}: {error}");
        assert_eq!(store.get(&at, "k").await.unwrap(), Some(value(text)));
    }
    for (start, delta) in [(i64::MAX, 1), (i64::MIN, -1), (i64::MAX, i64::MAX), (-2, i64::MIN)] {
        let _ = store.set(&at, "k", value(start.to_string())).await.unwrap();
        let error = store.increment(&at, "k", delta).await.unwrap_err();
        assert!(matches!(&error, Error::Overflow { .. }), "{start} + {delta}: {error}");
        assert_eq!(store.get(&at, "k").await.unwrap(), Some(value(start.to_string())));
    }
    let (sum, commit) = store.increment(&at, "new", i64::MIN).await.unwrap();
    commit.durable().await.unwrap();
    assert_eq!((sum, store.increment(&at, "new", i64::MAX).await.unwrap().0), (i64::MIN, -1));
}
