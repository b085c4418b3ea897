//! The request path, from top to bottom: name the request, let it in (or not), route it, clean its headers, hand it to
//! an instance of its tenant, and answer in the shape of the API when there is no response.

mod work;

use crate::admission::AdmissionControl;
use crate::body::{self, Cut, Inbound};
use crate::config::GatewayConfig;
use crate::error::Refusal;
use crate::headers::{set_spin_headers, strip_hop_by_hop, strip_reserved};
use crate::identity;
use crate::mcp::McpServers;
use crate::metrics::GatewayMetrics;
use crate::observe::{Heard, Observers};
use crate::peer::{Bound, Peer};
use crate::upgrade;
use crate::websocket::{self, Sockets};
use async_trait::async_trait;
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version, header};
use rand::Rng as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};
use waggle_engine::{
    Admission, CallContext, CallerFields, ConnectionLane, Engine, EngineConfig, HandleError, InternalCalls,
    InternalTarget, WasiBody, WorldSource,
};
use waggle_manifest::{RouteMatch, RouteTable};
use waggle_measure::TenantSlot;
use waggle_measure::trace::Parent;
use waggle_tenancy::{
    Caller, Denied, Door, RATE_LIMIT, RATE_LIMIT_POLICY, TenantEntry, TenantId, TrustedProxyError,
    rate_limit_fields,
};

pub use work::{WorkDelivery, WorkFailure};

/// Tells the client the request's id, as OpenAI's API does.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Tells the function the request's id. An inbound field of this name never passes.
const FUNCTION_REQUEST_ID: HeaderName = HeaderName::from_static("waggle-request-id");

/// Where load balancers and orchestrators ask whether the host serves, as under Spin.
const HEALTH_PATH: &str = "/.well-known/spin/health";
/// Below it is what is known of a site without asking for more (RFC 8615).
const WELL_KNOWN: &str = "/.well-known/";

/// Takes requests and answers them. Shared by all connections.
pub struct Gateway {
    engine: Engine,
    worlds: Arc<dyn WorldSource>,
    routes: RouteTable,
    admission: AdmissionControl,
    metrics: Arc<GatewayMetrics>,
    observers: Observers,
    sockets: Arc<Sockets>,
    mcp: McpServers,
    config: GatewayConfig,
    request_timeout: Duration,
    response_timeout: Duration,
}

impl Gateway {
    /// A gateway that lets in whom `door` knows, and sends requests by `routes` to the functions loaded in `engine`.
    /// Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// When an entry of `trusted_proxies` is no address or network.
    pub fn new(
        engine: Engine,
        worlds: Arc<dyn WorldSource>,
        routes: RouteTable,
        door: Arc<Door>,
        observers: Observers,
        config: GatewayConfig,
        engine_config: &EngineConfig,
    ) -> Result<Self, TrustedProxyError> {
        Ok(Self {
            admission: AdmissionControl::new(&config, door, &engine)?,
            metrics: Arc::new(GatewayMetrics::new(&routes, Arc::clone(&observers.tenants))),
            observers,
            sockets: Sockets::new(&config.websocket),
            mcp: McpServers::new(&config.mcp),
            engine,
            worlds,
            routes,
            config,
            request_timeout: Duration::from_millis(engine_config.request_timeout_ms),
            response_timeout: Duration::from_millis(engine_config.response_timeout_ms),
        })
    }

    /// The bounds this gateway keeps.
    #[must_use]
    pub fn config(&self) -> &GatewayConfig {
        &self.config
    }

    /// How long a response may take, body included.
    pub(crate) fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> &Arc<GatewayMetrics> {
        &self.metrics
    }

    /// Runs the work of a connection.
    pub(crate) fn spawn_connection(
        &self,
        connection: &Arc<ConnectionLane>,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        self.engine.spawn_connection(connection, work);
    }

    /// The WebSockets.
    pub(crate) fn sockets(&self) -> &Arc<Sockets> {
        &self.sockets
    }

