//! What a client reads when the host itself answers: OpenAI's error object under `/v1/`, RFC 9457 elsewhere.

use crate::body;
use crate::websocket::{Full, RefusedByHost};
use http::{HeaderValue, Response, StatusCode, header};
use waggle_engine::{HandleError, Limit, LimitOwner, WasiBody};
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
    /// The word for programs.
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    pub(crate) fn not_found(method: &http::Method, path: &str) -> Self {
        let shown: String = path.chars().take(200).collect();
        Self::new(StatusCode::NOT_FOUND, "unknown_url", format!("Unknown request URL: {method} {shown}"))
    }

    pub(crate) fn body_too_large(limit: u64) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "request_too_large",
            format!("The request's body is larger than the {limit} bytes allowed (request_body_bytes_max)."),
        )
    }

    pub(crate) fn bad_request(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message.to_owned())
    }

    pub(crate) fn overloaded() -> Self {
        Self::unavailable(
            "The server has as many requests under way as it can take (concurrent_requests_max); try again shortly."
                .into(),
        )
    }

    pub(crate) fn short_of_memory() -> Self {
        Self::unavailable("The server is short of memory (memory_bytes_max); try again shortly.".into())
    }

    pub(crate) fn shutting_down() -> Self {
        Self::unavailable("The server is shutting down; try again shortly.".into())
    }

    /// The client's WebSocket is of another version than the one there is.
    pub(crate) fn websocket_version() -> Self {
        let message = "A WebSocket must be of version 13 (RFC 6455).";
        Self::new(StatusCode::UPGRADE_REQUIRED, "websocket_version", message.into())
    }

    /// A page of another site, where no credential is asked for.
    pub(crate) fn foreign_origin() -> Self {
        let message = "Without tenants, WebSockets are for pages of this machine only; configure a tenant.";
        Self::new(StatusCode::FORBIDDEN, "origin_not_allowed", message.into())
    }

    /// A page that is not meant to call an MCP server.
    pub(crate) fn foreign_origin_of_mcp() -> Self {
        let message =
            "Pages of this origin may not call this; ask whoever runs the service (allowed_origins).";
        Self::new(StatusCode::FORBIDDEN, "origin_not_allowed", message.into())
    }

    /// There are as many WebSockets as there may be.
    pub(crate) fn no_websocket(full: Full) -> Self {
        match full {
            Full::Host => Self::unavailable(
                "The server has as many WebSockets open as it can take (websocket.connections_max); try again shortly."
                    .into(),
            ),
            Full::Tenant => {
                let message = "There are as many WebSockets open as one tenant may have \
                               (websocket.connections_per_tenant_max); close one, or try again shortly.";
                Self::too_many("requests", message.into(), RETRY_AFTER_SECONDS)
            }
        }
    }

    /// Over one of the limits of the client's address or tenant: which one, and for how long.
    pub(crate) fn over_limit(exceeded: &Exceeded) -> Self {
        let kind = if exceeded.limit == "tokens_per_minute" { "tokens" } else { "requests" };
        Self::too_many(kind, exceeded.to_string(), exceeded.retry_after_seconds())
    }

    /// No instance for the request, because of this limit: the tenant's own is told in full, of the host's only the name.
    fn no_instance(limit: Limit) -> Self {
        match limit.owner() {
            LimitOwner::Tenant => {
                let message =
                    format!("The limit of {limit} is used up; try again in {RETRY_AFTER_SECONDS} second.");
                Self::too_many("requests", message, RETRY_AFTER_SECONDS)
            }
            LimitOwner::Host => Self::unavailable(format!(
                "The server has no instance free for the request ({}); try again shortly.",
                limit.name()
            )),
        }
    }

    fn too_many(kind: &'static str, message: String, retry_after_s: u64) -> Self {
        let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", message);
        Self { retry_after_s: Some(retry_after_s), kind: Some(kind), ..refusal }
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

    fn unavailable(message: String) -> Self {
        let refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_overloaded", message);
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
        response.extensions_mut().insert(RefusedByHost);
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
            HandleError::Busy { limit, .. } => Self::no_instance(limit),
            HandleError::Instantiate { refused, .. } => {
                Self::new(internal, "function_failed", failed("The function could not be started", refused))
            }
            HandleError::Trap { refused, .. } => {
                Self::new(internal, "function_failed", failed("The function failed", refused))
            }
            HandleError::CpuTime { allowed_ms, .. } => Self::new(
                internal,
                "function_cpu_time",
                format!(
                    "The function was stopped: it used more than {allowed_ms} ms of CPU time (request_cpu_ms_max)."
                ),
            ),
            HandleError::Deadline { allowed_ms, paused, .. } => {
                let paused = paused.map_or_else(String::new, |limit| {
                    format!(" It is slowed down: the limit of {limit} is used up.")
                });
                let message = format!(
                    "The function did not answer within {allowed_ms} ms (request_timeout_ms).{paused}"
                );
                Self::new(StatusCode::GATEWAY_TIMEOUT, "function_timeout", message)
            }
            HandleError::NoResponse { .. } => Self::new(
                StatusCode::BAD_GATEWAY,
                "function_no_response",
                "The function gave no response.".into(),
            ),
            HandleError::Store { .. } => {
                let message = "The store does not take writes at the moment; try again shortly.";
                Self { code: "store_unavailable", ..Self::unavailable(message.into()) }
            }
        }
    }
}

