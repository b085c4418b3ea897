//! `waggle:http/client`: what `wasi:http/client` does, with messages that are handed over whole.

use super::BODY_BYTES_MAX;
use super::fields::{set_by_function, shown};
use crate::bindings::waggle::http::client::{Answer, Call, Failure, Host, HostWithStore, WholeResponse};
use crate::outbound::{TrackedHttp, caller_of};
use crate::state::InstanceState;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http::header::{CONTENT_LENGTH, HOST, HeaderValue};
use http::{Method, Uri};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, BodyStream, Full, StreamBody};
use std::time::Duration;
use wasmtime::AsContextMut as _;
use wasmtime::component::Accessor;
use wasmtime_wasi_http::p3::Response;
use wasmtime_wasi_http::p3::bindings::http::types::{DnsErrorPayload, ErrorCode, TlsAlertReceivedPayload};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpCtxView, WasiHttpView as _};

/// The request that a function asks for.
///
/// # Errors
/// What is wrong with it.
fn request(call: Call) -> Result<(http::Request<WasiBody>, RequestOptions), String> {
    let method = Method::from_bytes(call.method.as_bytes());
    let method = method.map_err(|_invalid| format!("`{}` is no method", call.method.escape_debug()))?;
    let uri: Uri = call.url.parse().map_err(|error| format!("its URL cannot be read: {error}"))?;
    let authority = uri.authority().filter(|_authority| uri.scheme().is_some());
    let authority = authority.ok_or("its URL names no scheme and host")?;
    if authority.as_str().contains('@') {
        return Err("its URL names a user".to_owned());
    }
    let host = HeaderValue::from_str(authority.as_str()).map_err(|error| format!("its host: {error}"))?;
    let mut headers = set_by_function(call.headers)?;
    headers.insert(HOST, host);
    if let Some(body) = &call.body {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    let body = Full::new(call.body.map(Bytes::from).unwrap_or_default());
    let mut request = http::Request::new(body.map_err(|never| match never {}).boxed_unsync());
    (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
    let timeout = Some(Duration::from_millis(call.timeout_ms));
    let options = RequestOptions {
        connect_timeout: timeout,
        first_byte_timeout: timeout,
        between_bytes_timeout: timeout,
    };
    Ok((request, options))
}

/// A body, as far as it was read.
enum Gathered {
    Whole(Bytes),
    /// It is long or has broken off: what was read, and what comes next.
    More(WasiBody),
}

/// Reads a body that is not longer than whole bodies may be.
async fn gather(mut body: WasiBody) -> Gathered {
    let mut read = BytesMut::new();
    loop {
        let next = match body.frame().await {
            None => return Gathered::Whole(read.freeze()),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    // The one piece that most bodies come in is not copied.
                    if read.is_empty() && body.is_end_stream() && data.len() <= BODY_BYTES_MAX {
                        return Gathered::Whole(data);
                    }
                    read.extend_from_slice(&data);
                    if read.len() <= BODY_BYTES_MAX {
                        continue;
                    }
                    None
                }
                // Trailers are nobody's who asks for a whole answer.
                Err(_trailers) => continue,
            },
            Some(Err(error)) => Some(Err(error)),
        };
        let read = Some(Ok(Frame::data(read.freeze())));
        let begun = futures::stream::iter([read, next].into_iter().flatten());
        return Gathered::More(StreamBody::new(begun.chain(BodyStream::new(body))).boxed_unsync());
    }
}

/// An error in the words of WASI 0.3: those that this host's own calls end with.
fn told(error: Error) -> ErrorCode {
    match error {
        Error::DnsTimeout => ErrorCode::DnsTimeout,
        Error::DnsError { rcode, info_code } => ErrorCode::DnsError(DnsErrorPayload { rcode, info_code }),
        Error::DestinationIpProhibited => ErrorCode::DestinationIpProhibited,
        Error::DestinationIpUnroutable => ErrorCode::DestinationIpUnroutable,
        Error::DestinationUnavailable => ErrorCode::DestinationUnavailable,
        Error::ConnectionRefused => ErrorCode::ConnectionRefused,
        Error::ConnectionTimeout => ErrorCode::ConnectionTimeout,
        Error::ConnectionReadTimeout => ErrorCode::ConnectionReadTimeout,
        Error::ConnectionTerminated => ErrorCode::ConnectionTerminated,
        Error::ConnectionLimitReached => ErrorCode::ConnectionLimitReached,
        Error::TlsCertificateError => ErrorCode::TlsCertificateError,
        Error::TlsProtocolError => ErrorCode::TlsProtocolError,
        Error::TlsAlertReceived { alert_id, alert_message } => {
            ErrorCode::TlsAlertReceived(TlsAlertReceivedPayload { alert_id, alert_message })
        }
        Error::HttpRequestDenied => ErrorCode::HttpRequestDenied,
        Error::HttpRequestUriInvalid => ErrorCode::HttpRequestUriInvalid,
        Error::HttpRequestMethodInvalid => ErrorCode::HttpRequestMethodInvalid,
        Error::HttpRequestBodySize(size) => ErrorCode::HttpRequestBodySize(size),
        Error::HttpResponseHeaderSectionSize(size) => ErrorCode::HttpResponseHeaderSectionSize(size),
        Error::HttpResponseIncomplete => ErrorCode::HttpResponseIncomplete,
        Error::HttpResponseBodySize(size) => ErrorCode::HttpResponseBodySize(size),
        Error::HttpResponseTimeout => ErrorCode::HttpResponseTimeout,
        Error::HttpUpgradeFailed => ErrorCode::HttpUpgradeFailed,
        Error::HttpProtocolError => ErrorCode::HttpProtocolError,
        Error::LoopDetected => ErrorCode::LoopDetected,
        Error::InternalError(reason) => ErrorCode::InternalError(reason),
        other => ErrorCode::InternalError(Some(other.to_string())),
    }
}

fn streamed(
    accessor: &Accessor<InstanceState, TrackedHttp>,
    response: http::Response<WasiBody>,
) -> Result<Answer, Failure> {
    accessor.with(|mut access| {
        let mut http = access.as_context_mut();
        let view = http.data_mut().http();
        let (response, _sent) = Response::from_http(view.hooks, response);
        let full = |error: wasmtime_wasi::ResourceTableError| {
            Failure::Failed(ErrorCode::InternalError(Some(error.to_string())))
        };
        view.table.push(response).map(Answer::Streamed).map_err(full)
    })
}

impl HostWithStore<InstanceState> for TrackedHttp {
    async fn send(accessor: &Accessor<InstanceState, Self>, call: Call) -> Result<Answer, Failure> {
        let gathers = call.gather;
        let (request, options) = request(call).map_err(Failure::Refused)?;
        let call = accessor.with(|mut access| {
            let caller = caller_of(&mut access.as_context_mut());
            access.as_context_mut().data_mut().hooks.call_for(caller)
        });
        let response = call.send(request, Some(options)).await;
        let response = response.map_err(|error| Failure::Failed(told(error)))?;
        if !gathers {
            return streamed(accessor, response);
        }
        let (head, body) = response.into_parts();
        match gather(body).await {
            Gathered::Whole(body) => Ok(Answer::Whole(WholeResponse {
                status: head.status.as_u16(),
                headers: shown(&head.headers),
                body: body.into(),
            })),
            Gathered::More(body) => streamed(accessor, http::Response::from_parts(head, body)),
        }
    }
}

impl Host for WasiHttpCtxView<'_> {}
