//! A hostile tenant and the key-value store: foreign keys, twins, sizes, batches, labels.

use super::HOSTILE;
use super::tenants::{Caller, GOOD, Good, check_sound, with_tenants};
use crate::support::{Function, Server, Setup};

/// A tenant whose id is the beginning of another's.
const PREFIX: &str = "goo";

fn start() -> Server {
    let stored = "key_value_stores = [\"default\"]";
    let functions = [
        Function::guest("kv-tricks").with(stored),
        Function::guest("kv-probe").with(stored),
        Function::hello(),
    ];
    let setup = Setup::functions(&functions).runtime_config("[engine]\nrequest_cpu_ms_max = 10000\n");
    with_tenants(setup, [(GOOD, ""), (HOSTILE, ""), (PREFIX, "")]).start()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_and_no_label_leads_to_what_another_tenant_has() {
    let server = start();
    let good = Good::watch(&server).await;
    let owner = Caller::new(&server, GOOD);
    for tenant in [HOSTILE, PREFIX] {
        let hostile = Caller::new(&server, tenant);
        let check = async |trick: &str, expected: &str| {
            let outcome = hostile.outcome(&format!("/kv-tricks/{trick}?now"), &[("x-victim", GOOD)]).await;
            assert_eq!(outcome, format!("200 {expected}"), "{tenant}, {trick}\n{}", super::tail(&server));
        };
        for _ in 0..3 {
            check("keys", "found [], listed [], written 18, left 0").await;
            check("labels", "opened [], long false").await;
            check("twins", "9 of 9").await;
            check("cursors", "seen {\"own\"}, long false").await;
        }
        assert_eq!(owner.text("/kv-probe/spin3/keys").await, (200, "mark".to_owned()));
        assert_eq!(owner.text("/kv-probe/spin3/get?key=mark").await, (200, "good".to_owned()));
    }
    good.check_unharmed("foreign keys").await;
    check_sound(&server, "foreign keys").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_for_the_store_is_refused_with_the_bound() {
    let server = start();
    let (good, hostile) = (Good::watch(&server).await, Caller::new(&server, HOSTILE));
    let check = async |trick: &str, expected: &[&[&str]]| {
        let outcome = hostile.outcome(&format!("/kv-tricks/{trick}?now"), &[]).await;
        let told =
            outcome.strip_prefix("200 ").unwrap_or_else(|| panic!("{outcome}\n{}", super::tail(&server)));
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), expected.len(), "{told}");
        for (line, parts) in lines.iter().zip(expected) {
            assert!(parts.iter().all(|part| line.contains(part)), "{trick}: {line:?} lacks {parts:?}");
        }
    };
    let (done, key, value) = (&["done"][..], &["2048"][..], &["16777216"][..]);
    check("sizes", &[done, key, key, key, done, value, done, done]).await;
    let (entries, bytes) = (&["10001", "10000"][..], &["67108864"][..]);
    let (wide, number) = (&["2^63"][..], &["text"][..]);
    check("numbers", &[done, wide, done, wide, number, done]).await;
    check("batches", &[done, entries, entries, entries, done, bytes, done]).await;
    good.check_unharmed("what is too large").await;
    check_sound(&server, "what is too large").await;
}
