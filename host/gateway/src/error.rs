//! What a client reads when the host itself answers: OpenAI's error object under `/v1/`, RFC 9457 elsewhere.

use crate::body;
use http::{HeaderValue, Response, StatusCode, header};
use waggle_engine::{HandleError, WasiBody};
use waggle_tenancy::{Denied, Exceeded, TokenError};

/// Seconds a client is asked to wait when the host is at one of its limits.
const RETRY_AFTER_SECONDS: u64 = 1;

/// An answer of the host's own.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    /// A word for programs: the `code` of OpenAI's object.
    code: &'static str,
    /// A sentence for people; holds nothing of the inside.
    message: String,
    /// Seconds after which it is worth trying again.
    retry_after_s: Option<u64>,
    /// The `type` of OpenAI's object, where it is not told by the status.
    kind: Option<&'static str>,
}

impl Refusal {
    pub(crate) fn not_found(method: &http::Method, path: &str) -> Self {
        let shown: String = path.chars().take(200).collect();
        Self::new(StatusCode::NOT_FOUND, "unknown_url", format!("Unknown request URL: {method} {shown}"))
    }

    pub(crate) fn body_too_large(limit: u64) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "request_too_large",
            format!("The request's body is larger than the {limit} bytes allowed."),
        )
    }

    pub(crate) fn bad_request(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message.to_owned())
    }

    pub(crate) fn overloaded() -> Self {
        Self::unavailable("The server has as many requests under way as it can take; try again shortly.")
    }

    pub(crate) fn short_of_memory() -> Self {
        Self::unavailable("The server is short of memory; try again shortly.")
    }

    /// Over one of the limits of the client's address or tenant: which one, and for how long.
    pub(crate) fn over_limit(exceeded: &Exceeded) -> Self {
        let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", exceeded.to_string());
        let kind = Some(if exceeded.limit == "tokens_per_minute" { "tokens" } else { "requests" });
        Self { retry_after_s: Some(exceeded.retry_after_seconds()), kind, ..refusal }
    }

    /// Who is calling is not known, or may not call. The message helps whoever holds the credential and tells others
    /// nothing about who the tenants are.
    pub(crate) fn denied(denied: &Denied) -> Self {
        match denied {
            Denied::Suspended => Self::new(
                StatusCode::FORBIDDEN,
                "tenant_suspended",
                "This account is suspended; ask whoever runs the service.".into(),
            ),
            Denied::Token(TokenError::KeysUnavailable(_)) => Self {
                retry_after_s: Some(RETRY_AFTER_SECONDS),
                ..Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "issuer_unavailable",
                    "The keys of the token's issuer cannot be had at the moment; try again shortly.".into(),
                )
            },
            other => Self::new(StatusCode::UNAUTHORIZED, "invalid_api_key", other.to_string()),
        }
    }

    fn unavailable(message: &str) -> Self {
        let refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_overloaded", message.to_owned());
        Self { retry_after_s: Some(RETRY_AFTER_SECONDS), ..refusal }
    }

    fn new(status: StatusCode, code: &'static str, message: String) -> Self {
        Self { status, code, message, retry_after_s: None, kind: None }
    }

    /// The response, in the shape of the API that `path` belongs to.
    pub(crate) fn into_response(self, path: &str, request_id: &str) -> Response<WasiBody> {
        let (content_type, value) = if path.starts_with("/v1/") || path == "/v1" {
            ("application/json", self.open_ai())
        } else {
            ("application/problem+json", self.problem(request_id))
        };
        let mut response = Response::new(body::full(value.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 6750, section 3.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"waggle\""));
        }
        response
    }

    fn open_ai(&self) -> serde_json::Value {
        let by_status = if self.status.is_server_error() { "server_error" } else { "invalid_request_error" };
        let kind = self.kind.unwrap_or(by_status);
        serde_json::json!({
            "error": { "message": self.message, "type": kind, "param": null, "code": self.code }
        })
    }

    fn problem(&self, request_id: &str) -> serde_json::Value {
        serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.message,
            "code": self.code,
            "request_id": request_id,
        })
    }
}

impl From<HandleError> for Refusal {
    fn from(error: HandleError) -> Self {
        let internal = StatusCode::INTERNAL_SERVER_ERROR;
        match error {
            HandleError::UnknownFunction(_) => {
                Self::new(StatusCode::NOT_FOUND, "unknown_url", "There is no such function.".into())
            }
            HandleError::Busy { .. } => {
                Self::unavailable("No instance became free in time; try again shortly.")
            }
            HandleError::Instantiate { .. } => {
                Self::new(internal, "function_failed", "The function could not be started.".into())
            }
            HandleError::Trap { .. } => Self::new(internal, "function_failed", "The function failed.".into()),
            HandleError::CpuTime { allowed_ms, .. } => Self::new(
                internal,
                "function_cpu_time",
                format!("The function was stopped: it used more than {allowed_ms} ms of CPU time."),
            ),
            HandleError::Deadline { allowed_ms, .. } => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "function_timeout",
                format!("The function did not answer within {allowed_ms} ms."),
            ),
            HandleError::NoResponse { .. } => Self::new(
                StatusCode::BAD_GATEWAY,
                "function_no_response",
                "The function gave no response.".into(),
            ),
            HandleError::Store { .. } => Self::unavailable("The store does not take writes at the moment."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    async fn check(path: &str, content_type: &str, pointer: &str, expected: &str) {
        let response = Refusal::overloaded().into_response(path, "r1");
        assert_eq!(response.headers()[header::CONTENT_TYPE], content_type);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value.pointer(pointer).and_then(|v| v.as_str()), Some(expected));
    }

    #[tokio::test]
    async fn errors_have_the_shape_of_the_api_they_belong_to() {
        check("/v1/responses", "application/json", "/error/type", "server_error").await;
        check("/hello", "application/problem+json", "/title", "Service Unavailable").await;
    }
}
