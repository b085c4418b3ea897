//! What every store promises of counting and erasing all that a tenant has, run by `main.rs`.

use crate::{Fixture, TIME_TO_LIVE, all_keys, names, value};
use bytes::Bytes;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use waggle_kv::{Erased, Error, KEYS_PAGE_MAX, Partition, Swap, TenantPart, Usage};

fn at(tenant: &str, label: &str) -> Partition {
    Partition::new(tenant, label).unwrap()
}

fn part(tenant: &str) -> TenantPart {
    TenantPart::new(tenant).unwrap()
}

pub(crate) async fn usage_counts_live_keys_of_all_labels_of_one_tenant(fixture: Fixture) {
    let store = &fixture.store;
    let check = async |tenant: &str, keys: u64, bytes: u64| {
        assert_eq!(store.usage(&part(tenant)).await.unwrap(), Usage { keys, bytes }, "{tenant:?}");
    };
    check("acme", 0, 0).await;
    let _ = store.set(&at("acme", "default"), "key", value("12345")).await.unwrap();
    check("acme", 1, 8).await;
    let _ = store.set(&at("acme", "default"), "key", value("1")).await.unwrap();
    check("acme", 1, 4).await;
    let _ = store.set(&at("acme", "a-longer-label"), "", value("é")).await.unwrap();
    check("acme", 2, 6).await;
    for tenant in ["acm", "acmee", "*", "a", "\0\u{4}acme"] {
        let _ = store.set(&at(tenant, "default"), "k", value("v")).await.unwrap();
        check(tenant, 1, 2).await;
    }
    let host = Partition::host("acme").unwrap();
    let _ = store.set(&host, "k", value("v")).await.unwrap();
    check("acme", 2, 6).await;
    let _ = store.delete(&at("acme", "default"), "key").await.unwrap();
    check("acme", 1, 2).await;
    let entries: Vec<_> = (0..2_345).map(|i| (format!("{i:04}"), value("123456"))).collect();
    let _ = store.set_many(&at("acme", "default"), entries).await.unwrap();
    check("acme", 2_346, 23_452).await;
}

pub(crate) async fn an_expired_key_counts_no_more(fixture: Fixture) {
    let store = &fixture.store;
    let _ = store.set(&at("acme", "default"), "k", value("v")).await.unwrap();
    assert_eq!(store.usage(&part("acme")).await.unwrap().keys, 1);
    fixture.pass(TIME_TO_LIVE * 2).await;
    assert_eq!(store.usage(&part("acme")).await.unwrap(), Usage::default());
    assert_eq!(store.erase(&part("acme")).await.unwrap(), Erased::default());
}

pub(crate) async fn erasing_leaves_nothing_of_one_tenant_and_all_of_the_others(fixture: Fixture) {
    const KEYS: usize = 1_234;
    let store = &fixture.store;
    let mut expected = Usage::default();
    for label in ["default", "d", "defaultt"] {
        let entries: Vec<_> = (0..KEYS).map(|i| (format!("k{i:04}"), value("12345"))).collect();
        for tenant in ["acme", "acm", "acmee"] {
            let _ = store.set_many(&at(tenant, label), entries.clone()).await.unwrap();
        }
        expected.keys += KEYS as u64;
        expected.bytes += KEYS as u64 * 10;
    }
    let host = Partition::host("default").unwrap();
    let _ = store.set(&host, "k", value("v")).await.unwrap();
    let erased = store.erase(&part("acme")).await.unwrap();
    assert_eq!(erased, Erased { keys: expected.keys, bytes: expected.bytes, remaining: 0 });
    assert!(store.applied().is_durable());
    assert_eq!(store.usage(&part("acme")).await.unwrap(), Usage::default());
    for label in ["default", "d", "defaultt"] {
        let found = all_keys(&**store, &at("acme", label), "", KEYS_PAGE_MAX).await;
        assert_eq!(found, Vec::<String>::new());
    }
    for tenant in ["acm", "acmee"] {
        assert_eq!(store.usage(&part(tenant)).await.unwrap(), expected, "{tenant}");
    }
    assert_eq!(store.get(&host, "k").await.unwrap(), Some(value("v")));
    let _ = store.set(&at("acme", "default"), "new", value("v")).await.unwrap();
    assert_eq!(store.usage(&part("acme")).await.unwrap(), Usage { keys: 1, bytes: 4 });
}

