//! `[model.NAME]`: which upstreams have a model, under which name there, and what it costs.

use serde::Deserialize;

use super::names::{ModelName, UpstreamName};
use super::price::{Price, Prices};

/// Where a model is. What [`super::UpstreamsConfig`] holds has at least one upstream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ModelTable")]
pub struct ModelConfig {
    /// The upstreams that have it, first choice first. 1 to 16.
    pub upstreams: Vec<UpstreamName>,
    /// Its name there; as the function named it if `None`.
    pub model: Option<ModelName>,
    /// The models to go to when all of its upstreams fail, in order. At most 16.
    pub failover: Vec<ModelName>,
    /// What it costs.
    pub prices: Prices,
    /// By which tokenizer its tokens are counted, as it is written: whoever counts knows which there are. By its name if
    /// `None`.
    pub tokenizer: Option<String>,
}

impl ModelConfig {
    /// A model that `upstream` has under the name by which functions call it, at no price.
    #[must_use]
    pub fn at(upstream: UpstreamName) -> Self {
        Self { upstreams: vec![upstream], ..Self::default() }
    }
}

/// The keys of `[model.NAME]`, as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelTable {
    upstream: Option<UpstreamName>,
    upstreams: Option<Vec<UpstreamName>>,
    model: Option<ModelName>,
    #[serde(default)]
    failover: Vec<ModelName>,
    input_price_per_million: Option<Price>,
    output_price_per_million: Option<Price>,
    cached_input_price_per_million: Option<Price>,
    tokenizer: Option<String>,
}

/// Why a `[model.NAME]` cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("`upstream` and `upstreams` both say where the model is; keep one of them")]
struct TwoUpstreamKeys;

impl TryFrom<ModelTable> for ModelConfig {
    type Error = TwoUpstreamKeys;

    fn try_from(table: ModelTable) -> Result<Self, TwoUpstreamKeys> {
        let upstreams = match (table.upstream, table.upstreams) {
            (Some(_), Some(_)) => return Err(TwoUpstreamKeys),
            (Some(upstream), None) => vec![upstream],
            (None, upstreams) => upstreams.unwrap_or_default(),
        };
        let input = table.input_price_per_million.unwrap_or_default();
        let prices = Prices {
            input,
            cached_input: table.cached_input_price_per_million.unwrap_or(input),
            output: table.output_price_per_million.unwrap_or_default(),
        };
        let ModelTable { model, failover, tokenizer, .. } = table;
        Ok(Self { upstreams, model, failover, prices, tokenizer })
    }
}
