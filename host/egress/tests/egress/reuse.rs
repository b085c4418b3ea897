//! Connections are kept for the next call, where that is safe.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::io::AsyncWriteExt;
use waggle_egress::{Egress, EgressConfig};

use crate::support::{
    Upstream, call, egress, fetch, get, named, read_head, text, until, until_closed, within,
};

/// Calls `upstream` three times, each time after the connection before has come back (or, with `idle` 0, gone).
async fn call_thrice(egress: &Egress, upstream: &Upstream, expected: &str, idle: usize) {
    for _ in 0..3 {
        assert_eq!(fetch(egress, &upstream.url("/")).await.unwrap(), expected);
        until("the connection is back", || egress.idle_connections() == idle).await;
    }
}

#[tokio::test]
async fn calls_one_after_another_share_a_connection() {
    let table = [
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "hello"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("HTTP/1.1 204 No Content\r\n\r\n", ""),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", ""),
        ("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy", "busy"),
    ];
    for (response, expected) in table {
        let upstream = Upstream::answering(response).await;
        call_thrice(&egress(), &upstream, expected, 1).await;
        assert_eq!(upstream.connections(), 1, "{response}");
    }
}

#[tokio::test]
async fn a_connection_is_not_kept_when_the_upstream_or_the_configuration_says_so() {
    let closing = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi";
    let upstream = Upstream::answering(closing).await;
    call_thrice(&egress(), &upstream, "hi", 0).await;
    assert_eq!(upstream.connections(), 3);

    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    let config = EgressConfig { idle_connections_per_host_max: 0, ..EgressConfig::default() };
    call_thrice(&Egress::new(config).unwrap(), &upstream, "hi", 0).await;
    assert_eq!(upstream.connections(), 3);
}

#[tokio::test]
async fn calls_at_the_same_time_have_a_connection_each() {
    let upstream = Upstream::start(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe").await;
        until_closed(&mut stream).await;
    })
    .await;
    let egress = egress();
    let first = call(&egress, &upstream.url("/")).await.unwrap();
    let second = call(&egress, &upstream.url("/")).await.unwrap();
    assert_eq!(upstream.connections(), 2);
    drop((first, second));
    assert_eq!(egress.idle_connections(), 0, "a connection in the middle of a response is never kept");
}

#[tokio::test]
async fn an_idle_connection_that_died_is_replaced_without_an_error() {
    // Each connection answers one request and closes without having said so: what a server's idle timeout looks like.
    let upstream = Upstream::answering_once("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    let egress = egress();
    for _ in 0..20 {
        let request = Request::post(upstream.url("/")).body(Full::new(Bytes::from_static(b"ping"))).unwrap();
        let response = match within(egress.send(request, named())).await {
            Ok(response) => response,
            // The close may cross the request on the wire. Then it is not sent again, as it may have been read.
            Err(error) if error.code() == "connection-terminated" => continue,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(text(response).await.unwrap(), "hi");
    }
    assert!(upstream.connections() > 1);
}

#[tokio::test]
async fn idle_connections_are_closed_after_the_idle_timeout() {
    let (closed, mut is_closed) = tokio::sync::watch::channel(false);
    let upstream = Upstream::start(move |mut stream| {
        let closed = closed.clone();
        async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
            until_closed(&mut stream).await;
            closed.send_replace(true);
        }
    })
    .await;
    let config = EgressConfig { idle_timeout_ms: 50, ..EgressConfig::default() };
    let egress = Egress::new(config).unwrap();
    fetch(&egress, &upstream.url("/")).await.unwrap();
    within(is_closed.wait_for(|closed| *closed)).await.unwrap();
}

#[tokio::test]
async fn a_connection_with_leave_for_private_addresses_is_not_lent_to_a_call_without() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    let egress = egress();
    fetch(&egress, &upstream.url("/")).await.unwrap();
    until("the connection is back", || egress.idle_connections() == 1).await;
    let options = waggle_egress::SendOptions { allow_private: false, ..named() };
    let error = within(egress.send(get(&upstream.url("/")), options)).await.unwrap_err();
    assert_eq!(error.code(), "destination-IP-prohibited");
}
