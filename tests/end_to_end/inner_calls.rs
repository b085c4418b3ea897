//! Calls between functions end with the request they are made for: at once when its client goes away, and a while after it is
//! answered when they are still under way then.

use crate::support::{Function, Server, Setup, client, eventually};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// So long at least a call may go on when its outer request is answered.
const WORKS_ON: Duration = Duration::from_secs(2);

/// A service that never answers and counts its connections.
struct Silent {
    url: String,
    opened: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
}

impl Silent {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (opened, closed) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (begins, ends) = (Arc::clone(&opened), Arc::clone(&closed));
        tokio::spawn(async move {
            while let Ok((mut stream, _from)) = listener.accept().await {
                let (begins, ends) = (Arc::clone(&begins), Arc::clone(&ends));
                tokio::spawn(async move {
                    let mut request = [0; 1024];
                    if stream.read(&mut request).await.unwrap_or(0) > 0 {
                        begins.fetch_add(1, Relaxed);
                    }
                    while stream.read(&mut request).await.unwrap_or(0) > 0 {}
                    ends.fetch_add(1, Relaxed);
                });
            }
        });
        Self { url, opened, closed }
    }

    async fn is_called(&self) {
        eventually("the inner function's call", || self.opened.load(Relaxed) == 1).await;
        assert_eq!(self.closed.load(Relaxed), 0, "it ended before its outer request did");
    }

    async fn is_left(&self, case: &str) {
        let told = format!("the end of the inner function's call: {case}");
        eventually(&told, || self.closed.load(Relaxed) == 1).await;
    }
}

fn start() -> Server {
    let outbound = "allowed_outbound_hosts = [\"http://self\", \"http://127.0.0.1:*\"]";
    Setup::functions(&[Function::guest("leaves-calls").with(outbound)]).start()
}

fn outer(server: &Server, silent: &Silent, trick: &str) -> reqwest::RequestBuilder {
    client().post(server.url(&format!("/leaves-calls/{trick}"))).header("x-url", &silent.url)
}

/// A body that ends when told; the outer function answers then.
fn body() -> (reqwest::Body, oneshot::Sender<()>) {
    let (end, ended) = oneshot::channel::<()>();
    let body = futures::stream::once(async move {
        let _dropped = ended.await;
        Ok::<_, std::io::Error>("now")
    });
    (reqwest::Body::wrap_stream(body), end)
}

async fn check_answered(trick: &str) {
    let (server, silent) = (start(), Silent::start().await);
    let (body, end) = body();
    let request = outer(&server, &silent, trick).body(body);
    let answer = tokio::spawn(async move {
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    });
    silent.is_called().await;
    end.send(()).unwrap();
    assert_eq!(answer.await.unwrap(), (200, "fine\n".to_owned()), "{trick}");
    tokio::time::sleep(WORKS_ON).await;
    assert_eq!(silent.closed.load(Relaxed), 0, "{trick}: it had no time to come to its end");
    silent.is_left(trick).await;
}

async fn check_cancelled(trick: &str, body: Option<reqwest::Body>) {
    let (server, silent) = (start(), Silent::start().await);
    let request = outer(&server, &silent, trick).body(body.unwrap_or_default());
    let answer = tokio::spawn(async move { request.send().await.map(|response| response.status()) });
    silent.is_called().await;
    answer.abort();
    assert!(answer.await.is_err_and(|ended| ended.is_cancelled()), "{trick}: it was answered");
    silent.is_left(trick).await;
}

#[tokio::test]
async fn an_inner_call_ends_when_its_outer_request_is_answered() {
    check_answered("spawned").await;
}

#[tokio::test]
async fn an_inner_response_ends_when_its_outer_request_is_answered() {
    check_answered("read").await;
}

#[tokio::test]
async fn inner_calls_end_when_the_client_of_the_outer_request_goes_away() {
    check_cancelled("waits", None).await;
    for trick in ["spawned", "read"] {
        let (body, _end) = body();
        check_cancelled(trick, Some(body)).await;
    }
}
