//! One connection to the collector, and one request on it at a time: OTLP/HTTP over HTTP/1.1, OTLP/gRPC over HTTP/2.

use super::keys::Protocol;
use super::settings::Settings;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Bytes of an answer; a longer one counts as none.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Bytes before a message of gRPC: whether it is compressed, and its length.
const GRPC_PREFIX_BYTES: usize = 5;
/// What is repeated of a collector's reason, bytes.
const REASON_BYTES_MAX: usize = 200;
/// The longest wait that a collector can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Why a batch was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It may be taken later, not before `after` if the collector said that.
    Later { reason: String, after: Option<Duration> },
    /// It will never be taken.
    Never { reason: String },
}

fn later(what: &str, error: impl std::fmt::Display) -> Failure {
    Failure::Later { reason: format!("{what}: {error}"), after: None }
}

pub(super) struct Collector {
    settings: Settings,
    connection: Option<Connection>,
}

enum Connection {
    Http(http1::SendRequest<Full<Bytes>>),
    Grpc(http2::SendRequest<Full<Bytes>>),
}

impl Collector {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, connection: None }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Sends an encoded batch, within the time of one attempt. What the collector answered, encoded.
    pub(super) async fn send(&mut self, batch: &Bytes) -> Result<Bytes, Failure> {
        let timeout = self.settings.timeout;
        let result = match tokio::time::timeout(timeout, self.try_send(batch)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(later("no answer within", format_args!("{} ms", timeout.as_millis()))),
        };
        if result.is_err() {
            // Whatever it is, the next attempt begins with a new connection.
            self.connection = None;
        }
        result
    }

    async fn try_send(&mut self, batch: &Bytes) -> Result<Bytes, Failure> {
        if let Some(connection) = &mut self.connection {
            match connection.call(request(&self.settings, batch)?).await {
                Ok(response) => return self.read(response).await,
                // The collector has closed it meanwhile, which is no failure.
                Err(_closed) => self.connection = None,
            }
        }
        let mut connection = self.connect().await?;
        let response = connection.call(request(&self.settings, batch)?).await;
        let response = response.map_err(|error| later("the request failed", error))?;
        self.connection = Some(connection);
        self.read(response).await
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let endpoint = &self.settings.endpoint;
        let stream = TcpStream::connect((endpoint.name(), endpoint.port)).await;
        let stream = stream.map_err(|error| later("no connection", error))?;
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.settings.tls else { return self.handshake(stream).await };
        let name = ServerName::try_from(endpoint.name().to_owned());
        let name = name.map_err(|error| Failure::Never { reason: format!("no name for TLS: {error}") })?;
        let stream = TlsConnector::from(std::sync::Arc::clone(tls)).connect(name, stream).await;
        self.handshake(stream.map_err(|error| later("no TLS", error))?).await
    }

    async fn handshake<S>(&self, stream: S) -> Result<Connection, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = TokioIo::new(stream);
        match self.settings.protocol {
            Protocol::Http => {
                let handshake = http1::handshake(stream).await;
                let (sender, connection) = handshake.map_err(|error| later("no HTTP/1.1", error))?;
                tokio::spawn(connection);
                Ok(Connection::Http(sender))
            }
            Protocol::Grpc => {
                let handshake = http2::handshake(TokioExecutor::new(), stream).await;
                let (sender, connection) = handshake.map_err(|error| later("no HTTP/2", error))?;
                tokio::spawn(connection);
                Ok(Connection::Grpc(sender))
            }
        }
    }

    async fn read(&self, response: Response<Incoming>) -> Result<Bytes, Failure> {
        let (head, body) = response.into_parts();
        let collected = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let collected = collected.map_err(|error| later("the answer did not arrive", error))?;
        let trailers = collected.trailers().cloned().unwrap_or_default();
        let body = collected.to_bytes();
        match self.settings.protocol {
            Protocol::Http => {
                judge_http(head.status, &head.headers)?;
                Ok(body)
            }
            Protocol::Grpc => {
                judge_grpc(head.status, &head.headers, &trailers)?;
                Ok(body.get(GRPC_PREFIX_BYTES..).map_or_else(Bytes::new, |message| body.slice_ref(message)))
            }
        }
    }
}

