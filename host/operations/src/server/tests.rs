//! The listener over a real socket.

use super::*;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use waggle_telemetry::metrics::Families;

async fn start(checks: Checks) -> (SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
    let metrics = Arc::new(Metrics::new());
    metrics.register(Box::new(|families: &mut Families| {
        families.counter("waggle_test_total", "A test").add(&[], 1_u64);
    }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, stop) = oneshot::channel();
    let operations = Arc::new(Operations::new(metrics, checks));
    let task = tokio::spawn(serve(listener, operations, async move { drop(stop.await) }));
    (address, sender, task)
}

/// Sends one request as it is written here, and reads until the connection ends.
async fn ask(address: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

async fn get(address: SocketAddr, path: &str, fields: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{fields}\r\n"))
        .await
}

#[tokio::test]
async fn metrics_come_in_the_format_that_is_asked_for() {
    let (address, _stop, _task) = start(Checks::new()).await;
    let text = get(address, "/metrics", "").await;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(text.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{text}");
    assert!(text.contains("# TYPE waggle_test_total counter\nwaggle_test_total 1\n"), "{text}");
    let text = get(address, "/metrics", "accept: application/openmetrics-text;version=1.0.0\r\n").await;
    assert!(text.contains("content-type: application/openmetrics-text; version=1.0.0"), "{text}");
    assert!(text.contains("# TYPE waggle_test counter\n") && text.ends_with("# EOF\n"), "{text}");
}

#[tokio::test]
async fn a_host_that_is_alive_says_so_and_one_that_is_not_ready_says_why() {
    let checks = Checks::new().with("stores", || async { Err("Redis does not answer".to_owned()) });
    let (address, _stop, _task) = start(checks).await;
    let alive = get(address, "/healthz", "").await;
    assert!(alive.starts_with("HTTP/1.1 200") && alive.ends_with("{\"status\":\"ok\"}"), "{alive}");
    let ready = get(address, "/readyz", "").await;
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    assert!(ready.contains("\"reason\":\"Redis does not answer\""), "{ready}");
    let (address, _stop, _task) = start(Checks::new().with("stores", || async { Ok(()) })).await;
    let ready = get(address, "/readyz", "").await;
    assert!(ready.starts_with("HTTP/1.1 200") && ready.contains("\"status\":\"ready\""), "{ready}");
}

#[tokio::test]
async fn what_is_asked_wrongly_is_refused_with_what_would_be_right() {
    let (address, _stop, _task) = start(Checks::new()).await;
    let check = async |head: &str, parts: &[&str]| {
        let text = ask(address, head).await;
        for part in parts {
            assert!(text.contains(part), "{head}: {part} in {text}");
        }
    };
    let end = "connection: close\r\n\r\n";
    check(
        &format!("POST /metrics HTTP/1.1\r\nhost: localhost\r\n{end}"),
        &["HTTP/1.1 405", "allow: GET, HEAD", "application/problem+json"],
    )
    .await;
    check(&format!("GET / HTTP/1.1\r\nhost: localhost\r\n{end}"), &["HTTP/1.1 404", "/healthz"]).await;
    for host in ["evil.test", "127.0.0.1.evil.test", "localhost@evil.test", "10.0.0.1"] {
        check(&format!("GET /metrics HTTP/1.1\r\nhost: {host}\r\n{end}"), &["HTTP/1.1 421"]).await;
    }
    for host in ["127.0.0.1:9464", "[::1]:1", "LocalHost"] {
        check(&format!("GET /metrics HTTP/1.1\r\nhost: {host}\r\n{end}"), &["HTTP/1.1 200"]).await;
    }
    check(
        &format!("GET /metrics HTTP/1.1\r\nhost: localhost\r\na: {}\r\n{end}", "x".repeat(20 << 10)),
        &["HTTP/1.1 431"],
    )
    .await;
}

#[tokio::test]
async fn a_head_request_has_the_fields_and_no_body() {
    let (address, _stop, _task) = start(Checks::new()).await;
    let text = ask(address, "HEAD /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("content-type: text/plain"), "{text}");
    assert!(text.ends_with("\r\n\r\n") && !text.contains("content-length: 0"), "{text}");
}

#[tokio::test]
async fn the_stop_ends_it_though_a_client_stays_connected() {
    let (address, stop, task) = start(Checks::new()).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(10), task).await.expect("it ends").unwrap();
}