pub(crate) async fn other_tenants_write_on_while_one_is_erased(fixture: Fixture) {
    let store = fixture.store.clone();
    let entries: Vec<_> = (0..5_000).map(|i| (format!("{i:04}"), value("v"))).collect();
    let _ = store.set_many(&at("acme", "default"), entries).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (store, done) = (store.clone(), done.clone());
        async move {
            let mut written = 0_u64;
            while !done.load(Ordering::Acquire) || written < 10 {
                let _ = store.increment(&at("shop", "default"), "n", 1).await.unwrap();
                let _ = store
                    .set(&at("shop", "default"), &format!("k{}", written % 500), value("v"))
                    .await
                    .unwrap();
                written += 1;
                tokio::task::yield_now().await;
            }
            written
        }
    });
    let erased = store.erase(&part("acme")).await.unwrap();
    done.store(true, Ordering::Release);
    let written = writer.await.unwrap();
    assert_eq!((erased.keys, erased.remaining), (5_000, 0));
    let count = store.get(&at("shop", "default"), "n").await.unwrap();
    assert_eq!(count, Some(value(written.to_string())));
    let keys = store.usage(&part("shop")).await.unwrap().keys;
    assert_eq!(keys, written.min(500) + 1);
}

pub(crate) async fn a_closed_store_erases_nothing(fixture: Fixture) {
    let store = &fixture.store;
    let _ = store.set(&at("acme", "default"), "k", value("v")).await.unwrap();
    store.close().await.unwrap();
    let error = store.erase(&part("acme")).await.unwrap_err();
    assert!(matches!(error, Error::Closed), "{error}");
    assert_eq!(store.usage(&part("acme")).await.unwrap().keys, 1);
}

pub(crate) async fn several_keys_are_swapped_together_or_not_at_all(fixture: Fixture) {
    let (store, at) = (&fixture.store, at("acme", "default"));
    let pairs = |text: &[(&str, Option<&str>)]| -> Vec<(String, Option<Bytes>)> {
        text.iter().map(|(key, content)| ((*key).to_owned(), content.map(value))).collect()
    };
    let check = async |expected: &[(&str, Option<&str>)], changes: &[(&str, Option<&str>)], is_done: bool| {
        let before = store.get_many(&at, &names(&["a", "b", "c"])).await.unwrap();
        let swapped = store.swap_many(&at, pairs(expected), pairs(changes)).await.unwrap();
        assert_eq!(swapped.is_some(), is_done, "{expected:?} {changes:?}");
        if let Some(commit) = swapped {
            commit.durable().await.unwrap();
            for (key, content) in changes {
                assert_eq!(store.get(&at, key).await.unwrap(), content.map(value), "{key}");
            }
        } else {
            assert_eq!(store.get_many(&at, &names(&["a", "b", "c"])).await.unwrap(), before);
        }
    };
    check(&[("a", None), ("b", None)], &[("a", Some("1")), ("b", Some(""))], true).await;
    check(&[("a", Some("1")), ("b", None)], &[("a", Some("2")), ("c", Some("3"))], false).await;
    check(&[("a", None)], &[("c", Some("3"))], false).await;
    check(&[("a", Some("1")), ("b", Some(""))], &[("c", Some("3")), ("a", None)], true).await;
    check(&[], &[("b", Some("\0\n"))], true).await;
    check(&[("b", Some("\0\n"))], &[], true).await;
    check(&[("b", Some("\0"))], &[], false).await;
    let swap = store.compare_and_swap(&at, "a", None, value("x")).await.unwrap();
    assert!(matches!(swap, Swap::Done(_)), "{swap:?}");
}
