//! What only the embedded store promises: durability after the write, shared flushes, failing disks, sweeping.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/clock.rs"]
mod clock;

use bytes::Bytes;
use clock::ManualClock;
use std::{
    io,
    path::Path,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use waggle_kv::{
    Embedded, EmbeddedOptions, Error, FlushHook, Opener, Partition, Store, StoreConfig, StoreOptions,
};

const DEADLINE: Duration = Duration::from_secs(20);
const VALUE: Bytes = Bytes::from_static(b"value");

fn at() -> Partition {
    Partition::new("tenant", "default").unwrap()
}

fn open(directory: &Path, before_flush: FlushHook) -> (Embedded, Arc<dyn Store>) {
    let options = EmbeddedOptions { before_flush: Some(before_flush), ..EmbeddedOptions::default() };
    let engine = Embedded::open_with(directory, options).unwrap();
    let store = engine.store(StoreOptions::default());
    (engine, store)
}

/// Holds flushes back until it is opened, and counts them.
#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    changed: Condvar,
    flushes: AtomicUsize,
}

impl Gate {
    fn hook(self: &Arc<Self>) -> FlushHook {
        let gate = self.clone();
        Arc::new(move || {
            let mut is_open = gate.is_open.lock().unwrap();
            while !*is_open {
                is_open = gate.changed.wait(is_open).unwrap();
            }
            gate.flushes.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
    }

    fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.changed.notify_all();
    }
}

#[tokio::test]
async fn a_write_is_visible_before_it_is_durable_and_many_share_a_flush() {
    const WRITES: usize = 100;
    let directory = tempfile::tempdir().unwrap();
    let gate = Arc::new(Gate::default());
    let (_engine, store) = open(directory.path(), gate.hook());
    let mut commits = Vec::new();
    for i in 0..WRITES {
        commits.push(store.set(&at(), &i.to_string(), VALUE).await.unwrap());
        assert_eq!(store.get(&at(), &i.to_string()).await.unwrap(), Some(VALUE));
    }
    assert!(commits.iter().all(|commit| !commit.is_durable()) && !store.applied().is_durable());
    gate.open();
    let mut all = commits[0].clone();
    commits.iter().for_each(|commit| all.merge(commit.clone()));
    all.durable().await.unwrap();
    assert!(commits.iter().all(waggle_kv::Commit::is_durable) && store.applied().is_durable());
    let flushes = gate.flushes.load(Ordering::SeqCst);
    assert!(flushes <= 2, "{WRITES} writes took {flushes} flushes");
}

#[tokio::test]
async fn a_durable_commit_means_that_every_earlier_one_is_durable() {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(directory.path()).unwrap().store(StoreOptions::default());
    for round in 0..50 {
        let earlier = store.set(&at(), &format!("{round}/a"), VALUE).await.unwrap();
        let later = store.set(&at(), &format!("{round}/b"), VALUE).await.unwrap();
        later.durable().await.unwrap();
        assert!(earlier.is_durable());
    }
}

#[tokio::test]
async fn a_failed_flush_poisons_the_store_and_tells_all_who_wait() {
    let directory = tempfile::tempdir().unwrap();
    let disk_works = Arc::new(Mutex::new(true));
    let hook: FlushHook = Arc::new({
        let disk_works = disk_works.clone();
        move || if *disk_works.lock().unwrap() { Ok(()) } else { Err(io::Error::other("the disk has left")) }
    });
    let (engine, store) = open(directory.path(), hook);
    let before = store.set(&at(), "before", VALUE).await.unwrap();
    before.durable().await.unwrap();
    *disk_works.lock().unwrap() = false;
    let waiting: Vec<_> = {
        let commit = store.set(&at(), "lost", VALUE).await.unwrap();
        (0..8)
            .map(|_| {
                tokio::spawn({
                    let commit = commit.clone();
                    async move { commit.durable().await }
                })
            })
            .collect()
    };
    let check = |error: Error| {
        assert!(
            matches!(&error, Error::Poisoned { reason } if reason.contains("the disk has left")),
            "{error}"
        );
    };
    for waiter in waiting {
        check(waiter.await.unwrap().unwrap_err());
    }
    // The disk works again, but what it lost cannot be known, so nothing more is taken.
    *disk_works.lock().unwrap() = true;
    check(store.set(&at(), "k", VALUE).await.unwrap_err());
    check(store.set_many(&at(), vec![("k".into(), VALUE)]).await.unwrap_err());
    check(store.delete(&at(), "k").await.unwrap_err());
    check(store.increment(&at(), "n", 1).await.unwrap_err());
    check(store.compare_and_swap(&at(), "k", None, VALUE).await.unwrap_err());
    check(store.applied().durable().await.unwrap_err());
    check(store.close().await.unwrap_err());
    check(engine.close().await.unwrap_err());
    before.durable().await.unwrap();
    assert_eq!(store.get(&at(), "before").await.unwrap(), Some(VALUE));
}

#[tokio::test]
async fn what_was_closed_is_there_when_it_is_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let engine = Embedded::open(directory.path()).unwrap();
        let store = engine.store(StoreOptions::default());
        for earlier in 0..round {
            assert_eq!(store.get(&at(), &earlier.to_string()).await.unwrap(), Some(VALUE));
        }
        let commit = store.set(&at(), &round.to_string(), VALUE).await.unwrap();
        engine.close().await.unwrap();
        assert!(commit.is_durable());
        assert!(matches!(store.set(&at(), "late", VALUE).await, Err(Error::Closed)));
    }
}

