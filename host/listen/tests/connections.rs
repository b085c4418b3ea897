//! Connections over real sockets: their bound, and how they end at the stop.

#![expect(clippy::unwrap_used, reason = "a test ends by panicking")]

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use waggle_listen::{Bounds, Connection, Drained, HeadBounds, serve};

const DEADLINE: Duration = Duration::from_secs(10);
const HEAD: HeadBounds = HeadBounds { read_max: DEADLINE, bytes_max: 8 << 10, fields_max: 4 };

/// A server that answers `/slow` when it is told to, and all else at once.
struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Drained>,
    /// Told when `/slow` is asked for.
    begun: Arc<Notify>,
    go_on: Arc<Notify>,
}

async fn start(bounds: Bounds) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (stop, stopped) = oneshot::channel();
    let slow = (Arc::clone(&begun), Arc::clone(&go_on));
    let connected = move |connection: Connection| {
        let slow = slow.clone();
        tokio::spawn(async move {
            let served = connection.serve_http1(&HEAD, |request| {
                let (begun, go_on) = slow.clone();
                async move {
                    if request.uri().path() == "/slow" {
                        begun.notify_one();
                        go_on.notified().await;
                    }
                    Response::new(Full::new(Bytes::from_static(b"done")))
                }
            });
            let _ = served.await;
        });
    };
    let ended = tokio::spawn(serve(listener, bounds, async move { drop(stopped.await) }, connected));
    Server { address, stop, ended, begun, go_on }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap()
}

async fn send(address: SocketAddr, path: &str, fields: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// All that comes until the server closes the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    within(stream.read_to_string(&mut text)).await.unwrap();
    text
}

/// Waits for an answer and leaves the connection open.
async fn answered(stream: &mut TcpStream) {
    let (mut text, mut piece) = (Vec::new(), [0; 256]);
    while !text.ends_with(b"done") {
        let count = within(stream.read(&mut piece)).await.unwrap();
        assert_ne!(count, 0, "the connection ended: {}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&piece[..count]);
    }
}

#[tokio::test]
async fn a_connection_over_the_bound_waits_for_the_place_of_another() {
    let server = start(Bounds { connections_max: 1, drain_max: DEADLINE }).await;
    let mut first = send(server.address, "/", "").await;
    answered(&mut first).await;
    let mut second = send(server.address, "/slow", "connection: close\r\n").await;
    server.go_on.notify_one();
    // The first is served on while the second waits.
    first.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    answered(&mut first).await;
    let early = second.try_read(&mut [0; 1]).unwrap_err();
    assert_eq!(early.kind(), std::io::ErrorKind::WouldBlock);
    drop(first);
    assert!(rest(&mut second).await.ends_with("done"));
}

#[tokio::test]
async fn the_stop_lets_a_request_under_way_finish_and_closes_what_is_idle() {
    let server = start(Bounds { connections_max: 9, drain_max: DEADLINE }).await;
    let mut idle = send(server.address, "/", "").await;
    answered(&mut idle).await;
    let mut busy = send(server.address, "/slow", "").await;
    within(server.begun.notified()).await;
    server.stop.send(()).unwrap();
    assert_eq!(rest(&mut idle).await, "");
    server.go_on.notify_one();
    assert!(rest(&mut busy).await.ends_with("done"));
    assert_eq!(within(server.ended).await.unwrap(), Drained::Completely);
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn the_drain_ends_at_its_bound_though_a_request_goes_on() {
    let server = start(Bounds { connections_max: 9, drain_max: Duration::from_millis(20) }).await;
    let _busy = send(server.address, "/slow", "").await;
    within(server.begun.notified()).await;
    server.stop.send(()).unwrap();
    assert_eq!(within(server.ended).await.unwrap(), Drained::Partly);
}

#[tokio::test]
async fn a_head_over_its_bounds_is_answered_431() {
    let server = start(Bounds { connections_max: 9, drain_max: DEADLINE }).await;
    let check = async |fields: &str| {
        let text = rest(&mut send(server.address, "/", fields).await).await;
        assert!(text.starts_with("HTTP/1.1 431 "), "{text}");
    };
    check("a: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\n").await;
    check(&format!("a: {}\r\n", "x".repeat(9 << 10))).await;
}