/// Says that a function failed, and over which limit it was refused memory before.
fn failed(what: &str, refused: Option<Limit>) -> String {
    match refused {
        Some(limit) => format!("{what}: it was refused memory over the limit of {limit}."),
        None => format!("{what}."),
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

    fn busy(limit: Limit) -> HandleError {
        HandleError::Busy { function: "chat".into(), limit, reason: "secret detail".into() }
    }

    fn check_error(error: HandleError, status: u16, code: &str, message: &str, retry_after_s: Option<u64>) {
        let told = format!("{error:?}");
        let refusal = Refusal::from(error);
        let was = (refusal.status.as_u16(), refusal.code, &*refusal.message, refusal.retry_after_s);
        assert_eq!(was, (status, code, message, retry_after_s), "{told}");
    }

    #[test]
    fn a_limit_is_named_as_the_tenants_own_or_as_the_hosts() {
        let (theirs, ours) = ("rate_limit_exceeded", "server_overloaded");
        let message = "The limit of 4 instances at once (instances_max) is used up; try again in 1 second.";
        check_error(busy(Limit::TenantInstances(4)), 429, theirs, message, Some(1));
        let message = "The limit of 65536 bytes of memory for all instances together (memory_bytes_max) is used up; \
                       try again in 1 second.";
        check_error(busy(Limit::TenantMemory(65_536)), 429, theirs, message, Some(1));
        let message = "The server has no instance free for the request (instances_max); try again shortly.";
        check_error(busy(Limit::HostInstances(10)), 503, ours, message, Some(1));
    }

    #[test]
    fn a_failure_names_the_limit_that_led_to_it() {
        let trap = |refused| HandleError::Trap { function: "chat".into(), reason: "secret".into(), refused };
        check_error(trap(None), 500, "function_failed", "The function failed.", None);
        let message = "The function failed: it was refused memory over the limit of 65536 bytes of memory for one \
                       instance (instance_memory_bytes_max).";
        check_error(trap(Some(Limit::InstanceMemory(65_536))), 500, "function_failed", message, None);
        let late = |paused| HandleError::Deadline { function: "chat".into(), allowed_ms: 50, paused };
        let message = "The function did not answer within 50 ms (request_timeout_ms).";
        check_error(late(None), 504, "function_timeout", message, None);
        let message = "The function did not answer within 50 ms (request_timeout_ms). It is slowed down: the limit of \
                       100 ms of CPU time in a second (cpu_ms_per_second) is used up.";
        check_error(late(Some(Limit::TenantCpu(100))), 504, "function_timeout", message, None);
    }
}
