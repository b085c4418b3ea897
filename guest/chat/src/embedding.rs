//! `POST /v1/embeddings`: checked, passed on, and passed back; nothing is stored.

use crate::ask::call;
use crate::catalog::whole_object;
use crate::completion::other_models;
use crate::platform::Platform;
use crate::problem::Problem;
use crate::reply::Reply;
use crate::service::Service;
use crate::settings::{Settings, text};
use waggle_conversation::Store;
use waggle_model::splice::{Patch, with_model};
use waggle_model::transport::Upstream;
use waggle_openai::ApiError;
use waggle_openai::embedding::EmbeddingRequest;

/// The variable with the model of a request that names none; empty: each has to name one.
const MODEL_VARIABLE: &str = "embedding_model";

impl<S: Store, U: Upstream, P: Platform> Service<S, U, P> {
    pub(crate) async fn create_embedding(&self, body: &[u8]) -> Result<Reply, Problem> {
        let embedding = EmbeddingRequest::read(body)?;
        let settings = Settings::read(&self.platform).await?;
        let default = text(&self.platform, MODEL_VARIABLE, "").await?;
        let model = embedding.model.as_deref().unwrap_or(&default);
        if model.is_empty() {
            return Err(ApiError::missing("model").into());
        }
        settings.models.check(model)?;
        if let Some(field) = embedding.other_models.as_deref().filter(|_| !settings.models.is_any()) {
            return Err(other_models(field).into());
        }
        let body = match embedding.model {
            Some(_) => body.to_vec(),
            None => with_model(body.to_vec(), model),
        };
        let request = settings.endpoint.request("/embeddings", Some(body), false);
        let mut response = call(&self.upstream, request).await.map_err(|failure| Problem::from(&failure))?;
        let patch = Patch { model: response.model.take(), member: None };
        let answer = whole_object(response).await.map_err(|failure| Problem::from(&failure))?;
        Ok(Reply::json(patch.apply(answer)))
    }
}
