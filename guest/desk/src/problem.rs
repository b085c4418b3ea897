//! Why a request is not served: what the caller reads, and what the log holds.

use waggle_conversation::StoreError;
use waggle_openai::ApiError;
use waggle_platform::{Platform, Reply};

/// A request that is not served.
#[derive(Debug)]
pub(crate) struct Problem {
    /// For the caller.
    pub(crate) error: Box<ApiError>,
    /// For the operator, when there is something to look at.
    pub(crate) log: Option<String>,
}

impl Problem {
    /// 503: it was not done now, and is worth trying again; with the reason in the log only.
    pub(crate) fn undone(log: String) -> Self {
        let message = "It could not be done now. Try again later.";
        Self { error: Box::new(ApiError::server(503, "channel_unavailable", message)), log: Some(log) }
    }

    /// Logs what the operator should know of it and makes the reply for the caller.
    pub(crate) fn report<P: Platform>(&self, platform: &P) -> Reply {
        if let Some(line) = &self.log {
            platform.log(&format!("status={} {line}", self.error.status));
        }
        Reply::from(&*self.error)
    }
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        Self { error: Box::new(error), log: None }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let seen = ApiError::server(500, "storage_error", "The store of channels failed. Try again.");
        Self { error: Box::new(seen), log: Some(error.to_string()) }
    }
}
