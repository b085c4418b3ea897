//! What every store promises of keys and partitions: how they are listed, what they may be, that they never meet, run by
//! `main.rs`.

use crate::{Fixture, all_keys, home, value};
use bytes::Bytes;
use proptest::{
    collection::vec,
    prelude::{Strategy, any, prop_oneof},
    sample::select,
    test_runner::{Config, TestRunner},
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Mutex,
};
use waggle_kv::{
    BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, Error, KEY_BYTES_MAX, KEYS_PAGE_MAX, Partition, Store,
    VALUE_BYTES_MAX,
};

pub(crate) async fn keys_come_in_pages(fixture: Fixture) {
    let (store, at) = (fixture.store, home());
    let expected: BTreeSet<String> = (0..257).map(|i| format!("item/{:04}", i * 7919 % 10_000)).collect();
    let entries = expected.iter().map(|key| (key.clone(), value("v"))).collect();
    let _ = store.set_many(&at, entries).await.unwrap();
    for limit in [1, 16, 257, KEYS_PAGE_MAX] {
        let keys = all_keys(&*store, &at, "item/", limit).await;
        assert_eq!(keys.iter().cloned().collect::<BTreeSet<_>>(), expected, "pages of {limit}");
        if fixture.is_embedded {
            assert!(keys.is_sorted() && keys.len() == expected.len(), "pages of {limit}");
            let page = store.keys(&at, "", None, limit).await.unwrap();
            assert!(page.keys.len() <= limit && page.cursor.is_some() == (limit < 257), "a page of {limit}");
        }
    }
    let error = store.keys(&at, "item/", Some("not a cursor"), 10).await.unwrap_err();
    assert!(matches!(error, Error::InvalidCursor), "{error}");
}

pub(crate) async fn only_keys_with_the_very_prefix_come(fixture: Fixture) {
    let (store, at) = (fixture.store, home());
    let all = [
        "",
        "a",
        "ab",
        "a*",
        "a*b",
        "a?c",
        "[a]",
        "[a]b",
        "a\\b",
        "\u{10ffff}",
        "\u{10ffff}x",
        "b",
        "é",
        "éa",
    ];
    for key in all {
        let _ = store.set(&at, key, value("v")).await.unwrap();
    }
    // Neighbours whose partitions share bytes with this one.
    for (tenant, label) in [("tenan", "tdefault"), ("tenant", "default2"), ("*", "default"), ("tenant", "d*")]
    {
        let _ = store.set(&Partition::new(tenant, label).unwrap(), "a*foreign", value("v")).await.unwrap();
    }
    for prefix in ["", "a", "a*", "a?", "[a]", "a\\", "\u{10ffff}", "é", "z", "b"] {
        let found: BTreeSet<String> = all_keys(&*store, &at, prefix, 3).await.into_iter().collect();
        let expected = all.iter().filter(|key| key.starts_with(prefix)).map(|key| (*key).to_owned());
        assert_eq!(found, expected.collect(), "{prefix:?}");
    }
}

