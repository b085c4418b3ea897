//! The function's component variables.

use crate::models::Models;
use crate::platform::Platform;
use crate::problem::{Problem, internal};
use waggle_conversation::window::WindowLimits;
use waggle_model::Wire;
use waggle_model::transport::UpstreamRequest;
use waggle_openai::ApiError;

/// The variable that names the model of requests that name none.
pub(crate) const MODEL_VARIABLE: &str = "model";
const MODEL_PATH_DEFAULT: &str = "/v1";
const WINDOW_ITEMS_MAX_DEFAULT: usize = 40;
const WINDOW_TOKENS_MAX_DEFAULT: u64 = 8000;
const MODEL_TIMEOUT_MS_DEFAULT: u64 = 60_000;
const RENEWAL_S_DEFAULT: u64 = 60;

/// Where the model is and how to call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `model_origin` and `model_path`, without a slash at the end.
    base: String,
    /// `model_api_key`; empty when the host adds the key.
    api_key: String,
    /// `model_timeout_ms`.
    timeout_ms: u64,
}

/// What a turn needs to know besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where the model is.
    pub endpoint: Endpoint,
    /// `model`: the one to use when the request names none; may be empty.
    pub model: String,
    /// `models`: those a request may name, and the one above has to be among.
    pub models: Models,
    /// `responses_models`: those that are asked by Responses; all others are by Chat Completions.
    pub responses_models: Models,
    /// `instructions`: the system prompt when the request has none; may be empty.
    pub instructions: String,
    /// `window_items_max` and `window_tokens_max`.
    pub window: WindowLimits,
    /// `conversation_renewal_s`: how old a conversation's record may become before a turn writes it anew.
    pub renewal_s: u64,
}

/// The variable `name`; `None` when it is not defined.
pub(crate) async fn variable<P: Platform>(platform: &P, name: &str) -> Result<Option<String>, Problem> {
    let unreadable = |reason| internal(format!("the variable '{name}' cannot be read: {reason}"));
    platform.variable(name).await.map_err(unreadable)
}

pub(crate) async fn text<P: Platform>(platform: &P, name: &str, default: &str) -> Result<String, Problem> {
    let value = variable(platform, name).await?.filter(|value| !value.is_empty());
    Ok(value.unwrap_or_else(|| default.to_owned()))
}

pub(crate) async fn number<P: Platform, N: std::str::FromStr>(
    platform: &P,
    name: &str,
    default: N,
) -> Result<N, Problem> {
    let value = text(platform, name, "").await?;
    if value.is_empty() {
        return Ok(default);
    }
    let wrong = |_| internal(format!("the variable '{name}' must be a whole number, not '{value}'"));
    value.trim().parse().map_err(wrong)
}

impl Endpoint {
    pub(crate) async fn read<P: Platform>(platform: &P) -> Result<Self, Problem> {
        let origin = text(platform, "model_origin", "").await?;
        if origin.is_empty() {
            return Err(internal(
                "the variable 'model_origin' is not set: give the model's origin, as in 'http://127.0.0.1:11434'"
                    .to_owned(),
            ));
        }
        let path = text(platform, "model_path", MODEL_PATH_DEFAULT).await?;
        let path = path.trim_matches('/');
        let slash = if path.is_empty() { "" } else { "/" };
        Ok(Self {
            base: format!("{}{slash}{path}", origin.trim_end_matches('/')),
            api_key: text(platform, "model_api_key", "").await?,
            timeout_ms: number(platform, "model_timeout_ms", MODEL_TIMEOUT_MS_DEFAULT).await?,
        })
    }

    /// A request to the endpoint; `path` begins with a slash.
    pub(crate) fn request(&self, path: &str, body: Option<Vec<u8>>, events: bool) -> UpstreamRequest {
        UpstreamRequest {
            url: format!("{}{path}", self.base),
            wire: Wire::Chat,
            api_key: self.api_key.clone(),
            body,
            events,
            timeout_ms: self.timeout_ms,
            choice: None,
            idempotency_key: String::new(),
        }
    }
}

impl Settings {
    /// By which API `model` is asked.
    pub(crate) fn wire(&self, model: &str) -> Wire {
        if self.responses_models.allow(model) { Wire::Responses } else { Wire::Chat }
    }

    /// A request to `model`, with the body that its API wants.
    pub(crate) fn ask(&self, model: &str, body: Vec<u8>, events: bool) -> UpstreamRequest {
        let wire = self.wire(model);
        UpstreamRequest { wire, ..self.endpoint.request(wire.path(), Some(body), events) }
    }

    /// The model to use for a request that names `named`, or none; it may be `auto`.
    ///
    /// # Errors
    /// 404: it may not be used; 400: none is named, and there is none to use then.
    pub(crate) fn model<'a>(&'a self, named: Option<&'a str>) -> Result<&'a str, ApiError> {
        let model = named.unwrap_or(&self.model);
        if named.is_none() && model.is_empty() {
            return Err(ApiError::missing("model"));
        }
        self.models.check(model)?;
        Ok(model)
    }

    pub(crate) async fn read<P: Platform>(platform: &P) -> Result<Self, Problem> {
        Ok(Self {
            endpoint: Endpoint::read(platform).await?,
            model: text(platform, MODEL_VARIABLE, "").await?,
            models: Models::read(platform).await?,
            responses_models: Models::new(text(platform, "responses_models", "").await?),
            instructions: text(platform, "instructions", "").await?,
            window: WindowLimits {
                items_max: number(platform, "window_items_max", WINDOW_ITEMS_MAX_DEFAULT).await?,
                tokens_max: number(platform, "window_tokens_max", WINDOW_TOKENS_MAX_DEFAULT).await?,
            },
            renewal_s: number(platform, "conversation_renewal_s", RENEWAL_S_DEFAULT).await?,
        })
    }
}
