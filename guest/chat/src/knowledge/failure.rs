//! Why nothing was looked up. A turn that is to be answered from knowledge is not answered without.

use super::stores::Stores;
use crate::platform::{INSUFFICIENT_QUOTA, NeighbourAnswer};
use crate::problem::{Problem, internal};
use serde::Deserialize;
use waggle_model::failure::excerpt;
use waggle_model::transport::TransportFailure;
use waggle_openai::ApiError;

/// The longest wait that is passed on to a caller, in seconds.
const RETRY_AFTER_S_MAX: u32 = 3600;
/// The codes of what is wrong with a request that are passed on to whoever made it.
const CODES: [&str; 8] = [
    "invalid_value",
    "invalid_type",
    "unknown_parameter",
    "missing_required_parameter",
    "unsupported_parameter",
    "vector_store_not_found",
    "vector_store_expired",
    "not_found",
];

#[derive(Default, Deserialize)]
struct ErrorBody {
    error: ErrorFields,
}

#[derive(Default, Deserialize)]
struct ErrorFields {
    #[serde(default)]
    message: String,
    #[serde(default)]
    r#type: Option<String>,
    #[serde(default)]
    param: Option<String>,
    #[serde(default)]
    code: Option<String>,
}

fn problem(error: ApiError, log: String) -> Problem {
    Problem { error: Box::new(error), log: Some(format!("knowledge: {log}")) }
}

/// The problem of a call that was not answered.
pub(super) fn unanswered(failure: &TransportFailure) -> Problem {
    let error = match failure {
        TransportFailure::TimedOut(_) => {
            let message = "Your question could not be looked up in time. Try again later.";
            ApiError::server(504, "retrieval_timeout", message)
        }
        TransportFailure::Busy(_) => overloaded(None),
        _ => {
            let message = "Your question could not be looked up: the knowledge cannot be reached.";
            ApiError::server(502, "retrieval_unreachable", message)
        }
    };
    problem(error, failure.to_string())
}

fn overloaded(retry_after_s: Option<u32>) -> ApiError {
    let message = "Your question could not be looked up: the knowledge is overloaded. Try again later.";
    ApiError { retry_after_s, ..ApiError::server(503, "retrieval_unavailable", message) }
}

/// The problem of an answer that cannot be read.
pub(super) fn unreadable(error: &serde_json::Error, body: &[u8]) -> Problem {
    problem(failed(), format!("the answer to a search cannot be read: {error}, in '{}'", excerpt(body)))
}

fn failed() -> ApiError {
    ApiError::server(502, "retrieval_failed", "Your question could not be looked up: the search failed.")
}

/// The problem of an answer that refuses. What is wrong with the request's tool, its sender is told; what is wrong with what
/// the tenant has configured, the operator.
pub(super) fn refused(stores: &Stores<'_>, answer: &NeighbourAnswer) -> Problem {
    let ErrorBody { error } = serde_json::from_slice(&answer.body).unwrap_or_default();
    let retry_after_s = answer.retry_after.as_ref().and_then(|text| text.trim().parse().ok());
    let retry_after_s = retry_after_s.map(|seconds: u32| seconds.min(RETRY_AFTER_S_MAX));
    let log = format!("the search answered {}: '{}'", answer.status, excerpt(&answer.body));
    match (answer.status, stores.tool()) {
        (400 | 404 | 422, Some(tool)) => tool_error(tool.place, answer.status, error).into(),
        (400..500, None) if answer.status != 429 => internal(format!("knowledge: {log}")),
        (429, _) if error.r#type.as_deref() == Some(INSUFFICIENT_QUOTA) => {
            let limited = ApiError::rate_limited(retry_after_s, error.message);
            let error = ApiError { kind: INSUFFICIENT_QUOTA, code: Some("budget_exceeded"), ..limited };
            problem(error, log)
        }
        (429, _) => {
            let message = "Your question could not be looked up: a rate limit is reached. Try again later.";
            problem(ApiError::rate_limited(retry_after_s, message), log)
        }
        (503, _) => problem(overloaded(retry_after_s), log),
        _ => problem(failed(), log),
    }
}

/// What is wrong with the tool at that place.
fn tool_error(place: usize, status: u16, error: ErrorFields) -> ApiError {
    let param = match error.param {
        Some(param) => format!("tools[{place}].{param}"),
        None => format!("tools[{place}]"),
    };
    let code = error.code.and_then(|code| CODES.into_iter().find(|known| *known == code));
    let message = if error.message.is_empty() { "The search was refused.".to_owned() } else { error.message };
    let status = if status == 404 { 404 } else { 400 };
    ApiError { param: Some(param), ..ApiError::rejected(status, code, message) }
}
