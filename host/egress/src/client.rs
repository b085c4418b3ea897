//! One call from end to end.

use std::error::Error as StdError;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use rustls::RootCertStore;
use tokio_util::sync::CancellationToken;

use crate::body::{RequestBody, ResponseBody};
use crate::config::{ConfigError, EgressConfig, TIMEOUT_MS_MAX};
use crate::connect::Connector;
use crate::credentials::{Credentials, QuerySecrets};
use crate::error::EgressError;
use crate::headers::strip_hop_by_hop;
use crate::pool::{Connection, Lease, Pool};
use crate::resolve::{Resolve, SystemResolver};
use crate::target::Target;
use crate::tls;
use crate::transport::{HttpVersion, TransportError, TransportProfile};

/// The largest head of a response, status line and headers together, in bytes.
pub const RESPONSE_HEADER_BYTES_MAX: u32 = 64 * 1024;

/// The most headers of a response.
pub const RESPONSE_HEADERS_MAX: usize = 100;

/// How one call differs from the configuration.
#[derive(Debug, Clone, Default)]
pub struct SendOptions {
    /// How long to wait for a connection; the configured time if `None`, an hour at most.
    pub connect_timeout: Option<Duration>,
    /// How long to wait for the head of the response; the configured time if `None`, an hour at most.
    pub first_byte_timeout: Option<Duration>,
    /// How long the response may pause; the configured time if `None`, an hour at most.
    pub between_bytes_timeout: Option<Duration>,
    /// Ends the call at any point, its response's body included, when it is cancelled.
    pub cancelled: Option<CancellationToken>,
    /// Whether private addresses may be called, because the operator named the host. See [`crate::permits`].
    pub allow_private: bool,
    /// Credentials of the upstream that the call is made to; they are put on after those of the configuration, in their
    /// place.
    pub upstream_credentials: Option<Arc<Credentials>>,
    /// Credentials of whoever the call is made for; they are put on last, in place of all others.
    pub credentials: Option<Arc<Credentials>>,
    /// Whether the credentials of the configuration stay off, because whoever the call is made for has named where it goes:
    /// the operator's keys are not for a tenant's tool.
    pub without_configured_credentials: bool,
    /// How the connection is made, if not as all others are. Connections are shared only between calls of one profile.
    pub transport: Option<Arc<TransportProfile>>,
}

/// Sends requests out. Cheap to clone; all clones share one pool.
#[derive(Clone)]
pub struct Egress(Arc<Inner>);

struct Inner {
    connector: Connector,
    /// What every call trusts.
    roots: RootCertStore,
    /// How connections are made for calls that do not say.
    profile: TransportProfile,
    pool: Pool,
    credentials: Credentials,
    connect_timeout: Duration,
    first_byte_timeout: Duration,
    between_bytes_timeout: Duration,
}

/// Where one call goes, and over which kind of connection.
#[derive(Clone, Copy)]
struct Route<'a> {
    target: &'a Target,
    path: &'a PathAndQuery,
    profile: &'a TransportProfile,
    /// Says whether a connection has the request.
    is_sent: &'a AtomicBool,
}

/// The timeouts of one call, after defaults and bounds.
struct Timeouts {
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
}

impl Egress {
    /// Reads the extra roots and makes an empty pool.
    ///
    /// # Errors
    /// Names the key of the configuration that cannot be used, and why.
    pub fn new(config: EgressConfig) -> Result<Self, ConfigError> {
        Self::with_resolver(config, Arc::new(SystemResolver::default()))
    }

    /// Like [`Egress::new`], with names looked up by `resolver`.
    ///
    /// # Errors
    /// As [`Egress::new`].
    pub fn with_resolver(config: EgressConfig, resolver: Arc<dyn Resolve>) -> Result<Self, ConfigError> {
        config.check()?;
        let roots = tls::roots(config.extra_roots_file.as_deref())?;
        let idle_per_host_max = usize::try_from(config.idle_connections_per_host_max).unwrap_or(usize::MAX);
        Ok(Self(Arc::new(Inner {
            connector: Connector::new(resolver),
            profile: TransportProfile::of_all(roots.clone())?,
            roots,
            pool: Pool::new(idle_per_host_max, config.idle_timeout()),
            connect_timeout: Duration::from_millis(config.connect_timeout_ms),
            first_byte_timeout: Duration::from_millis(config.first_byte_timeout_ms),
            between_bytes_timeout: Duration::from_millis(config.between_bytes_timeout_ms),
            credentials: Credentials::new(config.credentials),
        })))
    }

