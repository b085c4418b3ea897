//! Every wait has a deadline, and cancelling works at any point.

use std::time::Duration;

use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use waggle_egress::{CancellationToken, SendOptions};

use crate::support::{Upstream, egress, get, named, read_head, text, until_closed, within};

const SHORT: Duration = Duration::from_millis(100);

/// An upstream that answers with `head_and_more` and then waits until the client goes.
async fn pausing_after(head_and_more: &'static str) -> (Upstream, tokio::sync::watch::Receiver<bool>) {
    let (closed, is_closed) = tokio::sync::watch::channel(false);
    let upstream = Upstream::start(move |mut stream| {
        let closed = closed.clone();
        async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(head_and_more.as_bytes()).await;
            until_closed(&mut stream).await;
            closed.send_replace(true);
        }
    })
    .await;
    (upstream, is_closed)
}

#[tokio::test]
async fn a_connect_that_nobody_answers_ends_at_the_connect_timeout() {
    // A listener that never accepts, with its queue filled: the system drops the next handshake without an answer.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = tokio::time::timeout(SHORT, TcpStream::connect(address)).await {
        queue.push(stream.unwrap());
        assert!(queue.len() < 100, "the queue of the listener does not fill");
    }
    let options = SendOptions { connect_timeout: Some(SHORT), ..named() };
    let error = within(egress().send(get(&format!("http://{address}/")), options)).await.unwrap_err();
    assert_eq!(error.code(), "connection-timeout");
    assert!(error.to_string().contains("within 100 ms"), "{error}");
}

#[tokio::test]
async fn a_response_that_does_not_begin_ends_at_the_first_byte_timeout_and_closes() {
    for head in ["", "HTTP/1.1 200 OK\r\ncontent-"] {
        let (upstream, mut is_closed) = pausing_after(head).await;
        let options = SendOptions { first_byte_timeout: Some(SHORT), ..named() };
        let error = within(egress().send(get(&upstream.url("/")), options)).await.unwrap_err();
        assert_eq!(error.code(), "connection-read-timeout", "{head:?}");
        within(is_closed.wait_for(|closed| *closed)).await.unwrap();
    }
}

#[tokio::test]
async fn a_response_that_pauses_ends_at_the_between_bytes_timeout_and_closes() {
    for head in ["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nbegin"] {
        let (upstream, mut is_closed) = pausing_after(head).await;
        let options = SendOptions { between_bytes_timeout: Some(SHORT), ..named() };
        let response = within(egress().send(get(&upstream.url("/")), options)).await.unwrap();
        let error = text(response).await.unwrap_err();
        assert_eq!(error.code(), "HTTP-response-timeout", "{head:?}");
        within(is_closed.wait_for(|closed| *closed)).await.unwrap();
    }
}

#[tokio::test]
async fn a_response_may_take_longer_than_the_pause_when_it_keeps_coming() {
    let upstream = Upstream::start(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n").await;
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(60)).await;
            let _ = stream.write_all(b"x").await;
        }
        until_closed(&mut stream).await;
    })
    .await;
    let options = SendOptions { between_bytes_timeout: Some(Duration::from_millis(400)), ..named() };
    let response = within(egress().send(get(&upstream.url("/")), options)).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "xxxxxxxxxx");
}

#[tokio::test]
async fn a_slow_reader_is_not_a_pause_of_the_upstream() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
    let options = SendOptions { between_bytes_timeout: Some(Duration::from_millis(20)), ..named() };
    let response = within(egress().send(get(&upstream.url("/")), options)).await.unwrap();
    tokio::time::sleep(SHORT).await;
    assert_eq!(text(response).await.unwrap(), "hello");
}

#[tokio::test]
async fn cancelling_ends_a_call_that_waits_for_its_response() {
    let (upstream, mut is_closed) = pausing_after("").await;
    let cancelled = CancellationToken::new();
    let options = SendOptions { cancelled: Some(cancelled.clone()), ..named() };
    let call = tokio::spawn({
        let request = get(&upstream.url("/"));
        async move { egress().send(request, options).await.map(|_| ()) }
    });
    crate::support::until("the upstream is called", || upstream.connections() == 1).await;
    cancelled.cancel();
    let error = within(call).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("cancelled"), "{error}");
    within(is_closed.wait_for(|closed| *closed)).await.unwrap();
}

#[tokio::test]
async fn cancelling_ends_a_response_that_is_being_read() {
    let (upstream, mut is_closed) = pausing_after("HTTP/1.1 200 OK\r\n\r\nbegin").await;
    let cancelled = CancellationToken::new();
    let options = SendOptions { cancelled: Some(cancelled.clone()), ..named() };
    let response = within(egress().send(get(&upstream.url("/")), options)).await.unwrap();
    let mut body = response.into_body();
    let first = within(body.frame()).await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "begin");
    let reading = tokio::spawn(async move { body.frame().await });
    cancelled.cancel();
    let error = within(reading).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(error, waggle_egress::EgressError::Cancelled), "{error}");
    within(is_closed.wait_for(|closed| *closed)).await.unwrap();
}
