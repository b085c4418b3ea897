//! The function's component variables.

use crate::models::Models;
use crate::platform::Platform;
use crate::problem::{Problem, internal};
use std::cell::RefCell;
use std::rc::Rc;
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

thread_local! {
    /// The settings as they were read last, with the version of the variables: an instance serves many requests.
    static READ: RefCell<Option<(u64, Rc<Settings>)>> = const { RefCell::new(None) };
}

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

    /// The settings, which are read anew only where the variables may have changed.
    pub(crate) async fn read<P: Platform>(platform: &P) -> Result<Rc<Self>, Problem> {
        let version = platform.variables_version();
        let is_now = |(read, _): &&(u64, Rc<Self>)| version == Some(*read);
        if let Some((_, known)) = READ.with_borrow(|read| read.as_ref().filter(is_now).cloned()) {
            return Ok(known);
        }
        let read = Rc::new(Self::read_anew(platform).await?);
        if let Some(version) = version {
            READ.set(Some((version, Rc::clone(&read))));
        }
        Ok(read)
    }

    async fn read_anew<P: Platform>(platform: &P) -> Result<Self, Problem> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::{QueueFailure, TokenCount};
    use futures::executor::block_on;
    use std::cell::Cell;
    use std::future::pending;

    /// Variables that are all the same text, and what is said of when they change.
    #[derive(Clone, Default)]
    struct Variables {
        text: Rc<Cell<&'static str>>,
        version: Rc<Cell<Option<u64>>>,
        reads: Rc<Cell<usize>>,
    }

    impl Platform for Variables {
        fn now_ms(&self) -> u64 {
            0
        }

        fn sleep(&self, _ms: u64) -> impl Future<Output = ()> + 'static {
            pending()
        }

        fn random(&self) -> u128 {
            0
        }

        async fn variable(&self, _name: &str) -> Result<Option<String>, String> {
            self.reads.set(self.reads.get() + 1);
            let text = self.text.get();
            if text == "unreadable" { Err(text.to_owned()) } else { Ok(Some(text.to_owned())) }
        }

        fn variables_version(&self) -> Option<u64> {
            self.version.get()
        }

        fn log(&self, _line: &str) {}

        fn count_tokens(&self, _model: &str, _texts: &[&str]) -> Vec<TokenCount> {
            Vec::new()
        }

        async fn enqueue(&self, _path: &str) -> Result<(), QueueFailure> {
            Err(QueueFailure::Absent)
        }
    }

    impl Variables {
        /// The model of the settings, where they can be read, and whether any variable was.
        fn check(&self, text: &'static str, version: Option<u64>, expected: (Option<&str>, bool)) {
            self.text.set(text);
            self.version.set(version);
            let before = self.reads.get();
            let model = block_on(Settings::read(self)).ok().map(|settings| settings.model.clone());
            assert_eq!((model.as_deref(), self.reads.get() > before), expected, "{text} {version:?}");
        }
    }

    #[test]
    fn settings_are_kept_until_the_variables_may_have_changed() {
        let variables = Variables::default();
        variables.check("1", None, (Some("1"), true));
        variables.check("2", None, (Some("2"), true));
        variables.check("3", Some(7), (Some("3"), true));
        variables.check("4", Some(7), (Some("3"), false));
        variables.check("4", Some(8), (Some("4"), true));
        variables.check("unreadable", Some(9), (None, true));
        variables.check("5", Some(9), (Some("5"), true));
        variables.check("6", None, (Some("6"), true));
    }
}
