//! The listener: connections and their bounds, and the way of a request from its head to its answer, top to bottom.

use crate::answer::Answer;
use crate::api::{Api, Call};
use crate::door::Door;
use crate::host::Host;
use crate::key::AdminKey;
use crate::openapi::DOCUMENT;
use crate::problem::Problem;
use crate::route::{Found, JSON, Operation, Route, find};
use crate::shape::Health;
use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use waggle_listen::{Bounds, HeadBounds};
use waggle_tenancy::Registry;

/// Open connections, and how long requests under way may go on after the stop.
const BOUNDS: Bounds = Bounds { connections_max: 256, drain_max: Duration::from_secs(10) };
/// A request's head.
const HEAD: HeadBounds =
    HeadBounds { read_max: Duration::from_secs(15), bytes_max: 16 << 10, fields_max: 64 };
/// Requests under way at once; over it, 503.
const CONCURRENT_REQUESTS_MAX: usize = 64;
/// Bytes of a request's body.
const BODY_BYTES_MAX: usize = 1 << 20;
/// How long a request's body may take to arrive.
const BODY_READ_MAX: Duration = Duration::from_secs(15);
/// How long a request may take, once it has arrived.
const REQUEST_MAX: Duration = Duration::from_secs(30);
/// Bytes of a component.
const COMPONENT_BYTES_MAX: usize = waggle_tools::COMPONENT_BYTES_MAX;
/// How long a component may take to arrive.
const COMPONENT_READ_MAX: Duration = Duration::from_secs(120);
/// Components that arrive or are compiled at once, since each is held whole; over it, 503.
const UPLOADS_MAX: usize = 2;
/// The same for a component, which is compiled.
const UPLOAD_MAX: Duration = Duration::from_secs(300);
/// The same for the erasure of a tenant's data.
const ERASURE_MAX: Duration = Duration::from_secs(600);

/// Serves the admin API on `listener` until `stop` resolves, then finishes what is under way, at most for ten seconds.
/// Whoever presents `key` may change everything.
pub async fn serve(
    listener: TcpListener,
    registry: Arc<Registry>,
    host: Arc<dyn Host>,
    key: AdminKey,
    stop: impl Future<Output = ()>,
) {
    let loopback = waggle_listen::is_loopback(&listener);
    if !loopback {
        tracing::warn!(target: "admin", "the admin API is reachable from other machines and speaks plain HTTP; \
            put a TLS proxy before it");
    }
    let server = Arc::new(Server {
        door: Door::new(key, loopback),
        api: Arc::new(Api::new(registry, host)),
        requests: Semaphore::new(CONCURRENT_REQUESTS_MAX),
        uploads: Arc::new(Semaphore::new(UPLOADS_MAX)),
    });
    // Whoever is still connected after the drain is cut off.
    let _ = waggle_listen::serve(listener, BOUNDS, stop, |connection| {
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let remote = connection.remote;
            let answer = |request| {
                let server = Arc::clone(&server);
                async move { server.answer(request, remote).await }
            };
            if let Err(error) = connection.serve_http1(&HEAD, answer).await {
                tracing::debug!(target: "admin", %remote, %error, "a connection ended with an error");
            }
        });
    })
    .await;
}

struct Server {
    door: Door,
    api: Arc<Api>,
    requests: Semaphore,
    uploads: Arc<Semaphore>,
}

impl Server {
    async fn answer(&self, request: Request<Incoming>, remote: SocketAddr) -> Response<Full<Bytes>> {
        self.admitted(request, remote).await.unwrap_or_else(Answer::from).into_response()
    }

