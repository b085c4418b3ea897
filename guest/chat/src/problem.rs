//! Why a request is not served: what the caller reads, and what the log holds.

use waggle_conversation::StoreError;
use waggle_conversation::items::PageError;
use waggle_model::ModelFailure;
use waggle_model::request::RequestError;
use waggle_openai::{ApiError, list};
use waggle_platform::INSUFFICIENT_QUOTA;

/// Seconds after which there may be room in a store that was full: what has expired is gone by then.
const STORAGE_RETRY_AFTER_S: u32 = 60;

/// A request that is not served.
#[derive(Debug, Clone)]
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
            StoreError::Full { .. } => storage_full(),
            _ => ApiError::server(500, "storage_error", "The conversation store failed. Try again."),
        };
        Self { error: Box::new(seen), log: Some(error.to_string()) }
    }
}

/// 429: all that the tenant may store is stored.
fn storage_full() -> ApiError {
    let message = "The storage is full (storage_bytes_max) and nothing of this request was stored. Delete conversations \
                   or responses that are no longer needed, or have the limit raised.";
    ApiError {
        status: 429,
        kind: INSUFFICIENT_QUOTA,
        message: message.to_owned(),
        param: None,
        code: Some("storage_limit_exceeded"),
        retry_after_s: Some(STORAGE_RETRY_AFTER_S),
        allow: None,
    }
}

impl From<PageError> for Problem {
    fn from(error: PageError) -> Self {
        match error {
            PageError::UnknownCursor => list::unknown_cursor().into(),
            PageError::Store(error) => error.into(),
        }
    }
}

impl From<&ModelFailure> for Problem {
    fn from(failure: &ModelFailure) -> Self {
        Self { error: Box::new(failure.to_api_error()), log: Some(failure.to_string()) }
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Caller(error) => error.into(),
            RequestError::Stored(_) => internal(error.to_string()),
        }
    }
}

impl From<serde_json::Error> for Problem {
    fn from(error: serde_json::Error) -> Self {
        internal(error.to_string())
    }
}

/// 500, with the reason in the log only.
pub(crate) fn internal(log: String) -> Problem {
    Problem {
        error: Box::new(ApiError::server(500, "internal_error", "The server failed to serve this request.")),
        log: Some(log),
    }
}
