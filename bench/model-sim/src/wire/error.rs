//! Error answers in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use hyper::StatusCode;

use super::put_string;

/// What a proxy in front of a model answers when it has nothing better to say.
pub(crate) const HTML_PAGE: &[u8] = b"<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head>\n\
<body><h1>502 Bad Gateway</h1><hr>model-sim</body></html>\n";

/// One error answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) message: Cow<'static, str>,
    pub(crate) kind: &'static str,
    pub(crate) param: Option<&'static str>,
    pub(crate) code: Option<&'static str>,
    pub(crate) retry_after_s: Option<u64>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        let (kind, code) = match status.as_u16() {
            401 => ("invalid_request_error", Some("invalid_api_key")),
            429 => ("requests", Some("rate_limit_exceeded")),
            500.. => ("server_error", None),
            _ => ("invalid_request_error", None),
        };
        Self { status, message: message.into(), kind, param: None, code, retry_after_s: None }
    }

    /// The error a request or the configuration asked for.
    pub(crate) fn simulated(status: StatusCode, retry_after_s: Option<u64>) -> Self {
        let message = match status.as_u16() {
            401 => "Incorrect API key provided.",
            429 => "Rate limit reached. Please try again later.",
            503 => "The engine is currently overloaded, please try again later.",
            500.. => "The server had an error while processing your request. Sorry about that!",
            _ => "The simulated model was asked to refuse this request.",
        };
        Self { retry_after_s, ..Self::new(status, message) }
    }

    pub(crate) fn body(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(256);
        out.extend_from_slice(b"{\"error\":{\"message\":");
        put_string(&mut out, &self.message);
        out.extend_from_slice(b",\"type\":");
        put_string(&mut out, self.kind);
        for (name, value) in [("param", self.param), ("code", self.code)] {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            match value {
                Some(value) => put_string(&mut out, value),
                None => out.extend_from_slice(b"null"),
            }
        }
        out.extend_from_slice(b"}}");
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_error_has_openais_shape() {
        let error = ApiError::simulated(StatusCode::TOO_MANY_REQUESTS, Some(2));
        let body: Value = serde_json::from_slice(&error.body()).unwrap();
        assert_eq!(
            body,
            json!({"error": {"message": "Rate limit reached. Please try again later.", "type": "requests",
                "param": null, "code": "rate_limit_exceeded"}})
        );
    }
}