    async fn admitted(&self, request: Request<Incoming>, remote: SocketAddr) -> Result<Answer, Problem> {
        let (head, body) = request.into_parts();
        // A page in a browser must not reach anything, not even what is open to all.
        self.door.check_host(&head.uri, &head.headers)?;
        // Before anything is spent.
        let _permit = self.requests.try_acquire().map_err(|_closed_or_full| {
            Problem::unavailable("overloaded", "The server has as many requests under way as it takes.")
        })?;
        let found = find(&head.method, head.uri.path());
        // Without the key nobody learns which paths there are, beside the two that are open.
        if !matches!(&found, Found::Route(route, _) if !route.guarded) {
            self.door.check_key(&head.headers)?;
        }
        let (route, [id, key]) = match found {
            Found::Route(route, steps) => (route, steps),
            Found::OtherMethods(allow) => {
                let detail = format!("This path takes {allow}.");
                let status = StatusCode::METHOD_NOT_ALLOWED;
                return Err(Problem::new(status, "method_not_allowed", detail).with(header::ALLOW, &allow));
            }
            Found::Nothing => {
                let detail = "There is no such path; GET /admin/v1/openapi.json lists those there are.";
                return Err(Problem::new(StatusCode::NOT_FOUND, "unknown_path", detail));
            }
        };
        match route.operation {
            Operation::Health => return Ok(Answer::json(StatusCode::OK, &Health { status: "ok" })),
            Operation::Document => return Ok(Answer::json(StatusCode::OK, &*DOCUMENT)),
            _ => {}
        }
        let upload =
            if route.operation == Operation::UploadComponent { Some(self.admit_upload()?) } else { None };
        let (body, bytes) = read_body(route, &head.headers, body).await?;
        let call = Call {
            route,
            id: id.to_owned(),
            key: key.to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            if_match: head.headers.get_all(header::IF_MATCH).iter().cloned().collect(),
            body,
            bytes,
            remote,
        };
        self.carry_out(call, upload).await
    }

    fn admit_upload(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.uploads).try_acquire_owned().map_err(|_closed_or_full| {
            Problem::unavailable("overloaded", "The server takes other components at this moment.")
        })
    }

    /// In a task of its own: a client that goes away does not leave a change half done or without its line in the log.
    /// What it holds of the room for uploads it holds until it is done.
    async fn carry_out(&self, call: Call, upload: Option<OwnedSemaphorePermit>) -> Result<Answer, Problem> {
        let api = Arc::clone(&self.api);
        let most = match call.route.operation {
            Operation::RemoveTenant => ERASURE_MAX,
            Operation::UploadComponent => UPLOAD_MAX,
            _ => REQUEST_MAX,
        };
        let task = tokio::spawn(async move {
            let _upload = upload;
            api.carry_out(call).await
        });
        match tokio::time::timeout(most, task).await {
            Ok(Ok(result)) => result,
            Ok(Err(failed)) => Err(Problem::internal(&failed)),
            Err(_elapsed) => {
                let detail = "It takes too long and goes on; look later whether it was done.";
                Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "still_running", detail))
            }
        }
    }
}

/// The body as JSON, or as it is where the route takes something else; an absent one is an empty object where the route
/// allows that, and ignored where it takes none.
async fn read_body(
    route: &Route,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<(serde_json::Value, Bytes), Problem> {
    let Some((_, required)) = route.body else { return Ok((serde_json::Value::Null, Bytes::new())) };
    if route.media_type != JSON {
        check_type(route, headers)?;
        let bytes = read_bytes(body, COMPONENT_BYTES_MAX, COMPONENT_READ_MAX).await?;
        return Ok((serde_json::Value::Null, bytes));
    }
    let bytes = read_bytes(body, BODY_BYTES_MAX, BODY_READ_MAX).await?;
    if bytes.is_empty() && !required {
        return Ok((serde_json::json!({}), Bytes::new()));
    }
    check_type(route, headers)?;
    // The parser's message tells line and column and repeats nothing of the text.
    let value = serde_json::from_slice(&bytes).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, "malformed_json", format!("The body is no JSON: {error}."))
    })?;
    Ok((value, Bytes::new()))
}

/// The body whole, within a bound and a time.
async fn read_bytes(body: Incoming, bytes_max: usize, read_max: Duration) -> Result<Bytes, Problem> {
    match tokio::time::timeout(read_max, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let detail = format!("The body is larger than the {bytes_max} bytes allowed.");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail))
        }
        Ok(Err(_)) => {
            let detail = "The body did not arrive whole.";
            Err(Problem::new(StatusCode::BAD_REQUEST, "incomplete_body", detail))
        }
        Err(_elapsed) => {
            let detail = "The body took too long to arrive.";
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "slow_body", detail)
                .with(header::CONNECTION, "close"))
        }
    }
}

fn check_type(route: &Route, headers: &HeaderMap) -> Result<(), Problem> {
    if is_of_type(headers, route.media_type) {
        return Ok(());
    }
    let detail =
        format!("The body must be `{}`, and the `Content-Type` field must say so.", route.media_type);
    let code = if route.media_type == JSON { "not_json" } else { "not_wasm" };
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, code, detail))
}

fn is_of_type(headers: &HeaderMap, media_type: &str) -> bool {
    let mut fields = headers.get_all(header::CONTENT_TYPE).iter();
    let (field, second) = (fields.next(), fields.next());
    let essence = field.and_then(|field| field.to_str().ok()).and_then(|text| text.split(';').next());
    second.is_none() && essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(media_type))
}