    /// Answers one request of a client, who sent it by the connection of `peer`; `bound` says whose it must be, if that
    /// is known before. `scheme` is that of the listener.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        request: Request<Inbound>,
        peer: &Arc<Peer>,
        scheme: &'static str,
        bound: Option<&Bound>,
    ) -> Response<WasiBody> {
        let client = peer.client;
        let request_id: Arc<str> = new_request_id().into();
        // Counts a reference to what the request holds, and copies nothing.
        let target = request.uri().clone();
        let path = target.path();
        let began = Instant::now();
        let observation = self.observers.watch(&Heard {
            method: request.method(),
            headers: request.headers(),
            version: request.version(),
            path,
            scheme,
            client,
            request_id: &request_id,
            began,
        });
        let from = Arrival { client, scheme, peer, bound, path, request_id: &request_id, began };
        let mut seen = Seen {
            span: observation.parent(),
            request_bytes: observation.request_bytes(),
            ..Seen::default()
        };
        let mut response = match self.admit(request, from, &mut seen).await {
            Ok(response) => response,
            Err((refusal, None)) => refusal.into_response(path, &request_id),
            Err((refusal, Some(unread))) => {
                // A client that is still writing must get to read the refusal.
                refusal.into_response(path, &request_id).map(|answer| body::lingering(answer, unread))
            }
        };
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS if seen.is_handshake => {}
            StatusCode::UPGRADE_REQUIRED if seen.is_handshake => {
                websocket::tell_version(response.headers_mut())
            }
            _ => strip_hop_by_hop(response.headers_mut()),
        }
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        self.mcp.challenge(path, &mut response);
        self.metrics.count_answer(seen.slot, seen.route, &response);
        if let Some(fields) = seen.tenant.as_ref().and_then(|tenant| rate_limit_fields(&tenant.meter)) {
            response.headers_mut().insert(RATE_LIMIT_POLICY, fields.policy);
            response.headers_mut().insert(RATE_LIMIT, fields.limit);
        }
        let route = seen.route.and_then(|number| Some((number, self.metrics.routes().get(number)?)));
        let route = route.map(|(number, of)| (number, of.route.as_str(), of.function.as_str()));
        let tenant = seen.tenant.as_ref().map(|entry| &entry.tenant.id);
        observation.answered(response, seen.client, tenant, route)
    }

    /// From the first look at a request to its response. `seen` is filled as things become known.
    async fn admit(
        self: &Arc<Self>,
        mut request: Request<Inbound>,
        from: Arrival<'_>,
        seen: &mut Seen,
    ) -> Result<Response<WasiBody>, (Refusal, Option<Inbound>)> {
        if from.path == HEALTH_PATH {
            return Ok(Response::new(body::full("OK".to_owned())));
        }
        if from.path.starts_with(WELL_KNOWN) {
            let is_routed = self.routes.lookup(from.path).is_some();
            if let Some(answer) = self.mcp.metadata(request.method(), from.path, is_routed) {
                return answer.map_err(|refusal| (refusal, None));
            }
        }
        let (mut admission, caller) = match self.let_in(&request, from, seen).await {
            Ok(admitted) => admitted,
            Err(refusal) => {
                self.metrics.count_refusal(refusal.code());
                if let Some(entry) = &seen.tenant {
                    self.engine.refused(&from.peer.lane, &entry.tenant.id);
                }
                return Err((refusal, Some(request.into_body())));
            }
        };
        let Some(route) = self.routes.lookup(from.path) else {
            let refusal = Refusal::not_found(request.method(), from.path);
            return Err((refusal, Some(request.into_body())));
        };
        seen.route = route.number;
        let is_open = caller.tenant.revision == 0;
        if let Err(refusal) = self.mcp.check_origin(from.path, &request, is_open) {
            return Err((refusal, Some(request.into_body())));
        }
        if let Some(answer) = self.websocket(&mut request, from, &caller, seen) {
            return answer.map_err(|refusal| (refusal, None));
        }
        admission.timer = route.number.and_then(|number| self.metrics.start(number, from.began));
        let uri = absolute(&request, from.scheme).map_err(|refusal| (refusal, None))?;
        let fields = identity::fields(&caller).map_err(|refusal| (refusal, None))?;
        let (mut parts, incoming) = request.into_parts();
        strip_hop_by_hop(&mut parts.headers);
        strip_reserved(&mut parts.headers);
        // The built-in tenant asked for no credential, so what is there is meant for the function.
        if caller.tenant.revision != 0 {
            identity::take_credential(&mut parts.headers);
        }
        parts.uri = uri;
        let limit = self.body_bytes_max(&caller.tenant);
        let (limited, cut) = body::limited(incoming, limit, seen.request_bytes.take());
        let request = Request::from_parts(parts, limited);
        let context = self.context(from.request_id, fields, seen.span.clone());
        let call = Call { client: Some(from.client), context, admission };
        let answer = self.run(&caller.tenant.tenant.id, &route, request, call);
        let answer = unless_cut(answer, &cut, limit).await;
        answer.map_err(|refusal| (refusal, None))
    }

    /// The answer to a request for a WebSocket; none if it is for none.
    fn websocket(
        self: &Arc<Self>,
        request: &mut Request<Inbound>,
        from: Arrival<'_>,
        caller: &Caller,
        seen: &mut Seen,
    ) -> Option<Result<Response<WasiBody>, Refusal>> {
        let paths = &self.config.websocket.paths;
        if !websocket::is_asked(request) || !paths.iter().any(|path| path == from.path) {
            let message = "There is no WebSocket at this path.";
            return websocket::is_other_tunnel(request).then(|| Err(Refusal::bad_request(message)));
        }
        seen.is_handshake = true;
        self.engine.refused(&from.peer.lane, &caller.tenant.tenant.id);
        Some(upgrade::open(self, request, from.peer, from.scheme, caller))
    }

    /// The layers of admission, cheapest first.
    async fn let_in(
        &self,
        request: &Request<Inbound>,
        from: Arrival<'_>,
        seen: &mut Seen,
    ) -> Result<(Admission, Caller), Refusal> {
        // Overload is answered before anything is spent on the request.
        let host = self.admission.host()?;
        let address = self.admission.address(from.client, request.headers())?;
        seen.client = Some(address);
        let caller = self.admission.caller(address, request.headers()).await?;
        let entry = Arc::clone(&caller.tenant);
        seen.slot = entry.meter.seat(self.metrics.tenants(), &entry.tenant.id).count();
        seen.tenant = Some(entry);
        if from.bound.is_some_and(|bound| !bound.allows(&caller)) {
            return Err(Refusal::denied(&Denied::UnknownKey));
        }
        let limit = self.body_bytes_max(&caller.tenant);
        if http_body::Body::size_hint(request.body()).lower() > limit {
            return Err(Refusal::body_too_large(limit));
        }
        let deadline = Instant::now() + self.request_timeout;
        let place = self.admission.tenant(&caller, deadline).await.map_err(|exceeded| {
            tracing::debug!(tenant = %caller.tenant.tenant.id, limit = exceeded.limit, "over a limit");
            Refusal::over_limit(&exceeded)
        })?;
        let connection = Some(Arc::clone(&from.peer.lane));
        Ok((Admission { host: Some(host), tenant: Some(place), connection, timer: None }, caller))
    }

    fn body_bytes_max(&self, tenant: &TenantEntry) -> u64 {
        let host = self.config.request_body_bytes_max;
        tenant.limits.request_body_bytes_max.map_or(host, |limit| limit.min(host))
    }

    /// Bytes of a message of a WebSocket, which becomes a request's body.
    pub(crate) fn message_bytes_max(&self, caller: &Caller) -> usize {
        let limit = self.config.websocket.message_bytes_max.min(self.body_bytes_max(&caller.tenant));
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    fn context(&self, request_id: &Arc<str>, caller: CallerFields, span: Parent) -> CallContext {
        let now = Instant::now();
        CallContext {
            request_id: Arc::clone(request_id),
            head_deadline: now + self.request_timeout,
            body_deadline: now + self.response_timeout,
            depth: 0,
            calls: Arc::default(),
            caller,
            span,
        }
    }

    /// Hands the request to an instance of the tenant, with the fields Spin promises.
    async fn run(
        &self,
        tenant: &TenantId,
        route: &RouteMatch<'_, '_>,
        mut request: Request<WasiBody>,
        call: Call,
    ) -> Result<Response<WasiBody>, Refusal> {
        let Call { client, context, admission } = call;
        let full_url = request.uri().to_string();
        set_spin_headers(request.headers_mut(), &full_url, route, client);
        if let Ok(value) = HeaderValue::from_str(&context.request_id) {
            request.headers_mut().insert(FUNCTION_REQUEST_ID, value);
        }
        identity::introduce(request.headers_mut(), &context.caller);
        let method = request.method().clone();
        let answer =
            self.engine.handle(&*self.worlds, tenant, route.component, request, context, admission).await;
        answer.map_err(|error| match error {
            HandleError::Busy { .. } => {
                tracing::debug!(%tenant, %error, "over a limit");
                let refusal = Refusal::from(error);
                self.metrics.count_refusal(refusal.code());
                refusal
            }
            // A function that the tenant may not use is none, for all it can tell.
            HandleError::UnknownFunction(_) => {
                let uri: Uri = full_url.parse().unwrap_or_default();
                Refusal::not_found(&method, uri.path())
            }
            error => error.into(),
        })
    }
}

