//! The model endpoint over `wasi:http`.

use crate::body::WasiBody;
use crate::fields::HeaderFields;
use spin_sdk::wasip3::http::client;
use spin_sdk::wasip3::http::types::{ErrorCode, Fields, Method, Request, RequestOptions, Response, Scheme};
use spin_sdk::wasip3::{spawn, wit_future, wit_stream};
use waggle_model::transport::{TransportFailure, Upstream, UpstreamRequest, UpstreamResponse};

/// Where a host that calls upstreams on our behalf answers. It answers failures of an upstream by a status; a call it
/// ends without one is a call whose client has gone away.
const MODELS_HOST: &str = "models.waggle.internal";

/// Outbound HTTP, as far as the host allows it.
#[derive(Clone)]
pub struct WasiUpstream;

/// What an error of the host means for a turn.
pub(crate) fn failure(code: &ErrorCode) -> TransportFailure {
    let reason = code.to_string();
    match code {
        ErrorCode::DnsTimeout
        | ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout
        | ErrorCode::HttpResponseTimeout => TransportFailure::TimedOut(reason),
        ErrorCode::HttpRequestDenied
        | ErrorCode::DestinationIpProhibited
        | ErrorCode::HttpRequestUriInvalid
        | ErrorCode::ConfigurationError => TransportFailure::Denied(reason),
        ErrorCode::ConnectionLimitReached | ErrorCode::DestinationUnavailable => {
            TransportFailure::Busy(reason)
        }
        ErrorCode::DnsError(_)
        | ErrorCode::DestinationNotFound
        | ErrorCode::DestinationIpUnroutable
        | ErrorCode::ConnectionRefused
        | ErrorCode::TlsProtocolError
        | ErrorCode::TlsCertificateError
        | ErrorCode::TlsAlertReceived(_)
        | ErrorCode::LoopDetected => TransportFailure::Unreachable(reason),
        _ => TransportFailure::Cut(reason),
    }
}

fn denied(reason: &str) -> TransportFailure {
    TransportFailure::Denied(reason.to_owned())
}

pub(crate) fn options(timeout_ms: u64) -> RequestOptions {
    let options = RequestOptions::new();
    let timeout_ns = timeout_ms.saturating_mul(1_000_000);
    // A host that does not support one of them has bounds of its own.
    let _unsupported = options.set_connect_timeout(Some(timeout_ns));
    let _unsupported = options.set_first_byte_timeout(Some(timeout_ns));
    let _unsupported = options.set_between_bytes_timeout(Some(timeout_ns));
    options
}

fn headers(request: &UpstreamRequest, of_host: bool) -> Result<Fields, TransportFailure> {
    let accept = if request.events { "text/event-stream" } else { "application/json" };
    let mut entries = vec![("accept".to_owned(), accept.as_bytes().to_vec())];
    if let Some(body) = &request.body {
        entries.push(("content-type".to_owned(), b"application/json".to_vec()));
        entries.push(("content-length".to_owned(), body.len().to_string().into_bytes()));
    }
    // Only a host that calls upstreams on our behalf keeps this to itself.
    if let Some(choice) = request.choice.filter(|_| of_host) {
        entries.push(("waggle-tier".to_owned(), choice.tier.name().as_bytes().to_vec()));
        entries.push(("waggle-tier-reason".to_owned(), choice.reason.as_bytes().to_vec()));
    }
    if !request.idempotency_key.is_empty() {
        entries.push(("idempotency-key".to_owned(), request.idempotency_key.as_bytes().to_vec()));
    }
    if !request.api_key.is_empty() {
        let value = format!("Bearer {}", request.api_key);
        entries.push(("authorization".to_owned(), value.into_bytes()));
    }
    Fields::from_list(&entries).map_err(|refused| denied(&format!("a header was refused: {refused}")))
}

/// Parts of a URL: scheme, authority, path.
fn split(url: &str) -> Result<(Scheme, &str, &str), TransportFailure> {
    let (scheme, rest) = if let Some(rest) = url.strip_prefix("https://") {
        (Scheme::Https, rest)
    } else if let Some(rest) = url.strip_prefix("http://") {
        (Scheme::Http, rest)
    } else {
        return Err(denied("model_origin must begin with http:// or https://"));
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    Ok((scheme, authority, path))
}

fn request(outgoing: UpstreamRequest, method: &Method, of_host: bool) -> Result<Request, TransportFailure> {
    let (scheme, authority, path) = split(&outgoing.url)?;
    let refused = |()| denied("model_origin and model_path make no valid URL");
    let (trailers, trailers_reader) = wit_future::new(|| Ok(None));
    let (headers, options) = (headers(&outgoing, of_host)?, options(outgoing.timeout_ms));
    let contents = outgoing.body.map(|body| {
        let (mut writer, reader) = wit_stream::new();
        spawn(async move {
            let _unread = writer.write_all(body).await;
        });
        reader
    });
    // Dropping the writer sends its default: there are no trailers.
    drop(trailers);
    let (request, _transmission) = Request::new(headers, contents, trailers_reader, Some(options));
    request.set_method(method).map_err(refused)?;
    request.set_scheme(Some(&scheme)).map_err(refused)?;
    request.set_authority(Some(authority)).map_err(refused)?;
    request.set_path_with_query(Some(path)).map_err(refused)?;
    Ok(request)
}

/// Sends a request by this method and waits for the head of the answer.
pub(crate) async fn send(
    outgoing: UpstreamRequest,
    method: &Method,
) -> Result<UpstreamResponse<WasiBody>, TransportFailure> {
    let of_host = split(&outgoing.url).is_ok_and(|(_, authority, _)| authority == MODELS_HOST);
    let sent = client::send(request(outgoing, method, of_host)?).await;
    let response = sent.map_err(|code| match code {
        ErrorCode::ConnectionTerminated if of_host => TransportFailure::Ended(code.to_string()),
        code => failure(&code),
    })?;
    let mut fields = HeaderFields::of(&response.get_headers());
    let (content_type, retry_after) = (fields.text("content-type"), fields.text("retry-after"));
    let (model, price) = (fields.text("waggle-model"), fields.text("waggle-price"));
    let length = fields.text("content-length").and_then(|length| length.parse().ok());
    let status = response.get_status_code();
    let (received, received_reader) = wit_future::new(|| Ok(()));
    let body = WasiBody::new(Response::consume_body(response, received_reader), received, length);
    Ok(UpstreamResponse { status, content_type, retry_after, model, price, body })
}

impl Upstream for WasiUpstream {
    type Body = WasiBody;

    async fn send(&self, outgoing: UpstreamRequest) -> Result<UpstreamResponse<WasiBody>, TransportFailure> {
        let method = if outgoing.body.is_some() { Method::Post } else { Method::Get };
        send(outgoing, &method).await
    }
}
