//! Outbound HTTP of a guest: the allow-list, calls between functions, and the way to egress. The guest's own word on
//! who it is counts for nothing here; the world and the request under way say it.

use crate::account::TenantAccount;
use crate::config::EngineConfig;
use crate::failures::reason;
use crate::internal::{InternalTarget, internal_target};
use crate::request::{CallContext, CallerFields, Ledger, RequestScope};
use crate::state::{InstanceState, calling_task};
use crate::store_span::durable;
use crate::world::{FunctionWorld, ModelCallContext, OutboundDecision};
use bytes::Bytes;
use http::uri::Authority;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use waggle_egress::usage::{MeteredBody, Usage, is_metered};
use waggle_egress::{EgressError, SendOptions};
use waggle_measure::trace::{Parent, Span, SpanContext, SpanKind, attribute};
use wasmtime::component::{Accessor, HasData, Resource};
use wasmtime::{AsContextMut as _, StoreContextMut};
use wasmtime_wasi_http::p3::bindings::http::client;
use wasmtime_wasi_http::p3::bindings::http::types::{ErrorCode, Request, Response};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttp, WasiHttpCtxView, WasiHttpHooks, WasiHttpView as _,
};

#[cfg(test)]
pub(crate) mod tests;
mod tool;

pub use tool::{ToolSend, send_on_terms};

/// The field by which functions learn which user asks.
const USER_FIELD: &str = "waggle-user";

type Sent = Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

/// What `wasi:http` asks of this host.
pub(crate) struct OutboundHooks {
    world: Arc<FunctionWorld>,
    account: Arc<TenantAccount>,
    ledger: Arc<Ledger>,
    depth_max: u32,
    calls_max: u32,
    /// The request whose task makes the call that comes next; set right before it.
    pub(crate) caller: Option<Arc<RequestScope>>,
    /// The only request the instance ever serves, where that is so (WASI 0.2).
    pub(crate) only: Option<Arc<RequestScope>>,
    background_timeout: Duration,
}

impl OutboundHooks {
    pub(crate) fn new(
        world: Arc<FunctionWorld>,
        account: Arc<TenantAccount>,
        ledger: Arc<Ledger>,
        config: &EngineConfig,
    ) -> Self {
        Self {
            world,
            account,
            ledger,
            depth_max: config.internal_call_depth_max,
            calls_max: config.internal_calls_max,
            caller: None,
            only: None,
            background_timeout: Duration::from_millis(config.response_timeout_ms),
        }
    }

    /// A call that is made for a request; for none, if it is nobody's.
    pub(crate) fn call_for(&self, caller: Option<Arc<RequestScope>>) -> Call {
        Call {
            world: Arc::clone(&self.world),
            account: Arc::clone(&self.account),
            ledger: Arc::clone(&self.ledger),
            caller: caller.or_else(|| self.only.clone()),
            depth_max: self.depth_max,
            calls_max: self.calls_max,
            background_timeout: self.background_timeout,
        }
    }
}

impl WasiHttpHooks for OutboundHooks {
    fn default_scheme(&mut self) -> Option<http::uri::Scheme> {
        Some(http::uri::Scheme::HTTP)
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processing: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let caller = self.caller.take();
        let call = self.call_for(caller);
        Box::new(async move {
            let response = call.send(request, options).await?;
            Ok((response, Box::new(async { Ok(()) }) as Box<_>))
        })
    }
}

/// One outbound call.
pub(crate) struct Call {
    world: Arc<FunctionWorld>,
    account: Arc<TenantAccount>,
    ledger: Arc<Ledger>,
    /// The request it is made for; none for work a guest goes on with after its requests are over.
    caller: Option<Arc<RequestScope>>,
    depth_max: u32,
    calls_max: u32,
    background_timeout: Duration,
}

impl Call {
    pub(crate) async fn send(
        self,
        mut request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<http::Response<WasiBody>, Error> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let is_model = self.world.models.takes(&host);
        // A function without tools calls its model as if there were none, and without a look at the fields.
        let tool = if is_model && self.world.tools.is_none() {
            None
        } else {
            tool::take_field(request.headers_mut())
        };
        // What leaves the process may depend on what was written; it waits as a response would.
        let pending = if is_model { self.ledger.pending_for_model() } else { self.ledger.pending() };
        if let Some(commit) = pending {
            let caller = self.caller.as_ref().filter(|caller| !caller.is_completed());
            let span = caller.map(|caller| &caller.context.span);
            let durable = durable(commit, span.unwrap_or(&Parent::none())).await;
            durable.map_err(|error| Error::InternalError(Some(error.to_string())))?;
        }
        if let Some(tool) = tool {
            return Box::pin(self.as_tool(request, &tool, options)).await;
        }
        match internal_target(&host) {
            Some(target) => Box::pin(self.inside(request, target, &host)).await,
            None => self.outside(request, &host, options).await,
        }
    }

