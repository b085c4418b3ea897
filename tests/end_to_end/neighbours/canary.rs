//! No tenant ever finds what another left: in statics, in thread-locals, on the heap, in memory given back, in the
//! store. And what `isolation = "request"` means.

use super::tenants::{Caller, check_sound, with_tenants};
use crate::support::{Function, Server, Setup};
use futures::StreamExt as _;
use futures::stream;
use std::collections::{BTreeMap, BTreeSet};

const TENANTS: usize = 50;
/// Requests of the canary test, unless the environment says otherwise.
const REQUESTS_DEFAULT: usize = 5_000;
const REQUESTS_VARIABLE: &str = "WAGGLE_CANARY_REQUESTS";
/// Requests under way at once, over all tenants.
const AT_ONCE: usize = 32;

fn tenant_names() -> Vec<String> {
    (0..TENANTS).map(|number| format!("tenant-{number:02}")).collect()
}

fn with_all(setup: Setup, names: &[String], lines: &str) -> Server {
    with_tenants(setup, names.iter().map(|name| (&**name, lines))).start()
}

fn canary() -> Function {
    Function::guest("canary").with("key_value_stores = [\"default\"]")
}

/// What one request found.
struct Found {
    tenant: usize,
    /// How many requests its instance had served, this one included.
    served: u64,
    canaries: Vec<String>,
}

async fn leave_a_canary(callers: &[Caller], number: usize) -> Found {
    // Neighbours in time are different tenants, so that instances of all of them are made and ended side by side.
    let tenant = number % callers.len();
    let path = format!("/canary/?canary=canary-{tenant:02}-{number:014}");
    let (status, text) = callers[tenant].text(&path).await;
    assert_eq!(status, 200, "{text}");
    let mut words = text.split_whitespace().map(str::to_owned);
    let served = words.next().and_then(|word| word.parse().ok()).unwrap();
    Found { tenant, served, canaries: words.collect() }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_tenant_ever_sees_what_another_left() {
    let requests: usize =
        std::env::var(REQUESTS_VARIABLE).map_or(REQUESTS_DEFAULT, |text| text.parse().unwrap());
    let names = tenant_names();
    // Fewer instances than tenants: all through the test, instances end so that others' can be made.
    let config = "[engine]\ninstances_max = 30\n";
    let server = with_all(Setup::functions(&[canary()]).runtime_config(config), &names, "");
    let callers: Vec<Caller> = names.iter().map(|name| Caller::new(&server, name)).collect();
    let found: Vec<Found> = stream::iter(0..requests)
        .map(|number| leave_a_canary(&callers, number))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut own = 0_usize;
    for Found { tenant, canaries, .. } in &found {
        let mark = format!("canary-{tenant:02}-");
        for canary in canaries {
            assert!(canary.starts_with(&mark), "tenant {tenant} found {canary:?}");
            own += 1;
        }
    }
    assert!(own > requests, "the canaries are not kept: {own} found in {requests} requests");
    let reused = found.iter().filter(|found| found.served > 1).count();
    assert!(reused > requests / 50, "instances are not reused: {reused} of {requests} requests");
    check_clean_output(&server);
}

fn check_clean_output(server: &Server) {
    let output = server.output();
    let panicked: Vec<&str> = output.lines().filter(|line| line.starts_with("thread '")).collect();
    assert!(panicked.is_empty(), "{panicked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_wants_it_gets_fresh_memory_for_every_request() {
    let setup = Setup::functions(&[canary(), Function::guest("counter"), Function::hello()]);
    let server = with_tenants(
        setup,
        [("apart", "isolation = \"request\""), ("together", ""), (super::GOOD, "isolation = \"tenant\"")],
    )
    .start();
    let counts = async |tenant: &str| {
        let caller = Caller::new(&server, tenant);
        let asked = stream::iter(0..100).map(|_| caller.text("/counter/")).buffer_unordered(8);
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for (status, text) in asked.collect::<Vec<_>>().await {
            assert_eq!(status, 200, "{text}");
            *counts.entry(text).or_default() += 1;
        }
        counts
    };
    assert_eq!(counts("apart").await, BTreeMap::from([("1".to_owned(), 100)]));
    for tenant in ["together", super::GOOD] {
        let counts = counts(tenant).await;
        assert!(counts.len() > 20, "{tenant} has a fresh instance for most requests: {counts:?}");
    }
    // What is kept in the store outlives the instance; what is kept in memory does not.
    let caller = Caller::new(&server, "apart");
    for number in 0..20 {
        let (status, text) = caller.text(&format!("/canary/?canary=canary-{number:017}")).await;
        let found: BTreeSet<&str> = text.split_whitespace().collect();
        let before = format!("canary-{:017}", number - 1);
        let expected = if number == 0 { BTreeSet::from(["1"]) } else { BTreeSet::from(["1", &before]) };
        assert_eq!((status, found), (200, expected), "request {number}: {text}");
        assert!(text.split_whitespace().count() <= 2, "found in memory, too: {text}");
    }
    check_sound(&server, "isolation").await;
}
