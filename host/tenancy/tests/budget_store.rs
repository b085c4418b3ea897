//! Budgets over the stores that hosts have: the embedded one over a restart, and a real Redis that several hosts share,
//! that goes away and comes back.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

#[path = "../../kv/tests/support/redis.rs"]
mod redis_server;

use redis_server::RedisServer;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use waggle_kv::{BudgetRecords, Embedded, Error, RedisStore, Store, StoreOptions, TenantPart};
use waggle_tenancy::{
    Budget, BudgetStore, BudgetStoreFailure, Budgets, Counted, CounterChange, Estimate, Limits, TenantId,
};

const DEADLINE: Duration = Duration::from_secs(30);

/// What connects the two crates, as an application does.
struct Counters(BudgetRecords);

#[async_trait::async_trait]
impl BudgetStore for Counters {
    async fn count(
        &self,
        tenant: &TenantId,
        changes: &[CounterChange],
    ) -> Result<Counted, BudgetStoreFailure> {
        let change = |change: &CounterChange| waggle_kv::CounterChange {
            key: change.key.clone(),
            correction: change.correction,
            charge: change.charge,
            below: change.below,
            expires_ms: change.expires_ms,
        };
        let changes: Vec<_> = changes.iter().map(change).collect();
        match self.0.count(tenant.as_str(), &changes).await.map_err(failure)? {
            waggle_kv::Counted::Charged { totals } => Ok(Counted { is_charged: true, totals }),
            waggle_kv::Counted::Refused { totals, .. } => Ok(Counted { is_charged: false, totals }),
        }
    }

    async fn read(&self, tenant: &TenantId, keys: &[String]) -> Result<Vec<u64>, BudgetStoreFailure> {
        self.0.read(tenant.as_str(), keys).await.map_err(failure)
    }
}

fn failure(error: Error) -> BudgetStoreFailure {
    BudgetStoreFailure::new(error.to_string())
}

fn budgets(store: &Arc<dyn Store>) -> Budgets {
    Budgets::new(Arc::new(Counters(BudgetRecords::new(Arc::clone(store)))))
}

fn tenant(id: &str) -> TenantId {
    TenantId::new(id).unwrap()
}

/// Limits of months, so that no test runs over the end of a window but once a month.
fn limits() -> Limits {
    let limits = json!({ "tokens_per_month": 1_000, "cost_per_month": "1", "user_tokens_per_month": 1_000 });
    serde_json::from_value(limits).unwrap()
}

fn budget(budgets: &Budgets) -> Arc<Budget> {
    budgets.of(&tenant("acme"), &limits()).unwrap()
}

fn calls(tokens: u64) -> Estimate {
    Estimate { tokens, cost_micros: tokens }
}

async fn used(budget: &Arc<Budget>) -> Vec<u64> {
    budget.state(Some("ann")).await.iter().map(|state| state.used).collect()
}

async fn connect(server: &RedisServer) -> Arc<dyn Store> {
    Arc::new(RedisStore::connect(&server.url(), StoreOptions::default()).await.unwrap())
}

fn open(directory: &Path) -> Arc<dyn Store> {
    Embedded::open(directory).unwrap().store(StoreOptions::default())
}

