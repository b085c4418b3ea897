//! `GET /v1/models` and `GET /v1/models/{name}`: what the endpoint says of the models that may be named, and `auto`.

use crate::ask::{ANSWER_BYTES_MAX, call};
use crate::models::{Models, ids};
use crate::platform::Platform;
use crate::problem::Problem;
use crate::reply::Reply;
use crate::route::decoded;
use crate::service::Service;
use crate::settings::Endpoint;
use crate::tiers::Tiers;
use serde_json::value::RawValue;
use waggle_conversation::Store;
use waggle_model::ModelFailure;
use waggle_model::failure::excerpt;
use waggle_model::tier::AUTO;
use waggle_model::transport::{ChunkSource, Upstream, UpstreamResponse, read_whole};

/// What is said of the model `auto`.
const AUTO_JSON: &str = r#"{"id":"auto","object":"model","created":0,"owned_by":"waggle"}"#;

impl<S: Store, U: Upstream, P: Platform> Service<S, U, P> {
    pub(crate) async fn list_models(&self) -> Result<Reply, Problem> {
        let models = Models::read(&self.platform).await?;
        let list = self.pass_on("/models").await?;
        let auto = self.has_auto(&models, Some(&list)).await;
        if models.is_any() && !auto {
            return Ok(Reply::json(list));
        }
        let no_list = |error| ModelFailure::NotACompletion(format!("no list of models: {error}"));
        let more = if auto { Some(serde_json::from_str::<&RawValue>(AUTO_JSON)?) } else { None };
        let kept = models.keep(&list, more).map_err(|error| Problem::from(&no_list(error)))?;
        Ok(Reply::json(kept))
    }

    /// `name` is as it was written in the path.
    pub(crate) async fn get_model(&self, name: &str) -> Result<Reply, Problem> {
        let models = Models::read(&self.platform).await?;
        models.check(&decoded(name))?;
        if decoded(name) == AUTO {
            let list = self.pass_on("/models").await.ok();
            if self.has_auto(&models, list.as_deref()).await {
                return Ok(Reply::json(AUTO_JSON.as_bytes().to_vec()));
            }
        }
        self.pass_on(&format!("/models/{name}")).await.map(Reply::json)
    }

    /// Whether `auto` is one of our models: it may be named, the endpoint has none of that name, and it has all that
    /// could be chosen, or the tenant says so by a table.
    async fn has_auto(&self, models: &Models, list: Option<&[u8]>) -> bool {
        if !models.allow(AUTO) {
            return false;
        }
        let tiers = match Tiers::read(&self.platform, models).await {
            Ok(tiers) => tiers,
            Err(problem) => {
                // Whoever asks for `auto` gets the error; the list is whole without it.
                self.platform.log(&problem.log.unwrap_or_default());
                return false;
            }
        };
        let known = list.and_then(|list| ids(list).ok()).unwrap_or_default();
        let is_known = |model: &str| known.iter().any(|known| known == model);
        let mut usable = tiers.usable().peekable();
        usable.peek().is_some() && !is_known(AUTO) && (tiers.configured || usable.all(is_known))
    }

    /// Passes a GET on.
    async fn pass_on(&self, path: &str) -> Result<Vec<u8>, Problem> {
        let endpoint = Endpoint::read(&self.platform).await?;
        let answered = call(&self.upstream, endpoint.request(path, None, false)).await;
        let response = answered.map_err(|failure| Problem::from(&failure))?;
        whole_object(response).await.map_err(|failure| Problem::from(&failure))
    }
}

/// An answer that must be one JSON object.
pub(crate) async fn whole_object<B: ChunkSource>(
    mut response: UpstreamResponse<B>,
) -> Result<Vec<u8>, ModelFailure> {
    let body = read_whole(&mut response.body, ANSWER_BYTES_MAX).await?;
    let looks_like_json =
        body.trim_ascii_start().first() == Some(&b'{') && body.trim_ascii_end().last() == Some(&b'}');
    if looks_like_json {
        Ok(body)
    } else {
        Err(ModelFailure::NotACompletion(format!("'{}'", excerpt(&body))))
    }
}
