//! Upstreams, requests and deadlines for the tests.

use std::error::Error as StdError;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use waggle_egress::{Egress, EgressConfig, EgressError, ResponseBody, SendOptions};

/// What no test should take. A test that reaches it has failed.
const TEST_DEADLINE: Duration = Duration::from_secs(20);

/// Fails the test when `future` takes too long.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(TEST_DEADLINE, future).await.expect("the test took too long")
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + TEST_DEADLINE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A server on a free port that counts its connections.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Upstream {
    /// Runs `handler` for each connection.
    pub(crate) async fn start<F, Fut>(handler: F) -> Self
    where
        F: Fn(TcpStream) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(handler(stream));
            }
        });
        Self { address, connections }
    }

    /// Answers each request on each connection with `response`, and goes on until the client closes.
    pub(crate) async fn answering(response: impl Into<String>) -> Self {
        let response: Arc<str> = response.into().into();
        Self::start(move |mut stream| {
            let response = Arc::clone(&response);
            async move {
                while read_head(&mut stream).await.is_some() {
                    if stream.write_all(response.as_bytes()).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await
    }

    /// Answers each request with its own head as the body.
    pub(crate) async fn echoing() -> Self {
        Self::start(|mut stream| async move {
            while let Some(head) = read_head(&mut stream).await {
                let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{head}", head.len());
                if stream.write_all(response.as_bytes()).await.is_err() {
                    return;
                }
            }
        })
        .await
    }

    /// Answers one request per connection with `response`, then closes.
    pub(crate) async fn answering_once(response: impl Into<String>) -> Self {
        let response: Arc<str> = response.into().into();
        Self::start(move |mut stream| {
            let response = Arc::clone(&response);
            async move {
                read_head(&mut stream).await;
                let _ = stream.write_all(response.as_bytes()).await;
            }
        })
        .await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Reads up to the end of a request's head. `None` when the client has closed.
pub(crate) async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// Waits until the other side has closed or reset the connection.
pub(crate) async fn until_closed(stream: &mut TcpStream) {
    let mut buffer = [0; 1024];
    while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
}

pub(crate) fn egress() -> Egress {
    Egress::new(EgressConfig::default()).unwrap()
}

/// The options of a call to a host that the operator has named, as these tests' upstreams are on this machine.
pub(crate) fn named() -> SendOptions {
    SendOptions { allow_private: true, ..SendOptions::default() }
}

pub(crate) fn get(url: &str) -> Request<Empty<Bytes>> {
    Request::get(url).body(Empty::new()).unwrap()
}

pub(crate) async fn call(egress: &Egress, url: &str) -> Result<Response<ResponseBody>, EgressError> {
    within(egress.send(get(url), named())).await
}

/// The error code of a call that fails before its response begins.
pub(crate) async fn failure(egress: &Egress, url: &str) -> &'static str {
    call(egress, url).await.expect_err("the call should fail").code()
}

pub(crate) async fn text(response: Response<ResponseBody>) -> Result<String, EgressError> {
    let collected = within(response.into_body().collect()).await?;
    Ok(String::from_utf8(collected.to_bytes().to_vec()).unwrap())
}

/// Calls `url` and reads the response to its end.
pub(crate) async fn fetch(egress: &Egress, url: &str) -> Result<String, EgressError> {
    text(call(egress, url).await?).await
}

/// A body of pieces that come through a channel, for a request that is sent little by little.
pub(crate) fn channel_body() -> (
    tokio::sync::mpsc::Sender<Bytes>,
    impl http_body::Body<Data = Bytes, Error = Box<dyn StdError + Send + Sync>> + Send + 'static,
) {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
    let pieces = futures::stream::unfold(receiver, |mut receiver| async move {
        let piece = receiver.recv().await?;
        Some((Ok(http_body::Frame::data(piece)), receiver))
    });
    (sender, http_body_util::StreamBody::new(pieces))
}
