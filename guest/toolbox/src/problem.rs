//! Why a request is not served: what the caller reads, and what the log holds.

use waggle_conversation::StoreError;
use waggle_openai::ApiError;

/// A request that is not served.
#[derive(Debug)]
pub(crate) struct Problem {
    /// For the caller.
    pub(crate) error: Box<ApiError>,
    /// For the operator, when there is something to look at.
    pub(crate) log: Option<String>,
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        Self { error: Box::new(error), log: None }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let seen = match error {
            StoreError::Contended(_) => {
                ApiError::server(503, "storage_busy", "Too many change the same at once. Try again.")
            }
            _ => ApiError::server(500, "storage_error", "The store of the audit log failed. Try again."),
        };
        Self { error: Box::new(seen), log: Some(error.to_string()) }
    }
}

/// 400: the field at `param` is none of what is expected.
pub(crate) fn wrong(param: &str, expected: &str) -> ApiError {
    let message = format!("Invalid value for '{param}': it must be {expected}.");
    ApiError::invalid_param(param, "invalid_value", message)
}

/// 500, with the reason in the log only.
pub(crate) fn internal(log: String) -> Problem {
    Problem {
        error: Box::new(ApiError::server(500, "internal_error", "The server failed to serve this request.")),
        log: Some(log),
    }
}

/// 503: the host does not say which tools there are.
pub(crate) fn no_registry(log: String) -> Problem {
    let message = "The registry of tools does not answer at the moment. Try again.";
    Problem {
        error: Box::new(ApiError::server(503, "tools_unavailable", message)),
        log: Some(format!("the registry of tools: {log}")),
    }
}
