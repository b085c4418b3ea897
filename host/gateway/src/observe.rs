//! What is told of a request when all of it is over: a span, and a record for the access log. Where neither is wanted, it
//! costs a look at two options.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};
use waggle_engine::{BodyError, WasiBody};
use waggle_measure::TopTenants;
use waggle_measure::trace::{Parent, Span, SpanContext, SpanKind, TraceId, Tracer, attribute};
use waggle_tenancy::TenantId;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Who is told of requests.
#[derive(Clone)]
pub struct Observers {
    /// Which tenants have series of their own.
    pub tenants: Arc<TopTenants>,
    /// Where spans go.
    pub tracer: Tracer,
    /// The access log, if there is one.
    pub access: Option<Arc<dyn AccessSink>>,
}

/// An access log. It must not wait.
pub trait AccessSink: Send + Sync {
    /// A request is over.
    fn log(&self, request: EndedRequest);
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// The whole answer was sent.
    Complete,
    /// The client went away before.
    Cancelled,
    /// The answer broke off.
    Broken,
}

/// A request of which all is over.
#[derive(Debug)]
pub struct EndedRequest {
    /// When its head had arrived.
    pub time: SystemTime,
    /// Its id.
    pub request_id: Arc<str>,
    /// Who sent it, as far as proxies are believed; the connection's other end where that was not looked at.
    pub client: IpAddr,
    /// Whose it was, if that became known.
    pub tenant: Option<TenantId>,
    /// Its method.
    pub method: Method,
    /// Its path, without the query.
    pub path: Box<str>,
    /// The version of HTTP.
    pub version: Version,
    /// On which route it lay, by number.
    pub route: Option<usize>,
    /// The answer's status; none where the client went away before there was one.
    pub status: Option<StatusCode>,
    /// How it ended.
    pub outcome: RequestOutcome,
    /// Bytes of its body that were read.
    pub request_bytes: u64,
    /// Bytes of the answer's body that were handed over.
    pub response_bytes: u64,
    /// Until the head of the answer.
    pub head: Duration,
    /// Until the end of the answer.
    pub duration: Duration,
    /// Its trace.
    pub trace: Option<TraceId>,
}

/// A request that is watched; telling happens when it is dropped.
pub(crate) struct Observation {
    span: Span,
    began: Instant,
    access: Option<(Arc<dyn AccessSink>, Option<EndedRequest>)>,
    request_bytes: Arc<AtomicU64>,
    response_bytes: u64,
    outcome: RequestOutcome,
}

/// What is known of a request from its head.
pub(crate) struct Heard<'a> {
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) version: Version,
    pub(crate) path: &'a str,
    pub(crate) scheme: &'static str,
    pub(crate) client: SocketAddr,
    pub(crate) request_id: &'a Arc<str>,
    pub(crate) began: Instant,
}

impl Observers {
    /// Begins to watch a request. The span passes a caller's trace on even where nothing is watched.
    pub(crate) fn watch(&self, heard: &Heard<'_>) -> Observation {
        let fields = |name| heard.headers.get_all(name).iter().map(HeaderValue::as_bytes);
        let is_traced = heard.headers.contains_key(&TRACEPARENT);
        let caller =
            is_traced.then(|| SpanContext::from_fields(fields(TRACEPARENT), fields(TRACESTATE))).flatten();
        let mut span = if self.tracer.is_on() {
            self.tracer.root(heard.method.as_str().to_owned(), SpanKind::Server, caller)
        } else {
            self.tracer.root("", SpanKind::Server, caller)
        };
        if span.is_recorded() {
            span.set_text(attribute::HTTP_REQUEST_METHOD, heard.method.as_str());
            span.set(attribute::URL_SCHEME, heard.scheme);
            span.set_text(attribute::WAGGLE_REQUEST, heard.request_id);
        }
        let access = self.access.clone().map(|sink| {
            let request = EndedRequest {
                time: SystemTime::now(),
                request_id: Arc::clone(heard.request_id),
                client: heard.client.ip(),
                tenant: None,
                method: heard.method.clone(),
                path: heard.path.into(),
                version: heard.version,
                route: None,
                status: None,
                outcome: RequestOutcome::Cancelled,
                request_bytes: 0,
                response_bytes: 0,
                head: Duration::ZERO,
                duration: Duration::ZERO,
                trace: span.is_recorded().then(|| span.context().map(SpanContext::trace_id)).flatten(),
            };
            (sink, Some(request))
        });
        Observation {
            span,
            began: heard.began,
            access,
            request_bytes: Arc::default(),
            response_bytes: 0,
            outcome: RequestOutcome::Cancelled,
        }
    }
}

