//! What every store promises, run against each of them: the embedded one and a real Redis.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/clock.rs"]
mod clock;
#[path = "redis/outages.rs"]
mod redis_outages;
#[path = "support/redis.rs"]
mod redis_server;

#[path = "tenants/counters.rs"]
mod counters;
#[path = "tenants/erasing.rs"]
mod erasing;
#[path = "tenants/host_records.rs"]
mod host_records;
#[path = "tenants/quota.rs"]
mod quota;

use bytes::Bytes;
use clock::ManualClock;
use counters::{
    concurrent_charges_never_pass_a_bound_by_more_than_one, counters_are_charged_together_or_not_at_all,
    counters_are_erased_with_their_tenant_and_no_store_leads_to_them,
    counters_follow_the_model_whatever_is_done, counters_go_away_at_their_time,
    counting_refuses_what_is_no_counter,
};
use erasing::{
    a_closed_store_erases_nothing, an_expired_key_counts_no_more,
    erasing_leaves_nothing_of_one_tenant_and_all_of_the_others, other_tenants_write_on_while_one_is_erased,
    several_keys_are_swapped_together_or_not_at_all, usage_counts_live_keys_of_all_labels_of_one_tenant,
};
use host_records::{
    host_records_must_not_expire, records_are_written_by_revision_and_loaded_at_a_version,
    two_hosts_lose_no_change_of_each_other,
};
use proptest::{
    collection::vec,
    prelude::{Strategy, any, prop_oneof},
    sample::select,
    test_runner::{Config, TestRunner},
};
use quota::{
    a_limit_changes_in_place, a_write_beyond_the_quota_is_refused_and_deleting_makes_room,
    all_kinds_of_writes_count, concurrent_writers_exceed_the_quota_by_a_batch_each_at_most,
    overwriting_within_the_quota_is_never_refused, what_was_stored_before_the_start_counts,
};
use redis_server::RedisServer;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use waggle_kv::{
    BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, Embedded, EmbeddedOptions, Error, KEY_BYTES_MAX, KEYS_PAGE_MAX,
    Partition, RedisStore, Store, StoreOptions, Swap, VALUE_BYTES_MAX,
};

const DEADLINE: Duration = Duration::from_secs(20);

/// A store under test and what has to live as long as it.
struct Fixture {
    store: Arc<dyn Store>,
    /// The same data as another host (or another label) has it.
    second: Arc<dyn Store>,
    is_embedded: bool,
    clock: Arc<ManualClock>,
    _redis: Option<RedisServer>,
    _directory: Option<tempfile::TempDir>,
}

impl Fixture {
    async fn embedded(time_to_live: Option<Duration>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = ManualClock::new();
        let options = EmbeddedOptions { clock: clock.clone(), ..EmbeddedOptions::default() };
        let engine = Embedded::open_with(directory.path(), options).unwrap();
        let store = engine.store(StoreOptions { time_to_live });
        let second = engine.store(StoreOptions { time_to_live });
        Self { store, second, is_embedded: true, clock, _redis: None, _directory: Some(directory) }
    }

    async fn redis(time_to_live: Option<Duration>) -> Self {
        let server = RedisServer::start();
        let connect = async || {
            let store = RedisStore::connect(&server.url(), StoreOptions { time_to_live }).await.unwrap();
            Arc::new(store) as Arc<dyn Store>
        };
        let (store, second) = (connect().await, connect().await);
        let clock = ManualClock::new();
        Self { store, second, is_embedded: false, clock, _redis: Some(server), _directory: None }
    }

    /// Lets this span of the store's time pass: by hand where the clock is ours, by waiting where it is Redis'.
    async fn pass(&self, span: Duration) {
        if self.is_embedded {
            self.clock.advance(span);
        } else {
            tokio::time::sleep(span).await;
        }
    }
}

macro_rules! contract {
    ($($behaviour:ident($time_to_live:expr);)*) => {
        mod embedded {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() {
                super::$behaviour(Fixture::embedded($time_to_live).await).await;
            })*
        }
        mod redis {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() {
                super::$behaviour(Fixture::redis($time_to_live).await).await;
            })*
        }
    };
}

/// Long enough that a slow machine does not lose a key that a test has just written.
const TIME_TO_LIVE: Duration = Duration::from_millis(1_500);