#[tokio::test]
async fn dropping_a_store_makes_its_last_writes_durable() {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(directory.path()).unwrap().store(StoreOptions::default());
    let commit = store.set(&at(), "k", VALUE).await.unwrap();
    drop(store);
    assert!(commit.is_durable());
    let store = Embedded::open(directory.path()).unwrap().store(StoreOptions::default());
    assert_eq!(store.get(&at(), "k").await.unwrap(), Some(VALUE));
}

/// An engine with a clock of its own that sweeps only when it is told.
fn with_clock(directory: &Path) -> (Embedded, Arc<ManualClock>) {
    let clock = ManualClock::new();
    let options = EmbeddedOptions {
        clock: clock.clone(),
        sweep_interval: Duration::from_secs(3_600),
        ..EmbeddedOptions::default()
    };
    (Embedded::open_with(directory, options).unwrap(), clock)
}

#[tokio::test]
async fn a_sweep_deletes_what_has_expired_and_nothing_else() {
    const KEYS: usize = 1_700;
    const HOUR: Duration = Duration::from_secs(3_600);
    let directory = tempfile::tempdir().unwrap();
    let (engine, clock) = with_clock(directory.path());
    let mortal = engine.store(StoreOptions { time_to_live: Some(HOUR) });
    let eternal = engine.store(StoreOptions::default());
    let entries =
        |range: std::ops::Range<usize>| range.map(|i| (format!("{i:05}"), VALUE)).collect::<Vec<_>>();
    let _ = mortal.set_many(&at(), entries(0..KEYS)).await.unwrap();
    assert_eq!(engine.sweep().unwrap(), 0, "nothing has expired");
    clock.advance(HOUR / 2);
    let _ = mortal.set_many(&at(), entries(0..100)).await.unwrap();
    let _ = eternal.set_many(&at(), entries(100..150)).await.unwrap();
    let _ =
        mortal.delete_many(&at(), entries(150..200).into_iter().map(|(key, _)| key).collect()).await.unwrap();
    clock.advance(HOUR / 2 + Duration::from_secs(60));
    assert_eq!(
        engine.sweep().unwrap(),
        KEYS - 200,
        "the rewritten, the eternal and the deleted ones are not"
    );
    assert_eq!(engine.sweep().unwrap(), 0, "a second sweep finds nothing");
    let left = mortal.keys(&at(), "", None, 1_000).await.unwrap();
    assert_eq!((left.keys.len(), left.cursor), (150, None));
    clock.advance(HOUR);
    assert_eq!(engine.sweep().unwrap(), 100);
    let left = mortal.keys(&at(), "", None, 1_000).await.unwrap();
    assert_eq!(left.keys, entries(100..150).into_iter().map(|(key, _)| key).collect::<Vec<_>>());
}

