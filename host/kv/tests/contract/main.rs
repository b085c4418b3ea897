//! What every store promises, run against each of them: the embedded one and a real Redis.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod changes;
#[path = "../support/clock.rs"]
mod clock;
mod counters;
mod erasing;
mod host_records;
mod keys;
mod lifetimes;
mod outages;
mod quota;
#[path = "../support/redis.rs"]
mod redis_server;
mod writes;

use bytes::Bytes;
use clock::ManualClock;
use redis_server::RedisServer;
use std::{sync::Arc, time::Duration};
use waggle_kv::{Embedded, EmbeddedOptions, Partition, RedisStore, Store, StoreOptions};

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

/// Tests of each behaviour over each store, by the module that has it.
macro_rules! contract {
    ($($subject:ident { $($behaviour:ident($time_to_live:expr);)* })*) => {
        mod embedded {
            $(mod $subject {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $behaviour() {
                    crate::$subject::$behaviour(crate::Fixture::embedded($time_to_live).await).await;
                })*
            })*
        }
        mod redis {
            $(mod $subject {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $behaviour() {
                    crate::$subject::$behaviour(crate::Fixture::redis($time_to_live).await).await;
                })*
            })*
        }
    };
}

/// Long enough that a slow machine does not lose a key that a test has just written.
const TIME_TO_LIVE: Duration = Duration::from_millis(1_500);

contract! {
    writes {
        a_write_is_seen_by_every_later_read(None);
        many_reads_keep_their_order(None);
        of_a_key_that_comes_twice_the_last_value_counts(None);
        deleting_many_leaves_the_rest(None);
        a_batch_is_seen_whole_or_not_at_all(None);
        a_batch_of_the_largest_size_is_written(None);
    }
    changes {
        swaps_compare_the_whole_value(None);
        contended_swaps_and_increments_lose_nothing(None);
        plain_writes_and_swaps_of_a_key_come_one_after_another(None);
        increments_refuse_what_is_no_number(None);
    }
    keys {
        keys_come_in_pages(None);
        only_keys_with_the_very_prefix_come(None);
        bounds_are_typed_errors_that_change_nothing(None);
        partitions_never_meet(None);
    }
    lifetimes {
        a_closed_store_refuses_writes(None);
        an_expired_key_is_gone_for_every_read(Some(crate::TIME_TO_LIVE));
        every_kind_of_write_starts_the_time_anew(Some(crate::TIME_TO_LIVE));
    }
    erasing {
        several_keys_are_swapped_together_or_not_at_all(None);
        usage_counts_live_keys_of_all_labels_of_one_tenant(None);
        an_expired_key_counts_no_more(Some(crate::TIME_TO_LIVE));
        erasing_leaves_nothing_of_one_tenant_and_all_of_the_others(None);
        other_tenants_write_on_while_one_is_erased(None);
        a_closed_store_erases_nothing(None);
    }
    quota {
        a_write_beyond_the_quota_is_refused_and_deleting_makes_room(None);
        overwriting_within_the_quota_is_never_refused(None);
        what_was_stored_before_the_start_counts(None);
        a_limit_changes_in_place(None);
        all_kinds_of_writes_count(None);
        concurrent_writers_exceed_the_quota_by_a_batch_each_at_most(None);
    }
    host_records {
        records_are_written_by_revision_and_loaded_at_a_version(None);
        two_hosts_lose_no_change_of_each_other(None);
        host_records_must_not_expire(Some(crate::TIME_TO_LIVE));
    }
    counters {
        counters_are_charged_together_or_not_at_all(None);
        counters_follow_the_model_whatever_is_done(None);
        concurrent_charges_never_pass_a_bound_by_more_than_one(None);
        counters_go_away_at_their_time(Some(std::time::Duration::from_millis(1)));
        counters_are_erased_with_their_tenant_and_no_store_leads_to_them(None);
        counting_refuses_what_is_no_counter(None);
    }
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