    /// The signal that ends the call, while the request it is made for is under way.
    fn cancelled(&self) -> Option<CancellationToken> {
        self.caller.as_ref().filter(|caller| !caller.is_completed()).map(|caller| caller.cancelled.clone())
    }

    async fn inside(
        &self,
        request: http::Request<WasiBody>,
        target: InternalTarget,
        host: &str,
    ) -> Result<http::Response<WasiBody>, Error> {
        let named = if host.is_empty() { "self" } else { host };
        if !self.world.outbound.allows_internal(named) {
            self.deny(&format!("http://{named}"));
            return Err(Error::HttpRequestDenied);
        }
        let context = self.context();
        if context.depth > self.depth_max {
            return Err(Error::LoopDetected);
        }
        let Some(_counted) = CallCount::enter(&context.calls, self.calls_max) else {
            return Err(Error::ConnectionLimitReached);
        };
        let call = self.world.internal.call(&self.world.tenant, target, request, context);
        // Whoever asked the other function for the sake of a request does not wait much longer when that is over. What is
        // asked for after a response is complete is asked for nobody's request.
        let caller = self.caller.as_ref().filter(|caller| !caller.is_completed());
        let Some(caller) = caller.map(Arc::clone) else { return Ok(call.await) };
        let response = tokio::select! {
            biased;
            () = caller.released() => return Err(Error::ConnectionTerminated),
            response = call => response,
        };
        Ok(response.map(|inner| InnerBody::wrap(inner, caller)))
    }

    fn context(&self) -> CallContext {
        if let Some(caller) = &self.caller {
            return CallContext { depth: caller.context.depth + 1, ..caller.context.clone() };
        }
        let deadline = Instant::now() + self.background_timeout;
        CallContext {
            request_id: "background".into(),
            head_deadline: deadline,
            body_deadline: deadline,
            depth: 1,
            calls: Arc::default(),
            caller: CallerFields::default(),
            span: Parent::none(),
        }
    }

    async fn outside(
        &self,
        mut request: http::Request<WasiBody>,
        host: &str,
        options: Option<RequestOptions>,
    ) -> Result<http::Response<WasiBody>, Error> {
        let (scheme, port) = scheme_and_port(request.uri());
        let allow_private = match self.world.outbound.decide(scheme, host, port) {
            OutboundDecision::Denied => {
                self.deny(&format!("{scheme}://{host}:{port}"));
                return Err(Error::HttpRequestDenied);
            }
            OutboundDecision::Public => false,
            OutboundDecision::Private => true,
        };
        if self.world.models.takes(host) {
            return self.world.models.call(request, self.model_context(options)).await;
        }
        if self.world.work.takes(host) {
            return Box::pin(self.hand_over(request)).await;
        }
        if let Some(tools) = self.world.tools.as_ref().filter(|tools| tools.takes(host)) {
            let context = self.tool_context();
            return Box::pin(self.answered(context.call.body_deadline, tools.call(request, context))).await;
        }
        let mut span = call_span(&self.context().span, &mut request, host, port);
        let send = SendOptions {
            connect_timeout: options.and_then(|options| options.connect_timeout),
            first_byte_timeout: options.and_then(|options| options.first_byte_timeout),
            between_bytes_timeout: options.and_then(|options| options.between_bytes_timeout),
            cancelled: self.cancelled(),
            allow_private,
            credentials: Some(Arc::clone(&self.world.credentials)),
            ..SendOptions::default()
        };
        let tokens = self.world.tokens.clone().filter(|_sink| is_metered(request.uri().path()));
        let request_bytes = request.body().size_hint().lower();
        // Boxed, because it is large, and calls to models, which most calls are, do without it.
        let sent = Box::pin(self.world.egress.send(request, send)).await;
        match &sent {
            Ok(response) => span.set(attribute::HTTP_RESPONSE_STATUS_CODE, response.status().as_u16()),
            Err(_error) => span.fail("the call failed"),
        }
        span.end();
        let response = sent.map_err(to_wasi)?;
        Ok(match tokens {
            None => response.map(|body| body.map_err(to_wasi).boxed_unsync()),
            Some(sink) => response.map(|body| {
                let tell = move |usage: Usage| sink.spend(usage.total());
                MeteredBody::new(body, request_bytes, tell).map_err(to_wasi).boxed_unsync()
            }),
        })
    }

