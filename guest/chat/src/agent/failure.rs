//! Why a turn does not get its tools. One that is to have tools is not answered without.

use crate::platform::{INSUFFICIENT_QUOTA, NeighbourAnswer};
use crate::problem::{Problem, internal};
use serde::Deserialize;
use waggle_model::failure::excerpt;
use waggle_model::transport::TransportFailure;
use waggle_openai::ApiError;

/// The longest wait that is passed on to a caller, in seconds.
const RETRY_AFTER_S_MAX: u32 = 3600;

/// Whose tools they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// The request names them.
    Request,
    /// They are the tenant's default.
    Tenant,
}

#[derive(Default, Deserialize)]
struct ErrorBody {
    #[serde(default)]
    error: ErrorFields,
}

#[derive(Default, Deserialize)]
struct ErrorFields {
    #[serde(default)]
    message: String,
    #[serde(default)]
    r#type: Option<String>,
}

/// What the tools function says is wrong; empty when it does not say.
pub(super) fn message(body: &[u8]) -> String {
    let ErrorBody { error } = serde_json::from_slice(body).unwrap_or_default();
    error.message
}

fn problem(error: ApiError, log: &str) -> Problem {
    Problem { error: Box::new(error), log: Some(format!("tools: {log}")) }
}

fn failed() -> ApiError {
    ApiError::server(502, "tools_failed", "The tools of your turn could not be read.")
}

fn overloaded(retry_after_s: Option<u32>) -> ApiError {
    let message = "The tools of your turn could not be read: their function is overloaded. Try again later.";
    ApiError { retry_after_s, ..ApiError::server(503, "tools_unavailable", message) }
}

impl Asker {
    /// The problem of a catalogue that was not answered.
    pub(super) fn unanswered(self, failure: &TransportFailure) -> Problem {
        let error = match failure {
            TransportFailure::TimedOut(_) => {
                let message = "The tools of your turn could not be read in time. Try again later.";
                ApiError::server(504, "tools_timeout", message)
            }
            TransportFailure::Busy(_) => overloaded(None),
            TransportFailure::Denied(_) if self == Self::Request => {
                let message =
                    "Tools of type 'mcp' are not supported by this server: it has no tools function.";
                ApiError::unsupported("tools", message)
            }
            _ => {
                let message = "The tools of your turn could not be read: their function cannot be reached.";
                ApiError::server(502, "tools_unreachable", message)
            }
        };
        problem(error, &failure.to_string())
    }

    /// The problem of a catalogue that cannot be read.
    pub(super) fn unreadable(self, error: &serde_json::Error, body: &[u8]) -> Problem {
        problem(failed(), &format!("the catalogue cannot be read: {error}, in '{}'", excerpt(body)))
    }

    /// The problem of a catalogue that was refused. What is wrong with the request's tools, its sender is told; what is
    /// wrong with what the tenant has configured, the operator.
    pub(super) fn refused(self, answer: &NeighbourAnswer) -> Problem {
        let ErrorBody { error } = serde_json::from_slice(&answer.body).unwrap_or_default();
        let retry_after_s = answer.retry_after.as_ref().and_then(|text| text.trim().parse().ok());
        let retry_after_s = retry_after_s.map(|seconds: u32| seconds.min(RETRY_AFTER_S_MAX));
        let log = format!("the catalogue was answered {}: '{}'", answer.status, excerpt(&answer.body));
        match (answer.status, self) {
            (429, _) => {
                let message =
                    "The tools of your turn could not be read: a rate limit is reached. Try again later.";
                let mut limited = ApiError::rate_limited(retry_after_s, message);
                if error.r#type.as_deref() == Some(INSUFFICIENT_QUOTA) {
                    limited.kind = INSUFFICIENT_QUOTA;
                }
                problem(limited, &log)
            }
            (400 | 404 | 422, Self::Request) if !error.message.is_empty() => {
                ApiError::invalid_param("tools", "invalid_value", error.message).into()
            }
            (400..500, Self::Tenant) => internal(format!("tools: {log}")),
            (503, _) => problem(overloaded(retry_after_s), &log),
            _ => problem(failed(), &log),
        }
    }
}
