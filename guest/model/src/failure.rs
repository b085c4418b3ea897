//! What can go wrong at a model endpoint, and the three messages about it: to the caller, into the stored response,
//! and (as `Display`) into the log.

use crate::transport::{ReadFailure, TransportFailure};
use serde::Deserialize;
use serde_json::value::RawValue;
use waggle_openai::ApiError;
use waggle_openai::error::echo;
use waggle_openai::json::Text;
use waggle_openai::response::ResponseError;

/// The longest wait that is passed on to a caller.
const RETRY_AFTER_S_MAX: u32 = 3600;
/// The same for a budget, which may have to wait for the next month.
const BUDGET_RETRY_AFTER_S_MAX: u32 = 31 * 24 * 3600;
/// The host's code for a budget that is used up.
const BUDGET_EXCEEDED: &str = "budget_exceeded";
/// OpenAI's code for a request that is longer than the model's context.
const CONTEXT_LENGTH_EXCEEDED: &str = "context_length_exceeded";
/// How servers say so that have no code for it.
const CONTEXT_LENGTH_WORDS: &str = "maximum context length";
/// The most characters of an endpoint's own message that a caller reads.
const PASSED_CHARACTERS_MAX: usize = 300;

/// Why there is no answer from the model, or only a part of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelFailure {
    /// The endpoint was not reached, or stopped answering.
    #[error("the model endpoint is {0}")]
    Transport(#[from] TransportFailure),
    /// It answered with a status other than 200.
    #[error(
        "the model endpoint answered status {status}{}: {}",
        code.map(|code| format!(" ({code})")).unwrap_or_default(),
        message.as_deref().unwrap_or("no OpenAI error object")
    )]
    Status {
        /// The status.
        status: u16,
        /// The message of its error object, when it sent one.
        message: Option<String>,
        /// The code of its error object, when it is one of the host's own or says that the request is too long.
        code: Option<&'static str>,
        /// Its `Retry-After`, in seconds.
        retry_after_s: Option<u32>,
    },
    /// It answered 200 with something else than the answer that was asked for.
    #[error("the model endpoint's answer is not as its API has it: {0}")]
    NotACompletion(String),
    /// It reported an error in the middle of its stream.
    #[error("the model endpoint reported in its stream: {0}")]
    Reported(String),
    /// Its stream ended before the answer did.
    #[error("the model endpoint's stream ended without a finish reason")]
    Cut,
    /// Its answer is longer than this function accepts.
    #[error("the model endpoint's answer is too long: {0}")]
    TooLong(String),
}

impl From<ReadFailure> for ModelFailure {
    fn from(failure: ReadFailure) -> Self {
        match failure {
            ReadFailure::TooLong(_) => Self::TooLong(failure.to_string()),
            ReadFailure::Transport(failure) => Self::Transport(failure),
        }
    }
}

#[derive(Deserialize)]
struct ErrorBody<'a> {
    #[serde(borrow)]
    error: ErrorFields<'a>,
}

#[derive(Deserialize)]
struct ErrorFields<'a> {
    #[serde(borrow)]
    message: Text<'a>,
    #[serde(borrow)]
    code: Option<&'a RawValue>,
}

/// What a host that calls upstreams on our behalf says when all of them failed.
const HOST_CODES: [&str; 6] = [
    "upstream_unavailable",
    "upstream_open",
    "upstream_busy",
    "upstream_timeout",
    "rate_limit_exceeded",
    BUDGET_EXCEEDED,
];

impl ErrorFields<'_> {
    /// Whether it complains that the request is longer than the model's context.
    fn says_too_long(&self) -> bool {
        self.code.is_some_and(|code| code.get().trim_matches('"') == CONTEXT_LENGTH_EXCEEDED)
            || self.message.contains(CONTEXT_LENGTH_WORDS)
    }
}

fn host_code(raw: &RawValue) -> Option<&'static str> {
    let code = raw.get().trim_matches('"');
    HOST_CODES.into_iter().find(|known| *known == code)
}

