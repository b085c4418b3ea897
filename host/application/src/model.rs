//! Which models the application talks to: those of the configured upstreams, the one the operator names, else a built-in
//! demo model.
//!
//! The application says that it uses a model by declaring the variables `model_origin` and `model_path`. Whichever it is,
//! the host makes an upstream of it, and gives the variables the address by which functions name models. It keeps the
//! keys: they are put on at egress, for that origin and path only, and no function ever sees one.

use crate::error::StartError;
use crate::models::API_KEY_VARIABLE;
use http::Uri;
use std::collections::BTreeMap;
use waggle_egress::upstream::{
    Apis, BaseUrl, CredentialConfig, CredentialSource, ModelConfig, UpstreamConfig, UpstreamName,
    UpstreamsConfig, policy::Policy,
};
use waggle_egress::{Credential, Secret};
use waggle_manifest::Manifest;

/// The variable that holds scheme, host and port of the endpoint.
pub(crate) const ORIGIN_VARIABLE: &str = "model_origin";
/// The variable that holds the path before `/chat/completions`.
pub(crate) const PATH_VARIABLE: &str = "model_path";
/// The variable that says who answers from what was found in a tenant's knowledge.
pub(crate) const ANSWERS_VARIABLE: &str = "answers";
/// Its value where no model is: the demo model repeats what it hears, and knows nothing of what was found.
pub(crate) const ANSWERS_WITHOUT_MODEL: &str = "extractive";
/// The endpoint that an API key alone means.
const OPENAI_ENDPOINT: &str = "https://api.openai.com/v1";

/// What the command line and the environment say about the model.
#[derive(Clone, Debug, Default)]
pub struct ModelOptions {
    /// `--model-endpoint`, or `OPENAI_BASE_URL`.
    pub endpoint: Option<String>,
    /// `OPENAI_API_KEY`.
    pub api_key: Option<Secret>,
}

/// The model that was chosen.
#[derive(Clone, Debug)]
pub enum ModelChoice {
    /// The application declares no model.
    None,
    /// spin.toml or `--variable` say where it is; the host has no part in it.
    Application,
    /// The demo model inside this process; it has no intelligence.
    Demo,
    /// The upstreams of the runtime configuration, by their names.
    Upstreams(Vec<String>),
    /// The operator's endpoint.
    Endpoint {
        /// Scheme, host and port.
        origin: String,
        /// The path before `/chat/completions`.
        path: String,
        /// The key to put on, if one was given.
        credential: Option<Credential>,
    },
}

impl ModelChoice {
    /// Chooses by what is given. `overridden` says whether `model_origin` is set by flag or environment, `configured` are the
    /// upstreams of the runtime configuration.
    ///
    /// # Errors
    /// When the endpoint is no URL that can be called, the key cannot be sent in a header field, or there are both an
    /// endpoint and upstreams.
    pub(crate) fn make(
        manifest: &Manifest,
        options: &ModelOptions,
        overridden: bool,
        configured: &UpstreamsConfig,
    ) -> Result<Self, StartError> {
        if !declares(manifest, ORIGIN_VARIABLE) {
            return Ok(Self::None);
        }
        if !configured.is_empty() && !overridden {
            if let Some(endpoint) = &options.endpoint {
                return Err(StartError::Option {
                    what: format!("model endpoint `{endpoint}`"),
                    reason: "the runtime configuration has upstreams; make it one of them, or take it away \
                             (--model-endpoint, OPENAI_BASE_URL)"
                        .into(),
                });
            }
            return Ok(Self::Upstreams(configured.upstreams().keys().map(ToString::to_string).collect()));
        }
        let endpoint = match (&options.endpoint, &options.api_key) {
            (Some(endpoint), _) => endpoint.as_str(),
            (None, _) if overridden => return Ok(Self::Application),
            (None, Some(_)) => OPENAI_ENDPOINT,
            (None, None) => return Ok(Self::Demo),
        };
        let (origin, path) = split(endpoint)?;
        let credential = options.api_key.as_ref().map(|key| credential(&origin, &path, key)).transpose()?;
        Ok(Self::Endpoint { origin, path, credential })
    }
}

