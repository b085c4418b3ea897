//! The error object every endpoint answers with, and its constructors.
//!
//! `{"error": {"message", "type", "param", "code"}}`. A message is for the caller: it names what was wrong, where, and
//! what is expected; what the operator needs goes to the log instead.

use crate::json;
use serde::Serialize;

/// The most characters of a caller's own text that an error repeats.
const ECHO_CHARACTERS_MAX: usize = 80;

/// An error as the caller sees it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status} {kind}: {message}")]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// The `type` field.
    pub kind: &'static str,
    /// The `message` field.
    pub message: String,
    /// The `param` field: the path of the field that was wrong, as in `input[0].content`.
    pub param: Option<String>,
    /// The `code` field.
    pub code: Option<&'static str>,
    /// Seconds after which a retry makes sense, sent as `Retry-After`.
    pub retry_after_s: Option<u32>,
    /// The methods of the resource, sent as `Allow` with a 405.
    pub allow: Option<&'static str>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: Fields<'a>,
}

#[derive(Serialize)]
struct Fields<'a> {
    message: &'a str,
    r#type: &'a str,
    param: Option<&'a str>,
    code: Option<&'a str>,
}

impl ApiError {
    fn new(status: u16, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            message: message.into(),
            param: None,
            code: None,
            retry_after_s: None,
            allow: None,
        }
    }

    /// 400: the request is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "invalid_request_error", message)
    }

    /// 400: the field at `param` is wrong.
    pub fn invalid_param(param: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self { param: Some(param.into()), code: Some(code), ..Self::invalid(message) }
    }

    /// 400: a field that must be given is not.
    pub fn missing(param: &str) -> Self {
        let message = format!("Missing required parameter: '{param}'.");
        Self::invalid_param(param, "missing_required_parameter", message)
    }

    /// 400: the field is OpenAI's, but this server does not support it, or not that value of it.
    pub fn unsupported(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid_param(param, "unsupported_parameter", message)
    }

    /// 404: there is no such thing.
    pub fn not_found(what: &str, id: &str) -> Self {
        let message = format!("{what} with id '{}' not found.", echo(id));
        Self { status: 404, ..Self::invalid(message) }
    }

    /// 403: what users may not ask, the caller being one.
    pub fn not_a_service(message: impl Into<String>) -> Self {
        Self { status: 403, code: Some("not_a_service"), ..Self::invalid(message) }
    }

    /// 404: no endpoint at that path.
    pub fn unknown_url(method: &str, path: &str) -> Self {
        let message = format!("Invalid URL ({} {})", echo(method), echo(path));
        Self { status: 404, code: Some("unknown_url"), ..Self::invalid(message) }
    }

    /// 405: the resource exists and has other methods.
    pub fn method_not_allowed(method: &str, allow: &'static str) -> Self {
        let message = format!("Not allowed to {} this resource. Its methods are: {allow}.", echo(method));
        Self { status: 405, code: Some("method_not_allowed"), allow: Some(allow), ..Self::invalid(message) }
    }

    /// 413: the body is longer than `body_bytes_max`.
    pub fn too_large(body_bytes_max: usize) -> Self {
        let message = format!("The request body is too large: at most {body_bytes_max} bytes are accepted.");
        Self { status: 413, code: Some("request_too_large"), ..Self::invalid(message) }
    }

    /// 415: the body is not declared to be JSON.
    pub fn unsupported_media_type(content_type: &str) -> Self {
        let message = format!(
            "Unsupported content type '{}': send the body with 'Content-Type: application/json'.",
            echo(content_type)
        );
        Self { status: 415, code: Some("unsupported_media_type"), ..Self::invalid(message) }
    }

    /// A 4xx whose cause lies in the request, reported by the model endpoint.
    pub fn rejected(status: u16, code: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { status, code, ..Self::invalid(message) }
    }

    /// 429: the model endpoint is out of quota.
    pub fn rate_limited(retry_after_s: Option<u32>, message: impl Into<String>) -> Self {
        Self {
            code: Some("rate_limit_exceeded"),
            retry_after_s,
            ..Self::new(429, "rate_limit_error", message)
        }
    }

    /// A 5xx, with the code that says which kind.
    pub fn server(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { code: Some(code), ..Self::new(status, "server_error", message) }
    }

    /// The body: the error object as JSON.
    pub fn to_json(&self) -> Vec<u8> {
        let fields = Fields {
            message: &self.message,
            r#type: self.kind,
            param: self.param.as_deref(),
            code: self.code,
        };
        let mut body = Vec::with_capacity(128 + self.message.len());
        json::push(&mut body, &Envelope { error: fields });
        body
    }
}

/// The caller's own text, bounded and without control characters, fit to be repeated in a message.
pub fn echo(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(ECHO_CHARACTERS_MAX)
        .map(|character| if character.is_control() { '\u{fffd}' } else { character })
        .collect();
    if text.chars().nth(ECHO_CHARACTERS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_has_openais_four_fields_even_when_empty() {
        let body = String::from_utf8(ApiError::invalid("No \"quotes\".").to_json()).unwrap();
        let expected = r#"{"error":{"message":"No \"quotes\".","type":"invalid_request_error","param":null,"code":null}}"#;
        assert_eq!(body, expected);
    }

    #[test]
    fn what_a_caller_sent_is_repeated_bounded_and_without_control_characters() {
        let error = ApiError::not_found("Response", &format!("\0{}", "x".repeat(10_000)));
        assert!(error.message.len() < 200 && !error.message.contains('\0'), "{}", error.message);
    }
}