    /// How many idle HTTP/1 connections wait in the pool, for all targets together.
    #[must_use]
    pub fn idle_connections(&self) -> usize {
        self.0.pool.idle_count()
    }

    /// How connections to one upstream are made: they trust the certificates in the PEM file `roots_file` beside those that
    /// every call trusts, and speak `http`. Make one for an upstream and keep it.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn transport_profile(
        &self,
        roots_file: Option<&Path>,
        http: HttpVersion,
    ) -> Result<Arc<TransportProfile>, TransportError> {
        TransportProfile::new(self.0.roots.clone(), roots_file, http).map(Arc::new)
    }

    /// Sends `request`, whose URI is absolute, and returns the response as soon as its head is there. Status codes are
    /// no errors, and redirects are not followed. Must run inside a Tokio runtime.
    ///
    /// The request goes out once. It is sent again only if it was given to a connection that had been idle and turned
    /// out to be closed before any of it was written.
    ///
    /// Dropping the future ends the call.
    ///
    /// # Errors
    /// See [`EgressError`]; its text never holds a path, a header or a secret.
    pub async fn send<B>(
        &self,
        request: Request<B>,
        options: SendOptions,
    ) -> Result<Response<ResponseBody>, EgressError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.send_telling(request, options, &AtomicBool::new(false)).await
    }

    /// Like [`Egress::send`]; `is_sent` says, whatever comes of it, whether the request was handed to a connection, so that
    /// the other side may have it.
    pub(crate) async fn send_telling<B>(
        &self,
        request: Request<B>,
        options: SendOptions,
        is_sent: &AtomicBool,
    ) -> Result<Response<ResponseBody>, EgressError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let request = request.map(RequestBody::new);
        match options.cancelled.clone() {
            None => self.0.call(request, &options, is_sent).await,
            Some(cancelled) => tokio::select! {
                biased;
                () = cancelled.cancelled() => Err(EgressError::Cancelled),
                result = self.0.call(request, &options, is_sent) => result,
            },
        }
    }
}

impl Inner {
    async fn call(
        &self,
        mut request: Request<RequestBody>,
        options: &SendOptions,
        is_sent: &AtomicBool,
    ) -> Result<Response<ResponseBody>, EgressError> {
        if *request.method() == Method::CONNECT {
            return Err(EgressError::HttpRequestMethodInvalid {
                reason: "CONNECT opens a tunnel, not a request",
            });
        }
        let profile = options.transport.as_deref().unwrap_or(&self.profile);
        let target = Target { profile: profile.id, ..Target::of(request.uri(), options.allow_private)? };
        let mut path = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        strip_hop_by_hop(request.headers_mut());
        let mut in_query = QuerySecrets::default();
        let own = [options.upstream_credentials.as_deref(), options.credentials.as_deref()];
        let configured = (!options.without_configured_credentials).then_some(&self.credentials);
        for credentials in configured.into_iter().chain(own.into_iter().flatten()) {
            credentials.inject(&target, &mut path, request.headers_mut(), &mut in_query)?;
        }

        let timeouts = self.timeouts(options);
        let route = Route { target: &target, path: &path, profile, is_sent };
        let (response, lease) = self.exchange(request, route, &timeouts).await?;
        let (mut head, incoming) = response.into_parts();
        check_head(&head)?;
        strip_hop_by_hop(&mut head.headers);
        in_query.scrub(&mut head.headers);
        let body = ResponseBody::new(incoming, lease, timeouts.between_bytes, options.cancelled.clone());
        Ok(Response::from_parts(head, body))
    }

    /// Sends the request on an idle connection or a new one.
    async fn exchange(
        &self,
        mut request: Request<RequestBody>,
        route: Route<'_>,
        timeouts: &Timeouts,
    ) -> Result<(Response<Incoming>, Option<Lease>), EgressError> {
        let mut idle = self.pool.take(route.target);
        loop {
            let is_reused = idle.is_some();
            let connection = match idle.take() {
                Some(connection) => connection,
                None => self.connect(route, timeouts.connect).await?,
            };
            let sent = self.send_on(connection, request, route, timeouts.first_byte).await?;
            if matches!(sent, Sent::NotWritten(..)) {
                route.is_sent.store(false, Relaxed);
            }
            match sent {
                Sent::Answered(response, lease) => return Ok((response, lease)),
                // The second attempt takes a new connection: where one idle connection was dead, others may be.
                Sent::NotWritten(unsent, _) if is_reused => request = unsent,
                Sent::NotWritten(_, error) => return Err(EgressError::from_exchange(&error)),
            }
        }
    }

