//! What every store promises of values that are written, read and deleted, one or many at a time, run by `main.rs`.

use crate::{Fixture, all_keys, home, names, value};
use bytes::Bytes;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use waggle_kv::{BATCH_ENTRIES_MAX, KEY_BYTES_MAX, KEYS_PAGE_MAX, VALUE_BYTES_MAX};

pub(crate) async fn a_write_is_seen_by_every_later_read(fixture: Fixture) {
    let (store, at) = (fixture.store, home());
    for key in ["k", "", "nul\0in", "a/../b", "ключ", "line\nbreak", &"x".repeat(KEY_BYTES_MAX)] {
        for content in [&b"plain"[..], b"", b"\xff\xfe\x00\x80", &[0; 100_000]] {
            let commit = store.set(&at, key, Bytes::copy_from_slice(content)).await.unwrap();
            assert_eq!(store.get(&at, key).await.unwrap().as_deref(), Some(content), "{key:?}");
            commit.durable().await.unwrap();
            assert!(commit.is_durable() && store.exists(&at, key).await.unwrap(), "{key:?}");
        }
        let deleted = store.delete(&at, key).await.unwrap();
        assert_eq!(store.get(&at, key).await.unwrap(), None, "{key:?}");
        assert!(!store.exists(&at, key).await.unwrap(), "{key:?}");
        deleted.durable().await.unwrap();
        store.delete(&at, key).await.unwrap().durable().await.unwrap();
    }
    store.applied().durable().await.unwrap();
}

pub(crate) async fn many_reads_keep_their_order(fixture: Fixture) {
    let (store, at) = (fixture.store, home());
    let entries = ["c", "a", "b"].map(|key| (key.to_owned(), value(key)));
    let _ = store.set_many(&at, entries.to_vec()).await.unwrap();
    let read = store.get_many(&at, &names(&["a", "missing", "b", "a", "c"])).await.unwrap();
    let expected = [Some("a"), None, Some("b"), Some("a"), Some("c")].map(|text| text.map(value));
    assert_eq!(read, expected);
    assert_eq!(store.get_many(&at, &[]).await.unwrap(), []);
}

pub(crate) async fn of_a_key_that_comes_twice_the_last_value_counts(fixture: Fixture) {
    let (store, at) = (fixture.store, home());
    for count in [2, 40] {
        let entries = (0..count).map(|i| ("k".to_owned(), value(i.to_string()))).collect();
        store.set_many(&at, entries).await.unwrap().durable().await.unwrap();
        assert_eq!(store.get(&at, "k").await.unwrap(), Some(value((count - 1).to_string())));
    }
}

pub(crate) async fn deleting_many_leaves_the_rest(fixture: Fixture) {
    let (store, at) = (fixture.store, home());
    let entries = ["a", "b", "c"].map(|key| (key.to_owned(), value("v")));
    let _ = store.set_many(&at, entries.to_vec()).await.unwrap();
    let mut commit = store.delete_many(&at, names(&["a", "c", "missing", "a"])).await.unwrap();
    commit.merge(store.delete_many(&at, Vec::new()).await.unwrap());
    commit.merge(store.set_many(&at, Vec::new()).await.unwrap());
    commit.durable().await.unwrap();
    assert_eq!(all_keys(&*store, &at, "", 10).await, ["b"]);
}

pub(crate) async fn a_batch_is_seen_whole_or_not_at_all(fixture: Fixture) {
    const ROUNDS: usize = 300;
    let (store, at, done) = (fixture.store, home(), Arc::new(AtomicBool::new(false)));
    let keys = names(&["a", "b", "c", "d"]);
    let reader = tokio::spawn({
        let (store, at, keys, done) = (store.clone(), at.clone(), keys.clone(), done.clone());
        async move {
            let mut last = -1;
            while !done.load(Ordering::Acquire) {
                let values = store.get_many(&at, &keys).await.unwrap();
                assert!(values.iter().all(|value| *value == values[0]), "a half batch: {values:?}");
                let round =
                    values[0].as_ref().map_or(-1, |text| String::from_utf8_lossy(text).parse().unwrap());
                assert!(round >= last, "went back from {last} to {round}");
                last = round;
            }
        }
    });
    for round in 0..ROUNDS {
        if round % 10 == 9 {
            let _ = store
                .set_many(&at, keys.iter().map(|key| (key.clone(), value(round.to_string()))).rev().collect())
                .await
                .unwrap();
        } else {
            let entries = keys.iter().map(|key| (key.clone(), value(round.to_string()))).collect();
            let _ = store.set_many(&at, entries).await.unwrap();
        }
    }
    done.store(true, Ordering::Release);
    reader.await.unwrap();
}

pub(crate) async fn a_batch_of_the_largest_size_is_written(fixture: Fixture) {
    let (store, at) = (fixture.store, home());
    let entries: Vec<_> = (0..BATCH_ENTRIES_MAX).map(|i| (format!("{i:05}"), value(i.to_string()))).collect();
    let keys: Vec<_> = entries.iter().map(|(key, _)| key.clone()).collect();
    store.set_many(&at, entries).await.unwrap().durable().await.unwrap();
    let values = store.get_many(&at, &keys).await.unwrap();
    assert!(values.iter().enumerate().all(|(i, found)| *found == Some(value(i.to_string()))));
    store.delete_many(&at, keys).await.unwrap().durable().await.unwrap();
    assert_eq!(all_keys(&*store, &at, "", KEYS_PAGE_MAX).await, Vec::<String>::new());
    let large = Bytes::from(vec![7; VALUE_BYTES_MAX]);
    store.set(&at, "large", large.clone()).await.unwrap().durable().await.unwrap();
    assert!(store.get(&at, "large").await.unwrap() == Some(large));
}