#[async_trait]
impl InternalCalls for Gateway {
    async fn call(
        &self,
        tenant: &TenantId,
        target: InternalTarget,
        request: Request<WasiBody>,
        context: CallContext,
    ) -> Response<WasiBody> {
        let mut request = request.map(body::clean_trailers);
        strip_hop_by_hop(request.headers_mut());
        strip_reserved(request.headers_mut());
        let path = request.uri().path().to_owned();
        let route = match target {
            InternalTarget::Function(ref function) => Some(direct(function, &path)),
            InternalTarget::Application => self.routes.lookup(&path),
        };
        let request_id = Arc::clone(&context.request_id);
        let answer = match route {
            Some(route) => {
                let call = Call { client: None, context, admission: Admission::default() };
                self.run(tenant, &route, request, call).await
            }
            None => Err(Refusal::not_found(request.method(), &path)),
        };
        answer.unwrap_or_else(|refusal| refusal.into_response(&path, &request_id))
    }
}

/// The answer to a call between functions when the host is on its way down.
#[must_use]
pub fn shutting_down(path: &str, request_id: &str) -> Response<WasiBody> {
    Refusal::shutting_down().into_response(path, request_id)
}

/// The function's answer, unless the request's body grows over its limit before there is one: then the host answers at
/// once, because all the function could tell is that the body broke off. The function's request is cancelled.
async fn unless_cut(
    answer: impl Future<Output = Result<Response<WasiBody>, Refusal>>,
    cut: &Cut,
    limit: u64,
) -> Result<Response<WasiBody>, Refusal> {
    let answer = tokio::select! {
        biased;
        () = cut.happens() => None,
        answer = answer => Some(answer),
    };
    // Both may have come while the answer was looked for.
    answer.filter(|_answer| !cut.has_happened()).unwrap_or_else(|| Err(Refusal::body_too_large(limit)))
}