    /// Hands work to the host. What is asked for after the response is complete is asked for the same caller.
    async fn hand_over(&self, request: http::Request<WasiBody>) -> Result<http::Response<WasiBody>, Error> {
        let context = self.context();
        self.answered(context.body_deadline, self.world.work.call(request, context.caller)).await
    }

    /// What the host itself answers, as long as somebody waits for it.
    async fn answered(
        &self,
        deadline: Instant,
        call: impl Future<Output = http::Response<WasiBody>>,
    ) -> Result<http::Response<WasiBody>, Error> {
        let call = tokio::time::timeout_at(deadline.into(), call);
        let answered = match self.cancelled() {
            None => call.await,
            Some(cancelled) => tokio::select! {
                biased;
                () = cancelled.cancelled() => return Err(Error::ConnectionTerminated),
                answered = call => answered,
            },
        };
        answered.map_err(|_late| Error::HttpResponseTimeout)
    }

    fn model_context(&self, options: Option<RequestOptions>) -> ModelCallContext {
        let context = self.context();
        let user = context.caller.iter().find(|(name, _value)| name == USER_FIELD);
        ModelCallContext {
            deadline: context.body_deadline,
            first_byte_timeout: options.and_then(|options| options.first_byte_timeout),
            connect_timeout: options.and_then(|options| options.connect_timeout),
            between_bytes_timeout: options.and_then(|options| options.between_bytes_timeout),
            cancelled: self.cancelled(),
            user: user.map(|(_name, value)| value.clone()),
            span: context.span,
        }
    }

    fn deny(&self, destination: &str) {
        let Some(not_told) = self.account.failures.admit() else { return };
        let destination = reason(destination);
        tracing::warn!(
            tenant = %self.world.tenant,
            function = %self.world.function,
            destination,
            not_told,
            "outbound call refused: add the destination to `allowed_outbound_hosts` of the component in spin.toml \
             if it is meant to be reachable"
        );
    }
}

/// Where a call goes, beside the host.
fn scheme_and_port(uri: &http::Uri) -> (&str, u16) {
    let scheme = uri.scheme_str().unwrap_or("http");
    let default_port = if scheme == "https" { 443 } else { 80 };
    (scheme, uri.port_u16().unwrap_or(default_port))
}

/// Begins the span of a call to the outside, and puts it on the request.
fn call_span(parent: &Parent, request: &mut http::Request<WasiBody>, host: &str, port: u16) -> Span {
    let mut span = parent.child("HTTP", SpanKind::Client);
    if span.is_recorded() {
        span.rename(request.method().as_str().to_owned());
        span.set_text(attribute::HTTP_REQUEST_METHOD, request.method().as_str());
        span.set_text(attribute::SERVER_ADDRESS, host);
        span.set(attribute::SERVER_PORT, port);
    }
    // A function that traces by itself has said whose child the call is.
    if let Some(context) = span.context().filter(|_| !request.headers().contains_key("traceparent")) {
        carry(request.headers_mut(), context);
    }
    span
}

/// Counts a call between functions until its response is there.
struct CallCount(Arc<AtomicU32>);

impl CallCount {
    /// None when there are `most` already.
    fn enter(calls: &Arc<AtomicU32>, most: u32) -> Option<Self> {
        let more = |count: u32| (count < most).then_some(count + 1);
        calls.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(Self(Arc::clone(calls)))
    }
}