/// The files as they are at this moment, which is what kill -9 leaves of them.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_used_survives_a_restart_and_kill_9() {
    const PATIENCE: Duration = Duration::from_secs(30);
    let directory = tempfile::tempdir().unwrap();
    let used_in = async |directory: &Path| {
        let store = open(directory);
        used(&budget(&budgets(&store))).await
    };
    {
        let store = open(directory.path());
        let budget = budget(&budgets(&store));
        budget.reserve(Some("ann"), calls(100)).await.unwrap().settle(70, 60);
        budget.reserve(None, calls(5)).await.unwrap().settle(9, 9);
        let under_way = budget.reserve(Some("ann"), calls(30)).await.unwrap();
        // A step is in the files within a hundredth of a second; what a killed host leaves is what is in them.
        let until = Instant::now() + PATIENCE;
        loop {
            let killed = tempfile::tempdir().unwrap();
            copy(directory.path(), killed.path());
            let used = used_in(killed.path()).await;
            if used == [79 + 30, 69 + 30, 70 + 30] {
                break;
            }
            assert!(Instant::now() < until, "a killed host leaves {used:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        under_way.settle(20, 20);
    }
    assert_eq!(used_in(directory.path()).await, [99, 89, 90]);
}

/// Calls on one host until the budget is used up; the sum of what they used.
async fn use_up(budget: Arc<Budget>, seed: u64, most: u64) -> u64 {
    let mut sum = 0;
    for call in 0.. {
        let estimate = 1 + (seed * 7 + call * 13) % most;
        match budget.reserve(Some("ann"), calls(estimate)).await {
            Ok(reservation) => {
                tokio::task::yield_now().await;
                let spent = if call % 3 == 0 { estimate / 2 } else { estimate };
                sum += spent;
                reservation.settle(spent, spent);
            }
            // What is under way, here or on another host, may be given back.
            Err(_over) if call < 500 => tokio::task::yield_now().await,
            Err(_over) => break,
        }
    }
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_that_share_a_redis_overshoot_by_one_call_together() {
    const MOST: u64 = 41;
    let server = RedisServer::start();
    let (one, other) = (budgets(&connect(&server).await), budgets(&connect(&server).await));
    let hosts = [budget(&one), budget(&other)];
    let tasks: Vec<_> =
        (0..12).map(|task| tokio::spawn(use_up(Arc::clone(&hosts[task as usize % 2]), task, MOST))).collect();
    let mut sum = 0;
    for task in tasks {
        sum += task.await.unwrap();
    }
    one.close().await;
    other.close().await;
    assert!(sum < 1_000 + MOST, "{sum} of 1000, by calls of at most {MOST}");
    for budget in &hosts {
        assert_eq!(used(budget).await, [sum, sum, sum], "every token is counted once");
    }
    assert!(sum > 900, "{sum} of 1000: a budget that refuses nearly everything keeps no promise either");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_goes_and_comes_back_learns_what_it_missed() {
    let mut server = RedisServer::start();
    let budgets = budgets(&connect(&server).await);
    let budget = budget(&budgets);
    budget.reserve(Some("ann"), calls(100)).await.unwrap().settle(100, 100);
    server.kill();
    let began = Instant::now();
    for _ in 0..5 {
        budget.reserve(Some("ann"), calls(100)).await.unwrap().settle(50, 50);
    }
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let raw = RedisStore::connect(&server.url(), StoreOptions::default()).await.err().unwrap();
    assert!(!format!("{} {raw:?}", failure(raw.clone())).contains(server.password()));
    let states = budget.state(None).await;
    assert_eq!(states[0].used, 350, "the tenant's use goes on from what was last seen");
    let over =
        async { while budget.reserve(None, calls(100)).await.map(|call| call.settle(100, 0)).is_ok() {} };
    tokio::time::timeout(DEADLINE, over).await.unwrap();
    assert_eq!(budget.state(None).await[0].used, 1_050, "bounded while Redis is away");
    // It comes back empty: what it knew before is gone with it, what it missed is not.
    server.restart();
    let raw = connect(&server).await;
    let records = BudgetRecords::new(raw);
    let deadline = Instant::now() + DEADLINE;
    let counted = loop {
        let keys = records.keys("acme").await.unwrap();
        let user = keys.iter().find(|key| key.starts_with("user/"));
        let tenants = keys.iter().find(|key| key.starts_with("tokens/"));
        if let (Some(user), Some(tenants)) = (user, tenants) {
            break records.read("acme", &[tenants.clone(), user.clone()]).await.unwrap();
        }
        assert!(Instant::now() < deadline, "it has learnt nothing: {keys:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(counted, [950, 250]);
}

fn schema() -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../kv-schemas/host-budget.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn all_limits() -> Limits {
    let limits = json!({
        "tokens_per_minute": 10, "tokens_per_day": 10, "tokens_per_month": 10, "cost_per_minute": 10,
        "cost_per_day": 10, "cost_per_month": 10, "user_tokens_per_minute": 10, "user_tokens_per_day": 10,
        "user_tokens_per_month": 10, "user_cost_per_day": 10, "user_cost_per_month": 10,
    });
    serde_json::from_value(limits).unwrap()
}

#[tokio::test]
async fn every_counter_is_as_its_family_is_described_and_is_erased_with_its_tenant() {
    let server = RedisServer::start();
    let store = connect(&server).await;
    let budgets = budgets(&store);
    for id in ["acme", "bank-7_eu"] {
        let budget = budgets.of(&tenant(id), &all_limits()).unwrap();
        budget.reserve(Some("ann@example.com"), calls(7)).await.unwrap().settle(7, 7);
    }
    let schema = schema();
    let key =
        jsonschema::validator_for(&json!({ "type": "string", "pattern": schema["key"]["pattern"] })).unwrap();
    let value = jsonschema::validator_for(&schema["value"]).unwrap();
    let client = redis::Client::open(server.url()).unwrap();
    let mut raw = client.get_connection().unwrap();
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query(&mut raw).unwrap();
    let now_ms = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    let mut seen = 0;
    for full in keys {
        // The key in Redis is part of the format: the tenant, no label, the family, then the counter.
        let prefix = b"\x00\x04acme\x00\x00\x00\x06budget";
        let Some(counter) = full.strip_prefix(prefix) else { continue };
        let counter = std::str::from_utf8(counter).unwrap();
        assert!(key.is_valid(&json!(counter)) && !counter.contains("ann"), "{counter}");
        let content: String = redis::cmd("GET").arg(&full).query(&mut raw).unwrap();
        assert!(value.is_valid(&json!(content)) && content == "7", "{counter}: {content}");
        let expires_ms: i64 = redis::cmd("PTTL").arg(&full).query(&mut raw).unwrap();
        let period = counter.rsplit('/').nth(1).unwrap();
        let most_s = schema["time_to_live_s"][period].as_i64().unwrap();
        assert!((1..=most_s * 1_000).contains(&expires_ms), "{counter} lives {expires_ms} ms at {now_ms}");
        seen += 1;
    }
    assert_eq!(seen, 11);
    let erased = store.erase(&TenantPart::new("acme").unwrap()).await.unwrap();
    assert_eq!((erased.keys, erased.remaining), (11, 0));
    budgets.forget(&tenant("acme"));
    let state = async |id: &str| {
        let budget = budgets.of(&tenant(id), &all_limits()).unwrap();
        budget.state(None).await.iter().map(|state| state.used).collect::<Vec<_>>()
    };
    assert_eq!(state("acme").await, [0; 6]);
    assert_eq!(state("bank-7_eu").await, [7; 6]);
}

#[tokio::test]
async fn counters_of_users_are_bounded_by_their_windows() {
    const USERS: usize = 300;
    const DAY_S: u64 = 86_400;
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let records = BudgetRecords::new(Arc::clone(&store));
    let today = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() / DAY_S;
    // A noon far in the future: nothing expires while the test looks at it, and no day ends.
    let clock_s = Arc::new(AtomicU64::new((today + 10 * 365) * DAY_S + DAY_S / 2));
    let clock = Arc::clone(&clock_s);
    let counters = Arc::new(Counters(BudgetRecords::new(Arc::clone(&store))));
    let budgets = Budgets::with_clock(counters, Arc::new(move || clock.load(Ordering::SeqCst)));
    let check = async |limits: Value, per_user: usize| {
        let limits: Limits = serde_json::from_value(limits).unwrap();
        let before = records.keys("acme").await.unwrap().len();
        let budget = budgets.of(&tenant("acme"), &limits).unwrap();
        for user in 0..USERS {
            budget.reserve(Some(&format!("u{user}")), calls(1)).await.unwrap().settle(1, 1);
        }
        let grown = records.keys("acme").await.unwrap().len() - before;
        assert_eq!(grown, 1 + USERS * per_user);
        clock_s.fetch_add(60, Ordering::SeqCst);
    };
    check(json!({ "tokens_per_minute": 100_000 }), 0).await;
    check(json!({ "tokens_per_minute": 100_000, "user_tokens_per_day": 1_000 }), 1).await;
    check(json!({ "tokens_per_minute": 100_000, "user_tokens_per_day": 1_000 }), 0).await;
    // By a clock that is behind, everything is over at once: nothing stays.
    clock_s.store(1_000_000_000, Ordering::SeqCst);
    let keys = records.keys("acme").await.unwrap().len();
    let budget = budgets.of(&tenant("acme"), &all_limits()).unwrap();
    budget.reserve(Some("ann"), calls(1)).await.unwrap().settle(1, 1);
    assert_eq!(records.keys("acme").await.unwrap().len(), keys);
}