pub(crate) async fn bounds_are_typed_errors_that_change_nothing(fixture: Fixture) {
    let (store, at) = (fixture.store, home());
    let long = "k".repeat(KEY_BYTES_MAX + 1);
    let large = Bytes::from(vec![0; VALUE_BYTES_MAX + 1]);
    let check = |error: Error, expected: &str| {
        let said = format!("{error:?}");
        assert!(said.starts_with(expected), "{said} instead of {expected}");
    };
    check(store.get(&at, &long).await.unwrap_err(), "KeyTooLong");
    check(store.exists(&at, &long).await.unwrap_err(), "KeyTooLong");
    check(store.get_many(&at, std::slice::from_ref(&long)).await.unwrap_err(), "KeyTooLong");
    check(store.keys(&at, &long, None, 1).await.unwrap_err(), "KeyTooLong");
    check(store.set(&at, &long, value("v")).await.unwrap_err(), "KeyTooLong");
    check(store.delete(&at, &long).await.unwrap_err(), "KeyTooLong");
    check(store.increment(&at, &long, 1).await.unwrap_err(), "KeyTooLong");
    check(store.compare_and_swap(&at, &long, None, value("v")).await.unwrap_err(), "KeyTooLong");
    check(store.delete_many(&at, vec!["k".into(), long.clone()]).await.unwrap_err(), "KeyTooLong");
    check(store.set(&at, "k", large.clone()).await.unwrap_err(), "ValueTooLarge");
    check(store.compare_and_swap(&at, "k", None, large.clone()).await.unwrap_err(), "ValueTooLarge");
    let batch = vec![("first".into(), value("v")), ("k".into(), large)];
    check(store.set_many(&at, batch).await.unwrap_err(), "ValueTooLarge");
    let too_many = vec!["k".to_owned(); BATCH_ENTRIES_MAX + 1];
    check(store.get_many(&at, &too_many).await.unwrap_err(), "BatchTooLong");
    check(store.delete_many(&at, too_many.clone()).await.unwrap_err(), "BatchTooLong");
    let entries = too_many.into_iter().map(|key| (key, value("v"))).collect();
    check(store.set_many(&at, entries).await.unwrap_err(), "BatchTooLong");
    let quarter = Bytes::from(vec![0; BATCH_BYTES_MAX / 4]);
    let entries = (0..5).map(|i| (format!("k{i}"), quarter.clone())).collect();
    check(store.set_many(&at, entries).await.unwrap_err(), "BatchTooLarge");
    check(store.keys(&at, "", None, 0).await.unwrap_err(), "PageLimit");
    check(store.keys(&at, "", None, KEYS_PAGE_MAX + 1).await.unwrap_err(), "PageLimit");
    assert_eq!(all_keys(&*store, &at, "", 10).await, Vec::<String>::new());
    for (tenant, label) in [("", "s"), ("t", ""), (&*long, "s"), ("t", &*long)] {
        check(Partition::new(tenant, label).unwrap_err(), "PartitionName");
    }
}

/// Names made of pieces that are special somewhere: lengths, separators, globs, paths, other names.
fn hostile_name(pieces_min: usize) -> impl Strategy<Value = String> {
    let pieces = vec![
        "\0",
        "\0\u{1}",
        "\u{1}",
        "a",
        "b",
        "ab",
        "/",
        "..",
        ":",
        "*",
        "?",
        "[a-z]",
        "\\",
        "\u{10ffff}",
        "é",
        "\r\n",
    ];
    let short = vec(select(pieces), pieces_min..4).prop_map(|pieces| pieces.concat());
    prop_oneof![4 => short, 1 => "\\PC{1,40}".prop_map(|name: String| name)]
}

pub(crate) async fn partitions_never_meet(fixture: Fixture) {
    let entry = (hostile_name(1), hostile_name(1), hostile_name(0), any::<u32>());
    let store = fixture.store;
    // What should be where, over all cases: they share one store, which makes neighbours more likely.
    let model: Mutex<HashMap<(String, String), HashMap<String, Bytes>>> = Mutex::default();
    let handle = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        let mut runner =
            TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
        let outcome = runner.run(&vec(entry, 1..12), |entries| {
            let mut model = model.lock().unwrap();
            handle.block_on(async {
                for (tenant, label, key, number) in entries {
                    let at = Partition::new(&tenant, &label).unwrap();
                    let content = value(number.to_string());
                    let _ = store.set(&at, &key, content.clone()).await.unwrap();
                    model.entry((tenant, label)).or_default().insert(key, content);
                }
            });
            Ok(())
        });
        outcome.unwrap();
        handle.block_on(check_partitions(&*store, &model.lock().unwrap()));
    });
}

async fn check_partitions(store: &dyn Store, model: &HashMap<(String, String), HashMap<String, Bytes>>) {
    let every_key: BTreeSet<&String> = model.values().flat_map(HashMap::keys).collect();
    let every_key: Vec<String> = every_key.into_iter().cloned().collect();
    for ((tenant, label), expected) in model {
        let at = Partition::new(tenant, label).unwrap();
        let found = store.get_many(&at, &every_key).await.unwrap();
        for (key, content) in every_key.iter().zip(found) {
            assert_eq!(content.as_ref(), expected.get(key), "{tenant:?} {label:?} {key:?}");
        }
        let keys: BTreeSet<String> = all_keys(store, &at, "", KEYS_PAGE_MAX).await.into_iter().collect();
        assert_eq!(keys, expected.keys().cloned().collect(), "{tenant:?} {label:?}");
    }
}