impl Connection {
    async fn call(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Grpc(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}

fn request(settings: &Settings, batch: &Bytes) -> Result<Request<Full<Bytes>>, Failure> {
    let endpoint = &settings.endpoint;
    let mut request = Request::new(Full::new(match settings.protocol {
        Protocol::Http => batch.clone(),
        Protocol::Grpc => framed(batch),
    }));
    *request.method_mut() = Method::POST;
    // The target is the path alone over HTTP/1.1, and all of it over HTTP/2, as each writes it.
    let target = match settings.protocol {
        Protocol::Http => endpoint.path.clone(),
        Protocol::Grpc => endpoint.to_string(),
    };
    let wrong = |error: &dyn std::fmt::Display| Failure::Never { reason: format!("no request: {error}") };
    *request.uri_mut() = target.parse().map_err(|error: http::uri::InvalidUri| wrong(&error))?;
    let headers = request.headers_mut();
    headers.extend(settings.headers.clone());
    headers
        .insert(header::USER_AGENT, HeaderValue::from_static(concat!("waggle/", env!("CARGO_PKG_VERSION"))));
    match settings.protocol {
        Protocol::Http => {
            let host = HeaderValue::try_from(endpoint.authority()).map_err(|error| wrong(&error))?;
            headers.insert(header::HOST, host);
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        }
        Protocol::Grpc => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
    }
    Ok(request)
}

/// A message with gRPC's prefix, not compressed. A batch is far below 4 GiB.
fn framed(batch: &Bytes) -> Bytes {
    let mut framed = BytesMut::with_capacity(GRPC_PREFIX_BYTES + batch.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(batch.len()).unwrap_or(u32::MAX));
    framed.put_slice(batch);
    framed.freeze()
}

/// What a status of OTLP/HTTP means (OTLP 1.x, "Failures"): 429, 502, 503 and 504 can be tried again, others cannot.
fn judge_http(status: StatusCode, headers: &HeaderMap) -> Result<(), Failure> {
    if status.is_success() {
        return Ok(());
    }
    let reason = format!("the collector answered {status}");
    if !matches!(status.as_u16(), 429 | 502 | 503 | 504) {
        return Err(Failure::Never { reason });
    }
    let seconds = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let after = seconds.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
    Err(Failure::Later { reason, after })
}

/// What a status of gRPC means (OTLP 1.x, "OTLP/gRPC Response"). It stands in the trailers, or in the head where there is
/// nothing else.
fn judge_grpc(status: StatusCode, headers: &HeaderMap, trailers: &HeaderMap) -> Result<(), Failure> {
    let field = |name| trailers.get(name).or_else(|| headers.get(name)).and_then(|value| value.to_str().ok());
    let Some(code) = field("grpc-status").and_then(|code| code.parse::<u32>().ok()) else {
        // A proxy without a collector behind it speaks HTTP only.
        judge_http(status, headers)?;
        return Err(Failure::Never { reason: "the collector's answer is none of gRPC".to_owned() });
    };
    if code == 0 {
        return Ok(());
    }
    let message = field("grpc-message").unwrap_or_default();
    let message = &message[..message.floor_char_boundary(REASON_BYTES_MAX)];
    let reason = format!("the collector answered with gRPC status {code}: {message:?}");
    // Cancelled, deadline exceeded, aborted, out of range, unavailable, data loss; and resource exhausted, which may pass.
    match code {
        1 | 4 | 8 | 10 | 11 | 14 | 15 => Err(Failure::Later { reason, after: None }),
        _ => Err(Failure::Never { reason }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_of_http_are_judged_as_the_standard_has_it() {
        let check =
            |status: u16, retry_after: Option<&'static str>, expected: Option<(bool, Option<u64>)>| {
                let mut headers = HeaderMap::new();
                if let Some(value) = retry_after {
                    headers.insert(header::RETRY_AFTER, HeaderValue::from_static(value));
                }
                let found = match judge_http(StatusCode::from_u16(status).unwrap(), &headers) {
                    Ok(()) => None,
                    Err(Failure::Later { after, .. }) => Some((true, after.map(|after| after.as_secs()))),
                    Err(Failure::Never { .. }) => Some((false, None)),
                };
                assert_eq!(found, expected, "{status}");
            };
        check(200, None, None);
        check(202, None, None);
        check(400, None, Some((false, None)));
        check(401, None, Some((false, None)));
        check(404, None, Some((false, None)));
        check(413, None, Some((false, None)));
        check(429, Some("7"), Some((true, Some(7))));
        check(500, None, Some((false, None)));
        check(503, Some("999999"), Some((true, Some(60)))); // not for days
        check(504, Some("soon"), Some((true, None)));
    }

    #[test]
    fn statuses_of_grpc_are_judged_as_the_standard_has_it() {
        let check = |head: Option<&'static str>,
                     trailer: Option<&'static str>,
                     status: u16,
                     expected: Option<bool>| {
            let fields = |value: Option<&'static str>| {
                value.map(|value| {
                    (header::HeaderName::from_static("grpc-status"), HeaderValue::from_static(value))
                })
            };
            let (head, trailer): (HeaderMap, HeaderMap) =
                (fields(head).into_iter().collect(), fields(trailer).into_iter().collect());
            let found = match judge_grpc(StatusCode::from_u16(status).unwrap(), &head, &trailer) {
                Ok(()) => None,
                Err(Failure::Later { .. }) => Some(true),
                Err(Failure::Never { .. }) => Some(false),
            };
            assert_eq!(found, expected, "{head:?} {trailer:?} {status}");
        };
        check(None, Some("0"), 200, None);
        check(Some("14"), None, 200, Some(true));
        check(None, Some("4"), 200, Some(true));
        check(None, Some("3"), 200, Some(false));
        check(None, Some("16"), 200, Some(false));
        check(None, None, 503, Some(true));
        check(None, None, 404, Some(false));
        check(None, None, 200, Some(false));
        check(None, Some("what"), 200, Some(false));
    }
}
