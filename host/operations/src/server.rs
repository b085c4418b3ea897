//! The listener: connections and their bounds, and the three routes.

use crate::answer::{self, Answer};
use crate::checks::Checks;
use http::header::{self, HeaderValue};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use waggle_telemetry::metrics::{Format, Metrics};

/// Open connections; more wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 64;
/// Scrapes that are written at the same time; more wait.
const SCRAPES_MAX: usize = 2;
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Header fields of a request.
const HEADERS_MAX: usize = 64;
/// From a connection's beginning, or the previous answer, to the end of a request's head. Longer than the minute at which
/// most scrape, so that they keep their connection.
const HEAD_READ_MAX: Duration = Duration::from_secs(75);
/// How long a request may take.
const REQUEST_MAX: Duration = Duration::from_secs(10);
/// How long requests under way may go on after the stop.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// How long to wait after `accept` failed, for example for want of file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD");
const ALIVE: &str = "{\"status\":\"ok\"}";

/// What the listener tells.
pub struct Operations {
    metrics: Arc<Metrics>,
    checks: Checks,
    scrapes: Arc<Semaphore>,
}

impl Operations {
    /// Tells `metrics`, and ready by `checks`.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, checks: Checks) -> Self {
        Self { metrics, checks, scrapes: Arc::new(Semaphore::new(SCRAPES_MAX)) }
    }

    async fn answer(&self, request: Request<Incoming>, is_loopback: bool) -> Answer {
        if is_loopback && !names_loopback(&request) {
            // A page in a browser could otherwise read it, by a name that leads here.
            let detail = "This server listens on a loopback address and answers only to `localhost`, 127.0.0.1 and [::1].";
            return answer::refusal(StatusCode::MISDIRECTED_REQUEST, detail);
        }
        let path = request.uri().path();
        if !matches!(path, "/metrics" | "/healthz" | "/readyz") {
            let detail = "There is no such path; there are /metrics, /healthz and /readyz.";
            return answer::refusal(StatusCode::NOT_FOUND, detail);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refusal =
                answer::refusal(StatusCode::METHOD_NOT_ALLOWED, "This path takes GET and HEAD.");
            refusal.headers_mut().insert(header::ALLOW, METHODS);
            return refusal;
        }
        match path {
            "/metrics" => self.scrape(&request).await,
            "/readyz" => {
                let readiness = self.checks.readiness().await;
                let ready = readiness.is_ready();
                let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                answer::json(status, &*readiness)
            }
            _ => answer::text(StatusCode::OK, "application/json", ALIVE),
        }
    }

    /// Writing the metrics takes a millisecond or more and reads files of the system: not on a thread that serves requests.
    async fn scrape(&self, request: &Request<Incoming>) -> Answer {
        let fields = request.headers().get_all(header::ACCEPT);
        let accept: Vec<&str> = fields.iter().filter_map(|field| field.to_str().ok()).collect();
        let format = Format::negotiate(Some(&accept.join(",")));
        let Ok(permit) = Arc::clone(&self.scrapes).acquire_owned().await else {
            return answer::refusal(StatusCode::SERVICE_UNAVAILABLE, "The server is stopping.");
        };
        let metrics = Arc::clone(&self.metrics);
        let rendered = tokio::task::spawn_blocking(move || {
            let rendered = metrics.render(format);
            drop(permit);
            rendered
        });
        match rendered.await {
            Ok(rendered) => {
                let mut answer = answer::text(StatusCode::OK, rendered.content_type, rendered.text);
                answer.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
                answer
            }
            Err(error) => {
                tracing::error!(target: "operations", %error, "the metrics could not be gathered");
                answer::refusal(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "The metrics could not be gathered; see the log.",
                )
            }
        }
    }
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operations").field("checks", &self.checks).finish_non_exhaustive()
    }
}

/// Serves `operations` on `listener` until `stop` resolves, then finishes what is under way, at most for two seconds. Stop
/// it last, so that the end of all else can be seen.
pub async fn serve(listener: TcpListener, operations: Arc<Operations>, stop: impl Future<Output = ()>) {
    let is_loopback = listener.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback());
    let graceful = GracefulShutdown::new();
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut stop = std::pin::pin!(stop);
    loop {
        let next = async {
            let permit = Arc::clone(&connections).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = &mut stop => break,
            next = next => next,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(target: "operations", %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (operations, watcher) = (Arc::clone(&operations), graceful.watcher());
        tokio::spawn(async move {
            connection(stream, operations, is_loopback, watcher).await;
            drop(permit);
        });
    }
    drop(listener);
    // Whoever is still connected then is cut off.
    let _ = tokio::time::timeout(DRAIN_MAX, graceful.shutdown()).await;
}

async fn connection(stream: TcpStream, operations: Arc<Operations>, is_loopback: bool, watcher: Watcher) {
    // Without this, an answer in two writes waits for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let operations = Arc::clone(&operations);
        async move {
            let answer = tokio::time::timeout(REQUEST_MAX, operations.answer(request, is_loopback)).await;
            Ok::<_, Infallible>(answer.unwrap_or_else(|_elapsed| {
                answer::refusal(StatusCode::SERVICE_UNAVAILABLE, "The answer took too long.")
            }))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_READ_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(target: "operations", %error, "a connection ended with an error");
    }
}

/// Whether the request is for a name of this machine that only it has. A target in absolute form goes before the field (RFC
/// 9112, section 3.2.2).
fn names_loopback<B>(request: &Request<B>) -> bool {
    let mut fields = request.headers().get_all(header::HOST).iter();
    let (field, second) = (fields.next(), fields.next());
    let Some(host) = field.and_then(|field| field.to_str().ok()).filter(|_| second.is_none()) else {
        return false;
    };
    let host = request.uri().authority().map_or(host, http::uri::Authority::as_str);
    let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
    let name = authority.host();
    let is_plain = authority.as_str().len() == host.len() && !host.contains('@');
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    is_plain && (name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback()))
}

#[cfg(test)]
mod tests;
