//! Why a request is not served: what the caller reads, and what the log holds.

use waggle_conversation::StoreError;
use waggle_index::IndexError;
use waggle_openai::ApiError;
use waggle_platform::{INSUFFICIENT_QUOTA, QueueFailure};

/// Seconds after which there may be room in a store that was full: what has expired is gone by then.
const STORAGE_RETRY_AFTER_S: u32 = 60;

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
            StoreError::Full { .. } => storage_full(),
            StoreError::Contended(_) => {
                ApiError::server(503, "storage_busy", "Too many change the same at once. Try again.")
            }
            _ => ApiError::server(500, "storage_error", "The store of files failed. Try again."),
        };
        Self { error: Box::new(seen), log: Some(error.to_string()) }
    }
}

impl From<IndexError> for Problem {
    fn from(error: IndexError) -> Self {
        let seen = match error {
            IndexError::Full(_) => storage_full(),
            IndexError::Unavailable(_) => ApiError::server(
                503,
                "index_unavailable",
                "The index does not answer at the moment. Try again.",
            ),
            _ => ApiError::server(500, "index_error", "The index failed to serve this request."),
        };
        Self { error: Box::new(seen), log: Some(format!("the index: {error}")) }
    }
}

impl From<serde_json::Error> for Problem {
    fn from(error: serde_json::Error) -> Self {
        internal(error.to_string())
    }
}

/// 429: all that the tenant may store is stored.
fn storage_full() -> ApiError {
    let message = "The storage is full (storage_bytes_max) and nothing of this request was stored. Delete files that are \
                   no longer needed, or have the limit raised.";
    limit("storage_limit_exceeded", message.to_owned())
}

/// 429: a bound of files, vector stores or bytes is reached; repeating does not mend it, deleting does.
pub(crate) fn limit(code: &'static str, message: String) -> ApiError {
    ApiError {
        status: 429,
        kind: INSUFFICIENT_QUOTA,
        message,
        param: None,
        code: Some(code),
        retry_after_s: Some(STORAGE_RETRY_AFTER_S),
        allow: None,
    }
}

/// The host's queue has not taken work.
pub(crate) fn not_queued(failure: &QueueFailure) -> Problem {
    let message = "Files are not taken in at the moment. Try again later.";
    let unavailable = |retry_after_s, reason: &str| Problem {
        error: Box::new(ApiError {
            retry_after_s,
            ..ApiError::server(503, "ingestion_unavailable", message)
        }),
        log: Some(format!("the host's work queue: {reason}")),
    };
    match failure {
        QueueFailure::Full(retry_after_s) => {
            let message = "As much work of yours is waiting as may. Try again later.";
            let limited = ApiError::rate_limited(Some(*retry_after_s), message);
            ApiError { code: Some("ingestion_queue_full"), ..limited }.into()
        }
        QueueFailure::Busy(retry_after_s) => unavailable(Some(*retry_after_s), "it is busy"),
        QueueFailure::Absent => unavailable(None, "there is none"),
        QueueFailure::Failed(reason) => unavailable(None, reason),
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