    async fn connect(&self, route: Route<'_>, timeout: Duration) -> Result<Connection, EgressError> {
        // Boxed, because the state of a TLS handshake is large and most calls find a connection in the pool.
        let connection = Box::pin(self.connector.connect(route.target, route.profile, timeout)).await?;
        if let Connection::Http2(sender) = &connection {
            self.pool.share(route.target, sender);
        }
        Ok(connection)
    }

    async fn send_on(
        &self,
        connection: Connection,
        mut request: Request<RequestBody>,
        route: Route<'_>,
        timeout: Duration,
    ) -> Result<Sent, EgressError> {
        let Route { target, path, is_sent, .. } = route;
        let late = |_| EgressError::ConnectionReadTimeout { host: target.host().to_owned(), after: timeout };
        match connection {
            Connection::Http1(mut connection) => {
                address_http1(&mut request, target, path)?;
                is_sent.store(true, Relaxed);
                let sending = connection.sender.try_send_request(request);
                let result = tokio::time::timeout(timeout, sending).await.map_err(late)?;
                let lease = || Some(Lease::new(connection, target.clone(), self.pool.clone()));
                Sent::of(result, lease)
            }
            Connection::Http2(mut sender) => {
                address_http2(&mut request, target, path)?;
                is_sent.store(true, Relaxed);
                let sending = sender.try_send_request(request);
                let result = tokio::time::timeout(timeout, sending).await.map_err(late)?;
                if result.is_err() && sender.is_closed() {
                    self.pool.forget_http2(target);
                }
                Sent::of(result, || None)
            }
        }
    }

    fn timeouts(&self, options: &SendOptions) -> Timeouts {
        let bounded = |wish: Option<Duration>, configured: Duration| {
            wish.unwrap_or(configured).min(Duration::from_millis(TIMEOUT_MS_MAX))
        };
        Timeouts {
            connect: bounded(options.connect_timeout, self.connect_timeout),
            first_byte: bounded(options.first_byte_timeout, self.first_byte_timeout),
            between_bytes: bounded(options.between_bytes_timeout, self.between_bytes_timeout),
        }
    }
}

/// What became of a request on one connection.
enum Sent {
    Answered(Response<Incoming>, Option<Lease>),
    /// Nothing of it was written; here it is back.
    NotWritten(Request<RequestBody>, hyper::Error),
}

impl Sent {
    fn of(
        result: Result<Response<Incoming>, TrySendError<Request<RequestBody>>>,
        lease: impl FnOnce() -> Option<Lease>,
    ) -> Result<Self, EgressError> {
        match result {
            Ok(response) => Ok(Self::Answered(response, lease())),
            Err(mut error) => match error.take_message() {
                Some(request) => Ok(Self::NotWritten(request, error.into_error())),
                None => Err(EgressError::from_exchange(error.error())),
            },
        }
    }
}

/// HTTP/1 names the path in the request line and the host in a header.
fn address_http1(
    request: &mut Request<RequestBody>,
    target: &Target,
    path: &PathAndQuery,
) -> Result<(), EgressError> {
    let host = HeaderValue::from_str(target.host_header())
        .map_err(|_| EgressError::uri("the host cannot stand in a header"))?;
    *request.uri_mut() = Uri::from(path.clone());
    *request.version_mut() = Version::HTTP_11;
    request.headers_mut().insert(HOST, host);
    Ok(())
}

/// HTTP/2 names all of it in the URI.
fn address_http2(
    request: &mut Request<RequestBody>,
    target: &Target,
    path: &PathAndQuery,
) -> Result<(), EgressError> {
    *request.uri_mut() = Uri::builder()
        .scheme(if target.tls { "https" } else { "http" })
        .authority(target.authority.clone())
        .path_and_query(path.clone())
        .build()
        .map_err(|_| EgressError::uri("its parts do not make a URL"))?;
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().remove(HOST);
    Ok(())
}

fn check_head(head: &http::response::Parts) -> Result<(), EgressError> {
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(EgressError::HttpUpgradeFailed);
    }
    // HTTP/1's parser has counted already; HTTP/2 bounds only the bytes by itself.
    if head.headers.len() > RESPONSE_HEADERS_MAX {
        return Err(EgressError::header_section_size());
    }
    Ok(())
}