impl Observation {
    /// As whose child the work on the request is.
    pub(crate) fn parent(&self) -> Parent {
        self.span.parent()
    }

    /// Where the bytes of its body are counted, if anybody wants to know.
    pub(crate) fn request_bytes(&self) -> Option<Arc<AtomicU64>> {
        self.access.as_ref().map(|_| Arc::clone(&self.request_bytes))
    }

    /// Says whose request it was, on which route, and what became of it; then follows the answer to its end.
    pub(crate) fn answered(
        mut self,
        response: Response<WasiBody>,
        client: Option<IpAddr>,
        tenant: Option<&TenantId>,
        route: Option<(usize, &str, &str)>,
    ) -> Response<WasiBody> {
        if self.access.is_none() && !self.span.is_recorded() {
            return response;
        }
        let status = response.status();
        if let Some((_, Some(request))) = &mut self.access {
            request.client = client.unwrap_or(request.client);
            request.tenant = tenant.cloned();
            request.route = route.map(|(number, ..)| number);
            request.status = Some(status);
            request.head = self.began.elapsed();
        }
        if self.span.is_recorded() {
            self.span.set(attribute::HTTP_RESPONSE_STATUS_CODE, status.as_u16());
            if let Some(tenant) = tenant {
                self.span.set_text(attribute::WAGGLE_TENANT, tenant.as_str());
            }
            if let Some((_, route, function)) = route {
                self.span.set_text(attribute::HTTP_ROUTE, route);
                self.span.set_text(attribute::WAGGLE_FUNCTION, function);
            }
            // What is the client's fault is no failure of ours (OpenTelemetry's HTTP conventions).
            if status.is_server_error() {
                self.span.fail(status.as_str().to_owned());
                self.span.set_text(attribute::ERROR_TYPE, status.as_str());
            }
        }
        let length = response.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        response.map(|inner| ObservedBody { inner, length, observation: self }.boxed_unsync())
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        if self.outcome != RequestOutcome::Complete {
            let reason = match self.outcome {
                RequestOutcome::Broken => "the answer broke off",
                _ => "the client went away",
            };
            self.span.fail(reason);
        }
        let Some((sink, request)) = &mut self.access else { return };
        let Some(mut request) = request.take() else { return };
        request.outcome = self.outcome;
        request.request_bytes = self.request_bytes.load(Relaxed);
        request.response_bytes = self.response_bytes;
        request.duration = self.began.elapsed();
        sink.log(request);
    }
}

/// An answer's body that tells how it ended.
struct ObservedBody {
    inner: WasiBody,
    /// What its head has announced.
    length: Option<u64>,
    observation: Observation,
}

impl Body for ObservedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            None => self.observation.outcome = RequestOutcome::Complete,
            Some(Err(_)) => self.observation.outcome = RequestOutcome::Broken,
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.observation.response_bytes += bytes;
                // A server that has written as much as it announced asks for no more.
                if self.length == Some(self.observation.response_bytes) || self.inner.is_end_stream() {
                    self.observation.outcome = RequestOutcome::Complete;
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for ObservedBody {
    /// Nobody asks an empty body for anything.
    fn drop(&mut self) {
        if self.inner.is_end_stream() && self.observation.outcome == RequestOutcome::Cancelled {
            self.observation.outcome = RequestOutcome::Complete;
        }
    }
}