impl ModelFailure {
    /// Reads an answer whose status is not 200.
    pub fn from_status(status: u16, body: &[u8], retry_after: Option<&str>) -> Self {
        let error = serde_json::from_slice::<ErrorBody<'_>>(body).ok().map(|body| body.error);
        let is_too_long = error.as_ref().is_some_and(|error| status == 400 && error.says_too_long());
        let code = error.as_ref().and_then(|error| error.code).and_then(host_code);
        let code = if is_too_long { Some(CONTEXT_LENGTH_EXCEEDED) } else { code };
        let longest =
            if code == Some(BUDGET_EXCEEDED) { BUDGET_RETRY_AFTER_S_MAX } else { RETRY_AFTER_S_MAX };
        Self::Status {
            status,
            code,
            message: error.map(|error| echo_long(&error.message)),
            retry_after_s: retry_after
                .and_then(|text| text.trim().parse().ok())
                .map(|seconds: u32| seconds.min(longest)),
        }
    }

    /// What the caller reads. It tells them whose fault it was and whether to retry, and nothing of the endpoint: not
    /// where it is, nor what it said, except when it complains of the caller's own request.
    pub fn to_api_error(&self) -> ApiError {
        match self {
            Self::Transport(failure) => transport_error(failure),
            // The host's own words, which name the budget and say when there is one again.
            Self::Status { code: Some(BUDGET_EXCEEDED), message, retry_after_s, .. } => {
                let message = message.as_deref().unwrap_or("A budget is used up.");
                ApiError {
                    kind: "insufficient_quota",
                    code: Some(BUDGET_EXCEEDED),
                    ..ApiError::rate_limited(*retry_after_s, message)
                }
            }
            Self::Status { code: Some(CONTEXT_LENGTH_EXCEEDED), message, .. } => {
                let said = message.as_deref().unwrap_or("no reason was given");
                let message = format!("Your input exceeds the context window of the model: {said}");
                ApiError::rejected(400, Some(CONTEXT_LENGTH_EXCEEDED), message)
            }
            Self::Status { status, message, retry_after_s, .. } => {
                status_error(*status, message.as_deref(), *retry_after_s)
            }
            Self::NotACompletion(_) => bad_gateway("The model endpoint gave an answer that cannot be read."),
            Self::Reported(_) => bad_gateway("The model endpoint failed while it was answering."),
            Self::Cut => bad_gateway("The model endpoint's answer was cut off."),
            Self::TooLong(_) => bad_gateway("The model endpoint's answer is too long."),
        }
    }

    /// Whether an answer of our own may take the place of the one that did not come: the call failed, and not because
    /// of what the caller asked or has used up, nor because the caller has gone.
    pub fn falls_back(&self) -> bool {
        match self {
            Self::Transport(TransportFailure::Ended(_))
            | Self::Status { code: Some(BUDGET_EXCEEDED), .. } => false,
            Self::Status { status, .. } => !matches!(status, 400 | 404 | 413 | 422),
            _ => true,
        }
    }

    /// Whether another model may succeed where this one failed. A model that does not exist at the endpoint is not
    /// the caller's doing when the caller did not name it.
    pub fn escalates(&self) -> bool {
        self.falls_back() || matches!(self, Self::Status { status: 404, .. })
    }

    /// Why it failed, as one word: the host's own code where it gave one, else that of the error the caller would read.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Status { code: Some(code), .. } => code,
            _ => self.to_api_error().code.unwrap_or("server_error"),
        }
    }

    /// The `error` of the response that failed.
    pub fn to_response_error(&self) -> ResponseError {
        let error = self.to_api_error();
        let code = match error.status {
            429 => "rate_limit_exceeded",
            400..500 => "invalid_prompt",
            _ => "server_error",
        };
        ResponseError { code, message: error.message }
    }
}

fn bad_gateway(message: &str) -> ApiError {
    ApiError::server(502, "model_endpoint_error", message)
}

fn transport_error(failure: &TransportFailure) -> ApiError {
    match failure {
        TransportFailure::Unreachable(_) => {
            ApiError::server(502, "model_endpoint_unreachable", "The model endpoint cannot be reached.")
        }
        TransportFailure::TimedOut(_) => {
            ApiError::server(504, "model_endpoint_timeout", "The model endpoint did not answer in time.")
        }
        TransportFailure::Denied(_) => {
            let message = "This function is not allowed to call the model endpoint it is configured with.";
            ApiError::server(502, "model_endpoint_denied", message)
        }
        TransportFailure::Busy(_) => {
            let message = "The model endpoint is overloaded. Try again in a moment.";
            ApiError { retry_after_s: Some(1), ..ApiError::server(503, "model_endpoint_overloaded", message) }
        }
        TransportFailure::Cut(_) | TransportFailure::Ended(_) => {
            bad_gateway("The model endpoint's answer was cut off.")
        }
    }
}

