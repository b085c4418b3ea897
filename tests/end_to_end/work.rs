//! Work that a function hands to the host: it comes back, to the same function and for the same caller, until it is
//! done, over crashes, within bounds, and from nobody else.

use crate::neighbours::tenants::{key_of, with_tenants};
use crate::support::{Function, PATIENCE, Server, Setup};
use crate::tenants_support::{Answer, Caller};
use std::time::{Duration, Instant};

/// A runtime configuration with waits that tests can wait for.
const QUICK: &str = "[work]\nretry_ms = [50]\n";

fn setup() -> Setup {
    let outbound =
        "key_value_stores = [\"default\"]\nallowed_outbound_hosts = [\"http://work.waggle.internal\"]";
    Setup::functions(&[Function::guest("queues-work").with(outbound)])
}

/// Has the function hand over `body`; `query` says how.
async fn enqueue(caller: &Caller, query: &str, body: &str) -> Answer {
    let request = caller.request("POST", &format!("/queues-work/enqueue?{query}"));
    Answer::of(request.body(body.to_owned())).await
}

/// The id of work that was taken.
async fn taken(caller: &Caller, query: &str, body: &str) -> String {
    let answer = enqueue(caller, query, body).await;
    let id = answer.json()["id"].as_str().unwrap_or_default().to_owned();
    assert_eq!((answer.status, id.len()), (202, 29), "{answer:?}");
    assert!(id.starts_with("work_"), "{id}");
    id
}

/// What the function has noted of deliveries.
async fn seen(caller: &Caller) -> String {
    let answer = caller.get("/queues-work/seen").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.text
}

/// Waits until the function has noted so many.
async fn seen_lines(caller: &Caller, lines: usize) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let seen = seen(caller).await;
        if seen.lines().count() >= lines {
            return seen;
        }
        assert!(Instant::now() < until, "{lines} deliveries never came: {seen}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn caller(server: &Server, tenant: &str) -> Caller {
    Caller::with(server, &key_of(tenant))
}

#[tokio::test]
async fn work_comes_back_as_it_was_handed_over() {
    let server = setup().runtime_config(QUICK).start();
    let caller = Caller::nobody(&server);
    let id = taken(&caller, "fail=0", "hello").await;
    let expected = format!("hello text/x-work waggle-work={id} waggle-work-attempt=1\n");
    assert_eq!(seen_lines(&caller, 1).await, expected);
}

#[tokio::test]
async fn work_that_fails_is_tried_again_and_dropped_after_the_last_attempt() {
    let server = setup().runtime_config(QUICK).start();
    let caller = Caller::nobody(&server);
    let id = taken(&caller, "fail=9", "never").await;
    let of = |attempt: u32, last: &str| {
        format!("never text/x-work waggle-work={id} waggle-work-attempt={attempt}{last}\n")
    };
    let expected = [of(1, ""), of(2, ""), of(3, " waggle-work-last=true")].concat();
    assert_eq!(seen_lines(&caller, 3).await, expected);
    server.wait_for_output("work is dropped: all its attempts have failed");
    let output = server.output();
    let line = output.lines().find(|line| line.contains("work is dropped")).unwrap();
    for named in ["default", "queues-work", "/queues-work/deliver", &id] {
        assert!(line.contains(named), "{named}: {line}");
    }
    assert!(!line.contains("never"), "the body is nobody's business: {line}");
    // A later attempt succeeds where it can.
    taken(&caller, "fail=1", "second").await;
    let seen = seen_lines(&caller, 5).await;
    assert_eq!(seen.lines().filter(|line| line.starts_with("second ")).count(), 2, "{seen}");
}

#[tokio::test]
async fn pending_work_is_delivered_after_kill_9() {
    // Nothing is tried again before the server is killed.
    let mut server = setup().runtime_config("[work]\nretry_ms = [4_000]\n").start();
    let before = Caller::nobody(&server);
    taken(&before, "fail=1", "kept").await;
    seen_lines(&before, 1).await;
    server.restart();
    let after = Caller::nobody(&server);
    // What the first one noted may be lost: it was read before it was durable (decision 2).
    let until = Instant::now() + PATIENCE;
    let seen = loop {
        let seen = seen_lines(&after, 1).await;
        if seen.contains("waggle-work-attempt=2") {
            break seen;
        }
        assert!(Instant::now() < until, "the second delivery never came: {seen}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(seen.lines().all(|line| line.starts_with("kept ")), "{seen}");
}

#[tokio::test]
async fn a_full_queue_and_what_is_wrong_is_said_at_once() {
    let config = "[work]\npending_per_tenant_max = 2\nretry_ms = [60_000]\n";
    let server = setup().runtime_config(config).start();
    let caller = Caller::nobody(&server);
    for body in ["first", "second"] {
        taken(&caller, "fail=9", body).await;
    }
    let refused = enqueue(&caller, "fail=0", "third").await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "work_queue_full"), "{refused:?}");
    let check = async |query: &str, status: u16, code: &str| {
        let refused = enqueue(&caller, query, "").await;
        assert_eq!((refused.status, refused.code().as_str()), (status, code), "{query}: {refused:?}");
    };
    check("path=relative", 400, "invalid_header").await;
    check(&format!("path=/{}", "a".repeat(512)), 400, "invalid_header").await;
    check("bytes=1048577", 413, "request_too_large").await;
}

#[tokio::test]
async fn a_client_cannot_pretend_to_be_a_delivery() {
    let server = setup().start();
    let caller = Caller::nobody(&server);
    let pretend = caller.request("POST", "/queues-work/deliver");
    let pretend =
        pretend.header("waggle-work", "work_aaaaaaaaaaaaaaaaaaaaaaaa").header("waggle-work-attempt", "1");
    let answer = Answer::of(pretend.header("waggle_work", "work_a").body("forged")).await;
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(seen(&caller).await, "");
}

#[tokio::test]
async fn a_function_that_may_not_hand_over_work_cannot() {
    let setup = Setup::functions(&[Function::guest("queues-work").with("key_value_stores = [\"default\"]")]);
    let server = setup.start();
    let answer = enqueue(&Caller::nobody(&server), "fail=0", "refused").await;
    assert!(answer.status >= 500, "{answer:?}");
    server.wait_for_output("outbound call refused");
}

#[tokio::test]
async fn work_belongs_to_its_tenant() {
    let server = with_tenants(setup().runtime_config(QUICK), [("bank", ""), ("shop", "")]).start();
    let (bank, shop) = (caller(&server, "bank"), caller(&server, "shop"));
    taken(&bank, "fail=0", "secret").await;
    let of_bank = seen_lines(&bank, 1).await;
    assert!(of_bank.starts_with("secret "), "{of_bank}");
    taken(&shop, "fail=0", "own").await;
    let of_shop = seen_lines(&shop, 1).await;
    assert!(of_shop.starts_with("own ") && !of_shop.contains("secret"), "{of_shop}");
    assert_eq!(seen(&bank).await, of_bank);
}