impl ModelChoice {
    /// The upstreams that calls to models go to. `demo_origin` is where the demo model listens.
    ///
    /// # Errors
    /// When the endpoint is no base URL.
    pub(crate) fn upstreams(
        &self,
        configured: &UpstreamsConfig,
        demo_origin: &str,
        policy: &Policy,
    ) -> Result<UpstreamsConfig, StartError> {
        match self {
            Self::None | Self::Application | Self::Upstreams(_) => Ok(configured.clone()),
            Self::Demo => one_upstream(&format!("{demo_origin}/v1"), None, policy),
            Self::Endpoint { origin, path, credential } => {
                let key = || CredentialConfig::bearer(CredentialSource::Environment(API_KEY_VARIABLE.into()));
                one_upstream(&format!("{origin}{path}"), credential.is_some().then(key), policy)
            }
        }
    }
}

/// One upstream, `default`, that has every model.
fn one_upstream(
    url: &str,
    credential: Option<CredentialConfig>,
    policy: &Policy,
) -> Result<UpstreamsConfig, StartError> {
    let refuse = |reason: String| StartError::Option { what: format!("model endpoint `{url}`"), reason };
    let base = BaseUrl::parse(url).map_err(|error| refuse(error.to_string()))?;
    let name = UpstreamName::parse("default").map_err(|error| refuse(error.to_string()))?;
    let upstream =
        UpstreamConfig { apis: Apis::ALL, credential, policy: policy.clone(), ..UpstreamConfig::at(base) };
    let upstreams = BTreeMap::from([(name.to_string(), upstream)]);
    let models = BTreeMap::from([("*".to_owned(), ModelConfig::at(name))]);
    UpstreamsConfig::new(upstreams, models).map_err(|mistakes| {
        let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        refuse(mistakes.join("; "))
    })
}

/// Whether spin.toml declares the application variable `name`.
pub(crate) fn declares(manifest: &Manifest, name: &str) -> bool {
    manifest.variables.iter().any(|variable| variable.name.value == name)
}

/// Takes an endpoint apart into origin and path.
fn split(endpoint: &str) -> Result<(String, String), StartError> {
    let refuse = |reason: &str| StartError::Option {
        what: format!("model endpoint `{endpoint}`"),
        reason: format!("{reason}; expected a URL such as https://api.openai.com/v1"),
    };
    let uri: Uri = endpoint.parse().map_err(|_invalid| refuse("it is not a URL"))?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"));
    let scheme = scheme.ok_or_else(|| refuse("its scheme is neither http nor https"))?;
    let authority = uri.authority().ok_or_else(|| refuse("it has no host"))?;
    if authority.as_str().contains('@') {
        return Err(refuse("it holds a user name; give the key in OPENAI_API_KEY"));
    }
    if uri.query().is_some() {
        return Err(refuse("it has a query"));
    }
    Ok((format!("{scheme}://{authority}"), uri.path().trim_end_matches('/').to_owned()))
}

fn credential(origin: &str, path: &str, key: &Secret) -> Result<Credential, StartError> {
    let prefix = if path.is_empty() { "/" } else { path };
    let value = Secret::new(format!("Bearer {}", key.expose()));
    Credential::new(origin, prefix, "authorization", &value)
        .map_err(|error| StartError::Option { what: "OPENAI_API_KEY".into(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_taken_apart() {
        let check = |endpoint: &str, origin: &str, path: &str| {
            assert_eq!(split(endpoint).unwrap(), (origin.to_owned(), path.to_owned()));
        };
        check("https://api.openai.com/v1", "https://api.openai.com", "/v1");
        check("http://127.0.0.1:11434/v1/", "http://127.0.0.1:11434", "/v1");
        check("http://vllm.local", "http://vllm.local", "");
    }

    #[test]
    fn what_is_no_endpoint_is_refused_with_the_reason() {
        let check = |endpoint: &str, expected: &str| {
            let error = split(endpoint).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("api.openai.com/v1", "it is not a URL");
        check("ftp://host/v1", "neither http nor https");
        check("https://user:key@host/v1", "OPENAI_API_KEY");
        check("https://host/v1?x=1", "query");
    }
}
