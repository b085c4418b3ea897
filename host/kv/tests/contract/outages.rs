//! What the Redis store does when its server is away, wrong or someone else's.

use crate::redis_server::RedisServer;
use bytes::Bytes;
use std::{
    net::TcpListener,
    time::{Duration, Instant},
};
use waggle_kv::{Error, Partition, RedisStore, Store, StoreOptions};

const DEADLINE: Duration = Duration::from_secs(30);

fn at() -> Partition {
    Partition::new("tenant", "default").unwrap()
}

async fn refusal(url: &str) -> Error {
    RedisStore::connect(url, StoreOptions::default()).await.err().unwrap()
}

#[tokio::test]
async fn an_unreachable_server_is_named_without_its_password() {
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let error = refusal(&format!("redis://user:hunter2@127.0.0.1:{port}/1")).await;
    let said = format!("{error} {error:?}");
    assert!(matches!(error, Error::Unreachable { .. }), "{said}");
    assert!(
        said.contains(&format!("redis://user:***@127.0.0.1:{port}/1")) && !said.contains("hunter2"),
        "{said}"
    );
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_on() {
    // Accepts connections into its backlog and never reads them.
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let error = tokio::time::timeout(DEADLINE, refusal(&url)).await.unwrap();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_wrong_password_is_a_refusal_that_does_not_show_it() {
    let server = RedisServer::start();
    let url = server.url().replace(server.password(), "hunter2");
    let error = refusal(&url).await;
    let said = format!("{error} {error:?}");
    assert!(matches!(error, Error::Refused { .. }), "{said}");
    assert!(!said.contains("hunter2") && !said.contains(server.password()), "{said}");
}

#[tokio::test]
async fn a_server_that_goes_and_comes_back_is_used_again() {
    let mut server = RedisServer::start();
    let store = RedisStore::connect(&server.url(), StoreOptions::default()).await.unwrap();
    let value = Bytes::from_static(b"v");
    let _ = store.set(&at(), "k", value.clone()).await.unwrap();
    server.kill();
    let error =
        tokio::time::timeout(DEADLINE, store.set(&at(), "k", value.clone())).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(!format!("{error} {error:?}").contains(server.password()), "{error:?}");
    server.restart();
    let deadline = Instant::now() + DEADLINE;
    while let Err(error) = store.set(&at(), "k", value.clone()).await {
        assert!(Instant::now() < deadline, "still {error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(store.get(&at(), "k").await.unwrap(), Some(value));
}

#[tokio::test]
async fn a_key_of_another_type_is_a_refusal() {
    let server = RedisServer::start();
    let store = RedisStore::connect(&server.url(), StoreOptions::default()).await.unwrap();
    let mut raw = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    // The key in Redis is part of the format: two lengths, two names, then the guest's key.
    let full = b"\x00\x06tenant\x00\x07defaultk";
    let () = redis::cmd("RPUSH").arg(full).arg("x").query(&mut raw).unwrap();
    let error = store.get(&at(), "k").await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
}
