//! `[upstream.NAME]` and `[model.NAME]` of the runtime configuration, read and held against each other.
//!
//! A mistake within one table is found where it is read, with its line. What only shows when all tables are there (a model
//! of an upstream that does not exist, models that fail over to each other in a circle) is a [`ConfigMistake`], which names
//! the key.

mod api;
mod base_url;
mod check;
mod credential;
mod model;
mod names;
mod price;
mod secrets;
mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize;

pub use self::api::{Api, Apis};
pub use self::base_url::{BaseUrl, BaseUrlError, Endpoint, URL_BYTES_MAX};
pub use self::check::{
    ENDPOINTS_MAX, FAILOVER_MAX, MODELS_MAX, TENANTS_PER_UPSTREAM_MAX, UPSTREAMS_MAX, UPSTREAMS_PER_MODEL_MAX,
};
pub use self::credential::{CredentialConfig, CredentialSource};
pub use self::model::ModelConfig;
pub(crate) use self::names::shorten;
pub use self::names::{
    MODEL_NAME_BYTES_MAX, ModelName, ModelPattern, NameError, UPSTREAM_NAME_BYTES_MAX, UpstreamName,
};
pub use self::price::{Price, PriceError, Prices};
pub use self::secrets::UpstreamCredentials;
pub use self::table::UpstreamConfig;

/// Which upstreams there are and which models they have. What is in here has been checked: every name leads somewhere, and
/// nothing goes in circles. The default has neither.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(try_from = "Tables")]
pub struct UpstreamsConfig {
    upstreams: BTreeMap<UpstreamName, UpstreamConfig>,
    models: BTreeMap<ModelPattern, ModelConfig>,
}

/// Both kinds of tables by their names, not yet held against each other.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tables {
    #[serde(default)]
    upstream: BTreeMap<String, UpstreamConfig>,
    #[serde(default)]
    model: BTreeMap<String, ModelConfig>,
}

impl UpstreamsConfig {
    /// Holds the tables `[upstream.NAME]` and `[model.NAME]`, by NAME, against each other. All of them must have been read:
    /// a table that is left out because of a mistake in it is missed by those that name it.
    ///
    /// # Errors
    /// Every mistake.
    pub fn new(
        upstreams: BTreeMap<String, UpstreamConfig>,
        models: BTreeMap<String, ModelConfig>,
    ) -> Result<Self, Vec<ConfigMistake>> {
        check::checked(upstreams, models).map(|(upstreams, models)| Self { upstreams, models })
    }

    /// The upstreams. The position of one here is the index by which [`super::Candidate`] and [`UpstreamCredentials`] name
    /// it.
    #[must_use]
    pub fn upstreams(&self) -> &BTreeMap<UpstreamName, UpstreamConfig> {
        &self.upstreams
    }

    /// The models.
    #[must_use]
    pub fn models(&self) -> &BTreeMap<ModelPattern, ModelConfig> {
        &self.models
    }

    /// Whether there is nothing, as without any table.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.upstreams.is_empty()
    }

    /// Makes the names of all files (`roots_file`, `credential.file`) relative to `folder`, unless they are absolute.
    pub fn resolve_files(&mut self, folder: &Path) {
        for upstream in self.upstreams.values_mut() {
            upstream.resolve_files(folder);
        }
    }
}

impl TryFrom<Tables> for UpstreamsConfig {
    type Error = Mistakes;

    fn try_from(tables: Tables) -> Result<Self, Mistakes> {
        Self::new(tables.upstream, tables.model).map_err(Mistakes)
    }
}

/// What is wrong with the tables, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigMistake {
    /// The key: `upstream` or `model`, its name, and keys within it.
    pub path: Vec<String>,
    /// What is wrong with it, and what to do.
    pub message: String,
}

impl ConfigMistake {
    pub(super) fn new(path: &[&str], message: impl fmt::Display) -> Self {
        let path = path.iter().map(|part| (*part).to_owned()).collect();
        Self { path, message: message.to_string() }
    }
}

impl fmt::Display for ConfigMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.path.iter().enumerate() {
            let joint = if index == 0 { "" } else { "." };
            let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
            if !part.is_empty() && part.bytes().all(is_bare) {
                write!(f, "{joint}{part}")?;
            } else {
                write!(f, "{joint}{part:?}")?;
            }
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for ConfigMistake {}

/// All mistakes, as one error.
#[derive(Debug)]
struct Mistakes(Vec<ConfigMistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            let joint = if index == 0 { "" } else { "\n" };
            write!(f, "{joint}{mistake}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