contract! {
    a_write_is_seen_by_every_later_read(None);
    many_reads_keep_their_order(None);
    of_a_key_that_comes_twice_the_last_value_counts(None);
    deleting_many_leaves_the_rest(None);
    a_batch_is_seen_whole_or_not_at_all(None);
    a_batch_of_the_largest_size_is_written(None);
    swaps_compare_the_whole_value(None);
    contended_swaps_and_increments_lose_nothing(None);
    plain_writes_and_swaps_of_a_key_come_one_after_another(None);
    increments_refuse_what_is_no_number(None);
    keys_come_in_pages(None);
    only_keys_with_the_very_prefix_come(None);
    bounds_are_typed_errors_that_change_nothing(None);
    partitions_never_meet(None);
    a_closed_store_refuses_writes(None);
    an_expired_key_is_gone_for_every_read(Some(TIME_TO_LIVE));
    every_kind_of_write_starts_the_time_anew(Some(TIME_TO_LIVE));
    several_keys_are_swapped_together_or_not_at_all(None);
    usage_counts_live_keys_of_all_labels_of_one_tenant(None);
    an_expired_key_counts_no_more(Some(TIME_TO_LIVE));
    erasing_leaves_nothing_of_one_tenant_and_all_of_the_others(None);
    other_tenants_write_on_while_one_is_erased(None);
    a_closed_store_erases_nothing(None);
    a_write_beyond_the_quota_is_refused_and_deleting_makes_room(None);
    overwriting_within_the_quota_is_never_refused(None);
    what_was_stored_before_the_start_counts(None);
    a_limit_changes_in_place(None);
    all_kinds_of_writes_count(None);
    concurrent_writers_exceed_the_quota_by_a_batch_each_at_most(None);
    records_are_written_by_revision_and_loaded_at_a_version(None);
    two_hosts_lose_no_change_of_each_other(None);
    host_records_must_not_expire(Some(TIME_TO_LIVE));
    counters_are_charged_together_or_not_at_all(None);
    counters_follow_the_model_whatever_is_done(None);
    concurrent_charges_never_pass_a_bound_by_more_than_one(None);
    counters_go_away_at_their_time(Some(Duration::from_millis(1)));
    counters_are_erased_with_their_tenant_and_no_store_leads_to_them(None);
    counting_refuses_what_is_no_counter(None);
}

fn home() -> Partition {
    Partition::new("tenant", "default").unwrap()
}

fn value(text: impl Into<String>) -> Bytes {
    Bytes::from(text.into().into_bytes())
}

fn names(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

async fn all_keys(store: &dyn Store, partition: &Partition, prefix: &str, limit: usize) -> Vec<String> {
    let (mut keys, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.keys(partition, prefix, cursor.as_deref(), limit).await.unwrap();
        keys.extend(page.keys);
        cursor = page.cursor;
        if cursor.is_none() {
            return keys;
        }
    }
}

async fn a_write_is_seen_by_every_later_read(fixture: Fixture) {
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

async fn many_reads_keep_their_order(fixture: Fixture) {
    let (store, at) = (fixture.store, home());
    let entries = ["c", "a", "b"].map(|key| (key.to_owned(), value(key)));
    let _ = store.set_many(&at, entries.to_vec()).await.unwrap();
    let read = store.get_many(&at, &names(&["a", "missing", "b", "a", "c"])).await.unwrap();
    let expected = [Some("a"), None, Some("b"), Some("a"), Some("c")].map(|text| text.map(value));
    assert_eq!(read, expected);
    assert_eq!(store.get_many(&at, &[]).await.unwrap(), []);
}

async fn of_a_key_that_comes_twice_the_last_value_counts(fixture: Fixture) {
    let (store, at) = (fixture.store, home());
    for count in [2, 40] {
        let entries = (0..count).map(|i| ("k".to_owned(), value(i.to_string()))).collect();
        store.set_many(&at, entries).await.unwrap().durable().await.unwrap();
        assert_eq!(store.get(&at, "k").await.unwrap(), Some(value((count - 1).to_string())));
    }
}

async fn deleting_many_leaves_the_rest(fixture: Fixture) {
    let (store, at) = (fixture.store, home());
    let entries = ["a", "b", "c"].map(|key| (key.to_owned(), value("v")));
    let _ = store.set_many(&at, entries.to_vec()).await.unwrap();
    let mut commit = store.delete_many(&at, names(&["a", "c", "missing", "a"])).await.unwrap();
    commit.merge(store.delete_many(&at, Vec::new()).await.unwrap());
    commit.merge(store.set_many(&at, Vec::new()).await.unwrap());
    commit.durable().await.unwrap();
    assert_eq!(all_keys(&*store, &at, "", 10).await, ["b"]);
}

async fn a_batch_is_seen_whole_or_not_at_all(fixture: Fixture) {
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

async fn a_batch_of_the_largest_size_is_written(fixture: Fixture) {
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

async fn swaps_compare_the_whole_value(fixture: Fixture) {
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

async fn contended_swaps_and_increments_lose_nothing(fixture: Fixture) {
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
async fn plain_writes_and_swaps_of_a_key_come_one_after_another(fixture: Fixture) {
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

async fn increments_refuse_what_is_no_number(fixture: Fixture) {
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

async fn keys_come_in_pages(fixture: Fixture) {
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

async fn only_keys_with_the_very_prefix_come(fixture: Fixture) {
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

async fn bounds_are_typed_errors_that_change_nothing(fixture: Fixture) {
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

async fn partitions_never_meet(fixture: Fixture) {
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

async fn a_closed_store_refuses_writes(fixture: Fixture) {
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

async fn an_expired_key_is_gone_for_every_read(fixture: Fixture) {
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

async fn every_kind_of_write_starts_the_time_anew(fixture: Fixture) {
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
