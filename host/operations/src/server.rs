//! The listener: connections and their bounds, and the three routes.

use crate::answer::{self, Answer};
use crate::checks::Checks;
use http::header::{self, HeaderValue};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use waggle_listen::{Bounds, HeadBounds, called_name, is_loopback_name};
use waggle_telemetry::metrics::{Format, Metrics};

/// Open connections, and how long requests under way may go on after the stop.
const BOUNDS: Bounds = Bounds { connections_max: 64, drain_max: Duration::from_secs(2) };
/// A request's head. The time for it is longer than the minute at which most scrape, so that they keep their connection.
const HEAD: HeadBounds =
    HeadBounds { read_max: Duration::from_secs(75), bytes_max: 16 << 10, fields_max: 64 };
/// Scrapes that are written at the same time; more wait.
const SCRAPES_MAX: usize = 2;
/// How long a request may take.
const REQUEST_MAX: Duration = Duration::from_secs(10);

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

    async fn answer_in_time(&self, request: Request<Incoming>, is_loopback: bool) -> Answer {
        let answer = tokio::time::timeout(REQUEST_MAX, self.answer(request, is_loopback)).await;
        answer.unwrap_or_else(|_elapsed| {
            answer::refusal(StatusCode::SERVICE_UNAVAILABLE, "The answer took too long.")
        })
    }

    async fn answer(&self, request: Request<Incoming>, is_loopback: bool) -> Answer {
        let names_loopback = || called_name(request.uri(), request.headers()).is_some_and(is_loopback_name);
        if is_loopback && !names_loopback() {
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
    let is_loopback = waggle_listen::is_loopback(&listener);
    // Whoever is still connected after the drain is cut off.
    let _ = waggle_listen::serve(listener, BOUNDS, stop, |connection| {
        let operations = Arc::clone(&operations);
        tokio::spawn(async move {
            let answer = |request| {
                let operations = Arc::clone(&operations);
                async move { operations.answer_in_time(request, is_loopback).await }
            };
            if let Err(error) = connection.serve_http1(&HEAD, answer).await {
                tracing::debug!(target: "operations", %error, "a connection ended with an error");
            }
        });
    })
    .await;
}

#[cfg(test)]
mod tests;
