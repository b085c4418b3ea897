//! What is erased from the embedded store leaves its files: every file is searched for what was in it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/files.rs"]
mod files;

use bytes::Bytes;
use files::files_with;
use std::{path::Path, time::Duration};
use waggle_kv::{Embedded, EmbeddedOptions, Erased, Partition, StoreOptions, TenantPart};

const CANARY: &str = "canary-in-a-coal-mine";

fn at(tenant: &str) -> Partition {
    Partition::new(tenant, "default").unwrap()
}

fn part(tenant: &str) -> TenantPart {
    TenantPart::new(tenant).unwrap()
}

fn open(directory: &Path, memtable_bytes: u64) -> Embedded {
    let options = EmbeddedOptions { memtable_bytes, ..EmbeddedOptions::default() };
    Embedded::open_with(directory, options).unwrap()
}

/// Values of both tenants in the same tables, some overwritten, some deleted, some about to expire.
async fn fill(engine: &Embedded, rounds: usize) {
    let (store, mortal) = (
        engine.store(StoreOptions::default()),
        engine.store(StoreOptions { time_to_live: Some(Duration::from_secs(3_600)) }),
    );
    for round in 0..rounds {
        let content = |tenant: &str| Bytes::from(format!("{tenant} {round} {}", CANARY).repeat(20));
        let entries = |kind: &str, tenant: &str| {
            let entry = |i: usize| (format!("{kind}/{i:03}/{CANARY}"), content(tenant));
            (0..50).map(entry).collect::<Vec<_>>()
        };
        for tenant in ["acme", "acmee"] {
            let _ = store.set_many(&at(tenant), entries("overwritten", tenant)).await.unwrap();
            let _ = mortal.set_many(&at(tenant), entries(&format!("mortal-{round}"), tenant)).await.unwrap();
            let _ = store.set_many(&at(tenant), entries("deleted", tenant)).await.unwrap();
            let deleted = entries("deleted", tenant).into_iter().map(|(key, _)| key).collect();
            let _ = store.delete_many(&at(tenant), deleted).await.unwrap();
        }
    }
    store.applied().durable().await.unwrap();
}

async fn check(memtable_bytes: u64, rounds: usize, is_reopened: bool) {
    let directory = tempfile::tempdir().unwrap();
    let mut engine = open(directory.path(), memtable_bytes);
    fill(&engine, rounds).await;
    if is_reopened {
        engine.close().await.unwrap();
        drop(engine);
        engine = open(directory.path(), memtable_bytes);
    }
    let mine = |tenant: &str| format!("{tenant} 0 {CANARY}").into_bytes();
    for tenant in ["acme", "acmee"] {
        assert!(!files_with(directory.path(), &mine(tenant)).is_empty(), "{tenant} is in no file");
    }
    let store = engine.store(StoreOptions::default());
    let others = store.usage(&part("acmee")).await.unwrap();
    let before = store.usage(&part("acme")).await.unwrap();
    assert_eq!(before.keys, 50 + 50 * rounds as u64);
    let erased = store.erase(&part("acme")).await.unwrap();
    assert_eq!(erased, Erased { keys: before.keys, bytes: before.bytes, remaining: 0 });
    let prefix = b"\x00\x04acme\x00\x07default";
    for needle in [format!("acme {} {CANARY}", rounds - 1).into_bytes(), mine("acme"), prefix.to_vec()] {
        assert_eq!(files_with(directory.path(), &needle), Vec::<std::path::PathBuf>::new());
    }
    assert_eq!(store.usage(&part("acmee")).await.unwrap(), others);
    engine.close().await.unwrap();
    drop((engine, store));
    let engine = open(directory.path(), memtable_bytes);
    let store = engine.store(StoreOptions::default());
    assert_eq!(store.usage(&part("acmee")).await.unwrap(), others);
    assert_eq!(store.usage(&part("acme")).await.unwrap().keys, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_erased_leaves_the_journal_and_memory() {
    check(64 * 1024 * 1024, 1, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_erased_leaves_the_tables() {
    check(64 * 1024, 12, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_process_wrote_leaves_the_files() {
    check(256 * 1024, 6, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn erasures_at_the_same_time_all_leave_the_files() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path(), 256 * 1024);
    fill(&engine, 3).await;
    let store = engine.store(StoreOptions::default());
    let (one, other) = tokio::join!(async { store.erase(&part("acme")).await.unwrap() }, async {
        store.erase(&part("acmee")).await.unwrap()
    });
    assert_eq!((one.keys, one.remaining, other.keys, other.remaining), (200, 0, 200, 0));
    assert_eq!(files_with(directory.path(), CANARY.as_bytes()), Vec::<std::path::PathBuf>::new());
}