/// The match of a call that names its function instead of a route, as Spin gives it to the function.
fn direct<'a>(function: &'a str, path: &'a str) -> RouteMatch<'a, 'a> {
    RouteMatch {
        number: None,
        component: function,
        matched_route: "/...",
        raw_route: "/...",
        component_route: "/",
        path_info: path,
        parameters: Vec::new(),
    }
}

/// What goes with a request into the engine.
struct Call {
    /// Who sent it; none for calls between functions.
    client: Option<SocketAddr>,
    context: CallContext,
    admission: Admission,
}

/// Where a request comes from, and its name.
#[derive(Clone, Copy)]
struct Arrival<'a> {
    client: SocketAddr,
    scheme: &'static str,
    peer: &'a Arc<Peer>,
    bound: Option<&'a Bound>,
    path: &'a str,
    request_id: &'a Arc<str>,
    began: Instant,
}

/// What became known of a request.
#[derive(Default)]
struct Seen {
    /// Who sent it, as far as proxies are believed.
    client: Option<IpAddr>,
    tenant: Option<Arc<TenantEntry>>,
    /// Where the metrics count it.
    slot: TenantSlot,
    /// As whose child the work is.
    span: Parent,
    /// Where the bytes of its body are counted.
    request_bytes: Option<Arc<AtomicU64>>,
    route: Option<usize>,
    /// Whether it is answered with what makes a WebSocket of it, or could.
    is_handshake: bool,
}

/// The request's target with scheme and authority, as a function expects it. RFC 9112, section 3.2: a request of
/// HTTP/1.1 has one Host field, and none has more.
fn absolute(request: &Request<Inbound>, scheme: &'static str) -> Result<Uri, Refusal> {
    let invalid = || Refusal::bad_request("The Host header field is not a valid authority.");
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() || (host.is_none() && request.version() == Version::HTTP_11) {
        return Err(Refusal::bad_request("The request must have one Host header field."));
    }
    let authority: Authority = match (request.uri().authority(), host) {
        (Some(authority), _) => authority.clone(),
        (None, Some(host)) => host.as_bytes().try_into().map_err(|_invalid| invalid())?,
        (None, None) => Authority::from_static("localhost"),
    };
    let port_is_written = authority.as_str().len() > authority.host().len();
    if authority.as_str().contains('@') || (port_is_written && authority.port_u16().is_none()) {
        return Err(invalid());
    }
    let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
    uri.map_err(|_invalid| invalid())
}

/// 128 random bits: unique without coordination.
fn new_request_id() -> String {
    let mut bytes = [0_u8; 16];
    rand::rng().fill_bytes(&mut bytes);
    format!("req_{:032x}", u128::from_be_bytes(bytes))
}
