//! Errors as OpenAI's clients read them.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    #[error("Conversation with id '{0}' not found.")]
    UnknownConversation(String),
    #[error("the store failed: {0}")]
    Store(#[from] redis::RedisError),
    #[error("a stored item does not parse: {0}")]
    Stored(#[from] serde_json::Error),
    #[error("the model failed: {0}")]
    Model(String),
}

impl IntoResponse for PeerError {
    fn into_response(self) -> Response {
        let (status, kind) = match &self {
            Self::UnknownConversation(_) => (StatusCode::NOT_FOUND, "invalid_request_error"),
            Self::Store(_) | Self::Stored(_) => (StatusCode::INTERNAL_SERVER_ERROR, "server_error"),
            Self::Model(_) => (StatusCode::BAD_GATEWAY, "server_error"),
        };
        let error = json!({"message": self.to_string(), "type": kind, "param": null, "code": null});
        (status, Json(json!({ "error": error }))).into_response()
    }
}
