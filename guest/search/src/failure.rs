//! Why a search gives nothing: what the caller reads, and (as `Display`) what the log holds.

use crate::settings::SettingsError;
use waggle_conversation::StoreError;
use waggle_index::IndexError;
use waggle_model::ModelFailure;
use waggle_openai::ApiError;

/// Seconds after which an index that is not available may be.
const INDEX_RETRY_AFTER_S: u32 = 1;
/// Seconds after which there may be room in a store that was full.
const STORAGE_RETRY_AFTER_S: u32 = 60;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SearchFailure {
    /// The request is wrong.
    #[error(transparent)]
    Request(#[from] ApiError),
    /// A variable is wrong or missing.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The key-value store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The index failed.
    #[error("the index: {0}")]
    Index(#[from] IndexError),
    /// The embedding model failed.
    #[error("the embedding model: {0}")]
    Embedding(#[from] ModelFailure),
    /// Texts were to be embedded, and no model is configured for that.
    #[error("the variable 'embedding_model' is empty: there is no model to embed with")]
    NoEmbeddingModel,
}

impl SearchFailure {
    /// What the caller reads; nothing of the inside, for which there is the log.
    pub fn to_api_error(&self) -> ApiError {
        match self {
            Self::Request(error) => error.clone(),
            Self::Settings(_) | Self::NoEmbeddingModel => internal(),
            Self::Store(StoreError::Full { .. }) | Self::Index(IndexError::Full(_)) => storage_full(),
            Self::Store(_) => ApiError::server(500, "storage_error", "The store failed. Try again."),
            Self::Index(error) => of_index(error),
            Self::Embedding(failure) => failure.to_api_error(),
        }
    }

    /// What the operator is to read; nothing when the request alone is at fault.
    pub fn log(&self) -> Option<String> {
        (!matches!(self, Self::Request(_))).then(|| self.to_string())
    }
}

fn internal() -> ApiError {
    ApiError::server(500, "internal_error", "The server failed to serve this request.")
}

/// 429: all that the tenant may store is stored.
fn storage_full() -> ApiError {
    let message = "The storage is full and nothing of this request was stored. Delete files that are no longer needed, or \
                   have the limit raised.";
    ApiError {
        kind: "insufficient_quota",
        code: Some("storage_limit_exceeded"),
        ..ApiError::rate_limited(Some(STORAGE_RETRY_AFTER_S), message)
    }
}

fn of_index(error: &IndexError) -> ApiError {
    match error {
        IndexError::NoSuchIndex | IndexError::NoSuchGroup => ApiError::rejected(
            404,
            Some("vector_store_not_found"),
            "A vector store of this search is not there.",
        ),
        IndexError::Unavailable(_) => ApiError {
            retry_after_s: Some(INDEX_RETRY_AFTER_S),
            ..ApiError::server(503, "index_unavailable", "The search index is busy. Try again in a moment.")
        },
        IndexError::Damaged(_) => {
            let message =
                "The search index is damaged. Its vector store has to be made again from its files.";
            ApiError::server(500, "index_damaged", message)
        }
        IndexError::Full(_) => storage_full(),
        IndexError::Invalid(_) | IndexError::Other(_) => internal(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waggle_model::transport::TransportFailure;

    fn check(failure: &SearchFailure, status: u16, code: Option<&str>, is_logged: bool) {
        let error = failure.to_api_error();
        assert_eq!((error.status, error.code), (status, code), "{failure}");
        assert_eq!(failure.log().is_some(), is_logged, "{failure}");
        assert!(!String::from_utf8(error.to_json()).unwrap().contains("secret"), "{failure}");
    }

    #[test]
    fn every_failure_has_its_status_and_shows_nothing_of_the_inside() {
        let secret = || "secret".to_owned();
        check(&ApiError::missing("query").into(), 400, Some("missing_required_parameter"), false);
        let settings = SettingsError::Unreadable { variable: "search_mode", reason: secret() };
        check(&settings.into(), 500, Some("internal_error"), true);
        check(&StoreError::of("get", secret()).into(), 500, Some("storage_error"), true);
        let full = format!("quota-exceeded: {}", secret());
        check(&StoreError::of("set", full).into(), 429, Some("storage_limit_exceeded"), true);
        check(&IndexError::Full(secret()).into(), 429, Some("storage_limit_exceeded"), true);
        check(&IndexError::NoSuchIndex.into(), 404, Some("vector_store_not_found"), true);
        check(&IndexError::Unavailable(secret()).into(), 503, Some("index_unavailable"), true);
        check(&IndexError::Damaged(secret()).into(), 500, Some("index_damaged"), true);
        check(&IndexError::Invalid(secret()).into(), 500, Some("internal_error"), true);
        let failure = ModelFailure::from(TransportFailure::TimedOut(secret()));
        check(&failure.into(), 504, Some("model_endpoint_timeout"), true);
        check(&SearchFailure::NoEmbeddingModel, 500, Some("internal_error"), true);
    }
}