impl Drop for CallCount {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Says an egress error in the words of `wasi:http`.
pub fn to_wasi(error: EgressError) -> Error {
    tracing::debug!(%error, code = error.code(), "outbound call failed");
    match error {
        EgressError::DnsTimeout { .. } => Error::DnsTimeout,
        EgressError::DnsError { .. } => Error::DnsError { rcode: None, info_code: None },
        EgressError::DestinationIpProhibited { .. } => Error::DestinationIpProhibited,
        EgressError::DestinationIpUnroutable { .. } => Error::DestinationIpUnroutable,
        EgressError::DestinationUnavailable { .. } => Error::DestinationUnavailable,
        EgressError::ConnectionRefused { .. } => Error::ConnectionRefused,
        EgressError::ConnectionTimeout { .. } => Error::ConnectionTimeout,
        EgressError::ConnectionReadTimeout { .. } => Error::ConnectionReadTimeout,
        EgressError::ConnectionTerminated { .. } | EgressError::Cancelled => Error::ConnectionTerminated,
        EgressError::TlsCertificateError { .. } => Error::TlsCertificateError,
        EgressError::TlsProtocolError { .. } => Error::TlsProtocolError,
        EgressError::TlsAlertReceived { alert_id, alert, .. } => {
            Error::TlsAlertReceived { alert_id: Some(alert_id), alert_message: Some(alert) }
        }
        EgressError::HttpRequestDenied { .. } => Error::HttpRequestDenied,
        EgressError::HttpRequestUriInvalid { .. } => Error::HttpRequestUriInvalid,
        EgressError::HttpRequestMethodInvalid { .. } => Error::HttpRequestMethodInvalid,
        EgressError::HttpResponseHeaderSectionSize { bytes_max, .. } => {
            Error::HttpResponseHeaderSectionSize(Some(bytes_max))
        }
        EgressError::HttpResponseIncomplete { .. } => Error::HttpResponseIncomplete,
        EgressError::HttpResponseTimeout { .. } => Error::HttpResponseTimeout,
        EgressError::HttpUpgradeFailed => Error::HttpUpgradeFailed,
        EgressError::HttpProtocolError { .. } => Error::HttpProtocolError,
        other => Error::InternalError(Some(other.to_string())),
    }
}

/// Another function's response, which ends with the request it was fetched for.
struct InnerBody {
    inner: WasiBody,
    caller: Arc<RequestScope>,
    /// Wakes whoever waits for the next frame when the response is to end; none when it has.
    released: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl InnerBody {
    fn wrap(inner: WasiBody, caller: Arc<RequestScope>) -> WasiBody {
        let waits = Arc::clone(&caller);
        let released: Pin<Box<dyn Future<Output = ()> + Send>> =
            Box::pin(async move { waits.released().await });
        Self { inner, caller, released: Some(released) }.boxed_unsync()
    }

    /// Whether it is to end now; wakes the task when it is.
    fn is_released(&mut self, cx: &mut Context<'_>) -> bool {
        let ready = self.released.as_mut().is_none_or(|released| released.as_mut().poll(cx).is_ready());
        if ready {
            self.released = None;
        }
        ready
    }
}

impl Body for InnerBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let released = self.caller.is_over() && self.is_released(cx);
        let frame = if released { Poll::Pending } else { Pin::new(&mut self.inner).poll_frame(cx) };
        if frame.is_pending() && (released || self.is_released(cx)) {
            // With the body goes the other function's request.
            self.inner = http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync();
            return Poll::Ready(Some(Err(Error::ConnectionTerminated)));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Puts a trace on a call, in place of what is there.
pub fn carry(headers: &mut http::HeaderMap, context: &SpanContext) {
    const TRACEPARENT: http::HeaderName = http::HeaderName::from_static("traceparent");
    const TRACESTATE: http::HeaderName = http::HeaderName::from_static("tracestate");
    if let Ok(parent) = http::HeaderValue::from_bytes(context.traceparent().as_bytes()) {
        headers.insert(TRACEPARENT, parent);
    }
    match context.tracestate().and_then(|state| http::HeaderValue::from_str(state).ok()) {
        Some(state) => headers.insert(TRACESTATE, state),
        None => headers.remove(TRACESTATE),
    };
}

/// The request whose task calls the host at this moment.
pub(crate) fn caller_of(store: &mut StoreContextMut<'_, InstanceState>) -> Option<Arc<RequestScope>> {
    let task = calling_task(store)?;
    store.data().request_of(task)
}

/// `wasi:http/client` that first notes which request's task makes the call.
pub(crate) struct TrackedHttp;

impl HasData for TrackedHttp {
    type Data<'a> = WasiHttpCtxView<'a>;
}

impl client::HostWithStore<InstanceState> for TrackedHttp {
    async fn send(
        accessor: &Accessor<InstanceState, Self>,
        request: Resource<Request>,
    ) -> Result<Resource<Response>, wasmtime_wasi::TrappableError<ErrorCode>> {
        accessor.with(|mut access| {
            let mut store = access.as_context_mut();
            let caller = caller_of(&mut store);
            let state = store.data_mut();
            state.hooks.caller = caller;
            // A relative URL means the application itself.
            if let Ok(request) = state.http().table.get_mut(&request) {
                request.authority.get_or_insert(Authority::from_static("self"));
            }
        });
        let http = accessor.with_getter::<WasiHttp>(InstanceState::http);
        <WasiHttp as client::HostWithStore<InstanceState>>::send(&http, request).await
    }
}
