//! One keep-alive HTTP/1.1 connection that belongs to one client, so that no pool and no lock stands between.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::endpoint::Endpoint;
use crate::scenario::Call;

/// What went wrong with one request; the text is what errors are counted by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(crate) enum Failure {
    #[error("connect")]
    Connect,
    #[error("connection lost")]
    Lost,
    #[error("timeout")]
    Timeout,
    #[error("status {0}")]
    Status(u16),
    #[error("answer cut off")]
    Cut,
    #[error("answer not JSON of the expected shape")]
    Shape,
    #[error("response not completed")]
    NotCompleted,
    #[error("answer without the request's own words")]
    WrongAnswer,
    #[error("request could not be built")]
    Build,
    #[error("no tenant left that was not asked")]
    NoTenantLeft,
}

/// A client of the server under load.
pub(crate) struct Client {
    endpoint: Endpoint,
    host: HeaderValue,
    authorization: Option<HeaderValue>,
    /// The address that connections are made from; the kernel's choice if not given.
    source: Option<IpAddr>,
    sender: Option<SendRequest<Full<Bytes>>>,
}

/// Answers are read up to this many bytes.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

impl Client {
    pub(crate) fn new(endpoint: &Endpoint, api_key: Option<&str>) -> Option<Self> {
        let authorization = match api_key {
            None => None,
            Some(key) => Some(HeaderValue::from_str(&format!("Bearer {key}")).ok()?),
        };
        let host = HeaderValue::from_str(&endpoint.authority).ok()?;
        Some(Self { endpoint: endpoint.clone(), host, authorization, source: None, sender: None })
    }

    /// The same, but connecting from this address.
    pub(crate) fn with_source(self, source: Option<IpAddr>) -> Self {
        Self { source, ..self }
    }

    /// Whether there is a connection that the server has not closed.
    pub(crate) fn is_connected(&self) -> bool {
        self.sender.as_ref().is_some_and(|sender| !sender.is_closed())
    }

    /// Sends a request and waits for the head of the answer; only status 200 is a success.
    pub(crate) async fn send(&mut self, call: Call) -> Result<Response<Incoming>, Failure> {
        let request = self.request(call)?;
        let sender = self.ready().await?;
        let response = match sender.send_request(request).await {
            Ok(response) => response,
            Err(_) => {
                self.disconnect();
                return Err(Failure::Lost);
            }
        };
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        let failure = Failure::Status(response.status().as_u16());
        // The body is read so that the connection can be used again.
        self.read(response).await?;
        Err(failure)
    }

    /// Reads the whole body of an answer.
    pub(crate) async fn read(&mut self, response: Response<Incoming>) -> Result<Bytes, Failure> {
        let body = http_body_util::Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        match body.collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(_) => {
                self.disconnect();
                Err(Failure::Cut)
            }
        }
    }

    /// Sends a request and reads the whole answer, within a time.
    pub(crate) async fn whole(&mut self, call: Call, limit: Duration) -> Result<Bytes, Failure> {
        let exchange = async {
            let response = self.send(call).await?;
            self.read(response).await
        };
        let outcome = timeout(limit, exchange).await;
        outcome.unwrap_or_else(|_| {
            self.disconnect();
            Err(Failure::Timeout)
        })
    }

    /// Gives the connection up; the next request makes a new one.
    pub(crate) fn disconnect(&mut self) {
        self.sender = None;
    }

    /// Closed keep-alive connections are replaced here, without counting as errors.
    async fn ready(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, Failure> {
        let mut usable = false;
        if let Some(sender) = &mut self.sender {
            usable = sender.ready().await.is_ok();
        }
        if !usable {
            self.sender = Some(connect(&self.endpoint, self.source).await.ok_or(Failure::Connect)?);
        }
        self.sender.as_mut().ok_or(Failure::Connect)
    }

    fn request(&self, call: Call) -> Result<Request<Full<Bytes>>, Failure> {
        let has_body = !call.body.is_empty();
        let mut request = Request::new(Full::new(call.body));
        *request.method_mut() = call.method;
        *request.uri_mut() = call.path.parse().map_err(|_| Failure::Build)?;
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        if has_body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        for (name, value) in &call.headers {
            headers.insert(name, value.clone());
        }
        Ok(request)
    }
}

async fn connect(endpoint: &Endpoint, source: Option<IpAddr>) -> Option<SendRequest<Full<Bytes>>> {
    let stream = match source {
        None => TcpStream::connect(endpoint.address).await.ok()?,
        Some(source) => {
            let socket = if source.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.ok()?;
            socket.bind(SocketAddr::new(source, 0)).ok()?;
            socket.connect(endpoint.address).await.ok()?
        }
    };
    stream.set_nodelay(true).ok()?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
    // It ends with the sender or the server; what goes wrong on it is seen by the request.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Some(sender)
}
