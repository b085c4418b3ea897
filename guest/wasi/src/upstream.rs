//! The model endpoint over HTTP.

use crate::body::WasiBody;
use crate::client::{self, Answered, Call, Failure, field};
use spin_sdk::wasip3::http::types::ErrorCode;
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

/// What a call that failed means for a turn.
pub(crate) fn failed(failure: Failure) -> TransportFailure {
    match failure {
        Failure::Refused(reason) => TransportFailure::Denied(reason),
        Failure::Failed(code) => self::failure(&code),
    }
}

fn headers(request: &UpstreamRequest, of_host: bool) -> Vec<(String, Vec<u8>)> {
    let accept = if request.events { "text/event-stream" } else { "application/json" };
    let mut headers = vec![field("accept", accept)];
    if request.body.is_some() {
        headers.push(field("content-type", "application/json"));
    }
    // Only a host that calls upstreams on our behalf keeps this to itself.
    if let Some(choice) = request.choice.filter(|_| of_host) {
        headers.push(field("waggle-tier", choice.tier.name()));
        headers.push(field("waggle-tier-reason", choice.reason));
    }
    if !request.idempotency_key.is_empty() {
        headers.push(field("idempotency-key", request.idempotency_key.as_str()));
    }
    if !request.api_key.is_empty() {
        headers.push(field("authorization", format!("Bearer {}", request.api_key)));
    }
    headers
}

/// The authority of a URL.
///
/// # Errors
/// It is no URL of HTTP.
fn authority(url: &str) -> Result<&str, TransportFailure> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let rest = rest.ok_or_else(|| {
        TransportFailure::Denied("model_origin must begin with http:// or https://".to_owned())
    })?;
    Ok(rest.split_once('/').map_or(rest, |(authority, _path)| authority))
}

/// Sends a request by this method and waits for the head of the answer, or for all of it where no events are wanted.
pub(crate) async fn send(
    outgoing: UpstreamRequest,
    method: &str,
) -> Result<UpstreamResponse<WasiBody>, TransportFailure> {
    let of_host = authority(&outgoing.url)? == MODELS_HOST;
    let call = Call {
        method: method.to_owned(),
        headers: headers(&outgoing, of_host),
        url: outgoing.url,
        body: outgoing.body,
        timeout_ms: outgoing.timeout_ms,
        gather: !outgoing.events,
    };
    let Answered { status, mut fields, body } =
        client::send(call).await.map_err(|failure| match failure {
            Failure::Failed(code @ ErrorCode::ConnectionTerminated) if of_host => {
                TransportFailure::Ended(code.to_string())
            }
            failure => failed(failure),
        })?;
    Ok(UpstreamResponse {
        status,
        content_type: fields.text("content-type"),
        retry_after: fields.text("retry-after"),
        model: fields.text("waggle-model"),
        price: fields.text("waggle-price"),
        body,
    })
}

impl Upstream for WasiUpstream {
    type Body = WasiBody;

    async fn send(&self, outgoing: UpstreamRequest) -> Result<UpstreamResponse<WasiBody>, TransportFailure> {
        let method = if outgoing.body.is_some() { "POST" } else { "GET" };
        send(outgoing, method).await
    }
}
