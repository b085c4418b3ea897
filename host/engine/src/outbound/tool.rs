//! Calls that a function makes in the name of one of the tenant's tools, which it says by the header field `waggle-tool`: they
//! leave on the tool's terms, and on no others. The field itself never leaves.

use super::{Call, call_span, scheme_and_port, to_wasi};
use crate::failures::reason;
use crate::internal::internal_target;
use crate::tenant_use::TenantUse;
use crate::world::{OutboundDecision, ToolCallContext, ToolRefusal, ToolTerms};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use waggle_egress::{Egress, SendOptions};
use waggle_measure::trace::{Parent, attribute};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

/// Names the tool.
const TOOL_FIELD: HeaderName = HeaderName::from_static("waggle-tool");

/// Takes the field off. Several of it name no tool, which is what an empty name does.
pub(super) fn take_field(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let is_one = headers.get_all(TOOL_FIELD).iter().nth(1).is_none();
    let value = headers.remove(TOOL_FIELD)?;
    Some(if is_one { value } else { HeaderValue::from_static("") })
}

impl Call {
    /// What the host is told of a call to its own address of tools.
    pub(super) fn tool_context(&self) -> ToolCallContext {
        ToolCallContext { call: self.context(), account: TenantUse::new(Arc::clone(&self.account)) }
    }

    /// Makes a call in the name of `tool`. It goes out of the process or nowhere: no tool is another function, a model, or an
    /// address of the host's.
    pub(super) async fn as_tool(
        &self,
        request: http::Request<WasiBody>,
        tool: &HeaderValue,
        options: Option<RequestOptions>,
    ) -> Result<http::Response<WasiBody>, Error> {
        let host = request.uri().host().unwrap_or_default();
        let (scheme, port) = scheme_and_port(request.uri());
        let destination = format!("{scheme}://{host}:{port}");
        let terms = match self.terms(tool, host) {
            Ok(terms) => terms,
            Err(refusal) => return Err(self.refuse_tool(tool, &destination, refusal)),
        };
        let send = ToolSend {
            connect_timeout: options.and_then(|options| options.connect_timeout),
            first_byte_timeout: options.and_then(|options| options.first_byte_timeout),
            between_bytes_timeout: options.and_then(|options| options.between_bytes_timeout),
            cancelled: self.cancelled(),
            span: self.context().span,
        };
        let sent = send_on_terms(&self.world.egress, terms, request, send).await;
        if let Err(Error::HttpRequestDenied) = &sent {
            self.tell_refused(tool, &destination, "it is not among the tool's grants");
        }
        sent
    }

    /// The terms of the tool, where it may call `host` at all.
    fn terms(&self, tool: &HeaderValue, host: &str) -> Result<ToolTerms, ToolRefusal> {
        let world = &self.world;
        let tools = world.tools.as_ref().ok_or(ToolRefusal::Unknown)?;
        let is_inside = internal_target(host).is_some()
            || world.models.takes(host)
            || world.work.takes(host)
            || tools.takes(host);
        if is_inside {
            return Err(ToolRefusal::Inside);
        }
        let name = tool.to_str().map_err(|_not_ascii| ToolRefusal::Unknown)?;
        tools.terms(name, &self.context().caller)
    }

    fn refuse_tool(&self, tool: &HeaderValue, destination: &str, refusal: ToolRefusal) -> Error {
        if refusal == ToolRefusal::Busy {
            return Error::ConnectionLimitReached;
        }
        self.tell_refused(tool, destination, &refusal.to_string());
        Error::HttpRequestDenied
    }

    fn tell_refused(&self, tool: &HeaderValue, destination: &str, why: &str) {
        let Some(not_told) = self.account.failures.admit() else { return };
        tracing::warn!(
            tenant = %self.world.tenant,
            function = %self.world.function,
            tool = reason(String::from_utf8_lossy(tool.as_bytes())),
            destination = reason(destination),
            why,
            not_told,
            "outbound call of a tool refused"
        );
    }
}

/// How one call differs from others on the same terms.
#[derive(Clone, Debug)]
pub struct ToolSend {
    /// How long to wait for a connection, if that was said.
    pub connect_timeout: Option<Duration>,
    /// How long to wait for the head of the response, if that was said.
    pub first_byte_timeout: Option<Duration>,
    /// How long the response may pause, if that was said.
    pub between_bytes_timeout: Option<Duration>,
    /// Ends the call, its response's body included.
    pub cancelled: Option<CancellationToken>,
    /// As whose child the call is traced.
    pub span: Parent,
}

/// Makes a call on `terms`: where they allow it to go, with their credentials and none of the configuration's, within their
/// time and their bound on the response.
///
/// # Errors
/// [`Error::HttpRequestDenied`] where the terms do not have the destination; or what went wrong on the way.
pub async fn send_on_terms(
    egress: &Egress,
    terms: ToolTerms,
    mut request: http::Request<WasiBody>,
    send: ToolSend,
) -> Result<http::Response<WasiBody>, Error> {
    let host = request.uri().host().unwrap_or_default().to_owned();
    let (scheme, port) = scheme_and_port(request.uri());
    let allow_private = match terms.outbound.decide(scheme, &host, port) {
        OutboundDecision::Denied => return Err(Error::HttpRequestDenied),
        OutboundDecision::Public => false,
        OutboundDecision::Private => true,
    };
    let until = Instant::now() + terms.timeout;
    let options = SendOptions {
        connect_timeout: send.connect_timeout,
        // The terms' time holds for all of it, below.
        first_byte_timeout: Some(send.first_byte_timeout.unwrap_or(terms.timeout)),
        between_bytes_timeout: send.between_bytes_timeout,
        cancelled: send.cancelled,
        allow_private,
        credentials: Some(Arc::clone(&terms.credentials)),
        without_configured_credentials: true,
        ..SendOptions::default()
    };
    let mut span = call_span(&send.span, &mut request, &host, port);
    let sent = timeout_at(until, egress.send(request, options)).await;
    let sent = sent.map_or(Err(Error::ConnectionReadTimeout), |sent| sent.map_err(to_wasi));
    match &sent {
        Ok(response) => span.set(attribute::HTTP_RESPONSE_STATUS_CODE, response.status().as_u16()),
        Err(_error) => span.fail("the call failed"),
    }
    span.end();
    let ToolTerms { response_bytes_max, place, .. } = terms;
    Ok(sent?.map(|body| {
        let body = body.map_err(to_wasi).boxed_unsync();
        ToolBody::new(body, until, response_bytes_max, place).boxed_unsync()
    }))
}

/// The response to a call of a tool: until its time is over, and no longer than its bound.
struct ToolBody {
    inner: WasiBody,
    over: Pin<Box<Sleep>>,
    bytes_left: u64,
    /// Dropped with the body.
    _place: Box<dyn Any + Send>,
}

impl ToolBody {
    fn new(inner: WasiBody, until: Instant, bytes_max: u64, place: Box<dyn Any + Send>) -> Self {
        Self { inner, over: Box::pin(sleep_until(until)), bytes_left: bytes_max, _place: place }
    }

    /// Ends the call.
    fn fail(&mut self, error: Error) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.inner = http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync();
        Poll::Ready(Some(Err(error)))
    }
}

impl Body for ToolBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        // Looked at before each frame: what comes without end never leaves the time to wait.
        if self.over.as_mut().poll(cx).is_ready() {
            return self.fail(Error::HttpResponseTimeout);
        }
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
            match self.bytes_left.checked_sub(bytes) {
                Some(left) => self.bytes_left = left,
                None => return self.fail(Error::HttpResponseBodySize(None)),
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

#[cfg(test)]
mod tests;
