//! Bodies stream both ways, and whoever stops reading stops the upstream.

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use crate::support::{
    Upstream, call, channel_body, egress, get, named, read_head, text, until, until_closed, within,
};

/// An upstream that sends pieces without end, and tells when the client has gone.
async fn endless() -> (Upstream, watch::Receiver<bool>) {
    let (closed, is_closed) = watch::channel(false);
    let upstream = Upstream::start(move |mut stream| {
        let closed = closed.clone();
        async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(&[b'x'; 64 * 1024]).await.is_ok() {}
            closed.send_replace(true);
        }
    })
    .await;
    (upstream, is_closed)
}

#[tokio::test]
async fn dropping_a_response_closes_the_connection_upstream() {
    let (upstream, mut is_closed) = endless().await;
    let egress = egress();
    let response = call(&egress, &upstream.url("/")).await.unwrap();
    drop(response);
    within(is_closed.wait_for(|closed| *closed)).await.unwrap();

    let (upstream, mut is_closed) = endless().await;
    let mut body = call(&egress, &upstream.url("/")).await.unwrap().into_body();
    within(body.frame()).await.unwrap().unwrap();
    drop(body);
    within(is_closed.wait_for(|closed| *closed)).await.unwrap();
}

#[tokio::test]
async fn dropping_a_response_closes_a_silent_upstream_too() {
    let (closed, mut is_closed) = watch::channel(false);
    let upstream = Upstream::start(move |mut stream| {
        let closed = closed.clone();
        async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nbegin").await;
            until_closed(&mut stream).await;
            closed.send_replace(true);
        }
    })
    .await;
    let egress = egress();
    let mut body = call(&egress, &upstream.url("/")).await.unwrap().into_body();
    within(body.frame()).await.unwrap().unwrap();
    drop(body);
    within(is_closed.wait_for(|closed| *closed)).await.unwrap();
}

#[tokio::test]
async fn dropping_a_call_before_its_response_closes_the_connection_upstream() {
    let (closed, mut is_closed) = watch::channel(false);
    let upstream = Upstream::start(move |mut stream| {
        let closed = closed.clone();
        async move {
            read_head(&mut stream).await;
            until_closed(&mut stream).await;
            closed.send_replace(true);
        }
    })
    .await;
    let request = get(&upstream.url("/"));
    let call = tokio::spawn(async move { egress().send(request, named()).await.map(|_| ()) });
    until("the upstream is called", || upstream.connections() == 1).await;
    call.abort();
    within(is_closed.wait_for(|closed| *closed)).await.unwrap();
}

#[tokio::test]
async fn each_piece_arrives_before_the_next_is_sent() {
    let (next, receiver) = watch::channel(0);
    let upstream = Upstream::start(move |mut stream| {
        let mut receiver = receiver.clone();
        async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
            for number in 1..=3 {
                receiver.wait_for(|allowed| *allowed >= number).await.unwrap();
                let _ = stream.write_all(format!("1\r\n{number}\r\n").as_bytes()).await;
            }
            let _ = stream.write_all(b"0\r\n\r\n").await;
        }
    })
    .await;
    let egress = egress();
    let mut body = call(&egress, &upstream.url("/")).await.unwrap().into_body();
    for number in 1..=3 {
        next.send_replace(number);
        let piece = within(body.frame()).await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(piece, number.to_string());
    }
    assert!(within(body.frame()).await.is_none());
}

#[tokio::test]
async fn a_request_is_sent_as_it_is_produced() {
    let (seen, mut receiver) = watch::channel(String::new());
    let upstream = Upstream::start(move |mut stream| {
        let seen = seen.clone();
        async move {
            read_head(&mut stream).await;
            let mut buffer = [0; 1024];
            while !seen.borrow().ends_with("0\r\n\r\n") {
                let count = stream.read(&mut buffer).await.unwrap();
                seen.send_modify(|text| text.push_str(&String::from_utf8_lossy(&buffer[..count])));
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone").await;
        }
    })
    .await;
    let (pieces, body) = channel_body();
    let request = Request::post(upstream.url("/")).body(body).unwrap();
    let call = tokio::spawn(async move { egress().send(request, named()).await });
    pieces.send(Bytes::from_static(b"one")).await.unwrap();
    within(receiver.wait_for(|text| text.contains("one"))).await.unwrap();
    pieces.send(Bytes::from_static(b"two")).await.unwrap();
    within(receiver.wait_for(|text| text.contains("two"))).await.unwrap();
    drop(pieces);
    assert_eq!(text(within(call).await.unwrap().unwrap()).await.unwrap(), "done");
}

#[tokio::test]
async fn a_request_body_that_fails_ends_the_call_and_the_connection() {
    let (closed, mut is_closed) = watch::channel(false);
    let upstream = Upstream::start(move |mut stream| {
        let closed = closed.clone();
        async move {
            until_closed(&mut stream).await;
            closed.send_replace(true);
        }
    })
    .await;
    let pieces =
        futures::stream::iter([Ok(http_body::Frame::data(Bytes::from_static(b"one"))), Err("out of paper")]);
    let request = Request::post(upstream.url("/")).body(http_body_util::StreamBody::new(pieces)).unwrap();
    let error = within(egress().send(request, named())).await.unwrap_err();
    assert!(error.to_string().contains("out of paper"), "{error}");
    assert_eq!(error.code(), "internal-error");
    within(is_closed.wait_for(|closed| *closed)).await.unwrap();
}

#[tokio::test]
async fn trailers_pass() {
    let answer = "HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n";
    let upstream = Upstream::answering(answer).await;
    let response = call(&egress(), &upstream.url("/")).await.unwrap();
    let collected = within(response.into_body().collect()).await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-sum"], "7");
}
