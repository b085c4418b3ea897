//! Why nothing is recognised: what the caller reads, and (as `Display`) what the log holds.

use crate::catalogue::IntentsError;
use waggle_conversation::StoreError;
use waggle_openai::ApiError;
use waggle_search::{SearchFailure, SettingsError};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum IntentFailure {
    /// The request is wrong.
    #[error(transparent)]
    Request(#[from] ApiError),
    /// A variable is wrong or missing.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The list of intents is wrong.
    #[error(transparent)]
    Intents(#[from] IntentsError),
    /// The embedding model, or the store of its vectors, failed.
    #[error(transparent)]
    Search(#[from] SearchFailure),
    /// The key-value store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The small model failed.
    #[error("the model that recognises intents: {0}")]
    Model(String),
    /// `intent_mode` asks for a model that is not there.
    #[error("the variable 'intent_mode' asks for a model, and none is configured for that")]
    NoModel,
}

impl IntentFailure {
    /// What the caller reads; nothing of the inside, for which there is the log.
    pub fn to_api_error(&self) -> ApiError {
        match self {
            Self::Request(error) => error.clone(),
            Self::Search(failure) => failure.to_api_error(),
            Self::Settings(_) | Self::Intents(_) | Self::NoModel => {
                ApiError::server(500, "internal_error", "The server failed to serve this request.")
            }
            Self::Store(_) => ApiError::server(500, "storage_error", "The store failed. Try again."),
            Self::Model(_) => ApiError::server(
                502,
                "model_endpoint_error",
                "The model that recognises intents failed. Try again.",
            ),
        }
    }

    /// What the operator is to read; nothing when the request alone is at fault.
    pub fn log(&self) -> Option<String> {
        (!matches!(self, Self::Request(_))).then(|| self.to_string())
    }
}