fn status_error(status: u16, message: Option<&str>, retry_after_s: Option<u32>) -> ApiError {
    match status {
        429 => ApiError::rate_limited(
            retry_after_s,
            "The model endpoint's rate limit is reached. Try again later.",
        ),
        404 => {
            let message =
                "The model does not exist at the model endpoint, or it is not available to this server.";
            ApiError::rejected(404, Some("model_not_found"), message)
        }
        400 | 413 | 422 => {
            let said = message.unwrap_or("no reason was given");
            ApiError::rejected(
                400,
                Some("rejected_by_model"),
                format!("The model endpoint refused the request: {said}"),
            )
        }
        401 | 403 => {
            let message = "The model endpoint refused the credentials this server is configured with.";
            ApiError::server(502, "model_endpoint_unauthorized", message)
        }
        503 => ApiError {
            retry_after_s,
            ..ApiError::server(
                503,
                "model_endpoint_overloaded",
                "The model endpoint is overloaded. Try again later.",
            )
        },
        408 | 504 => ApiError {
            retry_after_s,
            ..ApiError::server(504, "model_endpoint_timeout", "The model endpoint did not answer in time.")
        },
        _ => bad_gateway("The model endpoint failed."),
    }
}

fn echo_long(message: &str) -> String {
    let bounded: String = message.chars().take(PASSED_CHARACTERS_MAX).collect();
    bounded
        .split(' ')
        .map(|word| if looks_secret(word) { "[redacted]".to_owned() } else { clean(word) })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Endpoints are known to repeat a part of the key they refuse.
fn looks_secret(word: &str) -> bool {
    ["sk-", "Bearer", "key-", "eyJ"].iter().any(|mark| word.contains(mark))
}

fn clean(word: &str) -> String {
    word.chars().filter(|character| !character.is_control()).collect()
}

/// A short, safe excerpt of what an endpoint sent, for the log: without what looks like a key.
pub fn excerpt(body: &[u8]) -> String {
    echo(&echo_long(&String::from_utf8_lossy(body.get(..400).unwrap_or(body))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_for_the_log_holds_no_key() {
        let told = excerpt(b"invalid key sk-canary-123, or Bearer-canary");
        assert!(told.contains("invalid key") && !told.contains("canary"), "{told}");
    }

    fn check(failure: &ModelFailure, status: u16, code: &str, response_code: &str) {
        let error = failure.to_api_error();
        assert_eq!((error.status, error.code), (status, Some(code)), "{failure}");
        assert_eq!(failure.to_response_error().code, response_code, "{failure}");
        let seen = String::from_utf8(error.to_json()).unwrap();
        for secret in ["10.0.0.7", "sk-secret", "<html>", "traceback"] {
            assert!(!seen.contains(secret), "{seen}");
        }
        assert!(!failure.to_string().contains("sk-secret"), "{failure}");
    }

    fn check_fallback(failure: &ModelFailure, falls_back: bool, escalates: bool, reason: &str) {
        let seen = (failure.falls_back(), failure.escalates(), failure.reason());
        assert_eq!(seen, (falls_back, escalates, reason), "{failure}");
    }

    #[test]
    fn a_failure_falls_back_unless_the_request_is_at_fault_or_nobody_waits() {
        let at = || "10.0.0.7:8000".to_owned();
        check_fallback(&TransportFailure::Unreachable(at()).into(), true, true, "model_endpoint_unreachable");
        check_fallback(&TransportFailure::TimedOut(at()).into(), true, true, "model_endpoint_timeout");
        check_fallback(&TransportFailure::Ended(at()).into(), false, false, "model_endpoint_error");
        check_fallback(&ModelFailure::Cut, true, true, "model_endpoint_error");
        check_fallback(&answered(400, "x"), false, false, "rejected_by_model");
        check_fallback(&answered(413, "x"), false, false, "rejected_by_model");
        check_fallback(&answered(422, "x"), false, false, "rejected_by_model");
        check_fallback(&answered(404, "x"), false, true, "model_not_found");
        check_fallback(&answered(401, "x"), true, true, "model_endpoint_unauthorized");
        check_fallback(&answered(429, "x"), true, true, "rate_limit_exceeded");
        check_fallback(&answered(500, "x"), true, true, "model_endpoint_error");
        let said = |code: &str| {
            let body = format!(r#"{{"error":{{"message":"m","code":{code}}}}}"#);
            ModelFailure::from_status(503, body.as_bytes(), None)
        };
        check_fallback(&said("\"upstream_open\""), true, true, "upstream_open");
        check_fallback(&said("\"upstream_timeout\""), true, true, "upstream_timeout");
        check_fallback(&said("\"secret\""), true, true, "model_endpoint_overloaded");
        check_fallback(&said("7"), true, true, "model_endpoint_overloaded");
        check_fallback(&said("null"), true, true, "model_endpoint_overloaded");
    }

    fn answered(status: u16, message: &str) -> ModelFailure {
        let body = format!(r#"{{"error":{{"message":"{message}","type":"t"}}}}"#);
        ModelFailure::from_status(status, body.as_bytes(), Some("7"))
    }

    #[test]
    fn every_failure_has_its_status_and_shows_nothing_of_the_endpoint() {
        let at = || "10.0.0.7:8000".to_owned();
        check(&TransportFailure::Unreachable(at()).into(), 502, "model_endpoint_unreachable", "server_error");
        check(&TransportFailure::TimedOut(at()).into(), 504, "model_endpoint_timeout", "server_error");
        check(&TransportFailure::Denied(at()).into(), 502, "model_endpoint_denied", "server_error");
        check(&TransportFailure::Busy(at()).into(), 503, "model_endpoint_overloaded", "server_error");
        check(&TransportFailure::Cut(at()).into(), 502, "model_endpoint_error", "server_error");
        check(&ModelFailure::Cut, 502, "model_endpoint_error", "server_error");
        check(&ModelFailure::NotACompletion("<html>".into()), 502, "model_endpoint_error", "server_error");
        check(&ModelFailure::Reported("traceback".into()), 502, "model_endpoint_error", "server_error");
        check(&answered(500, "traceback at 10.0.0.7"), 502, "model_endpoint_error", "server_error");
        check(&answered(401, "wrong key sk-secret"), 502, "model_endpoint_unauthorized", "server_error");
        check(&answered(400, "bad 'sk-secret' key"), 400, "rejected_by_model", "invalid_prompt");
        check(&answered(404, "no model at 10.0.0.7"), 404, "model_not_found", "invalid_prompt");
        check(&answered(429, "org 10.0.0.7"), 429, "rate_limit_exceeded", "rate_limit_exceeded");
        check(&answered(503, "traceback"), 503, "model_endpoint_overloaded", "server_error");
        check(&answered(418, "traceback"), 502, "model_endpoint_error", "server_error");
    }

    #[test]
    fn a_request_that_is_too_long_for_the_model_has_openais_code() {
        let said = |status: u16, error: &str| {
            ModelFailure::from_status(status, format!(r#"{{"error":{error}}}"#).as_bytes(), None)
        };
        let coded = r#"{"message":"long","code":"context_length_exceeded"}"#;
        check(&said(400, coded), 400, "context_length_exceeded", "invalid_prompt");
        let worded = r#"{"message":"This model's maximum context length is 9 tokens.","code":400}"#;
        check(&said(400, worded), 400, "context_length_exceeded", "invalid_prompt");
        check_fallback(&said(400, coded), false, false, "context_length_exceeded");
        check(&said(500, worded), 502, "model_endpoint_error", "server_error");
    }

    #[test]
    fn a_complaint_about_the_request_and_a_wait_are_passed_on() {
        let error = answered(400, "context length is 4096").to_api_error();
        assert!(error.message.contains("context length is 4096"), "{}", error.message);
        assert_eq!(answered(429, "x").to_api_error().retry_after_s, Some(7));
        let html = ModelFailure::from_status(429, b"<html>", Some("Fri, 31 Dec 1999 23:59:59 GMT"));
        assert_eq!(html.to_api_error().retry_after_s, None);
    }

    #[test]
    fn a_budget_that_is_used_up_is_told_in_the_hosts_words_and_never_talked_over() {
        let body = br#"{"error":{"message":"The budget of tokens a month (tokens_per_month) is used up.","code":"budget_exceeded"}}"#;
        let failure = ModelFailure::from_status(429, body, Some("2000000"));
        let error = failure.to_api_error();
        assert_eq!((error.status, error.code), (429, Some("budget_exceeded")));
        assert!(error.message.contains("tokens_per_month"), "{}", error.message);
        assert_eq!(error.retry_after_s, Some(2_000_000));
        assert!(!failure.falls_back() && !failure.escalates());
        assert_eq!(failure.to_response_error().code, "rate_limit_exceeded");
    }
}
