//! The queue as a whole, over a store in memory, on tokio's paused clock.

use crate::testing::{Act, Functions, Memory, work};
use crate::{Clock, EnqueueError, KeyedWork, Queue, Standing, WorkConfig, WorkId};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// A host: a queue that runs until it is killed.
struct Host {
    queue: Queue,
    task: JoinHandle<()>,
}

impl Host {
    fn start(config: &WorkConfig, clock: Clock, memory: &Memory, functions: &Functions) -> Self {
        let store = KeyedWork::new(memory.clone(), WorkId::random().to_string());
        let queue = Queue::new(config.clone(), clock, Arc::new(store), Arc::new(functions.clone()));
        let running = queue.clone();
        Self { queue, task: tokio::spawn(async move { running.run().await }) }
    }

    async fn enqueue(&self, tenant: &str, body: &str) -> Result<WorkId, EnqueueError> {
        self.queue.enqueue(tenant, &work(body)).await
    }

    /// As `kill -9`: nothing it has begun goes on.
    async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

/// A world of its own for a test.
struct World {
    config: WorkConfig,
    clock: Clock,
    memory: Memory,
    functions: Functions,
}

impl World {
    fn new(memory: Memory) -> Self {
        let config = WorkConfig { retry_ms: vec![1_000, 5_000], ..WorkConfig::default() };
        Self { config, clock: Clock::system(), memory, functions: Functions::default() }
    }

    fn host(&self) -> Host {
        self.host_by(&self.memory)
    }

    fn host_by(&self, memory: &Memory) -> Host {
        Host::start(&self.config, self.clock, memory, &self.functions)
    }

    async fn seen(&self, expected: &[&str]) {
        until("deliveries", || self.functions.seen().len() >= expected.len()).await;
        assert_eq!(self.functions.seen(), expected);
    }
}

/// Waits for a condition; the paused clock goes on meanwhile.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(7_200), waiting)
        .await
        .unwrap_or_else(|_late| panic!("waited in vain: {what}"));
}

#[tokio::test(start_paused = true)]
async fn work_is_delivered_as_it_was_handed_over_and_leaves_nothing() {
    let world = World::new(Memory::default());
    let host = world.host();
    let id = host.enqueue("a", "one").await.unwrap();
    world.seen(&["a one 1"]).await;
    let (_tenant, delivery) = world.functions.deliveries().remove(0);
    assert_eq!((delivery.id, delivery.work), (id, work("one")));
    until("an end", || host.queue.pending() == 0).await;
    assert_eq!(world.memory.keys_of("a"), ["index"]);
    until("the tenant to be off the list", || world.memory.listed().is_empty()).await;
    assert_eq!(host.queue.metrics().done.get(), 1);
    // It is put on the list again.
    host.enqueue("a", "two").await.unwrap();
    assert_eq!(world.memory.listed(), ["a"]);
    world.seen(&["a one 1", "a two 1"]).await;
}