#[tokio::test]
async fn expiry_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions { time_to_live: Some(Duration::from_secs(60)) };
    let (engine, _) = with_clock(directory.path());
    let _ = engine.store(options).set(&at(), "k", VALUE).await.unwrap();
    drop(engine);
    let (engine, clock) = with_clock(directory.path());
    let store = engine.store(StoreOptions::default());
    assert!(store.exists(&at(), "k").await.unwrap(), "the time is not over");
    clock.advance(Duration::from_secs(60));
    assert!(
        !store.exists(&at(), "k").await.unwrap(),
        "the label's options do not matter, the written time does"
    );
    clock.advance(Duration::from_secs(60));
    assert_eq!(engine.sweep().unwrap(), 1);
}

#[tokio::test]
async fn expired_keys_leave_in_the_background_until_the_engine_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::new();
    let sweep_interval = Duration::from_millis(5);
    let options = EmbeddedOptions { clock: clock.clone(), sweep_interval, ..EmbeddedOptions::default() };
    let engine = Embedded::open_with(directory.path(), options).unwrap();
    let mortal = engine.store(StoreOptions { time_to_live: Some(Duration::from_secs(1)) });
    let _ = mortal.set(&at(), "k", VALUE).await.unwrap();
    clock.advance(Duration::from_secs(120));
    let deadline = Instant::now() + DEADLINE;
    while engine.swept_keys() == 0 {
        assert!(Instant::now() < deadline, "the key was not swept in {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    engine.close().await.unwrap();
    assert_eq!((engine.swept_keys(), engine.sweep().unwrap()), (1, 0));
}

#[tokio::test]
async fn a_page_over_many_expired_keys_is_bounded_and_goes_on() {
    const EXPIRED: usize = 9_000;
    let directory = tempfile::tempdir().unwrap();
    let (engine, clock) = with_clock(directory.path());
    let mortal = engine.store(StoreOptions { time_to_live: Some(Duration::from_secs(1)) });
    let entries = (0..EXPIRED).map(|i| (format!("{i:05}"), VALUE)).collect();
    let _ = mortal.set_many(&at(), entries).await.unwrap();
    clock.advance(Duration::from_secs(2));
    let _ = mortal.set(&at(), "last", VALUE).await.unwrap();
    let (mut keys, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = mortal.keys(&at(), "", cursor.as_deref(), 10).await.unwrap();
        keys.extend(page.keys);
        pages += 1;
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(keys, ["last"]);
    assert!((2..=5).contains(&pages), "{pages} pages");
}

#[tokio::test]
async fn labels_share_an_engine_and_have_a_time_to_live_each() {
    let directory = tempfile::tempdir().unwrap();
    let mut opener = Opener::new(directory.path().join("store"));
    let config = |time_to_live: Option<&str>, path: Option<&str>| StoreConfig::Embedded {
        path: path.map(|path| directory.path().join(path)),
        time_to_live: time_to_live.map(str::to_owned),
    };
    let first = opener.open(&config(None, None)).await.unwrap();
    let second = opener.open(&config(Some("1h"), Some("store/../store"))).await.unwrap();
    let _ = first.set(&at(), "k", VALUE).await.unwrap();
    assert_eq!(second.get(&at(), "k").await.unwrap(), Some(VALUE));
    second.close().await.unwrap();
    assert!(matches!(second.set(&at(), "k", VALUE).await, Err(Error::Closed)));
    first.set(&at(), "k", VALUE).await.unwrap().durable().await.unwrap();
    let elsewhere = waggle_kv::open(&StoreConfig::default(), &directory.path().join("store")).await;
    let error = elsewhere.err().unwrap();
    let own = std::process::id();
    assert!(matches!(error, Error::Locked { holder: Some(pid), .. } if pid == own), "{error}");
}