#[tokio::test(start_paused = true)]
async fn work_that_fails_is_tried_again_after_its_waits_and_then_dropped() {
    let world = World::new(Memory::default());
    let host = world.host();
    let began = tokio::time::Instant::now();
    world.functions.act("bad", &[Act::Fail, Act::Fail, Act::Fail]);
    host.enqueue("a", "bad").await.unwrap();
    world.seen(&["a bad 1", "a bad 2", "a bad 3!"]).await;
    assert_eq!(began.elapsed().as_secs(), 6);
    until("an end", || host.queue.pending() == 0).await;
    let metrics = host.queue.metrics();
    assert_eq!((metrics.failed.get(), metrics.dropped.get(), metrics.done.get()), (2, 1, 0));
    assert_eq!(world.memory.keys_of("a"), ["index"]);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_takes_too_long_has_failed() {
    let world = World::new(Memory::default());
    let host = world.host();
    world.functions.act("slow", &[Act::Take(world.config.timeout() + Duration::from_secs(1))]);
    host.enqueue("a", "slow").await.unwrap();
    world.seen(&["a slow 1", "a slow 2"]).await;
    assert_eq!(host.queue.metrics().failed.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_has_a_bound_and_others_are_not_touched_by_it() {
    let world = World {
        config: WorkConfig { pending_per_tenant_max: 2, concurrent_per_tenant: 1, ..WorkConfig::default() },
        ..World::new(Memory::default())
    };
    let host = world.host();
    world.functions.act("slow", &[Act::Take(Duration::from_secs(5))]);
    host.enqueue("a", "slow").await.unwrap();
    host.enqueue("a", "next").await.unwrap();
    let refused = host.enqueue("a", "more").await;
    assert!(matches!(refused, Err(EnqueueError::Full { pending_max: 2 })), "{refused:?}");
    host.enqueue("b", "mine").await.unwrap();
    world.seen(&["a slow 1", "b mine 1", "a next 1"]).await;
    until("an end", || host.queue.pending() == 0).await;
    host.enqueue("a", "again").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn deliveries_at_once_are_bounded_and_every_tenant_gets_its_turn() {
    let world = World {
        config: WorkConfig { concurrent_per_tenant: 2, concurrent_max: 3, ..WorkConfig::default() },
        ..World::new(Memory::default())
    };
    let host = world.host();
    for (tenant, count) in [("busy", 20), ("calm", 1)] {
        for number in 0..count {
            let body = format!("{tenant}{number}");
            world.functions.act(&body, &[Act::Take(Duration::from_secs(1))]);
            host.enqueue(tenant, &body).await.unwrap();
        }
    }
    until("an end", || host.queue.pending() == 0).await;
    assert_eq!(world.functions.most(), (2, 3));
    let seen = world.functions.seen();
    let calm = seen.iter().position(|one| one.starts_with("calm")).unwrap();
    assert!(calm <= 3, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn pending_work_survives_a_crash_and_the_attempt_that_ran_is_used_up() {
    let world = World {
        config: WorkConfig { concurrent_per_tenant: 1, ..WorkConfig::default() },
        ..World::new(Memory::default())
    };
    let host = world.host();
    world.functions.act("first", &[Act::Take(Duration::from_secs(500))]);
    host.enqueue("a", "first").await.unwrap();
    host.enqueue("a", "second").await.unwrap();
    world.seen(&["a first 1"]).await;
    host.kill().await;
    let _host = world.host();
    world.seen(&["a first 1", "a first 2", "a second 1"]).await;
}

#[tokio::test(start_paused = true)]
async fn work_whose_last_attempt_was_cut_off_is_dropped() {
    let world = World {
        config: WorkConfig { attempts_max: 1, ..WorkConfig::default() },
        ..World::new(Memory::default())
    };
    let host = world.host();
    world.functions.act("first", &[Act::Take(Duration::from_secs(500))]);
    host.enqueue("a", "first").await.unwrap();
    world.seen(&["a first 1!"]).await;
    host.kill().await;
    let host = world.host();
    until("a drop", || host.queue.metrics().dropped.get() == 1).await;
    assert_eq!((world.functions.seen().len(), host.queue.pending()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_orderly_end_waits_and_gives_back_what_it_cuts_off() {
    let world = World::new(Memory::default());
    let host = world.host();
    world.functions.act("short", &[Act::Take(Duration::from_secs(2))]);
    world.functions.act("long", &[Act::Take(Duration::from_secs(500))]);
    host.enqueue("a", "short").await.unwrap();
    host.enqueue("a", "long").await.unwrap();
    world.seen(&["a short 1", "a long 1"]).await;
    host.queue.stop();
    assert!(matches!(host.enqueue("a", "late").await, Err(EnqueueError::Overloaded)));
    sleep(Duration::from_secs(3)).await;
    assert!(!host.task.is_finished());
    host.queue.end();
    host.task.await.unwrap();
    assert_eq!((host.queue.metrics().done.get(), host.queue.metrics().interrupted.get()), (1, 1));
    let _host = world.host();
    world.seen(&["a short 1", "a long 1", "a long 1"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_suspended_tenants_work_waits_and_a_removed_ones_is_gone() {
    let world = World::new(Memory::default());
    let host = world.host();
    world.functions.stand("a", Standing::Suspended);
    host.enqueue("a", "one").await.unwrap();
    host.enqueue("b", "other").await.unwrap();
    world.seen(&["b other 1"]).await;
    world.functions.stand("a", Standing::Served);
    host.queue.tenant_changed("a");
    world.seen(&["b other 1", "a one 1"]).await;
    world.functions.stand("a", Standing::Suspended);
    host.enqueue("a", "two").await.unwrap();
    world.functions.stand("a", Standing::Gone);
    host.queue.tenant_changed("a");
    assert_eq!(host.queue.pending(), 0);
    world.memory.erase("a");
    until("the tenant to be off the list", || world.memory.listed() == [""; 0]).await;
    assert_eq!(world.memory.keys_of("a"), [""; 0]);
    assert_eq!(world.functions.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn hosts_that_share_a_store_deliver_once_and_take_over_from_one_that_died() {
    let world = World::new(Memory::shared());
    let (first, second) = (world.host(), world.host());
    // Longer than a lease, which the host that is alive renews.
    world.functions.act("long", &[Act::Take(Duration::from_secs(300))]);
    first.enqueue("a", "long").await.unwrap();
    until("an end", || first.queue.metrics().done.get() == 1).await;
    until("the other to notice", || second.queue.pending() == 0).await;
    world.seen(&["a long 1"]).await;
    world.functions.act("cut", &[Act::Take(Duration::from_secs(300))]);
    first.enqueue("a", "cut").await.unwrap();
    world.seen(&["a long 1", "a cut 1"]).await;
    first.kill().await;
    world.seen(&["a long 1", "a cut 1", "a cut 2"]).await;
    until("an end", || second.queue.metrics().done.get() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_cannot_renew_its_lease_ends_before_another_begins() {
    let world = World::new(Memory::shared());
    let ways = [world.memory.by_another_way(), world.memory.by_another_way()];
    let (first, second) = (world.host_by(&ways[0]), world.host_by(&ways[1]));
    world.functions.act("long", &[Act::Take(Duration::from_secs(300)), Act::Take(Duration::from_secs(300))]);
    first.enqueue("a", "long").await.unwrap();
    world.seen(&["a long 1"]).await;
    ways[0].cut_off(true);
    world.seen(&["a long 1", "a long 2"]).await;
    assert_eq!(first.queue.metrics().interrupted.get(), 1);
    ways[0].cut_off(false);
    until("an end", || second.queue.metrics().done.get() == 1).await;
    assert_eq!(world.functions.most(), (1, 1), "they had it both at once");
    until("the other to notice", || first.queue.pending() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_renewed_in_the_end_is_kept() {
    let world = World::new(Memory::shared());
    let way = world.memory.by_another_way();
    let (first, _second) = (world.host_by(&way), world.host());
    world.functions.act("long", &[Act::Take(Duration::from_secs(100))]);
    first.enqueue("a", "long").await.unwrap();
    world.seen(&["a long 1"]).await;
    way.cut_off(true);
    sleep(Duration::from_secs(22)).await;
    way.cut_off(false);
    until("an end", || first.queue.metrics().done.get() == 1).await;
    world.seen(&["a long 1"]).await;
}

#[tokio::test(start_paused = true)]
async fn suspended_tenants_keep_no_work_of_others_out() {
    let config = WorkConfig { pending_max: 2, ..WorkConfig::default() };
    let world = World { config, ..World::new(Memory::default()) };
    let host = world.host();
    for tenant in ["a", "b"] {
        world.functions.act(tenant, &[Act::Take(Duration::from_secs(500))]);
        host.enqueue(tenant, tenant).await.unwrap();
    }
    world.seen(&["a a 1", "b b 1"]).await;
    assert!(matches!(host.enqueue("c", "c").await, Err(EnqueueError::Overloaded)));
    for tenant in ["a", "b"] {
        world.functions.stand(tenant, Standing::Suspended);
        host.queue.tenant_changed(tenant);
    }
    host.enqueue("c", "c").await.unwrap();
    world.seen(&["a a 1", "b b 1", "c c 1"]).await;
    // A host that begins finds them suspended.
    host.kill().await;
    let host = world.host();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(host.queue.pending(), 0);
    world.functions.stand("b", Standing::Served);
    host.queue.tenant_changed("b");
    let began = tokio::time::Instant::now();
    world.seen(&["a a 1", "b b 1", "c c 1", "b b 1"]).await;
    assert!(began.elapsed() < Duration::from_secs(1), "it is looked for at once");
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_ends_with_its_tenant_and_counts_no_attempt() {
    let world = World::new(Memory::default());
    let host = world.host();
    for tenant in ["a", "b"] {
        world.functions.act(tenant, &[Act::Take(Duration::from_secs(500))]);
        host.enqueue(tenant, tenant).await.unwrap();
    }
    world.seen(&["a a 1", "b b 1"]).await;
    world.functions.stand("a", Standing::Suspended);
    host.queue.tenant_changed("a");
    until("an interruption", || host.queue.metrics().interrupted.get() == 1).await;
    world.functions.stand("a", Standing::Served);
    host.queue.tenant_changed("a");
    world.seen(&["a a 1", "b b 1", "a a 1"]).await;
    until("an end", || host.queue.metrics().done.get() == 2).await;
    assert_eq!(host.queue.metrics().interrupted.get(), 1, "the other tenant's went on");
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_a_wrong_clock_has_written_is_not_kept() {
    let world = World::new(Memory::default());
    let ahead = World {
        config: world.config.clone(),
        clock: Clock::ahead(Duration::from_secs(3_600)),
        memory: world.memory.clone(),
        functions: world.functions.clone(),
    };
    world.functions.act("bad", &[Act::Fail]);
    let host = ahead.host();
    host.enqueue("a", "bad").await.unwrap();
    until("a failure", || host.queue.metrics().failed.get() == 1).await;
    host.kill().await;
    let began = tokio::time::Instant::now();
    let _host = world.host();
    world.seen(&["a bad 1", "a bad 2"]).await;
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

/// Holds all that a tenant has against `kv-schemas/host-work.json`; how many keys that are.
fn check_schema(memory: &Memory, tenant: &str) -> usize {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kv-schemas/host-work.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let keys = jsonschema::validator_for(&schema["key"]).unwrap();
    let values = jsonschema::validator_for(&schema["value"]).unwrap();
    let found = memory.keys_of(tenant);
    for key in &found {
        assert!(keys.is_valid(&Value::from(key.as_str())), "{key}");
        if key.starts_with("work/") {
            continue;
        }
        let value: Value = serde_json::from_slice(&memory.value(tenant, key).unwrap()).unwrap();
        let mistake = values.validate(&value).err().map(|mistake| mistake.to_string());
        assert_eq!(mistake, None, "{key}: {value}");
    }
    assert!(!keys.is_valid(&Value::from("work/x")) && !values.is_valid(&serde_json::json!({"open": [1]})));
    found.len()
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_is_as_its_schema_says() {
    let world = World::new(Memory::default());
    let host = world.host();
    world.functions.act("one", &[Act::Take(Duration::from_secs(2)), Act::Succeed]);
    host.enqueue("a", "one").await.unwrap();
    world.seen(&["a one 1"]).await;
    assert_eq!(check_schema(&world.memory, "a"), 3, "it is held");
    host.kill().await;
    world.functions.act("bad", &[Act::Fail]);
    let host = world.host();
    host.enqueue("b", "bad").await.unwrap();
    until("a failure", || host.queue.metrics().failed.get() == 1).await;
    assert_eq!(check_schema(&world.memory, "b"), 3, "it waits");
    until("the end of all", || host.queue.pending() == 0 && world.memory.listed().is_empty()).await;
    assert_eq!((check_schema(&world.memory, "a"), check_schema(&world.memory, "b")), (1, 1));
}

/// What happens to the hosts over one store.
#[derive(Clone, Debug)]
enum Event {
    Enqueue(u8),
    Wait(u64),
    /// The store stops after so many operations, and with it the host; a new one starts.
    Crash(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0_u8..3).prop_map(Event::Enqueue),
        2 => (0_u64..40_000).prop_map(Event::Wait),
        2 => (0_usize..12).prop_map(Event::Crash),
    ];
    proptest::collection::vec(event, 1..24)
}

async fn live(events: Vec<Event>) -> Result<(), TestCaseError> {
    // With more attempts than crashes, no work is used up by them.
    let config = WorkConfig { attempts_max: 50, ..WorkConfig::default() };
    let world = World { config, ..World::new(Memory::default()) };
    let (mut host, mut crash_pending) = (world.host(), false);
    let mut acknowledged: HashMap<WorkId, String> = HashMap::new();
    for (number, event) in events.into_iter().enumerate() {
        match event {
            Event::Enqueue(tenant) => {
                let body = number.to_string();
                world.functions.act(&body, &[Act::Take(Duration::from_secs(number as u64)), Act::Succeed]);
                if let Ok(id) = host.enqueue(&format!("tenant{tenant}"), &body).await {
                    acknowledged.insert(id, body);
                }
            }
            Event::Wait(ms) => sleep(Duration::from_millis(ms)).await,
            Event::Crash(operations) if !crash_pending => {
                world.memory.fail_after(Some(operations));
                crash_pending = true;
            }
            Event::Crash(_) => {
                host.kill().await;
                world.memory.fail_after(None);
                crash_pending = false;
                host = world.host();
            }
        }
    }
    host.kill().await;
    world.memory.fail_after(None);
    let host = world.host();
    sleep(Duration::from_secs(600)).await;
    prop_assert_eq!(host.queue.pending(), 0);
    let delivered: Vec<WorkId> = world.functions.deliveries().into_iter().map(|(_, one)| one.id).collect();
    for (id, body) in &acknowledged {
        prop_assert!(delivered.contains(id), "{} was acknowledged and never delivered", body);
    }
    for tenant in 0..3 {
        let left = world.memory.keys_of(&format!("tenant{tenant}"));
        prop_assert!(left.iter().all(|key| key == "index"), "{:?}", left);
    }
    prop_assert!(world.memory.listed().is_empty());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_acknowledged_is_lost_over_crashes(events in events()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(live(events))?;
    }
}
